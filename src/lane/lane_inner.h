/* What the files of the lane layer share; for nobody else.
 *
 *   lane.c        the node: memory, ports, the timers' turn
 *   link.c        sessions between neighbours: HELLO, keys, epochs, silence
 *   frames.c      control frames out and in: seal, sequence, dispatch
 *   sender.c      lane_tx: what the sending end of a lane does in time (open, sync, release, close)
 *   sender_time.c what it says again
 *   receiver.c    lane_rx: packets that arrive, soft state, the end
 *   signal.c      OPEN, ACCEPT, REFUSE, DOWN, CLOSE hop by hop; admission
 *   credits.c     CREDIT out and in
 *   window.c      how large windows are, and who pays
 *   press.c       a queue that rises stops its neighbour at once
 *   report.c      gaps told, named and recorded
 *   egress.c      queues towards hosts; watchdog.c: those that never move
 *   move.c        end-markers and successors
 *   merge.c       lanes that end as one
 *   leave.c       a router that ends in good order
 *   check.c       what must always hold */
#ifndef MERIDIAN_LANE_LANE_INNER_H
#define MERIDIAN_LANE_LANE_INNER_H

#include "base/clock.h"
#include "crypto/curve25519.h"
#include "crypto/seal.h"
#include "lane/lane.h"
#include "lane/stamp.h"
#include "lane/wheel.h"
#include "wire/lane_frame.h"

enum {
    LINK_GAPS = 1024,        /* reports not acknowledged yet; a power of two */
    LINK_FRAMES = 16,        /* CREDIT frames at most in one go */
    LINK_CONTROL_MOST = 256, /* frames that wait in a port's control queue */
};

#define LANE_REFRESH_NS (1 * NS_PER_S)
#define LANE_EXPIRE_NS  (3 * NS_PER_S)
#define LANE_FORGET_NS  (60 * NS_PER_S) /* an ended session's losses are no longer asked for */
#define LANE_REORDER_NS (1 * NS_PER_MS) /* a link does not reorder over more than this */
#define LANE_SYNC_NS    (10 * NS_PER_MS)
#define LANE_IDLE_NS    (100 * NS_PER_MS)

/* --- links ------------------------------------------------------------------------------------------------- */

enum link_state {
    LINK_DOWN,   /* no session; HELLO goes out now and then */
    LINK_FORMED, /* keys agreed: the peer has shown that it knows our epoch; nothing sealed has come yet */
    LINK_UP,
};

struct lane_session {
    uint64_t id; /* the same at both ends */
    uint64_t own_epoch, peer_epoch;
    uint8_t public[32]; /* of own_epoch */
    uint64_t next_seq;
    struct seal_window window;
    int64_t formed_ns;
};

/* An epoch and its key pair that no session has used yet. */
struct lane_fresh {
    uint64_t epoch; /* 0: none */
    uint8_t private[32], public[32];
};

struct lane_peer {
    uint64_t router, boot;
    uint16_t port;
    uint32_t window, mtu;
    uint8_t identity[32];
};

/* A tenant's share of a port's pool. */
struct lane_tenant {
    uint32_t tenant, lanes;
    uint32_t committed, least;
};

struct lane_link {
    struct lane_wire wire; /* first: a lane's wire is its link */
    struct lane_told told;
    struct lane_node *node;
    struct port *port;
    struct wheel_timer timer;
    uint8_t state; /* enum link_state */

    struct lane_session session; /* id 0: none */
    struct lane_fresh fresh;
    struct lane_peer peer; /* of the session, or of the last one */
    struct seal *out, *in;
    uint16_t epoch_before;              /* low bits of our epoch in the session before */
    uint64_t miscabled;                 /* router that was alarmed about */
    bool foreign;                       /* another version was alarmed about */
    int64_t peer_sent_ns, peer_sent_at; /* its clock, and ours when that came */
    int64_t heard_ns;                   /* last sign of life */
    int64_t hello_at, hello_wait;
    int64_t verify_at[2]; /* signatures: of HELLOs that answer none of ours, and of answers */
    int64_t rtt_ns;

    int64_t told_ns, tell_at;        /* last CREDIT; the next one is due (0: none) */
    uint64_t accounted, window_told; /* link-level: F, and what was told of it */

