/* A connection of the client: its link, its bytes, its window, its life and death. */
#include "split/client_state.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TIMES_REVOKED 3
#define MOST_OUT      (4u << 20) /* bytes waiting for the link before requests are held back */

static int64_t retry_after(struct client *c, const struct line *l)
{
    int64_t wait = c->cfg.retry_least_ns;
    for (uint32_t k = 1; k < l->attempts && wait < c->cfg.retry_most_ns; k++)
        wait *= 2;
    wait = wait < c->cfg.retry_most_ns ? wait : c->cfg.retry_most_ns;
    if (c->failed)
        wait = c->cfg.retry_most_ns * 5; /* somebody has to change something first */
    return wait / 2 + (int64_t)((double)wait * rng_uniform(c->jitter, ++c->counts.reconnects)) / 2;
}

void line_drop(struct client *c, struct line *l, int64_t now, const char *why)
{
    char text[512];
    snprintf(text, sizeof(text), "%s: %s", c->peer, why);
    if (l->link)
        l->link->ops->free(l->link);
    l->link = NULL;
    l->state = LINE_IDLE;
    l->broken = false;
    l->in_len = l->out.len = 0;
    l->attempts++;
    l->retry_ns = now + retry_after(c, l);
    for (struct client_request **at = &l->first; *at;) { /* what nobody waits for any more need not be sent again */
        struct client_request *q = *at;
        q->sent = 0;
        if (!q->forgotten) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        if (l->last == &q->next)
            l->last = at;
        c->in_flight -= q->frames.len;
        client_request_put(c, q);
    }
    l->unsent = l->first;
    c->up = false;
    if (!c->told_down && !c->failed && (c->known || l->attempts == 3)) {
        c->told_down = true;
        c->events.down(c->user, text);
    }
}

static void put_hello(struct client *c, struct line *l)
{
    uint8_t payload[128];
    struct split_hello e = c->hello;
    e.which = l->which;
    struct split_header h = {.op = SPLIT_HELLO, .seq = client_next_seq(c)};
    h.len = (uint32_t)split_hello_encode(payload, &e);
    line_put(c, l, &h, payload);
}

void line_open(struct client *c, struct line *l, int64_t now)
{
    struct error err = {""};
    pthread_mutex_unlock(&c->lock);
    struct link *link = NULL;
    int rc = c->cfg.connect(c->cfg.user, l->which, &link, &err);
    pthread_mutex_lock(&c->lock);
    now = clock_now_ns();
    if (rc) {
        line_drop(c, l, now, err.text[0] ? err.text : strerror(-rc));
        return;
    }
    l->link = link;
    l->state = LINE_HELLO;
    l->since_ns = l->heard_ns = l->pinged_ns = now;
    put_hello(c, l);
}

/* --- out ------------------------------------------------------------------------------------------------------------- */

void line_flush(struct client *c, struct line *l)
{
    size_t at = 0;
    while (!l->broken && at < l->out.len) {
        ssize_t n = l->link->ops->send(l->link, l->out.data + at, l->out.len - at);
        if (n == -EAGAIN)
            break;
        if (n <= 0)
            l->broken = true;
        else
            at += (size_t)n;
    }
    c->counts.bytes_up += at;
    buf_consume(&l->out, at);
    if (l->broken || l->out.len)
        client_wake(c);
}

/* Bytes that must go; straight to the link when nothing waits before them. */
static void put_bytes(struct client *c, struct line *l, const uint8_t *bytes, size_t len)
{
    if (!l->out.len && !l->broken) {
        ssize_t n = l->link->ops->send(l->link, bytes, len);
        if (n > 0) {
            c->counts.bytes_up += (size_t)n;
            bytes += n;
            len -= (size_t)n;
        } else if (n != -EAGAIN) {
            l->broken = true;
        }
        if (len || l->broken)
            client_wake(c);
    }
    if (len && buf_append(&l->out, bytes, len)) {
        l->broken = true;
        client_wake(c);
    }
}

void line_put(struct client *c, struct line *l, const struct split_header *h, const uint8_t *payload)
{
    uint8_t frame[SPLIT_HEADER + 256];
    if (!l->link || h->len > 256)
        return;
    split_header_encode(frame, h);
    if (h->len)
        memcpy(frame + SPLIT_HEADER, payload, h->len);
    put_bytes(c, l, frame, SPLIT_HEADER + h->len);
}

/* How many bytes of whole frames, from q->sent on, the window has room for; they are counted. */
static size_t frames_allowed(struct line *l, const struct client_request *q)
{
    size_t at = q->sent;
    bool counted = q->op == SPLIT_FORWARD || q->op == SPLIT_BACKWARD;
    while (at < q->frames.len) {
        uint32_t len = bytes_get_u32(q->frames.data + at);
        if (counted && l->used + len > l->granted)
            break;
        l->used += counted ? len : 0;
        at += SPLIT_HEADER + len;
    }
    return at - q->sent;
}

