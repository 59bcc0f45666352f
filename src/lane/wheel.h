/* Deadlines of many queues in constant time: a hierarchical timing wheel (Varghese and Lauck, SOSP 1987) of six levels of
 * 64 slots, exact to the nanosecond.
 *
 * A timer lies on the level of the highest group of six bits in which its deadline differs from the wheel's time, so the
 * lowest level that holds anything holds the earliest deadline. Arming touches one slot; a timer moves down at most five
 * times before it fires; disarming the earliest one of a slot looks through that slot. Deadlines further away than 2^36 ns (69 s) fire then, early: whoever armed one looks at
 * the clock again and re-arms. Nothing allocates; timers lie in what they are about. */
#ifndef MERIDIAN_LANE_WHEEL_H
#define MERIDIAN_LANE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_LEVELS = 6, WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS };

struct wheel_timer {
    struct wheel_timer *next, *prev; /* circular, with the slot's other timers; next NULL: not armed */
    int64_t at_ns;
    uint8_t level, slot;
};

struct wheel {
    int64_t now;
    uint32_t armed;
    uint64_t filled[WHEEL_LEVELS]; /* bit per slot */
    struct wheel_timer *slot[WHEEL_LEVELS][WHEEL_SLOTS];
    int64_t earliest[WHEEL_LEVELS][WHEEL_SLOTS]; /* in a filled slot */
};

void wheel_init(struct wheel *w, int64_t now);

/* Arms, or arms anew. A deadline that has passed fires at the next wheel_expire. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, int64_t at_ns);
void wheel_disarm(struct wheel *w, struct wheel_timer *t); /* nothing when it is not armed */

static inline bool wheel_armed(const struct wheel_timer *t)
{
    return t->next;
}

/* A timer whose deadline is at or before now, disarmed, in the order of their deadlines; NULL: none is left. */
struct wheel_timer *wheel_expire(struct wheel *w, int64_t now);

/* The earliest deadline; INT64_MAX: none. */
int64_t wheel_next(const struct wheel *w);

#endif
