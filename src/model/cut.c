/* The idea: which half a tensor belongs to follows from its name alone; keys for the cloud are an allow-list, so a key
 * that nobody thought of stays on campus. */
#include "model/cut.h"

#include "base/bytes.h"
#include "crypto/sha256.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- what goes where --------------------------------------------------------------------------------------------- */

/* The block of a tensor, or -1: one of the ends. */
static int64_t block_of(const char *name)
{
    unsigned block;
    int end = 0;
    return sscanf(name, "blk.%5u.%n", &block, &end) == 1 && end ? (int64_t)block : -1;
}

static bool belongs(const struct model_params *half, const char *name)
{
    int64_t block = block_of(name);
    if (block >= 0)
        return model_has_block(half, (uint32_t)block);
    return model_has_ends(half) || !strcmp(name, "rope_freqs.weight");
}

/* Keys that computing a block needs. */
static bool cloud_key(const void *arch_name, const struct gguf_file *f, size_t i)
{
    static const char *const exact[] = {"general.architecture", "general.type", "general.alignment",
        "general.quantization_version", "general.file_type"};
    static const char *const numbers[] = {
        "block_count", "context_length", "embedding_length", "feed_forward_length", "expert_count"};
    const char *key = gguf_file_key_at(f, i), *arch = arch_name;
    for (size_t j = 0; j < sizeof(exact) / sizeof(*exact); j++)
        if (!strcmp(key, exact[j]))
            return true;
    size_t n = strlen(arch);
    if (strncmp(key, arch, n) || key[n] != '.')
        return false;
    key += n + 1;
    if (!strcmp(key, "rope.scaling.type"))
        return true;
    enum gguf_type type = gguf_file_key_type_at(f, i), elem;
    uint64_t count;
    if (type == GGUF_TYPE_ARRAY && gguf_file_array(f, gguf_file_key_at(f, i), &elem, &count) == 0)
        type = elem;
    if (type == GGUF_TYPE_STRING)
        return false; /* text may say anything */
    for (size_t j = 0; j < sizeof(numbers) / sizeof(*numbers); j++)
        if (!strcmp(key, numbers[j]))
            return true;
    return !strncmp(key, "attention.", 10) || !strncmp(key, "rope.", 5);
}

bool model_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* --- the identity -------------------------------------------------------------------------------------------------- */

/* Progress over several passes: a pass reports from `before` on. */
struct passes {
    const struct gguf_progress *to;
    uint64_t before, total;
};

static void pass_at(void *ctx, uint64_t done, uint64_t total)
{
    const struct passes *p = ctx;
    if (p->to && p->to->at)
        p->to->at(p->to->ctx, p->before + done, p->total);
}

static void hash_u64(struct sha256 *s, uint64_t v)
{
    uint8_t p[8];
    bytes_put_u64(p, v);
    sha256_add(s, p, sizeof(p));
}

static void hash_named(struct sha256 *s, const char *name, const void *bytes, size_t len)
{
    hash_u64(s, strlen(name));
    sha256_add(s, name, strlen(name));
    hash_u64(s, len);
    sha256_add(s, bytes, len);
}

struct named {
    const char *name;
    size_t i;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static void hash_keys(struct sha256 *s, const struct gguf_file *f, const char *arch, struct named *order)
{
    size_t n = 0;
    for (size_t i = 0; i < gguf_file_n_keys(f); i++)
        if (cloud_key(arch, f, i))
            order[n++] = (struct named){gguf_file_key_at(f, i), i};
    qsort(order, n, sizeof(*order), by_name);
    hash_u64(s, n);
    for (size_t i = 0; i < n; i++) {
        struct gguf_str raw = gguf_file_key_raw_at(f, order[i].i);
        hash_u64(s, gguf_file_key_type_at(f, order[i].i));
        hash_named(s, order[i].name, raw.s, raw.len);
    }
}

static void hash_tensors(struct sha256 *s, const struct gguf_file *f, struct named *order, struct passes *passes)
{
    size_t n = gguf_file_n_tensors(f);
    uint64_t done = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = (struct named){gguf_file_tensor_at(f, i)->name, i};
    qsort(order, n, sizeof(*order), by_name);
    hash_u64(s, n);
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, order[i].i);
        hash_u64(s, t->type);
        for (int j = 0; j < 4; j++)
            hash_u64(s, (uint64_t)t->ne[j]);
        hash_named(s, t->name, t->data, t->size);
        done += t->size;
        pass_at(passes, done, 0);
    }
}

