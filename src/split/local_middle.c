/* The middle in this process. One list of events that wait to be taken; one list of sessions by the caller's id. */
#include "split/local_middle.h"

#include "base/clock.h"
#include "split/half_model.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_IN_FLIGHT 1024

struct session {
    struct session *next;
    uint32_t id;
    bool open;
    struct pool_session *seat;
};

struct event {
    struct event *next;
    struct middle_event e;
    struct pool_item *item;
};

struct local {
    struct middle middle;
    struct pool *pool;
    struct session *sessions;
    struct event *first, **last, *spare;
    struct pool_item *shown; /* of the event handed out last */
    uint32_t in_flight;
    uint64_t lost;
    char text[1024];      /* of the failure told last */
    pthread_mutex_t lock; /* only for waking */
    pthread_cond_t cond;
    bool woken;
};

static struct event *event_add(struct local *l, enum middle_event_kind kind, uint32_t session)
{
    struct event *e = l->spare;
    if (e)
        l->spare = e->next;
    else if (!(e = malloc(sizeof(*e))))
        return NULL;
    *e = (struct event){.e = {.kind = kind, .session = session}};
    *l->last = e;
    l->last = &e->next;
    return e;
}

static struct session **session_at(struct local *l, uint32_t id)
{
    struct session **at = &l->sessions;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void session_drop(struct session **at)
{
    struct session *s = *at;
    *at = s->next;
    free(s);
}

static void on_opened(void *user, struct pool_session *seat, int rc)
{
    struct local *l = user;
    struct session *s = seat->user;
    struct event *e = event_add(l, rc ? MIDDLE_REFUSED : MIDDLE_OPENED, s->id);
    s->open = !rc;
    if (rc)
        session_drop(session_at(l, s->id));
    if (e && rc) {
        e->e.final = rc != -ENOSPC;
        e->e.text = e->e.final ? "this many positions never fit the memory set aside for keys and values"
                               : "all memory for keys and values is in use; try again when a session closes";
    }
}

static void on_done(void *user, struct pool_session *seat, struct pool_item *i, enum pool_result result)
{
    struct local *l = user;
    struct session *s = seat->user;
    l->in_flight--;
    if (result == POOL_DONE) {
        struct event *e = event_add(l, MIDDLE_VECTORS, s->id);
        if (e) {
            e->item = i;
            e->e.epoch = i->epoch, e->e.pos0 = i->pos0, e->e.n = i->n, e->e.x = i->x;
            return;
        }
    } else if (result == POOL_GAP) {
        event_add(l, MIDDLE_LOST, s->id);
        l->lost++;
        pool_item_put(l->pool, i);
        session_drop(session_at(l, s->id));
        pool_close(l->pool, seat);
        return;
    } else if (result == POOL_BROKEN) {
        struct event *e = event_add(l, MIDDLE_FAILED, s->id);
        snprintf(l->text, sizeof(l->text), "%s", pool_error(l->pool));
        if (e)
            e->e.text = l->text, e->e.final = true;
    }
    pool_item_put(l->pool, i);
}

static int local_open(struct middle *m, uint32_t id, uint32_t n_ctx)
{
    struct local *l = (struct local *)m;
    if (*session_at(l, id))
        return -EEXIST;
    struct session *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->id = id;
    s->seat = pool_open(l->pool, n_ctx, s);
    if (!s->seat) {
        free(s);
        return -ENOMEM;
    }
    s->next = l->sessions;
    l->sessions = s;
    return 0;
}

static int local_forward(
    struct middle *m, uint32_t id, uint32_t epoch, uint32_t pos0, uint32_t n, const float *x, bool urgent)
{
    struct local *l = (struct local *)m;
    struct session *s = *session_at(l, id);
    if (!s || !s->open || !n || n > s->seat->n_ctx || pos0 > s->seat->n_ctx - n)
        return -EINVAL;
    if (l->in_flight >= MOST_IN_FLIGHT)
        return -ENOBUFS;
    struct pool_item *i = pool_item_get(l->pool, n);
    if (!i)
        return -ENOMEM;
    i->epoch = epoch, i->pos0 = pos0, i->urgent = urgent;
    memcpy(i->x, x, (size_t)n * pool_half(l->pool)->d * sizeof(float));
    l->in_flight++;
    pool_forward(l->pool, s->seat, i);
    return 0;
}

static void local_cancel(struct middle *m, uint32_t id, uint32_t epoch)
{
    struct local *l = (struct local *)m;
    struct session *s = *session_at(l, id);
    if (s)
        pool_cancel(l->pool, s->seat, epoch);
}

static void local_close(struct middle *m, uint32_t id)
{
    struct local *l = (struct local *)m;
    struct session **at = session_at(l, id);
    if (!*at)
        return;
    l->in_flight -= (*at)->seat->n_items;
    pool_close(l->pool, (*at)->seat);
    session_drop(at);
}

static bool wait_or_woken(struct local *l, int64_t wait_ns)
{
    int64_t at = clock_now_ns() + wait_ns;
    struct timespec until = {at / NS_PER_S, at % NS_PER_S};
    pthread_mutex_lock(&l->lock);
    while (!l->woken && wait_ns > 0)
        if (pthread_cond_clockwait(&l->cond, &l->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
            break;
    bool woken = l->woken;
    l->woken = false;
    pthread_mutex_unlock(&l->lock);
    return woken;
}

static int local_next(struct middle *m, int64_t wait_ns, struct middle_event *ret)
{
    struct local *l = (struct local *)m;
    pool_item_put(l->pool, l->shown);
    l->shown = NULL;
    while (!l->first && pool_has_work(l->pool)) {
        if (pool_take(l->pool)) {
            pool_run(l->pool);
            pool_give(l->pool);
        }
    }
    if (!l->first) {
        wait_or_woken(l, wait_ns);
        return -EAGAIN;
    }
    struct event *e = l->first;
    l->first = e->next;
    if (!l->first)
        l->last = &l->first;
    *ret = e->e;
    l->shown = e->item;
    e->next = l->spare;
    l->spare = e;
    return 0;
}

static void local_wake(struct middle *m)
{
    struct local *l = (struct local *)m;
    pthread_mutex_lock(&l->lock);
    l->woken = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

static void local_stats(struct middle *m, struct middle_stats *ret)
{
    struct local *l = (struct local *)m;
    *ret = (struct middle_stats){.up = true, .lost_sessions = l->lost};
    snprintf(ret->peer, sizeof(ret->peer), "in this process");
}

static void events_free(struct event *e, struct pool *p)
{
    while (e) {
        struct event *next = e->next;
        if (p)
            pool_item_put(p, e->item);
        free(e);
        e = next;
    }
}

static void local_free(struct middle *m)
{
    struct local *l = (struct local *)m;
    if (!l)
        return;
    pool_item_put(l->pool, l->shown);
    events_free(l->first, l->pool);
    events_free(l->spare, NULL);
    pool_free(l->pool);
    while (l->sessions)
        session_drop(&l->sessions);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static const struct middle_ops local_ops = {
    .open = local_open,
    .forward = local_forward,
    .cancel = local_cancel,
    .close = local_close,
    .next = local_next,
    .wake = local_wake,
    .stats = local_stats,
    .free = local_free,
};

int local_middle_create_over(struct middle **ret, struct half_infer *h, const struct pool_config *cfg)
{
    static const struct pool_events events = {on_opened, on_done};
    static const struct pool_config defaults;
    struct local *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    int rc = pool_create(&l->pool, h, cfg ? cfg : &defaults, &events, l);
    if (rc) {
        free(l);
        return rc;
    }
    l->middle.ops = &local_ops;
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->cond, NULL);
    *ret = &l->middle;
    return 0;
}
