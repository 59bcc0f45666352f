#include "edge/metrics.h"

#include "base/clock.h"

#include <inttypes.h>

static const int codes[METRICS_CODES] = {0, 200, 204, 304, 400, 401, 403, 404, 405, 413, 429, 500, 503, 1 /* others */};
static const char *const routes[ROUTE_COUNT] = {
    "other", "chat", "completions", "models", "health", "metrics", "page", "uploads"};

/* Upper ends in microseconds; from a token on a fast campus machine to a request that waited for its cloud. */
static const int64_t ends_us[METRICS_BUCKETS] = {
    1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 15000000, 60000000};

void metrics_answer(struct metrics *m, enum edge_route route, int status)
{
    int i = 0;
    while (codes[i] != status && codes[i] != 1)
        i++;
    atomic_fetch_add(&m->answers[route][i], 1);
}

static void observe(struct metrics_histogram *h, int64_t ns)
{
    int i = 0;
    while (i < METRICS_BUCKETS && ns > ends_us[i] * NS_PER_US)
        i++;
    atomic_fetch_add(&h->bucket[i], 1);
    atomic_fetch_add(&h->sum_ns, (uint64_t)ns);
}

void metrics_first_token(struct metrics *m, int64_t ns)
{
    observe(&m->first_token, ns);
}

void metrics_next_token(struct metrics *m, int64_t ns)
{
    observe(&m->next_token, ns);
}

void metrics_request(struct metrics *m, int64_t ns)
{
    observe(&m->request, ns);
}

static void put_histogram(struct metrics_histogram *h, const char *name, const char *help, struct buf *b)
{
    uint64_t n = 0;
    buf_printf(b, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (int i = 0; i < METRICS_BUCKETS; i++) {
        n += atomic_load(&h->bucket[i]);
        buf_printf(b, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, (double)ends_us[i] / 1e6, n);
    }
    n += atomic_load(&h->bucket[METRICS_BUCKETS]);
    buf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, n, name,
        (double)atomic_load(&h->sum_ns) / 1e9, name, n);
}

static void put_one(struct buf *b, const char *name, const char *type, const char *help, double value)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

static void put_answers(struct metrics *m, struct buf *b)
{
    buf_printf(b,
        "# HELP meridian_edge_answers_total HTTP answers by route and status; code 0: the client left before one.\n"
        "# TYPE meridian_edge_answers_total counter\n");
    for (int r = 0; r < ROUTE_COUNT; r++)
        for (int c = 0; c < METRICS_CODES; c++) {
            uint64_t n = atomic_load(&m->answers[r][c]);
            if (n && codes[c] == 1)
                buf_printf(b, "meridian_edge_answers_total{route=\"%s\",code=\"other\"} %" PRIu64 "\n", routes[r], n);
            else if (n)
                buf_printf(
                    b, "meridian_edge_answers_total{route=\"%s\",code=\"%d\"} %" PRIu64 "\n", routes[r], codes[c], n);
        }
}

static void put_engine(const struct engine_stats *e, struct buf *b)
{
    put_one(b, "meridian_engine_requests_total", "counter", "Requests taken by the engine.", (double)e->requests);
    put_one(b, "meridian_engine_failed_total", "counter", "Requests that failed.", (double)e->failed);
    put_one(b, "meridian_engine_refused_total", "counter", "Requests refused because the line was full.",
        (double)e->refused);
    put_one(b, "meridian_engine_replayed_tokens_total", "counter", "Tokens computed again after a lost cloud.",
        (double)e->replayed_tokens);
    put_one(b, "meridian_engine_busy_seconds_total", "counter", "Time the engine was computing.", e->busy_s);
    put_one(b, "meridian_requests_running", "gauge", "Requests generating now.", e->running);
    put_one(b, "meridian_requests_waiting", "gauge", "Requests in line.", e->waiting);
    put_one(b, "meridian_kv_rows", "gauge", "Positions of KV cache on campus.", (double)e->kv_rows);
    put_one(b, "meridian_kv_rows_free", "gauge", "Positions of KV cache not in use.", (double)e->kv_rows_free);
    put_one(b, "meridian_link_up", "gauge", "1 while the middle layers can be reached.", e->middle.up);
    put_one(b, "meridian_link_rtt_seconds", "gauge", "Last measured round trip to the cloud; 0 unknown.",
        e->middle.rtt_ms / 1e3);
    buf_printf(b,
        "# HELP meridian_link_bytes_total Payload on the link to the cloud.\n# TYPE meridian_link_bytes_total counter\n"
        "meridian_link_bytes_total{direction=\"up\"} %" PRIu64
        "\nmeridian_link_bytes_total{direction=\"down\"} %" PRIu64 "\n",
        e->middle.bytes_up, e->middle.bytes_down);
    put_one(b, "meridian_link_reconnects_total", "counter", "Connections to the cloud made again.",
        (double)e->middle.reconnects);
    put_one(b, "meridian_link_lost_sessions_total", "counter", "Sessions the cloud forgot and that were replayed.",
        (double)e->middle.lost_sessions);
}

static void put_certs(const struct metrics_certs *c, struct buf *b)
{
    if (!c->tls_not_after && !c->link_not_after)
        return;
    buf_printf(b, "# HELP meridian_certificate_days_left Days until a certificate ends.\n# TYPE "
                  "meridian_certificate_days_left gauge\n");
    if (c->tls_not_after)
        buf_printf(b, "meridian_certificate_days_left{of=\"api\"} %.2f\n", (double)(c->tls_not_after - c->now) / 86400);
    if (c->link_not_after)
        buf_printf(
            b, "meridian_certificate_days_left{of=\"link\"} %.2f\n", (double)(c->link_not_after - c->now) / 86400);
}

int metrics_text(struct metrics *m, const struct engine_stats *e, const struct metrics_certs *certs, struct buf *ret)
{
    put_answers(m, ret);
    put_one(ret, "meridian_prompt_tokens_total", "counter", "Tokens of accepted prompts.",
        (double)atomic_load(&m->prompt_tokens));
    put_one(ret, "meridian_generated_tokens_total", "counter", "Tokens generated.",
        (double)atomic_load(&m->generated_tokens));
    put_one(ret, "meridian_clients_gone_total", "counter", "Clients that left before the end of their answer.",
        (double)atomic_load(&m->clients_gone));
    put_histogram(&m->first_token, "meridian_time_to_first_token_seconds", "From request to first token.", ret);
    put_histogram(&m->next_token, "meridian_inter_token_seconds", "Between two tokens of one choice.", ret);
    put_histogram(&m->request, "meridian_request_seconds", "Whole generation requests.", ret);
    put_engine(e, ret);
    put_certs(certs, ret);
    return buf_append(ret, "", 0);
}
