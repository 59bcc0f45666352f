/* The loops behind kernels.h, included once by each kernels_*.c after it has defined its vectors:
 *
 *   VN             lanes; 16 is a multiple of it
 *   vf             VN floats
 *   v_load v_store v_set1 v_add v_sub v_mul v_div v_fma(a, b, c) = a*b + c, v_max, v_min
 *   v_round        to nearest integer, as a float
 *   v_pow2(n)      2^n for integral n in [-126, 127]
 *   v_from16(p)    VN halves to floats; v_to16(p, v) back
 *   v_frombf(p)    VN bfloat16 to floats
 *   NQ, NG         tile of queries and of vectors that fits the registers
 *   MR, MC         tile of rows and columns of a product that does */
#include "compute/kernels.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define NV     (16 / VN) /* vectors in a group of 16 positions */

/* e^x, x clamped to [-87, 88], to about 1 in 10^7. Cody-Waite reduction, then Taylor's polynomial in Horner's form. */
INLINE vf v_exp(vf x)
{
    x = v_max(v_min(x, v_set1(88.0f)), v_set1(-87.0f));
    vf n = v_round(v_mul(x, v_set1(1.44269504f)));
    vf r = v_fma(n, v_set1(-0.693145752f), x);
    r = v_fma(n, v_set1(-1.42860677e-6f), r);
    vf p = v_set1(1.0f / 5040);
    p = v_fma(p, r, v_set1(1.0f / 720));
    p = v_fma(p, r, v_set1(1.0f / 120));
    p = v_fma(p, r, v_set1(1.0f / 24));
    p = v_fma(p, r, v_set1(1.0f / 6));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1.0f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_mul(p, v_pow2(n));
}

