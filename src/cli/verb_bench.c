/* `meridian bench`: how fast a model answers here: whole, split in one process, or split with the middle in the cloud. The
 * same engine and the same requests each way, so the figures compare. */
#include "base/clock.h"
#include "cli/common.h"
#include "cli/remote.h"
#include "cli/verbs.h"
#include "model/tokenizer.h"
#include "os/file.h"
#include "split/engine.h"
#include "split/local_middle.h"
#include "split/remote_middle.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_USERS 64

struct run; /* one round of requests */
struct user {
    struct run *run;
    int64_t first_ns, last_ns;
    uint32_t n;
};

struct run {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint32_t running;
    bool failed;
    char why[256];
    struct user users[MOST_USERS];
};

static bool on_token(void *ctx, const struct engine_token *t)
{
    struct user *u = ctx;
    u->last_ns = clock_now_ns();
    if (!u->n++)
        u->first_ns = u->last_ns;
    return !cli_interrupted;
}

static void on_end(void *ctx, enum engine_end why, const char *text)
{
    struct run *r = ((struct user *)ctx)->run;
    pthread_mutex_lock(&r->lock);
    if (why != ENGINE_LENGTH) {
        r->failed = true;
        snprintf(r->why, sizeof(r->why), "%s", text && text[0] ? text : "stopped early");
    }
    r->running--;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
}

struct figures {
    double prefill, decode; /* tokens a second, over all users */
};

