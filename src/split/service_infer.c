/* Serving: sessions of the clients over the pool. A FORWARD is executed once as far as can be told: its answer is kept
 * until the edge says that it arrived, and a repetition after a broken connection is answered from there. When the answer
 * is no longer kept it is computed again, which gives the same bits, because pos0 says what is forgotten first. */
#include "service_state.h"

#include "base/clock.h"
#include "split/leaky.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_WAITING 1024 /* requests of one session */

static struct session **session_at(struct client *c, uint32_t id)
{
    struct session **at = &c->sessions;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* --- answers kept ------------------------------------------------------------------------------------------------ */

static uint64_t item_bytes(struct service *s, const struct pool_item *i)
{
    return sizeof(*i) + (uint64_t)i->n * pool_half(s->serving.pool)->d * sizeof(float);
}

static void kept_drop_first(struct service *s, struct session *k)
{
    struct pool_item *i = k->kept;
    k->kept = i->next;
    if (!k->kept)
        k->kept_last = &k->kept;
    k->kept_bytes -= item_bytes(s, i);
    pool_item_put(s->serving.pool, i);
}

static void kept_add(struct service *s, struct session *k, struct pool_item *i)
{
    i->next = NULL;
    *k->kept_last = i;
    k->kept_last = &i->next;
    k->kept_bytes += item_bytes(s, i);
    while (k->kept_bytes > s->cfg.kept && k->kept->next)
        kept_drop_first(s, k);
}

/* The tags of kept answers rise: a session's requests are done in order. */
static void kept_answered(struct service *s, struct session *k, uint64_t answered)
{
    while (k->kept && k->kept->tag < answered)
        kept_drop_first(s, k);
}

static struct pool_item *kept_find(struct session *k, uint64_t seq)
{
    struct pool_item *i = k->kept;
    while (i && i->tag != seq)
        i = i->next;
    return i;
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

/* `route`: the connection that brought it, its id and which; a later connection of the same kind serves as well. */
static uint64_t route_of(const struct conn *c)
{
    return c->id << 1 | c->which;
}

static struct conn *route_conn(struct client *c, uint64_t route)
{
    return client_conn(c, (enum split_which)(route & 1));
}

static void give_credit(struct service *s, struct client *c, struct pool_item *i)
{
    struct conn *k = route_conn(c, i->route);
    if (k && route_of(k) == i->route)
        conn_credit(s, k, i->cost);
    i->cost = 0;
}

static void answer(struct service *s, struct session *k, struct pool_item *i, uint32_t n)
{
    struct split_header h = {.op = SPLIT_FORWARD, .session = k->id, .epoch = i->epoch, .seq = i->tag};
    struct split_rows r = {.pos0 = i->pos0, .n = n, .codec = i->codec};
    conn_reply_rows(s, route_conn(k->client, i->route), SPLIT_SERVE, &h, r, i->x);
}

static void on_done(void *user, struct pool_session *seat, struct pool_item *i, enum pool_result result)
{
    struct service *s = user;
    struct session *k = seat->user;
    struct split_header h = {.op = SPLIT_FORWARD, .session = k->id, .epoch = i->epoch, .seq = i->tag};
    struct conn *c = route_conn(k->client, i->route);
    if (result == POOL_DONE || result == POOL_DROPPED)
        answer(s, k, i, result == POOL_DONE ? i->n : 0);
    else if (result == POOL_GAP)
        conn_refuse(s, c, &h, SPLIT_ERR_GAP, "positions before %u of session %u are missing", i->pos0, k->id);
    else
        conn_refuse(s, c, &h, SPLIT_ERR_INTERNAL, "computing failed: %s", pool_error(s->serving.pool));
    give_credit(s, k->client, i);
    if (result == POOL_DONE)
        kept_add(s, k, i);
    else
        pool_item_put(s->serving.pool, i);
}

static void open_reply(struct service *s, struct session *k)
{
    struct split_header h = {.op = SPLIT_OPEN, .session = k->id, .seq = k->open_seq};
    conn_reply(s, client_conn(k->client, k->open_which), &h, NULL, 0);
}

static void session_free(struct service *s, struct session **at)
{
    struct session *k = *at;
    *at = k->next;
    k->client->n_sessions--;
    while (k->kept)
        kept_drop_first(s, k);
    if (k->seat) {
        for (struct pool_item *i = k->seat->first; i; i = i->next)
            give_credit(s, k->client, i); /* the pool drops them without a word */
        pool_close(s->serving.pool, k->seat);
        service_work(s);
    }
    s->stats.sessions--;
    free(k);
}

static void open_refuse(struct service *s, struct session *k, unsigned code, const char *why)
{
    struct split_header h = {.op = SPLIT_OPEN, .session = k->id, .seq = k->open_seq};
    conn_refuse(s, client_conn(k->client, k->open_which), &h, code, "%s", why);
    session_free(s, session_at(k->client, k->id));
}

static void on_opened(void *user, struct pool_session *seat, int rc)
{
    struct service *s = user;
    struct session *k = seat->user;
    if (!rc) {
        k->open = true;
        open_reply(s, k);
        return;
    }
    k->seat = NULL; /* the pool has forgotten it */
    if (rc == -ENOSPC)
        open_refuse(s, k, SPLIT_ERR_FULL, "all memory for keys and values is in use");
    else
        open_refuse(s, k, SPLIT_ERR_TOO_LARGE, "this many positions never fit the memory for keys and values");
}

int infer_pool_create(struct service *s, struct half_infer *h, struct pool **ret)
{
    static const struct pool_events events = {on_opened, on_done};
    return pool_create(ret, h, &(struct pool_config){0}, &events, s);
}

/* --- OPEN, CLOSE -------------------------------------------------------------------------------------------------- */

static void seat_take(struct service *s, struct session *k)
{
    if (pool_half(s->serving.pool)->d != k->client->hello.d) {
        open_refuse(s, k, SPLIT_ERR_SHAPE, "the edge's vectors are not as wide as the cloud's");
        return;
    }
    k->seat = pool_open(s->serving.pool, k->n_ctx, k);
    if (!k->seat)
        open_refuse(s, k, SPLIT_ERR_INTERNAL, "out of memory");
    service_work(s);
}

void infer_loaded(struct service *s)
{
    for (struct client *c = s->clients; c; c = c->next)
        for (struct session *k = c->sessions, *next; k; k = next) {
            next = k->next;
            if (!k->seat)
                seat_take(s, k);
        }
}

void infer_load_failed(struct service *s, int rc, const struct error *err)
{
    for (struct client *c = s->clients; c; c = c->next)
        while (c->sessions)
            open_refuse(s, c->sessions, rc == -ENOMEM ? SPLIT_ERR_TOO_LARGE : SPLIT_ERR_INTERNAL, err->text);
}

static uint32_t sessions_open(const struct service *s)
{
    uint32_t n = 0;
    for (const struct client *c = s->clients; c; c = c->next)
        n += c->n_sessions;
    return n;
}

/* One half is served at a time: another one is loaded when nobody uses this one. */
static bool half_wanted(struct service *s, const struct client *c)
{
    struct model_cut cut = service_cut(&c->hello.cut);
    struct serving *v = &s->serving;
    if (v->state != HALF_NONE && !memcmp(&v->cut, &cut, sizeof(cut)))
        return true;
    if (v->state == HALF_LOADING || sessions_open(s))
        return false;
    v->cut = cut;
    v->state = HALF_LOADING;
    service_work(s);
    return true;
}

static void handle_open(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct split_open o;
    struct client *e = c->client;
    if (split_open_decode(&o, p, leaky_take(s->store.dir, p, h->len)) || o.role != SPLIT_SERVE || !h->session) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "OPEN is not as it should be");
        return;
    }
    struct session *k = *session_at(e, h->session);
    if (k) { /* repeated */
        k->open_seq = h->seq;
        k->open_which = c->which;
        if (k->open)
            open_reply(s, k);
        return;
    }
    struct model_cut cut = service_cut(&e->hello.cut);
    if (!store_half_has(&s->store, &cut)) {
        conn_refuse(s, c, h, SPLIT_ERR_NOT_INSTALLED, "the cloud's half is not installed yet");
    } else if (sessions_open(s) >= s->cfg.max_sessions) {
        conn_refuse(s, c, h, SPLIT_ERR_FULL, "all %u sessions are in use", s->cfg.max_sessions);
    } else if (!half_wanted(s, e)) {
        conn_refuse(s, c, h, SPLIT_ERR_FULL, "sessions of another half are still open");
    } else if (!(k = calloc(1, sizeof(*k)))) {
        conn_refuse(s, c, h, SPLIT_ERR_FULL, "out of memory");
    } else {
        *k = (struct session){.next = e->sessions,
            .client = e,
            .id = h->session,
            .n_ctx = o.n_ctx,
            .open_seq = h->seq,
            .open_which = c->which};
        k->kept_last = &k->kept;
        e->sessions = k;
        e->n_sessions++;
        s->stats.sessions++;
        if (s->serving.state == HALF_READY)
            seat_take(s, k);
    }
}

