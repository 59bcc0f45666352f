/* The tables of the forwarding core: what configuration sets now and BGP will drive (src/bgp reaches them through a sink
 * that it declares). Every call either takes effect whole or changes nothing and says why in one sentence. Called between
 * batches, on the core's own thread. `set` replaces what is there under the same key; `del` of what is not there is
 * -ENOENT. */
#ifndef MERIDIAN_FORWARD_TABLES_H
#define MERIDIAN_FORWARD_TABLES_H

#include "esp/esp.h"
#include "forward/forward.h"

/* --- ports and access sub-interfaces --------------------------------------------------------------------- */

int forward_port_add(struct forward *, uint16_t port, const struct port_config *, struct error *);

/* Where hosts of a VRF are attached: a port, or one VLAN of it. We answer ARP and ND for the gateway addresses. */
struct forward_access {
    uint16_t port;
    uint16_t vlan; /* 0: untagged */
    uint32_t vrf;
    struct ip_prefix gateway[4]; /* our addresses there with their subnets; family 0: unused */
    uint32_t tenant;             /* slice id of what enters here */
    uint8_t class_of_dscp[64];   /* enum lane_class; all zero: the default map (classes.h). CONTROL is never granted */
    uint8_t priority_of_class[LANE_CLASSES]; /* 802.1p priority on which this tenant's class is paused */
    uint64_t police_bps;                     /* 0: only the queues' limits */
    bool advertise;                          /* IPv6 router advertisements: hosts make their addresses themselves */
    uint32_t host_mtu;                       /* told to hosts; 0: the port's */
    uint32_t neighbours;                     /* hosts at most; 0: 64 */
};
int forward_access_set(struct forward *, const struct forward_access *, int64_t now, struct error *);
int forward_access_del(struct forward *, uint16_t port, uint16_t vlan, int64_t now);

/* --- VRFs and routes -------------------------------------------------------------------------------------- */

int forward_vrf_add(
    struct forward *, uint32_t vrf, uint32_t tenant, struct error *); /* vrf 0 is the underlay, always there */
int forward_vrf_del(struct forward *, uint32_t vrf);
/* xSEC policy of a VPN: encrypt, or refuse (X2). Nothing of it leaves in clear whatever its routes say (LOSS_NO_KEY), and what
 * comes in clear is refused (LOSS_CLEARTEXT). -ENOENT; -EINVAL: the underlay. */
int forward_vrf_encrypt(struct forward *, uint32_t vrf, bool only_encrypted, struct error *);

enum route_kind {
    ROUTE_ATTACHED, /* hosts of the subnet are neighbours at `port`/`vlan` (set by forward_access_set for gateways) */
    ROUTE_GATEWAY,  /* through a router of the customer's, `gateway`, at `port`/`vlan` */
    ROUTE_REMOTE,   /* in another PE: `service_sid` along `path_of_class` (0: unsteered, the underlay's shortest way) */
    ROUTE_ADJACENT, /* underlay only: over the core link at `port` */
    ROUTE_LOCAL,    /* ours: punted */
    ROUTE_BLACKHOLE,
};

struct forward_route {
    enum route_kind kind;
    uint16_t port, vlan;
    struct ip_addr gateway;
    struct ip6 service_sid;
    uint32_t path_of_class[LANE_CLASSES]; /* forward_path ids */
    bool encrypted;  /* ESP inside; service_sid is an encrypted one. No valid key means drop (LOSS_NO_KEY) */
    struct ip6 peer; /* encrypted: the egress PE's loopback, which is the source of what it sends: names its SAs */
};
int forward_route_set(
    struct forward *, uint32_t vrf, const struct ip_prefix *, const struct forward_route *, struct error *);
int forward_route_del(struct forward *, uint32_t vrf, const struct ip_prefix *);
/* Longest match; -ENOENT. For ping, traceroute, `show` and tests. */
int forward_route_find(
    struct forward *, uint32_t vrf, const struct ip_addr *, struct forward_route *ret, struct ip_prefix *ret_prefix);

/* --- local SIDs (RFC 8986, 9800) --------------------------------------------------------------------------- */

enum sid_behaviour {
    SID_END = 1,
    SID_END_X = 5,
    SID_END_DT6 = 18,
    SID_END_DT4 = 19,
    SID_END_DT46 = 20,
    SID_END_NEXT_CSID = 43,   /* uN */
    SID_END_X_NEXT_CSID = 52, /* uA */
    SID_END_DT6_NEXT_CSID = 62,
    SID_END_DT4_NEXT_CSID = 63,
    SID_END_DT46_NEXT_CSID = 64,
    /* ESP, then DT46: of an encrypted VPN. IANA's range for private use (RFC 8986 section 10.2.1): DT46's number in it. */
    SID_END_ESP_DT46 = 0x8000 + SID_END_DT46,
    SID_END_ESP_DT46_NEXT_CSID = 0x8000 + SID_END_DT46_NEXT_CSID,
};
/* "End.X", "uDT46"…; "?" */
const char *sid_behaviour_name(unsigned behaviour);

