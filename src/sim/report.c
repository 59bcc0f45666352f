/* A run in plain words. */
#include "sim/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static char *scaled(char to[REPORT_TEXT], double v, const char *const *units, double step)
{
    unsigned i = 0;
    while (units[i + 1] && v >= step * 0.9995) {
        v /= step;
        i++;
    }
    int decimals = v >= 99.95 || (i == 0 && v == floor(v)) ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(to, REPORT_TEXT, "%.*f%s%s", decimals, v, *units[i] ? " " : "", units[i]);
    return to;
}

char *report_rate(char to[REPORT_TEXT], double bps)
{
    static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", NULL};
    return scaled(to, bps, units, 1000);
}

char *report_time(char to[REPORT_TEXT], double ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s", NULL};
    return scaled(to, ns, units, 1000);
}

char *report_count(char to[REPORT_TEXT], double n)
{
    static const char *const units[] = {"", "k", "M", "G", NULL};
    if (n < 100000)
        snprintf(to, REPORT_TEXT, "%.0f", n);
    else
        scaled(to, n, units, 1000);
    return to;
}

static void print_head(FILE *to, const struct plan *p, const struct run *r)
{
    char a[REPORT_TEXT], b[REPORT_TEXT], c[REPORT_TEXT];
    const struct sim_result *x = &r->result;
    fprintf(to, "%s%s%s\n", p->scenario->name, *p->scenario->about ? ": " : "", p->scenario->about);
    fprintf(to,
        "mode %s%s, seed %" PRIu64
        ": %s of virtual time in %.1f s of processor time, %s packet-hops (%s/s), hash %016" PRIx64 "\n",
        scenario_mode_name(x->mode), x->as_lab ? " as the lab" : "", x->seed, report_time(a, (double)x->now_ns),
        x->seconds, report_count(b, (double)x->events),
        report_count(c, x->seconds > 0 ? (double)x->events / x->seconds : 0), x->hash);
    if (r->rc)
        fprintf(to, "STOPPED: %s\n", r->error.text);
    else if (!r->whole)
        fprintf(to, "interrupted: what follows is what was reached\n");
}

static void print_work(FILE *to, const struct sim_work_result *w)
{
    char a[REPORT_TEXT], b[REPORT_TEXT], c[REPORT_TEXT], d[REPORT_TEXT], e[REPORT_TEXT], f[REPORT_TEXT], g[REPORT_TEXT],
        h[REPORT_TEXT];
    if (!w->ran)
        return;
    fprintf(to, "  %-18s %12s %10s %10s %10s %10s %10s %9s %9s", w->name, report_rate(a, w->goodput_bps),
        report_time(b, (double)w->p50_ns), report_time(c, (double)w->p99_ns), report_time(d, (double)w->p999_ns),
        report_count(e, (double)w->sent), report_count(f, (double)w->delivered),
        report_count(g, (double)(w->lost_links + w->lost_routers + w->lost_hosts)),
        report_count(h, (double)w->retransmitted));
    if (!isnan(w->completed))
        fprintf(to, " %6.1f %%", 100 * w->completed);
    fputc('\n', to);
}

/* Where and why packets were lost; nothing when none was. */
static void print_losses(FILE *to, const struct sim_result *r)
{
    char a[REPORT_TEXT];
    bool any = false;
    fprintf(to, "losses:");
    if (r->lost_links) {
        fprintf(to, " %s by links", report_count(a, (double)r->lost_links));
        any = true;
    }
    for (unsigned i = 0; i < LOSS_REASONS; i++) {
        if (!r->by_reason[i])
            continue;
        fprintf(to, "%s %s %s at routers%s", any ? "," : "", report_count(a, (double)r->by_reason[i]),
            loss_reason_name((enum loss_reason)i), i == LOSS_LINK ? " (cells, as they recorded it)" : "");
        any = true;
    }
    if (r->lost_killed) {
        fprintf(to, "%s %s in killed routers", any ? "," : "", report_count(a, (double)r->lost_killed));
        any = true;
    }
    fprintf(to, any ? "\n" : " none\n");
    if (r->lost_control)
        fprintf(to, "control frames lost: %s\n", report_count(a, (double)r->lost_control));
    if (r->refused || r->miscabled || r->watchdogs)
        fprintf(to, "lanes refused %" PRIu64 ", links miscabled %" PRIu64 ", watchdogs %" PRIu64 "\n", r->refused,
            r->miscabled, r->watchdogs);
}

