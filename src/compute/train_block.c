/* One transformer block, forward and backward:
 *
 *   h1 = rms(in) norm1;  q, k, v = W h1 (+ bias), q/k norm, rope;  mid = in + Wo attention(q, k, v)
 *   h2 = rms(mid) norm2;  out = mid + Wdown (silu(Wgate h2) * (Wup h2))
 *
 * Each half between the attention is a chain over this thread's rows. */
#include "compute/train_impl.h"

#include <string.h>

/* One block's call, with this thread's rows [r0, r1). */
struct call {
    struct train *x;
    const struct block *b;
    const struct block_w *w;
    const struct batch *batch;
    struct block_save *s;
    struct team t;
    uint32_t r0, r1;
};

static struct call call_of(struct train *x, const struct block *b, const struct block_w *w, const struct batch *batch,
    struct block_save *s, struct team t)
{
    return (struct call){
        x, b, w, batch, s, t, team_cut(batch->n_rows, 8, t.id, t.n), team_cut(batch->n_rows, 8, t.id + 1, t.n)};
}

static struct linear linear_of(const struct call *c, uint32_t first, uint32_t n)
{
    return (struct linear){c->x, c->b, c->w, first, n, c->s->xa, c->x->s.dxa};
}

/* This thread's row of partial sums for norm gradients: norm1, norm2, qnorm, knorm one after the other. */
static float *norm_part(const struct call *c, const struct vec *v)
{
    if (!v->g)
        return NULL;
    const struct vec *all[] = {&c->b->norm1, &c->b->norm2, &c->b->qnorm, &c->b->knorm};
    float *at = c->x->s.part + c->t.id * c->x->s.part_n;
    for (uint32_t i = 0; all[i] != v; i++)
        at += all[i]->n;
    return at;
}

/* --- forward --------------------------------------------------------------------------------------------------------- */

static void add_bias(const struct call *c)
{
    float *row = c->s->qkv + (size_t)c->r0 * c->x->nqkv;
    for (uint32_t r = c->r0; r < c->r1; r++)
        for (uint32_t i = 0; i < 3; row += c->b->m[i].n_out, i++)
            if (c->b->bias[i].w)
                c->x->k->add(row, c->b->bias[i].w, c->b->bias[i].n);
}

/* raw keeps q and k as they were; qkv gets them normed. */
static void norm_qk(const struct call *c)
{
    const struct train *x = c->x;
    uint32_t hd = x->p.head_dim, nh = x->p.n_head, nk = x->p.n_head_kv, nqk = x->nq + x->nkv;
    for (uint32_t r = c->r0; r < c->r1; r++) {
        float *qk = c->s->qkv + (size_t)r * x->nqkv, *raw = c->s->raw + (size_t)r * nqk;
        float *inv = c->s->invq + (size_t)r * (nh + nk);
        memcpy(raw, qk, sizeof(float) * nqk);
        x->k->rms(qk, hd, inv, raw, hd, c->b->qnorm.w, nh, hd, x->p.eps);
        x->k->rms(qk + x->nq, hd, inv + nh, raw + x->nq, hd, c->b->knorm.w, nk, hd, x->p.eps);
    }
}

static void rotate(const struct call *c, float *qkv, float sign)
{
    const struct train *x = c->x;
    uint32_t half = x->p.rope_dims / 2;
    for (uint32_t r = c->r0; r < c->r1; r++) {
        size_t at = (size_t)c->batch->pos[r] * half;
        x->k->rope(qkv + (size_t)r * x->nqkv, x->p.n_head + x->p.n_head_kv, x->p.head_dim, x->p.rope_dims,
            x->p.rope_kind == ROPE_NEOX, x->rope_cos + at, x->rope_sin + at, sign);
    }
}

static void before_attention(const struct call *c, const float *in)
{
    const struct train *x = c->x;
    size_t d = x->p.d, at = c->r0 * d;
    struct linear qkv = linear_of(c, MAT_Q, 3);
    x->k->rms(c->s->h1 + at, d, c->s->inv1 + c->r0, in + at, d, c->b->norm1.w, c->r1 - c->r0, d, x->p.eps);
    linear_forward(&qkv, c->s->h1, d, c->s->qkv, x->nqkv, false, c->r0, c->r1);
    if (c->b->bias[0].w || c->b->bias[1].w || c->b->bias[2].w)
        add_bias(c);
    if (c->b->qnorm.w)
        norm_qk(c);
    rotate(c, c->s->qkv, 1);
}

