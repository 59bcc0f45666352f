/* For tests: a training middle far away. Requests travel, are executed one after the other in a thread of their own, and
 * the answers travel back; each way takes delay_ns, give or take what the seed says (order is kept, as on a wire). */
#ifndef MERIDIAN_SPLIT_TESTING_TRAIN_H
#define MERIDIAN_SPLIT_TESTING_TRAIN_H

#include "split/train_middle.h"

/* Takes `inner` over. d: width of a vector. */
struct train_middle *testing_train_create(struct train_middle *inner, uint32_t d, int64_t delay_ns, uint64_t seed);

#endif
