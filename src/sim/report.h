/* Results in words, as JSON, as CSV and plots. Everything that goes to a person or a machine from a run. */
#ifndef MERIDIAN_SIM_REPORT_H
#define MERIDIAN_SIM_REPORT_H

#include "sim/runner.h"

#include <stdio.h>

/* "94.2 Gbit/s", "1.23 ms": three significant digits. */
#define REPORT_TEXT 32
char *report_rate(char to[REPORT_TEXT], double bps);
char *report_time(char to[REPORT_TEXT], double ns);
char *report_count(char to[REPORT_TEXT], double n); /* 12345, 1.23 M */

/* v: n_expect verdicts, NULL: not judged. */
void report_print(FILE *to, const struct plan *p, const struct run *r, const struct runner_verdict *v);
/* One JSON object and a newline. -ENOMEM. */
int report_json(FILE *to, const struct plan *p, const struct run *r, const struct runner_verdict *v);
/* All modes beside each other: runs[SCENARIO_MODES]. */
void report_compare(FILE *to, const struct plan *p, const struct run *runs);
/* goodput.csv, summary.csv and, where gnuplot is installed, goodput.png and latency.png into an existing folder; *ret_plots:
 * whether there are pictures. */
int report_files(const char *folder, const struct plan *p, const struct run *runs, bool *ret_plots, struct error *err);

#endif
