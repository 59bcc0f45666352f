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

enum rope_kind { ROPE_NORM, ROPE_NEOX };                                   /* pairs (2i, 2i+1), or (i, i + rot/2) */
enum rope_scaling { ROPE_SCALE_NONE, ROPE_SCALE_LINEAR, ROPE_SCALE_YARN }; /* llama3's comes as rope_freqs.weight */

/* Which part of a cut model a file holds (meridian.cut.part: "edge", "cloud"; no such key: whole). */
enum model_part { MODEL_WHOLE, MODEL_EDGE, MODEL_CLOUD };

/* Ties two halves of one cut: they refuse each other by name when any of these differ. */
struct model_cut {
    enum model_part part;
    uint8_t id[32];  /* SHA-256 over the original's content and the cut; all zero for a whole model */
    uint32_t head;   /* h: blocks [0,h) are in the head, on campus */
    uint32_t tail;   /* t: blocks [n-t,n) are in the tail, on campus */
    uint64_t step;   /* optimiser steps taken since the cut was made */
    uint8_t run[16]; /* training run that took them (random); zero when step is 0 */
};

struct model_params {
    enum model_arch arch;
    uint32_t n_block;                     /* blocks of the whole original */
    uint32_t d;                           /* embedding width */
    uint32_t n_head, n_head_kv, head_dim; /* n_head % n_head_kv == 0; head_dim even */
    uint32_t d_ff;
    uint32_t n_vocab;   /* rows of the embedding; 0 in a cloud half */
    uint32_t n_ctx;     /* context it was trained for */
    uint32_t rope_dims; /* leading dimensions of a head that rotate, even, <= head_dim */
    enum rope_kind rope_kind;
    enum rope_scaling rope_scaling;
    float rope_base;         /* theta */
    float rope_scale_factor; /* > 0; positions are divided by it (ggml's freq_scale is 1 / this); 1: no scaling */
    float rope_orig_ctx;     /* yarn: context before scaling */
    float yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow; /* as ggml_rope_ext takes them */
    float eps;                                                               /* RMS norm */
    uint32_t window; /* sliding window in positions, every block: row i sees rows j > i - window; 0: none */
    bool qkv_bias;   /* qwen2; llama files that carry biases too */
    bool qk_norm;    /* qwen3 */
    bool tied;       /* output matrix is the embedding; false in a cloud half, which has neither */
    bool rope_freqs; /* rope_freqs.weight is there: F32 [rope_dims / 2], rope's frequency factors (llama3) */
    struct model_cut cut;
};

/* -ENOTSUP with one sentence for what we do not run (unknown architecture, MoE, per-layer windows…); -EINVAL for
 * files that contradict themselves. Reads whole, edge and cloud files. Missing keys get the defaults of llama.cpp.
 * Afterwards every tensor of the file is one that the architecture knows, in its shape; norms, biases and rope_freqs
 * are F32; matrices have a type that ggml can turn into floats. With n = n_head * head_dim, k = n_head_kv * head_dim:
 *   token_embd.weight [d, n_vocab]   output_norm.weight [d]   output.weight [d, n_vocab] (absent: tied)
 *   blk.N.attn_norm.weight [d]   blk.N.attn_q.weight [d, n]   attn_k, attn_v [d, k]   attn_output.weight [n, d]
 *   attn_q.bias [n], attn_k.bias, attn_v.bias [k] with qkv_bias   attn_q_norm.weight, attn_k_norm.weight [head_dim] with qk_norm
 *   blk.N.ffn_norm.weight [d]   ffn_gate.weight, ffn_up.weight [d, d_ff]   ffn_down.weight [d_ff, d] */
int model_params_read(struct model_params *ret, const struct gguf_file *f, struct error *err);

/* True when this file holds block i / the embedding / the final norm and output. */
bool model_has_block(const struct model_params *p, uint32_t i);
bool model_has_ends(const struct model_params *p);

/* 0 when these are the edge and the cloud half of one cut at one step; else -EINVAL, naming both. */
int model_check_pair(const struct model_params *edge, const struct model_params *cloud, struct error *err);

/* The identity of a cut as a person reads it: first 12 hex digits of id, "/", step. Enough for error messages. */
void model_cut_name(const struct model_cut *c, char ret[48]);

/* The tensors that a block, or the ends, must have: calls `each` with name, number of dimensions and shape until it
 * returns non-zero, and returns that. model_params_read, the cutter and the maker of new models share this list. */
typedef int model_tensor_fn(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1);
int model_each_block_tensor(const struct model_params *p, uint32_t i, model_tensor_fn *each, void *ctx);
int model_each_end_tensor(const struct model_params *p, model_tensor_fn *each, void *ctx);

#endif
