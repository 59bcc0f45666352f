/* A TAP: the link to a host (or to Linux's own forwarding) in a network namespace of this machine. One system call a
 * frame: for hosts, not for links between routers. */
#ifndef MERIDIAN_ROUTER_DEVICE_TAP_H
#define MERIDIAN_ROUTER_DEVICE_TAP_H

#include "router/device.h"
#include "router/netns.h"

int device_tap_open(
    struct device **ret, const char *name, struct pool *pool, const struct netns_tun *cfg, struct error *err);
/* Reads what the kernel dropped into d->n; once a second is enough. Any thread. */
void device_tap_statistics(struct device *d);

#endif