static int cut_identity(const struct gguf_file *f, const struct model_params *p, struct model_cut *cut,
    struct passes *passes, struct error *err)
{
    size_t n = gguf_file_n_keys(f) > gguf_file_n_tensors(f) ? gguf_file_n_keys(f) : gguf_file_n_tensors(f);
    struct named *order = calloc(n + 1, sizeof(*order));
    struct sha256 *s = sha256_create();
    int rc = order && s ? 0 : error_set(err, ENOMEM, "%s: out of memory", gguf_file_name(f));
    if (!rc) {
        static const char domain[] = "meridian cut 1";
        sha256_add(s, domain, sizeof(domain));
        hash_u64(s, cut->head);
        hash_u64(s, cut->tail);
        hash_keys(s, f, model_arch_name(p->arch), order);
        hash_tensors(s, f, order, passes);
        rc = sha256_end(s, cut->id) ? error_set(err, EIO, "%s: SHA-256 failed", gguf_file_name(f)) : 0;
        s = NULL;
    }
    sha256_free(s);
    free(order);
    return rc;
}

/* --- splitting ----------------------------------------------------------------------------------------------------- */

static int write_order(struct gguf_write *w, const struct gguf_file *f, struct error *err)
{
    size_t n = gguf_file_n_tensors(f);
    struct gguf_str *names = calloc(n + 1, sizeof(*names));
    if (!names)
        return error_set(err, ENOMEM, "%s: out of memory", gguf_file_name(f));
    for (size_t i = 0; i < n; i++) {
        const char *name = gguf_file_tensor_at(f, i)->name;
        names[i] = (struct gguf_str){name, strlen(name)};
    }
    gguf_write_strs(w, "meridian.cut.tensors", names, n);
    free(names);
    return 0;
}

static int write_tensors(
    struct gguf_write *w, const struct gguf_file *f, const struct model_params *half, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < gguf_file_n_tensors(f) && !rc; i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        if (belongs(half, t->name))
            rc = gguf_write_data(w, t->data, t->size, err);
    }
    return rc;
}

static void describe_half(struct gguf_write *w, const struct gguf_file *f, const struct model_params *half)
{
    const char *arch = model_arch_name(half->arch);
    gguf_write_keys_of(w, f, half->cut.part == MODEL_EDGE ? NULL : cloud_key, arch);
    model_cut_write(w, &half->cut);
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++)
        if (belongs(half, gguf_file_tensor_at(f, i)->name))
            gguf_write_tensor_like(w, gguf_file_tensor_at(f, i));
}

/* Everything but the rename, so that neither half appears without the other. */
static int write_half(struct gguf_write **ret, const struct gguf_file *f, const struct model_params *half,
    const char *path, struct passes *passes, struct error *err)
{
    struct gguf_write *w = NULL;
    struct gguf_progress progress = {pass_at, passes};
    int rc = gguf_write_create(&w, err);
    if (rc)
        return rc;
    describe_half(w, f, half);
    if (half->cut.part == MODEL_EDGE)
        rc = write_order(w, f, err);
    if (!rc)
        rc = gguf_write_open(w, path, half->cut.part == MODEL_EDGE ? 0600 : 0644, &progress, err);
    if (!rc)
        rc = write_tensors(w, f, half, err);
    *ret = w;
    return rc;
}

static uint64_t bytes_of(const struct gguf_file *f, const struct model_params *half)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++)
        if (!half || belongs(half, gguf_file_tensor_at(f, i)->name))
            sum += gguf_file_tensor_at(f, i)->size;
    return sum;
}

