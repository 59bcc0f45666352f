/* The idea: one pass over the map with a cursor that cannot leave it, then two sorted indexes.
 *
 * Every length in the file is compared with the bytes that are left before it is used, so counts and sizes written by
 * an enemy cost at most the file's own size. Names are copied (callers want C strings); values stay where they are and
 * only string arrays get a table of offsets. Lookup is a binary search over sorted names: unlike a hash table it has no
 * worst case that a file could choose. ggml is asked for nothing but the sizes of its types. */
#include "base/bytes.h"
#include "model/gguf_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_KEYS = 1 << 16,
    MOST_TENSORS = 1 << 20,
    MOST_KEY_LEN = 65535, /* the GGUF document */
    MOST_ALIGNMENT = 1 << 20,
};

struct cursor {
    const uint8_t *p;
    size_t len, at;
    const char *name; /* of the file, for errors */
    struct error *err;
};

static size_t left(const struct cursor *c)
{
    return c->len - c->at;
}

static int truncated(struct cursor *c, const char *what)
{
    return error_set(
        c->err, EINVAL, "%s: the file ends inside %s; it is truncated or corrupt: get it again", c->name, what);
}

static int take(struct cursor *c, size_t n, const char *what, const uint8_t **ret)
{
    if (left(c) < n)
        return truncated(c, what);
    *ret = c->p + c->at;
    c->at += n;
    return 0;
}

static int take_u32(struct cursor *c, const char *what, uint32_t *ret)
{
    const uint8_t *p;
    int rc = take(c, 4, what, &p);
    if (!rc)
        *ret = bytes_get_u32(p);
    return rc;
}

static int take_u64(struct cursor *c, const char *what, uint64_t *ret)
{
    const uint8_t *p;
    int rc = take(c, 8, what, &p);
    if (!rc)
        *ret = bytes_get_u64(p);
    return rc;
}

static int take_str(struct cursor *c, const char *what, struct gguf_str *ret)
{
    uint64_t n;
    int rc = take_u64(c, what, &n);
    if (rc)
        return rc;
    if (n > left(c))
        return truncated(c, what);
    *ret = (struct gguf_str){(const char *)c->p + c->at, (size_t)n};
    c->at += (size_t)n;
    return 0;
}

/* No zero byte (two names could look like one), no control characters (names are shown to people). */
static bool printable(struct gguf_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)s.s[i] < 0x20 || s.s[i] == 0x7f)
            return false;
    return true;
}

/* A name, copied. */
static int take_name(struct cursor *c, const char *what, size_t most, char **ret)
{
    struct gguf_str s;
    int rc = take_str(c, what, &s);
    if (rc)
        return rc;
    if (s.len < 1 || s.len > most || !printable(s))
        return error_set(c->err, EINVAL,
            "%s: %s is empty, too long or has control characters in it; the file is corrupt", c->name, what);
    char *copy = malloc(s.len + 1);
    if (!copy)
        return error_set(c->err, ENOMEM, "%s: out of memory", c->name);
    memcpy(copy, s.s, s.len);
    copy[s.len] = 0;
    *ret = copy;
    return 0;
}

