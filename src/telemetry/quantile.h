/* Latencies in a fixed memory: a log-linear histogram (as HDR histograms are) from which p50, p99 and p99.9 are read.
 *
 * Values below 64 ns have a bucket each; above, each power of two is cut in 64 equal buckets, up to 2^40 ns (18 minutes).
 * So what quantile_at says is never below the true value and at most 1/64 (1.6 %) above it: it never flatters. Count,
 * sum, least and most are exact. `struct quantile` is caller's storage (18 KiB); `{0}` is empty. Adding is constant time;
 * merging is exact and in any order gives the same, so workers keep one each and a reader merges. */
#ifndef MERIDIAN_TELEMETRY_QUANTILE_H
#define MERIDIAN_TELEMETRY_QUANTILE_H

#include <stdint.h>

#define QUANTILE_SUB_BITS 6
#define QUANTILE_SUB      (1u << QUANTILE_SUB_BITS)
#define QUANTILE_TOP_BITS 40 /* values of more bits fall into the last bucket; `most` stays exact */
#define QUANTILE_BUCKETS  ((QUANTILE_TOP_BITS - QUANTILE_SUB_BITS + 1) * QUANTILE_SUB)

struct quantile {
    uint64_t count;
    uint64_t sum_ns;
    int64_t least_ns, most_ns; /* 0 while count is 0 */
    uint64_t bucket[QUANTILE_BUCKETS];
};

/* Negative values count as 0. */
static inline unsigned quantile_bucket(int64_t ns)
{
    if (ns < (int64_t)QUANTILE_SUB)
        return ns < 0 ? 0 : (unsigned)ns;
    unsigned top = 63 - (unsigned)__builtin_clzll((unsigned long long)ns);
    if (top >= QUANTILE_TOP_BITS)
        return QUANTILE_BUCKETS - 1;
    return (top - QUANTILE_SUB_BITS) * QUANTILE_SUB + (unsigned)(ns >> (top - QUANTILE_SUB_BITS));
}

static inline void quantile_add(struct quantile *q, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    if (!q->count || ns < q->least_ns)
        q->least_ns = ns;
    if (ns > q->most_ns)
        q->most_ns = ns;
    q->count++;
    q->sum_ns += (uint64_t)ns;
    q->bucket[quantile_bucket(ns)]++;
}

/* The smallest value that `ppm` of a million values do not exceed: 500000 is the median, 999000 p99.9, 1000000 the most.
 * 0 when empty. */
int64_t quantile_at(const struct quantile *q, uint32_t ppm);
int64_t quantile_mean(const struct quantile *q); /* 0 when empty */
/* How many values are at most `ns`, as far as buckets tell: those in the bucket of `ns` count. */
uint64_t quantile_up_to(const struct quantile *q, int64_t ns);
void quantile_merge(struct quantile *into, const struct quantile *from);
void quantile_reset(struct quantile *q);

#define QUANTILE_P50  500000u
#define QUANTILE_P99  990000u
#define QUANTILE_P999 999000u

#endif
