#include "http/sse.h"

#include <errno.h>
#include <string.h>

#define EVENT_MOST (1 << 20)

void sse_init(struct sse *s, bool (*on_event)(void *, const char *, size_t), void *user)
{
    *s = (struct sse){.on_event = on_event, .user = user};
}

void sse_done(struct sse *s)
{
    buf_done(&s->line);
    buf_done(&s->data);
}

static int on_data(struct sse *s, const char *value, size_t len)
{
    if (s->data.len + len + 1 > EVENT_MOST)
        return -EMSGSIZE;
    if (s->has_data && buf_append(&s->data, "\n", 1))
        return -ENOMEM;
    s->has_data = true;
    return buf_append(&s->data, value, len);
}

static int on_line(struct sse *s)
{
    const char *line = buf_str(&s->line);
    size_t len = s->line.len;
    if (len) {
        size_t name = strcspn(line, ":");
        if (name != 4 || memcmp(line, "data", 4))
            return 0;
        size_t from = name + (name < len) + (name + 1 < len && line[name + 1] == ' ');
        return on_data(s, line + from, len - from);
    }
    bool more = !s->has_data || s->on_event(s->user, buf_str(&s->data), s->data.len);
    s->data.len = 0;
    s->has_data = false;
    return more ? 0 : -ECANCELED;
}

int sse_feed(struct sse *s, const void *bytes, size_t len)
{
    const char *p = bytes;
    for (size_t i = 0; i < len; i++) {
        bool second = p[i] == '\n' && s->after_cr;
        s->after_cr = p[i] == '\r';
        if (second)
            continue;
        if (p[i] != '\n' && p[i] != '\r') {
            if (s->line.len >= EVENT_MOST)
                return -EMSGSIZE;
            if (buf_append(&s->line, &p[i], 1))
                return -ENOMEM;
            continue;
        }
        int rc = on_line(s);
        s->line.len = 0;
        if (rc)
            return rc;
    }
    return 0;
}
