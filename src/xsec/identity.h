/* Who belongs: the operator's offline CA signs members' certificates and a list of those that no longer count. Pure but for
 * the signature library; files and randomness are the caller's. Times are seconds since 1970, of a clock that may be wrong
 * by XSEC_SKEW_S. */
#ifndef MERIDIAN_XSEC_IDENTITY_H
#define MERIDIAN_XSEC_IDENTITY_H

#include "base/error.h"
#include "crypto/curve25519.h"
#include "wire/xsec_kit.h"

#define XSEC_SKEW_S 120 /* clocks may differ by this much: beacons count that much earlier and later */

int xsec_certificate_sign(struct xsec_certificate *c, struct ed25519 *ca);
int xsec_revocations_sign(struct xsec_revocations *r, struct ed25519 *ca);
/* -EPROTO: not of this CA, or malformed: *ret untouched. */
int xsec_revocations_read(struct xsec_revocations *ret, const uint8_t ca[32], const uint8_t *bytes, size_t len);
bool xsec_revoked(const struct xsec_revocations *r, uint64_t serial);

/* What a PE holds. */
struct xsec_identity {
    uint8_t seed[32]; /* Ed25519, private */
    struct xsec_certificate certificate;
    uint8_t ca[32]; /* the CA's public key */
};
/* A kit as this router's identity: the sentence says whether it is for another router, another key, forged, early or expired.
 * -EINVAL; *ret untouched then. */
int xsec_kit_open(struct xsec_identity *ret, const struct xsec_kit *kit, const uint8_t seed[32],
    const struct ip6 *loopback, int64_t now_s, struct error *err);
/* A router's request, signed by its own key, and whether it was. -EIO; -EPROTO. */
int xsec_request_sign(struct xsec_request *r, struct ed25519 *router);
int xsec_request_check(const struct xsec_request *r);

/* The certificate is the CA's, for the seed's key, and valid at `now_s`. One sentence otherwise. */
int xsec_identity_check(const struct xsec_identity *i, int64_t now_s, struct error *err);

/* Whether this member may serve the VPN of this route target. */
bool xsec_serves(const struct xsec_certificate *c, const uint8_t target[8]);

/* Encodes and signs; the signature is also put into *b. The length; 0: the library failed. carried: a revocation list that goes
 * along, or NULL. */
size_t xsec_beacon_sign(
    struct xsec_beacon *b, const struct xsec_carried *carried, struct ed25519 *pe, uint8_t to[XSEC_BEACON_MOST]);

enum xsec_verdict {
    XSEC_GOOD,
    XSEC_MALFORMED,
    XSEC_NOT_A_MEMBER, /* the certificate is not the CA's */
    XSEC_REVOKED,
    XSEC_EXPIRED,      /* certificate or beacon, by signed time */
    XSEC_EARLY,        /* not yet: their clock is ahead, or ours behind */
    XSEC_FORGED,       /* not signed by the key of the certificate */
    XSEC_INCONSISTENT, /* VPN, RD, next hop or SID of the route differ from the signed ones */
    XSEC_REPLAYED,     /* a generation that was passed already */
    XSEC_NO_SUITE,
    XSEC_WRONG_VPN, /* the CA does not let this member serve this VPN */
    XSEC_VERDICTS,
};
const char *xsec_verdict_name(enum xsec_verdict v); /* "forged" */

/* Form, signatures, times, revocation: everything but what the route around it says. */
enum xsec_verdict xsec_beacon_read(struct xsec_beacon *ret, struct xsec_carried *ret_carried, const uint8_t *bytes,
    size_t len, const uint8_t ca[32], const struct xsec_revocations *revoked, int64_t now_s);

#endif
