#include "forward/testing_net.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = LANE_PORTS_MOST, FRAMES_MOST = 1 << 20, BATCH = 32, EVENT_KINDS = 32 };

struct end {
    bool cabled, cut;
    unsigned router;
    uint16_t port;
    int64_t delay_ns;
};

struct router {
    struct testing_net *net;
    struct testing_mbufs *slab;
    struct forward *forward;
    int64_t due_ns;
    unsigned events[EVENT_KINDS];
    unsigned heard;
    struct ip6 heard_peer;
    uint32_t heard_spi;
    struct end ends[PORTS];
};

struct frames {
    struct testing_frame *list;
    unsigned n, cap;
};

/* A frame on a cable. */
struct flying {
    struct testing_frame frame; /* router and port are where it arrives */
    uint64_t number;
};

struct testing_net {
    uint64_t seed, draws, number;
    uint32_t mbufs, room;
    int64_t now;
    struct router *routers[TESTING_NET_ROUTERS];
    unsigned n_routers;
    testing_hook *hook;
    void *hook_user;
    struct frames seen, any, punted;
    struct flying *heap;
    unsigned n_flying, cap_flying;
};

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "testing_net: %s\n", what);
    abort();
}

static void *copy_bytes(const void *bytes, uint32_t len)
{
    void *p = malloc(len ? len : 1);
    check(p, "no memory");
    memcpy(p, bytes, len);
    return p;
}

static void frames_add(struct frames *f, struct testing_frame frame)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 64;
        check(f->cap <= FRAMES_MOST && (f->list = realloc(f->list, f->cap * sizeof *f->list)), "too many frames");
    }
    frame.bytes = copy_bytes(frame.bytes, frame.len);
    f->list[f->n++] = frame;
}

static void frames_clear(struct frames *f)
{
    for (unsigned i = 0; i < f->n; i++)
        free(f->list[i].bytes);
    f->n = 0;
}

/* --- frames on cables: a heap by (time, number) --------------------------------------------------------------- */

static bool earlier(const struct flying *a, const struct flying *b)
{
    return a->frame.at_ns != b->frame.at_ns ? a->frame.at_ns < b->frame.at_ns : a->number < b->number;
}

static void fly(struct testing_net *n, struct testing_frame frame)
{
    if (n->n_flying == n->cap_flying) {
        n->cap_flying = n->cap_flying ? 2 * n->cap_flying : 64;
        check((n->heap = realloc(n->heap, n->cap_flying * sizeof *n->heap)), "no memory");
    }
    struct flying new = {frame, n->number++};
    unsigned i = n->n_flying++;
    for (; i && earlier(&new, &n->heap[(i - 1) / 2]); i = (i - 1) / 2)
        n->heap[i] = n->heap[(i - 1) / 2];
    n->heap[i] = new;
}

static struct testing_frame land(struct testing_net *n)
{
    struct testing_frame first = n->heap[0].frame;
    struct flying last = n->heap[--n->n_flying];
    unsigned i = 0;
    for (unsigned child; (child = 2 * i + 1) < n->n_flying; i = child) {
        if (child + 1 < n->n_flying && earlier(&n->heap[child + 1], &n->heap[child]))
            child++;
        if (!earlier(&n->heap[child], &last))
            break;
        n->heap[i] = n->heap[child];
    }
    if (n->n_flying)
        n->heap[i] = last;
    return first;
}

/* --- a router's surroundings ---------------------------------------------------------------------------------- */

static struct rte_mbuf *op_alloc(void *user)
{
    struct router *r = user;
    return testing_mbuf_alloc(r->slab);
}

static void op_free(void *user, struct rte_mbuf *m)
{
    struct router *r = user;
    testing_mbuf_free(r->slab, m);
}

static void op_punt(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    struct router *r = user;
    struct testing_frame f = {r->net->now, 0, port, vrf, m->data_len, packet_at(m, 0)};
    while (r->net->routers[f.router] != r)
        f.router++;
    frames_add(&r->net->punted, f);
    testing_mbuf_free(r->slab, m);
}

static void op_event(void *user, const struct lane_event *e)
{
    struct router *r = user;
    check((unsigned)e->kind < EVENT_KINDS, "an unknown event");
    r->events[e->kind]++;
}

static void op_heard(void *user, const struct ip6 *peer, uint32_t spi)
{
    struct router *r = user;
    r->heard++;
    r->heard_peer = *peer;
    r->heard_spi = spi;
}

static uint64_t op_random(void *user)
{
    struct router *r = user;
    return rng_u64(r->net->seed, r->net->draws++);
}

