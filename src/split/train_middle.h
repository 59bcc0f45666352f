/* What stands between head and tail when training: the middle layers with their weights, gradients and optimiser, in
 * this process or in the cloud. Asynchronous like middle.h; micro-batches are numbered by the caller, rising, and every
 * request is executed once however often the link breaks. Labels, tokens and samples have no way through here: only
 * vectors, gradients, shapes and scalars do. */
#ifndef MERIDIAN_SPLIT_TRAIN_MIDDLE_H
#define MERIDIAN_SPLIT_TRAIN_MIDDLE_H

#include "base/error.h"
#include "compute/train.h"

#include <stdbool.h>
#include <stdint.h>

enum train_event_kind {
    TRAIN_OUT,     /* forward's answer: x [n_rows][d] of micro-batch `batch` */
    TRAIN_GRAD,    /* backward's answer: x [n_rows][d], or NULL when not wanted */
    TRAIN_NORM,    /* sum of squares of the accumulated gradients in `value` */
    TRAIN_STEPPED, /* optimiser step `step` done */
    TRAIN_SAVED,   /* checkpoint of `step` is on disk */
    TRAIN_LOADED,  /* state is that of `step` again */
    TRAIN_LOST,    /* the middle restarted: load a common checkpoint, one of `steps` or 0; `step` is its newest (or
                       UINT64_MAX: none). Micro-batches may be numbered anew after the load */
    TRAIN_DOWN,
    TRAIN_UP,
    TRAIN_FAILED,
};

struct train_event {
    enum train_event_kind kind;
    uint64_t batch, step;
    uint32_t n_rows;
    const float *x; /* valid until the next call */
    double value;
    const char *text;
    uint32_t n_steps;
    uint64_t steps[4]; /* LOST: checkpoints that the middle has, the newest first */
};

struct train_middle_stats {
    uint64_t bytes_up, bytes_down;
    double busy_s; /* seconds the middle computed since the start, as it reports */
    uint64_t reconnects;
    bool up;
};

struct train_middle;
/* Steps are counted from 0 at the start of the run: norm and step are given the step to come (steps done + 1), save the
 * steps done. All return at once: 0, -ENOBUFS (no slot: take events first), -EINVAL, -ENOMEM. */
struct train_middle_ops {
    int (*forward)(struct train_middle *m, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
        uint32_t n_rows, const float *x, bool only_eval);
    int (*backward)(struct train_middle *m, uint64_t batch, uint32_t n_rows, const float *grad, bool want_grad_in);
    int (*norm)(struct train_middle *m, uint64_t step);
    int (*step)(struct train_middle *m, uint64_t step, const struct train_adamw *opt);
    /* `serve`: also write a model half that can be served, as cut `cut` (step, run). `keep`: name a generation as best. */
    int (*save)(struct train_middle *m, uint64_t step, const struct model_cut *cut, bool serve);
    int (*load)(struct train_middle *m, uint64_t step); /* step 0: as installed */
    int (*next)(struct train_middle *m, int64_t wait_ns, struct train_event *ret);
    void (*stats)(struct train_middle *m, struct train_middle_stats *ret);
    void (*free)(struct train_middle *m);
};

struct train_middle {
    const struct train_middle_ops *ops;
};

#endif
