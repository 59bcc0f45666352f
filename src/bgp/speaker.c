/* Peers and their connections: who may connect, which of two connections stays, what a session's events mean. */
#include "bgp/speaker.h"

#include "base/clock.h"
#include "bgp/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const uint32_t bgp_rib_families[BGP_RIBS] = {
    BGP_IPV6_UNICAST, BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_RTC, BGP_IPV4_UNICAST};

int bgp_rib_index(uint32_t family)
{
    for (int i = 0; i < BGP_RIBS; i++)
        if (bgp_rib_families[i] == family)
            return i;
    return -1;
}

/* --- what RIBs ask ---------------------------------------------------------------------------------------------------- */

static uint32_t metric(void *user, const uint8_t *next_hop, uint8_t len)
{
    const struct bgp_speaker *s = user;
    const uint8_t *hop = len == 24 || len == 48 ? next_hop + 8 : next_hop; /* VPN next hops carry an RD of zero */
    for (size_t i = 0; len >= 16 && i < s->n_metrics; i++)
        if (memcmp(s->metrics[i].next_hop.b, hop, 16) == 0)
            return s->metrics[i].metric;
    return 0;
}

static void peer_order(void *user, uint16_t source, uint8_t ret_identifier[4], struct ip_addr *ret_address)
{
    const struct bgp_speaker *s = user;
    const struct bgp_session *session = bgp_peer_best_session(s, source);
    if (!session)
        return;
    memcpy(ret_identifier, session->peer.identifier, 4);
    *ret_address = s->peers[source]->config.address;
}

/* --- the speaker ------------------------------------------------------------------------------------------------------- */

int bgp_speaker_create(
    struct bgp_speaker **ret, const struct bgp_speaker_config *c, const struct bgp_sink *sink, struct error *err)
{
    struct bgp_speaker *s = calloc(1, sizeof *s);
    if (!s || bgp_attribute_table_create(&s->attributes))
        goto no_memory;
    s->config = *c;
    if (sink)
        s->sink = *sink;
    struct bgp_rib_above above = {.user = s, .metric = metric, .peer_order = peer_order, .best = bgp_sink_best};
    for (int i = 0; i < BGP_RIBS; i++)
        if (bgp_rib_create(&s->rib[i], bgp_rib_families[i], s->attributes, &above))
            goto no_memory;
    *ret = s;
    return 0;
no_memory:
    bgp_speaker_free(s);
    return error_set(err, ENOMEM, "not enough memory for a BGP speaker");
}

static void free_peer(struct bgp_peer *p)
{
    bgp_session_done(&p->side[BGP_CONNECTED]);
    bgp_session_done(&p->side[BGP_ACCEPTED]);
    free(p);
}

void bgp_speaker_free(struct bgp_speaker *s)
{
    if (!s)
        return;
    s->sink = (struct bgp_sink){0};
    for (int i = 0; i < BGP_RIBS; i++)
        bgp_rib_free(s->rib[i]);
    for (unsigned i = 0; i < BGP_PEERS_MOST; i++)
        if (s->peers[i])
            free_peer(s->peers[i]);
    bgp_attribute_table_free(s->attributes);
    free(s->metrics);
    free(s);
}

struct bgp_rib *bgp_speaker_rib(struct bgp_speaker *s, uint32_t family)
{
    int i = bgp_rib_index(family);
    return i < 0 ? NULL : s->rib[i];
}

size_t bgp_speaker_bytes(const struct bgp_speaker *s)
{
    size_t n = bgp_attribute_table_bytes(s->attributes);
    for (int i = 0; i < BGP_RIBS; i++)
        n += bgp_rib_bytes(s->rib[i]);
    return n;
}

