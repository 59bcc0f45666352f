/* Every build of the kernels that this machine can run, against libm in double, at lengths that fill vectors and do not. */
#include "base/test.h"

#include "base/rng.h"
#include "compute/train_kernels.h"

#include <math.h>
#include <string.h>

#define MOST 600

extern const struct train_kernels train_kernels_plain;
#ifdef __x86_64__
extern const struct train_kernels train_kernels_v3, train_kernels_v4;
#endif

static const uint32_t lengths[] = {1, 2, 7, 16, 31, 64, 100, 515};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

static float a[2 * MOST], b[2 * MOST], c[2 * MOST], w[MOST];

static void fill(float *x, uint32_t n, uint64_t key, float width)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = width * (float)(2 * rng_uniform(key, i) - 1);
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%.9g instead of %.9g", got, want);
}

static void check_softmax(const struct train_kernels *k, uint32_t n)
{
    struct kernel_mask m = {.lo = n / 3, .hi = n - n / 5, .n = n};
    float inv, lse;
    double sum = 0, delta = 0.3;
    fill(a, n, 1, 60);
    memcpy(b, a, sizeof a);
    for (uint32_t i = m.lo; i < m.hi; i++)
        sum += exp(0.5 * a[i]);
    k->softmax(b, m, 0.5f, &inv, &lse);
    near(lse, log(sum), 1e-6);
    for (uint32_t i = 0; i < n; i++)
        near(b[i] * inv, i < m.lo || i >= m.hi ? 0 : exp(0.5 * a[i]) / sum, 4e-6);
    memcpy(b, a, sizeof a);
    fill(c, n, 2, 1);
    memcpy(w, c, sizeof w);
    k->softmax_back(b, c, m, 0.5f, lse, (float)delta);
    for (uint32_t i = 0; i < n; i++) {
        double p = i < m.lo || i >= m.hi ? 0 : exp(0.5 * a[i]) / sum;
        near(b[i], p, 4e-6);
        near(c[i], p * (w[i] - delta) * 0.5, 4e-6);
    }
}

static void check_swiglu(const struct train_kernels *k, uint32_t n)
{
    float act[MOST], dgu[2 * MOST];
    fill(a, 2 * n, 3, 30);
    fill(c, n, 4, 1);
    k->swiglu(act, a, 1, n);
    memcpy(b, c, sizeof b);
    k->swiglu_back(dgu, b, b, a, 1, n);
    for (uint32_t i = 0; i < n; i++) {
        double g = a[i], u = a[n + i], s = 1 / (1 + exp(-g));
        near(act[i], g * s * u, 1e-6);
        near(b[i], g * s * u, 1e-6);
        near(dgu[n + i], c[i] * g * s, 1e-6);
        near(dgu[i], c[i] * u * s * (1 + g * (1 - s)), 2e-6);
    }
}

static void check_rms(const struct train_kernels *k, uint32_t n)
{
    float inv, dw[MOST] = {0};
    double sum = 0, mean = 0;
    fill(a, n, 5, 3);
    fill(w, n, 6, 1);
    fill(c, n, 7, 1);
    k->rms(b, n, &inv, a, n, w, 1, n, 1e-5f);
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * a[i];
    double want = 1 / sqrt(sum / n + 1e-5);
    near(inv, want, 1e-6);
    for (uint32_t i = 0; i < n; i++) {
        near(b[i], a[i] * want * w[i], 1e-6);
        mean += (double)c[i] * w[i] * a[i] * want / n;
    }
    memcpy(b, c, sizeof b);
    k->rms_back(b, n, false, dw, b, n, a, n, &inv, w, 1, n);
    for (uint32_t i = 0; i < n; i++) {
        near(dw[i], c[i] * a[i] * want, 1e-6);
        near(b[i], want * (c[i] * w[i] - a[i] * want * mean), 5e-6);
    }
}

static void check_exp_row(const struct train_kernels *k, uint32_t n)
{
    float top;
    size_t at;
    double sum = 0;
    fill(a, n, 8, 40);
    a[n / 2] = a[n - 1] = 41; /* the first of two equals */
    memcpy(b, a, sizeof b);
    near(k->exp_row(b, n, &top, &at), 0, 1e9);
    assert_true(top == 41 && at == n / 2);
    for (uint32_t i = 0; i < n; i++) {
        float x = a[i] - 41.0f; /* rounded as it is there: what is measured is the exponential */
        sum += exp(x);
        near(b[i] / exp(x), 1, 1e-7);
    }
    near(k->exp_row(a, n, &top, &at), sum, 1e-6);
}

static void check_rope(const struct train_kernels *k, uint32_t n)
{
    uint32_t dims = n / 2 * 2, half = dims / 2;
    float cs[MOST], sn[MOST];
    for (uint32_t i = 0; i < half; i++) {
        cs[i] = cosf((float)i);
        sn[i] = sinf((float)i);
    }
    for (int neox = 0; neox < 2; neox++) {
        fill(a, 2 * n, 9, 1); /* two heads */
        memcpy(b, a, sizeof b);
        k->rope(b, 2, n, dims, neox, cs, sn, 1);
        for (uint32_t i = 0; i < half; i++) {
            uint32_t p = n + (neox ? i : 2 * i), q = n + (neox ? i + half : 2 * i + 1);
            near(b[p], a[p] * cos(i) - a[q] * sin(i), 2e-6);
            near(b[q], a[p] * sin(i) + a[q] * cos(i), 2e-6);
        }
        k->rope(b, 2, n, dims, neox, cs, sn, -1);
        for (uint32_t i = 0; i < 2 * n; i++)
            near(b[i], a[i], 2e-6);
    }
}

static void check_adamw(const struct train_kernels *k, uint32_t n)
{
    float m[MOST], v[MOST];
    struct kernel_adamw o = {0.5f, 0.9f, 0.95f, 1e-2f, 2, 1e-8f, 0.99f};
    double all = 0;
    fill(w, n, 10, 1);
    fill(a, n, 11, 1);
    fill(m, n, 12, 1);
    fill(c, n, 13, 1);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = c[i] * c[i];
        all += (double)a[i] * a[i];
    }
    near(k->sumsq(a, n), all, 1e-6);
    memcpy(b, w, sizeof w);
    memcpy(b + MOST, m, sizeof m);
    memcpy(c + MOST, a, sizeof(float) * MOST);
    k->adamw(w, a, m, v, n, &o);
    for (uint32_t i = 0; i < n; i++) {
        double g = 0.5 * c[MOST + i], m1 = 0.9 * b[MOST + i] + 0.1 * g;
        double v1 = 0.95 * (double)(c[i] * c[i]) + 0.05 * g * g;
        near(m[i], m1, 1e-6);
        near(w[i], 0.99 * b[i] - 1e-2 * m1 / (2 * sqrt(v1) + 1e-8), 1e-5);
        assert_true(a[i] == 0);
    }
}

static void check(const struct train_kernels *k)
{
    for (size_t i = 0; i < N_LENGTHS; i++) {
        check_softmax(k, lengths[i]);
        check_swiglu(k, lengths[i]);
        check_rms(k, lengths[i]);
        check_exp_row(k, lengths[i]);
        check_rope(k, lengths[i]);
        check_adamw(k, lengths[i]);
    }
}

static void every_build_is_right(void **state)
{
    check(&train_kernels_plain);
#ifdef __x86_64__
    if (__builtin_cpu_supports("x86-64-v3"))
        check(&train_kernels_v3);
    if (__builtin_cpu_supports("x86-64-v4"))
        check(&train_kernels_v4);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_build_is_right)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
