/* The sessions of one serving half. A run is a list of pieces (item, from, rows); pool_take chooses them, pool_run copies
 * them together and computes, pool_give hands the finished items out. */
#include "split/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PIECES 512
#define MOST_SPARE  64
#define EVERY_EPOCH UINT64_MAX

struct piece {
    struct pool_session *s;
    struct pool_item *item;
    uint32_t n;
};

struct pool {
    struct half_infer *half;
    struct pool_config cfg;
    struct pool_events events;
    void *user;
    struct pool_session *sessions, *rotor; /* rotor: whose prefill goes first next */
    uint32_t n_sessions;
    uint32_t n_waiting; /* items, openings and closings that pool_take should look at */
    struct pool_item *spare;
    uint32_t n_spare;
    struct piece pieces[MOST_PIECES];
    uint32_t n_pieces, n_rows;
    struct infer_row *rows; /* [max_rows] */
    float *in, *out;        /* [max_rows][d] */
    int run_rc;
    struct error error;
};

int pool_create(struct pool **ret, struct half_infer *h, const struct pool_config *cfg,
    const struct pool_events *events, void *user)
{
    struct pool *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->half = h;
    p->cfg = *cfg;
    p->cfg.max_rows = cfg->max_rows ? cfg->max_rows : 256;
    p->cfg.prefill_rows = cfg->prefill_rows ? cfg->prefill_rows : 128;
    p->cfg.prefill_beside = cfg->prefill_beside ? cfg->prefill_beside : 32;
    p->events = *events;
    p->user = user;
    p->rows = calloc(p->cfg.max_rows, sizeof(*p->rows));
    p->in = calloc((size_t)p->cfg.max_rows * h->d, sizeof(float));
    p->out = calloc((size_t)p->cfg.max_rows * h->d, sizeof(float));
    if (!p->rows || !p->in || !p->out) {
        p->half = NULL; /* still the caller's */
        pool_free(p);
        return -ENOMEM;
    }
    *ret = p;
    return 0;
}

static void item_free(struct pool_item *i)
{
    if (i && i->x)
        explicit_bzero(i->x, i->cap * sizeof(float)); /* to those who can read them, vectors are as good as words */
    if (i)
        free(i->x);
    free(i);
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    while (p->sessions) {
        struct pool_session *s = p->sessions;
        p->sessions = s->next;
        while (s->first) {
            struct pool_item *i = s->first;
            s->first = i->next;
            item_free(i);
        }
        if (p->half && s->seq >= 0)
            p->half->ops->close(p->half, s->seq);
        free(s);
    }
    while (p->spare) {
        struct pool_item *i = p->spare;
        p->spare = i->next;
        item_free(i);
    }
    if (p->half)
        p->half->ops->free(p->half);
    free(p->rows);
    free(p->in);
    free(p->out);
    free(p);
}

/* --- items -------------------------------------------------------------------------------------------------- */

struct pool_item *pool_item_get(struct pool *p, uint32_t n)
{
    struct pool_item *i = p->spare;
    if (i) {
        p->spare = i->next;
        p->n_spare--;
    } else if (!(i = calloc(1, sizeof(*i)))) {
        return NULL;
    }
    size_t need = (size_t)n * p->half->d;
    float *x = i->x;
    size_t cap = i->cap;
    if (cap < need) {
        free(x);
        x = malloc(need * sizeof(float));
        cap = need;
    }
    if (!x) {
        free(i);
        return NULL;
    }
    *i = (struct pool_item){.n = n, .x = x, .cap = cap};
    return i;
}

void pool_item_put(struct pool *p, struct pool_item *i)
{
    if (!i)
        return;
    if (p->n_spare >= MOST_SPARE || i->n > 16) {
        item_free(i);
        return;
    }
    explicit_bzero(i->x, (size_t)i->n * p->half->d * sizeof(float));
    i->next = p->spare;
    p->spare = i;
    p->n_spare++;
}

/* Out of its session's queue and to the caller. */
static void item_end(struct pool *p, struct pool_session *s, struct pool_item **at, enum pool_result result)
{
    struct pool_item *i = *at;
    *at = i->next;
    if (s->last == &i->next)
        s->last = at;
    s->n_items--;
    p->n_waiting--;
    i->next = NULL;
    i->running = false;
    if (s->state == POOL_CLOSING)
        pool_item_put(p, i);
    else
        p->events.done(p->user, s, i, result);
}

