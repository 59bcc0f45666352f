/* xSEC in the router: joins the agent (xsec/agent.h) to BGP's beacons on one side, to the core's security associations on the
 * other, and to the files between (docs/wire-xsec.md). Runs on the control thread; knows neither sockets nor the worker.
 *
 *   BGP's beacons → keys_beacon → (queue) → keys_poll → agent → keys of peers, for the core; our beacons, for BGP
 *
 * Without a valid kit or a believable clock there is no agent: encrypted VPNs then pass nothing, and it is tried again. */
#ifndef MERIDIAN_ROUTER_KEYS_H
#define MERIDIAN_ROUTER_KEYS_H

#include "esp/esp.h"
#include "xsec/agent.h"

#include <sys/types.h>

struct keys_config {
    const char *kit, *state, *revoked, *psk; /* files; revoked, psk: "" none */
    uint8_t seed[32];                        /* the router's identity; copied, wiped at the end */
    struct ip6 loopback;
    int64_t lifetime_s;
    uid_t uid; /* who the router will be: the state is to be theirs */
    gid_t gid;
};

struct keys_vpn { /* a VRF that must be encrypted */
    uint32_t vrf;
    uint8_t target[8], rd[8];
    struct ip6 service_sid;
};

struct keys_change {         /* for the core, in this order */
    struct esp_sa_config sa; /* removing: spi, peer, sending */
    bool remove;
};

struct keys_above { /* none may call back */
    void *user;
    void (*advertise)(void *user, uint32_t vrf, const uint8_t *beacon, size_t len); /* len 0: withdrawn */
    void (*core)(void *user, const struct keys_change *c, unsigned n);
    /* The SID that a member signed for a VPN; NULL: it has none any more. */
    void (*service)(void *user, uint32_t vrf, const struct ip6 *peer, const struct ip6 *sid);
};

struct keys;
/* What cannot be repaired by waiting (files that are none, no memory) is an error; a kit that does not hold is not: keys_why. */
int keys_create(
    struct keys **ret, const struct keys_config *c, const struct keys_above *a, int64_t now_s, struct error *err);
void keys_free(struct keys *k); /* the core's SAs go; NULL allowed */

/* These are the VPNs now. -EINVAL: two have one target. */
int keys_configure(struct keys *k, const struct keys_vpn *vpns, unsigned n, int64_t now_s, struct error *err);
/* Kit and revocation list anew. On failure everything stays as it was. */
int keys_reload(struct keys *k, int64_t now_s, struct error *err);

/* A beacon that BGP has, or no longer has (bytes NULL). Copied; looked at by keys_poll. May be called from pe's callbacks. */
struct keys_beacon {
    uint32_t vrf;
    struct xsec_vpn route; /* what the route around it says */
    const uint8_t *bytes;
    size_t len;
};
void keys_beacon(struct keys *k, const struct keys_beacon *b);
void keys_heard(struct keys *k, const struct ip6 *peer, uint32_t spi, int64_t now_s);

/* Beacons that wait (a few at a time: each takes a fraction of a millisecond), then timers. When to call again; `now_s`: at once. */
int64_t keys_poll(struct keys *k, int64_t now_s);

const char *keys_why(const struct keys *k); /* why there are no keys, in a sentence; "": there is an agent */
struct keys_view {
    struct xsec_counters counters;
    uint64_t beacons, dropped; /* that BGP has; for which there was no room */
    uint64_t generation;
    int64_t member_until;
    char name[XSEC_NAME];
};
struct keys_view keys_view(const struct keys *k);
unsigned keys_peers(const struct keys *k, struct xsec_peer_view *ret, unsigned most);
uint32_t keys_vrf(const struct keys *k, const uint8_t target[8]); /* 0: none */

#endif
