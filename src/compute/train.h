/* Training parts of a model: forward, backward, optimiser, on our own kernels and BLAS (sgemm). One owner, one thread
 * at a time (it uses n_threads inside). Bit-exact for the same machine, build and thread count.
 *
 * A `struct train` holds one or more parts (spans) of one model that share a file, an optimiser and a checkpoint: the
 * cloud has one part (the middle), the campus has two (part 0 the head, part 1 the tail), a lone machine has one (the
 * whole). A matrix that two parts share (tied embedding and output) is held once and its gradients add up.
 *
 * A micro-batch is T rows: whole samples laid end to end, each attending only to itself, positions from 0 in each.
 * Several micro-batches may be in flight, each in a slot of its part that keeps its activations between forward and
 * backward (1F1B). Gradients accumulate over micro-batches until train_step.
 *
 * What is trained: everything in the parts (F32 master weights), or LoRA adapters over frozen weights that stay in
 * their file's type and are dequantised a block at a time into scratch (never requantised). A frozen part trains
 * nothing; gradients still flow through it to a part below, unless it has `embed` and so nothing lies below. */
#ifndef MERIDIAN_COMPUTE_TRAIN_H
#define MERIDIAN_COMPUTE_TRAIN_H

#include "base/error.h"
#include "compute/infer.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

enum train_lora_target { /* bits of train_config.lora_targets */
    LORA_Q = 1,
    LORA_K = 2,
    LORA_V = 4,
    LORA_O = 8,
    LORA_GATE = 16,
    LORA_UP = 32,
    LORA_DOWN = 64,
    LORA_ATTENTION = 15,
    LORA_ALL = 127,
};

#define TRAIN_MAX_PARTS 2

struct train_part {
    struct span span; /* parts do not overlap; at most one has `embed`, at most one has `output` */
    uint32_t n_slots; /* micro-batches in flight in this part; 0: 1. A tail that goes forward, loss, backward needs 1 */
    bool freeze;      /* train nothing here. A tied matrix is frozen when either of its parts is */
};

struct train_config {
    uint32_t n_threads;   /* 0: the machine's cores */
    uint32_t max_rows;    /* rows of the largest micro-batch */
    uint32_t max_samples; /* samples of the largest micro-batch; 0: max_rows */
    uint32_t lora_rank;   /* 0: train every weight of the parts that are not frozen */
    float lora_alpha;     /* y = Wx + (alpha / rank) B A x */
    uint32_t lora_targets;
    uint64_t seed;  /* initial A of the adapters, a function of (seed, block, target); B starts at zero */
    bool recompute; /* keep only block inputs; run each block's forward again in backward. Same bits, less memory */
};

struct train_adamw {
    float lr, beta1, beta2, eps, weight_decay; /* decay on matrices only, decoupled */
    float grad_scale;                          /* 1/tokens times the clip factor; applied to accumulated gradients */
    uint64_t t;                                /* step number, from 1, for bias correction */
};

struct train;

/* `f` must stay open as long as *ret. -ENOMEM says how much would be needed. */
int train_create(struct train **ret, const struct gguf_file *f, const struct model_params *p,
    const struct train_part *parts, uint32_t n_parts, const struct train_config *cfg, struct error *err);
void train_free(struct train *x);

/* Forward of one micro-batch into `slot` of `part`. sample_rows: rows of each sample, from 1. tokens [T] with `embed`
 * (checked against the vocabulary), else in [T][d]. out [T][d] unless `output` (then NULL). -EINVAL for shapes over
 * the configured limits and for a slot in use. A frozen part with `embed` keeps nothing: its slot stays free. */
int train_forward(struct train *x, uint32_t part, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
    const int32_t *tokens, const float *in, float *out, struct error *err);

/* Sums (not means): cross-entropy in nats, targets counted, and how many of them had the highest logit. */
struct train_loss {
    double sum;
    uint64_t n, n_right;
};

/* Loss of a micro-batch in `slot` of the part with `output`. targets [T]: the next token, or -1 where nothing is
 * learnt; anything else outside the vocabulary is -EINVAL. Unless `only_eval`, gradients of this sum are taken: those
 * of the final norm and output matrix are accumulated here and the rest waits in the slot for train_backward. */
int train_loss(struct train *x, uint32_t part, uint32_t slot, const int32_t *targets, bool only_eval,
    struct train_loss *ret, struct error *err);

/* Backward of the slot; accumulates weight gradients. grad_out [T][d] unless `output` (which starts from the loss:
 * NULL). grad_in [T][d], NULL when nobody below learns (or with `embed`). The slot is free afterwards. -EINVAL for a
 * slot that holds nothing, or one with `output` whose loss was not taken. On a frozen part with `embed`: does nothing. */
int train_backward(
    struct train *x, uint32_t part, uint32_t slot, const float *grad_out, float *grad_in, struct error *err);
void train_drop(struct train *x, uint32_t part, uint32_t slot); /* forget a slot without backward (evaluation) */

double train_grad_sumsq(struct train *x);                        /* of everything accumulated, all parts */
void train_step(struct train *x, const struct train_adamw *opt); /* updates, then zeroes the gradients */
void train_grad_zero(struct train *x);

/* Checkpoint of all parts: weights or adapters, m, v, and the cut with its step and run. One file, written all or
 * nothing, ending in a SHA-256 of the rest; loading checks that it belongs to this model's cut (id, part, head, tail),
 * parts and adapters. A file that does not fit, or is damaged, changes nothing and gets one clear error. */
int train_save(const struct train *x, const char *path, const struct model_cut *cut, struct error *err);
int train_load(struct train *x, const char *path, struct model_cut *ret_cut, struct error *err);

/* The trained weights as a GGUF of the same part as `f` (same keys; trained tensors replaced, in F32 or, with
 * keep_types, requantised to the type they had; cut.step and run as given). Not with adapters: -EINVAL. */
int train_export(
    const struct train *x, const char *path, const struct model_cut *cut, bool keep_types, struct error *err);
/* The adapters as a GGUF LoRA file (llama.cpp's "adapter" type). */
int train_export_lora(const struct train *x, const char *path, const struct model_cut *cut, struct error *err);

/* Every trainable parameter and its gradient, by name ("blk.0.attn_q.weight", "blk.0.attn_q.weight.lora_a"), the same
 * order every time. w and grad are [n_out][n_in] row by row. */
struct train_param {
    const char *name;
    float *w, *grad;
    uint64_t n_out, n_in; /* 1, n for a vector */
};
uint32_t train_n_params(const struct train *x);
struct train_param train_param_at(struct train *x, uint32_t i);

uint64_t train_bytes(const struct train *x); /* memory held, mapped weights apart */

#endif
