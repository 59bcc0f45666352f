/* The rings of a memif connection as a device. The ring that is full takes no more: real backpressure; what the peer has
 * not read yet is not lost, and what a descriptor says is believed only within our memory. */
#ifndef MERIDIAN_ROUTER_DEVICE_MEMIF_H
#define MERIDIAN_ROUTER_DEVICE_MEMIF_H

#include "router/device.h"
#include "router/memif.h"

int device_memif_create(struct device **ret, const char *name, struct pool *pool, struct error *err);
/* On the worker thread. The rings are the device's until detached; it is up in between. */
void device_memif_attach(struct device *d, const struct memif_rings *rings);
void device_memif_detach(struct device *d);
/* The peer wrote nonsense into a ring: nothing is read or written any more until it is attached anew. */
bool device_memif_broken(const struct device *d);

#endif
