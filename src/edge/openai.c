#include "edge/openai.h"

#include "base/clock.h"
#include "edge/openai_job.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct openai {
    struct openai_config cfg;
    pthread_mutex_t lock;
    pthread_cond_t empty;
    struct openai_job *jobs;
    atomic_bool stopping;
};

struct engine *openai_engine(struct openai *o)
{
    return o->cfg.engine;
}

const struct openai_config *openai_config_of(const struct openai *o)
{
    return &o->cfg;
}

int openai_create(struct openai **ret, const struct openai_config *cfg, struct error *err)
{
    struct openai *o = calloc(1, sizeof(*o));
    if (!o)
        return error_set(err, ENOMEM, "no memory");
    o->cfg = *cfg;
    o->cfg.default_max_tokens = cfg->default_max_tokens ? cfg->default_max_tokens : 2048;
    o->cfg.choices_most = cfg->choices_most ? cfg->choices_most : 16;
    o->cfg.per_key_most = cfg->per_key_most ? cfg->per_key_most : 64;
    pthread_mutex_init(&o->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&o->empty, &attr);
    pthread_condattr_destroy(&attr);
    *ret = o;
    return 0;
}

void openai_free(struct openai *o)
{
    if (!o)
        return;
    pthread_cond_destroy(&o->empty);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* --- the list of jobs --- */

/* Counts the key's requests and joins the list in one step. */
static int enlist(struct openai *o, struct openai_job *j, const char *key, struct openai_error *e)
{
    uint32_t same = 0;
    snprintf(j->key, sizeof(j->key), "%s", key);
    pthread_mutex_lock(&o->lock);
    for (struct openai_job *i = o->jobs; i; i = i->next)
        same += !strcmp(i->key, key);
    bool ok = same < o->cfg.per_key_most && !atomic_load(&o->stopping);
    if (ok) {
        j->next = o->jobs;
        if (o->jobs)
            o->jobs->prev = j;
        o->jobs = j;
    }
    pthread_mutex_unlock(&o->lock);
    if (ok)
        return 0;
    if (atomic_load(&o->stopping))
        openai_fail(e, 503, "server_stopping", NULL, "The server is stopping; try again later.");
    else
        openai_fail(e, 429, "rate_limit_exceeded", NULL,
            "%u requests are being answered for this key already, which is the most at once; try again when one has "
            "ended.",
            same);
    e->retry_after_s = 1;
    return -1;
}

static bool in_list(const struct openai_job *j)
{
    return j->next || j->prev || j->owner->jobs == j;
}

void openai_job_forget(struct openai_job *j)
{
    struct openai *o = j->owner;
    pthread_mutex_lock(&o->lock);
    if (in_list(j)) {
        if (j->next)
            j->next->prev = j->prev;
        if (j->prev)
            j->prev->next = j->next;
        else
            o->jobs = j->next;
    }
    if (!o->jobs)
        pthread_cond_broadcast(&o->empty);
    pthread_mutex_unlock(&o->lock);
}

/* A job in the list may be about to be freed (it leaves the list first, waiting for our lock), so its references are
 * only taken while they are not zero. */
static struct openai_job *ref_unless_zero(struct openai_job *j)
{
    unsigned n = atomic_load(&j->refs);
    while (n)
        if (atomic_compare_exchange_weak(&j->refs, &n, n + 1))
            return j;
    return NULL;
}

static bool cancel_next(struct openai *o)
{
    struct openai_job *j = NULL;
    pthread_mutex_lock(&o->lock);
    for (struct openai_job *i = o->jobs; i && !j; i = i->next)
        if (!atomic_load(&i->dead))
            j = ref_unless_zero(i);
    pthread_mutex_unlock(&o->lock);
    if (!j)
        return false;
    struct openai_error e;
    openai_fail(&e, 503, "server_stopping", NULL, "The server is stopping; try again later.");
    openai_job_fail(j, &e);
    openai_job_cancel(j);
    openai_job_unref(j);
    return true;
}

void openai_stop(struct openai *o, int64_t grace_ns)
{
    int64_t until = clock_now_ns() + grace_ns;
    struct timespec ts = {until / NS_PER_S, until % NS_PER_S};
    int rc = 0;
    atomic_store(&o->stopping, true);
    pthread_mutex_lock(&o->lock);
    while (o->jobs && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&o->empty, &o->lock, &ts);
    pthread_mutex_unlock(&o->lock);
    while (cancel_next(o))
        ;
    pthread_mutex_lock(&o->lock);
    while (o->jobs)
        pthread_cond_wait(&o->empty, &o->lock);
    pthread_mutex_unlock(&o->lock);
}

/* --- a request --- */

static void fill_frame(struct openai *o, struct openai_job *j)
{
    uint64_t r[2] = {0};
    if (getrandom(r, sizeof(r), 0) < 0)
        r[0] = (uint64_t)clock_now_ns();
    j->frame = (struct openai_frame){
        .kind = j->rq.kind,
        .created = time(NULL),
        .model = o->cfg.model,
        .fingerprint = o->cfg.fingerprint,
        .include_usage = j->rq.include_usage,
        .tokenizer = o->cfg.tokenizer,
    };
    snprintf(j->frame.id, sizeof(j->frame.id), "%s-%016llx%08llx", j->rq.kind == OPENAI_CHAT ? "chatcmpl" : "cmpl",
        (unsigned long long)r[0], (unsigned long long)(r[1] & 0xffffffff));
    if (!j->rq.seed_given)
        j->rq.sampling.seed = r[0] ^ r[1];
}

static int encode_prompt(struct openai *o, struct openai_job *j, size_t i, struct buf *ids, struct openai_error *e)
{
    struct error err = {""};
    const struct openai_request *rq = &j->rq;
    int rc;
    if (rq->kind == OPENAI_CHAT)
        rc = chat_encode(o->cfg.family, o->cfg.tokenizer, rq->messages, rq->n_messages, true, ids, NULL, &err);
    else if (rq->prompts[i].text)
        rc = tokenizer_encode(o->cfg.tokenizer, rq->prompts[i].text, rq->prompts[i].len, false, true, ids);
    else
        rc = buf_append(ids, rq->prompts[i].ids, rq->prompts[i].n_ids * sizeof(int32_t));
    if (rc == -ENOMEM)
        return openai_fail(
            e, 503, "no_memory", NULL, "The server has no memory for this request now; try again later.");
    if (rc)
        return openai_fail(
            e, 400, "invalid_value", "messages", "%s", err.text[0] ? err.text : "The prompt cannot be read.");
    if (!ids->len)
        return openai_fail(e, 400, "invalid_value", "prompt", "The prompt is empty.");
    return 0;
}

static int too_long(uint32_t context, size_t prompt, uint64_t more, enum openai_kind kind, struct openai_error *e)
{
    const char *param = kind == OPENAI_CHAT ? "messages" : "prompt";
    return openai_fail(e, 400, "context_length_exceeded", param,
        "This model's maximum context length is %u tokens. However, you requested %llu tokens (%zu in the %s, %llu in "
        "the "
        "completion). Please reduce the length of the %s or completion.",
        context, (unsigned long long)(prompt + more), prompt, param, (unsigned long long)more, param);
}

/* The tokens to generate: what was asked for, or what is usual, as far as the context goes. */
static int room(
    struct openai *o, const struct openai_request *rq, size_t n_prompt, uint32_t *ret, struct openai_error *e)
{
    uint32_t context = engine_context(o->cfg.engine);
    uint32_t most = rq->max_tokens;
    if (n_prompt >= context || (most && most > context - n_prompt))
        return too_long(context, n_prompt, most ? most : 1, rq->kind, e);
    if (!most)
        most = rq->kind == OPENAI_CHAT ? o->cfg.default_max_tokens : 16;
    *ret = most < context - n_prompt ? most : context - (uint32_t)n_prompt;
    return 0;
}

static int refused(struct openai *o, int rc, const struct error *err, size_t n_prompt, uint32_t most,
    enum openai_kind kind, struct openai_error *e)
{
    if (rc == -E2BIG)
        return too_long(engine_context(o->cfg.engine), n_prompt, most, kind, e);
    if (rc == -EBUSY)
        openai_fail(e, 429, "rate_limit_exceeded", NULL,
            "The server is busy and its waiting line is full; try again in a few seconds.");
    else if (rc == -EINVAL)
        return openai_fail(e, 400, "invalid_value", NULL, "%s", err->text);
    else
        openai_fail(
            e, 503, "engine_failed", NULL, "%s", err->text[0] ? err->text : "The engine takes no requests now.");
    e->retry_after_s = rc == -EBUSY ? 2 : 5;
    return -1;
}

static int submit(
    struct openai *o, struct openai_choice *c, const struct buf *ids, uint32_t most, struct openai_error *e)
{
    struct openai_job *j = c->job;
    struct error err = {""};
    struct engine_request r = {
        .tokens = (const int32_t *)(const void *)ids->data,
        .n_tokens = (uint32_t)(ids->len / sizeof(int32_t)),
        .max_tokens = most,
        .sampling = j->rq.sampling,
        .n_top = j->rq.logprobs ? j->rq.top_logprobs : 0,
        .on_token = openai_job_on_token,
        .on_end = openai_job_on_end,
        .user = c,
    };
    r.sampling.choice = c->index;
    openai_job_ref(j);
    int rc = engine_submit(o->cfg.engine, &r, &c->id, &err);
    if (!rc) {
        atomic_store(&c->submitted, true);
        return 0;
    }
    openai_job_unref(j);
    return refused(o, rc, &err, r.n_tokens, most, j->rq.kind, e);
}

/* With `echo` a choice begins with its prompt; it is not searched for stop strings. */
static void echo_prompt(struct openai *o, struct openai_job *j, struct openai_choice *c, const struct buf *ids)
{
    const struct openai_prompt *p = &j->rq.prompts[c->index / j->rq.n];
    if (p->text)
        buf_append(&c->out, p->text, p->len);
    else
        tokenizer_decode_all(
            o->cfg.tokenizer, (const int32_t *)(const void *)ids->data, ids->len / sizeof(int32_t), false, &c->out);
}

static int start_prompt(struct openai *o, struct openai_job *j, size_t i, uint32_t *n_started, struct openai_error *e)
{
    struct buf ids = {0};
    uint32_t most = 0;
    int rc = encode_prompt(o, j, i, &ids, e);
    if (!rc)
        rc = room(o, &j->rq, ids.len / sizeof(int32_t), &most, e);
    for (uint32_t k = 0; k < j->rq.n && !rc; k++) {
        struct openai_choice *c = &j->choices[i * j->rq.n + k];
        if (j->rq.echo)
            echo_prompt(o, j, c, &ids);
        rc = submit(o, c, &ids, most, e);
        *n_started += !rc;
    }
    if (!rc) {
        j->usage.prompt_tokens += ids.len / sizeof(int32_t);
        atomic_fetch_add(&o->cfg.metrics->prompt_tokens, ids.len / sizeof(int32_t));
    }
    buf_done(&ids);
    return rc;
}

static void on_gone(void *user)
{
    openai_job_cancel(user);
}

static void on_drop(void *user)
{
    openai_job_unref(user);
}

static void start(struct openai *o, struct openai_job *j)
{
    struct openai_error e;
    uint32_t n_started = 0;
    int rc = 0;
    fill_frame(o, j);
    http_answer_on_gone(j->answer, on_gone, on_drop, openai_job_ref(j));
    size_t n_prompts = j->rq.kind == OPENAI_CHAT ? 1 : j->rq.n_prompts;
    for (size_t i = 0; i < n_prompts && !rc; i++)
        rc = start_prompt(o, j, i, &n_started, &e);
    if (rc) {
        openai_job_fail(j, &e);
        for (uint32_t i = n_started; i < j->n_choices; i++)
            openai_job_close(j);
    } else if (j->rq.stream) {
        http_answer_header(j->answer, "Cache-Control", "no-cache");
        http_answer_header(j->answer, "X-Accel-Buffering", "no");
        http_answer_stream(j->answer, 200, "text/event-stream; charset=utf-8");
    }
    /* It may have died while its choices were not all known to the canceller. */
    if (atomic_load(&j->dead))
        openai_job_cancel(j);
    openai_job_close(j);
}

static int check(struct openai *o, const struct openai_request *rq, struct openai_error *e)
{
    if (strcmp(rq->model, o->cfg.model)) {
        openai_fail(e, 404, "model_not_found", "model",
            "The model '%.100s' does not exist here; this server has '%.200s'.", rq->model, o->cfg.model);
        return -1;
    }
    if (rq->kind == OPENAI_CHAT && o->cfg.family == CHAT_NONE)
        return openai_fail(e, 400, "no_chat_template", "model",
            "The model '%.200s' has no chat template; use /v1/completions.", o->cfg.model);
    return 0;
}

void openai_generate(
    struct openai *o, enum openai_kind kind, const char *key, const void *body, size_t len, struct http_answer *a)
{
    struct openai_error e;
    struct openai_request rq;
    struct openai_limits lim = {.choices_most = o->cfg.choices_most, .n_vocab = tokenizer_n_vocab(o->cfg.tokenizer)};
    if (openai_request_parse(&rq, kind, body, len, &lim, &e)) {
        openai_error_send(&e, a);
        return;
    }
    struct openai_job *j = NULL;
    int rc = check(o, &rq, &e);
    if (!rc && !(j = openai_job_create(o, &rq, a)))
        rc = openai_fail(&e, 503, "no_memory", NULL, "The server has no memory for this request now; try again later.");
    if (!rc)
        rc = enlist(o, j, key, &e);
    if (rc)
        openai_error_send(&e, a);
    else
        start(o, j);
    if (j)
        openai_job_unref(j);
    else
        openai_request_done(&rq);
}
