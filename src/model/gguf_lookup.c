/* Reading a GGUF file that gguf_file.c has checked: nothing here can leave the map. */
#include "base/bytes.h"
#include "model/gguf_inner.h"

#include <errno.h>
#include <string.h>

const char *gguf_file_name(const struct gguf_file *f)
{
    return f->name;
}

size_t gguf_file_size(const struct gguf_file *f)
{
    return f->size;
}

static const struct gguf_key *find_key(const struct gguf_file *f, const char *name)
{
    size_t low = 0, high = f->n_keys;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct gguf_key *k = &f->keys[f->keys_sorted[mid]];
        int order = strcmp(name, k->name);
        if (!order)
            return k;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

bool gguf_file_has_key(const struct gguf_file *f, const char *key)
{
    return find_key(f, key);
}

int gguf_file_u64(const struct gguf_file *f, const char *key, uint64_t *ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    int64_t v;
    const uint8_t *p = k->elements;
    switch (k->type) {
    case GGUF_TYPE_UINT8:
        v = p[0];
        break;
    case GGUF_TYPE_INT8:
        v = (int8_t)p[0];
        break;
    case GGUF_TYPE_UINT16:
        v = bytes_get_u16(p);
        break;
    case GGUF_TYPE_INT16:
        v = (int16_t)bytes_get_u16(p);
        break;
    case GGUF_TYPE_UINT32:
        v = bytes_get_u32(p);
        break;
    case GGUF_TYPE_INT32:
        v = (int32_t)bytes_get_u32(p);
        break;
    case GGUF_TYPE_INT64:
        v = (int64_t)bytes_get_u64(p);
        break;
    case GGUF_TYPE_UINT64:
        *ret = bytes_get_u64(p);
        return 0;
    default:
        return -EINVAL;
    }
    if (v < 0)
        return -ERANGE;
    *ret = (uint64_t)v;
    return 0;
}

int gguf_file_u32(const struct gguf_file *f, const char *key, uint32_t *ret)
{
    uint64_t v;
    int rc = gguf_file_u64(f, key, &v);
    if (!rc && v > UINT32_MAX)
        rc = -ERANGE;
    if (!rc)
        *ret = (uint32_t)v;
    return rc;
}

int gguf_file_f32(const struct gguf_file *f, const char *key, float *ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type == GGUF_TYPE_FLOAT32)
        *ret = bytes_get_f32(k->elements);
    else if (k->type == GGUF_TYPE_FLOAT64)
        *ret = (float)bytes_get_f64(k->elements);
    else
        return -EINVAL;
    return 0;
}

int gguf_file_bool(const struct gguf_file *f, const char *key, bool *ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type != GGUF_TYPE_BOOL)
        return -EINVAL;
    *ret = k->elements[0] != 0;
    return 0;
}

/* A string whose length lies at p, inside the map: checked when the file was opened. */
static struct gguf_str str_at(const uint8_t *p)
{
    return (struct gguf_str){(const char *)p + 8, (size_t)bytes_get_u64(p)};
}

int gguf_file_str(const struct gguf_file *f, const char *key, struct gguf_str *ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type != GGUF_TYPE_STRING)
        return -EINVAL;
    *ret = str_at(k->elements);
    return 0;
}

int gguf_file_array(const struct gguf_file *f, const char *key, enum gguf_type *ret_type, uint64_t *ret_n)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type != GGUF_TYPE_ARRAY)
        return -EINVAL;
    *ret_type = k->elem;
    *ret_n = k->n;
    return 0;
}

int gguf_file_array_str(const struct gguf_file *f, const char *key, uint64_t i, struct gguf_str *ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type != GGUF_TYPE_ARRAY || k->elem != GGUF_TYPE_STRING)
        return -EINVAL;
    if (i >= k->n)
        return -ERANGE;
    *ret = str_at(k->elements + k->at[i]);
    return 0;
}

int gguf_file_array_raw(const struct gguf_file *f, const char *key, const void **ret)
{
    const struct gguf_key *k = find_key(f, key);
    if (!k)
        return -ENOENT;
    if (k->type != GGUF_TYPE_ARRAY || k->elem == GGUF_TYPE_STRING)
        return -EINVAL;
    *ret = k->elements;
    return 0;
}

size_t gguf_file_n_keys(const struct gguf_file *f)
{
    return f->n_keys;
}

const char *gguf_file_key_at(const struct gguf_file *f, size_t i)
{
    return i < f->n_keys ? f->keys[i].name : NULL;
}

enum gguf_type gguf_file_key_type_at(const struct gguf_file *f, size_t i)
{
    return i < f->n_keys ? f->keys[i].type : GGUF_TYPE_COUNT;
}

struct gguf_str gguf_file_key_raw_at(const struct gguf_file *f, size_t i)
{
    return i < f->n_keys ? f->keys[i].raw : (struct gguf_str){"", 0};
}

size_t gguf_file_n_tensors(const struct gguf_file *f)
{
    return f->n_tensors;
}

const struct gguf_tensor *gguf_file_tensor_at(const struct gguf_file *f, size_t i)
{
    return i < f->n_tensors ? &f->tensors[i] : NULL;
}

const struct gguf_tensor *gguf_file_tensor(const struct gguf_file *f, const char *name)
{
    size_t low = 0, high = f->n_tensors;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct gguf_tensor *t = &f->tensors[f->tensors_sorted[mid]];
        int order = strcmp(name, t->name);
        if (!order)
            return t;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}
