/* A connection of the service as bytes: frames in, frames out, the window. */
#include "service_state.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "wire/vec_codec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_WITHIN_NS (2 * NS_PER_S)
#define MOST_OUT        (256u << 20) /* beyond this a peer does not take its answers */

struct conn *conn_create(struct link *l, const char *peer, int64_t now_ns)
{
    struct conn *c = calloc(1, sizeof(*c));
    if (!c || !(c->in = malloc(CONN_IN))) {
        free(c);
        return NULL;
    }
    c->link = l;
    c->born_ns = c->heard_ns = now_ns;
    snprintf(c->peer, sizeof(c->peer), "%s", peer);
    return c;
}

void conn_free(struct conn *c)
{
    if (!c)
        return;
    c->link->ops->free(c->link);
    explicit_bzero(c->in, CONN_IN);
    free(c->in);
    if (c->out.data)
        explicit_bzero(c->out.data, c->out.cap);
    buf_done(&c->out);
    free(c);
}

struct conn *client_conn(struct client *c, enum split_which which)
{
    struct conn *k = c ? c->conns[which] : NULL;
    return k && !k->closing && !k->dead ? k : NULL;
}

/* --- out ---------------------------------------------------------------------------------------------------- */

void conn_flush(struct service *s, struct conn *c)
{
    while (!c->dead && c->out_sent < c->out.len) {
        ssize_t n = c->link->ops->send(c->link, c->out.data + c->out_sent, c->out.len - c->out_sent);
        if (n == -EAGAIN) {
            service_wake(s); /* the I/O thread polls for room from now on */
            return;
        }
        if (n <= 0) {
            c->dead = true;
            service_wake(s);
            return;
        }
        c->out_sent += (size_t)n;
        s->stats.bytes_out += (uint64_t)n;
    }
    c->out.len = c->out_sent = 0;
}

/* What was sent goes when it is the larger part: not byte by byte. */
static void out_compact(struct conn *c)
{
    if (c->out_sent > 65536 && c->out_sent > c->out.len / 2) {
        buf_consume(&c->out, c->out_sent);
        c->out_sent = 0;
    }
}

/* Room for a frame with at most `len` bytes of payload; NULL: the connection ends. */
static uint8_t *frame_start(struct service *s, struct conn *c, size_t len)
{
    out_compact(c);
    if (c->dead)
        return NULL;
    if (c->out.len > MOST_OUT || buf_reserve(&c->out, SPLIT_HEADER + len)) {
        c->dead = true;
        service_wake(s);
        return NULL;
    }
    return c->out.data + c->out.len;
}

static void frame_end(struct conn *c, struct split_header h, size_t len)
{
    h.len = (uint32_t)len;
    split_header_encode(c->out.data + c->out.len, &h);
    c->out.len += SPLIT_HEADER + len;
}

void conn_send(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *payload)
{
    uint8_t *to = frame_start(s, c, h->len);
    if (!to)
        return;
    if (h->len)
        memcpy(to + SPLIT_HEADER, payload, h->len);
    frame_end(c, *h, h->len);
    conn_flush(s, c);
}

static struct split_header reply_to(const struct split_header *h)
{
    return (struct split_header){
        .op = h->op, .flags = SPLIT_REPLY, .session = h->session, .epoch = h->epoch, .seq = h->seq};
}

void conn_reply(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *payload, size_t len)
{
    if (!c)
        return;
    struct split_header r = reply_to(h);
    r.len = (uint32_t)len;
    conn_send(s, c, &r, payload);
}

/* The codec of answers: that of the request, which the edge chose among those agreed. */
void conn_reply_rows(struct service *s, struct conn *c, enum split_role role, const struct split_header *h,
    struct split_rows r, const float *x)
{
    if (!c)
        return;
    struct split_header head = reply_to(h);
    uint32_t d = c->client->hello.d;
    size_t most = vec_row_size(VEC_F32, d), start = role == SPLIT_SERVE ? SPLIT_ROWS_SERVE : SPLIT_ROWS_TRAIN;
    uint32_t per_frame = (uint32_t)((SPLIT_MAX_PAYLOAD - start) / most);
    r.n_samples = 0;
    r.answered = 0;
    r.urgent = r.only_eval = r.want_grad = false;
    uint32_t row = 0;
    do {
        r.row0 = row;
        r.n_here = r.n - row < per_frame ? r.n - row : per_frame;
        uint8_t *to = frame_start(s, c, start + r.n_here * most);
        if (!to)
            return;
        size_t len = split_rows_encode_start(to + SPLIT_HEADER, role, &r, NULL);
        for (uint32_t i = 0; i < r.n_here; i++)
            len += vec_row_encode(r.codec, x + (size_t)(row + i) * d, d, to + SPLIT_HEADER + len);
        row += r.n_here;
        head.flags = (uint8_t)(SPLIT_REPLY | (row < r.n ? SPLIT_MORE : 0));
        frame_end(c, head, len);
    } while (row < r.n);
    conn_flush(s, c);
}

static void log_fault(struct service *s, const struct conn *c, unsigned code, const char *text)
{
    unsigned skipped = 0;
    if (!log_limit_pass(&s->limit, 5, &skipped))
        return;
    if (skipped)
        log_warn("%u more refusals were not logged", skipped);
    log_warn("%s: refused (%s): %s", c->peer, split_error_name(code), text);
}

