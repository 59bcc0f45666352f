/* The parts of plan_create. Internal. */
#ifndef MERIDIAN_SCENARIO_PLAN_INNER_H
#define MERIDIAN_SCENARIO_PLAN_INNER_H

#include "scenario/plan.h"

/* A walk through the network: links in order. */
struct walk {
    uint32_t link[PLAN_SIDS_MOST + 1];
    uint32_t n;
};

/* Links and routers that a search keeps away from; NULL: none. */
struct avoid {
    const bool *link, *router;
};

uint32_t walk_other_end(const struct scenario *s, uint32_t link, uint32_t router);
/* Least delay, then fewest hops, then the lowest link numbers. -ENOENT: there is no way; -E2BIG: more hops than a path has. */
int walk_shortest(const struct scenario *s, uint32_t from, uint32_t to, const struct avoid *avoid, struct walk *ret);
/* First link of the least-delay way to every router, SCENARIO_NONE where there is none or at `from` itself. */
int walk_first_links(const struct scenario *s, uint32_t from, uint32_t *ret_link);
/* The walk of a path of the scenario; `walks` has those listed before it. Sentence in err. */
int walk_of_path(
    const struct scenario *s, uint32_t path, const struct walk *walks, struct walk *ret, struct error *err);

int plan_hosts(struct plan *p, struct error *err); /* access ports, subnets, addresses */
int plan_paths(struct plan *p, struct error *err); /* paths, slices, VRF routes */
int plan_flows(struct plan *p, struct error *err);

/* One more entry at the end of a list that was made here: NULL when there is no memory. Zeroed. */
void *plan_grow(void **list, uint32_t *n, size_t size);
#define PLAN_ADD(list, n) plan_grow((void **)&(list), &(n), sizeof(*(list)))

uint32_t plan_core_port(const struct plan *p, uint32_t router, uint32_t link);

#endif
