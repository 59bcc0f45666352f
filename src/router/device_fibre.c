#include "router/device_fibre.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_KM 5000.0
/* How much may wait for the wire beyond the frame that is on it, so that a worker that comes late finds no gap. */
#define BACKLOG_NS (20 * NS_PER_US)
/* A worker that comes later than that, on a busy machine, finds that the wire went on without it, for so long at most: frames
 * that waited leave when they would have. */
#define LATE_NS (50 * NS_PER_MS)

struct flying {
    struct rte_mbuf *m;
    int64_t due_ns;
};

struct fibre {
    struct device d;
    struct device *inner;
    struct fibre_config cfg;
    struct fibre_counters n;
    struct flying *line; /* a ring of `slots`, a power of two */
    uint32_t mask, head, tail;
    struct { /* frames on the wire, the core's until their last bit is out */
        struct rte_mbuf *m;
        int64_t out_ns;
    } wire[256];
    uint8_t wire_head, wire_tail;
    int64_t wire_free_ns, last_due_ns;
    double part_ns; /* of a nanosecond, carried over */
    uint64_t frame;
    bool cut, dark;
    bool refused; /* frames wait for the wire since the last call */
};

uint32_t fibre_frames(const struct fibre_config *c)
{
    if (c->frames_most)
        return c->frames_most;
    double seconds = (c->km * NS_PER_KM + (double)c->jitter_ns) * 1e-9;
    double frames = (double)(c->rate_bps ? c->rate_bps : 10000000000u) * seconds / (512 * 8);
    return 1024 + (uint32_t)(frames < 1e7 ? frames : 1e7);
}

static bool drawn(const struct fibre *f, uint64_t salt, double p)
{
    return p > 0 && rng_uniform(f->cfg.seed ^ salt, f->frame) < p;
}

static bool survives(struct fibre *f, const struct rte_mbuf *m)
{
    f->frame++;
    if (f->cut) {
        f->n.cut++;
        return false;
    }
    if (drawn(f, 1, f->cfg.loss)) {
        f->n.lost++;
        return false;
    }
    if (f->cfg.bit_error > 0 && drawn(f, 2, -expm1((double)m->pkt_len * 8 * log1p(-f->cfg.bit_error)))) {
        f->n.bit_errors++;
        return false;
    }
    return true;
}

/* When its last bit is on the wire; preamble, check sequence and gap count, as on Ethernet. */
static int64_t leaves(struct fibre *f, uint32_t len, int64_t now)
{
    int64_t from = f->refused ? now - LATE_NS : now;
    if (f->wire_free_ns < from)
        f->wire_free_ns = from;
    if (f->cfg.rate_bps) {
        double ns = (len + 24) * 8 * (double)NS_PER_S / (double)f->cfg.rate_bps + f->part_ns;
        f->wire_free_ns += (int64_t)ns;
        f->part_ns = ns - floor(ns);
    }
    return f->wire_free_ns;
}

static int64_t arrival(struct fibre *f, int64_t out)
{
    int64_t due = out + (int64_t)(f->cfg.km * NS_PER_KM);
    if (f->cfg.jitter_ns > 0)
        due += (int64_t)(rng_uniform(f->cfg.seed ^ 3, f->frame) * (double)f->cfg.jitter_ns);
    if (due < f->last_due_ns)
        due = f->last_due_ns;
    return f->last_due_ns = due;
}

static unsigned transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct fibre *f = (struct fibre *)d;
    unsigned i = 0;
    for (; i < n; i++) {
        if (f->head - f->tail > f->mask || (uint8_t)(f->wire_head + 1) == f->wire_tail ||
            f->wire_free_ns > now + BACKLOG_NS)
            break;
        int64_t out = leaves(f, pkts[i]->pkt_len, now);
        f->wire[f->wire_head].m = pkts[i];
        f->wire[f->wire_head++].out_ns = out;
        if (survives(f, pkts[i])) {
            rte_mbuf_refcnt_update(pkts[i], 1);
            f->line[f->head++ & f->mask] = (struct flying){pkts[i], arrival(f, out)};
        }
        d->n.tx_frames++;
        d->n.tx_bytes += pkts[i]->pkt_len;
    }
    d->n.tx_refused += i < n;
    f->refused = i < n;
    f->n.flying = f->head - f->tail;
    if (f->n.flying > f->n.peak)
        f->n.peak = f->n.flying;
    return i;
}

static unsigned reclaim(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct fibre *f = (struct fibre *)d;
    unsigned n = 0;
    while (n < most && f->wire_tail != f->wire_head && f->wire[f->wire_tail].out_ns <= now)
        ret[n++] = f->wire[f->wire_tail++].m;
    return n;
}

/* What a slow device behind us has finished with: our last reference. */
static void reclaim_inner(struct fibre *f, int64_t now)
{
    struct rte_mbuf *done[64];
    unsigned n;
    while (f->inner->ops->reclaim && (n = f->inner->ops->reclaim(f->inner, done, 64, now)) > 0)
        for (unsigned i = 0; i < n; i++)
            pool_free(done[i]);
}

