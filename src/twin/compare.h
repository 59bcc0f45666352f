/* The twin against the lab: a result of `meridian sim run --json` beside results of `meridian lab run --json` of the same
 * scenario, figure by figure (R4).
 *
 * Several lab runs are one witness: their median counts, the lowest and highest show how sure it is. An error is the twin's
 * figure relative to the lab's. Loss compares shares; two runs that lose at random with the same probability differ by chance,
 * and by how much is said beside it (two standard deviations).
 *
 * A lab's programs are woken late by a busy machine, which is no part of the network. A latency that the lab has and the twin has
 * not, and that is no longer than such wake-ups together (`late`), is told apart: it says something of the machine, nothing of the
 * twin. It counts as not within the bar all the same. */
#ifndef MERIDIAN_TWIN_COMPARE_H
#define MERIDIAN_TWIN_COMPARE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TWIN_LABS_MOST 32
#define TWIN_NAME      64

enum twin_figure { TWIN_THROUGHPUT, TWIN_LEAST, TWIN_P50, TWIN_P99, TWIN_LOSS, TWIN_FIGURES };

enum twin_verdict { TWIN_WITHIN, TWIN_LATE, TWIN_OVER };

struct twin_row {
    char work[TWIN_NAME];
    enum twin_figure figure;
    double sim, lab, lab_low, lab_high; /* bit/s, ns, or a share */
    double error;                       /* (sim - lab) / lab; of a loss that the lab has not: the twin's share */
    double chance;                      /* loss: what chance alone does to the error; else 0 */
    enum twin_verdict verdict;
};

struct twin_text {
    const char *name; /* of the file, for messages */
    const char *json;
    size_t len;
};

struct twin_comparison {
    char scenario[TWIN_NAME], mode[TWIN_NAME];
    double bar;
    unsigned labs;
    bool as_lab; /* the twin was told to plan as the lab does */
    struct twin_row *rows;
    uint32_t n_rows, within, late, over;
    double worst[TWIN_FIGURES];        /* largest |error|; NAN: nothing was compared */
    double gap_p50_ns, gap_p999_ns;    /* how late the lab's own process was woken: median of runs */
    double late_p999_ns, late_most_ns; /* its routers' workers: the worst of all */
    double lane_drops_sim, lane_drops_lab;
};

const char *twin_figure_name(enum twin_figure f);

/* One text is of a simulator, the others of labs, in any order. -EINVAL with a sentence: something is no result, results are of
 * different scenarios or modes, or there are not one twin and at least one lab. */
int twin_compare(struct twin_comparison *ret, const struct twin_text *texts, unsigned n, double bar, struct error *err);
void twin_done(struct twin_comparison *c);

void twin_print(FILE *to, const struct twin_comparison *c);
/* One JSON object and a newline. -ENOMEM. */
int twin_json(FILE *to, const struct twin_comparison *c);

#endif