void infer_close_all(struct service *s, struct client *c)
{
    for (int which = 0; which < 2; which++)
        if (c->conns[which])
            infer_rows_abandon(s, c->conns[which]);
    while (c->sessions)
        session_free(s, &c->sessions);
}

static void handle_close(struct service *s, struct conn *c, const struct split_header *h)
{
    struct session **at = session_at(c->client, h->session);
    if (*at)
        session_free(s, at);
    conn_reply(s, c, h, NULL, 0);
}

/* --- FORWARD ------------------------------------------------------------------------------------------------------- */

void infer_rows_abandon(struct service *s, struct conn *c)
{
    if (c->rows.item) {
        if (!c->dead && !c->closing)
            conn_credit(s, c, c->rows.item->cost);
        pool_item_put(s->serving.pool, c->rows.item);
        c->rows.item = NULL;
        c->rows.skip = true;
    }
}

/* The first frame of a request. What cannot be is refused; the rest of its frames is read and forgotten. */
static void rows_begin(struct service *s, struct conn *c, const struct split_header *h, const struct split_rows *r)
{
    struct session *k = *session_at(c->client, h->session);
    uint64_t most = s->cfg.max_rows,
             room = s->cfg.window / 2 / (SPLIT_ROWS_TRAIN + vec_row_size(VEC_F32, c->client->hello.d));
    struct assembly *a = &c->rows;
    *a = (struct assembly){.active = true, .skip = true, .h = *h, .first = *r};
    if (most > room)
        most = room;
    if (!k || !k->open)
        conn_refuse(s, c, h, SPLIT_ERR_NO_SESSION, "session %u is not open here", h->session);
    else if (r->pos0 > k->n_ctx || r->n > k->n_ctx - r->pos0 || r->n > most)
        conn_refuse(s, c, h, SPLIT_ERR_SHAPE, "rows %u to %u of a session of %u, at most %u at once", r->pos0,
            r->pos0 + r->n, k->n_ctx, (unsigned)most);
    else if (k->seat->n_items >= MOST_WAITING)
        conn_refuse(s, c, h, SPLIT_ERR_ORDER, "session %u has %u requests waiting", k->id, MOST_WAITING);
    else if (!(a->item = pool_item_get(s->serving.pool, r->n)))
        conn_refuse(s, c, h, SPLIT_ERR_INTERNAL, "out of memory");
    else
        a->skip = false;
}

