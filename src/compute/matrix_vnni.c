/* The products, for AVX-512 with VNNI; meson compiles this file with those switched on.
 *
 * One pass takes a tile of 16 rows and up to MOST columns through the whole width: the codes are loaded and unpacked
 * once, and each column costs one instruction for 64 multiplications. What a column goes through does not depend on
 * how many go beside it. */
#include "compute/matrix_inner.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define MOST   8

void matrix_round_vnni(const struct matrix_columns *c, uint32_t column, const float *x, uint32_t from, uint32_t to)
{
    int8_t *q = c->q + (uint64_t)column * c->most;
    float *scale = c->scale + (uint64_t)column * (c->most / 32), *total = c->total + (uint64_t)column * (c->most / 32);
    int32_t *sums = c->sums + (uint64_t)column * (c->most / 16);
    for (uint32_t g = from; g < to; g++) {
        __m512 a = _mm512_loadu_ps(x + 32 * g), b = _mm512_loadu_ps(x + 32 * g + 16);
        float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
        float inverse = most > 0 ? 127.0f / most : 0;
        __m512i i = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
        __m512i j = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(q + 32 * g), _mm512_cvtsepi32_epi8(i));
        _mm_storeu_si128((__m128i *)(q + 32 * g + 16), _mm512_cvtsepi32_epi8(j));
        sums[2 * g] = _mm512_reduce_add_epi32(i);
        sums[2 * g + 1] = _mm512_reduce_add_epi32(j);
        scale[g] = most / 127.0f;
        total[g] = scale[g] * (float)(sums[2 * g] + sums[2 * g + 1]);
    }
}

/* The codes of steps 4g … 4g+3 of a group. */
INLINE __m512i codes_of(const uint8_t *p, const int g, const enum ggml_type type)
{
    if (type == GGML_TYPE_Q8_0)
        return _mm512_load_si512(p + g * 64);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i v = _mm512_load_si512(p + g % 4 * 64);
    v = _mm512_and_si512(g < 4 ? v : _mm512_srli_epi16(v, 4), nibble);
    if (type == GGML_TYPE_Q5_K) {
        __mmask64 high = _mm512_test_epi8_mask(_mm512_load_si512(p + 256), _mm512_set1_epi8((char)(1 << g)));
        v = _mm512_mask_or_epi32(v, 0xffff, v, _mm512_maskz_mov_epi8(high, _mm512_set1_epi8(16)));
    }
    if (type == GGML_TYPE_Q6_K) {
        __m512i high = _mm512_load_si512(p + 256 + g / 4 * 64);
        const int at = 2 * (g % 4);
        high = at < 4 ? _mm512_slli_epi16(high, 4 - at) : _mm512_srli_epi16(high, at - 4);
        v = _mm512_or_si512(v, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
    }
    return v;
}

INLINE __m512 from_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

INLINE __m512 from_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

INLINE __m512 from_i8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

INLINE __m512i broadcast(const int8_t *p)
{
    return _mm512_set1_epi32(*(const int32_t *)p);
}

/* What the codes have too much, times the column's sum: Q8_0 128, Q4_0 8, Q6_K 32, as a shift. */
INLINE __m512i bias(int32_t sum, const enum ggml_type type)
{
    const unsigned shift = type == GGML_TYPE_Q8_0 ? 7 : type == GGML_TYPE_Q4_0 ? 3 : 5;
    return _mm512_slli_epi32(_mm512_set1_epi32(-sum), shift);
}

struct column {
    const int8_t *q;
    const float *scale, *total;
    const int32_t *sums;
};

/* facc += scale[row] * scale[column] * integer */
INLINE __m512 add_group(__m512 facc, __m512i sum, __m512 scale, float column)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, _mm512_set1_ps(column)), facc);
}