int bgp_next_hop_set(struct bgp_speaker *s, const struct ip6 *next_hop, uint32_t value)
{
    size_t i = 0;
    while (i < s->n_metrics && !ip6_equal(&s->metrics[i].next_hop, next_hop))
        i++;
    if (i == s->n_metrics) {
        struct bgp_metric *more = realloc(s->metrics, (i + 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->metrics = more;
        s->metrics[s->n_metrics++] = (struct bgp_metric){*next_hop, 0};
    }
    if (s->metrics[i].metric == value)
        return 0;
    s->metrics[i].metric = value;
    for (int k = 0; k < BGP_RIBS; k++)
        bgp_rib_select_all(s->rib[k]);
    return 0;
}

/* --- events of sessions --------------------------------------------------------------------------------------------------- */

static void tell_state(struct bgp_peer *p, enum bgp_state state, const struct bgp_notification *why)
{
    struct bgp_speaker *s = p->speaker;
    if (s->sink.peer_state)
        s->sink.peer_state(s->sink.user, p->number, state, why);
}

static void on_established(void *user, const struct bgp_open *open)
{
    struct bgp_side_of *self = user;
    struct bgp_peer *p = self->peer;
    enum bgp_side other = self->side == BGP_CONNECTED ? BGP_ACCEPTED : BGP_CONNECTED;
    p->up = (int8_t)self->side;
    if (p->side[other].state > BGP_IDLE)
        bgp_session_stop(&p->side[other], BGP_CEASE_COLLISION, NULL, p->now);
    bgp_restart_session_up(p, open);
    bgp_output_begin(p);
    tell_state(p, BGP_ESTABLISHED, NULL);
}

static void on_down(void *user, const struct bgp_notification *why, bool sent)
{
    struct bgp_side_of *self = user;
    struct bgp_peer *p = self->peer;
    (void)sent;
    if (p->up != (int8_t)self->side)
        return;
    p->up = -1;
    bgp_restart_session_down(p, &p->side[self->side].peer, why, p->now);
    tell_state(p, BGP_IDLE, why);
}

static void on_update(void *user, const struct bgp_update *u)
{
    struct bgp_side_of *self = user;
    struct bgp_peer *p = self->peer;
    struct bgp_session *session = &p->side[self->side];
    uint8_t cease = 0;
    if (p->up != (int8_t)self->side || bgp_input_update(p, u, session->as4, p->now, &cease))
        return;
    p->stopped = cease == BGP_CEASE_PREFIXES; /* it would only send them again: a person must look */
    bgp_session_stop(session, cease, NULL, p->now);
    if (!p->stopped)
        session->retry_at_ns = p->now + session->config.connect_retry_ns;
}

static void on_refresh(void *user, uint32_t family, enum bgp_refresh_kind kind)
{
    struct bgp_side_of *self = user;
    if (kind == BGP_REFRESH)
        bgp_output_refresh(self->peer, family);
}

/* --- peers ------------------------------------------------------------------------------------------------------------------- */

static bool same_address(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->a.b, b->a.b, a->family == IP_V4 ? 4 : 16) == 0;
}

uint16_t bgp_peer_of_address(const struct bgp_speaker *s, const struct ip_addr *from)
{
    for (uint16_t i = 1; i < BGP_PEERS_MOST; i++)
        if (s->peers[i] && same_address(&s->peers[i]->config.address, from))
            return i;
    return 0;
}

static int check_peer(const struct bgp_speaker *s, const struct bgp_peer_config *c, struct error *err)
{
    bool internal = c->session.local_as == c->session.peer_as;
    if (c->session.local_as == 0 || c->session.peer_as == 0)
        return error_set(err, EINVAL, "a BGP peer needs an AS number on both sides");
    if (internal != (c->kind != BGP_PEER_LINK))
        return error_set(
            err, EINVAL, "a peer over a link has another AS number than ours, any other peer has the same");
    if (c->kind == BGP_PEER_CLIENT && s->config.role != BGP_REFLECTOR)
        return error_set(err, EINVAL, "only a reflector has clients");
    if (c->session.hold_time_s == 1 || c->session.hold_time_s == 2)
        return error_set(err, EINVAL, "a hold time of %u s is not allowed: 0 or at least 3", c->session.hold_time_s);
    if (c->session.n_families == 0 || c->session.n_families > BGP_FAMILIES_MOST)
        return error_set(err, EINVAL, "a BGP peer needs 1 to %d address families", BGP_FAMILIES_MOST);
    if (bgp_peer_of_address(s, &c->address))
        return error_set(err, EEXIST, "there is already a BGP peer with this address");
    return 0;
}

static int make_side(struct bgp_peer *p, enum bgp_side side)
{
    struct bgp_session_config c = p->config.session;
    p->self[side] = (struct bgp_side_of){.peer = p, .side = side};
    p->above[side] = (struct bgp_session_above){.user = &p->self[side],
        .established = on_established,
        .down = on_down,
        .update = on_update,
        .refresh = on_refresh};
    memcpy(c.identifier, p->speaker->config.identifier, 4);
    c.passive = side == BGP_ACCEPTED;
    return bgp_session_init(&p->side[side], &c, &p->above[side]);
}

int bgp_peer_add(struct bgp_speaker *s, const struct bgp_peer_config *c, int64_t now, uint16_t *ret, struct error *err)
{
    uint16_t number = 1;
    int rc = check_peer(s, c, err);
    if (rc)
        return rc;
    while (number < BGP_PEERS_MOST && s->peers[number])
        number++;
    if (number == BGP_PEERS_MOST)
        return error_set(err, ENOSPC, "there are already %u BGP peers, which is the most", BGP_PEERS_MOST - 1);
    struct bgp_peer *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ENOMEM, "not enough memory for a BGP peer");
    *p = (struct bgp_peer){.speaker = s, .number = number, .config = *c, .up = -1, .now = now};
    for (int i = 0; i < BGP_RIBS; i++)
        p->family[i].stale_until_ns = p->family[i].long_lived_until_ns = INT64_MAX;
    make_side(p, BGP_CONNECTED);
    make_side(p, BGP_ACCEPTED);
    s->peers[number] = p;
    bgp_peer_start(s, number, now);
    *ret = number;
    return 0;
}

