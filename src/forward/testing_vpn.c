#include "forward/testing_vpn.h"
#include "wire/checksum.h"
#include "wire/ip_text.h"
#include "wire/neighbour.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    uint32_t vrf, tenant;
    uint16_t vlan;
} tenants[2] = {{10, 100, 0}, {20, 200, 20}};

static void must(int rc, const struct error *err)
{
    if (rc) {
        fprintf(stderr, "testing_vpn: %s\n", err->text);
        abort();
    }
}

static struct ip6 words(uint16_t a, uint16_t b, uint16_t c, uint16_t d, uint16_t y, uint16_t z)
{
    struct ip6 ip = {{0}};
    bytes_put_be16(ip.b, a);
    bytes_put_be16(ip.b + 2, b);
    bytes_put_be16(ip.b + 4, c);
    bytes_put_be16(ip.b + 6, d);
    bytes_put_be16(ip.b + 12, y);
    bytes_put_be16(ip.b + 14, z);
    return ip;
}

struct ip6 testing_vpn_loopback(unsigned router)
{
    return words(0x2001, 0xdb8, 0xffff, 0, 0, (uint16_t)(router + 1));
}

struct ip6 testing_vpn_end(const struct testing_vpn *v, unsigned router)
{
    uint16_t id = (uint16_t)(router + 1);
    return v->config.full_sids ? words(0x2001, 0xdb8, id, 0, 0, 1) : words(0xfcbb, 0xbb00, id, 0, 0, 0);
}

struct ip6 testing_vpn_adjacency(const struct testing_vpn *v, unsigned router, uint16_t port)
{
    uint16_t id = (uint16_t)(router + 1);
    return v->config.full_sids ? words(0x2001, 0xdb8, id, 0, 0xe, port)
                               : words(0xfcbb, 0xbb00, (uint16_t)(0xe000 + port), 0, 0, 0);
}

static struct ip6 service(const struct testing_vpn *v, unsigned router, uint32_t vrf, bool encrypted)
{
    uint16_t id = (uint16_t)(router + 1), n = (uint16_t)(vrf / 10);
    return v->config.full_sids ? words(0x2001, 0xdb8, id, 0, encrypted ? 0x1d : 0xd, n)
                               : words(0xfcbb, 0xbb00, id, (uint16_t)((encrypted ? 0xd100 : 0xd000) + n), 0, 0);
}

struct ip6 testing_vpn_service(const struct testing_vpn *v, unsigned router, uint32_t vrf)
{
    return service(v, router, vrf, v->config.encrypted);
}

struct ip6 testing_vpn_clear(const struct testing_vpn *v, unsigned router, uint32_t vrf)
{
    return service(v, router, vrf, false);
}

void testing_vpn_mac(uint8_t ret[6], unsigned router, uint16_t port)
{
    const uint8_t mac[6] = {2, 0, 0, (uint8_t)router, (uint8_t)(port >> 8), (uint8_t)port};
    memcpy(ret, mac, 6);
}

void testing_vpn_host_mac(uint8_t ret[6], unsigned router, uint16_t vlan)
{
    const uint8_t mac[6] = {2, 1, 0, (uint8_t)router, 0, (uint8_t)vlan};
    memcpy(ret, mac, 6);
}

/* --- building --------------------------------------------------------------------------------------------------- */

static struct forward_config router_config(const struct testing_vpn_config *c, unsigned router)
{
    return (struct forward_config){
        .loopback = testing_vpn_loopback(router),
        .locator_block_bits = 32,
        .lanes = {.lanes_most = 64, .history_packets = 1024},
        .option_nr = c->option_nr,
        .option_lane = c->option_lane,
    };
}

