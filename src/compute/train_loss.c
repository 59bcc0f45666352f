/* The end of the model: final norm, logits, cross-entropy, and their gradients, only for rows that have a target, a
 * few rows at a time so that logits of a large vocabulary stay small. Each thread owns a slice of the vocabulary: its
 * logits, its rows of the output matrix and their gradients; what rows need from all slices (the maximum, the sum) is
 * put together in the order of the threads. A quantised output matrix is dequantised a tile at a time. */
#include "compute/train_impl.h"

#include "base/omp.h"

#include <math.h>
#include <string.h>

#define LOGITS_MOST (32u << 20) /* floats */
#define TILE        256         /* rows of a quantised matrix dequantised at once */

/* Rows idx[0..n) of the micro-batch, all with targets. */
struct chunk {
    struct train *x;
    const float *last; /* [n_rows][d]: output of the last block */
    float *dx;         /* [n_rows][d] */
    const int32_t *targets;
    const uint32_t *idx;
    uint32_t n, v0, v1; /* this thread's slice of the vocabulary */
    struct team t;
};

uint32_t loss_rows(const struct train *x)
{
    uint64_t n = LOGITS_MOST / x->p.n_vocab;
    n = n < 16 ? 16 : n;
    return n < x->cfg.max_rows ? (uint32_t)n : x->cfg.max_rows;
}

static bool in_place(const struct train *x)
{
    return x->output.w || train_mapped(x->output.t);
}

uint64_t loss_thread_floats(const struct train *x)
{
    return x->output.t && !in_place(x) ? (uint64_t)TILE * x->p.d : 0;
}

/* Rows [v, *ret_end) of the output matrix as F32, as many as can be had at once up to `end`. */
static const float *output_rows(const struct chunk *c, uint32_t v, uint32_t end, uint32_t *ret_end)
{
    struct train *x = c->x;
    if (in_place(x)) {
        *ret_end = end;
        return (x->output.w ? x->output.w : train_mapped(x->output.t)) + (uint64_t)v * x->p.d;
    }
    float *tile = x->s.thread + c->t.id * x->s.thread_n;
    *ret_end = v + TILE < end ? v + TILE : end;
    train_dequantise(x->output.t, v, *ret_end, tile);
    return tile;
}

static void norm_rows(const struct chunk *c)
{
    struct train *x = c->x;
    size_t d = x->p.d;
    uint32_t r1 = team_cut(c->n, 1, c->t.id + 1, c->t.n);
    for (uint32_t r = team_cut(c->n, 1, c->t.id, c->t.n); r < r1; r++)
        x->k->rms(x->s.hn + r * d, d, &x->s.hinv[r], c->last + c->idx[r] * d, d, x->out_norm.w, 1, d, x->p.eps);
}

/* This slice's logits, then e^(logit - the slice's maximum) in their place. */
static void slice_logits(const struct chunk *c)
{
    struct train *x = c->x;
    size_t d = x->p.d, n_vocab = x->p.n_vocab;
    for (uint32_t v = c->v0, end; v < c->v1; v = end) {
        const float *w = output_rows(c, v, c->v1, &end);
        mm_forward(c->n, end - v, d, 1, x->s.hn, d, w, d, x->s.logits + v, n_vocab, false);
    }
    for (uint32_t r = 0; r < c->n; r++) {
        struct loss_top *top = &x->s.top[(size_t)c->t.id * x->s.loss_rows + r];
        float *row = x->s.logits + r * n_vocab;
        uint32_t target = (uint32_t)c->targets[c->idx[r]];
        *top = (struct loss_top){.max = -INFINITY};
        if (target >= c->v0 && target < c->v1)
            x->s.at_target[r] = row[target];
        size_t at = 0;
        if (c->v1 > c->v0)
            top->sum = x->k->exp_row(row + c->v0, c->v1 - c->v0, &top->max, &at);
        top->at = c->v0 + (uint32_t)at;
    }
}

/* All slices together; ties go to the first. */
static struct loss_top row_total(const struct chunk *c, uint32_t r)
{
    const struct loss_top *top = c->x->s.top + r;
    size_t step = c->x->s.loss_rows;
    struct loss_top all = top[0];
    for (uint32_t i = 1; i < c->t.n; i++)
        if (top[i * step].max > all.max) {
            all.max = top[i * step].max;
            all.at = top[i * step].at;
        }
    all.sum = 0;
    for (uint32_t i = 0; i < c->t.n; i++)
        all.sum += top[i * step].sum * exp((double)top[i * step].max - all.max);
    return all;
}

static void count_loss(const struct chunk *c, struct train_loss *ret)
{
    for (uint32_t r = 0; r < c->n; r++) {
        struct loss_top all = row_total(c, r);
        ret->sum += log(all.sum) + all.max - c->x->s.at_target[r];
        ret->n_right += (int32_t)all.at == c->targets[c->idx[r]];
    }
    ret->n += c->n;
}

