/* Rows of vectors as bytes: f32, f16, or int8 in blocks of 32 within one row, each block with its own scale.
 *
 * A row says itself how it is written, so a row that int8 or f16 would spoil (outliers, values beyond f16, NaN, infinity)
 * falls back to the next better form alone:
 *   0 u8 form   1 u8 zero   2 u16 zero   4 …
 *   VEC_F32     f32 × d, the very bits
 *   VEC_F16     f16 × d
 *   VEC_INT8_H  for each block of 32 (the last may be shorter): f16 scale, then int8 × 32
 *   VEC_INT8_S  the same with f32 scales, for rows whose scales leave f16's normal range (gradients)
 * Error bounds, with a = the largest |x| of the row (int8: of the block):
 *   f16: |error| <= a · 2^-11.  int8: |error| <= a / 254 · 1.01, and the row's summed squared error is at most
 *   VEC_INT8_LOSS of its energy without each block's largest value; otherwise the row is written as f16.
 * Every d >= 1 is allowed. Nothing is allocated. The same bits come out with and without vector instructions. */
#ifndef MERIDIAN_WIRE_VEC_CODEC_H
#define MERIDIAN_WIRE_VEC_CODEC_H

#include "wire/split_frame.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VEC_ROW_HEADER 4u
#define VEC_BLOCK      32u
#define VEC_INT8_LOSS  1e-3f

enum vec_form { VEC_F32 = 0, VEC_F16 = 1, VEC_INT8_H = 2, VEC_INT8_S = 3 };

/* Bytes of a row in this form; the most that a row can need under a codec is that of VEC_F32 (it may fall back). */
size_t vec_row_size(enum vec_form form, uint32_t d);

/* Writes one row of d values; returns its bytes, at most vec_row_size(VEC_F32, d), which `to` must have room for. */
size_t vec_row_encode(enum split_codec codec, const float *x, uint32_t d, uint8_t *to);

/* Reads one row of d values from at most len bytes; returns the bytes it took. -EPROTO: form unknown or not allowed
 * under `codec` (a row may be better than the codec, never worse), bytes missing, or a scale that is no finite number. */
ssize_t vec_row_decode(enum split_codec codec, float *to, uint32_t d, const uint8_t *from, size_t len);

/* f16 as bits, round to nearest even; NaN stays NaN. Exposed for tests. */
uint16_t vec_f16_from_f32(float f);
float vec_f32_from_f16(uint16_t h);

#endif
