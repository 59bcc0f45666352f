/* Writing a GGUF file (version 3) as a stream: keys and tensor descriptions first, then each tensor's data in the order
 * described, in pieces of any size. No more than the metadata is held in memory, and the file appears under its name only
 * when it is whole (os/file.h). Keys copied from another file stay as they are, byte for byte.
 *
 *   gguf_write_create → keys, tensors → gguf_write_open → gguf_write_data … → gguf_write_commit → gguf_write_free
 *
 * Setting keys and tensors cannot fail at the call: running out of memory or a name that is too long is remembered and
 * returned by gguf_write_open. Setting a key again replaces its value in place. */
#ifndef MERIDIAN_MODEL_GGUF_WRITE_H
#define MERIDIAN_MODEL_GGUF_WRITE_H

#include "base/error.h"
#include "model/gguf_file.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct gguf_write;

/* Called now and then from the working thread with bytes of tensor data done; NULL where nobody watches. */
struct gguf_progress {
    void (*at)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

int gguf_write_create(struct gguf_write **ret, struct error *err);
void gguf_write_free(struct gguf_write *w); /* NULL allowed; what was not committed is abandoned */

void gguf_write_u32(struct gguf_write *w, const char *key, uint32_t v);
void gguf_write_u64(struct gguf_write *w, const char *key, uint64_t v);
void gguf_write_f32(struct gguf_write *w, const char *key, float v);
void gguf_write_bool(struct gguf_write *w, const char *key, bool v);
void gguf_write_str(struct gguf_write *w, const char *key, const char *s);
void gguf_write_strs(struct gguf_write *w, const char *key, const struct gguf_str *s, uint64_t n);
/* n elements of a numeric type, in the machine's (little-endian) form. */
void gguf_write_array(struct gguf_write *w, const char *key, enum gguf_type type, const void *elements, uint64_t n);
/* Every key i of f for which keep (NULL: all) is true, in f's order, verbatim. For a writer that has none of them yet. */
typedef bool gguf_keep_fn(const void *ctx, const struct gguf_file *f, size_t i);
void gguf_write_keys_of(struct gguf_write *w, const struct gguf_file *f, gguf_keep_fn *keep, const void *ctx);
void gguf_write_drop(struct gguf_write *w, const char *key); /* forget a key, if there */

/* Describes the next tensor; ne[0] must be a multiple of the type's block. Names must differ (not checked here). */
void gguf_write_tensor(struct gguf_write *w, const char *name, enum ggml_type type, int n_dims, const int64_t ne[4]);
void gguf_write_tensor_like(struct gguf_write *w, const struct gguf_tensor *t);

/* Writes keys and descriptions into a temporary file beside `path`. */
int gguf_write_open(
    struct gguf_write *w, const char *path, mode_t mode, const struct gguf_progress *progress, struct error *err);
/* The next bytes of tensor data: must not reach beyond the current tensor. Padding is put between tensors here. */
int gguf_write_data(struct gguf_write *w, const void *bytes, size_t len, struct error *err);
/* All data must have been given. The file is under its name, whole and synced, when this returns 0. */
int gguf_write_commit(struct gguf_write *w, struct error *err);

#endif
