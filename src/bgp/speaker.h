/* A BGP speaker: PE or route reflector (control.md). Pure: the shell owns sockets and time. No policy language: a PE imports
 * by route target, a reflector reflects (RFC 4456) every attribute byte for byte.
 *
 *   bytes → session → update → rib → best → (a) sink: VPN routes, underlay, policies, beacons   (b) outputs: UPDATEs for peers
 *
 * Outputs: each peer has a place in the RIB's order of versions and is told what changed behind it. A slow peer costs no queue
 * of routes: what was announced and withdrawn while it lagged is told once, as it is then. */
#ifndef MERIDIAN_BGP_SPEAKER_H
#define MERIDIAN_BGP_SPEAKER_H

#include "base/error.h"
#include "bgp/rib.h"
#include "bgp/session.h"
#include "wire/ip.h"

enum bgp_role { BGP_PE, BGP_REFLECTOR };

struct bgp_speaker_config {
    enum bgp_role role;
    uint8_t identifier[4];
    uint8_t cluster[4];  /* reflector; zero: the identifier */
    struct ip6 next_hop; /* of routes that start here: our loopback */
    /* Packets go on while this process starts anew, so peers keep our routes until we have told them again (RFC 4724 F). Always
     * so for a reflector, which forwards nothing. */
    bool forwarding_kept;
    struct siphash_seed seed; /* of the tables that peers' bytes go into: random, and nobody's business */
};

enum bgp_peer_kind {
    BGP_PEER_INTERNAL, /* iBGP, not a client of ours */
    BGP_PEER_CLIENT,   /* iBGP, client of this reflector */
    BGP_PEER_LINK,     /* eBGP over one link: IPv6 unicast for loopbacks and locators (underlay) */
    BGP_PEER_CUSTOMER, /* eBGP with a customer's router in a VRF (PE–CE, RFC 4364 7): IPv4 and IPv6 unicast; bgp/vrf.h */
};

struct bgp_customer_config { /* of BGP_PEER_CUSTOMER */
    uint32_t vrf;            /* bgp_vrf_set came before; addresses of peers are told apart by it */
    uint8_t next_hop4[4];    /* our address there, of IPv4 routes; zero: IPv6 next hops (RFC 8950) */
    uint32_t local_pref;     /* of its routes inside; 0: 100 */
    bool as_override;        /* its AS in paths becomes ours on the way to it */
    bool has_site;
    uint8_t site[8]; /* site of origin (RFC 4364 7): an extended community with sub-type 3 */
};

struct bgp_peer_config {
    enum bgp_peer_kind kind;
    struct ip_addr address;            /* where it is; also what an accepted connection is recognised by */
    struct ip6 next_hop;               /* LINK, CUSTOMER: our address on that link; else the speaker's is used */
    struct bgp_session_config session; /* identifier is filled in; local_as, peer_as and families are the caller's */
    struct bgp_customer_config customer;
    uint8_t own_as_allowed; /* times that our AS may stand in a path before it is a loop (RFC 4271 9.1.2: 0) */
    bool six_hops_assumed;  /* takes IPv6 next hops of VPNv4 though it does not say so (RFC 8950) */
    uint32_t
        prefixes_most; /* per family; above: Cease/maximum number of prefixes, held down until restarted; 0: no limit */
};

/* A VPN route as PEs use it, whatever family carried it (EVPN RT-5, VPNv4, VPNv6). Pointers are valid during the call. */
struct bgp_vpn_route {
    uint32_t family;
    uint8_t rd[8];
    struct ip_prefix prefix;
    bool has_service;
    struct bgp_srv6_service service; /* SID of the remote VRF */
    const uint8_t *next_hop;
    uint8_t next_hop_len;
    const uint8_t *communities; /* extended communities, 8 bytes each: bgp_route_target_next reads the targets */
    uint16_t communities_len;
    uint32_t color; /* of the colour extended community (RFC 9012); 0: none */
    /* what chooses between routes to one prefix with different RDs (RFC 4271 9.1.2.2) */
    uint32_t local_pref, med;
    uint16_t path_length;
    uint8_t origin;
    bool stale;            /* long-lived (RFC 9494) */
    const uint8_t *beacon; /* xSEC attribute of a beacon route; NULL: none */
    uint16_t beacon_len;
};

