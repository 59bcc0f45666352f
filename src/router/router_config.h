/* The configuration of a router: what its file says, typed and checked in itself (docs/router-config.md has every key).
 * Pure: nothing is opened or looked up; names are resolved to numbers by router_config_read. */
#ifndef MERIDIAN_ROUTER_ROUTER_CONFIG_H
#define MERIDIAN_ROUTER_ROUTER_CONFIG_H

#include "forward/tables.h"
#include "router/fields.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_NAME 32
#define CONFIG_PATH 108 /* a socket's path fits */

struct config_limits {
    uint32_t ecn_cells, pfc_xoff_cells, pfc_xon_cells, drop_cells;
};

struct config_memif {
    char server[CONFIG_PATH], client[CONFIG_PATH]; /* one of them: the socket */
    uint32_t id, ring;
    char secret[25];
};

struct config_tap {
    char device[16], namespace_[128];
    bool keep;
    uint32_t queue;
};

struct config_pci {
    char address[256];
    uint32_t descriptors;
};

struct config_fibre {
    uint64_t rate_bps;
    double km, loss, bit_error;
    int64_t jitter_ns;
    uint64_t seed;
    uint32_t frames;
};

struct config_port {
    char name[CONFIG_NAME];
    uint32_t kind; /* enum port_kind */
    bool has_memif, has_tap, has_pci, has_fibre;
    struct config_memif memif;
    struct config_tap tap;
    struct config_pci pci;
    struct config_fibre fibre;
    uint64_t rate_bps;
    uint32_t mtu; /* 0 in the file: 1500 for access, 1900 for core */
    uint8_t mac[6];
    uint32_t peer;       /* core: router id; 0: anyone trusted */
    uint8_t foreign[6];  /* core: the MAC of a neighbour that is none of ours */
    uint32_t pool_cells; /* 0 in the file: from rate and distance */
    uint32_t tenant_cells, link_window;
    int64_t rtt_ns;
    uint32_t *pfc;
    unsigned n_pfc;
    struct config_limits lossy;
    bool one_queue;
};

struct config_target {
    char text[24];
};

struct config_class {
    uint32_t class_, color;
    bool lane;
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint32_t window_least;
    struct config_limits limits;
};

struct config_vrf {
    char name[CONFIG_NAME];
    uint32_t id, tenant;
    char rd_text[24];                        /* "": identifier:id */
    struct config_target *imports, *exports; /* none: as:id */
    unsigned n_imports, n_exports;
    bool encrypt;
    struct config_class *classes;
    unsigned n_classes;
};

struct config_dscp {
    uint32_t dscp, class_;
};

struct config_priorities {
    uint32_t inference, parameter, bulk;
};

struct config_access {
    char port_name[CONFIG_NAME], vrf_name[CONFIG_NAME];
    uint32_t vlan, tenant;
    struct ip_prefix *gateways;
    unsigned n_gateways;
    struct config_dscp *classes;
    unsigned n_classes;
    struct config_priorities priorities;
    uint64_t police_bps;
    bool advertise;
    uint32_t host_mtu, neighbours;
    uint32_t port, vrf; /* resolved */
};

struct config_paths {
    uint32_t inference, parameter, bulk;
};

struct config_route {
    char vrf_name[CONFIG_NAME], port_name[CONFIG_NAME];
    struct ip_prefix prefix;
    uint32_t vlan;
    struct ip_addr gateway;
    struct ip6 sid;
    uint32_t path; /* for every class that `paths` does not name */
    struct config_paths paths;
    struct ip6 peer; /* encrypted: the loopback of the router that opens it; all 0: not given */
    bool encrypted, local, blackhole;
    uint32_t port, vrf; /* resolved */
    uint32_t kind;      /* enum route_kind, from which keys are there */
};

struct config_sid {
    struct ip_prefix sid;
    uint32_t behaviour; /* enum sid_behaviour */
    uint32_t *flavours; /* bit numbers of enum sid_flavour */
    unsigned n_flavours;
    char port_name[CONFIG_NAME], vrf_name[CONFIG_NAME];
    uint32_t port, vrf; /* resolved */
};

struct config_path {
    uint32_t id;
    struct ip6 *sids;
    unsigned n_sids;
    char port_name[CONFIG_NAME];
    uint32_t mtu;
    bool lanes, full_sids;
    uint32_t *risks;
    unsigned n_risks;
    uint32_t port; /* resolved */
};

struct config_slice {
    uint32_t tenant, path, class_, backup;
    struct ip6 sid;
    uint64_t guarantee_bps, cap_bps, rate_bps;
    uint32_t window_least;
    struct config_limits limits;
    uint32_t protect, lag_cells;
};

struct config_streams {
    uint32_t most, window, cells;
    int64_t wait_ns;
};

struct config_lanes {
    uint32_t most;
    int64_t hello_ns, silence_ns, watchdog_ns, move_ns;
    double control_loss;
    uint32_t history;
};

struct config_elephants {
    uint64_t threshold_bps, clear_bps;
    int64_t window_ns;
    uint32_t flows, buckets;
};

struct config_marking {
    int64_t period_ns;
    uint32_t flows;
};

struct config_collector {
    struct ip_addr address;
    uint32_t port;
};

