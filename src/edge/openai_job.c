#include "edge/openai_job.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct openai_job *openai_job_create(struct openai *owner, struct openai_request *rq, struct http_answer *a)
{
    uint32_t n = rq->n * (uint32_t)(rq->kind == OPENAI_CHAT ? 1 : rq->n_prompts);
    struct openai_job *j = calloc(1, sizeof(*j) + n * sizeof(j->choices[0]));
    if (!j)
        return NULL;
    j->owner = owner;
    j->rq = *rq;
    *rq = (struct openai_request){0};
    j->answer = http_answer_ref(a);
    j->started_ns = clock_now_ns();
    j->n_choices = n;
    atomic_init(&j->refs, 1);
    atomic_init(&j->open, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        j->choices[i].job = j;
        j->choices[i].index = i;
        openai_text_init(&j->choices[i].text, j->rq.stops, j->rq.n_stops);
    }
    return j;
}

struct openai_job *openai_job_ref(struct openai_job *j)
{
    atomic_fetch_add(&j->refs, 1);
    return j;
}

void openai_job_unref(struct openai_job *j)
{
    if (atomic_fetch_sub(&j->refs, 1) != 1)
        return;
    for (uint32_t i = 0; i < j->n_choices; i++) {
        openai_text_done(&j->choices[i].text);
        buf_done(&j->choices[i].out);
        buf_done(&j->choices[i].entries);
    }
    buf_done(&j->chunk);
    http_answer_unref(j->answer);
    openai_request_done(&j->rq);
    openai_job_forget(j);
    free(j);
}

void openai_job_cancel(struct openai_job *j)
{
    atomic_store(&j->dead, true);
    for (uint32_t i = 0; i < j->n_choices; i++)
        if (atomic_load(&j->choices[i].submitted))
            engine_cancel(openai_engine(j->owner), j->choices[i].id);
}

void openai_job_fail(struct openai_job *j, const struct openai_error *e)
{
    struct buf b = {0};
    if (atomic_exchange(&j->failed, true))
        return;
    atomic_store(&j->dead, true);
    openai_json_error_chunk(e, &b);
    openai_error_send(e, j->answer); /* does nothing when a stream has begun */
    http_answer_write(j->answer, b.data, b.len);
    http_answer_end(j->answer);
    buf_done(&b);
}

/* --- tokens --- */

static void take_entry(struct openai_choice *c, const struct engine_token *t, size_t start, size_t start_char)
{
    struct openai_entry e = {
        .id = t->id, .logprob = t->logprob, .start = start, .end = c->text.total, .start_char = start_char};
    uint32_t most = c->job->rq.top_logprobs;
    e.n_top = t->n_top < most ? t->n_top : most;
    if (e.n_top)
        memcpy(e.top, t->top, e.n_top * sizeof(e.top[0]));
    buf_append(&c->entries, &e, sizeof(e));
}

/* How many entries from the front stand for text that has been let go. */
static size_t ready_entries(const struct openai_choice *c, bool ended)
{
    const struct openai_entry *e = (const void *)c->entries.data;
    size_t n = c->entries.len / sizeof(*e), i = 0;
    if (ended && !c->text.stopped)
        return n;
    while (i < n && (ended ? e[i].start < c->text.released : e[i].end <= c->text.released))
        i++;
    return i;
}

static struct openai_piece piece_of(struct openai_choice *c, size_t n_entries)
{
    return (struct openai_piece){
        .index = c->index,
        .first = !c->role_sent,
        .text = c->out.data,
        .len = c->out.len,
        .logprobs = c->job->rq.logprobs,
        .entries = (const void *)c->entries.data,
        .n_entries = n_entries,
    };
}

static int write_chunk(struct openai_choice *c, struct openai_piece *p)
{
    struct openai_job *j = c->job;
    j->chunk.len = 0;
    int rc = openai_json_chunk(&j->frame, p, &j->chunk);
    if (!rc)
        rc = http_answer_write(j->answer, j->chunk.data, j->chunk.len);
    c->role_sent = true;
    c->out.len = 0;
    buf_consume(&c->entries, p->n_entries * sizeof(struct openai_entry));
    return rc;
}

static int stream_piece(struct openai_choice *c)
{
    size_t n = ready_entries(c, false);
    struct openai_piece p = piece_of(c, n);
    if (!p.len && !n && !(p.first && c->job->rq.kind == OPENAI_CHAT))
        return 0;
    return write_chunk(c, &p);
}

/* SPM puts a space before the first word of a text: a chat answer does not begin with it. */
static int decode(struct openai_choice *c, int32_t id, struct buf *ret)
{
    const struct openai_config *cfg = openai_config_of(c->job->owner);
    if (c->n_tokens == 0 && c->job->rq.kind == OPENAI_CHAT)
        return tokenizer_decode_all(cfg->tokenizer, &id, 1, false, ret);
    return tokenizer_decode(cfg->tokenizer, id, false, ret);
}

