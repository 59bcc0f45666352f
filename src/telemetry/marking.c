/* Counters of alternate marking (marking.h).
 *
 *     wall time    |  period p            |  period p+1          |
 *     colour p     ......counted..........|.late: counted.|      |
 *     colour p+1                .early: c.|......counted.........|
 *                                         0      1/3     1/2     1
 *
 * A packet whose colour is not the present period's is a late one of the period before while we are in the first half,
 * an early one of the next in the second half (RFC 9341, 5: clock error and delay together below half a period). Period p
 * is told a third into p+1; what comes between a third and a half is too late and counted apart. */
#include "telemetry/marking.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct counter {
    int64_t period; /* NEVER: not in use */
    uint64_t packets, bytes;
    int64_t d_wall_ns;
};

#define NEVER INT64_MIN

struct flow {
    uint32_t id, next; /* next: in its chain, or in the free list */
    uint16_t port, role;
    bool used;
    int64_t active;       /* the last period with a packet */
    int64_t said;         /* the last period that was told, or the one before it was new */
    int64_t d_period;     /* in which we set D */
    struct counter of[2]; /* by colour */
};

struct marking_table {
    int64_t period_ns, wall_ns;
    int64_t period, begin_ns; /* the present period and its beginning, wall time */
    int64_t first;            /* periods up to it are not told: we did not see all of them */
    int64_t told;             /* all periods up to it are told */
    int64_t telling;          /* the scan under way is for it; NEVER: none */
    uint32_t cursor, flows, free, head_mask;
    uint32_t *head;
    struct flow *flow;
    struct marking_record *done; /* complete but overtaken before a poll: a ring of `flows` */
    uint32_t done_first, done_n;
    struct marking_stats stats;
};

int marking_create(struct marking_table **ret, const struct marking_config *c)
{
    int64_t period_ns = c->period_ns ? c->period_ns : NS_PER_S;
    uint32_t flows = c->flows ? c->flows : 4096, heads = 4;
    if (period_ns < NS_PER_MS || flows > 1u << 20)
        return -EINVAL;
    struct marking_table *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    while (heads < flows * 2)
        heads *= 2;
    *t = (struct marking_table){.period_ns = period_ns, .wall_ns = c->wall_ns, .flows = flows, .head_mask = heads - 1};
    t->period = t->first = t->told = t->telling = NEVER;
    t->head = malloc(heads * sizeof *t->head);
    t->flow = calloc(flows, sizeof *t->flow);
    t->done = calloc(flows, sizeof *t->done);
    if (!t->head || !t->flow || !t->done) {
        marking_free(t);
        return -ENOMEM;
    }
    memset(t->head, 0xff, heads * sizeof *t->head);
    for (uint32_t i = 0; i < flows; i++)
        t->flow[i].next = i + 1 < flows ? i + 1 : NONE;
    *ret = t;
    return 0;
}

void marking_free(struct marking_table *t)
{
    if (!t)
        return;
    free(t->done);
    free(t->flow);
    free(t->head);
    free(t);
}

/* --- time --------------------------------------------------------------------------------------------------- */

static int64_t period_at(const struct marking_table *t, int64_t wall)
{
    return wall / t->period_ns - (wall % t->period_ns < 0);
}

/* The last period that is complete at this time. */
static int64_t complete_at(const struct marking_table *t, int64_t wall)
{
    return period_at(t, wall - t->period_ns / 3) - 1;
}

/* Wall time of `now`, with the present period brought up to it. */
static int64_t wall_at(struct marking_table *t, int64_t now)
{
    int64_t wall = now + t->wall_ns;
    if (t->period == NEVER || wall - t->begin_ns >= t->period_ns || wall < t->begin_ns) {
        bool start = t->period == NEVER;
        t->period = period_at(t, wall);
        t->begin_ns = t->period * t->period_ns;
        if (start) /* in its second half the next period's first packets may have passed before we were there */
            t->first = t->period + (wall - t->begin_ns >= t->period_ns / 2);
    }
    return wall;
}

/* --- the table ------------------------------------------------------------------------------------------------ */

static struct flow *flow_of(struct marking_table *t, uint32_t id, int64_t wall)
{
    uint32_t *head = &t->head[rng_mix(id) & t->head_mask];
    for (uint32_t i = *head; i != NONE; i = t->flow[i].next)
        if (t->flow[i].id == id)
            return &t->flow[i];
    if (t->free == NONE) {
        t->stats.refused++;
        return NULL;
    }
    if (!t->stats.flows) {
        t->told = complete_at(t, wall);
        t->telling = NEVER;
    }
    uint32_t i = t->free;
    struct flow *f = &t->flow[i];
    t->free = f->next;
    *f = (struct flow){.id = id, .next = *head, .used = true, .active = t->period, .d_period = NEVER};
    f->of[0].period = f->of[1].period = NEVER;
    f->said = t->period - 1;
    *head = i;
    t->stats.flows++;
    return f;
}

static void forget(struct marking_table *t, struct flow *f)
{
    uint32_t i = (uint32_t)(f - t->flow), *at = &t->head[rng_mix(f->id) & t->head_mask];
    while (*at != i)
        at = &t->flow[*at].next;
    *at = f->next;
    f->used = false;
    f->next = t->free;
    t->free = i;
    t->stats.flows--;
}