void bgp_peer_start(struct bgp_speaker *s, uint16_t peer, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->stopped = false;
    if (!p->config.session.passive)
        bgp_session_start(&p->side[BGP_CONNECTED], now);
}

void bgp_peer_stop(struct bgp_speaker *s, uint16_t peer, const char *text, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->now = now;
    p->stopped = true;
    for (int side = 0; side < BGP_SIDES; side++)
        bgp_session_stop(&p->side[side], BGP_CEASE_SHUTDOWN, text, now);
}

int bgp_peer_remove(struct bgp_speaker *s, uint16_t peer, int64_t now)
{
    struct bgp_peer *p = peer < BGP_PEERS_MOST ? s->peers[peer] : NULL;
    if (!p)
        return -ENOENT;
    bgp_peer_stop(s, peer, NULL, now);
    for (int i = 0; i < BGP_RIBS; i++) {
        bgp_rib_drop_source(s->rib[i], peer);
        bgp_rib_untell(s->rib[i], peer);
    }
    s->peers[peer] = NULL;
    free_peer(p);
    return 0;
}

const struct bgp_peer_config *bgp_peer_config(const struct bgp_speaker *s, uint16_t peer)
{
    return peer < BGP_PEERS_MOST && s->peers[peer] ? &s->peers[peer]->config : NULL;
}

struct bgp_session *bgp_peer_session(struct bgp_speaker *s, uint16_t peer, enum bgp_side side)
{
    return peer < BGP_PEERS_MOST && s->peers[peer] ? &s->peers[peer]->side[side] : NULL;
}

const struct bgp_session *bgp_peer_best_session(const struct bgp_speaker *s, uint16_t peer)
{
    const struct bgp_peer *p = peer < BGP_PEERS_MOST ? s->peers[peer] : NULL;
    if (!p)
        return NULL;
    return &p->side[p->side[BGP_ACCEPTED].state > p->side[BGP_CONNECTED].state ? BGP_ACCEPTED : BGP_CONNECTED];
}