struct pool_item *pool_find(struct pool_session *s, uint64_t tag)
{
    for (struct pool_item *i = s->first; i; i = i->next)
        if (i->tag == tag)
            return i;
    return NULL;
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

struct pool_session *pool_open(struct pool *p, uint32_t n_ctx, void *user)
{
    struct pool_session *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct pool_session){.user = user, .n_ctx = n_ctx, .seq = -1, .state = POOL_OPENING};
    s->last = &s->first;
    s->next = p->sessions;
    p->sessions = s;
    p->n_sessions++;
    p->n_waiting++;
    return s;
}

/* Drops what `stale` says; what runs now is only marked. */
static void drop_stale(struct pool *p, struct pool_session *s, uint64_t before_epoch, uint32_t from_pos)
{
    for (struct pool_item **at = &s->first; *at;) {
        struct pool_item *i = *at;
        if (i->epoch >= before_epoch || i->pos0 < from_pos) {
            at = &i->next;
        } else if (i->running) {
            i->stale = true;
            at = &i->next;
        } else {
            item_end(p, s, at, POOL_DROPPED);
        }
    }
}

void pool_forward(struct pool *p, struct pool_session *s, struct pool_item *i)
{
    i->next = NULL;
    i->n_done = 0;
    i->running = i->stale = false;
    if (i->epoch < s->least_epoch || i->epoch < s->newest_epoch) {
        p->events.done(p->user, s, i, POOL_DROPPED);
        return;
    }
    s->newest_epoch = i->epoch;
    drop_stale(p, s, i->epoch, i->pos0);
    *s->last = i;
    s->last = &i->next;
    s->n_items++;
    p->n_waiting++;
}

void pool_cancel(struct pool *p, struct pool_session *s, uint32_t epoch)
{
    if (epoch > s->least_epoch)
        s->least_epoch = epoch;
    drop_stale(p, s, s->least_epoch, 0);
}

void pool_close(struct pool *p, struct pool_session *s)
{
    s->state = POOL_CLOSING;
    s->user = NULL;
    p->n_waiting++;
    drop_stale(p, s, EVERY_EPOCH, 0);
}

bool pool_has_work(const struct pool *p)
{
    return p->n_waiting > 0;
}

static void session_remove(struct pool *p, struct pool_session **at)
{
    struct pool_session *s = *at;
    *at = s->next;
    if (p->rotor == s)
        p->rotor = s->next;
    p->n_sessions--;
    free(s);
}

/* Openings after closings, so that what a session gives back is there for the next one. */
static void close_sessions(struct pool *p)
{
    for (struct pool_session **at = &p->sessions; *at;) {
        struct pool_session *s = *at;
        if (s->state != POOL_CLOSING || s->first) {
            at = &s->next;
            continue;
        }
        if (s->seq >= 0)
            p->half->ops->close(p->half, s->seq);
        else
            p->n_waiting--; /* it was never opened */
        p->n_waiting--;
        session_remove(p, at);
    }
}

static void open_sessions(struct pool *p)
{
    for (struct pool_session **at = &p->sessions; *at;) {
        struct pool_session *s = *at;
        if (s->state != POOL_OPENING) {
            at = &s->next;
            continue;
        }
        int rc = s->n_ctx ? p->half->ops->open(p->half, s->n_ctx, &s->seq) : -E2BIG;
        p->n_waiting--;
        s->state = rc ? POOL_CLOSING : POOL_OPEN;
        p->events.opened(p->user, s, rc);
        if (rc) {
            s->seq = -1;
            drop_stale(p, s, EVERY_EPOCH, 0);
            session_remove(p, at);
        } else {
            at = &s->next;
        }
    }
}

/* --- a run ---------------------------------------------------------------------------------------------------- */

static void take_rows(struct pool *p, struct pool_session *s, struct pool_item *i, uint32_t n)
{
    p->pieces[p->n_pieces++] = (struct piece){s, i, n};
    i->running = true;
    for (uint32_t k = 0; k < n; k++)
        p->rows[p->n_rows++] = (struct infer_row){.seq = s->seq, .pos = (int32_t)(i->pos0 + i->n_done + k)};
}

