/* A growable run of bytes. The owner is whoever holds the struct; buf_done frees. `{0}` is a valid empty buffer. */
#ifndef MERIDIAN_BASE_BUF_H
#define MERIDIAN_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

void buf_done(struct buf *b);                                 /* frees; b is empty again */
int buf_reserve(struct buf *b, size_t more);                  /* room for `more` bytes after len; -ENOMEM */
int buf_append(struct buf *b, const void *bytes, size_t len); /* -ENOMEM, nothing appended then */
int buf_append_str(struct buf *b, const char *s);
__attribute__((format(printf, 2, 3))) int buf_printf(struct buf *b, const char *fmt, ...);
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes (n <= len) */

/* The contents as a C string (a NUL is kept after the end, not counted in len); "" when empty. Valid until b changes. */
const char *buf_str(struct buf *b);

#endif
