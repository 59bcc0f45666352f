#include "sim/hist.h"

#include <string.h>

void hist_reset(struct hist *h)
{
    memset(h, 0, sizeof(*h));
}

/* Values below 2^HIST_FINE have a bucket each; beyond, the leading HIST_FINE + 1 bits choose. */
static uint32_t bucket_of(uint64_t v)
{
    if (v >> HIST_FINE == 0)
        return (uint32_t)v;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(v) - HIST_FINE;
    uint32_t b = ((shift + 1) << HIST_FINE) + (uint32_t)(v >> shift & ((1u << HIST_FINE) - 1));
    return b < HIST_BUCKETS ? b : HIST_BUCKETS - 1;
}

/* The middle of a bucket. */
static int64_t value_of(uint32_t b)
{
    if (b >> HIST_FINE == 0)
        return b;
    uint32_t shift = (b >> HIST_FINE) - 1;
    uint64_t lead = (1u << HIST_FINE) | (b & ((1u << HIST_FINE) - 1));
    return (int64_t)((lead << shift) + ((1ull << shift) >> 1));
}

void hist_add(struct hist *h, int64_t v)
{
    v = v < 0 ? 0 : v;
    if (h->n == 0 || v < h->least)
        h->least = v;
    if (v > h->most)
        h->most = v;
    h->n++;
    h->sum += (double)v;
    h->count[bucket_of((uint64_t)v)]++;
}

int64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;
    if (h->n == 0)
        return 0;
    if (want >= h->n)
        return h->most;
    for (uint32_t b = 0; b < HIST_BUCKETS; b++) {
        seen += h->count[b];
        if (seen > want) {
            int64_t v = value_of(b);
            return v < h->least ? h->least : v > h->most ? h->most : v;
        }
    }
    return h->most;
}
