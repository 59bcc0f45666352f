/* JSON strings, written straight into a buffer: no allocation but the buffer's own growth. */
#ifndef MERIDIAN_EDGE_JSON_PUT_H
#define MERIDIAN_EDGE_JSON_PUT_H

#include "base/buf.h"

#include <stddef.h>

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. -ENOMEM. */
int json_put_str(struct buf *b, const void *bytes, size_t len);
int json_put_cstr(struct buf *b, const char *s);

#endif
