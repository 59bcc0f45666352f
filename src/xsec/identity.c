#include "xsec/identity.h"

#include "wire/ip_text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int xsec_certificate_sign(struct xsec_certificate *c, struct ed25519 *ca)
{
    uint8_t bytes[XSEC_CERTIFICATE_MOST];
    size_t len = xsec_certificate_encode(c, bytes);
    return ed25519_sign(ca, bytes, len - XSEC_SIGNATURE, c->signature);
}

static bool certificate_is_of(const struct xsec_certificate *c, const uint8_t ca[32])
{
    uint8_t bytes[XSEC_CERTIFICATE_MOST];
    size_t len = xsec_certificate_encode(c, bytes);
    return ed25519_verify(ca, bytes, len - XSEC_SIGNATURE, c->signature) == 0;
}

int xsec_revocations_sign(struct xsec_revocations *r, struct ed25519 *ca)
{
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    size_t len = xsec_revocations_encode(r, bytes);
    return ed25519_sign(ca, bytes, len - XSEC_SIGNATURE, r->signature);
}

int xsec_revocations_read(struct xsec_revocations *ret, const uint8_t ca[32], const uint8_t *bytes, size_t len)
{
    struct xsec_revocations r;
    if (xsec_revocations_decode(&r, bytes, len) || ed25519_verify(ca, bytes, len - XSEC_SIGNATURE, r.signature))
        return -EPROTO;
    *ret = r;
    return 0;
}

bool xsec_revoked(const struct xsec_revocations *r, uint64_t serial)
{
    for (unsigned i = 0; r && i < r->n; i++)
        if (r->serial[i] == serial)
            return true;
    return false;
}

static const char *date(char to[32], int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(to, 32, "%Y-%m-%d %H:%MZ", &tm) == 0)
        return "a year that no calendar has";
    return to;
}

int xsec_identity_check(const struct xsec_identity *i, int64_t now_s, struct error *err)
{
    struct ed25519 *key;
    char text[32];
    if (ed25519_create(&key, i->seed))
        return error_set(err, ENOMEM, "not enough memory for a key");
    bool ours = memcmp(ed25519_public(key), i->certificate.key, 32) == 0;
    ed25519_free(key);
    if (!ours)
        return error_set(err, EINVAL, "the certificate is for another key than this router's: enrol it again");
    if (!certificate_is_of(&i->certificate, i->ca))
        return error_set(err, EINVAL, "the certificate is not signed by this CA: is the CA file the operator's?");
    if (now_s + XSEC_SKEW_S < i->certificate.not_before)
        return error_set(err, EINVAL, "the certificate is not valid before %s: is this router's clock right?",
            date(text, i->certificate.not_before));
    if (now_s > i->certificate.not_after)
        return error_set(err, EINVAL, "the certificate expired at %s: run `meridian xsec enrol` again",
            date(text, i->certificate.not_after));
    return 0;
}

int xsec_kit_open(struct xsec_identity *ret, const struct xsec_kit *kit, const uint8_t seed[32],
    const struct ip6 *loopback, int64_t now_s, struct error *err)
{
    const struct xsec_certificate *c = &kit->certificate;
    struct xsec_identity i = {.certificate = *c};
    char theirs[IP_TEXT_SIZE], ours[IP_TEXT_SIZE];
    if (!ip6_equal(&c->pe, loopback))
        return error_set(err, EINVAL, "this kit is for %s (%s), but this router's loopback is %s", c->name,
            ip6_print(theirs, &c->pe), ip6_print(ours, loopback));
    memcpy(i.seed, seed, 32);
    memcpy(i.ca, kit->ca, 32);
    int rc = xsec_identity_check(&i, now_s, err);
    if (rc == 0)
        *ret = i;
    explicit_bzero(i.seed, sizeof i.seed);
    return rc;
}

int xsec_request_sign(struct xsec_request *r, struct ed25519 *router)
{
    uint8_t bytes[XSEC_REQUEST_MOST];
    memcpy(r->key, ed25519_public(router), 32);
    size_t len = xsec_request_encode(r, bytes);
    return ed25519_sign(router, bytes, len - XSEC_SIGNATURE, r->signature);
}

int xsec_request_check(const struct xsec_request *r)
{
    uint8_t bytes[XSEC_REQUEST_MOST];
    size_t len = xsec_request_encode(r, bytes);
    return ed25519_verify(r->key, bytes, len - XSEC_SIGNATURE, r->signature);
}

bool xsec_serves(const struct xsec_certificate *c, const uint8_t target[8])
{
    for (unsigned i = 0; i < c->n_vpns; i++)
        if (memcmp(c->vpn[i], target, 8) == 0)
            return true;
    return c->n_vpns == 0;
}

size_t xsec_beacon_sign(
    struct xsec_beacon *b, const struct xsec_carried *carried, struct ed25519 *pe, uint8_t to[XSEC_BEACON_MOST])
{
    size_t len = xsec_beacon_encode(b, carried, to);
    if (ed25519_sign(pe, to, len - XSEC_SIGNATURE, b->signature))
        return 0;
    memcpy(to + len - XSEC_SIGNATURE, b->signature, XSEC_SIGNATURE);
    return len;
}

const char *xsec_verdict_name(enum xsec_verdict v)
{
    static const char *const name[XSEC_VERDICTS] = {"good", "malformed", "not-a-member", "revoked", "expired", "early",
        "forged", "inconsistent", "replayed", "no-suite", "wrong-vpn"};
    return v < XSEC_VERDICTS ? name[v] : "unknown";
}

enum xsec_verdict xsec_beacon_read(struct xsec_beacon *ret, struct xsec_carried *ret_carried, const uint8_t *bytes,
    size_t len, const uint8_t ca[32], const struct xsec_revocations *revoked, int64_t now_s)
{
    struct xsec_beacon b;
    struct xsec_carried carried;
    if (xsec_beacon_decode(&b, &carried, bytes, len) || b.not_after <= b.not_before)
        return XSEC_MALFORMED;
    /* Cheap refusals first: verifying costs a hundred microseconds. */
    if (xsec_revoked(revoked, b.certificate.serial))
        return XSEC_REVOKED;
    if (now_s > b.not_after + XSEC_SKEW_S || now_s > b.certificate.not_after + XSEC_SKEW_S)
        return XSEC_EXPIRED;
    if (now_s + XSEC_SKEW_S < b.not_before || now_s + XSEC_SKEW_S < b.certificate.not_before)
        return XSEC_EARLY;
    if (!(b.suites & 1u << XSEC_AES_256_GCM))
        return XSEC_NO_SUITE;
    if (!xsec_serves(&b.certificate, b.vpn))
        return XSEC_WRONG_VPN;
    if (!certificate_is_of(&b.certificate, ca))
        return XSEC_NOT_A_MEMBER;
    if (ed25519_verify(b.certificate.key, bytes, len - XSEC_SIGNATURE, b.signature))
        return XSEC_FORGED;
    *ret = b;
    *ret_carried = carried;
    return XSEC_GOOD;
}
