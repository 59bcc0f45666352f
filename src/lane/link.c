/* Sessions between neighbours: who is there, and a key that only the two of us have.
 *
 * A session is a pair of epochs, one of each side, each a random number with an X25519 key pair of its own. HELLO, signed
 * with the router's identity, carries {epoch, key, the peer's epoch when it answers one}. The rule that keeps old frames
 * from doing anything: a session is formed only on a HELLO that echoes an epoch of ours which no session has used yet. Nobody
 * can have signed that before we drew it. So:
 *
 *   down            A: HELLO{a, 0} →                  draws a (and says so now and then)
 *                                    ← HELLO{b, a}    B has formed nothing yet: it only answers
 *   a is echoed     A forms (a, b);  HELLO{a, b} →    B forms (a, b): b is echoed
 *   first sealed frame: up.
 *
 * A HELLO of an unknown epoch while a session stands (the peer may have restarted, or an old frame came by) changes
 * nothing: we draw a fresh epoch and answer with it; only the echo of that one ends the old session. A HELLO that echoes
 * an epoch which is not ours is ignored. So replays cost us an answer and nobody a session.
 *
 * Lanes live inside a session: their indices, numbers and credits mean nothing in another. */
#include "lane/lane_inner.h"

#include "crypto/hkdf.h"

#include <math.h>

#define VERIFY_NS     (2 * NS_PER_MS) /* a signature each, in the long run: they cost 100 µs */
#define VERIFY_BURST  (16 * NS_PER_MS)
#define HELLO_BACKOFF 32
#define RTT_GUESS_NS  NS_PER_MS
#define RTT_MOST_NS   (10 * NS_PER_S)

/* --- time ---------------------------------------------------------------------------------------------------- */

int64_t link_hello_ns(const struct lane_node *n)
{
    return n->config.hello_ns;
}

/* Where control frames are known to be lost, so many in a row that it happens once in a thousand million. */
int64_t link_silence_ns(const struct lane_node *n)
{
    double p = n->config.control_loss;
    int64_t long_enough = p > 0.01 ? (int64_t)ceil(log(1e-9) / log(p)) * n->config.hello_ns : 0;
    return long_enough > n->config.silence_ns ? long_enough : n->config.silence_ns;
}

int64_t link_rtt(const struct lane_link *l)
{
    if (l->port->config.rtt_ns)
        return l->port->config.rtt_ns;
    return l->rtt_ns ? l->rtt_ns : RTT_GUESS_NS;
}

int64_t link_tell_ns(const struct lane_link *l)
{
    int64_t t = link_rtt(l) / 8;
    return t < 20 * NS_PER_US ? 20 * NS_PER_US : t > NS_PER_MS ? NS_PER_MS : t;
}

int64_t link_again_ns(const struct lane_link *l)
{
    return link_rtt(l) * 3 / 2 + NS_PER_MS;
}

static void rtt_sample(struct lane_link *l, int64_t echo_ns, int64_t now)
{
    int64_t rtt = now - echo_ns;
    if (!echo_ns || rtt < 0 || rtt > RTT_MOST_NS)
        return;
    rtt = rtt < NS_PER_US ? NS_PER_US : rtt;
    l->rtt_ns = l->rtt_ns ? l->rtt_ns + (rtt - l->rtt_ns) / 8 : rtt;
}

static void peer_clock(struct lane_link *l, int64_t sent_ns, int64_t now)
{
    if (l->peer_sent_at && sent_ns <= l->peer_sent_ns)
        return; /* overtaken */
    l->peer_sent_ns = sent_ns;
    l->peer_sent_at = now;
}

int64_t link_echo(const struct lane_link *l, int64_t now)
{
    return l->peer_sent_at ? l->peer_sent_ns + (now - l->peer_sent_at) : 0;
}

void link_credit_clock(struct lane_link *l, int64_t sent_ns, int64_t echo_ns, int64_t now)
{
    peer_clock(l, sent_ns, now);
    rtt_sample(l, echo_ns, now);
}

void link_arm(struct lane_link *l, int64_t at)
{
    if (!wheel_armed(&l->timer) || l->timer.at_ns > at)
        wheel_arm(&l->node->link_timers, &l->timer, at);
}

/* --- HELLO out ----------------------------------------------------------------------------------------------- */

