/* The control plane of a provider edge: what BGP says becomes tables of the forwarding core. Pure: no clock, no I/O; the router
 * glues it to sockets and to its worker, the simulator to its wires.
 *
 *   neighbours over links → underlay: loopbacks, locators → which next hop is reachable (RFC 4271 9.1.2.1)
 *   VPN routes (RFC 9252 over RT-5, VPNv4, VPNv6) → import by route target → best of several PEs → routes of VRFs
 *   SR Policies (RFC 9256, 9830) → paths, and a lane for each class of a tenant whose colour and endpoint match
 *   what the configuration says is ours → RT-5 with an SRv6 service, for others
 *
 * The speaker is this module's; its peers in the cluster and every transport are the shell's (bgp_peer_add on pe_speaker,
 * bgp_peer_bytes …), which calls pe_poll after anything that it did to the speaker. */
#ifndef MERIDIAN_PE_PE_H
#define MERIDIAN_PE_PE_H

#include "bgp/speaker.h"
#include "forward/tables.h"

#define PE_PATHS_FROM 0x80000000u /* paths of ours are numbered from here; below: the configuration's */
#define PE_LINK_AS    4200000000u /* over links each router is an AS of its own: this and its id (RFC 6996) */

/* --- what the configuration says ------------------------------------------------------------------------------------------- */

struct pe_class {
    uint32_t color; /* of the policies that this class takes; 0: the colour that comes with the route */
    bool no_lane;   /* on a policy's path, but without a slice */
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint32_t window_least;
    struct queue_limits limits;
};

/* A prefix that the configuration puts into a VRF: nothing that BGP says takes its place. */
struct pe_own {
    struct ip_prefix prefix;
    bool announce; /* to the VPN: subnets of hosts, routes to the customer's routers */
    bool attached; /* a subnet at `port`, `vlan`: customers' routers may be in it */
    uint16_t port, vlan;
};

struct pe_vrf {
    uint32_t id, tenant;
    uint8_t rd[8];
    const uint8_t (*import)[8], (*export)[8]; /* route targets */
    unsigned n_import, n_export;
    /* Where its packets come in; SID zero: it only imports. Encrypted: a SID that opens ESP (SID_END_ESP_DT46…). */
    struct bgp_srv6_service service;
    bool encrypted; /* only such services are led to */
    struct pe_class class_[LANE_CLASSES];
    const struct pe_own *own;
    unsigned n_own;
    /* Routers of the customer speak BGP with us: the VRF has a table in BGP, and peers of the kind BGP_PEER_CUSTOMER may come
     * (the shell's: bgp_peer_add on pe_speaker). They go before this does, and before the VRF. */
    bool customers;
};

/* An underlay route or adjacency of the configuration. */
struct pe_static {
    struct ip_prefix prefix;
    uint16_t port; /* LANE_PORTS_MOST and above: not over a link */
    bool foreign;  /* nobody there says HELLO: it counts as up */
};

struct pe_config {
    uint32_t router;       /* its id */
    uint8_t identifier[4]; /* BGP's */
    uint32_t as;           /* the cluster's */
    struct ip6 loopback;
    struct ip_prefix locator;
    uint8_t block_bits;
    struct siphash_seed seed;         /* of tables that strangers fill: random */
    bool links;                       /* speak BGP with the neighbour of every link */
    const struct ip_prefix *announce; /* to the underlay, beside loopback and locator */
    unsigned n_announce;
    const struct pe_static *statics; /* routes of the underlay */
    unsigned n_statics;
    const struct pe_static *crosses; /* End.X SIDs of ours: policies may begin with one */
    unsigned n_crosses;
    const struct pe_vrf *vrfs;
    unsigned n_vrfs;
};

/* --- what follows from it and from BGP ---------------------------------------------------------------------------------------- */

/* A beacon of xSEC beside the route that carries it (control.md, X1). Pointers are valid during the call. */
struct pe_beacon {
    uint32_t vrf;          /* ours, that imports its target */
    const uint8_t *target; /* 8 octets: the target of the route that this VRF imports */
    uint8_t rd[8];
    struct ip6 next_hop, service_sid;
    const uint8_t *bytes;
    uint16_t len;
};

/* Changes, in the order in which they must be made. Called from within pe_… functions and from within those of the speaker;
 * none may call back. Only `route_set` and `route_del` are required. */
struct pe_above {
    void *user;
    void (*route_set)(void *user, uint32_t vrf, const struct ip_prefix *p, const struct forward_route *r);
    void (*route_del)(void *user, uint32_t vrf, const struct ip_prefix *p);
    void (*path_set)(void *user, const struct forward_path *p);
    void (*path_del)(void *user, uint32_t id);
    void (*slice_set)(void *user, const struct forward_slice *s);
    void (*slice_del)(
        void *user, uint32_t tenant, uint32_t path, enum lane_class class_, const struct ip6 *service_sid);
    /* pe_slice_moved tells when it has happened; from == to: what was begun is given up. */
    void (*slice_move)(
        void *user, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t from, uint32_t to);
    /* A BGP peer over a link came (give it a transport; GTSM fits) or is about to go. */
    void (*link_peer)(void *user, uint16_t peer, bool gone);
    /* The best beacon of this RD and address, for a VRF that must be encrypted; withdrawn: only vrf, target, rd, next_hop. */
    void (*beacon)(void *user, const struct pe_beacon *b, bool withdrawn);
    void (*log)(void *user, bool warning, const char *text); /* one sentence */
};

