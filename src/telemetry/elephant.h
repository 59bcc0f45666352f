/* Elephants: the few flows that carry most bytes (T1), found by HeavyKeeper (Gong et al., ATC 2018) over the 5-tuples that
 * enter at a PE. Deterministic: decay draws come from the packet count, so the twin finds the same ones.
 *
 * A flow whose rate crosses the threshold is reported at once (within a window of at most 100 ms) and then every second
 * with its rate, until it stays below the hysteresis. */
#ifndef MERIDIAN_TELEMETRY_ELEPHANT_H
#define MERIDIAN_TELEMETRY_ELEPHANT_H

#include "telemetry/flow.h"

#include <stdbool.h>
#include <stdint.h>

struct elephant_config {
    uint64_t threshold_bps; /* reported above; 0: 100 Mbit/s */
    uint64_t clear_bps;     /* forgotten below; 0: half the threshold */
    int64_t window_ns;      /* over which rates are measured; 0: 20 ms */
    uint32_t flows;         /* tracked at most; 0: 256 */
    uint32_t buckets;       /* sketch columns, a power of two; 0: 4096 (two rows) */
};

enum elephant_what { ELEPHANT_NEW, ELEPHANT_STILL, ELEPHANT_GONE };

struct elephant_report {
    enum elephant_what what;
    int64_t at_ns, since_ns;
    struct flow_key key;
    uint64_t flow;
    uint64_t rate_bps;
    uint64_t bytes; /* since since_ns */
    uint64_t packets;
    uint32_t tenant;
    uint8_t class_;
};

struct elephant_table;
int elephant_create(struct elephant_table **ret, const struct elephant_config *);
void elephant_free(struct elephant_table *);
/* One packet. `bytes` of IP. Constant time, no allocation. */
void elephant_count(struct elephant_table *, const struct flow_key *, uint64_t flow, uint32_t tenant, uint8_t class_,
    uint32_t bytes, int64_t now);
/* Reports that are due, at most `most`; call at least every window_ns. */
unsigned elephant_poll(struct elephant_table *, int64_t now, struct elephant_report *ret, unsigned most);
int64_t elephant_next(const struct elephant_table *);

#endif