    struct lane_gap *gaps;                  /* of LINK_GAPS: our losses that the peer has not acknowledged */
    uint64_t gap_first, gap_next, gap_told; /* numbers; told: sent at least once */
    int64_t gap_at;
    uint64_t losses_done; /* the peer's reports that we have dealt with */
    bool losses_tell;

    /* The pool that lanes arriving here reserve from. committed: sum of max(W, L - F). */
    uint64_t committed, least;
    struct lane_rx *lanes; /* that arrive here, through inner->on_port */
    uint32_t n_lanes;
    struct lane_tenant *tenants;
    uint32_t n_tenants;
    int64_t squeezed_ns, press_next_ns;
    uint64_t wanted; /* cells for lanes that were refused for want of room a moment ago */
    int64_t wanted_until;

    uint64_t frames_sent, frames_good, frames_bad, frames_replayed, hellos_refused, hellos_verified;
    uint64_t unnamed_cells, unreported_gaps;
};

/* --- lanes ------------------------------------------------------------------------------------------------- */

enum tx_state {
    TX_FREE,
    TX_OPENING,  /* OPEN is repeated until ACCEPT */
    TX_OPEN,     /* accepted by the next hop; OPEN refreshes it */
    TX_DRAINING, /* open, but nothing more comes: CLOSE follows when the queue is empty */
    TX_CLOSING,  /* CLOSE is repeated until CLOSED */
    TX_LINGER,   /* closed; the peer's reports of lost packets may still speak of it */
    TX_ENDING,   /* its session is over: SYNC asks what arrived of it */
};

struct lane_tx_inner {
    struct lane_tx *tx;
    uint8_t state;
    struct wheel_timer timer;
    struct lane_open_frame want;
    bool ingress;  /* begins here; `tx` is in the hands of the layer above */
    bool unwanted; /* closed by the layer above, or moved away from */
    bool leaving;  /* a router on the way is going to end */
    bool resting;  /* ingress: the lane ends behind what it has sent; the rest waits for the next one */
    int64_t rest_at;
    bool discard;  /* CLOSE says so */
    bool released; /* a move: the end of the lane that it succeeds has passed the egress */
    uint64_t accepted_first;

    int64_t open_at, open_wait; /* next OPEN; doubling */
    uint8_t refused;            /* last told */
    uint64_t refused_where;

    uint64_t known;     /* cells that have arrived, or are known to be lost: as the peer told */
    int64_t hold_ns;    /* the peer's clock when it told lane_tx.hold_at last */
    uint64_t sync_mark; /* S at the last look */
    int64_t sync_at, sync_wait;
    bool releasing; /* RELEASE is out */
    int64_t release_at;

    int64_t close_at; /* next CLOSE, or when the queue was seen empty */
    uint64_t linger;  /* reports below this number may speak of it */

    uint64_t ended_session, ended_sent, ended_known; /* TX_ENDING */
    uint16_t ended_index;
    int64_t give_up_at, ask_at, ask_wait;

    uint64_t stuck_sent; /* watchdog: queue.sent_packets at the last look */
    int64_t stuck_since;
    bool stuck;

    struct lane_tx *pred;       /* ingress: the lane that this one takes over from; NULL: none, or done */
    struct lane_tx *next;       /* ingress: the lane that will take over from this one, not complete yet */
    struct lane_tx *back;       /* ingress: the lane that reverts this move */
    int64_t switched_ns;        /* packets go here since; 0: not yet, or no move */
    struct lane_open_frame old; /* what pred wanted, should the move be reverted */
    uint16_t old_port;
    bool reverts;
};

enum rx_state {
    RX_FREE,
    RX_LIVE,
    RX_DEAD,    /* what lies behind is gone: arrivals are discarded, DOWN is repeated until CLOSE */
    RX_CLOSING, /* closed by the peer, or its session is over: free once its cells are */
};

struct egress_queue {
    struct queue queue;
    struct egress_queue *next;
    uint16_t out;
    bool stuck; /* by the watchdog */
    uint64_t stuck_sent;
    int64_t stuck_since;
};

/* A lane of an earlier session whose losses have not been asked for. */
struct rx_ended {
    uint64_t session; /* 0: none */
    uint64_t arrived, lane;
    uint32_t tenant;
    uint16_t ref, port;
    uint8_t class_;
};

