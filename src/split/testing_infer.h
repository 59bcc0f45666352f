/* For tests: infer.h over a toy instead of a transformer. Every block's answer is a hash over the whole history of its
 * sequence, so any row lost, doubled, stale or out of order changes every token after it; and it costs nothing, so
 * thousands of unlucky situations can be played. Linked instead of the compute library. */
#ifndef MERIDIAN_SPLIT_TESTING_INFER_H
#define MERIDIAN_SPLIT_TESTING_INFER_H

#include "compute/infer.h"

struct model_params toy_params(void); /* 3 blocks, one in the head and one in the tail */

#endif
