/* What follows from a scenario: numbers, addresses, SIDs, tables and flows. Deterministic and the same for lab and
 * simulator, so both configure identical routers (the kinds of entries are those of forward/tables.h).
 *
 *   node           router id n (16 bits)                    core port i of it, then its access ports, counted from 0
 *   loopback       fd00:6d65::n/128
 *   locator        fcbb:bb00:n::/48                         uN (NEXT-C-SID End)
 *   adjacency      fcbb:bb00:n:e000+port::/64               uA; as a hop of a strict path, where the router is
 *                  known, shorter: fcbb:bb00:e000+port::/48
 *   service        fcbb:bb00:n:f000+vrf::/64                End.DT46 with NEXT-C-SID
 *   host subnets   10.s.s.0/24 and fd10:0:0:s::/64, s counting access interfaces; gateway .1 / ::1, hosts from .2 / ::2
 *   MAC            02:4d:n:n:port:0 for routers, 02:48:…  for hosts */
#ifndef MERIDIAN_SCENARIO_PLAN_H
#define MERIDIAN_SCENARIO_PLAN_H

#include "scenario/scenario.h"

#define PLAN_SIDS_MOST  16 /* routers of a path, as LANE_SIDS_MOST */
#define PLAN_BLOCK_BITS 32
#define PLAN_PORTS_MOST 64
#define PLAN_RISKS_MOST 64

struct plan_port {
    bool access;
    uint32_t link;      /* core: index */
    uint32_t side;      /* core: which end of the link this is: 0 or 1 */
    uint32_t peer;      /* core: the router there */
    uint32_t peer_port; /* core */
    const char *name;   /* access: as the hosts name it, or the host's own name */
    uint8_t mac[6];
    uint64_t rate_bps;
    int64_t delay_ns; /* one way */
    uint32_t mtu;
    uint64_t pool, tenant_pool; /* bytes */
    uint8_t pfc_priorities;     /* access: bit per priority */
};

/* One VLAN of an access port: its VPN and the gateways we answer for. */
struct plan_access {
    uint32_t port, vpn;
    uint16_t vlan;
    struct ip_prefix gateway4, gateway6; /* our address, host bits kept, with the subnet's length */
    uint8_t class_of_dscp[64];           /* enum scenario_class */
};

enum plan_sid_kind { PLAN_SID_NODE, PLAN_SID_ADJACENCY, PLAN_SID_SERVICE };

struct plan_sid {
    enum plan_sid_kind kind;
    struct ip_prefix sid;
    uint32_t port; /* adjacency */
    uint32_t vrf;  /* service */
};

enum plan_route_kind { PLAN_ROUTE_ADJACENT, PLAN_ROUTE_LOCAL, PLAN_ROUTE_REMOTE };

struct plan_route {
    uint32_t vrf; /* 0: the underlay */
    struct ip_prefix prefix;
    enum plan_route_kind kind;
    uint32_t port;                            /* adjacent */
    struct ip6 service_sid;                   /* remote */
    uint32_t path_of_class[SCENARIO_CLASSES]; /* remote: path ids of this router, 0: none */
    bool encrypted;
    uint32_t egress; /* remote: router */
};

struct plan_path {
    uint32_t id;                     /* > 0, unique in its ingress router */
    uint32_t of;                     /* scenario path, SCENARIO_NONE: planned because none was listed */
    uint32_t egress;                 /* router */
    struct ip6 sids[PLAN_SIDS_MOST]; /* of the routers between: each one's adjacency in its short form */
    uint32_t n_sids;
    uint32_t out_port;
    uint32_t links[PLAN_SIDS_MOST + 1]; /* in order */
    uint32_t n_links;
    uint64_t rate_bps;               /* of the slowest link */
    int64_t delay_ns;                /* one way */
    uint32_t mtu;                    /* least of its links */
    uint32_t risks[PLAN_RISKS_MOST]; /* what can fail and take it with it: links, their groups, routers between */
    uint32_t n_risks;
};

struct plan_slice {
    uint32_t vpn, path; /* scenario vpn; path id of this router */
    enum scenario_class class_;
    struct ip6 service_sid;
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint64_t window_least, ecn_at, xoff_at, xon_at, drop_at; /* bytes */
    bool standby;
    uint32_t protect; /* 1+1: path id of the second one, 0: none */
};

struct plan_router {
    uint32_t id;
    struct ip6 loopback;
    struct ip_prefix locator;
    struct plan_port *ports;
    struct plan_access *access;
    struct plan_sid *sids;
    uint32_t *vpns; /* scenario VPNs with hosts here */
    struct plan_route *routes;
    struct plan_path *paths;
    struct plan_slice *slices;
    uint32_t n_ports, n_access, n_sids, n_vpns, n_routes, n_paths, n_slices;
};

struct plan_host {
    uint32_t router, port, access; /* access: index in the router's */
    uint16_t vlan;
    struct ip_prefix address4, address6; /* host bits kept */
    struct ip_addr gateway4, gateway6;
    uint8_t mac[6], gateway_mac[6];
};

/* One flow of a workload between two hosts. */
struct plan_flow {
    uint32_t workload, from, to;
    uint32_t number; /* among its workload's */
    int64_t start_ns;
    uint16_t src_port, dst_port;
};

struct plan {
    const struct scenario *scenario; /* borrowed: outlives the plan */
    struct plan_router *routers;     /* by scenario index */
    struct plan_host *hosts;
    struct plan_flow *flows;
    uint32_t n_flows;
    int64_t hello_ns, silence_ns; /* 0: the router's own */
    bool for_lab;                 /* plan_for_lab was done */
};

int plan_create(struct plan **ret, const struct scenario *s, struct error *err);
void plan_free(struct plan *p);
/* Changes a plan to what real processes need on a machine that wakes them late: larger windows, pools and ingress buffers, slower
 * hellos, core MTUs as small as the hosts allow. The lab runs this; the simulator too where it shall be compared with one. */
void plan_for_lab(struct plan *p);

struct ip6 plan_service_sid(const struct plan *p, uint32_t router, uint32_t vpn);

#endif
