/* Micro-batches through head, middle, tail and back, several under way.
 *
 * Both ends of the line take what comes first first: the middle executes requests as they were made, its answers are
 * taken as they come. So the order of everything that adds up is a function of the numbers, not of the clock:
 *   OUT of b:  tail forward, loss, tail backward; BACKWARD of b is sent (behind the last one the middle's norm is asked,
 *              so that it arrives with the last gradient)
 *   GRAD of b: head backward; b's place is free for the next one. */
#include "split/trainer_inner.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD    0u
#define TAIL    1u
#define LOOK_NS (NS_PER_S / 4) /* how often a wait looks whether somebody wants to stop */

int trainer_pipe_init(struct trainer *t)
{
    t->flights = calloc(t->cfg.in_flight, sizeof(*t->flights));
    if (!t->flights)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->cfg.in_flight; i++)
        if (micro_batch_init(&t->flights[i].mb, t->data))
            return -ENOMEM;
    t->max_rows = dataset_max_rows(t->data);
    t->x = malloc(sizeof(float) * t->max_rows * t->p->d);
    return t->x ? 0 : -ENOMEM;
}

void trainer_pipe_done(struct trainer *t)
{
    for (uint32_t i = 0; t->flights && i < t->cfg.in_flight; i++)
        micro_batch_done(&t->flights[i].mb);
    free(t->flights);
    free(t->x);
    dataset_order_done(&t->order);
}

static struct flight *flight_of(struct trainer *t, uint64_t number)
{
    return &t->flights[number % t->cfg.in_flight];
}

static uint32_t slot_of(const struct trainer *t, uint64_t number)
{
    return (uint32_t)(number % t->cfg.in_flight);
}

/* --- waiting for the middle -------------------------------------------------------------------------------------- */

static int went_down(struct trainer *t, struct error *err)
{
    int64_t now = clock_now_ns();
    if (!t->down_since_ns)
        t->down_since_ns = now;
    t->progress.waiting = true;
    trainer_show(t, true);
    if (now - t->down_since_ns > t->cfg.down_timeout_ns)
        return error_set(err, ETIMEDOUT,
            "no connection to the cloud for %lld s; resume from the last checkpoint when it is back",
            (long long)(t->cfg.down_timeout_ns / NS_PER_S));
    if (t->stop)
        return error_set(err, EINTR, "stopped without a connection to the cloud: the last checkpoint counts");
    return 0;
}

/* Also before the first event: a cloud that was never there is away, too. */
static bool connected(struct trainer *t)
{
    struct train_middle_stats st = {0};
    t->middle->ops->stats(t->middle, &st);
    return st.up;
}

static void note_lost(struct trainer *t, const struct train_event *ev)
{
    t->n_lost_steps = ev->n_steps < 4 ? ev->n_steps : 4;
    memcpy(t->lost_steps, ev->steps, sizeof(t->lost_steps[0]) * t->n_lost_steps);
    t->progress.losses++;
}

int trainer_next(struct trainer *t, struct train_event *ret, struct error *err)
{
    for (;;) {
        int rc = t->middle->ops->next(t->middle, LOOK_NS, ret);
        if (rc && rc != -EAGAIN)
            return error_set(err, -rc, "the link to the cloud failed: %s", strerror(-rc));
        if (rc == -EAGAIN) {
            trainer_show(t, false);
            if (!connected(t) && (rc = went_down(t, err)))
                return rc;
            continue;
        }
        if (ret->kind == TRAIN_DOWN) {
            if ((rc = went_down(t, err)))
                return rc;
            continue;
        }
        t->down_since_ns = 0;
        t->progress.waiting = false;
        if (ret->kind == TRAIN_UP)
            continue;
        if (ret->kind == TRAIN_FAILED)
            return error_set(err, EREMOTEIO, "%s", ret->text && ret->text[0] ? ret->text : "the cloud's side failed");
        if (ret->kind != TRAIN_LOST)
            return 0;
        note_lost(t, ret);
        return TRAINER_LOST;
    }
}

static int unexpected(const struct train_event *ev, struct error *err)
{
    return error_set(err, EPROTO,
        "the cloud answered out of turn (kind %d, micro-batch %" PRIu64 ", step %" PRIu64
        "): its software does not fit",
        (int)ev->kind, ev->batch, ev->step);
}

int trainer_await(struct trainer *t, enum train_event_kind kind, uint64_t step, struct error *err)
{
    struct train_event ev;
    int rc = trainer_next(t, &ev, err);
    if (rc)
        return rc;
    return ev.kind == kind && ev.step == step ? 0 : unexpected(&ev, err);
}

/* --- one micro-batch --------------------------------------------------------------------------------------------- */

static int64_t busy_begin(void)
{
    return clock_now_ns();
}

