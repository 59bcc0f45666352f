/* What a port has sent lately, so that a gap which the receiver reports can be named packet by packet (R8): which flow,
 * how many bytes, when.
 *
 * One ring per port direction; the sender of lane packets pushes each one as it leaves (it is on the transmit path: two
 * cache lines, no branch that misses). Within a lane cell numbers are contiguous; a jump means that the lane's index was
 * given anew or its link restarted, and what came before is no longer found.
 *
 * Lookup: every entry points back to its lane's previous one and to its lane's last *milestone*, of which a lane sets at
 * most one every HISTORY_STRIDE packets of the port. So any packet is found in at most ring / HISTORY_STRIDE +
 * HISTORY_STRIDE steps, plus one for each packet returned. */
#ifndef MERIDIAN_TELEMETRY_HISTORY_H
#define MERIDIAN_TELEMETRY_HISTORY_H

#include <stdint.h>

#define HISTORY_STRIDE 512u

struct history_packet {
    int64_t at_ns;
    uint64_t flow;
    uint32_t cell; /* number of its first cell, low 32 bits */
    uint32_t cells : 8, bytes : 24;
    uint32_t back, skip; /* how many entries ago; 0, or beyond the ring: none */
};

struct history_lane {
    uint64_t last, milestone; /* position + 1; 0: none */
    uint32_t next_cell;
};

struct history {
    struct history_packet *ring;
    struct history_lane *lane;
    uint64_t pushed; /* ever; the next position */
    uint32_t mask;   /* size of the ring - 1 */
    uint32_t lanes;  /* lane indices below it are kept */
};

/* Remembers at least the last `packets` packets (rounded up to a power of two, at most 2^26) of lanes 0 … lanes-1.
 * What to ask for: the port's packets in one round trip and a report's delay. -ENOMEM, -EINVAL. */
int history_create(struct history **ret, uint32_t packets, uint32_t lanes);
void history_free(struct history *h);

/* A packet leaves. `lane` is the peer's index of it: one beyond our range is not remembered. */
static inline void history_push(
    struct history *h, uint16_t lane, uint32_t cell, uint32_t cells, uint64_t flow, uint32_t bytes, int64_t now)
{
    if (lane >= h->lanes)
        return;
    struct history_lane *l = &h->lane[lane];
    uint64_t at = h->pushed++, size = (uint64_t)h->mask + 1;
    if (cell != l->next_cell)
        l->last = l->milestone = 0;
    uint64_t back = at + 1 - l->last, skip = at + 1 - l->milestone;
    h->ring[at & h->mask] = (struct history_packet){
        .at_ns = now,
        .flow = flow,
        .cell = cell,
        .cells = cells & 0xff,
        .bytes = bytes & 0xffffff,
        .back = back < size ? (uint32_t)back : 0,
        .skip = skip < size ? (uint32_t)skip : 0,
    };
    l->next_cell = cell + cells;
    l->last = at + 1;
    if (skip >= HISTORY_STRIDE)
        l->milestone = at + 1;
}

/* The packets that carried any of the cells [cell, cell + cells) of a lane, oldest first, at most `most` of them: the
 * newest ones when there are more (the others: ask again for what lies before ret[0].cell). Fewer, or none, when the ring
 * has moved on: compare the cells. */
unsigned history_find(
    const struct history *h, uint16_t lane, uint32_t cell, uint32_t cells, struct history_packet *ret, unsigned most);

#endif
