#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "wire/vec_codec.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_D 5000

static float x[MOST_D], y[MOST_D];
static uint8_t bytes[4 + MOST_D * 4];

/* Roughly normal noise: a sum of uniforms. */
static void noise(float *to, uint32_t d, uint64_t key, float scale)
{
    for (uint32_t i = 0; i < d; i++) {
        double s = 0;
        for (int k = 0; k < 6; k++)
            s += rng_uniform(key, i * 6ull + (unsigned)k) - 0.5;
        to[i] = (float)s * scale;
    }
}

static enum vec_form round_trip(enum split_codec codec, uint32_t d)
{
    size_t n = vec_row_encode(codec, x, d, bytes);
    assert_true(n <= vec_row_size(VEC_F32, d));
    memset(y, 0x55, sizeof(y));
    assert_int_equal(vec_row_decode(codec, y, d, bytes, n), n);
    assert_int_equal(n, vec_row_size(bytes[0], d));
    return bytes[0];
}

static float most(uint32_t from, uint32_t n)
{
    float a = 0;
    for (uint32_t i = from; i < from + n; i++)
        a = fmaxf(a, fabsf(x[i]));
    return a;
}

static const uint32_t widths[] = {1, 7, 8, 31, 32, 33, 64, 96, 100, 1024, 4096};

static void test_f32_is_exact(void **state)
{
    for (size_t w = 0; w < sizeof(widths) / sizeof(*widths); w++) {
        for (uint32_t i = 0; i < widths[w]; i++) {
            uint32_t u = (uint32_t)rng_u64(1, i); /* any bits: NaN payloads, infinities, subnormals */
            memcpy(x + i, &u, 4);
        }
        assert_int_equal(round_trip(SPLIT_F32, widths[w]), VEC_F32);
        assert_memory_equal(x, y, widths[w] * 4);
    }
}

static void test_f16_every_value(void **state)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = vec_f32_from_f16((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff))
            assert_true(isnan(f) && isnan(vec_f32_from_f16(vec_f16_from_f32(f))));
        else
            assert_int_equal(vec_f16_from_f32(f), h);
    }
    assert_int_equal(vec_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(vec_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(vec_f16_from_f32(-0x1p-25f), 0x8000); /* a tie goes to even */
    assert_int_equal(vec_f16_from_f32(0x1.8p-24f), 2);
    assert_int_equal(vec_f16_from_f32(1 + 0x1p-11f), 0x3c00);
}

static void test_f16_bound(void **state)
{
    for (size_t w = 0; w < sizeof(widths) / sizeof(*widths); w++)
        for (int k = 0; k < 8; k++) {
            uint32_t d = widths[w];
            noise(x, d, (uint64_t)k, powf(10, (float)k - 3));
            assert_int_equal(round_trip(SPLIT_F16, d), VEC_F16);
            float a = most(0, d);
            for (uint32_t i = 0; i < d; i++) {
                assert_true(fabsf(x[i] - y[i]) <= a * 0x1p-11f);
                assert_true(y[i] == vec_f32_from_f16(vec_f16_from_f32(x[i]))); /* vector form and scalar agree */
            }
        }
}

static void test_int8_bound(void **state)
{
    for (size_t w = 3; w < sizeof(widths) / sizeof(*widths); w++)
        for (int k = -12; k < 5; k++) {
            uint32_t d = widths[w];
            noise(x, d, (uint64_t)(k + 100), powf(10, (float)k));
            enum vec_form form = round_trip(SPLIT_INT8, d);
            assert_true(form == VEC_INT8_H || form == VEC_INT8_S);
            double loss = 0, energy = 0;
            for (uint32_t b = 0; b < d; b += VEC_BLOCK) {
                uint32_t n = d - b < VEC_BLOCK ? d - b : VEC_BLOCK;
                float a = most(b, n);
                for (uint32_t i = b; i < b + n; i++) {
                    assert_true(fabsf(x[i] - y[i]) <= a / 254 * 1.01f);
                    loss += (double)(x[i] - y[i]) * (x[i] - y[i]);
                    energy += (double)x[i] * x[i];
                }
                energy -= (double)a * a;
            }
            assert_true(loss <= 1.001e-3 * energy);
        }
}

static void test_int8_is_small(void **state)
{
    noise(x, 4096, 3, 1);
    assert_int_equal(round_trip(SPLIT_INT8, 4096), VEC_INT8_H);
    assert_int_equal(vec_row_size(VEC_INT8_H, 4096), 4 + 4096 + 256);
}

static void test_outliers_fall_back_alone(void **state)
{
    noise(x, 256, 4, 1);
    x[77] = 3000; /* the other 31 values of its block would be zeroed */
    assert_int_equal(round_trip(SPLIT_INT8, 256), VEC_F16);
    assert_true(y[77] == 3000);
    x[77] = 1e6f;
    assert_int_equal(round_trip(SPLIT_INT8, 256), VEC_F32);
    assert_memory_equal(x, y, 256 * 4);
    assert_int_equal(round_trip(SPLIT_F16, 256), VEC_F32);
    noise(x, 4096, 4, 1);
    x[77] = 20; /* moderate: int8 keeps it */
    assert_int_equal(round_trip(SPLIT_INT8, 4096), VEC_INT8_H);
}

static void test_not_finite(void **state)
{
    const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t k = 0; k < 4; k++)
        for (enum split_codec c = SPLIT_F32; c <= SPLIT_INT8; c++) {
            noise(x, 100, 5, 1);
            x[99] = odd[k];
            assert_int_equal(round_trip(c, 100), VEC_F32);
            assert_memory_equal(x, y, 400);
        }
    memset(x, 0, sizeof(x));
    for (enum split_codec c = SPLIT_F32; c <= SPLIT_INT8; c++) {
        round_trip(c, 100);
        assert_memory_equal(x, y, 400);
    }
    for (uint32_t i = 0; i < 100; i++)
        x[i] = 1e-42f * (float)i; /* subnormal f32 */
    assert_int_equal(round_trip(SPLIT_INT8, 100), VEC_F32);
    assert_memory_equal(x, y, 400);
}

