/* Hosts that say anything to the neighbour table, in any order, while packets are to be sent to them. The input is a row of
 * {kind, length, bytes}: frames for it, addresses to resolve, time that passes. Checksums of IPv6 are put right, so that
 * what lies behind them is reached. */
#include "base/bytes.h"
#include "forward/neighbour.h"
#include "lane/testing_mbuf.h"
#include "wire/checksum.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct testing_mbufs *slab;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void on_send(void *user, uint16_t port, struct rte_mbuf *m, int64_t now)
{
    must(m->data_len >= ETHER_SIZE && m->data_len == m->pkt_len);
    testing_mbuf_free(user, m);
}

static void on_ready(void *user, uint32_t net, const uint8_t mac[6], struct rte_mbuf *m, int64_t now)
{
    must(!(mac[0] & 1));
    testing_mbuf_free(user, m);
}

static void on_lost(void *user, uint32_t net, struct rte_mbuf *m, bool failed, int64_t now)
{
    testing_mbuf_free(user, m);
}

static struct neighbour_table *table(uint32_t *ret_net)
{
    const struct neighbour_config c = {.neighbours_most = 8, .nets_most = 1};
    const struct neighbour_ops ops = {slab, testing_mbuf_alloc, on_send, on_ready, on_lost};
    const struct neighbour_net n = {
        .mac = {2, 0, 0, 0, 0, 1},
        .advertise = true,
        .mtu = 1428,
        .share = 8,
        .gateway = {{IP_V4, 24, {{10, 0, 0, 1}}}, {IP_V6, 64, {{0x20, 1, 0xd, 0xb8, 0, 1, [15] = 1}}}},
    };
    struct neighbour_table *t = NULL;
    must(neighbour_create(&t, &c, &ops) == 0 && neighbour_net_set(t, &n, 0, ret_net, NULL) == 0);
    return t;
}

static void receive(struct neighbour_table *t, uint32_t net, uint16_t type, uint8_t *p, size_t len, int64_t now)
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    size_t payload = len > IP6_SIZE ? len - IP6_SIZE : 0;
    if (type == ETHER_IP6 && payload >= ICMP_HEADER && bytes_get_be16(p + IP6_LEN) == payload) {
        uint8_t *icmp = p + IP6_SIZE;
        bytes_put_be16(icmp + ICMP_SUM, 0);
        uint16_t sum = checksum_ip6(p + IP6_SRC, p + IP6_DST, IP_PROTO_ICMP6, icmp, (uint32_t)payload);
        bytes_put_be16(icmp + ICMP_SUM, sum);
    }
    neighbour_receive(t, net, type, mac, p, len, now);
}

static void resolve(struct neighbour_table *t, uint32_t net, const uint8_t *p, size_t len, int64_t now)
{
    struct ip_addr a = {.family = len > 4 ? IP_V6 : IP_V4};
    memcpy(a.a.b, p, len < 16 ? len : 16);
    struct rte_mbuf *m = testing_mbuf_sized(slab, 64);
    if (m && neighbour_resolve(t, net, &a, m, now))
        testing_mbuf_free(slab, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!slab)
        slab = testing_mbufs_create(200, 512);
    uint32_t net;
    int64_t now = 0;
    struct neighbour_table *t = table(&net);
    while (size >= 2) {
        size_t len = data[1] < size - 2 ? data[1] : size - 2;
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, data + 2, len);
        switch (data[0] % 4) {
        case 0:
            receive(t, net, ETHER_ARP, exact, len, now);
            break;
        case 1:
            receive(t, net, ETHER_IP6, exact, len, now);
            break;
        case 2:
            resolve(t, net, exact, len, now);
            break;
        default:
            now += (int64_t)data[1] * 100000000;
            len = 0;
            must(neighbour_poll(t, now) > now);
        }
        free(exact);
        must(neighbour_check(t));
        data += 2 + len;
        size -= 2 + len;
    }
    neighbour_free(t);
    must(slab->used == 0);
    return 0;
}
