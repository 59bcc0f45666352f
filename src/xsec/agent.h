/* The xSEC agent of a PE: advertises a beacon for each encrypted VPN, turns others' beacons into keys, renews its own in time,
 * and hands keys to whoever encrypts (control.md, X1, X2). Pure: wall-clock seconds, beacons and randomness come in; beacons
 * and keys go out. Nobody configures pairs: a beacon that is good is all it takes.
 *
 * Generations. Ours strictly rise, are made durable before they are advertised, and have a fresh X25519 key each; so a PE that
 * lost its memory, or its disk, can never use a key with a nonce twice. At most two count on a side. Make before break: a new
 * generation is advertised at once; what comes in under it is accepted at once; we send under it as soon as the peer has sent
 * under it, or after `settle_s`; the old one is accepted for `overlap_s` more, then its private key is wiped.
 *
 * Life of a peer follows the signed time, not BGP's: a withdrawn beacon stays good until it expires (a flap must not restart a
 * key's sequence numbers), a revoked one ends at once. The operator's newest revocation list travels inside every beacon, under
 * the signature: given to one PE it reaches all, and nobody on the way can cut it off without cutting off the keys. */
#ifndef MERIDIAN_XSEC_AGENT_H
#define MERIDIAN_XSEC_AGENT_H

#include "xsec/derive.h"
#include "xsec/identity.h"

#define XSEC_LANES                                                                                                     \
    4u /* of a VPN between two PEs: one per class, each with sequence numbers and replay window of its own */

struct xsec_agent_config {
    struct xsec_identity identity;
    const uint8_t *psk;       /* 32 bytes known to all members, against quantum computers; NULL: none. Copied */
    int64_t lifetime_s;       /* of a beacon; 0: 3600 */
    int64_t renew_s;          /* a new generation after this long; 0: half the lifetime */
    int64_t settle_s;         /* 0: 30, at most a quarter of renew_s */
    int64_t overlap_s;        /* 0: 120, at most half of renew_s */
    uint64_t last_generation; /* the highest that was made durable; 0: none known */
    uint32_t peers_most;      /* of all VPNs together; 0: 4096 */
};

struct xsec_sa { /* a key for one direction, lane, and pair of generations */
    struct ip6 peer;
    uint8_t vpn[8];
    uint16_t lane;
    bool sending;
    struct xsec_key key;
    struct ip6 service_sid; /* sending: where it leads */
};

struct xsec_above {
    void *user;
    /* Durable when it returns 0; else nothing is advertised and it is tried again. */
    int (*persist)(void *user, uint64_t generation);
    void (*random)(void *user, uint8_t *ret, size_t len);
    /* The same VPN again: in place of the beacon before. len 0: it is withdrawn. */
    void (*advertise)(void *user, const uint8_t vpn[8], const uint8_t *beacon, size_t len);
    void (*keep_list)(void *user, const uint8_t *list, size_t len); /* a newer revocation list; NULL allowed */
    /* A sending SA replaces the one before for the same peer, VPN and lane; a receiving one stands beside others. */
    void (*install)(void *user, const struct xsec_sa *sa);
    void (*remove)(void *user, const struct xsec_sa *sa); /* key.spi says which; the key itself is wiped */
};

struct xsec_agent;
/* -EINVAL when the identity does not hold (xsec_identity_check's sentence). */
int xsec_agent_create(struct xsec_agent **ret, const struct xsec_agent_config *c, const struct xsec_above *a,
    int64_t now_s, struct error *err);
void xsec_agent_free(struct xsec_agent *a); /* wipes every key; NULL allowed */

/* A renewed certificate (or another CA's): every VPN gets a new generation under it. -EINVAL with a sentence, nothing changed. */
int xsec_agent_identity_set(struct xsec_agent *a, const struct xsec_identity *i, int64_t now_s, struct error *err);

/* A VPN of ours that must be encrypted, and what its beacon says of it. -EEXIST, -ENOMEM, -EPERM: the CA does not let us serve
 * it. Advertised at once. */
struct xsec_vpn {
    uint8_t target[8]; /* its route target */
    uint8_t rd[8];
    struct ip6 next_hop, service_sid;
};
int xsec_vpn_add(struct xsec_agent *a, const struct xsec_vpn *v, int64_t now_s);
int xsec_vpn_remove(struct xsec_agent *a, const uint8_t target[8]);

/* A beacon, and what the route around it says (compared with what is signed). */
enum xsec_verdict xsec_beacon_take(
    struct xsec_agent *a, const struct xsec_vpn *route, const uint8_t *bytes, size_t len, int64_t now_s);
/* A list from the operator; the higher number wins. False: not of our CA, or not newer. Members on it end at once; if we are on it
 * ourselves, all that we have ends and nothing is advertised any more. */
bool xsec_revocations_take(struct xsec_agent *a, const uint8_t *bytes, size_t len, int64_t now_s);
/* A packet under this SPI from this peer was authentic: it has our generation that the SPI belongs to. */
void xsec_heard(struct xsec_agent *a, const struct ip6 *peer, uint32_t spi, int64_t now_s);

/* Renewal, settling, overlap, expiry. Next time when there is something to do, seconds. */
int64_t xsec_agent_poll(struct xsec_agent *a, int64_t now_s);

/* What is known of the other members of our VPNs; at most `most`, returns how many there are. */
struct xsec_peer_view {
    uint8_t vpn[8];
    struct ip6 peer;
    char name[XSEC_NAME];
    uint64_t serial, generation, our_generation; /* of ours: what we send under; 0: we cannot send */
    int64_t not_after;
    struct ip6 service_sid;
};
unsigned xsec_agent_peers(const struct xsec_agent *a, struct xsec_peer_view *ret, unsigned most);

struct xsec_counters {
    uint64_t verdicts[XSEC_VERDICTS];
    uint64_t generations, pairs;
    uint64_t crowded; /* good beacons of members for whom there was no room (peers_most): nothing is sent to them */
    uint32_t vpns, peers;
    uint64_t list_number; /* of the revocation list in force; 0: none */
    bool revoked;         /* we are on it */
};
struct xsec_counters xsec_agent_counters(const struct xsec_agent *a);

#endif
