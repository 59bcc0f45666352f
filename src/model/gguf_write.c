/* The idea: keys are kept as the bytes they will be in the file, so that copying one is a memcpy and nothing (embedded
 * zeros, empty arrays, odd widths) is lost on the way; ggml's own writer takes C strings and aborts on misuse. */
#include "model/gguf_write.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "os/file.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct wkey {
    char *name;
    enum gguf_type type;
    struct buf raw;
};

struct wtensor {
    char name[GGML_MAX_NAME];
    enum ggml_type type;
    int n_dims;
    int64_t ne[4];
    uint64_t size;
};

struct gguf_write {
    struct wkey *keys;
    size_t n_keys, cap_keys;
    struct wtensor *tensors;
    size_t n_tensors, cap_tensors;
    int rc; /* first failure while describing */
    struct file_new file;
    bool open;
    size_t alignment;
    size_t at;                       /* tensor being written */
    uint64_t in_tensor, done, total; /* bytes */
    uint64_t shown;
    struct gguf_progress progress;
};

int gguf_write_create(struct gguf_write **ret, struct error *err)
{
    struct gguf_write *w = calloc(1, sizeof(*w));
    if (!w)
        return error_set(err, ENOMEM, "out of memory");
    w->file.fd = -1;
    *ret = w;
    return 0;
}

void gguf_write_free(struct gguf_write *w)
{
    if (!w)
        return;
    if (w->open)
        file_new_abandon(&w->file);
    for (size_t i = 0; i < w->n_keys; i++) {
        free(w->keys[i].name);
        buf_done(&w->keys[i].raw);
    }
    free(w->keys);
    free(w->tensors);
    free(w);
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

static void note(struct gguf_write *w, int rc)
{
    if (rc && !w->rc)
        w->rc = rc;
}

/* Room for one more of `size` bytes each. */
static int grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return 0;
    size_t more = *cap ? 2 * *cap : 64;
    void *p = realloc(*array, more * size);
    if (!p)
        return -ENOMEM;
    *array = p;
    *cap = more;
    return 0;
}

static struct wkey *find_key(struct gguf_write *w, const char *name)
{
    for (size_t i = 0; i < w->n_keys; i++)
        if (!strcmp(w->keys[i].name, name))
            return &w->keys[i];
    return NULL;
}

static struct wkey *append_key(struct gguf_write *w, const char *name)
{
    char *copy = strdup(name);
    if (!copy || grow((void **)&w->keys, w->n_keys, &w->cap_keys, sizeof(*w->keys))) {
        free(copy);
        note(w, -ENOMEM);
        return NULL;
    }
    struct wkey *k = &w->keys[w->n_keys++];
    *k = (struct wkey){.name = copy};
    return k;
}

static void set(struct gguf_write *w, const char *name, enum gguf_type type, const void *bytes, size_t len)
{
    struct wkey *k = find_key(w, name);
    if (!k)
        k = append_key(w, name);
    if (!k)
        return;
    k->type = type;
    k->raw.len = 0;
    note(w, buf_append(&k->raw, bytes, len));
}

void gguf_write_u32(struct gguf_write *w, const char *key, uint32_t v)
{
    uint8_t p[4];
    bytes_put_u32(p, v);
    set(w, key, GGUF_TYPE_UINT32, p, sizeof(p));
}

void gguf_write_u64(struct gguf_write *w, const char *key, uint64_t v)
{
    uint8_t p[8];
    bytes_put_u64(p, v);
    set(w, key, GGUF_TYPE_UINT64, p, sizeof(p));
}

void gguf_write_f32(struct gguf_write *w, const char *key, float v)
{
    uint8_t p[4];
    bytes_put_f32(p, v);
    set(w, key, GGUF_TYPE_FLOAT32, p, sizeof(p));
}

void gguf_write_bool(struct gguf_write *w, const char *key, bool v)
{
    uint8_t p = v;
    set(w, key, GGUF_TYPE_BOOL, &p, 1);
}

static int append_u64(struct buf *b, uint64_t v)
{
    uint8_t p[8];
    bytes_put_u64(p, v);
    return buf_append(b, p, sizeof(p));
}

static int append_str(struct buf *b, const char *s, size_t len)
{
    int rc = append_u64(b, len);
    return rc ? rc : buf_append(b, s, len);
}

static int append_u32(struct buf *b, uint32_t v)
{
    uint8_t p[4];
    bytes_put_u32(p, v);
    return buf_append(b, p, sizeof(p));
}

