/* The answer of an HTTP/1.1 server, from bytes as they come: status, then the body with its framing (chunked, by length,
 * or until the end) taken off. Pure; every length is bounded. RFC 9112. */
#ifndef MERIDIAN_HTTP_HTTP_PARSE_H
#define MERIDIAN_HTTP_HTTP_PARSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_parse {
    enum {
        PARSE_STATUS,
        PARSE_HEADERS,
        PARSE_LENGTH, /* `left` bytes to go */
        PARSE_TO_END,
        PARSE_CHUNK_SIZE,
        PARSE_CHUNK, /* `left` bytes to go */
        PARSE_CHUNK_END,
        PARSE_TRAILERS,
        PARSE_DONE,
    } state;
    int status; /* 0 until known */
    bool chunked, has_length;
    uint64_t left;
    uint32_t n_headers;
    struct buf line;
    /* Body bytes as they come; false: enough. */
    bool (*on_body)(void *user, const void *bytes, size_t len);
    void *user;
};

void http_parse_init(struct http_parse *p, bool (*on_body)(void *, const void *, size_t), void *user);
void http_parse_done(struct http_parse *p);
/* 0; -EPROTO: not HTTP/1; -ECANCELED: on_body said enough. Bytes after the end are ignored. */
int http_parse_feed(struct http_parse *p, const void *bytes, size_t len);
/* The connection ended: 0 when the answer was whole, -EPIPE when it was cut off. */
int http_parse_eof(struct http_parse *p);

#endif
