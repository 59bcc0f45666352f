/* Low-rank adapters in llama.cpp's GGUF form, and folding them into weights.
 *
 * general.type "adapter", adapter.type "lora", adapter.lora.alpha (f32), general.architecture as the base; for each adapted
 * matrix T of shape [n_in, n_out] (ggml order) two tensors: T.lora_a [n_in, rank] and T.lora_b [rank, n_out]. The matrix
 * becomes W + (alpha / rank) B A. An adapter trained on one half of a cut model also carries that half's meridian.cut.*
 * keys (cut.h), which llama.cpp ignores. Adapters of the embedding are refused (their layout differs). */
#ifndef MERIDIAN_MODEL_LORA_FILE_H
#define MERIDIAN_MODEL_LORA_FILE_H

#include "base/error.h"
#include "model/convert.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"
#include "model/params.h"

#include <stdint.h>

struct lora_target {
    const char *name; /* of the base's tensor, e.g. "blk.3.attn_q.weight" */
    const struct gguf_tensor *a, *b;
    uint32_t rank;
};

struct lora_file {
    const struct gguf_file *f; /* borrowed */
    enum model_arch arch;
    float alpha;
    struct model_cut cut;        /* part MODEL_WHOLE: belongs to no cut */
    struct lora_target *targets; /* by name */
    size_t n_targets;
};

/* Checks everything above; f must outlive *ret. */
int lora_file_read(struct lora_file *ret, const struct gguf_file *f, struct error *err);
void lora_file_done(struct lora_file *l);

/* For writing: a is [rank][n_in], b is [n_out][rank], row after row. */
struct lora_matrix {
    const char *name;
    uint32_t rank;
    int64_t n_in, n_out;
    const float *a, *b;
};
/* cut (may be NULL): of the half that was trained. Tensors are F32. */
int lora_file_write(const char *path, enum model_arch arch, float alpha, const struct model_cut *cut,
    const struct lora_matrix *matrices, size_t n, struct error *err);

struct lora_fold {
    enum ggml_type type; /* of folded matrices; GGML_TYPE_COUNT: the type that each has */
    uint32_t n_threads;  /* 0: the machine's cores */
};

struct lora_folded {
    size_t n_folded, n_elsewhere; /* targets; elsewhere: in the other half */
    double change_sumsq;          /* of (alpha / rank) B A, over all folded matrices */
    struct convert_loss
        loss; /* of rounding the sum to its type: once error_sumsq reaches change_sumsq, the adapter drowns */
};

/* Writes the base with these adapters folded in, one after another. The base may be whole or a half: targets that the
 * other half holds are left to it; an adapter of another cut, or of the other half, is refused by name. A half takes over
 * step and run of its adapter, so that only halves with adapters of one step fit together again. */
int model_merge_lora(const struct gguf_file *base, const struct lora_file *const *adapters, size_t n,
    const struct lora_fold *fold, const char *path, struct lora_folded *ret, const struct gguf_progress *progress,
    struct error *err);

#endif