/* RFC 8986 section 4.16, for End and End.X: what happens when the last segment is reached. */
enum sid_flavour {
    SID_PSP = 1, /* the SRH is taken off one segment before its end */
    SID_USD = 2, /* as the last segment: an inner IPv6 packet comes out, into the underlay */
};

struct forward_sid {
    struct ip_prefix sid; /* family IP_V6; len 128 for full SIDs, block + node + function for NEXT-C-SID */
    enum sid_behaviour behaviour;
    uint8_t flavours; /* enum sid_flavour */
    uint16_t port;    /* End.X: the adjacency */
    uint32_t vrf;     /* End.DT*: the table */
};
int forward_sid_set(struct forward *, const struct forward_sid *, struct error *);
int forward_sid_del(struct forward *, const struct ip_prefix *);

/* --- security associations (esp/esp.h; src/xsec makes them) --------------------------------------------------- */

/* A packet takes the sending SA of (its route's peer, its VRF, its class as lane); one that comes needs a receiving SA of (its
 * outer source, SPI) whose VRF is its SID's. Between two batches: what is on its way is opened with the key it was sealed
 * with, as long as that stands. A sending SA takes the place of the one before; a receiving one stands beside others.
 * -EEXIST, -ENOSPC, -ENOMEM, -ENOENT: there is no such VRF; -EINVAL. */
int forward_sa_install(struct forward *, const struct esp_sa_config *, struct error *);
int forward_sa_remove(struct forward *, uint32_t spi, const struct ip6 *peer, bool sending); /* -ENOENT */
const char *forward_cipher(const struct forward *); /* esp_cipher; "none": no SA was ever installed */

/* --- paths: strict segment lists, each class of a tenant with a lane of its own ------------------------------ */

#define FORWARD_RISKS_MOST 64u

struct forward_path {
    uint32_t id;                     /* > 0 */
    struct ip6 sids[LANE_SIDS_MOST]; /* routers on the way, in order, without the service SID */
    unsigned n_sids;
    uint16_t out_port; /* the first link */
    uint32_t mtu;      /* the smallest of its links'; 0: that of out_port */
    bool no_lanes;     /* lossy: parts of it run through routers that are not ours */
    bool full_sids;    /* they, or the service SIDs behind it, are no NEXT-C-SIDs: never packed into containers */
    uint32_t risks[FORWARD_RISKS_MOST]; /* shared-risk groups: numbers of what can fail and take the path with it */
    unsigned n_risks;
};
int forward_path_set(struct forward *, const struct forward_path *, struct error *);
int forward_path_del(struct forward *, uint32_t id);

/* The slice of a tenant on a path (A6): opens the lane, held until it is complete. A route whose path_of_class names a path
 * with no lane for its tenant and class goes by the lossy queue. */
struct forward_slice {
    uint32_t tenant, path;
    enum lane_class class_;
    struct ip6 service_sid; /* lanes end in a VRF: the egress' service SID */
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint32_t window_least;
    uint32_t backup; /* path to move to when a router of `path` is going to end; 0: the lane waits (lane/leave.c) */
    struct queue_limits limits;
    /* 1+1: every packet also goes by this path, which shares no risk with the other one; 0: no. What the slice is guaranteed is
     * asked for on both. */
    uint32_t protect;
    uint32_t lag_cells; /* 1+1: what may wait for the slower path; 0: 1024 */
};
int forward_slice_set(struct forward *, const struct forward_slice *, int64_t now, struct error *);
int forward_slice_del(
    struct forward *, uint32_t tenant, uint32_t path, enum lane_class, const struct ip6 *service_sid, int64_t now);
/* There is such a slice, and its packets take this path now. */
bool forward_slice_is(
    const struct forward *, uint32_t tenant, uint32_t path, enum lane_class, const struct ip6 *service_sid);
/* The slice that has this lane (its path is then that lane's, also while a move waits for it). False: none. */
bool forward_slice_of_lane(const struct forward *, uint64_t lane, struct forward_slice *ret);
/* Moves routes and their lane to another path without loss or reordering, as soon as every router there has accepted; the
 * slice is named by its new path then (LANE_EVENT_MOVED). to_path == from_path: a move that waits for that is given up. */
int forward_slice_move(struct forward *, uint32_t tenant, enum lane_class, const struct ip6 *service_sid,
    uint32_t from_path, uint32_t to_path, int64_t now, struct error *);

/* Largest IP packet of a host that fits over the path in a lane, whatever its service SID (MTU planning); 0: unknown path. */
uint32_t forward_path_mtu(struct forward *, uint32_t path, bool encrypted);

#endif
