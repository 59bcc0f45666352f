/* Rows of vectors as bytes. The scalar loops are the definition; on x86-64 with AVX2 and F16C the same arithmetic is
 * done eight values at a time. Both multiply by the same reciprocal and round to nearest even, so bits agree. */
#include "wire/vec_codec.h"

#include "base/bytes.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define VEC_X86 1
#define VEC_AVX __attribute__((target("avx2,f16c")))
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are copied as they lie in memory");

#define F16_LARGEST 65504.0f
#define F16_NORMAL  0x1p-14f

uint16_t vec_f16_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t sign = u >> 16 & 0x8000, mag = u & 0x7fffffff;
    if (mag > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x3ff));
    if (mag >= 0x477ff000) /* rounds to 65536 or beyond */
        return (uint16_t)(sign | 0x7c00);
    if (mag < 0x38800000) { /* below 2^-14: a multiple of 2^-24, by the rounding of an addition */
        float a, magic = 0.5f;
        memcpy(&a, &mag, 4);
        a += magic;
        uint32_t r;
        memcpy(&r, &a, 4);
        return (uint16_t)(sign | (r - 0x3f000000));
    }
    uint32_t odd = mag >> 13 & 1;
    return (uint16_t)(sign | ((mag - 0x38000000 + 0xfff + odd) >> 13));
}

float vec_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff, u;
    if (e == 0) {
        float f = (float)m * 0x1p-24f;
        memcpy(&u, &f, 4);
    } else if (e == 31) {
        u = 0x7f800000 | m << 13 | (m ? 0x400000 : 0);
    } else {
        u = (e + 112) << 23 | m << 13;
    }
    u |= sign;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

size_t vec_row_size(enum vec_form form, uint32_t d)
{
    size_t blocks = ((size_t)d + VEC_BLOCK - 1) / VEC_BLOCK;
    switch (form) {
    case VEC_F32:
        return VEC_ROW_HEADER + (size_t)d * 4;
    case VEC_F16:
        return VEC_ROW_HEADER + (size_t)d * 2;
    case VEC_INT8_H:
        return VEC_ROW_HEADER + d + blocks * 2;
    case VEC_INT8_S:
        return VEC_ROW_HEADER + d + blocks * 4;
    }
    return 0;
}

/* --- one value at a time ---------------------------------------------------------------------------------- */

/* NaN makes `most` infinite, so that one comparison finds everything that is no finite number. */
static float row_most(const float *x, uint32_t n)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, 4);
        u &= 0x7fffffff;
        most = u > most ? u : most;
    }
    if (most > 0x7f800000)
        most = 0x7f800000;
    float f;
    memcpy(&f, &most, 4);
    return f;
}

static void f16_put(const float *x, uint32_t n, uint8_t *to)
{
    for (uint32_t i = 0; i < n; i++)
        bytes_put_u16(to + 2 * i, vec_f16_from_f32(x[i]));
}

static void f16_get(float *x, uint32_t n, const uint8_t *from)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = vec_f32_from_f16(bytes_get_u16(from + 2 * i));
}

/* Returns the squared error; adds the squares of x to *energy. Sums run in eight lanes, as the vector form does. */
static float int8_put(const float *x, uint32_t n, float scale, float inverse, uint8_t *to, float *energy)
{
    float err[8] = {0}, sum[8] = {0};
    for (uint32_t i = 0; i < n; i++) {
        float q = rintf(x[i] * inverse);
        q = q > 127 ? 127 : q < -127 ? -127 : q;
        float e = x[i] - q * scale;
        err[i % 8] += e * e;
        sum[i % 8] += x[i] * x[i];
        to[i] = (uint8_t)(int8_t)q;
    }
    *energy += ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
    return ((err[0] + err[4]) + (err[2] + err[6])) + ((err[1] + err[5]) + (err[3] + err[7]));
}

static void int8_get(float *x, uint32_t n, float scale, const uint8_t *from)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = (float)(int8_t)from[i] * scale;
}

