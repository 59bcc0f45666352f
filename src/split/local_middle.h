/* The middle in this process: a whole model around one engine, or a split whose two halves live together (tests,
 * benchmarks, small machines). Computes inside `next`, on the caller's thread: no hops, no copies beyond the batch's. */
#ifndef MERIDIAN_SPLIT_LOCAL_MIDDLE_H
#define MERIDIAN_SPLIT_LOCAL_MIDDLE_H

#include "split/half.h"
#include "split/middle.h"
#include "split/pool.h"

/* Runs `span` of this file (a cloud half, or a whole model with the span of its middle). The file must outlive it. */
int local_middle_create(struct middle **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct infer_config *cfg, struct error *err);

/* The same over any half, which is taken over when this succeeds. cfg NULL: defaults. */
int local_middle_create_over(struct middle **ret, struct half_infer *h, const struct pool_config *cfg);

#endif
