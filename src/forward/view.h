/* What a person may see of the tables: copies, taken between batches, a few at a time. */
#ifndef MERIDIAN_FORWARD_VIEW_H
#define MERIDIAN_FORWARD_VIEW_H

#include "forward/neighbour.h"
#include "forward/tables.h"

struct forward_route_view {
    uint32_t vrf;
    struct ip_prefix prefix;
    bool is_sid; /* then `sid`, else `route` */
    struct forward_route route;
    struct forward_sid sid;
    bool ready; /* remote: every class it has a path for has somewhere to go */
};

/* The routes and SIDs of all VRFs in order, from number *cursor on (0 at first), which is moved; 0: that was all. */
unsigned forward_routes_view(struct forward *, uint32_t *cursor, struct forward_route_view *ret, unsigned most);

struct forward_neighbour_view {
    uint16_t port, vlan;
    uint32_t vrf;
    struct ip_addr address;
    uint8_t mac[6];
    uint8_t state;    /* enum neighbour_state */
    uint16_t waiting; /* packets */
};
unsigned forward_neighbours_view(struct forward *, uint32_t *cursor, struct forward_neighbour_view *ret, unsigned most);
const char *neighbour_state_name(unsigned state);

/* A 1+1 slice that begins here. */
struct forward_protect_view {
    uint32_t tenant, path[2];
    uint8_t class_;
    struct ip6 service_sid;
    uint64_t lane[2]; /* ids */
    bool complete[2];
    uint32_t cells[2];  /* that wait */
    uint64_t packets;   /* numbers given */
    uint64_t copies;    /* of these, sent by both paths */
    uint64_t redundant; /* copies let go because their path lagged */
    uint64_t alone;     /* sent by one path while the other was down */
};
unsigned forward_protects_view(struct forward *, uint32_t *cursor, struct forward_protect_view *ret, unsigned most);

/* A 1+1 stream that ends here. */
struct forward_stream_view {
    uint64_t ingress; /* router id */
    uint32_t tenant, vrf;
    uint8_t class_;
    uint64_t lanes[2]; /* ids; 0: nothing came by it yet */
    int64_t heard_ns[2];
    uint64_t delivered, redundant;
    uint64_t refused; /* copies too far ahead to be held */
    uint64_t lost;    /* neither copy came in time */
    uint64_t late;    /* of these, came afterwards */
    uint32_t held_packets, held_cells, held_peak_cells;
    int64_t lag_ns; /* of the slower path; -1: not known */
    int64_t wait_ns;
};
unsigned forward_streams_view(struct forward *, uint32_t *cursor, struct forward_stream_view *ret, unsigned most);

#endif