/* --- eight at a time -------------------------------------------------------------------------------------- */

#ifdef VEC_X86
static bool have_avx(void)
{
    static int known = -1; /* written with the same value by whoever comes first */
    int k = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (k < 0) {
        k = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
        __atomic_store_n(&known, k, __ATOMIC_RELAXED);
    }
    return k;
}

VEC_AVX static void f16_put_avx(const float *x, uint32_t n, uint8_t *to)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(to + 2 * i),
            _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    f16_put(x + i, n - i, to + 2 * i);
}

VEC_AVX static void f16_get_avx(float *x, uint32_t n, const uint8_t *from)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 2 * i))));
    f16_get(x + i, n - i, from + 2 * i);
}

VEC_AVX static float add_lanes(__m256 v)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

/* A whole block of 32. */
VEC_AVX static float int8_put_avx(const float *x, float scale, float inverse, uint8_t *to, float *energy)
{
    __m256 err = _mm256_setzero_ps(), sum = err, s = _mm256_set1_ps(scale), r = _mm256_set1_ps(inverse);
    __m256 hi = _mm256_set1_ps(127), lo = _mm256_set1_ps(-127);
    __m256i q[4];
    for (int i = 0; i < 4; i++) {
        __m256 v = _mm256_loadu_ps(x + 8 * i);
        __m256 f = _mm256_round_ps(_mm256_mul_ps(v, r), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        f = _mm256_max_ps(_mm256_min_ps(f, hi), lo);
        __m256 e = _mm256_sub_ps(v, _mm256_mul_ps(f, s));
        err = _mm256_add_ps(err, _mm256_mul_ps(e, e));
        sum = _mm256_add_ps(sum, _mm256_mul_ps(v, v));
        q[i] = _mm256_cvtps_epi32(f);
    }
    __m256i a = _mm256_packs_epi32(q[0], q[1]), b = _mm256_packs_epi32(q[2], q[3]);
    __m256i c = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)to, c);
    *energy += add_lanes(sum);
    return add_lanes(err);
}

VEC_AVX static void int8_get_avx(float *x, float scale, const uint8_t *from)
{
    __m256 s = _mm256_set1_ps(scale);
    for (int i = 0; i < 4; i++) {
        __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8 * i)));
        _mm256_storeu_ps(x + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(q), s));
    }
}
#else
static bool have_avx(void)
{
    return false;
}
#define f16_put_avx                  f16_put
#define f16_get_avx                  f16_get
#define int8_put_avx(x, s, r, to, e) int8_put(x, VEC_BLOCK, s, r, to, e)
#define int8_get_avx(x, s, from)     int8_get(x, VEC_BLOCK, s, from)
#endif

/* --- rows ------------------------------------------------------------------------------------------------- */

static size_t row_start(uint8_t *to, enum vec_form form, uint32_t d)
{
    bytes_put_u32(to, form);
    return vec_row_size(form, d);
}

static size_t encode_f32(const float *x, uint32_t d, uint8_t *to)
{
    memcpy(to + VEC_ROW_HEADER, x, (size_t)d * 4);
    return row_start(to, VEC_F32, d);
}

/* Beyond f16's range, or so small that f16 would keep less than the row's 11 bits. */
static bool f16_spoils(float most)
{
    return !(most <= F16_LARGEST) || (most < F16_NORMAL && most > 0);
}

static size_t encode_f16(const float *x, uint32_t d, float most, uint8_t *to)
{
    if (f16_spoils(most))
        return encode_f32(x, d, to);
    (have_avx() ? f16_put_avx : f16_put)(x, d, to + VEC_ROW_HEADER);
    return row_start(to, VEC_F16, d);
}

/* A scale that f16 can hold is used as f16 holds it; rounding down could push 127 · scale below the largest value by
 * 2^-11 of it, which the clamp turns into an error within the bound. */
