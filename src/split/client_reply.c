/* What the worker says: HELLO's answer, answers to requests, errors. */
#include "split/client_state.h"

#include "base/clock.h"
#include "os/dscp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void client_fail(struct client *c, const char *text)
{
    bool news = !c->failed || strcmp(c->text, text);
    c->failed = true;
    c->up = false;
    snprintf(c->text, sizeof(c->text), "%s", text);
    if (news)
        c->events.failed(c->user, c->text);
}

void client_tell_up(struct client *c)
{
    for (uint32_t k = c->first_line; k < 2; k++)
        if (c->lines[k].state != LINE_READY)
            return;
    c->up = true;
    c->told_down = c->failed = false;
    c->events.up(c->user);
}

/* A worker that has no record of us, or another one: what it knew is gone. */
static void check_known(struct client *c, struct line *l, const struct split_hello_reply *r, int64_t now)
{
    bool same = !memcmp(c->worker, r->instance, 16) && c->worker_client == r->client;
    bool lost = c->known && !same;
    memcpy(c->worker, r->instance, 16);
    c->worker_client = r->client;
    c->limits = *r;
    c->known = true;
    if (!lost)
        return;
    for (uint32_t k = c->first_line; k < 2; k++) {
        struct line *other = &c->lines[k];
        if (other != l && other->link)
            line_drop(c, other, now, "the worker was replaced");
        if (other != l)
            other->retry_ns = now;
    }
    c->events.lost(c->user, r);
}

