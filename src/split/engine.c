/* The engine from outside: create, submit, cancel, look; and its thread's loop.
 *
 * The thread goes round: take what was submitted, admit what fits, hand the middle's answers to the tail, send decode
 * steps, then one prefill chunk; so a long prompt delays others by one chunk at most. With nothing to do it sleeps in
 * the middle's `next` (or on a condition, when there is no middle) until an answer, a submission or a deadline. */
#include "split/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "split/engine_state.h"
#include "split/leaky.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct engine_config with_defaults(const struct engine_config *cfg, const struct model_params *p)
{
    struct engine_config c = cfg ? *cfg : (struct engine_config){0};
    if (!c.kv_rows) {
        c.kv_rows = 16ull * p->n_ctx;
        if (c.kv_rows > 65536)
            c.kv_rows = 65536;
    }
    if (!c.max_running)
        c.max_running = 32;
    if (!c.max_waiting)
        c.max_waiting = 256;
    if (!c.prefill_rows)
        c.prefill_rows = 128;
    if (!c.down_timeout_ns)
        c.down_timeout_ns = 120 * NS_PER_S;
    return c;
}

static int create_infers(struct engine *e, const struct gguf_file *f, struct error *err)
{
    struct infer_config c = {
        .n_threads = e->cfg.n_threads,
        .max_rows = e->back.cap < 512 ? e->back.cap : 512,
        .kv_rows = e->cfg.kv_rows,
        .max_seqs = e->cfg.max_running,
    };
    if (!e->middle)
        return infer_create(&e->tail, f, &e->p, span_whole(&e->p), &c, err);
    int rc = infer_create(&e->head, f, &e->p, span_head(&e->p), &c, err);
    return rc ? rc : infer_create(&e->tail, f, &e->p, span_tail(&e->p), &c, err);
}

static int create_batches(struct engine *e)
{
    uint32_t running = e->cfg.max_running, chunk = e->cfg.prefill_rows, steps = running * (1 + e->most_drafts);
    uint32_t d = e->middle ? e->p.d : 0;
    e->want_cap = steps < 64 ? steps : 64;
    int rc = batch_init(&e->back, 2 * chunk + steps, 2 * chunk + steps, d);
    if (!rc && e->middle)
        rc = batch_init(&e->decode, steps, running, d);
    if (!rc && e->middle)
        rc = batch_init(&e->prefill, chunk, running, d);
    e->slots = calloc(running, sizeof(struct seq *));
    e->logits = malloc(sizeof(float) * e->want_cap * e->p.n_vocab);
    e->scratch = malloc(sizeof(struct sample_logprob) * e->p.n_vocab);
    return rc || !e->slots || !e->logits || !e->scratch ? -ENOMEM : 0;
}

static int check(
    const struct model_params *p, const struct middle *middle, const struct engine_config *c, struct error *err)
{
    if (!model_has_ends(p))
        return error_set(err, EINVAL, "this is the cloud's half of a model: generating needs the campus's half");
    if (!middle && p->cut.part != MODEL_WHOLE)
        return error_set(err, EINVAL, "this is the campus's half of a model: it needs its cloud half to generate");
    if (c->max_running > 4096 || c->max_waiting > 1000000 || c->prefill_rows > 4096)
        return error_set(err, EINVAL, "at most 4096 requests run at once, 1000000 wait, and 4096 rows make a chunk");
    return 0;
}

static void *engine_main(void *arg);

int engine_create(struct engine **ret, const struct gguf_file *edge, const struct model_params *p,
    const struct tokenizer *t, struct middle *middle, const struct engine_config *cfg, struct error *err)
{
    struct engine *e = calloc(1, sizeof(*e));
    int rc = e ? 0 : error_set(err, ENOMEM, "no memory for the engine");
    if (rc) {
        if (middle)
            middle->ops->free(middle);
        return rc;
    }
    e->p = *p;
    e->tokenizer = t;
    e->middle = middle;
    e->cfg = with_defaults(cfg, p);
    e->most_drafts = middle && !e->cfg.plain ? SPECULATE_MOST : 0;
    e->inbox_end = &e->inbox;
    e->line_end = &e->line;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->context = e->cfg.kv_rows < p->n_ctx ? (uint32_t)e->cfg.kv_rows : p->n_ctx;
    atomic_store(&e->kv_free, e->cfg.kv_rows);

    rc = check(p, middle, &e->cfg, err);
    if (!rc && create_batches(e))
        rc = error_set(err, ENOMEM, "no memory for the engine's buffers");
    if (!rc)
        rc = create_infers(e, edge, err);
    if (!rc && middle) {
        middle->ops->stats(middle, &e->middle_stats);
        e->down = !e->middle_stats.up;
        e->down_since_ns = clock_now_ns();
    }
    if (!rc && pthread_create(&e->thread, NULL, engine_main, e))
        rc = error_set(err, EAGAIN, "the engine's thread cannot start: the limit of threads is reached");
    if (rc) {
        engine_free(e);
        return rc;
    }
    e->thread_runs = true;
    *ret = e;
    return 0;
}