/* h2 and gu from mid. */
static void feed_forward_in(const struct call *c)
{
    const struct train *x = c->x;
    size_t d = x->p.d, ff = x->p.d_ff, at = c->r0 * d;
    struct linear gu = linear_of(c, MAT_GATE, 2);
    x->k->rms(c->s->h2 + at, d, c->s->inv2 + c->r0, c->s->mid + at, d, c->b->norm2.w, c->r1 - c->r0, d, x->p.eps);
    linear_forward(&gu, c->s->h2, d, c->s->gu, 2 * ff, false, c->r0, c->r1);
}

static void after_attention(const struct call *c, const float *in, float *out)
{
    const struct train *x = c->x;
    size_t d = x->p.d, ff = x->p.d_ff, at = c->r0 * d, bytes = sizeof(float) * (c->r1 - c->r0) * d;
    struct linear o = linear_of(c, MAT_O, 1), down = linear_of(c, MAT_DOWN, 1);
    memcpy(c->s->mid + at, in + at, bytes);
    linear_forward(&o, c->s->att, x->nq, c->s->mid, d, true, c->r0, c->r1);
    feed_forward_in(c);
    x->k->swiglu(x->s.act + c->r0 * ff, c->s->gu + c->r0 * 2 * ff, c->r1 - c->r0, ff);
    memcpy(out + at, c->s->mid + at, bytes);
    linear_forward(&down, x->s.act, ff, out, d, true, c->r0, c->r1);
}

void block_forward(struct train *x, const struct block *b, const struct block_w *w, const struct batch *batch,
    struct block_save *s, const float *in, float *out, struct team t)
{
    struct call c = call_of(x, b, w, batch, s, t);
    before_attention(&c, in);
#pragma omp barrier
    attention_forward(x, batch, s, t);
    after_attention(&c, in, out);
}

/* --- backward -------------------------------------------------------------------------------------------------------- */

/* Gradients of mid (with the residual) and of the attention's result, from that of out. */
static void back_feed_forward(const struct call *c, const float *dout)
{
    struct train *x = c->x;
    size_t d = x->p.d, ff = x->p.d_ff, at = c->r0 * d, n = c->r1 - c->r0;
    struct linear o = linear_of(c, MAT_O, 1), down = linear_of(c, MAT_DOWN, 1), gu = linear_of(c, MAT_GATE, 2);
    linear_back_in(&down, dout, d, x->s.act, ff, c->r0, c->r1);
    x->k->swiglu_back(
        x->s.dgu + c->r0 * 2 * ff, x->s.act + c->r0 * ff, x->s.act + c->r0 * ff, c->s->gu + c->r0 * 2 * ff, n, ff);
    linear_back_in(&gu, x->s.dgu, 2 * ff, x->s.dh, d, c->r0, c->r1);
    memcpy(x->s.dmid + at, dout + at, sizeof(float) * n * d);
    x->k->rms_back(x->s.dmid + at, d, true, norm_part(c, &c->b->norm2), x->s.dh + at, d, c->s->mid + at, d,
        c->s->inv2 + c->r0, c->b->norm2.w, n, d);
    linear_back_in(&o, x->s.dmid, d, x->s.datt, x->nq, c->r0, c->r1);
}

static void back_delta(const struct call *c)
{
    const struct train *x = c->x;
    size_t hd = x->p.head_dim;
    for (uint32_t r = c->r0; r < c->r1; r++)
        for (uint32_t h = 0; h < x->p.n_head; h++) {
            size_t at = (size_t)r * x->nq + h * hd;
            x->s.delta[(size_t)r * x->p.n_head + h] = x->k->dot(x->s.datt + at, c->s->att + at, hd);
        }
}

static void back_norm_qk(const struct call *c)
{
    const struct train *x = c->x;
    uint32_t hd = x->p.head_dim, nh = x->p.n_head, nk = x->p.n_head_kv, nqk = x->nq + x->nkv;
    float *partq = norm_part(c, &c->b->qnorm), *partk = norm_part(c, &c->b->knorm);
    for (uint32_t r = c->r0; r < c->r1; r++) {
        float *g = x->s.dqkv + (size_t)r * x->nqkv;
        const float *raw = c->s->raw + (size_t)r * nqk, *inv = c->s->invq + (size_t)r * (nh + nk);
        x->k->rms_back(g, hd, false, partq, g, hd, raw, hd, inv, c->b->qnorm.w, nh, hd);
        x->k->rms_back(g + x->nq, hd, false, partk, g + x->nq, hd, raw + x->nq, hd, inv + nh, c->b->knorm.w, nk, hd);
    }
}

