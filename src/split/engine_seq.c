/* A sequence's life: copied in, admitted in order of arrival on both sides, reopened after a loss, ended exactly once.
 *
 * Room is reserved before a request starts (its whole prompt and answer, here and in the middle), so nothing that runs
 * can run out of it. Whoever is refused by the middle keeps its room here and its turn: nobody younger is admitted until
 * it got in. */
#include "split/engine_state.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_NS  NS_PER_S
#define LONG_SLEEP_NS (3600 * NS_PER_S)

/* --- in ---------------------------------------------------------------------------------------------------------- */

static int check_sampling(const struct sample_params *s, uint32_t n_vocab, struct error *err)
{
    if (!(s->temperature >= 0) || !isfinite(s->temperature))
        return error_set(err, EINVAL, "temperature must be 0 or more");
    if (!(s->top_p > 0 && s->top_p <= 1))
        return error_set(err, EINVAL, "top_p must be above 0 and at most 1");
    if (!(s->min_p >= 0 && s->min_p < 1))
        return error_set(err, EINVAL, "min_p must be 0 or more and below 1");
    if (s->top_k < 0)
        return error_set(err, EINVAL, "top_k must be 0 (off) or more");
    if (!(fabsf(s->presence_penalty) <= 2) || !(fabsf(s->frequency_penalty) <= 2))
        return error_set(err, EINVAL, "penalties must lie between -2 and 2");
    for (uint32_t i = 0; i < s->n_bias; i++) {
        if (s->bias[i].token < 0 || (uint32_t)s->bias[i].token >= n_vocab)
            return error_set(
                err, EINVAL, "logit_bias names token %d: this vocabulary has 0 to %u", s->bias[i].token, n_vocab - 1);
        if (!isfinite(s->bias[i].bias))
            return error_set(err, EINVAL, "a logit_bias must be a number");
    }
    return 0;
}

static int check_request(const struct engine *e, const struct engine_request *r, struct error *err)
{
    if (!r->n_tokens || !r->max_tokens || !r->on_token || !r->on_end)
        return error_set(err, EINVAL, "a request needs at least one token of prompt and one to generate");
    if (r->n_top > 20)
        return error_set(err, EINVAL, "at most 20 alternatives can be shown for a token, %u were asked for", r->n_top);
    if ((uint64_t)r->n_tokens + r->max_tokens > e->context)
        return error_set(err, E2BIG, "the prompt's %u tokens and %u to generate do not fit the context of %u",
            r->n_tokens, r->max_tokens, e->context);
    for (uint32_t i = 0; i < r->n_tokens; i++)
        if (r->tokens[i] < 0 || (uint32_t)r->tokens[i] >= e->p.n_vocab)
            return error_set(err, EINVAL, "token %d is not in this vocabulary of %u", r->tokens[i], e->p.n_vocab);
    return check_sampling(&r->sampling, e->p.n_vocab, err);
}

int seq_create(struct seq **ret, const struct engine *e, const struct engine_request *r, struct error *err)
{
    int rc = check_request(e, r, err);
    if (rc)
        return rc;
    struct seq *s = calloc(1, sizeof(*s));
    size_t bias_size = sizeof(struct sample_bias) * r->sampling.n_bias;
    struct sample_bias *bias = bias_size ? malloc(bias_size) : NULL;
    int32_t *tokens = malloc(sizeof(int32_t) * ((size_t)r->n_tokens + r->max_tokens));
    if (!s || !tokens || (bias_size && !bias)) {
        free(s);
        free(bias);
        free(tokens);
        return error_set(err, ENOMEM, "no memory for this request: try again later");
    }
    s->r = *r;
    s->r.tokens = s->tokens = tokens;
    memcpy(tokens, r->tokens, sizeof(int32_t) * r->n_tokens);
    if (bias)
        memcpy(bias, r->sampling.bias, bias_size);
    s->r.sampling.bias = bias;
    s->n_prompt = s->known = r->n_tokens;
    s->head_seq = s->tail_seq = -1;
    *ret = s;
    return 0;
}

void seq_free(struct seq *s)
{
    if (!s)
        return;
    explicit_bzero(s->tokens, sizeof(int32_t) * ((size_t)s->n_prompt + s->r.max_tokens));
    free((void *)s->r.sampling.bias);
    free(s->tokens);
    free(s);
}

/* --- admission --------------------------------------------------------------------------------------------------- */

static void count_kv(struct engine *e)
{
    atomic_store(&e->kv_free, infer_use(e->tail).kv_rows_free);
}

static int open_campus(struct engine *e, struct seq *s)
{
    uint32_t n_ctx = s->n_prompt + s->r.max_tokens;
    int rc = e->head ? infer_seq_open(e->head, n_ctx, &s->head_seq) : 0;
    if (!rc) {
        rc = infer_seq_open(e->tail, n_ctx, &s->tail_seq);
        if (rc && e->head)
            infer_seq_close(e->head, s->head_seq);
    }
    if (rc)
        s->head_seq = s->tail_seq = -1;
    count_kv(e);
    return rc;
}

