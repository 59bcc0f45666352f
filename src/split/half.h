/* What computes the middle: a small table of functions, so that sessions, batching and training's state machine do not
 * know (and their tests do not need) a real model. One owner, one thread at a time.
 *
 * half_model.h makes these from a model file; tests bring a pure function of their own. */
#ifndef MERIDIAN_SPLIT_HALF_H
#define MERIDIAN_SPLIT_HALF_H

#include "base/error.h"
#include "compute/infer.h"
#include "compute/train.h"

struct half_infer;
struct half_infer_ops {
    /* The contracts are those of infer_seq_open, _close, _len, _truncate, infer_run. */
    int (*open)(struct half_infer *h, uint32_t n_ctx, int32_t *ret_seq);
    void (*close)(struct half_infer *h, int32_t seq);
    int32_t (*len)(const struct half_infer *h, int32_t seq);
    void (*truncate)(struct half_infer *h, int32_t seq, int32_t len);
    int (*run)(
        struct half_infer *h, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err);
    void (*free)(struct half_infer *h);
};
struct half_infer {
    const struct half_infer_ops *ops;
    uint32_t d;       /* width of a vector */
    uint32_t n_ctx;   /* positions the model was trained for */
    uint64_t kv_rows; /* positions over all sequences */
    uint32_t max_seqs;
};

struct half_train;
struct half_train_ops {
    /* train_forward, _backward, _drop and so on of the one part there is. */
    int (*forward)(struct half_train *h, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
        const float *in, float *out, struct error *err);
    int (*backward)(struct half_train *h, uint32_t slot, const float *grad_out, float *grad_in, struct error *err);
    void (*drop)(struct half_train *h, uint32_t slot);
    double (*sumsq)(const struct half_train *h);
    void (*step)(struct half_train *h, const struct train_adamw *opt);
    void (*zero)(struct half_train *h);
    int (*save)(const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err);
    int (*load)(struct half_train *h, const char *path, struct model_cut *ret_cut, struct error *err);
    int (*reset)(struct half_train *h, struct error *err); /* as installed: as if no step had been taken */
    int (*export)(const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err);
    void (*free)(struct half_train *h);
};
struct half_train {
    const struct half_train_ops *ops;
    uint32_t d;
    uint32_t n_slots, max_rows, max_samples;
};

#endif
