#include "lane/wheel.h"

#include <string.h>

void wheel_init(struct wheel *w, int64_t now)
{
    memset(w, 0, sizeof *w);
    w->now = now > 0 ? now : 0;
}

static void slot_append(struct wheel *w, struct wheel_timer *t)
{
    struct wheel_timer **first = &w->first[t->level][t->slot];
    if (!*first) {
        *first = t->next = t->prev = t;
        w->earliest[t->level][t->slot] = t->at_ns;
        w->filled[t->level] |= 1u << t->slot;
        w->levels |= 1u << t->level;
        return;
    }
    t->next = *first;
    t->prev = (*first)->prev;
    t->prev->next = t->next->prev = t;
    if (t->at_ns < w->earliest[t->level][t->slot])
        w->earliest[t->level][t->slot] = t->at_ns;
}

static void slot_remove(struct wheel *w, struct wheel_timer *t)
{
    struct wheel_timer **first = &w->first[t->level][t->slot];
    if (t->next == t) {
        *first = NULL;
        w->filled[t->level] &= ~(1u << t->slot);
        if (!w->filled[t->level])
            w->levels &= ~(1u << t->level);
    } else {
        t->next->prev = t->prev;
        t->prev->next = t->next;
        if (*first == t)
            *first = t->next;
    }
    t->next = NULL;
}

/* On the level of the highest group that differs from now. */
static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t differs = (uint64_t)(t->at_ns ^ w->now);
    t->level = differs ? (uint8_t)((63 - __builtin_clzll(differs)) / WHEEL_BITS) : 0;
    t->slot = (uint8_t)((uint64_t)t->at_ns >> t->level * WHEEL_BITS & (WHEEL_SLOTS - 1));
    slot_append(w, t);
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, int64_t at_ns)
{
    wheel_disarm(w, t);
    t->at_ns = at_ns > w->now ? at_ns : w->now;
    place(w, t);
}

void wheel_disarm(struct wheel *w, struct wheel_timer *t)
{
    if (!t->next)
        return;
    slot_remove(w, t);
    struct wheel_timer *first = w->first[t->level][t->slot];
    int64_t *earliest = &w->earliest[t->level][t->slot];
    if (!first || t->at_ns != *earliest)
        return;
    *earliest = first->at_ns;
    for (struct wheel_timer *i = first->next; i != first; i = i->next)
        if (i->at_ns < *earliest)
            *earliest = i->at_ns;
}

/* When the slot's span begins. Groups above the level are those of now. */
static int64_t slot_begin(const struct wheel *w, unsigned level, unsigned slot)
{
    unsigned above = (level + 1) * WHEEL_BITS;
    uint64_t high = above < 64 ? (uint64_t)w->now >> above << above : 0;
    return (int64_t)(high | (uint64_t)slot << level * WHEEL_BITS);
}

/* The wheel's time reached this slot: its timers differ from it in lower groups only. */
static void slot_descend(struct wheel *w, unsigned level, unsigned slot)
{
    struct wheel_timer *t;
    while ((t = w->first[level][slot])) {
        slot_remove(w, t);
        place(w, t);
    }
}

struct wheel_timer *wheel_expire(struct wheel *w, int64_t now)
{
    while (w->levels) {
        unsigned level = (unsigned)__builtin_ctz(w->levels), slot = (unsigned)__builtin_ctz(w->filled[level]);
        int64_t begin = slot_begin(w, level, slot);
        if (begin > now)
            break;
        w->now = begin;
        if (level == 0) {
            struct wheel_timer *t = w->first[0][slot];
            slot_remove(w, t);
            return t;
        }
        slot_descend(w, level, slot);
    }
    if (now > w->now)
        w->now = now;
    return NULL;
}

int64_t wheel_next(const struct wheel *w)
{
    if (!w->levels)
        return INT64_MAX;
    unsigned level = (unsigned)__builtin_ctz(w->levels);
    return w->earliest[level][__builtin_ctz(w->filled[level])];
}
