/* A pool for tests: the EAL without hugepages, started once, which leaves nothing behind. */
#ifndef MERIDIAN_ROUTER_TESTING_POOL_H
#define MERIDIAN_ROUTER_TESTING_POOL_H

#include "base/log.h"
#include "router/eal.h"
#include "router/pool.h"

#include <stdio.h>
#include <stdlib.h>

static inline void testing_pool_init(struct pool *p, uint32_t packets, uint32_t room)
{
    static bool started;
    struct error err = {""};
    bool huge;
    if (!started &&
        eal_start(&(struct eal_config){.name = "test", .memory_mib = 128, .huge = EAL_HUGE_NO}, &huge, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    started = true;
    if (pool_init(p, packets, room, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
}

/* A frame of `len` bytes whose first ones are `number`. */
static inline struct rte_mbuf *testing_frame(struct pool *p, uint32_t number, uint32_t len)
{
    struct rte_mbuf *m = pool_alloc(p);
    if (!m)
        return NULL;
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    memset(packet_at(m, 0), (int)(number * 7 + 1), len);
    memcpy(packet_at(m, 0), &number, sizeof(number));
    return m;
}

static inline uint32_t testing_frame_number(struct rte_mbuf *m)
{
    uint32_t n;
    memcpy(&n, packet_at(m, 0), sizeof(n));
    return n;
}

#endif
