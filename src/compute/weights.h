/* The weights of a span as ggml tensors: repacked copies where this machine has faster kernels for the type, otherwise
 * used where the file is mapped. Norms and biases are plain floats. */
#ifndef MERIDIAN_COMPUTE_WEIGHTS_H
#define MERIDIAN_COMPUTE_WEIGHTS_H

#include "base/error.h"
#include "compute/cpu.h"
#include "compute/infer.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdint.h>

/* A matrix, and the least number of columns it must be multiplied with (columns.h). */
struct weight {
    struct ggml_tensor *t;
    uint32_t least;
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
};

/* `f` must outlive it. */
int weights_load(struct weights *ret, const struct cpu *cpu, const struct gguf_file *f, const struct model_params *p,
    struct span span, struct error *err);
void weights_done(struct weights *w); /* {0} allowed */

#endif
