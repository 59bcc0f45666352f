/* People of a lab who ask an edge, one question after another, and how long they waited for each piece of an answer. Started
 * by `meridian lab run` (not shown in the help). Results are JSON.
 *
 * A piece is what one event of the stream brought: a token, or several that were guessed together. An answer that ended in
 * an error is broken; one that was under way when the time was over is neither broken nor counted. */
#include "base/clock.h"
#include "cli/verbs.h"
#include "edge/chat_client.h"
#include "os/file.h"
#include "scenario/units.h"
#include "telemetry/quantile.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define USERS_MOST     64u
#define QUESTIONS_MOST 256u
#define PAUSE_NS       (200 * NS_PER_MS)

struct common {
    struct http_url url;
    char key[128];
    uint32_t tokens;
    int64_t until_ns;
    int stop_fd;
    char *question[QUESTIONS_MOST];
    uint32_t n_questions;
};

struct person {
    const struct common *c;
    uint32_t number;
    pthread_t thread;
    struct quantile token, first;
    int64_t last_ns; /* of the answer under way; 0: none of it yet */
    uint64_t answers, broken, tokens;
    char why[200];
};

static void nap(int64_t ns)
{
    nanosleep(&(struct timespec){ns / NS_PER_S, ns % NS_PER_S}, NULL);
}

static void on_text(void *user, const char *text, size_t len)
{
    struct person *x = user;
    int64_t now = clock_now_ns();
    if (x->last_ns)
        quantile_add(&x->token, now - x->last_ns);
    x->last_ns = now;
}

static void ask(struct person *x, struct chat_client *c, const char *question)
{
    struct chat_reply r = {0};
    struct error err = {""};
    x->last_ns = 0;
    int rc = chat_client_ask(c, question, strlen(question), on_text, x, &r, &err);
    chat_client_reset(c);
    if (rc == -ECANCELED)
        return;
    x->tokens += r.tokens;
    if (rc) {
        if (!x->broken++)
            snprintf(x->why, sizeof(x->why), "%s", err.text);
        return;
    }
    x->answers++;
    quantile_add(&x->first, (int64_t)(r.first_s * 1e9));
}

static void *live(void *user)
{
    struct person *x = user;
    struct chat_client c = {.temperature = 0, .seed = -1, .max_tokens = x->c->tokens};
    c.http.url = x->c->url;
    c.http.key = x->c->key[0] ? x->c->key : NULL;
    c.http.cancel_fd = x->c->stop_fd;
    for (uint32_t i = x->number; clock_now_ns() < x->c->until_ns && !cli_interrupted; i++) {
        uint64_t broken = x->broken;
        ask(x, &c, x->c->question[i % x->c->n_questions]);
        nap(x->broken > broken ? 5 * PAUSE_NS : PAUSE_NS);
    }
    chat_client_done(&c);
    return NULL;
}

/* A JSON list of strings, or JSON lines whose first message is a question. */
static int read_questions(struct common *c, const char *path, struct error *err)
{
    struct buf b = {0};
    int rc = file_read(&b, path, 64 << 20, err);
    char *rest = rc ? NULL : (char *)(uintptr_t)buf_str(&b);
    for (char *line; c->n_questions < QUESTIONS_MOST && (line = strsep(&rest, "\n"));) {
        yyjson_doc *d = yyjson_read(line, strlen(line), 0);
        const char *text = yyjson_get_str(yyjson_doc_ptr_get(d, "/messages/0/content"));
        if (text && (c->question[c->n_questions] = strdup(text)))
            c->n_questions++;
        yyjson_doc_free(d);
    }
    buf_done(&b);
    return rc || c->n_questions
               ? rc
               : error_set(err, EINVAL, "%s: no line of it is {\"messages\":[{\"content\":…}, …]}", path);
}