/* Adds up 16 lanes in one fixed order. */
INLINE float sum16(const vf v[NV])
{
    float s[16];
    for (int i = 0; i < NV; i++)
        v_store(s + i * VN, v[i]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

static void rms_norm(float *dst, const float *x, const float *w, uint32_t n, float eps)
{
    vf acc[NV];
    for (int i = 0; i < NV; i++)
        acc[i] = v_set1(0);
    uint32_t whole = n & ~15u;
    for (uint32_t i = 0; i < whole; i += 16)
        for (int j = 0; j < NV; j++) {
            vf v = v_load(x + i + j * VN);
            acc[j] = v_fma(v, v, acc[j]);
        }
    float sum = sum16(acc);
    for (uint32_t i = whole; i < n; i++)
        sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    vf vs = v_set1(scale);
    for (uint32_t i = 0; i < whole; i += VN)
        v_store(dst + i, v_mul(v_mul(v_load(x + i), vs), v_load(w + i)));
    for (uint32_t i = whole; i < n; i++)
        dst[i] = x[i] * scale * w[i];
}

static void add(float *dst, const float *a, const float *b, uint64_t n)
{
    uint64_t i = 0;
    for (; i + VN <= n; i += VN)
        v_store(dst + i, v_add(v_load(a + i), v_load(b + i)));
    for (; i < n; i++)
        dst[i] = a[i] + b[i];
}

INLINE vf silu_mul_one(vf g, vf u)
{
    return v_mul(v_div(g, v_add(v_set1(1), v_exp(v_sub(v_set1(0), g)))), u);
}

/* The last few go through the same vector code, so that an element's place does not matter. */
static void silu_mul(float *dst, const float *gate, const float *up, uint64_t n)
{
    uint64_t i = 0;
    for (; i + VN <= n; i += VN)
        v_store(dst + i, silu_mul_one(v_load(gate + i), v_load(up + i)));
    if (i < n) {
        float g[VN] = {0}, u[VN] = {0};
        memcpy(g, gate + i, (n - i) * sizeof *g);
        memcpy(u, up + i, (n - i) * sizeof *u);
        v_store(g, silu_mul_one(v_load(g), v_load(u)));
        memcpy(dst + i, g, (n - i) * sizeof *g);
    }
}

/* Sixteen lanes for some thousand terms, then into a double: as exact as floats can say. */
static double log_sum_exp(const float *x, uint64_t n, float *ret_most)
{
    float lanes[16], most = -INFINITY;
    double sum = 0;
    uint64_t whole = n & ~(uint64_t)15;
    vf acc[NV];
    for (int j = 0; j < NV; j++)
        acc[j] = v_set1(-INFINITY);
    for (uint64_t i = 0; i < whole; i += 16)
        for (int j = 0; j < NV; j++)
            acc[j] = v_max(v_load(x + i + j * VN), acc[j]);
    for (int j = 0; j < NV; j++)
        v_store(lanes + j * VN, acc[j]);
    for (int i = 0; i < 16; i++)
        most = lanes[i] > most ? lanes[i] : most;
    for (uint64_t i = whole; i < n; i++)
        most = x[i] > most ? x[i] : most;
    *ret_most = most;
    if (!(most > -INFINITY && most < INFINITY))
        return most;
    for (uint64_t at = 0; at < whole; at += 4096) {
        uint64_t end = whole - at < 4096 ? whole : at + 4096;
        for (int j = 0; j < NV; j++)
            acc[j] = v_set1(0);
        for (uint64_t i = at; i < end; i += 16)
            for (int j = 0; j < NV; j++)
                acc[j] = v_add(acc[j], v_exp(v_sub(v_load(x + i + j * VN), v_set1(most))));
        sum += sum16(acc);
    }
    for (uint64_t i = whole; i < n; i++)
        sum += expf(x[i] - most);
    return most + log(sum);
}

static void to_f16(uint16_t *dst, const float *x, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VN <= n; i += VN)
        v_to16(dst + i, v_load(x + i));
    if (i < n) {
        float f[VN] = {0};
        uint16_t h[VN];
        memcpy(f, x + i, (n - i) * sizeof *f);
        v_to16(h, v_load(f));
        memcpy(dst + i, h, (n - i) * sizeof *h);
    }
}

/* ---- products with float weights ---- */

INLINE uint64_t float_bytes(const enum kernel_float type)
{
    return type == KERNEL_F32 ? 4 : 2;
}

INLINE vf v_weight(const uint8_t *p, uint64_t i, const enum kernel_float type)
{
    if (type == KERNEL_F32)
        return v_load((const float *)p + i);
    return type == KERNEL_F16 ? v_from16((const uint16_t *)p + i) : v_frombf((const uint16_t *)p + i);
}

/* The last steps of a width that is no multiple of 16, filled up with zeros. */
INLINE const uint8_t *padded(const uint8_t *p, uint64_t bytes, uint8_t room[64])
{
    memset(room, 0, 64);
    memcpy(room, p, bytes);
    return room;
}

INLINE void multiply_tile(
    const struct multiply *m, uint64_t row, uint64_t column, const int nr, const int nc, const enum kernel_float type)
{
    const uint64_t elt = float_bytes(type), whole = m->width & ~(uint64_t)15, rest = m->width - whole;
    const uint8_t *w[MR];
    const float *x[MC];
    vf acc[MR][MC][NV];
    for (int r = 0; r < nr; r++)
        w[r] = (const uint8_t *)m->w + (row + (uint64_t)r) * m->width * elt;
    for (int c = 0; c < nc; c++)
        x[c] = m->x + (column + (uint64_t)c) * m->width;
    for (int r = 0; r < nr; r++)
        for (int c = 0; c < nc; c++)
            for (int j = 0; j < NV; j++)
                acc[r][c][j] = v_set1(0);
    for (uint64_t k = 0; k < whole; k += 16)
        for (int j = 0; j < NV; j++) {
            vf a[MR];
            for (int r = 0; r < nr; r++)
                a[r] = v_weight(w[r], k + (uint64_t)(j * VN), type);
            for (int c = 0; c < nc; c++) {
                vf b = v_load(x[c] + k + j * VN);
                for (int r = 0; r < nr; r++)
                    acc[r][c][j] = v_fma(a[r], b, acc[r][c][j]);
            }
        }
    if (rest) {
        uint8_t wr[64], xr[64];
        for (int c = 0; c < nc; c++) {
            const float *b = (const float *)padded((const uint8_t *)(x[c] + whole), rest * 4, xr);
            for (int r = 0; r < nr; r++) {
                const uint8_t *a = padded(w[r] + whole * elt, rest * elt, wr);
                for (int j = 0; j < NV; j++)
                    acc[r][c][j] = v_fma(v_weight(a, (uint64_t)(j * VN), type), v_load(b + j * VN), acc[r][c][j]);
            }
        }
    }
    for (int c = 0; c < nc; c++)
        for (int r = 0; r < nr; r++)
            m->y[(column + (uint64_t)c) * m->y_stride + row + (uint64_t)r] = sum16(acc[r][c]);
}

INLINE void multiply_rows(const struct multiply *m, uint64_t row, const int nr, const enum kernel_float type)
{
    uint64_t c = 0;
    for (; c + MC <= m->n; c += MC)
        multiply_tile(m, row, c, nr, MC, type);
    for (; c + 2 <= m->n && MC > 2; c += 2)
        multiply_tile(m, row, c, nr, 2, type);
    for (; c < m->n; c++)
        multiply_tile(m, row, c, nr, 1, type);
}

INLINE void multiply_all(const struct multiply *m, const enum kernel_float type)
{
    uint64_t r = 0;
    for (; r + MR <= m->n_rows; r += MR)
        multiply_rows(m, r, MR, type);
    for (; r < m->n_rows; r++)
        multiply_rows(m, r, 1, type);
}

static void multiply(const struct multiply *m)
{
    if (m->type == KERNEL_F32)
        multiply_all(m, KERNEL_F32);
    else if (m->type == KERNEL_F16)
        multiply_all(m, KERNEL_F16);
    else
        multiply_all(m, KERNEL_BF16);
}

/* ---- attention ----
 *
 * For each block of ATTEND_BLOCK positions: scores of all queries, their maximum and exponentials, the weighted sum of
 * the values; then the block's part is merged into what the earlier blocks gave. A query's arithmetic is the same
 * alone and in a tile: a score is one chain over the head's dimensions, a value one chain over the positions seen. */

INLINE vf v_get(const uint8_t *p, uint64_t i, const bool f32)
{
    return f32 ? v_load((const float *)p + i) : v_from16((const uint16_t *)p + i);
}

/* Scores of nq queries against ng vectors of positions side by side (within one or more groups of 16). */
INLINE void score_tile(const float *const *q, float *const *s, const uint8_t *keys, uint32_t hd, const int nq,
    const int ng, const bool f32)
{
    vf acc[NQ][NG];
    for (int i = 0; i < nq; i++)
        for (int j = 0; j < ng; j++)
            acc[i][j] = v_set1(0);
    for (uint32_t d = 0; d < hd; d++) {
        vf k[NG];
        for (int j = 0; j < ng; j++)
            k[j] = v_get(keys, ((uint64_t)(j / NV) * hd + d) * 16 + (j % NV) * VN, f32);
        for (int i = 0; i < nq; i++) {
            vf b = v_set1(q[i][d]);
            for (int j = 0; j < ng; j++)
                acc[i][j] = v_fma(k[j], b, acc[i][j]);
        }
    }
    for (int i = 0; i < nq; i++)
        for (int j = 0; j < ng; j++)
            v_store(s[i] + j * VN, acc[i][j]);
}

/* Scores of nq queries against the first n positions of a page, rounded up to whole groups of 16. */
INLINE void score_page(
    const float *const *q, float *const *s, const uint8_t *page, uint32_t n, uint32_t hd, const int nq, const bool f32)
{
    const uint64_t elt = f32 ? 4 : 2;
    for (uint32_t at = 0; at < n;) {
        float *sp[NQ];
        const bool whole = NG * VN == KV_PAGE && n > KV_PAGE - 16;
        for (int i = 0; i < nq; i++)
            sp[i] = s[i] + at;
        if (whole)
            score_tile(q, sp, page, hd, nq, NG, f32);
        else
            score_tile(q, sp, page + (uint64_t)at * hd * elt, hd, nq, NV, f32);
        at += whole ? KV_PAGE : 16;
    }
}

/* acc[i] += sum over positions [from, to) of p[i][position] * value[position], all in one page. */
INLINE void value_page(float *const *acc, const float *const *p, const uint8_t *values, uint32_t from, uint32_t to,
    uint32_t hd, const int nq, const bool f32)
{
    uint32_t d = 0;
    for (; d + NG * VN <= hd; d += NG * VN) {
        vf a[NQ][NG];
        for (int i = 0; i < nq; i++)
            for (int j = 0; j < NG; j++)
                a[i][j] = v_load(acc[i] + d + j * VN);
        for (uint32_t t = from; t < to; t++) {
            vf v[NG];
            for (int j = 0; j < NG; j++)
                v[j] = v_get(values, (uint64_t)t * hd + d + j * VN, f32);
            for (int i = 0; i < nq; i++) {
                vf b = v_set1(p[i][t]);
                for (int j = 0; j < NG; j++)
                    a[i][j] = v_fma(v[j], b, a[i][j]);
            }
        }
        for (int i = 0; i < nq; i++)
            for (int j = 0; j < NG; j++)
                v_store(acc[i] + d + j * VN, a[i][j]);
    }
    for (; d + VN <= hd; d += VN)
        for (int i = 0; i < nq; i++) {
            vf a = v_load(acc[i] + d);
            for (uint32_t t = from; t < to; t++)
                a = v_fma(v_get(values, (uint64_t)t * hd + d, f32), v_set1(p[i][t]), a);
            v_store(acc[i] + d, a);
        }
    if (d == hd)
        return;
    /* A head that is no whole number of vectors: the rest goes through a padded one. */
    uint32_t rest = hd - d;
    for (int i = 0; i < nq; i++) {
        float f[VN] = {0};
        memcpy(f, acc[i] + d, rest * sizeof *f);
        vf a = v_load(f);
        for (uint32_t t = from; t < to; t++) {
            uint8_t raw[VN * 4] = {0};
            memcpy(raw, values + ((uint64_t)t * hd + d) * (f32 ? 4 : 2), rest * (f32 ? 4 : 2));
            a = v_fma(v_get(raw, 0, f32), v_set1(p[i][t]), a);
        }
        v_store(f, a);
        memcpy(acc[i] + d, f, rest * sizeof *f);
    }
}

/* Turns scores [0, ATTEND_BLOCK) into weights e^(s - max) where position is in [from, to), 0 elsewhere. */
INLINE void softmax_block(float *s, uint32_t from, uint32_t to, float *ret_max, float *ret_sum)
{
    for (uint32_t i = from & ~15u; i < from; i++)
        s[i] = -INFINITY;
    uint32_t end = (to + 15) & ~15u;
    for (uint32_t i = to; i < end; i++)
        s[i] = -INFINITY;
    vf m[NV], sum[NV];
    for (int j = 0; j < NV; j++) {
        m[j] = v_set1(-INFINITY);
        sum[j] = v_set1(0);
    }
    for (uint32_t i = from & ~15u; i < end; i += 16)
        for (int j = 0; j < NV; j++)
            m[j] = v_max(m[j], v_load(s + i + j * VN));
    float lanes[16], most = -INFINITY;
    for (int j = 0; j < NV; j++)
        v_store(lanes + j * VN, m[j]);
    for (int i = 0; i < 16; i++)
        most = lanes[i] > most ? lanes[i] : most;
    for (uint32_t i = from & ~15u; i < end; i += 16)
        for (int j = 0; j < NV; j++)
            v_store(s + i + j * VN, v_exp(v_sub(v_load(s + i + j * VN), v_set1(most))));
    /* The clamp in v_exp leaves e^-87 where nothing is seen. */
    for (uint32_t i = from & ~15u; i < from; i++)
        s[i] = 0;
    for (uint32_t i = to; i < end; i++)
        s[i] = 0;
    for (uint32_t i = from & ~15u; i < end; i += 16)
        for (int j = 0; j < NV; j++)
            sum[j] = v_add(sum[j], v_load(s + i + j * VN));
    *ret_max = most;
    *ret_sum = sum16(sum);
}

struct query {
    const float *q;
    uint32_t lo, hi;   /* positions seen */
    uint32_t from, to; /* the same within the current block; empty: from == to */
    float max, sum;    /* of all blocks so far */
    float block_max, block_sum;
    float *s;          /* [ATTEND_BLOCK] scores, then weights */
    float *acc, *part; /* [head_dim] all blocks so far, and this block */
};

/* Adds a block's part to what the earlier blocks gave. */
INLINE void merge_block(struct query *x, uint32_t hd)
{
    float most = x->max > x->block_max ? x->max : x->block_max;
    float a[VN], b[VN];
    v_store(a, v_exp(v_set1(x->max - most)));
    v_store(b, v_exp(v_set1(x->block_max - most)));
    float old = x->max == -INFINITY ? 0 : a[0];
    for (uint32_t d = 0; d < hd; d++)
        x->acc[d] = x->acc[d] * old + x->part[d] * b[0];
    x->sum = x->sum * old + x->block_sum * b[0];
    x->max = most;
}

/* The weighted values of nq queries over one page, whose first position within the block is `base`. */
INLINE void values_of(struct query *x, const uint8_t *values, uint32_t base, uint32_t hd, const int nq, const bool f32)
{
    uint32_t from[NQ], to[NQ], all_from = 0, all_to = KV_PAGE;
    float *acc[NQ];
    const float *p[NQ];
    for (int i = 0; i < nq; i++) {
        from[i] = x[i].from > base ? x[i].from - base : 0;
        to[i] = x[i].to > base ? x[i].to - base : 0;
        from[i] = from[i] < KV_PAGE ? from[i] : KV_PAGE;
        to[i] = to[i] < KV_PAGE ? to[i] : KV_PAGE;
        all_from = from[i] > all_from ? from[i] : all_from;
        all_to = to[i] < all_to ? to[i] : all_to;
        acc[i] = x[i].part;
        p[i] = x[i].s + base;
    }
    if (all_to <= all_from) { /* nothing in common */
        for (int i = 0; i < nq; i++)
            if (from[i] < to[i])
                value_page(acc + i, p + i, values, from[i], to[i], hd, 1, f32);
        return;
    }
    for (int i = 0; i < nq; i++)
        if (from[i] < all_from)
            value_page(acc + i, p + i, values, from[i], all_from, hd, 1, f32);
    value_page(acc, p, values, all_from, all_to, hd, nq, f32);
    for (int i = 0; i < nq; i++)
        if (all_to < to[i])
            value_page(acc + i, p + i, values, all_to, to[i], hd, 1, f32);
}

/* Up to NQ queries over one block of positions starting at `start`. */
INLINE void block_of(const struct attend *a, struct query *x, uint32_t start, const int nq, const bool f32)
{
    const uint32_t hd = a->head_dim;
    const uint64_t keys = (uint64_t)KV_PAGE * hd * (f32 ? 4 : 2);
    const float *q[NQ];
    float *s[NQ];
    uint32_t from = ATTEND_BLOCK, to = 0;
    for (int i = 0; i < nq; i++) {
        x[i].from = x[i].lo > start ? x[i].lo - start : 0;
        x[i].to = x[i].hi > start ? x[i].hi - start : 0;
        x[i].to = x[i].to < ATTEND_BLOCK ? x[i].to : ATTEND_BLOCK;
        if (x[i].from >= x[i].to)
            x[i].from = x[i].to = 0;
        else {
            from = x[i].from < from ? x[i].from : from;
            to = x[i].to > to ? x[i].to : to;
        }
        q[i] = x[i].q;
    }
    if (from >= to)
        return;
    const uint32_t *pages = a->pages + start / KV_PAGE;
    for (uint32_t base = from - from % KV_PAGE; base < to; base += KV_PAGE) {
        for (int i = 0; i < nq; i++)
            s[i] = x[i].s + base;
        uint32_t n = to - base < KV_PAGE ? to - base : KV_PAGE;
        score_page(q, s, a->cache + pages[base / KV_PAGE] * a->page_stride, n, hd, nq, f32);
    }
    for (int i = 0; i < nq; i++) {
        if (x[i].from == x[i].to)
            continue;
        softmax_block(x[i].s, x[i].from, x[i].to, &x[i].block_max, &x[i].block_sum);
        memset(x[i].part, 0, hd * sizeof *x[i].part);
    }
    for (uint32_t base = from - from % KV_PAGE; base < to; base += KV_PAGE)
        values_of(x, a->cache + pages[base / KV_PAGE] * a->page_stride + keys, base, hd, nq, f32);
    for (int i = 0; i < nq; i++)
        if (x[i].from < x[i].to)
            merge_block(&x[i], hd);
}

INLINE void attend_all(const struct attend *a, const bool f32)
{
    struct query x[ATTEND_ROWS];
    const uint32_t n = a->n_rows * a->group, hd = a->head_dim, room = (hd + 15) & ~15u;
    uint32_t lo = UINT32_MAX, hi = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t r = i / a->group;
        float *own = a->scratch + (uint64_t)i * (ATTEND_BLOCK + 2 * room);
        x[i] = (struct query){.q = a->q + r * a->q_stride + (uint64_t)(i % a->group) * hd,
            .lo = a->lo[r],
            .hi = a->hi[r],
            .max = -INFINITY,
            .s = own,
            .acc = own + ATTEND_BLOCK,
            .part = own + ATTEND_BLOCK + room};
        memset(x[i].acc, 0, hd * sizeof *x[i].acc);
        lo = a->lo[r] < lo ? a->lo[r] : lo;
        hi = a->hi[r] > hi ? a->hi[r] : hi;
    }
    for (uint32_t start = lo - lo % ATTEND_BLOCK; start < hi; start += ATTEND_BLOCK) {
        uint32_t i = 0;
        for (; i + NQ <= n; i += NQ)
            block_of(a, x + i, start, NQ, f32);
        for (; i + 2 <= n && NQ > 2; i += 2)
            block_of(a, x + i, start, 2, f32);
        for (; i < n; i++)
            block_of(a, x + i, start, 1, f32);
    }
    for (uint32_t i = 0; i < n; i++) {
        float *out = a->out + (i / a->group) * a->out_stride + (uint64_t)(i % a->group) * hd;
        float inv = 1.0f / x[i].sum;
        for (uint32_t d = 0; d < hd; d++)
            out[d] = x[i].acc[d] * inv;
    }
}

static void attend(const struct attend *a)
{
    if (a->f32)
        attend_all(a, true);
    else
        attend_all(a, false);
}