void gguf_write_str(struct gguf_write *w, const char *key, const char *s)
{
    struct buf b = {0};
    note(w, append_str(&b, s, strlen(s)));
    set(w, key, GGUF_TYPE_STRING, b.data, b.len);
    buf_done(&b);
}

void gguf_write_strs(struct gguf_write *w, const char *key, const struct gguf_str *s, uint64_t n)
{
    struct buf b = {0};
    note(w, append_u32(&b, GGUF_TYPE_STRING));
    note(w, append_u64(&b, n));
    for (uint64_t i = 0; i < n; i++)
        note(w, append_str(&b, s[i].s, s[i].len));
    set(w, key, GGUF_TYPE_ARRAY, b.data, b.len);
    buf_done(&b);
}

static size_t element_size(enum gguf_type type)
{
    switch (type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_INT8:
    case GGUF_TYPE_BOOL:
        return 1;
    case GGUF_TYPE_UINT16:
    case GGUF_TYPE_INT16:
        return 2;
    case GGUF_TYPE_UINT32:
    case GGUF_TYPE_INT32:
    case GGUF_TYPE_FLOAT32:
        return 4;
    default:
        return 8;
    }
}

void gguf_write_array(struct gguf_write *w, const char *key, enum gguf_type type, const void *elements, uint64_t n)
{
    assert(type < GGUF_TYPE_COUNT && type != GGUF_TYPE_STRING && type != GGUF_TYPE_ARRAY);
    struct buf b = {0};
    note(w, append_u32(&b, type));
    note(w, append_u64(&b, n));
    note(w, buf_append(&b, elements, (size_t)n * element_size(type)));
    set(w, key, GGUF_TYPE_ARRAY, b.data, b.len);
    buf_done(&b);
}

void gguf_write_keys_of(struct gguf_write *w, const struct gguf_file *f, gguf_keep_fn *keep, const void *ctx)
{
    for (size_t i = 0; i < gguf_file_n_keys(f); i++) {
        const char *name = gguf_file_key_at(f, i);
        struct wkey *k = !keep || keep(ctx, f, i) ? append_key(w, name) : NULL;
        if (!k)
            continue;
        struct gguf_str raw = gguf_file_key_raw_at(f, i);
        k->type = gguf_file_key_type_at(f, i);
        note(w, buf_append(&k->raw, raw.s, raw.len));
    }
}

void gguf_write_drop(struct gguf_write *w, const char *key)
{
    struct wkey *k = find_key(w, key);
    if (!k)
        return;
    free(k->name);
    buf_done(&k->raw);
    size_t after = (size_t)(w->keys + w->n_keys - (k + 1));
    memmove(k, k + 1, after * sizeof(*k));
    w->n_keys--;
}

/* --- tensors --------------------------------------------------------------------------------------------------- */

void gguf_write_tensor(struct gguf_write *w, const char *name, enum ggml_type type, int n_dims, const int64_t ne[4])
{
    assert(n_dims >= 1 && n_dims <= 4 && ne[0] % ggml_blck_size(type) == 0);
    if (strlen(name) >= GGML_MAX_NAME) {
        note(w, -ENAMETOOLONG);
        return;
    }
    if (grow((void **)&w->tensors, w->n_tensors, &w->cap_tensors, sizeof(*w->tensors))) {
        note(w, -ENOMEM);
        return;
    }
    struct wtensor *t = &w->tensors[w->n_tensors++];
    *t = (struct wtensor){.type = type, .n_dims = n_dims};
    memcpy(t->name, name, strlen(name) + 1);
    t->size = ggml_row_size(type, ne[0]);
    for (int i = 0; i < 4; i++) {
        t->ne[i] = i < n_dims ? ne[i] : 1;
        t->size *= i ? (uint64_t)t->ne[i] : 1;
    }
}

void gguf_write_tensor_like(struct gguf_write *w, const struct gguf_tensor *t)
{
    gguf_write_tensor(w, t->name, t->type, t->n_dims, t->ne);
}

/* --- the file -------------------------------------------------------------------------------------------------- */

static uint64_t padded(const struct gguf_write *w, uint64_t n)
{
    return (n + w->alignment - 1) / w->alignment * w->alignment;
}

static int pad(const struct gguf_write *w, struct buf *b)
{
    static const uint8_t zeros[64];
    int rc = 0;
    for (uint64_t n = padded(w, b->len) - b->len; n && !rc;) {
        uint64_t step = n < sizeof(zeros) ? n : sizeof(zeros);
        rc = buf_append(b, zeros, (size_t)step);
        n -= step;
    }
    return rc;
}

