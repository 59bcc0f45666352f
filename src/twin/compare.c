#include "twin/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

/* Programs that a packet wakes on its way: the sender, a router or two more, the receiver. */
#define WAKE_UPS 4

struct doc {
    const char *name;
    yyjson_doc *json;
    yyjson_val *root;
    bool sim;
};

struct texts {
    struct doc sim, lab[TWIN_LABS_MOST];
    unsigned labs;
};

const char *twin_figure_name(enum twin_figure f)
{
    static const char *const names[] = {"throughput", "latency least", "latency p50", "latency p99", "loss"};
    return f < TWIN_FIGURES ? names[f] : "";
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static const char *text_of(yyjson_val *o, const char *key)
{
    const char *s = yyjson_get_str(yyjson_obj_get(o, key));
    return s ? s : "";
}

/* NAN where it is missing or not known. */
static double number(yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    return yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
}

static int read_one(struct doc *d, const struct twin_text *t, struct error *err)
{
    *d = (struct doc){.name = t->name};
    d->json = yyjson_read(t->json, t->len, YYJSON_READ_STOP_WHEN_DONE);
    d->root = yyjson_doc_get_root(d->json);
    const char *world = text_of(d->root, "world");
    d->sim = strcmp(world, "sim") == 0;
    if ((!d->sim && strcmp(world, "lab") != 0) || !yyjson_is_arr(yyjson_obj_get(d->root, "workloads")))
        return error_set(err, EINVAL,
            "%s: no result of a run; make one with `meridian lab run --json` or `meridian sim run --as-lab --json`",
            t->name);
    if (yyjson_obj_get(d->root, "violation") || yyjson_is_false(yyjson_obj_get(d->root, "whole")))
        return error_set(err, EINVAL, "%s: that run did not reach its end; run it again", t->name);
    return 0;
}

static int same(const struct doc *a, const struct doc *b, const char *key, struct error *err)
{
    const char *x = text_of(a->root, key), *y = text_of(b->root, key);
    if (strcmp(x, y) == 0)
        return 0;
    return error_set(
        err, EINVAL, "%s is of %s \"%s\", %s of \"%s\": compare runs of one file", a->name, key, x, b->name, y);
}

static int read_all(struct texts *x, const struct twin_text *texts, unsigned n, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < n && !rc; i++) {
        struct doc d;
        rc = read_one(&d, &texts[i], err);
        if (!rc && d.sim && x->sim.json)
            rc = error_set(err, EINVAL, "%s and %s are both of the simulator; one is enough", x->sim.name, d.name);
        else if (!rc && !d.sim && x->labs == TWIN_LABS_MOST)
            rc = error_set(err, EINVAL, "more than %d lab runs", TWIN_LABS_MOST);
        if (rc)
            yyjson_doc_free(d.json);
        else if (d.sim)
            x->sim = d;
        else
            x->lab[x->labs++] = d;
    }
    if (!rc && (!x->sim.json || !x->labs))
        rc = error_set(err, EINVAL,
            "a comparison needs one result of `meridian sim run --json` and at least one of `%s`",
            "meridian lab run --json");
    for (unsigned i = 0; i < x->labs && !rc; i++) {
        rc = same(&x->sim, &x->lab[i], "scenario", err);
        rc = rc ? rc : same(&x->sim, &x->lab[i], "mode", err);
    }
    return rc;
}

static void free_all(struct texts *x)
{
    yyjson_doc_free(x->sim.json);
    for (unsigned i = 0; i < x->labs; i++)
        yyjson_doc_free(x->lab[i].json);
}

static yyjson_val *work_of(const struct doc *d, const char *name)
{
    size_t i, n;
    yyjson_val *w;
    yyjson_arr_foreach(
        yyjson_obj_get(d->root, "workloads"), i, n, w) if (strcmp(text_of(w, "name"), name) == 0) return w;
    return NULL;
}

/* --- figures ------------------------------------------------------------------------------------------------------------ */

/* Shares of packets are known where packets have numbers and are sent once. */
static double loss_of(yyjson_val *w)
{
    double sent = number(w, "sent"), lost = number(w, "lost");
    return strcmp(text_of(w, "type"), "udp") == 0 && sent > 0 ? lost / sent : NAN;
}

static double figure_of(yyjson_val *w, enum twin_figure f)
{
    static const char *const keys[] = {"goodput_bps", "least_ns", "p50_ns", "p99_ns"};
    double v = f == TWIN_LOSS ? loss_of(w) : number(w, keys[f]);
    return f != TWIN_LOSS && !(v > 0) ? NAN : v;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), ascending);
    return n ? n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2 : NAN;
}

static double median_of(const struct texts *x, const char *key)
{
    double v[TWIN_LABS_MOST];
    unsigned n = 0;
    for (unsigned i = 0; i < x->labs; i++)
        if (!isnan(number(x->lab[i].root, key)))
            v[n++] = number(x->lab[i].root, key);
    return median(v, n);
}