static struct marking_record record_of(const struct flow *f, const struct counter *c, int64_t period)
{
    return (struct marking_record){
        .flow_mon_id = f->id,
        .period = (uint64_t)period,
        .packets = c ? c->packets : 0,
        .bytes = c ? c->bytes : 0,
        .d_wall_ns = c ? c->d_wall_ns : 0,
        .port = f->port,
        .role = f->role,
    };
}

/* The flow's counter of this period; NULL: it has been told already. */
static struct counter *counter_of(struct marking_table *t, struct flow *f, int64_t period, int64_t wall)
{
    struct counter *c = &f->of[period & 1];
    if (c->period == period)
        return c;
    if (period <= complete_at(t, wall) || c->period > period)
        return NULL;
    if (c->period > t->first) { /* nobody polled for a whole period */
        if (t->done_n < t->flows)
            t->done[(t->done_first + t->done_n++) % t->flows] = record_of(f, c, c->period);
        else
            t->stats.lost_records++;
        f->said = c->period;
    }
    *c = (struct counter){.period = period};
    return c;
}

static void count(struct marking_table *t, struct flow *f, int64_t period, uint32_t bytes, bool d, int64_t wall)
{
    struct counter *c = counter_of(t, f, period, wall);
    if (!c) {
        t->stats.late++;
        return;
    }
    c->packets++;
    c->bytes += bytes;
    if (d && !c->d_wall_ns)
        c->d_wall_ns = wall;
    if (period > f->active)
        f->active = period;
}

unsigned marking_mark(struct marking_table *t, uint32_t id, uint16_t port, uint32_t bytes, int64_t now)
{
    int64_t wall = wall_at(t, now);
    unsigned bits = t->period & 1 ? MARKING_L : 0;
    struct flow *f = flow_of(t, id, wall);
    if (!f)
        return bits;
    if (f->d_period != t->period) {
        f->d_period = t->period;
        bits |= MARKING_D;
    }
    f->port = port;
    f->role = 0;
    count(t, f, t->period, bytes, bits & MARKING_D, wall);
    return bits;
}

void marking_count(
    struct marking_table *t, uint32_t id, unsigned bits, uint16_t port, uint16_t role, uint32_t bytes, int64_t now)
{
    int64_t wall = wall_at(t, now), period = t->period;
    struct flow *f = flow_of(t, id, wall);
    if (!f)
        return;
    if ((period & 1) != (bits & MARKING_L))
        period += wall - t->begin_ns < t->period_ns / 2 ? -1 : 1;
    f->port = port;
    f->role = role;
    count(t, f, period, bytes, bits & MARKING_D, wall);
}

/* --- telling --------------------------------------------------------------------------------------------------- */

/* The flow's older counter in use; NULL: none is. */
static struct counter *older(struct flow *f)
{
    struct counter *a = &f->of[0], *b = &f->of[1];
    struct counter *c = a->period == NEVER || (b->period != NEVER && b->period < a->period) ? b : a;
    return c->period == NEVER ? NULL : c;
}

/* What a flow has to tell of periods up to `last`: true when *ret was written (then there may be more). */
static bool tell(struct marking_table *t, struct flow *f, int64_t last, struct marking_record *ret)
{
    for (;;) {
        struct counter *c = older(f);
        if (!c || c->period > last)
            return false;
        int64_t period = c->period;
        *ret = record_of(f, c, period);
        c->period = NEVER;
        f->said = period;
        if (period > t->first)
            return true;
    }
}

/* Nothing came in period `last`: zero for a while, then the flow is forgotten. */
static bool tell_silence(struct marking_table *t, struct flow *f, int64_t last, struct marking_record *ret)
{
    if (f->said >= last)
        return false;
    if (last - f->active > MARKING_IDLE) {
        forget(t, f);
        return false;
    }
    f->said = last;
    *ret = record_of(f, NULL, last);
    return last > t->first;
}

/* One period's scan, or what `most` allows of it. */
static unsigned scan(struct marking_table *t, struct marking_record *ret, unsigned most)
{
    unsigned n = 0;
    while (t->cursor < t->flows) {
        struct flow *f = &t->flow[t->cursor];
        while (f->used && n < most && tell(t, f, t->telling, &ret[n]))
            n++;
        if (n == most)
            return n;
        if (f->used)
            n += tell_silence(t, f, t->telling, &ret[n]);
        t->cursor++;
    }
    t->told = t->telling;
    t->telling = NEVER;
    return n;
}

unsigned marking_poll(struct marking_table *t, int64_t now, struct marking_record *ret, unsigned most)
{
    int64_t complete = complete_at(t, wall_at(t, now));
    unsigned n = 0;
    for (; n < most && t->done_n; t->done_n--, t->done_first = (t->done_first + 1) % t->flows)
        ret[n++] = t->done[t->done_first];
    while (n < most && t->stats.flows) {
        if (t->telling == NEVER) {
            if (t->told >= complete)
                break;
            t->telling = complete - t->told > MARKING_IDLE ? complete - MARKING_IDLE : t->told + 1;
            t->cursor = 0;
        }
        n += scan(t, ret + n, most - n);
    }
    return n;
}

int64_t marking_next(const struct marking_table *t)
{
    if (t->done_n || t->telling != NEVER)
        return INT64_MIN;
    if (!t->stats.flows)
        return INT64_MAX;
    return (t->told + 2) * t->period_ns + t->period_ns / 3 - t->wall_ns;
}

void marking_stats(const struct marking_table *t, struct marking_stats *ret)
{
    *ret = t->stats;
}
