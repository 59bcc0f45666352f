#include "edge/testing_engine.h"

#include "model/chat_template.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 64

struct job {
    uint64_t id;
    struct engine_request r;
    uint32_t n;
    bool cancelled;
};

struct engine {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *jobs[MOST];
    unsigned n_jobs, cancelled, accept;
    uint64_t last_id;
    const uint8_t *script;
    size_t script_len;
    uint32_t context;
    int refuse;
    bool up, threaded, stop, hurry;
    unsigned pause_us;
    pthread_t thread;
    int32_t *last_tokens;
    struct engine_request last;
};

struct engine *testing_engine_create(void)
{
    struct engine *e = calloc(1, sizeof(*e));
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->context = 1000;
    e->accept = UINT32_MAX;
    e->up = true;
    return e;
}

void testing_engine_script(struct engine *e, const void *bytes, size_t len)
{
    e->script = bytes;
    e->script_len = len;
}

void testing_engine_context(struct engine *e, uint32_t context)
{
    e->context = context;
}

void testing_engine_refuse(struct engine *e, int code)
{
    e->refuse = code;
}

void testing_engine_refuse_after(struct engine *e, unsigned n)
{
    e->accept = n;
}

void testing_engine_link(struct engine *e, bool up)
{
    e->up = up;
}

const struct engine_request *testing_engine_last(struct engine *e)
{
    return &e->last;
}

static int take(struct engine *e, const struct engine_request *r, uint64_t *ret_id)
{
    if (e->refuse || !e->accept || e->n_jobs == MOST)
        return e->refuse ? -e->refuse : -EBUSY;
    if (r->n_tokens + (uint64_t)r->max_tokens > e->context)
        return -E2BIG;
    struct job *j = calloc(1, sizeof(*j));
    j->id = *ret_id = ++e->last_id;
    j->r = *r;
    e->accept--;
    free(e->last_tokens);
    e->last_tokens = malloc(r->n_tokens * sizeof(int32_t));
    memcpy(e->last_tokens, r->tokens, r->n_tokens * sizeof(int32_t));
    e->last = *r;
    e->last.tokens = e->last_tokens;
    e->jobs[e->n_jobs++] = j;
    pthread_cond_broadcast(&e->changed);
    return 0;
}

int engine_submit(struct engine *e, const struct engine_request *r, uint64_t *ret_id, struct error *err)
{
    pthread_mutex_lock(&e->lock);
    int rc = take(e, r, ret_id);
    pthread_mutex_unlock(&e->lock);
    return rc ? error_set(err, -rc, "refused by the test") : 0;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (unsigned i = 0; i < e->n_jobs; i++)
        if (e->jobs[i]->id == id)
            e->jobs[i]->cancelled = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

uint32_t engine_context(const struct engine *e)
{
    return e->context;
}

void engine_stats(struct engine *e, struct engine_stats *ret)
{
    pthread_mutex_lock(&e->lock);
    *ret = (struct engine_stats){.requests = e->last_id, .running = e->n_jobs, .kv_rows = 100, .kv_rows_free = 60};
    ret->middle.up = e->up;
    ret->middle.rtt_ms = 20;
    ret->middle.bytes_up = 12345;
    pthread_mutex_unlock(&e->lock);
}

static void finish(struct engine *e, struct job *j, enum engine_end why, const char *text)
{
    pthread_mutex_lock(&e->lock);
    unsigned i = 0;
    while (e->jobs[i] != j)
        i++;
    memmove(&e->jobs[i], &e->jobs[i + 1], (--e->n_jobs - i) * sizeof(e->jobs[0]));
    e->cancelled += why == ENGINE_CANCELLED;
    pthread_mutex_unlock(&e->lock);
    j->r.on_end(j->r.user, why, text);
    free(j);
}

static void step_one(struct engine *e, struct job *j)
{
    struct sample_logprob top[20];
    for (int i = 0; i < 20; i++)
        top[i] = (struct sample_logprob){(int32_t)('a' + i), -0.5f * (float)(i + 1)};
    pthread_mutex_lock(&e->lock);
    bool cancelled = j->cancelled;
    pthread_mutex_unlock(&e->lock);
    if (cancelled) {
        finish(e, j, ENGINE_CANCELLED, "");
        return;
    }
    if (j->n == e->script_len) {
        finish(e, j, ENGINE_STOP, "");
        return;
    }
    struct engine_token t = {.id = e->script[j->n], .logprob = -0.25f, .n_top = j->r.n_top, .top = top};
    j->n++;
    if (!j->r.on_token(j->r.user, &t))
        finish(e, j, ENGINE_STOP, "");
    else if (j->n == j->r.max_tokens)
        finish(e, j, ENGINE_LENGTH, "");
}

static unsigned take_list(struct engine *e, struct job **list)
{
    pthread_mutex_lock(&e->lock);
    unsigned n = e->n_jobs;
    memcpy(list, e->jobs, n * sizeof(list[0]));
    pthread_mutex_unlock(&e->lock);
    return n;
}

unsigned testing_engine_step(struct engine *e)
{
    struct job *list[MOST];
    unsigned n = take_list(e, list);
    for (unsigned i = 0; i < n; i++)
        step_one(e, list[i]);
    return testing_engine_running(e);
}

void testing_engine_fail(struct engine *e, const char *text)
{
    struct job *list[MOST];
    unsigned n = take_list(e, list);
    for (unsigned i = 0; i < n; i++)
        finish(e, list[i], ENGINE_FAILED, text);
}

unsigned testing_engine_running(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    unsigned n = e->n_jobs;
    pthread_mutex_unlock(&e->lock);
    return n;
}

unsigned testing_engine_cancelled(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    unsigned n = e->cancelled;
    pthread_mutex_unlock(&e->lock);
    return n;
}

static void pause_between(struct engine *e)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    long ns = until.tv_nsec + (long)(e->pause_us % 1000000) * 1000;
    until.tv_sec += e->pause_us / 1000000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&e->lock);
    while (!e->stop && !e->hurry && pthread_cond_timedwait(&e->changed, &e->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&e->lock);
}

