/* Ways through the network of a scenario: shortest, listed, and disjoint in shared-risk groups. */
#include "scenario/plan_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOP_NS 1000 /* what a hop costs beside its fibre, so that short cuts through many routers do not win */

uint32_t walk_other_end(const struct scenario *s, uint32_t link, uint32_t router)
{
    return s->links[link].router[s->links[link].router[0] == router];
}

/* Dijkstra over routers in their order: the result depends on nothing but the scenario. */
struct search {
    int64_t *cost; /* -1: not reached */
    uint32_t *by;  /* the link that leads there */
    bool *done;
};

static void search_done(struct search *x)
{
    free(x->cost);
    free(x->by);
    free(x->done);
}

static int search_init(struct search *x, uint32_t n)
{
    *x = (struct search){malloc((n + 1) * sizeof(*x->cost)), malloc((n + 1) * sizeof(*x->by)), calloc(n + 1, 1)};
    if (!x->cost || !x->by || !x->done) {
        search_done(x);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        x->cost[i] = -1;
        x->by[i] = SCENARIO_NONE;
    }
    return 0;
}

static uint32_t nearest(const struct search *x, uint32_t n)
{
    uint32_t best = SCENARIO_NONE;
    for (uint32_t i = 0; i < n; i++)
        if (!x->done[i] && x->cost[i] >= 0 && (best == SCENARIO_NONE || x->cost[i] < x->cost[best]))
            best = i;
    return best;
}

static void relax(const struct scenario *s, struct search *x, uint32_t at, const struct avoid *avoid)
{
    for (uint32_t l = 0; l < s->n_links; l++) {
        if ((s->links[l].router[0] != at && s->links[l].router[1] != at) || (avoid && avoid->link && avoid->link[l]))
            continue;
        uint32_t to = walk_other_end(s, l, at);
        int64_t cost = x->cost[at] + s->links[l].delay_ns + HOP_NS;
        if ((avoid && avoid->router && avoid->router[to]) || (x->cost[to] >= 0 && x->cost[to] <= cost))
            continue;
        x->cost[to] = cost;
        x->by[to] = l;
    }
}

/* Reflectors carry no traffic of others. */
static void search_run(const struct scenario *s, struct search *x, uint32_t from, const struct avoid *avoid)
{
    x->cost[from] = 0;
    for (uint32_t at; (at = nearest(x, s->n_routers)) != SCENARIO_NONE;) {
        x->done[at] = true;
        if (at == from || s->routers[at].role != SCENARIO_REFLECTOR)
            relax(s, x, at, avoid);
    }
}

int walk_shortest(const struct scenario *s, uint32_t from, uint32_t to, const struct avoid *avoid, struct walk *ret)
{
    struct search x;
    struct walk w = {.n = 0};
    int rc = search_init(&x, s->n_routers);
    if (rc)
        return rc;
    search_run(s, &x, from, avoid);
    rc = x.cost[to] < 0 ? -ENOENT : 0;
    for (uint32_t at = to; !rc && at != from; at = walk_other_end(s, x.by[at], at)) {
        if (w.n == PLAN_SIDS_MOST)
            rc = -E2BIG;
        else
            w.link[w.n++] = x.by[at];
    }
    search_done(&x);
    for (uint32_t i = 0; i < w.n / 2; i++) {
        uint32_t l = w.link[i];
        w.link[i] = w.link[w.n - 1 - i];
        w.link[w.n - 1 - i] = l;
    }
    if (!rc)
        *ret = w;
    return rc;
}

int walk_first_links(const struct scenario *s, uint32_t from, uint32_t *ret_link)
{
    struct search x;
    if (search_init(&x, s->n_routers))
        return -ENOMEM;
    search_run(s, &x, from, NULL);
    for (uint32_t to = 0; to < s->n_routers; to++) {
        ret_link[to] = SCENARIO_NONE;
        for (uint32_t at = to; x.cost[to] > 0 && at != from; at = walk_other_end(s, x.by[at], at))
            ret_link[to] = x.by[at];
    }
    search_done(&x);
    return 0;
}

/* --- listed and disjoint ones --------------------------------------------------------------------------------- */

static uint32_t link_between(const struct scenario *s, uint32_t a, uint32_t b)
{
    for (uint32_t l = 0; l < s->n_links; l++)
        if ((s->links[l].router[0] == a && s->links[l].router[1] == b) ||
            (s->links[l].router[0] == b && s->links[l].router[1] == a))
            return l;
    return SCENARIO_NONE;
}

