/* What a router tells its controller and any other collector, as IPFIX messages (RFC 7011): elephants, ports, lanes,
 * alternate-marking records, losses and their totals, events of links. Pure: records go in, messages come out in a buffer;
 * sending them is the shell's.
 *
 * Flows are data records of standard elements. Everything else is options data with a scope (the port, the lane, the
 * flow, the reason): so a collector that adds up flows does not count the same bytes again from counters.
 *
 * Over TCP one exporter serves one connection: export_restart when it is made anew. Over UDP templates are repeated.
 * Counters of ports and lanes are totals since start, so a lost message loses no count. */
#ifndef MERIDIAN_TELEMETRY_EXPORT_H
#define MERIDIAN_TELEMETRY_EXPORT_H

#include "base/buf.h"
#include "telemetry/elephant.h"
#include "telemetry/loss.h"
#include "telemetry/marking.h"

#include <stdbool.h>
#include <stdint.h>

struct export_config {
    uint32_t domain;           /* observation domain: the router's number */
    uint32_t enterprise;       /* of our elements; 0: 32473 (telemetry/ipfix_elements.h) */
    uint32_t message_most;     /* bytes, 512 … 65535; 0: 1400, which fits UDP over every path of ours */
    int64_t wall_ns;           /* wall clock minus `now` */
    int64_t marking_period_ns; /* 0: 1 s */
    int64_t template_every_ns; /* UDP: templates again after it; 0: never (TCP) */
    bool describe;             /* tell names and types of our elements with the templates (RFC 5610) */
};

struct port_sample {
    int64_t at_ns;
    uint32_t port;
    const char *name; /* at most 15 bytes are told */
    bool up;
    uint64_t rate_bps;
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, dropped_packets; /* since start */
    uint32_t queued_cells, reserved_cells, pool_cells;
};

enum lane_sample_state {
    LANE_SAMPLE_OPENING,
    LANE_SAMPLE_RUNNING,
    LANE_SAMPLE_BLOCKED, /* waits for credit */
    LANE_SAMPLE_PAUSED,
    LANE_SAMPLE_HELD,
    LANE_SAMPLE_DISCARDED, /* by its watchdog, or its path was cut */
};

/* A lane at one router. Where it ends, what would be of the next hop is 0. */
struct lane_sample {
    int64_t at_ns;
    uint64_t lane;
    uint32_t tenant;
    uint32_t in_port, out_port;
    uint8_t class_;
    uint8_t state;                                                      /* enum lane_sample_state */
    uint64_t sent_packets, sent_bytes, dropped_packets, marked_packets; /* since it was opened */
    uint64_t lost_cells;                                                /* on the link that it came in by */
    uint32_t queued_cells, peak_cells;
    uint32_t window_cells, occupied_cells; /* of the receiver's end here */
    uint32_t credit_cells;                 /* of the sender's end here */
};

/* An event of a link, or of a lane on it; `event` as the lane layer numbers them (enum lane_event_kind). */
struct link_sample {
    int64_t at_ns;
    uint32_t port;
    uint8_t event;
    uint64_t lane, peer;
    uint32_t detail;
    uint64_t rtt_ns; /* 0: not known */
};

struct export;
int export_create(struct export **ret, const struct export_config *); /* -EINVAL, -ENOMEM */
void export_free(struct export *);
/* A new connection: sequence numbers and templates begin again; what was not flushed is dropped. */
void export_restart(struct export *);

/* Each adds one record. Messages that are full are appended to `out`, whole and one behind the other (each tells its
 * length: ipfix_message_length). 0, or -ENOMEM: a message was lost, which the collector sees by its sequence number. */
int export_flow(struct export *, const struct elephant_report *, int64_t now, struct buf *out);
int export_port(struct export *, const struct port_sample *, int64_t now, struct buf *out);
int export_lane(struct export *, const struct lane_sample *, int64_t now, struct buf *out);
int export_marking(struct export *, const struct marking_record *, int64_t now, struct buf *out);
int export_loss(struct export *, const struct loss_record *, int64_t now, struct buf *out);
int export_loss_totals(
    struct export *, const struct loss_log *, int64_t now, struct buf *out); /* reasons that occurred */
int export_link(struct export *, const struct link_sample *, int64_t now, struct buf *out);
/* Ends the message under way. */
int export_flush(struct export *, int64_t now, struct buf *out);

/* The kinds of records, for documentation and tests. */
struct export_kind {
    const char *name;
    uint16_t template_id, scope, n;
    const uint8_t *element; /* enum ipfix_element, in the order of the record */
};
unsigned export_kinds(const struct export_kind **ret);

#endif
