/* Deadlines of many queues in constant time: a hierarchical timing wheel (Varghese and Lauck, SOSP 1987), thirteen levels
 * of 32 slots, so exact to the nanosecond and as far as int64 reaches.
 *
 * A timer lies on the level of the highest group of five bits in which its deadline differs from the wheel's time, in the
 * slot of that group's value: so the lowest level that holds anything holds the earliest deadline, and in its first slot.
 * Arming touches one slot. A timer moves down a level at a time, at most twelve times, before it fires; deadlines of
 * microseconds to seconds do so two to six times. Nothing allocates; timers lie in what they are about. */
#ifndef MERIDIAN_LANE_WHEEL_H
#define MERIDIAN_LANE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_BITS = 5, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 13 };

struct wheel_timer {
    struct wheel_timer *next, *prev; /* circular, with the slot's other timers; next NULL: not armed */
    int64_t at_ns;
    uint8_t level, slot;
};

struct wheel {
    int64_t now;                   /* every armed deadline is at or after it */
    uint32_t levels;               /* bit per level that holds a timer */
    uint32_t filled[WHEEL_LEVELS]; /* bit per slot */
    struct wheel_timer *first[WHEEL_LEVELS][WHEEL_SLOTS];
    int64_t earliest[WHEEL_LEVELS][WHEEL_SLOTS]; /* in a filled slot */
};

void wheel_init(struct wheel *w, int64_t now);

/* Arms, or arms anew. A deadline that has passed fires at the next wheel_expire. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, int64_t at_ns);
/* Nothing when it is not armed. Disarming the earliest timer of a slot looks through that slot. */
void wheel_disarm(struct wheel *w, struct wheel_timer *t);

static inline bool wheel_armed(const struct wheel_timer *t)
{
    return t->next;
}

/* A timer whose deadline is at or before now, disarmed, in the order of deadlines; NULL: none is left. */
struct wheel_timer *wheel_expire(struct wheel *w, int64_t now);

/* The earliest deadline; INT64_MAX: none. */
int64_t wheel_next(const struct wheel *w);

#endif
