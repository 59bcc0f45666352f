/* Inside the provider edge's control plane:
 *
 *   pe.c          life, the speaker's sink       nexthop.c   what is reachable, and how far it is
 *   underlay.c    neighbours over links, loopbacks and locators
 *   vpn.c         import: routes of VRFs         export.c    what starts here
 *   policy.c      SR Policies: paths, slices     view.c      what a person sees
 *   customer.c    customers' routers
 *   signed.c      services that xSEC vouches for
 *
 * Everything that BGP may not do in the midst of a callback (originating, choosing again) is marked dirty and done in pe_poll. */
#ifndef MERIDIAN_PE_INNER_H
#define MERIDIAN_PE_INNER_H

#include "pe/pe.h"

#define PE_HOPS 1024u /* next hops whose distance is remembered */

/* --- the underlay --- */

struct neighbour { /* a router at the other end of one or several of our links */
    struct neighbour *next;
    uint64_t router;
    uint64_t ports; /* bit per port */
    uint16_t peer;  /* BGP's number */
};

struct learned { /* a route of the underlay that BGP told */
    struct learned *next;
    struct ip_prefix prefix;
    uint64_t router;
    uint32_t metric;
    bool set; /* it stands in the core (the configuration does not have this prefix) */
    uint16_t port;
};

struct hop_distance {
    struct ip6 address;
    uint64_t version;
    uint32_t metric;
};

/* --- VPNs --- */

struct vpn { /* the best path of one VPN route of one family */
    struct vpn *chain;
    uint32_t family;
    uint8_t rd[8];
    struct ip_prefix prefix;
    struct ip6 next_hop;
    bool has_service, is_beacon;
    struct bgp_srv6_service service; /* where packets go: what its PE has signed (signed.c), else what the route says */
    bool said_service;
    struct bgp_srv6_service said;
    uint32_t color, local_pref, med;
    uint16_t path_length;
    uint8_t origin;
    bool stale;
    uint8_t (*targets)[8];
    unsigned n_targets;
    struct import *imports; /* one per VRF that has it */
    uint8_t *beacon;
    uint16_t beacon_len;
    int64_t since_ns;
};

struct import { /* a VPN route in a VRF */
    struct import *of_route, *of_dest;
    struct vpn *route;
    struct dest *dest; /* NULL: a beacon */
    struct vrf *vrf;
};

struct dest { /* a prefix of a VRF */
    struct dest *chain;
    struct vrf *vrf;
    struct ip_prefix prefix;
    struct import *imports;
    struct import *chosen;
    bool told;     /* `now_set` stands in the core */
    bool own;      /* the configuration has this prefix */
    bool refused;  /* the core had no room */
    bool customer; /* a customer's router says it, and BGP has chosen it: `to_customer` comes before `chosen` */
    struct forward_route to_customer;
    struct forward_route now_set;
};

struct originated {
    uint8_t raw[64], len;
};

struct originations { /* what BGP has been told, in order of bytes */
    struct originated *at;
    size_t n;
};

struct vrf {
    struct vrf *next;
    struct pe_vrf config; /* its arrays are ours */
    struct dest **bucket;
    size_t n_buckets, n_dests;
    struct originations originated, announced_beacon;
    uint8_t *beacon;
    size_t beacon_len;
    bool in_bgp;             /* it has a table there */
    struct ip_prefix *shown; /* to customers */
    unsigned n_shown;
    struct signed_service *signed_services; /* of other PEs */
    unsigned n_signed, signed_room;
};

/* --- policies --- */

struct policy;
struct steer;
struct way;

struct pe {
    struct pe_config config; /* its arrays are ours; vrfs are in the list */
    struct pe_above above;
    struct bgp_speaker *speaker;
    int64_t now; /* of the call that is going on */

    struct neighbour *neighbours;
    struct learned *learned;
    uint64_t ports_up;
    struct originations underlay; /* told to neighbours */
    uint64_t underlay_version;    /* counts what changes who is reachable */
    uint64_t chosen_version;      /* the one that VPN routes were last chosen with */
    struct hop_distance hops[PE_HOPS];

    struct vpn **bucket;
    size_t n_buckets, n_vpns;
    struct vrf *vrfs;

    struct policy *policies;
    struct steer *steers;
    struct way *ways; /* paths that stand in the core */
    uint32_t next_path;
    bool policies_dirty;
    struct pe_counts counts;
};

void pe_log(struct pe *pe, bool warning, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);

/* underlay.c */
void underlay_route(void *pe, uint16_t peer, const struct ip_prefix *p, bool withdrawn);
int underlay_configure(struct pe *pe, const struct pe_config *c, struct error *err);
void underlay_done(struct pe *pe);
/* The port of the way to `a`; -1: none. */
int underlay_port(const struct pe *pe, const struct ip6 *a, uint32_t *ret_metric);

/* nexthop.c */
uint32_t nexthop_metric(void *pe, const struct ip6 *a); /* UINT32_MAX: unreachable */
void nexthop_changed(struct pe *pe);                    /* the underlay did */

/* vpn.c */
void vpn_route(void *pe, const struct bgp_vpn_route *r, bool withdrawn);
struct vrf *vrf_of(const struct pe *pe, uint32_t id);
void vpn_vrf_targets(struct pe *pe, struct vrf *v);    /* they changed: look at every route again */
void vpn_vrf_choose_all(struct pe *pe, struct vrf *v); /* own prefixes, encryption, colours changed */
void vpn_choose_all(struct pe *pe);
void vpn_vrf_done(struct pe *pe, struct vrf *v);
void vpn_done(struct pe *pe);
void vpn_ask_paths(struct pe *pe, struct vrf *v); /* every route in use asks for its paths */
void vpn_steered(struct pe *pe, struct vrf *v);   /* classes of it take other paths */
bool vpn_takes(const struct vpn *r);              /* its service takes packets of its family */
bool vpn_takes_esp(const struct vpn *r);
struct vpn *vpn_find(const struct pe *pe, uint32_t family, const uint8_t rd[8], const struct ip_prefix *p);

/* What a customer's router says of a prefix and BGP has chosen; NULL: no longer. */
void vpn_customer(struct pe *pe, struct vrf *v, const struct ip_prefix *p, const struct forward_route *r);

/* customer.c */
void customer_route(void *pe, uint32_t vrf, const struct bgp_customer_route *r, bool withdrawn);
int customer_vrf(struct pe *pe, struct vrf *v, struct error *err);
void customer_vrf_end(struct pe *pe, struct vrf *v);

/* export.c */
size_t export_attributes(const struct vrf *v, uint8_t *to, size_t cap); /* of its routes; 0: it exports nothing */
int export_vrf(struct pe *pe, struct vrf *v, struct error *err);        /* makes BGP say what v's configuration says */
void export_vrf_end(struct pe *pe, struct vrf *v);
int export_underlay(struct pe *pe, struct error *err);

/* What PEs have signed of v changed for this one. */
void vpn_signed(struct pe *pe, struct vrf *v, const struct ip6 *peer);

/* signed.c */
const struct ip6 *signed_service(const struct vrf *v, const struct ip6 *peer); /* NULL: none, or v is not encrypted */
void signed_done(struct vrf *v);

/* policy.c */
void policy_take(void *pe, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *p, bool withdrawn);
/* The path that packets of this class to this route take now; 0: the underlay's shortest way. */
uint32_t policy_path(struct pe *pe, struct vrf *v, enum lane_class c, const struct vpn *route);
void policy_vrf_gone(struct pe *pe, struct vrf *v);
int64_t policy_poll(struct pe *pe);
void policy_done(struct pe *pe);

#endif
