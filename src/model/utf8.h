/* One UTF-8 sequence at a time, strictly: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef MERIDIAN_MODEL_UTF8_H
#define MERIDIAN_MODEL_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence that starts at s (1..4) and its code point, or 0 when these bytes are not UTF-8. */
static inline size_t utf8_get(const char *s, size_t len, uint32_t *ret)
{
    const uint8_t *p = (const uint8_t *)s;
    if (len == 0)
        return 0;
    if (p[0] < 0x80) {
        *ret = p[0];
        return 1;
    }
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len < n)
        return 0;
    uint32_t c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))) || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 0;
    *ret = c;
    return n;
}

/* Writes c (a valid code point), returns its bytes. */
static inline size_t utf8_put(char *s, uint32_t c)
{
    if (c < 0x80) {
        s[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        s[0] = (char)(0xc0 | c >> 6);
        s[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        s[0] = (char)(0xe0 | c >> 12);
        s[1] = (char)(0x80 | (c >> 6 & 0x3f));
        s[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    s[0] = (char)(0xf0 | c >> 18);
    s[1] = (char)(0x80 | (c >> 12 & 0x3f));
    s[2] = (char)(0x80 | (c >> 6 & 0x3f));
    s[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Length of the valid UTF-8 at the start of s (maybe 0, maybe all of it). */
static inline size_t utf8_valid_prefix(const char *s, size_t len)
{
    size_t i = 0;
    uint32_t c;
    while (i < len) {
        size_t n = utf8_get(s + i, len - i, &c);
        if (!n)
            break;
        i += n;
    }
    return i;
}

#endif
