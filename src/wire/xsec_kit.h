/* Files around xSEC (docs/wire-xsec.md): the request with which a router asks to be a member, and the kit that makes it one.
 * In files each stands as text, so that it survives mail and clipboards: a line that says what it is, then hexadecimal digits.
 *
 *   meridian xsec kit
 *   58534b31…
 *
 * Decoding checks form only and allocates nothing; everything is copied out. */
#ifndef MERIDIAN_WIRE_XSEC_KIT_H
#define MERIDIAN_WIRE_XSEC_KIT_H

#include "base/buf.h"
#include "wire/xsec_beacon.h"

struct xsec_request {
    struct ip6 pe;
    uint8_t key[32]; /* Ed25519 */
    int64_t made;    /* seconds since 1970 */
    char name[XSEC_NAME];
    uint8_t signature[XSEC_SIGNATURE]; /* by that key: who asks holds it */
};
#define XSEC_REQUEST_LEAST (4u + 16 + 32 + 8 + 1 + 1 + XSEC_SIGNATURE)
#define XSEC_REQUEST_MOST  (XSEC_REQUEST_LEAST + XSEC_NAME - 2)

/* Holds nothing secret, but whoever swaps the CA's key in it chooses whom the router trusts. */
struct xsec_kit {
    uint8_t ca[32];
    struct xsec_certificate certificate;
    uint16_t list_len; /* 0: none */
    uint8_t list[XSEC_REVOCATIONS_MOST];
};
#define XSEC_KIT_MOST (4u + 32 + 2 + XSEC_CERTIFICATE_MOST + 2 + XSEC_REVOCATIONS_MOST)

size_t xsec_request_encode(const struct xsec_request *r, uint8_t to[XSEC_REQUEST_MOST]);
int xsec_request_decode(struct xsec_request *ret, const uint8_t *bytes, size_t len); /* -EPROTO */
size_t xsec_kit_encode(const struct xsec_kit *k, uint8_t to[XSEC_KIT_MOST]);
int xsec_kit_decode(struct xsec_kit *ret, const uint8_t *bytes, size_t len); /* -EPROTO */

enum xsec_file { XSEC_FILE_REQUEST, XSEC_FILE_KIT, XSEC_FILE_LIST, XSEC_FILES };
const char *xsec_file_name(enum xsec_file f); /* "kit" */
#define XSEC_FILE_MOST (XSEC_KIT_MOST > XSEC_REVOCATIONS_MOST ? XSEC_KIT_MOST : XSEC_REVOCATIONS_MOST)

int xsec_text_encode(struct buf *ret, enum xsec_file kind, const uint8_t *bytes, size_t len); /* -ENOMEM */
/* -EPROTO: no such file. Spaces and ends of lines between the digits do not count. */
int xsec_text_decode(
    enum xsec_file *ret_kind, uint8_t to[XSEC_FILE_MOST], size_t *ret_len, const char *text, size_t len);

#endif
