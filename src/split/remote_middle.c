/* The middle in the cloud. The client's thread turns answers into events; the caller's thread takes them. An answered
 * request is its own event, so that a decode step allocates nothing. */
#include "split/remote_middle.h"

#include "split/client.h"
#include "split/leaky.h"
#include "split/remote_events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    struct session *next;
    uint32_t id, n_ctx;
    bool open, lost; /* lost: told, or about to be; requests of it lead to nothing */
};

struct remote {
    struct middle middle;
    struct client *client;
    uint32_t d;
    char peer[128];
    struct session *sessions;
    struct remote_events events;
    uint64_t lost;
    uint64_t max_in_flight;
};

static struct session **session_at(struct remote *m, uint32_t id)
{
    struct session **at = &m->sessions;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void session_drop(struct session **at)
{
    struct session *s = *at;
    *at = s->next;
    free(s);
}

/* --- from the client's thread, locked --------------------------------------------------------------------------------- */

static struct middle_event *event_add(
    struct remote *m, enum middle_event_kind kind, uint32_t session, const char *text, struct client_request *q)
{
    struct remote_event *e = remote_events_add(&m->events, text);
    if (!e)
        return NULL;
    e->infer = (struct middle_event){.kind = kind, .session = session, .text = text ? e->text : NULL};
    e->q = q;
    return &e->infer;
}

/* Its requests are forgotten; the caller hears of it once. */
static void session_lost(struct remote *m, struct session *s)
{
    if (s->lost)
        return;
    s->lost = true;
    m->lost++;
    client_forget(m->client, s->id, NULL, NULL);
    event_add(m, MIDDLE_LOST, s->id, NULL, NULL);
}

static void send_plain(struct remote *m, uint8_t op, uint32_t session, const uint8_t *payload, size_t len)
{
    struct client_request *q = client_request_get(m->client);
    if (!q)
        return;
    q->op = op, q->session = session, q->which = SPLIT_INTERACTIVE;
    q->seq = client_next_seq(m->client);
    if (client_frame(q, payload, len))
        client_request_put(m->client, q);
    else
        client_send(m->client, q);
}

static void on_answered(void *user, struct client_request *q, const struct split_header *h, const uint8_t *payload)
{
    struct remote *m = user;
    struct session *s = *session_at(m, q->session);
    if (q->op == SPLIT_OPEN && s && !s->lost) {
        s->open = true;
        event_add(m, MIDDLE_OPENED, s->id, NULL, NULL);
    }
    struct middle_event *e = NULL;
    if (q->op == SPLIT_FORWARD && s && !s->lost && q->n_got)
        e = event_add(m, MIDDLE_VECTORS, s->id, NULL, q);
    if (!e) {
        client_request_put(m->client, q);
        return;
    }
    e->epoch = q->epoch, e->pos0 = q->pos0, e->n = q->n, e->x = q->x;
}

static void open_refused(struct remote *m, struct session *s, const struct split_error *e)
{
    bool later = e->code == SPLIT_ERR_FULL || e->code == SPLIT_ERR_BUSY;
    struct middle_event *ev = event_add(m, MIDDLE_REFUSED, s->id, e->text, NULL);
    if (ev)
        ev->final = !later;
    session_drop(session_at(m, s->id));
}

static void on_refused(void *user, struct client_request *q, const struct split_error *e)
{
    struct remote *m = user;
    struct session *s = *session_at(m, q->session);
    if (!s || s->lost || q->op == SPLIT_CLOSE) {
        client_request_put(m->client, q);
        return;
    }
    if (q->op == SPLIT_OPEN) {
        open_refused(m, s, e);
    } else if (e->code == SPLIT_ERR_GAP || e->code == SPLIT_ERR_NO_SESSION || e->code == SPLIT_ERR_STALE) {
        session_lost(m, s);
        send_plain(m, SPLIT_CLOSE, s->id, NULL, 0);
    } else {
        struct middle_event *ev = event_add(m, MIDDLE_FAILED, q->session, e->text, NULL);
        if (ev)
            ev->final = true;
    }
    client_request_put(m->client, q);
}

static void on_up(void *user)
{
    event_add(user, MIDDLE_UP, 0, NULL, NULL);
}

static void on_down(void *user, const char *text)
{
    event_add(user, MIDDLE_DOWN, 0, text, NULL);
}

static void on_failed(void *user, const char *text)
{
    struct middle_event *e = event_add(user, MIDDLE_FAILED, 0, text, NULL);
    if (e)
        e->final = true;
}

/* Sessions that were only asked for are asked for again; those that were open are lost. */
static void on_lost(void *user, const struct split_hello_reply *r)
{
    struct remote *m = user;
    for (struct session *s = m->sessions; s; s = s->next)
        if (s->open)
            session_lost(m, s);
}

static void on_busy(void *user, double busy_s) {}

/* --- the caller's thread -------------------------------------------------------------------------------------------- */

static int remote_open(struct middle *x, uint32_t id, uint32_t n_ctx)
{
    struct remote *m = (struct remote *)x;
    uint8_t payload[64 + LEAKY_ROOM];
    if (!id || !n_ctx || n_ctx > SPLIT_MAX_POS)
        return -EINVAL;
    pthread_mutex_lock(client_lock(m->client));
    struct session **at = session_at(m, id), *s = NULL;
    if (*at && (*at)->lost)
        session_drop(at); /* opened again under the same number */
    bool exists = *session_at(m, id) != NULL;
    if (!exists && (s = calloc(1, sizeof(*s)))) {
        *s = (struct session){.next = m->sessions, .id = id, .n_ctx = n_ctx};
        m->sessions = s;
        struct split_open o = {.role = SPLIT_SERVE, .n_ctx = n_ctx};
        send_plain(m, SPLIT_OPEN, id, payload, leaky_fill(payload, split_open_encode(payload, &o)));
    }
    pthread_mutex_unlock(client_lock(m->client));
    return exists ? -EEXIST : s ? 0 : -ENOMEM;
}

struct cut_off {
    uint32_t epoch, pos0;
};

/* The same rule as in pool.c: work of an earlier epoch that begins at or after pos0 is stale. */
static bool not_stale(const struct client_request *q, const void *arg)
{
    const struct cut_off *c = arg;
    return q->op != SPLIT_FORWARD || q->epoch >= c->epoch || q->pos0 < c->pos0;
}

/* 0, or why not; *ret_lost: accepted, but it leads to nothing. */
static int check_forward(struct remote *m, uint32_t id, uint32_t pos0, uint32_t n, bool *ret_lost)
{
    struct session *s = *session_at(m, id);
    *ret_lost = s && s->lost;
    if (*ret_lost)
        return 0;
    if (!s || !s->open || !n || n > s->n_ctx || pos0 > s->n_ctx - n)
        return -EINVAL;
    if (n > client_max_rows(m->client))
        return -E2BIG;
    return client_in_flight(m->client) > m->max_in_flight ? -ENOBUFS : 0;
}

static int remote_forward(
    struct middle *x, uint32_t id, uint32_t epoch, uint32_t pos0, uint32_t n, const float *rows, bool urgent)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_t *lock = client_lock(m->client);
    bool lost;
    pthread_mutex_lock(lock);
    int rc = check_forward(m, id, pos0, n, &lost);
    struct client_request *q = rc || lost ? NULL : client_request_get(m->client);
    if (!q) {
        pthread_mutex_unlock(lock);
        return rc ? rc : lost ? 0 : -ENOMEM;
    }
    client_forget(m->client, id, not_stale, &(struct cut_off){epoch, pos0});
    q->op = SPLIT_FORWARD, q->session = id, q->epoch = epoch, q->pos0 = pos0, q->n = n;
    q->seq = client_next_seq(m->client);
    if (!client_waits(m->client, id, SPLIT_FORWARD, &q->which))
        q->which = urgent ? SPLIT_INTERACTIVE : SPLIT_BULK;
    struct split_rows r = {.pos0 = pos0,
        .n = n,
        .codec = client_codec(m->client),
        .urgent = urgent,
        .answered = client_unanswered(m->client, id, q->seq)};
    pthread_mutex_unlock(lock);
    rc = client_rows(q, SPLIT_SERVE, r, m->d, NULL, rows); /* the long part, while answers may come in */
    pthread_mutex_lock(lock);
    if (rc || check_forward(m, id, pos0, n, &lost) == -EINVAL || lost)
        client_request_put(m->client, q);
    else
        client_send(m->client, q);
    pthread_mutex_unlock(lock);
    return rc;
}