struct lane_rx_inner {
    struct lane_rx *rx;
    struct lane_link *link; /* it arrives by */
    uint8_t state;
    bool watched;
    struct wheel_timer timer;
    struct lane_rx *by_id, *on_port; /* lists */
    struct lane_open_frame want;     /* as it came; ref is the peer's number of the lane */
    uint64_t first;                  /* of the slot: below it are cells of earlier lanes */

    uint64_t session;      /* in which it is valid */
    struct rx_ended ended; /* of the slot */

    int64_t refreshed_ns, down_at;
    unsigned downs;
    bool leaving;   /* this router, or one behind it, is: DOWN asks for the lane's end */
    uint8_t reason; /* DOWN's */
    uint64_t where;

    uint32_t window_least, window_full, committed;
    uint32_t window_most, held_most; /* for reports: the largest W, the fullest buffer */
    struct lane_tenant *tenant;
    uint32_t press_at;                   /* cells held above which the neighbour is stopped (press.c) */
    uint32_t allowed;                    /* cells beyond F that it is asked to keep to; PRESS_NOT: all of W */
    uint32_t drained, came;              /* cells that leave, and come, in a round trip, when some do */
    uint64_t drain_freed, drain_arrived; /* F and R when the present round trip began */
    int64_t drain_ns;
    uint64_t turn_arrived; /* growth: R when the window began to be turned over */
    int64_t turn_ns;
    uint64_t idle_arrived;
    int64_t idle_since;
    uint64_t use_arrived; /* R at the last look at how much of its window it uses */
    int64_t use_ns;
    bool reclaiming;
    int64_t reclaim_at;

    uint64_t told_limit, told_arrived;
    uint32_t told_hold;
    int64_t told_ns;
    uint8_t repeats; /* of the CREDIT that was told */

    struct egress_queue *egress;
    struct lane_rx *pred, *succ; /* move: whose end this one waits for, and who waits for its end */
    bool waiting, over;          /* over: nothing more comes by this lane */
};

struct lane_node {
    struct lane_node_config config;
    struct lane_above above;
    struct ed25519 *identity;
    uint64_t boot;
    bool draining;
    int64_t closed_ns; /* CLOSED was told last */
    uint32_t next_id;
    uint8_t credit_repeats; /* k */
    struct port_set set;
    struct lane_link *link[PORT_MOST];
    uint64_t links; /* bit per core port */
    struct loss_log *loss;
    struct wheel link_timers, tx_timers, rx_timers;

    uint32_t lanes; /* of each array below */
    struct lane_tx *tx;
    struct lane_tx_inner *tx_inner;
    struct lane_rx *rx;
    struct lane_rx_inner *rx_inner;
    struct lane_rx **by_id; /* hash, a power of two of heads */
    uint32_t id_mask;
    uint16_t *tx_spare, *rx_spare;
    uint32_t n_tx_spare, n_rx_spare, rx_spare_first; /* of rx a ring: first freed, first used */
    struct egress_queue *egress, *egress_spare;

    int64_t polled_ns, poll_gap_ns; /* when lane_poll ran last; about the 99.9th percentile of the time between */
    int64_t now;                    /* of the call that runs: for what has no other way to know */
};

static inline struct lane_link *tx_link(const struct lane_tx *t)
{
    return (struct lane_link *)(void *)t->wire;
}

static inline void event_send(struct lane_node *n, struct lane_event e)
{
    if (n->above.event)
        n->above.event(n->above.user, &e);
}

/* --- frames.c ---------------------------------------------------------------------------------------------- */

struct frame {
    struct lane_link *link;
    struct rte_mbuf *m;
    uint8_t *bytes, *body; /* body: behind the header */
    uint32_t room;         /* for the body */
};
/* False: no mbuf, no session, or too much waits to be sent: as if it had been lost on the way. */
bool frame_begin(struct frame *f, struct lane_link *l, enum lane_frame_type type);
void frame_send(struct frame *f, enum lane_frame_type type, uint32_t body_len, int64_t now);
void frame_send_hello(struct frame *f, uint64_t epoch, uint32_t body_len, int64_t now); /* signs */
int frame_hello_verify(const uint8_t *bytes, const struct lane_hello *h);               /* 0, -EPROTO */

/* --- link.c ------------------------------------------------------------------------------------------------ */