/* The best route of a VRF's table where it is a customer's: valid during the call. */
struct bgp_customer_route {
    struct ip_prefix prefix;
    uint16_t peer;
    struct ip_addr gateway; /* the customer's router; withdrawn: none */
};

/* What of a peer's routes was not taken, and what it was not told. */
enum bgp_refusal {
    BGP_REFUSED_AS_LOOP,   /* our AS is in its path already (RFC 4271 9.1.2) */
    BGP_REFUSED_REFLECTED, /* we sent or reflected it ourselves (RFC 4456 8) */
    BGP_REFUSED_FAULTY,    /* malformed: treated as withdrawn (RFC 7606) */
    BGP_REFUSED_OVERLAY,   /* RT-5 with a segment and a gateway (RFC 9136 3.2) */
    BGP_REFUSED_LIMIT,     /* above the limit of prefixes */
    BGP_REFUSED_PROVIDERS, /* taken, but what a customer may not say was thrown away: route targets, SIDs, tunnels, beacons */
    BGP_UNTOLD_TOO_LONG, /* does not fit one message of this peer */
    BGP_UNTOLD_SIX_HOP,  /* VPNv4 or IPv4 with an IPv6 next hop, and it does not take these (RFC 8950) */
    BGP_UNTOLD_SITE,     /* of the customer's own site */
    BGP_REFUSALS,
};

struct bgp_refused {
    uint64_t count[BGP_REFUSALS]; /* routes, of PROVIDERS messages; a route that is looked at again counts again */
    enum bgp_refusal last;        /* where any count is above 0 */
    char route[96];               /* the last one: "evpn RT-5 65000:10 10.1.0.0/16" */
};
const char *bgp_refusal_text(enum bgp_refusal r); /* "our AS is in its path" */

/* What the speaker tells the layer that forwards. Called from inside the functions below: no routes may be originated or
 * withdrawn meanwhile. */
struct bgp_sink { /* any may be NULL */
    void *user;
    void (*vpn_route)(
        void *user, const struct bgp_vpn_route *r, bool withdrawn); /* withdrawn: only family, rd, prefix */
    void (*customer_route)(void *user, uint32_t vrf, const struct bgp_customer_route *r, bool withdrawn);
    void (*underlay_route)(void *user, uint16_t peer, const struct ip_prefix *p, bool withdrawn);
    void (*policy)(void *user, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *p, bool withdrawn);
    void (*peer_state)(void *user, uint16_t peer, enum bgp_state state, const struct bgp_notification *why);
    /* IGP metric towards a next hop, UINT32_MAX: unreachable. Instead of what bgp_next_hop_set says. */
    uint32_t (*metric)(void *user, const struct ip6 *next_hop);
};

struct bgp_speaker;
int bgp_speaker_create(
    struct bgp_speaker **ret, const struct bgp_speaker_config *c, const struct bgp_sink *sink, struct error *err);
void bgp_speaker_free(struct bgp_speaker *s);

