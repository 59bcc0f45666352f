#include "xsec/identity.h"

#include <errno.h>

int xsec_certificate_sign(struct xsec_certificate *c, struct ed25519 *ca)
{
    uint8_t bytes[XSEC_CERTIFICATE];
    xsec_certificate_encode(c, bytes);
    return ed25519_sign(ca, bytes, sizeof bytes - XSEC_SIGNATURE, c->signature);
}

static bool certificate_is_of(const struct xsec_certificate *c, const uint8_t ca[32])
{
    uint8_t bytes[XSEC_CERTIFICATE];
    xsec_certificate_encode(c, bytes);
    return ed25519_verify(ca, bytes, sizeof bytes - XSEC_SIGNATURE, c->signature) == 0;
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

int xsec_identity_check(const struct xsec_identity *i, int64_t now_s, struct error *err)
{
    struct ed25519 *key;
    if (ed25519_create(&key, i->seed))
        return error_set(err, ENOMEM, "not enough memory for a key");
    bool ours = memcmp(ed25519_public(key), i->certificate.key, 32) == 0;
    ed25519_free(key);
    if (!ours)
        return error_set(err, EINVAL, "the certificate is for another key than this router's: enrol it again");
    if (!certificate_is_of(&i->certificate, i->ca))
        return error_set(err, EINVAL, "the certificate is not signed by this CA: is the CA file the operator's?");
    if (now_s + XSEC_SKEW_S < i->certificate.not_before)
        return error_set(err, EINVAL, "the certificate is not valid yet: is this router's clock right?");
    if (now_s > i->certificate.not_after)
        return error_set(err, EINVAL, "the certificate has expired: run `meridian xsec enrol` again");
    return 0;
}

int xsec_beacon_sign(struct xsec_beacon *b, struct ed25519 *pe)
{
    uint8_t bytes[XSEC_BEACON];
    xsec_beacon_encode(b, bytes);
    return ed25519_sign(pe, bytes, sizeof bytes - XSEC_SIGNATURE, b->signature);
}

const char *xsec_verdict_name(enum xsec_verdict v)
{
    static const char *const name[XSEC_VERDICTS] = {"good", "malformed", "not-a-member", "revoked", "expired", "early",
        "forged", "inconsistent", "replayed", "no-suite"};
    return v < XSEC_VERDICTS ? name[v] : "unknown";
}

enum xsec_verdict xsec_beacon_read(struct xsec_beacon *ret, const uint8_t *bytes, size_t len, const uint8_t ca[32],
    const struct xsec_revocations *revoked, int64_t now_s)
{
    struct xsec_beacon b;
    if (xsec_beacon_decode(&b, bytes, len) || b.not_after <= b.not_before)
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
    if (!certificate_is_of(&b.certificate, ca))
        return XSEC_NOT_A_MEMBER;
    if (ed25519_verify(b.certificate.key, bytes, len - XSEC_SIGNATURE, b.signature))
        return XSEC_FORGED;
    *ret = b;
    return XSEC_GOOD;
}
