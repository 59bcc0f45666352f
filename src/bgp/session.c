#include "bgp/session.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define NEVER        INT64_MAX
#define OPEN_HOLD_NS (240 * NS_PER_S) /* RFC 4271 8.2.2: "large" hold time while waiting for an OPEN */

int bgp_session_init(struct bgp_session *s, const struct bgp_session_config *c, const struct bgp_session_above *a)
{
    *s = (struct bgp_session){.config = *c,
        .above = a,
        .hold_at_ns = NEVER,
        .keepalive_at_ns = NEVER,
        .retry_at_ns = NEVER,
        .send_hold_at_ns = NEVER};
    if (c->hold_time_s == 1 || c->hold_time_s == 2 || c->n_families > BGP_FAMILIES_MOST)
        return -EINVAL;
    if (!s->config.connect_retry_ns)
        s->config.connect_retry_ns = 10 * NS_PER_S;
    if (!s->config.send_hold_ns) {
        int64_t twice = 2 * (int64_t)c->hold_time_s * NS_PER_S;
        s->config.send_hold_ns = twice > 480 * NS_PER_S ? twice : 480 * NS_PER_S;
    }
    return 0;
}

void bgp_session_done(struct bgp_session *s)
{
    buf_done(&s->in);
    buf_done(&s->out);
}

static void enter(struct bgp_session *s, enum bgp_state state, int64_t now)
{
    s->state = state;
    s->state_since_ns = now;
}

/* --- what goes out ------------------------------------------------------------------------------------------------------ */

static int put(struct bgp_session *s, const uint8_t *message, size_t len, int64_t now)
{
    if (s->out.len + len > BGP_OUT_MOST || buf_append(&s->out, message, len))
        return -ENOBUFS;
    if (s->send_hold_at_ns == NEVER)
        s->send_hold_at_ns = now + s->config.send_hold_ns;
    s->counters.messages_out++;
    s->counters.bytes_out += len;
    if (s->hold_time_s)
        s->keepalive_at_ns = now + s->hold_time_s * NS_PER_S / 3;
    return 0;
}

static void put_keepalive(struct bgp_session *s, int64_t now)
{
    uint8_t m[BGP_HEADER];
    bgp_header_encode(m, BGP_HEADER, BGP_KEEPALIVE);
    put(s, m, sizeof m, now);
}

static void fill_open(const struct bgp_session *s, struct bgp_open *o)
{
    const struct bgp_session_config *c = &s->config;
    *o = (struct bgp_open){.as = c->local_as,
        .hold_time_s = c->hold_time_s,
        .n_families = c->n_families,
        .refresh = true,
        .enhanced_refresh = true,
        .extended_message = true,
        .as4 = true,
        .graceful = c->restart_time_s > 0,
        .graceful_notification = true,
        .restarting = c->restarting,
        .restart_time_s = c->restart_time_s};
    memcpy(o->identifier, c->identifier, 4);
    memcpy(o->families, c->families, sizeof o->families);
    for (int i = 0; o->graceful && i < c->n_families; i++)
        o->graceful_families[o->n_graceful++] = (struct bgp_graceful){
            .family = c->families[i], .forwarding = !c->forwarding_lost, .long_lived = c->long_lived_time_s};
    /* Ours are IPv6 (RFC 9252 5.1, RFC 8950): without this some daemons put an IPv4 address of their own in the place. */
    for (int i = 0; i < c->n_families; i++)
        if (c->families[i] == BGP_VPNV4 || c->families[i] == BGP_IPV4_UNICAST)
            o->six_hops[o->n_six_hops++] = c->families[i];
    if (c->hostname)
        strncpy(o->hostname, c->hostname, sizeof o->hostname - 1);
}

static void put_open(struct bgp_session *s, int64_t now)
{
    struct bgp_open o;
    uint8_t m[512];
    fill_open(s, &o);
    int n = bgp_open_encode(&o, m, sizeof m);
    if (n > 0)
        put(s, m, (size_t)n, now);
}

int bgp_session_send(struct bgp_session *s, const uint8_t *message, size_t len, int64_t now)
{
    if (s->state != BGP_ESTABLISHED)
        return -ENOTCONN;
    int rc = put(s, message, len, now);
    s->counters.updates_out += rc == 0;
    return rc;
}

