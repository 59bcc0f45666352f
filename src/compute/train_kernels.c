/* Meson compiles this file several times, each with another TRAIN_KERNELS (the table's name) and instruction set.
 * Only loops marked as reductions may be reassociated: the exponential relies on the order of its operations. Exponentials are a polynomial on [-ln2/2, ln2/2] (relative error below
 * 2e-7), because a call to libm would keep loops scalar. */
#include "compute/train_kernels.h"

#include <math.h>
#include <string.h>

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

extern const struct train_kernels TRAIN_KERNELS;

/* e^x for x <= 88; 0 below -87. */
static inline float fast_exp(float x)
{
    float in = x < -87.0f ? -87.0f : x;
    float t = in * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the low bits are now round(x / ln 2) */
    int32_t bits;
    memcpy(&bits, &t, 4);
    float k = t - 12582912.0f;
    float r = in - k * 0.693359375f + k * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    int32_t power = (int32_t)((uint32_t)(bits + 127) << 23);
    float two;
    memcpy(&two, &power, 4);
    return x < -87.0f ? 0.0f : y * two;
}

static void rms(
    float *y, size_t ldy, float *inv, const float *x, size_t ldx, const float *w, size_t rows, size_t n, float eps)
{
    for (size_t r = 0; r < rows; r++, y += ldy, x += ldx) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < n; i++)
            sum += x[i] * x[i];
        float k = 1.0f / sqrtf(sum / (float)n + eps);
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * k * w[i];
        inv[r] = k;
    }
}

/* dx may be dy: element by element, which the pragma vouches for. */
static void rms_back_row(
    float *dx, bool add, const float *dy, const float *x, const float *w, float inv, float mean, size_t n)
{
    if (add) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            dx[i] += inv * (dy[i] * w[i] - x[i] * mean);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] = inv * (dy[i] * w[i] - x[i] * mean);
}

static void rms_back(float *dx, size_t lddx, bool add, float *restrict dw, const float *dy, size_t lddy,
    const float *restrict x, size_t ldx, const float *inv, const float *restrict w, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, dx += lddx, dy += lddy, x += ldx) {
        float k = inv[r], sum = 0;
        if (dw) {
#pragma omp simd reduction(+ : sum)
            for (size_t i = 0; i < n; i++) {
                float t = dy[i] * x[i];
                dw[i] += t * k;
                sum += t * w[i];
            }
        } else {
#pragma omp simd reduction(+ : sum)
            for (size_t i = 0; i < n; i++)
                sum += dy[i] * x[i] * w[i];
        }
        rms_back_row(dx, add, dy, x, w, k, sum * k * k / (float)n, n);
    }
}

static void rope_neox(float *restrict x, size_t half, const float *restrict c, const float *restrict s, float sign)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], si = s[i] * sign;
        x[i] = a * c[i] - b * si;
        x[i + half] = a * si + b * c[i];
    }
}

static void rope_norm(float *restrict x, size_t half, const float *restrict c, const float *restrict s, float sign)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[2 * i], b = x[2 * i + 1], si = s[i] * sign;
        x[2 * i] = a * c[i] - b * si;
        x[2 * i + 1] = a * si + b * c[i];
    }
}

static void rope(
    float *x, size_t n_heads, size_t head_dim, size_t dims, bool neox, const float *c, const float *s, float sign)
{
    for (size_t h = 0; h < n_heads; h++, x += head_dim)
        (neox ? rope_neox : rope_norm)(x, dims / 2, c, s, sign);
}

static void swiglu(float *restrict act, const float *restrict gu, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, act += n, gu += 2 * n)
        for (size_t i = 0; i < n; i++)
            act[i] = gu[i] / (1.0f + fast_exp(-gu[i])) * gu[n + i];
}

static void swiglu_back_row(
    float *dg, float *du, float *act, const float *dact, const float *g, const float *u, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float sig = 1.0f / (1.0f + fast_exp(-g[i])), silu = g[i] * sig, da = dact[i];
        act[i] = silu * u[i];
        du[i] = da * silu;
        dg[i] = da * u[i] * (sig + silu * (1.0f - sig));
    }
}