static void remote_cancel(struct middle *x, uint32_t id, uint32_t epoch)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    client_forget(m->client, id, not_stale, &(struct cut_off){epoch, 0});
    struct split_header h = {.op = SPLIT_CANCEL, .session = id, .epoch = epoch};
    client_notify(m->client, SPLIT_INTERACTIVE, &h);
    pthread_mutex_unlock(client_lock(m->client));
}

static void remote_close(struct middle *x, uint32_t id)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    struct session **at = session_at(m, id);
    if (*at) {
        client_forget(m->client, id, NULL, NULL);
        if (!(*at)->lost)
            send_plain(m, SPLIT_CLOSE, id, NULL, 0);
        session_drop(at);
    }
    pthread_mutex_unlock(client_lock(m->client));
}

static int remote_next(struct middle *x, int64_t wait_ns, struct middle_event *ret)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    struct remote_event *e = remote_events_next(&m->events, wait_ns);
    if (e) {
        *ret = e->infer;
        struct session **at = session_at(m, ret->session);
        if (ret->kind == MIDDLE_LOST && *at && (*at)->lost)
            session_drop(at); /* now the caller knows */
    }
    pthread_mutex_unlock(client_lock(m->client));
    return e ? 0 : -EAGAIN;
}

static void remote_wake(struct middle *x)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    remote_events_wake(&m->events);
    pthread_mutex_unlock(client_lock(m->client));
}

