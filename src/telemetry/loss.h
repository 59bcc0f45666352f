/* Every lost packet has a record (R8): which flow, in which lane, at which hop, why, when. Totals are exact; records of
 * single packets are kept in a ring and rate-limited by its size between two readings.
 *
 * What sums to what. `packets`, summed over all routers and all reasons for which loss_counts() is true, is the number of
 * packets lost: each is counted by one router, once. A packet that a router drops is counted by that router (packets 1, and
 * the cells it had). A packet that a link lost is seen from both its ends: the receiver counts `cells` (exactly, when it sees
 * the gap; packets 0), the sender counts `packets` (when the report comes; cells 0) and names each flow. So LOSS_LINK and
 * LOSS_LINK_DOWN have their cells at the receiver and their packets at the sender. Of the reasons that do not count, the
 * packet arrived a second time, or its sender counts it as lost.
 * Exact as long as routers live: when one restarts, its neighbours count as LOSS_LINK_DOWN whatever of theirs they do not know to
 * have arrived there, and what it held in its buffers is known to nobody; what it had under way itself shows up as
 * LOSS_STALE_EPOCH only. A moved lane's end-marker that is lost counts as a packet of flow 0. */
#ifndef MERIDIAN_TELEMETRY_LOSS_H
#define MERIDIAN_TELEMETRY_LOSS_H

#include <stdbool.h>
#include <stdint.h>

enum loss_reason {
    LOSS_NONE,
    LOSS_LINK,          /* a gap on the link: bit errors, the fibre, or the receiving NIC */
    LOSS_DUPLICATE,     /* does not count: behind the expected number, a copy or overtaken (its gap was LOSS_LINK) */
    LOSS_BEYOND_CREDIT, /* the peer sent more than it was allowed */
    LOSS_STALE_EPOCH,   /* does not count: of a session that is over; its sender has counted it, if it lives */
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
    LOSS_NO_KEY, /* xSEC: no valid key, or one that is used up: never cleartext */
    LOSS_REPLAY, /* xSEC: its number came before, or is older than the window */
    LOSS_NO_BUFFER,
    LOSS_REDUNDANT, /* does not count, and has no record: one copy of a packet of a 1+1 stream */
    LOSS_LINK_DOWN,
    LOSS_NOT_AUTHENTIC, /* xSEC: changed on the way, or forged */
    LOSS_WRONG_VPN,     /* xSEC: sealed for another VPN than the one that its SID leads to */
    LOSS_CLEARTEXT,     /* xSEC: came in clear where the VPN's policy is to encrypt or refuse */
    LOSS_REASONS,
};

/* It is one of the lost packets, not another witness of one. */
static inline bool loss_counts(enum loss_reason r)
{
    return r != LOSS_NONE && r != LOSS_DUPLICATE && r != LOSS_STALE_EPOCH && r != LOSS_REDUNDANT;
}

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
