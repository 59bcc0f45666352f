/* The routes of one family: for each key the paths that peers (and we) announced, and which is best (RFC 4271 9.1.2.2, with
 * RFC 4456's cluster list length before the peer address). Withdrawn routes cost nothing; stale ones (graceful restart) stay
 * until End-of-RIB or their time is over. Order is by version, the same in router and twin. */
#ifndef MERIDIAN_BGP_RIB_H
#define MERIDIAN_BGP_RIB_H

#include "bgp/attributes.h"
#include "wire/bgp_nlri.h"

#define BGP_PEERS_MOST 512u
#define BGP_SELF       0u /* source of routes that start here */
/* Sources of a VRF's table: the VPN routes imported into it, by the family that carried them. */
#define BGP_IMPORTED_EVPN  512u
#define BGP_IMPORTED_VPNV4 513u
#define BGP_IMPORTED_VPNV6 514u
#define BGP_SOURCES        515u

struct bgp_path {
    struct bgp_path *next; /* of the same route, in order of source and id */
    uint64_t id;           /* tells paths of one source apart: as announced (bgp_nlri.path_id) */
    struct bgp_attributes *attributes;
    uint16_t source; /* peer number, BGP_SELF */
    bool stale, long_lived_stale, ibgp;
    uint8_t raw_len;
    int64_t since_ns;
    uint8_t raw[BGP_NLRI_KEY_MOST]; /* the NLRI as it came */
};

struct bgp_route {
    struct bgp_route *chain;
    struct bgp_path *paths;
    struct bgp_path *best; /* NULL: none of them is reachable, or there are none: peers are told that it is gone */
    uint64_t version;      /* of the RIB when `best` last changed: peers are told in this order */
    uint32_t hash;
    uint8_t key_len;
    uint8_t key[BGP_NLRI_KEY_MOST];
    uint64_t told[BGP_PEERS_MOST / 64]; /* bit per peer: it holds what we announced of this route */
};

struct bgp_rib;
struct bgp_rib_above {
    void *user;
    /* IGP metric of a next hop; UINT32_MAX: not reachable (the path is kept, never best). NULL: all are 0. */
    uint32_t (*metric)(void *user, const uint8_t *next_hop, uint8_t len);
    bool outside_is_near; /* paths from another AS are next door: `metric` is not asked about them (tables of VRFs) */
    /* What decides last between peers (RFC 4271 9.1.2.2 f, g). NULL: the source number alone. */
    void (*peer_order)(void *user, uint16_t source, uint8_t ret_identifier[4], struct ip_addr *ret_address);
    /* The best path changed (route->best, NULL: gone); `before` is only good for comparing during the call. NULL: nobody asks. */
    void (*best)(void *user, uint32_t family, const struct bgp_route *route, const struct bgp_path *before);
};

int bgp_rib_create(struct bgp_rib **ret, uint32_t family, struct bgp_attribute_table *t, const struct bgp_rib_above *a);
void bgp_rib_free(struct bgp_rib *r);
size_t bgp_rib_count(const struct bgp_rib *r); /* routes with a best path */
size_t bgp_rib_bytes(const struct bgp_rib *r);

/* Takes over one reference to `a`, also when it fails. -ENOMEM changes nothing. */
int bgp_rib_announce(
    struct bgp_rib *r, const struct bgp_nlri *n, uint16_t source, bool ibgp, struct bgp_attributes *a, int64_t now);
/* False: the source had not announced it. */
bool bgp_rib_withdraw(struct bgp_rib *r, const uint8_t *key, uint8_t key_len, uint16_t source, uint64_t id);
uint32_t bgp_rib_from(const struct bgp_rib *r, uint16_t source); /* paths held of a source: prefix limits */
void bgp_rib_drop_source(struct bgp_rib *r, uint16_t source);
/* Graceful restart: a source's paths stay while stale; sweeping drops those that were not announced anew. */
void bgp_rib_mark_stale(struct bgp_rib *r, uint16_t source, bool long_lived);
void bgp_rib_sweep_stale(struct bgp_rib *r, uint16_t source);
void bgp_rib_select_all(struct bgp_rib *r); /* metrics of next hops changed */

const struct bgp_route *bgp_rib_find(const struct bgp_rib *r, const uint8_t *key, uint8_t key_len);
/* The first route whose version is above `after`, in order of version (withdrawn ones among them): how the outputs of peers
 * and `bgp show` walk it. NULL: no more. */
const struct bgp_route *bgp_rib_next(const struct bgp_rib *r, uint64_t after);
uint64_t bgp_rib_version(const struct bgp_rib *r);
bool bgp_rib_told(const struct bgp_route *e, uint16_t peer);
void bgp_rib_set_told(struct bgp_rib *r, const struct bgp_route *e, uint16_t peer, bool told);
void bgp_rib_untell(struct bgp_rib *r, uint16_t peer); /* a session ended: it holds nothing of ours */
/* Every peer has been told up to `version`: routes that are gone need not be remembered for them. */
void bgp_rib_forget(struct bgp_rib *r, uint64_t version);

#endif