/* Rows of this session's next items, in order, as long as each continues where the one before ends. */
static uint32_t take_session(struct pool *p, struct pool_session *s, bool urgent, uint32_t budget)
{
    if (s->state != POOL_OPEN)
        return 0;
    uint32_t len = (uint32_t)p->half->ops->len(p->half, s->seq), taken = 0;
    for (struct pool_item **at = &s->first; *at && taken < budget && p->n_pieces < MOST_PIECES;) {
        struct pool_item *i = *at;
        uint32_t pos = i->pos0 + i->n_done;
        if (i->urgent != urgent || i->running || (taken && pos != len))
            break;
        if (pos > len) {
            item_end(p, s, at, POOL_GAP);
            continue;
        }
        if (pos < len)
            p->half->ops->truncate(p->half, s->seq, (int32_t)pos);
        uint32_t n = i->n - i->n_done < budget - taken ? i->n - i->n_done : budget - taken;
        take_rows(p, s, i, n);
        taken += n;
        len = pos + n;
        at = &i->next;
    }
    return taken;
}

static struct pool_session *session_after(struct pool *p, struct pool_session *s)
{
    return s && s->next ? s->next : p->sessions;
}

static void take_prefill(struct pool *p, uint32_t budget)
{
    struct pool_session *s = p->rotor ? p->rotor : p->sessions;
    for (uint32_t k = 0; k < p->n_sessions && budget; k++, s = session_after(p, s)) {
        uint32_t n = take_session(p, s, false, budget);
        budget -= n;
        if (n && !budget)
            p->rotor = session_after(p, s); /* whoever did not get a share now is first next time */
    }
}

uint32_t pool_take(struct pool *p)
{
    p->n_pieces = p->n_rows = 0;
    close_sessions(p);
    open_sessions(p);
    for (struct pool_session *s = p->sessions; s && p->n_rows < p->cfg.max_rows; s = s->next)
        take_session(p, s, true, p->cfg.max_rows - p->n_rows);
    uint32_t budget = p->n_rows ? p->cfg.prefill_beside : p->cfg.prefill_rows;
    uint32_t room = p->cfg.max_rows - p->n_rows;
    take_prefill(p, budget < room ? budget : room);
    return p->n_rows;
}

void pool_run(struct pool *p)
{
    size_t d = p->half->d;
    const float *in = p->in;
    if (p->n_pieces == 1) {
        in = p->pieces[0].item->x + p->pieces[0].item->n_done * d;
    } else {
        float *to = p->in;
        for (uint32_t k = 0; k < p->n_pieces; k++) {
            const struct piece *c = &p->pieces[k];
            memcpy(to, c->item->x + c->item->n_done * d, c->n * d * sizeof(float));
            to += c->n * d;
        }
    }
    p->run_rc = p->half->ops->run(p->half, p->rows, p->n_rows, in, p->out, &p->error);
    if (p->run_rc)
        return;
    const float *from = p->out;
    for (uint32_t k = 0; k < p->n_pieces; k++) {
        const struct piece *c = &p->pieces[k];
        memcpy(c->item->x + c->item->n_done * d, from, c->n * d * sizeof(float));
        from += c->n * d;
    }
}

void pool_give(struct pool *p)
{
    for (uint32_t k = 0; k < p->n_pieces; k++) {
        struct piece *c = &p->pieces[k];
        c->item->n_done += c->n;
        c->item->running = false;
        enum pool_result result = c->item->stale ? POOL_DROPPED : p->run_rc ? POOL_BROKEN : POOL_DONE;
        if (result == POOL_DONE && c->item->n_done < c->item->n && c->s->state != POOL_CLOSING)
            continue;
        struct pool_item **at = &c->s->first;
        while (*at != c->item)
            at = &(*at)->next;
        item_end(p, c->s, at, result);
    }
    p->n_pieces = 0;
}

const struct half_infer *pool_half(const struct pool *p)
{
    return p->half;
}

const char *pool_error(const struct pool *p)
{
    return p->error.text;
}
