/* The training middle in the cloud. Every request goes through the one session in order; the worker executes each once.
 * After a loss nothing is sent until the caller has been told and has asked for a checkpoint to be loaded: what it asked
 * in between was meant for a state that is gone. */
#include "split/remote_train.h"

#include "split/client.h"
#include "split/remote_events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSION    1u
#define BUSY_TRIES 10

struct remote {
    struct train_middle middle;
    struct client *client;
    uint32_t d, n_slots, max_rows, max_samples, in_flight;
    struct split_open open;
    bool opened; /* the worker has answered OPEN */
    bool lost;   /* requests lead to nothing until load */
    bool untold; /* the loss is told with the answer to OPEN, which names the checkpoints */
    double busy_s;
    unsigned busy_tries; /* OPEN was refused as busy: asked again with each ping, a few times */
    bool ask_again;
    struct remote_events events;
};

/* --- from the client's thread, locked --------------------------------------------------------------------------------- */

static struct train_event *event_add(
    struct remote *m, enum train_event_kind kind, const char *text, struct client_request *q)
{
    struct remote_event *e = remote_events_add(&m->events, text);
    if (!e)
        return NULL;
    e->train = (struct train_event){.kind = kind, .text = text ? e->text : NULL};
    e->q = q;
    return &e->train;
}

/* The number of its optimiser step or micro-batch lies in q->batch. */
static int send_plain(struct remote *m, uint8_t op, uint64_t number, const uint8_t *payload, size_t len)
{
    struct client_request *q = client_request_get(m->client);
    if (!q)
        return -ENOMEM;
    q->op = op, q->session = SESSION, q->which = SPLIT_BULK, q->batch = number;
    q->seq = client_next_seq(m->client);
    int rc = client_frame(q, payload, len);
    if (rc)
        client_request_put(m->client, q);
    else
        client_send(m->client, q);
    return rc;
}

static void send_open(struct remote *m)
{
    uint8_t payload[64];
    send_plain(m, SPLIT_OPEN, 0, payload, split_open_encode(payload, &m->open));
}

static void tell_lost(struct remote *m, const uint64_t *steps, uint32_t n_steps)
{
    m->lost = true;
    m->in_flight = 0;
    struct train_event *e = event_add(m, TRAIN_LOST, NULL, NULL);
    if (!e)
        return;
    e->step = n_steps ? steps[0] : UINT64_MAX;
    e->n_steps = n_steps;
    memcpy(e->steps, steps, n_steps * sizeof(*steps));
}

static void answered_open(struct remote *m, const uint8_t *payload, uint32_t len)
{
    struct split_open_reply r;
    if (split_open_reply_decode(&r, payload, len))
        event_add(m, TRAIN_FAILED, "the worker's answer to OPEN is not as it should be", NULL);
    else
        m->opened = true;
    if (m->opened && m->untold)
        tell_lost(m, r.steps, r.n_steps);
    m->untold = false;
}

static void on_answered(void *user, struct client_request *q, const struct split_header *h, const uint8_t *payload)
{
    struct remote *m = user;
    struct split_step_reply step;
    struct train_event *e = NULL;
    bool apply = q->op == SPLIT_STEP && q->n_got == 0 && q->pos0;
    switch (q->op) {
    case SPLIT_OPEN:
        answered_open(m, payload, h->len);
        break;
    case SPLIT_FORWARD:
    case SPLIT_BACKWARD:
        if (!(e = event_add(m, q->op == SPLIT_FORWARD ? TRAIN_OUT : TRAIN_GRAD, NULL, q)))
            break;
        e->batch = q->batch;
        e->n_rows = q->n;
        e->x = q->n_got ? q->x : NULL;
        return;
    case SPLIT_STEP:
        if (split_step_reply_decode(&step, payload, h->len)) {
            event_add(m, TRAIN_FAILED, "the worker's answer to STEP is not as it should be", NULL);
        } else if ((e = event_add(m, apply ? TRAIN_STEPPED : TRAIN_NORM, NULL, NULL))) {
            e->step = q->batch;
            e->value = step.sumsq;
        }
        break;
    case SPLIT_SAVE:
    case SPLIT_LOAD:
        if ((e = event_add(m, q->op == SPLIT_SAVE ? TRAIN_SAVED : TRAIN_LOADED, NULL, NULL)))
            e->step = q->batch;
        break;
    }
    client_request_put(m->client, q);
}