static void add_port(struct testing_vpn *v, unsigned router, uint16_t port, bool core)
{
    const struct testing_vpn_config *c = &v->config;
    struct port_config p = {
        .kind = core ? PORT_CORE : PORT_ACCESS,
        .mtu = core ? (c->core_mtu ? c->core_mtu : VPN_MTU + 500) : (c->host_mtu ? c->host_mtu : VPN_MTU),
        .pool_cells = 4096,
    };
    if (core && !c->lanes) /* nobody says HELLO */
        testing_vpn_mac(
            p.peer_mac, port == VPN_LEFT ? router - 1 : router + 1, port == VPN_LEFT ? VPN_RIGHT : VPN_LEFT);
    testing_net_port(v->net, router, port, &p);
}

static void add_sid(
    struct forward *f, struct ip6 sid, uint8_t len, enum sid_behaviour b, uint8_t flavours, uint16_t port, uint32_t vrf)
{
    struct error err = {0};
    struct forward_sid s = {{IP_V6, len, sid}, b, flavours, port, vrf};
    must(forward_sid_set(f, &s, &err), &err);
}

static void add_sids(struct testing_vpn *v, unsigned router)
{
    struct forward *f = testing_net_forward(v->net, router);
    bool full = v->config.full_sids;
    uint8_t flavours = v->config.flavours;
    add_sid(f, testing_vpn_end(v, router), full ? 128 : 48, full ? SID_END : SID_END_NEXT_CSID, flavours, 0, 0);
    for (uint16_t port = 0; port < 2; port++)
        if (port == VPN_LEFT ? router > 0 : router < v->last)
            add_sid(f, testing_vpn_adjacency(v, router, port), full ? 128 : 48, full ? SID_END_X : SID_END_X_NEXT_CSID,
                flavours, port, 0);
    for (unsigned t = 0; t < 2 && (router == 0 || router == v->last); t++) {
        add_sid(f, service(v, router, tenants[t].vrf, false), full ? 128 : 64,
            full ? SID_END_DT46 : SID_END_DT46_NEXT_CSID, 0, 0, tenants[t].vrf);
        add_sid(f, service(v, router, tenants[t].vrf, true), full ? 128 : 64,
            full ? SID_END_ESP_DT46 : SID_END_ESP_DT46_NEXT_CSID, 0, 0, tenants[t].vrf);
    }
}

/* The shortest ways along the chain to every other router's loopback and locators. */
static void add_underlay(struct testing_vpn *v, unsigned router)
{
    struct forward *f = testing_net_forward(v->net, router);
    struct error err = {0};
    struct forward_route mine = {.kind = ROUTE_LOCAL};
    struct ip_prefix p = {IP_V6, 128, testing_vpn_loopback(router)};
    must(forward_route_set(f, 0, &p, &mine, &err), &err);
    for (unsigned k = 0; k <= v->last; k++) {
        struct forward_route r = {.kind = ROUTE_ADJACENT, .port = k < router ? VPN_LEFT : VPN_RIGHT};
        struct ip_prefix to[3] = {{IP_V6, 128, testing_vpn_loopback(k)},
            {IP_V6, 48, words(0xfcbb, 0xbb00, (uint16_t)(k + 1), 0, 0, 0)},
            {IP_V6, 48, words(0x2001, 0xdb8, (uint16_t)(k + 1), 0, 0, 0)}};
        for (unsigned i = 0; i < 3 && k != router; i++)
            must(forward_route_set(f, 0, &to[i], &r, &err), &err);
    }
}

static void add_path(struct testing_vpn *v, unsigned router)
{
    struct error err = {0};
    bool right = router == 0;
    struct forward_path p = {.id = right ? 1 : 2,
        .out_port = right ? VPN_RIGHT : VPN_LEFT,
        .no_lanes = !v->config.lanes,
        .full_sids = v->config.full_sids};
    for (unsigned k = 1; k < v->last; k++)
        p.sids[p.n_sids++] = testing_vpn_adjacency(v, right ? k : v->last - k, right ? VPN_RIGHT : VPN_LEFT);
    must(forward_path_set(testing_net_forward(v->net, router), &p, &err), &err);
}

