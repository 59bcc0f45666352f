#include "router/capture.h"

#include "wire/pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One producer, one consumer: each writes one of the two positions, which run freely. */
struct capture {
    uint32_t snap;
    uint64_t most;
    int64_t wall;
    uint64_t written, read;
    uint64_t captured, dropped;
    uint8_t ring[CAPTURE_RING];
};

/* In the ring: a frame's record, then its bytes, padded to 8. */
struct record {
    int64_t wall_ns;
    uint32_t captured, length;
    uint64_t out;
};

static void put(struct capture *c, uint64_t at, const void *from, size_t n)
{
    size_t i = at % CAPTURE_RING, first = n < CAPTURE_RING - i ? n : CAPTURE_RING - i;
    memcpy(c->ring + i, from, first);
    memcpy(c->ring, (const uint8_t *)from + first, n - first);
}

static void get(const struct capture *c, uint64_t at, void *to, size_t n)
{
    size_t i = at % CAPTURE_RING, first = n < CAPTURE_RING - i ? n : CAPTURE_RING - i;
    memcpy(to, c->ring + i, first);
    memcpy((uint8_t *)to + first, c->ring, n - first);
}

int capture_create(struct capture **ret, uint32_t snap, uint64_t most, int64_t wall_minus_now)
{
    struct capture *c = malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    memset(c, 0, offsetof(struct capture, ring));
    c->snap = snap;
    c->most = most ? most : UINT64_MAX;
    c->wall = wall_minus_now;
    *ret = c;
    return 0;
}

void capture_free(struct capture *c)
{
    free(c);
}

void capture_frames(void *user, uint16_t port, bool out, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct capture *c = user;
    uint64_t read = __atomic_load_n(&c->read, __ATOMIC_ACQUIRE), at = c->written;
    for (unsigned i = 0; i < n && c->captured < c->most; i++) {
        struct record r = {
            now + c->wall, pkts[i]->data_len < c->snap ? pkts[i]->data_len : c->snap, pkts[i]->pkt_len, out};
        uint64_t size = sizeof(r) + (r.captured + 7) / 8 * 8;
        if (at + size - read > CAPTURE_RING) {
            __atomic_store_n(&c->dropped, c->dropped + 1, __ATOMIC_RELAXED);
            continue;
        }
        put(c, at, &r, sizeof(r));
        put(c, at + sizeof(r), rte_pktmbuf_mtod(pkts[i], void *), r.captured);
        at += size;
        __atomic_store_n(&c->captured, c->captured + 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&c->written, at, __ATOMIC_RELEASE);
}

int capture_take(struct capture *c, struct buf *to, size_t most)
{
    uint64_t written = __atomic_load_n(&c->written, __ATOMIC_ACQUIRE), at = c->read;
    uint8_t bytes[65536];
    size_t before = to->len;
    int rc = 0;
    while (at != written && to->len - before < most && !rc) {
        struct record r;
        get(c, at, &r, sizeof(r));
        get(c, at + sizeof(r), bytes, r.captured);
        rc = pcapng_packet(to, &(struct pcapng_packet){r.wall_ns, r.captured, r.length, r.out}, bytes);
        if (!rc)
            at += sizeof(r) + (r.captured + 7) / 8 * 8;
    }
    __atomic_store_n(&c->read, at, __ATOMIC_RELEASE);
    return rc;
}

void capture_counts(const struct capture *c, uint64_t *ret_captured, uint64_t *ret_dropped)
{
    *ret_captured = __atomic_load_n(&c->captured, __ATOMIC_RELAXED);
    *ret_dropped = __atomic_load_n(&c->dropped, __ATOMIC_RELAXED);
}
