/* The keys of a router's configuration: name, kind, place, range, default. docs/router-config.md says what they mean; a test
 * compares the two. */
#include "router/router_config.h"

#include "base/log.h"
#include "router/eal.h"

#define AT(owner, member)           .at = offsetof(struct owner, member), .size = sizeof(((struct owner *)0)->member)
#define VALUE(k, kind_, ...)        {.key = k, .kind = FIELD_##kind_, __VA_ARGS__}
#define RANGE(a, b)                 .least = (uint64_t)(a), .most = (uint64_t)(b)
#define NAMES(n)                    .names = n, .most = sizeof(n) / sizeof(*(n))
#define MAP(k, owner, member, sub_) {.key = k, .kind = FIELD_MAP, AT(owner, member), .sub = &(sub_)}
#define MAYBE(k, owner, member, sub_)                                                                                  \
    {.key = k, .kind = FIELD_MAP, AT(owner, member), .sub = &(sub_), .given = offsetof(struct owner, has_##member)}
#define LIST(k, owner, member, most_, ...)                                                                             \
    {.key = k,                                                                                                         \
        .kind = FIELD_LIST,                                                                                            \
        .at = offsetof(struct owner, member),                                                                          \
        .count = offsetof(struct owner, n_##member),                                                                   \
        .most = most_,                                                                                                 \
        __VA_ARGS__}
#define END                {.kind = FIELD_END}
#define TABLE(name, owner) static const struct fields name = {name##_table, sizeof(struct owner)}

static const char *const port_kinds[] = {[PORT_CORE] = "core", [PORT_ACCESS] = "access"};
static const char *const classes[] = {
    [LANE_CONTROL] = NULL, [LANE_INFERENCE] = "inference", [LANE_PARAMETER] = "parameter", [LANE_BULK] = "bulk"};
static const char *const modes[] = {
    [LANE_MODE_LANES] = "lanes", [LANE_MODE_FIFO] = "fifo", [LANE_MODE_ECN] = "ecn", [LANE_MODE_PFC] = "pfc"};
static const char *const huge_names[] = {[EAL_HUGE_AUTO] = "auto", [EAL_HUGE_YES] = "yes", [EAL_HUGE_NO] = "no"};
static const char *const levels[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARN] = "warn", [LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug"};
static const char *const behaviours[] = {[SID_END] = "End",
    [SID_END_X] = "End.X",
    [SID_END_DT6] = "End.DT6",
    [SID_END_DT4] = "End.DT4",
    [SID_END_DT46] = "End.DT46",
    [SID_END_NEXT_CSID] = "uN",
    [SID_END_X_NEXT_CSID] = "uA",
    [SID_END_DT6_NEXT_CSID] = "uDT6",
    [SID_END_DT4_NEXT_CSID] = "uDT4",
    [SID_END_DT46_NEXT_CSID] = "uDT46"};

static const struct field limits_table[] = {
    VALUE("ecn", NUMBER, AT(config_limits, ecn_cells)),
    VALUE("pfc_xoff", NUMBER, AT(config_limits, pfc_xoff_cells)),
    VALUE("pfc_xon", NUMBER, AT(config_limits, pfc_xon_cells)),
    VALUE("drop", NUMBER, AT(config_limits, drop_cells)),
    END,
};
TABLE(limits, config_limits);

static const struct field memif_table[] = {
    VALUE("server", TEXT, AT(config_memif, server)),
    VALUE("client", TEXT, AT(config_memif, client)),
    VALUE("id", NUMBER, AT(config_memif, id)),
    VALUE("ring", NUMBER, AT(config_memif, ring), .fallback = "1024", RANGE(64, 16384)),
    VALUE("secret", TEXT, AT(config_memif, secret)),
    END,
};
TABLE(memif, config_memif);

static const struct field tap_table[] = {
    VALUE("device", TEXT, AT(config_tap, device), .required = true),
    VALUE("namespace", TEXT, AT(config_tap, namespace_)),
    VALUE("keep", BOOL, AT(config_tap, keep), .fallback = "no"),
    VALUE("queue", NUMBER, AT(config_tap, queue), .fallback = "10000", RANGE(0, 1000000)),
    END,
};
TABLE(tap, config_tap);

static const struct field pci_table[] = {
    VALUE("address", TEXT, AT(config_pci, address), .required = true),
    VALUE("descriptors", NUMBER, AT(config_pci, descriptors), .fallback = "1024", RANGE(64, 32768)),
    END,
};
TABLE(pci, config_pci);

static const struct field fibre_table[] = {
    VALUE("rate", RATE, AT(config_fibre, rate_bps)),
    VALUE("km", KM, AT(config_fibre, km)),
    VALUE("loss", SHARE, AT(config_fibre, loss)),
    VALUE("bit_error", SHARE, AT(config_fibre, bit_error)),
    VALUE("jitter", TIME, AT(config_fibre, jitter_ns)),
    VALUE("seed", NUMBER, AT(config_fibre, seed), .fallback = "1"),
    VALUE("frames", NUMBER, AT(config_fibre, frames), RANGE(0, 1u << 24)),
    END,
};
TABLE(fibre, config_fibre);

static const struct field priority_item = {.kind = FIELD_NUMBER, .size = 4, RANGE(0, 7)};
static const struct field port_table[] = {
    VALUE("name", TEXT, AT(config_port, name), .required = true),
    VALUE("kind", ENUM, AT(config_port, kind), .required = true, NAMES(port_kinds)),
    MAYBE("memif", config_port, memif, memif),
    MAYBE("tap", config_port, tap, tap),
    MAYBE("pci", config_port, pci, pci),
    MAYBE("fibre", config_port, fibre, fibre),
    VALUE("rate", RATE, AT(config_port, rate_bps)),
    VALUE("mtu", NUMBER, AT(config_port, mtu), RANGE(0, 9600)),
    VALUE("mac", MAC, AT(config_port, mac)),
    VALUE("peer", NUMBER, AT(config_port, peer)),
    VALUE("foreign", MAC, AT(config_port, foreign)),
    VALUE("pool_cells", NUMBER, AT(config_port, pool_cells), RANGE(0, 1u << 24)),
    VALUE("tenant_cells", NUMBER, AT(config_port, tenant_cells), RANGE(0, 1u << 24)),
    VALUE("link_window", NUMBER, AT(config_port, link_window), RANGE(0, 1u << 24)),
    VALUE("rtt", TIME, AT(config_port, rtt_ns)),
    LIST("pfc", config_port, pfc, 8, .item = &priority_item),
    MAP("lossy", config_port, lossy, limits),
    VALUE("one_queue", BOOL, AT(config_port, one_queue)),
    END,
};
TABLE(port, config_port);

static const struct field class_table[] = {
    VALUE("class", ENUM, AT(config_class, class_), .required = true, NAMES(classes)),
    VALUE("color", NUMBER, AT(config_class, color)),
    VALUE("lane", BOOL, AT(config_class, lane), .fallback = "yes"),
    VALUE("guarantee", RATE, AT(config_class, guarantee_bps)),
    VALUE("cap", RATE, AT(config_class, cap_bps)),
    VALUE("rate", RATE, AT(config_class, rate_bps)),
    VALUE("window", NUMBER, AT(config_class, window_least)),
    MAP("limits", config_class, limits, limits),
    END,
};
TABLE(class, config_class);

static const struct field target_item = {.kind = FIELD_TEXT, .size = sizeof(struct config_target)};
static const struct field vrf_table[] = {
    VALUE("name", TEXT, AT(config_vrf, name), .required = true),
    VALUE("id", NUMBER, AT(config_vrf, id), .required = true, RANGE(1, UINT32_MAX)),
    VALUE("tenant", NUMBER, AT(config_vrf, tenant)),
    VALUE("rd", TEXT, AT(config_vrf, rd_text)),
    LIST("import", config_vrf, imports, CONFIG_TARGETS_MOST, .item = &target_item),
    LIST("export", config_vrf, exports, CONFIG_TARGETS_MOST, .item = &target_item),
    VALUE("encrypt", BOOL, AT(config_vrf, encrypt)),
    LIST("classes", config_vrf, classes, LANE_CLASSES, .sub = &class),
    END,
};
TABLE(vrf, config_vrf);

static const struct field dscp_table[] = {
    VALUE("dscp", NUMBER, AT(config_dscp, dscp), .required = true, RANGE(0, 63)),
    VALUE("class", ENUM, AT(config_dscp, class_), .required = true, NAMES(classes)),
    END,
};
TABLE(dscp, config_dscp);

static const struct field priorities_table[] = {
    VALUE("inference", NUMBER, AT(config_priorities, inference), RANGE(0, 7)),
    VALUE("parameter", NUMBER, AT(config_priorities, parameter), RANGE(0, 7)),
    VALUE("bulk", NUMBER, AT(config_priorities, bulk), RANGE(0, 7)),
    END,
};
TABLE(priorities, config_priorities);

static const struct field gateway_item = {.kind = FIELD_GATEWAY, .size = sizeof(struct ip_prefix)};
static const struct field access_table[] = {
    VALUE("port", TEXT, AT(config_access, port_name), .required = true),
    VALUE("vlan", NUMBER, AT(config_access, vlan), RANGE(0, 4094)),
    VALUE("vrf", TEXT, AT(config_access, vrf_name), .required = true),
    LIST("gateways", config_access, gateways, 4, .item = &gateway_item),
    VALUE("tenant", NUMBER, AT(config_access, tenant)),
    LIST("classes", config_access, classes, 64, .sub = &dscp),
    MAP("priorities", config_access, priorities, priorities),
    VALUE("police", RATE, AT(config_access, police_bps)),
    VALUE("advertise", BOOL, AT(config_access, advertise)),
    VALUE("mtu", NUMBER, AT(config_access, host_mtu), RANGE(0, 9600)),
    VALUE("neighbours", NUMBER, AT(config_access, neighbours), .fallback = "64", RANGE(1, 1u << 20)),
    END,
};
TABLE(access, config_access);

static const struct field paths_of_class_table[] = {
    VALUE("inference", NUMBER, AT(config_paths, inference)),
    VALUE("parameter", NUMBER, AT(config_paths, parameter)),
    VALUE("bulk", NUMBER, AT(config_paths, bulk)),
    END,
};
TABLE(paths_of_class, config_paths);

static const struct field route_table[] = {
    VALUE("vrf", TEXT, AT(config_route, vrf_name)),
    VALUE("prefix", PREFIX, AT(config_route, prefix), .required = true),
    VALUE("port", TEXT, AT(config_route, port_name)),
    VALUE("vlan", NUMBER, AT(config_route, vlan), RANGE(0, 4094)),
    VALUE("gateway", ADDR, AT(config_route, gateway)),
    VALUE("sid", IP6, AT(config_route, sid)),
    VALUE("path", NUMBER, AT(config_route, path)),
    MAP("paths", config_route, paths, paths_of_class),
    VALUE("encrypted", BOOL, AT(config_route, encrypted)),
    VALUE("peer", IP6, AT(config_route, peer)),
    VALUE("local", BOOL, AT(config_route, local)),
    VALUE("blackhole", BOOL, AT(config_route, blackhole)),
    END,
};
TABLE(route, config_route);

static const char *const flavours[] = {"psp", "usd"};
static const struct field flavour_item = {.kind = FIELD_ENUM, .size = 4, NAMES(flavours)};
static const struct field sid_table[] = {
    VALUE("sid", PREFIX, AT(config_sid, sid), .required = true),
    VALUE("behaviour", ENUM, AT(config_sid, behaviour), .required = true, NAMES(behaviours)),
    LIST("flavours", config_sid, flavours, 2, .item = &flavour_item),
    VALUE("port", TEXT, AT(config_sid, port_name)),
    VALUE("vrf", TEXT, AT(config_sid, vrf_name)),
    END,
};
TABLE(sid, config_sid);

static const struct field ip6_item = {.kind = FIELD_IP6, .size = sizeof(struct ip6)};
static const struct field risk_item = {.kind = FIELD_NUMBER, .size = 4, RANGE(1, UINT32_MAX)};
static const struct field path_table[] = {
    VALUE("id", NUMBER, AT(config_path, id), .required = true, RANGE(1, UINT32_MAX)),
    LIST("sids", config_path, sids, LANE_SIDS_MOST, .item = &ip6_item),
    VALUE("port", TEXT, AT(config_path, port_name), .required = true),
    VALUE("mtu", NUMBER, AT(config_path, mtu), RANGE(0, 9600)),
    VALUE("lanes", BOOL, AT(config_path, lanes), .fallback = "yes"),
    VALUE("full_sids", BOOL, AT(config_path, full_sids)),
    LIST("risks", config_path, risks, FORWARD_RISKS_MOST, .item = &risk_item),
    END,
};
TABLE(path, config_path);

static const struct field slice_table[] = {
    VALUE("tenant", NUMBER, AT(config_slice, tenant), .required = true),
    VALUE("path", NUMBER, AT(config_slice, path), .required = true, RANGE(1, UINT32_MAX)),
    VALUE("class", ENUM, AT(config_slice, class_), .required = true, NAMES(classes)),
    VALUE("sid", IP6, AT(config_slice, sid), .required = true),
    VALUE("guarantee", RATE, AT(config_slice, guarantee_bps)),
    VALUE("cap", RATE, AT(config_slice, cap_bps)),
    VALUE("rate", RATE, AT(config_slice, rate_bps)),
    VALUE("window", NUMBER, AT(config_slice, window_least)),
    VALUE("backup", NUMBER, AT(config_slice, backup)),
    MAP("limits", config_slice, limits, limits),
    VALUE("protect", NUMBER, AT(config_slice, protect)),
    VALUE("lag", NUMBER, AT(config_slice, lag_cells), .fallback = "1024", RANGE(16, 1u << 20)),
    END,
};
TABLE(slice, config_slice);

static const struct field streams_table[] = {
    VALUE("most", NUMBER, AT(config_streams, most), .fallback = "32", RANGE(1, 4096)),
    VALUE("window", NUMBER, AT(config_streams, window), .fallback = "8192", RANGE(64, 1u << 20)),
    VALUE("cells", NUMBER, AT(config_streams, cells), .fallback = "8192", RANGE(1, 1u << 24)),
    VALUE("wait", TIME, AT(config_streams, wait_ns), .fallback = "100 ms"),
    END,
};
TABLE(streams, config_streams);

static const struct field lanes_table[] = {
    VALUE("most", NUMBER, AT(config_lanes, most), .fallback = "1024", RANGE(1, 65535)),
    VALUE("hello", TIME, AT(config_lanes, hello_ns), .fallback = "3 ms"),
    VALUE("silence", TIME, AT(config_lanes, silence_ns), .fallback = "10 ms"),
    VALUE("watchdog", TIME, AT(config_lanes, watchdog_ns), .fallback = "5 s"),
    VALUE("move", TIME, AT(config_lanes, move_ns), .fallback = "1 s"),
    VALUE("control_loss", SHARE, AT(config_lanes, control_loss), .fallback = "0.01"),
    VALUE("history", NUMBER, AT(config_lanes, history), .fallback = "16384", RANGE(0, 1u << 26)),
    END,
};
TABLE(lanes, config_lanes);

static const struct field elephants_table[] = {
    VALUE("threshold", RATE, AT(config_elephants, threshold_bps), .fallback = "100M"),
    VALUE("clear", RATE, AT(config_elephants, clear_bps)),
    VALUE("window", TIME, AT(config_elephants, window_ns), .fallback = "20 ms"),
    VALUE("flows", NUMBER, AT(config_elephants, flows), .fallback = "256", RANGE(1, 65536)),
    VALUE("buckets", NUMBER, AT(config_elephants, buckets), .fallback = "4096", RANGE(16, 1u << 20)),
    END,
};
TABLE(elephants, config_elephants);

static const struct field marking_table_[] = {
    VALUE("period", TIME, AT(config_marking, period_ns), .fallback = "1 s"),
    VALUE("flows", NUMBER, AT(config_marking, flows), .fallback = "4096", RANGE(1, 1u << 20)),
    END,
};
static const struct fields marking = {marking_table_, sizeof(struct config_marking)};

static const struct field collector_table[] = {
    VALUE("address", ADDR, AT(config_collector, address), .required = true),
    VALUE("port", NUMBER, AT(config_collector, port), .fallback = "4739", RANGE(1, 65535)),
    END,
};
TABLE(collector, config_collector);

static const struct field ipfix_table[] = {
    LIST("collectors", config_ipfix, collectors, 8, .sub = &collector),
    VALUE("domain", NUMBER, AT(config_ipfix, domain)),
    VALUE("buffer_kib", NUMBER, AT(config_ipfix, buffer_kib), .fallback = "1024", RANGE(16, 65536)),
    VALUE("templates", TIME, AT(config_ipfix, template_ns), .fallback = "10 min"),
    VALUE("counters", TIME, AT(config_ipfix, counters_ns), .fallback = "1 s"),
    END,
};
TABLE(ipfix, config_ipfix);

static const struct field addr_item = {.kind = FIELD_ADDR, .size = sizeof(struct ip_addr)};
static const struct field prefix_item = {.kind = FIELD_PREFIX, .size = sizeof(struct ip_prefix)};
static const struct field punt_table[] = {
    VALUE("device", TEXT, AT(config_punt, device), .required = true),
    LIST("addresses", config_punt, addresses, 16, .item = &addr_item),
    LIST("routes", config_punt, routes, 64, .item = &prefix_item),
    VALUE("mtu", NUMBER, AT(config_punt, mtu), .fallback = "1500", RANGE(1280, 9600)),
    END,
};
TABLE(punt, config_punt);

static const char *const families[] = {"evpn", "vpnv4", "vpnv6", "sr-policy-v6", "sr-policy-v4", "rtc"};
static const struct field family_item = {.kind = FIELD_ENUM, .size = 4, NAMES(families)};
static const struct field bgp_peer_table[] = {
    VALUE("address", ADDR, AT(config_bgp_peer, address), .required = true),
    VALUE("md5", TEXT, AT(config_bgp_peer, md5)),
    VALUE("ttl_security", BOOL, AT(config_bgp_peer, ttl_security)),
    VALUE("passive", BOOL, AT(config_bgp_peer, passive)),
    VALUE("limit", NUMBER, AT(config_bgp_peer, limit)),
    LIST("families", config_bgp_peer, families, 6, .item = &family_item),
    END,
};
TABLE(bgp_peer, config_bgp_peer);

static const struct field customer_table[] = {
    VALUE("vrf", TEXT, AT(config_customer, vrf_name), .required = true),
    VALUE("address", ADDR, AT(config_customer, address), .required = true),
    VALUE("as", NUMBER, AT(config_customer, as), .required = true, RANGE(1, UINT32_MAX - 1)),
    VALUE("md5", TEXT, AT(config_customer, md5)),
    VALUE("ttl_security", BOOL, AT(config_customer, ttl_security)),
    VALUE("passive", BOOL, AT(config_customer, passive)),
    VALUE("override", BOOL, AT(config_customer, as_override)),
    VALUE("own_as", NUMBER, AT(config_customer, own_as), RANGE(0, 16)),
    VALUE("limit", NUMBER, AT(config_customer, limit), .fallback = "10000"),
    VALUE("preference", NUMBER, AT(config_customer, preference)),
    VALUE("site", TEXT, AT(config_customer, site_text)),
    END,
};
TABLE(customer, config_customer);

static const struct field bgp_table[] = {
    VALUE("as", NUMBER, AT(config_bgp, as), .required = true, RANGE(1, UINT32_MAX - 1)),
    VALUE("identifier", ADDR, AT(config_bgp, identifier)),
    VALUE("links", BOOL, AT(config_bgp, links), .fallback = "yes"),
    VALUE("hold", NUMBER, AT(config_bgp, hold_s), .fallback = "90", RANGE(3, 65535)),
    VALUE("restart", NUMBER, AT(config_bgp, restart_s), .fallback = "120", RANGE(0, 4095)),
    VALUE("long_lived", NUMBER, AT(config_bgp, long_lived_s), RANGE(0, 16777215)),
    LIST("announce", config_bgp, announce, 256, .item = &prefix_item),
    LIST("peers", config_bgp, peers, 64, .sub = &bgp_peer),
    LIST("customers", config_bgp, customers, CONFIG_CUSTOMERS_MOST, .sub = &customer),
    VALUE("control", TEXT, AT(config_bgp, control)),
    END,
};
TABLE(bgp, config_bgp);

static const struct field memory_table[] = {
    VALUE("packets", NUMBER, AT(config_memory, packets), RANGE(0, 1u << 26)),
    VALUE("huge", ENUM, AT(config_memory, huge), .fallback = "auto", NAMES(huge_names)),
    END,
};
TABLE(memory, config_memory);

static const struct field worker_table[] = {
    VALUE("core", INTEGER, AT(config_worker, core), .fallback = "-1", RANGE(-1, 1023)),
    VALUE("nice", INTEGER, AT(config_worker, nice), .fallback = "-15", RANGE(-20, 19)),
    VALUE("spin", TIME, AT(config_worker, spin_ns), .fallback = "10 us"),
    END,
};
TABLE(worker, config_worker);

static const struct field logging_table[] = {
    VALUE("level", ENUM, AT(config_log, level), .fallback = "info", NAMES(levels)),
    VALUE("json", BOOL, AT(config_log, json), .fallback = "no"),
    END,
};
TABLE(logging, config_log);

static const struct field tables_table[] = {
    VALUE("routes", NUMBER, AT(config_tables, routes), .fallback = "65536", RANGE(1, 1u << 24)),
    VALUE("neighbours", NUMBER, AT(config_tables, neighbours), .fallback = "16384", RANGE(1, 1u << 20)),
    VALUE("vrfs", NUMBER, AT(config_tables, vrfs), .fallback = "1024", RANGE(1, 65536)),
    END,
};
TABLE(tables, config_tables);

static const struct field xsec_table[] = {
    VALUE("kit", TEXT, AT(config_xsec, kit), .required = true),
    VALUE("state", TEXT, AT(config_xsec, state), .required = true),
    VALUE("revoked", TEXT, AT(config_xsec, revoked)),
    VALUE("psk", TEXT, AT(config_xsec, psk)),
    VALUE("lifetime", TIME, AT(config_xsec, lifetime_ns), .fallback = "1 h"),
    END,
};
TABLE(xsec, config_xsec);

static const struct field options_table[] = {
    VALUE("nr", NUMBER, AT(config_options, nr), RANGE(0, 255)),
    VALUE("lane", NUMBER, AT(config_options, lane), RANGE(0, 255)),
    VALUE("sequence", NUMBER, AT(config_options, sequence), RANGE(0, 255)),
    END,
};
TABLE(options, config_options);

static const struct field key_item = {.kind = FIELD_KEY, .size = 32};
static const struct field listen_item = {.kind = FIELD_TEXT, .size = sizeof(struct config_listen)};
static const struct field router_table[] = {
    VALUE("name", TEXT, AT(router_config, name), .required = true),
    VALUE("id", NUMBER, AT(router_config, id), .required = true, RANGE(1, UINT32_MAX)),
    VALUE("loopback", IP6, AT(router_config, loopback), .required = true),
    VALUE("locator", PREFIX, AT(router_config, locator), .required = true),
    VALUE("block_bits", NUMBER, AT(router_config, block_bits), .fallback = "32", RANGE(16, 64)),
    VALUE("identity", TEXT, AT(router_config, identity), .required = true),
    LIST("trusted", router_config, trusted, 4096, .item = &key_item),
    VALUE("mode", ENUM, AT(router_config, mode), .fallback = "lanes", NAMES(modes)),
    VALUE("user", TEXT, AT(router_config, user)),
    VALUE("control", TEXT, AT(router_config, control)),
    MAYBE("punt", router_config, punt, punt),
    MAYBE("bgp", router_config, bgp, bgp),
    MAP("memory", router_config, memory, memory),
    MAP("worker", router_config, worker, worker),
    MAP("log", router_config, log, logging),
    MAP("tables", router_config, tables, tables),
    MAP("options", router_config, options, options),
    MAYBE("xsec", router_config, xsec, xsec),
    MAP("lanes", router_config, lanes, lanes),
    MAP("streams", router_config, streams, streams),
    MAP("elephants", router_config, elephants, elephants),
    MAP("marking", router_config, marking, marking),
    MAP("ipfix", router_config, ipfix, ipfix),
    LIST("metrics", router_config, metrics, 8, .item = &listen_item),
    LIST("ports", router_config, ports, LANE_PORTS_MOST, .sub = &port),
    LIST("vrfs", router_config, vrfs, 65536, .sub = &vrf),
    LIST("access", router_config, access, 65536, .sub = &access),
    LIST("routes", router_config, routes, 65536, .sub = &route),
    LIST("sids", router_config, sids, 65536, .sub = &sid),
    LIST("paths", router_config, paths, 65536, .sub = &path),
    LIST("slices", router_config, slices, 65536, .sub = &slice),
    END,
};
const struct fields router_config_fields = {router_table, sizeof(struct router_config)};

const struct field *router_config_behaviour(void)
{
    return &sid_table[1];
}