/* Peers have numbers from 1 until they are removed. -EINVAL, -EEXIST (address), -ENOSPC, -ENOMEM with a sentence. */
int bgp_peer_add(struct bgp_speaker *s, const struct bgp_peer_config *c, int64_t now, uint16_t *ret, struct error *err);
int bgp_peer_remove(struct bgp_speaker *s, uint16_t peer, int64_t now);
uint16_t bgp_peer_of_address(const struct bgp_speaker *s, const struct ip_addr *from); /* no customer's; 0: nobody */
uint16_t bgp_peer_of_customer(const struct bgp_speaker *s, uint32_t vrf, const struct ip_addr *from);
const struct bgp_refused *bgp_peer_refused(const struct bgp_speaker *s, uint16_t peer); /* NULL: no such peer */
/* The table of a family that this peer's routes are in: its VRF's, or the speaker's. NULL: none. */
struct bgp_rib *bgp_peer_rib(const struct bgp_speaker *s, uint16_t peer, uint32_t family);
const struct bgp_peer_config *bgp_peer_config(const struct bgp_speaker *s, uint16_t peer);

/* A peer has up to two connections until collision detection (RFC 4271 6.8) leaves one: ours and the one we accepted. */
enum bgp_side { BGP_CONNECTED, BGP_ACCEPTED, BGP_SIDES };
struct bgp_session *bgp_peer_session(
    struct bgp_speaker *s, uint16_t peer, enum bgp_side side); /* NULL: there is none */
/* The established one, or the one that is nearest to it: for `bgp show`. */
const struct bgp_session *bgp_peer_best_session(const struct bgp_speaker *s, uint16_t peer);
/* Whether a connection of this peer may be accepted now: false while it is stopped, or has a session that stays. */
bool bgp_peer_accepts(const struct bgp_speaker *s, uint16_t peer);
/* True when the shell should connect now. */
bool bgp_peer_wants_transport(const struct bgp_speaker *s, uint16_t peer, int64_t now);
void bgp_peer_transport_up(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now);
void bgp_peer_transport_failed(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now);
void bgp_peer_bytes(
    struct bgp_speaker *s, uint16_t peer, enum bgp_side side, const uint8_t *bytes, size_t len, int64_t now);
/* What to write, filled from the RIB as far as it may be; the shell writes and says how much. Idle and empty: close. */
struct buf *bgp_peer_out(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now);
void bgp_peer_written(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, size_t n, int64_t now);
void bgp_peer_stop(struct bgp_speaker *s, uint16_t peer, const char *text, int64_t now); /* until bgp_peer_start */
void bgp_peer_start(struct bgp_speaker *s, uint16_t peer, int64_t now);
int64_t bgp_speaker_poll(struct bgp_speaker *s, int64_t now); /* timers; next deadline */

/* Routes that start here. raw: the NLRI; attributes: raw bytes without ORIGIN, AS_PATH, LOCAL_PREF and MP_REACH, which are
 * put in front. -EINVAL with a sentence when they are not well formed. */
int bgp_originate(struct bgp_speaker *s, uint32_t family, const uint8_t *raw, unsigned raw_len,
    const uint8_t *attributes, size_t len, int64_t now, struct error *err);
int bgp_withdraw(struct bgp_speaker *s, uint32_t family, const uint8_t *raw, unsigned raw_len, int64_t now);

/* Route targets that this PE wants (RFC 4684), told to peers of the family BGP_RTC: they send VPN routes of these only. NULL:
 * everything; a reflector says so by itself. Several VRFs that import one target say it once. */
int bgp_import(struct bgp_speaker *s, uint32_t as, const uint8_t target[8], int64_t now, struct error *err);
int bgp_import_end(struct bgp_speaker *s, uint32_t as, const uint8_t target[8], int64_t now);

/* IGP metric towards a next hop, UINT32_MAX: unreachable. What was never said counts as reachable with metric 0. */
int bgp_next_hop_set(struct bgp_speaker *s, const struct ip6 *next_hop, uint32_t metric);
void bgp_next_hops_changed(
    struct bgp_speaker *s); /* what the sink's `metric` answers: every best path is chosen again */
struct bgp_rib *bgp_speaker_rib(struct bgp_speaker *s, uint32_t family); /* NULL: not spoken */
size_t bgp_speaker_bytes(const struct bgp_speaker *s);                   /* memory of routes and attributes */

#endif
