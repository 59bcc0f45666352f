#include "sim/event.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_BITS 24

/* What a router touches of a small packet (sim/slab.h): the mbuf, our notes, the headers. */
#define FETCH_LINES 6
static const uint16_t fetch_at[FETCH_LINES] = {0, 64, 128, 192, 384, 448};

void events_init(struct events *e)
{
    *e = (struct events){.firing = EVENT_NOWHERE};
}

void events_done(struct events *e)
{
    free(e->memory);
    free(e->place);
    free(e->sources);
    *e = (struct events){.firing = EVENT_NOWHERE};
}

static int grow(struct events *e)
{
    uint32_t room = e->room ? 2 * e->room : 64;
    /* heap[1] at a multiple of 64 bytes: the children of i are 4i + 1 .. 4i + 4. */
    void *memory = aligned_alloc(64, (room + 4) * sizeof(struct event_place));
    uint32_t *place = realloc(e->place, room * sizeof(*place));
    if (place)
        e->place = place;
    struct event_source **sources = realloc(e->sources, room * sizeof(struct event_source *));
    if (sources)
        e->sources = sources;
    if (!memory || !place || !sources) {
        free(memory);
        return -ENOMEM;
    }
    struct event_place *heap = (struct event_place *)memory + 3;
    if (e->n)
        memcpy(heap, e->heap, e->n * sizeof(*heap));
    free(e->memory);
    e->memory = memory;
    e->heap = heap;
    e->room = room;
    return 0;
}

int event_add(struct events *e, struct event_source *s, void (*fire)(struct event_source *, int64_t now))
{
    if (e->n_sources == EVENT_SOURCES_MOST || (e->n_sources == e->room && grow(e)))
        return -ENOMEM;
    s->fire = fire;
    s->id = e->n_sources++;
    e->sources[s->id] = s;
    e->place[s->id] = EVENT_NOWHERE;
    return 0;
}

static inline bool before(const struct event_place *a, const struct event_place *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static inline void put(struct events *e, uint32_t i, struct event_place x)
{
    e->heap[i] = x;
    e->place[x.order & (EVENT_SOURCES_MOST - 1)] = i;
}

static void up(struct events *e, uint32_t i, struct event_place x)
{
    while (i) {
        uint32_t parent = (i - 1) / 4;
        if (!before(&x, &e->heap[parent]))
            break;
        put(e, i, e->heap[parent]);
        i = parent;
    }
    put(e, i, x);
}

static void down(struct events *e, uint32_t i, struct event_place x)
{
    for (;;) {
        uint32_t child = 4 * i + 1, end = child + 4 < e->n ? child + 4 : e->n, least = child;
        if (child >= e->n)
            break;
        for (uint32_t k = child + 1; k < end; k++)
            if (before(&e->heap[k], &e->heap[least]))
                least = k;
        if (!before(&e->heap[least], &x))
            break;
        put(e, i, e->heap[least]);
        i = least;
    }
    put(e, i, x);
}

void event_at(struct events *e, struct event_source *s, int64_t at_ns)
{
    assert(at_ns >= e->now_ns);
    struct event_place x = {at_ns, e->sequence++ << ID_BITS | s->id};
    uint32_t i = e->place[s->id];
    if (s->id == e->firing)
        e->set_again = true;
    if (i == EVENT_NOWHERE)
        up(e, e->n++, x);
    else if (before(&x, &e->heap[i]))
        up(e, i, x);
    else
        down(e, i, x);
}

bool event_is_set(const struct events *e, const struct event_source *s)
{
    return e->place[s->id] != EVENT_NOWHERE && (s->id != e->firing || e->set_again);
}

void event_by(struct events *e, struct event_source *s, int64_t at_ns)
{
    if (!event_is_set(e, s) || at_ns < e->heap[e->place[s->id]].at_ns)
        event_at(e, s, at_ns);
}

void event_never(struct events *e, struct event_source *s)
{
    uint32_t i = e->place[s->id];
    if (s->id == e->firing && i != EVENT_NOWHERE)
        e->set_again = true; /* taken out here: event_step must not do it again */
    if (i == EVENT_NOWHERE)
        return;
    e->place[s->id] = EVENT_NOWHERE;
    struct event_place last = e->heap[--e->n];
    if (i == e->n)
        return;
    if (i && before(&last, &e->heap[(i - 1) / 4]))
        up(e, i, last);
    else
        down(e, i, last);
}

/* Among the top's children is the next event, mostly: its packet's lines are asked for while this one is dealt with. */
static inline void fetch_soon(const struct events *e)
{
    uint32_t end = e->n < 5 ? e->n : 5;
    for (uint32_t i = 1; i < end; i++) {
        const char *m = (const char *)e->sources[e->heap[i].order & (EVENT_SOURCES_MOST - 1)]->soon;
        for (uint32_t line = 0; m && line < FETCH_LINES; line++)
            __builtin_prefetch(m + fetch_at[line], 1);
    }
}

bool event_step(struct events *e, int64_t until_ns)
{
    if (e->n == 0 || e->heap[0].at_ns > until_ns) {
        e->now_ns = until_ns;
        return false;
    }
    /* The source keeps its place at the top while it fires: setting its next moment is one sift, not two. */
    uint32_t id = (uint32_t)(e->heap[0].order & (EVENT_SOURCES_MOST - 1));
    struct event_source *s = e->sources[id];
    e->now_ns = e->heap[0].at_ns;
    e->firing = id;
    e->set_again = false;
    e->fired++;
    fetch_soon(e);
    s->fire(s, e->now_ns);
    if (!e->set_again)
        event_never(e, s);
    e->firing = EVENT_NOWHERE;
    return true;
}
