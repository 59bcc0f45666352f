/* Packet capture at a port, both ways: the worker copies the first bytes of each frame into a ring, another thread takes
 * them out as pcapng. What finds no room is dropped from the capture (never from the wire) and counted. */
#ifndef MERIDIAN_ROUTER_CAPTURE_H
#define MERIDIAN_ROUTER_CAPTURE_H

#include "base/buf.h"
#include "lane/packet.h"

#include <stdbool.h>
#include <stdint.h>

#define CAPTURE_RING (4u << 20) /* bytes; a power of two */

struct capture;

/* most: frames in all; 0: any number. */
int capture_create(struct capture **ret, uint32_t snap, uint64_t most, int64_t wall_minus_now);
void capture_free(struct capture *c); /* NULL allowed; the worker must have let go */
/* struct loop_tap's: user is the capture. */
void capture_frames(void *user, uint16_t port, bool out, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
/* Appends what was captured, at most about `most` bytes. 0 or -ENOMEM. */
int capture_take(struct capture *c, struct buf *to, size_t most);
void capture_counts(const struct capture *c, uint64_t *ret_captured, uint64_t *ret_dropped);

#endif
