#include "split/testing_train.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum what { FORWARD, BACKWARD, NORM, STEP, SAVE, LOAD };

struct letter {
    struct letter *next;
    int64_t at_ns; /* arrives */
    enum what what;
    struct train_event ev; /* answers */
    uint64_t number;
    uint32_t n_samples, n_rows;
    bool flag;
    struct train_adamw opt;
    struct model_cut cut;
    uint32_t *sample_rows;
    float *x;
};

struct line {
    struct letter *first, **end;
    int64_t last_ns;
};

struct far {
    struct train_middle base;
    struct train_middle *inner;
    uint32_t d;
    int64_t delay_ns;
    uint64_t seed, draws;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct line there, back;
    struct letter *taken;
    struct train_middle_stats stats;
    bool stop;
};

static struct far *mine(struct train_middle *m)
{
    return (struct far *)m;
}

static void letter_free(struct letter *l)
{
    if (l) {
        free(l->sample_rows);
        free(l->x);
    }
    free(l);
}

static void line_put(struct far *f, struct line *line, struct letter *l)
{
    pthread_mutex_lock(&f->lock);
    int64_t at = clock_now_ns() + (int64_t)((double)f->delay_ns * (0.5 + rng_uniform(f->seed, ++f->draws)));
    l->at_ns = line->last_ns = at > line->last_ns ? at : line->last_ns;
    l->next = NULL;
    *line->end = l;
    line->end = &l->next;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Waits at most until `until_ns`; NULL: nothing arrived, or stop. */
static struct letter *line_take(struct far *f, struct line *line, int64_t until_ns)
{
    struct letter *l = NULL;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        int64_t now = clock_now_ns(), at = line->first && line->first->at_ns < until_ns ? line->first->at_ns : until_ns;
        if (line->first && line->first->at_ns <= now) {
            l = line->first;
            line->first = l->next;
            if (!line->first)
                line->end = &line->first;
            break;
        }
        if (now >= until_ns)
            break;
        struct timespec t = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
        pthread_cond_timedwait(&f->changed, &f->lock, &t);
    }
    pthread_mutex_unlock(&f->lock);
    return l;
}

static float *copy(const float *x, uint32_t n_rows, uint32_t d)
{
    float *to = x ? malloc(sizeof(float) * n_rows * d) : NULL;
    if (to)
        memcpy(to, x, sizeof(float) * n_rows * d);
    return to;
}

static void execute(struct far *f, const struct letter *l)
{
    struct train_middle *m = f->inner;
    switch (l->what) {
    case FORWARD:
        m->ops->forward(m, l->number, l->sample_rows, l->n_samples, l->n_rows, l->x, l->flag);
        break;
    case BACKWARD:
        m->ops->backward(m, l->number, l->n_rows, l->x, l->flag);
        break;
    case NORM:
        m->ops->norm(m, l->number);
        break;
    case STEP:
        m->ops->step(m, l->number, &l->opt);
        break;
    case SAVE:
        m->ops->save(m, l->number, &l->cut, l->flag);
        break;
    case LOAD:
        m->ops->load(m, l->number);
        break;
    }
}

static void *far_main(void *arg)
{
    struct far *f = arg;
    for (struct letter *l; (l = line_take(f, &f->there, INT64_MAX / 2));) {
        struct train_event ev;
        execute(f, l);
        letter_free(l);
        struct train_middle_stats st;
        f->inner->ops->stats(f->inner, &st);
        pthread_mutex_lock(&f->lock);
        f->stats = st;
        pthread_mutex_unlock(&f->lock);
        while (!f->inner->ops->next(f->inner, 0, &ev)) {
            struct letter *answer = calloc(1, sizeof(*answer));
            answer->ev = ev;
            answer->ev.x = answer->x = copy(ev.x, ev.n_rows, f->d);
            line_put(f, &f->back, answer);
        }
    }
    return NULL;
}

static int post(struct train_middle *m, struct letter l)
{
    struct letter *copy_of = malloc(sizeof(l));
    *copy_of = l;
    line_put(mine(m), &mine(m)->there, copy_of);
    return 0;
}

static int f_forward(struct train_middle *m, uint64_t batch, const uint32_t *sample_rows, uint32_t n_samples,
    uint32_t n_rows, const float *x, bool only_eval)
{
    struct letter l = {.what = FORWARD, .number = batch, .n_samples = n_samples, .n_rows = n_rows, .flag = only_eval};
    l.sample_rows = malloc(sizeof(uint32_t) * n_samples);
    memcpy(l.sample_rows, sample_rows, sizeof(uint32_t) * n_samples);
    l.x = copy(x, n_rows, mine(m)->d);
    return post(m, l);
}

static int f_backward(struct train_middle *m, uint64_t batch, uint32_t n_rows, const float *grad, bool want)
{
    return post(
        m, (struct letter){
               .what = BACKWARD, .number = batch, .n_rows = n_rows, .flag = want, .x = copy(grad, n_rows, mine(m)->d)});
}

static int f_norm(struct train_middle *m, uint64_t step)
{
    return post(m, (struct letter){.what = NORM, .number = step});
}

static int f_step(struct train_middle *m, uint64_t step, const struct train_adamw *opt)
{
    return post(m, (struct letter){.what = STEP, .number = step, .opt = *opt});
}

static int f_save(struct train_middle *m, uint64_t step, const struct model_cut *cut, bool serve)
{
    return post(m, (struct letter){.what = SAVE, .number = step, .cut = *cut, .flag = serve});
}

static int f_load(struct train_middle *m, uint64_t step)
{
    return post(m, (struct letter){.what = LOAD, .number = step});
}

static int f_next(struct train_middle *m, int64_t wait_ns, struct train_event *ret)
{
    struct far *f = mine(m);
    letter_free(f->taken);
    f->taken = line_take(f, &f->back, clock_now_ns() + wait_ns);
    if (!f->taken)
        return -EAGAIN;
    *ret = f->taken->ev;
    return 0;
}

static void f_stats(struct train_middle *m, struct train_middle_stats *ret)
{
    pthread_mutex_lock(&mine(m)->lock);
    *ret = mine(m)->stats;
    pthread_mutex_unlock(&mine(m)->lock);
}

static void line_done(struct line *line)
{
    for (struct letter *l; (l = line->first);) {
        line->first = l->next;
        letter_free(l);
    }
}

static void f_free(struct train_middle *m)
{
    struct far *f = mine(m);
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    line_done(&f->there);
    line_done(&f->back);
    letter_free(f->taken);
    f->inner->ops->free(f->inner);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static const struct train_middle_ops f_ops = {
    .forward = f_forward,
    .backward = f_backward,
    .norm = f_norm,
    .step = f_step,
    .save = f_save,
    .load = f_load,
    .next = f_next,
    .stats = f_stats,
    .free = f_free,
};

struct train_middle *testing_train_create(struct train_middle *inner, uint32_t d, int64_t delay_ns, uint64_t seed)
{
    struct far *f = calloc(1, sizeof(*f));
    pthread_condattr_t a;
    *f = (struct far){.base.ops = &f_ops, .inner = inner, .d = d, .delay_ns = delay_ns, .seed = seed};
    f->there.end = &f->there.first;
    f->back.end = &f->back.first;
    f->stats.up = true;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &a);
    pthread_condattr_destroy(&a);
    pthread_mutex_init(&f->lock, NULL);
    pthread_create(&f->thread, NULL, far_main, f);
    return &f->base;
}
