/* What xSEC puts on the wire (control.md, "xSEC: keys by BGP"; docs/wire-xsec.md is the same in words): members'
 * certificates, the revocation list, and the beacon that a PE sends for each VPN. All integers in network byte order; every
 * signed blob begins with four letters that no other has, so a signature never fits two of them. Decoding checks form only
 * and allocates nothing; everything is copied out but the list that a beacon carries. Signatures are checked in src/xsec. */
#ifndef MERIDIAN_WIRE_XSEC_BEACON_H
#define MERIDIAN_WIRE_XSEC_BEACON_H

#include "wire/ip.h"

#include <stddef.h>
#include <stdint.h>

#define XSEC_SIGNATURE 64u
#define XSEC_NAME      32u /* with its NUL: letters, digits, and . - _ inside */
#define XSEC_VPNS_MOST 16u

/* A member: a PE that the operator's offline CA has enrolled. */
struct xsec_certificate {
    uint64_t serial;
    struct ip6 pe;                 /* its loopback: who it is */
    int64_t not_before, not_after; /* seconds since 1970 */
    uint8_t key[32];               /* Ed25519 */
    char name[XSEC_NAME];
    uint8_t n_vpns; /* 0: it may serve every VPN */
    uint8_t vpn[XSEC_VPNS_MOST][8];
    uint8_t signature[XSEC_SIGNATURE]; /* by the CA, over the bytes before it */
};
#define XSEC_CERTIFICATE_LEAST (4u + 8 + 16 + 8 + 8 + 32 + 1 + 1 + 1 + XSEC_SIGNATURE)
#define XSEC_CERTIFICATE_MOST  (XSEC_CERTIFICATE_LEAST + XSEC_NAME - 2 + 8 * XSEC_VPNS_MOST)

/* Serial numbers that no longer count. The list with the higher number wins. */
#define XSEC_REVOKED_MOST 64u
struct xsec_revocations {
    uint64_t number;
    int64_t issued; /* seconds since 1970 */
    uint16_t n;
    uint64_t serial[XSEC_REVOKED_MOST]; /* rising */
    uint8_t signature[XSEC_SIGNATURE];  /* by the CA */
};
#define XSEC_REVOCATIONS_LEAST (4u + 8 + 8 + 2 + XSEC_SIGNATURE)
#define XSEC_REVOCATIONS_MOST  (XSEC_REVOCATIONS_LEAST + 8 * XSEC_REVOKED_MOST)

enum xsec_suite { XSEC_AES_256_GCM = 1 }; /* bits of `suites` */

struct xsec_beacon {
    struct xsec_certificate certificate;
    uint8_t vpn[8]; /* the VPN's route target: what makes it one VPN everywhere */
    uint8_t rd[8];
    struct ip6 next_hop,
        service_sid;     /* signed too: a reflector that strips Prefix-SID loses nothing, one that swaps is seen */
    uint64_t generation; /* strictly rising for each PE and VPN */
    int64_t not_before, not_after; /* seconds since 1970 */
    uint16_t suites;               /* bit per enum xsec_suite */
    uint8_t key[32];               /* X25519, of this generation only */
    uint8_t nonce[32];
    uint8_t signature[XSEC_SIGNATURE]; /* by the PE, over the bytes before it */
};
#define XSEC_BEACON_LEAST                                                                                              \
    (4u + 2 + XSEC_CERTIFICATE_LEAST + 8 + 8 + 16 + 16 + 8 + 8 + 8 + 2 + 32 + 32 + 2 + XSEC_SIGNATURE)
#define XSEC_BEACON_MOST                                                                                               \
    (XSEC_BEACON_LEAST - XSEC_CERTIFICATE_LEAST + XSEC_CERTIFICATE_MOST +                                              \
        XSEC_REVOCATIONS_MOST) /* below the 1500 octets that other daemons carry (docs/wire-bgp.md) */

/* The revocation list inside a beacon's bytes: under the PE's signature, so that nobody on the way can cut it off. */
struct xsec_carried {
    const uint8_t *list; /* into the beacon's bytes */
    uint16_t len;        /* 0: none */
};

/* Encoders return the length. Bytes to be signed are all but the last XSEC_SIGNATURE. -EPROTO: not of this form. */
size_t xsec_certificate_encode(const struct xsec_certificate *c, uint8_t to[XSEC_CERTIFICATE_MOST]);
int xsec_certificate_decode(struct xsec_certificate *ret, const uint8_t *bytes, size_t len);
size_t xsec_revocations_encode(const struct xsec_revocations *r, uint8_t to[XSEC_REVOCATIONS_MOST]);
int xsec_revocations_decode(struct xsec_revocations *ret, const uint8_t *bytes, size_t len);
size_t xsec_beacon_encode(const struct xsec_beacon *b, const struct xsec_carried *carried,
    uint8_t to[XSEC_BEACON_MOST]); /* carried: or NULL */
int xsec_beacon_decode(struct xsec_beacon *ret, struct xsec_carried *ret_carried, const uint8_t *bytes, size_t len);

/* A name that certificates may carry. */
bool xsec_name_good(const char *name);

#endif
