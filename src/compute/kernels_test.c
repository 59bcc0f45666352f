/* Every variant that this machine can run, against doubles. */
#include "base/test.h"

#include "base/rng.h"
#include "compute/kernels.h"

#include <ggml.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct kernels *k; /* the variant under test */

static float *noise(uint64_t key, uint64_t n, float size)
{
    float *f = malloc(n * sizeof *f);
    for (uint64_t i = 0; i < n; i++)
        f[i] = size * (float)(rng_uniform(key, i) - 0.5);
    return f;
}

static void near(double got, double want, double within, const char *what)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%s, %s: %.9g, not %.9g", k->name, what, got, want);
}

static void test_rows(void **state)
{
    static const uint32_t sizes[] = {1, 7, 16, 90, 4099};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint32_t n = sizes[s];
        float *x = noise(1, n, 30), *w = noise(2, n, 2), *y = malloc(n * sizeof *y), most;
        double sum = 0, e = 0, top = -INFINITY;
        for (uint32_t i = 0; i < n; i++) {
            sum += (double)x[i] * x[i];
            top = fmax(top, x[i]);
        }
        for (uint32_t i = 0; i < n; i++)
            e += exp(x[i] - top);
        k->rms_norm(y, x, w, n, 1e-5f);
        for (uint32_t i = 0; i < n; i++)
            near(y[i], x[i] / sqrt(sum / n + 1e-5) * w[i], 2e-6, "norm");
        near(k->log_sum_exp(x, n, &most), top + log(e), 2e-6, "log of sum");
        near(most, top, 0, "largest");
        k->silu_mul(y, x, w, n);
        for (uint32_t i = 0; i < n; i++)
            near(y[i], x[i] / (1 + exp(-(double)x[i])) * w[i], 1e-5, "silu");
        free(x);
        free(w);
        free(y);
    }
}

/* One value in each type. */
static void put(void *to, uint64_t i, enum kernel_float type, float v)
{
    if (type == KERNEL_F32)
        ((float *)to)[i] = v;
    else if (type == KERNEL_F16)
        ((ggml_fp16_t *)to)[i] = ggml_fp32_to_fp16(v);
    else
        ((ggml_bf16_t *)to)[i] = ggml_fp32_to_bf16(v);
}

static float get(const void *from, uint64_t i, enum kernel_float type)
{
    return type == KERNEL_F32   ? ((const float *)from)[i]
           : type == KERNEL_F16 ? ggml_fp16_to_fp32(((const ggml_fp16_t *)from)[i])
                                : ggml_bf16_to_fp32(((const ggml_bf16_t *)from)[i]);
}

static void check_product(enum kernel_float type, uint32_t rows, uint32_t width, uint32_t n)
{
    float *f = noise(3, (uint64_t)rows * width, 1), *x = noise(4, (uint64_t)n * width, 1);
    void *w = malloc(4ull * rows * width);
    float *y = calloc((uint64_t)n * rows, sizeof *y), *one = calloc(rows, sizeof *one);
    for (uint64_t i = 0; i < (uint64_t)rows * width; i++)
        put(w, i, type, f[i]);
    struct multiply m = {
        .type = type, .w = w, .width = width, .y_stride = rows, .x = x, .n_rows = rows, .n = n, .y = y};
    k->multiply(&m);
    for (uint32_t c = 0; c < n; c++) {
        for (uint32_t r = 0; r < rows; r++) {
            double want = 0;
            for (uint32_t i = 0; i < width; i++)
                want += (double)get(w, (uint64_t)r * width + i, type) * x[(uint64_t)c * width + i];
            near(y[(uint64_t)c * rows + r], want, 2e-7 * width, "product");
        }
        m.x = x + (uint64_t)c * width;
        m.n = 1;
        m.y = one;
        k->multiply(&m);
        assert_memory_equal(one, y + (uint64_t)c * rows, rows * sizeof *one);
        m.x = x;
    }
    free(f);
    free(x);
    free(w);
    free(y);
    free(one);
}

static void test_products(void **state)
{
    for (enum kernel_float t = KERNEL_F32; t <= KERNEL_BF16; t++) {
        check_product(t, 9, 64, 11);
        check_product(t, 6, 90, 3);
        check_product(t, 1, 5, 1);
    }
}

/* One sequence of n positions in pages that lie in no order. */
struct cache {
    uint32_t dim, n;
    bool f32;
    uint8_t *mem;
    uint64_t page;
    uint32_t pages[8];
    float *key, *value; /* as they are read back: [n][dim] */
};

