#include "xsec/derive.h"

#include "base/bytes.h"
#include "crypto/curve25519.h"
#include "crypto/hkdf.h"

#include <errno.h>
#include <openssl/crypto.h>

int xsec_pair_make(struct xsec_pair *ret, const uint8_t our_private[32], const struct xsec_beacon *ours,
    const struct xsec_beacon *theirs, const uint8_t psk[32])
{
    struct xsec_pair p = {.secret_len = psk ? 64 : 32,
        .us = ours->certificate.pe,
        .them = theirs->certificate.pe,
        .our_generation = ours->generation,
        .their_generation = theirs->generation};
    bool first = memcmp(p.us.b, p.them.b, 16) < 0;
    memcpy(p.vpn, ours->vpn, 8);
    memcpy(p.salt, first ? ours->nonce : theirs->nonce, 32);
    memcpy(p.salt + 32, first ? theirs->nonce : ours->nonce, 32);
    if (x25519_shared(p.secret, our_private, theirs->key))
        return -EPROTO;
    if (psk)
        memcpy(p.secret + 32, psk, 32);
    *ret = p;
    OPENSSL_cleanse(&p, sizeof p);
    return 0;
}

int xsec_key_derive(struct xsec_key *ret, const struct xsec_pair *p, bool sending, uint16_t suite, uint16_t lane)
{
    uint8_t info[5 + 8 + 32 + 16 + 4], out[40];
    memcpy(info, "xSEC1", 5);
    memcpy(info + 5, p->vpn, 8);
    memcpy(info + 13, (sending ? p->us : p->them).b, 16);
    memcpy(info + 29, (sending ? p->them : p->us).b, 16);
    bytes_put_be64(info + 45, sending ? p->our_generation : p->their_generation);
    bytes_put_be64(info + 53, sending ? p->their_generation : p->our_generation);
    bytes_put_be16(info + 61, suite);
    bytes_put_be16(info + 63, lane);
    if (hkdf_sha256(out, sizeof out, p->secret, p->secret_len, p->salt, sizeof p->salt, info, sizeof info))
        return -EIO;
    memcpy(ret->key, out, 32);
    memcpy(ret->salt, out + 32, 4);
    ret->spi = bytes_get_be32(out + 36) | 0x100;
    OPENSSL_cleanse(out, sizeof out);
    return 0;
}