struct pe;
int pe_create(struct pe **ret, const struct pe_config *c, const struct pe_above *a, int64_t now, struct error *err);
void pe_free(struct pe *pe); /* tells nobody; NULL allowed */
struct bgp_speaker *pe_speaker(struct pe *pe);

/* From now on this is the configuration. Identity (router, identifier, as, loopback, locator, links) stays what it was: -EINVAL.
 * VRFs come, go, and change their targets; nothing changes for the others. Copies what it needs. On -ENOMEM as much as could be
 * is in effect. */
int pe_configure(struct pe *pe, const struct pe_config *c, int64_t now, struct error *err);

/* HELLO says that `router` is at the other end of `port`, or no longer. */
void pe_link_up(struct pe *pe, uint16_t port, uint64_t router, int64_t now);
void pe_link_down(struct pe *pe, uint16_t port, int64_t now);
/* The link-local address of a router's BGP, on all of its links: fe80::4d65:0:ID:ID. Derived, so that one cable is enough. */
struct ip6 pe_link_address(uint32_t router);

/* After anything that was done to the speaker. Returns when it wants to be called at the latest. */
int64_t pe_poll(struct pe *pe, int64_t now);

/* The slice's packets take `path` now. */
void pe_slice_moved(
    struct pe *pe, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path, int64_t now);
/* Its lane on that path is open; or refused, or down: then, if it stays so, another candidate is taken. */
void pe_slice_state(struct pe *pe, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid,
    uint32_t path, bool open, int64_t now);
/* A route that could not be set (the table is full): `show` says so. */
void pe_route_refused(struct pe *pe, uint32_t vrf, const struct ip_prefix *p);

/* Our beacon of a VRF: an RT-5 of our loopback with the VRF's RD, targets and service. len 0: none any more. -ENOENT, -EINVAL
 * (longer than BGP_XSEC_BEACON_MOST), -ENOMEM. */
int pe_beacon_set(struct pe *pe, uint32_t vrf, const uint8_t *bytes, size_t len, int64_t now, struct error *err);

/* The SID that a PE has signed for a VRF that is encrypted (xSEC): it counts, whatever routes with this next hop say. NULL: none any
 * more. */
void pe_service_signed(struct pe *pe, uint32_t vrf, const struct ip6 *peer, const struct ip6 *sid, int64_t now);

/* --- what a person may see ---------------------------------------------------------------------------------------------------- */

enum pe_reason {
    PE_USED,
    PE_BEACON,       /* a beacon: no route for packets */
    PE_NOT_BEST,     /* another path of the same route is better */
    PE_BEATEN,       /* another PE's route to this prefix is better */
    PE_UNREACHABLE,  /* no way to its next hop in the underlay */
    PE_NO_SERVICE,   /* it names no SRv6 service */
    PE_BEHAVIOUR,    /* its service does not take this family */
    PE_CLEAR,        /* the VRF is encrypted, its service does not open ESP */
    PE_SEALED,       /* the other way round */
    PE_NOT_IMPORTED, /* no VRF here wants its targets */
    PE_LOCAL,        /* this VRF has the prefix itself */
    PE_OURS,         /* it starts here */
    PE_REFUSED,      /* the table is full */
    PE_REASONS
};
const char *pe_reason_text(enum pe_reason r);

struct pe_route_view {
    uint32_t family;
    uint8_t rd[8];
    struct ip_prefix prefix;
    struct ip6 next_hop;
    bool has_service;
    struct ip6 service_sid;
    uint32_t vrf; /* 0: none imports it */
    uint32_t color;
    enum pe_reason reason;
    uint32_t path_of_class[LANE_CLASSES]; /* PE_USED */
    int64_t since_ns;
};
struct pe_cursor {
    unsigned family;
    uint64_t version;
};
/* Every path of every VPN route, a line for each VRF that imports it, from *cursor on (zero at first). 0: that was all. A route
 * that does not fit the rest of ret begins the next call: most >= 64. */
unsigned pe_routes_view(struct pe *pe, struct pe_cursor *cursor, struct pe_route_view *ret, unsigned most);

struct pe_underlay_view {
    struct ip_prefix prefix;
    uint64_t router; /* neighbour that told it; 0: of the configuration */
    uint16_t port;
    uint32_t metric;
    bool used;
};
unsigned pe_underlay_view(struct pe *pe, uint32_t *cursor, struct pe_underlay_view *ret, unsigned most);

struct pe_policy_view { /* a candidate */
    uint32_t color, distinguisher, preference;
    struct ip6 endpoint;
    unsigned n_segments;
    bool has_bsid;
    struct ip6 bsid;
    bool valid;       /* its first segment is reachable */
    bool chosen;      /* the best of its policy */
    bool failed;      /* its path took no lane: not chosen for a while */
    uint32_t path;    /* chosen: of the core; 0: no class takes it */
    unsigned steered; /* classes and services that do */
    char name[64];
};
unsigned pe_policies_view(struct pe *pe, uint32_t *cursor, struct pe_policy_view *ret, unsigned most);

struct pe_counts {
    uint32_t vrfs, neighbours, underlay_routes, vpn_routes, vrf_routes, policies, policies_used, steered;
    uint64_t route_changes, unusable, refused;
};
struct pe_counts pe_counts(const struct pe *pe);

#endif
