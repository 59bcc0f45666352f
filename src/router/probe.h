/* Ping and traceroute from inside a VRF (or the underlay): echo requests of the router's own, injected with a hop limit, and
 * the answers to them found among what the core punts. On the worker; the asker looks at the answers between batches.
 *
 * A probe is recognised by its identifier (ours for this process) and its sequence number, which is its index here. */
#ifndef MERIDIAN_ROUTER_PROBE_H
#define MERIDIAN_ROUTER_PROBE_H

#include "forward/forward.h"
#include "router/pool.h"

#define PROBE_MOST 256u /* under way at once */

enum probe_state { PROBE_FREE, PROBE_SENT, PROBE_ANSWERED };
enum probe_answer { PROBE_REPLY, PROBE_TIME_EXCEEDED, PROBE_UNREACHABLE, PROBE_TOO_BIG, PROBE_OTHER };

struct probe {
    enum probe_state state;
    enum probe_answer answer;
    uint16_t sequence;
    uint32_t vrf;
    int64_t sent_ns, answered_ns;
    struct ip_addr to, from; /* from: who answered */
    uint8_t code;
    uint8_t hops_left; /* of the answer as it came */
    uint32_t value;    /* too big: the MTU */
};

struct probe_set {
    struct pool *pool;
    struct forward *forward;
    uint16_t identifier;
    uint16_t next;
    struct probe probe[PROBE_MOST];
};

struct probe_spec {
    uint32_t vrf;
    struct ip_addr from, to; /* of one family */
    uint8_t hops;
    uint32_t size;   /* bytes of payload, at most 65000 and what a packet holds */
    uint8_t traffic; /* DSCP << 2 */
};

/* The probe's index; -ENOBUFS: too many under way, or no memory; -EINVAL: a size that no packet holds. */
int probe_send(struct probe_set *s, const struct probe_spec *spec, int64_t now);
void probe_forget(struct probe_set *s, unsigned index);
/* A punted IP packet: true when it answers a probe (m stays the caller's). */
bool probe_take(struct probe_set *s, uint32_t vrf, struct rte_mbuf *m, int64_t now);

#endif