static void swiglu_back(float *dgu, float *act, const float *dact, const float *gu, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++)
        swiglu_back_row(
            dgu + r * 2 * n, dgu + r * 2 * n + n, act + r * n, dact + r * n, gu + r * 2 * n, gu + r * 2 * n + n, n);
}

static float row_max(const float *x, size_t n)
{
    float m = -INFINITY;
#pragma omp simd reduction(max : m)
    for (size_t i = 0; i < n; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

static void softmax(float *s, struct kernel_mask m, float scale, float *ret_inv_sum, float *ret_lse)
{
    float top = row_max(s + m.lo, m.hi - m.lo) * scale, sum = 0;
    for (uint32_t i = 0; i < m.lo; i++)
        s[i] = 0;
#pragma omp simd reduction(+ : sum)
    for (uint32_t i = m.lo; i < m.hi; i++) {
        s[i] = fast_exp(s[i] * scale - top);
        sum += s[i];
    }
    for (uint32_t i = m.hi; i < m.n; i++)
        s[i] = 0;
    *ret_inv_sum = 1.0f / sum;
    *ret_lse = top + logf(sum);
}

static void softmax_back(
    float *restrict s, float *restrict ds, struct kernel_mask m, float scale, float lse, float delta)
{
    for (uint32_t i = 0; i < m.lo; i++)
        s[i] = ds[i] = 0;
    for (uint32_t i = m.lo; i < m.hi; i++) {
        float p = fast_exp(s[i] * scale - lse);
        ds[i] = p * (ds[i] - delta) * scale;
        s[i] = p;
    }
    for (uint32_t i = m.hi; i < m.n; i++)
        s[i] = ds[i] = 0;
}

#define RUN 2048 /* long sums: floats within a run, doubles over the runs */

static double exp_row(float *x, size_t n, float *ret_max, size_t *ret_at)
{
    float top = row_max(x, n);
    size_t at = 0;
    while (at + 1 < n && x[at] != top)
        at++;
    double sum = 0;
    for (size_t from = 0; from < n; from += RUN) {
        size_t end = from + RUN < n ? from + RUN : n;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t i = from; i < end; i++) {
            x[i] = fast_exp(x[i] - top);
            part += x[i];
        }
        sum += part;
    }
    *ret_max = top;
    *ret_at = at;
    return sum;
}

static void scale(float *x, size_t n, float by)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= by;
}

static void add(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double sumsq(const float *x, size_t n)
{
    double sum = 0;
    for (size_t from = 0; from < n; from += RUN) {
        size_t end = from + RUN < n ? from + RUN : n;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t i = from; i < end; i++)
            part += x[i] * x[i];
        sum += part;
    }
    return sum;
}

static void adamw(
    float *restrict w, float *restrict g, float *restrict m, float *restrict v, size_t n, const struct kernel_adamw *k)
{
    struct kernel_adamw c = *k;
    for (size_t i = 0; i < n; i++) {
        float gi = g[i] * c.grad_scale;
        float mi = c.beta1 * m[i] + (1 - c.beta1) * gi, vi = c.beta2 * v[i] + (1 - c.beta2) * gi * gi;
        m[i] = mi;
        v[i] = vi;
        w[i] = w[i] * c.decay - c.step_size * mi / (sqrtf(vi) * c.inv_sqrt_bias2 + c.eps);
        g[i] = 0;
    }
}

const struct train_kernels TRAIN_KERNELS = {
    .name = TEXT(TRAIN_KERNELS),
    .rms = rms,
    .rms_back = rms_back,
    .rope = rope,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .softmax = softmax,
    .softmax_back = softmax_back,
    .exp_row = exp_row,
    .scale = scale,
    .add = add,
    .dot = dot,
    .sumsq = sumsq,
    .adamw = adamw,
};