static void remove_request(struct client *c, struct line *l, struct client_request *q)
{
    struct client_request **at = &l->first;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    if (l->last == &q->next)
        l->last = at;
    c->in_flight -= q->frames.len;
    client_request_put(c, q);
}

void line_pump(struct client *c, struct line *l)
{
    if (l->state == LINE_INSTALLING && l->which == SPLIT_BULK)
        install_pump(c, l);
    while (l->unsent && !l->broken && l->out.len < MOST_OUT) {
        struct client_request *q = l->unsent;
        if (l->state != LINE_READY && !(l->state == LINE_LEAVING && q->sent))
            return;
        size_t n = frames_allowed(l, q);
        if (!n && q->sent < q->frames.len)
            return;
        put_bytes(c, l, q->frames.data + q->sent, n);
        q->sent += n;
        if (q->sent < q->frames.len)
            continue;
        l->unsent = q->next;
        if (q->forgotten)
            remove_request(c, l, q);
    }
}

/* After HELLO: the worker knows which of these it has done already. */
void line_ready(struct client *c, struct line *l)
{
    l->state = LINE_READY;
    l->attempts = l->n_revoked = 0;
    for (struct client_request *q = l->first; q; q = q->next)
        q->sent = 0;
    l->unsent = l->first;
    l->used = 0;
    line_pump(c, l);
}

/* --- in -------------------------------------------------------------------------------------------------------------- */

static bool take_frames(struct client *c, struct line *l, int64_t now)
{
    size_t at = 0;
    const struct link *link = l->link;
    while (l->link == link && !l->broken) {
        struct split_header h;
        int rc = split_header_decode(&h, l->in + at, l->in_len - at);
        if (rc == -EPROTO) {
            line_drop(c, l, now, "the worker sent bytes that are no frame");
            return false;
        }
        if (rc || l->in_len - at < SPLIT_HEADER + h.len)
            break;
        line_frame(c, l, &h, l->in + at + SPLIT_HEADER, now);
        at += SPLIT_HEADER + h.len;
    }
    if (l->link != link)
        return false;
    memmove(l->in, l->in + at, l->in_len - at);
    l->in_len -= at;
    return true;
}

/* A revocation that came while there was no connection shows in handshakes only, by an alert that anybody on the way could
 * forge: so it must be said several times in a row before running work is given up for it. */
static void note_revoked(struct client *c, struct line *l, ssize_t rc)
{
    l->n_revoked = rc == -EKEYREVOKED ? l->n_revoked + 1 : 0;
    if (l->n_revoked >= TIMES_REVOKED)
        client_fail(c, l->link->ops->why(l->link));
}

void line_read(struct client *c, struct line *l, int64_t now)
{
    for (int rounds = 0; rounds < 16; rounds++) {
        size_t cap = LINE_IN - l->in_len;
        ssize_t n = l->link->ops->recv(l->link, l->in + l->in_len, cap);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            note_revoked(c, l, n);
            line_drop(c, l, now, n ? l->link->ops->why(l->link) : "the worker closed the connection");
            return;
        }
        l->heard_ns = now;
        l->in_len += (size_t)n;
        c->counts.bytes_down += (uint64_t)n;
        if (!take_frames(c, l, now) || ((size_t)n < cap && !l->link->ops->pending(l->link)))
            return;
    }
}

/* --- time ------------------------------------------------------------------------------------------------------------- */

static void ping(struct client *c, struct line *l, int64_t now)
{
    uint8_t payload[8];
    struct split_ping g = {.token = (uint64_t)now};
    struct split_header h = {.op = SPLIT_PING};
    h.len = (uint32_t)split_ping_encode(payload, &g, false);
    l->pinged_ns = now;
    line_put(c, l, &h, payload);
}

void line_tick(struct client *c, struct line *l, int64_t now)
{
    if (l->broken && l->link)
        line_drop(c, l, now, l->link->ops->why(l->link));
    if (l->state == LINE_IDLE) {
        if (now >= l->retry_ns)
            line_open(c, l, now);
        return;
    }
    if (l->state == LINE_HELLO) {
        if (now - l->since_ns > c->cfg.connect_ns)
            line_drop(c, l, now, "no answer to HELLO in time");
        return;
    }
    if (now - l->heard_ns > c->cfg.dead_ns) {
        line_drop(c, l, now, "the worker is silent");
    } else if (l->state == LINE_LEAVING && (!l->first || !l->first->sent)) {
        l->attempts = 0;
        line_drop(c, l, now, "the worker is being stopped");
    } else if (now - l->pinged_ns >= c->cfg.ping_ns) {
        ping(c, l, now);
    }
}
