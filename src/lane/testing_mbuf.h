/* A slab of mbufs for tests and benchmarks: what the shells' pools are to the router, without DPDK's pools.
 *
 *   struct testing_mbufs *slab = testing_mbufs_create(1000, 2048);
 *   struct rte_mbuf *m = testing_mbuf_sized(slab, 1514);            // data_len == pkt_len where there is room for it
 *   …; testing_mbuf_free(slab, m);
 *   assert_int_equal(slab->used, 0); testing_mbufs_free(slab);
 *
 * Each element is an rte_mbuf, PACKET_META_SIZE private bytes (zero after alloc), PACKET_HEADROOM and `room` data bytes.
 * testing_mbuf_alloc and testing_mbuf_free have the signatures of struct lane_above and struct forward_ops, with the slab
 * as their `user`. Freeing what is free, or what is no mbuf of this slab, aborts: it is the fault of the code under test.
 * Freed packets are filled with 0xa5 (testing_mbufs.poison), so that use after free shows without a sanitizer too. */
#ifndef MERIDIAN_LANE_TESTING_MBUF_H
#define MERIDIAN_LANE_TESTING_MBUF_H

#include "lane/packet.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct testing_mbufs {
    uint8_t *memory;
    struct rte_mbuf *spare; /* linked through packet_meta.next: last freed, first used */
    uint32_t count, room;
    size_t stride;
    uint32_t used, peak;    /* now, and at most ever */
    uint64_t allocs, frees; /* ever */
    uint64_t refused;       /* allocations with none left */
    bool poison;            /* default true; false in benchmarks */
};

static inline struct rte_mbuf *testing_mbuf_number(struct testing_mbufs *s, uint32_t i)
{
    return (struct rte_mbuf *)(void *)(s->memory + i * s->stride);
}

/* Never NULL: a test without memory ends here. */
static inline struct testing_mbufs *testing_mbufs_create(uint32_t count, uint32_t room)
{
    struct testing_mbufs *s = calloc(1, sizeof *s);
    size_t stride = (sizeof(struct rte_mbuf) + PACKET_META_SIZE + PACKET_HEADROOM + room + 63) / 64 * 64;
    if (!s || PACKET_HEADROOM + room > UINT16_MAX || !(s->memory = aligned_alloc(64, stride * count))) {
        fprintf(stderr, "testing_mbufs_create: no memory for %u mbufs of %u bytes\n", count, room);
        abort();
    }
    memset(s->memory, 0, stride * count);
    s->count = count;
    s->room = room;
    s->stride = stride;
    s->poison = true;
    for (uint32_t i = count; i-- > 0;) {
        struct rte_mbuf *m = testing_mbuf_number(s, i);
        packet_meta(m)->next = s->spare;
        s->spare = m;
    }
    return s;
}

static inline void testing_mbufs_free(struct testing_mbufs *s)
{
    if (s)
        free(s->memory);
    free(s);
}

/* An empty mbuf; NULL: none left. */
static inline struct rte_mbuf *testing_mbuf_alloc(void *slab)
{
    struct testing_mbufs *s = slab;
    struct rte_mbuf *m = s->spare;
    if (!m) {
        s->refused++;
        return NULL;
    }
    s->spare = packet_meta(m)->next;
    memset(m, 0, sizeof *m + PACKET_META_SIZE);
    m->buf_addr = (uint8_t *)m + sizeof *m + PACKET_META_SIZE;
    m->buf_len = (uint16_t)(PACKET_HEADROOM + s->room);
    m->data_off = PACKET_HEADROOM;
    m->refcnt = 1;
    m->nb_segs = 1;
    m->priv_size = PACKET_META_SIZE;
    s->allocs++;
    if (++s->used > s->peak)
        s->peak = s->used;
    return m;
}

static inline void testing_mbuf_free(void *slab, struct rte_mbuf *m)
{
    struct testing_mbufs *s = slab;
    size_t at = (size_t)((uint8_t *)m - s->memory);
    if ((uint8_t *)m < s->memory || at >= s->stride * s->count || at % s->stride != 0 || m->refcnt != 1) {
        fprintf(
            stderr, "testing_mbuf_free: %p is %s\n", (void *)m, at % s->stride ? "no mbuf of the slab" : "not in use");
        abort();
    }
    if (s->poison)
        memset(m, 0xa5, s->stride);
    m->refcnt = 0;
    packet_meta(m)->next = s->spare;
    s->spare = m;
    s->frees++;
    s->used--;
}

/* An mbuf of pkt_len `len` whose first min(len, room) bytes are there and zero; arrived-side fields of its meta are set. */
static inline struct rte_mbuf *testing_mbuf_sized(struct testing_mbufs *s, uint32_t len)
{
    struct rte_mbuf *m = testing_mbuf_alloc(s);
    if (!m)
        return NULL;
    m->pkt_len = len;
    m->data_len = (uint16_t)(len < s->room ? len : s->room);
    memset(rte_pktmbuf_mtod(m, uint8_t *), 0, m->data_len);
    packet_meta(m)->cells = packet_cells(len);
    return m;
}

/* An mbuf that holds these bytes; NULL: none left, or they do not fit. */
static inline struct rte_mbuf *testing_mbuf_bytes(struct testing_mbufs *s, const void *bytes, uint32_t len)
{
    struct rte_mbuf *m = len <= s->room ? testing_mbuf_sized(s, len) : NULL;
    if (m)
        memcpy(rte_pktmbuf_mtod(m, uint8_t *), bytes, len);
    return m;
}

#endif
