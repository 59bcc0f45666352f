/* Rotary position embedding as numbers: the cosine and sine of every (position, pair), with the family's scaling.
 *
 * Pair i of a head rotates by angle(pos, i) = pos * base^(-2i/rope_dims) / freq_factor[i], interpolated for linear and
 * YaRN scaling; YaRN also multiplies the magnitude. Which elements make a pair is p->rope_kind's matter, not this
 * file's. The same definition as ggml_rope_ext (YaRN: Peng et al., 2309.00071; llama3's factors are a tensor). */
#ifndef MERIDIAN_COMPUTE_ROPE_H
#define MERIDIAN_COMPUTE_ROPE_H

#include "model/params.h"

#include <stdint.h>

/* cos_, sin_: [n_pos][p->rope_dims / 2], magnitude included. freq_factors: [p->rope_dims / 2] or NULL. */
void rope_table(const struct model_params *p, const float *freq_factors, uint32_t n_pos, float *cos_, float *sin_);

/* The same by parts, for positions that come in any order: radians per position of each pair, then one position. */
void rope_steps(const struct model_params *p, const float *freq_factors, double *ret_steps, double *ret_magnitude);
void rope_at(const double *steps, double magnitude, uint32_t half, uint32_t pos, float *cos_, float *sin_);

#endif
