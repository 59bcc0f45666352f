#include "sim/event.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_BITS 24

#define SOURCE_LINES 4 /* of what a source lies in */

/* Moment and order as one number, so that choosing among four is arithmetic without a branch to guess wrong. */
__extension__ typedef unsigned __int128 key128;

void events_init(struct events *e)
{
    *e = (struct events){.firing = EVENT_NOWHERE};
}

void events_done(struct events *e)
{
    free(e->memory);
    free(e->place);
    free(e->sources);
    free(e->soon);
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
    const struct rte_mbuf **soon = realloc(e->soon, room * sizeof(*soon));
    if (soon)
        e->soon = soon;
    if (!memory || !place || !sources || !soon) {
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
    e->soon[s->id] = NULL;
    e->place[s->id] = EVENT_NOWHERE;
    return 0;
}

static inline key128 key_of(const struct event_place *p)
{
    return (key128)(uint64_t)p->at_ns << 64 | p->order; /* moments are not negative */
}

static inline bool before(const struct event_place *a, const struct event_place *b)
{
    return key_of(a) < key_of(b);
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

/* The earliest of a whole family of four. */
static inline uint32_t earliest(const struct event_place *c)
{
    key128 k0 = key_of(c), k1 = key_of(c + 1), k2 = key_of(c + 2), k3 = key_of(c + 3);
    uint32_t a = k1 < k0, b = 2 + (k3 < k2);
    key128 ka = a ? k1 : k0, kb = b & 1 ? k3 : k2;
    return kb < ka ? b : a;
}

static void down(struct events *e, uint32_t i, struct event_place x)
{
    key128 key = key_of(&x);
    for (;;) {
        uint32_t child = 4 * i + 1, least = child;
        if (child + 4 <= e->n)
            least += earliest(&e->heap[child]);
        else if (child >= e->n)
            break;
        else
            for (uint32_t k = child + 1; k < e->n; k++)
                if (before(&e->heap[k], &e->heap[least]))
                    least = k;
        if (key_of(&e->heap[least]) >= key)
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

/* The earliest of the top's children is the next event, mostly: what it touches is asked for while this one is dealt with. */
static inline void fetch_soon(const struct events *e)
{
    if (e->n < 5)
        return;
    uint32_t id = (uint32_t)(e->heap[1 + earliest(&e->heap[1])].order & (EVENT_SOURCES_MOST - 1));
    const char *source = (const char *)e->sources[id];
    for (unsigned i = 0; i < SOURCE_LINES; i++)
        __builtin_prefetch(source + 64 * i, 1);
    if (e->soon[id])
        event_fetch(e->soon[id]);
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
