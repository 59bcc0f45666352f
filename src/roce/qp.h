/* Inside of a RoCE host: its queue pairs. A requester numbers its packets from 0 in 64 bits; the wire's PSN is the low 24
 * bits of that number plus the first PSN. All messages of a flow are alike, so what packet n is follows from n and nothing
 * is kept for packets outstanding. */
#ifndef MERIDIAN_ROCE_QP_H
#define MERIDIAN_ROCE_QP_H

#include "roce/rate.h"
#include "roce/roce_host.h"
#include "wire/roce.h"

#define ROCE_NEVER INT64_MAX

struct roce_requester {
    struct roce_flow flow; /* defaults filled in */
    struct ip_addr from;   /* ours */
    uint32_t index, qp;    /* in its host; its number on the wire */
    uint8_t priority;
    uint32_t per_message; /* packets of a message */
    uint32_t last_bytes;  /* payload of a message's last packet */
    uint64_t una, next;   /* packets [una, next) are outstanding */
    uint64_t high;        /* the first one never sent: below it, sending is retransmitting */
    uint64_t end;         /* the first one that will not be: after the last message; UINT64_MAX */
    int64_t *posted;      /* when message k was posted: [k % depth] */
    struct roce_rate rate;
    uint64_t asked;     /* behind the last packet outstanding that asked for an acknowledgement */
    int64_t timeout_ns; /* when it goes back for want of progress; ROCE_NEVER: no answer is due (una >= asked) */
    uint32_t timeouts;  /* in a row */
    bool broken;

    bool ready; /* in its priority's ring */
    struct roce_requester *ring_next;
    int64_t wake_ns;         /* its place in the host's heap of timers */
    uint32_t heap_at;        /* plus one; 0: not in it */
    struct roce_stats stats; /* the requester's part; messages and acked_payload follow from una */
};

/* What a responder still has to say. */
enum roce_answer { ROCE_ANSWER_ACK = 1, ROCE_ANSWER_NAK = 2, ROCE_ANSWER_INVALID = 4 };

struct roce_responder {
    struct ip_addr peer, to; /* to: our address that it writes to */
    uint32_t qp;
    uint32_t expected, msn; /* 24 bits */
    uint32_t mtu;           /* of the message in progress; 0: between messages */
    uint32_t left;          /* bytes of it to come */
    uint32_t nak_psn;
    uint16_t port;  /* its UDP source port: also ours */
    uint8_t dscp;   /* of its packets: also our answers' */
    uint8_t answer; /* enum roce_answer, bits */
    bool told;      /* the gap at `expected` was told */
    bool broken;    /* an invalid request: everything is refused */
    bool cnp;       /* owed */
    int64_t heard_ns, cnp_ns;
    struct roce_responder *hash_next, *answer_next, *cnp_next;
};

/* A list served from the front. */
struct roce_answers {
    struct roce_responder *head, **tail;
};
struct roce_ring {
    struct roce_requester *head, **tail;
};

struct roce_host {
    struct roce_host_config config;
    uint8_t priority_of_dscp[64];

    struct roce_requester **requesters;
    uint32_t n_requesters, room, first_qp;
    struct roce_requester **heap; /* by wake_ns */
    uint32_t heap_n;
    struct roce_ring ready[8];
    unsigned turn; /* the priority served next */

    struct roce_responder *responders;
    struct roce_responder **buckets;
    uint32_t n_responders, bucket_mask;
    int64_t full_until_ns; /* no search for one to replace before */
    struct roce_answers answers[8], cnps;

    int64_t paused_until[8];
    int64_t accounted_ns, paused_ns;
    uint64_t arrivals;
    struct roce_stats stats; /* all but the requesters' part */
    struct quantile latency;
};

/* requester.c */
int roce_requester_create(
    struct roce_requester **ret, const struct roce_flow *, const struct roce_host *, struct error *);
void roce_requester_free(struct roce_requester *);
/* When it may send its next packet: <= now: at once; ROCE_NEVER: not before something came in. */
int64_t roce_requester_due(const struct roce_requester *, int64_t now);
void roce_requester_emit(struct roce_requester *, int64_t now, struct roce_packet *ret);
void roce_requester_acknowledged(struct roce_requester *, const struct roce_packet *, struct quantile *latency,
    struct roce_stats *host, int64_t now);
/* Goes back when its time is over. */
void roce_requester_timer(struct roce_requester *, int64_t now);
bool roce_requester_finished(const struct roce_requester *);
uint64_t roce_requester_acked(const struct roce_requester *); /* payload bytes */

/* responder.c: what a write packet changes; answers are left in `answer` and `cnp`. */
void roce_responder_write(struct roce_responder *, const struct roce_packet *, struct roce_host *, int64_t now);
/* The answer that is due first; more are due while answer != 0. */
void roce_responder_emit(struct roce_responder *, struct roce_stats *, struct roce_packet *ret);

/* roce_turn.c: puts a requester where it belongs: into its ring when it may send, and its timer at the next time to look
 * at it. A timer that rings too early costs little, so it is not moved for every acknowledgement. */
void roce_host_arrange(struct roce_host *, struct roce_requester *, int64_t now);
/* Time since the last change of a pause with at least one priority stopped. */
int64_t roce_host_stopped_ns(const struct roce_host *, int64_t now);

/* timers.c */
int64_t roce_timers_next(const struct roce_host *);
void roce_timers_set(struct roce_host *, struct roce_requester *, int64_t wake_ns); /* ROCE_NEVER: takes it out */

#endif
