/* Whatever frames come in at core and access ports of a configured PE, through the production entry. A script of
 *
 *   u8 where: port 0, 1 (core), 2 (hosts) in the low bits; 0x10: the frame is in two mbufs, 0x20: its end is not there,
 *     0x40: what follows is no frame but what is inside of one, behind one byte of next header: sealed by a PE that has the
 *     keys; 0x80 in the first record: packets have a virtual length, as the simulator's
 *   u8 time to pass before it, in 2^n ns   u16 length, big-endian   the frame
 *
 * VRF 10 is encrypted towards 10.2.0.0/16; VRF 20 takes nothing in clear; keys for both stand in both directions.
 *
 * Every mbuf must have come back at the end, and every frame that leaves must be whole. */
#include "base/bytes.h"
#include "forward/tables.h"
#include "lane/testing_mbuf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 2048, PORTS = 3, HOSTS = 2, BATCH = 8, LANE = LANE_BULK };

static struct testing_mbufs *slab;
static struct esp *peer_esp; /* of the PE at the other end */

static void free_chain(void *user, struct rte_mbuf *m)
{
    while (m) {
        struct rte_mbuf *next = m->next;
        m->next = NULL;
        m->nb_segs = 1;
        testing_mbuf_free(slab, m);
        m = next;
    }
}

static struct rte_mbuf *alloc(void *user)
{
    return testing_mbuf_alloc(slab);
}

/* What is for the router itself. */
static void punt(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    if (m->data_len > m->pkt_len)
        abort();
    free_chain(NULL, m);
}

static uint64_t random_bits(void *user)
{
    static uint64_t n;
    return rng_u64(1, n++);
}

static void heard(void *user, const struct ip6 *peer, uint32_t spi)
{
    if (peer->b[0] != 0x20 || spi < 0x1000 || spi >= 0x1010)
        abort();
}

static struct ip6 words(uint16_t a, uint16_t b, uint16_t c, uint16_t d)
{
    struct ip6 ip = {{0}};
    bytes_put_be16(ip.b, a);
    bytes_put_be16(ip.b + 2, b);
    bytes_put_be16(ip.b + 4, c);
    bytes_put_be16(ip.b + 6, d);
    return ip;
}

static void must(int rc)
{
    if (rc)
        abort();
}

static void add_sids(struct forward *f)
{
    struct forward_sid sids[] = {
        {{IP_V6, 48, words(0xfcbb, 0xbb00, 1, 0)}, SID_END_NEXT_CSID, SID_PSP | SID_USD, 0, 0},
        {{IP_V6, 48, words(0xfcbb, 0xbb00, 0xe001, 0)}, SID_END_X_NEXT_CSID, SID_PSP, 1, 0},
        {{IP_V6, 64, words(0xfcbb, 0xbb00, 1, 0xd001)}, SID_END_DT46_NEXT_CSID, 0, 0, 10},
        {{IP_V6, 64, words(0xfcbb, 0xbb00, 1, 0xd101)}, SID_END_ESP_DT46_NEXT_CSID, 0, 0, 10},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 0x1d02)}, SID_END_ESP_DT46, 0, 0, 20},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 1)}, SID_END, SID_PSP, 0, 0},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 2)}, SID_END, SID_USD, 0, 0},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 3)}, SID_END_X, 0, 0, 0},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 4)}, SID_END_DT4, 0, 0, 10},
        {{IP_V6, 128, words(0x2001, 0xdb8, 1, 6)}, SID_END_DT6, 0, 0, 20},
    };
    for (unsigned i = 0; i < sizeof sids / sizeof *sids; i++)
        must(forward_sid_set(f, &sids[i], NULL));
}

