/* What is in this file, will it run here, and what would a cut cost: for `meridian model inspect`.
 *
 * A file that we do not run still has facts (architecture, types, sizes); `why_not` then says why. Costs of a cut are
 * exact for weights and vectors; KV is as infer keeps it (f16 keys and values). "Edge" is the campus, "cloud" the middle.
 * A vector row on the wire is a header of 4 bytes and d numbers: f32 4d, f16 2d, int8 d plus an f16 scale for each 32. */
#ifndef MERIDIAN_MODEL_INSPECT_H
#define MERIDIAN_MODEL_INSPECT_H

#include "base/buf.h"
#include "base/error.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

struct model_facts {
    char architecture[64], name[128]; /* printable; "" when the file does not say */
    bool runs; /* params is filled, and the vocabulary (if the file should have one) can be used */
    char why_not[512];
    struct model_params params;
    uint64_t n_weights; /* numbers, in all tensors of this file */
    uint64_t file_bytes, weight_bytes;
    struct {
        uint32_t n_tensors;
        uint64_t bytes;
    } types[GGML_TYPE_COUNT];
    char tokenizer[64], pre[64]; /* tokenizer.ggml.model and .pre; "" in a cloud half */
    uint64_t n_tokens;
    char chat[32];                /* family of the chat template; "none" */
    struct gguf_file const *file; /* borrowed */
};

/* Never fails for what a file holds, only -ENOMEM. */
int model_inspect(struct model_facts *ret, const struct gguf_file *f, struct error *err);

enum { CUT_F32, CUT_F16, CUT_INT8, CUT_N_CODECS };

struct model_cut_cost {
    uint32_t head, tail;
    uint64_t edge_bytes, cloud_bytes; /* weights */
    uint64_t edge_kv, cloud_kv;       /* bytes of keys and values for 1024 positions */
    double edge_share;                /* of the multiplications of one token, on campus (without attention) */
    uint64_t row_bytes[CUT_N_CODECS]; /* one position, one way; generation sends this each way for each token */
};

/* For a whole model: any cut. -EINVAL for one that leaves no block in the middle. For a half: its own cut; the other
 * side's bytes are 0. */
int model_cut_cost(
    struct model_cut_cost *ret, const struct model_facts *facts, uint32_t head, uint32_t tail, struct error *err);

/* Cuts worth looking at, from cheap to protective; at most 8. Returns how many. */
struct model_cut_place {
    uint32_t head, tail;
};
uint32_t model_cut_candidates(const struct model_params *p, struct model_cut_place ret[8]);

/* Training traffic: rows of one micro-batch, micro-batches of one step, whether the head is frozen (then no gradient
 * comes back to it). Bytes from the campus to the cloud and back, for one step; divide by n_micro for a micro-batch. */
struct model_train_bytes {
    uint64_t up, down;
};
struct model_train_bytes model_cut_train_bytes(
    const struct model_cut_cost *c, int codec, uint32_t rows, uint32_t n_micro, bool frozen_head);

/* Append a report. Cuts: the given one, or with cut NULL the candidates (the own cut of a half). -ENOMEM. */
int model_inspect_text(struct buf *ret, const struct model_facts *facts, const struct model_cut_place *cut);
int model_inspect_json(struct buf *ret, const struct model_facts *facts, const struct model_cut_place *cut);

#endif
