#include "router/router_changes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { ROUTE_SET, ROUTE_DEL, PATH_SET, PATH_DEL, SLICE_SET, SLICE_DEL, SLICE_MOVE };

struct named_slice {
    uint32_t tenant, path, to;
    enum lane_class class_;
    struct ip6 service_sid;
};

struct change {
    enum kind kind;
    uint32_t vrf;
    struct ip_prefix prefix;
    union {
        struct forward_route route;
        struct forward_path path;
        struct forward_slice slice;
        struct named_slice named;
        uint32_t id;
    };
};

#define MOVES_MOST 256u

struct changes {
    struct loop *loop;
    struct forward *forward;
    void *owner;
    struct change *queue;
    size_t first, n, cap;
    bool lost; /* no memory for a change: told with the next flush */
    struct named_slice moves[MOVES_MOST];
    unsigned n_moves;
    uint64_t done, refused, batches;
};

int changes_create(struct changes **ret, struct loop *loop, struct forward *f, void *owner)
{
    struct changes *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->forward = f;
    c->owner = owner;
    *ret = c;
    return 0;
}

void *changes_owner(const void *changes)
{
    return ((const struct changes *)changes)->owner;
}

void changes_free(struct changes *c)
{
    if (!c)
        return;
    free(c->queue);
    free(c);
}

/* --- in ---------------------------------------------------------------------------------------------------------- */

static struct change *add(struct changes *c, enum kind kind)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        struct change *more = realloc(c->queue, cap * sizeof(*more));
        if (!more) {
            c->lost = true;
            return NULL;
        }
        c->queue = more;
        c->cap = cap;
    }
    struct change *x = &c->queue[c->n++];
    memset(x, 0, sizeof(*x));
    x->kind = kind;
    return x;
}

static void route_set(void *user, uint32_t vrf, const struct ip_prefix *p, const struct forward_route *r)
{
    struct change *x = add(user, ROUTE_SET);
    if (!x)
        return;
    x->vrf = vrf;
    x->prefix = *p;
    x->route = *r;
}

static void route_del(void *user, uint32_t vrf, const struct ip_prefix *p)
{
    struct change *x = add(user, ROUTE_DEL);
    if (!x)
        return;
    x->vrf = vrf;
    x->prefix = *p;
}

static void path_set(void *user, const struct forward_path *p)
{
    struct change *x = add(user, PATH_SET);
    if (x)
        x->path = *p;
}

static void path_del(void *user, uint32_t id)
{
    struct change *x = add(user, PATH_DEL);
    if (x)
        x->id = id;
}

static void slice_set(void *user, const struct forward_slice *s)
{
    struct change *x = add(user, SLICE_SET);
    if (x)
        x->slice = *s;
}

static bool same_slice(const struct named_slice *a, const struct named_slice *b)
{
    return a->tenant == b->tenant && a->class_ == b->class_ && ip6_equal(&a->service_sid, &b->service_sid);
}

static void forget_move(struct changes *c, const struct named_slice *s)
{
    for (unsigned i = 0; i < c->n_moves; i++)
        if (same_slice(&c->moves[i], s)) {
            c->moves[i] = c->moves[--c->n_moves];
            return;
        }
}

static void slice_del(void *user, uint32_t tenant, uint32_t path, enum lane_class class_, const struct ip6 *service_sid)
{
    struct named_slice s = {.tenant = tenant, .path = path, .class_ = class_, .service_sid = *service_sid};
    struct change *x = add(user, SLICE_DEL);
    forget_move(user, &s);
    if (x)
        x->named = s;
}

static void slice_move(
    void *user, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t from, uint32_t to)
{
    struct changes *c = user;
    struct named_slice s = {.tenant = tenant, .path = from, .to = to, .class_ = class_, .service_sid = *service_sid};
    struct change *x = add(c, SLICE_MOVE);
    forget_move(c, &s);
    if (!x)
        return;
    x->named = s;
    if (from != to && c->n_moves < MOVES_MOST)
        c->moves[c->n_moves++] = s;
}

void changes_above(struct pe_above *ret, struct changes *c)
{
    ret->user = c;
    ret->route_set = route_set;
    ret->route_del = route_del;
    ret->path_set = path_set;
    ret->path_del = path_del;
    ret->slice_set = slice_set;
    ret->slice_del = slice_del;
    ret->slice_move = slice_move;
}

