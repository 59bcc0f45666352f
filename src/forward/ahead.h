/* One frame after the other of a batch, while what the next ones need is on its way into the cache: the mbuf first, then the
 * frame's first lines. Every port's receive loop is this one; it is inlined with the frame's function into each. */
#ifndef MERIDIAN_FORWARD_AHEAD_H
#define MERIDIAN_FORWARD_AHEAD_H

#include "forward/forward_inner.h"

#define AHEAD_MBUF 8 /* packets whose mbuf is fetched ahead, and those whose headers are */
#define AHEAD_DATA 4

typedef void ahead_frame(struct forward *f, struct forward_port *in, struct rte_mbuf *m, int64_t now);

static inline void ahead_mbuf(struct rte_mbuf *m)
{
    __builtin_prefetch(m, 1);
    __builtin_prefetch(packet_meta(m), 1);
}

static inline void ahead_data(struct rte_mbuf *m, int beside)
{
    const uint8_t *p = packet_at(m, 0);
    __builtin_prefetch(p, 1);
    __builtin_prefetch(p + beside, 1);
}

/* beside: which bytes are wanted besides the frame's first, from its start (negative: the room in front, where headers will be
 * written). `frame` takes ownership of each. Returns the bytes of all. */
static inline __attribute__((always_inline)) uint64_t ahead_each(struct forward *f, struct forward_port *in,
    struct rte_mbuf *const *pkts, unsigned n, int64_t now, int beside, ahead_frame *frame)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < AHEAD_MBUF && i < n; i++)
        ahead_mbuf(pkts[i]);
    for (unsigned i = 0; i < AHEAD_DATA && i < n; i++)
        ahead_data(pkts[i], beside);
    for (unsigned i = 0; i < n; i++) {
        if (i + AHEAD_MBUF < n)
            ahead_mbuf(pkts[i + AHEAD_MBUF]);
        if (i + AHEAD_DATA < n)
            ahead_data(pkts[i + AHEAD_DATA], beside);
        bytes += pkts[i]->pkt_len;
        frame(f, in, pkts[i], now);
    }
    return bytes;
}

#endif