/* A session id is used once: after a loss the next one is opened. */
static void open_middle(struct engine *e, struct seq *s, int64_t now_ns)
{
    if (s->state == SEQ_REFUSED)
        e->n_refused--;
    s->session = ++e->last_session;
    s->state = SEQ_OPENING;
    s->epoch = s->sent = s->returned = 0;
    if (e->middle->ops->open(e->middle, s->session, s->n_prompt + s->r.max_tokens)) {
        s->session = 0;
        s->state = SEQ_REFUSED;
        e->n_refused++;
        e->ask_again_ns = now_ns + ASK_AGAIN_NS;
    }
}

static void leave_line(struct engine *e)
{
    struct seq *s = e->line;
    e->line = s->next;
    if (!e->line)
        e->line_end = &e->line;
    s->next = NULL;
    pthread_mutex_lock(&e->lock);
    e->waiting--;
    pthread_mutex_unlock(&e->lock);
}

static bool admit_first(struct engine *e, int64_t now_ns)
{
    struct seq *s = e->line;
    int rc = open_campus(e, s);
    if (rc == -ENOSPC && e->n_slots)
        return false; /* room comes back when one of those that run ends */
    leave_line(e);
    speculate_seq_init(&s->speculate, &e->cost);
    e->slots[e->n_slots++] = s;
    atomic_store(&e->running, e->n_slots);
    if (rc)
        engine_end(e, s, ENGINE_FAILED, "this request needs more memory for keys and values than the campus has");
    else if (e->middle)
        open_middle(e, s, now_ns);
    else
        s->state = SEQ_RUNNING;
    return true;
}

void engine_admit(struct engine *e, int64_t now_ns)
{
    if (e->failed[0] && e->line) /* only this thread writes it */
        engine_end_all(e, ENGINE_FAILED, e->failed);
    if (e->n_refused && (e->ask_again || now_ns >= e->ask_again_ns)) {
        e->ask_again_ns = now_ns + ASK_AGAIN_NS;
        for (uint32_t i = 0; i < e->n_slots; i++)
            if (e->slots[i]->state == SEQ_REFUSED)
                open_middle(e, e->slots[i], now_ns);
    }
    e->ask_again = false;
    while (e->line && e->n_slots < e->cfg.max_running && !e->n_refused)
        if (!admit_first(e, now_ns))
            break;
}

void engine_opened(struct engine *e, struct seq *s)
{
    s->state = SEQ_RUNNING;
    s->replay_to = s->tail_next;
}

void engine_refused(struct engine *e, struct seq *s, const struct middle_event *ev, int64_t now_ns)
{
    s->session = 0;
    s->state = SEQ_REFUSED;
    e->n_refused++;
    if (ev->final)
        engine_end(e, s, ENGINE_FAILED, ev->text && ev->text[0] ? ev->text : "the cloud refuses this request");
    else
        e->ask_again_ns = now_ns + ASK_AGAIN_NS;
}

/* The middle forgot the session. The tail keeps what it has; the head runs all tokens again for the middle's sake. */
void engine_lost(struct engine *e, struct seq *s, int64_t now_ns)
{
    engine_cut_back(e, s, s->known - 1);
    infer_seq_truncate(e->head, s->head_seq, 0);
    open_middle(e, s, now_ns);
}

void engine_cut_back(struct engine *e, struct seq *s, uint32_t len)
{
    batch_forget(&e->decode, s);
    batch_forget(&e->prefill, s);
    batch_forget(&e->back, s);
    if (infer_seq_len(e->head, s->head_seq) > (int32_t)len)
        infer_seq_truncate(e->head, s->head_seq, (int32_t)len);
    if (infer_seq_len(e->tail, s->tail_seq) > (int32_t)len)
        infer_seq_truncate(e->tail, s->tail_seq, (int32_t)len);
    s->tail_next = (uint32_t)infer_seq_len(e->tail, s->tail_seq);
    if (s->sent > len)
        s->sent = len;
    if (s->returned > s->sent)
        s->returned = s->sent;
}

/* --- out --------------------------------------------------------------------------------------------------------- */

static void leave_slot(struct engine *e, const struct seq *s)
{
    for (uint32_t i = 0; i < e->n_slots; i++)
        if (e->slots[i] == s) {
            memmove(e->slots + i, e->slots + i + 1, sizeof(*e->slots) * (e->n_slots - i - 1));
            e->n_slots--;
            break;
        }
    atomic_store(&e->running, e->n_slots);
}

static void give_back(struct engine *e, struct seq *s)
{
    batch_forget(&e->decode, s);
    batch_forget(&e->prefill, s);
    batch_forget(&e->back, s);
    if (s->head_seq >= 0)
        infer_seq_close(e->head, s->head_seq);
    if (s->tail_seq >= 0)
        infer_seq_close(e->tail, s->tail_seq);
    if (s->session)
        e->middle->ops->close(e->middle, s->session);
    if (s->state == SEQ_REFUSED)
        e->n_refused--;
    e->ask_again = true;
    count_kv(e);
}

