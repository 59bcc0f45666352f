/* The forwarding core of a router: SRv6 L3 VPN over lanes. Frames in, frames out, `now` passed in; no clock, no I/O, no
 * allocation per packet. The router daemon and the simulator run this same code (architecture.md, "One scenario, two
 * worlds").
 *
 * One batch runs straight down: parse → lane check → local SID → decapsulate → look up → encapsulate → mark and count →
 * queue. What a port sends comes out of forward_transmit in the scheduler's order. Tables are in forward/tables.h. */
#ifndef MERIDIAN_FORWARD_FORWARD_H
#define MERIDIAN_FORWARD_FORWARD_H

#include "base/error.h"
#include "lane/lane.h"
#include "telemetry/elephant.h"
#include "telemetry/marking.h"

#include <stdint.h>

struct forward;

struct forward_ops {
    void *user;
    struct rte_mbuf *(*alloc)(
        void *user); /* with PACKET_META_SIZE private bytes and PACKET_HEADROOM; NULL: none left */
    void (*free)(void *user, struct rte_mbuf *m);
    /* A packet for this router itself (BGP, ping of a loopback…), from its IP header on; takes ownership. vrf 0: underlay */
    void (*punt)(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m);
    void (*lane_event)(void *user, const struct lane_event *e);
    uint64_t (*random)(void *user);
    /* The first authentic packet came under a receiving SA: xsec_heard. To be noted, and acted on after the call that is
     * going on: no SA may come or go from in here. NULL: nobody wants to know. */
    void (*sa_heard)(void *user, const struct ip6 *peer, uint32_t spi);
    /* Packets have a virtual length (lane/packet.h), so there is nothing to encrypt: ESP costs its bytes, and its SAs, VPNs
     * and windows are real, but the payload stays as it is (esp_lengths_only). The simulator's alone: it is no part of
     * struct forward_config so that no configuration can ask for it, and tests/checks/ciphers reads who sets it. */
    bool virtual_payload;
    /* A packet with the same bytes and room in front, for 1+1 lanes; NULL: no memory. The member may be NULL: then it is made
     * with alloc, and packets that do not fit into one buffer go by one path only. */
    struct rte_mbuf *(*copy)(void *user, struct rte_mbuf *m);
};

/* 1+1 streams that end here (forward/stream.h). 0: 32 streams, 8192 numbers, as many cells, 100 ms. */
struct forward_stream_config {
    uint32_t most;       /* streams */
    uint32_t window;     /* numbers ahead of the next one that are held at most: a power of two */
    uint32_t cells_most; /* held at most, of one stream */
    int64_t wait_ns;     /* most time for which a packet is held */
};

struct forward_config {
    struct lane_node_config lanes;
    struct ip6 loopback;            /* source of encapsulations and ICMPv6 errors */
    uint8_t locator_block_bits;     /* NEXT-C-SID: length of the block, 32 or 48 */
    uint8_t option_nr, option_lane; /* code points; 0: the defaults of wire/hbh.h */
    uint8_t option_sequence;        /* 0: that of wire/sequence.h */
    struct forward_stream_config streams;
    struct marking_config marking;
    struct elephant_config elephants;
    uint32_t routes_most, neighbours_most, vrfs_most; /* 0: 65536, 16384, 1024 */
    uint32_t sas_most; /* of both directions; 0: 65536 (a thousand peers with two generations on either side) */
};

int forward_create(struct forward **ret, const struct forward_config *, const struct forward_ops *, struct error *);
void forward_free(struct forward *);

/* n frames (from the Ethernet header on) received at `port`; takes ownership of all of them. */
void forward_receive(struct forward *, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
/* An IP packet of this router's own (from the punt TAP), routed like any other; takes ownership. */
void forward_inject(struct forward *, uint32_t vrf, struct rte_mbuf *m, int64_t now);

uint64_t forward_ready_ports(const struct forward *); /* bit per port that may have something to send */
unsigned forward_transmit(struct forward *, uint16_t port, struct rte_mbuf **ret, unsigned most, int64_t now);
/* Their descriptors are free again: frees the mbufs, returns cells. */
void forward_sent(struct forward *, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
int64_t forward_port_next(const struct forward *, uint16_t port, int64_t now); /* as port_next */

/* Timers of every part; returns the next deadline. */
int64_t forward_poll(struct forward *, int64_t now);
/* The shell was there until `now` and had nothing to do (lane_awake). */
void forward_awake(struct forward *, int64_t now);
void forward_link_down(struct forward *, uint16_t port, int64_t now);

struct forward_counts {
    uint64_t ignored;          /* frames that were never ours: another MAC address, VLAN or EtherType */
    uint64_t punted, injected; /* to and from the router itself */
    uint64_t sealed, opened;   /* packets of encrypted VPNs that left and came; what could not is in the loss log */
};
struct forward_counts forward_counts(const struct forward *);

struct lane_node *forward_lanes(struct forward *);
struct marking_table *forward_marking(struct forward *);
struct elephant_table *forward_elephants(struct forward *);
struct loss_log *forward_loss(struct forward *);

#endif
