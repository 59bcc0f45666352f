#include "wire/xsec_kit.h"

#include "wire/xsec_cursor.h"

#include <errno.h>

size_t xsec_request_encode(const struct xsec_request *r, uint8_t to[XSEC_REQUEST_MOST])
{
    struct cursor w = {to};
    put(&w, "XSQ1", 4);
    put(&w, r->pe.b, 16);
    put(&w, r->key, 32);
    put_u64(&w, (uint64_t)r->made);
    put_name(&w, r->name);
    put(&w, r->signature, XSEC_SIGNATURE);
    return (size_t)(w.at - to);
}

int xsec_request_decode(struct xsec_request *ret, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes, len};
    struct xsec_request q = {0};
    if (!begins(&r, "XSQ1"))
        return -EPROTO;
    get(&r, q.pe.b, 16);
    get(&r, q.key, 32);
    q.made = (int64_t)get_u64(&r);
    if (!get_name(&r, q.name))
        return -EPROTO;
    get(&r, q.signature, XSEC_SIGNATURE);
    if (r.short_ || r.left)
        return -EPROTO;
    *ret = q;
    return 0;
}

size_t xsec_kit_encode(const struct xsec_kit *k, uint8_t to[XSEC_KIT_MOST])
{
    struct cursor w = {to};
    put(&w, "XSK1", 4);
    put(&w, k->ca, 32);
    put_certificate(&w, &k->certificate);
    put_u16(&w, k->list_len);
    put(&w, k->list, k->list_len);
    return (size_t)(w.at - to);
}

int xsec_kit_decode(struct xsec_kit *ret, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes, len};
    struct xsec_kit k = {0};
    if (!begins(&r, "XSK1"))
        return -EPROTO;
    get(&r, k.ca, 32);
    if (!get_certificate(&r, &k.certificate) || (k.list_len = get_u16(&r)) > XSEC_REVOCATIONS_MOST)
        return -EPROTO;
    get(&r, k.list, k.list_len);
    if (r.short_ || r.left)
        return -EPROTO;
    *ret = k;
    return 0;
}

/* --- as text ------------------------------------------------------------------------------------------------------------ */

static const char *const names[XSEC_FILES] = {
    [XSEC_FILE_REQUEST] = "request", [XSEC_FILE_KIT] = "kit", [XSEC_FILE_LIST] = "revocation list"};
#define TITLE "meridian xsec "

const char *xsec_file_name(enum xsec_file f)
{
    return names[f];
}

int xsec_text_encode(struct buf *ret, enum xsec_file kind, const uint8_t *bytes, size_t len)
{
    int rc = buf_printf(ret, TITLE "%s\n", names[kind]);
    for (size_t i = 0; rc == 0 && i < len; i++)
        rc = buf_printf(ret, "%02x%s", bytes[i], i % 32 == 31 || i + 1 == len ? "\n" : "");
    return rc;
}

/* The title is a line of its own; what follows it, NULL: none of ours. */
static const char *after_title(enum xsec_file *ret, const char *text, const char *end)
{
    for (int k = 0; k < XSEC_FILES; k++) {
        size_t n = strlen(TITLE), m = strlen(names[k]);
        if ((size_t)(end - text) <= n + m || memcmp(text, TITLE, n) != 0 || memcmp(text + n, names[k], m) != 0)
            continue;
        const char *at = text + n + m;
        if (*at != '\n' && *at != '\r')
            continue;
        *ret = (enum xsec_file)k;
        return at;
    }
    return NULL;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int xsec_text_decode(
    enum xsec_file *ret_kind, uint8_t to[XSEC_FILE_MOST], size_t *ret_len, const char *text, size_t len)
{
    enum xsec_file kind;
    const char *end = text + len, *at = len ? after_title(&kind, text, end) : NULL;
    size_t digits = 0;
    for (; at && at < end; at++) {
        int v = digit(*at);
        if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
            continue;
        if (v < 0 || digits == 2 * (size_t)XSEC_FILE_MOST)
            return -EPROTO;
        if (digits % 2)
            to[digits / 2] |= (uint8_t)v;
        else
            to[digits / 2] = (uint8_t)(v << 4);
        digits++;
    }
    if (!at || digits == 0 || digits % 2)
        return -EPROTO;
    *ret_kind = kind;
    *ret_len = digits / 2;
    return 0;
}
