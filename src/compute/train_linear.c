/* Matrix products of training, on this thread's share. Matrices with a common input whose weights lie one after the
 * other (q, k, v; gate, up) become one product. An adapter adds two thin products beside the wide one. */
#include "compute/train_impl.h"

#include <cblas.h>

void mm_forward(size_t m, size_t n, size_t k, float by, const float *x, size_t ldx, const float *w, size_t ldw,
    float *y, size_t ldy, bool add)
{
    if (m > 0)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, by, x, ldx, w, ldw, add, y, ldy);
}

void mm_back_in(size_t m, size_t n, size_t k, float by, const float *dy, size_t ldy, const float *w, size_t ldw,
    float *dx, size_t ldx, bool add)
{
    if (m > 0)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, n, by, dy, ldy, w, ldw, add, dx, ldx);
}

void mm_back_w(size_t m, size_t n, size_t k, float by, const float *dy, size_t ldy, const float *x, size_t ldx,
    float *dw, size_t ldw)
{
    if (m > 0 && n > 0)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, k, m, by, dy, ldy, x, ldx, 1, dw, ldw);
}

/* How many matrices from i on lie one after the other, and the outputs they have together. */
static uint32_t run_length(const struct linear *l, uint32_t i, bool grads, uint32_t *ret_out)
{
    const struct mat *m = l->b->m;
    uint32_t end = l->first + l->n, j = i;
    uint64_t n = 0;
    do {
        n += m[j].n_out;
        j++;
        const float *expect = (grads ? m[i].g : l->w->w[i]) + n * m[i].n_in;
        if (j == end || (grads ? m[j].g : l->w->w[j]) != expect)
            break;
    } while (true);
    *ret_out = (uint32_t)n;
    return j - i;
}

static void adapter_forward(
    const struct linear *l, uint32_t i, const float *in, size_t ldi, float *out, size_t ldo, uint32_t r0, uint32_t r1)
{
    const struct mat *m = &l->b->m[i];
    uint32_t rank = l->x->cfg.lora_rank;
    float *xa = l->xa[i] + (size_t)r0 * rank;
    mm_forward(r1 - r0, rank, m->n_in, 1, in + r0 * ldi, ldi, m->a, m->n_in, xa, rank, false);
    mm_forward(r1 - r0, m->n_out, rank, l->x->lora_scale, xa, rank, m->b, rank, out + r0 * ldo, ldo, true);
}

void linear_forward(
    const struct linear *l, const float *in, size_t ldi, float *out, size_t ldo, bool add, uint32_t r0, uint32_t r1)
{
    const struct mat *m = l->b->m;
    uint32_t n_out;
    for (uint32_t i = l->first, run; i < l->first + l->n; i += run) {
        run = run_length(l, i, false, &n_out);
        mm_forward(r1 - r0, n_out, m[i].n_in, 1, in + r0 * ldi, ldi, l->w->w[i], m[i].n_in, out + r0 * ldo, ldo, add);
        for (uint32_t j = i; j < i + run; out += m[j].n_out, j++)
            if (m[j].a)
                adapter_forward(l, j, in, ldi, out, ldo, r0, r1);
    }
}

static void adapter_back_in(
    const struct linear *l, uint32_t i, const float *dout, size_t ldo, float *din, size_t ldi, uint32_t r0, uint32_t r1)
{
    const struct mat *m = &l->b->m[i];
    uint32_t rank = l->x->cfg.lora_rank;
    float *dxa = l->dxa[i] + (size_t)r0 * rank;
    mm_back_in(r1 - r0, m->n_out, rank, l->x->lora_scale, dout + r0 * ldo, ldo, m->b, rank, dxa, rank, false);
    mm_back_in(r1 - r0, rank, m->n_in, 1, dxa, rank, m->a, m->n_in, din + r0 * ldi, ldi, true);
}

void linear_back_in(
    const struct linear *l, const float *dout, size_t ldo, float *din, size_t ldi, uint32_t r0, uint32_t r1)
{
    const struct mat *m = l->b->m;
    uint32_t n_out;
    for (uint32_t i = l->first, run; i < l->first + l->n; i += run) {
        run = run_length(l, i, false, &n_out);
        mm_back_in(r1 - r0, n_out, m[i].n_in, 1, dout + r0 * ldo, ldo, l->w->w[i], m[i].n_in, din + r0 * ldi, ldi,
            i > l->first);
        for (uint32_t j = i; j < i + run; dout += m[j].n_out, j++)
            if (m[j].a)
                adapter_back_in(l, j, dout, ldo, din, ldi, r0, r1);
    }
}

/* B's rows and A's columns are cut over the threads. */
static void adapter_back_w(const struct linear *l, uint32_t i, const float *dout, size_t ldo, const float *in,
    size_t ldi, uint32_t rows, struct team t)
{
    const struct mat *m = &l->b->m[i];
    uint32_t rank = l->x->cfg.lora_rank;
    uint32_t n0 = team_cut(m->n_out, 16, t.id, t.n), n1 = team_cut(m->n_out, 16, t.id + 1, t.n);
    mm_back_w(rows, n1 - n0, rank, l->x->lora_scale, dout + n0, ldo, l->xa[i], rank, m->gb + (size_t)n0 * rank, rank);
    uint32_t k0 = team_cut(m->n_in, 16, t.id, t.n), k1 = team_cut(m->n_in, 16, t.id + 1, t.n);
    if (k1 > k0)
        mm_back_w(rows, rank, k1 - k0, 1, l->dxa[i], rank, in + k0, ldi, m->ga + k0, m->n_in);
}

void linear_back_w(
    const struct linear *l, const float *dout, size_t ldo, const float *in, size_t ldi, uint32_t rows, struct team t)
{
    const struct mat *m = l->b->m;
    uint32_t n_out;
    for (uint32_t i = l->first, run; i < l->first + l->n; i += run) {
        if (!m[i].g) {
            if (m[i].a)
                adapter_back_w(l, i, dout, ldo, in, ldi, rows, t);
            dout += m[i].n_out;
            run = 1;
            continue;
        }
        run = run_length(l, i, true, &n_out);
        uint32_t n0 = team_cut(n_out, 16, t.id, t.n), n1 = team_cut(n_out, 16, t.id + 1, t.n);
        mm_back_w(rows, n1 - n0, m[i].n_in, 1, dout + n0, ldo, in, ldi, m[i].g + (size_t)n0 * m[i].n_in, m[i].n_in);
        dout += n_out;
    }
}