static void count_token(struct openai_choice *c)
{
    struct metrics *m = openai_config_of(c->job->owner)->metrics;
    int64_t now = clock_now_ns();
    if (c->last_ns)
        metrics_next_token(m, now - c->last_ns);
    else
        metrics_first_token(m, now - c->job->started_ns);
    c->last_ns = now;
    c->n_tokens++;
    atomic_fetch_add(&m->generated_tokens, 1);
}

bool openai_job_on_token(void *user, const struct engine_token *t)
{
    struct openai_choice *c = user;
    struct openai_job *j = c->job;
    if (atomic_load(&j->dead))
        return false;
    size_t start = c->text.total, start_char = c->text.chars;
    j->chunk.len = 0;
    decode(c, t->id, &j->chunk);
    count_token(c);
    if (openai_text_push(&c->text, j->chunk.data, j->chunk.len, &c->out)) {
        atomic_store(&j->dead, true);
        return false;
    }
    if (j->rq.logprobs)
        take_entry(c, t, start, start_char);
    if (j->rq.stream && stream_piece(c))
        return false;
    return !c->text.stopped;
}

/* --- the end --- */

static void end_stream(struct openai_job *j)
{
    j->chunk.len = 0;
    if (j->rq.include_usage)
        openai_json_usage_chunk(&j->frame, &j->usage, &j->chunk);
    openai_json_done(&j->chunk);
    http_answer_write(j->answer, j->chunk.data, j->chunk.len);
    http_answer_end(j->answer);
}

static void send_whole(struct openai_job *j)
{
    j->chunk.len = 0;
    int rc = openai_json_begin(&j->frame, &j->chunk);
    for (uint32_t i = 0; i < j->n_choices && !rc; i++) {
        struct openai_choice *c = &j->choices[i];
        struct openai_piece p = piece_of(c, ready_entries(c, true));
        p.finish = c->finish;
        rc = openai_json_choice(&j->frame, &p, &j->chunk);
    }
    if (!rc)
        rc = openai_json_end(&j->frame, &j->usage, &j->chunk);
    struct openai_error e;
    if (rc && openai_fail(&e, 503, "no_memory", NULL, "The server has no memory for this answer; try again later."))
        openai_job_fail(j, &e);
    else
        http_answer_send(j->answer, 200, "application/json", j->chunk.data, j->chunk.len);
}

static void finish(struct openai_job *j)
{
    struct openai_error e;
    const struct openai_config *cfg = openai_config_of(j->owner);
    if (http_answer_is_gone(j->answer))
        atomic_fetch_add(&cfg->metrics->clients_gone, 1);
    metrics_request(cfg->metrics, clock_now_ns() - j->started_ns);
    for (uint32_t i = 0; i < j->n_choices; i++)
        j->usage.completion_tokens += j->choices[i].n_tokens;
    if (atomic_load(&j->dead) && openai_fail(&e, 503, "cancelled", NULL, "The answer was cancelled."))
        openai_job_fail(j, &e);
    else if (j->rq.stream)
        end_stream(j);
    else
        send_whole(j);
}

void openai_job_close(struct openai_job *j)
{
    if (atomic_fetch_sub(&j->open, 1) == 1)
        finish(j);
}

static void end_choice(struct openai_choice *c, enum engine_end why)
{
    if (openai_text_flush(&c->text, &c->out))
        atomic_store(&c->job->dead, true);
    c->finish = why == ENGINE_LENGTH && !c->text.stopped ? "length" : "stop";
    if (!c->job->rq.stream)
        return;
    struct openai_piece p = piece_of(c, ready_entries(c, true));
    if (p.len || p.n_entries || (p.first && c->job->rq.kind == OPENAI_CHAT))
        write_chunk(c, &p);
    c->entries.len = 0;
    p = piece_of(c, 0);
    p.finish = c->finish;
    write_chunk(c, &p);
}

static void fail_choice(struct openai_choice *c, enum engine_end why, const char *text)
{
    struct openai_job *j = c->job;
    struct openai_error e;
    if (why == ENGINE_FAILED)
        openai_fail(
            &e, 503, "engine_failed", NULL, "%s", text && text[0] ? text : "The engine failed; try again later.");
    else
        openai_fail(&e, 503, "server_stopping", NULL, "The server is stopping; try again later.");
    e.retry_after_s = 5;
    openai_job_fail(j, &e);
    openai_job_cancel(j);
}

void openai_job_on_end(void *user, enum engine_end why, const char *text)
{
    struct openai_choice *c = user;
    struct openai_job *j = c->job;
    if (why == ENGINE_FAILED || why == ENGINE_CANCELLED)
        fail_choice(c, why, text);
    else if (!atomic_load(&j->dead))
        end_choice(c, why);
    openai_job_close(j);
    openai_job_unref(j);
}