static const struct sim_lane_result *fullest(const struct sim_result *r)
{
    const struct sim_lane_result *best = NULL;
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        const struct sim_lane_result *l = &r->lanes[i];
        if (l->window && (!best || (double)l->peak / l->window > (double)best->peak / best->window))
            best = l;
    }
    return best;
}

static void print_lanes(FILE *to, const struct plan *p, const struct sim_result *r)
{
    const struct sim_lane_result *l = fullest(r);
    if (r->mode != SCENARIO_LANES)
        return;
    fprintf(to, "lanes: %u lane-hops, %" PRIu64 " dropped in lanes", r->n_lanes, r->lane_drops);
    if (l)
        fprintf(to, ", fullest %.3f of its W of %u cells (%s, lane %" PRIx64 ", %s)", r->peak_over_w, l->window,
            p->scenario->routers[l->router].name, l->id, scenario_class_name((enum scenario_class)l->class_));
    fputc('\n', to);
    if (r->sense.count) {
        char a[REPORT_TEXT], b[REPORT_TEXT];
        fprintf(to, "congestion sensed to upstream withheld: p50 %s, p99 %s (%" PRIu64 " times)\n",
            report_time(a, (double)quantile_at(&r->sense, QUANTILE_P50)),
            report_time(b, (double)quantile_at(&r->sense, QUANTILE_P99)), r->sense.count);
    }
}

static void value(char to[REPORT_TEXT], enum scenario_unit unit, double v)
{
    if (isnan(v))
        snprintf(to, REPORT_TEXT, "-");
    else if (unit == SCENARIO_RATE)
        report_rate(to, v);
    else if (unit == SCENARIO_TIME)
        report_time(to, v);
    else if (unit == SCENARIO_SHARE)
        snprintf(to, REPORT_TEXT, "%.4g", v);
    else
        report_count(to, v);
}

static void print_verdicts(FILE *to, const struct plan *p, const struct runner_verdict *v)
{
    char seen[REPORT_TEXT], alone[REPORT_TEXT];
    for (uint32_t i = 0; i < p->scenario->n_expect; i++) {
        const struct scenario_expect *e = &p->scenario->expect[i];
        value(seen, scenario_metric_unit(e->metric), v[i].seen);
        value(alone, scenario_metric_unit(e->metric), v[i].alone);
        fprintf(to, "  %-7s  %-44s seen %s%s%s\n", v[i].met ? "met" : "NOT MET", e->text, seen,
            e->alone ? ", alone " : "", e->alone ? alone : "");
    }
}

void report_print(FILE *to, const struct plan *p, const struct run *r, const struct runner_verdict *v)
{
    print_head(to, p, r);
    fprintf(to, "  %-18s %12s %10s %10s %10s %10s %10s %9s %9s\n", "workload", "goodput", "p50", "p99", "p99.9", "sent",
        "delivered", "lost", "again");
    for (uint32_t i = 0; i < r->result.n_works; i++)
        print_work(to, &r->result.works[i]);
    print_losses(to, &r->result);
    print_lanes(to, p, &r->result);
    if (v)
        print_verdicts(to, p, v);
}

/* --- modes beside each other --------------------------------------------------------------------------------------------------- */

void report_compare(FILE *to, const struct plan *p, const struct run *runs)
{
    char a[REPORT_TEXT], b[REPORT_TEXT], c[REPORT_TEXT], d[REPORT_TEXT], e[REPORT_TEXT], f[REPORT_TEXT];
    fprintf(to, "%s, seed %" PRIu64 ", all modes\n", p->scenario->name, runs[0].result.seed);
    fprintf(to, "  %-18s %-6s %12s %10s %10s %10s %9s %9s\n", "workload", "mode", "goodput", "p50", "p99", "silence",
        "lost", "again");
    for (uint32_t i = 0; i < p->scenario->n_workloads; i++)
        for (unsigned m = 0; m < SCENARIO_MODES; m++) {
            const struct sim_work_result *w = &runs[m].result.works[i];
            if (!w->ran)
                continue;
            fprintf(to, "  %-18s %-6s %12s %10s %10s %10s %9s %9s\n", m ? "" : w->name,
                scenario_mode_name((enum scenario_mode)m), report_rate(a, w->goodput_bps),
                report_time(b, (double)w->p50_ns), report_time(c, (double)w->p99_ns),
                report_time(d, (double)w->silence_ns), report_count(e, (double)(w->lost_links + w->lost_routers)),
                report_count(f, (double)w->retransmitted));
        }
}
