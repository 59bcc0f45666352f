/* A GGUF file, mapped read-only and checked whole before anybody trusts it.
 *
 * Opening checks everything that later code relies on: magic and version, every length against the bytes that are
 * there, key and tensor names (unique, bounded), types, dimensions (no overflow), alignment, and that each tensor's
 * data lies inside the file without overlap. A truncated, corrupt or hostile file gets one clear error; memory used
 * is bounded by a small multiple of the file's own size. Lookups never abort: a missing key or one of another type is
 * -ENOENT / -EINVAL. Immutable after opening, so any number of threads may read one.
 * Format: the GGUF document of ggml, versions 2 and 3, little-endian; arrays of arrays are refused, as ggml does. */
#ifndef MERIDIAN_MODEL_GGUF_FILE_H
#define MERIDIAN_MODEL_GGUF_FILE_H

#include "base/error.h"

#include <ggml.h>
#include <gguf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf_file;

/* One tensor. Shapes follow ggml: ne[0] is the fastest dimension (columns), unused dimensions are 1. */
struct gguf_tensor {
    const char *name;
    enum ggml_type type;
    int n_dims;
    int64_t ne[4];
    const void *data; /* inside the map; at least alignment-aligned within the file */
    size_t size;      /* bytes */
};

/* A string inside the map: not NUL-terminated. */
struct gguf_str {
    const char *s;
    size_t len;
};

int gguf_file_open(struct gguf_file **ret, const char *path, struct error *err);
/* The same over bytes the caller keeps alive (fuzzing, tests), aligned as malloc's are. `name` is used in errors. */
int gguf_file_open_bytes(struct gguf_file **ret, const void *bytes, size_t len, const char *name, struct error *err);
void gguf_file_close(struct gguf_file *f); /* NULL allowed; every pointer handed out dies */

const char *gguf_file_name(const struct gguf_file *f); /* the path, for messages */

/* Values by key. Integers of any width convert where they fit; -ENOENT missing, -EINVAL wrong type, -ERANGE. */
int gguf_file_u32(const struct gguf_file *f, const char *key, uint32_t *ret);
int gguf_file_u64(const struct gguf_file *f, const char *key, uint64_t *ret);
int gguf_file_f32(const struct gguf_file *f, const char *key, float *ret);
int gguf_file_bool(const struct gguf_file *f, const char *key, bool *ret);
int gguf_file_str(const struct gguf_file *f, const char *key, struct gguf_str *ret);

/* Arrays: element type and count, then elements by index (out of range: -ERANGE). String access is O(1). */
int gguf_file_array(const struct gguf_file *f, const char *key, enum gguf_type *ret_type, uint64_t *ret_n);
int gguf_file_array_str(const struct gguf_file *f, const char *key, uint64_t i, struct gguf_str *ret);
/* Numeric arrays as raw little-endian elements inside the map (maybe unaligned: use base/bytes.h). */
int gguf_file_array_raw(const struct gguf_file *f, const char *key, const void **ret);

/* Iteration, for tools that copy keys. */
size_t gguf_file_n_keys(const struct gguf_file *f);
const char *gguf_file_key_at(const struct gguf_file *f, size_t i);
enum gguf_type gguf_file_key_type_at(const struct gguf_file *f, size_t i);
/* The value as it lies in the file, behind its type (an array: element type, count, elements): copies are verbatim. */
struct gguf_str gguf_file_key_raw_at(const struct gguf_file *f, size_t i);
bool gguf_file_has_key(const struct gguf_file *f, const char *key);

size_t gguf_file_size(const struct gguf_file *f); /* bytes of the whole file */

size_t gguf_file_n_tensors(const struct gguf_file *f);
const struct gguf_tensor *gguf_file_tensor_at(const struct gguf_file *f, size_t i);
const struct gguf_tensor *gguf_file_tensor(const struct gguf_file *f, const char *name); /* NULL: not there */

#endif