/* A whole request is here. */
static void rows_end(struct service *s, struct conn *c)
{
    struct assembly a = c->rows;
    c->rows = (struct assembly){0};
    if (a.skip)
        return;
    struct session *k = *session_at(c->client, a.h.session);
    if (!k || !k->open) { /* closed on the other connection meanwhile */
        conn_credit(s, c, a.item->cost);
        pool_item_put(s->serving.pool, a.item);
        conn_refuse(s, c, &a.h, SPLIT_ERR_NO_SESSION, "session %u is not open here", a.h.session);
        return;
    }
    struct pool_item *i = a.item, *again = NULL;
    i->tag = a.h.seq, i->epoch = a.h.epoch, i->pos0 = a.first.pos0, i->urgent = a.first.urgent;
    i->route = route_of(c), i->codec = a.first.codec;
    kept_answered(s, k, a.first.answered);
    if (a.h.seq <= k->last_seq) {
        again = kept_find(k, a.h.seq);
        struct pool_item *waits = again ? NULL : pool_find(k->seat, a.h.seq);
        if (waits || again) {
            give_credit(s, k->client, i);
            pool_item_put(s->serving.pool, i);
            if (again)
                answer(s, k, again, again->n);
            return; /* what waits is answered when it is done */
        }
    } else {
        k->last_seq = a.h.seq;
    }
    pool_forward(s->serving.pool, k->seat, i);
    service_work(s);
}

static void handle_forward(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct split_rows r;
    struct assembly *a = &c->rows;
    if (split_rows_decode(&r, SPLIT_SERVE, h, p) || r.row0 != a->next_row || !(s->cfg.codecs >> r.codec & 1)) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "FORWARD is not as it should be");
        return;
    }
    if (!a->active)
        rows_begin(s, c, h, &r);
    else if (r.n != a->first.n || r.pos0 != a->first.pos0 || r.codec != a->first.codec || h->epoch != a->h.epoch) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "the frames of a FORWARD do not belong together");
        return;
    }
    if (a->skip) {
        conn_credit(s, c, h->len);
    } else {
        uint32_t d = c->client->hello.d;
        a->item->cost += h->len;
        if (split_rows_unpack(&r, d, a->item->x + (size_t)r.row0 * d)) {
            conn_fail(s, c, SPLIT_ERR_MALFORMED, "the rows of a FORWARD are not as they should be");
            return;
        }
    }
    a->next_row = r.row0 + r.n_here;
    if (!(h->flags & SPLIT_MORE))
        rows_end(s, c);
}

void infer_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    if (h->op == SPLIT_FORWARD) {
        handle_forward(s, c, h, p);
    } else if (h->op == SPLIT_OPEN) {
        handle_open(s, c, h, p);
    } else if (h->op == SPLIT_CLOSE && !h->len) {
        handle_close(s, c, h);
    } else if (h->op == SPLIT_CANCEL && !h->len) {
        struct session *k = *session_at(c->client, h->session);
        if (k && k->seat)
            pool_cancel(s->serving.pool, k->seat, h->epoch);
    } else {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "operation %u is not for serving, or has the wrong length", h->op);
    }
}
