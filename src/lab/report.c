/* A lab run in words and as JSON; the keys are those of `meridian sim run --json`, so that both can be put beside each other. */
#include "base/clock.h"
#include "lab/result.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

#define TEXT 32

static char *scaled(char to[TEXT], double v, double step, const char *const *units)
{
    int i = 0;
    while (v >= step && units[i + 1]) {
        v /= step;
        i++;
    }
    snprintf(to, TEXT, "%.*f %s", v >= 100 ? 0 : v >= 10 ? 1 : 2, v, units[i]);
    return to;
}

static char *rate(char to[TEXT], double bps)
{
    static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", NULL};
    return scaled(to, bps, 1000, units);
}

static char *period(char to[TEXT], double ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};
    return scaled(to, ns, 1000, units);
}

static char *period_if(char to[TEXT], bool known, int64_t ns)
{
    if (known)
        return period(to, (double)ns);
    snprintf(to, TEXT, "-");
    return to;
}

static void print_work(FILE *to, const struct lab_work_result *w)
{
    char a[TEXT], b[TEXT], c[TEXT], d[TEXT], e[TEXT], done[TEXT] = "-";
    if (w->wanted)
        snprintf(done, sizeof(done), "%.1f %%", 100.0 * (double)w->payload / (double)w->wanted);
    fprintf(to, "  %-18.18s %5u %12s %10s %10s %10s %10s %10llu %8s\n", w->name, w->flows, rate(a, w->goodput_bps),
        period_if(b, w->timed, w->p50_ns), period_if(c, w->timed, w->p99_ns), period_if(d, w->timed, w->p999_ns),
        period_if(e, w->heard, w->silence_ns), (unsigned long long)w->retransmitted, done);
    if (w->broken)
        fprintf(to, "  %-18s %llu queue pairs broke after timeouts in a row\n", "", (unsigned long long)w->broken);
    if (w->failed)
        fprintf(to, "  %-18s %u of %u programs failed: %s\n", "", w->failed, w->flows, w->why);
}

static void print_program(FILE *to, const struct lab_program_result *p)
{
    char a[TEXT], b[TEXT], c[TEXT];
    fprintf(to, "  %-18.18s %-9s %-10s", p->name, p->kind, p->ended ? "well" : "FAILED");
    if (p->restarts)
        fprintf(to, " started again %u times;", p->restarts);
    if (!isnan(p->steps))
        fprintf(to, " %.0f steps;", p->steps);
    if (!isnan(p->efficiency))
        fprintf(to, " efficiency beside elephants %.3f;", p->efficiency);
    if (!isnan(p->answers))
        fprintf(to, " %.0f answers, %.0f broken; between tokens %s, p99 %s, longest %s;", p->answers, p->broken,
            period(a, p->token_p50_ns), period(b, p->token_p99_ns), period(c, p->token_most_ns));
    if (!isnan(p->canaries))
        fprintf(to, " found %.0f;", p->canaries);
    fprintf(to, "%s%s\n", p->why[0] ? " " : "", p->why);
}

static void in_unit(char to[TEXT], enum scenario_metric m, double v)
{
    switch (scenario_metric_unit(m)) {
    case SCENARIO_RATE:
        rate(to, v);
        break;
    case SCENARIO_TIME:
        period(to, v);
        break;
    case SCENARIO_SHARE:
        snprintf(to, TEXT, "%.4g", v);
        break;
    default:
        snprintf(to, TEXT, "%.0f", v);
    }
}

static void print_verdict(FILE *to, const struct scenario_expect *e, const struct lab_verdict *v)
{
    char seen[TEXT] = "-", alone[TEXT + 16] = "", text[TEXT];
    if (!isnan(v->seen))
        in_unit(seen, e->metric, v->seen);
    if (e->alone && !isnan(v->alone)) {
        in_unit(text, e->metric, v->alone);
        snprintf(alone, sizeof(alone), ", alone %s", text);
    }
    fprintf(to, "  %-22s %-44s seen %s%s\n",
        v->met     ? "met"
        : v->known ? "NOT MET"
                   : "NOT KNOWN IN THE LAB",
        e->text, seen, alone);
}