struct testing_net *testing_net_create(uint64_t seed)
{
    struct testing_net *n = calloc(1, sizeof *n);
    check(n, "no memory");
    n->seed = seed;
    testing_net_mbufs(n, TESTING_NET_MBUFS, TESTING_NET_ROOM);
    n->now = 1000000000;
    return n;
}

void testing_net_mbufs(struct testing_net *n, uint32_t count, uint32_t room)
{
    n->mbufs = count;
    n->room = room;
}

uint32_t testing_net_free(struct testing_net *n)
{
    uint32_t leaked = 0;
    for (unsigned i = 0; i < n->n_routers; i++) {
        struct router *r = n->routers[i];
        forward_free(r->forward);
        leaked += r->slab->used;
        testing_mbufs_free(r->slab);
        free(r);
    }
    while (n->n_flying)
        free(land(n).bytes);
    frames_clear(&n->seen);
    frames_clear(&n->any);
    frames_clear(&n->punted);
    free(n->seen.list);
    free(n->any.list);
    free(n->punted.list);
    free(n->heap);
    free(n);
    return leaked;
}

unsigned testing_net_router(struct testing_net *n, const struct forward_config *config)
{
    static const uint8_t none[32];
    struct error err = {0};
    struct router *r = calloc(1, sizeof *r);
    check(r && n->n_routers < TESTING_NET_ROUTERS, "too many routers");
    r->net = n;
    r->slab = testing_mbufs_create(n->mbufs, n->room);
    struct forward_config c = *config;
    if (!c.lanes.router_id)
        c.lanes.router_id = n->n_routers + 1;
    if (memcmp(c.lanes.identity, none, sizeof none) == 0)
        memset(c.lanes.identity, (int)(n->n_routers + 1), sizeof c.lanes.identity);
    if (!c.lanes.lanes_most)
        c.lanes.lanes_most = 64;
    struct forward_ops ops = {r, op_alloc, op_free, op_punt, op_event, op_random, op_heard};
    check(forward_create(&r->forward, &c, &ops, &err) == 0, err.text);
    r->due_ns = n->now;
    n->routers[n->n_routers] = r;
    return n->n_routers++;
}

struct forward *testing_net_forward(struct testing_net *n, unsigned router)
{
    return n->routers[router]->forward;
}

struct testing_mbufs *testing_net_slab(struct testing_net *n, unsigned router)
{
    return n->routers[router]->slab;
}

void testing_net_port(struct testing_net *n, unsigned router, uint16_t port, const struct port_config *config)
{
    static const uint8_t none[6];
    struct port_config c = *config;
    struct error err = {0};
    if (memcmp(c.mac, none, 6) == 0) {
        const uint8_t mac[6] = {2, 0, 0, (uint8_t)router, (uint8_t)(port >> 8), (uint8_t)port};
        memcpy(c.mac, mac, 6);
    }
    check(forward_port_add(n->routers[router]->forward, port, &c, &err) == 0, err.text);
}

void testing_net_cable(
    struct testing_net *n, unsigned a, uint16_t port_a, unsigned b, uint16_t port_b, int64_t delay_ns)
{
    n->routers[a]->ends[port_a] = (struct end){true, false, b, port_b, delay_ns};
    n->routers[b]->ends[port_b] = (struct end){true, false, a, port_a, delay_ns};
}

void testing_net_cut(struct testing_net *n, unsigned a, uint16_t port_a, bool cut)
{
    struct end *e = &n->routers[a]->ends[port_a];
    e->cut = cut;
    n->routers[e->router]->ends[e->port].cut = cut;
}

void testing_net_hook(struct testing_net *n, testing_hook *hook, void *user)
{
    n->hook = hook;
    n->hook_user = user;
}

/* --- time ------------------------------------------------------------------------------------------------------ */

void testing_net_send(struct testing_net *n, unsigned router, uint16_t port, const void *bytes, uint32_t len)
{
    fly(n, (struct testing_frame){n->now, router, port, 0, len, copy_bytes(bytes, len)});
}

static void left(struct testing_net *n, unsigned router, uint16_t port, struct rte_mbuf *m)
{
    struct end *e = &n->routers[router]->ends[port];
    check(m->data_len == m->pkt_len && m->nb_segs == 1, "a frame in pieces");
    struct testing_frame f = {n->now, router, port, 0, m->pkt_len, packet_at(m, 0)};
    frames_add(&n->any, f);
    if (!e->cabled) {
        frames_add(&n->seen, f);
        return;
    }
    int64_t extra = n->hook ? n->hook(n->hook_user, router, port, f.bytes, f.len, n->now) : 0;
    if (e->cut || extra == TESTING_LOSE)
        return;
    fly(n,
        (struct testing_frame){n->now + e->delay_ns + extra, e->router, e->port, 0, f.len, copy_bytes(f.bytes, f.len)});
}

