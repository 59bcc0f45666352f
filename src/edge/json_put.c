#include "edge/json_put.h"

#include "edge/utf8.h"

#include <stdbool.h>
#include <string.h>

static int put_escape(struct buf *b, uint8_t c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
        return buf_append(b, (char[2]){'\\', to[at - from]}, 2);
    return buf_printf(b, "\\u%04x", c);
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

int json_put_str(struct buf *b, const void *bytes, size_t len)
{
    const uint8_t *p = bytes, *end = p + len;
    int rc = buf_append(b, "\"", 1);
    while (p < end && !rc) {
        const uint8_t *from = p;
        while (p < end && is_plain(*p))
            p++;
        rc = buf_append(b, from, (size_t)(p - from));
        if (p == end || rc)
            break;
        int n = utf8_char(p, (size_t)(end - p));
        if (n == 1)
            rc = put_escape(b, *p);
        else
            rc = n > 0 ? buf_append(b, p, (size_t)n) : buf_append(b, "\xef\xbf\xbd", 3);
        p += n > 0 ? n : n < 0 ? -n : end - p;
    }
    return rc ? rc : buf_append(b, "\"", 1);
}

int json_put_cstr(struct buf *b, const char *s)
{
    return json_put_str(b, s, strlen(s));
}