static void on_refused(void *user, struct client_request *q, const struct split_error *e)
{
    struct remote *m = user;
    bool gone = e->code == SPLIT_ERR_NO_SESSION || e->code == SPLIT_ERR_STALE;
    if (gone && !m->lost) { /* nothing that is left can be trusted to have been done */
        client_forget(m->client, SESSION, NULL, NULL);
        m->lost = m->untold = true;
        m->opened = false;
        send_plain(m, SPLIT_CLOSE, 0, NULL, 0);
        send_open(m);
    } else if (q->op == SPLIT_OPEN && e->code == SPLIT_ERR_BUSY && m->busy_tries < BUSY_TRIES) {
        m->ask_again = true; /* perhaps our own last process, whose end the worker has not noticed yet */
    } else if (!gone && q->op != SPLIT_CLOSE) {
        event_add(m, TRAIN_FAILED, e->text, NULL);
    }
    client_request_put(m->client, q);
}

static void on_up(void *user)
{
    event_add(user, TRAIN_UP, NULL, NULL);
}

static void on_down(void *user, const char *text)
{
    event_add(user, TRAIN_DOWN, text, NULL);
}

static void on_failed(void *user, const char *text)
{
    event_add(user, TRAIN_FAILED, text, NULL);
}

/* Before the first OPEN was answered nothing can have been done, and what waits may go to the new worker as it is. */
static void on_lost(void *user, const struct split_hello_reply *r)
{
    struct remote *m = user;
    if (!m->opened)
        return;
    client_forget(m->client, SESSION, NULL, NULL);
    m->opened = false;
    tell_lost(m, r->steps, r->n_steps);
    send_open(m);
}

static void on_busy(void *user, double busy_s)
{
    struct remote *m = user;
    m->busy_s = busy_s;
    if (!m->ask_again)
        return;
    m->ask_again = false;
    m->busy_tries++;
    send_open(m);
}

/* --- the caller's thread ---------------------------------------------------------------------------------------------- */

/* Rows are encoded without the lock; a loss in between makes the request pointless. */
static int send_rows(struct remote *m, uint8_t op, struct split_rows r, const uint32_t *sample_rows, const float *x)
{
    pthread_mutex_t *lock = client_lock(m->client);
    pthread_mutex_lock(lock);
    struct client_request *q = m->lost ? NULL : client_request_get(m->client);
    if (!q) {
        int rc = m->lost ? 0 : -ENOMEM;
        pthread_mutex_unlock(lock);
        return rc;
    }
    q->op = op, q->session = SESSION, q->which = SPLIT_BULK, q->batch = r.batch, q->n = r.n;
    q->seq = client_next_seq(m->client);
    r.codec = client_codec(m->client);
    r.answered = client_unanswered(m->client, SESSION, q->seq);
    pthread_mutex_unlock(lock);
    int rc = client_rows(q, SPLIT_TRAIN, r, m->d, sample_rows, x);
    pthread_mutex_lock(lock);
    if (rc || m->lost) {
        client_request_put(m->client, q);
    } else {
        client_send(m->client, q);
        m->in_flight += op == SPLIT_FORWARD && !r.only_eval;
        m->in_flight -= op == SPLIT_BACKWARD && m->in_flight;
    }
    pthread_mutex_unlock(lock);
    return rc;
}

static int remote_forward(struct train_middle *x, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *rows, bool only_eval)
{
    struct remote *m = (struct remote *)x;
    if (!n_rows || n_rows > m->max_rows || !n_samples || n_samples > m->max_samples)
        return -EINVAL;
    pthread_mutex_lock(client_lock(m->client));
    bool full = !m->lost && m->in_flight >= m->n_slots;
    pthread_mutex_unlock(client_lock(m->client));
    if (full)
        return -ENOBUFS;
    struct split_rows r = {.batch = batch, .n = n_rows, .only_eval = only_eval, .n_samples = n_samples};
    return send_rows(m, SPLIT_FORWARD, r, sample_rows, rows);
}

static int remote_backward(
    struct train_middle *x, uint64_t batch, uint32_t n_rows, const float *grad, bool want_grad_in)
{
    struct remote *m = (struct remote *)x;
    if (!n_rows || n_rows > m->max_rows)
        return -EINVAL;
    struct split_rows r = {.batch = batch, .n = n_rows, .want_grad = want_grad_in};
    return send_rows(m, SPLIT_BACKWARD, r, NULL, grad);
}

static int send_number(struct remote *m, uint8_t op, uint64_t number, const uint8_t *payload, size_t len, bool apply)
{
    pthread_mutex_lock(client_lock(m->client));
    int rc = 0;
    struct client_request *q = m->lost ? NULL : client_request_get(m->client);
    if (q) {
        q->op = op, q->session = SESSION, q->which = SPLIT_BULK, q->batch = number, q->pos0 = apply;
        q->seq = client_next_seq(m->client);
        rc = client_frame(q, payload, len);
        if (rc)
            client_request_put(m->client, q);
        else
            client_send(m->client, q);
    } else if (!m->lost) {
        rc = -ENOMEM;
    }
    pthread_mutex_unlock(client_lock(m->client));
    return rc;
}