static void deliver(struct fibre *f, int64_t now)
{
    struct rte_mbuf *due[64];
    for (;;) {
        unsigned n = 0, taken;
        while (n < 64 && f->tail + n != f->head && f->line[(f->tail + n) & f->mask].due_ns <= now) {
            due[n] = f->line[(f->tail + n) & f->mask].m;
            n++;
        }
        if (!n)
            return;
        taken = f->inner->ops->transmit(f->inner, due, n, now);
        for (unsigned i = 0; i < taken && !f->inner->ops->reclaim; i++)
            pool_free(due[i]);
        f->tail += taken;
        if (taken < n)
            return;
    }
}

static void swallow(struct fibre *f)
{
    for (; f->tail != f->head; f->tail++, f->n.cut++)
        pool_free(f->line[f->tail & f->mask].m);
}

static int64_t poll_fibre(struct device *d, int64_t now)
{
    struct fibre *f = (struct fibre *)d;
    d->up = f->inner->up && !(f->cut && f->dark);
    if (!f->inner->up)
        swallow(f);
    reclaim_inner(f, now);
    deliver(f, now);
    f->n.flying = f->head - f->tail;
    int64_t next = f->inner->ops->poll ? f->inner->ops->poll(f->inner, now) : INT64_MAX;
    if (f->wire_tail != f->wire_head && f->wire[f->wire_tail].out_ns < next)
        next = f->wire[f->wire_tail].out_ns;
    if (f->tail != f->head && f->line[f->tail & f->mask].due_ns < next)
        next = f->line[f->tail & f->mask].due_ns;
    return next;
}

static unsigned receive(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct fibre *f = (struct fibre *)d;
    f->inner->ready = d->ready;
    unsigned n = f->inner->ops->receive(f->inner, ret, most, now);
    d->ready = f->inner->ready;
    return n;
}

static bool arm(struct device *d)
{
    struct fibre *f = (struct fibre *)d;
    return f->inner->ops->arm && f->inner->ops->arm(f->inner);
}

static void disarm(struct device *d)
{
    struct fibre *f = (struct fibre *)d;
    if (f->inner->ops->disarm)
        f->inner->ops->disarm(f->inner);
}

static unsigned watch(struct device *d, int *ret, unsigned most)
{
    struct fibre *f = (struct fibre *)d;
    return f->inner->ops->watch ? f->inner->ops->watch(f->inner, ret, most) : 0;
}

static bool settled(struct device *d)
{
    struct fibre *f = (struct fibre *)d;
    return f->head == f->tail && f->wire_head == f->wire_tail &&
           (!f->inner->ops->settled || f->inner->ops->settled(f->inner));
}

static void close_fibre(struct device *d)
{
    struct fibre *f = (struct fibre *)d;
    swallow(f);
    f->inner->ops->close(f->inner);
    free(f->line);
    free(f);
}

static const struct device_ops ops = {.receive = receive,
    .transmit = transmit,
    .reclaim = reclaim,
    .poll = poll_fibre,
    .arm = arm,
    .disarm = disarm,
    .watch = watch,
    .settled = settled,
    .close = close_fibre};

int device_fibre_create(struct device **ret, struct device *inner, const struct fibre_config *cfg, struct error *err)
{
    struct fibre *f = calloc(1, sizeof(*f));
    uint32_t slots = 1;
    while (slots < fibre_frames(cfg))
        slots *= 2;
    if (!f || !(f->line = calloc(slots, sizeof(*f->line)))) {
        free(f);
        return error_set(err, ENOMEM, "no memory for a fibre of %u frames", slots);
    }
    f->mask = slots - 1;
    f->cfg = *cfg;
    f->inner = inner;
    f->d = (struct device){.ops = &ops, .pool = inner->pool, .up = inner->up, .polled = inner->polled, .ready = true};
    snprintf(f->d.name, sizeof(f->d.name), "%s", inner->name);
    *ret = &f->d;
    return 0;
}

bool device_is_fibre(const struct device *d)
{
    return d->ops == &ops;
}

struct device *device_fibre_inner(struct device *d)
{
    return device_is_fibre(d) ? ((struct fibre *)d)->inner : d;
}

void device_fibre_cut(struct device *d, bool cut, bool dark)
{
    struct fibre *f = (struct fibre *)d;
    f->cut = cut;
    f->dark = dark;
    if (cut)
        swallow(f);
    d->up = f->inner->up && !(cut && dark);
}

void device_fibre_set(struct device *d, const struct fibre_config *cfg)
{
    struct fibre *f = (struct fibre *)d;
    f->cfg.km = cfg->km;
    f->cfg.loss = cfg->loss;
    f->cfg.bit_error = cfg->bit_error;
    f->cfg.jitter_ns = cfg->jitter_ns;
    f->cfg.seed = cfg->seed;
}

void device_fibre_counters(const struct device *d, struct fibre_counters *ret)
{
    *ret = ((const struct fibre *)d)->n;
}
