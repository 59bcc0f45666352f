/* Elephants: the few flows that carry most bytes (T1), found by HeavyKeeper (Gong et al., ATC 2018) over the 5-tuples that
 * enter at a PE. Deterministic: decay draws come from the packet count, so the twin finds the same ones.
 *
 * A sketch of two rows counts the bytes of a window by fingerprint; a flow that reached a sixteenth of the threshold in it
 * is counted exactly from then on, in a table of `flows` entries and over a window that slides in 64 steps (right to one
 * step: a flow that stays a sixty-fourth below the threshold is never reported).
 *
 * A flow whose rate crosses the threshold is reported at once (one that crosses it by a tenth surely within 100 ms, be it
 * brand-new) and then every second with its rate, until it has stayed below the hysteresis for a second. */
#ifndef MERIDIAN_TELEMETRY_ELEPHANT_H
#define MERIDIAN_TELEMETRY_ELEPHANT_H

#include "telemetry/flow.h"

#include <stdbool.h>
#include <stdint.h>

struct elephant_config {
    uint64_t threshold_bps; /* reported above; 0: 100 Mbit/s */
    uint64_t clear_bps;     /* forgotten below; 0: half the threshold */
    int64_t window_ns;      /* over which rates are measured, at most 60 ms (so that reports keep 100 ms); 0: 20 ms */
    uint32_t flows;         /* counted exactly at most, elephants and those that may become some; 0: 1024 */
    uint32_t buckets;       /* sketch columns, a power of two; 0: 4096 (two rows) */
};

enum elephant_what { ELEPHANT_NEW, ELEPHANT_STILL, ELEPHANT_GONE };

struct elephant_report {
    enum elephant_what what;
    int64_t at_ns;    /* of the poll that told it */
    int64_t since_ns; /* counted since */
    int64_t from_ns;  /* of the last report, or since_ns: `delta_*` are since then */
    struct flow_key key;
    uint64_t flow;
    uint64_t rate_bps; /* NEW: over the window in which it crossed; else the mean since from_ns */
    uint64_t bytes, packets;
    uint64_t delta_bytes, delta_packets;
    uint32_t tenant;
    uint8_t class_;
};

struct elephant_stats {
    uint64_t packets;
    uint64_t admitted;          /* flows ever counted exactly */
    uint64_t evicted;           /* of these, pushed out by bigger ones */
    uint64_t refused;           /* packets of flows that were big enough but found no place */
    uint32_t tracked, reported; /* now: counted exactly; of these, elephants */
};

struct elephant_table;
/* -EINVAL: a window or sizes out of range, or a hysteresis above the threshold. All memory is taken here. */
int elephant_create(struct elephant_table **ret, const struct elephant_config *);
void elephant_free(struct elephant_table *);
/* One packet. `bytes` of IP. Constant time, no allocation. */
void elephant_count(struct elephant_table *, const struct flow_key *, uint64_t flow, uint32_t tenant, uint8_t class_,
    uint32_t bytes, int64_t now);
/* Reports that are due, at most `most`; call at least every window_ns. */
unsigned elephant_poll(struct elephant_table *, int64_t now, struct elephant_report *ret, unsigned most);
int64_t elephant_next(const struct elephant_table *); /* when to poll next; INT64_MAX: nothing is tracked */
void elephant_stats(const struct elephant_table *, struct elephant_stats *ret);

#endif
