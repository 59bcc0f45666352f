/* Connections between PEs and reflectors as byte streams: what one end writes arrives at the other in order, later by the line's
 * time and the way's delay. A PE dials; connections are numbered, so that what belongs to an old one is known. */
#include "sim/control_inner.h"

#include "base/clock.h"
#include "base/siphash.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW   (256u << 10) /* octets under way at most */
#define PIECE    16384u
#define OVERHEAD 60u /* octets of headers for a piece: it stands for several packets, which matters little */

static struct control_end *other(const struct control_end *x)
{
    return &x->wire->end[x == &x->wire->end[0]];
}

static void set_arrival(struct control_end *x)
{
    struct control *c = x->node->above;
    if (x->first && x->first->at_ns != INT64_MAX)
        event_at(&c->events, &x->arrives, x->first->at_ns > c->events.now_ns ? x->first->at_ns : c->events.now_ns);
    else
        event_never(&c->events, &x->arrives);
}

static void send(
    struct control_end *x, enum control_kind kind, uint32_t connection, const uint8_t *bytes, uint32_t len, int64_t now)
{
    const struct distance *way = &x->wire->way;
    struct control_piece *p = malloc(sizeof(*p) + len);
    if (!p) {
        x->node->above->failed = -ENOMEM;
        return;
    }
    int64_t begin = now > x->free_ns ? now : x->free_ns;
    *p = (struct control_piece){.kind = kind, .connection = connection, .len = len, .at_ns = INT64_MAX};
    if (len)
        memcpy(p->bytes, bytes, len);
    if (way->delay_ns >= 0) {
        x->free_ns = begin + (int64_t)((double)(len + OVERHEAD) * 8e9 / (double)way->rate_bps);
        p->at_ns = x->free_ns + way->delay_ns;
        if (p->at_ns < x->last_ns)
            p->at_ns = x->last_ns;
        x->last_ns = p->at_ns;
    }
    *x->last = p;
    x->last = &p->next;
    x->under_way += len;
    if (x->first == p)
        set_arrival(x);
}

static void pop(struct control_end *x)
{
    struct control_piece *p = x->first;
    x->first = p->next;
    if (!x->first)
        x->last = &x->first;
    x->under_way -= p->len;
    free(p);
}

void control_wire_forget(struct control_end *x)
{
    while (x->first)
        pop(x);
    set_arrival(x);
}

/* --- arrivals -------------------------------------------------------------------------------------------------------------- */

static void lost(struct control_end *x, int64_t now)
{
    bool had = x->open || x->dialing;
    x->open = x->dialing = false;
    if (had && x->node->speaker)
        bgp_peer_transport_failed(x->node->speaker, x->peer, x->side, now);
}

/* A reflector's host answers for a daemon that does not run; a PE that is dead answers nothing. */
static void knock(struct control_end *x, const struct control_piece *p, int64_t now)
{
    struct bgp_speaker *s = x->node->speaker;
    if (!s || !bgp_peer_accepts(s, x->peer)) {
        if (s || x->node->reflector)
            send(x, CONTROL_CLOSE, p->connection, NULL, 0, now);
        return;
    }
    lost(x, now);
    x->connection = p->connection;
    x->open = true;
    send(x, CONTROL_ACCEPTED, p->connection, NULL, 0, now);
    bgp_peer_transport_up(s, x->peer, x->side, now);
}

static void take(struct control_end *x, const struct control_piece *p, int64_t now)
{
    struct bgp_speaker *s = x->node->speaker;
    bool ours = p->connection == x->connection && (x->open || x->dialing);
    if (p->kind == CONTROL_SYN) {
        knock(x, p, now);
    } else if (p->kind == CONTROL_CLOSE) {
        if (ours)
            lost(x, now);
    } else if (!s) {
        return;
    } else if (!ours) {
        send(x, CONTROL_CLOSE, p->connection, NULL, 0, now);
    } else if (p->kind == CONTROL_ACCEPTED) {
        x->dialing = false;
        x->open = true;
        bgp_peer_transport_up(s, x->peer, x->side, now);
    } else {
        control_spend(x->node, p->len);
        bgp_peer_bytes(s, x->peer, x->side, p->bytes, p->len, now);
    }
}

void control_wire_arrival(struct event_source *e, int64_t now)
{
    static const struct siphash_seed known = {{1, 2}};
    struct control_end *from = (struct control_end *)(void *)((char *)e - offsetof(struct control_end, arrives));
    struct control_end *to = other(from);
    struct control *c = from->node->above;
    if (to->node->busy_until_ns > now) {
        event_at(&c->events, e, to->node->busy_until_ns);
        return;
    }
    struct control_piece *p = from->first;
    control_note(c, (uint64_t)p->kind << 32 | (uint32_t)(from->wire - c->wires),
        (uint64_t)(from == &from->wire->end[1]), siphash(&known, p->bytes, p->len));
    c->octets += p->len;
    take(to, p, now);
    pop(from);
    set_arrival(from);
    if (to->node->speaker)
        event_by(&c->events, &to->node->work, to->node->busy_until_ns > now ? to->node->busy_until_ns : now);
    if (from->node->speaker && from->wire->way.delay_ns >= 0)
        event_by(&c->events, &from->node->work, now + from->wire->way.delay_ns); /* its window opens */
}

/* --- one end's turn -------------------------------------------------------------------------------------------------------- */

static void dial(struct control_end *x, int64_t now)
{
    x->connection++;
    x->dialing = true;
    send(x, CONTROL_SYN, x->connection, NULL, 0, now);
}

void control_wire_hang_up(struct control_end *x, int64_t now)
{
    if (x->open)
        send(x, CONTROL_CLOSE, x->connection, NULL, 0, now);
    x->open = x->dialing = false;
}

void control_wire_tend(struct control_end *x, int64_t now)
{
    struct bgp_speaker *s = x->node->speaker;
    struct buf *out = NULL;
    while (x->open && (out = bgp_peer_out(s, x->peer, x->side, now))->len && x->under_way < WINDOW) {
        uint32_t n = out->len < PIECE ? (uint32_t)out->len : PIECE;
        send(x, CONTROL_DATA, x->connection, out->data, n, now);
        control_spend(x->node, n);
        bgp_peer_written(s, x->peer, x->side, n, now);
    }
    if (x->open && out->len == 0 && bgp_peer_session(s, x->peer, x->side)->state < BGP_OPEN_SENT)
        control_wire_hang_up(x, now);
    if (x->side == BGP_CONNECTED && !x->open && !x->dialing && bgp_peer_wants_transport(s, x->peer, now))
        dial(x, now);
}

/* --- ways ------------------------------------------------------------------------------------------------------------------ */

/* Another way, or none: what is under way is sent again once both ends have noticed. */
void control_wire_way(struct control_wire *w, struct distance way, int64_t noticed_ns)
{
    bool same = way.delay_ns == w->way.delay_ns && way.rate_bps == w->way.rate_bps;
    w->way = way;
    for (int i = 0; !same && i < 2; i++) {
        struct control_end *x = &w->end[i];
        for (struct control_piece *p = x->first; p; p = p->next) {
            int64_t again = way.delay_ns < 0 ? INT64_MAX : noticed_ns + way.delay_ns;
            if (p->at_ns == INT64_MAX || way.delay_ns < 0 || p->at_ns < again)
                p->at_ns = again;
            if (again != INT64_MAX)
                x->last_ns = p->at_ns;
        }
        set_arrival(x);
    }
}

void control_wire_done(struct control_wire *w)
{
    for (int i = 0; i < 2; i++)
        while (w->end[i].first)
            pop(&w->end[i]);
}
