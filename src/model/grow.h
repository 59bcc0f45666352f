/* A larger model that computes the same function: for measuring large shapes with weights that say sensible things.
 *
 * Width: the residual stream becomes [x, 0]. RMS norm over D instead of d channels sees the mean shrink by d/D, so norm
 * weights are multiplied by sqrt(d/D) and eps by d/D (exact where D/d is a power of four; else one rounding). The width
 * of a head stays, and with it rotation and attention scale; new heads and new feed-forward units give exactly zero
 * because their values, respectively their "up" rows, are zero. New blocks are spread among the old ones and add zero
 * for the same reason. Everywhere else where a weight only ever meets zeros it is noise, so kernels and quantisers see
 * ordinary numbers. Nothing else changes: logits are the original's up to rounding of sums (and, in qwen3, whose head
 * norms share eps, up to the change of eps against a head's mean square). */
#ifndef MERIDIAN_MODEL_GROW_H
#define MERIDIAN_MODEL_GROW_H

#include "base/error.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"

#include <stdint.h>

/* 0 keeps what the model has. Each may only grow; heads for each key/value head may grow, not shrink. */
struct model_grow {
    uint32_t d, n_block, n_head, n_head_kv, d_ff;
    enum ggml_type type; /* of matrices: F32 (0), F16 or BF16 */
    uint64_t seed;
};

int model_grow(const struct gguf_file *f, const struct model_grow *g, const char *path,
    const struct gguf_progress *progress, struct error *err);

#endif
