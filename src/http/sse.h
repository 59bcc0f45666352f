/* Server-sent events from bytes as they come: the `data` of each event, the rest ignored. Pure. */
#ifndef MERIDIAN_HTTP_SSE_H
#define MERIDIAN_HTTP_SSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct sse {
    struct buf line, data;
    bool has_data;
    bool after_cr;                                              /* a "\n" here belongs to the "\r" before it */
    bool (*on_event)(void *user, const char *data, size_t len); /* NUL-terminated too; false: enough */
    void *user;
};

void sse_init(struct sse *s, bool (*on_event)(void *, const char *, size_t), void *user);
void sse_done(struct sse *s);
/* 0; -ECANCELED: on_event said enough; -EMSGSIZE: an event above 1 MiB. */
int sse_feed(struct sse *s, const void *bytes, size_t len);

#endif