/* Every user asks at once; prefill is prompt tokens until the last user's first token, decode what follows. */
static int round_of(struct engine *e, const int32_t *prompt, uint32_t n_prompt, uint32_t n_tokens, uint32_t users,
    struct figures *ret, struct error *err)
{
    struct run r = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    int64_t start = clock_now_ns();
    int rc = 0;
    for (uint32_t i = 0; i < users && !rc; i++) {
        struct engine_request q = {.tokens = prompt,
            .n_tokens = n_prompt,
            .max_tokens = n_tokens,
            .ignore_end = true,
            .sampling = {.top_p = 1},
            .on_token = on_token,
            .on_end = on_end,
            .user = &r.users[i]};
        uint64_t id;
        r.users[i].run = &r;
        pthread_mutex_lock(&r.lock);
        r.running++;
        pthread_mutex_unlock(&r.lock);
        rc = engine_submit(e, &q, &id, err);
        if (rc) {
            pthread_mutex_lock(&r.lock);
            r.running--;
            pthread_mutex_unlock(&r.lock);
        }
    }
    pthread_mutex_lock(&r.lock);
    while (r.running)
        pthread_cond_wait(&r.ended, &r.lock);
    pthread_mutex_unlock(&r.lock);
    if (rc)
        return rc;
    if (r.failed)
        return error_set(err, EIO, "the run did not finish: %s", r.why);
    int64_t first = 0, last = 0;
    for (uint32_t i = 0; i < users; i++) {
        first = r.users[i].first_ns > first ? r.users[i].first_ns : first;
        last = r.users[i].last_ns > last ? r.users[i].last_ns : last;
    }
    ret->prefill = (double)users * n_prompt * 1e9 / (double)(first - start);
    ret->decode = n_tokens > 1 ? (double)users * (n_tokens - 1) * 1e9 / (double)(last - first) : 0;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Milliseconds to run n rows of one sequence through the whole span, median of several: T(n) of the speculation model. */
static int time_rows(
    const struct cli_model *m, struct span span, uint32_t threads, uint32_t n, double *ret, struct error *err)
{
    struct infer *x;
    struct infer_config cfg = {.n_threads = threads, .kv_rows = 1024, .max_rows = 64, .max_seqs = 1};
    int rc = infer_create(&x, m->file, &m->params, span, &cfg, err);
    if (rc)
        return rc;
    float *in = calloc((size_t)n * m->params.d, sizeof(float));
    float *out = calloc((size_t)n * (span.output ? m->params.n_vocab : m->params.d), sizeof(float));
    struct infer_row rows[64];
    double ms[12];
    int32_t seq;
    rc = in && out ? infer_seq_open(x, 512, &seq) : -ENOMEM;
    for (int k = 0; k < 12 && !rc; k++) {
        for (uint32_t i = 0; i < n; i++)
            rows[i] = (struct infer_row){.seq = seq, .pos = k * (int)n + (int)i, .token = (int)i, .want = true};
        int64_t start = clock_now_ns();
        rc = infer_run(x, rows, n, span.embed ? NULL : in, out, err);
        ms[k] = (double)(clock_now_ns() - start) / 1e6;
    }
    *ret = median(ms + 2, 10);
    free(in);
    free(out);
    infer_free(x);
    return rc;
}

struct plan {
    const struct cli_args *args;
    const char *model, *cloud_half, *identity, *text;
    uint32_t prompt, tokens, users, repeat, threads;
    bool plain;
};

static int read_plan(const struct cli_args *args, struct plan *p, struct error *err)
{
    *p = (struct plan){.args = args,
        .cloud_half = cli_str(args, "cloud-half"),
        .identity = cli_str(args, "identity"),
        .text = cli_str(args, "prompt-file"),
        .plain = cli_flag(args, "plain")};
    int rc = cli_need(args, "model", &p->model, err);
    rc = rc ? rc : cli_u32(args, "prompt", 1, 65536, &p->prompt, err);
    rc = rc ? rc : cli_u32(args, "tokens", 1, 65536, &p->tokens, err);
    rc = rc ? rc : cli_u32(args, "users", 1, MOST_USERS, &p->users, err);
    rc = rc ? rc : cli_u32(args, "repeat", 1, 100, &p->repeat, err);
    return rc ? rc : cli_u32(args, "threads", 1, 1024, &p->threads, err);
}

/* The prompt: the beginning of a text, or ids that walk through the vocabulary where no text is given. */
static int make_prompt(const struct plan *p, const struct tokenizer *t, int32_t *ids, struct error *err)
{
    uint32_t n_vocab = tokenizer_n_vocab(t);
    for (uint32_t i = 0; i < p->prompt; i++)
        ids[i] = (int32_t)((i * 7919u + 13) % n_vocab);
    if (!p->text)
        return 0;
    struct buf text = {0}, found = {0};
    int rc = file_read(&text, p->text, 64 << 20, err);
    rc = rc ? rc : tokenizer_encode(t, (const char *)text.data, text.len, false, false, &found);
    if (!rc && found.len / sizeof(int32_t) < p->prompt)
        rc = error_set(err, EINVAL, "%s has only %zu tokens, --prompt asks for %u", p->text,
            found.len / sizeof(int32_t), p->prompt);
    if (!rc)
        memcpy(ids, found.data, p->prompt * sizeof(int32_t));
    buf_done(&text);
    buf_done(&found);
    return rc;
}

static int rounds(struct engine *e, const struct plan *p, const int32_t *prompt, bool json, struct error *err)
{
    double prefill[101], decode[101];
    int rc = 0;
    for (uint32_t i = 0; i <= p->repeat && !rc; i++) { /* the first warms up and is not counted */
        struct figures f = {0};
        rc = round_of(e, prompt, p->prompt, p->tokens, p->users, &f, err);
        if (i)
            prefill[i - 1] = f.prefill, decode[i - 1] = f.decode;
    }
    if (rc)
        return rc;
    struct engine_stats s;
    engine_stats(e, &s);
    double low = decode[0], high = decode[0], d, f;
    for (uint32_t i = 0; i < p->repeat; i++) {
        low = decode[i] < low ? decode[i] : low;
        high = decode[i] > high ? decode[i] : high;
    }
    d = median(decode, p->repeat);
    f = median(prefill, p->repeat);
    double drafts = s.drafts ? (double)s.drafts_right / (double)s.drafts : 0;
    if (json)
        printf("{\"decode_per_s\":%.3f,\"decode_least\":%.3f,\"decode_most\":%.3f,\"prefill_per_s\":%.3f,\"users\":%u,"
               "\"prompt\":%u,\"tokens\":%u,\"rtt_ms\":%.2f,\"drafts_right\":%.3f,\"bytes_up\":%llu,\"bytes_down\":%"
               "llu}\n",
            d, low, high, f, p->users, p->prompt, p->tokens, s.middle.rtt_ms, drafts,
            (unsigned long long)s.middle.bytes_up, (unsigned long long)s.middle.bytes_down);
    else
        printf(
            "decode %.1f tokens/s (%.1f to %.1f), prefill %.1f tokens/s, %u user%s, RTT %.1f ms, drafts right %.0f%%\n",
            d, low, high, f, p->users, p->users > 1 ? "s" : "", s.middle.rtt_ms, drafts * 100);
    return 0;
}

static int make_middle(const struct plan *p, const struct cli_model *edge, struct cli_remote *remote,
    struct cli_model *cloud, struct middle **ret, struct error *err)
{
    *ret = NULL;
    int rc;
    if (p->identity) {
        rc = cli_remote_init(remote, p->args, edge, err);
        return rc ? rc : remote_middle_create(ret, &remote->config, err);
    }
    if (!p->cloud_half)
        return 0;
    rc = cli_model_open(cloud, p->cloud_half, err);
    struct infer_config cfg = {.n_threads = p->threads, .kv_rows = 16384};
    return rc ? rc : local_middle_create(ret, cloud->file, &cloud->params, span_middle(&cloud->params), &cfg, err);
}

static int measure(const struct plan *p, const struct cli_model *m, bool json, struct error *err)
{
    struct tokenizer *t = NULL;
    struct engine *e = NULL;
    struct middle *middle = NULL;
    struct cli_remote remote = {0};
    struct cli_model cloud = {0};
    struct engine_config cfg = {.n_threads = p->threads, .plain = p->plain, .max_running = p->users};
    int32_t *prompt = malloc(p->prompt * sizeof(*prompt));
    int rc = prompt ? tokenizer_open(&t, m->file, err) : -ENOMEM;
    rc = rc ? rc : make_prompt(p, t, prompt, err);
    rc = rc ? rc : make_middle(p, m, &remote, &cloud, &middle, err);
    rc = rc ? rc : engine_create(&e, m->file, &m->params, t, middle, &cfg, err);
    rc = rc ? rc : rounds(e, p, prompt, json, err);
    engine_free(e);
    cli_remote_done(&remote);
    cli_model_close(&cloud);
    tokenizer_free(t);
    free(prompt);
    return rc;
}

static int show_rows(const struct plan *p, const struct cli_model *m, bool json, struct error *err)
{
    struct span span = m->params.cut.part == MODEL_WHOLE   ? span_whole(&m->params)
                       : m->params.cut.part == MODEL_CLOUD ? span_middle(&m->params)
                                                           : span_tail(&m->params);
    double t[3] = {0};
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i++)
        rc = time_rows(m, span, p->threads, (uint32_t[]){1, 4, 8}[i], &t[i], err);
    if (!rc)
        printf(json ? "{\"t1_ms\":%.3f,\"t4_ms\":%.3f,\"t8_ms\":%.3f}\n" : "T(1) %.2f ms, T(4) %.2f ms, T(8) %.2f ms\n",
            t[0], t[1], t[2]);
    return rc;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct plan plan;
    struct cli_model m;
    int rc = read_plan(args, &plan, err);
    if (rc || (rc = cli_model_open(&m, plan.model, err)))
        return rc;
    if (cli_flag(args, "rows"))
        rc = show_rows(&plan, &m, cli_flag(args, "json"), err);
    else
        rc = measure(&plan, &m, cli_flag(args, "json"), err);
    cli_model_close(&m);
    return rc;
}

