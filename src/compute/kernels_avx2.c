/* Kernels for AVX2 with FMA and F16C; meson compiles this file with those switched on. */
#include <immintrin.h>
#include <stdint.h>

#define VN 8
#define NQ 4
#define NG 2
#define MR 4
#define MC 1

typedef __m256 vf;
#define v_load(p)      _mm256_loadu_ps(p)
#define v_store(p, v)  _mm256_storeu_ps(p, v)
#define v_set1(x)      _mm256_set1_ps(x)
#define v_add(a, b)    _mm256_add_ps(a, b)
#define v_sub(a, b)    _mm256_sub_ps(a, b)
#define v_mul(a, b)    _mm256_mul_ps(a, b)
#define v_div(a, b)    _mm256_div_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_max(a, b)    _mm256_max_ps(a, b)
#define v_min(a, b)    _mm256_min_ps(a, b)
#define v_round(a)     _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_pow2(n)                                                                                                      \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
#define v_from16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define v_frombf(p)                                                                                                    \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))), 16))
#define v_to16(p, v) _mm_storeu_si128((__m128i *)(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))

#include "compute/kernels_body.inc"

extern const struct kernels kernels_avx2;
const struct kernels kernels_avx2 = {"avx2", multiply, rms_norm, add, silu_mul, log_sum_exp, to_f16, attend};