void testing_engine_hurry(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->hurry = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void *run_main(void *arg)
{
    struct engine *e = arg;
    for (;;) {
        pthread_mutex_lock(&e->lock);
        while (!e->n_jobs && !e->stop)
            pthread_cond_wait(&e->changed, &e->lock);
        bool stop = e->stop;
        pthread_mutex_unlock(&e->lock);
        if (stop)
            return NULL;
        testing_engine_step(e);
        pause_between(e);
    }
}

void testing_engine_run(struct engine *e, unsigned pause_us)
{
    e->pause_us = pause_us;
    e->threaded = true;
    pthread_create(&e->thread, NULL, run_main, e);
}

void testing_engine_free(struct engine *e)
{
    struct job *list[MOST];
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    if (e->threaded)
        pthread_join(e->thread, NULL);
    unsigned n = take_list(e, list);
    for (unsigned i = 0; i < n; i++)
        finish(e, list[i], ENGINE_CANCELLED, "");
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e->last_tokens);
    free(e);
}

/* --- tokenizer: a byte is a token --- */

const struct tokenizer *testing_tokenizer(void)
{
    static char nothing;
    return (const struct tokenizer *)(const void *)&nothing;
}

int tokenizer_encode(
    const struct tokenizer *t, const char *text, size_t len, bool special, bool add_bos, struct buf *ret)
{
    for (size_t i = 0; i < len; i++) {
        int32_t id = (uint8_t)text[i];
        buf_append(ret, &id, sizeof(id));
    }
    return 0;
}

int tokenizer_decode(const struct tokenizer *t, int32_t id, bool special, struct buf *ret)
{
    uint8_t byte = (uint8_t)id;
    if (id < 0 || id >= TESTING_VOCAB)
        return -ERANGE;
    if (id == 256)
        return special ? buf_append_str(ret, "<end>") : 0;
    return buf_append(ret, &byte, 1);
}

int tokenizer_decode_all(const struct tokenizer *t, const int32_t *ids, size_t n, bool special, struct buf *ret)
{
    for (size_t i = 0; i < n; i++)
        tokenizer_decode(t, ids[i], special, ret);
    return 0;
}

uint32_t tokenizer_n_vocab(const struct tokenizer *t)
{
    return TESTING_VOCAB;
}

int chat_encode(enum chat_family family, const struct tokenizer *t, const struct chat_message *messages, size_t n,
    bool answer, struct buf *ret_ids, struct buf *ret_mask, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        tokenizer_encode(t, messages[i].role, strlen(messages[i].role), false, false, ret_ids);
        tokenizer_encode(t, ":", 1, false, false, ret_ids);
        tokenizer_encode(t, messages[i].content, messages[i].content_len, false, false, ret_ids);
        tokenizer_encode(t, "\n", 1, false, false, ret_ids);
    }
    return 0;
}
