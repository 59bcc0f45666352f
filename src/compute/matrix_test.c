/* Products against ggml's own unpacking of the same bytes in double, and one column against many, bit for bit. */
#include "base/test.h"

#include "base/rng.h"
#include "compute/matrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLUMNS 19u

static float *noise(uint64_t key, uint64_t n)
{
    float *f = malloc(n * sizeof *f);
    for (uint64_t i = 0; i < n; i++)
        f[i] = (float)(rng_uniform(key, i) - 0.5);
    return f;
}

static struct matrix_columns columns_new(uint32_t n, uint32_t most)
{
    return (struct matrix_columns){.q = calloc(n, most),
        .scale = calloc(n, most / 32 * 4),
        .total = calloc(n, most / 32 * 4),
        .sums = calloc(n, most / 16 * 4),
        .most = most};
}

static void columns_done(struct matrix_columns *c)
{
    free(c->q);
    free(c->scale);
    free(c->total);
    free(c->sums);
}

static struct matrix pack(enum ggml_type type, uint32_t rows, uint32_t width, const void *raw)
{
    uint64_t size = matrix_bytes(type, rows, width);
    uint8_t *data = aligned_alloc(64, size);
    matrix_pack(type, rows, width, raw, data);
    return (struct matrix){type, rows, width, size / ((rows + 15) / 16), data};
}

static void check(enum ggml_type type, uint32_t rows, uint32_t width)
{
    float *w = noise(1, (uint64_t)rows * width), *x = noise(2, (uint64_t)COLUMNS * width);
    uint8_t *raw = malloc(ggml_row_size(type, width) * rows);
    float *y = calloc((uint64_t)COLUMNS * rows, sizeof *y), *one = calloc(rows, sizeof *one);
    ggml_quantize_chunk(type, w, raw, 0, rows, width, NULL);
    ggml_get_type_traits(type)->to_float(raw, w, (int64_t)rows * width);
    struct matrix m = pack(type, rows, width, raw);
    struct matrix_columns c = columns_new(COLUMNS, width + 64);
    for (uint32_t i = 0; i < COLUMNS; i++)
        matrix_round(&c, i, x + (uint64_t)i * width, 0, width / 32);
    matrix_multiply(&m, &c, x, COLUMNS, y, 0, matrix_tiles(&m));
    for (uint32_t i = 0; i < COLUMNS; i++)
        for (uint32_t r = 0; r < rows; r++) {
            double want = 0, size = 0;
            for (uint32_t k = 0; k < width; k++) {
                double q = (double)c.q[(uint64_t)i * c.most + k] * c.scale[i * (c.most / 32) + k / 32];
                assert_true(fabs(q - x[(uint64_t)i * width + k]) <= 0.5001 * c.scale[i * (c.most / 32) + k / 32]);
                want += w[(uint64_t)r * width + k] * q;
                size += fabs(w[(uint64_t)r * width + k] * q);
            }
            if (!(fabs(y[(uint64_t)i * rows + r] - want) <= 1e-6 * size))
                fail_msg("%s %ux%u: row %u, column %u is %g, not %g", ggml_type_name(type), rows, width, r, i,
                    (double)y[(uint64_t)i * rows + r], want);
        }
    for (uint32_t i = 0; i < COLUMNS; i++) {
        matrix_round(&c, 0, x + (uint64_t)i * width, 0, width / 32);
        matrix_multiply(&m, &c, x, 1, one, 0, matrix_tiles(&m));
        assert_memory_equal(one, y + (uint64_t)i * rows, rows * sizeof *one);
    }
    columns_done(&c);
    free((void *)(uintptr_t)m.data);
    free(w);
    free(x);
    free(y);
    free(one);
    free(raw);
}

static const enum ggml_type types[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};

static void test_products(void **state)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!matrix_can(types[i], 32, 512))
            skip();
        check(types[i], 48, 512);
        check(types[i], 37, 256);
        check(types[i], 5, 1280);
        if (ggml_blck_size(types[i]) == 32)
            check(types[i], 33, 96);
    }
}

static void test_what_it_takes(void **state)
{
    assert_true(matrix_can(GGML_TYPE_F16, 17, 13));
    assert_false(matrix_can(GGML_TYPE_IQ4_XS, 16, 256));
    assert_false(matrix_can(GGML_TYPE_Q4_K, 16, 128));
    assert_false(matrix_can(GGML_TYPE_Q8_0, 16, 16));
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* matrix_test bench: GB/s of one column, and what more columns cost. */
static void bench(void)
{
    const uint32_t rows = 8192, width = 2048;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        uint8_t *raw = calloc(rows, ggml_row_size(types[i], width));
        struct matrix m = pack(types[i], rows, width, raw);
        struct matrix_columns c = columns_new(64, width + 64);
        float *y = calloc(64ull * rows, sizeof *y), *x = calloc(64ull * width, sizeof *x);
        printf("%-5s", ggml_type_name(types[i]));
        for (uint32_t n = 1; n <= 64; n *= 2) {
            int64_t best = INT64_MAX;
            for (int k = 0; k < 20; k++) {
                int64_t t = cpu_ns();
                matrix_multiply(&m, &c, x, n, y, 0, matrix_tiles(&m));
                t = cpu_ns() - t;
                best = t < best ? t : best;
            }
            printf("  %u: %.2f ms %.0f GB/s %.0f GMAC/s", n, (double)best / 1e6,
                (double)matrix_bytes(types[i], rows, width) / (double)best, (double)n * rows * width / (double)best);
        }
        printf("\n");
        columns_done(&c);
        free((void *)(uintptr_t)m.data);
        free(raw);
        free(x);
        free(y);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_what_it_takes),
    };
    if (argc > 1) {
        bench();
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
