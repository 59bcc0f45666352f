#include "split/testing_middle.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SESSIONS 4096

struct answer {
    struct answer *next;
    struct middle_event ev;
    float *x;
    int64_t at_ns;
};

struct session {
    int32_t seq; /* -1: not open */
    bool refused;
    uint32_t epoch;
};

struct testing_middle {
    struct middle base;
    struct infer *x;
    uint32_t d;
    struct testing_luck luck;
    struct session sessions[MOST_SESSIONS]; /* by id */
    struct answer *first, **end, *taken;
    uint64_t draws, forwards, under_way, losses;
    bool down;
    int64_t up_at_ns;
    pthread_mutex_t lock;
    pthread_cond_t woken_cond;
    bool woken;
};

static struct testing_middle *mine(struct middle *m)
{
    return (struct testing_middle *)m;
}

static void say(struct testing_middle *m, struct middle_event ev, const float *x)
{
    struct answer *a = calloc(1, sizeof(*a));
    a->ev = ev;
    a->at_ns = clock_now_ns() + m->luck.delay_ns;
    if (x) {
        a->x = malloc(sizeof(float) * ev.n * m->d);
        memcpy(a->x, x, sizeof(float) * ev.n * m->d);
        a->ev.x = a->x;
        m->under_way += ev.n;
    }
    *m->end = a;
    m->end = &a->next;
}

/* All, or only what a middle that restarted cannot know any more. */
static void drop_answers(struct testing_middle *m, bool all)
{
    struct answer *a = m->first, *next;
    m->first = NULL;
    m->end = &m->first;
    m->under_way = 0;
    for (; a; a = next) {
        next = a->next;
        a->next = NULL;
        if (all || a->ev.kind == MIDDLE_VECTORS || a->ev.kind == MIDDLE_OPENED) {
            free(a->x);
            free(a);
            continue;
        }
        *m->end = a;
        m->end = &a->next;
    }
}

static bool luck(struct testing_middle *m, double chance)
{
    return rng_uniform(m->luck.seed, ++m->draws) < chance;
}

static int t_open(struct middle *base, uint32_t session, uint32_t n_ctx)
{
    struct testing_middle *m = mine(base);
    struct middle_event ev = {.session = session};
    if (m->luck.refuse_finally) {
        ev.kind = MIDDLE_REFUSED;
        ev.final = true;
        ev.text = "this hospital may not";
    } else if (infer_seq_open(m->x, n_ctx, &m->sessions[session].seq)) {
        m->sessions[session].seq = -1;
        ev.kind = MIDDLE_REFUSED;
        ev.text = "full";
    } else {
        ev.kind = MIDDLE_OPENED;
    }
    say(m, ev, NULL);
    return 0;
}

static void lose_all(struct testing_middle *m)
{
    drop_answers(m, false);
    m->losses++;
    for (uint32_t i = 0; i < MOST_SESSIONS; i++)
        if (m->sessions[i].seq >= 0) {
            infer_seq_close(m->x, m->sessions[i].seq);
            m->sessions[i].seq = -1;
            say(m, (struct middle_event){.kind = MIDDLE_LOST, .session = i}, NULL);
        }
}

static void bad_day(struct testing_middle *m)
{
    if (m->luck.fail_after && m->forwards >= m->luck.fail_after)
        say(m, (struct middle_event){.kind = MIDDLE_FAILED, .text = "the halves do not fit"}, NULL);
    if (luck(m, m->luck.lose))
        lose_all(m);
    if (!m->down && luck(m, m->luck.down)) {
        m->down = true;
        m->up_at_ns = clock_now_ns() + m->luck.down_ns;
        if (luck(m, 0.5))
            lose_all(m);
    }
}

static int t_forward(
    struct middle *base, uint32_t session, uint32_t epoch, uint32_t pos0, uint32_t n, const float *x, bool urgent)
{
    struct testing_middle *m = mine(base);
    struct session *s = &m->sessions[session];
    if (m->luck.most_under_way && m->under_way && m->under_way + n > m->luck.most_under_way)
        return -ENOBUFS;
    m->forwards++;
    bad_day(m);
    if (s->seq < 0)
        return 0; /* LOST is on its way */
    if (epoch < s->epoch)
        return -EINVAL;
    s->epoch = epoch;
    s->refused |= m->forwards == m->luck.refuse_one;
    if (s->refused) {
        say(m, (struct middle_event){.kind = MIDDLE_FAILED, .session = session, .text = "out of memory"}, NULL);
        return 0;
    }
    infer_seq_truncate(m->x, s->seq, (int32_t)pos0);
    struct infer_row *rows = calloc(n, sizeof(*rows));
    float *out = malloc(sizeof(float) * n * m->d);
    for (uint32_t i = 0; i < n; i++)
        rows[i] = (struct infer_row){.seq = s->seq, .pos = (int32_t)(pos0 + i)};
    int rc = infer_run(m->x, rows, n, x, out, NULL);
    if (!rc)
        say(m, (struct middle_event){.kind = MIDDLE_VECTORS, .session = session, .epoch = epoch, .pos0 = pos0, .n = n},
            out);
    free(rows);
    free(out);
    return rc;
}

