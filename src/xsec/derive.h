/* From two beacons to keys (control.md). PRK = HKDF-Extract(nonces in order of PE, X25519 [‖ pre-shared key]); one key per
 * direction and lane = Expand(PRK, "xSEC1" ‖ VPN ‖ src ‖ dst ‖ generation of src ‖ generation of dst ‖ suite ‖ lane).
 *
 * The SPI comes out of the same expansion: both sides know it without telling each other. Two peers' SPIs may fall together;
 * the receiver looks them up with the sender's address, and what does not authenticate is dropped in any case. */
#ifndef MERIDIAN_XSEC_DERIVE_H
#define MERIDIAN_XSEC_DERIVE_H

#include "wire/xsec_beacon.h"

struct xsec_pair {      /* the secret that two PEs share for one VPN in one pair of generations; wiped when it goes */
    uint8_t secret[96]; /* X25519 ‖ pre-shared key */
    uint8_t secret_len;
    uint8_t salt[64];
    uint8_t vpn[8];
    struct ip6 us, them;
    uint64_t our_generation, their_generation;
};

struct xsec_key {
    uint32_t spi; /* above 255: the others are reserved (RFC 4303 2.1) */
    uint8_t key[32];
    uint8_t salt[4];
};

/* psk: 32 bytes, NULL: none. -EPROTO: their key is one of the few that make every secret the same. */
int xsec_pair_make(struct xsec_pair *ret, const uint8_t our_private[32], const struct xsec_beacon *ours,
    const struct xsec_beacon *theirs, const uint8_t psk[32]);
/* The key for what `us` (sending) or `them` (not sending) sends in a lane. -EIO */
int xsec_key_derive(struct xsec_key *ret, const struct xsec_pair *p, bool sending, uint16_t suite, uint16_t lane);

#endif
