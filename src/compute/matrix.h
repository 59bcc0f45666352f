/* Products of weights and columns by kernels of our own: as fast for one column as memory allows, several columns for
 * little more, and every column's bits the same however many there are.
 *
 * F32, F16 and BF16 are used as they lie in the file, with columns of floats, on any processor (kernels.h).
 * Quantised weights are packed in tiles of 16 rows, so that one vector holds 4 steps of 16 rows and no sum crosses lanes.
 * Activations are rounded to 8 bits in groups of 32 with a float scale each. A row and a column meet in exact integers
 * within a group; groups are added in order in floats. Needs AVX-512 with VNNI; elsewhere ggml's kernels do that work. */
#ifndef MERIDIAN_COMPUTE_MATRIX_H
#define MERIDIAN_COMPUTE_MATRIX_H

#include <ggml.h>
#include <stdbool.h>
#include <stdint.h>

#define MATRIX_TILE  16u /* rows */
#define MATRIX_GROUP 32u /* columns' elements that share a scale */

struct matrix {
    enum ggml_type type;
    uint32_t n_rows, width; /* as ne[1], ne[0] of the file's tensor */
    uint64_t tile_bytes;
    const uint8_t *data; /* packed, 64-byte aligned; or the file's; NULL: no matrix */
};

/* Columns ready for a product: [n][width] rounded, and of each group of 32 the scale, scale times sum, and the sums of
 * its halves. Strides are those of the widest column that fits. */
struct matrix_columns {
    int8_t *q;            /* [n][most] */
    float *scale, *total; /* [n][most / 32] */
    int32_t *sums;        /* [n][most / 16] */
    uint32_t most;
};

/* Whether matrix_multiply can take it here. */
bool matrix_can(enum ggml_type type, int64_t n_rows, int64_t width);
void matrix_allow(bool allow);          /* for tests and measurements: false leaves everything to ggml. Process-wide */
bool matrix_packs(enum ggml_type type); /* false: floats, used as they are */
uint64_t matrix_bytes(enum ggml_type type, uint32_t n_rows, uint32_t width); /* packed */
void matrix_pack(enum ggml_type type, uint32_t n_rows, uint32_t width, const void *from, uint8_t *to);
static inline uint32_t matrix_tiles(const struct matrix *m)
{
    return (m->n_rows + MATRIX_TILE - 1) / MATRIX_TILE;
}

/* Groups [from, to) of one column of floats. */
void matrix_round(const struct matrix_columns *c, uint32_t column, const float *x, uint32_t from, uint32_t to);

/* y[column][row] for the rows of tiles [from, to) and columns [0, n); y's columns are m->n_rows apart. Floats take the
 * columns from x [n][width], packed weights take them rounded. */
void matrix_multiply(const struct matrix *m, const struct matrix_columns *c, const float *x, uint32_t n, float *y,
    uint32_t from, uint32_t to);

#endif
