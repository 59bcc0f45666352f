/* Where is it lost, where is it slow: joins what the hops of a flow told of one alternate-marking period (marking.h) and
 * compares neighbours. Used by the controller, the simulator and tests; pure.
 *
 * For each flow the caller says the hops in order; then come records, in any order; then, when those of a period should
 * all be there, the segments of that period are read. A hop that told nothing of a period (it restarted, its report was
 * lost) is stepped over: the segment then spans it. Sums of `lost` along a path are what was lost between the ends. */
#ifndef MERIDIAN_TELEMETRY_MARKING_JOIN_H
#define MERIDIAN_TELEMETRY_MARKING_JOIN_H

#include "telemetry/marking.h"

#include <stdbool.h>
#include <stdint.h>

#define MARKING_JOIN_HOPS    17u /* a strict path of 16 and its ingress */
#define MARKING_JOIN_PERIODS 8u  /* kept per flow until they are read */

struct marking_segment {
    uint32_t flow_mon_id;
    uint64_t period;
    uint64_t from, to;      /* hops, as the caller named them */
    uint32_t silent;        /* hops between them that told nothing */
    uint64_t sent, arrived; /* packets */
    int64_t lost;           /* sent - arrived; negative: copies were made on the way */
    int64_t lost_bytes;
    bool has_delay; /* of the D packet; the difference of the two routers' clocks is in it */
    int64_t delay_ns;
};

struct marking_join;
int marking_join_create(struct marking_join **ret, uint32_t flows); /* 0: 4096; -ENOMEM, -EINVAL */
void marking_join_free(struct marking_join *);

/* The hops of a flow, ingress first, from period `since` on. A flow that had others keeps them for periods before
 * since - 1; period since - 1, in which it moved, is compared between the ends only, when they are the same.
 * -EINVAL: fewer than 2 or too many hops, or one twice; -ENOSPC: no room for another flow. */
int marking_join_path(struct marking_join *, uint32_t flow_mon_id, const uint64_t *hops, unsigned n, uint64_t since);
void marking_join_forget(struct marking_join *, uint32_t flow_mon_id);

/* A record that `hop` told. -ENOENT: no such flow, or the hop is not on its path then; -ESTALE: its period was read, or
 * is too old to be kept; -ERANGE: it is further ahead of what is being read than can be (a router whose clock is wrong). */
int marking_join_add(struct marking_join *, uint64_t hop, const struct marking_record *);

/* Segments of all periods up to `period` that have not been read yet, whole flows and periods at a time: `most` must be
 * at least MARKING_JOIN_HOPS. Call until it returns 0. */
unsigned marking_join_poll(struct marking_join *, uint64_t period, struct marking_segment *ret, unsigned most);

#endif
