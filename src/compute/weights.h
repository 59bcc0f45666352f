/* The weights of a span: packed for our own kernels where they take the type (matrix.h); else as ggml tensors, repacked
 * where ggml has faster kernels for that, otherwise used where the file is mapped. Norms and biases are plain floats. */
#ifndef MERIDIAN_COMPUTE_WEIGHTS_H
#define MERIDIAN_COMPUTE_WEIGHTS_H

#include "base/error.h"
#include "compute/cpu.h"
#include "compute/infer.h"
#include "compute/matrix.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdint.h>

struct weight {
    struct matrix m;       /* ours, or m.data is NULL and */
    struct ggml_tensor *t; /* ggml's, and */
    uint32_t least;        /* the least number of columns it must be multiplied with (columns.h) */
};

struct weights_block {
    struct weight q, k, v, o, gate, up, down;
    const float *attn_norm, *ffn_norm;     /* [d] */
    const float *q_bias, *k_bias, *v_bias; /* [n], [k], [k]; NULL without qkv_bias */
    const float *q_norm, *k_norm;          /* [head_dim]; NULL without qk_norm */
};

struct weights {
    struct weights_block *blocks;    /* [span.last - span.first] */
    const struct gguf_tensor *embed; /* rows are turned into floats one at a time; NULL without span.embed */
    const float *out_norm;           /* [d]; NULL without span.output */
    struct weight out;
    const float *rope_freqs; /* [rope_dims / 2] or NULL */
    uint64_t bytes;          /* all of the above */
    uint32_t most_least;     /* the largest `least` */

    struct ggml_context *ctx;
    ggml_backend_buffer_t *buffers;
    uint32_t n_buffers;
    float *floats;
    uint8_t *packed; /* mapped; all of ours */
    uint64_t packed_size;
};

/* `f` must outlive it. Packs on n_threads threads. */
int weights_load(struct weights *ret, const struct cpu *cpu, const struct gguf_file *f, const struct model_params *p,
    struct span span, uint32_t n_threads, struct error *err);
void weights_done(struct weights *w); /* {0} allowed */

#endif
