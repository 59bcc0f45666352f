/* A host that speaks RoCEv2, as a pure core: packets and `now` go in, packets and the next deadline come out. The same code
 * is a simulated host (sim) and the traffic source and sink `meridian roce`: what RDMA would suffer on a network is what
 * this suffers.
 *
 * Requesters write messages (RDMA WRITE over reliable connections), keep a window of packets outstanding, go back to N on
 * a sequence error or a timeout, and give a queue pair up after some timeouts in a row, as hardware does. Responders take
 * packets in order only, acknowledge, tell a gap once by a NAK, and answer CE marks with CNPs. PFC is obeyed by priority.
 *
 * Packets begin with their IP header: Ethernet, neighbours and VLAN tags are the owner's business. There is no connection
 * manager: a requester draws its queue pair's number, the responder of the same number comes into being with the first
 * packet, and both derive the first PSN from that number (roce_first_psn below).
 *
 * Memory is allocated by _create and _connect only. Everything is deterministic: same calls, same answers. */
#ifndef MERIDIAN_ROCE_HOST_H
#define MERIDIAN_ROCE_HOST_H

#include "base/error.h"
#include "telemetry/quantile.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define ROCE_HEADERS_MOST 128u /* bytes that roce_host_pull may write */
#define ROCE_FLOWS_MOST   65536u

struct roce_host_config {
    struct ip_addr address;
    struct ip_addr also;             /* a second one, of the other family; family 0: none */
    uint64_t line_bps;               /* of its port: where rates that follow CNPs begin and end; 0: 100 Gbit/s */
    uint64_t seed;                   /* queue pair numbers and `lose` are drawn from it */
    const uint8_t *priority_of_dscp; /* 64 entries 0..7, copied; NULL: dscp / 8 */
    uint32_t responders_most;        /* queue pairs that peers may write to; 0: 1024 */
    int64_t cnp_interval_ns;         /* at most one CNP a queue pair in this time; 0: 50 us */
    uint8_t cnp_dscp;                /* 0: 48 */
    double lose;                     /* share of arriving write packets to throw away on purpose, 0..1 */
};

/* One queue pair that writes to a peer. */
struct roce_flow {
    struct ip_addr peer;    /* of a family that the host has an address of */
    uint64_t messages;      /* 0: without end, until roce_host_stop */
    uint32_t message_bytes; /* 1 .. 2^30 */
    uint32_t mtu;           /* payload bytes of a packet: 256, 512, 1024, 2048 or 4096 */
    uint32_t depth;         /* messages outstanding at most; 0: 16 */
    uint32_t window;        /* packets outstanding at most, < 2^23; 0: what `depth` messages need */
    uint64_t rate_bps;      /* packets are paced to this, IP bytes counted; 0: as fast as they are pulled */
    int64_t burst_ns;       /* pacing catches up with so much time after a caller that came late; 0: none */
    int64_t start_ns;       /* nothing is sent before */
    int64_t interval_ns;    /* message k is due at start_ns + k * interval_ns (late ones queue, and their latency says
                               so); 0: the next one is posted whenever there are fewer than `depth` */
    int64_t timeout_ns;     /* retransmission timeout; 0: 67.1 ms (4.096 us << 14, what adapters use) */
    uint32_t retries;       /* timeouts without progress before the queue pair breaks; 0: 7 */
    bool retry_forever;
    bool ecn;           /* ECT(0), and rates that follow CNPs (DCQCN); otherwise not-ECT and CNPs are only counted */
    uint8_t dscp;       /* 0..63 */
    uint8_t hops;       /* TTL or hop limit; 0: 64 */
    uint32_t ack_every; /* ask for an acknowledgement every so many packets and at each message's end; 0: 16 */
};

