/* Kernels in plain C, for a processor without AVX2 (or none that we know). */
#include <ggml.h>
#include <math.h>
#include <stdint.h>

#define VN 1
#define NQ 2
#define NG 16
#define MR 2
#define MC 1

typedef float vf;
static inline vf v_load(const float *p)
{
    return *p;
}
static inline void v_store(float *p, vf v)
{
    *p = v;
}
static inline vf v_set1(float x)
{
    return x;
}
#define v_add(a, b)    ((a) + (b))
#define v_sub(a, b)    ((a) - (b))
#define v_mul(a, b)    ((a) * (b))
#define v_div(a, b)    ((a) / (b))
#define v_fma(a, b, c) ((a) * (b) + (c))
#define v_max(a, b)    ((a) > (b) ? (a) : (b))
#define v_min(a, b)    ((a) < (b) ? (a) : (b))
static inline vf v_round(vf a)
{
    return rintf(a);
}
static inline vf v_pow2(vf n)
{
    union {
        uint32_t u;
        float f;
    } x = {.u = (uint32_t)((int32_t)n + 127) << 23};
    return x.f;
}
static inline vf v_from16(const uint16_t *p)
{
    return ggml_fp16_to_fp32(*p);
}
static inline vf v_frombf(const uint16_t *p)
{
    union {
        uint32_t u;
        float f;
    } x = {.u = (uint32_t)*p << 16};
    return x.f;
}
static inline void v_to16(uint16_t *p, vf v)
{
    *p = ggml_fp32_to_fp16(v);
}

#include "compute/kernels_body.inc"

extern const struct kernels kernels_plain;
const struct kernels kernels_plain = {"plain", multiply, rms_norm, add, silu_mul, log_sum_exp, to_f16, attend};