static struct ip_prefix subnet(uint8_t family, unsigned side, unsigned host)
{
    struct ip_prefix p = {.family = family, .len = family == IP_V4 ? 24 : 64};
    if (family == IP_V4)
        p.a = (struct ip6){{10, 0, (uint8_t)side, (uint8_t)host}};
    else
        p.a = words(0xfd00, (uint16_t)(0xa + side), 0, 0, 0, (uint16_t)host);
    return p;
}

static void add_tenant(struct testing_vpn *v, unsigned router, unsigned t)
{
    struct forward *f = testing_net_forward(v->net, router);
    struct error err = {0};
    unsigned side = router ? 1 : 0;
    must(forward_vrf_add(f, tenants[t].vrf, tenants[t].tenant, &err), &err);
    struct forward_access a = {.port = VPN_HOSTS,
        .vlan = tenants[t].vlan,
        .vrf = tenants[t].vrf,
        .tenant = tenants[t].tenant,
        .gateway = {subnet(IP_V4, side, 1), subnet(IP_V6, side, 1)}};
    must(forward_access_set(f, &a, testing_net_now(v->net), &err), &err);
}

static void add_routes(struct testing_vpn *v, unsigned router, unsigned t)
{
    struct forward *f = testing_net_forward(v->net, router);
    struct error err = {0};
    unsigned other = router ? 0 : v->last;
    uint32_t path = router ? 2 : 1;
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = testing_vpn_service(v, other, tenants[t].vrf),
        .encrypted = v->config.encrypted,
        .peer = testing_vpn_loopback(other),
        .path_of_class = {path, path, path, path}};
    for (uint8_t family = IP_V4; family <= IP_V6; family += 2) {
        struct ip_prefix p = subnet(family, router ? 0 : 1, 0);
        must(forward_route_set(f, tenants[t].vrf, &p, &r, &err), &err);
    }
    if (!v->config.lanes)
        return;
    struct forward_slice s = {.tenant = tenants[t].tenant,
        .path = path,
        .class_ = LANE_PARAMETER,
        .service_sid = r.service_sid,
        .rate_bps = 1000000000,
        .window_least = 8};
    must(forward_slice_set(f, &s, testing_net_now(v->net), &err), &err);
}

bool testing_vpn_all_encrypted;