static void send_all(struct testing_net *n, unsigned router)
{
    struct router *r = n->routers[router];
    struct rte_mbuf *pkts[BATCH];
    for (uint64_t ready = forward_ready_ports(r->forward); ready; ready &= ready - 1) {
        uint16_t port = (uint16_t)__builtin_ctzll(ready);
        unsigned got;
        while ((got = forward_transmit(r->forward, port, pkts, BATCH, n->now))) {
            for (unsigned i = 0; i < got; i++)
                left(n, router, port, pkts[i]);
            forward_sent(r->forward, port, pkts, got, n->now);
        }
    }
}

static int64_t router_next(const struct testing_net *n, unsigned router)
{
    const struct router *r = n->routers[router];
    int64_t next = r->due_ns;
    for (uint16_t p = 0; p < PORTS; p++) {
        int64_t port = forward_port_next(r->forward, p, n->now + 1);
        next = port < next ? port : next;
    }
    return next;
}

static int64_t next_event(const struct testing_net *n)
{
    int64_t next = n->n_flying ? n->heap[0].frame.at_ns : INT64_MAX;
    for (unsigned i = 0; i < n->n_routers; i++) {
        int64_t at = router_next(n, i);
        next = at < next ? at : next;
    }
    return next;
}

static bool follows(const struct testing_net *n, const struct testing_frame *f)
{
    return n->n_flying && n->heap[0].frame.at_ns <= n->now && n->heap[0].frame.router == f->router &&
           n->heap[0].frame.port == f->port;
}

/* What arrives at one port without anything else in between is received together, as a router's ports do. */
static void arrive(struct testing_net *n)
{
    struct rte_mbuf *pkts[BATCH];
    struct testing_frame f = {.router = n->heap[0].frame.router, .port = n->heap[0].frame.port};
    struct router *r = n->routers[f.router];
    unsigned got = 0;
    while (got < BATCH && follows(n, &f)) {
        f = land(n);
        pkts[got] = testing_mbuf_bytes(r->slab, f.bytes, f.len);
        check(pkts[got++], "a router has no mbuf left, or the frame is too long");
        free(f.bytes);
    }
    forward_receive(r->forward, f.port, pkts, got, n->now);
}

static void step(struct testing_net *n)
{
    while (n->n_flying && n->heap[0].frame.at_ns <= n->now)
        arrive(n);
    for (unsigned i = 0; i < n->n_routers; i++) {
        struct router *r = n->routers[i];
        r->due_ns = forward_poll(r->forward, n->now);
        send_all(n, i);
    }
}

void testing_net_run(struct testing_net *n, int64_t ns)
{
    int64_t end = n->now + ns;
    for (;;) {
        step(n);
        int64_t next = next_event(n);
        if (next > end)
            break;
        n->now = next > n->now ? next : n->now + 1;
    }
    n->now = end;
}

int64_t testing_net_now(const struct testing_net *n)
{
    return n->now;
}

/* --- what was seen ------------------------------------------------------------------------------------------------ */

const struct testing_frame *testing_net_seen(const struct testing_net *n, unsigned router, uint16_t port, unsigned i)
{
    for (unsigned k = 0; k < n->seen.n; k++)
        if (n->seen.list[k].router == router && n->seen.list[k].port == port && i-- == 0)
            return &n->seen.list[k];
    return NULL;
}

const struct testing_frame *testing_net_any(const struct testing_net *n, unsigned i)
{
    return i < n->any.n ? &n->any.list[i] : NULL;
}

const struct testing_frame *testing_net_punted(const struct testing_net *n, unsigned router, unsigned i)
{
    for (unsigned k = 0; k < n->punted.n; k++)
        if (n->punted.list[k].router == router && i-- == 0)
            return &n->punted.list[k];
    return NULL;
}

unsigned testing_net_events(const struct testing_net *n, unsigned router, enum lane_event_kind kind)
{
    return n->routers[router]->events[kind];
}

unsigned testing_net_heard(const struct testing_net *n, unsigned router, struct ip6 *ret_peer, uint32_t *ret_spi)
{
    const struct router *r = n->routers[router];
    if (r->heard) {
        *ret_peer = r->heard_peer;
        *ret_spi = r->heard_spi;
    }
    return r->heard;
}

void testing_net_clear(struct testing_net *n)
{
    frames_clear(&n->seen);
    frames_clear(&n->any);
    frames_clear(&n->punted);
}
