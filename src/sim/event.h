/* Virtual time: what happens next, in order of (time, sequence).
 *
 * Packets never stand here. An event source is something that can have one next moment: a direction of a link (its first
 * arrival), a transmitter (its wire is free), a timer. Each has one place in a 4-ary heap whose four children lie in one
 * cache line; setting a moment again moves that place. Nothing is allocated per event.
 *
 * Two sources of one moment fire in the order in which their moments were set: a run is a function of its seed alone. */
#ifndef MERIDIAN_SIM_EVENT_H
#define MERIDIAN_SIM_EVENT_H

struct rte_mbuf;

#include <stdbool.h>
#include <stdint.h>

#define EVENT_SOURCES_MOST (1u << 24)

struct event_source {
    void (*fire)(struct event_source *, int64_t now); /* may set any source's moment, its own too */
    uint32_t id;
};

struct event_place {
    int64_t at_ns;
    uint64_t order; /* sequence << 24 | source id */
};

struct events {
    struct event_place *heap; /* [0] earliest; 64-byte aligned at [1], where the first children are */
    uint32_t n;
    uint32_t *place; /* by source id: index in heap, EVENT_NOWHERE: no moment set */
    struct event_source **sources;
    const struct rte_mbuf **soon; /* by source id: see event_soon */
    uint32_t n_sources, room;
    uint64_t sequence;
    int64_t now_ns;
    uint32_t firing; /* source whose `fire` runs; EVENT_NOWHERE: none */
    bool set_again;  /* it has set its own moment */
    uint64_t fired;
    void *memory;
};

#define EVENT_NOWHERE UINT32_MAX

/* What a router touches of a small packet (sim/slab.h): the mbuf, our notes, the headers. */
static inline void event_fetch(const struct rte_mbuf *m)
{
    static const uint16_t lines[] = {0, 64, 128, 192, 384, 448};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        __builtin_prefetch((const char *)m + lines[i], 1);
}

void events_init(struct events *e);
void events_done(struct events *e);
/* Gives the source its id. Not while running. -ENOMEM. */
int event_add(struct events *e, struct event_source *s, void (*fire)(struct event_source *, int64_t now));
/* Its next moment, never before now; instead of one that was set before. */
void event_at(struct events *e, struct event_source *s, int64_t at_ns);
/* As event_at, but a moment that is already nearer stays. */
void event_by(struct events *e, struct event_source *s, int64_t at_ns);
void event_never(struct events *e, struct event_source *s);
/* The packet that it will touch next: fetched into the cache while the event before it fires. NULL: none. */
static inline void event_soon(struct events *e, const struct event_source *s, const struct rte_mbuf *m)
{
    e->soon[s->id] = m;
}
bool event_is_set(const struct events *e, const struct event_source *s);

/* Fires the next one if its moment is not after until_ns: true. Otherwise false, and now_ns is until_ns. */
bool event_step(struct events *e, int64_t until_ns);

#endif