void testing_vpn_init(struct testing_vpn *v, const struct testing_vpn_config *config, uint64_t seed)
{
    *v = (struct testing_vpn){.net = testing_net_create(seed), .config = *config, .last = config->routers - 1};
    const struct testing_vpn_config *c = &v->config;
    v->config.encrypted |= testing_vpn_all_encrypted;
    if (c->mbufs)
        testing_net_mbufs(v->net, c->mbufs, 2048);
    for (unsigned k = 0; k < c->routers; k++) {
        struct forward_config router = router_config(c, k);
        testing_net_router(v->net, &router);
        if (k > 0)
            add_port(v, k, VPN_LEFT, true);
        if (k < v->last)
            add_port(v, k, VPN_RIGHT, true);
        if (k > 0)
            testing_net_cable(v->net, k - 1, VPN_RIGHT, k, VPN_LEFT, c->delay_ns);
        add_underlay(v, k);
        if (k != 0 && k != v->last) {
            add_sids(v, k);
            continue;
        }
        add_port(v, k, VPN_HOSTS, false);
        for (unsigned t = 0; t < 2; t++)
            add_tenant(v, k, t);
        add_sids(v, k);
        add_path(v, k);
        for (unsigned t = 0; t < 2; t++)
            add_routes(v, k, t);
    }
    if (testing_vpn_all_encrypted)
        testing_vpn_keys(v, 0, VPN_KEYS_OPEN | VPN_KEYS_SEAL);
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

struct esp_sa_config testing_vpn_sa(
    const struct testing_vpn *v, unsigned router, uint32_t vrf, uint16_t lane, unsigned generation, bool sending)
{
    struct esp_sa_config c = {.spi = 0x10000 * (generation + 1) + 0x100 * vrf + 0x10 * (router != 0) + lane,
        .peer = testing_vpn_loopback(sending ? v->last - router : router),
        .vrf = vrf,
        .lane = lane,
        .sending = sending};
    for (unsigned i = 0; i < sizeof c.key; i++)
        c.key[i] = (uint8_t)rng_u64(c.spi, i);
    for (unsigned i = 0; i < sizeof c.salt; i++)
        c.salt[i] = (uint8_t)rng_u64(c.spi, 100 + i);
    return c;
}

/* Each SA of a generation, at the end where it sends and at the other one. */
static void each_sa(struct testing_vpn *v, unsigned generation, bool sending,
    void (*fn)(struct forward *, const struct esp_sa_config *))
{
    for (unsigned end = 0; end < 2; end++)
        for (unsigned t = 0; t < 2; t++)
            for (uint16_t lane = 0; lane < LANE_CLASSES; lane++) {
                unsigned from = end ? v->last : 0, at = sending ? from : v->last - from;
                struct esp_sa_config c = testing_vpn_sa(v, from, tenants[t].vrf, lane, generation, sending);
                fn(testing_net_forward(v->net, at), &c);
            }
}

static void install(struct forward *f, const struct esp_sa_config *c)
{
    struct error err = {0};
    must(forward_sa_install(f, c, &err), &err);
}

static void forget(struct forward *f, const struct esp_sa_config *c)
{
    struct error err = {.text = "an SA was not there"};
    must(forward_sa_remove(f, c->spi, &c->peer, c->sending), &err);
}

void testing_vpn_keys(struct testing_vpn *v, unsigned generation, unsigned which)
{
    if (which & VPN_KEYS_OPEN)
        each_sa(v, generation, false, install);
    if (which & VPN_KEYS_SEAL)
        each_sa(v, generation, true, install);
}

void testing_vpn_forget(struct testing_vpn *v, unsigned generation)
{
    each_sa(v, generation, false, forget);
}

uint32_t testing_vpn_done(struct testing_vpn *v)
{
    return testing_net_free(v->net);
}

/* --- packets ---------------------------------------------------------------------------------------------------- */

static uint32_t put_ether(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6], uint16_t vlan, uint16_t type)
{
    memcpy(frame + ETHER_DST, dst, 6);
    memcpy(frame + ETHER_SRC, src, 6);
    if (!vlan) {
        bytes_put_be16(frame + ETHER_TYPE, type);
        return ETHER_SIZE;
    }
    bytes_put_be16(frame + ETHER_TYPE, ETHER_VLAN);
    bytes_put_be16(frame + ETHER_SIZE, (uint16_t)(3u << 13 | vlan));
    bytes_put_be16(frame + ETHER_SIZE + 2, type);
    return ETHER_SIZE + VLAN_SIZE;
}

static uint32_t put_ip(uint8_t *ip, const struct testing_udp *u, unsigned side, uint32_t l4)
{
    struct ip_prefix src = subnet(u->family, side, 2), dst = subnet(u->family, !side, 2);
    unsigned tc = (unsigned)u->dscp << 2 | u->ecn;
    if (u->family == IP_V6) {
        memset(ip, 0, IP6_SIZE);
        bytes_put_be32(ip, 6u << 28 | tc << 20);
        bytes_put_be16(ip + IP6_LEN, (uint16_t)l4);
        ip[IP6_NEXT] = IP_PROTO_UDP;
        ip[IP6_HOPS] = u->hops;
        memcpy(ip + IP6_SRC, src.a.b, 16);
        memcpy(ip + IP6_DST, dst.a.b, 16);
        return IP6_SIZE;
    }
    memset(ip, 0, IP4_SIZE);
    ip[0] = 0x45;
    ip[IP4_TOS] = (uint8_t)tc;
    bytes_put_be16(ip + IP4_LEN, (uint16_t)(IP4_SIZE + l4));
    bytes_put_be16(ip + IP4_FRAG, 0x4000);
    ip[IP4_TTL] = u->hops;
    ip[IP4_PROTO] = IP_PROTO_UDP;
    memcpy(ip + IP4_SRC, src.a.b, 4);
    memcpy(ip + IP4_DST, dst.a.b, 4);
    bytes_put_be16(ip + IP4_SUM, checksum_ip4(ip, IP4_SIZE));
    return IP4_SIZE;
}