/* One tile and n columns (n a constant where this is called). */
INLINE void tile_by(
    const uint8_t *tile, uint32_t groups, const struct column *c, const int n, __m512 *ret, const enum ggml_type type)
{
    const struct matrix_layout l = matrix_layout(type);
    const uint8_t *scales = tile + (uint64_t)groups * l.codes, *supers = scales + (uint64_t)groups * l.scales;
    const bool halves = type == GGML_TYPE_Q6_K, least = type == GGML_TYPE_Q4_K || type == GGML_TYPE_Q5_K;
    const bool biased = !least;
    __m512 facc[MOST], super = _mm512_setzero_ps(), super_least = super;
    for (int i = 0; i < n; i++)
        facc[i] = _mm512_setzero_ps();
    for (uint32_t g = 0; g < groups; g++, tile += l.codes, scales += l.scales) {
        __m512 s0, s1 = _mm512_setzero_ps(), low = s1;
        if (l.supers && g % 8 == 0) {
            super = from_halves(supers);
            super_least = least ? from_halves(supers + 32) : super;
            supers += l.supers;
        }
        if (halves) {
            s0 = _mm512_mul_ps(super, from_i8(scales));
            s1 = _mm512_mul_ps(super, from_i8(scales + 16));
        } else if (least) {
            s0 = _mm512_mul_ps(super, from_u8(scales));
            low = _mm512_mul_ps(super_least, from_u8(scales + 16));
        } else {
            s0 = from_halves(scales);
        }
        /* Two integer sums for each column: the halves of the group, apart where their scales are. */
        __m512i a[MOST], b[MOST];
        for (int i = 0; i < n; i++) {
            a[i] = biased ? bias(c[i].sums[2 * g], type) : _mm512_setzero_si512();
            b[i] = biased ? bias(c[i].sums[2 * g + 1], type) : _mm512_setzero_si512();
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            __m512i w = codes_of(tile, k, type);
            for (int i = 0; i < n; i++)
                a[i] = _mm512_dpbusd_epi32(a[i], w, broadcast(c[i].q + 32 * g + 4 * k));
        }
#pragma GCC unroll 4
        for (int k = 4; k < 8; k++) {
            __m512i w = codes_of(tile, k, type);
            for (int i = 0; i < n; i++)
                b[i] = _mm512_dpbusd_epi32(b[i], w, broadcast(c[i].q + 32 * g + 4 * k));
        }
        for (int i = 0; i < n; i++) {
            if (halves) {
                facc[i] = add_group(facc[i], a[i], s0, c[i].scale[g]);
                facc[i] = add_group(facc[i], b[i], s1, c[i].scale[g]);
            } else {
                facc[i] = add_group(facc[i], _mm512_add_epi32(a[i], b[i]), s0, c[i].scale[g]);
            }
            if (least)
                facc[i] = _mm512_fnmadd_ps(low, _mm512_set1_ps(c[i].total[g]), facc[i]);
        }
    }
    for (int i = 0; i < n; i++)
        ret[i] = facc[i];
}

INLINE void tiles(const struct matrix *m, const struct matrix_columns *x, uint32_t n, float *y, uint32_t from,
    uint32_t to, const enum ggml_type type)
{
    const uint32_t groups = m->width / MATRIX_GROUP;
    for (uint32_t t = from; t < to; t++) {
        const uint8_t *tile = m->data + t * m->tile_bytes;
        const uint32_t row = t * MATRIX_TILE, rows = m->n_rows - row < 16 ? m->n_rows - row : 16;
        const __mmask16 mask = (__mmask16)(0xffffu >> (16 - rows));
        for (uint32_t at = 0, k; at < n; at += k) {
            struct column c[MOST];
            __m512 sum[MOST];
            k = n - at >= 8 ? 8 : n - at >= 4 ? 4 : n - at >= 2 ? 2 : 1;
            for (uint32_t i = 0; i < k; i++) {
                uint64_t j = at + i;
                c[i] = (struct column){x->q + j * x->most, x->scale + j * (x->most / 32), x->total + j * (x->most / 32),
                    x->sums + j * (x->most / 16)};
            }
            if (k == 8)
                tile_by(tile, groups, c, 8, sum, type);
            else if (k == 4)
                tile_by(tile, groups, c, 4, sum, type);
            else if (k == 2)
                tile_by(tile, groups, c, 2, sum, type);
            else
                tile_by(tile, groups, c, 1, sum, type);
            for (uint32_t i = 0; i < k; i++)
                _mm512_mask_storeu_ps(y + (at + i) * (uint64_t)m->n_rows + row, mask, sum[i]);
        }
    }
}

void matrix_multiply_vnni(
    const struct matrix *m, const struct matrix_columns *c, uint32_t n, float *y, uint32_t from, uint32_t to)
{
    switch (m->type) {
    case GGML_TYPE_Q8_0:
        tiles(m, c, n, y, from, to, GGML_TYPE_Q8_0);
        break;
    case GGML_TYPE_Q4_0:
        tiles(m, c, n, y, from, to, GGML_TYPE_Q4_0);
        break;
    case GGML_TYPE_Q4_K:
        tiles(m, c, n, y, from, to, GGML_TYPE_Q4_K);
        break;
    case GGML_TYPE_Q5_K:
        tiles(m, c, n, y, from, to, GGML_TYPE_Q5_K);
        break;
    default:
        tiles(m, c, n, y, from, to, GGML_TYPE_Q6_K);
    }
}