/* Exponentials to gradients of logits: probability, minus one at the target. */
static void slice_gradients(const struct chunk *c)
{
    struct train *x = c->x;
    for (uint32_t r = 0; r < c->n && c->v1 > c->v0; r++) {
        struct loss_top all = row_total(c, r);
        const struct loss_top *own = &x->s.top[(size_t)c->t.id * x->s.loss_rows + r];
        float *row = x->s.logits + (size_t)r * x->p.n_vocab;
        uint32_t target = (uint32_t)c->targets[c->idx[r]];
        x->k->scale(row + c->v0, c->v1 - c->v0, (float)(exp((double)own->max - all.max) / all.sum));
        if (target >= c->v0 && target < c->v1)
            row[target] -= 1;
    }
}

/* This slice's share of the gradient of hn, and the gradient of its rows of the output matrix. */
static void slice_back(const struct chunk *c)
{
    struct train *x = c->x;
    size_t d = x->p.d, n_vocab = x->p.n_vocab;
    float *dhn = x->s.dhn + (size_t)c->t.id * x->s.loss_rows * d;
    if (c->v0 >= c->v1)
        memset(dhn, 0, sizeof(float) * c->n * d);
    for (uint32_t v = c->v0, end; v < c->v1; v = end) {
        const float *w = output_rows(c, v, c->v1, &end);
        mm_back_in(c->n, end - v, d, 1, x->s.logits + v, n_vocab, w, d, dhn, d, v > c->v0);
    }
    if (x->output.g)
        mm_back_w(c->n, c->v1 - c->v0, d, 1, x->s.logits + c->v0, n_vocab, x->s.hn, d, x->output.g + c->v0 * d, d);
}

static void rows_back(const struct chunk *c)
{
    struct train *x = c->x;
    size_t d = x->p.d;
    float *part = x->out_norm.g ? x->s.part + c->t.id * x->s.part_n : NULL;
    uint32_t r1 = team_cut(c->n, 1, c->t.id + 1, c->t.n);
    for (uint32_t r = team_cut(c->n, 1, c->t.id, c->t.n); r < r1; r++) {
        float *dhn = x->s.dhn + r * d;
        for (uint32_t i = 1; i < c->t.n; i++)
            x->k->add(dhn, dhn + (size_t)i * x->s.loss_rows * d, d);
        size_t at = c->idx[r] * d;
        x->k->rms_back(c->dx + at, d, false, part, dhn, d, c->last + at, d, &x->s.hinv[r], x->out_norm.w, 1, d);
    }
}

static void norm_sum(const struct chunk *c)
{
    struct train *x = c->x;
    uint32_t n0 = team_cut(x->p.d, 16, c->t.id, c->t.n), n1 = team_cut(x->p.d, 16, c->t.id + 1, c->t.n);
    for (uint32_t i = 0; i < c->t.n && x->out_norm.g && n1 > n0; i++)
        x->k->add(x->out_norm.g + n0, x->s.part + i * x->s.part_n + n0, n1 - n0);
}

static void chunk_run(const struct chunk *c, bool only_eval, struct train_loss *ret)
{
    norm_rows(c);
#pragma omp barrier
    slice_logits(c);
#pragma omp barrier
    if (c->t.id == 0)
        count_loss(c, ret);
    if (!only_eval) {
        slice_gradients(c);
        slice_back(c);
    }
#pragma omp barrier
    if (!only_eval)
        rows_back(c);
}

static void loss_team(struct chunk c, uint32_t n_rows, uint32_t n_idx, bool only_eval, struct train_loss *ret)
{
    struct train *x = c.x;
    uint32_t r0 = team_cut(n_rows, 8, c.t.id, c.t.n), r1 = team_cut(n_rows, 8, c.t.id + 1, c.t.n);
    c.v0 = team_cut(x->p.n_vocab, 16, c.t.id, c.t.n);
    c.v1 = team_cut(x->p.n_vocab, 16, c.t.id + 1, c.t.n);
    memset(x->s.part + c.t.id * x->s.part_n, 0, sizeof(float) * x->s.part_n);
    if (!only_eval)
        memset(c.dx + (size_t)r0 * x->p.d, 0, sizeof(float) * (r1 - r0) * x->p.d);
#pragma omp barrier
    for (uint32_t i = 0; i < n_idx; i += c.n) {
        c.idx = x->s.loss_idx + i;
        c.n = n_idx - i < x->s.loss_rows ? n_idx - i : x->s.loss_rows;
        chunk_run(&c, only_eval, ret);
    }
#pragma omp barrier
    if (!only_eval)
        norm_sum(&c);
}

void loss_forward(struct train *x, const struct slot *s, const float *last, const int32_t *targets, bool only_eval,
    struct train_loss *ret)
{
    uint32_t n = 0;
    struct train_loss sum = {0};
    for (uint32_t r = 0; r < s->batch.n_rows; r++)
        if (targets[r] >= 0)
            x->s.loss_idx[n++] = r;
#pragma omp parallel num_threads(x->cfg.n_threads)
    {
        struct team t = {(uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads()};
        struct chunk c = {.x = x, .last = last, .dx = s->dx, .targets = targets, .t = t};
        loss_team(c, s->batch.n_rows, n, only_eval, &sum);
    }
    *ret = sum;
}
