/* What gguf_file.c parses and gguf_lookup.c reads; nobody else includes this. */
#ifndef MERIDIAN_MODEL_GGUF_INNER_H
#define MERIDIAN_MODEL_GGUF_INNER_H

#include "model/gguf_file.h"
#include "os/file.h"

struct gguf_key {
    char *name;
    enum gguf_type type;
    enum gguf_type elem;     /* of an array */
    uint64_t n;              /* elements; 1 for a scalar */
    struct gguf_str raw;     /* everything behind the type */
    const uint8_t *elements; /* the first element, or the scalar; a string starts with its length */
    uint64_t *at;            /* string arrays: where each string's length lies, from `elements` */
};

struct gguf_file {
    char *name;
    struct file_map map; /* .data NULL when the bytes are the caller's */
    const uint8_t *bytes;
    size_t size;
    struct gguf_key *keys;
    size_t n_keys;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    uint32_t *keys_sorted, *tensors_sorted; /* by name */
};

#endif
