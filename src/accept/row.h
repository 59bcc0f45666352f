/* What an acceptance looks at: a row for every clause of the standard and every figure of the acceptance plan, and the runs
 * (scenarios, measurements, tests with real processes) from which their figures are read. Tables only: rows_clauses.c,
 * rows_figures.c, runs.c. */
#ifndef MERIDIAN_ACCEPT_ROW_H
#define MERIDIAN_ACCEPT_ROW_H

#include <stdbool.h>
#include <stddef.h>

/* Where the figure comes from. A row's label is the weakest of its checks', never better than it was. */
enum accept_label {
    ACCEPT_LIVE,      /* real programs and peers on this machine, over its own network */
    ACCEPT_LAB,       /* real routers and hosts in namespaces, fibres emulated */
    ACCEPT_EMULATED,  /* the routers' code in one process, with packets in memory */
    ACCEPT_SIMULATED, /* the routers' code in virtual time */
    ACCEPT_LABELS,
};

enum accept_form {
    ACCEPT_JSON,    /* prints one JSON object (the last line of stdout) */
    ACCEPT_FIGURES, /* writes build/figures/NAME.json: a list of figures */
    ACCEPT_TEST,    /* says by its exit status whether all it asserts holds; 77: it cannot run here */
};

struct accept_run {
    const char *name;
    enum accept_form form;
    enum accept_label label;
    const char *full;    /* the command, from the top of the repository; words part at blanks */
    const char *quick;   /* shorter; NULL: the same; "": too long, not made in a quick acceptance */
    int full_s, quick_s; /* how long it usually takes, for the progress; ten times as long is given up */
    const char *figures; /* ACCEPT_FIGURES: the area */
};

enum accept_relation { ACCEPT_EQUAL, ACCEPT_MOST, ACCEPT_LEAST, ACCEPT_PRINTED };

/* One figure of a row. */
struct accept_check {
    const char *run;               /* name of an accept_run */
    const char *path;              /* in its JSON (json_path.h); of figures: the figure's name; of tests: "" */
    const char *what;              /* in words, with its unit: "packets dropped inside lanes" */
    enum accept_relation relation; /* PRINTED: any number will do, it is only shown */
    double bound;                  /* our goal */
};

#define ACCEPT_CHECKS 8

struct accept_row {
    const char *id;       /* "L1"; figures: "F1"… */
    const char *title;    /* a few words */
    const char *standard; /* what the standard asks, in our words, with its threshold or that it names none */
    const char *goal;     /* ours */
    const char *did;      /* what was done for it here */
    struct accept_check checks[ACCEPT_CHECKS]; /* ends at run NULL */
    /* What the clause asks beyond the checks and is not there: the row is not met, whatever the checks say. "not built: …" */
    const char *missing;
    const char *not_here; /* why this machine cannot show it; such a row never counts as met */
};

extern const struct accept_row accept_clauses[];
extern const size_t accept_n_clauses;
extern const struct accept_row accept_figures[];
extern const size_t accept_n_figures;
extern const struct accept_run accept_runs[];
extern const size_t accept_n_runs;

const struct accept_run *accept_run_find(const char *name); /* NULL: there is none */
const char *accept_label_name(enum accept_label l);

#endif
