/* Every lost packet has a record (R8): which flow, in which lane, at which hop, why, when. Totals are exact; records of
 * single packets are kept in a ring and rate-limited by its size between two readings. */
#ifndef MERIDIAN_TELEMETRY_LOSS_H
#define MERIDIAN_TELEMETRY_LOSS_H

#include <stdint.h>

enum loss_reason {
    LOSS_NONE,
    LOSS_LINK,          /* a gap on the link: bit errors, the fibre, or the receiving NIC */
    LOSS_DUPLICATE,     /* behind the expected number: a copy, or overtaken (its gap was counted as LOSS_LINK) */
    LOSS_BEYOND_CREDIT, /* the peer sent more than it was allowed */
    LOSS_STALE_EPOCH,   /* from before a restart */
    LOSS_UNKNOWN_LANE,
    LOSS_WRONG_PATH, /* the packet's SID disagrees with its lane */
    LOSS_WATCHDOG,   /* the lane's sink never consumed */
    LOSS_CUT,        /* the lane's path is dead */
    LOSS_POLICED,    /* a host that obeys neither ECN nor PFC */
    LOSS_TAIL,       /* a lossy queue is full */
    LOSS_MALFORMED,
    LOSS_NO_ROUTE,
    LOSS_NO_NEIGHBOUR,
    LOSS_HOP_LIMIT,
    LOSS_TOO_BIG,
    LOSS_NO_KEY, /* xSEC: no valid key, or authentication failed: never cleartext */
    LOSS_REPLAY,
    LOSS_NO_BUFFER,
    LOSS_REDUNDANT, /* the second copy of a 1+1 lane: not a loss, counted apart */
    LOSS_LINK_DOWN,
    LOSS_REASONS,
};

/* One packet, or one gap of `cells` whose packets the sender's history names later (packets 0 then). */
struct loss_record {
    int64_t at_ns;
    uint64_t flow; /* telemetry/flow.h; 0: not known here */
    uint64_t lane; /* global lane id; 0: none */
    uint32_t tenant;
    uint32_t cells;
    uint32_t packets;
    uint16_t port;  /* where: receiving port for LOSS_LINK, else the port it would have left by */
    uint8_t reason; /* enum loss_reason */
    uint8_t class_;
};

#define LOSS_RING 4096u /* a power of two */

struct loss_log {
    uint64_t packets[LOSS_REASONS], cells[LOSS_REASONS];
    uint64_t written; /* records ever; the ring holds the last LOSS_RING of them */
    uint64_t read;    /* by loss_read */
    uint64_t overrun; /* records overwritten before they were read (totals still hold them) */
    struct loss_record ring[LOSS_RING];
};

void loss_record(struct loss_log *log, const struct loss_record *r);
/* The oldest unread records, at most `most`. */
unsigned loss_read(struct loss_log *log, struct loss_record *ret, unsigned most);
const char *loss_reason_name(enum loss_reason r); /* "link", "tail", … */

#endif
