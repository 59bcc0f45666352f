/* Training: one client at a time, one session. Requests are executed strictly in the order of their sequence numbers and
 * each exactly once: one that comes again is in the line, or its answer is kept, or it is refused as stale; never
 * executed. Answers are kept until the edge says that they arrived, or asks for the update of their step, which it can
 * only do when it has them all. */
#include "service_state.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BATCH_BYTES (1ull << 30)
#define MOST_KEPT_BYTES  (2ull << 30)

static void op_free(struct train_op *o)
{
    if (!o)
        return;
    if (o->x)
        explicit_bzero(o->x, o->n_floats * sizeof(float));
    free(o->x);
    free(o->sample_rows);
    free(o);
}

static void ops_free(struct train_op *o)
{
    while (o) {
        struct train_op *next = o->next;
        op_free(o);
        o = next;
    }
}

static unsigned code_of(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case -EPROTO:
        return SPLIT_ERR_ORDER;
    case -EINVAL:
        return SPLIT_ERR_SHAPE;
    case -ENOENT:
        return SPLIT_ERR_NO_STEP;
    case -ENOSPC:
        return SPLIT_ERR_NO_SPACE;
    case -ENOMEM:
        return SPLIT_ERR_TOO_LARGE;
    default:
        return SPLIT_ERR_INTERNAL;
    }
}

/* --- answers -------------------------------------------------------------------------------------------------------- */

static uint64_t op_bytes(const struct train_op *o)
{
    return sizeof(*o) + o->n_floats * sizeof(float);
}

static void kept_drop_first(struct training *t)
{
    struct train_op *o = t->kept;
    t->kept = o->next;
    if (!t->kept)
        t->kept_last = &t->kept;
    t->kept_bytes -= op_bytes(o);
    op_free(o);
}

static void kept_answered(struct training *t, uint64_t answered)
{
    while (t->kept && t->kept->h.seq < answered)
        kept_drop_first(t);
}

static void kept_add(struct training *t, struct train_op *o)
{
    o->next = NULL;
    *t->kept_last = o;
    t->kept_last = &o->next;
    t->kept_bytes += op_bytes(o);
    while (t->kept_bytes > MOST_KEPT_BYTES && t->kept->next)
        kept_drop_first(t);
}

static void answer(struct service *s, const struct train_op *o)
{
    struct training *t = &s->training;
    struct conn *c = client_conn(t->client, t->which);
    uint8_t payload[16];
    if (o->code) {
        conn_refuse(s, c, &o->h, (unsigned)o->code, "%s", o->error.text);
        return;
    }
    struct split_rows r = o->rows;
    switch (o->h.op) {
    case SPLIT_BACKWARD:
        r.n = r.want_grad ? r.n : 0;
        conn_reply_rows(s, c, SPLIT_TRAIN, &o->h, r, o->x);
        break;
    case SPLIT_FORWARD:
        conn_reply_rows(s, c, SPLIT_TRAIN, &o->h, r, o->x);
        break;
    case SPLIT_STEP: {
        struct split_step_reply a = {o->step.step, o->sumsq};
        conn_reply(s, c, &o->h, payload, split_step_reply_encode(payload, &a));
        break;
    }
    default:
        conn_reply(s, c, &o->h, payload, split_u64_encode(payload, o->h.op == SPLIT_SAVE ? o->save.step : o->load));
    }
}

static void open_answer(struct service *s)
{
    struct training *t = &s->training;
    uint8_t payload[64];
    struct split_open_reply r = {.steps_done = t->steps_done, .fresh = !t->touched};
    struct model_cut cut = service_cut(&t->client->hello.cut);
    r.n_steps = store_run_steps(&s->store, cut.id, t->cfg.run, r.steps);
    t->open_waits = false;
    conn_reply(s, client_conn(t->client, t->which), &t->open, payload, split_open_reply_encode(payload, &r));
}

/* --- whose training it is --------------------------------------------------------------------------------------------- */

void train_client_gone(struct service *s, struct client *c)
{
    struct training *t = &s->training;
    for (int which = 0; which < 2; which++)
        if (c->conns[which])
            train_rows_abandon(s, c->conns[which]);
    if (t->client != c)
        return;
    if (t->running)
        t->queue = t->running->next; /* the compute thread has it, and frees it */
    ops_free(t->queue);
    ops_free(t->kept);
    struct train_core *old = t->core ? t->core : t->old;
    *t = (struct training){.old = old};
    t->queue_last = &t->queue;
    t->kept_last = &t->kept;
    service_work(s);
}

