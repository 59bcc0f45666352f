/* Ports without a router around them, for tests and benchmarks: a slab of mbufs, a loss log, a set of ports, and lanes that
 * are nothing but credit. Time is the test's. */
#ifndef MERIDIAN_LANE_TESTING_PORT_H
#define MERIDIAN_LANE_TESTING_PORT_H

#include "lane/lane.h"
#include "lane/testing_mbuf.h"
#include "telemetry/loss.h"

enum { TESTING_PORTS = 8, TESTING_OPTION = 54, TESTING_L3 = 14 };

struct testing_port {
    struct testing_mbufs *slab;
    struct lane_above above;
    struct port_set set;
    struct loss_log *loss;
    struct port port[TESTING_PORTS];
    struct lane_wire wire; /* of all lanes here */
    struct lane_told told;
};

/* Ports 0 to n-1 alike. */
static inline struct testing_port *testing_port_create(
    uint32_t mbufs, uint32_t room, unsigned n, const struct port_config *c, enum lane_mode mode)
{
    struct testing_port *t = calloc(1, sizeof *t);
    if (!t || !(t->loss = calloc(1, sizeof *t->loss)))
        abort();
    t->slab = testing_mbufs_create(mbufs, room);
    t->above = (struct lane_above){.user = t->slab, .alloc = testing_mbuf_alloc, .free = testing_mbuf_free};
    t->set = (struct port_set){.above = &t->above, .loss = t->loss, .mode = (uint8_t)mode};
    t->wire.up = true;
    for (unsigned i = 0; i < n; i++)
        port_init(&t->port[i], &t->set, NULL, (uint16_t)i, c, 0);
    return t;
}

/* Ends the ports; returns how many mbufs were not given back. */
static inline uint32_t testing_port_free(struct testing_port *t)
{
    for (unsigned i = 0; i < TESTING_PORTS; i++)
        if (t->set.ports[i])
            port_done(&t->port[i]);
    uint32_t leaked = t->slab->used;
    testing_mbufs_free(t->slab);
    free(t->loss);
    free(t);
    return leaked;
}

/* A lane that may send `credit` cells. */
static inline void testing_lane_init(
    struct testing_port *t, struct lane_tx *lane, struct port *p, enum lane_class c, uint64_t credit)
{
    memset(lane, 0, sizeof *lane);
    queue_init(&lane->queue, p, c);
    lane->queue.lane = lane;
    lane->wire = &t->wire;
    lane->credit.limit = credit;
    lane->hold_at = UINT64_MAX;
    lane->open = lane->complete = true;
}

/* A frame with room for the lane option; its first payload bytes, behind the option, are the number. */
static inline struct rte_mbuf *testing_packet(struct testing_port *t, uint32_t len, uint64_t number)
{
    struct rte_mbuf *m = testing_mbuf_sized(t->slab, len);
    if (m && m->data_len >= TESTING_OPTION + 16) {
        packet_meta(m)->lane_option = TESTING_OPTION;
        memcpy(packet_at(m, TESTING_OPTION + 8), &number, sizeof number);
    }
    return m;
}

static inline uint64_t testing_packet_number(struct rte_mbuf *m)
{
    uint64_t number;
    memcpy(&number, packet_at(m, TESTING_OPTION + 8), sizeof number);
    return number;
}

#endif
