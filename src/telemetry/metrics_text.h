/* Writes Prometheus' text format (exposition format 0.0.4): families with their HELP and TYPE once, samples with escaped
 * labels, histograms out of telemetry/quantile.h.
 *
 *     struct metrics_text m;
 *     metrics_text_begin(&m, &out);
 *     metrics_text_family(&m, METRICS_COUNTER, "meridian_port_packets_total", "Packets by port and direction.");
 *     metrics_text_u64(&m, n, METRICS_LABELS({"port", name}, {"direction", "in"}));
 *     rc = metrics_text_end(&m);
 *
 * Names of metrics and labels are ours and asserted; values of labels may be anything a person or a peer wrote: they are
 * escaped, and what is not UTF-8 in them becomes "?". Running out of memory is noticed at the end. */
#ifndef MERIDIAN_TELEMETRY_METRICS_TEXT_H
#define MERIDIAN_TELEMETRY_METRICS_TEXT_H

#include "base/buf.h"
#include "telemetry/quantile.h"

#include <stdint.h>

#define METRICS_TEXT_FAMILIES 128

enum metrics_text_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_label {
    const char *name, *value;
};

/* Two arguments: the labels and how many there are. */
#define METRICS_LABELS(...)                                                                                            \
    (const struct metrics_label[]){__VA_ARGS__},                                                                       \
        sizeof((const struct metrics_label[]){__VA_ARGS__}) / sizeof(struct metrics_label)
#define METRICS_NO_LABELS NULL, 0

struct metrics_text {
    struct buf *out;
    int rc;
    enum metrics_text_type type;
    unsigned families;
    const char *family[METRICS_TEXT_FAMILIES]; /* names so far; the caller's strings, which must last until the end */
};

void metrics_text_begin(struct metrics_text *m, struct buf *out);
/* `name` ends in _total exactly if it is a counter; seconds, bytes and ratios are said in it (_seconds, _bytes). */
void metrics_text_family(struct metrics_text *m, enum metrics_text_type type, const char *name, const char *help);
void metrics_text_u64(struct metrics_text *m, uint64_t value, const struct metrics_label *labels, unsigned n);
void metrics_text_double(struct metrics_text *m, double value, const struct metrics_label *labels, unsigned n);
/* In seconds, with buckets 1, 2, 5 × 10^k from 1 µs to 10 s; right to the histogram's sixty-fourth. */
void metrics_text_quantile(
    struct metrics_text *m, const struct quantile *q, const struct metrics_label *labels, unsigned n);
int metrics_text_end(struct metrics_text *m); /* 0, or -ENOMEM: the text is not whole */

#endif