void train_done(struct service *s)
{
    ops_free(s->training.queue);
    ops_free(s->training.kept);
    train_core_free(s->training.core);
    train_core_free(s->training.old);
}

static bool same_config(const struct split_train_config *a, const struct split_train_config *b)
{
    uint8_t x[64], y[64];
    size_t n = split_open_encode(x, &(struct split_open){.role = SPLIT_TRAIN, .train = *a});
    split_open_encode(y, &(struct split_open){.role = SPLIT_TRAIN, .train = *b});
    return !memcmp(x, y, n);
}

static void open_again(struct service *s, struct conn *c, const struct split_header *h, const struct split_open *o)
{
    struct training *t = &s->training;
    if (t->session != h->session || !same_config(&t->cfg, &o->train)) {
        conn_refuse(s, c, h, SPLIT_ERR_CONFIG, "this training was opened with another configuration");
        return;
    }
    t->open = *h;
    t->which = c->which;
    if (t->state == HALF_READY)
        open_answer(s);
}

/* An edge says something every second; one that was killed without a word must not stand in the next one's way. */
static bool heard(const struct conn *c)
{
    return c && !c->dead && clock_now_ns() - c->heard_ns < 4 * NS_PER_S;
}

static void handle_open(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct training *t = &s->training;
    struct split_open o;
    struct model_cut cut = service_cut(&c->client->hello.cut);
    if (split_open_decode(&o, p, h->len) || o.role != SPLIT_TRAIN || !h->session) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "OPEN of a training is not as it should be");
        return;
    }
    if (t->client == c->client) {
        open_again(s, c, h, &o);
        return;
    }
    if (t->client && (heard(t->client->conns[0]) || heard(t->client->conns[1]))) {
        conn_refuse(s, c, h, SPLIT_ERR_BUSY, "another training of this hospital runs here: let it end, or stop it");
        return;
    }
    if (!store_half_has(&s->store, &cut)) {
        conn_refuse(s, c, h, SPLIT_ERR_NOT_INSTALLED, "the cloud's half is not installed yet");
        return;
    }
    if ((uint64_t)o.train.max_rows * c->client->hello.d * sizeof(float) > MOST_BATCH_BYTES) {
        conn_refuse(s, c, h, SPLIT_ERR_TOO_LARGE, "micro-batches of %u rows are too large", o.train.max_rows);
        return;
    }
    if (t->client)
        train_client_gone(s, t->client);
    t->client = c->client;
    t->state = HALF_LOADING;
    t->number = ++s->last_training;
    t->session = h->session;
    t->cfg = o.train;
    t->open = *h;
    t->which = c->which;
    t->open_waits = true;
    t->d = c->client->hello.d;
    service_work(s);
}

/* --- requests ------------------------------------------------------------------------------------------------------- */

void train_rows_abandon(struct service *s, struct conn *c)
{
    if (c->rows.op) {
        op_free(c->rows.op);
        c->rows.op = NULL;
        c->rows.skip = true;
    }
}

static bool session_right(struct service *s, struct conn *c, const struct split_header *h)
{
    struct training *t = &s->training;
    if (t->client == c->client && t->session == h->session && t->state != HALF_NONE)
        return true;
    conn_refuse(s, c, h, SPLIT_ERR_NO_SESSION, "training session %u is not open here", h->session);
    return false;
}

/* A request that came before: true, and it is dealt with. `o` is the caller's still. */
static bool repeated(struct service *s, struct conn *c, const struct train_op *o)
{
    struct training *t = &s->training;
    if (o->h.seq > t->last_seq)
        return false;
    t->which = c->which;
    for (struct train_op *k = t->queue; k; k = k->next)
        if (k->h.seq == o->h.seq)
            return true;
    for (struct train_op *k = t->kept; k; k = k->next)
        if (k->h.seq == o->h.seq) {
            answer(s, k);
            return true;
        }
    conn_refuse(s, c, &o->h, SPLIT_ERR_STALE, "the answer to this request is no longer kept");
    return true;
}

static void enqueue(struct service *s, struct conn *c, struct train_op *o)
{
    struct training *t = &s->training;
    if (repeated(s, c, o)) {
        op_free(o);
        return;
    }
    t->last_seq = o->h.seq;
    t->which = c->which;
    if (o->h.op == SPLIT_LOAD || (o->h.op == SPLIT_STEP && o->step.apply))
        kept_answered(t, o->h.seq);
    *t->queue_last = o;
    t->queue_last = &o->next;
    t->n_queued++;
    service_work(s);
}

