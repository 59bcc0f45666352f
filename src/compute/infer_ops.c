/* Our operations, called by every thread of a graph between ggml's matrix products. Each splits its work over threads
 * so that no number depends on the split, and leaves padding rows at zero. */
#include "compute/infer_inner.h"

#include <math.h>
#include <string.h>

/* This thread's share [from, to) of n. */
static void share(uint64_t n, int ith, int nth, uint64_t *from, uint64_t *to)
{
    *from = n * (uint64_t)ith / (uint64_t)nth;
    *to = n * (uint64_t)(ith + 1) / (uint64_t)nth;
}

static void load_embedding(const struct infer *x, int32_t token, float *dst)
{
    const struct gguf_tensor *e = x->w.embed;
    uint64_t row = ggml_row_size(e->type, e->ne[0]);
    const uint8_t *from = (const uint8_t *)e->data + (uint64_t)token * row;
    if (e->type == GGML_TYPE_F32)
        memcpy(dst, from, row);
    else
        ggml_get_type_traits(e->type)->to_float(from, dst, e->ne[0]);
}

void op_load(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct infer *x = user;
    const uint64_t d = x->p.d;
    uint64_t from, to;
    share(x->batch.n, ith, nth, &from, &to);
    for (uint64_t r = from; r < to; r++)
        if (x->span.embed)
            load_embedding(x, x->batch.rows[r].token, x->x + r * d);
        else
            memcpy(x->x + r * d, x->batch.in + r * d, d * sizeof(float));
}

static void add_and_norm(struct infer *x, uint64_t n_padded, bool with_delta, const float *w, int ith, int nth)
{
    const uint64_t d = x->p.d;
    uint64_t from, to;
    share(x->batch.n, ith, nth, &from, &to);
    for (uint64_t r = from; r < to; r++) {
        if (with_delta)
            x->k->add(x->x + r * d, x->x + r * d, x->delta + r * d, d);
        x->k->rms_norm(x->normed + r * d, x->x + r * d, w, (uint32_t)d, x->p.eps);
    }
    if (ith == nth - 1)
        memset(x->normed + x->batch.n * d, 0, (n_padded - x->batch.n) * d * sizeof(float));
}

void op_attn_norm(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct block *b = user;
    add_and_norm(b->x, (uint64_t)dst->ne[1], b->i > 0, b->w->attn_norm, ith, nth);
}

void op_ffn_norm(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct block *b = user;
    add_and_norm(b->x, (uint64_t)dst->ne[1], true, b->w->ffn_norm, ith, nth);
}

/* One head of one row: bias, norm, rotation. */
static void prepare_head(const struct infer *x, float *h, const float *bias, const float *norm, uint64_t row)
{
    const struct model_params *p = &x->p;
    const uint32_t half = p->rope_dims / 2;
    const float *c = x->batch.cos + row * half, *s = x->batch.sin + row * half;
    if (bias)
        x->k->add(h, h, bias, p->head_dim);
    if (norm)
        x->k->rms_norm(h, h, norm, p->head_dim, p->eps);
    uint32_t step = p->rope_kind == ROPE_NORM ? 2 : 1, other = p->rope_kind == ROPE_NORM ? 1 : half;
    for (uint32_t i = 0; i < half; i++) {
        float *pair = h + i * step, a = pair[0], b = pair[other];
        pair[0] = a * c[i] - b * s[i];
        pair[other] = a * s[i] + b * c[i];
    }
}

static uint8_t *page_of(
    const struct infer *x, const struct block *b, const struct kv_seq *seq, uint32_t pos, uint32_t kv_head)
{
    return x->kv.mem + b->i * x->kv.block_bytes + seq->pages[pos / KV_PAGE] * x->kv.page_bytes +
           kv_head * x->kv.head_bytes;
}

/* Keys lie 16 positions side by side, values one after the other. */
static void store(const struct infer *x, uint8_t *page, uint32_t pos, const float *k, const float *v)
{
    const uint32_t hd = x->p.head_dim, at = pos % KV_PAGE;
    const uint64_t key0 = (uint64_t)(at / 16) * hd * 16 + at % 16;
    if (x->cfg.kv_f32) {
        float *keys = (float *)page, *values = keys + (uint64_t)KV_PAGE * hd;
        for (uint32_t d = 0; d < hd; d++)
            keys[key0 + d * 16] = k[d];
        memcpy(values + (uint64_t)at * hd, v, hd * sizeof(float));
    } else {
        uint16_t *keys = (uint16_t *)page, *values = keys + (uint64_t)KV_PAGE * hd, some[64];
        for (uint32_t d = 0; d < hd; d += 64) {
            uint32_t n = hd - d < 64 ? hd - d : 64;
            x->k->to_f16(some, k + d, n);
            for (uint32_t i = 0; i < n; i++)
                keys[key0 + (d + i) * 16] = some[i];
        }
        x->k->to_f16(values + (uint64_t)at * hd, v, hd);
    }
}

