/* Training a span of a model: forward, backward, optimiser, on our own kernels and BLAS (sgemm). One owner, one thread
 * at a time (it uses n_threads inside). Bit-exact for the same machine, build and thread count.
 *
 * A micro-batch is T rows: whole samples laid end to end, each attending only to itself. Several micro-batches may be
 * in flight, each in a slot that keeps its activations between forward and backward (1F1B). Gradients accumulate over
 * micro-batches until train_step.
 *
 * What is trained: everything in the span (F32 master weights), or LoRA adapters over frozen weights that stay in their
 * file's type and are dequantised a block at a time into scratch (never requantised). */
#ifndef MERIDIAN_COMPUTE_TRAIN_H
#define MERIDIAN_COMPUTE_TRAIN_H

#include "base/error.h"
#include "compute/infer.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

enum lora_target { /* bits of train_config.lora_targets */
    LORA_Q = 1, LORA_K = 2, LORA_V = 4, LORA_O = 8, LORA_GATE = 16, LORA_UP = 32, LORA_DOWN = 64,
    LORA_ATTENTION = 15, LORA_ALL = 127,
};

struct train_config {
    uint32_t n_threads;     /* 0: the machine's cores */
    uint32_t max_rows;      /* rows of the largest micro-batch */
    uint32_t max_samples;   /* samples of the largest micro-batch */
    uint32_t n_slots;       /* micro-batches in flight */
    uint32_t lora_rank;     /* 0: train every weight of the span */
    float lora_alpha;
    uint32_t lora_targets;
    uint64_t seed;          /* initial A of the adapters, a function of (seed, block, target) */
    bool freeze;            /* train nothing here (a frozen head); backward below is then not needed */
    bool recompute;         /* keep only block inputs; run each block's forward again in backward */
};

struct train_adamw {
    float lr, beta1, beta2, eps, weight_decay; /* decay on matrices only, decoupled */
    float grad_scale; /* 1/tokens times the clip factor; applied to accumulated gradients */
    uint64_t t;       /* step number, from 1, for bias correction */
};

struct train;

int train_create(struct train **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct train_config *cfg, struct error *err);
void train_free(struct train *x);

/* Forward of one micro-batch into `slot`. sample_rows: rows of each sample (sum n_rows). tokens [n_rows] with `embed`,
 * else in [n_rows][d]. out [n_rows][d] unless `output`. -EINVAL for shapes over the configured limits. */
int train_forward(struct train *x, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
    const int32_t *tokens, const float *in, float *out, struct error *err);

/* With `output`: loss of the slot's micro-batch. targets [n_rows]: the next token, or -1 where nothing is learnt.
 * Sums (not means): cross-entropy in nats, targets counted, and how many had the highest logit. Leaves the logits'
 * gradient (of the sum) in the slot for train_backward unless `only_eval`. */
struct train_loss {
    double sum;
    uint64_t n, n_right;
};
int train_loss(struct train *x, uint32_t slot, const int32_t *targets, bool only_eval, struct train_loss *ret);

/* Backward of the slot; accumulates weight gradients. grad_out [n_rows][d] unless `output` (which starts from the
 * loss). grad_in [n_rows][d], NULL when nobody below learns (or with `embed`). The slot is free afterwards. */
int train_backward(struct train *x, uint32_t slot, const float *grad_out, float *grad_in);
void train_drop(struct train *x, uint32_t slot); /* forget a slot without backward (evaluation) */

double train_grad_sumsq(const struct train *x);                   /* of everything accumulated */
void train_step(struct train *x, const struct train_adamw *opt);  /* updates, then zeroes the gradients */
void train_grad_zero(struct train *x);

/* Checkpoint of this span: weights or adapters, m, v, step t. A single file, written all or nothing; loading checks that
 * it belongs to this model, span and configuration. Names in errors. */
int train_save(const struct train *x, const char *path, const struct model_cut *cut, struct error *err);
int train_load(struct train *x, const char *path, struct model_cut *ret_cut, struct error *err);

/* The trained weights as a GGUF of the same part as `f` (same keys, tensors replaced, cut.step/run as given), or the
 * adapters as a GGUF LoRA file (llama.cpp's "adapter" type). */
int train_export(const struct train *x, const char *path, const struct model_cut *cut, struct error *err);
int train_export_lora(const struct train *x, const char *path, const struct model_cut *cut, struct error *err);

/* For tests: every trainable parameter and its gradient, by name ("blk.0.attn_q.weight", "…lora_a"). */
struct train_param {
    const char *name;
    float *w, *grad;
    uint64_t n;
};
uint32_t train_n_params(const struct train *x);
struct train_param train_param_at(struct train *x, uint32_t i);

uint64_t train_bytes(const struct train *x); /* memory held */

#endif
