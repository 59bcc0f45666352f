/* Angles are taken in double from the closed form, not by repeated multiplication, so that far positions stay exact. */
#include "compute/rope.h"

#include <math.h>

/* The pair index at which a full turn is made `turns` times within the original context. */
static double turns_dim(const struct model_params *p, double turns)
{
    return p->rope_dims * log(p->rope_orig_ctx / (turns * 2 * M_PI)) / (2 * log(p->rope_base));
}

/* 1: this pair turns fast and keeps its frequency; 0: it is interpolated like linear scaling. */
static double yarn_keep(const struct model_params *p, uint32_t pair)
{
    double low = fmax(0, floor(turns_dim(p, p->yarn_beta_fast)));
    double high = fmin(p->rope_dims - 1, ceil(turns_dim(p, p->yarn_beta_slow)));
    double y = (pair - low) / fmax(0.001, high - low);
    return (1 - fmin(1, fmax(0, y))) * p->yarn_ext_factor;
}

/* Radians for one position further, for one pair. */
static double pair_step(const struct model_params *p, const float *freq_factors, uint32_t pair)
{
    double own = pow(p->rope_base, -2.0 * pair / p->rope_dims) / (freq_factors ? freq_factors[pair] : 1);
    if (p->rope_scaling == ROPE_SCALE_NONE)
        return own;
    double interpolated = own / p->rope_scale_factor;
    if (p->rope_scaling == ROPE_SCALE_LINEAR)
        return interpolated;
    double keep = yarn_keep(p, pair);
    return interpolated * (1 - keep) + own * keep;
}

static double magnitude(const struct model_params *p)
{
    if (p->rope_scaling != ROPE_SCALE_YARN)
        return 1;
    double m = p->yarn_attn_factor;
    if (p->yarn_ext_factor != 0)
        m *= 1 + 0.1 * log(p->rope_scale_factor);
    return m;
}

void rope_steps(const struct model_params *p, const float *freq_factors, double *ret_steps, double *ret_magnitude)
{
    for (uint32_t i = 0; i < p->rope_dims / 2; i++)
        ret_steps[i] = pair_step(p, freq_factors, i);
    *ret_magnitude = magnitude(p);
}

void rope_at(const double *steps, double m, uint32_t half, uint32_t pos, float *cos_, float *sin_)
{
    for (uint32_t i = 0; i < half; i++) {
        cos_[i] = (float)(m * cos(pos * steps[i]));
        sin_[i] = (float)(m * sin(pos * steps[i]));
    }
}

void rope_table(const struct model_params *p, const float *freq_factors, uint32_t n_pos, float *cos_, float *sin_)
{
    uint32_t half = p->rope_dims / 2;
    double m = magnitude(p);
    for (uint32_t i = 0; i < half; i++) {
        double step = pair_step(p, freq_factors, i);
        for (uint32_t pos = 0; pos < n_pos; pos++) {
            cos_[(size_t)pos * half + i] = (float)(m * cos(pos * step));
            sin_[(size_t)pos * half + i] = (float)(m * sin(pos * step));
        }
    }
}
