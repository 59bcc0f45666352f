/* What became of runs, and what follows from it for a row. Pure: tested without running anything. */
#ifndef MERIDIAN_ACCEPT_VERDICT_H
#define MERIDIAN_ACCEPT_VERDICT_H

#include "accept/row.h"

enum accept_end {
    ACCEPT_NOT_RUN,  /* not wanted, or interrupted before */
    ACCEPT_DONE,     /* its result is there; of tests: it passed */
    ACCEPT_FAILED,   /* of tests: it did not; of others: it ended without a result */
    ACCEPT_SKIPPED,  /* it cannot run here */
    ACCEPT_TOO_LONG, /* given up */
};

struct accept_outcome {
    enum accept_end end;
    int status; /* exit status, or 128 + signal */
    double seconds;
    char why[300];             /* FAILED, SKIPPED: the last thing it said; "" */
    struct yyjson_doc *result; /* DONE, unless a test */
};

enum accept_verdict { ACCEPT_MET, ACCEPT_NOT_MET, ACCEPT_NOT_HERE, ACCEPT_UNTRIED, ACCEPT_VERDICTS };

struct accept_finding { /* of one check */
    bool there;         /* `value` is one */
    double value;       /* tests: 1 passed, 0 failed */
    bool holds;
    char why[300]; /* it does not hold: why; "" */
};

struct accept_judgement {
    enum accept_verdict verdict;
    enum accept_label label;
    struct accept_finding findings[ACCEPT_CHECKS];
    unsigned n;
    char why[400]; /* NOT_MET, NOT_HERE, UNTRIED: the first reason, one sentence; "" */
};

/* outcomes: of accept_runs, in their order. A row that no check supports is not met. */
void accept_judge(struct accept_judgement *ret, const struct accept_row *row, const struct accept_outcome *outcomes);
const char *accept_verdict_name(enum accept_verdict v); /* "met", "not met", "not demonstrable here", "not tried" */

#endif