struct buf *bgp_session_out(struct bgp_session *s)
{
    return &s->out;
}

void bgp_session_written(struct bgp_session *s, size_t n, int64_t now)
{
    if (n == 0)
        return;
    buf_consume(&s->out, n);
    s->send_hold_at_ns = s->out.len ? now + s->config.send_hold_ns : NEVER;
}

/* --- down ----------------------------------------------------------------------------------------------------------------- */

/* Idle, and again after the retry time. What is still in `out` (a NOTIFICATION) the shell writes before it closes. */
static void go_down(struct bgp_session *s, const struct bgp_notification *why, bool sent, int64_t now)
{
    bool told = s->state >= BGP_OPEN_SENT;
    bool was_established = s->state == BGP_ESTABLISHED;
    enter(s, BGP_IDLE, now);
    s->in.len = 0;
    s->hold_at_ns = s->keepalive_at_ns = s->send_hold_at_ns = NEVER;
    s->retry_at_ns = now + s->config.connect_retry_ns;
    s->hold_time_s = 0;
    s->last = why ? *why : (struct bgp_notification){0};
    s->last_sent = sent;
    s->counters.dropped += was_established;
    if (told && s->above->down)
        s->above->down(s->above->user, why, sent);
}

static void refuse(struct bgp_session *s, const struct bgp_notification *why, int64_t now)
{
    uint8_t m[BGP_HEADER + 2 + sizeof why->data];
    struct bgp_notification copy = *why;
    s->out.len = 0; /* routes that wait are worth nothing now */
    int n = bgp_notification_encode(&copy, m, sizeof m);
    if (n > 0)
        put(s, m, (size_t)n, now);
    go_down(s, &copy, true, now);
}

static void refuse_code(struct bgp_session *s, uint8_t code, uint8_t subcode, int64_t now)
{
    refuse(s, &(struct bgp_notification){.code = code, .subcode = subcode}, now);
}

/* RFC 8538 3.1: between speakers that keep routes over a NOTIFICATION, what means "forget them" must say so. */
static bool must_be_hard(const struct bgp_session *s, uint8_t cease_subcode)
{
    bool final = cease_subcode == BGP_CEASE_SHUTDOWN || cease_subcode == BGP_CEASE_DECONFIGURED ||
                 cease_subcode == BGP_CEASE_PREFIXES;
    return final && s->state == BGP_ESTABLISHED && s->config.restart_time_s && s->peer.graceful &&
           s->peer.graceful_notification;
}

void bgp_session_stop(struct bgp_session *s, uint8_t cease_subcode, const char *text, int64_t now)
{
    if (s->state >= BGP_OPEN_SENT) {
        struct bgp_notification n = {.code = BGP_ERROR_CEASE, .subcode = cease_subcode};
        size_t len = text ? strlen(text) : 0;
        if (len) {
            len = len < sizeof n.data - 1 ? len : sizeof n.data - 1;
            n.data[0] = (uint8_t)len;
            memcpy(n.data + 1, text, len);
            n.len = (uint16_t)(len + 1);
        }
        if (must_be_hard(s, cease_subcode))
            bgp_notification_harden(&n);
        refuse(s, &n, now);
    } else {
        enter(s, BGP_IDLE, now);
    }
    s->retry_at_ns = NEVER;
}

/* --- up --------------------------------------------------------------------------------------------------------------------- */

void bgp_session_start(struct bgp_session *s, int64_t now)
{
    if (s->state != BGP_IDLE)
        return;
    enter(s, s->config.passive ? BGP_ACTIVE : BGP_CONNECT, now);
    s->retry_at_ns = now; /* the first attempt is due at once */
}

bool bgp_session_wants_transport(const struct bgp_session *s, int64_t now)
{
    return s->state == BGP_CONNECT && now >= s->retry_at_ns;
}

void bgp_session_transport_up(struct bgp_session *s, int64_t now)
{
    if (s->state != BGP_CONNECT && s->state != BGP_ACTIVE)
        return;
    s->in.len = s->out.len = 0;
    s->retry_at_ns = NEVER;
    put_open(s, now);
    s->hold_at_ns = now + OPEN_HOLD_NS;
    enter(s, BGP_OPEN_SENT, now);
}