static void t_cancel(struct middle *base, uint32_t session, uint32_t epoch) {}

static void t_close(struct middle *base, uint32_t session)
{
    struct testing_middle *m = mine(base);
    if (m->sessions[session].seq >= 0)
        infer_seq_close(m->x, m->sessions[session].seq);
    m->sessions[session].seq = -1;
}

static void wait_until(struct testing_middle *m, int64_t until_ns)
{
    struct timespec t = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};
    pthread_mutex_lock(&m->lock);
    while (!m->woken && clock_now_ns() < until_ns)
        pthread_cond_timedwait(&m->woken_cond, &m->lock, &t);
    pthread_mutex_unlock(&m->lock);
}

static bool take_wake(struct testing_middle *m)
{
    pthread_mutex_lock(&m->lock);
    bool was = m->woken;
    m->woken = false;
    pthread_mutex_unlock(&m->lock);
    return was;
}

static int t_next(struct middle *base, int64_t wait_ns, struct middle_event *ret)
{
    struct testing_middle *m = mine(base);
    int64_t until = clock_now_ns() + wait_ns;
    if (m->taken)
        free(m->taken->x);
    free(m->taken);
    m->taken = NULL;
    for (;;) {
        int64_t now = clock_now_ns(), at = m->first ? m->first->at_ns : until;
        if (m->down && m->up_at_ns) { /* tell of it once, then stay away */
            if (m->up_at_ns > 0 && !m->luck.never_up) {
                *ret = (struct middle_event){.kind = MIDDLE_DOWN, .text = "cable cut"};
                m->up_at_ns = -m->up_at_ns;
                return 0;
            }
            if (now >= -m->up_at_ns && !m->luck.never_up) {
                m->down = false;
                *ret = (struct middle_event){.kind = MIDDLE_UP};
                return 0;
            }
            at = m->luck.never_up ? until : -m->up_at_ns;
        } else if (m->first && now >= at) {
            struct answer *a = m->taken = m->first;
            m->first = a->next;
            if (!m->first)
                m->end = &m->first;
            m->under_way -= a->x ? a->ev.n : 0;
            *ret = a->ev;
            return 0;
        }
        if (take_wake(m) || now >= until)
            return -EAGAIN;
        wait_until(m, at < until ? at : until);
    }
}

static void t_wake(struct middle *base)
{
    struct testing_middle *m = mine(base);
    pthread_mutex_lock(&m->lock);
    m->woken = true;
    pthread_cond_signal(&m->woken_cond);
    pthread_mutex_unlock(&m->lock);
}

static void t_stats(struct middle *base, struct middle_stats *ret)
{
    *ret = (struct middle_stats){.up = !mine(base)->down, .rtt_ms = mine(base)->luck.rtt_ms};
}

static void t_free(struct middle *base)
{
    struct testing_middle *m = mine(base);
    drop_answers(m, true);
    if (m->taken)
        free(m->taken->x);
    free(m->taken);
    infer_free(m->x);
    pthread_cond_destroy(&m->woken_cond);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct middle_ops t_ops = {
    .open = t_open,
    .forward = t_forward,
    .cancel = t_cancel,
    .close = t_close,
    .next = t_next,
    .wake = t_wake,
    .stats = t_stats,
    .free = t_free,
};

struct middle *testing_middle_create(struct infer *x, uint32_t d, const struct testing_luck *luck_given)
{
    struct testing_middle *m = calloc(1, sizeof(*m));
    m->base.ops = &t_ops;
    m->x = x;
    m->d = d;
    m->luck = *luck_given;
    m->end = &m->first;
    for (uint32_t i = 0; i < MOST_SESSIONS; i++)
        m->sessions[i].seq = -1;
    if (m->luck.never_up) {
        m->down = true;
        m->up_at_ns = 1;
    }
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&m->woken_cond, &a);
    pthread_condattr_destroy(&a);
    pthread_mutex_init(&m->lock, NULL);
    return &m->base;
}