static void busy_end(struct trainer *t, int64_t began_ns)
{
    t->edge_busy_s += (double)(clock_now_ns() - began_ns) / NS_PER_S;
}

static int send_forward(struct trainer *t, uint64_t number, bool only_eval, struct error *err)
{
    const struct micro_batch *mb = &flight_of(t, number)->mb;
    int rc = t->middle->ops->forward(t->middle, number, mb->sample_rows, mb->n_samples, mb->n_rows, t->x, only_eval);
    t->x_waits = rc == -ENOBUFS;
    if (rc && rc != -ENOBUFS)
        return error_set(err, -rc, "a micro-batch could not be sent to the cloud: %s", strerror(-rc));
    return 0;
}

/* The flight's micro-batch is filled. */
static int head_forward(struct trainer *t, uint64_t number, bool only_eval, struct error *err)
{
    struct flight *f = flight_of(t, number);
    uint32_t slot = slot_of(t, number);
    int64_t began = busy_begin();
    f->number = number;
    int rc = train_forward(t->edge, HEAD, slot, f->mb.sample_rows, f->mb.n_samples, f->mb.tokens, NULL, t->x, err);
    if (!rc && only_eval)
        train_drop(t->edge, HEAD, slot);
    busy_end(t, began);
    return rc ? rc : send_forward(t, number, only_eval, err);
}

/* Forward, loss and (unless only_eval) backward of the part with the output; grad may be NULL for a whole model. */
static int tail_run(struct trainer *t, const struct micro_batch *mb, uint32_t part, const float *in, float *grad,
    bool only_eval, struct error *err)
{
    struct train_loss loss;
    int64_t began = busy_begin();
    const int32_t *tokens = in ? NULL : mb->tokens;
    int rc = train_forward(t->edge, part, 0, mb->sample_rows, mb->n_samples, tokens, in, NULL, err);
    if (!rc)
        rc = train_loss(t->edge, part, 0, mb->targets, only_eval, &loss, err);
    if (!rc && only_eval)
        train_drop(t->edge, part, 0);
    else if (!rc)
        rc = train_backward(t->edge, part, 0, NULL, grad, err);
    if (!rc) {
        t->loss.sum += loss.sum;
        t->loss.n += loss.n;
        t->loss.n_right += loss.n_right;
        t->seen_rows += only_eval ? 0 : mb->n_rows;
    }
    busy_end(t, began);
    return rc;
}

static int take_grad(struct trainer *t, const struct train_event *ev, struct error *err)
{
    int rc = 0;
    if (!t->cfg.freeze_head) {
        int64_t began = busy_begin();
        rc = train_backward(t->edge, HEAD, slot_of(t, ev->batch), ev->x, NULL, err);
        busy_end(t, began);
    }
    return rc;
}

static int send_backward(struct trainer *t, const struct flight *f, struct error *err)
{
    int rc = t->middle->ops->backward(t->middle, f->number, f->mb.n_rows, t->x, !t->cfg.freeze_head);
    return rc ? error_set(err, -rc, "gradients could not be sent to the cloud: %s", strerror(-rc)) : 0;
}

static int ask_norm(struct trainer *t, struct error *err)
{
    int rc = t->middle->ops->norm(t->middle, t->st.step + 1);
    return rc ? error_set(err, -rc, "the cloud cannot be asked for its gradient: %s", strerror(-rc)) : 0;
}

/* --- a step ------------------------------------------------------------------------------------------------------ */

struct progress_of_step {
    uint64_t given, outs, grads, end; /* micro-batch numbers: the next to give, to come out, to come back; the end */
};

/* Vectors that found no slot in the middle are made again later: the tail uses x in between. It does not happen when
 * in_flight keeps to the middle's slots. */
static int give(struct trainer *t, struct progress_of_step *s, struct error *err)
{
    while (s->given < s->end && s->given - s->grads < t->cfg.in_flight) {
        if (t->x_waits)
            train_drop(t->edge, HEAD, slot_of(t, s->given));
        else if (dataset_next(t->data, &t->order, &t->st.cursor, &flight_of(t, s->given)->mb))
            return error_set(err, ENOMEM, "no memory for the order of the data");
        int rc = head_forward(t, s->given, false, err);
        if (rc || t->x_waits)
            return rc;
        s->given++;
    }
    return 0;
}

static int take_out(struct trainer *t, struct progress_of_step *s, const struct train_event *ev, struct error *err)
{
    struct flight *f = flight_of(t, ev->batch);
    if (ev->batch != s->outs || s->outs >= s->given || ev->n_rows != f->mb.n_rows || !ev->x)
        return unexpected(ev, err);
    int rc = tail_run(t, &f->mb, TAIL, ev->x, t->x, false, err);
    if (!rc)
        rc = send_backward(t, f, err);
    s->outs++;
    return rc || s->outs < s->end ? rc : ask_norm(t, err);
}

