/* The training middle in this process. */
#include "split/local_train.h"

#include "split/train_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct event {
    struct event *next;
    struct train_event e;
    char text[1024];
    float x[];
};

struct local {
    struct train_middle middle;
    struct train_core *core;
    uint32_t d, in_flight;
    struct event *first, **last, *shown;
};

static struct event *event_new(uint32_t n_rows, uint32_t d)
{
    struct event *e = calloc(1, sizeof(*e) + (size_t)n_rows * d * sizeof(float));
    if (e) {
        e->e.n_rows = n_rows;
        e->e.x = n_rows ? e->x : NULL;
    }
    return e;
}

/* Into the line. The caller's mistakes are returned; other failures become an event that says what happened. */
static int event_give(struct local *l, struct event *e, int rc, const struct error *err)
{
    if (rc == -EINVAL || rc == -EPROTO) {
        free(e);
        return rc;
    }
    if (rc) {
        memcpy(e->text, err->text, sizeof(e->text));
        e->e = (struct train_event){.kind = TRAIN_FAILED, .text = e->text};
    }
    *l->last = e;
    l->last = &e->next;
    return 0;
}

static int local_forward(struct train_middle *m, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *x, bool only_eval)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    if (l->in_flight >= train_core_half(l->core)->n_slots)
        return -ENOBUFS;
    if (n_rows > train_core_half(l->core)->max_rows)
        return -EINVAL;
    struct event *e = event_new(n_rows, l->d);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_OUT;
    e->e.batch = batch;
    int rc = train_core_forward(l->core, batch, sample_rows, n_samples, n_rows, x, e->x, only_eval, &err);
    l->in_flight += !rc && !only_eval;
    return event_give(l, e, rc, &err);
}

static int local_backward(struct train_middle *m, uint64_t batch, uint32_t n_rows, const float *grad, bool want_grad_in)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    if (n_rows > train_core_half(l->core)->max_rows)
        return -EINVAL;
    struct event *e = event_new(want_grad_in ? n_rows : 0, l->d);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_GRAD;
    e->e.batch = batch;
    e->e.n_rows = n_rows;
    int rc = train_core_backward(l->core, batch, n_rows, grad, want_grad_in ? e->x : NULL, &err);
    l->in_flight -= !rc;
    return event_give(l, e, rc, &err);
}

static int local_norm(struct train_middle *m, uint64_t step)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    struct event *e = event_new(0, 0);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_NORM;
    e->e.step = step;
    return event_give(l, e, train_core_norm(l->core, step, &e->e.value, &err), &err);
}

static int local_step(struct train_middle *m, uint64_t step, const struct train_adamw *opt)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    struct event *e = event_new(0, 0);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_STEPPED;
    e->e.step = step;
    return event_give(l, e, train_core_step(l->core, step, opt, &err), &err);
}

static int local_save(struct train_middle *m, uint64_t step, const struct model_cut *cut, bool serve)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    struct event *e = event_new(0, 0);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_SAVED;
    e->e.step = step;
    return event_give(l, e, train_core_save(l->core, step, cut, serve, &err), &err);
}

static int local_load(struct train_middle *m, uint64_t step)
{
    struct local *l = (struct local *)m;
    struct error err = {""};
    struct event *e = event_new(0, 0);
    if (!e)
        return -ENOMEM;
    e->e.kind = TRAIN_LOADED;
    e->e.step = step;
    int rc = train_core_load(l->core, step, &err);
    if (!rc)
        l->in_flight = 0;
    return event_give(l, e, rc, &err);
}

static int local_next(struct train_middle *m, int64_t wait_ns, struct train_event *ret)
{
    struct local *l = (struct local *)m;
    (void)wait_ns; /* nothing comes that was not asked for, and what was asked for is there */
    free(l->shown);
    l->shown = l->first;
    if (!l->shown)
        return -EAGAIN;
    l->first = l->shown->next;
    if (!l->first)
        l->last = &l->first;
    *ret = l->shown->e;
    return 0;
}

static void local_stats(struct train_middle *m, struct train_middle_stats *ret)
{
    *ret = (struct train_middle_stats){.busy_s = train_core_busy_s(((struct local *)m)->core), .up = true};
}

static void local_free(struct train_middle *m)
{
    struct local *l = (struct local *)m;
    if (!l)
        return;
    free(l->shown);
    while (l->first) {
        struct event *e = l->first;
        l->first = e->next;
        free(e);
    }
    train_core_free(l->core);
    free(l);
}

static const struct train_middle_ops local_ops = {
    .forward = local_forward,
    .backward = local_backward,
    .norm = local_norm,
    .step = local_step,
    .save = local_save,
    .load = local_load,
    .next = local_next,
    .stats = local_stats,
    .free = local_free,
};

int local_train_create_over(struct train_middle **ret, struct half_train *h, const struct model_cut *base,
    const struct local_train_config *cfg, struct error *err)
{
    struct store store;
    int rc = cfg->store ? store_open(&store, cfg->store, err) : 0;
    if (rc)
        return rc;
    struct local *l = calloc(1, sizeof(*l));
    if (!l)
        return error_set(err, ENOMEM, "out of memory");
    rc = train_core_create(&l->core, h, cfg->store ? &store : NULL, base, cfg->run);
    if (rc) {
        free(l);
        return error_set(err, ENOMEM, "out of memory");
    }
    l->middle.ops = &local_ops;
    l->d = h->d;
    l->last = &l->first;
    *ret = &l->middle;
    return 0;
}
