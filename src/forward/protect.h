/* 1+1 at the ingress (router.md, Lanes, 9): a slice over two paths that share nothing. Every packet gets a number and goes down
 * both lanes; the router at their end delivers each number once, in order (forward/stream.h).
 *
 * One of the lanes leads: the one whose queue is shorter, if both are complete. What the host meets (ECN, PFC, the policer) is the
 * leading lane's queue, so a path that stalls never stops it. The other lane gets a copy; when its queue exceeds `lag_cells` its
 * oldest packets are let go as redundant (LOSS_REDUNDANT), for they are what the leading lane has long delivered. Only numbers
 * that did go down the other lane are let go: `missing` says up to where that is not certain. While one path is down
 * the other carries everything alone and no copies are made.
 *
 * The numbers and their epoch last as long as the slice is there, whatever lanes it has in the meantime. */
#ifndef MERIDIAN_FORWARD_PROTECT_H
#define MERIDIAN_FORWARD_PROTECT_H

#include "forward/inner.h"

struct protect {
    struct encap *encap[2]; /* the slice's own; that of the second path, of which this is a user */
    struct lane_tx *lane[2];
    uint32_t epoch, lag_cells;
    uint64_t number;     /* last given */
    uint64_t missing[2]; /* numbers up to here may not have gone down this lane */
    uint64_t copies, redundant, alone;
};

/* Whether the slice, which is not set yet or replaces one, can have both paths. 0, or why not, in one sentence. */
int protect_check(const struct forward *, const struct forward_slice *, struct error *);
/* Opens the second lane, asked for with `spec`. The numbers go on where `before` (NULL: none) is. */
int protect_make(struct forward *, struct protect **ret, const struct forward_slice *, const struct lane_spec *spec,
    const struct protect *before, int64_t now, struct error *);
/* From now on the packets of both encapsulations go down both lanes. */
void protect_attach(struct forward *, struct protect *, struct encap *first, struct lane_tx *lane);
/* Closes the second lane; `now` INT64_MAX: the lanes are going with their node. NULL: nothing. */
void protect_free(struct forward *, struct protect *, int64_t now);
void protect_event(struct protect *, const struct lane_event *);

/* Largest inner packet that fits over both. */
uint32_t protect_most(const struct protect *, bool sealed);
/* A packet that is ready for its outer headers, an inner one or ESP; takes ownership. */
void protect_leave(
    struct forward *, struct protect *, struct rte_mbuf *, uint8_t proto, unsigned ecn, unsigned marks, int64_t now);
/* Hosts that one of the lanes stopped may go on once the other one could take them. Returns when to look again. */
int64_t protect_poll(struct forward *, int64_t now);

#endif
