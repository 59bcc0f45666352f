#include "telemetry/quantile.h"

#include <string.h>

/* The largest value that falls into a bucket. */
static int64_t bucket_end(unsigned bucket)
{
    if (bucket < QUANTILE_SUB)
        return bucket;
    unsigned shift = bucket / QUANTILE_SUB - 1;
    return (((int64_t)(bucket % QUANTILE_SUB + QUANTILE_SUB) + 1) << shift) - 1;
}

int64_t quantile_at(const struct quantile *q, uint32_t ppm)
{
    if (!q->count)
        return 0;
    if (ppm > 1000000)
        ppm = 1000000;
    uint64_t rank = (uint64_t)(((unsigned __int128)q->count * ppm + 999999) / 1000000), seen = 0;
    if (rank <= 1)
        return q->least_ns;
    for (unsigned i = 0; i < QUANTILE_BUCKETS - 1; i++) {
        seen += q->bucket[i];
        if (seen >= rank)
            return bucket_end(i) < q->most_ns ? bucket_end(i) : q->most_ns;
    }
    return q->most_ns;
}

int64_t quantile_mean(const struct quantile *q)
{
    return q->count ? (int64_t)(q->sum_ns / q->count) : 0;
}

uint64_t quantile_up_to(const struct quantile *q, int64_t ns)
{
    uint64_t n = 0;
    for (unsigned i = 0, last = quantile_bucket(ns); i <= last && ns >= 0; i++)
        n += q->bucket[i];
    return n;
}

void quantile_merge(struct quantile *into, const struct quantile *from)
{
    if (!from->count)
        return;
    if (!into->count || from->least_ns < into->least_ns)
        into->least_ns = from->least_ns;
    if (from->most_ns > into->most_ns)
        into->most_ns = from->most_ns;
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (unsigned i = 0; i < QUANTILE_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

void quantile_reset(struct quantile *q)
{
    memset(q, 0, sizeof *q);
}