static void add_vrf(struct forward *f, uint32_t vrf, uint16_t vlan)
{
    must(forward_vrf_add(f, vrf, vrf, NULL));
    struct forward_access a = {.port = HOSTS,
        .vlan = vlan,
        .vrf = vrf,
        .police_bps = vlan ? 100000000 : 0,
        .advertise = vlan,
        .gateway = {{IP_V4, 24, {{10, 0, 0, 1}}}, {IP_V6, 64, words(0xfd00, 0xa, 0, 0)}}};
    a.gateway[1].a.b[15] = 1;
    must(forward_access_set(f, &a, 1, NULL));
    struct forward_route r = {
        .kind = ROUTE_REMOTE, .service_sid = words(0xfcbb, 0xbb00, 2, 0xd001), .path_of_class = {0, 1, 2, 1}};
    must(forward_route_set(f, vrf, &(struct ip_prefix){IP_V4, 16, {{10, 1}}}, &r, NULL));
    must(forward_route_set(f, vrf, &(struct ip_prefix){IP_V6, 32, words(0xfd00, 0xb, 0, 0)}, &r, NULL));
    struct forward_route gateway = {
        .kind = ROUTE_GATEWAY, .port = HOSTS, .vlan = vlan, .gateway = {IP_V4, {{10, 0, 0, 9}}}};
    must(forward_route_set(f, vrf, &(struct ip_prefix){IP_V4, 12, {{172, 16}}}, &gateway, NULL));
}

/* Both directions between us and 2001:db8:ffff:2, in both VRFs and all classes. */
static void add_keys(struct forward *f)
{
    for (uint32_t i = 0; i < 16; i++) {
        struct esp_sa_config c = {.spi = 0x1000 + i,
            .peer = words(0x2001, 0xdb8, 0xffff, 2),
            .vrf = i & 8 ? 20 : 10,
            .lane = i & 3,
            .sending = i & 4,
            .key = {(uint8_t)i}};
        must(forward_sa_install(f, &c, NULL));
        c.peer = words(0x2001, 0xdb8, 0xffff, 1);
        c.sending = true;
        if (!(i & 4))
            must(esp_install(peer_esp, &c)); /* takes the place of the last input's: numbers begin again */
    }
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = words(0xfcbb, 0xbb00, 2, 0xd101),
        .path_of_class = {1, 1, 2, 0},
        .encrypted = true,
        .peer = words(0x2001, 0xdb8, 0xffff, 2)};
    must(forward_route_set(f, 10, &(struct ip_prefix){IP_V4, 16, {{10, 2}}}, &r, NULL));
    must(forward_route_set(f, 10, &(struct ip_prefix){IP_V6, 32, words(0xfd00, 0xc, 0, 0)}, &r, NULL));
    must(forward_vrf_encrypt(f, 20, true, NULL));
}

static struct forward *router(bool virtual)
{
    struct forward *f;
    struct forward_config c = {.locator_block_bits = 32,
        .loopback = words(0x2001, 0xdb8, 0xffff, 1),
        .routes_most = 64,
        .neighbours_most = 128,
        .vrfs_most = 4,
        .sas_most = 16,
        .lanes = {.router_id = 1, .lanes_most = 8, .history_packets = 64},
        .marking = {.flows = 16},
        .elephants = {.flows = 16, .buckets = 64}};
    struct forward_ops ops = {NULL, alloc, free_chain, punt, NULL, random_bits, heard, virtual};
    must(forward_create(&f, &c, &ops, NULL));
    for (uint16_t i = 0; i < PORTS; i++) {
        struct port_config p = {.kind = i == HOSTS ? PORT_ACCESS : PORT_CORE,
            .mtu = 1500,
            .pool_cells = 64,
            .mac = {2, 0, 0, 0, 0, (uint8_t)i},
            .peer_mac = {2, 2},
            .pfc_priorities = i == HOSTS ? 0xff : 0};
        must(forward_port_add(f, i, &p, NULL));
    }
    for (uint32_t i = 1; i <= 2; i++) {
        struct forward_path p = {
            .id = i, .out_port = (uint16_t)(i - 1), .no_lanes = true, .n_sids = 6 * (i - 1), .full_sids = i == 2};
        for (unsigned k = 0; k < p.n_sids; k++)
            p.sids[k] = words(0x2001, 0xdb8, (uint16_t)(k + 2), 1);
        must(forward_path_set(f, &p, NULL));
    }
    add_vrf(f, 10, 0);
    add_vrf(f, 20, 20);
    add_sids(f);
    add_keys(f);
    struct forward_route out = {.kind = ROUTE_ADJACENT, .port = 1}, ours = {.kind = ROUTE_LOCAL};
    must(forward_route_set(f, 0, &(struct ip_prefix){IP_V6, 32, words(0xfcbb, 0xbb00, 0, 0)}, &out, NULL));
    must(forward_route_set(f, 0, &(struct ip_prefix){IP_V6, 32, words(0x2001, 0xdb8, 0, 0)}, &out, NULL));
    must(forward_route_set(f, 0, &(struct ip_prefix){IP_V6, 128, c.loopback}, &ours, NULL));
    return f;
}