static void leave_all(struct engine *e, struct seq *s)
{
    pthread_mutex_lock(&e->lock);
    *s->all_at = s->all_next;
    if (s->all_next)
        s->all_next->all_at = s->all_at;
    pthread_mutex_unlock(&e->lock);
}

/* `s` is in a slot. */
void engine_end(struct engine *e, struct seq *s, enum engine_end why, const char *text)
{
    give_back(e, s);
    leave_slot(e, s);
    leave_all(e, s);
    atomic_fetch_add(why == ENGINE_FAILED ? &e->failures : &e->finished, 1);
    s->r.on_end(s->r.user, why, text ? text : "");
    seq_free(s);
}

static void end_waiting(struct engine *e, struct seq *s, enum engine_end why, const char *text)
{
    pthread_mutex_lock(&e->lock);
    e->waiting--;
    pthread_mutex_unlock(&e->lock);
    leave_all(e, s);
    atomic_fetch_add(why == ENGINE_FAILED ? &e->failures : &e->finished, 1);
    s->r.on_end(s->r.user, why, text ? text : "");
    seq_free(s);
}

/* Ends those in line for which `ripe` holds; the others keep their order. */
static void end_in_line(struct engine *e, bool (*ripe)(const struct engine *, const struct seq *, int64_t),
    int64_t now_ns, enum engine_end why, const char *text)
{
    struct seq *s = e->line, *next;
    e->line = NULL;
    e->line_end = &e->line;
    for (; s; s = next) {
        next = s->next;
        s->next = NULL;
        if (ripe(e, s, now_ns)) {
            end_waiting(e, s, why, text);
            continue;
        }
        *e->line_end = s;
        e->line_end = &s->next;
    }
}

static bool ripe_always(const struct engine *e, const struct seq *s, int64_t now_ns)
{
    return true;
}

static bool ripe_cancelled(const struct engine *e, const struct seq *s, int64_t now_ns)
{
    return atomic_load(&s->cancelled);
}

static bool ripe_too_late(const struct engine *e, const struct seq *s, int64_t now_ns)
{
    int64_t from = s->since_ns > e->down_since_ns ? s->since_ns : e->down_since_ns;
    return now_ns - from >= e->cfg.down_timeout_ns;
}

static void end_in_slots(struct engine *e, bool (*ripe)(const struct engine *, const struct seq *, int64_t),
    int64_t now_ns, enum engine_end why, const char *text)
{
    for (uint32_t i = e->n_slots; i-- > 0;)
        if (ripe(e, e->slots[i], now_ns))
            engine_end(e, e->slots[i], why, text);
}

void engine_end_all(struct engine *e, enum engine_end why, const char *text)
{
    pthread_mutex_lock(&e->lock);
    *e->line_end = e->inbox;
    if (e->inbox)
        e->line_end = e->inbox_end;
    e->inbox = NULL;
    e->inbox_end = &e->inbox;
    pthread_mutex_unlock(&e->lock);
    end_in_slots(e, ripe_always, 0, why, text);
    end_in_line(e, ripe_always, 0, why, text);
}

void engine_reap_cancelled(struct engine *e)
{
    end_in_slots(e, ripe_cancelled, 0, ENGINE_CANCELLED, "cancelled");
    end_in_line(e, ripe_cancelled, 0, ENGINE_CANCELLED, "cancelled");
}

void engine_fail_waiting(struct engine *e, int64_t now_ns)
{
    char text[400];
    if (!e->down)
        return;
    snprintf(text, sizeof(text), "there is no connection to the cloud%s%s%s: try again later",
        e->down_text[0] ? " (" : "", e->down_text, e->down_text[0] ? ")" : "");
    end_in_slots(e, ripe_too_late, now_ns, ENGINE_FAILED, text);
    end_in_line(e, ripe_too_late, now_ns, ENGINE_FAILED, text);
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

static int64_t sooner(const struct engine *e, const struct seq *s, int64_t at_ns)
{
    int64_t from = s->since_ns > e->down_since_ns ? s->since_ns : e->down_since_ns;
    return from + e->cfg.down_timeout_ns < at_ns ? from + e->cfg.down_timeout_ns : at_ns;
}

int64_t engine_deadline(const struct engine *e, int64_t now_ns)
{
    int64_t at = now_ns + LONG_SLEEP_NS;
    if (e->n_refused && e->ask_again_ns < at)
        at = e->ask_again_ns;
    if (e->down) {
        for (uint32_t i = 0; i < e->n_slots; i++)
            at = sooner(e, e->slots[i], at);
        for (const struct seq *s = e->line; s; s = s->next)
            at = sooner(e, s, at);
    }
    return at > now_ns ? at - now_ns : 0;
}

struct seq *engine_find_session(struct engine *e, uint32_t session)
{
    for (uint32_t i = 0; session && i < e->n_slots; i++)
        if (e->slots[i]->session == session)
            return e->slots[i];
    return NULL;
}
