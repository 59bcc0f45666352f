#include "scenario/distances.h"

#include <errno.h>
#include <stdlib.h>

#define HOP_NS 1000

static uint32_t nearest(const struct distance *d, const bool *done, uint32_t n)
{
    uint32_t best = SCENARIO_NONE;
    for (uint32_t i = 0; i < n; i++)
        if (!done[i] && d[i].delay_ns >= 0 && (best == SCENARIO_NONE || d[i].delay_ns < d[best].delay_ns))
            best = i;
    return best;
}

/* The links of each router, so that a step looks at those of one only. */
struct index {
    uint32_t *first, *link; /* links of router r: link[first[r]] … link[first[r + 1] - 1] */
};

static int build(struct index *x, const struct scenario *s)
{
    *x = (struct index){calloc(s->n_routers + 2, sizeof(*x->first)), malloc((2 * s->n_links + 1) * sizeof(*x->link))};
    if (!x->first || !x->link)
        return -ENOMEM;
    for (uint32_t l = 0; l < s->n_links; l++)
        for (unsigned side = 0; side < 2; side++)
            x->first[s->links[l].router[side] + 2]++;
    for (uint32_t r = 2; r <= s->n_routers + 1; r++)
        x->first[r] += x->first[r - 1];
    for (uint32_t l = 0; l < s->n_links; l++)
        for (unsigned side = 0; side < 2; side++)
            x->link[x->first[s->links[l].router[side] + 1]++] = l;
    return 0;
}

static void relax(const struct scenario *s, const struct index *x, uint32_t at, const bool *down_link,
    const bool *down_router, struct distance *ret)
{
    for (uint32_t i = x->first[at]; i < x->first[at + 1]; i++) {
        const struct scenario_link *l = &s->links[x->link[i]];
        uint32_t to = l->router[l->router[0] == at];
        int64_t delay = ret[at].delay_ns + l->delay_ns + HOP_NS;
        if (down_link[x->link[i]] || down_router[to] || (ret[to].delay_ns >= 0 && ret[to].delay_ns <= delay))
            continue;
        uint64_t rate = l->rate_bps < ret[at].rate_bps ? l->rate_bps : ret[at].rate_bps;
        ret[to] = (struct distance){delay, rate};
    }
}

int distances_from(
    const struct scenario *s, uint32_t from, const bool *down_link, const bool *down_router, struct distance *ret)
{
    struct index x = {0};
    bool *done = calloc(s->n_routers + 1, sizeof(*done));
    int rc = build(&x, s) || !done ? -ENOMEM : 0;
    for (uint32_t i = 0; i < s->n_routers; i++)
        ret[i] = (struct distance){-1, 0};
    if (!rc && !down_router[from])
        ret[from] = (struct distance){0, UINT64_MAX};
    for (uint32_t at; !rc && (at = nearest(ret, done, s->n_routers)) != SCENARIO_NONE;) {
        done[at] = true;
        if (at == from || s->routers[at].role != SCENARIO_REFLECTOR)
            relax(s, &x, at, down_link, down_router, ret);
    }
    free(done);
    free(x.first);
    free(x.link);
    return rc;
}