/* Header, keys, descriptions, padding. */
static int serialise(struct gguf_write *w, struct buf *b)
{
    int rc = buf_append(b, GGUF_MAGIC, 4);
    rc = rc ? rc : append_u32(b, GGUF_VERSION);
    rc = rc ? rc : append_u64(b, w->n_tensors);
    rc = rc ? rc : append_u64(b, w->n_keys);
    for (size_t i = 0; i < w->n_keys && !rc; i++) {
        const struct wkey *k = &w->keys[i];
        rc = append_str(b, k->name, strlen(k->name));
        rc = rc ? rc : append_u32(b, k->type);
        rc = rc ? rc : buf_append(b, k->raw.data, k->raw.len);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n_tensors && !rc; i++) {
        const struct wtensor *t = &w->tensors[i];
        rc = append_str(b, t->name, strlen(t->name));
        rc = rc ? rc : append_u32(b, (uint32_t)t->n_dims);
        for (int j = 0; j < t->n_dims && !rc; j++)
            rc = append_u64(b, (uint64_t)t->ne[j]);
        rc = rc ? rc : append_u32(b, t->type);
        rc = rc ? rc : append_u64(b, offset);
        offset += padded(w, t->size);
        w->total += t->size;
    }
    return rc || !w->n_tensors ? rc : pad(w, b);
}

static int cannot_write(const struct gguf_write *w, int rc, struct error *err)
{
    return error_set(err, -rc, "%s: cannot write: %s", w->file.path, strerror(-rc));
}

int gguf_write_open(
    struct gguf_write *w, const char *path, mode_t mode, const struct gguf_progress *progress, struct error *err)
{
    assert(!w->open);
    if (w->rc)
        return error_set(err, -w->rc, "%s: cannot describe the model: %s", path, strerror(-w->rc));
    const struct wkey *alignment = find_key(w, GGUF_KEY_GENERAL_ALIGNMENT);
    w->alignment =
        alignment && alignment->type == GGUF_TYPE_UINT32 ? bytes_get_u32(alignment->raw.data) : GGUF_DEFAULT_ALIGNMENT;
    assert(w->alignment && w->alignment % 8 == 0); /* checked by the reader of the file it was copied from */
    if (progress)
        w->progress = *progress;
    struct buf b = {0};
    int rc = serialise(w, &b);
    if (rc)
        rc = error_set(err, -rc, "%s: out of memory", path);
    if (!rc)
        rc = file_new_open(&w->file, path, mode, err);
    if (!rc) {
        w->open = true;
        rc = file_write_all(w->file.fd, b.data, b.len);
        if (rc)
            rc = cannot_write(w, rc, err);
    }
    buf_done(&b);
    return rc;
}

/* Behind each tensor, so that the file's size is a multiple of the alignment (as ggml writes it). */
static int end_tensor(struct gguf_write *w)
{
    static const uint8_t zeros[4096];
    const struct wtensor *t = &w->tensors[w->at];
    uint64_t n = padded(w, t->size) - t->size;
    w->at++;
    w->in_tensor = 0;
    int rc = 0;
    while (n && !rc) {
        uint64_t step = n < sizeof(zeros) ? n : sizeof(zeros);
        rc = file_write_all(w->file.fd, zeros, (size_t)step);
        n -= step;
    }
    return rc;
}

static int write_piece(struct gguf_write *w, const uint8_t *bytes, size_t len)
{
    int rc = file_write_all(w->file.fd, bytes, len);
    w->in_tensor += len;
    w->done += len;
    if (!rc && w->in_tensor == w->tensors[w->at].size)
        rc = end_tensor(w);
    if (w->progress.at && (w->done - w->shown >= 1 << 22 || w->done == w->total)) {
        w->shown = w->done;
        w->progress.at(w->progress.ctx, w->done, w->total);
    }
    return rc;
}

int gguf_write_data(struct gguf_write *w, const void *bytes, size_t len, struct error *err)
{
    assert(w->open && w->at < w->n_tensors && len <= w->tensors[w->at].size - w->in_tensor);
    const uint8_t *p = bytes;
    int rc = 0;
    while (len && !rc) {
        size_t step = len < 1 << 22 ? len : 1 << 22; /* so that progress moves within a large tensor */
        rc = write_piece(w, p, step);
        p += step;
        len -= step;
    }
    return rc ? cannot_write(w, rc, err) : 0;
}

int gguf_write_commit(struct gguf_write *w, struct error *err)
{
    assert(w->open && w->at == w->n_tensors);
    w->open = false; /* file_new_commit abandons by itself when it fails */
    return file_new_commit(&w->file, err);
}