static void remote_stats(struct middle *x, struct middle_stats *ret)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    struct client_counts c = client_counts(m->client);
    *ret = (struct middle_stats){.bytes_up = c.bytes_up,
        .bytes_down = c.bytes_down,
        .reconnects = c.reconnects,
        .lost_sessions = m->lost,
        .rtt_ms = c.rtt_ms,
        .up = c.up};
    snprintf(ret->peer, sizeof(ret->peer), "%s", m->peer);
    pthread_mutex_unlock(client_lock(m->client));
}

static void remote_free(struct middle *x)
{
    struct remote *m = (struct remote *)x;
    if (!m)
        return;
    client_stop(m->client);
    remote_events_done(&m->events);
    client_free(m->client);
    while (m->sessions)
        session_drop(&m->sessions);
    free(m);
}

static const struct middle_ops remote_ops = {
    .open = remote_open,
    .forward = remote_forward,
    .cancel = remote_cancel,
    .close = remote_close,
    .next = remote_next,
    .wake = remote_wake,
    .stats = remote_stats,
    .free = remote_free,
};

int remote_middle_create(struct middle **ret, const struct remote_config *cfg, struct error *err)
{
    static const struct client_events events = {on_answered, on_refused, on_up, on_down, on_lost, on_failed, on_busy};
    static const uint8_t no_run[16];
    struct remote *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, ENOMEM, "out of memory");
    m->middle.ops = &remote_ops;
    m->d = cfg->d;
    m->max_in_flight = cfg->max_in_flight ? cfg->max_in_flight : 64ull << 20;
    snprintf(m->peer, sizeof(m->peer), "%s", cfg->peer ? cfg->peer : "the cloud");
    remote_events_init(&m->events);
    int rc = client_create(&m->client, cfg, SPLIT_SERVE, no_run, false, &events, m, err);
    if (rc) {
        remote_free(&m->middle);
        return rc;
    }
    m->events.client = m->client;
    *ret = &m->middle;
    client_start(m->client);
    return 0;
}
