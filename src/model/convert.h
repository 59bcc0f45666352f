/* Streaming a tensor from one file into another, changing its type or its values on the way: rows become floats, may be
 * changed, become rows of the new type, and are written; by several threads, a few megabytes at a time. Used wherever
 * weights are rewritten (quantising, folding adapters in, growing). One owner, one call at a time. */
#ifndef MERIDIAN_MODEL_CONVERT_H
#define MERIDIAN_MODEL_CONVERT_H

#include "base/error.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"

#include <stdbool.h>
#include <stdint.h>

struct convert;

int convert_create(struct convert **ret, uint32_t n_threads /* 0: the machine's cores */, struct error *err);
void convert_free(struct convert *c);

/* Changes rows [row, row + n) of ne[0] floats each, counted over all dimensions; called by several threads at once. */
typedef void convert_change_fn(void *ctx, int64_t row, int64_t n, float *rows);

/* What rounding to the new type took away, summed over elements. */
struct convert_loss {
    double error_sumsq, value_sumsq;
    uint64_t n;
};

/* Writes tensor t as type `to` into w (which must stand at the start of that tensor). `change` may be NULL; where the
 * type stays too, the bytes are copied. `loss` (may be NULL) is added to. -EINVAL: values that are not finite; -ERANGE:
 * too large for F16; -ENOTSUP: a type that cannot be written or a row that it cannot pack. */
int convert_tensor(struct convert *c, struct gguf_write *w, const struct gguf_tensor *t, enum ggml_type to,
    convert_change_fn *change, void *ctx, struct convert_loss *loss, struct error *err);

/* n elements (whole blocks) as floats. The type must have passed model_params_read (or be F32). */
void convert_to_floats(enum ggml_type type, const void *from, float *to, int64_t n);

/* Types that weights can be written as: F32, F16, BF16 and the quantised ones that need no importance matrix. */
bool convert_can_write(enum ggml_type type);

#endif
