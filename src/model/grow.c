/* The idea: for every tensor of the larger model, two maps say which old row and column stand at a new one, and two
 * rules say what stands where there was none: noise where only zeros are multiplied with it, zero where it would show. */
#include "model/grow.h"

#include "model/convert.h"
#include "model/cut.h"
#include "model/init.h"
#include "model/params.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEW_NOISE = -1, NEW_ZERO = -2 }; /* in maps, instead of an old index */

struct grower {
    const struct gguf_file *f;
    const struct model_grow *g;
    struct model_params from, to;
    struct gguf_write *w;
    int64_t *rows, *cols; /* maps of the tensor at hand; room for the longest dimension */
    float *old, *row;     /* one row before and after */
    uint8_t *bytes;
    struct error *err;
};

/* --- maps ---------------------------------------------------------------------------------------------------------- */

/* Which old block stands at new block i, or -1: the old ones are spread evenly. */
static int64_t old_block(const struct grower *g, uint32_t i)
{
    uint64_t n = g->from.n_block, many = g->to.n_block, before = i * n / many;
    return (i + 1) * n / many > before ? (int64_t)before : -1;
}

static void map_plain(int64_t *map, int64_t old_n, int64_t new_n)
{
    for (int64_t i = 0; i < new_n; i++)
        map[i] = i < old_n ? i : NEW_NOISE;
}

/* Query heads: the old heads of a key/value head come first among its new ones. A new head on an old key/value head sees
 * values that are not zero, so what reads it must be zero. */
static void map_heads(const struct grower *g, int64_t *map)
{
    int64_t hd = g->to.head_dim, group = g->to.n_head / g->to.n_head_kv, old_group = g->from.n_head / g->from.n_head_kv;
    for (int64_t head = 0; head < g->to.n_head; head++) {
        int64_t kv = head / group, in = head % group;
        bool old_kv = kv < g->from.n_head_kv, old = old_kv && in < old_group;
        for (int64_t i = 0; i < hd; i++)
            map[head * hd + i] = old ? (kv * old_group + in) * hd + i : old_kv ? NEW_ZERO : NEW_NOISE;
    }
}

static void map_none(int64_t *map, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        map[i] = NEW_NOISE;
}

struct rule {
    bool zero_new_rows;    /* a new row is zero throughout */
    bool zero_row_of_old;  /* a new row is zero where an old column reads something */
    bool zero_new_columns; /* a new column is zero in every row */
};

static bool is(const char *name, const char *part)
{
    const char *dot = strncmp(name, "blk.", 4) ? NULL : strchr(name + 4, '.');
    return !strcmp(dot ? dot + 1 : name, part);
}

/* Sets both maps for one tensor and says what new places hold. */
static struct rule map_tensor(struct grower *g, const char *name, int64_t ne0, int64_t ne1, bool new_block)
{
    const struct model_params *from = &g->from;
    int64_t k = (int64_t)from->n_head_kv * from->head_dim;
    map_plain(g->cols, from->d, ne0);
    map_plain(g->rows, from->d_ff, ne1);
    struct rule rule = {0};
    if (is(name, "token_embd.weight") || is(name, "output.weight")) {
        map_plain(g->rows, from->n_vocab, ne1);
        rule.zero_new_columns = is(name, "token_embd.weight");
    } else if (is(name, "attn_q.weight")) {
        map_heads(g, g->rows);
    } else if (is(name, "attn_k.weight") || is(name, "attn_v.weight")) {
        map_plain(g->rows, k, ne1);
        rule.zero_new_rows = is(name, "attn_v.weight");
    } else if (is(name, "attn_output.weight")) {
        map_heads(g, g->cols);
        map_plain(g->rows, from->d, ne1);
        rule.zero_row_of_old = true;
    } else if (is(name, "ffn_down.weight")) {
        map_plain(g->cols, from->d_ff, ne0);
        map_plain(g->rows, from->d, ne1);
        rule.zero_row_of_old = true;
    } else if (is(name, "ffn_up.weight")) {
        rule.zero_new_rows = true;
    }
    if (new_block) {
        map_none(g->cols, ne0);
        map_none(g->rows, ne1);
    }
    return rule;
}

/* --- one tensor ------------------------------------------------------------------------------------------------------ */

static int put(struct grower *g, enum ggml_type type, int64_t n)
{
    if (type == GGML_TYPE_F32)
        return gguf_write_data(g->w, g->row, (size_t)n * sizeof(float), g->err);
    ggml_quantize_chunk(type, g->row, g->bytes, 0, 1, n, NULL);
    return gguf_write_data(g->w, g->bytes, ggml_row_size(type, n), g->err);
}