void bgp_session_transport_failed(struct bgp_session *s, int64_t now)
{
    if (s->state >= BGP_OPEN_SENT) {
        s->out.len = 0;
        go_down(s, NULL, false, now);
        return;
    }
    if (s->state == BGP_CONNECT)
        s->retry_at_ns = now + s->config.connect_retry_ns;
}

static bool offered(const struct bgp_open *o, uint32_t family)
{
    for (int i = 0; i < o->n_families; i++)
        if (o->families[i] == family)
            return true;
    return false;
}

static void agree(struct bgp_session *s)
{
    s->n_families = 0;
    for (int i = 0; i < s->config.n_families; i++)
        if (offered(&s->peer, s->config.families[i]))
            s->families[s->n_families++] = s->config.families[i];
    s->as4 = s->peer.as4;
    s->extended = s->peer.extended_message;
    s->refresh = s->peer.refresh;
    s->enhanced_refresh = s->peer.enhanced_refresh;
    s->hold_time_s = s->peer.hold_time_s < s->config.hold_time_s ? s->peer.hold_time_s : s->config.hold_time_s;
}

bool bgp_session_family(const struct bgp_session *s, uint32_t family)
{
    for (int i = 0; i < s->n_families; i++)
        if (s->families[i] == family)
            return true;
    return false;
}

static void restart_hold(struct bgp_session *s, int64_t now)
{
    s->hold_at_ns = s->hold_time_s ? now + s->hold_time_s * NS_PER_S : NEVER;
}

/* --- what comes in -------------------------------------------------------------------------------------------------------------- */

static void take_open(struct bgp_session *s, const uint8_t *body, size_t len, int64_t now)
{
    struct bgp_notification error;
    if (s->state != BGP_OPEN_SENT) {
        refuse_code(s, BGP_ERROR_FSM, s->state == BGP_OPEN_CONFIRM ? 2 : 3, now); /* RFC 6608 */
        return;
    }
    if (bgp_open_decode(&s->peer, body, len, &error)) {
        refuse(s, &error, now);
        return;
    }
    /* RFC 6286: the identifier need only differ inside one AS. */
    bool ours = s->peer.as == s->config.local_as && memcmp(s->peer.identifier, s->config.identifier, 4) == 0;
    if (s->peer.as != s->config.peer_as || ours) {
        refuse_code(s, BGP_ERROR_OPEN, ours ? BGP_OPEN_IDENTIFIER : BGP_OPEN_PEER_AS, now);
        return;
    }
    agree(s);
    put_keepalive(s, now);
    restart_hold(s, now);
    if (!s->hold_time_s)
        s->keepalive_at_ns = NEVER;
    enter(s, BGP_OPEN_CONFIRM, now);
}

static void take_keepalive(struct bgp_session *s, int64_t now)
{
    if (s->state == BGP_OPEN_SENT) {
        refuse_code(s, BGP_ERROR_FSM, 1, now);
        return;
    }
    restart_hold(s, now);
    if (s->state != BGP_OPEN_CONFIRM)
        return;
    enter(s, BGP_ESTABLISHED, now);
    s->counters.established++;
    if (s->above->established)
        s->above->established(s->above->user, &s->peer);
}

static void take_update(struct bgp_session *s, const uint8_t *body, size_t len, int64_t now)
{
    struct bgp_update_context where = {.ibgp = s->config.local_as == s->config.peer_as,
        .as4 = s->as4,
        .peer_as = s->config.peer_as,
        .families = s->families,
        .n_families = s->n_families};
    struct bgp_update u;
    struct bgp_notification error;
    restart_hold(s, now);
    s->counters.updates_in++;
    enum bgp_action action = bgp_update_decode(&u, body, len, &where, &error);
    s->counters.attributes_discarded += action == BGP_DISCARD_ATTRIBUTE;
    s->counters.treated_as_withdraw += action == BGP_TREAT_AS_WITHDRAW;
    s->counters.faulty += u.faults > 0;
    if (u.faults)
        memcpy(s->last_fault, u.why, sizeof s->last_fault);
    if (action == BGP_RESET)
        refuse(s, &error, now);
    else if (s->above->update)
        s->above->update(s->above->user, &u);
}