static float scale_used(float most, bool half)
{
    float scale = most / 127.0f;
    return half ? vec_f32_from_f16(vec_f16_from_f32(scale)) : scale;
}

/* True when every block's scale is zero or a normal f16. */
static bool scales_fit_half(const float *x, uint32_t d)
{
    for (uint32_t i = 0; i < d; i += VEC_BLOCK) {
        float most = row_most(x + i, d - i < VEC_BLOCK ? d - i : VEC_BLOCK);
        if (most > 0 && f16_spoils(most / 127.0f))
            return false;
    }
    return true;
}

/* False when int8 would lose too much of the row. */
static bool encode_int8(const float *x, uint32_t d, bool half, uint8_t *to)
{
    uint8_t *p = to + VEC_ROW_HEADER;
    float loss = 0, energy = 0;
    for (uint32_t i = 0; i < d; i += VEC_BLOCK) {
        uint32_t n = d - i < VEC_BLOCK ? d - i : VEC_BLOCK;
        float most = row_most(x + i, n), scale = scale_used(most, half);
        float inverse = scale > 0 ? 1.0f / scale : 0;
        if (!isfinite(inverse))
            return false; /* a scale below f32's normal range */
        if (half)
            bytes_put_u16(p, vec_f16_from_f32(scale));
        else
            bytes_put_f32(p, scale);
        p += half ? 2 : 4;
        loss += n == VEC_BLOCK && have_avx() ? int8_put_avx(x + i, scale, inverse, p, &energy)
                                             : int8_put(x + i, n, scale, inverse, p, &energy);
        energy -= most * most;
        p += n;
    }
    return loss <= VEC_INT8_LOSS * energy || loss == 0;
}

size_t vec_row_encode(enum split_codec codec, const float *x, uint32_t d, uint8_t *to)
{
    if (codec == SPLIT_F32)
        return encode_f32(x, d, to);
    float most = row_most(x, d);
    if (codec == SPLIT_F16 || !(most < 1e15f)) /* squares stay finite below */
        return encode_f16(x, d, most, to);
    bool half = scales_fit_half(x, d);
    if (!encode_int8(x, d, half, to))
        return encode_f16(x, d, most, to);
    return row_start(to, half ? VEC_INT8_H : VEC_INT8_S, d);
}

static int decode_int8(float *to, uint32_t d, const uint8_t *p, bool half)
{
    for (uint32_t i = 0; i < d; i += VEC_BLOCK) {
        uint32_t n = d - i < VEC_BLOCK ? d - i : VEC_BLOCK;
        float scale = half ? vec_f32_from_f16(bytes_get_u16(p)) : bytes_get_f32(p);
        if (!isfinite(scale))
            return -EPROTO;
        p += half ? 2 : 4;
        if (n == VEC_BLOCK && have_avx())
            int8_get_avx(to + i, scale, p);
        else
            int8_get(to + i, n, scale, p);
        p += n;
    }
    return 0;
}

ssize_t vec_row_decode(enum split_codec codec, float *to, uint32_t d, const uint8_t *from, size_t len)
{
    if (len < VEC_ROW_HEADER)
        return -EPROTO;
    uint32_t form = bytes_get_u32(from);
    if (form > VEC_INT8_S || (codec == SPLIT_F32 && form != VEC_F32) || (codec == SPLIT_F16 && form > VEC_F16))
        return -EPROTO;
    size_t size = vec_row_size((enum vec_form)form, d);
    if (len < size)
        return -EPROTO;
    from += VEC_ROW_HEADER;
    switch ((enum vec_form)form) {
    case VEC_F32:
        memcpy(to, from, (size_t)d * 4);
        break;
    case VEC_F16:
        (have_avx() ? f16_get_avx : f16_get)(to, d, from);
        break;
    case VEC_INT8_H:
    case VEC_INT8_S:
        if (decode_int8(to, d, from, form == VEC_INT8_H))
            return -EPROTO;
        break;
    }
    return (ssize_t)size;
}