static int take_event(struct trainer *t, struct progress_of_step *s, const struct train_event *ev, struct error *err)
{
    switch (ev->kind) {
    case TRAIN_OUT:
        return take_out(t, s, ev, err);
    case TRAIN_GRAD:
        if (ev->batch != s->grads || s->grads >= s->outs || (!t->cfg.freeze_head && !ev->x))
            return unexpected(ev, err);
        s->grads++;
        return take_grad(t, ev, err);
    case TRAIN_NORM:
        if (ev->step != t->st.step + 1 || s->grads != s->end)
            return unexpected(ev, err);
        t->sumsq = ev->value;
        t->has_sumsq = true;
        return 0;
    case TRAIN_STEPPED: /* the last step's, while this one's micro-batches were already on their way */
        return ev->step == t->st.step ? 0 : unexpected(ev, err);
    default:
        return unexpected(ev, err);
    }
}

static int step_whole(struct trainer *t, struct error *err)
{
    struct micro_batch *mb = &t->flights[0].mb;
    for (uint32_t i = 0; i < t->cfg.accumulate; i++) {
        if (dataset_next(t->data, &t->order, &t->st.cursor, mb))
            return error_set(err, ENOMEM, "no memory for the order of the data");
        int rc = tail_run(t, mb, 0, NULL, NULL, false, err);
        if (rc)
            return rc;
    }
    return 0;
}

int trainer_pipe_step(struct trainer *t, struct error *err)
{
    t->loss = (struct train_loss){0};
    t->sumsq = 0;
    t->has_sumsq = !t->middle;
    if (!t->middle)
        return step_whole(t, err);
    uint64_t first = t->next_number;
    struct progress_of_step s = {first, first, first, first + t->cfg.accumulate};
    t->next_number = s.end;
    int rc = give(t, &s, err);
    while (!rc && !t->has_sumsq) {
        struct train_event ev;
        rc = trainer_next(t, &ev, err);
        if (!rc)
            rc = take_event(t, &s, &ev, err);
        if (!rc)
            rc = give(t, &s, err);
    }
    return rc;
}

void trainer_pipe_drop(struct trainer *t)
{
    for (uint32_t i = 0; i < t->cfg.in_flight; i++)
        train_drop(t->edge, HEAD, i);
    if (t->middle)
        train_drop(t->edge, TAIL, 0);
    train_grad_zero(t->edge);
    t->x_waits = false;
}

/* --- an evaluation ----------------------------------------------------------------------------------------------- */

static int eval_whole(struct trainer *t, struct error *err)
{
    struct micro_batch *mb = &t->flights[0].mb;
    int rc = 0;
    for (uint64_t at = 0; !rc && dataset_eval(t->data, &at, mb);)
        rc = tail_run(t, mb, 0, NULL, NULL, true, err);
    return rc;
}

static int eval_event(struct trainer *t, uint64_t *outs, uint64_t given, struct error *err)
{
    struct train_event ev;
    int rc = trainer_next(t, &ev, err);
    if (rc)
        return rc;
    if (ev.kind == TRAIN_STEPPED && ev.step == t->st.step)
        return 0;
    const struct micro_batch *mb = &flight_of(t, ev.batch)->mb;
    if (ev.kind != TRAIN_OUT || ev.batch != *outs || *outs >= given || ev.n_rows != mb->n_rows || !ev.x)
        return unexpected(&ev, err);
    ++*outs;
    return tail_run(t, mb, TAIL, ev.x, NULL, true, err);
}

int trainer_pipe_eval(struct trainer *t, struct error *err)
{
    uint64_t at = 0, outs = t->next_number, given = outs;
    bool more = true;
    int rc = 0;
    t->loss = (struct train_loss){0};
    if (!t->middle)
        return eval_whole(t, err);
    while (!rc && (more || outs < given)) {
        while (!rc && more && given - outs < t->cfg.in_flight && !t->x_waits) {
            more = dataset_eval(t->data, &at, &flight_of(t, given)->mb);
            if (more)
                rc = head_forward(t, given, true, err);
            given += more && !t->x_waits;
        }
        if (!rc && outs < given)
            rc = eval_event(t, &outs, given, err);
        if (!rc && t->x_waits) { /* the tail keeps off x in an evaluation */
            rc = send_forward(t, given, true, err);
            if (!rc && t->x_waits && outs == given)
                rc = error_set(err, EPROTO, "the cloud has no slot for a micro-batch though none is under way");
            given += !t->x_waits;
        }
    }
    t->next_number = given;
    return rc;
}
