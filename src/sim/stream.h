/* What hosts do: streams of workloads between two hosts, over cables whose host end is here.
 *
 * A stream is one flow of a workload (plan_flow): UDP at a rate, TCP, or RoCE. A cable is the access link of one or more
 * hosts: it asks the streams that have something to send in turn, obeys PFC by priority, and hands what arrives to the host
 * whose VLAN and address it is for. Nothing here allocates once a run has begun.
 *
 * TCP is NewReno (RFC 6582) with CUBIC's window (RFC 9438), ECN (RFC 3168), pacing and timestamps' round-trip times; it has no
 * SACK: many losses in one window cost it more than they cost a Linux host. RoCE is src/roce. */
#ifndef MERIDIAN_SIM_STREAM_H
#define MERIDIAN_SIM_STREAM_H

#include "roce/roce_host.h"
#include "scenario/plan.h"
#include "sim/wire.h"
#include "telemetry/quantile.h"

struct cable;
struct host;
struct stream;
struct hosts;

/* Something that sends over a cable: in its ring while it has something. */
struct sender {
    struct sender *next;
    struct cable *cable;
    struct stream *stream;
    struct host *host;
    uint8_t ring; /* priority, or CABLE_ANY */
    bool queued;
    /* The next frame; NULL: none now (it leaves the ring and comes back by cable_ready). *ret_more: it has another one. */
    struct rte_mbuf *(*pull)(struct sender *, int64_t now, bool *ret_more);
};

#define CABLE_ANY 8  /* RoCE hosts look after their priorities themselves */
#define CABLE_OWN 16 /* frames of the host itself that wait (ARP, PFC) */

struct cable {
    struct wire up;    /* host → router */
    struct wire *down; /* router → host: the router's port has it */
    struct hosts *all;
    uint32_t router, port;
    struct sender *head[9], *tail[9]; /* by ring */
    unsigned turn;
    int64_t paused_until[8];
    struct rte_mbuf *own[CABLE_OWN];
    unsigned own_head, own_tail;
    struct event_source pause_timer; /* a pause ends, or ours must be repeated */
    uint8_t stalled;                 /* bit per priority that a stalled host here has stopped */
    uint64_t rate_bps;
    uint8_t mac[6], gateway_mac[6];
    uint64_t pauses, pauses_sent;
};

struct host {
    uint32_t index;
    struct cable *cable;
    const struct plan_host *plan;
    const struct scenario_host *scenario;
    struct roce_host *roce; /* NULL: no RoCE here */
    struct sender roce_sender;
    struct event_source roce_timer;
    struct stream **roce_streams; /* by its flow number */
    bool stalled;
    struct rte_mbuf *held; /* arrived while stalled, linked through packet_meta.next */
    struct rte_mbuf **held_tail;
    uint64_t misdelivered, dropped, foreign;
};

/* A workload's measure. Packets are those that carry its data; acknowledgements are counted apart. */
struct work {
    struct quantile latency;
    uint64_t sent, delivered, lost_wire, lost_router, lost_host; /* packets; copies by a link are not among them */
    uint64_t acks_sent, acks_delivered, acks_lost;
    uint64_t held_back;               /* UDP: not sent, because the host's line was busy or paused */
    uint64_t payload;                 /* bytes delivered in order, once */
    uint64_t measured, measured_wire; /* of it since measure_ns; and of the frames that brought it, with their gaps */
    uint64_t retransmitted, marked;
    uint64_t reordered; /* UDP: delivered behind a packet that was sent later */
    uint64_t wanted;    /* bytes that its streams are to deliver; 0: until the end */
    int64_t start_ns, stop_ns, measure_ns, first_ns, last_ns, silence_ns;
    int64_t ramp_ns, bin_ns; /* stream_delivered; 0: not at full rate yet */
    uint64_t bin_wire, bin_payload;
    uint32_t streams, finished;
    uint64_t broken; /* RoCE queue pairs given up */
};

struct tcp_gap {
    uint64_t from, to;
};

#define TCP_GAPS 64

struct tcp {
    /* sender */
    uint64_t una, next, high; /* bytes: acknowledged, next to send, the first never sent */
    uint64_t allowed;         /* the receiver's word: una + its window */
    double cwnd, ssthresh;    /* bytes */
    int64_t srtt_ns, rttvar_ns, rto_ns, rto_at_ns, pace_ns;
    uint32_t duplicates, backoff;
    bool recovering;
    uint64_t recover, reacted; /* end of the window in which a loss or a mark was answered */
    bool cwr, resend;          /* to say that a mark was answered; the first segment not acknowledged goes first */
    double w_max, k_s;
    int64_t epoch_ns;
    /* receiver */
    uint64_t received, taken; /* in order; taken by the application */
    uint64_t room;            /* of its buffer */
    struct tcp_gap beyond[TCP_GAPS];
    uint32_t n_beyond, unacked;
    bool ece, ack_now;
    int64_t echo_ns, ack_at_ns;
};

