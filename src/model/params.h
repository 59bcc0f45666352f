/* What a model file says about itself: architecture, sizes, which part of which cut it holds. Read once, checked, then
 * trusted: every number is in range and the tensors that the architecture needs are there with the right shapes. */
#ifndef MERIDIAN_MODEL_PARAMS_H
#define MERIDIAN_MODEL_PARAMS_H

#include "base/error.h"
#include "model/gguf_file.h"

#include <stdbool.h>
#include <stdint.h>

enum model_arch { MODEL_LLAMA, MODEL_QWEN2, MODEL_QWEN3 };
const char *model_arch_name(enum model_arch arch); /* "llama", … as in general.architecture */

enum rope_kind { ROPE_NORM, ROPE_NEOX };                          /* pairs (2i, 2i+1), or (i, i + rot/2) */
enum rope_scaling { ROPE_SCALE_NONE, ROPE_SCALE_LINEAR, ROPE_SCALE_YARN }; /* llama3's comes as rope_freqs.weight */

/* Which part of a cut model a file holds. */
enum model_part { MODEL_WHOLE, MODEL_EDGE, MODEL_CLOUD };

/* Ties two halves of one cut: they refuse each other by name when any of these differ. */
struct model_cut {
    enum model_part part;
    uint8_t id[32];    /* SHA-256 over the original's content and the cut; all zero for a whole model */
    uint32_t head;     /* h: blocks [0,h) are in the head, on campus */
    uint32_t tail;     /* t: blocks [n-t,n) are in the tail, on campus */
    uint64_t step;     /* optimiser steps taken since the cut was made */
    uint8_t run[16];   /* training run that took them (random); zero when step is 0 */
};

struct model_params {
    enum model_arch arch;
    uint32_t n_block;    /* blocks of the whole original */
    uint32_t d;          /* embedding width */
    uint32_t n_head, n_head_kv, head_dim; /* n_head % n_head_kv == 0; head_dim even */
    uint32_t d_ff;
    uint32_t n_vocab;    /* rows of the embedding; 0 in a cloud half */
    uint32_t n_ctx;      /* context it was trained for */
    uint32_t rope_dims;  /* leading dimensions of a head that rotate, even, <= head_dim */
    enum rope_kind rope_kind;
    enum rope_scaling rope_scaling;
    float rope_base, rope_scale_factor, rope_orig_ctx;
    float yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow;
    float eps;           /* RMS norm */
    uint32_t window;     /* sliding window in positions, every block; 0: none */
    bool qkv_bias;       /* qwen2; llama files that carry biases too */
    bool qk_norm;        /* qwen3 */
    bool tied;           /* output matrix is the embedding */
    struct model_cut cut;
};

/* -ENOTSUP with one sentence for what we do not run (unknown architecture, MoE, per-layer windows…); -EINVAL for
 * files that contradict themselves. Reads whole, edge and cloud files. */
int model_params_read(struct model_params *ret, const struct gguf_file *f, struct error *err);

/* True when this file holds block i / the embedding / the final norm and output. */
bool model_has_block(const struct model_params *p, uint32_t i);
bool model_has_ends(const struct model_params *p);

/* The identity of a cut as a person reads it: first 12 hex digits of id, "/", step. Enough for error messages. */
void model_cut_name(const struct model_cut *c, char ret[48]);

#endif