/* The thread looks at once. Without the lock: `wake` of a middle is safe from any thread. */
static void wake(struct engine *e)
{
    if (e->middle) {
        e->middle->ops->wake(e->middle);
        return;
    }
    pthread_mutex_lock(&e->lock);
    e->woken = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    if (e->thread_runs) {
        pthread_mutex_lock(&e->lock);
        e->stop = true;
        pthread_mutex_unlock(&e->lock);
        wake(e);
        pthread_join(e->thread, NULL);
    }
    if (e->middle)
        e->middle->ops->free(e->middle);
    infer_free(e->head);
    infer_free(e->tail);
    batch_done(&e->decode);
    batch_done(&e->prefill);
    batch_done(&e->back);
    free(e->slots);
    free(e->logits);
    free(e->scratch);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static int enqueue(struct engine *e, struct seq *s, uint64_t *ret_id, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&e->lock);
    if (e->failed[0])
        rc = error_set(err, EIO, "%s", e->failed);
    else if (e->stop || e->waiting >= e->cfg.max_waiting)
        rc = error_set(err, EBUSY, "%u requests are waiting already: try again later", e->waiting);
    if (!rc) {
        s->id = *ret_id = ++e->last_id; /* before the thread can see it */
        s->since_ns = clock_now_ns();
        *e->inbox_end = s;
        e->inbox_end = &s->next;
        s->all_next = e->all;
        s->all_at = &e->all;
        if (e->all)
            e->all->all_at = &s->all_next;
        e->all = s;
        e->waiting++;
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

int engine_submit(struct engine *e, const struct engine_request *r, uint64_t *ret_id, struct error *err)
{
    struct seq *s;
    uint64_t id;
    int rc = seq_create(&s, e, r, err);
    if (rc)
        return rc;
    leaky_note(e->tokenizer, r->tokens, r->n_tokens);
    rc = enqueue(e, s, &id, err);
    if (rc) {
        seq_free(s);
        atomic_fetch_add(&e->refused, 1);
        return rc;
    }
    *ret_id = id;
    atomic_fetch_add(&e->requests, 1);
    atomic_fetch_add(&e->prompt_tokens, r->n_tokens);
    wake(e);
    return 0;
}

void engine_cancel(struct engine *e, uint64_t id)
{
    bool found = false;
    pthread_mutex_lock(&e->lock);
    for (struct seq *s = e->all; s && !found; s = s->all_next)
        if (s->id == id) {
            atomic_store(&s->cancelled, true);
            atomic_store(&e->cancels, true);
            found = true;
        }
    pthread_mutex_unlock(&e->lock);
    if (found)
        wake(e);
}

void engine_stats(struct engine *e, struct engine_stats *ret)
{
    struct engine_stats st = {
        .requests = atomic_load(&e->requests),
        .finished = atomic_load(&e->finished),
        .failed = atomic_load(&e->failures),
        .refused = atomic_load(&e->refused),
        .prompt_tokens = atomic_load(&e->prompt_tokens),
        .generated_tokens = atomic_load(&e->generated_tokens),
        .replayed_tokens = atomic_load(&e->replayed_tokens),
        .drafts = atomic_load(&e->drafts),
        .drafts_right = atomic_load(&e->drafts_right),
        .running = atomic_load(&e->running),
        .kv_rows = e->cfg.kv_rows,
        .kv_rows_free = atomic_load(&e->kv_free),
        .busy_s = (double)atomic_load(&e->busy_ns) / NS_PER_S,
    };
    pthread_mutex_lock(&e->lock);
    st.waiting = e->waiting;
    st.middle = e->middle_stats;
    snprintf(st.trouble, sizeof(st.trouble), "%s", e->failed[0] ? e->failed : e->down_text);
    pthread_mutex_unlock(&e->lock);
    if (!e->middle) {
        st.middle.up = true;
        snprintf(st.middle.peer, sizeof(st.middle.peer), "whole model in this process");
    } else {
        wake(e); /* so that the next look is fresh */
    }
    *ret = st;
}

uint32_t engine_context(const struct engine *e)
{
    return e->context;
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

static bool take_inbox(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    if (e->inbox) {
        *e->line_end = e->inbox;
        e->line_end = e->inbox_end;
        e->inbox = NULL;
        e->inbox_end = &e->inbox;
    }
    bool stop = e->stop;
    e->woken = false;
    pthread_mutex_unlock(&e->lock);
    if (atomic_exchange(&e->cancels, false))
        engine_reap_cancelled(e);
    return !stop;
}

/* At most ten times a second while busy, and whenever somebody asked. */
static void refresh_stats(struct engine *e, int64_t now_ns, bool idle)
{
    if (!e->middle || (!idle && now_ns - e->stats_ns < NS_PER_S / 10))
        return;
    struct middle_stats st = {0};
    e->middle->ops->stats(e->middle, &st);
    pthread_mutex_lock(&e->lock);
    e->middle_stats = st;
    pthread_mutex_unlock(&e->lock);
    e->stats_ns = now_ns;
    e->cost.rtt_s = st.rtt_ms / 1000;
}

static void middle_failed(struct engine *e, const char *text)
{
    const char *why = text && text[0] ? text : "the cloud's side of the model failed";
    if (strncmp(e->failed, why, sizeof(e->failed) - 1))
        log_error("nothing can be generated: %s", why);
    pthread_mutex_lock(&e->lock);
    snprintf(e->failed, sizeof(e->failed), "%s", why);
    pthread_mutex_unlock(&e->lock);
    e->told_away = true;
    engine_end_all(e, ENGINE_FAILED, e->failed); /* only this thread writes it */
}

static void request_failed(struct engine *e, struct seq *s, const char *text)
{
    char why[400]; /* ending it calls the middle, after which its text is gone */
    snprintf(why, sizeof(why), "%s", text && text[0] ? text : "the cloud could not compute this");
    engine_end(e, s, ENGINE_FAILED, why);
}

static void middle_up(struct engine *e, int64_t now_ns)
{
    if (e->told_away)
        log_info("the cloud is back after %.1f s", (double)(now_ns - e->down_since_ns) / NS_PER_S);
    e->down = e->told_away = false;
    pthread_mutex_lock(&e->lock);
    e->failed[0] = e->down_text[0] = 0;
    pthread_mutex_unlock(&e->lock);
}

static void middle_down(struct engine *e, const char *text, int64_t now_ns)
{
    if (!e->down || !e->told_away)
        log_warn("the cloud is away, answers wait: %s", text ? text : "no connection");
    if (!e->down)
        e->down_since_ns = now_ns;
    e->down = e->told_away = true;
    pthread_mutex_lock(&e->lock);
    snprintf(e->down_text, sizeof(e->down_text), "%s", text ? text : "");
    pthread_mutex_unlock(&e->lock);
}

static void on_event(struct engine *e, const struct middle_event *ev, int64_t now_ns)
{
    struct seq *s = engine_find_session(e, ev->session); /* NULL: ended meanwhile, or not about a session */
    switch (ev->kind) {
    case MIDDLE_OPENED:
        e->down = false;
        if (s && s->state == SEQ_OPENING)
            engine_opened(e, s);
        break;
    case MIDDLE_REFUSED:
        if (s && s->state == SEQ_OPENING)
            engine_refused(e, s, ev, now_ns);
        break;
    case MIDDLE_VECTORS:
        e->down = false;
        if (s && s->state == SEQ_RUNNING && ev->epoch == s->epoch)
            engine_take_vectors(e, s, ev);
        break;
    case MIDDLE_LOST:
        if (s) {
            log_info("the cloud lost an answer's %u positions; they are computed again", s->sent);
            engine_lost(e, s, now_ns);
        }
        break;
    case MIDDLE_DOWN:
        middle_down(e, ev->text, now_ns);
        break;
    case MIDDLE_UP:
        middle_up(e, now_ns);
        break;
    case MIDDLE_FAILED:
        if (!ev->session)
            middle_failed(e, ev->text);
        else if (s)
            request_failed(e, s, ev->text);
        break;
    }
}

/* Takes what the middle has to say, as much as the tail's batch has room for; sleeps first when there is nothing else. */
static bool take_events(struct engine *e, int64_t wait_ns)
{
    bool any = false;
    while (engine_has_room_back(e)) {
        struct middle_event ev;
        int rc = e->middle->ops->next(e->middle, any ? 0 : wait_ns, &ev);
        if (rc == -EAGAIN)
            break;
        if (rc) {
            middle_failed(e, strerror(-rc));
            nanosleep(&(struct timespec){.tv_nsec = NS_PER_S / 10}, NULL); /* it may go on saying so */
            break;
        }
        any = true;
        on_event(e, &ev, clock_now_ns());
    }
    return any;
}

static void sleep_whole(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    while (!e->woken && !e->stop && !e->inbox)
        pthread_cond_wait(&e->changed, &e->lock);
    pthread_mutex_unlock(&e->lock);
}

static void *engine_main(void *arg)
{
    struct engine *e = arg;
    bool worked = true;
    while (take_inbox(e)) {
        int64_t now = clock_now_ns();
        engine_admit(e, now);
        if (!e->middle) {
            worked = engine_run_whole(e);
            if (!worked)
                sleep_whole(e);
            continue;
        }
        engine_fail_waiting(e, now);
        refresh_stats(e, now, !worked);
        int64_t began = clock_now_ns();
        worked = take_events(e, worked ? 0 : engine_deadline(e, began));
        worked |= engine_run_tail(e);
        worked |= engine_run_decode(e, clock_now_ns());
        worked |= engine_run_prefill(e);
    }
    engine_end_all(e, ENGINE_CANCELLED, "the engine stops");
    return NULL;
}
