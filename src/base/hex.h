/* Bytes as lower-case hexadecimal digits: identities, fingerprints and hashes in files, keys and messages. */
#ifndef MERIDIAN_BASE_HEX_H
#define MERIDIAN_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Two digits a byte and a NUL: 2 * n + 1 bytes at `to`. */
static inline void hex_put(char *to, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 15];
    }
    to[2 * n] = 0;
}

#endif