static int grow_matrix(struct grower *g, const char *name, const struct gguf_tensor *old, int64_t ne0, int64_t ne1)
{
    struct rule rule = map_tensor(g, name, ne0, ne1, !old);
    uint64_t key = model_noise_key(g->g->seed, name);
    bool residual = is(name, "attn_output.weight") || is(name, "ffn_down.weight");
    float deviation = 0.02f / (residual ? sqrtf(2 * (float)g->to.n_block) : 1);
    int rc = 0;
    for (int64_t i = 0; i < ne1 && !rc; i++) {
        int64_t r = g->rows[i];
        if (r >= 0)
            convert_to_floats(old->type, (const uint8_t *)old->data + (size_t)r * ggml_row_size(old->type, old->ne[0]),
                g->old, old->ne[0]);
        for (int64_t j = 0; j < ne0; j++) {
            int64_t c = g->cols[j];
            bool zero = c == NEW_ZERO || (r < 0 && rule.zero_new_rows) || (r < 0 && c >= 0 && rule.zero_row_of_old) ||
                        (c < 0 && rule.zero_new_columns);
            g->row[j] = r >= 0 && c >= 0 ? g->old[c] : zero ? 0 : deviation * model_noise(key, (uint64_t)(i * ne0 + j));
        }
        rc = put(g, g->g->type, ne0);
    }
    return rc;
}

/* Norms over the stream are scaled; other vectors keep their values; what is new is 1 in norms and 0 in biases. */
static int grow_vector(struct grower *g, const char *name, const struct gguf_tensor *old, int64_t ne0)
{
    bool stream = is(name, "attn_norm.weight") || is(name, "ffn_norm.weight") || is(name, "output_norm.weight");
    bool bias = strstr(name, ".bias");
    float scale = stream ? (float)sqrt((double)g->from.d / g->to.d) : 1;
    if (is(name, "attn_q.bias"))
        map_heads(g, g->cols);
    else
        map_plain(g->cols, old ? old->ne[0] : 0, ne0);
    for (int64_t i = 0; i < ne0; i++)
        g->row[i] = old && g->cols[i] >= 0 ? scale * ((const float *)old->data)[g->cols[i]] : bias ? 0 : 1;
    return put(g, GGML_TYPE_F32, ne0);
}

/* The old tensor that stands at this new name; NULL in a new block. */
static const struct gguf_tensor *old_tensor(const struct grower *g, const char *name)
{
    unsigned block;
    int end = 0;
    if (sscanf(name, "blk.%5u.%n", &block, &end) != 1 || !end)
        return gguf_file_tensor(g->f, name);
    int64_t was = old_block(g, block);
    char old_name[GGML_MAX_NAME];
    snprintf(old_name, sizeof(old_name), "blk.%" PRId64 ".%s", was, name + end);
    return was < 0 ? NULL : gguf_file_tensor(g->f, old_name);
}

static int fill(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct grower *g = ctx;
    const struct gguf_tensor *old = old_tensor(g, name);
    return n_dims == 1 ? grow_vector(g, name, old, ne0) : grow_matrix(g, name, old, ne0, ne1);
}

static int describe(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct grower *g = ctx;
    gguf_write_tensor(g->w, name, n_dims == 1 ? GGML_TYPE_F32 : g->g->type, n_dims, (int64_t[4]){ne0, ne1, 1, 1});
    return 0;
}

/* --- the model ------------------------------------------------------------------------------------------------------- */

static int each_tensor(const struct grower *g, model_tensor_fn *each, void *ctx)
{
    int rc = g->to.rope_freqs ? each(ctx, "rope_freqs.weight", 1, g->to.rope_dims / 2, 1) : 0;
    if (!rc)
        rc = model_each_end_tensor(&g->to, each, ctx);
    for (uint32_t i = 0; i < g->to.n_block && !rc; i++)
        rc = model_each_block_tensor(&g->to, i, each, ctx);
    return rc;
}

static uint32_t or_old(uint32_t want, uint32_t old)
{
    return want ? want : old;
}