static int check_split(
    const struct gguf_file *f, const struct model_params *p, const struct model_split *s, struct error *err)
{
    char name[48];
    model_cut_name(&p->cut, name);
    if (p->cut.part != MODEL_WHOLE)
        return error_set(
            err, EINVAL, "%s: already one half of cut %s; merge the two halves first", gguf_file_name(f), name);
    if (s->head > p->n_block || s->tail > p->n_block || s->head + s->tail >= p->n_block)
        return error_set(err, EINVAL,
            "a head of %" PRIu32 " and a tail of %" PRIu32 " leave no block for the cloud: the model has %" PRIu32,
            s->head, s->tail, p->n_block);
    if (!s->bare && (!s->head || !s->tail))
        return error_set(err, EINVAL,
            "keep at least one block on campus at each end: without, %s would leave it as good as readable",
            s->head ? "the answer" : "the prompt");
    if (model_same_file(gguf_file_name(f), s->edge_path) || model_same_file(gguf_file_name(f), s->cloud_path))
        return error_set(
            err, EINVAL, "%s: a half would replace the model itself; give it another name", gguf_file_name(f));
    if (!strcmp(s->edge_path, s->cloud_path) || model_same_file(s->edge_path, s->cloud_path))
        return error_set(err, EINVAL, "%s: both halves would be this file; give them two names", s->edge_path);
    return 0;
}

static int commit_both(struct gguf_write *edge, const char *edge_path, struct gguf_write *cloud, struct error *err)
{
    struct stat st;
    bool was_there = !stat(edge_path, &st);
    int rc = gguf_write_commit(edge, err);
    if (rc)
        return rc;
    rc = gguf_write_commit(cloud, err);
    if (rc && !was_there)
        unlink(edge_path);
    return rc;
}

int model_split(const struct gguf_file *f, const struct model_split *split, struct model_cut *ret_cut,
    const struct gguf_progress *progress, struct error *err)
{
    struct model_params whole;
    int rc = model_params_read(&whole, f, err);
    if (!rc)
        rc = check_split(f, &whole, split, err);
    if (rc)
        return rc;
    struct model_params edge = whole;
    edge.cut = (struct model_cut){.part = MODEL_EDGE, .head = split->head, .tail = split->tail};
    struct passes passes = {
        progress, 0, 2 * bytes_of(f, NULL) + (whole.rope_freqs ? gguf_file_tensor(f, "rope_freqs.weight")->size : 0)};
    rc = cut_identity(f, &whole, &edge.cut, &passes, err);
    struct model_params cloud = edge;
    cloud.cut.part = MODEL_CLOUD;
    struct gguf_write *we = NULL, *wc = NULL;
    passes.before += bytes_of(f, NULL);
    if (!rc)
        rc = write_half(&we, f, &edge, split->edge_path, &passes, err);
    passes.before += bytes_of(f, &edge);
    if (!rc)
        rc = write_half(&wc, f, &cloud, split->cloud_path, &passes, err);
    if (!rc)
        rc = commit_both(we, split->edge_path, wc, err);
    gguf_write_free(we);
    gguf_write_free(wc);
    if (!rc && ret_cut)
        *ret_cut = edge.cut;
    return rc;
}

/* --- merging ------------------------------------------------------------------------------------------------------- */

struct merge {
    const struct gguf_file *edge, *cloud;
    const struct gguf_tensor **order; /* of the whole */
    size_t n, room;
};

static const struct gguf_tensor *find_tensor(const struct merge *m, const char *name)
{
    const struct gguf_tensor *t = gguf_file_tensor(m->edge, name);
    return t ? t : gguf_file_tensor(m->cloud, name);
}

