#include "forward/stream.h"
#include "base/clock.h"
#include "forward/crypt.h"
#include "forward/report.h"
#include "forward/view.h"
#include "forward/vrf.h"
#include "lane/duplicate.h"
#include "lane/merge.h"
#include "wire/sequence.h"

#include <errno.h>
#include <stdlib.h>

#define STREAMS_MOST 32u
#define WINDOW       8192u
#define WAIT_NS      (100 * NS_PER_MS)
#define IDLE_NS      (60 * NS_PER_S) /* after which another stream may have its place */

struct stream_key {
    uint64_t ingress; /* router id */
    struct prefix_key sid;
    uint32_t tenant, vrf;
    uint8_t class_;
};

struct stream {
    bool used;
    struct stream_key key;
    struct duplicate order;
    uint64_t lane[DUPLICATE_PATHS]; /* ids of the lanes that it came by; 0: none yet */
    int64_t heard_ns[DUPLICATE_PATHS];
    struct lane_merge merge;
    int64_t watch_at;
};

struct streams {
    struct duplicate_limits limits;
    struct stream *all;
    uint64_t *memory;
    uint64_t per_stream; /* words of it */
    uint32_t most, n;    /* n: the first so many have been used */
};

/* --- life -------------------------------------------------------------------------------------------------- */

int streams_create(struct streams **ret, const struct forward_stream_config *c, struct error *err)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ENOMEM, "no memory for 1+1 streams");
    s->most = c->most ? c->most : STREAMS_MOST;
    s->limits = (struct duplicate_limits){
        c->window ? c->window : WINDOW, c->cells_most ? c->cells_most : WINDOW, c->wait_ns ? c->wait_ns : WAIT_NS};
    uint32_t w = s->limits.window;
    if (w < 64 || w > 1u << 20 || (w & (w - 1)) || s->most > 4096) {
        free(s);
        return error_set(err, EINVAL,
            "the window of 1+1 streams is a power of two from 64 to 1048576, not %u, and there are at most 4096", w);
    }
    s->per_stream = duplicate_memory(w) / 8;
    s->all = calloc(s->most, sizeof *s->all);
    s->memory = calloc(s->most, s->per_stream * 8);
    if (!s->all || !s->memory) {
        free(s->all);
        free(s->memory);
        free(s);
        return error_set(err, ENOMEM, "no memory for %u 1+1 streams", c->most);
    }
    *ret = s;
    return 0;
}

void streams_free(struct forward *f)
{
    struct streams *all = f->streams;
    if (!all)
        return;
    for (uint32_t i = 0; i < all->n; i++) {
        struct stream *s = &all->all[i];
        for (struct rte_mbuf *m; s->used && (m = duplicate_flush(&s->order));) {
            lane_discard(packet_meta(m)->from, packet_meta(m)->cells);
            f->ops.free(f->ops.user, m);
        }
        lane_merge_done(f->lanes, &s->merge, f->now);
    }
    free(all->all);
    free(all->memory);
    free(all);
    f->streams = NULL;
}

/* --- which one --------------------------------------------------------------------------------------------- */

static bool same(const struct stream_key *a, const struct stream_key *b)
{
    return a->ingress == b->ingress && a->sid.hi == b->sid.hi && a->sid.lo == b->sid.lo && a->tenant == b->tenant &&
           a->vrf == b->vrf && a->class_ == b->class_;
}

static bool is_idle(const struct stream *s, int64_t now)
{
    int64_t heard = s->heard_ns[0] > s->heard_ns[1] ? s->heard_ns[0] : s->heard_ns[1];
    return now - heard > IDLE_NS && !s->order.held && lane_merge_empty(&s->merge);
}

static struct stream *begin(struct forward *f, struct stream *s, const struct stream_key *k, int64_t now)
{
    struct streams *all = f->streams;
    if (s->used)
        lane_merge_done(f->lanes, &s->merge, now);
    uint64_t *memory = all->memory + (uint64_t)(s - all->all) * all->per_stream;
    *s = (struct stream){.used = true, .key = *k, .watch_at = now};
    memset(memory, 0, all->per_stream * 8);
    duplicate_init(&s->order, &all->limits, memory);
    return s;
}

static struct stream *find(struct forward *f, const struct stream_key *k, int64_t now)
{
    struct streams *all = f->streams;
    struct stream *idle = NULL;
    for (uint32_t i = 0; i < all->n; i++) {
        if (same(&all->all[i].key, k))
            return &all->all[i];
        if (!idle && is_idle(&all->all[i], now))
            idle = &all->all[i];
    }
    if (all->n < all->most)
        return begin(f, &all->all[all->n++], k, now);
    return idle ? begin(f, idle, k, now) : NULL;
}

/* Which of its two paths this lane is. A third one takes the place of the one that has been silent for longer. */
static unsigned path_of(struct stream *s, uint64_t lane, int64_t now)
{
    unsigned p = s->lane[0] == lane   ? 0
                 : s->lane[1] == lane ? 1
                 : !s->lane[0]        ? 0
                 : !s->lane[1]        ? 1
                                      : s->heard_ns[1] < s->heard_ns[0];
    s->lane[p] = lane;
    s->heard_ns[p] = now;
    return p;
}

/* --- packets ------------------------------------------------------------------------------------------------ */

/* What is needed to go on with it later. */
static void note(struct forward *f, const struct stream *s, const struct walk *w, const struct hop *h)
{
    w->meta->stream = (uint16_t)(s - f->streams->all + 1);
    w->meta->stream_proto = w->proto;
    w->meta->stream_at = w->at;
    w->meta->stream_next_at = w->next_at;
    w->meta->stream_hop = (uint32_t)(h - f->hops.hops);
}

