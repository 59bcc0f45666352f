/* One stream that arrives twice, over two paths: duplicates are eliminated and order is restored (router.md, Lanes, 9).
 *
 * Every packet has a number; the next one is delivered at once, one that is ahead is held, one whose number was delivered is
 * redundant. Both paths are FIFOs (lanes make them so), therefore a number that both of them have passed is lost and nobody waits
 * for it. A path that has not passed a missing number is waited for while something comes by it, or until it has been silent for
 * four times as long as the slower path lags, which is measured; `wait_most_ns` in all. It is the vector recovery function of
 * IEEE 802.1CB with the ordering function of RFC 9550 (a packet is held for a bounded time) behind it.
 *
 * What is held is bounded three ways: `window` numbers ahead, `cells_most` cells, and time. What would exceed the first two is
 * not taken by this path: the other one, which is behind, still brings it. Nothing is allocated: the caller owns the memory and the
 * items, which are never looked into. Pure; `now` is passed in. */
#ifndef MERIDIAN_LANE_DUPLICATE_H
#define MERIDIAN_LANE_DUPLICATE_H

#include <stdbool.h>
#include <stdint.h>

enum { DUPLICATE_PATHS = 2 };

struct duplicate_limits {
    uint32_t window;      /* numbers: a power of two, at least 64 */
    uint32_t cells_most;  /* held */
    int64_t wait_most_ns; /* for a missing number */
};

enum duplicate_verdict {
    DUPLICATE_DELIVER,   /* it is the next one; duplicate_next gives what follows it */
    DUPLICATE_HOLD,      /* kept: duplicate_next gives it in its turn */
    DUPLICATE_REDUNDANT, /* its number was delivered or is held: the caller drops it */
    DUPLICATE_LATE,      /* its number was given up, and counted as lost: the caller drops it */
    DUPLICATE_NO_ROOM,   /* too far ahead: the caller drops it, the other path brings it */
    DUPLICATE_STALE,     /* of the epoch before: the caller drops it */
};

/* A held packet. Those held are linked in the order in which they came. */
struct duplicate_slot {
    void *item; /* NULL: free */
    int64_t at_ns;
    uint32_t cells, older, newer; /* slot numbers; self: at the end */
};

struct duplicate {
    struct duplicate_limits limits;
    struct duplicate_slot *slots; /* of limits.window, the caller's */
    uint64_t *seen;               /* bit per number of the window behind `next`: it was delivered; the caller's */
    uint32_t epoch, before;       /* 0: none yet */
    uint64_t next;                /* number that is delivered next */
    uint64_t top;                 /* behind the highest number that has come */
    uint32_t held, held_cells, oldest, newest;
    int64_t refused_ns; /* since when numbers are refused for want of room with nothing held; INT64_MAX: no */
    uint64_t passed[DUPLICATE_PATHS]; /* behind the last number that came by this path */
    int64_t heard_ns[DUPLICATE_PATHS];
    int64_t lag_ns;  /* of the slower path, measured: rises at once, falls slowly; -1: not known */
    uint64_t sample; /* the number whose second copy is waited for, to measure; 0: none */
    int64_t sample_ns;
    uint8_t sample_path;
    uint32_t held_peak; /* cells */

    uint64_t delivered, redundant, refused, stale;
    uint64_t lost; /* numbers given up: neither copy came in time */
    uint64_t late; /* of these, came afterwards */
};

/* Bytes of the memory that duplicate_init wants for a window, aligned to 8. */
uint64_t duplicate_memory(uint32_t window);
void duplicate_init(struct duplicate *d, const struct duplicate_limits *, void *memory);

/* This epoch is neither the present one nor the one before: the caller delivers what duplicate_flush gives, then calls
 * duplicate_begin with the first number that came. */
bool duplicate_is_new(const struct duplicate *d, uint32_t epoch);
void *duplicate_flush(struct duplicate *d); /* held packets in their order, as if nothing were missing; NULL: no more */
void duplicate_begin(struct duplicate *d, uint32_t epoch, uint64_t number);

/* A packet of this epoch, which is not new, and number, at least 1, came by `path`. After each call the caller delivers what
 * duplicate_next gives. */
enum duplicate_verdict duplicate_arrive(
    struct duplicate *d, uint32_t epoch, uint64_t number, unsigned path, uint32_t cells, void *item, int64_t now);
/* The packet whose turn it is; NULL: none. */
void *duplicate_next(struct duplicate *d, int64_t now);
/* When duplicate_next may have one without another arrival; INT64_MAX: never. */
int64_t duplicate_deadline(const struct duplicate *d);
/* How long a path may be silent now before nobody waits for it. */
int64_t duplicate_wait_ns(const struct duplicate *d);

/* What must always hold: 0, or -EPROTO. For tests. */
int duplicate_check(const struct duplicate *d);

#endif