void link_start(struct lane_link *l, int64_t now); /* begins to say HELLO */
void link_timer(struct lane_link *l, int64_t now);
void link_arm(struct lane_link *l, int64_t at);
void link_hello(struct lane_link *l, const struct lane_header *h, const uint8_t *bytes, int64_t now);
/* A frame that was not understood; version: lane_hello_version's answer. */
void link_foreign(struct lane_link *l, int version, int64_t now);
void link_confirm(struct lane_link *l, int64_t now); /* a sealed frame has come */
void link_lost(struct lane_link *l, int64_t now);    /* ends the session */
int64_t link_silence_ns(const struct lane_node *n);
int64_t link_hello_ns(const struct lane_node *n);
int64_t link_rtt(const struct lane_link *l);      /* a guess before it is known */
int64_t link_tell_ns(const struct lane_link *l);  /* T_adv */
int64_t link_again_ns(const struct lane_link *l); /* long enough for an answer, unless something was lost */
int64_t link_echo(const struct lane_link *l, int64_t now);
void link_credit_clock(struct lane_link *l, int64_t sent_ns, int64_t echo_ns, int64_t now);

/* --- credits.c --------------------------------------------------------------------------------------------- */

void credits_flush(struct lane_link *l, int64_t now, bool alive); /* alive: even if there is nothing to tell */
int64_t credits_next(const struct lane_link *l);
void credits_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now);
void credits_tell(struct lane_rx *r);   /* with the next flush, changed or not */
void credits_forget(struct lane_tx *t); /* out of the lists of its wire */

/* --- window.c ---------------------------------------------------------------------------------------------- */

/* 0, or enum lane_refusal. Takes the lane's least window out of the pool. */
int window_admit(struct lane_link *l, struct lane_rx *r, int64_t now);
void window_leave(struct lane_rx *r);
void window_no_more(struct lane_rx *r);           /* nothing more will arrive: only what is occupied is paid for */
void window_turn(struct lane_rx *r, int64_t now); /* its credit is being told: may grow */
void window_recommit(struct lane_rx *r);          /* after W, L or F went down */
void window_shrink(struct lane_rx *r, uint32_t keep, int64_t now);
void window_look(struct lane_rx *r, int64_t now);      /* now and then: idle lanes */
void window_squeeze(struct lane_link *l, int64_t now); /* someone needs room */
int64_t window_timer(struct lane_rx *r, int64_t now);  /* RECLAIM again; next deadline */
void window_released(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now);
int64_t window_loop_ns(const struct lane_link *l); /* from a cell that leaves here to the one that it let be sent */

/* --- press.c ----------------------------------------------------------------------------------------------- */

#define PRESS_NOT UINT32_MAX
void press_init(struct lane_rx *r, int64_t now);
void press_begin(struct lane_rx *r, int64_t now); /* it holds more than press_at */
void press_turn(struct lane_rx *r, int64_t now);  /* its credit is being told */
uint32_t press_hold(const struct lane_rx *r);     /* of what is below L, to be told with it */

static inline bool press_holds(const struct lane_rx *r)
{
    return r->inner->allowed != PRESS_NOT;
}

/* --- sender.c ---------------------------------------------------------------------------------------------- */

struct lane_tx *tx_create(
    struct lane_node *n, const struct lane_open_frame *want, uint16_t out_port, struct lane_rx *from, int64_t now);
void tx_free(struct lane_tx *t, int64_t now);
/* A lane that begins here. `successor_of`: the one that it takes over from. 0, -ENOENT (port), -ENOSPC, -EINVAL. */
int tx_begin(struct lane_node *n, const struct lane_spec *s, struct lane_tx *successor_of, int64_t now,
    struct lane_tx **ret, struct error *err);
void tx_timer(struct lane_tx *t, int64_t now);
void tx_arm(struct lane_tx *t, int64_t at); /* not later than */
void tx_close(struct lane_tx *t, bool drain, int64_t now);
/* The lane is dead from here on: by DOWN (session true), or with its session. */
void tx_cut(struct lane_tx *t, uint8_t reason, uint64_t where, bool session, int64_t now);
void tx_refused(struct lane_tx *t, const struct lane_refuse *r, int64_t now);
void tx_link_up(struct lane_tx *t, int64_t now);
void tx_opened(struct lane_tx *t, const struct lane_accept *a, int64_t now);
void tx_release_send(struct lane_tx *t, int64_t now);
void tx_begin_closing(struct lane_tx *t, int64_t now);
void tx_done(struct lane_tx *t, int64_t now);                             /* nothing is owed to the peer any more */
bool tx_accepted(const struct lane_tx *t);                                /* the peer knows it, in this session */
void tx_name(struct lane_link *l, const struct lane_gap *g, int64_t now); /* the peer reports a loss */
void tx_reclaimed(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now);
struct lane_tx *tx_of(struct lane_link *l, uint16_t ref); /* NULL: not a lane that leaves by this link */

