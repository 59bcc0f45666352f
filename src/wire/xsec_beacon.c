#include "wire/xsec_beacon.h"

#include "wire/xsec_cursor.h"

#include <errno.h>

_Static_assert(XSEC_BEACON_MOST <= 1500, "other daemons lose longer attributes");

bool xsec_name_good(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t len = strnlen(name, XSEC_NAME);
    return len > 0 && len < XSEC_NAME && strspn(name, allowed) == len && strchr(".-_", name[0]) == NULL;
}

size_t xsec_certificate_encode(const struct xsec_certificate *c, uint8_t to[XSEC_CERTIFICATE_MOST])
{
    struct cursor w = {to};
    put(&w, "XSM1", 4);
    put_u64(&w, c->serial);
    put(&w, c->pe.b, 16);
    put_u64(&w, (uint64_t)c->not_before);
    put_u64(&w, (uint64_t)c->not_after);
    put(&w, c->key, 32);
    put_name(&w, c->name);
    put(&w, &c->n_vpns, 1);
    put(&w, c->vpn, 8u * c->n_vpns);
    put(&w, c->signature, XSEC_SIGNATURE);
    return (size_t)(w.at - to);
}

int xsec_certificate_decode(struct xsec_certificate *ret, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes, len};
    struct xsec_certificate c = {0};
    if (!begins(&r, "XSM1"))
        return -EPROTO;
    c.serial = get_u64(&r);
    get(&r, c.pe.b, 16);
    c.not_before = (int64_t)get_u64(&r);
    c.not_after = (int64_t)get_u64(&r);
    get(&r, c.key, 32);
    if (!get_name(&r, c.name) || (c.n_vpns = get_u8(&r)) > XSEC_VPNS_MOST)
        return -EPROTO;
    get(&r, c.vpn, 8u * c.n_vpns);
    get(&r, c.signature, XSEC_SIGNATURE);
    if (r.short_ || r.left)
        return -EPROTO;
    *ret = c;
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
    struct reader r = {bytes, len};
    if (!begins(&r, "XSR1"))
        return -EPROTO;
    struct xsec_revocations v = {.number = get_u64(&r)};
    v.issued = (int64_t)get_u64(&r);
    v.n = get_u16(&r);
    if (v.n > XSEC_REVOKED_MOST)
        return -EPROTO;
    for (unsigned i = 0; i < v.n; i++) {
        v.serial[i] = get_u64(&r);
        if (i && v.serial[i] <= v.serial[i - 1])
            return -EPROTO;
    }
    get(&r, v.signature, XSEC_SIGNATURE);
    if (r.short_ || r.left)
        return -EPROTO;
    *ret = v;
    return 0;
}

size_t xsec_beacon_encode(const struct xsec_beacon *b, const struct xsec_carried *carried, uint8_t to[XSEC_BEACON_MOST])
{
    struct cursor w = {to};
    put(&w, "XSB1", 4);
    put_certificate(&w, &b->certificate);
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
    put_u16(&w, carried ? carried->len : 0);
    if (carried && carried->len)
        put(&w, carried->list, carried->len);
    put(&w, b->signature, XSEC_SIGNATURE);
    return (size_t)(w.at - to);
}

int xsec_beacon_decode(struct xsec_beacon *ret, struct xsec_carried *ret_carried, const uint8_t *bytes, size_t len)
{
    struct reader r = {bytes, len};
    struct xsec_beacon b = {0};
    struct xsec_carried carried;
    if (!begins(&r, "XSB1") || !get_certificate(&r, &b.certificate))
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
    carried.len = get_u16(&r);
    carried.list = take(&r, carried.len);
    get(&r, b.signature, XSEC_SIGNATURE);
    if (r.short_ || r.left || carried.len > XSEC_REVOCATIONS_MOST)
        return -EPROTO;
    *ret = b;
    *ret_carried = carried;
    return 0;
}
