/* A tile, per group of 32 of its width:
 *
 *   codes    unsigned, 4 bits (5 and 6 with the higher bits apart) or 8 bits; 64 bytes are 16 rows × 4 steps:
 *            Q8_0        8 vectors, steps 4g … 4g+3 in vector g
 *            the others  4 vectors, steps of g in the low half of vector g % 4, of g + 4 in the high half;
 *                        Q5_K: 1 vector, bit g is bit 4 of g's codes; Q6_K: 2 vectors, bits 2(g%4) of vector g / 4
 *   then for all groups their scales, row after row:
 *            Q8_0, Q4_0  f16 [16]
 *            Q4_K, Q5_K  u8 scale [16], u8 minimum [16]
 *            Q6_K        i8 [2][16], one for each half of the group
 *   then, for every 8 groups, f16 [16] for the scales and, Q4_K and Q5_K, f16 [16] for the minima. */
#ifndef MERIDIAN_COMPUTE_MATRIX_INNER_H
#define MERIDIAN_COMPUTE_MATRIX_INNER_H

#include "compute/matrix.h"

#include <stddef.h>

struct matrix_layout {
    uint32_t codes, scales, supers; /* bytes per group, per group, per 8 groups */
};

static inline struct matrix_layout matrix_layout(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_Q8_0:
        return (struct matrix_layout){512, 32, 0};
    case GGML_TYPE_Q4_0:
        return (struct matrix_layout){256, 32, 0};
    case GGML_TYPE_Q4_K:
        return (struct matrix_layout){256, 32, 64};
    case GGML_TYPE_Q5_K:
        return (struct matrix_layout){320, 32, 64};
    case GGML_TYPE_Q6_K:
        return (struct matrix_layout){384, 32, 32};
    default:
        return (struct matrix_layout){0};
    }
}

void matrix_round_vnni(const struct matrix_columns *c, uint32_t column, const float *x, uint32_t from, uint32_t to);
void matrix_multiply_vnni(
    const struct matrix *m, const struct matrix_columns *c, uint32_t n, float *y, uint32_t from, uint32_t to);

#endif
