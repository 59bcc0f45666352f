/* The simulator's packets: mbufs of its own with a virtual length. A small one holds PACKET_HEADROOM and the first
 * SLAB_DATA bytes of a frame (every header that we make, data_len < pkt_len), a large one a whole frame: what routers
 * allocate for their control frames.
 *
 * A packet on the wire belongs to two: the router that still counts its cells, and the link (refcnt 2): the same memory goes
 * from host to host. What the simulator notes about it lies in the mbuf's dynamic fields, which no router touches. */
#ifndef MERIDIAN_SIM_SLAB_H
#define MERIDIAN_SIM_SLAB_H

#include "lane/packet.h"

#include <stdbool.h>
#include <stdint.h>

#define SLAB_DATA       192u
#define SLAB_LARGE_DATA 9728u

#define SLAB_NO_FLOW UINT32_MAX
#define SLAB_COPY    (1u << 29) /* in `kind`: a link repeated it; the packet was sent once */

/* What the two copies of one packet share (1+1 lanes): the packet is lost with the last of them, delivered with the first. */
struct slab_twin {
    uint32_t about; /* copies that are not gone yet */
    bool delivered;
    struct slab_twin *next; /* spare ones */
};

/* In rte_mbuf.dynfield1 (36 bytes, 4-byte aligned there: accessed by copying). */
struct slab_note {
    uint32_t flow; /* index of the simulator's flow, SLAB_NO_FLOW: not a host's packet */
    uint32_t kind; /* flow's own use */
    uint64_t number;
    int64_t sent_ns;        /* by the host */
    struct slab_twin *twin; /* NULL: there is one of it */
};

struct slab_class {
    struct rte_mbuf *spare;
    uint32_t data;
    size_t stride;
};

struct slab {
    struct slab_class small, large;
    void **chunks;
    uint32_t n_chunks;
    uint64_t bytes, bytes_most; /* taken from the system */
    uint64_t used, peak;        /* mbufs of both kinds */
    uint64_t refused;
    struct slab_twin *twins; /* spare */
    /* Called with every packet of a host that is freed for good; NULL: not wanted. */
    void (*on_free)(void *user, struct rte_mbuf *m);
    void *user;
};

void slab_init(struct slab *s, uint64_t bytes_most);
void slab_done(struct slab *s);
struct rte_mbuf *slab_small(struct slab *s); /* empty, PACKET_HEADROOM in front; NULL: bytes_most reached */
struct rte_mbuf *slab_large(struct slab *s);
void slab_free(struct slab *s, struct rte_mbuf *m); /* gives up one reference */
/* A second packet like this one. NULL: no memory. */
struct rte_mbuf *slab_copy(struct slab *s, const struct rte_mbuf *m);

/* The same for 1+1 lanes: both are the one packet that was sent. */
struct rte_mbuf *slab_second(struct slab *s, struct rte_mbuf *m);

static inline struct slab_note slab_note(const struct rte_mbuf *m)
{
    struct slab_note n;
    memcpy(&n, m->dynfield1, sizeof(n));
    return n;
}

static inline void slab_note_set(struct rte_mbuf *m, const struct slab_note *n)
{
    memcpy(m->dynfield1, n, sizeof(*n));
}

/* A packet reaches its host, or gets lost: SLAB_COPY in its note says from now on whether that is not the packet's own fate,
 * because another copy of it has been delivered or is still about. */
static inline void slab_judge(struct rte_mbuf *m, bool delivered)
{
    struct slab_note n = slab_note(m);
    if (!n.twin)
        return;
    bool other = n.twin->delivered || (!delivered && n.twin->about > 1);
    n.kind = other ? n.kind | SLAB_COPY : n.kind & ~SLAB_COPY;
    n.twin->delivered |= delivered;
    slab_note_set(m, &n);
}

#endif
