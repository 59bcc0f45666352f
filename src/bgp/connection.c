/* A peer's connections: who may connect, which of two connections stays, what a session's events mean.
 *
 * RFC 4271 6.8: of two connections of one peer the one begun by the speaker with the higher identifier stays; an established
 * one is not given up for a new one. RFC 4724 4.2: unless the peer restarts, which the old connection may never hear of. A peer
 * that keeps routes over a restart may therefore bring a new connection up beside the old one: once it is established, which a
 * peer that still holds the old one would not let happen, the old one ends as if it had been lost. */
#include "base/clock.h"
#include "bgp/inner.h"

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
    struct bgp_session *other = &p->side[self->side == BGP_CONNECTED ? BGP_ACCEPTED : BGP_CONNECTED];
    if (other->state == BGP_ESTABLISHED)
        bgp_session_transport_failed(other, p->now);
    else if (other->state > BGP_IDLE)
        bgp_session_stop(other, BGP_CEASE_COLLISION, NULL, p->now);
    p->up = (int8_t)self->side;
    memcpy(p->identifier, open->identifier, 4);
    bgp_restart_session_up(p, open);
    bgp_targets_session_up(p);
    bgp_output_begin(p);
    tell_state(p, BGP_ESTABLISHED, NULL);
}

/* The connection that lost against another one tries again once that one is gone too. */
static void revive(struct bgp_peer *p)
{
    struct bgp_session *s = &p->side[BGP_CONNECTED];
    if (!p->stopped && !p->config.session.passive && s->state == BGP_IDLE && s->retry_at_ns == INT64_MAX)
        s->retry_at_ns = p->now + s->config.connect_retry_ns;
}

static void on_down(void *user, const struct bgp_notification *why, bool sent)
{
    struct bgp_side_of *self = user;
    struct bgp_peer *p = self->peer;
    (void)sent;
    revive(p);
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
    if (self->peer->up != (int8_t)self->side)
        return;
    if (kind == BGP_REFRESH)
        bgp_output_refresh(self->peer, family);
    else
        bgp_restart_refresh(self->peer, family, kind);
}

int bgp_connection_init(struct bgp_peer *p, enum bgp_side side)
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

/* --- transports ------------------------------------------------------------------------------------------------------------- */

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

bool bgp_peer_accepts(const struct bgp_speaker *s, uint16_t peer)
{
    const struct bgp_peer *p = s->peers[peer];
    bool stays = p && p->side[BGP_ACCEPTED].state == BGP_ESTABLISHED && !p->side[BGP_ACCEPTED].peer.graceful;
    return p && !p->stopped && !stays;
}

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
    if (p->stopped || (side == BGP_ACCEPTED && !bgp_peer_accepts(s, peer)))
        return;
    if (side == BGP_CONNECTED && p->up >= 0)
        return;                          /* the peer's connection was quicker; only the peer's may replace it */
    if (session->state >= BGP_OPEN_SENT) /* the peer began anew: the connection before is as good as lost */
        bgp_session_transport_failed(session, now);
    session->config.restarting = bgp_restart_going_on(s, now);
    session->config.forwarding_lost =
        session->config.restarting && s->config.role != BGP_REFLECTOR && !s->config.forwarding_kept;
    bgp_session_start(session, now);
    bgp_session_transport_up(session, now);
}

void bgp_peer_transport_failed(struct bgp_speaker *s, uint16_t peer, enum bgp_side side, int64_t now)
{
    struct bgp_peer *p = s->peers[peer];
    p->now = now;
    bgp_session_transport_failed(&p->side[side], now);
}

static void resolve_collision(struct bgp_peer *p, int64_t now)
{
    struct bgp_session *ours = &p->side[BGP_CONNECTED], *theirs = &p->side[BGP_ACCEPTED];
    if (p->up >= 0) {
        struct bgp_session *other = p->up == BGP_CONNECTED ? theirs : ours;
        if (other->state == BGP_OPEN_CONFIRM && !p->side[p->up].peer.graceful)
            bgp_session_stop(other, BGP_CEASE_COLLISION, NULL, now);
        return;
    }
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
    bgp_vrf_pass(s, now);
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

int64_t bgp_connection_poll(struct bgp_peer *p, int64_t now)
{
    p->now = now;
    int64_t next = earlier(bgp_restart_poll(p, now), p->targets_until_ns);
    for (int side = 0; side < BGP_SIDES; side++) {
        struct bgp_session *session = &p->side[side];
        bool dormant = p->stopped || side == BGP_ACCEPTED || p->config.session.passive || p->up >= 0;
        if (session->state >= BGP_OPEN_SENT || !dormant)
            next = earlier(next, bgp_session_poll(session, now));
    }
    return next;
}