/* The low bits of our epoch number our side's data packets: never those of the session before. */
static void fresh_make(struct lane_link *l)
{
    struct lane_node *n = l->node;
    if (l->fresh.epoch)
        return;
    uint64_t e, words[4];
    do
        e = n->above.random(n->above.user);
    while (!e || (uint16_t)e == (uint16_t)l->session.own_epoch || (uint16_t)e == l->epoch_before);
    for (int i = 0; i < 4; i++)
        words[i] = n->above.random(n->above.user);
    memcpy(l->fresh.private, words, 32);
    explicit_bzero(words, sizeof words);
    if (x25519_public(l->fresh.public, l->fresh.private) == 0)
        l->fresh.epoch = e;
}

static void hello_send(struct lane_link *l, uint64_t epoch, const uint8_t public[32], uint64_t echo, int64_t now)
{
    struct frame f;
    if (!epoch || !frame_begin(&f, l, LANE_HELLO))
        return;
    struct lane_hello h = {
        .router = l->node->config.router_id,
        .boot = l->node->boot,
        .echo = echo,
        .port = l->port->index,
        .cell = PACKET_CELL,
        .mtu = l->port->config.mtu,
        .window = l->port->config.link_window,
        .sent_ns = now,
        .echo_ns = link_echo(l, now),
    };
    memcpy(h.mac, l->port->config.mac, 6);
    memcpy(h.identity, ed25519_public(l->node->identity), 32);
    memcpy(h.key, public, 32);
    lane_hello_encode(f.body, &h);
    frame_send_hello(&f, epoch, LANE_HELLO_SIZE, now);
}

static void hello_fresh(struct lane_link *l, uint64_t echo, int64_t now)
{
    fresh_make(l);
    hello_send(l, l->fresh.epoch, l->fresh.public, echo, now);
}

static void hello_again(struct lane_link *l, int64_t now)
{
    hello_send(l, l->session.own_epoch, l->session.public, l->session.peer_epoch, now);
}

void link_start(struct lane_link *l, int64_t now)
{
    l->state = LINK_DOWN;
    l->hello_wait = link_hello_ns(l->node);
    l->hello_at = now;
    link_arm(l, now);
}

void link_timer(struct lane_link *l, int64_t now)
{
    int64_t hello = link_hello_ns(l->node), silence = link_silence_ns(l->node);
    if (l->state == LINK_UP && now - l->heard_ns >= silence)
        link_lost(l, now);
    if (l->state == LINK_FORMED && now - l->session.formed_ns >= 10 * silence)
        link_lost(l, now);
    if (l->state == LINK_UP) {
        if (now - l->told_ns >= hello)
            credits_flush(l, now, true);
        int64_t alive = l->told_ns + hello, dead = l->heard_ns + silence;
        link_arm(l, alive <= now ? now + hello : alive < dead ? alive : dead);
        return;
    }
    if (now < l->hello_at) {
        link_arm(l, l->hello_at);
        return;
    }
    if (l->state == LINK_FORMED) {
        hello_again(l, now);
        credits_flush(l, now, true);
        l->hello_at = now + hello;
    } else {
        hello_fresh(l, 0, now);
        l->hello_at = now + l->hello_wait;
        l->hello_wait = l->hello_wait * 2 > HELLO_BACKOFF * hello ? HELLO_BACKOFF * hello : l->hello_wait * 2;
    }
    link_arm(l, l->hello_at);
}

/* --- HELLO in ------------------------------------------------------------------------------------------------ */

static bool trusted(const struct lane_node *n, const uint8_t key[32])
{
    for (unsigned i = 0; i < n->config.n_trusted; i++)
        if (memcmp(n->config.trusted[i], key, 32) == 0)
            return true;
    return !n->config.trusted;
}

/* Signatures are costly, and whoever can send here can send many. Answers to us have an allowance of their own: only who
 * has seen our epoch can use it up. */
static bool verify_allowed(struct lane_link *l, bool answer, int64_t now)
{
    int64_t *at = &l->verify_at[answer];
    if (*at > now + VERIFY_BURST)
        return false;
    *at = (*at > now ? *at : now) + VERIFY_NS;
    l->hellos_verified++;
    return true;
}

