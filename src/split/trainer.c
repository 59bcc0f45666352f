/* The plan: steps, evaluations, checkpoints, going back, results. */
#include "split/trainer.h"

#include "base/clock.h"
#include "os/file.h"
#include "split/trainer_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- rate -------------------------------------------------------------------------------------------------------- */

double trainer_rate(const struct trainer_config *c, uint64_t step)
{
    double least = (double)c->lr_least;
    if (step <= c->warmup)
        return (double)c->lr * (double)step / (double)c->warmup;
    double left = c->steps > c->warmup ? (double)(c->steps - step) / (double)(c->steps - c->warmup) : 0;
    switch (c->schedule) {
    case TRAINER_LINEAR:
        return (double)c->lr * (least + (1 - least) * left);
    case TRAINER_COSINE:
        return (double)c->lr * (least + (1 - least) * 0.5 * (1 - cos(M_PI * left)));
    default:
        return (double)c->lr;
    }
}

/* --- progress ---------------------------------------------------------------------------------------------------- */

static struct train_middle_stats middle_stats(const struct trainer *t)
{
    struct train_middle_stats st = {.up = true};
    if (t->middle)
        t->middle->ops->stats(t->middle, &st);
    return st;
}

static void begin_window(struct trainer *t, const struct train_middle_stats *st, int64_t now_ns)
{
    t->window_ns = now_ns;
    t->window_rows = t->seen_rows;
    t->window_edge_s = t->edge_busy_s;
    t->window_middle_s = st->busy_s;
}

/* Rates are of at least the last second. A middle that restarted counts from 0 again. */
static void measure(struct trainer *t, int64_t now_ns)
{
    struct train_middle_stats st = middle_stats(t);
    double seconds = (double)(now_ns - t->window_ns) / NS_PER_S;
    struct trainer_progress *p = &t->progress;
    p->bytes_up = st.bytes_up;
    p->bytes_down = st.bytes_down;
    if (seconds < 1 && p->rows_per_s > 0)
        return;
    p->rows_per_s = (double)(t->seen_rows - t->window_rows) / seconds;
    p->busy_edge = (t->edge_busy_s - t->window_edge_s) / seconds;
    p->busy_middle =
        st.busy_s > t->window_middle_s ? fmin(1, (st.busy_s - t->window_middle_s) / seconds) : 0; /* told late */
    if (seconds >= 1)
        begin_window(t, &st, now_ns);
}

void trainer_show(struct trainer *t, bool now)
{
    int64_t now_ns = clock_now_ns();
    if (!now && now_ns - t->shown_ns < NS_PER_S)
        return;
    t->shown_ns = now_ns;
    measure(t, now_ns);
    t->progress.step = t->st.step;
    t->progress.epoch = t->st.cursor.epoch;
    t->progress.rows = t->st.rows;
    t->progress.best_loss = t->st.best_loss;
    t->progress.best_step = t->st.best_step;
    if (t->cfg.on_progress && !t->cfg.on_progress(t->cfg.user, &t->progress))
        t->stop = true;
}

/* --- one step ---------------------------------------------------------------------------------------------------- */

/* The gradient is of the mean over the targets of the step, its norm over both sides. */
static int update(struct trainer *t, struct error *err)
{
    double sumsq = train_grad_sumsq(t->edge) + t->sumsq, tokens = (double)t->loss.n;
    double norm = sqrt(sumsq) / tokens, clip = 1;
    if (!isfinite(norm))
        return error_set(err, ERANGE, "the gradient of step %llu is not finite: try a smaller --lr",
            (unsigned long long)t->st.step + 1);
    if (t->cfg.clip > 0 && norm > (double)t->cfg.clip)
        clip = (double)t->cfg.clip / norm;
    struct train_adamw opt = {
        .lr = (float)trainer_rate(&t->cfg, t->st.step + 1),
        .beta1 = t->cfg.beta1,
        .beta2 = t->cfg.beta2,
        .eps = t->cfg.eps,
        .weight_decay = t->cfg.weight_decay,
        .grad_scale = (float)(clip / tokens),
        .t = t->st.step + 1,
    };
    if (t->middle) {
        int rc = t->middle->ops->step(t->middle, t->st.step + 1, &opt);
        if (rc)
            return error_set(err, -rc, "the cloud cannot be asked to step: %s", strerror(-rc));
    }
    int64_t began = clock_now_ns();
    train_step(t->edge, &opt);
    t->edge_busy_s += (double)(clock_now_ns() - began) / NS_PER_S;
    t->progress.lr = (double)opt.lr;
    t->progress.grad_norm = norm;
    t->progress.loss = t->loss.sum / tokens;
    return 0;
}

static int one_step(struct trainer *t, struct error *err)
{
    uint64_t rows = t->seen_rows;
    int rc = trainer_pipe_step(t, err);
    if (!rc)
        rc = update(t, err);
    if (rc)
        return rc;
    t->st.step++;
    t->st.rows += t->seen_rows - rows;
    trainer_show(t, true);
    return 0;
}