struct config_ipfix {
    struct config_collector *collectors;
    unsigned n_collectors;
    uint32_t domain; /* 0: the router's id */
    uint32_t buffer_kib;
    int64_t template_ns, counters_ns;
};

struct config_punt {
    char device[16];
    struct ip_addr *addresses; /* beside the loopback */
    unsigned n_addresses;
    struct ip_prefix *routes;
    unsigned n_routes;
    uint32_t mtu;
};

struct config_bgp_peer {
    struct ip_addr address;
    char md5[81];
    bool ttl_security, passive;
    uint32_t limit;     /* routes of a family; 0: none */
    uint32_t *families; /* enum config_family; none: all */
    unsigned n_families;
};

/* A customer's router in a VRF (PE–CE). */
struct config_customer {
    char vrf_name[CONFIG_NAME];
    struct ip_addr address;
    uint32_t as;
    char md5[81];
    bool ttl_security, passive, as_override;
    uint32_t limit, preference, own_as;
    char site_text[24]; /* "": none */
    /* resolved: our address in its subnet, and those that its routes get as next hops (zero: none of that family) */
    uint32_t vrf;
    struct ip_addr local;
    struct ip6 next_hop4, next_hop6;
    uint8_t site[8];
};
#define CONFIG_CUSTOMERS_MOST 256u

struct config_bgp {
    uint32_t as;
    struct ip_addr identifier; /* family 0 in the file: the router's id */
    bool links;
    uint32_t hold_s, restart_s, long_lived_s;
    struct ip_prefix *announce;
    unsigned n_announce;
    struct config_bgp_peer *peers;
    unsigned n_peers;
    struct config_customer *customers;
    unsigned n_customers;
    char control[CONFIG_PATH];
};

struct config_memory {
    uint32_t packets; /* 0 in the file: from ports and limits */
    uint32_t huge;    /* enum eal_huge */
};

struct config_worker {
    int32_t core; /* -1: any */
    int32_t nice;
    int64_t spin_ns;
};

struct config_log {
    uint32_t level; /* enum log_level */
    bool json;
};

struct config_listen {
    char at[64];
};

struct config_tables {
    uint32_t routes, neighbours, vrfs;
};

struct config_xsec {
    char kit[256], state[256], revoked[256], psk[256]; /* revoked, psk: "" none */
    int64_t lifetime_ns;
};

struct config_options {
    uint32_t nr, lane, sequence;
};

struct router_config {
    char name[CONFIG_NAME];
    uint32_t id;
    struct ip6 loopback;
    struct ip_prefix locator;
    uint32_t block_bits;
    char identity[256];
    uint8_t (*trusted)[32];
    unsigned n_trusted;
    uint32_t mode; /* enum lane_mode */
    char user[CONFIG_NAME];
    char control[CONFIG_PATH];
    bool has_punt;
    struct config_punt punt;
    bool has_bgp;
    struct config_bgp bgp;
    struct config_memory memory;
    struct config_worker worker;
    struct config_log log;
    struct config_tables tables;
    struct config_options options;
    bool has_xsec;
    struct config_xsec xsec;
    struct config_lanes lanes;
    struct config_streams streams;
    struct config_elephants elephants;
    struct config_marking marking;
    struct config_ipfix ipfix;
    struct config_listen *metrics;
    unsigned n_metrics;
    struct config_port *ports;
    unsigned n_ports;
    struct config_vrf *vrfs;
    unsigned n_vrfs;
    struct config_access *access;
    unsigned n_access;
    struct config_route *routes;
    unsigned n_routes;
    struct config_sid *sids;
    unsigned n_sids;
    struct config_path *paths;
    unsigned n_paths;
    struct config_slice *slices;
    unsigned n_slices;
};

extern const struct fields router_config_fields;
/* The field whose `names` are those of behaviours. */
const struct field *router_config_behaviour(void);

/* What of BGP follows from the rest of the file. `i`: a VRF. */
uint32_t router_config_family(uint32_t family); /* wire/bgp_message.h's, of a number in `families` */
int router_config_rd(const struct router_config *c, unsigned i, uint8_t ret[8], struct error *err);
int router_config_targets(const struct router_config *c, unsigned i, bool exports, uint8_t (*ret)[8], unsigned most,
    struct error *err); /* how many */
/* The entry of `sids` that is this VRF's service: its DT46, else another decapsulation; NULL: none. */
const struct config_sid *router_config_service(const struct router_config *c, uint32_t vrf);
bool router_config_encrypted(const struct router_config *c, uint32_t vrf);
int router_config_check_bgp(struct router_config *c, struct error *err); /* fills in identifier and missing services */
#define CONFIG_TARGETS_MOST 32u

/* Reads, checks and resolves the text of a file. One sentence says what is wrong and where. */
int router_config_read(struct router_config *ret, const char *text, size_t len, struct error *err);
int router_config_load(struct router_config *ret, const char *path, struct error *err);
void router_config_free(struct router_config *c);
/* Packets that the pool needs so that no lane, queue or fibre of this configuration can want one in vain. */
uint32_t router_config_packets(const struct router_config *c);
/* Bytes of the longest frame of any port. */
uint32_t router_config_frame(const struct router_config *c);

#endif
