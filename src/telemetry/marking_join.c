#include "telemetry/marking_join.h"

#include "base/rng.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct path {
    uint64_t hop[MARKING_JOIN_HOPS];
    unsigned n;
};

struct told {
    uint64_t packets, bytes;
    int64_t d_wall_ns;
};

struct period {
    uint64_t number;
    uint32_t told; /* bit per hop; 0: the entry is free */
    struct told by[MARKING_JOIN_HOPS];
};

struct flow {
    uint32_t id, next;
    bool used;
    uint64_t since; /* of path; before: `old` */
    uint64_t read;  /* periods below it are read */
    struct path path, old;
    struct period period[MARKING_JOIN_PERIODS];
};

struct marking_join {
    uint32_t flows, free, cursor, head_mask;
    uint64_t polled; /* periods below it have been asked for; 0: none yet */
    uint32_t *head;
    struct flow *flow;
};

int marking_join_create(struct marking_join **ret, uint32_t flows)
{
    flows = flows ? flows : 4096;
    if (flows > 1u << 20)
        return -EINVAL;
    struct marking_join *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    uint32_t heads = 4;
    while (heads < flows * 2)
        heads *= 2;
    j->flows = flows;
    j->head_mask = heads - 1;
    j->head = malloc(heads * sizeof *j->head);
    j->flow = calloc(flows, sizeof *j->flow);
    if (!j->head || !j->flow) {
        marking_join_free(j);
        return -ENOMEM;
    }
    memset(j->head, 0xff, heads * sizeof *j->head);
    for (uint32_t i = 0; i < flows; i++)
        j->flow[i].next = i + 1 < flows ? i + 1 : NONE;
    *ret = j;
    return 0;
}

void marking_join_free(struct marking_join *j)
{
    if (!j)
        return;
    free(j->flow);
    free(j->head);
    free(j);
}

static uint32_t *head_of(struct marking_join *j, uint32_t id)
{
    return &j->head[rng_mix(id) & j->head_mask];
}

static struct flow *find(struct marking_join *j, uint32_t id)
{
    for (uint32_t i = *head_of(j, id); i != NONE; i = j->flow[i].next)
        if (j->flow[i].id == id)
            return &j->flow[i];
    return NULL;
}

static int path_check(const uint64_t *hops, unsigned n)
{
    if (n < 2 || n > MARKING_JOIN_HOPS)
        return -EINVAL;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < i; k++)
            if (hops[i] == hops[k])
                return -EINVAL;
    return 0;
}

int marking_join_path(struct marking_join *j, uint32_t id, const uint64_t *hops, unsigned n, uint64_t since)
{
    int rc = path_check(hops, n);
    if (rc)
        return rc;
    struct flow *f = find(j, id);
    if (!f) {
        if (j->free == NONE)
            return -ENOSPC;
        uint32_t i = j->free, *head = head_of(j, id);
        f = &j->flow[i];
        j->free = f->next;
        *f = (struct flow){.id = id, .next = *head, .used = true, .read = since};
        *head = i;
    }
    f->old = f->path;
    f->since = since;
    memcpy(f->path.hop, hops, n * sizeof *hops);
    f->path.n = n;
    return 0;
}

void marking_join_forget(struct marking_join *j, uint32_t id)
{
    struct flow *f = find(j, id);
    if (!f)
        return;
    uint32_t i = (uint32_t)(f - j->flow), *at = head_of(j, id);
    while (*at != i)
        at = &j->flow[*at].next;
    *at = f->next;
    f->used = false;
    f->next = j->free;
    j->free = i;
}

/* The path that holds in a period: for the one of the move, its ends. */
static struct path path_at(const struct flow *f, uint64_t period)
{
    if (period >= f->since)
        return f->path;
    if (period + 1 < f->since)
        return f->old;
    struct path ends = {.n = 0};
    if (f->old.n && f->old.hop[0] == f->path.hop[0] && f->old.hop[f->old.n - 1] == f->path.hop[f->path.n - 1]) {
        ends.hop[0] = f->path.hop[0];
        ends.hop[1] = f->path.hop[f->path.n - 1];
        ends.n = 2;
    }
    return ends;
}

int marking_join_add(struct marking_join *j, uint64_t hop, const struct marking_record *r)
{
    struct flow *f = find(j, r->flow_mon_id);
    if (!f)
        return -ENOENT;
    if (r->period < f->read)
        return -ESTALE;
    if (j->polled && r->period >= j->polled + MARKING_JOIN_PERIODS)
        return -ERANGE;
    struct path path = path_at(f, r->period);
    unsigned at = 0;
    while (at < path.n && path.hop[at] != hop)
        at++;
    if (at == path.n)
        return -ENOENT;
    struct period *p = &f->period[r->period % MARKING_JOIN_PERIODS];
    if (p->told && p->number > r->period)
        return -ESTALE;
    if (!p->told || p->number < r->period)
        *p = (struct period){.number = r->period};
    p->told |= 1u << at;
    p->by[at] = (struct told){r->packets, r->bytes, r->d_wall_ns};
    return 0;
}

static struct marking_segment compare(
    const struct flow *f, const struct period *p, const struct path *path, unsigned from, unsigned to)
{
    const struct told *a = &p->by[from], *b = &p->by[to];
    bool has_delay = a->d_wall_ns && b->d_wall_ns;
    return (struct marking_segment){
        .flow_mon_id = f->id,
        .period = p->number,
        .from = path->hop[from],
        .to = path->hop[to],
        .silent = to - from - 1,
        .sent = a->packets,
        .arrived = b->packets,
        .lost = (int64_t)(a->packets - b->packets),
        .lost_bytes = (int64_t)(a->bytes - b->bytes),
        .has_delay = has_delay,
        .delay_ns = has_delay ? b->d_wall_ns - a->d_wall_ns : 0,
    };
}

static unsigned segments(const struct flow *f, const struct period *p, struct marking_segment *ret)
{
    struct path path = path_at(f, p->number);
    unsigned n = 0, last = MARKING_JOIN_HOPS;
    for (unsigned i = 0; i < path.n; i++) {
        if (!(p->told >> i & 1))
            continue;
        if (last < MARKING_JOIN_HOPS)
            ret[n++] = compare(f, p, &path, last, i);
        last = i;
    }
    return n;
}

/* The flow's oldest period that is to be read; NULL: none. */
static struct period *oldest(struct flow *f, uint64_t most)
{
    struct period *found = NULL;
    for (unsigned i = 0; i < MARKING_JOIN_PERIODS; i++) {
        struct period *p = &f->period[i];
        if (p->told && p->number <= most && (!found || p->number < found->number))
            found = p;
    }
    return found;
}

unsigned marking_join_poll(struct marking_join *j, uint64_t period, struct marking_segment *ret, unsigned most)
{
    assert(most >= MARKING_JOIN_HOPS);
    unsigned n = 0;
    if (period + 1 > j->polled)
        j->polled = period + 1;
    for (; j->cursor < j->flows; j->cursor++) {
        struct flow *f = &j->flow[j->cursor];
        struct period *p;
        while (f->used && (p = oldest(f, period)) != NULL) {
            if (most - n < MARKING_JOIN_HOPS)
                return n;
            n += segments(f, p, ret + n);
            f->read = p->number + 1;
            p->told = 0;
        }
        if (f->used && f->read <= period)
            f->read = period + 1;
    }
    j->cursor = 0;
    return n;
}