void op_prepare(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct block *b = user;
    struct infer *x = b->x;
    const struct weights_block *w = b->w;
    const struct model_params *p = &x->p;
    const uint32_t hd = p->head_dim, group = p->n_head / p->n_head_kv;
    const float scale = 1.0f / sqrtf((float)hd);
    uint64_t from, to;
    if (ith == 0)
        atomic_store_explicit(&b->next, 0, memory_order_relaxed);
    share((uint64_t)x->batch.n * p->n_head_kv, ith, nth, &from, &to);
    for (uint64_t unit = from; unit < to; unit++) {
        uint64_t row = unit / p->n_head_kv;
        uint32_t h = (uint32_t)(unit % p->n_head_kv), pos = (uint32_t)x->batch.rows[row].pos;
        for (uint32_t g = h * group; g < (h + 1) * group; g++) {
            float *q = x->q + (row * p->n_head + g) * hd;
            prepare_head(x, q, w->q_bias ? w->q_bias + g * hd : NULL, w->q_norm, row);
            for (uint32_t d = 0; d < hd; d++)
                q[d] *= scale;
        }
        float *k = x->k_ + unit * hd, *v = x->v + unit * hd;
        prepare_head(x, k, w->k_bias ? w->k_bias + h * hd : NULL, w->k_norm, row);
        if (w->v_bias)
            x->k->add(v, v, w->v_bias + h * hd, hd);
        store(x, page_of(x, b, x->batch.seqs[row], pos, h), pos, k, v);
    }
}

/* One unit of attention: a tile of rows, one kv head, and the part of its query heads from `first_head`. */
static void attend_unit(const struct block *b, const struct tile *t, uint32_t kv_head, uint32_t first_head,
    uint32_t n_heads, float *scratch)
{
    const struct infer *x = b->x;
    const uint64_t stride = (uint64_t)x->p.n_head * x->p.head_dim;
    const uint64_t at = t->first * stride + (uint64_t)first_head * x->p.head_dim;
    struct attend a = {.head_dim = x->p.head_dim,
        .group = n_heads,
        .n_rows = t->n,
        .f32 = x->cfg.kv_f32,
        .q = x->q + at,
        .out = x->a + at,
        .q_stride = stride,
        .out_stride = stride,
        .lo = x->batch.lo + t->first,
        .hi = x->batch.hi + t->first,
        .pages = t->seq->pages,
        .cache = x->kv.mem + b->i * x->kv.block_bytes + kv_head * x->kv.head_bytes,
        .page_stride = x->kv.page_bytes,
        .scratch = scratch};
    x->k->attend(&a);
}

/* How many query heads of a group one unit works on: all that fit, fewer when some threads would have nothing to do.
 * This moves work, never numbers: a head's arithmetic is its own. */
static uint32_t heads_together(uint32_t groups, uint32_t group, uint32_t n_threads)
{
    uint32_t most = group < ATTEND_ROWS ? group : ATTEND_ROWS, wanted = (2 * n_threads + groups - 1) / groups;
    uint32_t even = wanted < group ? (group + wanted - 1) / wanted : 1;
    return even < most ? even : most;
}

/* Units are taken by whoever is free, one kv head after the other so that its keys stay in the cache. */
void op_attend(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct block *b = user;
    struct infer *x = b->x;
    const uint32_t group = x->p.n_head / x->p.n_head_kv, n_tiles = x->batch.n_tiles;
    const uint32_t part = heads_together(n_tiles * x->p.n_head_kv, group, (uint32_t)nth);
    const uint32_t parts = (group + part - 1) / part;
    const uint64_t n = (uint64_t)n_tiles * x->p.n_head_kv * parts;
    float *scratch = x->scratch + (uint64_t)ith * x->scratch_stride;
    for (uint64_t u; (u = atomic_fetch_add_explicit(&b->next, 1, memory_order_relaxed)) < n;) {
        uint32_t at = (uint32_t)(u / n_tiles), head = at / parts, skip = at % parts * part;
        uint32_t heads = group - skip < part ? group - skip : part;
        attend_unit(b, &x->batch.tiles[n_tiles - 1 - u % n_tiles], head, head * group + skip, heads, scratch);
    }
    if (ith == nth - 1) {
        uint64_t width = (uint64_t)dst->ne[0];
        memset(x->a + x->batch.n * width, 0, ((uint64_t)dst->ne[1] - x->batch.n) * width * sizeof(float));
    }
}