static int evaluate(struct trainer *t, struct error *err)
{
    int rc = trainer_pipe_eval(t, err);
    if (rc)
        return rc;
    t->progress.eval_loss = t->loss.sum / (double)t->loss.n;
    t->progress.eval_right = (double)t->loss.n_right / (double)t->loss.n;
    if (isnan(t->st.best_loss) || t->progress.eval_loss < t->st.best_loss) {
        t->st.best_loss = t->progress.eval_loss;
        t->st.best_step = t->st.step;
        if (t->cfg.export_best && t->st.step) { /* the middle's half comes with a checkpoint: so ours must, too */
            rc = trainer_save(t, err);
            rc = rc ? rc : trainer_export(t, true, err);
        }
    }
    trainer_show(t, true);
    return rc;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static bool due(uint64_t every, const struct trainer *t)
{
    return t->st.step == t->cfg.steps || t->stop || (every && t->st.step % every == 0);
}

/* A step and what follows it. The middle still owes STEPPED, which the next wait takes. */
static int round_trip(struct trainer *t, struct error *err)
{
    bool has_eval = dataset_counts(t->data).eval > 0;
    int rc = one_step(t, err);
    if (!rc && t->middle && (due(t->cfg.save_every, t) || (has_eval && due(t->cfg.eval_every, t))))
        rc = trainer_await(t, TRAIN_STEPPED, t->st.step, err);
    if (!rc && has_eval && due(t->cfg.eval_every, t) && !t->stop)
        rc = evaluate(t, err);
    if (!rc && due(t->cfg.save_every, t))
        rc = t->saved_step == t->st.step ? 0 : trainer_save(t, err);
    return rc;
}

static int go_back(struct trainer *t, struct error *err)
{
    int rc;
    do
        rc = trainer_restore(t, false, err);
    while (rc == TRAINER_LOST);
    return rc;
}

static int begin(struct trainer *t, struct error *err)
{
    bool has_eval = dataset_counts(t->data).eval > 0;
    int rc = file_make_dir(t->cfg.dir, 0700, err);
    if (!rc && t->cfg.resume) {
        rc = trainer_restore(t, true, err);
        return rc == TRAINER_LOST ? go_back(t, err) : rc;
    }
    rc = rc ? rc : trainer_scan(t, err);
    if (!rc && t->n_generations)
        return error_set(err, EEXIST,
            "%s already holds a training run: resume it with --resume, or choose another folder", t->cfg.dir);
    if (!rc)
        rc = trainer_save(t, err);
    if (!rc && has_eval)
        rc = evaluate(t, err);
    return rc == TRAINER_LOST ? go_back(t, err) : rc;
}

static int finish(struct trainer *t, struct error *err)
{
    int rc = t->saved_step == t->st.step ? 0 : trainer_save(t, err);
    if (rc)
        return rc;
    return t->stop && t->st.step < t->cfg.steps ? 0 : trainer_export(t, false, err);
}

static int run(struct trainer *t, struct error *err)
{
    int rc = begin(t, err);
    bool done = false;
    while (!rc && !done) {
        bool more = t->st.step < t->cfg.steps && !t->stop;
        rc = more ? round_trip(t, err) : finish(t, err);
        done = !more && !rc;
        if (rc == TRAINER_LOST)
            rc = go_back(t, err);
    }
    return rc;
}

static int check(const struct trainer_config *c, struct error *err)
{
    if (!c->steps || !c->dir)
        return error_set(err, EINVAL, "training needs at least one step and a folder for checkpoints");
    if (!(c->lr > 0) || !(c->lr_least >= 0 && c->lr_least <= 1))
        return error_set(err, EINVAL, "the learning rate must be above 0, its end a share between 0 and 1");
    if (!(c->weight_decay >= 0) || !(c->clip >= 0))
        return error_set(err, EINVAL, "weight decay and the largest norm must be 0 or more");
    return 0;
}

static struct trainer_config with_defaults(const struct trainer_config *cfg, bool whole)
{
    struct trainer_config c = *cfg;
    c.accumulate = c.accumulate ? c.accumulate : 1;
    c.in_flight = whole ? 1 : c.in_flight ? c.in_flight : 4;
    c.beta1 = c.beta1 > 0 ? c.beta1 : 0.9f;
    c.beta2 = c.beta2 > 0 ? c.beta2 : 0.95f;
    c.eps = c.eps > 0 ? c.eps : 1e-8f;
    c.down_timeout_ns = c.down_timeout_ns ? c.down_timeout_ns : 3600 * NS_PER_S;
    c.fingerprint = c.fingerprint ? c.fingerprint : "";
    return c;
}

int trainer_run(struct train *edge, struct train_middle *middle, const struct model_params *p,
    const struct dataset *data, const struct trainer_config *cfg, struct trainer_result *ret, struct error *err)
{
    struct trainer t = {
        .edge = edge,
        .middle = middle,
        .p = p,
        .data = data,
        .cfg = with_defaults(cfg, !middle),
        .st = {.best_loss = NAN},
        .saved_step = UINT64_MAX,
        .progress = {.steps = cfg->steps, .loss = NAN, .eval_loss = NAN, .eval_right = NAN},
    };
    memcpy(t.st.run, cfg->run, 16);
    int rc = check(&t.cfg, err);
    if (!rc && trainer_pipe_init(&t))
        rc = error_set(err, ENOMEM, "no memory for micro-batches");
    struct train_middle_stats st = middle_stats(&t);
    begin_window(&t, &st, clock_now_ns());
    if (!rc)
        rc = run(&t, err);
    trainer_pipe_done(&t);
    if (rc)
        return rc;
    *ret = (struct trainer_result){
        .end = t.st.step < cfg->steps ? TRAINER_STOPPED : TRAINER_DONE, .last = t.progress, .saved_step = t.saved_step};
    return 0;
}
