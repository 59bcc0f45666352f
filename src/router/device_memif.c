#include "router/device_memif.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memif_device {
    struct device d;
    struct memif_rings g;
    bool attached, broken;
    uint16_t rx_at;   /* the next slot to read */
    uint16_t tx_at;   /* the next slot to write */
    uint16_t offered; /* client: empty buffers offered up to here in the rx ring */
};

static uint16_t load(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static unsigned nonsense(struct memif_device *f)
{
    f->broken = true;
    f->d.up = false;
    f->d.n.rx_bad++;
    return 0;
}

/* Frames waiting, in slots; more than the ring has is nonsense. */
static int waiting(struct memif_device *f)
{
    const struct memif_ring *r = f->g.rx;
    uint16_t written = load(f->g.client ? &r->tail : &r->head);
    uint16_t n = (uint16_t)(written - f->rx_at);
    uint16_t most = f->g.client ? (uint16_t)(f->offered - f->rx_at) : (uint16_t)(1u << f->g.rx_log2);
    return n > most ? -1 : n;
}

/* A slot's buffer and how many bytes it may hold; NULL: not within the shared memory. The client knows where its buffers
 * are; the server has only the descriptor's word, whose length it reads once. */
static uint8_t *buffer_of(
    const struct memif_device *f, const struct memif_ring *r, uint16_t slot, uint32_t first, uint32_t *ret_room)
{
    const struct memif_desc *d = &r->desc[slot];
    if (f->g.client) {
        *ret_room = f->g.buffer;
        return f->g.region[0].base + first + (size_t)slot * f->g.buffer;
    }
    uint32_t length = __atomic_load_n(&d->length, __ATOMIC_RELAXED);
    uint16_t region = __atomic_load_n(&d->region, __ATOMIC_RELAXED);
    uint32_t offset = __atomic_load_n(&d->offset, __ATOMIC_RELAXED);
    *ret_room = length;
    if (region >= f->g.n_regions || (uint64_t)offset + length > f->g.region[region].size)
        return NULL;
    return f->g.region[region].base + offset;
}

/* Takes one frame of n waiting slots into m: how many slots it took. 0: the rest of it is not there yet. -1: nonsense. A
 * frame too long for m is taken with pkt_len 0. */
static int take_frame(struct memif_device *f, struct rte_mbuf *m, int n)
{
    const struct memif_ring *r = f->g.rx;
    uint16_t mask = (uint16_t)((1u << f->g.rx_log2) - 1);
    uint32_t len = 0, flags = MEMIF_DESC_NEXT, room;
    bool fits = m != NULL;
    int slots = 0;
    while (flags & MEMIF_DESC_NEXT) {
        if (slots == n)
            return 0;
        uint16_t slot = (uint16_t)(f->rx_at + slots++) & mask;
        const uint8_t *from = buffer_of(f, r, slot, f->g.rx_buffers, &room);
        uint32_t length = f->g.client ? __atomic_load_n(&r->desc[slot].length, __ATOMIC_RELAXED) : room;
        flags = __atomic_load_n(&r->desc[slot].flags, __ATOMIC_RELAXED);
        if (!from || length > room)
            return -1;
        if (fits && len + length <= f->d.pool->room)
            memcpy(packet_at(m, len), from, length);
        else
            fits = false;
        len += length;
    }
    if (m)
        m->data_len = (uint16_t)(fits ? len : 0), m->pkt_len = fits ? len : 0;
    return slots;
}

static void give_slots_back(struct memif_device *f)
{
    struct memif_ring *r = f->g.rx;
    if (!f->g.client)
        return store(&r->tail, f->rx_at);
    uint16_t size = (uint16_t)(1u << f->g.rx_log2), mask = (uint16_t)(size - 1);
    while ((uint16_t)(f->offered - f->rx_at) < size)
        __atomic_store_n(&r->desc[f->offered++ & mask].length, f->g.buffer, __ATOMIC_RELAXED);
    store(&r->head, f->offered);
}

static unsigned receive(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct memif_device *f = (struct memif_device *)d;
    if (!d->up)
        return 0;
    int n = waiting(f);
    if (n <= 0)
        return n ? nonsense(f) : 0;
    unsigned got = 0;
    for (unsigned i = 0; i < most && n > 0; i++) {
        struct rte_mbuf *m = pool_alloc(d->pool);
        int slots = take_frame(f, m, n);
        if (slots < 0) {
            if (m)
                pool_free(m);
            nonsense(f);
            return got;
        }
        if (slots > 0 && m && m->pkt_len) {
            d->n.rx_frames++;
            d->n.rx_bytes += m->pkt_len;
            ret[got++] = m;
        } else {
            d->n.rx_no_buffer += slots > 0 && !m;
            d->n.rx_bad += slots > 0 && m;
            if (m)
                pool_free(m);
        }
        if (slots == 0)
            break;
        f->rx_at = (uint16_t)(f->rx_at + slots);
        n -= slots;
    }
    give_slots_back(f);
    return got;
}

/* Writes one frame into at most `n` free slots: how many it took. 0: it does not fit now. -1: nonsense. */
static int put_frame(struct memif_device *f, const struct rte_mbuf *m, int n)
{
    struct memif_ring *r = f->g.tx;
    uint16_t mask = (uint16_t)((1u << f->g.tx_log2) - 1);
    const uint8_t *from = rte_pktmbuf_mtod(m, const uint8_t *);
    uint32_t left = m->data_len, room;
    int slots = 0;
    do {
        if (slots == n)
            return 0;
        uint16_t slot = (uint16_t)(f->tx_at + slots++) & mask;
        uint8_t *to = buffer_of(f, r, slot, f->g.tx_buffers, &room);
        if (!to || !room)
            return -1;
        uint32_t part = left < room ? left : room;
        memcpy(to, from, part);
        from += part;
        left -= part;
        __atomic_store_n(&r->desc[slot].length, part, __ATOMIC_RELAXED);
        __atomic_store_n(&r->desc[slot].flags, left ? MEMIF_DESC_NEXT : 0, __ATOMIC_RELAXED);
    } while (left);
    return slots;
}

static int free_slots(struct memif_device *f)
{
    const struct memif_ring *r = f->g.tx;
    uint16_t size = (uint16_t)(1u << f->g.tx_log2);
    if (f->g.client) {
        uint16_t used = (uint16_t)(f->tx_at - load(&r->tail));
        return used > size ? -1 : size - used;
    }
    uint16_t n = (uint16_t)(load(&r->head) - f->tx_at);
    return n > size ? -1 : n;
}

/* The reader sleeps: wake it. The barrier stands between our writing of head or tail and our reading of its flag, as its
 * one stands between its writing of the flag and its reading of head or tail. */
static void wake_reader(struct memif_device *f)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (load(&f->g.tx->flags) & MEMIF_RING_MASKED)
        return;
    uint64_t one = 1;
    ssize_t n = write(f->g.tx_event, &one, sizeof(one));
    (void)n;
}

