/* Bytes of tokens to text that may be shown: complete characters only, anything that is not UTF-8 as U+FFFD (the
 * replacement of the WHATWG decoder: one for each maximal part of a sequence). */
#ifndef MERIDIAN_EDGE_UTF8_H
#define MERIDIAN_EDGE_UTF8_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the character that starts at p (1..4); 0: the bytes here are the beginning of one that continues beyond
 * len; -k: the first k bytes belong to no character. len > 0. */
int utf8_char(const uint8_t *p, size_t len);
bool utf8_valid(const void *bytes, size_t len);

/* A decoder over pieces: holds back at most three bytes. */
struct utf8 {
    uint8_t held[4];
    uint8_t n_held;
};
/* Appends the complete characters of held bytes and piece. -ENOMEM. */
int utf8_push(struct utf8 *u, const void *piece, size_t len, struct buf *ret);
int utf8_flush(struct utf8 *u, struct buf *ret); /* at the end: what is held becomes U+FFFD */

/* Ends a C string before a character that was cut off at its end. */
void utf8_trim(char *s);

#endif
