/* Our own vector loops, compiled once for each kind of processor and chosen once at start: AVX-512, AVX2, or plain C.
 *
 * Every sum is taken in an order that depends only on sizes and positions, never on how many rows or threads take part,
 * so a row's numbers are the same in any company. One machine always gets the same variant. */
#ifndef MERIDIAN_COMPUTE_KERNELS_H
#define MERIDIAN_COMPUTE_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* Keys and values live in pages of KV_PAGE positions. In one page of one block, for one kv head:
 *   keys   [KV_PAGE/16][head_dim][16]   16 positions side by side, so that 16 scores are taken at once
 *   values [KV_PAGE][head_dim]
 * as f16 or f32. */
#define KV_PAGE      64u
#define ATTEND_BLOCK 128u /* positions between two steps of the running softmax, aligned to position 0 */
#define ATTEND_ROWS  16u  /* most query vectors (rows × heads of a group) worked on together */

/* One tile: rows of one sequence, next to each other, and the query heads that share one kv head. */
struct attend {
    uint32_t head_dim;             /* a multiple of 2 */
    uint32_t group;                /* query heads of this kv head */
    uint32_t n_rows;               /* n_rows * group <= ATTEND_ROWS, or n_rows == 1 and the caller splits the group */
    bool f32;                      /* how the cache holds numbers */
    const float *q;                /* row r, head g: q + r*q_stride + g*head_dim; scaled by 1/sqrt(head_dim) already */
    float *out;                    /* as q, with out_stride */
    uint64_t q_stride, out_stride; /* in floats */
    const uint32_t *lo, *hi;       /* row r sees positions [lo[r], hi[r]) */
    const uint32_t *pages;         /* page number of position p: pages[p / KV_PAGE] */
    const uint8_t *cache;          /* page g of this block and kv head: cache + g*page_stride */
    uint64_t page_stride;          /* bytes */
    float *scratch;                /* attend_scratch(head_dim) floats, 64-byte aligned */
};

static inline uint64_t attend_scratch(uint32_t head_dim)
{
    return (uint64_t)ATTEND_ROWS * (ATTEND_BLOCK + 2 * (uint64_t)head_dim + 32);
}

enum kernel_float { KERNEL_F32, KERNEL_F16, KERNEL_BF16 };

/* y[c][r] = the product of row r of w (row-major, packed, in its type) and column c of x [n][width]; y's columns are
 * y_stride apart. A row and a column meet in 16 lanes along the width, added up at the end. */
struct multiply {
    enum kernel_float type;
    const void *w;
    uint64_t width, y_stride;
    const float *x;
    uint32_t n_rows, n;
    float *y;
};

struct kernels {
    const char *name;
    void (*multiply)(const struct multiply *m);
    void (*rms_norm)(float *dst, const float *x, const float *w, uint32_t n, float eps); /* dst may be x */
    void (*add)(float *dst, const float *a, const float *b, uint64_t n);                 /* dst may be a or b */
    void (*silu_mul)(float *dst, const float *gate, const float *up, uint64_t n);        /* silu(gate) * up */
    /* Natural logarithm of the sum of e^x; *ret_most gets the largest x. */
    double (*log_sum_exp)(const float *x, uint64_t n, float *ret_most);
    void (*to_f16)(uint16_t *dst, const float *x, uint32_t n);
    void (*attend)(const struct attend *a);
};

const struct kernels *kernels_get(void);
/* For tests: variant 0, 1, … that this machine can run; NULL past the last. */
const struct kernels *kernels_at(uint32_t i);

#endif
