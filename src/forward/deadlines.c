/* A binary heap of numbers by their deadlines. */
#include "forward/deadlines.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define NOWHERE UINT32_MAX

int deadlines_init(struct deadlines *d, uint32_t most)
{
    *d = (struct deadlines){.most = most};
    d->due = malloc(most * sizeof(*d->due));
    d->heap = malloc(most * sizeof(*d->heap));
    d->place = malloc(most * sizeof(*d->place));
    if (!d->due || !d->heap || !d->place) {
        deadlines_done(d);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < most; i++) {
        d->due[i] = DEADLINE_NEVER;
        d->place[i] = NOWHERE;
    }
    return 0;
}

void deadlines_done(struct deadlines *d)
{
    free(d->due);
    free(d->heap);
    free(d->place);
    *d = (struct deadlines){0};
}

static bool before(const struct deadlines *d, uint32_t a, uint32_t b)
{
    return d->due[a] != d->due[b] ? d->due[a] < d->due[b] : a < b;
}

static void put(struct deadlines *d, uint32_t at, uint32_t i)
{
    d->heap[at] = i;
    d->place[i] = at;
}

/* Moves i, for which place `at` is free, to where it belongs. */
static void settle(struct deadlines *d, uint32_t at, uint32_t i)
{
    while (at && before(d, i, d->heap[(at - 1) / 2])) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (uint32_t child; (child = 2 * at + 1) < d->n; at = child) {
        if (child + 1 < d->n && before(d, d->heap[child + 1], d->heap[child]))
            child++;
        if (!before(d, d->heap[child], i))
            break;
        put(d, at, d->heap[child]);
    }
    put(d, at, i);
}

void deadlines_set(struct deadlines *d, uint32_t i, int64_t due)
{
    assert(i < d->most);
    uint32_t at = d->place[i];
    d->due[i] = due;
    if (due != DEADLINE_NEVER) {
        settle(d, at == NOWHERE ? d->n++ : at, i);
    } else if (at != NOWHERE) {
        d->place[i] = NOWHERE;
        uint32_t last = d->heap[--d->n];
        if (last != i)
            settle(d, at, last);
    }
}

uint32_t deadlines_take(struct deadlines *d, int64_t now)
{
    if (deadlines_next(d) > now || d->n == 0)
        return UINT32_MAX;
    uint32_t i = d->heap[0];
    deadlines_set(d, i, DEADLINE_NEVER);
    return i;
}
