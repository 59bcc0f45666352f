/* ICMP errors in mbufs, and their limit: a token bucket kept as the time at which it would be full again. */
#include "forward/icmp.h"

#define SECOND_NS 1000000000ll

void icmp_limit_init(struct icmp_limit *l, uint32_t rate, uint32_t burst)
{
    *l = (struct icmp_limit){.interval_ns = SECOND_NS / (rate ? rate : 1000), .free_ns = INT64_MIN};
    l->burst_ns = l->interval_ns * (burst ? burst : 100);
}

bool icmp_limit_pass(struct icmp_limit *l, int64_t now)
{
    int64_t from = l->free_ns > now ? l->free_ns : now;
    if (from + l->interval_ns - now > l->burst_ns) {
        l->held++;
        return false;
    }
    l->free_ns = from + l->interval_ns;
    return true;
}

struct rte_mbuf *icmp_error(struct icmp_limit *l, const struct icmp_ops *ops, enum icmp_error_kind kind, uint32_t value,
    struct rte_mbuf *m, unsigned l3, const struct ip_addr *from, int64_t now)
{
    const uint8_t *frame = packet_at(m, 0);
    if (m->data_len <= l3 || (l3 >= ETHER_SIZE && frame[ETHER_DST] & 1)) /* never about link-layer multicast */
        return NULL;
    struct rte_mbuf *e = ops->alloc(ops->user);
    if (!e)
        return NULL;
    size_t n = icmp_error_write(
        packet_at(e, 0), rte_pktmbuf_tailroom(e), kind, value, packet_at(m, l3), m->data_len - l3, from);
    if (n == 0 || !icmp_limit_pass(l, now)) {
        ops->free(ops->user, e);
        return NULL;
    }
    e->data_len = (uint16_t)n;
    e->pkt_len = (uint32_t)n;
    packet_meta(e)->arrived_ns = now;
    packet_meta(e)->cells = packet_cells((uint32_t)n);
    l->sent++;
    return e;
}