/* 0, or enum lane_miscabled + 1. */
static int wrong_peer(const struct lane_link *l, const struct lane_hello *h)
{
    const struct lane_node *n = l->node;
    uint64_t expected = n->config.expected_peer[l->port->index];
    if (h->router == n->config.router_id)
        return LANE_MISCABLED_SELF;
    if (expected && expected != h->router)
        return LANE_MISCABLED_ROUTER;
    if (!trusted(n, h->identity))
        return LANE_MISCABLED_KEY;
    return h->cell != PACKET_CELL ? LANE_MISCABLED_CELL : 0;
}

static void alarm_miscabled(struct lane_link *l, uint64_t router, int what, int64_t now)
{
    l->hellos_refused++;
    if (l->miscabled == router)
        return;
    l->miscabled = router;
    event_send(l->node, (struct lane_event){
                            .kind = LANE_EVENT_MISCABLED,
                            .at_ns = now,
                            .port = l->port->index,
                            .detail = (uint32_t)what,
                            .peer = router,
                        });
}

/* Nobody has signed that, so a link that stands does not care. */
void link_foreign(struct lane_link *l, int version, int64_t now)
{
    if (version < 0 || version == LANE_FRAME_VERSION || l->session.id || l->foreign)
        return;
    l->foreign = true;
    event_send(l->node, (struct lane_event){
                            .kind = LANE_EVENT_VERSION,
                            .at_ns = now,
                            .port = l->port->index,
                            .detail = (uint32_t)version,
                        });
}

/* Keys for either direction and the session's name: the same at both ends, whoever asks. */
static int session_keys(struct lane_link *l, const struct lane_header *hdr, const struct lane_hello *h)
{
    const struct lane_node *n = l->node;
    struct end {
        uint64_t router, epoch;
        uint16_t port;
        const uint8_t *identity;
    } me = {n->config.router_id, l->fresh.epoch, l->port->index, ed25519_public(n->identity)},
      peer = {h->router, hdr->epoch, h->port, h->identity};
    const struct end *low = me.router < peer.router ? &me : &peer, *high = low == &me ? &peer : &me;
    uint8_t secret[32], salt[16], info[16 + 2 * 42], keys[2 * SEAL_KEY + 8], *p = info;
    if (x25519_shared(secret, l->fresh.private, h->key) != 0)
        return -1;
    bytes_put_be64(salt, low->epoch);
    bytes_put_be64(salt + 8, high->epoch);
    memcpy(p, "meridian lanes 1", 16);
    for (p += 16; p < info + sizeof info; p += 42) {
        const struct end *e = p == info + 16 ? low : high;
        bytes_put_be64(p, e->router);
        bytes_put_be16(p + 8, e->port);
        memcpy(p + 10, e->identity, 32);
    }
    int rc = hkdf_sha256(keys, sizeof keys, secret, 32, salt, 16, info, sizeof info);
    bool i_am_low = low == &me;
    if (!rc)
        rc = seal_key(l->out, keys + (i_am_low ? 0 : SEAL_KEY));
    if (!rc)
        rc = seal_key(l->in, keys + (i_am_low ? SEAL_KEY : 0));
    l->session.id = bytes_get_be64(keys + 2 * SEAL_KEY) | 1;
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(keys, sizeof keys);
    return rc;
}

/* Packets that have waited for the link were framed when its other end was not known yet, or another one. */
static void readdress(struct lane_link *l, const uint8_t mac[6])
{
    struct lane_node *n = l->node;
    struct port *p = l->port;
    if (memcmp(p->peer_mac, mac, 6) == 0)
        return;
    memcpy(p->peer_mac, mac, 6);
    for (uint32_t i = 0; i < n->lanes; i++)
        if (n->tx_inner[i].state != TX_FREE && n->tx[i].wire == &l->wire)
            queue_readdress(&n->tx[i].queue, mac);
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        queue_readdress(&p->lossy[c], mac);
}

static void session_form(struct lane_link *l, const struct lane_header *hdr, const struct lane_hello *h, int64_t now)
{
    if (l->session.id)
        link_lost(l, now);
    if (l->peer.router != h->router || l->peer.boot != h->boot) {
        l->gap_first = l->gap_next = l->gap_told = l->losses_done = 0; /* it knows nothing of earlier reports */
        l->rtt_ns = 0;
    }
    l->session =
        (struct lane_session){.own_epoch = l->fresh.epoch, .peer_epoch = hdr->epoch, .next_seq = 1, .formed_ns = now};
    memcpy(l->session.public, l->fresh.public, 32);
    if (session_keys(l, hdr, h) != 0) {
        l->session.id = 0; /* a key that no honest peer has */
        l->hellos_refused++;
        return;
    }
    explicit_bzero(&l->fresh, sizeof l->fresh);
    l->peer =
        (struct lane_peer){.router = h->router, .boot = h->boot, .port = h->port, .window = h->window, .mtu = h->mtu};
    memcpy(l->peer.identity, h->identity, 32);
    readdress(l, h->mac);
    l->state = LINK_FORMED;
    l->heard_ns = now;
    l->miscabled = 0;
    l->foreign = false;
    l->hello_at = now;
    link_timer(l, now);
}

