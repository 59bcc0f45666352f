/* How far every router is from one, over links and routers that work: what an underlay would find out. */
#ifndef MERIDIAN_SCENARIO_DISTANCES_H
#define MERIDIAN_SCENARIO_DISTANCES_H

#include "scenario/scenario.h"

struct distance {
    int64_t delay_ns;  /* one way, with a microsecond for each hop; -1: it cannot be reached */
    uint64_t rate_bps; /* of the slowest link on that way */
};

/* ret: a place for each router. down_link, down_router: a truth for each. Reflectors carry no traffic of others. -ENOMEM. */
int distances_from(
    const struct scenario *s, uint32_t from, const bool *down_link, const bool *down_router, struct distance *ret);

#endif
