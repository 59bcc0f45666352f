/* Alternate marking (RFC 9341, 9343) per service flow: the ingress colours packets by period (L) and marks one a period
 * for delay (D); every hop counts packets and bytes by colour and notes when the D packet passed. Two hops whose counts of
 * one period differ have lost that many between them (R3, R8; telemetry/marking_join.h does the sums).
 *
 * A packet belongs to the period of its colour that is nearest in the hop's own wall time, so clocks may differ and paths
 * may take up to a third of a period together and no packet is counted in the wrong one. Each flow has two counters, one
 * per colour: late packets of the old colour still count while the new one runs. A flow without packets is still told,
 * with zero, for MARKING_IDLE periods, so that a dead path and a restarted router look different: a router says nothing
 * about the period in which it started. */
#ifndef MERIDIAN_TELEMETRY_MARKING_H
#define MERIDIAN_TELEMETRY_MARKING_H

#include <stdbool.h>
#include <stdint.h>

struct marking_config {
    int64_t period_ns; /* 0: 1 s. The same at every router */
    int64_t wall_ns;   /* wall clock minus `now` at start: periods and delays are told in wall time */
    uint32_t flows;    /* FlowMonIDs counted at most (20 bits each); 0: 4096 */
};

#define MARKING_IDLE 10 /* periods */

enum marking_bits { MARKING_L = 1, MARKING_D = 2 };

/* One flow's period, complete once the next one has lasted a third of a period. */
struct marking_record {
    uint32_t flow_mon_id; /* 20 bits */
    uint64_t period;      /* wall time / period_ns */
    uint64_t packets, bytes;
    int64_t d_wall_ns; /* when the D packet passed; 0: none seen */
    uint16_t port;     /* received at; the ingress: the access port */
    uint16_t role;     /* 0 ingress, 1 transit, 2 egress */
};

struct marking_stats {
    uint32_t flows;        /* counted now */
    uint64_t refused;      /* packets of flows that did not fit: marked, but not counted */
    uint64_t late;         /* packets that came when their period had already been told, not counted */
    uint64_t lost_records; /* not polled in time */
};

struct marking_table;
/* -EINVAL: a period below 1 ms. All memory is taken here. */
int marking_create(struct marking_table **ret, const struct marking_config *);
void marking_free(struct marking_table *);
/* At the ingress: the bits for this packet of flow `id`, counted as well. */
unsigned marking_mark(struct marking_table *, uint32_t id, uint16_t port, uint32_t bytes, int64_t now);
/* At every other hop. */
void marking_count(
    struct marking_table *, uint32_t id, unsigned bits, uint16_t port, uint16_t role, uint32_t bytes, int64_t now);
/* Records of complete periods, at most `most`, each flow's in the order of time. */
unsigned marking_poll(struct marking_table *, int64_t now, struct marking_record *ret, unsigned most);
int64_t marking_next(const struct marking_table *); /* when to poll next; INT64_MAX: no flow is counted */
void marking_stats(const struct marking_table *, struct marking_stats *ret);

#endif
