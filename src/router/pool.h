/* The router's packets: one pool of rte_mbufs, used by one thread.
 *
 * A packet starts PACKET_HEADROOM bytes into its buffer, so that every encapsulation we make fits in front. DPDK's drivers
 * always leave RTE_PKTMBUF_HEADROOM (a constant of DPDK's build, 128) bytes, so packets rest in the pool with their buffer's
 * start moved by POOL_SHIFT: a driver that fills one leaves 128 + POOL_SHIFT bytes, and pool_from_driver moves the start
 * back. pool_alloc gives packets as the core wants them, pool_free takes them in any state. */
#ifndef MERIDIAN_ROUTER_POOL_H
#define MERIDIAN_ROUTER_POOL_H

#include "base/error.h"
#include "lane/packet.h"

#include <rte_mempool.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define POOL_SHIFT (PACKET_HEADROOM - RTE_PKTMBUF_HEADROOM)

struct pool {
    struct rte_mempool *mempool;
    uint32_t packets; /* in all */
    uint32_t room;    /* bytes behind the headroom */
};

/* Memory that a pool takes at worst, whether on hugepages or not: DPDK lets no packet lie across two pages. */
uint64_t pool_bytes(uint32_t packets, uint32_t room);

/* The EAL must have been started. */
int pool_init(struct pool *p, uint32_t packets, uint32_t room, struct error *err);
void pool_done(struct pool *p);
uint32_t pool_free_count(const struct pool *p);

static inline void *pool_buffer(struct rte_mbuf *m)
{
    return (uint8_t *)(m + 1) + PACKET_META_SIZE;
}

/* Makes the buffer's start visible. True: it was moved, as it rests in the pool. */
static inline bool pool_open(struct rte_mbuf *m)
{
    if (m->buf_addr == pool_buffer(m))
        return false;
    m->buf_addr = pool_buffer(m);
    rte_mbuf_iova_set(m, rte_mbuf_iova_get(m) - POOL_SHIFT);
    m->buf_len = (uint16_t)(m->buf_len + POOL_SHIFT);
    return true;
}

/* A packet that a driver has filled: PACKET_HEADROOM in front, its meta zero. One that a driver itself had freed lies
 * lower; its bytes are moved. */
static inline void pool_from_driver(struct rte_mbuf *m)
{
    if (!pool_open(m))
        memmove((uint8_t *)m->buf_addr + PACKET_HEADROOM, rte_pktmbuf_mtod(m, void *), m->data_len);
    m->data_off = PACKET_HEADROOM;
    memset(packet_meta(m), 0, sizeof(struct packet_meta));
}

/* An empty packet with PACKET_HEADROOM in front and its meta zero; NULL: none left. */
static inline struct rte_mbuf *pool_alloc(struct pool *p)
{
    struct rte_mbuf *m = rte_mbuf_raw_alloc(p->mempool);
    if (!m)
        return NULL;
    rte_pktmbuf_reset(m);
    pool_open(m);
    m->data_off = PACKET_HEADROOM;
    memset(packet_meta(m), 0, sizeof(struct packet_meta));
    return m;
}

/* Gives back one reference; with the last one the packet. */
static inline void pool_free(struct rte_mbuf *m)
{
    if (rte_mbuf_refcnt_read(m) > 1 && rte_mbuf_refcnt_update(m, -1) > 0)
        return;
    void *resting = (uint8_t *)pool_buffer(m) + POOL_SHIFT;
    if (m->buf_addr != resting) {
        m->buf_addr = resting;
        rte_mbuf_iova_set(m, rte_mbuf_iova_get(m) + POOL_SHIFT);
        m->buf_len = (uint16_t)(m->buf_len - POOL_SHIFT);
    }
    rte_mbuf_refcnt_set(m, 1);
    m->next = NULL;
    m->nb_segs = 1;
    rte_mbuf_raw_free(m);
}

#endif
