/* The client's requests and its thread. */
#include "split/client_state.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MOST_SPARE 32

pthread_mutex_t *client_lock(struct client *c)
{
    return &c->lock;
}

void client_wake(struct client *c)
{
    (void)!write(c->wake[1], "", 1);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void request_free(struct client_request *q)
{
    if (!q)
        return;
    if (q->frames.data)
        explicit_bzero(q->frames.data, q->frames.cap);
    if (q->x)
        explicit_bzero(q->x, q->cap * sizeof(float));
    buf_done(&q->frames);
    free(q->x);
    free(q);
}

struct client_request *client_request_get(struct client *c)
{
    struct client_request *q = c->spare;
    if (!q)
        return calloc(1, sizeof(*q));
    c->spare = q->next;
    c->n_spare--;
    struct buf frames = q->frames;
    frames.len = 0;
    *q = (struct client_request){.frames = frames, .x = q->x, .cap = q->cap};
    return q;
}

/* Those of decode steps are used again; large ones give their memory back. */
void client_request_put(struct client *c, struct client_request *q)
{
    if (!q)
        return;
    if (c->n_spare >= MOST_SPARE || q->frames.cap > 256 * 1024 || q->cap > 64 * 1024) {
        request_free(q);
        return;
    }
    if (q->frames.data)
        explicit_bzero(q->frames.data, q->frames.len);
    q->next = c->spare;
    c->spare = q;
    c->n_spare++;
}

uint64_t client_next_seq(struct client *c)
{
    return ++c->last_seq;
}

enum split_codec client_codec(const struct client *c)
{
    return c->codec;
}

uint32_t client_max_rows(const struct client *c)
{
    return c->known ? c->limits.max_rows : 0;
}

uint64_t client_in_flight(const struct client *c)
{
    return c->in_flight;
}

uint64_t client_unanswered(const struct client *c, uint32_t session, uint64_t otherwise)
{
    uint64_t least = otherwise;
    for (uint32_t k = 0; k < 2; k++)
        for (const struct client_request *q = c->lines[k].first; q; q = q->next)
            if (q->session == session && !q->forgotten && q->seq < least)
                least = q->seq;
    return least;
}

bool client_waits(const struct client *c, uint32_t session, uint8_t op, enum split_which *ret)
{
    for (uint32_t k = 0; k < 2; k++)
        for (const struct client_request *q = c->lines[k].first; q; q = q->next)
            if (q->session == session && q->op == op && !q->forgotten) {
                *ret = q->which;
                return true;
            }
    return false;
}

int client_frame(struct client_request *q, const uint8_t *payload, size_t len)
{
    struct split_header h = {
        .len = (uint32_t)len, .op = q->op, .session = q->session, .epoch = q->epoch, .seq = q->seq};
    uint8_t head[SPLIT_HEADER];
    split_header_encode(head, &h);
    int rc = buf_reserve(&q->frames, SPLIT_HEADER + len);
    if (rc)
        return rc;
    buf_append(&q->frames, head, SPLIT_HEADER);
    return len ? buf_append(&q->frames, payload, len) : 0;
}

int client_rows(struct client_request *q, enum split_role role, struct split_rows r, uint32_t d,
    const uint32_t *sample_rows, const float *x)
{
    size_t most = vec_row_size(VEC_F32, d), start = role == SPLIT_SERVE ? SPLIT_ROWS_SERVE : SPLIT_ROWS_TRAIN;
    uint32_t n_samples = r.n_samples;
    struct split_header h = {.op = q->op, .session = q->session, .epoch = q->epoch, .seq = q->seq};
    for (uint32_t row = 0; row < r.n;) {
        size_t samples = row ? 0 : 4 * (size_t)n_samples;
        uint32_t fit = (uint32_t)((SPLIT_MAX_PAYLOAD - start - samples) / most);
        if (!fit)
            return -EINVAL;
        r.row0 = row;
        r.n_here = r.n - row < fit ? r.n - row : fit;
        r.n_samples = row ? 0 : n_samples;
        int rc = buf_reserve(&q->frames, SPLIT_HEADER + start + samples + r.n_here * most);
        if (rc)
            return rc;
        uint8_t *to = q->frames.data + q->frames.len;
        size_t len = split_rows_encode_start(to + SPLIT_HEADER, role, &r, sample_rows);
        for (uint32_t i = 0; i < r.n_here; i++)
            len += vec_row_encode(r.codec, x + (size_t)(row + i) * d, d, to + SPLIT_HEADER + len);
        row += r.n_here;
        h.len = (uint32_t)len;
        h.flags = row < r.n ? SPLIT_MORE : 0;
        split_header_encode(to, &h);
        q->frames.len += SPLIT_HEADER + len;
    }
    return 0;
}

void client_send(struct client *c, struct client_request *q)
{
    struct line *l = &c->lines[q->which];
    q->next = NULL;
    q->sent = 0;
    *l->last = q;
    l->last = &q->next;
    if (!l->unsent)
        l->unsent = q;
    c->in_flight += q->frames.len;
    line_pump(c, l);
}

void client_notify(struct client *c, enum split_which which, const struct split_header *h)
{
    if (c->lines[which].state == LINE_READY)
        line_put(c, &c->lines[which], h, NULL);
}

/* Half sent, it cannot stop: the worker would take the next frames for its rest. */
static bool half_sent(const struct line *l, const struct client_request *q)
{
    return l->link && q->sent && q->sent < q->frames.len;
}

void client_forget(
    struct client *c, uint32_t session, bool (*keep)(const struct client_request *q, const void *arg), const void *arg)
{
    for (uint32_t k = 0; k < 2; k++) {
        struct line *l = &c->lines[k];
        for (struct client_request **at = &l->first; *at;) {
            struct client_request *q = *at;
            if (q->session != session || q->forgotten || (keep && keep(q, arg))) {
                at = &q->next;
            } else if (half_sent(l, q)) {
                q->forgotten = true;
                at = &q->next;
            } else {
                *at = q->next;
                if (l->unsent == q)
                    l->unsent = q->next;
                if (l->last == &q->next)
                    l->last = at;
                c->in_flight -= q->frames.len;
                client_request_put(c, q);
            }
        }
    }
}

/* --- the thread ----------------------------------------------------------------------------------------------------- */

static int64_t line_deadline(const struct client *c, const struct line *l)
{
    if (l->state == LINE_IDLE)
        return l->retry_ns;
    int64_t next = l->pinged_ns + c->cfg.ping_ns, dead = l->heard_ns + c->cfg.dead_ns;
    if (l->state == LINE_HELLO) {
        next = l->since_ns + c->cfg.connect_ns;
        dead = l->pinged_ns + NS_PER_S; /* a handshake wants to be asked now and then */
    }
    return next < dead ? next : dead;
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->quit) {
        struct pollfd fds[3] = {{.fd = c->wake[0], .events = POLLIN}, {.fd = -1}, {.fd = -1}};
        int64_t now = clock_now_ns(), until = now + 10 * NS_PER_S;
        struct link *links[3] = {0};
        for (uint32_t k = c->first_line; k < 2; k++)
            line_tick(c, &c->lines[k], now);
        for (uint32_t k = c->first_line; k < 2; k++) {
            struct line *l = &c->lines[k];
            int64_t at = line_deadline(c, l);
            until = at < until ? at : until;
            links[1 + k] = l->link;
            if (l->link) {
                fds[1 + k].fd = l->link->ops->fd(l->link);
                fds[1 + k].events = l->link->ops->events(l->link, l->out.len > 0);
                until = l->link->ops->pending(l->link) ? now : until;
            }
        }
        int64_t ms = until <= now ? 0 : (until - now) / NS_PER_MS + 1;
        pthread_mutex_unlock(&c->lock);
        (void)poll(fds, 3, (int)ms);
        if (fds[0].revents) {
            char bytes[64];
            (void)!read(c->wake[0], bytes, sizeof(bytes));
        }
        pthread_mutex_lock(&c->lock);
        now = clock_now_ns();
        for (uint32_t k = c->first_line; k < 2; k++) {
            struct line *l = &c->lines[k];
            if (!l->link || l->link != links[1 + k])
                continue;
            bool hello = l->state == LINE_HELLO;
            if (fds[1 + k].revents || hello || l->link->ops->pending(l->link))
                line_read(c, l, now);
            if (hello && l->state == LINE_HELLO)
                l->pinged_ns = now;
            if (l->link)
                line_flush(c, l);
            if (l->link)
                line_pump(c, l);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void client_start(struct client *c)
{
    c->started = !pthread_create(&c->thread, NULL, client_main, c);
}

struct client_counts client_counts(const struct client *c)
{
    struct client_counts r = c->counts;
    r.up = c->up;
    return r;
}

static void config_defaults(struct remote_config *c)
{
    c->ping_ns = c->ping_ns ? c->ping_ns : NS_PER_S;
    c->dead_ns = c->dead_ns ? c->dead_ns : 5 * NS_PER_S;
    c->connect_ns = c->connect_ns ? c->connect_ns : 5 * NS_PER_S;
    c->retry_least_ns = c->retry_least_ns ? c->retry_least_ns : 100 * NS_PER_MS;
    c->retry_most_ns = c->retry_most_ns ? c->retry_most_ns : 2 * NS_PER_S;
    c->max_in_flight = c->max_in_flight ? c->max_in_flight : 64ull << 20;
}

static void hello_fill(struct client *c, const uint8_t run[16])
{
    const struct model_cut *cut = &c->cfg.cut;
    c->hello = (struct split_hello){.version = SPLIT_VERSION,
        .codecs = 1u << SPLIT_F32 | 1u << c->cfg.codec,
        .role = c->role,
        .may_install = c->cfg.cloud_half != NULL,
        .d = c->cfg.d,
        .cut = {.head = cut->head, .tail = cut->tail, .step = cut->step}};
    memcpy(c->hello.cut.id, cut->id, 32);
    memcpy(c->hello.cut.run, cut->run, 16);
    memcpy(c->hello.run, run, 16);
}

int client_create(struct client **ret, const struct remote_config *cfg, enum split_role role, const uint8_t run[16],
    bool one_link, const struct client_events *events, void *user, struct error *err)
{
    if (cfg->d < 2 || vec_row_size(VEC_F32, cfg->d) + SPLIT_ROWS_TRAIN > SPLIT_MAX_PAYLOAD)
        return error_set(err, EINVAL, "vectors of %u values do not fit into the protocol's frames", cfg->d);
    struct client *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(err, ENOMEM, "out of memory");
    c->cfg = *cfg;
    config_defaults(&c->cfg);
    snprintf(c->peer, sizeof(c->peer), "%s", cfg->peer ? cfg->peer : "the cloud");
    snprintf(c->half, sizeof(c->half), "%s", cfg->cloud_half ? cfg->cloud_half : "");
    c->role = role;
    c->events = *events;
    c->user = user;
    c->first_line = one_link ? SPLIT_BULK : SPLIT_INTERACTIVE;
    c->n_lines = one_link ? 1 : 2;
    c->install.fd = -1;
    hello_fill(c, run);
    int rc = 0;
    for (uint32_t k = 0; k < 2; k++) {
        struct line *l = &c->lines[k];
        l->which = (enum split_which)k;
        l->last = &l->first;
        if (!(l->in = malloc(LINE_IN)))
            rc = error_set(err, ENOMEM, "out of memory");
    }
    if (!rc && (getrandom(c->hello.instance, 16, 0) != 16 || getrandom(&c->jitter, 8, 0) != 8))
        rc = error_set(err, EIO, "no random numbers");
    if (!rc && pipe2(c->wake, O_CLOEXEC | O_NONBLOCK))
        rc = error_set(err, errno, "cannot make a pipe: %s", strerror(errno));
    if (rc) {
        free(c->lines[0].in);
        free(c->lines[1].in);
        free(c);
        return rc;
    }
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

/* So that the worker need not keep our sessions for a while. */
static void say_goodbye(struct client *c)
{
    struct split_header h = {.op = SPLIT_GOAWAY};
    for (uint32_t k = c->first_line; k < 2; k++)
        if (c->lines[k].state == LINE_READY) {
            line_put(c, &c->lines[k], &h, NULL);
            return;
        }
}

void client_stop(struct client *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    if (!c->quit)
        say_goodbye(c);
    c->quit = true;
    client_wake(c);
    pthread_mutex_unlock(&c->lock);
    if (c->started)
        pthread_join(c->thread, NULL);
    c->started = false;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    client_stop(c);
    for (uint32_t k = 0; k < 2; k++) {
        struct line *l = &c->lines[k];
        if (l->link)
            l->link->ops->free(l->link);
        while (l->first) {
            struct client_request *q = l->first;
            l->first = q->next;
            request_free(q);
        }
        explicit_bzero(l->in, LINE_IN);
        free(l->in);
        if (l->out.data)
            explicit_bzero(l->out.data, l->out.cap);
        buf_done(&l->out);
    }
    while (c->spare) {
        struct client_request *q = c->spare;
        c->spare = q->next;
        request_free(q);
    }
    install_done(c);
    close(c->wake[0]);
    close(c->wake[1]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