/* --- receiver.c -------------------------------------------------------------------------------------------- */

struct lane_rx *rx_create(struct lane_link *l, const struct lane_open_frame *want);
void rx_free(struct lane_rx *r, int64_t now);
struct lane_rx *rx_find(struct lane_link *l, uint64_t id, uint16_t ref); /* of the link's session */
/* Another one of that id, in any state, of the same tenant and class and with no successor yet; NULL: none. */
struct lane_rx *rx_earlier(struct lane_rx *r, uint64_t id);
void rx_timer(struct lane_rx *r, int64_t now);
void rx_arm(struct lane_rx *r, int64_t at);
void rx_down(struct lane_rx *r, uint8_t reason, uint64_t where, int64_t now);
void rx_session_over(struct lane_rx *r, int64_t now);
void rx_closed(struct lane_rx *r, uint64_t sent, bool discard, int64_t now);
void rx_synced(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now);
void rx_freed(struct lane_rx *r, int64_t now); /* its cells may all be free now */

/* --- signal.c ---------------------------------------------------------------------------------------------- */

void signal_open_send(struct lane_tx *t, int64_t now);
void signal_accept_send(struct lane_rx *r, int64_t now);
void signal_down_send(struct lane_rx *r, int64_t now);
void signal_close_send(struct lane_tx *t, int64_t now);
void signal_received(struct lane_link *l, uint8_t type, const uint8_t *body, uint32_t len, int64_t now);

/* --- report.c ---------------------------------------------------------------------------------------------- */

void report_gap(struct lane_rx *r, uint64_t first, uint64_t cells, int64_t now); /* recorded, and to be told */
void report_push(struct lane_link *l, const struct lane_gap *g);
void report_flush(struct lane_link *l, int64_t now);
void report_received(struct lane_link *l, const uint8_t *body, uint32_t len, int64_t now);
void report_acknowledged(struct lane_link *l, uint64_t below);
void report_name(struct lane_tx *t, uint64_t first, uint64_t cells, int reason, int64_t now);

/* --- leave.c ----------------------------------------------------------------------------------------------- */

void leave_ask(struct lane_rx *r, uint64_t where, int64_t now);   /* whoever is upstream */
int64_t leave_again(struct lane_rx *r, int64_t now);              /* until it closes the lane; next deadline */
void leave_asked(struct lane_tx *t, uint64_t where, int64_t now); /* whoever is downstream asks */
int64_t leave_timer(struct lane_tx *t, int64_t now);

/* --- egress.c, watchdog.c, move.c --------------------------------------------------------------------------- */

/* The queue of a list at an access port; made on first use, for what lane r is. NULL: none left. */
struct egress_queue *egress_get(struct lane_node *n, struct egress_queue **list, const struct lane_rx *r, uint16_t out);
void egress_free(struct lane_node *n, struct egress_queue *e, int64_t now);
void egress_inherit(struct lane_rx *to, struct lane_rx *from, int64_t now); /* queues, in order */
void egress_wake(struct lane_rx *r, int64_t now);

int64_t watchdog_rx(struct lane_rx *r, int64_t now); /* next look */
int64_t watchdog_egress(struct lane_node *n, struct egress_queue *list, uint64_t lane, int64_t now);
int64_t watchdog_tx(struct lane_tx *t, int64_t now);

void move_attach(struct lane_rx *r, int64_t now); /* a lane that ends here has been accepted: whom does it follow? */
void move_ended(struct lane_rx *r, int64_t now);  /* nothing more comes by this lane */
void move_detach(struct lane_rx *r);              /* r is going to be free */
void move_completed(struct lane_tx *t, int64_t now);
void move_released(struct lane_tx *t, int64_t now);
void move_cut(struct lane_tx *t, int64_t now);
int64_t move_timer(struct lane_tx *t, int64_t now);
void move_forget(struct lane_tx *t, int64_t now); /* t is going to be free */

#endif
