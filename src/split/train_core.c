/* The state machine of a training middle. */
#include "split/train_core.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct slot {
    bool held;
    uint64_t batch;
    uint32_t n_rows;
};

struct train_core {
    struct half_train *half;
    struct store store;
    bool has_store;
    struct model_cut base;
    uint8_t run[16];
    uint64_t steps, last_batch;
    bool any_batch;
    _Atomic int64_t busy_ns;
    struct slot slots[];
};

int train_core_create(struct train_core **ret, struct half_train *h, const struct store *store,
    const struct model_cut *base, const uint8_t run[16])
{
    struct train_core *c = calloc(1, sizeof(*c) + h->n_slots * sizeof(struct slot));
    if (!c)
        return -ENOMEM;
    c->half = h;
    c->base = *base;
    memcpy(c->run, run, 16);
    if (store) {
        c->store = *store;
        c->has_store = true;
    }
    *ret = c;
    return 0;
}

void train_core_free(struct train_core *c)
{
    if (!c)
        return;
    c->half->ops->free(c->half);
    free(c);
}

static void busy_since(struct train_core *c, int64_t began_ns)
{
    atomic_fetch_add_explicit(&c->busy_ns, clock_now_ns() - began_ns, memory_order_relaxed);
}

static struct slot *slot_of(struct train_core *c, uint64_t batch)
{
    for (uint32_t i = 0; i < c->half->n_slots; i++)
        if (c->slots[i].held && c->slots[i].batch == batch)
            return c->slots + i;
    return NULL;
}

static struct slot *slot_free(struct train_core *c)
{
    for (uint32_t i = 0; i < c->half->n_slots; i++)
        if (!c->slots[i].held)
            return c->slots + i;
    return NULL;
}

static bool any_held(const struct train_core *c)
{
    for (uint32_t i = 0; i < c->half->n_slots; i++)
        if (c->slots[i].held)
            return true;
    return false;
}

static int check_shape(
    const struct train_core *c, const uint32_t *sample_rows, uint32_t n_samples, uint32_t n_rows, struct error *err)
{
    uint64_t sum = 0;
    if (!n_samples || n_samples > c->half->max_samples || !n_rows || n_rows > c->half->max_rows)
        return error_set(err, EINVAL, "a micro-batch of %u samples and %u rows: at most %u and %u were agreed",
            n_samples, n_rows, c->half->max_samples, c->half->max_rows);
    for (uint32_t i = 0; i < n_samples; i++) {
        if (!sample_rows[i])
            return error_set(err, EINVAL, "a micro-batch has an empty sample");
        sum += sample_rows[i];
    }
    if (sum != n_rows)
        return error_set(err, EINVAL, "a micro-batch's samples have %" PRIu64 " rows, not %u", sum, n_rows);
    return 0;
}

int train_core_forward(struct train_core *c, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *x, float *out, bool only_eval, struct error *err)
{
    int rc = check_shape(c, sample_rows, n_samples, n_rows, err);
    if (rc)
        return rc;
    if (c->any_batch && batch <= c->last_batch)
        return error_set(err, EPROTO, "micro-batch %" PRIu64 " comes after %" PRIu64, batch, c->last_batch);
    struct slot *s = slot_free(c);
    if (!s)
        return error_set(err, EPROTO, "micro-batch %" PRIu64 ": all %u slots are in use", batch, c->half->n_slots);
    int64_t began = clock_now_ns();
    uint32_t index = (uint32_t)(s - c->slots);
    rc = c->half->ops->forward(c->half, index, sample_rows, n_samples, x, out, err);
    if (!rc) {
        c->any_batch = true;
        c->last_batch = batch;
        *s = (struct slot){!only_eval, batch, n_rows};
        if (only_eval)
            c->half->ops->drop(c->half, index);
    }
    busy_since(c, began);
    return rc;
}

int train_core_backward(
    struct train_core *c, uint64_t batch, uint32_t n_rows, const float *grad, float *grad_in, struct error *err)
{
    struct slot *s = slot_of(c, batch);
    if (!s)
        return error_set(err, EPROTO, "backward of micro-batch %" PRIu64 ", which is not in flight", batch);
    if (n_rows != s->n_rows)
        return error_set(
            err, EINVAL, "backward of micro-batch %" PRIu64 " has %u rows, forward had %u", batch, n_rows, s->n_rows);
    int64_t began = clock_now_ns();
    int rc = c->half->ops->backward(c->half, (uint32_t)(s - c->slots), grad, grad_in, err);
    if (!rc)
        s->held = false;
    busy_since(c, began);
    return rc;
}

