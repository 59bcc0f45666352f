/* An acceptance: chooses rows, makes the runs that they need, judges, writes report.json and report.html (clause G1). */
#ifndef MERIDIAN_ACCEPT_ACCEPT_H
#define MERIDIAN_ACCEPT_ACCEPT_H

#include "accept/verdict.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

struct accept_about { /* of the whole: what stands at the top of the report */
    char commit[64], machine[200];
    time_t started;
    double seconds, load_before, load_after;
    bool quick, interrupted;
};

struct accept_rows { /* the chosen ones, clauses first */
    const struct accept_row **row;
    size_t n;
};

/* only: ids parted by commas ("L1,F7", also families: "L"); NULL: all. -EINVAL and a sentence that names ids near it. */
int accept_rows_choose(struct accept_rows *ret, const char *only, struct error *err);
void accept_rows_done(struct accept_rows *r);
/* Whether one of these rows reads a figure from it, and it is made in a quick acceptance if this is one. */
bool accept_run_wanted(const struct accept_run *run, const struct accept_rows *rows, bool quick);

struct accept_config {
    const char *top, *out; /* the repository; where the report goes, made */
    bool quick;
    const volatile int *interrupted;
    void (*before)(void *user, const struct accept_run *run, unsigned at, unsigned n);
    void (*tick)(void *user, const struct accept_run *run, double seconds);
    void (*after)(void *user, const struct accept_run *run, const struct accept_outcome *o);
    void *user;
};

struct accept_result {
    struct accept_about about;
    struct accept_outcome *outcomes;     /* of accept_runs */
    struct accept_judgement *judgements; /* of the rows */
    unsigned count[ACCEPT_VERDICTS];
};

/* The reports are written also after an interruption. 0 or a negative errno when nothing could be written. */
int accept_make(
    struct accept_result *ret, const struct accept_rows *rows, const struct accept_config *c, struct error *err);
void accept_result_done(struct accept_result *r);

/* The reports. Paths to evidence are relative to where they lie. */
int accept_write_json(FILE *to, const struct accept_rows *rows, const struct accept_result *r);
int accept_write_html(FILE *to, const struct accept_rows *rows, const struct accept_result *r);

#endif