/* Counters since the beginning. "Packets" are IP packets, "payload" is what the application wrote. */
struct roce_stats {
    /* requester */
    uint64_t tx_packets, tx_bytes;            /* write packets, also repeated ones; bytes of IP */
    uint64_t retransmitted_packets;           /* of them sent again */
    uint64_t acked_payload;                   /* bytes known to have arrived in order: goodput */
    uint64_t messages;                        /* completed */
    int64_t tx_first_ns, tx_last_ns;          /* first packet, last progress; 0: none */
    uint64_t naks_received, timeouts, broken; /* broken: queue pairs given up */
    uint64_t cnps_received;
    /* responder */
    uint64_t rx_packets, rx_bytes; /* write packets for us, all of them */
    uint64_t rx_payload;           /* in order */
    uint64_t rx_messages;
    int64_t rx_first_ns, rx_last_ns; /* first and last packet in order; 0: none */
    int64_t rx_silence_ns;           /* longest time between two packets in order, of whatever queue pair */
    uint64_t out_of_order;           /* ahead of the expected PSN: dropped, as adapters do */
    uint64_t duplicates;             /* behind it */
    uint64_t naks_sent, acks_sent, cnps_sent, ce_marked;
    uint64_t lost_on_purpose;
    /* both */
    uint64_t malformed;  /* no valid packet of ours */
    uint64_t corrupted;  /* ICRC does not match */
    uint64_t unexpected; /* for no queue pair of ours, or an opcode that does not belong here */
    uint64_t refused;    /* a new queue pair beyond responders_most */
    uint64_t pauses;     /* PFC frames that stopped a priority which was not stopped */
    int64_t paused_ns;   /* time for which at least one priority was stopped */
};

/* A packet to send. */
struct roce_out {
    uint32_t headers; /* bytes written from the IP header on */
    uint32_t payload; /* bytes that follow them; their value means nothing */
    uint32_t len; /* whole IP packet: headers + payload + pad to 4 bytes + ICRC. A sender of real bytes fills payload
                              and pad with zeros or anything else and then calls roce_icrc_put (wire/roce.h) */
    uint8_t priority;    /* 802.1p */
    bool control;        /* ACK, NAK or CNP */
    struct ip_addr peer; /* whom it goes to */
    uint32_t qp;         /* destination queue pair */
    uint32_t flow;       /* whose packet it is, unless control */
};

struct roce_host;

/* The PSN with which a queue pair of this number begins, known to both ends. */
uint32_t roce_first_psn(uint32_t qp);

int roce_host_create(struct roce_host **ret, const struct roce_host_config *, struct error *);
void roce_host_free(struct roce_host *);

/* Adds a requester; *ret_flow is its index, counted from 0. -EINVAL with a sentence for a flow that cannot be. */
int roce_host_connect(struct roce_host *, const struct roce_flow *, uint32_t *ret_flow, struct error *);
/* No new messages; those begun are finished. */
void roce_host_stop(struct roce_host *, uint32_t flow);

/* The next packet to send now: control first, then the flows of unpaused priorities in turn. False: none. The caller calls
 * it whenever its line is free. `headers`: ROCE_HEADERS_MOST bytes. */
bool roce_host_pull(struct roce_host *, int64_t now, uint8_t *headers, struct roce_out *ret);
/* When roce_host_pull may have something: <= now: at once; INT64_MAX: only after a packet came in. */
int64_t roce_host_next(const struct roce_host *, int64_t now);

/* An IP packet of `len` bytes of which `have` are at `ip` (fewer in the simulator: then the ICRC is not looked at).
 * False: not RoCE for this host, untouched and not counted. */
bool roce_host_receive(struct roce_host *, const uint8_t *ip, uint32_t have, uint32_t len, int64_t now);
/* Payload bytes that responders took in order so far. */
uint64_t roce_host_delivered(const struct roce_host *);
/* PFC: this priority sends nothing before until_ns (<= now: resume). */
void roce_host_pause(struct roce_host *, uint8_t priority, int64_t until_ns, int64_t now);

/* All flows have completed their messages, were stopped and drained, or broke. */
bool roce_host_finished(const struct roce_host *);
uint32_t roce_host_flows(const struct roce_host *);
/* Of the whole host (its paused_ns up to now), or the requester's part of one flow. */
void roce_host_stats(const struct roce_host *, int64_t now, struct roce_stats *ret);
void roce_host_flow_stats(const struct roce_host *, uint32_t flow, struct roce_stats *ret);
/* rx_payload of roce_host_stats alone: cheap enough to ask after every packet. */
uint64_t roce_host_received(const struct roce_host *);
uint64_t roce_host_flow_rate_bps(const struct roce_host *, uint32_t flow); /* as paced now; 0: not paced */
/* Completion times of messages, posted to acknowledged, over all flows. Valid as long as the host. */
const struct quantile *roce_host_latency(const struct roce_host *);

#endif