/* The SID's hop, unless that was deleted while the packet was held. */
static const struct hop *hop_of(const struct forward *f, const struct stream *s, uint32_t index)
{
    const struct hop *h = index < f->hops.n ? &f->hops.hops[index] : NULL;
    return h && h->users && h->kind == HOP_SID && h->vrf && h->vrf->id == s->key.vrf ? h : NULL;
}

/* A held packet's turn. */
static void resume(struct forward *f, struct stream *s, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct walk w = {.m = m,
        .meta = meta,
        .ip = packet_at(m, ETHER_SIZE),
        .there = m->data_len - ETHER_SIZE,
        .size = m->pkt_len - ETHER_SIZE,
        .next_at = meta->stream_next_at,
        .at = meta->stream_at,
        .proto = meta->stream_proto,
        .hop_counted = true,
        .rx = meta->from,
        .now = now};
    const struct hop *h = hop_of(f, s, meta->stream_hop);
    uint32_t at;
    if (!h || hbh_parse(&w.hbh, &at, w.ip + IP6_SIZE, w.there - IP6_SIZE, &f->option_types) != HBH_OK) {
        walk_drop(f, &w, LOSS_NO_ROUTE, meta->in_port);
        return;
    }
    decap_open(f, &w, h);
}

static void release(struct forward *f, struct stream *s, int64_t now)
{
    for (struct rte_mbuf *m; (m = duplicate_next(&s->order, now));)
        resume(f, s, m, now);
}

static void arrived(struct forward *f, struct stream *s, struct walk *w, const struct sequence *q, const struct hop *h)
{
    int64_t now = w->now;
    unsigned path = path_of(s, w->rx->id, now);
    if (forward_unlikely(duplicate_is_new(&s->order, q->epoch))) {
        for (struct rte_mbuf *m; (m = duplicate_flush(&s->order));)
            resume(f, s, m, now);
        duplicate_begin(&s->order, q->epoch, q->number);
    }
    note(f, s, w, h);
    switch (duplicate_arrive(&s->order, q->epoch, q->number, path, w->meta->cells, w->m, now)) {
    case DUPLICATE_DELIVER:
        decap_open(f, w, h);
        break;
    case DUPLICATE_HOLD:
        break;
    default:
        walk_drop(f, w, LOSS_REDUNDANT, w->meta->in_port);
        break;
    }
    release(f, s, now);
}

void stream_receive(struct forward *f, struct walk *w, const struct hop *h)
{
    struct sequence q;
    uint32_t at = 0;
    enum hbh_verdict v = sequence_parse(&q, &at, w->ip + w->at, w->there - w->at, f->config.option_sequence);
    if (forward_unlikely(v != HBH_OK)) {
        if (v == HBH_PROBLEM || v == HBH_PROBLEM_UNICAST)
            report_problem(f, w, 2, w->at + at);
        walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
        return;
    }
    w->next_at = w->at;
    w->at = (uint16_t)(w->at + q.size);
    w->proto = q.next;
    if (!q.has || !w->rx) { /* somebody else's options, or it came without a lane: as if they were not there */
        decap_open(f, w, h);
        return;
    }
    struct stream_key k = {w->rx->id >> 32, w->da, w->rx->tenant, h->vrf->id, w->rx->class_};
    struct stream *s = find(f, &k, w->now);
    if (s)
        arrived(f, s, w, &q, h);
    else
        walk_drop(f, w, LOSS_NO_BUFFER, w->meta->in_port);
}

struct queue *stream_queue(struct forward *f, const struct packet_meta *meta, uint16_t out)
{
    uint32_t i = meta->stream - 1u;
    if (i >= f->streams->n || !f->streams->all[i].used || !meta->from)
        return NULL;
    return lane_merge_queue(f->lanes, &f->streams->all[i].merge, meta->from, out);
}

/* --- time --------------------------------------------------------------------------------------------------- */

int64_t stream_poll(struct forward *f, int64_t now)
{
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < f->streams->n; i++) {
        struct stream *s = &f->streams->all[i];
        int64_t at = duplicate_deadline(&s->order);
        if (at <= now) {
            release(f, s, now);
            crypt_flush(f, now); /* into the queue before that is looked at */
            at = duplicate_deadline(&s->order);
        }
        if (s->watch_at <= now)
            s->watch_at = lane_merge_poll(f->lanes, &s->merge, s->lane[0], now);
        if (s->watch_at == INT64_MAX) /* no queue yet */
            s->watch_at = now + NS_PER_S;
        at = at < s->watch_at ? at : s->watch_at;
        next = at < next ? at : next;
    }
    return next;
}

/* --- reports ------------------------------------------------------------------------------------------------ */

unsigned forward_streams_view(struct forward *f, uint32_t *cursor, struct forward_stream_view *ret, unsigned most)
{
    unsigned got = 0;
    for (; got < most && *cursor < f->streams->n; ++*cursor) {
        const struct stream *s = &f->streams->all[*cursor];
        const struct duplicate *d = &s->order;
        ret[got++] = (struct forward_stream_view){.ingress = s->key.ingress,
            .tenant = s->key.tenant,
            .vrf = s->key.vrf,
            .class_ = s->key.class_,
            .lanes = {s->lane[0], s->lane[1]},
            .heard_ns = {s->heard_ns[0], s->heard_ns[1]},
            .delivered = d->delivered,
            .redundant = d->redundant + d->stale,
            .refused = d->refused,
            .lost = d->lost,
            .late = d->late,
            .held_packets = d->held,
            .held_cells = d->held_cells,
            .held_peak_cells = d->held_peak,
            .lag_ns = d->lag_ns,
            .wait_ns = duplicate_wait_ns(d)};
    }
    return got;
}
