/* An Ethernet interface of the current network namespace, read and written directly (packet(7)): frames come from a ring
 * that the kernel fills, and go out in batches past the queueing discipline. Of what arrives only RoCE, ARP, neighbour
 * discovery and PFC are seen. The kernel's own stack goes on beside it; sockets bound to RoCE's port keep it from answering
 * what is ours with "port unreachable". */
#ifndef MERIDIAN_ROCE_PORT_H
#define MERIDIAN_ROCE_PORT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define ROCE_PORT_BATCH 64u

struct roce_frame {
    const uint8_t *bytes; /* from the Ethernet header, tag taken out */
    uint32_t len;
    uint16_t vlan; /* 0: untagged (or tagged with a priority only) */
};

struct roce_port;

/* `interface` must be up. -ENODEV, -EPERM (needs CAP_NET_RAW), … with a sentence. */
int roce_port_open(struct roce_port **ret, const char *interface, struct error *err);
void roce_port_close(struct roce_port *);

const uint8_t *roce_port_mac(const struct roce_port *); /* 6 bytes */
uint32_t roce_port_mtu(const struct roce_port *);       /* bytes of IP packet */
uint32_t roce_port_index(const struct roce_port *);     /* of the interface */
uint64_t roce_port_speed(const struct roce_port *);     /* bit/s as the driver says; 0: it does not */

/* The next frame in the ring, or false. Valid until the next call. */
bool roce_port_receive(struct roce_port *, struct roce_frame *ret);
/* Frames that the ring had no room for, since the beginning. */
uint64_t roce_port_missed(struct roce_port *);

/* Sends whole frames in order, as many as the driver takes now: returns how many; the rest is to be tried again. -errno with
 * a sentence: the interface is gone. */
int roce_port_send(struct roce_port *, const struct iovec *frames, unsigned n, struct error *err);

/* Sleeps until a frame is there (if wanted) or `until_ns` (clock_now_ns) has come; a signal ends it too. */
void roce_port_wait(struct roce_port *, int64_t until_ns, bool frames);

#endif
