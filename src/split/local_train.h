/* The training middle in this process. Requests are executed when they are made, on the caller's thread; the answers come
 * out of `next` in order. */
#ifndef MERIDIAN_SPLIT_LOCAL_TRAIN_H
#define MERIDIAN_SPLIT_LOCAL_TRAIN_H

#include "split/half.h"
#include "split/train_middle.h"

#include <stdint.h>

struct local_train_config {
    struct train_config train;
    uint32_t n_slots;  /* micro-batches in flight; forward gives -ENOBUFS beyond */
    const char *store; /* folder of checkpoints and exported halves (split/store.h); NULL: save and load fail */
    uint8_t run[16];   /* this training run's id; its checkpoints are found by it */
};

/* Trains `span` (a middle) of this file, which must outlive it. */
int local_train_create(struct train_middle **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct local_train_config *cfg, struct error *err);

/* The same over any half, which is taken over when this succeeds. cfg->train and n_slots are not looked at. */
int local_train_create_over(struct train_middle **ret, struct half_train *h, const struct model_cut *base,
    const struct local_train_config *cfg, struct error *err);

#endif
