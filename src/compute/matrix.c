/* Packing: each row's blocks are taken apart into unsigned codes and scales, and put where the kernels read them. The
 * block formats are ggml's (ggml-common.h describes them). */
#include "compute/matrix_inner.h"

#include "compute/kernels.h"

#include <assert.h>
#include <string.h>

static bool allowed = true;

void matrix_allow(bool allow)
{
    allowed = allow;
}

static bool has_vnni(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
    return false;
#endif
}

bool matrix_packs(enum ggml_type type)
{
    return matrix_layout(type).codes > 0;
}

bool matrix_can(enum ggml_type type, int64_t n_rows, int64_t width)
{
    if (!allowed || n_rows <= 0 || n_rows > INT32_MAX || width <= 0 || width > 1 << 24)
        return false;
    if (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16)
        return true;
    return matrix_packs(type) && has_vnni() && width % ggml_blck_size(type) == 0;
}

static uint64_t tile_bytes(enum ggml_type type, uint32_t width)
{
    struct matrix_layout l = matrix_layout(type);
    uint64_t groups = width / MATRIX_GROUP, bytes = groups * (l.codes + l.scales) + (groups + 7) / 8 * l.supers;
    return (bytes + 63) / 64 * 64;
}

uint64_t matrix_bytes(enum ggml_type type, uint32_t n_rows, uint32_t width)
{
    return tile_bytes(type, width) * ((n_rows + MATRIX_TILE - 1) / MATRIX_TILE);
}

/* One group of one row as it comes out of a block. */
struct group {
    uint8_t code[32];
    uint8_t scale[2], minimum;  /* K types */
    uint8_t super[2], least[2]; /* f16 */
};

/* Scale and minimum j of the 12 bytes that hold eight of each in 6 bits. */
static void k_scale(const uint8_t *s, uint32_t j, struct group *ret)
{
    if (j < 4) {
        ret->scale[0] = s[j] & 63;
        ret->minimum = s[j + 4] & 63;
    } else {
        ret->scale[0] = (uint8_t)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        ret->minimum = (uint8_t)((s[j + 4] >> 4) | (s[j] >> 6) << 4);
    }
}

static void take_q6_k(const uint8_t *block, uint32_t j, struct group *ret)
{
    const uint8_t *ql = block + j / 4 * 64 + j % 2 * 32, *qh = block + 128 + j / 4 * 32, *scales = block + 192;
    for (uint32_t i = 0; i < 32; i++)
        ret->code[i] = (uint8_t)((ql[i] >> (j % 4 / 2 * 4) & 15) | (qh[i] >> (2 * (j % 4)) & 3) << 4);
    memcpy(ret->scale, scales + 2 * j, 2);
    memcpy(ret->super, block + 208, 2);
}

static void take_q45_k(const uint8_t *block, uint32_t j, bool five, struct group *ret)
{
    const uint8_t *high = block + 16, *low = high + (five ? 32 : 0) + j / 2 * 32;
    memcpy(ret->super, block, 2);
    memcpy(ret->least, block + 2, 2);
    k_scale(block + 4, j, ret);
    for (uint32_t i = 0; i < 32; i++)
        ret->code[i] = (uint8_t)((low[i] >> (j % 2 * 4) & 15) | (five ? (high[i] >> j & 1) << 4 : 0));
}

/* Group g of a row whose blocks begin at `row`. */
static void take(enum ggml_type type, const uint8_t *row, uint32_t g, struct group *ret)
{
    const uint64_t size = ggml_type_size(type), per = (uint64_t)ggml_blck_size(type) / MATRIX_GROUP;
    const uint8_t *block = row + g / per * size;
    switch (type) {
    case GGML_TYPE_Q8_0:
        memcpy(ret->super, block, 2);
        for (uint32_t i = 0; i < 32; i++)
            ret->code[i] = (uint8_t)(block[2 + i] + 128);
        break;
    case GGML_TYPE_Q4_0:
        memcpy(ret->super, block, 2);
        for (uint32_t i = 0; i < 32; i++)
            ret->code[i] = block[2 + i % 16] >> (i / 16 * 4) & 15;
        break;
    case GGML_TYPE_Q6_K:
        take_q6_k(block, g % 8, ret);
        break;
    default:
        take_q45_k(block, g % 8, type == GGML_TYPE_Q5_K, ret);
    }
}