void lab_result_print(FILE *to, const struct plan *p, const struct lab_result *r, const struct lab_verdict *v)
{
    const struct scenario *s = p->scenario;
    char a[TEXT], b[TEXT];
    fprintf(to, "%s%s%s\nmode %s, lab: %s of real time; programs here were woken %s late (p99.9)\n", s->name,
        *s->about ? ": " : "", s->about, scenario_mode_name(s->mode), period(a, (double)r->elapsed_ns),
        period(b, (double)quantile_at(&r->gaps, QUANTILE_P999)));
    fprintf(to, "  %-18s %5s %12s %10s %10s %10s %10s %10s %8s\n", "workload", "flows", "goodput", "p50", "p99",
        "p99.9", "silence", "sent again", "done");
    for (uint32_t i = 0; i < r->n_works; i++)
        if (r->works[i].ran)
            print_work(to, &r->works[i]);
    if (r->n_programs)
        fprintf(to, "  %-18s %-9s %-10s\n", "program", "kind", "ended");
    for (uint32_t i = 0; i < r->n_programs; i++)
        print_program(to, &r->programs[i]);
    if (r->routers.known)
        fprintf(to, "lanes: %llu packets dropped in lanes, fullest %.3f of its W; %llu dropped by routers in all\n",
            (unsigned long long)r->routers.lane_drops, r->routers.peak_over_w, (unsigned long long)r->routers.drops);
    for (int i = 0; r->routers.known && i < LOSS_REASONS; i++)
        if (r->routers.by_reason[i])
            fprintf(to, "  lost: %llu %s\n", (unsigned long long)r->routers.by_reason[i],
                loss_reason_name((enum loss_reason)i));
    if (s->n_expect)
        fprintf(to, "expectations:\n");
    for (uint32_t i = 0; i < s->n_expect; i++)
        print_verdict(to, &s->expect[i], &v[i]);
}

/* --- JSON --- */

static void put_real(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, double v)
{
    if (isfinite(v))
        yyjson_mut_obj_add_real(d, o, key, v);
    else
        yyjson_mut_obj_add_null(d, o, key);
}

static yyjson_mut_val *work(yyjson_mut_doc *d, const struct lab_work_result *w)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "name", w->name);
    yyjson_mut_obj_add_str(d, o, "type", w->type);
    yyjson_mut_obj_add_uint(d, o, "flows", w->flows);
    yyjson_mut_obj_add_uint(d, o, "failed", w->failed);
    put_real(d, o, "goodput_bps", w->goodput_bps);
    put_real(d, o, "least_ns", w->timed ? (double)w->least_ns : NAN);
    put_real(d, o, "p50_ns", w->timed ? (double)w->p50_ns : NAN);
    put_real(d, o, "p99_ns", w->timed ? (double)w->p99_ns : NAN);
    put_real(d, o, "p999_ns", w->timed ? (double)w->p999_ns : NAN);
    put_real(d, o, "most_ns", w->timed ? (double)w->most_ns : NAN);
    put_real(d, o, "silence_ns", w->heard ? (double)w->silence_ns : NAN);
    yyjson_mut_obj_add_uint(d, o, "sent", w->sent);
    yyjson_mut_obj_add_uint(d, o, "delivered", w->delivered);
    yyjson_mut_obj_add_uint(d, o, "lost", w->lost);
    yyjson_mut_obj_add_uint(d, o, "retransmitted", w->retransmitted);
    yyjson_mut_obj_add_uint(d, o, "reordered", w->reordered);
    yyjson_mut_obj_add_uint(d, o, "marked", w->marked);
    yyjson_mut_obj_add_uint(d, o, "broken", w->broken);
    yyjson_mut_obj_add_uint(d, o, "payload", w->payload);
    put_real(d, o, "completed", w->wanted ? (double)w->payload / (double)w->wanted : NAN);
    return o;
}

