#include "wire/xsec_beacon.h"

#include "base/bytes.h"

#include <errno.h>

/* A cursor over bytes whose number is known to suffice. */
struct cursor {
    uint8_t *at;
};

static void put(struct cursor *c, const void *bytes, size_t len)
{
    memcpy(c->at, bytes, len);
    c->at += len;
}

static void put_u64(struct cursor *c, uint64_t v)
{
    bytes_put_be64(c->at, v);
    c->at += 8;
}

static void put_u16(struct cursor *c, uint16_t v)
{
    bytes_put_be16(c->at, v);
    c->at += 2;
}

struct reader {
    const uint8_t *at;
};

static void get(struct reader *r, void *to, size_t len)
{
    memcpy(to, r->at, len);
    r->at += len;
}

static uint64_t get_u64(struct reader *r)
{
    r->at += 8;
    return bytes_get_be64(r->at - 8);
}

static uint16_t get_u16(struct reader *r)
{
    r->at += 2;
    return bytes_get_be16(r->at - 2);
}

void xsec_certificate_encode(const struct xsec_certificate *c, uint8_t to[XSEC_CERTIFICATE])
{
    struct cursor w = {to};
    put(&w, "XSM1", 4);
    put_u64(&w, c->serial);
    put(&w, c->pe.b, 16);
    put_u64(&w, (uint64_t)c->not_before);
    put_u64(&w, (uint64_t)c->not_after);
    put(&w, c->key, 32);
    put(&w, c->signature, XSEC_SIGNATURE);
}

int xsec_certificate_decode(struct xsec_certificate *ret, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes + 4};
    if (len != XSEC_CERTIFICATE || memcmp(bytes, "XSM1", 4) != 0)
        return -EPROTO;
    ret->serial = get_u64(&r);
    get(&r, ret->pe.b, 16);
    ret->not_before = (int64_t)get_u64(&r);
    ret->not_after = (int64_t)get_u64(&r);
    get(&r, ret->key, 32);
    get(&r, ret->signature, XSEC_SIGNATURE);
    return 0;
}

size_t xsec_revocations_encode(const struct xsec_revocations *r, uint8_t to[XSEC_REVOCATIONS_MOST])
{
    struct cursor w = {to};
    put(&w, "XSR1", 4);
    put_u64(&w, r->number);
    put_u64(&w, (uint64_t)r->issued);
    put_u16(&w, r->n);
    for (unsigned i = 0; i < r->n; i++)
        put_u64(&w, r->serial[i]);
    put(&w, r->signature, XSEC_SIGNATURE);
    return (size_t)(w.at - to);
}

int xsec_revocations_decode(struct xsec_revocations *ret, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes + 4};
    if (len < 22 + XSEC_SIGNATURE || memcmp(bytes, "XSR1", 4) != 0)
        return -EPROTO;
    struct xsec_revocations v = {.number = get_u64(&r), .issued = (int64_t)get_u64(&r), .n = get_u16(&r)};
    if (v.n > XSEC_REVOKED_MOST || len != 22 + 8u * v.n + XSEC_SIGNATURE)
        return -EPROTO;
    for (unsigned i = 0; i < v.n; i++) {
        v.serial[i] = get_u64(&r);
        if (i && v.serial[i] <= v.serial[i - 1])
            return -EPROTO;
    }
    get(&r, v.signature, XSEC_SIGNATURE);
    *ret = v;
    return 0;
}

void xsec_beacon_encode(const struct xsec_beacon *b, uint8_t to[XSEC_BEACON])
{
    struct cursor w = {to};
    put(&w, "XSB1", 4);
    xsec_certificate_encode(&b->certificate, w.at);
    w.at += XSEC_CERTIFICATE;
    put(&w, b->vpn, 8);
    put(&w, b->rd, 8);
    put(&w, b->next_hop.b, 16);
    put(&w, b->service_sid.b, 16);
    put_u64(&w, b->generation);
    put_u64(&w, (uint64_t)b->not_before);
    put_u64(&w, (uint64_t)b->not_after);
    put_u16(&w, b->suites);
    put(&w, b->key, 32);
    put(&w, b->nonce, 32);
    put(&w, b->signature, XSEC_SIGNATURE);
}

int xsec_beacon_decode(struct xsec_beacon *ret, const uint8_t *bytes, size_t len)
{
    struct xsec_beacon b;
    struct reader r = {bytes + 4 + XSEC_CERTIFICATE};
    if (len != XSEC_BEACON || memcmp(bytes, "XSB1", 4) != 0 ||
        xsec_certificate_decode(&b.certificate, bytes + 4, XSEC_CERTIFICATE))
        return -EPROTO;
    get(&r, b.vpn, 8);
    get(&r, b.rd, 8);
    get(&r, b.next_hop.b, 16);
    get(&r, b.service_sid.b, 16);
    b.generation = get_u64(&r);
    b.not_before = (int64_t)get_u64(&r);
    b.not_after = (int64_t)get_u64(&r);
    b.suites = get_u16(&r);
    get(&r, b.key, 32);
    get(&r, b.nonce, 32);
    get(&r, b.signature, XSEC_SIGNATURE);
    *ret = b;
    return 0;
}
