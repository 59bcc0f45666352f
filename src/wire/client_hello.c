/* A ClientHello is one handshake message, which may lie in several TLS records: (RFC 8446, 4.1.2 and 5.1)
 *   record:    type 22 | version u16 | length u16 | fragment
 *   handshake: type 1 | length u24 | version u16 | random 32 | session id <0..32> | ciphers <2..> | compression <1..> |
 *              extensions <u16>: { type u16 | length u16 | data }
 *   server_name (type 0): list u16 { name type 0 | length u16 | name }
 * First the fragments are put together, then the message is walked with one bounded cursor. */
#include "wire/client_hello.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct cursor {
    const uint8_t *p;
    size_t len;
    bool bad; /* ran over the end: everything read since is zero */
};

static uint32_t take_number(struct cursor *c, unsigned n)
{
    uint32_t v = 0;
    if (c->len < n) {
        c->bad = true;
        c->len = 0;
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | c->p[i];
    c->p += n;
    c->len -= n;
    return v;
}

static struct cursor take_bytes(struct cursor *c, size_t n)
{
    struct cursor part = {c->p, n, false};
    if (c->len < n) {
        c->bad = true;
        part.len = c->len = 0;
        return part;
    }
    c->p += n;
    c->len -= n;
    return part;
}

static struct cursor take_vector(struct cursor *c, unsigned length_bytes)
{
    return take_bytes(c, take_number(c, length_bytes));
}

/* The handshake message: its fragments put together in `to`. *ret_len: bytes of it that are there so far. Ends when the
 * message is whole. */
static int join_fragments(uint8_t *to, size_t *ret_len, size_t *ret_need, const uint8_t *bytes, size_t len)
{
    size_t at = 0, n = 0;
    for (unsigned records = 0; records < CLIENT_HELLO_RECORDS; records++) {
        size_t header = len - at < 5 ? len - at : 5;
        if (header >= 1 && bytes[at] != 22)
            return -EPROTO;
        if (header >= 2 && bytes[at + 1] != 3)
            return -EPROTO;
        if (header < 5)
            return *ret_need = at + 5, at + 5 > CLIENT_HELLO_MAX ? -E2BIG : -EAGAIN;
        size_t fragment = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
        if (!fragment)
            return -EPROTO;
        if (at + 5 + fragment > CLIENT_HELLO_MAX)
            return -E2BIG;
        if (len - at - 5 < fragment)
            return *ret_need = at + 5 + fragment, -EAGAIN;
        memcpy(to + n, bytes + at + 5, fragment);
        n += fragment;
        at += 5 + fragment;
        if (to[0] != 1)
            return -EPROTO;
        if (n >= 4) {
            size_t message = 4 + ((size_t)to[1] << 16 | (size_t)to[2] << 8 | to[3]);
            if (message > CLIENT_HELLO_MAX)
                return -E2BIG;
            if (n >= message)
                return *ret_len = message, 0;
        }
    }
    return -EPROTO;
}

/* Copies a server name that could be one; it is compared and logged, so nothing odd may pass. */
static int copy_name(char *to, struct cursor name)
{
    if (!name.len || name.len >= CLIENT_HELLO_NAME)
        return -EPROTO;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.p[i];
        if (c <= ' ' || c >= 127)
            return -EPROTO;
        to[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    to[name.len] = 0;
    return 0;
}

static int server_name(char *to, struct cursor ext)
{
    struct cursor list = take_vector(&ext, 2);
    uint32_t type = take_number(&list, 1);
    struct cursor name = take_vector(&list, 2);
    if (ext.bad || list.bad || ext.len || list.len || type != 0)
        return -EPROTO;
    return copy_name(to, name);
}

int client_hello_name(char ret_name[CLIENT_HELLO_NAME], size_t *ret_need, const uint8_t *bytes, size_t len)
{
    uint8_t message[CLIENT_HELLO_MAX];
    size_t n = 0;
    if (len > CLIENT_HELLO_MAX)
        len = CLIENT_HELLO_MAX;
    int rc = join_fragments(message, &n, ret_need, bytes, len);
    if (rc)
        return rc;
    struct cursor c = {message + 4, n - 4, false};
    (void)take_bytes(&c, 2 + 32);
    (void)take_vector(&c, 1);
    (void)take_vector(&c, 2);
    (void)take_vector(&c, 1);
    struct cursor exts = take_vector(&c, 2);
    if (c.bad || c.len)
        return -EPROTO;
    char name[CLIENT_HELLO_NAME] = "";
    while (exts.len) {
        uint32_t type = take_number(&exts, 2);
        struct cursor ext = take_vector(&exts, 2);
        if (exts.bad)
            return -EPROTO;
        if (type == 0 && (name[0] || server_name(name, ext)))
            return -EPROTO;
    }
    strcpy(ret_name, name);
    return 0;
}
