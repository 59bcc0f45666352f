/* What programs said becomes figures. */
#include "base/clock.h"
#include "lab/result.h"
#include "os/file.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MOST (64u << 20)

static double number(yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    return yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
}

/* The last line that is a JSON object. */
static yyjson_doc *last_words(const char *path)
{
    struct buf b = {0};
    yyjson_doc *d = NULL;
    if (!file_read(&b, path, OUTPUT_MOST, NULL)) {
        const char *text = buf_str(&b), *end = text + b.len;
        while (!d && end > text) {
            const char *begin = end - 1;
            while (begin > text && begin[-1] != '\n')
                begin--;
            if (*begin == '{')
                d = yyjson_read(begin, (size_t)(end - begin), YYJSON_READ_STOP_WHEN_DONE);
            end = begin;
        }
    }
    buf_done(&b);
    return d;
}

/* --- training --- */

/* Steps and when they were done, over all starts of the program. */
struct point {
    int64_t at_ns;
    double steps;
};

/* Progress lines tell seconds since the program's start; a smaller number than before is another start. */
static uint32_t read_points(struct point *to, uint32_t most, const struct lab_program *x)
{
    struct buf b = {0};
    uint32_t n = 0, start = 0;
    double before = -1;
    if (file_read(&b, x->process.log, OUTPUT_MOST, NULL))
        return 0;
    char *rest = (char *)(uintptr_t)buf_str(&b);
    for (char *line; n < most && (line = strsep(&rest, "\n"));) {
        yyjson_doc *d = strncmp(line, "{\"progress\":\"training\"", 22) ? NULL : yyjson_read(line, strlen(line), 0);
        yyjson_val *o = yyjson_doc_get_root(d);
        double seconds = number(o, "seconds"), steps = number(o, "done");
        if (d && !isnan(seconds) && !isnan(steps)) {
            start += seconds < before && start + 1 < x->starts && start + 1 < LAB_PROGRAM_STARTS;
            before = seconds;
            to[n++] = (struct point){x->began_ns[start] + (int64_t)(seconds * 1e9), steps};
        }
        yyjson_doc_free(d);
    }
    buf_done(&b);
    return n;
}

/* Does anything that fills links run at this time? */
static bool loaded(const struct lab_work *k, int64_t at_ns)
{
    const struct scenario *s = k->world->plan->scenario;
    for (uint32_t i = 0; i < k->n_flows; i++) {
        const struct lab_flow *f = &k->flows[i];
        enum scenario_work type = s->workloads[f->flow->workload].type;
        if (f->started && (type == SCENARIO_WORK_TCP || type == SCENARIO_WORK_ROCE) && at_ns >= f->source.started_ns &&
            (!f->source.ended_ns || at_ns < f->source.ended_ns))
            return true;
    }
    return false;
}

/* Between two looks the state is that of their middle. */
static double efficiency(const struct point *p, uint32_t n, const struct lab_work *k)
{
    double steps[2] = {0, 0}, seconds[2] = {0, 0};
    for (uint32_t i = 1; i < n; i++) {
        if (p[i].steps < p[i - 1].steps || p[i - 1].steps < 1 || p[i].at_ns <= p[i - 1].at_ns)
            continue; /* started again; or before the first step */
        int with = loaded(k, p[i - 1].at_ns / 2 + p[i].at_ns / 2);
        steps[with] += p[i].steps - p[i - 1].steps;
        seconds[with] += (double)(p[i].at_ns - p[i - 1].at_ns) / 1e9;
    }
    if (steps[0] < 3 || seconds[1] < 1)
        return NAN;
    return steps[1] / seconds[1] / (steps[0] / seconds[0]);
}

static void read_training(struct lab_program_result *r, const struct lab_program *x, const struct lab_work *k)
{
    enum { MOST = 20000 };
    struct point *p = calloc(MOST, sizeof(*p));
    uint32_t n = p ? read_points(p, MOST, x) : 0;
    r->steps = n ? p[n - 1].steps : NAN;
    if (!isnan(number(yyjson_doc_get_root(r->said), "step")))
        r->steps = number(yyjson_doc_get_root(r->said), "step");
    r->efficiency = efficiency(p, n, k);
    free(p);
}

/* --- the others --- */

static void read_chat(struct lab_program_result *r)
{
    yyjson_val *o = yyjson_doc_get_root(r->said), *token = yyjson_obj_get(o, "token"),
               *first = yyjson_obj_get(o, "first");
    r->answers = number(o, "answers");
    r->broken = number(o, "broken");
    if (!(number(token, "count") > 0))
        token = first = NULL; /* nobody got an answer: no times */
    r->token_p50_ns = number(token, "p50_us") * 1e3;
    r->token_p99_ns = number(token, "p99_us") * 1e3;
    r->token_most_ns = number(token, "max_us") * 1e3;
    r->first_p99_ns = number(first, "p99_us") * 1e3;
}

/* Nothing found counts only when everything was searched. */
static void read_check(struct lab_program_result *r)
{
    yyjson_val *o = yyjson_doc_get_root(r->said);
    if (yyjson_get_bool(yyjson_obj_get(o, "complete")) || number(o, "hits") > 0)
        r->canaries = number(o, "hits");
}

static void read_one(struct lab_program_result *r, const struct lab_work *k, const struct lab_program *x,
    const struct scenario_program *in)
{
    *r = (struct lab_program_result){.name = in->name,
        .kind = scenario_program_kind_name(in->kind),
        .ended = x->ended,
        .restarts = x->starts ? x->starts - 1 : 0,
        .steps = NAN,
        .efficiency = NAN,
        .token_p50_ns = NAN,
        .token_p99_ns = NAN,
        .token_most_ns = NAN,
        .first_p99_ns = NAN,
        .answers = NAN,
        .broken = NAN,
        .canaries = NAN};
    if (!x->due) {
        snprintf(r->why, sizeof(r->why), "was never started: what it waits for did not happen in time");
        return;
    }
    r->said = last_words(x->process.out);
    if (in->kind == SCENARIO_PROGRAM_TRAIN)
        read_training(r, x, k);
    else if (in->kind == SCENARIO_PROGRAM_CHAT)
        read_chat(r);
    else if (in->kind == SCENARIO_PROGRAM_CHECK)
        read_check(r);
    if (!x->ended)
        lab_process_describe(&x->process, r->why, sizeof(r->why));
}

int lab_result_programs(
    struct lab_result *ret, const struct lab_work *k, const struct lab_programs *p, struct error *err)
{
    const struct scenario *s = k->world->plan->scenario;
    ret->programs = calloc(s->n_programs + 1, sizeof(*ret->programs));
    if (!ret->programs)
        return error_set(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < s->n_programs; i++)
        read_one(&ret->programs[i], k, &p->at[i], &s->programs[i]);
    ret->n_programs = s->n_programs;
    return 0;
}
