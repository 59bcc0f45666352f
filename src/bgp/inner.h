/* Inside the speaker: what its files share. speaker.c: peers; connection.c: their connections; input.c: UPDATEs into RIBs;
 * output.c: which routes a peer is told; encode.c: how; targets.c: which route targets a peer wants; restart.c: graceful
 * restart; sink.c: best paths told to the layer that forwards; vrf.c: tables of VRFs; customer.c: what passes between them and
 * customers' routers; refused.c: what was not taken or told. */
#ifndef MERIDIAN_BGP_INNER_H
#define MERIDIAN_BGP_INNER_H

#include "bgp/speaker.h"

#include <string.h>

#define BGP_RIBS 8

struct bgp_peer_family {
    uint64_t told;               /* version of the RIB up to which this peer knows */
    uint64_t sure;               /* walking again below this: routes marked as told are known already */
    bool end_sent;               /* End-of-RIB for what was there when the session came up */
    uint64_t end_after;          /* version at that moment */
    bool refresh;                /* the peer asked for all of it again: BoRR is due */
    bool refreshing;             /* EoRR is due once `told` reaches end_after */
    bool ended;                  /* the peer has said End-of-RIB since its session came up */
    bool refreshed;              /* the peer has said BoRR and not yet EoRR (RFC 7313) */
    int64_t stale_until_ns;      /* paths of this peer that are stale are dropped then; INT64_MAX: none are */
    int64_t long_lived_until_ns; /* RFC 9494 */
    uint32_t long_lived_s;
};

/* A route target that a peer wants (RFC 4684): the first `bits` of the eight octets. */
struct bgp_target {
    uint8_t value[8], bits;
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
    uint8_t identifier[4]; /* of the last established session: who originated what it told us */
    bool constrained;      /* RTC was agreed: it is told only what `targets` say */
    struct bgp_target *targets;
    unsigned n_targets;
    bool targets_changed;     /* its RTC routes did: look at them again */
    int64_t targets_until_ns; /* VPN routes wait for its targets until then (RFC 4684 6); INT64_MAX: they do not */
    int64_t now;              /* of the call that is going on: for callbacks */
    struct bgp_peer_family family[BGP_RIBS];
    struct bgp_rib *rib[BGP_RIBS]; /* its VRF's or the speaker's, in the order of bgp_rib_families */
    struct bgp_refused refused;
};

#define BGP_VRF_VPNS 3 /* families that VPN routes come in: EVPN, VPNv4, VPNv6 */

struct bgp_vrf {
    struct bgp_vrf *next;
    struct bgp_speaker *speaker;
    uint32_t number;
    uint8_t rd[8], imports[32][8], n_imports;
    uint8_t *attributes; /* of what is exported */
    size_t len;
    struct bgp_rib *rib[2];                       /* IPv4, IPv6 */
    uint64_t exported[2], imported[BGP_VRF_VPNS]; /* versions up to which the tables have been read */
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
    struct bgp_vrf *vrfs;
    int64_t settles_ns; /* just started: until then End-of-RIB waits for the peers' (restart.c); 0: no peer yet */
};

extern const uint32_t bgp_rib_families[BGP_RIBS];
int bgp_rib_index(uint32_t family); /* -1: none */

static inline bool bgp_peer_external(const struct bgp_peer *p)
{
    return p->config.session.local_as != p->config.session.peer_as;
}

static inline const uint8_t *bgp_cluster(const struct bgp_speaker *s)
{
    static const uint8_t none[4] = {0};
    return memcmp(s->config.cluster, none, 4) ? s->config.cluster : s->config.identifier;
}

static inline bool bgp_family_has_targets(uint32_t family)
{
    return family == BGP_EVPN || family == BGP_VPNV4 || family == BGP_VPNV6;
}

/* connection.c */
int bgp_connection_init(struct bgp_peer *p, enum bgp_side side);
int64_t bgp_connection_poll(struct bgp_peer *p, int64_t now);

/* input.c: an UPDATE of an established session. False when the session must end for it (*ret_cease: RFC 4486 subcode). */
bool bgp_input_update(struct bgp_peer *p, const struct bgp_update *u, bool as4, int64_t now, uint8_t *ret_cease);

