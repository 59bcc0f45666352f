/* A direction of a link: a transmitter that puts one frame after the other on the wire, and the wire itself, which takes time,
 * loses, repeats, overtakes and is cut.
 *
 * The transmitter asks its owner (a router's port, a host) for a frame when the wire is free, tells it when the frame's last
 * bit has left (its descriptor is free), and hands the frame to the wire. Frames on the wire are a ring of (arrival, mbuf):
 * the event heap has one place for the transmitter and one for the wire. */
#ifndef MERIDIAN_SIM_WIRE_H
#define MERIDIAN_SIM_WIRE_H

#include "scenario/scenario.h"
#include "sim/event.h"
#include "sim/slab.h"

#define WIRE_BATCH 32 /* frames that arrive at one moment and are handed over together */

struct wire;

/* Both ends, as function pointers. */
struct wire_ends {
    void *from;
    /* The next frame to send now; NULL: none, *ret_next says when to ask again (INT64_MAX: wire_kick tells). */
    struct rte_mbuf *(*pull)(void *from, uint16_t port, int64_t now, int64_t *ret_next);
    void (*sent)(void *from, uint16_t port, struct rte_mbuf *m, int64_t now); /* m keeps a reference of the wire's */
    uint16_t from_port, to_port;
    void *to;
    void (*arrive)(void *to, uint16_t port, struct rte_mbuf **pkts, unsigned n, int64_t now); /* takes ownership */
};

enum wire_loss { WIRE_LOST, WIRE_CONTROL_LOST, WIRE_CUT, WIRE_LOSSES };

struct wire_frame {
    int64_t at_ns;
    struct rte_mbuf *m;
};

struct wire {
    struct event_source arrival, transmitter;
    struct events *events;
    struct slab *slab;
    struct wire_ends ends;

    uint64_t ns_per_byte; /* 32.32 */
    int64_t free_at_ns;   /* when the last frame's last bit has left */
    uint32_t free_at_frac;
    struct rte_mbuf *sending;
    bool pulling; /* the owner is being asked: a kick from inside changes nothing */

    int64_t delay_ns, last_arrival_ns;
    struct scenario_quality quality;
    bool faulty; /* quality has something in it */
    bool down;
    uint64_t key, draws; /* random numbers: a function of both */

    struct wire_frame *ring;
    uint32_t mask, head, tail; /* tail - head frames */

    /* For every lost frame, before it is freed. */
    void (*on_loss)(void *user, struct wire *w, struct rte_mbuf *m, enum wire_loss why, int64_t now);
    void *user;
    uint32_t index; /* owner's use */

    uint64_t frames, bytes, control_frames; /* that left the transmitter */
    uint64_t arrived, lost[WIRE_LOSSES], duplicated, overtaken;
};

int wire_init(struct wire *w, struct events *e, struct slab *s, const struct wire_ends *ends, uint64_t rate_bps,
    int64_t delay_ns, uint64_t key);
void wire_done(struct wire *w); /* frees the frames on it */
void wire_set_quality(struct wire *w, const struct scenario_quality *q);
/* Down: what is on the wire is lost, and so is everything sent until it is up. */
void wire_set_down(struct wire *w, bool down, int64_t now);
/* The owner is gone: so is what it was sending. */
void wire_abort(struct wire *w, int64_t now);
/* The owner may have something to send. */
void wire_kick(struct wire *w, int64_t now);
static inline uint32_t wire_in_flight(const struct wire *w)
{
    return w->tail - w->head;
}

#endif