static int set_up(struct common *c, const struct cli_args *args, struct error *err)
{
    const char *questions = cli_str(args, "questions"), *key = cli_str(args, "key-file");
    int64_t time = 0;
    struct buf b = {0};
    int rc = http_url_parse(&c->url, cli_str(args, "url"), err);
    rc = rc ? rc : cli_u32(args, "tokens", 1, 65536, &c->tokens, err);
    if (!rc && units_time(cli_str(args, "for"), &time))
        rc = (error_set(err, EINVAL, "--for \"%s\": write for example 30s", cli_str(args, "for")), CLI_USAGE);
    if (!rc && key && !(rc = file_read(&b, key, sizeof(c->key) - 1, err)))
        snprintf(c->key, sizeof(c->key), "%.*s", (int)strcspn(buf_str(&b), "\n"), buf_str(&b));
    buf_done(&b);
    if (!rc && questions)
        rc = read_questions(c, questions, err);
    if (!rc && !c->n_questions && (c->question[0] = strdup("Which department is right for a headache?")))
        c->n_questions = 1;
    c->until_ns = clock_now_ns() + time;
    return rc;
}

static void print_times(const char *name, const struct quantile *q, const char *after)
{
    printf("\"%s\":{\"count\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}%s", name,
        (unsigned long long)q->count, (double)quantile_at(q, QUANTILE_P50) / 1e3,
        (double)quantile_at(q, QUANTILE_P99) / 1e3, (double)quantile_at(q, QUANTILE_P999) / 1e3,
        (double)q->most_ns / 1e3, after);
}

static void say(const struct person *all, uint32_t n)
{
    struct person *sum = calloc(1, sizeof(*sum));
    const char *why = "";
    for (uint32_t i = 0; sum && i < n; i++) {
        quantile_merge(&sum->token, &all[i].token);
        quantile_merge(&sum->first, &all[i].first);
        sum->answers += all[i].answers;
        sum->broken += all[i].broken;
        sum->tokens += all[i].tokens;
        why = all[i].why[0] ? all[i].why : why;
    }
    if (!sum)
        return;
    if (why[0])
        fprintf(stderr, "a broken answer: %s\n", why);
    printf("{\"users\":%u,\"answers\":%llu,\"broken\":%llu,\"tokens\":%llu,", n, (unsigned long long)sum->answers,
        (unsigned long long)sum->broken, (unsigned long long)sum->tokens);
    print_times("first", &sum->first, ",");
    print_times("token", &sum->token, "}\n");
    free(sum);
}

static int run_chat(const struct cli_args *args, struct error *err)
{
    struct common *c = calloc(1, sizeof(*c));
    struct person *all = calloc(USERS_MOST, sizeof(*all));
    uint32_t users = 1, n = 0;
    int stop[2] = {-1, -1};
    int rc = c && all && !pipe(stop) ? 0 : error_set(err, ENOMEM, "out of memory");
    rc = rc ? rc : cli_u32(args, "users", 1, USERS_MOST, &users, err);
    rc = rc ? rc : set_up(c, args, err);
    if (!rc) {
        c->stop_fd = stop[0];
        for (; n < users; n++) {
            all[n].c = c;
            all[n].number = n;
            if (pthread_create(&all[n].thread, NULL, live, &all[n]))
                break;
        }
        while (!cli_interrupted && clock_now_ns() < c->until_ns)
            nap(20 * NS_PER_MS);
        if (cli_interrupted && write(stop[1], "", 1) < 0)
            rc = error_set(err, errno, "%s", strerror(errno));
        for (uint32_t i = 0; i < n; i++)
            pthread_join(all[i].thread, NULL);
        say(all, n);
    }
    for (uint32_t i = 0; c && i < c->n_questions; i++)
        free(c->question[i]);
    for (int i = 0; i < 2; i++)
        if (stop[i] >= 0)
            close(stop[i]);
    free(all);
    free(c);
    return rc;
}

const struct cli_verb verb_lab_chat = {
    .name = "lab chat",
    .summary = "ask an edge, again and again",
    .operands = "",
    .options =
        (const struct cli_option[]){
            {"url", "URL", "http://localhost:8080", "where the edge serves"},
            {"key-file", "FILE", NULL, "holds the API key"},
            {"users", "N", "1", "people who ask"},
            {"tokens", "N", "48", "longest answer"},
            {"for", "TIME", "10s", "after which no new question is asked"},
            {"questions", "FILE", NULL, "JSON lines with messages, whose first is the question"},
            {NULL},
        },
    .run = run_chat,
};
