/* For tests and measurements: a small model of any family and type with noise for weights, written as a GGUF. */
#ifndef MERIDIAN_COMPUTE_TOY_MODEL_H
#define MERIDIAN_COMPUTE_TOY_MODEL_H

#include "model/gguf_file.h"
#include "model/params.h"

struct toy_model {
    enum model_arch arch;
    uint32_t d, n_block, n_head, n_head_kv, head_dim, d_ff, n_vocab; /* head_dim 0: d / n_head */
    uint32_t window, rope_dims;                                      /* 0: none, all */
    const char *rope_scaling;                                        /* NULL, "linear", "yarn": factor 4 */
    bool tied, no_bias;                                              /* qwen2 has biases unless no_bias */
    enum ggml_type type;                                             /* of matrices; vectors are F32 */
    float noise; /* standard deviation of matrices; 0: 0.3 (large, so that every gradient is felt) */
    uint64_t seed;
};

/* Writes it into a file without a name and opens that; aborts the program when it cannot. */
struct gguf_file *toy_model_open(const struct toy_model *t, struct model_params *ret_params);

#endif
