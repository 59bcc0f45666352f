/* One BGP session: the finite state machine of RFC 4271 section 8 as we implement it, for one peer and one TCP connection at
 * a time. Pure: bytes in, bytes out, `now` passed in; sockets, MD5 and GTSM are the shell's.
 *
 * The RFC's algorithm: Idle → Connect/Active → OpenSent → OpenConfirm → Established, with connect-retry, hold, keepalive and
 * (RFC 9687) send-hold timers. Our implementation: the shell tells when a transport is there; collisions (RFC 4271 6.8) are
 * resolved by the speaker, which may hold two sessions of one peer for that moment. Each step below has a test. */
#ifndef MERIDIAN_BGP_SESSION_H
#define MERIDIAN_BGP_SESSION_H

#include "base/buf.h"
#include "wire/bgp_message.h"
#include "wire/bgp_update.h"

enum bgp_state { BGP_IDLE, BGP_CONNECT, BGP_ACTIVE, BGP_OPEN_SENT, BGP_OPEN_CONFIRM, BGP_ESTABLISHED };

struct bgp_session_config {
    uint32_t local_as, peer_as; /* equal: iBGP */
    uint8_t identifier[4];      /* ours */
    uint16_t hold_time_s;       /* offered; 0: none; 1, 2 are refused (RFC 4271) */
    uint16_t restart_time_s;    /* graceful restart: 0: not offered */
    uint32_t long_lived_time_s; /* RFC 9494, for all families: 0: not offered */
    bool restarting;            /* R: this process has just started, nobody waits for our End-of-RIB */
    bool forwarding_lost;       /* F is not set: what we announced before does not forward any more */
    uint32_t families[BGP_FAMILIES_MOST];
    uint8_t n_families;
    bool passive;                           /* waits for the peer to connect */
    const char *hostname;                   /* in the FQDN capability; NULL: not sent */
    int64_t connect_retry_ns, send_hold_ns; /* 0: 10 s; 0: max(8 min, 2 × hold) */
};

/* What the session does with what it is told; called from within the functions below. */
struct bgp_session_above {
    void *user;
    void (*established)(void *user, const struct bgp_open *peer);
    void (*down)(
        void *user, const struct bgp_notification *why, bool sent); /* after OpenSent at least; why may be NULL */
    /* An UPDATE body, checked by bgp_update_decode: action below BGP_RESET. */
    void (*update)(void *user, const struct bgp_update *u);
    void (*refresh)(void *user, uint32_t family, enum bgp_refresh_kind kind);
};

struct bgp_session_counters {
    uint64_t updates_in, updates_out, messages_in, messages_out, bytes_in, bytes_out;
    uint64_t attributes_discarded, treated_as_withdraw; /* UPDATEs, RFC 7606 */
    uint64_t faulty;                                    /* UPDATEs with anything wrong in them, however handled */
    uint64_t routes_too_long; /* not told: attributes and route do not fit one message of this peer */
    uint32_t established, dropped;
};

struct bgp_session {
    enum bgp_state state;
    struct bgp_session_config config;
    const struct bgp_session_above *above;
    struct bgp_open peer;                 /* valid from OpenConfirm on */
    uint32_t families[BGP_FAMILIES_MOST]; /* both sides' */
    uint8_t n_families;
    bool extended, as4, refresh, enhanced_refresh;
    uint16_t hold_time_s; /* agreed */
    struct buf in, out;   /* in: at most one message; out: bounded by BGP_OUT_MOST */
    int64_t hold_at_ns, keepalive_at_ns, retry_at_ns, send_hold_at_ns; /* INT64_MAX: not running */
    int64_t state_since_ns;
    struct bgp_notification last; /* why it was last down */
    bool last_sent;
    char last_fault[160]; /* the last UPDATE's that was wrong; "" */
    struct bgp_session_counters counters;
};

#define BGP_OUT_MOST (1u << 20) /* bytes waiting for the socket; the speaker stops filling above half of it */

int bgp_session_init(struct bgp_session *s, const struct bgp_session_config *c, const struct bgp_session_above *a);
void bgp_session_done(struct bgp_session *s);

void bgp_session_start(struct bgp_session *s, int64_t now); /* Idle → Connect (or Active when passive) */
bool bgp_session_wants_transport(const struct bgp_session *s, int64_t now); /* the shell should connect now */
void bgp_session_transport_up(struct bgp_session *s, int64_t now);
void bgp_session_transport_failed(struct bgp_session *s, int64_t now); /* closed by the peer, refused, reset */
void bgp_session_bytes(struct bgp_session *s, const uint8_t *bytes, size_t len, int64_t now);
/* What to write; the shell consumes what the socket took. When the state is Idle and out is empty the shell closes. */
struct buf *bgp_session_out(struct bgp_session *s);
void bgp_session_written(struct bgp_session *s, size_t n, int64_t now);
void bgp_session_stop(struct bgp_session *s, uint8_t cease_subcode, const char *text, int64_t now); /* text: RFC 9003 */
int64_t bgp_session_poll(struct bgp_session *s, int64_t now); /* timers; next deadline */

/* For the speaker. A whole UPDATE message. -ENOBUFS: BGP_OUT_MOST; try again when written. */
int bgp_session_send(struct bgp_session *s, const uint8_t *message, size_t len, int64_t now);
bool bgp_session_family(const struct bgp_session *s, uint32_t family);

#endif