static unsigned transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct memif_device *f = (struct memif_device *)d;
    if (!d->up)
        return 0;
    int room = free_slots(f);
    unsigned i = 0;
    if (room < 0)
        return nonsense(f);
    for (; i < n; i++) {
        int slots = put_frame(f, pkts[i], room);
        if (slots < 0)
            nonsense(f);
        if (slots <= 0)
            break;
        f->tx_at = (uint16_t)(f->tx_at + slots);
        room -= slots;
        d->n.tx_frames++;
        d->n.tx_bytes += pkts[i]->pkt_len;
    }
    d->n.tx_refused += i < n;
    if (!i)
        return 0;
    store(f->g.client ? &f->g.tx->head : &f->g.tx->tail, f->tx_at);
    wake_reader(f);
    return i;
}

static bool arm(struct device *d)
{
    struct memif_device *f = (struct memif_device *)d;
    if (!d->up)
        return false;
    store(&f->g.rx->flags, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return waiting(f) != 0;
}

static void disarm(struct device *d)
{
    struct memif_device *f = (struct memif_device *)d;
    if (d->up)
        store(&f->g.rx->flags, MEMIF_RING_MASKED);
}

static unsigned watch(struct device *d, int *ret, unsigned most)
{
    struct memif_device *f = (struct memif_device *)d;
    if (!f->attached)
        return 0;
    ret[0] = f->g.rx_event;
    return 1;
}

/* The peer has read all: what lies in the ring when the line is closed is lost. */
static bool settled(struct device *d)
{
    struct memif_device *f = (struct memif_device *)d;
    if (!d->up)
        return true;
    return f->g.client ? load(&f->g.tx->tail) == f->tx_at : free_slots(f) >= (int)(1u << f->g.tx_log2) - 1;
}

static void close_memif(struct device *d)
{
    free(d);
}

static const struct device_ops ops = {.receive = receive,
    .transmit = transmit,
    .watch = watch,
    .arm = arm,
    .disarm = disarm,
    .settled = settled,
    .close = close_memif};

int device_memif_create(struct device **ret, const char *name, struct pool *pool, struct error *err)
{
    struct memif_device *f = calloc(1, sizeof(*f));
    if (!f)
        return error_set(err, ENOMEM, "no memory");
    f->d = (struct device){.ops = &ops, .pool = pool, .polled = true};
    snprintf(f->d.name, sizeof(f->d.name), "%s", name);
    *ret = &f->d;
    return 0;
}

void device_memif_attach(struct device *d, const struct memif_rings *rings)
{
    struct memif_device *f = (struct memif_device *)d;
    f->g = *rings;
    f->rx_at = f->tx_at = f->offered = 0;
    f->broken = false;
    f->attached = d->up = true;
    if (rings->client)
        give_slots_back(f);
    else
        store(&rings->rx->flags, MEMIF_RING_MASKED);
}

void device_memif_detach(struct device *d)
{
    struct memif_device *f = (struct memif_device *)d;
    f->attached = d->up = false;
}

bool device_memif_broken(const struct device *d)
{
    return ((const struct memif_device *)d)->broken;
}
