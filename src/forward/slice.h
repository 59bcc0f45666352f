/* Slices: a tenant's lane of one class on one path to one service. */
#ifndef MERIDIAN_FORWARD_SLICE_H
#define MERIDIAN_FORWARD_SLICE_H

#include "forward/forward_inner.h"

void slice_free_all(struct forward *); /* the lanes go with their node */

/* struct lane_above: what the lane layer asks and tells. */
void slice_event(struct forward *, const struct lane_event *);
struct rte_mbuf *slice_marker(struct forward *, struct lane_tx *);

#endif