struct udp {
    int64_t due_ns, interval_ns;
    uint32_t due_frac, interval_frac;
    uint64_t number, expected;
};

#define STREAM_HEAD 72

struct stream {
    struct hosts *all;
    uint32_t index;
    enum scenario_work type;
    struct host *from, *to;
    struct work *work;
    struct sender data, ack;
    struct event_source timer, ack_timer;
    uint32_t payload;  /* bytes of payload in a full packet */
    uint64_t bytes;    /* to deliver; 0: without end */
    uint64_t rate_bps; /* 0: none */
    int64_t start_ns, stop_ns;
    uint8_t ecn; /* the two bits that it sends with */
    bool finished;
    uint8_t head[STREAM_HEAD],
        ack_head[STREAM_HEAD]; /* Ethernet to transport, as sent; lengths and numbers are filled in */
    uint8_t head_len, ack_len, l3;
    union {
        struct udp udp;
        struct tcp tcp;
        struct {
            uint32_t roce_flow; /* its number in the host */
            bool roce_begun;
            uint64_t roce_sent, roce_received; /* packets; payload in order */
        };
    };
};

_Static_assert(STREAM_HEAD >= ETHER_SIZE + VLAN_SIZE + IP4_SIZE + 32, "the longest head");

/* Kinds of slab_note. */
enum { NOTE_ACK = 1u << 31, NOTE_ECE = 1u << 30, NOTE_COPY = SLAB_COPY, NOTE_WINDOW = (1u << 29) - 1 };

/* All of them. */
struct hosts {
    struct events *events;
    struct slab *slab;
    const struct plan *plan;
    uint64_t seed;
    struct host *host;
    struct cable *cables;
    struct stream *streams;
    struct work *works;
    uint32_t n_hosts, n_cables, n_streams, n_works;
    uint64_t sent, delivered, dropped; /* packets with a note's flow, copies not counted */
    uint64_t copies_delivered;
    uint64_t no_memory;
    void *user;
    /* For every packet that reaches its host (also acknowledgements and copies). May be NULL. */
    void (*on_delivery)(void *user, const struct slab_note *note, int64_t now);
};

/* Only this workload runs, SCENARIO_NONE: all. */
int hosts_create(struct hosts *h, const struct plan *p, struct events *e, struct slab *s, uint64_t seed, uint32_t only,
    enum scenario_mode mode, struct error *err);
void hosts_free(struct hosts *h);
/* The router's end of each cable is `to`; call once for each, before the start. */
int hosts_cable(struct hosts *h, struct cable *c, void *to,
    void (*arrive)(void *to, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now), struct error *err);
/* wire_ends.arrive for the down direction; `to` is the cable. */
void cable_arrive(void *cable, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now);
void hosts_start(struct hosts *h);
void hosts_stall(struct hosts *h, uint32_t host, bool stalled, int64_t now);
/* Folds in what is known at the end only: silence up to now, what RoCE counted. */
void hosts_finish(struct hosts *h, int64_t now);
/* Called by the owner for a packet of a stream that is lost; where: 0 wire, 1 router, 2 host. */
void hosts_lost(struct hosts *h, const struct slab_note *n, unsigned where);

/* --- inside ---------------------------------------------------------------------------------------------------------- */

void cable_ready(struct sender *s, int64_t now);
void cable_own(struct cable *c, struct rte_mbuf *m, int64_t now);
/* A frame of a stream: its head copied, `payload` virtual bytes behind it. NULL: no memory. */
struct rte_mbuf *stream_frame(struct stream *s, bool ack, uint32_t payload, const struct slab_note *note);
void stream_delivered(struct stream *s, uint32_t payload, uint32_t frame, int64_t now); /* in order */
void stream_finish(struct stream *s, int64_t now);
int udp_init(struct stream *s, const struct scenario_workload *w, struct error *err);
void udp_receive(struct stream *s, struct rte_mbuf *m, const struct slab_note *n, int64_t now);
int tcp_init(struct stream *s, const struct scenario_workload *w, struct error *err);
void tcp_receive(struct stream *s, struct rte_mbuf *m, const struct slab_note *n, bool marked, int64_t now);
void tcp_take(struct stream *s, int64_t now); /* the sink reads again */
int roce_end_init(struct host *h, struct hosts *all, struct error *err);
int roce_init(struct stream *s, const struct scenario_workload *w, enum scenario_mode mode, struct error *err);
void roce_end_receive(
    struct host *h, const uint8_t *ip, struct rte_mbuf *m, uint32_t l3, const struct slab_note *n, int64_t now);
void roce_end_kick(struct host *h, int64_t now);

#endif