static const struct cli_option options[] = {
    {"model", "FILE", NULL, "a whole model, or the campus half"},
    {"cloud-half", "FILE", NULL, "the other half: run here, or with --identity installed in the cloud"},
    CLI_OPTION_IDENTITY,
    CLI_OPTION_CODEC,
    CLI_OPTION_DSCP,
    {"prompt", "N", "64", "tokens of the prompt"},
    {"tokens", "N", "64", "tokens to generate"},
    {"users", "N", "1", "requests at once"},
    {"repeat", "N", "5", "counted rounds, after one that warms up; medians are printed"},
    {"prompt-file", "FILE", NULL, "the prompt is the beginning of this text"},
    {"plain", NULL, NULL, "one token a trip, nothing guessed ahead"},
    {"rows", NULL, NULL, "instead: milliseconds for 1, 4 and 8 rows at once through this file's layers"},
    CLI_OPTION_KEYLOG,
    CLI_OPTION_THREADS,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_bench = {
    .section = "Models",
    .name = "bench",
    .summary = "measure prefill and decoding, whole, split here, or over the network",
    .operands = "",
    .about = "The same requests through the same engine, with the middle layers in this process or in the cloud.",
    .example = "meridian bench --model whole.gguf\n"
               "meridian bench --model edge.gguf --cloud-half cloud.gguf\n"
               "meridian bench --model edge.gguf --cloud-half cloud.gguf --identity identity/ --users 4",
    .options = options,
    .run = run,
};