void client_hello_reply(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    struct split_hello_reply r;
    if (l->state != LINE_HELLO || split_hello_reply_decode(&r, p, h->len)) {
        line_drop(c, l, now, "the worker's answer to HELLO is not as it should be");
        return;
    }
    check_known(c, l, &r, now);
    c->codec = r.codecs >> c->cfg.codec & 1 ? c->cfg.codec : SPLIT_F32;
    l->granted = r.window;
    l->used = 0;
    if (r.installed) {
        install_elsewhere(c, l, now);
        line_ready(c, l);
        client_tell_up(c);
        return;
    }
    struct error err = {""};
    l->state = LINE_INSTALLING;
    if (l->which != SPLIT_BULK)
        return;
    if (install_open(c, &err)) {
        client_fail(c, err.text);
        line_drop(c, l, now, err.text);
        return;
    }
    for (uint32_t k = 0; k < 2; k++)
        c->lines[k].heard_ns = clock_now_ns(); /* hashing took its time */
    c->install.next = r.part < c->install.total ? r.part : 0;
    (void)dscp_set(l->link->ops->fd(l->link), c->cfg.install_dscp); /* the connection is made anew afterwards */
    install_pump(c, l);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

static struct client_request **find(struct line *l, uint64_t seq)
{
    struct client_request **at = &l->first;
    while (*at && (*at)->seq != seq)
        at = &(*at)->next;
    return at;
}

/* The answered request, the caller's now. One of which a part is still to be sent (the worker may answer or refuse before
 * it has everything) goes on in the line without anybody waiting for it, and a copy is given. */
static struct client_request *claim(struct client *c, struct line *l, struct client_request **at)
{
    struct client_request *q = *at;
    if (q->sent && q->sent < q->frames.len) {
        struct client_request *copy = client_request_get(c);
        if (!copy)
            return NULL;
        struct buf frames = copy->frames;
        free(copy->x);
        *copy = *q;
        copy->frames = frames;
        copy->next = NULL;
        q->x = NULL;
        q->cap = 0;
        q->forgotten = true;
        return copy;
    }
    *at = q->next;
    if (l->last == &q->next)
        l->last = at;
    if (l->unsent == q)
        l->unsent = q->next;
    c->in_flight -= q->frames.len;
    q->next = NULL;
    return q;
}

static bool room(struct client_request *q, uint32_t n, uint32_t d)
{
    size_t need = (size_t)n * d;
    if (q->cap >= need)
        return true;
    free(q->x);
    q->x = malloc(need * sizeof(float));
    q->cap = q->x ? need : 0;
    return q->x;
}

/* True when all rows are there. False and *ret_bad: the answer does not fit the question. */
static bool take_rows(
    struct client *c, struct client_request *q, const struct split_header *h, const uint8_t *p, bool *ret_bad)
{
    struct split_rows r;
    uint32_t d = c->cfg.d;
    *ret_bad = true;
    if (split_rows_decode(&r, c->role, h, p))
        return false;
    if (r.n && (r.n != q->n || (r.row0 && r.row0 != q->n_got)))
        return false;
    if (r.n && (!room(q, q->n, d) || split_rows_unpack(&r, d, q->x + (size_t)r.row0 * d)))
        return false;
    *ret_bad = false;
    q->n_got = r.row0 + r.n_here;
    return !(h->flags & SPLIT_MORE);
}

static void handle_answer(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    struct client_request **at = find(l, h->seq);
    struct client_request *q = *at;
    bool bad = false;
    if (!q) /* not wanted any more, or answered twice */
        return;
    if (q->op != h->op || q->session != h->session) {
        line_drop(c, l, now, "the worker answered something else than was asked");
        return;
    }
    bool rows = h->op == SPLIT_FORWARD || h->op == SPLIT_BACKWARD;
    if (rows && !take_rows(c, q, h, p, &bad)) {
        if (bad)
            line_drop(c, l, now, "the worker's rows are not as they should be");
        return;
    }
    bool forgotten = q->forgotten;
    c->malformed = 0;
    q = forgotten && q->sent < q->frames.len ? NULL : claim(c, l, at);
    if (forgotten)
        client_request_put(c, q);
    else if (q)
        c->events.answered(c->user, q, h, p);
}

static void handle_ping(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    struct split_ping g;
    if (!(h->flags & SPLIT_REPLY) || split_ping_decode(&g, p, h->len, true))
        return;
    int64_t rtt = now - (int64_t)g.token;
    if (rtt >= 0 && (l->which == SPLIT_INTERACTIVE || c->n_lines == 1))
        c->counts.rtt_ms = (double)rtt / NS_PER_MS;
    c->events.busy(c->user, g.busy_s);
}

static bool lasting(enum split_error_code code)
{
    return code == SPLIT_ERR_WRONG_CUT || code == SPLIT_ERR_WRONG_STEP || code == SPLIT_ERR_NOT_INSTALLED ||
           code == SPLIT_ERR_VERSION || code == SPLIT_ERR_REVOKED || code == SPLIT_ERR_SHAPE;
}

static void handle_error(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    struct split_error e;
    if (split_error_decode(&e, p, h->len)) {
        line_drop(c, l, now, "the worker sent an error that is not as it should be");
        return;
    }
    if (!(h->flags & SPLIT_REPLY)) {
        char text[640];
        snprintf(text, sizeof(text), "%s: %s", split_error_name(e.code), e.text);
        if (lasting(e.code) || (e.code == SPLIT_ERR_MALFORMED && ++c->malformed >= 3))
            client_fail(c, e.text);
        line_drop(c, l, now, text);
        return;
    }
    if (install_refused(c, l, h, &e, now))
        return;
    struct client_request **at = find(l, h->seq), *q = *at;
    if (!q || (q->forgotten && q->sent < q->frames.len))
        return;
    bool forgotten = q->forgotten;
    q = claim(c, l, at);
    if (forgotten)
        client_request_put(c, q);
    else if (q)
        c->events.refused(c->user, q, &e);
}

void line_frame(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    uint64_t granted;
    switch (h->op) {
    case SPLIT_HELLO:
        client_hello_reply(c, l, h, p, now);
        break;
    case SPLIT_ERROR:
        handle_error(c, l, h, p, now);
        break;
    case SPLIT_PING:
        handle_ping(c, l, h, p, now);
        break;
    case SPLIT_WINDOW:
        if (!split_u64_decode(&granted, p, h->len) && granted > l->granted)
            l->granted = granted;
        line_pump(c, l);
        break;
    case SPLIT_GOAWAY:
        if (l->state == LINE_READY || l->state == LINE_INSTALLING)
            l->state = LINE_LEAVING;
        break;
    case SPLIT_INSTALL:
        install_reply(c, l, h, p, now);
        break;
    default:
        if (h->flags & SPLIT_REPLY)
            handle_answer(c, l, h, p, now);
        else
            line_drop(c, l, now, "the worker asked for something");
    }
}
