/* A new model with random weights, as a GGUF that this program and llama.cpp load.
 *
 * Weights are a pure function of (seed, tensor name, place): normal with deviation 0.02, the two projections that write
 * into the residual stream scaled down by sqrt(2 n_block); norms 1, biases 0. The noise is made with integers only, so
 * the same seed gives the same bytes on every machine. */
#ifndef MERIDIAN_MODEL_INIT_H
#define MERIDIAN_MODEL_INIT_H

#include "base/error.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

/* The vocabulary: every tokenizer.* key of `from`; or tokens and merges as lists (byte-level BPE, as bpe_train makes
 * them); or, with neither, 256 byte tokens and <|endoftext|>, <|im_start|>, <|im_end|>. All pointers are borrowed. */
struct model_init_vocab {
    const struct gguf_file *from;
    const struct gguf_str *tokens, *merges; /* a merge is "left right" */
    const int32_t *types;                   /* tokenizer.ggml.token_type: 1 normal, 3 control; NULL: all normal */
    uint64_t n_tokens, n_merges;
    const char *pre;           /* pre-tokenizer; NULL: "gpt-2" */
    int32_t bos, eos;          /* -1: none */
    const char *chat_template; /* Jinja; NULL: none */
};

struct model_init {
    enum model_arch arch;
    uint32_t d, n_block, n_head, n_head_kv, d_ff;
    uint32_t head_dim; /* 0: d / n_head */
    uint32_t n_ctx;    /* 0: 2048 */
    uint32_t n_vocab;  /* 0: as many as tokens; more: unused tokens [PADn] are added */
    float rope_base;   /* 0: 10000 */
    float eps;         /* 0: 1e-5 */
    float std;         /* 0: 0.02 */
    bool tied;
    bool qkv_bias;   /* llama only; qwen2 always has them */
    bool rope_freqs; /* with rope_freqs.weight as llama3 has it: factors from 1 up to 8 */
    bool rough;      /* norms and biases random too: for tests, where a tensor that is ignored must show */
    uint64_t seed;
    enum ggml_type type; /* of matrices: GGML_TYPE_F32 (0), F16 or BF16 */
    const char *name;    /* general.name; NULL: none */
    struct model_init_vocab vocab;
};

/* -EINVAL with one sentence for sizes that do not fit together. */
int model_init(const struct model_init *cfg, const char *path, const struct gguf_progress *progress, struct error *err);

/* Standard normal noise (sum of eight uniform 16-bit numbers), a pure function of (key, counter). */
float model_noise(uint64_t key, uint64_t counter);
/* A key for a named thing under a seed. */
uint64_t model_noise_key(uint64_t seed, const char *name);

#endif
