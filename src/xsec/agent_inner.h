/* Inside the agent: agent.c has our own generations, peers.c what others' beacons become. */
#ifndef MERIDIAN_XSEC_AGENT_INNER_H
#define MERIDIAN_XSEC_AGENT_INNER_H

#include "xsec/agent.h"

struct xsec_own { /* one generation of ours in one VPN */
    bool live;
    uint8_t private[32];
    struct xsec_beacon beacon;
    int64_t made_s;
};

struct xsec_sas { /* of a pair: receiving ones are installed, the sending one may be */
    bool live;
    struct xsec_pair pair;
    uint32_t spi[XSEC_LANES]; /* receiving */
};

/* Indices: 0 the current generation, 1 the one before. */
struct xsec_peer {
    struct xsec_peer *next;
    struct xsec_beacon beacon[2];
    bool live[2];
    int64_t joined_s;
    int64_t replaced_s;                    /* when beacon[0] replaced beacon[1] */
    struct xsec_sas sas[2][2];             /* [ours][theirs] */
    uint64_t confirmed;                    /* the highest generation of ours that it has sent under */
    uint64_t sending_ours, sending_theirs; /* generations of the SAs that we send with; 0: none */
    uint32_t sending_spi[XSEC_LANES];
};

struct xsec_member { /* one VPN of ours */
    struct xsec_member *next;
    struct xsec_vpn vpn;
    struct xsec_own own[2];
    bool retry; /* the new generation could not be made durable */
    struct xsec_peer *peers;
};

struct xsec_agent {
    struct xsec_agent_config config;
    uint8_t psk[32];
    struct xsec_above above;
    struct ed25519 *signer;
    struct xsec_revocations revoked;
    bool has_revocations;
    uint8_t list[XSEC_REVOCATIONS_MOST]; /* the same, as the CA signed it */
    uint16_t list_len;
    struct xsec_member *members;
    uint64_t generation;
    struct xsec_counters counters;
};

/* peers.c */
void xsec_peers_renewed(
    struct xsec_agent *a, struct xsec_member *m, int64_t now_s); /* own[0] is new, own[1] was own[0] */
void xsec_peers_drop_own(struct xsec_agent *a, struct xsec_member *m, int which);
void xsec_peers_free(struct xsec_agent *a, struct xsec_member *m);
void xsec_peers_drop_revoked(struct xsec_agent *a, struct xsec_member *m);
int64_t xsec_peers_poll(struct xsec_agent *a, struct xsec_member *m, int64_t now_s);

#endif
