/* What routers count, looked at again and again while a scenario runs: a router that is killed takes its counters with it, so
 * what was seen last is kept. Losses between the last look and a kill are not seen. */
#ifndef MERIDIAN_LAB_WATCH_H
#define MERIDIAN_LAB_WATCH_H

#include "lab/result.h"
#include "lab/world.h"

#define LAB_WATCH_EVERY_NS 200000000ll

struct lab_watch;

/* The counters as they stand are the beginning. -ENOMEM. */
int lab_watch_create(struct lab_watch **ret, const struct lab_world *w, struct error *err);
void lab_watch_free(struct lab_watch *v); /* NULL is fine */
/* Asks every router that runs. */
void lab_watch_look(struct lab_watch *v);
/* All so far. `known` is false when a router that runs never answered. */
void lab_watch_totals(const struct lab_watch *v, struct lab_router_totals *ret);

#endif