static int decide(struct grower *g)
{
    const struct model_grow *c = g->g;
    const struct model_params *from = &g->from;
    struct model_params *to = &g->to;
    *to = *from;
    to->d = or_old(c->d, from->d);
    to->n_block = or_old(c->n_block, from->n_block);
    to->n_head = or_old(c->n_head, from->n_head);
    to->n_head_kv = or_old(c->n_head_kv, from->n_head_kv);
    to->d_ff = or_old(c->d_ff, from->d_ff);
    if (from->cut.part != MODEL_WHOLE)
        return error_set(
            g->err, EINVAL, "%s: one half of a cut model; grow the whole and cut it again", gguf_file_name(g->f));
    if (to->d < from->d || to->n_block < from->n_block || to->n_head_kv < from->n_head_kv || to->d_ff < from->d_ff)
        return error_set(
            g->err, EINVAL, "%s: a model can only grow; give sizes at least as large as it has", gguf_file_name(g->f));
    if (to->d > 1 << 17 || to->n_block > 4096 || to->n_head > 4096 || to->d_ff > 1 << 20)
        return error_set(g->err, EINVAL, "at most 131072 wide, 4096 blocks, 4096 heads, 1048576 feed-forward units");
    if (to->n_head % to->n_head_kv || to->n_head / to->n_head_kv < from->n_head / from->n_head_kv)
        return error_set(g->err, EINVAL,
            "%" PRIu32 " heads on %" PRIu32 " key/value heads: at least %" PRIu32
            " on each are needed, and the same on each",
            to->n_head, to->n_head_kv, from->n_head / from->n_head_kv);
    if (c->type != GGML_TYPE_F32 && c->type != GGML_TYPE_F16 && c->type != GGML_TYPE_BF16)
        return error_set(g->err, EINVAL, "a grown model is F32, F16 or BF16; quantise it afterwards");
    return 0;
}

static void write_keys(struct grower *g)
{
    const struct model_params *to = &g->to;
    const struct {
        const char *key;
        uint32_t v;
    } numbers[] = {{"embedding_length", to->d}, {"block_count", to->n_block}, {"feed_forward_length", to->d_ff},
        {"attention.head_count", to->n_head}, {"attention.head_count_kv", to->n_head_kv},
        {"attention.key_length", to->head_dim}, {"attention.value_length", to->head_dim},
        {"rope.dimension_count", to->rope_dims}};
    char key[64];
    gguf_write_keys_of(g->w, g->f, NULL, NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        snprintf(key, sizeof(key), "%s.%s", model_arch_name(to->arch), numbers[i].key);
        gguf_write_u32(g->w, key, numbers[i].v);
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", model_arch_name(to->arch));
    gguf_write_f32(g->w, key, (float)((double)g->from.eps * g->from.d / to->d));
    gguf_write_u32(g->w, "general.file_type", g->g->type == GGML_TYPE_F32 ? 0 : g->g->type == GGML_TYPE_F16 ? 1 : 32);
}

static int reserve(struct grower *g)
{
    const struct model_params *p = &g->to;
    size_t n = (size_t)p->n_head * p->head_dim, sizes[] = {p->d, p->d_ff, p->n_vocab};
    for (int i = 0; i < 3; i++)
        n = n > sizes[i] ? n : sizes[i];
    g->rows = calloc(n, sizeof(*g->rows));
    g->cols = calloc(n, sizeof(*g->cols));
    g->old = calloc(n, sizeof(*g->old));
    g->row = calloc(n, sizeof(*g->row));
    g->bytes = calloc(n, 4);
    return g->rows && g->cols && g->old && g->row && g->bytes ? 0 : error_set(g->err, ENOMEM, "out of memory");
}

int model_grow(const struct gguf_file *f, const struct model_grow *grow, const char *path,
    const struct gguf_progress *progress, struct error *err)
{
    struct grower g = {.f = f, .g = grow, .err = err};
    if (model_same_file(gguf_file_name(f), path))
        return error_set(err, EINVAL, "%s: the result would replace the model itself; give it another name", path);
    int rc = model_params_read(&g.from, f, err);
    if (!rc)
        rc = decide(&g);
    if (!rc)
        rc = reserve(&g);
    if (!rc)
        rc = gguf_write_create(&g.w, err);
    if (!rc) {
        write_keys(&g);
        each_tensor(&g, describe, &g);
        rc = gguf_write_open(g.w, path, 0600, progress, err);
    }
    if (!rc)
        rc = each_tensor(&g, fill, &g);
    if (!rc)
        rc = gguf_write_commit(g.w, err);
    gguf_write_free(g.w);
    free(g.rows);
    free(g.cols);
    free(g.old);
    free(g.row);
    free(g.bytes);
    return rc;
}
