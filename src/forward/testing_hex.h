/* Frames in tests as people write them: hexadecimal digits with anything between them that is none; '?' is any digit. */
#ifndef MERIDIAN_FORWARD_TESTING_HEX_H
#define MERIDIAN_FORWARD_TESTING_HEX_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Writes the bytes of `text` and returns how many; what is no digit is skipped, '?' counts as 0. `to` has room enough. */
static inline uint32_t testing_hex(uint8_t *to, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t n = 0;
    for (; *text; text++) {
        const char *d = strchr(digits, *text);
        if (!d && *text != '?')
            continue;
        uint8_t v = d ? (uint8_t)(d - digits) : 0;
        to[n / 2] = n % 2 ? (uint8_t)(to[n / 2] | v) : (uint8_t)(v << 4);
        n++;
    }
    return n / 2;
}

static inline void testing_hex_print(const char *what, const uint8_t *bytes, uint32_t len)
{
    fprintf(stderr, "%s", what);
    for (uint32_t i = 0; i < len; i++)
        fprintf(stderr, "%02x%s", bytes[i], i % 4 == 3 ? " " : "");
    fprintf(stderr, "\n");
}

/* True when the bytes are those of `text`; else both are printed. */
static inline int testing_hex_equal(const uint8_t *got, uint32_t len, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t want[4096];
    uint32_t n = testing_hex(want, text), i = 0;
    int same = n == len;
    for (const char *t = text; *t && same; t++) {
        uint8_t digit = i / 2 < len ? (uint8_t)(i % 2 ? got[i / 2] & 15 : got[i / 2] >> 4) : 16;
        if (!strchr(digits, *t) && *t != '?')
            continue;
        same = *t == '?' || digits[digit & 15] == *t;
        i++;
    }
    if (!same) {
        testing_hex_print("want ", want, n);
        testing_hex_print("got  ", got, len);
    }
    return same;
}

#endif
