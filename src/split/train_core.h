/* The state machine of a training middle, whoever asks: the worker (service_train.c, after it made sure that a request is
 * executed once) and the middle in this process (local_train.c).
 *
 * Steps are counted from 0 at the start of a run. Micro-batch numbers rise; each goes forward once, and backward once
 * unless it was for evaluation. norm(s) and step(s) are of the step to come, s = steps done + 1, with every micro-batch's
 * backward done. save(s): s = steps done, nothing in flight. load(s) forgets everything in flight; s = 0: as installed.
 *
 * Errors: -EPROTO a request out of order, -EINVAL a shape over the limits, others from disk or memory; nothing changed. */
#ifndef MERIDIAN_SPLIT_TRAIN_CORE_H
#define MERIDIAN_SPLIT_TRAIN_CORE_H

#include "split/half.h"
#include "split/store.h"

#include <stdbool.h>
#include <stdint.h>

struct train_core;

/* Takes the half over. store NULL: nothing can be saved. base: the half that was installed; run: this run's id. */
int train_core_create(struct train_core **ret, struct half_train *h, const struct store *store,
    const struct model_cut *base, const uint8_t run[16]);
void train_core_free(struct train_core *c);

int train_core_forward(struct train_core *c, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *x, float *out, bool only_eval, struct error *err);
/* grad_in NULL: not wanted. */
int train_core_backward(
    struct train_core *c, uint64_t batch, uint32_t n_rows, const float *grad, float *grad_in, struct error *err);
int train_core_norm(struct train_core *c, uint64_t step, double *ret_sumsq, struct error *err);
int train_core_step(struct train_core *c, uint64_t step, const struct train_adamw *opt, struct error *err);
int train_core_save(struct train_core *c, uint64_t step, const struct model_cut *cut, bool serve, struct error *err);
/* Ends the future: checkpoints of later steps are removed. */
int train_core_load(struct train_core *c, uint64_t step, struct error *err);

uint64_t train_core_steps(const struct train_core *c); /* done */
double train_core_busy_s(const struct train_core *c);  /* computing, since it was made; any thread */
const struct half_train *train_core_half(const struct train_core *c);

#endif