/* Whole: the segments add up, and an IPv6 packet says the length it has. */
static void check(const struct rte_mbuf *m)
{
    uint32_t there = 0, segments = 0;
    for (const struct rte_mbuf *s = m; s; s = s->next, segments++)
        there += s->data_len;
    if (there > m->pkt_len || segments != m->nb_segs || m->data_len < 14)
        abort();
    const uint8_t *e = rte_pktmbuf_mtod(m, const uint8_t *);
    if (bytes_get_be16(e + ETHER_TYPE) == ETHER_IP6 &&
        (m->data_len < ETHER_SIZE + IP6_SIZE ||
            ETHER_SIZE + IP6_SIZE + (uint32_t)bytes_get_be16(e + ETHER_SIZE + IP6_LEN) != m->pkt_len))
        abort();
}

static void send_all(struct forward *f, int64_t now)
{
    struct rte_mbuf *pkts[BATCH];
    for (uint16_t port = 0; port < PORTS; port++) {
        unsigned n;
        while ((n = forward_transmit(f, port, pkts, BATCH, now))) {
            for (unsigned i = 0; i < n; i++)
                check(pkts[i]);
            forward_sent(f, port, pkts, n, now);
        }
    }
}

static struct rte_mbuf *frame(uint8_t where, const uint8_t *bytes, uint32_t len)
{
    uint32_t first = where & 0x10 ? len / 2 : len;
    struct rte_mbuf *m = testing_mbuf_bytes(slab, bytes, first);
    m->pkt_len = len;
    if (where & 0x10) {
        m->next = testing_mbuf_bytes(slab, bytes + first, len - first);
        m->nb_segs = 2;
    } else if (where & 0x20) {
        m->data_len = (uint16_t)(len - len / 3); /* virtual length */
    }
    return m;
}

/* Writes the frame that has these bytes, behind one of next header, sealed inside; returns its length. */
static uint32_t seal(uint8_t *to, const uint8_t *bytes, uint32_t len)
{
    uint8_t *ip = to + ETHER_SIZE;
    struct ip6 us = words(0x2001, 0xdb8, 0xffff, 1), them = words(0x2001, 0xdb8, 0xffff, 2),
               sid = words(0xfcbb, 0xbb00, 1, 0xd101);
    if (len == 0 || len > ROOM - 256)
        return 0;
    struct esp_packet p = {.sa = esp_sending(peer_esp, &us, 10, LANE),
        .bytes = ip + IP6_SIZE + ESP_HEAD,
        .len = len - 1,
        .next = bytes[0]};
    memcpy(p.bytes, bytes + 1, len - 1);
    esp_seal(peer_esp, &p, 1);
    memcpy(to, (uint8_t[]){2, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0x86, 0xdd, 0x60, 0, 0, 0}, 18);
    bytes_put_be16(ip + IP6_LEN, (uint16_t)p.len);
    ip[IP6_NEXT] = IP_PROTO_ESP;
    ip[IP6_HOPS] = 64;
    memcpy(ip + IP6_SRC, them.b, 16);
    memcpy(ip + IP6_DST, sid.b, 16);
    return ETHER_SIZE + IP6_SIZE + p.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!slab)
        slab = testing_mbufs_create(512, ROOM);
    if (!peer_esp && esp_create(&peer_esp, 16))
        abort();
    struct forward *f = router(size && data[0] & 0x80);
    int64_t now = 1;
    while (size >= 4) {
        uint8_t where = data[0];
        uint32_t len = bytes_get_be16(data + 2);
        now += 1ll << (data[1] % 36);
        data += 4;
        size -= 4;
        if (len > size)
            len = (uint32_t)size;
        if (len > ROOM)
            len = ROOM;
        uint8_t made[ROOM];
        uint32_t sealed = where & 0x40 ? seal(made, data, len) : 0;
        struct rte_mbuf *m = frame(where, sealed ? made : data, sealed ? sealed : len);
        forward_receive(f, sealed ? 0 : where % 4, &m, 1, now); /* port 3 was never added */
        forward_poll(f, now);
        send_all(f, now);
        data += len;
        size -= len;
    }
    forward_free(f);
    if (slab->used)
        abort();
    return 0;
}
