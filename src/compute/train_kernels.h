/* The loops of training that are not matrix products, on rows of floats.
 *
 * Compiled once for each instruction set worth having (the same source, wider vectors) and picked at run time, as a
 * distribution's build may assume only the oldest machine. Plain loops that the compiler vectorises; sums are
 * taken in the order of its vectors, always the same in one build on one machine. Rows are `ld` floats apart. */
#ifndef MERIDIAN_COMPUTE_TRAIN_KERNELS_H
#define MERIDIAN_COMPUTE_TRAIN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One row of keys under one query: scores for keys [lo, hi) count, the others in [0, n) are masked. */
struct kernel_mask {
    uint32_t lo, hi, n;
};

/* AdamW's numbers for one step, bias corrections folded in. */
struct kernel_adamw {
    float grad_scale, beta1, beta2, step_size, inv_sqrt_bias2, eps, decay; /* decay = 1 - lr * weight_decay */
};

struct train_kernels {
    const char *name;

    /* y = x / rms(x) * w; inv[row] = 1 / rms(x). */
    void (*rms)(
        float *y, size_t ldy, float *inv, const float *x, size_t ldx, const float *w, size_t rows, size_t n, float eps);
    /* dx = (add ? dx : 0) + gradient; dw += gradient of w (dw NULL: not wanted). dx may be dy. */
    void (*rms_back)(float *dx, size_t lddx, bool add, float *dw, const float *dy, size_t lddy, const float *x,
        size_t ldx, const float *inv, const float *w, size_t rows, size_t n);

    /* Rotates n_heads heads of head_dim floats that follow each other, by one position's angles; c, s: [dims / 2].
     * sign -1 rotates back (the gradient). neox: pairs (i, i + dims/2), else (2i, 2i+1). */
    void (*rope)(
        float *x, size_t n_heads, size_t head_dim, size_t dims, bool neox, const float *c, const float *s, float sign);

    /* act = silu(gate) * up; rows of gu are gate [n] then up [n]. */
    void (*swiglu)(float *act, const float *gu, size_t rows, size_t n);
    /* dgu from dact, and act again on the way (for down's gradient). act may be dact. */
    void (*swiglu_back)(float *dgu, float *act, const float *dact, const float *gu, size_t rows, size_t n);

    /* Scores to unnormalised probabilities; *ret_inv_sum normalises them, *ret_lse = log of sum of exp(scale * s). */
    void (*softmax)(float *s, struct kernel_mask m, float scale, float *ret_inv_sum, float *ret_lse);
    /* s: scores to probabilities; ds: gradients of probabilities to gradients of unscaled scores. */
    void (*softmax_back)(float *s, float *ds, struct kernel_mask m, float scale, float lse, float delta);

    /* x = exp(x - max x); returns the sum and tells max and where it is (the first). */
    double (*exp_row)(float *x, size_t n, float *ret_max, size_t *ret_at);

    void (*scale)(float *x, size_t n, float by);
    void (*add)(float *y, const float *x, size_t n); /* y += x */
    float (*dot)(const float *a, const float *b, size_t n);
    double (*sumsq)(const float *x, size_t n);
    void (*adamw)(float *w, float *g, float *m, float *v, size_t n, const struct kernel_adamw *k); /* zeroes g */
};

/* The best for this machine. */
const struct train_kernels *train_kernels_pick(void);

#endif
