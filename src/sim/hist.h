/* A histogram of latencies: counts in buckets that grow with the value, 0.4% wide, so that quantiles of any scale are right to
 * that. Fixed size, no allocation; adding is a few instructions. */
#ifndef MERIDIAN_SIM_HIST_H
#define MERIDIAN_SIM_HIST_H

#include <stdint.h>

#define HIST_FINE    8 /* bits: 256 buckets for each doubling */
#define HIST_OCTAVES 40
#define HIST_BUCKETS ((HIST_OCTAVES + 1) << HIST_FINE)

struct hist {
    uint64_t n;
    int64_t least, most;
    double sum;
    uint32_t count[HIST_BUCKETS];
};

void hist_reset(struct hist *h);
void hist_add(struct hist *h, int64_t v); /* negative counts as 0 */
/* The value below or at which this share (0..1) of all lies; 0 when there is none. */
int64_t hist_quantile(const struct hist *h, double q);

#endif