static struct cache cache_new(uint32_t dim, uint32_t n, bool f32)
{
    struct cache c = {.dim = dim, .n = n, .f32 = f32, .page = 2ull * KV_PAGE * dim * (f32 ? 4 : 2)};
    const enum kernel_float type = f32 ? KERNEL_F32 : KERNEL_F16;
    const uint32_t pages = (n + KV_PAGE - 1) / KV_PAGE;
    c.mem = malloc(c.page * pages);
    memset(c.mem, 0xff, c.page * pages); /* not a number, wherever nobody may look */
    c.key = noise(5, (uint64_t)n * dim, 4);
    c.value = noise(6, (uint64_t)n * dim, 2);
    for (uint32_t i = 0; i < pages; i++)
        c.pages[i] = (i * 11 + 3) % pages;
    for (uint32_t p = 0; p < n; p++)
        for (uint32_t d = 0; d < dim; d++) {
            uint8_t *page = c.mem + c.pages[p / KV_PAGE] * c.page, *values = page + c.page / 2;
            uint64_t at = p % KV_PAGE, k_at = (at / 16 * dim + d) * 16 + at % 16;
            put(page, k_at, type, c.key[(uint64_t)p * dim + d]);
            put(values, at * dim + d, type, c.value[(uint64_t)p * dim + d]);
            c.key[(uint64_t)p * dim + d] = get(page, k_at, type);
            c.value[(uint64_t)p * dim + d] = get(values, at * dim + d, type);
        }
    return c;
}

static void want_attention(const struct cache *c, const float *q, uint32_t lo, uint32_t hi, double *ret)
{
    double sum = 0;
    memset(ret, 0, c->dim * sizeof *ret);
    for (uint32_t p = lo; p < hi; p++) {
        double s = 0;
        for (uint32_t d = 0; d < c->dim; d++)
            s += (double)q[d] * c->key[(uint64_t)p * c->dim + d];
        s = exp(s);
        sum += s;
        for (uint32_t d = 0; d < c->dim; d++)
            ret[d] += s * c->value[(uint64_t)p * c->dim + d];
    }
    for (uint32_t d = 0; d < c->dim; d++)
        ret[d] /= sum;
}

/* Rows at the end of a sequence, all together and each head of each row alone. */
static void check_attention(uint32_t dim, uint32_t n, uint32_t window, uint32_t group, uint32_t rows, bool f32)
{
    struct cache c = cache_new(dim, n, f32);
    uint32_t lo[16], hi[16];
    const uint64_t width = (uint64_t)group * dim;
    float *q = noise(7, rows * width, 2), *out = calloc(rows * width, sizeof *out);
    float *one = calloc(dim, sizeof *one), *scratch = aligned_alloc(64, (attend_scratch(dim) * 4 + 63) / 64 * 64);
    double *want = calloc(dim, sizeof *want);
    for (uint32_t r = 0; r < rows; r++) {
        hi[r] = n - rows + r + 1;
        lo[r] = window && hi[r] > window ? hi[r] - window : 0;
    }
    struct attend a = {.head_dim = dim,
        .group = group,
        .n_rows = rows,
        .f32 = f32,
        .q = q,
        .out = out,
        .q_stride = width,
        .out_stride = width,
        .lo = lo,
        .hi = hi,
        .pages = c.pages,
        .cache = c.mem,
        .page_stride = c.page,
        .scratch = scratch};
    k->attend(&a);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t g = 0; g < group; g++) {
            const float *got = out + r * width + (uint64_t)g * dim;
            want_attention(&c, q + r * width + (uint64_t)g * dim, lo[r], hi[r], want);
            for (uint32_t d = 0; d < dim; d++)
                near(got[d], want[d], 1e-5, "attention");
            struct attend b = a;
            b.q = q + r * width + (uint64_t)g * dim;
            b.out = one;
            b.group = b.n_rows = 1;
            b.lo = lo + r;
            b.hi = hi + r;
            k->attend(&b);
            assert_memory_equal(one, got, dim * sizeof *one);
        }
    free(c.mem);
    free(c.key);
    free(c.value);
    free(q);
    free(out);
    free(one);
    free(want);
    free(scratch);
}

static void test_attention(void **state)
{
    for (int f32 = 0; f32 < 2; f32++) {
        check_attention(64, 400, 0, 4, 4, f32);
        check_attention(16, 17, 0, 1, 16, f32);
        check_attention(22, 130, 0, 5, 3, f32);
        check_attention(128, 300, 70, 2, 8, f32);
        check_attention(6, 200, 3, 1, 9, f32);
        check_attention(40, 1, 0, 3, 1, f32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_attention),
    };
    int failed = 0;
    for (uint32_t i = 0; (k = kernels_at(i)); i++)
        failed += cmocka_run_group_tests_name(k->name, tests, NULL, NULL);
    return failed;
}
