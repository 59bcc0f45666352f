#include "edge/utf8.h"

#include <errno.h>
#include <string.h>

static const char replacement[] = "\xef\xbf\xbd";

/* Lead byte -> length of its sequence, and what the second byte must lie between (no overlong forms, no surrogates,
 * nothing above U+10FFFF): Unicode, table 3-7. */
static int lead(uint8_t b, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (b < 0x80)
        return 1;
    if (b < 0xc2 || b > 0xf4)
        return 0;
    if (b < 0xe0)
        return 2;
    if (b == 0xe0)
        *low = 0xa0;
    if (b == 0xed)
        *high = 0x9f;
    if (b == 0xf0)
        *low = 0x90;
    if (b == 0xf4)
        *high = 0x8f;
    return b < 0xf0 ? 3 : 4;
}

int utf8_char(const uint8_t *p, size_t len)
{
    uint8_t low, high;
    int want = lead(p[0], &low, &high);
    if (want <= 1)
        return want ? 1 : -1;
    for (int i = 1; i < want; i++) {
        if ((size_t)i == len)
            return 0;
        if (p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return want;
}

bool utf8_valid(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    while (len) {
        int n = utf8_char(p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* Decodes p; *ret_left is how many bytes at the end are an unfinished character. */
static int decode(const uint8_t *p, size_t len, struct buf *ret, size_t *ret_left)
{
    int rc = 0;
    while (len && !rc) {
        int n = utf8_char(p, len);
        if (!n)
            break;
        rc = n > 0 ? buf_append(ret, p, (size_t)n) : buf_append(ret, replacement, 3);
        size_t used = (size_t)(n > 0 ? n : -n);
        p += used;
        len -= used;
    }
    *ret_left = len;
    return rc;
}

int utf8_push(struct utf8 *u, const void *piece, size_t len, struct buf *ret)
{
    const uint8_t *p = piece;
    size_t left;
    int rc = 0;
    /* A held beginning takes bytes one at a time until it is a character or is none. */
    while (u->n_held && len && !rc) {
        uint8_t all[5];
        memcpy(all, u->held, u->n_held);
        all[u->n_held] = *p++;
        len--;
        size_t n = u->n_held + 1u;
        rc = decode(all, n, ret, &left);
        u->n_held = (uint8_t)left;
        memcpy(u->held, all + n - left, left);
    }
    if (!rc && len) {
        rc = decode(p, len, ret, &left);
        memcpy(u->held, p + len - left, left);
        u->n_held = (uint8_t)left;
    }
    return rc;
}

int utf8_flush(struct utf8 *u, struct buf *ret)
{
    if (!u->n_held)
        return 0;
    u->n_held = 0;
    return buf_append(ret, replacement, 3);
}

void utf8_trim(char *s)
{
    size_t len = strlen(s);
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        if (((uint8_t)s[len - back] & 0xc0) == 0x80)
            continue;
        if (utf8_char((const uint8_t *)s + len - back, back) == 0)
            s[len - back] = 0;
        return;
    }
}
