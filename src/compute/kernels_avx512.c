/* Kernels for AVX-512 (F, BW, DQ, VL); meson compiles this file with those switched on. */
#include <immintrin.h>
#include <stdint.h>

#define VN 16
#define NQ 4
#define NG 4
#define MR 4
#define MC 4

typedef __m512 vf;
#define v_load(p)      _mm512_loadu_ps(p)
#define v_store(p, v)  _mm512_storeu_ps(p, v)
#define v_set1(x)      _mm512_set1_ps(x)
#define v_add(a, b)    _mm512_add_ps(a, b)
#define v_sub(a, b)    _mm512_sub_ps(a, b)
#define v_mul(a, b)    _mm512_mul_ps(a, b)
#define v_div(a, b)    _mm512_div_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_max(a, b)    _mm512_max_ps(a, b)
#define v_min(a, b)    _mm512_min_ps(a, b)
#define v_round(a)     _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_pow2(n)                                                                                                      \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23))
#define v_from16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define v_frombf(p)                                                                                                    \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))), 16))
#define v_to16(p, v) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))

#include "compute/kernels_body.inc"

extern const struct kernels kernels_avx512;
const struct kernels kernels_avx512 = {"avx512", multiply, rms_norm, add, silu_mul, log_sum_exp, to_f16, attend};
