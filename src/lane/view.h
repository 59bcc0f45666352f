/* What a person, a collector or a controller may see of lanes and links: copies, taken between batches. */
#ifndef MERIDIAN_LANE_VIEW_H
#define MERIDIAN_LANE_VIEW_H

#include "lane/lane.h"

#include <stdbool.h>
#include <stdint.h>

#define LANE_VIEW_NO_PORT 0xffffu

enum lane_view_state {
    LANE_VIEW_OPENING, /* asked for, not accepted down to the egress yet; `refused` says why if it was refused */
    LANE_VIEW_RUNNING,
    LANE_VIEW_BLOCKED, /* has packets, no credit */
    LANE_VIEW_PAUSED,
    LANE_VIEW_HELD,
    LANE_VIEW_DISCARDED, /* by its watchdog */
    LANE_VIEW_ENDING,    /* drains, closes, or what lies behind is gone */
    LANE_VIEW_STATES,
};

/* A lane at this router: its end that sends, its end that receives, or both (a transit router). */
struct lane_view {
    uint64_t id;
    uint32_t tenant, vrf;       /* vrf: where it ends here */
    uint16_t in_port, out_port; /* LANE_VIEW_NO_PORT: begins, ends here */
    uint8_t class_, state;      /* enum lane_class, enum lane_view_state */
    uint8_t refused;            /* enum lane_refusal (wire/lane_frame.h); 0: no */
    uint64_t refused_where;     /* router id */

    /* the end that sends */
    uint64_t sent_cells, credit_cells; /* S, and Lmax - S */
    uint32_t queued_packets, queued_cells, peak_cells;
    uint64_t queued_bytes;
    uint64_t sent_packets, sent_bytes, dropped_packets, marked_packets;

    /* the end that receives */
    uint64_t arrived_cells, lost_cells;
    uint32_t window_cells, occupied_cells, reserved_cells; /* W, R - F, L - F */
};

/* Up to `most` lanes from *cursor on (0 at first), which is moved; 0: that was all. Lanes may come and go in between. */
unsigned lane_view(const struct lane_node *, uint32_t *cursor, struct lane_view *ret, unsigned most);
const char *lane_view_state_name(unsigned state);

struct lane_link_view {
    bool up;
    uint64_t peer; /* router id of the session, or of the last one; 0: never any */
    uint16_t peer_port;
    int64_t rtt_ns;                       /* 0: not known */
    uint32_t lanes;                       /* that arrive by it */
    uint64_t committed_cells, pool_cells; /* promised to them; at most */
    uint64_t frames_sent, frames_good, frames_bad, frames_replayed, hellos_refused;
    uint64_t credit_cells; /* of the link's window that are left; UINT64_MAX: there is none */
};
/* False: no core port. */
bool lane_link_view(const struct lane_node *, uint16_t port, struct lane_link_view *ret);

#endif
