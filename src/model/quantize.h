/* A model, or one half of a cut one, with its weights in another type.
 *
 * Vectors (norms, biases, rope_freqs) stay as they are. Matrices take the type asked for, except that with a type below
 * Q6_K, unless `pure`:
 *   - the matrix that makes the logits (output.weight, or the embedding of a tied model) becomes Q6_K;
 *   - attn_v and ffn_down of the first and last eighth of the blocks and of every third between, where rounding hurts
 *     most, become Q6_K with Q5_K and Q4_K (the mixture known as "_M"), Q5_K with Q3_K, Q4_K with Q2_K.
 * A row that the type cannot pack (Q*_K pack 256) falls back to Q8_0 (32), then to F16, with a notice.
 * The rule looks only at a tensor's name and the whole model's number of blocks: cutting before or after quantising gives
 * the same weights. A half keeps its cut's id. */
#ifndef MERIDIAN_MODEL_QUANTIZE_H
#define MERIDIAN_MODEL_QUANTIZE_H

#include "base/error.h"
#include "model/convert.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"

#include <stdbool.h>
#include <stdint.h>

struct model_quantize {
    enum ggml_type type;                             /* any that convert_can_write */
    bool pure;                                       /* every matrix in this type */
    uint32_t n_threads;                              /* 0: the machine's cores */
    void (*notice)(void *ctx, const char *sentence); /* fallbacks and doubts, one sentence each; may be NULL */
    void *notice_ctx;
};

struct model_quantized {
    uint64_t bytes_before, bytes_after; /* of tensors */
    struct convert_loss loss;           /* over what changed type; sqrt(error/value) is the relative error */
};

/* "f16", "BF16", "q8_0", "q4_k", "Q4_K_M" …; -EINVAL with a list for others. */
int model_type_by_name(const char *name, enum ggml_type *ret, struct error *err);

int model_quantize(const struct gguf_file *f, const char *path, const struct model_quantize *q,
    struct model_quantized *ret, const struct gguf_progress *progress, struct error *err);

#endif