static double most_of(const struct texts *x, const char *key)
{
    double most = NAN;
    for (unsigned i = 0; i < x->labs; i++)
        most = fmax(most, number(x->lab[i].root, key));
    return most;
}

/* Two counts of rare independent events, each with a deviation of its square root. */
static double chance_of(const struct texts *x, const char *work)
{
    double lab = 0, sim = number(work_of(&x->sim, work), "lost");
    for (unsigned i = 0; i < x->labs; i++)
        lab += number(work_of(&x->lab[i], work), "lost");
    return lab > 0 && sim > 0 ? 2 * sqrt(1 / lab + 1 / sim) : 0;
}

static enum twin_verdict judge(const struct twin_comparison *c, const struct twin_row *r)
{
    bool latency = r->figure == TWIN_LEAST || r->figure == TWIN_P50 || r->figure == TWIN_P99;
    double late = WAKE_UPS * fmax(c->gap_p999_ns, c->late_p999_ns);
    if (fabs(r->error) <= c->bar)
        return TWIN_WITHIN;
    return latency && r->lab > r->sim && r->lab - r->sim <= late ? TWIN_LATE : TWIN_OVER;
}

/* One figure of one workload, where both know it. */
static void add(struct twin_comparison *c, const struct texts *x, yyjson_val *sim, enum twin_figure f)
{
    double v[TWIN_LABS_MOST];
    unsigned n = 0;
    struct twin_row r = {.figure = f, .sim = figure_of(sim, f)};
    snprintf(r.work, sizeof(r.work), "%s", text_of(sim, "name"));
    for (unsigned i = 0; i < x->labs; i++) {
        double lab = figure_of(work_of(&x->lab[i], text_of(sim, "name")), f);
        if (!isnan(lab))
            v[n++] = lab;
    }
    if (isnan(r.sim) || n == 0)
        return;
    r.lab = median(v, n);
    r.lab_low = v[0];
    r.lab_high = v[n - 1];
    r.error = r.lab > 0 ? (r.sim - r.lab) / r.lab : r.sim;
    r.chance = f == TWIN_LOSS ? chance_of(x, text_of(sim, "name")) : 0;
    r.verdict = judge(c, &r);
    *(r.verdict == TWIN_WITHIN ? &c->within : r.verdict == TWIN_LATE ? &c->late : &c->over) += 1;
    c->worst[f] = fmax(c->worst[f], fabs(r.error));
    c->rows[c->n_rows++] = r;
}

static int compare(struct twin_comparison *c, const struct texts *x, double bar, struct error *err)
{
    yyjson_val *works = yyjson_obj_get(x->sim.root, "workloads"), *w;
    size_t i, n;
    *c = (struct twin_comparison){.bar = bar,
        .labs = x->labs,
        .as_lab = yyjson_is_true(yyjson_obj_get(x->sim.root, "as_lab")),
        .gap_p50_ns = median_of(x, "gap_p50_ns"),
        .gap_p999_ns = median_of(x, "gap_p999_ns"),
        .late_p999_ns = most_of(x, "late_p999_ns"),
        .late_most_ns = most_of(x, "late_most_ns"),
        .lane_drops_sim = number(x->sim.root, "lane_drops"),
        .lane_drops_lab = most_of(x, "lane_drops")};
    snprintf(c->scenario, sizeof(c->scenario), "%s", text_of(x->sim.root, "scenario"));
    snprintf(c->mode, sizeof(c->mode), "%s", text_of(x->sim.root, "mode"));
    for (unsigned f = 0; f < TWIN_FIGURES; f++)
        c->worst[f] = NAN;
    c->rows = calloc(yyjson_arr_size(works) * TWIN_FIGURES + 1, sizeof(*c->rows));
    if (!c->rows)
        return error_set(err, ENOMEM, "no memory");
    yyjson_arr_foreach(works, i, n, w) for (unsigned f = 0; f < TWIN_FIGURES; f++) add(c, x, w, (enum twin_figure)f);
    if (c->n_rows)
        return 0;
    twin_done(c);
    return error_set(err, EINVAL, "%s and %s have no figure of any workload in common", x->sim.name, x->lab[0].name);
}

int twin_compare(struct twin_comparison *ret, const struct twin_text *texts, unsigned n, double bar, struct error *err)
{
    struct texts *x = calloc(1, sizeof(*x));
    struct twin_comparison c;
    if (!x)
        return error_set(err, ENOMEM, "no memory");
    int rc = read_all(x, texts, n, err);
    rc = rc ? rc : compare(&c, x, bar, err);
    free_all(x);
    free(x);
    if (!rc)
        *ret = c;
    return rc;
}

void twin_done(struct twin_comparison *c)
{
    free(c->rows);
    c->rows = NULL;
    c->n_rows = 0;
}