/* output.c: fills the session's out; begins again for a peer that came up or asked. */
void bgp_output_fill(struct bgp_peer *p, int64_t now);
void bgp_output_begin(struct bgp_peer *p);
void bgp_output_refresh(struct bgp_peer *p, uint32_t family);
void bgp_output_again(struct bgp_peer *p, int rib); /* what it may know has changed, not what is */

/* encode.c: one message. */
struct bgp_message {
    uint8_t bytes[BGP_EXTENDED_MOST];
    size_t len, most;
    bool plain; /* IPv4 unicast in the message's own fields (RFC 4271 4.3), for next hops of IPv4 */
};
/* The next hop that this peer would be told is an IPv6 address. */
bool bgp_encode_six_hop(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path);
/* Opens an UPDATE with the attributes of `path` as this peer is to see them, and MP_REACH_NLRI; appending the first route is
 * sure to succeed. False: attributes and route together are longer than a message to this peer may be. */
bool bgp_encode_reach(struct bgp_message *m, const struct bgp_peer *p, uint32_t family, const struct bgp_path *path);
void bgp_encode_unreach(struct bgp_message *m, const struct bgp_peer *p, uint32_t family);
bool bgp_encode_route(struct bgp_message *m, const struct bgp_path *path); /* one more; false: it is full */
bool bgp_encode_withdrawn(struct bgp_message *m, uint32_t family, const struct bgp_route *route);
void bgp_encode_reach_end(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_path *path);
void bgp_encode_unreach_end(struct bgp_message *m);
void bgp_encode_end_of_rib(struct bgp_message *m, uint32_t family);

unsigned bgp_key_nlri(
    uint32_t family, const struct bgp_route *route, uint8_t to[64]); /* an NLRI with the route's key */

/* customer.c: `to` is `u` without what a customer may not say, with what we say of its routes. False: too many attributes. */
struct bgp_customer_space {
    uint8_t pref[7], site[11];
};
bool bgp_customer_said(
    struct bgp_peer *p, struct bgp_update *to, const struct bgp_update *u, struct bgp_customer_space *space);
bool bgp_customer_untold(uint8_t type);
bool bgp_customer_of_its_site(const struct bgp_peer *p, const struct bgp_attributes *a);
void bgp_customer_override(const struct bgp_peer *p, uint8_t *path, size_t len);

/* vrf.c */
struct bgp_vrf *bgp_vrf_find(const struct bgp_speaker *s, uint32_t number);
void bgp_vrf_free(struct bgp_vrf *v);
void bgp_vrf_pass(struct bgp_speaker *s, int64_t now); /* exports and imports what has changed */
uint64_t bgp_vrf_passed(const struct bgp_speaker *s, const struct bgp_rib *rib);

/* refused.c */
void bgp_refused(struct bgp_peer *p, enum bgp_refusal what, uint32_t family, const uint8_t *raw, size_t len);

/* speaker.c */
uint32_t bgp_next_hop_metric(const struct bgp_speaker *s, const uint8_t *next_hop, uint8_t len);

/* targets.c */
bool bgp_targets_ready(struct bgp_peer *p, int64_t now);
bool bgp_targets_wanted(const struct bgp_peer *p, const struct bgp_attributes *a);
void bgp_targets_look(struct bgp_peer *p); /* its RTC routes have changed */
void bgp_targets_session_up(struct bgp_peer *p);
void bgp_targets_done(struct bgp_peer *p);

/* restart.c */
void bgp_restart_session_down(
    struct bgp_peer *p, const struct bgp_open *open, const struct bgp_notification *why, int64_t now);
void bgp_restart_session_up(struct bgp_peer *p, const struct bgp_open *open);
void bgp_restart_end_of_rib(struct bgp_peer *p, uint32_t family);
void bgp_restart_refresh(struct bgp_peer *p, uint32_t family, enum bgp_refresh_kind kind);
int64_t bgp_restart_poll(struct bgp_peer *p, int64_t now);
bool bgp_restart_may_end(struct bgp_peer *p, int rib, int64_t now); /* End-of-RIB may be said */
bool bgp_restart_going_on(const struct bgp_speaker *s, int64_t now);

/* sink.c */
void bgp_sink_best(void *speaker, uint32_t family, const struct bgp_route *route, const struct bgp_path *before);

#endif
