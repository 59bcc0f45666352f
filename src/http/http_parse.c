#include "http/http_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_MOST    16384
#define HEADERS_MOST 200

void http_parse_init(struct http_parse *p, bool (*on_body)(void *, const void *, size_t), void *user)
{
    *p = (struct http_parse){.on_body = on_body, .user = user};
}

void http_parse_done(struct http_parse *p)
{
    buf_done(&p->line);
}

static int on_status(struct http_parse *p, const char *line)
{
    if (strncmp(line, "HTTP/1.", 7) || strlen(line) < 12 || line[8] != ' ')
        return -EPROTO;
    p->status = atoi(line + 9);
    if (p->status < 100 || p->status > 599)
        return -EPROTO;
    p->state = PARSE_HEADERS;
    return 0;
}

static int after_headers(struct http_parse *p)
{
    if (p->status < 200) { /* 100 Continue: the real one follows */
        p->state = PARSE_STATUS;
        p->n_headers = 0;
    } else if (p->chunked) {
        p->state = PARSE_CHUNK_SIZE;
    } else if (p->status == 204 || p->status == 304 || (p->has_length && !p->left)) {
        p->state = PARSE_DONE;
    } else {
        p->state = p->has_length ? PARSE_LENGTH : PARSE_TO_END;
    }
    return 0;
}

static int on_header(struct http_parse *p, const char *line)
{
    if (!line[0])
        return after_headers(p);
    if (++p->n_headers > HEADERS_MOST)
        return -EPROTO;
    if (!strncasecmp(line, "Transfer-Encoding:", 18))
        p->chunked = strcasestr(line + 18, "chunked") != NULL;
    if (!strncasecmp(line, "Content-Length:", 15)) {
        const char *digits = line + 15 + strspn(line + 15, " \t");
        char *end;
        p->left = strtoull(digits, &end, 10);
        if (digits[0] < '0' || digits[0] > '9' || end[strspn(end, " \t")])
            return -EPROTO;
        p->has_length = true;
    }
    return 0;
}

static int on_chunk_size(struct http_parse *p, const char *line)
{
    char *end;
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    if (!digits || digits > 15)
        return -EPROTO;
    p->left = strtoull(line, &end, 16);
    p->state = p->left ? PARSE_CHUNK : PARSE_TRAILERS;
    return 0;
}

static int on_line(struct http_parse *p, const char *line)
{
    switch (p->state) {
    case PARSE_STATUS:
        return on_status(p, line);
    case PARSE_HEADERS:
        return on_header(p, line);
    case PARSE_CHUNK_SIZE:
        return on_chunk_size(p, line);
    case PARSE_CHUNK_END:
        p->state = PARSE_CHUNK_SIZE;
        return line[0] ? -EPROTO : 0;
    default: /* PARSE_TRAILERS */
        if (!line[0])
            p->state = PARSE_DONE;
        else if (++p->n_headers > HEADERS_MOST)
            return -EPROTO;
        return 0;
    }
}

/* Takes bytes up to and with a newline. */
static int feed_line(struct http_parse *p, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *nl = memchr(*at, '\n', (size_t)(end - *at));
    const uint8_t *to = nl ? nl : end;
    if (p->line.len + (size_t)(to - *at) > LINE_MOST)
        return -EPROTO;
    if (buf_append(&p->line, *at, (size_t)(to - *at)))
        return -ENOMEM;
    *at = nl ? nl + 1 : end;
    if (!nl)
        return 0;
    if (p->line.len && p->line.data[p->line.len - 1] == '\r')
        p->line.len--;
    int rc = on_line(p, buf_str(&p->line));
    p->line.len = 0;
    return rc;
}

static int feed_body(struct http_parse *p, const uint8_t **at, const uint8_t *end)
{
    size_t n = (size_t)(end - *at);
    if (p->state != PARSE_TO_END && n > p->left)
        n = (size_t)p->left;
    const uint8_t *from = *at;
    *at += n;
    p->left -= p->state == PARSE_TO_END ? 0 : n;
    if (!p->left && p->state == PARSE_LENGTH)
        p->state = PARSE_DONE;
    if (!p->left && p->state == PARSE_CHUNK)
        p->state = PARSE_CHUNK_END;
    return p->on_body(p->user, from, n) ? 0 : -ECANCELED;
}

int http_parse_feed(struct http_parse *p, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at + len;
    int rc = 0;
    while (at < end && !rc && p->state != PARSE_DONE) {
        bool body = p->state == PARSE_LENGTH || p->state == PARSE_TO_END || p->state == PARSE_CHUNK;
        rc = body ? feed_body(p, &at, end) : feed_line(p, &at, end);
    }
    return rc;
}

int http_parse_eof(struct http_parse *p)
{
    return p->state == PARSE_DONE || p->state == PARSE_TO_END ? 0 : -EPIPE;
}