static uint16_t udp_sum(const uint8_t *ip, uint8_t family, const uint8_t *udp, uint32_t len)
{
    if (family == IP_V6)
        return checksum_ip6(ip + IP6_SRC, ip + IP6_DST, IP_PROTO_UDP, udp, len);
    return checksum_fold(checksum_add(checksum_add(IP_PROTO_UDP + len, ip + IP4_SRC, 8), udp, len));
}

uint32_t testing_vpn_udp(const struct testing_vpn *v, uint8_t *frame, unsigned router, const struct testing_udp *u)
{
    uint8_t dst[6], src[6];
    uint32_t len = UDP_SIZE + u->payload;
    testing_vpn_mac(dst, router, VPN_HOSTS);
    testing_vpn_host_mac(src, router, u->vlan);
    uint32_t at = put_ether(frame, dst, src, u->vlan, u->family == IP_V4 ? ETHER_IP4 : ETHER_IP6);
    uint8_t *ip = frame + at;
    at += put_ip(ip, u, router ? 1 : 0, len);
    uint8_t *udp = frame + at;
    bytes_put_be16(udp, u->src_port);
    bytes_put_be16(udp + 2, u->dst_port);
    bytes_put_be16(udp + 4, (uint16_t)len);
    bytes_put_be16(udp + 6, 0);
    for (uint32_t i = 0; i < u->payload; i++)
        udp[UDP_SIZE + i] = (uint8_t)i;
    uint16_t sum = udp_sum(ip, u->family, udp, len);
    bytes_put_be16(udp + 6, sum ? sum : 0xffff);
    return at + len;
}

void testing_vpn_send(const struct testing_vpn *v, unsigned router, const struct testing_udp *u)
{
    uint8_t frame[TESTING_NET_ROOM];
    uint32_t len = testing_vpn_udp(v, frame, router, u);
    testing_net_send(v->net, router, VPN_HOSTS, frame, len);
}

/* The host asks for its gateway: ARP and a neighbour solicitation, both with its own MAC. */
static void meet(struct testing_vpn *v, unsigned router, uint16_t vlan)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t frame[128] = {0}, mac[6], group[6];
    unsigned side = router ? 1 : 0;
    testing_vpn_host_mac(mac, router, vlan);
    struct arp a = {.op = ARP_REQUEST};
    memcpy(a.sender_mac, mac, 6);
    memcpy(a.sender.b, subnet(IP_V4, side, 2).a.b, 4);
    memcpy(a.target.b, subnet(IP_V4, side, 1).a.b, 4);
    uint32_t at = put_ether(frame, all, mac, vlan, ETHER_ARP);
    arp_encode(frame + at, &a);
    testing_net_send(v->net, router, VPN_HOSTS, frame, at + ARP_SIZE);

    struct nd n = {.type = ICMP6_NEIGHBOUR_SOLICIT,
        .has_mac = true,
        .src = subnet(IP_V6, side, 2).a,
        .target = subnet(IP_V6, side, 1).a};
    memcpy(n.mac, mac, 6);
    nd_solicited_node(&n.dst, &n.target);
    nd_multicast_mac(group, &n.dst);
    at = put_ether(frame, group, mac, vlan, ETHER_IP6);
    at += (uint32_t)nd_encode(frame + at, &n);
    testing_net_send(v->net, router, VPN_HOSTS, frame, at);
}

void testing_vpn_meet(struct testing_vpn *v)
{
    for (unsigned t = 0; t < 2; t++) {
        meet(v, 0, tenants[t].vlan);
        meet(v, v->last, tenants[t].vlan);
    }
    testing_net_run(v->net, 1000000);
    testing_net_clear(v->net);
}