/* --- on the worker --------------------------------------------------------------------------------------------------- */

static int do_one(struct forward *f, const struct change *x, int64_t now, struct error *err)
{
    const struct named_slice *s = &x->named;
    switch (x->kind) {
    case ROUTE_SET:
        return forward_route_set(f, x->vrf, &x->prefix, &x->route, err);
    case ROUTE_DEL:
        forward_route_del(f, x->vrf, &x->prefix); /* its VRF may be gone already, and it with it */
        return 0;
    case PATH_SET:
        return forward_path_set(f, &x->path, err);
    case PATH_DEL:
        return forward_path_del(f, x->id) == -EBUSY ? error_set(err, EBUSY, "path %u is in use", x->id) : 0;
    case SLICE_SET:
        return forward_slice_set(f, &x->slice, now, err);
    case SLICE_DEL:
        forward_slice_del(f, s->tenant, s->path, s->class_, &s->service_sid, now);
        return 0;
    case SLICE_MOVE:
        return forward_slice_move(f, s->tenant, s->class_, &s->service_sid, s->path, s->to, now, err);
    }
    return 0;
}

struct batch {
    struct changes *changes;
    struct change *from;
    unsigned n;
    struct {
        unsigned at;
        char why[160];
    } refused[CHANGES_AT_ONCE];
    unsigned n_refused;
};

static void do_batch(void *user, int64_t now)
{
    struct batch *b = user;
    struct error err;
    for (unsigned i = 0; i < b->n; i++) {
        if (!do_one(b->changes->forward, &b->from[i], now, &err))
            continue;
        b->refused[b->n_refused].at = i;
        snprintf(b->refused[b->n_refused].why, sizeof(b->refused[0].why), "%s", err.text);
        b->n_refused++;
    }
}

void changes_flush(struct changes *c,
    void (*refused)(void *user, uint32_t vrf, const struct ip_prefix *p, const char *why), void *user)
{
    struct batch b;
    while (c->first < c->n) {
        size_t left = c->n - c->first;
        b.changes = c;
        b.from = c->queue + c->first;
        b.n = left < CHANGES_AT_ONCE ? (unsigned)left : CHANGES_AT_ONCE;
        b.n_refused = 0;
        loop_call(c->loop, do_batch, &b);
        for (unsigned i = 0; i < b.n_refused; i++) {
            const struct change *x = &b.from[b.refused[i].at];
            refused(user, x->vrf, x->kind == ROUTE_SET ? &x->prefix : NULL, b.refused[i].why);
        }
        c->first += b.n;
        c->done += b.n;
        c->refused += b.n_refused;
        c->batches++;
    }
    c->first = c->n = 0;
    if (c->lost)
        refused(user, 0, NULL, "there was no memory for a change of the tables");
    c->lost = false;
}

/* --- moves ------------------------------------------------------------------------------------------------------------- */

struct moves {
    struct changes *changes;
    bool there[MOVES_MOST];
};

static void look_at_moves(void *user, int64_t now)
{
    struct moves *m = user;
    for (unsigned i = 0; i < m->changes->n_moves; i++) {
        const struct named_slice *s = &m->changes->moves[i];
        m->there[i] = forward_slice_is(m->changes->forward, s->tenant, s->to, s->class_, &s->service_sid);
    }
}

bool changes_moves(struct changes *c,
    void (*moved)(void *user, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path),
    void *user)
{
    struct moves m = {.changes = c};
    if (c->n_moves)
        loop_call(c->loop, look_at_moves, &m);
    for (unsigned i = c->n_moves; i-- > 0;) {
        if (!m.there[i])
            continue;
        struct named_slice s = c->moves[i];
        c->moves[i] = c->moves[--c->n_moves];
        moved(user, s.tenant, s.class_, &s.service_sid, s.to);
    }
    return c->n_moves > 0;
}

uint32_t changes_waiting(const struct changes *c)
{
    return (uint32_t)(c->n - c->first);
}

uint64_t changes_done(const struct changes *c, uint64_t *ret_refused, uint64_t *ret_batches)
{
    *ret_refused = c->refused;
    *ret_batches = c->batches;
    return c->done;
}
