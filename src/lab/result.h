/* What a lab run saw: of workloads, from what their programs said; of routers, from their control sockets. */
#ifndef MERIDIAN_LAB_RESULT_H
#define MERIDIAN_LAB_RESULT_H

#include "lab/program.h"
#include "lab/work.h"
#include "telemetry/loss.h"
#include "telemetry/quantile.h"

#include <stdio.h>
#include <yyjson.h>

struct lab_work_result {
    const char *name, *type;
    bool ran;
    uint32_t flows, failed;         /* failed: programs that ended with an error */
    uint64_t sent, delivered, lost; /* packets, where known; lost: by numbers that never came (UDP) */
    uint64_t payload, wanted;       /* bytes in order; wanted 0: it had no end */
    uint64_t retransmitted, marked, broken, reordered;
    double goodput_bps;
    bool timed; /* one-way times are known; p50 … are those of its slowest flow, since flows are told apart */
    int64_t least_ns, p50_ns, p99_ns, p999_ns, most_ns; /* least: of all flows */
    bool heard;                                         /* silence is known */
    int64_t silence_ns;
    char why[300]; /* of the first failure */
};

/* NAN: not known, or no figure of its kind. */
struct lab_program_result {
    const char *name, *kind;
    bool ended;        /* well, or served to the end */
    unsigned restarts; /* how often it was started again */
    double steps, efficiency, token_p50_ns, token_p99_ns, token_most_ns, first_p99_ns, answers, broken, canaries;
    yyjson_doc *said; /* the last line of its stdout, if that is JSON; NULL */
    char why[300];    /* of one that did not end well */
};

struct lab_router_totals {
    bool known;
    uint64_t lane_drops, drops;
    uint64_t by_reason[LOSS_REASONS];                /* of drops */
    double peak_over_w;                              /* of what was seen now and then: it may have been more between */
    int64_t late_p50_ns, late_p999_ns, late_most_ns; /* how late workers woke for their timers: the latest router's */
};

struct lab_result {
    struct lab_work_result *works; /* by scenario index */
    uint32_t n_works;
    struct lab_program_result *programs; /* by scenario index */
    uint32_t n_programs;
    struct lab_router_totals routers;
    int64_t elapsed_ns;
    struct quantile gaps; /* how late this process was woken: what every process here suffered */
};

/* Reads the files of the programs, which have ended. -ENOMEM. */
int lab_result_read(struct lab_result *ret, const struct lab_work *k, const struct lab_programs *p, struct error *err);
/* The programs' part of it. */
int lab_result_programs(
    struct lab_result *ret, const struct lab_work *k, const struct lab_programs *p, struct error *err);
void lab_result_done(struct lab_result *r);

/* What an expectation's metric is here. NAN: it cannot be known here. */
double lab_result_metric(const struct lab_result *r, const struct scenario_expect *e);

struct lab_verdict {
    bool met, known;
    double seen, alone;
};

/* v: by expectation. */
void lab_result_print(FILE *to, const struct plan *p, const struct lab_result *r, const struct lab_verdict *v);
int lab_result_json(FILE *to, const struct plan *p, const struct lab_result *r, const struct lab_verdict *v);

#endif