/* Bytes of one element; 0 for strings, arrays and what is no type. */
static size_t scalar_size(uint32_t type)
{
    static const uint8_t sizes[GGUF_TYPE_COUNT] = {
        [GGUF_TYPE_UINT8] = 1,
        [GGUF_TYPE_INT8] = 1,
        [GGUF_TYPE_BOOL] = 1,
        [GGUF_TYPE_UINT16] = 2,
        [GGUF_TYPE_INT16] = 2,
        [GGUF_TYPE_UINT32] = 4,
        [GGUF_TYPE_INT32] = 4,
        [GGUF_TYPE_FLOAT32] = 4,
        [GGUF_TYPE_UINT64] = 8,
        [GGUF_TYPE_INT64] = 8,
        [GGUF_TYPE_FLOAT64] = 8,
    };
    return type < GGUF_TYPE_COUNT ? sizes[type] : 0;
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static int parse_strings(struct cursor *c, struct gguf_key *k)
{
    if (k->n > left(c) / 8)
        return truncated(c, k->name);
    k->at = malloc(k->n ? (size_t)k->n * sizeof(*k->at) : 1);
    if (!k->at)
        return error_set(c->err, ENOMEM, "%s: out of memory", c->name);
    size_t start = c->at;
    for (uint64_t i = 0; i < k->n; i++) {
        struct gguf_str s;
        k->at[i] = c->at - start;
        int rc = take_str(c, k->name, &s);
        if (rc)
            return rc;
    }
    return 0;
}

static int parse_value(struct cursor *c, struct gguf_key *k, enum gguf_type type)
{
    const uint8_t *p;
    struct gguf_str s;
    k->elements = c->p + c->at;
    if (type == GGUF_TYPE_STRING)
        return k->type == GGUF_TYPE_ARRAY ? parse_strings(c, k) : take_str(c, k->name, &s);
    size_t size = scalar_size(type);
    if (!size)
        return error_set(c->err, EINVAL,
            "%s: key %s has a type that GGUF does not know; the file is corrupt or newer than this program", c->name,
            k->name);
    if (k->n > left(c) / size)
        return truncated(c, k->name);
    return take(c, (size_t)k->n * size, k->name, &p);
}

static int parse_key(struct cursor *c, struct gguf_key *k)
{
    uint32_t type, elem;
    int rc = take_name(c, "a key's name", MOST_KEY_LEN, &k->name);
    if (!rc)
        rc = take_u32(c, k->name, &type);
    if (rc)
        return rc;
    k->type = type < GGUF_TYPE_COUNT ? (enum gguf_type)type : GGUF_TYPE_COUNT;
    k->n = 1;
    size_t start = c->at;
    if (type != GGUF_TYPE_ARRAY) {
        rc = parse_value(c, k, k->type);
    } else {
        rc = take_u32(c, k->name, &elem);
        if (!rc)
            rc = take_u64(c, k->name, &k->n);
        if (rc)
            return rc;
        k->elem = elem < GGUF_TYPE_COUNT ? (enum gguf_type)elem : GGUF_TYPE_COUNT;
        rc = parse_value(c, k, k->elem);
    }
    k->raw = (struct gguf_str){(const char *)c->p + start, c->at - start};
    return rc;
}

static int parse_keys(struct cursor *c, struct gguf_file *f, uint64_t n)
{
    if (n > MOST_KEYS || n > left(c) / 13)
        return error_set(
            c->err, EINVAL, "%s: says that it has %" PRIu64 " keys, more than fit; the file is corrupt", c->name, n);
    f->keys = calloc(n ? (size_t)n : 1, sizeof(*f->keys));
    if (!f->keys)
        return error_set(c->err, ENOMEM, "%s: out of memory", c->name);
    for (uint64_t i = 0; i < n; i++) {
        f->n_keys++; /* counted first: a half-read key is freed too */
        int rc = parse_key(c, &f->keys[i]);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- tensors ------------------------------------------------------------------------------------------------- */

static int parse_shape(struct cursor *c, struct gguf_tensor *t)
{
    uint32_t n_dims;
    int rc = take_u32(c, t->name, &n_dims);
    if (rc)
        return rc;
    if (n_dims < 1 || n_dims > 4)
        return error_set(c->err, EINVAL,
            "%s: tensor %s has %" PRIu32 " dimensions instead of 1 to 4; the file is corrupt", c->name, t->name,
            n_dims);
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t ne = 1;
        rc = i < n_dims ? take_u64(c, t->name, &ne) : 0;
        if (rc)
            return rc;
        if (ne < 1 || ne > INT64_MAX)
            return error_set(c->err, EINVAL, "%s: tensor %s has a dimension of %" PRIu64 "; the file is corrupt",
                c->name, t->name, ne);
        t->ne[i] = (int64_t)ne;
    }
    return 0;
}

/* Bytes of the data, without overflow. */
static int tensor_size(struct cursor *c, struct gguf_tensor *t, uint32_t type)
{
    const struct ggml_type_traits *traits = type < GGML_TYPE_COUNT ? ggml_get_type_traits((enum ggml_type)type) : NULL;
    if (!traits || !traits->type_size || traits->blck_size < 1)
        return error_set(c->err, ENOTSUP, "%s: tensor %s has type %" PRIu32 ", which this build of ggml does not know",
            c->name, t->name, type);
    t->type = (enum ggml_type)type;
    if (t->ne[0] % traits->blck_size)
        return error_set(c->err, EINVAL,
            "%s: tensor %s has rows of %" PRId64 ", not a multiple of the %" PRId64
            " that %s packs; the file is corrupt",
            c->name, t->name, t->ne[0], traits->blck_size, traits->type_name);
    uint64_t size = (uint64_t)(t->ne[0] / traits->blck_size);
    bool over = __builtin_mul_overflow(size, traits->type_size, &size);
    for (int i = 1; i < 4; i++)
        over |= __builtin_mul_overflow(size, (uint64_t)t->ne[i], &size);
    if (over || size > c->len)
        return error_set(c->err, EINVAL,
            "%s: tensor %s is larger than the file; it is truncated or corrupt: get it again", c->name, t->name);
    t->size = (size_t)size;
    return 0;
}

/* Reads one description; *ret_offset is where its data lies, from the start of the data. */
static int parse_tensor(struct cursor *c, struct gguf_tensor *t, uint64_t *ret_offset)
{
    char *name;
    uint32_t type;
    int rc = take_name(c, "a tensor's name", GGML_MAX_NAME - 1, &name);
    if (rc)
        return rc;
    t->name = name;
    rc = parse_shape(c, t);
    if (!rc)
        rc = take_u32(c, t->name, &type);
    if (!rc)
        rc = take_u64(c, t->name, ret_offset);
    return rc ? rc : tensor_size(c, t, type);
}

static int read_alignment(struct cursor *c, const struct gguf_file *f, size_t *ret)
{
    uint32_t a = GGUF_DEFAULT_ALIGNMENT;
    for (size_t i = 0; i < f->n_keys; i++)
        if (!strcmp(f->keys[i].name, GGUF_KEY_GENERAL_ALIGNMENT))
            a = f->keys[i].type == GGUF_TYPE_UINT32 ? bytes_get_u32(f->keys[i].elements) : 0;
    if (a < 8 || a > MOST_ALIGNMENT || (a & (a - 1)))
        return error_set(c->err, EINVAL,
            "%s: general.alignment is not a power of two from 8 to %d; the file is corrupt", c->name, MOST_ALIGNMENT);
    *ret = a;
    return 0;
}

/* Gives each tensor its place in the file. c stands behind the last description. */
static int place_tensors(struct cursor *c, struct gguf_file *f, const uint64_t *offsets)
{
    size_t alignment = 0;
    int rc = read_alignment(c, f, &alignment);
    if (rc || !f->n_tensors)
        return rc;
    if (c->at > SIZE_MAX - alignment)
        return truncated(c, "its tensor data");
    size_t start = (c->at + alignment - 1) & ~(alignment - 1);
    for (size_t i = 0; i < f->n_tensors; i++) {
        struct gguf_tensor *t = &f->tensors[i];
        if (offsets[i] % alignment)
            return error_set(c->err, EINVAL, "%s: tensor %s is not aligned to %zu bytes; the file is corrupt", c->name,
                t->name, alignment);
        if (start > c->len || offsets[i] > c->len - start || t->size > c->len - start - offsets[i])
            return error_set(c->err, EINVAL,
                "%s: the data of tensor %s lies beyond the end of the file; it is truncated: get it again", c->name,
                t->name);
        t->data = c->p + start + (size_t)offsets[i];
    }
    return 0;
}

static int parse_tensors(struct cursor *c, struct gguf_file *f, uint64_t n)
{
    if (n > MOST_TENSORS || n > left(c) / 33)
        return error_set(
            c->err, EINVAL, "%s: says that it has %" PRIu64 " tensors, more than fit; the file is corrupt", c->name, n);
    uint64_t *offsets = calloc(n ? (size_t)n : 1, sizeof(*offsets));
    f->tensors = calloc(n ? (size_t)n : 1, sizeof(*f->tensors));
    int rc = offsets && f->tensors ? 0 : error_set(c->err, ENOMEM, "%s: out of memory", c->name);
    for (uint64_t i = 0; i < n && !rc; i++) {
        f->n_tensors++;
        rc = parse_tensor(c, &f->tensors[i], &offsets[i]);
    }
    if (!rc)
        rc = place_tensors(c, f, offsets);
    free(offsets);
    return rc;
}

/* --- the indexes --------------------------------------------------------------------------------------------- */

static int by_key_name(const void *a, const void *b, void *f)
{
    const struct gguf_key *keys = ((const struct gguf_file *)f)->keys;
    return strcmp(keys[*(const uint32_t *)a].name, keys[*(const uint32_t *)b].name);
}

static int by_tensor_name(const void *a, const void *b, void *f)
{
    const struct gguf_tensor *tensors = ((const struct gguf_file *)f)->tensors;
    return strcmp(tensors[*(const uint32_t *)a].name, tensors[*(const uint32_t *)b].name);
}

static int by_data(const void *a, const void *b, void *f)
{
    const struct gguf_tensor *tensors = ((const struct gguf_file *)f)->tensors;
    const uint8_t *x = tensors[*(const uint32_t *)a].data, *y = tensors[*(const uint32_t *)b].data;
    return x < y ? -1 : x > y;
}

static uint32_t *sorted(struct gguf_file *f, size_t n, int (*order)(const void *, const void *, void *))
{
    uint32_t *index = malloc(n ? n * sizeof(*index) : 1);
    if (!index)
        return NULL;
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)i;
    qsort_r(index, n, sizeof(*index), order, f);
    return index;
}

static int check_overlap(struct gguf_file *f, struct error *err)
{
    uint32_t *index = sorted(f, f->n_tensors, by_data);
    if (!index)
        return error_set(err, ENOMEM, "%s: out of memory", f->name);
    int rc = 0;
    for (size_t i = 1; i < f->n_tensors && !rc; i++) {
        const struct gguf_tensor *a = &f->tensors[index[i - 1]], *b = &f->tensors[index[i]];
        if ((const uint8_t *)a->data + a->size > (const uint8_t *)b->data)
            rc = error_set(err, EINVAL, "%s: the data of tensors %s and %s overlap; the file is corrupt", f->name,
                a->name, b->name);
    }
    free(index);
    return rc;
}

static int index_keys(struct gguf_file *f, struct error *err)
{
    f->keys_sorted = sorted(f, f->n_keys, by_key_name);
    if (!f->keys_sorted)
        return error_set(err, ENOMEM, "%s: out of memory", f->name);
    for (size_t i = 1; i < f->n_keys; i++) {
        const char *name = f->keys[f->keys_sorted[i]].name;
        if (!strcmp(f->keys[f->keys_sorted[i - 1]].name, name))
            return error_set(err, EINVAL, "%s: key %.64s appears twice; the file is corrupt", f->name, name);
    }
    return 0;
}

static int index_tensors(struct gguf_file *f, struct error *err)
{
    f->tensors_sorted = sorted(f, f->n_tensors, by_tensor_name);
    if (!f->tensors_sorted)
        return error_set(err, ENOMEM, "%s: out of memory", f->name);
    for (size_t i = 1; i < f->n_tensors; i++) {
        const char *name = f->tensors[f->tensors_sorted[i]].name;
        if (!strcmp(f->tensors[f->tensors_sorted[i - 1]].name, name))
            return error_set(err, EINVAL, "%s: tensor %s appears twice; the file is corrupt", f->name, name);
    }
    return check_overlap(f, err);
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static int parse_version(struct cursor *c)
{
    const uint8_t *magic;
    uint32_t version;
    if (c->len < 4 || memcmp(c->p, GGUF_MAGIC, 4))
        return error_set(c->err, EINVAL, "%s: not a GGUF file; give a model in GGUF form", c->name);
    int rc = take(c, 4, "its header", &magic);
    if (!rc)
        rc = take_u32(c, "its header", &version);
    if (rc)
        return rc;
    if (!(version & 0xffff))
        return error_set(c->err, ENOTSUP, "%s: a big-endian GGUF file; convert it to little-endian", c->name);
    if (version != 2 && version != 3)
        return error_set(c->err, ENOTSUP, "%s: GGUF version %" PRIu32 "; only 2 and 3 can be read: convert the file",
            c->name, version);
    return 0;
}

static int parse(struct gguf_file *f, struct error *err)
{
    struct cursor c = {f->bytes, f->size, 0, f->name, err};
    uint64_t n_tensors, n_keys;
    int rc = parse_version(&c);
    if (!rc)
        rc = take_u64(&c, "its header", &n_tensors);
    if (!rc)
        rc = take_u64(&c, "its header", &n_keys);
    if (!rc)
        rc = parse_keys(&c, f, n_keys);
    if (!rc)
        rc = index_keys(f, err);
    if (!rc)
        rc = parse_tensors(&c, f, n_tensors);
    return rc ? rc : index_tensors(f, err);
}

/* Takes over the map, also when it fails. */
static int open_map(
    struct gguf_file **ret, struct file_map map, const uint8_t *bytes, size_t len, const char *name, struct error *err)
{
    struct gguf_file *f = calloc(1, sizeof(*f));
    if (!f) {
        file_map_close(&map);
        return error_set(err, ENOMEM, "%s: out of memory", name);
    }
    f->map = map;
    f->bytes = bytes;
    f->size = len;
    f->name = strdup(name);
    int rc = f->name ? parse(f, err) : error_set(err, ENOMEM, "%s: out of memory", name);
    if (rc)
        gguf_file_close(f);
    else
        *ret = f;
    return rc;
}

int gguf_file_open(struct gguf_file **ret, const char *path, struct error *err)
{
    struct file_map map;
    int rc = file_map_open(&map, path, err);
    return rc ? rc : open_map(ret, map, map.data, map.size, path, err);
}

int gguf_file_open_bytes(struct gguf_file **ret, const void *bytes, size_t len, const char *name, struct error *err)
{
    return open_map(ret, (struct file_map){0}, bytes, len, name, err);
}

void gguf_file_close(struct gguf_file *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n_keys; i++) {
        free(f->keys[i].name);
        free(f->keys[i].at);
    }
    for (size_t i = 0; i < f->n_tensors; i++)
        free((char *)f->tensors[i].name);
    free(f->keys);
    free(f->tensors);
    free(f->keys_sorted);
    free(f->tensors_sorted);
    file_map_close(&f->map);
    free(f->name);
    free(f);
}
