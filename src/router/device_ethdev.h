/* A network card, by its PCI address, or any other device of DPDK's ("net_tap0,iface=x"), through ethdev. One queue each
 * way. A card tells of nothing: it is polled. */
#ifndef MERIDIAN_ROUTER_DEVICE_ETHDEV_H
#define MERIDIAN_ROUTER_DEVICE_ETHDEV_H

#include "router/device.h"

struct ethdev_config {
    const char *device;
    uint32_t mtu;
    uint16_t descriptors; /* each way; 0: 1024 */
    uint8_t mac[6];       /* all zero: the card's */
};

/* ret_mac: what it answers to. */
int device_ethdev_open(struct device **ret, const char *name, struct pool *pool, const struct ethdev_config *cfg,
    uint8_t ret_mac[6], struct error *err);
/* Reads the card's own counters (frames that it had no room for) and its carrier. Once a second, on the worker thread. */
void device_ethdev_statistics(struct device *d);

#endif