/* --- connections --------------------------------------------------------------------------------------------------------------- */

bool bgp_peer_wants_transport(const struct bgp_speaker *s, uint16_t peer, int64_t now)
{
    const struct bgp_peer *p = s->peers[peer];
    return p && !p->stopped && p->up < 0 && bgp_session_wants_transport(&p->side[BGP_CONNECTED], now);
}

void bgp_peer_transport_up(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    struct bgp_session *session = &p->side[side];
    p->now = now;
    if (p->stopped)
        return;
    /* A new connection of a peer whose session we think is up (RFC 4724 4.2: it restarted; else RFC 4271 6.8's collision:
     * the established one stays, and a live peer would not have connected again). */
    if (side == BGP_ACCEPTED && p->up >= 0) {
        if (!p->side[p->up].peer.graceful)
            return;
        bgp_session_transport_failed(&p->side[p->up], now);
    }
    if (session->state >= BGP_OPEN_SENT)
        bgp_session_transport_failed(session, now);
    bgp_session_start(session, now);
    bgp_session_transport_up(session, now);
}

void bgp_peer_transport_failed(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->now = now;
    bgp_session_transport_failed(&p->side[side], now);
}

/* RFC 4271 6.8: once an OPEN was read on both, the connection begun by the speaker with the higher identifier stays. */
static void resolve_collision(struct bgp_peer *p, int64_t now)
{
    struct bgp_session *ours = &p->side[BGP_CONNECTED], *theirs = &p->side[BGP_ACCEPTED];
    if (ours->state != BGP_OPEN_CONFIRM || theirs->state != BGP_OPEN_CONFIRM)
        return;
    bool we_are_higher = memcmp(p->speaker->config.identifier, ours->peer.identifier, 4) > 0;
    bgp_session_stop(we_are_higher ? theirs : ours, BGP_CEASE_COLLISION, NULL, now);
}

void bgp_peer_bytes(
    struct bgp_speaker *s, uint16_t peer, enum bgp_side side, const uint8_t *bytes, size_t len, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->now = now;
    bgp_session_bytes(&p->side[side], bytes, len, now);
    resolve_collision(p, now);
}

struct buf *bgp_peer_out(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->now = now;
    if (p->up == (int8_t)side)
        bgp_output_fill(p, now);
    return bgp_session_out(&p->side[side]);
}

void bgp_peer_written(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, size_t n, int64_t now)
{
    bgp_session_written(&s->peers[peer]->side[side], n, now);
}

/* --- time ------------------------------------------------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t poll_peer(struct bgp_peer *p, int64_t now)
{
    p->now = now;
    int64_t next = bgp_restart_poll(p, now);
    for (int side = 0; side < BGP_SIDES; side++) {
        struct bgp_session *session = &p->side[side];
        bool dormant = p->stopped || side == BGP_ACCEPTED || p->config.session.passive || p->up >= 0;
        if (session->state >= BGP_OPEN_SENT || !dormant)
            next = earlier(next, bgp_session_poll(session, now));
    }
    return next;
}

/* What every established peer knows need not be remembered for telling. */
static void forget_told(struct bgp_speaker *s)
{
    for (int i = 0; i < BGP_RIBS; i++) {
        uint64_t least = bgp_rib_version(s->rib[i]);
        for (unsigned k = 1; k < BGP_PEERS_MOST; k++) {
            const struct bgp_peer *p = s->peers[k];
            if (p && p->up >= 0 && bgp_session_family(&p->side[p->up], bgp_rib_families[i]) &&
                p->family[i].told < least)
                least = p->family[i].told;
        }
        bgp_rib_forget(s->rib[i], least);
    }
}

int64_t bgp_speaker_poll(struct bgp_speaker *s, int64_t now)
{
    int64_t next = INT64_MAX;
    for (unsigned i = 1; i < BGP_PEERS_MOST; i++)
        if (s->peers[i])
            next = earlier(next, poll_peer(s->peers[i], now));
    forget_told(s);
    return next;
}