/* Four steps of a row stand together in a vector; they are moved as one word. */
static void put_word(uint8_t *to, uint32_t word, bool add)
{
    uint32_t there = 0;
    if (add)
        memcpy(&there, to, 4);
    word |= there;
    memcpy(to, &word, 4);
}

static void put_codes(enum ggml_type type, const uint8_t code[32], uint32_t row, uint8_t *to)
{
    const uint32_t low = 0x0f0f0f0f, at = row * 4;
    uint32_t c[8];
    memcpy(c, code, 32);
    if (type == GGML_TYPE_Q8_0) {
        for (uint32_t g = 0; g < 8; g++)
            put_word(to + g * 64 + at, c[g], false);
        return;
    }
    for (uint32_t g = 0; g < 4; g++)
        put_word(to + g * 64 + at, (c[g] & low) | (c[g + 4] & low) << 4, false);
    for (uint32_t g = 0; g < 8 && type == GGML_TYPE_Q5_K; g++)
        put_word(to + 256 + at, (c[g] >> 4 & 0x01010101) << g, g > 0);
    for (uint32_t g = 0; g < 8 && type == GGML_TYPE_Q6_K; g++)
        put_word(to + 256 + g / 4 * 64 + at, (c[g] >> 4 & 0x03030303) << (2 * (g % 4)), g % 4 > 0);
}

static void put_scales(enum ggml_type type, const struct group *g, uint32_t row, uint8_t *scales, uint8_t *supers)
{
    if (type == GGML_TYPE_Q8_0 || type == GGML_TYPE_Q4_0) {
        memcpy(scales + 2 * row, g->super, 2);
        return;
    }
    scales[row] = g->scale[0];
    scales[16 + row] = type == GGML_TYPE_Q6_K ? g->scale[1] : g->minimum;
    memcpy(supers + 2 * row, g->super, 2);
    if (type != GGML_TYPE_Q6_K)
        memcpy(supers + 32 + 2 * row, g->least, 2);
}

void matrix_pack(enum ggml_type type, uint32_t n_rows, uint32_t width, const void *from, uint8_t *to)
{
    const struct matrix_layout l = matrix_layout(type);
    const uint32_t groups = width / MATRIX_GROUP;
    const uint64_t tile = tile_bytes(type, width), row_bytes = ggml_row_size(type, width);
    memset(to, 0, matrix_bytes(type, n_rows, width));
    for (uint32_t r = 0; r < n_rows; r++) {
        const uint8_t *row = (const uint8_t *)from + r * row_bytes;
        uint8_t *codes = to + r / MATRIX_TILE * tile, *scales = codes + (uint64_t)groups * l.codes;
        uint8_t *supers = scales + (uint64_t)groups * l.scales;
        for (uint32_t g = 0; g < groups; g++) {
            struct group x;
            take(type, row, g, &x);
            put_codes(type, x.code, r % MATRIX_TILE, codes + (uint64_t)g * l.codes);
            put_scales(
                type, &x, r % MATRIX_TILE, scales + (uint64_t)g * l.scales, supers + (uint64_t)(g / 8) * l.supers);
        }
    }
}

void matrix_round(const struct matrix_columns *c, uint32_t column, const float *x, uint32_t from, uint32_t to)
{
#if defined(__x86_64__)
    matrix_round_vnni(c, column, x, from, to);
#endif
}

static void multiply_floats(const struct matrix *m, const float *x, uint32_t n, float *y, uint32_t from, uint32_t to)
{
    const uint64_t row = (uint64_t)from * MATRIX_TILE, end = (uint64_t)to * MATRIX_TILE;
    struct multiply k = {.type = m->type == GGML_TYPE_F32   ? KERNEL_F32
                                 : m->type == GGML_TYPE_F16 ? KERNEL_F16
                                                            : KERNEL_BF16,
        .w = m->data + row * m->width * ggml_type_size(m->type),
        .width = m->width,
        .y_stride = m->n_rows,
        .x = x,
        .n = n,
        .n_rows = (uint32_t)((end < m->n_rows ? end : m->n_rows) - row),
        .y = y + row};
    kernels_get()->multiply(&k);
}

void matrix_multiply(const struct matrix *m, const struct matrix_columns *c, const float *x, uint32_t n, float *y,
    uint32_t from, uint32_t to)
{
    if (!matrix_packs(m->type))
        multiply_floats(m, x, n, y, from, to);
#if defined(__x86_64__)
    else
        matrix_multiply_vnni(m, c, n, y, from, to);
#endif
}
