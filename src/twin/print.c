/* A comparison in words and as JSON. */
#include "twin/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define TEXT 40

static char *value(char to[TEXT], enum twin_figure f, double v)
{
    static const char *const rates[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    static const char *const times[] = {"ns", "us", "ms", "s", "s"};
    unsigned i = 0;
    if (isnan(v)) {
        snprintf(to, TEXT, "-");
        return to;
    }
    if (f == TWIN_LOSS) {
        snprintf(to, TEXT, "%.4g %%", 100 * v);
        return to;
    }
    for (; v >= 1000 && i < (f == TWIN_THROUGHPUT ? 4u : 3u); i++)
        v /= 1000;
    snprintf(to, TEXT, "%.*f %s", v >= 100 ? 1 : v >= 10 ? 2 : 3, v, f == TWIN_THROUGHPUT ? rates[i] : times[i]);
    return to;
}

static void print_row(FILE *to, const struct twin_comparison *c, const struct twin_row *r, bool first)
{
    char sim[TEXT], lab[TEXT], low[TEXT], high[TEXT], range[2 * TEXT + 8] = "", error[24];
    value(sim, r->figure, r->sim);
    value(lab, r->figure, r->lab);
    if (c->labs > 1)
        snprintf(
            range, sizeof(range), "%s to %s", value(low, r->figure, r->lab_low), value(high, r->figure, r->lab_high));
    snprintf(error, sizeof(error), "%+.2f %%", 100 * r->error);
    fprintf(to, "  %-14.14s %-14s %14s %14s %10s  %-8s", first ? r->work : "", twin_figure_name(r->figure), lab, sim,
        error,
        r->verdict == TWIN_WITHIN ? "within"
        : r->verdict == TWIN_LATE ? "LAB LATE"
                                  : "OVER");
    if (r->chance > 0)
        fprintf(to, " (chance alone: up to %.1f %%)", 100 * r->chance);
    fprintf(to, range[0] ? "  lab %s\n" : "%s\n", range);
}

static void print_machine(FILE *to, const struct twin_comparison *c)
{
    char a[TEXT], b[TEXT], d[TEXT], e[TEXT];
    fprintf(to,
        "the lab's machine: its runner was woken %s late (p50), %s (p99.9); routers' workers %s (p99.9), %s at worst\n",
        value(a, TWIN_P50, c->gap_p50_ns), value(b, TWIN_P99, c->gap_p999_ns), value(d, TWIN_P99, c->late_p999_ns),
        value(e, TWIN_P99, c->late_most_ns));
    if (c->late)
        fprintf(to,
            "LAB LATE: the lab was slower than the twin, by no more than such wake-ups of four programs: of the "
            "machine, not of the network\n");
    if (!c->as_lab)
        fprintf(to, "the twin had the simulator's own windows and buffers; with `sim run --as-lab` it has the lab's\n");
}

void twin_print(FILE *to, const struct twin_comparison *c)
{
    fprintf(to, "%s, mode %s: the twin beside %u lab run%s, bar %.4g %%\n", c->scenario, c->mode, c->labs,
        c->labs > 1 ? "s (median)" : "", 100 * c->bar);
    fprintf(to, "  %-14s %-14s %14s %14s %10s\n", "workload", "figure", "lab", "twin", "error");
    for (uint32_t i = 0; i < c->n_rows; i++)
        print_row(to, c, &c->rows[i], i == 0 || strcmp(c->rows[i - 1].work, c->rows[i].work) != 0);
    if (!isnan(c->lane_drops_lab))
        fprintf(to, "dropped in lanes: lab %.0f, twin %.0f\n", c->lane_drops_lab, c->lane_drops_sim);
    print_machine(to, c);
    fprintf(to, "%u of %u figures within the bar", c->within, c->n_rows);
    for (unsigned f = 0; f < TWIN_FIGURES; f++)
        if (!isnan(c->worst[f]))
            fprintf(
                to, "%s %s %.2f %%", f ? "," : "; worst:", twin_figure_name((enum twin_figure)f), 100 * c->worst[f]);
    fputc('\n', to);
}

/* --- JSON --------------------------------------------------------------------------------------------------------------- */

static void put(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, double v)
{
    if (isfinite(v))
        yyjson_mut_obj_add_real(d, o, key, v);
    else
        yyjson_mut_obj_add_null(d, o, key);
}

static yyjson_mut_val *row(yyjson_mut_doc *d, const struct twin_row *r)
{
    static const char *const verdicts[] = {"within", "lab late", "over"};
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "workload", r->work);
    yyjson_mut_obj_add_str(d, o, "figure", twin_figure_name(r->figure));
    put(d, o, "lab", r->lab);
    put(d, o, "lab_low", r->lab_low);
    put(d, o, "lab_high", r->lab_high);
    put(d, o, "twin", r->sim);
    put(d, o, "error", r->error);
    put(d, o, "chance", r->chance);
    yyjson_mut_obj_add_str(d, o, "verdict", verdicts[r->verdict]);
    return o;
}

int twin_json(FILE *to, const struct twin_comparison *c)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = d ? yyjson_mut_obj(d) : NULL;
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_str(d, o, "scenario", c->scenario);
    yyjson_mut_obj_add_str(d, o, "mode", c->mode);
    yyjson_mut_obj_add_uint(d, o, "labs", c->labs);
    yyjson_mut_obj_add_bool(d, o, "as_lab", c->as_lab);
    put(d, o, "bar", c->bar);
    yyjson_mut_obj_add_uint(d, o, "within", c->within);
    yyjson_mut_obj_add_uint(d, o, "late", c->late);
    yyjson_mut_obj_add_uint(d, o, "over", c->over);
    put(d, o, "gap_p50_ns", c->gap_p50_ns);
    put(d, o, "gap_p999_ns", c->gap_p999_ns);
    put(d, o, "late_p999_ns", c->late_p999_ns);
    put(d, o, "late_most_ns", c->late_most_ns);
    put(d, o, "lane_drops_lab", c->lane_drops_lab);
    put(d, o, "lane_drops_twin", c->lane_drops_sim);
    yyjson_mut_val *rows = yyjson_mut_obj_add_arr(d, o, "figures");
    for (uint32_t i = 0; i < c->n_rows; i++)
        yyjson_mut_arr_append(rows, row(d, &c->rows[i]));
    char *text = d ? yyjson_mut_write(d, YYJSON_WRITE_NOFLAG, NULL) : NULL;
    yyjson_mut_doc_free(d);
    if (!text)
        return -ENOMEM;
    fprintf(to, "%s\n", text);
    free(text);
    return 0;
}