void op_round(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct mul *m = user;
    const uint32_t width = m->w[0]->m.width, groups = width / MATRIX_GROUP;
    uint64_t from, to;
    if (ith == 0)
        atomic_store_explicit(&m->next, 0, memory_order_relaxed);
    if (!m->rounds)
        return;
    share((uint64_t)*m->n * groups, ith, nth, &from, &to);
    while (from < to) {
        uint64_t column = from / groups, g = from % groups, end = g + (to - from) < groups ? g + (to - from) : groups;
        matrix_round(&m->x->columns, (uint32_t)column, m->in + column * width, (uint32_t)g, (uint32_t)end);
        from += end - g;
    }
}

/* Tiles [from, to) of the gate and the same of what goes through it. */
static void multiply_gated(const struct mul *m, uint32_t from, uint32_t to)
{
    const struct matrix *gate = &m->w[0]->m, *up = &m->w[1]->m;
    const uint32_t row = from * MATRIX_TILE, end = to * MATRIX_TILE < gate->n_rows ? to * MATRIX_TILE : gate->n_rows;
    matrix_multiply(gate, &m->x->columns, m->in, *m->n, m->y[0], from, to);
    matrix_multiply(up, &m->x->columns, m->in, *m->n, m->y[1], from, to);
    for (uint64_t i = 0; i < *m->n; i++) {
        uint64_t at = i * gate->n_rows + row;
        m->x->k->silu_mul(m->y[0] + at, m->y[0] + at, m->y[1] + at, end - row);
    }
}

/* A unit is some tiles of one of the matrices: some microseconds when there is one row. */
void op_multiply(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct mul *m = user;
    const uint32_t n_w = m->silu ? 1 : m->n_w, few = 4;
    uint32_t units[3] = {0}, total = 0;
    for (uint32_t i = 0; i < n_w; i++)
        total += units[i] = (matrix_tiles(&m->w[i]->m) + few - 1) / few;
    for (uint32_t u; (u = atomic_fetch_add_explicit(&m->next, 1, memory_order_relaxed)) < total;) {
        uint32_t i = 0;
        while (u >= units[i])
            u -= units[i++];
        uint32_t n = matrix_tiles(&m->w[i]->m), from = u * few, to = from + few < n ? from + few : n;
        if (m->silu)
            multiply_gated(m, from, to);
        else
            matrix_multiply(&m->w[i]->m, &m->x->columns, m->in, *m->n, m->y[i], from, to);
    }
}

void op_silu(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct block *b = user;
    struct infer *x = b->x;
    uint64_t from, to;
    share(((uint64_t)x->batch.n * x->p.d_ff + 15) / 16, ith, nth, &from, &to);
    from *= 16;
    to = to * 16 < (uint64_t)x->batch.n * x->p.d_ff ? to * 16 : (uint64_t)x->batch.n * x->p.d_ff;
    if (from < to)
        x->k->silu_mul(x->gate + from, x->gate + from, x->up + from, to - from);
}

void op_leave(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct infer *x = user;
    const uint64_t d = x->p.d;
    uint64_t from, to;
    share(x->batch.n, ith, nth, &from, &to);
    for (uint64_t r = from; r < to; r++) {
        if (x->span.first < x->span.last)
            x->k->add(x->x + r * d, x->x + r * d, x->delta + r * d, d);
        if (!x->span.output)
            memcpy(x->batch.out + r * d, x->x + r * d, d * sizeof(float));
    }
}

void op_out_norm(struct ggml_tensor *dst, int ith, int nth, void *user)
{
    struct infer *x = user;
    const uint64_t d = x->p.d;
    const uint32_t n = x->batch.n_wanted;
    uint64_t from, to;
    share(n, ith, nth, &from, &to);
    for (uint64_t i = from; i < to; i++)
        x->k->rms_norm(x->out_normed + i * d, x->x + x->batch.wanted[i] * d, x->w.out_norm, (uint32_t)d, x->p.eps);
    if (ith == nth - 1)
        memset(x->out_normed + n * d, 0, ((uint64_t)dst->ne[1] - n) * d * sizeof(float));
}