static yyjson_mut_val *program(yyjson_mut_doc *d, const struct lab_program_result *p)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "name", p->name);
    yyjson_mut_obj_add_str(d, o, "kind", p->kind);
    yyjson_mut_obj_add_bool(d, o, "ended_well", p->ended);
    yyjson_mut_obj_add_uint(d, o, "restarts", p->restarts);
    put_real(d, o, "steps", p->steps);
    put_real(d, o, "efficiency", p->efficiency);
    put_real(d, o, "token_p50_ns", p->token_p50_ns);
    put_real(d, o, "token_p99_ns", p->token_p99_ns);
    put_real(d, o, "token_most_ns", p->token_most_ns);
    put_real(d, o, "first_p99_ns", p->first_p99_ns);
    put_real(d, o, "answers", p->answers);
    put_real(d, o, "broken", p->broken);
    put_real(d, o, "canaries", p->canaries);
    if (p->why[0])
        yyjson_mut_obj_add_str(d, o, "why", p->why);
    if (p->said)
        yyjson_mut_obj_add_val(d, o, "said", yyjson_val_mut_copy(d, yyjson_doc_get_root(p->said)));
    return o;
}

static yyjson_mut_val *verdict(yyjson_mut_doc *d, const struct scenario_expect *e, const struct lab_verdict *v)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "expectation", e->text);
    yyjson_mut_obj_add_bool(d, o, "met", v->met);
    yyjson_mut_obj_add_bool(d, o, "known", v->known);
    put_real(d, o, "seen", v->seen);
    if (e->alone)
        put_real(d, o, "alone", v->alone);
    return o;
}

int lab_result_json(FILE *to, const struct plan *p, const struct lab_result *r, const struct lab_verdict *v)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = d ? yyjson_mut_obj(d) : NULL;
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_str(d, o, "scenario", p->scenario->name);
    yyjson_mut_obj_add_str(d, o, "world", "lab");
    yyjson_mut_obj_add_str(d, o, "mode", scenario_mode_name(p->scenario->mode));
    put_real(d, o, "seconds", (double)r->elapsed_ns / 1e9);
    put_real(d, o, "gap_p50_ns", (double)quantile_at(&r->gaps, QUANTILE_P50));
    put_real(d, o, "gap_p999_ns", (double)quantile_at(&r->gaps, QUANTILE_P999));
    if (r->routers.known) {
        yyjson_mut_obj_add_uint(d, o, "lane_drops", r->routers.lane_drops);
        yyjson_mut_obj_add_uint(d, o, "drops", r->routers.drops);
        put_real(d, o, "peak_over_w", r->routers.peak_over_w);
        put_real(d, o, "late_p50_ns", (double)r->routers.late_p50_ns);
        put_real(d, o, "late_p999_ns", (double)r->routers.late_p999_ns);
        put_real(d, o, "late_most_ns", (double)r->routers.late_most_ns);
        yyjson_mut_val *losses = yyjson_mut_obj_add_obj(d, o, "losses");
        for (int i = 0; i < LOSS_REASONS; i++)
            if (r->routers.by_reason[i])
                yyjson_mut_obj_add_uint(d, losses, loss_reason_name((enum loss_reason)i), r->routers.by_reason[i]);
    }
    yyjson_mut_val *works = yyjson_mut_obj_add_arr(d, o, "workloads");
    for (uint32_t i = 0; i < r->n_works; i++)
        if (r->works[i].ran)
            yyjson_mut_arr_append(works, work(d, &r->works[i]));
    yyjson_mut_val *programs = yyjson_mut_obj_add_arr(d, o, "programs");
    for (uint32_t i = 0; i < r->n_programs; i++)
        yyjson_mut_arr_append(programs, program(d, &r->programs[i]));
    yyjson_mut_val *expect = yyjson_mut_obj_add_arr(d, o, "expectations");
    for (uint32_t i = 0; i < p->scenario->n_expect; i++)
        yyjson_mut_arr_append(expect, verdict(d, &p->scenario->expect[i], &v[i]));
    char *text = d ? yyjson_mut_write(d, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    yyjson_mut_doc_free(d);
    if (!text)
        return -ENOMEM;
    fprintf(to, "%s\n", text);
    free(text);
    return 0;
}
