/* Lanes that end here as one: both of a 1+1 stream, and their successors after a cut. What they bring goes into the same queues
 * towards hosts, one for each access port, so that it keeps the order in which it is put there; each packet's cells go back to
 * the lane that it came by. The layer above decides what belongs together. */
#ifndef MERIDIAN_LANE_MERGE_H
#define MERIDIAN_LANE_MERGE_H

#include "lane/lane.h"

struct egress_queue;

struct lane_merge {
    struct egress_queue *egress; /* all zero: none yet */
};

/* The queue at access port `out`; made on first use, with the guarantee of `like`, one of the lanes. NULL: none left. */
struct queue *lane_merge_queue(struct lane_node *, struct lane_merge *, struct lane_rx *like, uint16_t out);
/* The watchdog of its queues: call at the time that it returns; `lane` is told with the event. */
int64_t lane_merge_poll(struct lane_node *, struct lane_merge *, uint64_t lane, int64_t now);
bool lane_merge_empty(const struct lane_merge *);
void lane_merge_done(struct lane_node *, struct lane_merge *, int64_t now); /* what is left is discarded, counted */

#endif