static void send_error(struct service *s, struct conn *c, const struct split_header *h, unsigned code, const char *text)
{
    uint8_t payload[4 + SPLIT_MAX_TEXT];
    struct split_header e = {.op = SPLIT_ERROR, .flags = h ? SPLIT_REPLY : 0};
    if (h)
        e.session = h->session, e.epoch = h->epoch, e.seq = h->seq;
    e.len = (uint32_t)split_error_encode(payload, code, text);
    conn_send(s, c, &e, payload);
}

void conn_refuse(struct service *s, struct conn *c, const struct split_header *h, unsigned code, const char *fmt, ...)
{
    char text[SPLIT_MAX_TEXT + 1];
    va_list args;
    if (!c)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    send_error(s, c, h, code, text);
}

void conn_fail(struct service *s, struct conn *c, unsigned code, const char *fmt, ...)
{
    char text[SPLIT_MAX_TEXT + 1];
    va_list args;
    if (c->closing || c->dead)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_fault(s, c, code, text);
    s->stats.refused_links++;
    send_error(s, c, NULL, code, text);
    c->closing = true;
    c->close_by_ns = clock_now_ns() + CLOSE_WITHIN_NS;
    service_wake(s);
}

/* Not for every frame: a quarter of the window at once. */
void conn_credit(struct service *s, struct conn *c, uint64_t bytes)
{
    if (!c)
        return;
    c->owed += bytes;
    if (c->owed < s->cfg.window / 4)
        return;
    uint8_t payload[8];
    c->granted += c->owed;
    c->owed = 0;
    struct split_header h = {.len = 8, .op = SPLIT_WINDOW};
    split_u64_encode(payload, c->granted);
    conn_send(s, c, &h, payload);
}

/* --- in ------------------------------------------------------------------------------------------------------- */

static void handle_ping(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct split_ping g;
    uint8_t payload[16];
    if (h->flags & SPLIT_REPLY)
        return; /* it answers what was not asked: harmless */
    if (split_ping_decode(&g, p, h->len, false)) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "PING with %u bytes", h->len);
        return;
    }
    g.busy_s = (double)s->busy_ns / NS_PER_S;
    conn_reply(s, c, h, payload, split_ping_encode(payload, &g, true));
}

/* True: within the window. */
static bool count_window(struct service *s, struct conn *c, const struct split_header *h)
{
    if (h->op != SPLIT_FORWARD && h->op != SPLIT_BACKWARD && h->op != SPLIT_INSTALL)
        return true;
    c->received += h->len;
    if (c->received <= c->granted)
        return true;
    conn_fail(s, c, SPLIT_ERR_MALFORMED, "more was sent than the window allows");
    return false;
}

static void handle(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    bool rows = h->op == SPLIT_FORWARD || h->op == SPLIT_BACKWARD;
    if (c->rows.active && rows &&
        (h->seq != c->rows.h.seq || h->op != c->rows.h.op || h->session != c->rows.h.session)) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "rows of a request before those of the last one had ended");
        return;
    }
    if (h->op == SPLIT_PING) {
        handle_ping(s, c, h, p);
    } else if (h->op == SPLIT_HELLO) {
        service_hello(s, c, h, p);
    } else if (!c->client) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "HELLO must come first");
    } else if (h->op == SPLIT_GOAWAY) {
        service_goodbye(s, c);
    } else if (h->flags & SPLIT_REPLY || h->op == SPLIT_ERROR || h->op == SPLIT_WINDOW) {
        /* The worker asks nothing; an edge that reports an error closes the connection itself. */
        if (h->flags & SPLIT_REPLY)
            conn_fail(s, c, SPLIT_ERR_MALFORMED, "a reply to nothing");
    } else if (!count_window(s, c, h)) {
        return;
    } else if (h->op == SPLIT_INSTALL) {
        install_frame(s, c, h, p);
    } else if (c->client->hello.role == SPLIT_TRAIN) {
        train_frame(s, c, h, p);
    } else {
        infer_frame(s, c, h, p);
    }
}

static void handle_all(struct service *s, struct conn *c)
{
    size_t at = 0;
    while (!c->closing && !c->dead) {
        struct split_header h;
        int rc = split_header_decode(&h, c->in + at, c->in_len - at);
        if (rc == -EAGAIN)
            break;
        if (rc) {
            conn_fail(s, c, SPLIT_ERR_MALFORMED, "bytes that are no frame");
            break;
        }
        if (c->in_len - at < SPLIT_HEADER + h.len)
            break;
        handle(s, c, &h, c->in + at + SPLIT_HEADER);
        at += SPLIT_HEADER + h.len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

void conn_read(struct service *s, struct conn *c, int64_t now_ns)
{
    for (int rounds = 0; rounds < 16 && !c->dead; rounds++) {
        size_t cap = CONN_IN - c->in_len;
        if (c->closing) { /* only to notice its end */
            c->in_len = 0;
            cap = CONN_IN;
        }
        ssize_t n = c->link->ops->recv(c->link, c->in + c->in_len, cap);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            c->dead = true;
            return;
        }
        c->heard_ns = now_ns;
        s->stats.bytes_in += (uint64_t)n;
        c->in_len += (size_t)n;
        if (!c->closing)
            handle_all(s, c);
        if ((size_t)n < cap && !c->link->ops->pending(c->link))
            return;
    }
}
