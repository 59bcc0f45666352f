/* Credits of one lane over one link: the two counters that make loss by overflow impossible, and nothing else.
 *
 * Kung, Blackwell and Chapman's update protocol in cells, with absolute 64-bit cumulative counters, so that lost, late and
 * repeated control frames mean delay and never loss. Sender: S sent, Lmax allowed. Receiver: R arrived or known lost,
 * F freed, L advertised. Always S <= Lmax <= L, F <= R <= S, L <= F + W: therefore S - F <= W, no overflow, ever
 * (docs/lanes-proof.md; tests/proof/ checks this very file with CBMC and its protocol with spin).
 *
 * A FIFO is made, not assumed: each packet carries the low 32 bits of its first cell's number. What is behind is dropped,
 * a gap is counted as exact loss and its credit returns at once. Shrinking is a handshake (credit_release,
 * credit_reclaim) with a generation, because a credit once given can only be given back by the one who holds it.
 *
 * Pure and constant-time; no allocation, no clock. Numbers from the peer are checked, never trusted. */
#ifndef MERIDIAN_LANE_CREDIT_H
#define MERIDIAN_LANE_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#define CREDIT_WINDOW_MOST 0x40000000u /* cells; far below half of the 32-bit number on the wire */

struct credit_sender {
    uint64_t sent;       /* S: cells ever sent in this epoch */
    uint64_t limit;      /* Lmax: may send while S + need <= Lmax */
    uint32_t generation; /* of the reservation; CREDITs of another one are ignored */
};

struct credit_receiver {
    uint64_t arrived; /* R: the number of the next cell that we expect */
    uint64_t freed;   /* F: cells whose buffers are free again (lost ones at once) */
    uint64_t limit;   /* L: the highest number advertised in this generation */
    uint64_t lost;    /* cells of gaps, ever: exact loss on this link in this lane */
    uint32_t generation;
    uint32_t window; /* W: cells we are willing to hold now; L never exceeds F + W */
};

enum credit_arrival {
    CREDIT_IN_ORDER,
    CREDIT_GAP,    /* accepted; cells before it were lost: *ret_lost of them */
    CREDIT_BEHIND, /* repeated or overtaken: already counted, drop it */
    CREDIT_BEYOND, /* more than was allowed, or nonsense: the peer's fault, drop it and count it */
};

static inline bool credit_may_send(const struct credit_sender *s, uint32_t need)
{
    return s->limit - s->sent >= need;
}

/* The number of the packet's first cell. Only after credit_may_send. */
static inline uint64_t credit_send(struct credit_sender *s, uint32_t need)
{
    uint64_t first = s->sent;
    s->sent += need;
    return first;
}

/* A CREDIT frame {generation, L}: true when it let more be sent. */
static inline bool credit_update(struct credit_sender *s, uint32_t generation, uint64_t limit)
{
    if (generation != s->generation || limit <= s->limit || limit - s->sent > CREDIT_WINDOW_MOST)
        return false;
    s->limit = limit;
    return true;
}

/* Gives unused credit back but for `keep` cells; the RELEASE frame carries {generation, limit} as they are afterwards,
 * and is repeated until a CREDIT of the new generation comes. */
static inline void credit_release(struct credit_sender *s, uint32_t keep)
{
    if (s->limit - s->sent > keep)
        s->limit = s->sent + keep;
    s->generation++;
}

/* A packet of `need` cells whose first one is numbered `cell` (low 32 bits). */
static inline enum credit_arrival credit_arrive(
    struct credit_receiver *r, uint32_t cell, uint32_t need, uint64_t *ret_lost)
{
    int32_t ahead = (int32_t)(cell - (uint32_t)r->arrived);
    if (ahead < 0)
        return CREDIT_BEHIND;
    if (need == 0 || r->limit - r->arrived < (uint64_t)(uint32_t)ahead + need)
        return CREDIT_BEYOND;
    r->arrived += (uint32_t)ahead + (uint64_t)need;
    r->freed += (uint32_t)ahead;
    r->lost += (uint32_t)ahead;
    *ret_lost = (uint32_t)ahead;
    return ahead ? CREDIT_GAP : CREDIT_IN_ORDER;
}

/* A SYNC frame {S}: the sender has sent nothing since S for longer than the link reorders. Cells lost at the tail. */
static inline uint64_t credit_sync(struct credit_receiver *r, uint64_t sent)
{
    if (sent <= r->arrived || sent > r->limit)
        return 0;
    uint64_t tail = sent - r->arrived;
    r->arrived = sent;
    r->freed += tail;
    r->lost += tail;
    return tail;
}

/* `cells` of packets that arrived here are free again. */
static inline void credit_free(struct credit_receiver *r, uint32_t cells)
{
    r->freed += cells;
}

/* Cells held in the buffer now (lost ones are not). */
static inline uint64_t credit_occupied(const struct credit_receiver *r)
{
    return r->arrived - r->freed;
}

/* What the reservation costs the pool: cells that may be occupied or in flight. */
static inline uint64_t credit_reserved(const struct credit_receiver *r)
{
    return r->limit - r->freed;
}

/* Raises L to what W allows now; the value to put into a CREDIT frame. L never falls here (only credit_reclaim). */
static inline uint64_t credit_advertise(struct credit_receiver *r)
{
    if (r->freed + r->window > r->limit)
        r->limit = r->freed + r->window;
    return r->limit;
}

/* A RELEASE frame {generation, Lnew}: true when it was news. The peer will send no cell beyond Lnew until credited anew. */
static inline bool credit_reclaim(struct credit_receiver *r, uint32_t generation, uint64_t limit)
{
    if (generation != r->generation + 1 || limit < r->arrived || limit > r->limit)
        return false;
    r->limit = limit;
    r->generation = generation;
    return true;
}

#endif
