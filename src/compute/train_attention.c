/* Causal attention, each sample on its own. For every (sample, key head) and a tile of queries, scores against the keys
 * that the tile can see are one small product; probabilities are not kept but made again in backward from the scores
 * and their log-sum. One item writes the gradients of its keys, values and query heads alone, so items may run in any
 * order on any thread and give the same bits. */
#include "compute/train_impl.h"

#define TILE 64

/* Queries [q0, q1) of one head of one sample, and the keys [k0, q1) that they can see. */
struct tile {
    const struct train *x;
    const float *q, *k, *v; /* row 0 of the sample, this head; rows nqkv apart */
    uint32_t q0, q1, k0;
    float scale;
};

static struct tile tile_of(
    const struct train *x, const float *qkv, uint32_t first, uint32_t head, uint32_t q0, uint32_t rows)
{
    uint32_t hd = x->p.head_dim, kv = head / (x->p.n_head / x->p.n_head_kv), w = x->p.window;
    const float *base = qkv + (size_t)first * x->nqkv;
    return (struct tile){.x = x,
        .q = base + (size_t)head * hd,
        .k = base + x->nq + (size_t)kv * hd,
        .v = base + x->nq + x->nkv + (size_t)kv * hd,
        .q0 = q0,
        .q1 = q0 + TILE < rows ? q0 + TILE : rows,
        .k0 = w && q0 + 1 > w ? q0 + 1 - w : 0,
        .scale = 1.0f / __builtin_sqrtf((float)hd)};
}

static struct kernel_mask tile_mask(const struct tile *t, uint32_t q)
{
    uint32_t w = t->x->p.window, lo = w && q + 1 > w ? q + 1 - w : 0;
    return (struct kernel_mask){.lo = lo - t->k0, .hi = q + 1 - t->k0, .n = t->q1 - t->k0};
}

/* s [q1 - q0][q1 - k0] */
static void tile_scores(const struct tile *t, float *s)
{
    size_t ld = t->x->nqkv, n = t->q1 - t->k0;
    mm_forward(t->q1 - t->q0, n, t->x->p.head_dim, 1, t->q + t->q0 * ld, ld, t->k + t->k0 * ld, ld, s, n, false);
}

/* att, lse: row 0 of the sample, this head. */
static void tile_forward(const struct tile *t, float *att, float *lse, float *s)
{
    size_t hd = t->x->p.head_dim, n = t->q1 - t->k0, ldo = t->x->nq;
    float inv_sum[TILE];
    tile_scores(t, s);
    for (uint32_t q = t->q0; q < t->q1; q++)
        t->x->k->softmax(
            s + (q - t->q0) * n, tile_mask(t, q), t->scale, &inv_sum[q - t->q0], &lse[(size_t)q * t->x->p.n_head]);
    mm_back_in(t->q1 - t->q0, n, hd, 1, s, n, t->v + t->k0 * t->x->nqkv, t->x->nqkv, att + t->q0 * ldo, ldo, false);
    for (uint32_t q = t->q0; q < t->q1; q++)
        t->x->k->scale(att + q * ldo, hd, inv_sum[q - t->q0]);
}

static void forward_item(
    const struct train *x, const struct batch *b, struct block_save *s, uint32_t sample, uint32_t kv, float *work)
{
    uint32_t first = b->first[sample], rows = b->first[sample + 1] - first, group = x->p.n_head / x->p.n_head_kv;
    for (uint32_t head = kv * group; head < (kv + 1) * group; head++)
        for (uint32_t q = 0; q < rows; q += TILE) {
            struct tile t = tile_of(x, s->qkv, first, head, q, rows);
            tile_forward(&t, s->att + (size_t)first * x->nq + (size_t)head * x->p.head_dim,
                s->lse + (size_t)first * x->p.n_head + head, work);
        }
}

/* Where one tile's gradients go, each at row 0 of the sample and its head: dq, dk, dv rows nqkv apart. */
struct tile_grad {
    const float *datt, *lse, *delta;
    float *dq, *dk, *dv;
};

static void tile_backward(const struct tile *t, const struct tile_grad *g, float *p, float *dp)
{
    size_t hd = t->x->p.head_dim, n = t->q1 - t->k0, m = t->q1 - t->q0, ld = t->x->nqkv, heads = t->x->p.n_head;
    const float *datt = g->datt + t->q0 * (size_t)t->x->nq;
    tile_scores(t, p);
    mm_forward(m, n, hd, 1, datt, t->x->nq, t->v + t->k0 * ld, ld, dp, n, false);
    for (uint32_t q = t->q0; q < t->q1; q++)
        t->x->k->softmax_back(p + (q - t->q0) * n, dp + (q - t->q0) * n, tile_mask(t, q), t->scale, g->lse[q * heads],
            g->delta[q * heads]);
    mm_back_in(m, n, hd, 1, dp, n, t->k + t->k0 * ld, ld, g->dq + t->q0 * ld, ld, false);
    mm_back_w(m, n, hd, 1, dp, n, t->q + t->q0 * ld, ld, g->dk + t->k0 * ld, ld);
    mm_back_w(m, n, hd, 1, p, n, datt, t->x->nq, g->dv + t->k0 * ld, ld);
}

static void zero_rows(float *x, size_t ld, uint32_t rows, size_t n)
{
    for (uint32_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            x[r * ld + i] = 0;
}

static void backward_item(
    const struct train *x, const struct batch *b, const struct block_save *s, uint32_t sample, uint32_t kv, float *work)
{
    uint32_t first = b->first[sample], rows = b->first[sample + 1] - first, group = x->p.n_head / x->p.n_head_kv;
    size_t hd = x->p.head_dim;
    float *dqkv = x->s.dqkv + (size_t)first * x->nqkv;
    struct tile_grad g = {.dk = dqkv + x->nq + kv * hd, .dv = dqkv + x->nq + x->nkv + kv * hd};
    zero_rows(g.dk, x->nqkv, rows, hd);
    zero_rows(g.dv, x->nqkv, rows, hd);
    for (uint32_t head = kv * group; head < (kv + 1) * group; head++) {
        g.datt = x->s.datt + (size_t)first * x->nq + head * hd;
        g.lse = s->lse + (size_t)first * x->p.n_head + head;
        g.delta = x->s.delta + (size_t)first * x->p.n_head + head;
        g.dq = dqkv + head * hd;
        for (uint32_t q = 0; q < rows; q += TILE) {
            struct tile t = tile_of(x, s->qkv, first, head, q, rows);
            tile_backward(&t, &g, work, work + (size_t)TILE * (t.q1 - t.k0));
        }
    }
}

uint64_t attention_thread_floats(const struct train *x)
{
    return (uint64_t)2 * TILE * x->cfg.max_rows;
}

void attention_forward(const struct train *x, const struct batch *b, struct block_save *s, struct team t)
{
    uint32_t n = b->n_samples * x->p.n_head_kv;
#pragma omp for schedule(dynamic, 1)
    for (uint32_t i = 0; i < n; i++)
        forward_item(x, b, s, b->order[i / x->p.n_head_kv], i % x->p.n_head_kv, x->s.thread + t.id * x->s.thread_n);
}

void attention_backward(const struct train *x, const struct batch *b, const struct block_save *s, struct team t)
{
    uint32_t n = b->n_samples * x->p.n_head_kv;
#pragma omp for schedule(dynamic, 1)
    for (uint32_t i = 0; i < n; i++)
        backward_item(x, b, s, b->order[i / x->p.n_head_kv], i % x->p.n_head_kv, x->s.thread + t.id * x->s.thread_n);
}