static int check_step(const struct train_core *c, uint64_t step, const char *what, struct error *err)
{
    if (step != c->steps + 1)
        return error_set(err, EPROTO, "%s of step %" PRIu64 ", but %" PRIu64 " steps are done", what, step, c->steps);
    if (any_held(c))
        return error_set(err, EPROTO, "%s of step %" PRIu64 " while micro-batches are in flight", what, step);
    return 0;
}

int train_core_norm(struct train_core *c, uint64_t step, double *ret_sumsq, struct error *err)
{
    int rc = check_step(c, step, "gradient norm", err);
    if (rc)
        return rc;
    int64_t began = clock_now_ns();
    *ret_sumsq = c->half->ops->sumsq(c->half);
    busy_since(c, began);
    return 0;
}

int train_core_step(struct train_core *c, uint64_t step, const struct train_adamw *opt, struct error *err)
{
    int rc = check_step(c, step, "update", err);
    if (rc)
        return rc;
    int64_t began = clock_now_ns();
    c->half->ops->step(c->half, opt);
    c->steps = step;
    busy_since(c, began);
    return 0;
}

/* A half to serve appears under its own name only when it is whole. */
static int export_half(struct train_core *c, const struct model_cut *cut, struct error *err)
{
    char path[STORE_PATH];
    struct model_cut named = *cut;
    named.part = c->base.part;
    named.head = c->base.head;
    named.tail = c->base.tail;
    store_half_path(&c->store, &named, path);
    int rc = c->half->ops->export(c->half, path, &named, err);
    if (!rc)
        store_halves_prune(&c->store, &named);
    return rc;
}

int train_core_save(struct train_core *c, uint64_t step, const struct model_cut *cut, bool serve, struct error *err)
{
    if (step != c->steps || any_held(c))
        return error_set(err, EPROTO, "checkpoint of step %" PRIu64 ", but %" PRIu64 " steps are done%s", step,
            c->steps, any_held(c) ? " and micro-batches are in flight" : "");
    if (!c->has_store)
        return error_set(err, ENOTSUP, "no folder was given to save this half of the training in");
    if (memcmp(cut->id, c->base.id, 32) || (serve && memcmp(cut->run, c->run, 16)))
        return error_set(err, EINVAL, "a checkpoint of another cut or run was asked for");
    char path[STORE_PATH];
    int rc = store_run_make(&c->store, c->base.id, c->run, err);
    if (rc)
        return rc;
    store_step_path(&c->store, c->base.id, c->run, step, path);
    struct model_cut state = c->base;
    state.step = step;
    memcpy(state.run, c->run, 16);
    rc = c->half->ops->save(c->half, path, &state, err);
    if (rc)
        return rc;
    store_run_prune(&c->store, c->base.id, c->run, step);
    return serve ? export_half(c, cut, err) : 0;
}

int train_core_load(struct train_core *c, uint64_t step, struct error *err)
{
    int rc;
    if (step == 0) {
        rc = c->steps ? c->half->ops->reset(c->half, err) : 0;
    } else {
        char path[STORE_PATH];
        struct model_cut cut;
        if (!c->has_store)
            return error_set(err, ENOTSUP, "no folder was given to load checkpoints from");
        store_step_path(&c->store, c->base.id, c->run, step, path);
        if (access(path, R_OK))
            return error_set(err, ENOENT, "there is no checkpoint of step %" PRIu64 " of this run here", step);
        rc = c->half->ops->load(c->half, path, &cut, err);
        if (!rc && cut.step != step)
            rc = error_set(err, EBADMSG, "the checkpoint named step %" PRIu64 " is of step %" PRIu64, step, cut.step);
    }
    if (rc)
        return rc;
    for (uint32_t i = 0; i < c->half->n_slots; i++) {
        if (c->slots[i].held)
            c->half->ops->drop(c->half, i);
        c->slots[i].held = false;
    }
    c->half->ops->zero(c->half);
    c->steps = step;
    c->any_batch = false;
    if (c->has_store)
        store_run_forget_after(&c->store, c->base.id, c->run, step);
    return 0;
}

uint64_t train_core_steps(const struct train_core *c)
{
    return c->steps;
}

double train_core_busy_s(const struct train_core *c)
{
    return (double)atomic_load_explicit(&c->busy_ns, memory_order_relaxed) / NS_PER_S;
}

const struct half_train *train_core_half(const struct train_core *c)
{
    return c->half;
}