static struct train_op *op_new(struct service *s, struct conn *c, const struct split_header *h)
{
    struct training *t = &s->training;
    struct train_op *o = t->n_queued < 4 * t->cfg.n_slots + 8 ? calloc(1, sizeof(*o)) : NULL;
    if (o)
        o->h = *h;
    else
        conn_refuse(s, c, h, SPLIT_ERR_ORDER, "%u requests wait already", t->n_queued);
    return o;
}

static void rows_begin(struct service *s, struct conn *c, const struct split_header *h, const struct split_rows *r)
{
    struct training *t = &s->training;
    struct assembly *a = &c->rows;
    *a = (struct assembly){.active = true, .skip = true, .h = *h, .first = *r};
    if (!session_right(s, c, h))
        return;
    if (r->n > t->cfg.max_rows || r->n_samples > t->cfg.max_samples) {
        conn_refuse(s, c, h, SPLIT_ERR_SHAPE, "a micro-batch of %u rows and %u samples: %u and %u were agreed", r->n,
            r->n_samples, t->cfg.max_rows, t->cfg.max_samples);
        return;
    }
    struct train_op *o = op_new(s, c, h);
    if (!o)
        return;
    o->rows = *r;
    o->n_floats = (size_t)r->n * t->d;
    o->x = malloc(o->n_floats * sizeof(float));
    o->sample_rows = calloc(r->n_samples + 1, sizeof(uint32_t));
    if (!o->x || !o->sample_rows) {
        op_free(o);
        conn_refuse(s, c, h, SPLIT_ERR_INTERNAL, "out of memory");
        return;
    }
    for (uint32_t i = 0; i < r->n_samples; i++)
        o->sample_rows[i] = bytes_get_u32(r->sample_rows + 4 * i);
    a->op = o;
    a->skip = false;
}

static void handle_rows(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct split_rows r;
    struct assembly *a = &c->rows;
    if (split_rows_decode(&r, SPLIT_TRAIN, h, p) || r.row0 != a->next_row || !(s->cfg.codecs >> r.codec & 1)) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "the rows of a micro-batch are not as they should be");
        return;
    }
    if (!a->active) {
        rows_begin(s, c, h, &r);
    } else if (r.n != a->first.n || r.batch != a->first.batch || r.codec != a->first.codec) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "the frames of a micro-batch do not belong together");
        return;
    }
    conn_credit(s, c, h->len);
    if (a->op && split_rows_unpack(&r, c->client->hello.d, a->op->x + (size_t)r.row0 * c->client->hello.d)) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "the rows of a micro-batch are not as they should be");
        return;
    }
    a->next_row = r.row0 + r.n_here;
    if (h->flags & SPLIT_MORE)
        return;
    struct assembly whole = *a;
    *a = (struct assembly){0};
    if (whole.skip)
        return;
    if (s->training.client != c->client || s->training.session != h->session) {
        op_free(whole.op);
        return;
    }
    kept_answered(&s->training, whole.first.answered);
    enqueue(s, c, whole.op);
}

static void handle_scalar(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct train_op got = {.h = *h};
    int rc = h->op == SPLIT_STEP   ? split_step_decode(&got.step, p, h->len)
             : h->op == SPLIT_SAVE ? split_save_decode(&got.save, p, h->len)
                                   : split_u64_decode(&got.load, p, h->len);
    if (rc) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "STEP, SAVE or LOAD is not as it should be");
        return;
    }
    struct train_op *o = session_right(s, c, h) ? op_new(s, c, h) : NULL;
    if (o) {
        *o = got;
        enqueue(s, c, o);
    }
}

void train_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    switch (h->op) {
    case SPLIT_OPEN:
        handle_open(s, c, h, p);
        break;
    case SPLIT_FORWARD:
    case SPLIT_BACKWARD:
        handle_rows(s, c, h, p);
        break;
    case SPLIT_STEP:
    case SPLIT_SAVE:
    case SPLIT_LOAD:
        handle_scalar(s, c, h, p);
        break;
    case SPLIT_CLOSE:
        if (s->training.client == c->client && s->training.session == h->session)
            train_client_gone(s, c->client);
        conn_reply(s, c, h, NULL, 0);
        break;
    default:
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "operation %u is not for training", h->op);
    }
}