static int step(struct walk *w, uint32_t link)
{
    if (link == SCENARIO_NONE)
        return -ENOENT;
    if (w->n == PLAN_SIDS_MOST)
        return -E2BIG;
    w->link[w->n++] = link;
    return 0;
}

static bool visits_twice(const struct scenario *s, uint32_t from, const struct walk *w)
{
    uint32_t at = from, seen[PLAN_SIDS_MOST + 2] = {from}, n = 1;
    for (uint32_t i = 0; i < w->n; i++) {
        at = walk_other_end(s, w->link[i], at);
        for (uint32_t k = 0; k < n; k++)
            if (seen[k] == at)
                return true;
        seen[n++] = at;
    }
    return false;
}

static int listed(const struct scenario *s, const struct scenario_path *p, struct walk *ret, struct error *err)
{
    uint32_t at = p->from;
    struct walk w = {.n = 0};
    int rc = 0;
    for (uint32_t k = 0; k <= p->n_via && !rc; k++) {
        const char *name = k < p->n_via ? p->via[k] : s->routers[p->to].name;
        uint32_t router = scenario_router_find(s, name);
        uint32_t link = router == SCENARIO_NONE ? scenario_link_find(s, name) : SCENARIO_NONE;
        if (router == at) /* a link named last may lead to `to` already */
            continue;
        if (router != SCENARIO_NONE)
            link = link_between(s, at, router);
        if (link == SCENARIO_NONE || (s->links[link].router[0] != at && s->links[link].router[1] != at))
            return error_set(err, EINVAL, "path %s: no link leads from %s to %s", p->name, s->routers[at].name, name);
        rc = step(&w, link);
        at = walk_other_end(s, link, at);
    }
    if (rc)
        return error_set(err, EINVAL, "path %s: more than %u links", p->name, PLAN_SIDS_MOST);
    if (visits_twice(s, p->from, &w))
        return error_set(
            err, EINVAL, "path %s: passes a router twice, and a lane must not; leave out what leads back", p->name);
    *ret = w;
    return 0;
}

static bool same_risk(const struct scenario_link *a, const struct scenario_link *b)
{
    return a == b || (a->group && b->group && strcmp(a->group, b->group) == 0);
}

/* Without the links of the other path, without what shares their ducts, and if that leaves a way also without its routers. */
static int apart(const struct scenario *s, const struct scenario_path *p, const struct walk *other, struct walk *ret)
{
    bool *link = calloc(s->n_links + 1, 1), *router = calloc(s->n_routers + 1, 1);
    struct avoid avoid = {link, router};
    int rc = link && router ? 0 : -ENOMEM;
    uint32_t at = p->from;
    for (uint32_t k = 0; k < other->n && !rc; k++) {
        for (uint32_t l = 0; l < s->n_links; l++)
            link[l] |= same_risk(&s->links[l], &s->links[other->link[k]]);
        at = walk_other_end(s, other->link[k], at);
        router[at] = at != p->to;
    }
    rc = rc ? rc : walk_shortest(s, p->from, p->to, &avoid, ret);
    if (rc == -ENOENT) {
        avoid.router = NULL;
        rc = walk_shortest(s, p->from, p->to, &avoid, ret);
    }
    free(link);
    free(router);
    return rc;
}

int walk_of_path(const struct scenario *s, uint32_t path, const struct walk *walks, struct walk *ret, struct error *err)
{
    const struct scenario_path *p = &s->paths[path];
    const char *from = s->routers[p->from].name, *to = s->routers[p->to].name;
    if (p->how == SCENARIO_VIA)
        return listed(s, p, ret, err);
    int rc = p->how == SCENARIO_SHORTEST ? walk_shortest(s, p->from, p->to, NULL, ret)
                                         : apart(s, p, &walks[p->apart_from], ret);
    if (rc == -ENOENT && p->how == SCENARIO_DISJOINT)
        return error_set(err, EINVAL, "path %s: no way from %s to %s shares nothing with %s", p->name, from, to,
            s->paths[p->apart_from].name);
    if (rc == -ENOENT)
        return error_set(err, EINVAL, "path %s: no way leads from %s to %s", p->name, from, to);
    if (rc == -E2BIG)
        return error_set(err, EINVAL, "path %s: more than %u links", p->name, PLAN_SIDS_MOST);
    return rc ? error_set(err, ENOMEM, "no memory") : 0;
}