static void test_exact_bytes(void **state)
{
    x[0] = 127, x[1] = -127, x[2] = 1, x[3] = 0;
    static const uint8_t int8[] = {2, 0, 0, 0, 0x00, 0x3c, 127, 129, 1, 0};
    assert_int_equal(vec_row_encode(SPLIT_INT8, x, 4, bytes), sizeof(int8));
    assert_memory_equal(bytes, int8, sizeof(int8));
    static const uint8_t f16[] = {1, 0, 0, 0, 0xf0, 0x57, 0xf0, 0xd7, 0x00, 0x3c, 0, 0};
    assert_int_equal(vec_row_encode(SPLIT_F16, x, 4, bytes), sizeof(f16));
    assert_memory_equal(bytes, f16, sizeof(f16));
}

/* Every prefix of a row in a buffer of exactly that size, and every form byte: refused, nothing read beyond (asan). */
static void test_hostile(void **state)
{
    noise(x, 70, 6, 1);
    for (enum split_codec c = SPLIT_F32; c <= SPLIT_INT8; c++) {
        size_t n = vec_row_encode(c, x, 70, bytes);
        for (size_t len = 0; len < n; len++) {
            uint8_t *exact = malloc(len ? len : 1);
            memcpy(exact, bytes, len);
            assert_int_equal(vec_row_decode(c, y, 70, exact, len), -EPROTO);
            free(exact);
        }
        for (unsigned form = 0; form < 256; form++) {
            bytes[0] = (uint8_t)form;
            ssize_t got = vec_row_decode(c, y, 70, bytes, n);
            assert_true(got == -EPROTO || (form <= (c == SPLIT_INT8 ? 3u : (unsigned)c) && got <= (ssize_t)n));
        }
        bytes[0] = (uint8_t)c, bytes[2] = 1;
        assert_int_equal(vec_row_decode(c, y, 70, bytes, n), -EPROTO);
    }
    vec_row_encode(SPLIT_INT8, x, 70, bytes);
    bytes_put_u16(bytes + 4, 0x7c00);
    assert_int_equal(vec_row_decode(SPLIT_INT8, y, 70, bytes, sizeof(bytes)), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32_is_exact),
        cmocka_unit_test(test_f16_every_value),
        cmocka_unit_test(test_f16_bound),
        cmocka_unit_test(test_int8_bound),
        cmocka_unit_test(test_int8_is_small),
        cmocka_unit_test(test_outliers_fall_back_alone),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_exact_bytes),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
