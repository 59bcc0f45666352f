/* Deadlines of numbered things: which is next, in time then number order. A binary heap over fixed storage. */
#ifndef MERIDIAN_FORWARD_DEADLINES_H
#define MERIDIAN_FORWARD_DEADLINES_H

#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

struct deadlines {
    int64_t *due;    /* [most]; DEADLINE_NEVER: not in the heap */
    uint32_t *heap;  /* [n] numbers, the earliest first */
    uint32_t *place; /* [most] in heap */
    uint32_t n, most;
};

int deadlines_init(struct deadlines *d, uint32_t most); /* 0 or -ENOMEM */
void deadlines_done(struct deadlines *d);
void deadlines_set(struct deadlines *d, uint32_t i, int64_t due); /* i < most; DEADLINE_NEVER takes it out */

static inline int64_t deadlines_next(const struct deadlines *d)
{
    return d->n ? d->due[d->heap[0]] : DEADLINE_NEVER;
}

/* Takes out the earliest that is due at `now` and returns it; UINT32_MAX: none is. */
uint32_t deadlines_take(struct deadlines *d, int64_t now);

#endif