static bool echo_is_ours(const struct lane_link *l, uint64_t echo)
{
    return !echo || (l->fresh.epoch && echo == l->fresh.epoch) || (l->session.id && echo == l->session.own_epoch);
}

void link_hello(struct lane_link *l, const struct lane_header *hdr, const uint8_t *bytes, int64_t now)
{
    struct lane_hello h;
    if (lane_hello_decode(&h, bytes + LANE_FRAME_HEADER, hdr->length) != 0) {
        l->frames_bad++;
        return;
    }
    if (!echo_is_ours(l, h.echo) || !verify_allowed(l, h.echo, now) || frame_hello_verify(bytes, &h) != 0) {
        l->hellos_refused++;
        return;
    }
    int wrong = wrong_peer(l, &h);
    if (wrong) {
        alarm_miscabled(l, h.router, wrong, now);
        return;
    }
    bool in_session = l->session.id && hdr->epoch == l->session.peer_epoch;
    bool fresh = l->fresh.epoch && h.echo == l->fresh.epoch;
    if (in_session || fresh) {
        link_credit_clock(l, h.sent_ns, h.echo_ns, now);
    }
    if (in_session && h.echo != l->session.own_epoch)
        hello_again(l, now); /* it does not know ours yet */
    else if (in_session)
        credits_flush(l, now, true); /* it waits for something sealed */
    else if (fresh)
        session_form(l, hdr, &h, now);
    else
        hello_fresh(l, hdr->epoch, now);
}

/* --- up and down --------------------------------------------------------------------------------------------- */

static void each_tx(struct lane_link *l, void (*f)(struct lane_tx *, int64_t), int64_t now)
{
    struct lane_node *n = l->node;
    for (uint32_t i = 0; i < n->lanes; i++)
        if (n->tx_inner[i].state != TX_FREE && n->tx[i].wire == &l->wire)
            f(&n->tx[i], now);
}

void link_confirm(struct lane_link *l, int64_t now)
{
    if (l->state != LINK_FORMED)
        return;
    l->state = LINK_UP;
    l->port->up = true;
    l->wire.up = true;
    l->wire.windowed = l->peer.window;
    l->wire.window = (struct credit_sender){.limit = l->peer.window};
    event_send(l->node, (struct lane_event){
                            .kind = LANE_EVENT_LINK_UP,
                            .at_ns = now,
                            .port = l->port->index,
                            .detail = (l->node->config.trusted ? 0 : LANE_UP_UNVERIFIED) |
                                      (l->peer.mtu != l->port->config.mtu ? LANE_UP_MTU_DIFFERS : 0),
                            .peer = l->peer.router,
                        });
    each_tx(l, tx_link_up, now);
    link_arm(l, now);
}

static void tx_lost(struct lane_tx *t, int64_t now)
{
    tx_cut(t, LANE_REFUSED_CUT, tx_link(t)->node->config.router_id, false, now);
}

void link_lost(struct lane_link *l, int64_t now)
{
    bool was_up = l->state == LINK_UP;
    l->wire.up = l->port->up = false;
    l->state = LINK_DOWN;
    if (l->session.id) {
        each_tx(l, tx_lost, now);
        for (struct lane_rx *r = l->lanes, *next; r; r = next) {
            next = r->inner->on_port;
            rx_session_over(r, now);
        }
        seal_key(l->out, NULL);
        seal_key(l->in, NULL);
        l->epoch_before = (uint16_t)l->session.own_epoch;
        memset(&l->session, 0, sizeof l->session);
    }
    l->accounted = l->window_told = 0;
    l->peer_sent_at = 0;
    if (was_up)
        event_send(l->node, (struct lane_event){
                                .kind = LANE_EVENT_LINK_DOWN,
                                .at_ns = now,
                                .port = l->port->index,
                                .peer = l->peer.router,
                            });
    link_start(l, now);
}
