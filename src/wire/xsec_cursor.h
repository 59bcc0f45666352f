/* Reading and writing the blobs of xsec_beacon.c and xsec_kit.c: cursors, and the parts that several have. */
#ifndef MERIDIAN_WIRE_XSEC_CURSOR_H
#define MERIDIAN_WIRE_XSEC_CURSOR_H

#include "base/bytes.h"
#include "wire/xsec_beacon.h"

/* A cursor over bytes whose number is known to suffice. */
struct cursor {
    uint8_t *at;
};

static inline void put(struct cursor *c, const void *bytes, size_t len)
{
    memcpy(c->at, bytes, len);
    c->at += len;
}

static inline void put_u64(struct cursor *c, uint64_t v)
{
    bytes_put_be64(c->at, v);
    c->at += 8;
}

static inline void put_u16(struct cursor *c, uint16_t v)
{
    bytes_put_be16(c->at, v);
    c->at += 2;
}

/* A cursor over bytes that may be too few: then it stays where it is and gives zeros. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool short_;
};

static inline const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *at = r->at;
    if (len > r->left) {
        r->short_ = true;
        return NULL;
    }
    r->at += len;
    r->left -= len;
    return at;
}

static inline void get(struct reader *r, void *to, size_t len)
{
    const uint8_t *at = take(r, len);
    if (at)
        memcpy(to, at, len);
    else
        memset(to, 0, len);
}

static inline uint64_t get_u64(struct reader *r)
{
    uint8_t b[8];
    get(r, b, 8);
    return bytes_get_be64(b);
}

static inline uint16_t get_u16(struct reader *r)
{
    uint8_t b[2];
    get(r, b, 2);
    return bytes_get_be16(b);
}

static inline uint8_t get_u8(struct reader *r)
{
    uint8_t b;
    get(r, &b, 1);
    return b;
}

static inline bool begins(struct reader *r, const char magic[4])
{
    uint8_t b[4];
    get(r, b, 4);
    return !r->short_ && memcmp(b, magic, 4) == 0;
}

static inline void put_name(struct cursor *c, const char *name)
{
    uint8_t len = (uint8_t)strnlen(name, XSEC_NAME - 1);
    put(c, &len, 1);
    put(c, name, len);
}

static inline bool get_name(struct reader *r, char ret[XSEC_NAME])
{
    uint8_t len = get_u8(r);
    if (len >= XSEC_NAME)
        return false;
    memset(ret, 0, XSEC_NAME);
    get(r, ret, len);
    return !r->short_ && strlen(ret) == len && xsec_name_good(ret);
}

static inline void put_certificate(struct cursor *w, const struct xsec_certificate *c)
{
    uint8_t *length = w->at;
    w->at += 2;
    size_t len = xsec_certificate_encode(c, w->at);
    bytes_put_be16(length, (uint16_t)len);
    w->at += len;
}

static inline bool get_certificate(struct reader *r, struct xsec_certificate *ret)
{
    uint16_t len = get_u16(r);
    const uint8_t *at = take(r, len);
    return at && xsec_certificate_decode(ret, at, len) == 0;
}

#endif
