/* The operator's offline CA as a folder that can live on a USB stick: its key, who was enrolled, and the newest revocation list.
 *
 *   DIR/ca.key    Ed25519 seed, 64 hexadecimal digits, mode 0600
 *   DIR/members   a line a certificate: serial, name, loopback, key, not before, not after (lines are only added)
 *   DIR/revoked   the newest list, as routers read it; absent until somebody is revoked
 *
 * One program at a time has it open (lock on ca.key). What is written is durable before anything leaves this code. */
#ifndef MERIDIAN_CLI_XSEC_CA_H
#define MERIDIAN_CLI_XSEC_CA_H

#include "base/error.h"
#include "xsec/identity.h"

struct xsec_ca_member {
    uint64_t serial;
    char name[XSEC_NAME];
    struct ip6 pe;
    uint8_t key[32];
    int64_t not_before, not_after;
};

struct xsec_ca {
    char dir[4000];
    int lock;
    struct ed25519 *key;
    struct xsec_ca_member *members; /* in the order of enrolment */
    size_t n_members;
    struct xsec_revocations list; /* number 0: none yet */
    uint8_t list_bytes[XSEC_REVOCATIONS_MOST];
    size_t list_len;
};

/* Makes the folder and a key. -EEXIST: there is one already, which is never replaced. */
int xsec_ca_init(const char *dir, struct error *err);
int xsec_ca_open(struct xsec_ca *ret, const char *dir, struct error *err);
void xsec_ca_close(struct xsec_ca *ca); /* wipes the key */

struct xsec_ca_wish {
    const uint8_t (*vpns)[8];
    unsigned n_vpns; /* 0: every VPN */
    int64_t days;
};
/* A certificate for who asks, in a kit. Refuses a request that is not signed by its key, a name or loopback that another key
 * has, and a clock behind the last enrolment. The same router again: its certificate is renewed. */
int xsec_ca_enrol(struct xsec_ca *ca, const struct xsec_request *q, const struct xsec_ca_wish *w, int64_t now_s,
    struct xsec_kit *ret, struct error *err);
/* Every certificate of this name (or this one serial number) that is still good; the new list is in DIR/revoked and in *ca.
 * *ret_n: how many ended. */
int xsec_ca_revoke(struct xsec_ca *ca, const char *who, int64_t now_s, unsigned *ret_n, struct error *err);

#endif
