/* Small random models for tests and measurements of compute: written as a GGUF file with ggml's own writer, so that
 * nothing of ours stands on both sides. */
#ifndef MERIDIAN_COMPUTE_MODEL_TESTING_H
#define MERIDIAN_COMPUTE_MODEL_TESTING_H

#include "model/gguf_file.h"
#include "model/params.h"

#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

struct model_testing {
    enum model_arch arch;
    enum ggml_type type; /* of the matrices; what does not fit its blocks becomes F16 */
    uint32_t n_block, d, n_head, n_head_kv, head_dim, d_ff, n_vocab, n_ctx, window,
        rope_dims;       /* 0: no window, all dims */
    uint32_t head, tail; /* both 0: uncut params; else the cut is put into the params, the file stays whole */
    bool untied;
    const char *rope_scaling; /* NULL, "linear", "yarn" */
    float rope_factor;
    uint64_t seed;
    bool alike; /* all blocks hold the first one's numbers: large models are made quickly */
};

struct model_testing model_testing_default(void); /* llama, F32, 3 blocks, 64 wide */

/* Writes it into a temporary file that is gone when closed. Asserts on failure: for tests only. */
struct gguf_file *model_testing_open(const struct model_testing *m, struct model_params *ret_params);

#endif
