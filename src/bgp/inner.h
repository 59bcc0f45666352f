/* Inside the speaker: what its files share. speaker.c: peers and connections; input.c: UPDATEs into RIBs; output.c: RIBs into
 * UPDATEs; restart.c: graceful restart; sink.c: best paths told to the layer that forwards. */
#ifndef MERIDIAN_BGP_INNER_H
#define MERIDIAN_BGP_INNER_H

#include "bgp/speaker.h"

#define BGP_RIBS 8

struct bgp_peer_family {
    uint64_t told;               /* version of the RIB up to which this peer knows */
    bool end_sent;               /* End-of-RIB for what was there when the session came up */
    uint64_t end_after;          /* version at that moment */
    bool refresh;                /* the peer asked for all of it again: BoRR is due */
    bool refreshing;             /* EoRR is due once `told` reaches end_after */
    int64_t stale_until_ns;      /* graceful restart: paths of this peer are dropped then; INT64_MAX: none are stale */
    int64_t long_lived_until_ns; /* RFC 9494 */
    uint32_t long_lived_s;
};

struct bgp_peer {
    struct bgp_speaker *speaker;
    uint16_t number;
    struct bgp_peer_config config;
    struct bgp_session side[BGP_SIDES];
    struct bgp_session_above above[BGP_SIDES];
    struct bgp_side_of {
        struct bgp_peer *peer;
        enum bgp_side side;
    } self[BGP_SIDES];
    int8_t up; /* the established side, -1: none */
    bool stopped;
    int64_t now; /* of the call that is going on: for callbacks */
    struct bgp_peer_family family[BGP_RIBS];
};

struct bgp_metric {
    struct ip6 next_hop;
    uint32_t metric;
};

struct bgp_speaker {
    struct bgp_speaker_config config;
    struct bgp_sink sink;
    struct bgp_attribute_table *attributes;
    struct bgp_rib *rib[BGP_RIBS]; /* in the order of bgp_rib_families */
    struct bgp_peer *peers[BGP_PEERS_MOST];
    struct bgp_metric *metrics;
    size_t n_metrics;
};

extern const uint32_t bgp_rib_families[BGP_RIBS];
int bgp_rib_index(uint32_t family); /* -1: none */

static inline bool bgp_peer_external(const struct bgp_peer *p)
{
    return p->config.session.local_as != p->config.session.peer_as;
}

/* input.c: an UPDATE of an established session. False when the session must end for it (*ret_cease: RFC 4486 subcode). */
bool bgp_input_update(struct bgp_peer *p, const struct bgp_update *u, bool as4, int64_t now, uint8_t *ret_cease);

/* output.c: fills the session's out; begins again for a peer that came up or asked. */
void bgp_output_fill(struct bgp_peer *p, int64_t now);
void bgp_output_begin(struct bgp_peer *p);
void bgp_output_refresh(struct bgp_peer *p, uint32_t family);
bool bgp_output_pending(const struct bgp_peer *p);

/* restart.c */
void bgp_restart_session_down(
    struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why, int64_t now);
void bgp_restart_session_up(struct bgp_peer *p, const struct bgp_open *open);
void bgp_restart_end_of_rib(struct bgp_peer *p, uint32_t family);
int64_t bgp_restart_poll(struct bgp_peer *p, int64_t now);

/* sink.c */
void bgp_sink_best(void *speaker, uint32_t family, const struct bgp_route *route, const struct bgp_path *before);

#endif