/* --- the compute thread ---------------------------------------------------------------------------------------------- */

/* The answer's rows take the place of the request's. */
static int execute_rows(struct train_core *core, struct train_op *o)
{
    struct split_rows *r = &o->rows;
    float *out = malloc(o->n_floats * sizeof(float));
    if (!out)
        return error_set(&o->error, ENOMEM, "out of memory");
    int rc =
        o->h.op == SPLIT_FORWARD
            ? train_core_forward(core, r->batch, o->sample_rows, r->n_samples, r->n, o->x, out, r->only_eval, &o->error)
            : train_core_backward(core, r->batch, r->n, o->x, r->want_grad ? out : NULL, &o->error);
    explicit_bzero(o->x, o->n_floats * sizeof(float));
    free(o->x);
    o->x = out;
    return rc;
}

static int execute(struct train_core *core, struct train_op *o)
{
    struct split_step *p = &o->step;
    struct train_adamw opt = {p->lr, p->beta1, p->beta2, p->eps, p->weight_decay, p->grad_scale, p->t};
    struct model_cut cut = service_cut(&o->save.cut);
    switch (o->h.op) {
    case SPLIT_FORWARD:
    case SPLIT_BACKWARD:
        return execute_rows(core, o);
    case SPLIT_STEP:
        return p->apply ? train_core_step(core, p->step, &opt, &o->error)
                        : train_core_norm(core, p->step, &o->sumsq, &o->error);
    case SPLIT_SAVE:
        return train_core_save(core, o->save.step, &cut, o->save.serve, &o->error);
    default:
        return train_core_load(core, o->load, &o->error);
    }
}

static void load(struct service *s)
{
    struct training *t = &s->training;
    char path[STORE_PATH];
    struct error err = {""};
    struct half_train *half = NULL;
    struct train_core *core = NULL;
    struct model_cut cut = service_cut(&t->client->hello.cut), base;
    struct split_train_config cfg = t->cfg;
    struct client *whose = t->client;
    uint64_t number = t->number;
    uint32_t d = t->d;
    store_half_path(&s->store, &cut, path);
    int64_t began = clock_now_ns();
    service_begin(s);
    int rc = s->cfg.halves->train(&half, &base, path, &cfg, s->cfg.memory_bytes, s->cfg.n_threads, &err);
    if (!rc && half->d != d)
        rc = error_set(&err, EINVAL, "the edge's vectors are not as wide as the cloud's");
    else if (!rc)
        rc = train_core_create(&core, half, &s->store, &base, cfg.run);
    if (rc && half)
        half->ops->free(half);
    service_end(s, began);
    if (t->number != number) {
        train_core_free(core); /* it left meanwhile; the next one may have the same client and session */
        return;
    }
    if (rc) {
        struct split_header open = t->open;
        conn_refuse(s, client_conn(whose, t->which), &open, code_of(rc), "%s", err.text);
        train_client_gone(s, whose);
        return;
    }
    t->core = core;
    t->state = HALF_READY;
    open_answer(s);
}

static void run_first(struct service *s)
{
    struct training *t = &s->training;
    struct train_op *o = t->queue;
    struct train_core *core = t->core;
    int64_t began = clock_now_ns();
    t->running = o;
    service_begin(s);
    int rc = execute(core, o);
    service_end(s, began);
    if (t->running != o) { /* the client left meanwhile, and this was kept back for us */
        op_free(o);
        return;
    }
    t->running = NULL;
    t->queue = o->next;
    if (!t->queue)
        t->queue_last = &t->queue;
    t->n_queued--;
    t->touched = true;
    t->steps_done = train_core_steps(core);
    s->stats.micro_batches += o->h.op == SPLIT_FORWARD;
    o->code = (int)code_of(rc);
    if (rc || (o->h.op == SPLIT_BACKWARD && !o->rows.want_grad)) { /* no rows to keep */
        free(o->x);
        o->x = NULL;
        o->n_floats = 0;
    }
    answer(s, o);
    kept_add(t, o);
}

bool train_work(struct service *s)
{
    struct training *t = &s->training;
    if (t->old) {
        struct train_core *old = t->old;
        t->old = NULL;
        int64_t began = clock_now_ns();
        service_begin(s);
        train_core_free(old);
        service_end(s, began);
        return true;
    }
    if (t->state == HALF_LOADING) {
        load(s);
        return true;
    }
    if (t->state == HALF_READY && t->queue) {
        run_first(s);
        return true;
    }
    return false;
}
