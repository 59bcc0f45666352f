/* Counters and histograms of the edge, lock-free to add to, and their Prometheus text. */
#ifndef MERIDIAN_EDGE_METRICS_H
#define MERIDIAN_EDGE_METRICS_H

#include "base/buf.h"
#include "split/engine.h"

#include <stdatomic.h>
#include <stdint.h>

enum edge_route {
    ROUTE_OTHER,
    ROUTE_CHAT,
    ROUTE_COMPLETIONS,
    ROUTE_MODELS,
    ROUTE_HEALTH,
    ROUTE_METRICS,
    ROUTE_PAGE,
    ROUTE_UPLOADS,
    ROUTE_COUNT
};

#define METRICS_CODES   16
#define METRICS_BUCKETS 14

struct metrics_histogram {
    atomic_uint_fast64_t bucket[METRICS_BUCKETS + 1]; /* the last is +Inf */
    atomic_uint_fast64_t sum_ns;
};

struct metrics {
    atomic_uint_fast64_t answers[ROUTE_COUNT][METRICS_CODES];
    atomic_uint_fast64_t prompt_tokens, generated_tokens, clients_gone;
    struct metrics_histogram first_token, next_token, request;
};

void metrics_answer(struct metrics *m, enum edge_route route, int status); /* status 0: client left before */
void metrics_first_token(struct metrics *m, int64_t ns);
void metrics_next_token(struct metrics *m, int64_t ns);
void metrics_request(struct metrics *m, int64_t ns);

/* Seconds since 1970 when a certificate ends; 0: there is none. */
struct metrics_certs {
    int64_t now, tls_not_after, link_not_after;
};
int metrics_text(struct metrics *m, const struct engine_stats *e, const struct metrics_certs *certs, struct buf *ret);

#endif