static void take_refresh(struct bgp_session *s, const uint8_t *body, size_t len, int64_t now)
{
    struct bgp_notification error;
    uint32_t family;
    enum bgp_refresh_kind kind;
    restart_hold(s, now);
    if (bgp_refresh_decode(&family, &kind, body, len, &error))
        refuse(s, &error, now);
    else if (kind <= BGP_REFRESH_END && bgp_session_family(s, family) && s->above->refresh)
        s->above->refresh(s->above->user, family, kind);
}

static void take(struct bgp_session *s, uint8_t type, const uint8_t *body, size_t len, int64_t now)
{
    struct bgp_notification n;
    s->counters.messages_in++;
    if (type == BGP_NOTIFICATION) {
        bool readable = bgp_notification_decode(&n, body, len) == 0;
        s->out.len = 0;
        go_down(s, readable ? &n : NULL, false, now);
    } else if (type == BGP_OPEN) {
        take_open(s, body, len, now);
    } else if (type == BGP_KEEPALIVE) {
        take_keepalive(s, now);
    } else if (s->state != BGP_ESTABLISHED) {
        refuse_code(s, BGP_ERROR_FSM, s->state == BGP_OPEN_SENT ? 1 : 2, now);
    } else if (type == BGP_UPDATE) {
        take_update(s, body, len, now);
    } else {
        take_refresh(s, body, len, now);
    }
}

/* Whole messages straight from the caller's bytes; only a message that is cut in two waits in `in`. */
static size_t take_whole(struct bgp_session *s, const uint8_t *bytes, size_t len, int64_t now)
{
    size_t at = 0;
    while (s->state >= BGP_OPEN_SENT) {
        struct bgp_notification error;
        uint32_t n, most = s->extended ? BGP_EXTENDED_MOST : BGP_MESSAGE_MOST;
        uint8_t type;
        int rc = bgp_header_decode(bytes + at, len - at, most, &type, &n, &error);
        if (rc == -EAGAIN)
            break;
        if (rc) {
            refuse(s, &error, now);
            break;
        }
        take(s, type, bytes + at + BGP_HEADER, n - BGP_HEADER, now);
        at += n;
    }
    return at;
}

void bgp_session_bytes(struct bgp_session *s, const uint8_t *bytes, size_t len, int64_t now)
{
    s->counters.bytes_in += len;
    while (len && s->state >= BGP_OPEN_SENT) {
        if (s->in.len == 0) {
            size_t used = take_whole(s, bytes, len, now);
            bytes += used;
            len -= used;
            if (s->state < BGP_OPEN_SENT || len == 0)
                return;
        }
        /* A rest of less than one message: at most the longest one is kept. */
        size_t room = BGP_EXTENDED_MOST - s->in.len, n = len < room ? len : room;
        if (buf_append(&s->in, bytes, n)) {
            refuse_code(s, BGP_ERROR_CEASE, BGP_CEASE_RESOURCES, now);
            return;
        }
        bytes += n;
        len -= n;
        size_t used = take_whole(s, s->in.data, s->in.len, now);
        if (s->state >= BGP_OPEN_SENT)
            buf_consume(&s->in, used);
    }
}

/* --- time ----------------------------------------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t bgp_session_poll(struct bgp_session *s, int64_t now)
{
    if (s->state >= BGP_OPEN_SENT && now >= s->hold_at_ns) {
        refuse_code(s, BGP_ERROR_HOLD_TIMER, 0, now);
    } else if (s->state >= BGP_OPEN_SENT && now >= s->send_hold_at_ns) {
        /* RFC 9687: the peer reads nothing; no NOTIFICATION would reach it either, but the RFC has us queue one. */
        refuse_code(s, BGP_ERROR_SEND_HOLD_TIMER, 0, now);
    } else if (s->state >= BGP_OPEN_CONFIRM && now >= s->keepalive_at_ns) {
        put_keepalive(s, now);
    } else if (s->state == BGP_IDLE && now >= s->retry_at_ns) {
        bgp_session_start(s, now);
    }
    int64_t next = earlier(earlier(s->hold_at_ns, s->keepalive_at_ns), s->send_hold_at_ns);
    return s->state < BGP_OPEN_SENT ? s->retry_at_ns : next;
}