/* From the gradient of rotated q, k, v to that of the block's input (din NULL: only the weights' share of it). */
static void back_before_attention(const struct call *c, const float *in, float *din)
{
    struct train *x = c->x;
    size_t d = x->p.d, at = c->r0 * d, n = c->r1 - c->r0;
    struct linear qkv = linear_of(c, MAT_Q, 3);
    rotate(c, x->s.dqkv, -1);
    if (c->b->qnorm.w)
        back_norm_qk(c);
    linear_back_in(&qkv, x->s.dqkv, x->nqkv, x->s.dh, d, c->r0, c->r1);
    x->k->rms_back(x->s.dmid + at, d, true, norm_part(c, &c->b->norm1), x->s.dh + at, d, in + at, d, c->s->inv1 + c->r0,
        c->b->norm1.w, n, d);
    if (din)
        memcpy(din + at, x->s.dmid + at, sizeof(float) * n * d);
}

static void weights_after_attention(const struct call *c, const float *dout)
{
    const struct train *x = c->x;
    size_t d = x->p.d, ff = x->p.d_ff;
    struct linear o = linear_of(c, MAT_O, 1), down = linear_of(c, MAT_DOWN, 1), gu = linear_of(c, MAT_GATE, 2);
    linear_back_w(&down, dout, d, x->s.act, ff, c->batch->n_rows, c->t);
    linear_back_w(&gu, x->s.dgu, 2 * ff, c->s->h2, d, c->batch->n_rows, c->t);
    linear_back_w(&o, x->s.dmid, d, c->s->att, x->nq, c->batch->n_rows, c->t);
}

/* Column sums of dqkv over all rows, for this thread's columns. */
static void back_bias(const struct call *c)
{
    const struct train *x = c->x;
    const float *col = x->s.dqkv;
    for (uint32_t i = 0; i < 3; col += c->b->m[i].n_out, i++) {
        const struct vec *v = &c->b->bias[i];
        if (!v->g)
            continue;
        uint32_t n0 = team_cut(v->n, 16, c->t.id, c->t.n), n1 = team_cut(v->n, 16, c->t.id + 1, c->t.n);
        for (uint32_t r = 0; r < c->batch->n_rows && n1 > n0; r++)
            x->k->add(v->g + n0, col + (size_t)r * x->nqkv + n0, n1 - n0);
    }
}

/* Adds all threads' partial sums to a norm's gradient, this thread's columns, and clears nothing: each block starts
 * with cleared rows. */
static void back_norm_sum(const struct call *c, const struct vec *v)
{
    if (!v->g)
        return;
    const struct train *x = c->x;
    const float *part = norm_part(c, v) - c->t.id * x->s.part_n;
    uint32_t n0 = team_cut(v->n, 16, c->t.id, c->t.n), n1 = team_cut(v->n, 16, c->t.id + 1, c->t.n);
    for (uint32_t i = 0; i < c->t.n && n1 > n0; i++)
        x->k->add(v->g + n0, part + i * x->s.part_n + n0, n1 - n0);
}

static void weights_before_attention(const struct call *c)
{
    const struct train *x = c->x;
    struct linear qkv = linear_of(c, MAT_Q, 3);
    linear_back_w(&qkv, x->s.dqkv, x->nqkv, c->s->h1, x->p.d, c->batch->n_rows, c->t);
    back_bias(c);
    back_norm_sum(c, &c->b->norm1);
    back_norm_sum(c, &c->b->norm2);
    back_norm_sum(c, &c->b->qnorm);
    back_norm_sum(c, &c->b->knorm);
}

void block_backward(struct train *x, const struct block *b, const struct block_w *w, const struct batch *batch,
    struct block_save *s, const float *in, const float *dout, float *din, struct team t)
{
    struct call c = call_of(x, b, w, batch, s, t);
    memset(x->s.part + t.id * x->s.part_n, 0, sizeof(float) * x->s.part_n);
    back_feed_forward(&c, dout);
    back_delta(&c);
#pragma omp barrier
    weights_after_attention(&c, dout);
    attention_backward(x, batch, s, t);
    back_before_attention(&c, in, din);
#pragma omp barrier
    weights_before_attention(&c);
#pragma omp barrier
}
