/* Two ways to the same remainder. Plain: "slicing by eight" with tables made when the program
 * starts. Fast, on x86: sixteen bytes at a time are folded by carry-less multiplication onto what is 64 bytes further on (Gopal
 * and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009), and the last bytes
 * go the plain way. */
#include "wire/crc32.h"

#include "base/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* table[k][b]: the remainder of byte b followed by k zero bytes. */
static uint32_t table[8][256];

__attribute__((constructor)) static void make_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t r = b;
        for (int i = 0; i < 8; i++)
            r = r >> 1 ^ (0xedb88320u & -(r & 1));
        table[0][b] = r;
    }
    for (int k = 1; k < 8; k++)
        for (uint32_t b = 0; b < 256; b++)
            table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
}

uint32_t crc32_update_plain(uint32_t state, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = state ^ bytes_get_u32(p), high = bytes_get_u32(p + 4);
        state = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
                table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
    }
    for (; len; p++, len--)
        state = state >> 8 ^ table[0][(state ^ *p) & 0xff];
    return state;
}

#if defined(__x86_64__)

/* x to these powers modulo the polynomial, reflected: what moves a 64-bit half over 512 and over 128 bits. */
#define FOLD_512_LOW  0x154442bd4ll /* x^(512+32) */
#define FOLD_512_HIGH 0x1c6e41596ll /* x^(512-32) */
#define FOLD_128_LOW  0x1751997d0ll /* x^(128+32) */
#define FOLD_128_HIGH 0x0ccaa009ell /* x^(128-32) */

#define FOLDING __attribute__((target("pclmul,sse4.1")))

FOLDING static inline __m128i fold(__m128i value, __m128i by, __m128i onto)
{
    __m128i low = _mm_clmulepi64_si128(value, by, 0x00), high = _mm_clmulepi64_si128(value, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

FOLDING static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* len >= 64. */
FOLDING static uint32_t update_folding(uint32_t state, const uint8_t *p, size_t len)
{
    const __m128i far = _mm_set_epi64x(FOLD_512_HIGH, FOLD_512_LOW);
    const __m128i near = _mm_set_epi64x(FOLD_128_HIGH, FOLD_128_LOW);
    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)state));
    __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (p += 64, len -= 64; len >= 64; p += 64, len -= 64) {
        a = fold(a, far, load(p));
        b = fold(b, far, load(p + 16));
        c = fold(c, far, load(p + 32));
        d = fold(d, far, load(p + 48));
    }
    a = fold(fold(fold(a, near, b), near, c), near, d);
    for (; len >= 16; p += 16, len -= 16)
        a = fold(a, near, load(p));
    uint8_t rest[16]; /* congruent to everything so far: its own remainder from 0 is the state */
    _mm_storeu_si128((__m128i *)(void *)rest, a);
    return crc32_update_plain(crc32_update_plain(0, rest, 16), p, len);
}

uint32_t crc32_update(uint32_t state, const void *bytes, size_t len)
{
    if (len >= 64 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        return update_folding(state, bytes, len);
    return crc32_update_plain(state, bytes, len);
}

#else

uint32_t crc32_update(uint32_t state, const void *bytes, size_t len)
{
    return crc32_update_plain(state, bytes, len);
}

#endif