static int remote_norm(struct train_middle *x, uint64_t step)
{
    uint8_t payload[64];
    struct split_step p = {.step = step};
    return send_number((struct remote *)x, SPLIT_STEP, step, payload, split_step_encode(payload, &p), false);
}

static int remote_step(struct train_middle *x, uint64_t step, const struct train_adamw *o)
{
    uint8_t payload[64];
    struct split_step p = {true, step, o->lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->grad_scale, o->t};
    return send_number((struct remote *)x, SPLIT_STEP, step, payload, split_step_encode(payload, &p), true);
}

static int remote_save(struct train_middle *x, uint64_t step, const struct model_cut *cut, bool serve)
{
    uint8_t payload[128];
    struct split_save p = {
        .step = step, .serve = serve, .cut = {.head = cut->head, .tail = cut->tail, .step = cut->step}};
    memcpy(p.cut.id, cut->id, 32);
    memcpy(p.cut.run, cut->run, 16);
    return send_number((struct remote *)x, SPLIT_SAVE, step, payload, split_save_encode(payload, &p), false);
}

static int remote_load(struct train_middle *x, uint64_t step)
{
    struct remote *m = (struct remote *)x;
    uint8_t payload[8];
    pthread_mutex_lock(client_lock(m->client));
    bool told = !m->untold; /* a loss that the caller has not heard of yet comes first */
    for (struct remote_event *e = m->events.first; e; e = e->next)
        told &= e->train.kind != TRAIN_LOST;
    if (told) {
        m->lost = false;
        m->in_flight = 0;
    }
    pthread_mutex_unlock(client_lock(m->client));
    return send_number(m, SPLIT_LOAD, step, payload, split_u64_encode(payload, step), false);
}

static int remote_next(struct train_middle *x, int64_t wait_ns, struct train_event *ret)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    struct remote_event *e = remote_events_next(&m->events, wait_ns);
    if (e)
        *ret = e->train;
    pthread_mutex_unlock(client_lock(m->client));
    return e ? 0 : -EAGAIN;
}

static void remote_stats(struct train_middle *x, struct train_middle_stats *ret)
{
    struct remote *m = (struct remote *)x;
    pthread_mutex_lock(client_lock(m->client));
    struct client_counts c = client_counts(m->client);
    *ret = (struct train_middle_stats){.bytes_up = c.bytes_up,
        .bytes_down = c.bytes_down,
        .busy_s = m->busy_s,
        .reconnects = c.reconnects,
        .up = c.up};
    pthread_mutex_unlock(client_lock(m->client));
}

static void remote_free(struct train_middle *x)
{
    struct remote *m = (struct remote *)x;
    if (!m)
        return;
    client_stop(m->client);
    remote_events_done(&m->events);
    client_free(m->client);
    free(m);
}

static const struct train_middle_ops remote_ops = {
    .forward = remote_forward,
    .backward = remote_backward,
    .norm = remote_norm,
    .step = remote_step,
    .save = remote_save,
    .load = remote_load,
    .next = remote_next,
    .stats = remote_stats,
    .free = remote_free,
};

static struct split_open open_of(const struct remote_train_config *c)
{
    const struct train_config *t = &c->train;
    struct split_open o = {.role = SPLIT_TRAIN,
        .train = {.max_rows = t->max_rows,
            .max_samples = t->max_samples ? t->max_samples : t->max_rows,
            .n_slots = c->n_slots ? c->n_slots : 1,
            .lora_rank = t->lora_rank,
            .lora_targets = t->lora_targets,
            .lora_alpha = t->lora_alpha,
            .seed = t->seed,
            .recompute = t->recompute}};
    if (o.train.max_samples > SPLIT_MAX_SAMPLES)
        o.train.max_samples = SPLIT_MAX_SAMPLES;
    memcpy(o.train.run, c->run, 16);
    return o;
}

int remote_train_create(struct train_middle **ret, const struct remote_train_config *cfg, struct error *err)
{
    static const struct client_events events = {on_answered, on_refused, on_up, on_down, on_lost, on_failed, on_busy};
    struct remote *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, ENOMEM, "out of memory");
    m->middle.ops = &remote_ops;
    m->d = cfg->remote.d;
    m->open = open_of(cfg);
    m->n_slots = m->open.train.n_slots;
    m->max_rows = m->open.train.max_rows;
    m->max_samples = m->open.train.max_samples;
    remote_events_init(&m->events);
    int rc = client_create(&m->client, &cfg->remote, SPLIT_TRAIN, cfg->run, true, &events, m, err);
    if (rc) {
        remote_free(&m->middle);
        return rc;
    }
    m->events.client = m->client;
    pthread_mutex_lock(client_lock(m->client));
    send_open(m);
    pthread_mutex_unlock(client_lock(m->client));
    *ret = &m->middle;
    client_start(m->client);
    return 0;
}