/* The order that the edge half remembers; false when it does not name exactly the tensors that are there. */
static bool remembered_order(struct merge *m)
{
    enum gguf_type type;
    uint64_t n;
    if (gguf_file_array(m->edge, "meridian.cut.tensors", &type, &n) || type != GGUF_TYPE_STRING || n != m->room)
        return false;
    for (m->n = 0; m->n < n; m->n++) {
        struct gguf_str s = {"", 0};
        char name[GGML_MAX_NAME] = "";
        (void)gguf_file_array_str(m->edge, "meridian.cut.tensors", m->n, &s);
        if (s.len < sizeof(name))
            memcpy(name, s.s, s.len);
        m->order[m->n] = find_tensor(m, name);
        if (!m->order[m->n])
            return false;
    }
    /* Named twice means that another is not named at all. */
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < i; j++)
            if (m->order[i] == m->order[j])
                return false;
    return true;
}

static int plain_each(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct merge *m = ctx;
    if (m->n < m->room)
        m->order[m->n++] = find_tensor(m, name);
    return 0;
}

static void plain_order(struct merge *m, const struct model_params *whole)
{
    m->n = 0;
    if (whole->rope_freqs)
        plain_each(m, "rope_freqs.weight", 1, 0, 0);
    model_each_end_tensor(whole, plain_each, m);
    for (uint32_t i = 0; i < whole->n_block; i++)
        model_each_block_tensor(whole, i, plain_each, m);
    assert(m->n == m->room); /* both halves hold exactly what their parameters demand */
}

static int write_whole(const struct merge *m, struct gguf_write *w, const char *path,
    const struct gguf_progress *progress, struct error *err)
{
    struct model_cut whole = {.part = MODEL_WHOLE};
    gguf_write_keys_of(w, m->edge, NULL, NULL);
    model_cut_write(w, &whole);
    for (size_t i = 0; i < m->n; i++)
        gguf_write_tensor_like(w, m->order[i]);
    int rc = gguf_write_open(w, path, 0600, progress, err);
    for (size_t i = 0; i < m->n && !rc; i++)
        rc = gguf_write_data(w, m->order[i]->data, m->order[i]->size, err);
    return rc ? rc : gguf_write_commit(w, err);
}

static int check_merge(const struct merge *m, const struct model_params *edge, const struct model_params *cloud,
    const char *path, struct error *err)
{
    int rc = model_check_pair(edge, cloud, err);
    if (rc)
        return rc;
    if (model_same_file(gguf_file_name(m->edge), path) || model_same_file(gguf_file_name(m->cloud), path))
        return error_set(
            err, EINVAL, "%s: the merged model would replace one of its halves; give it another name", path);
    if (edge->n_head != cloud->n_head || edge->n_head_kv != cloud->n_head_kv || edge->head_dim != cloud->head_dim ||
        edge->d_ff != cloud->d_ff || (edge->cut.head + edge->cut.tail && edge->qkv_bias != cloud->qkv_bias) ||
        edge->rope_freqs != cloud->rope_freqs)
        return error_set(err, EINVAL, "%s and %s: the halves contradict each other; split the model again",
            gguf_file_name(m->edge), gguf_file_name(m->cloud));
    return 0;
}

int model_merge(const struct gguf_file *edge, const struct gguf_file *cloud, const char *path,
    const struct gguf_progress *progress, struct error *err)
{
    struct merge m = {.edge = edge, .cloud = cloud};
    struct model_params pe, pc;
    int rc = model_params_read(&pe, edge, err);
    if (!rc)
        rc = model_params_read(&pc, cloud, err);
    if (!rc)
        rc = check_merge(&m, &pe, &pc, path, err);
    if (rc)
        return rc;
    m.room = gguf_file_n_tensors(edge) + gguf_file_n_tensors(cloud) - (pe.rope_freqs ? 1 : 0);
    m.order = calloc(m.room, sizeof(*m.order));
    struct gguf_write *w = NULL;
    rc = m.order ? gguf_write_create(&w, err) : error_set(err, ENOMEM, "%s: out of memory", path);
    struct model_params whole = pe;
    whole.qkv_bias = pc.qkv_bias; /* an edge half with bare ends has no block to tell it by */
    if (!rc && !remembered_order(&m))
        plain_order(&m, &whole);
    if (!rc)
        rc = write_whole(&m, w, path, progress, err);
    gguf_write_free(w);
    free(m.order);
    return rc;
}
