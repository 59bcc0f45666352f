/* Linux network namespaces and the devices in them, as far as a router needs: making a TAP or TUN in one, and setting it up
 * with ioctls. Everything here needs CAP_NET_ADMIN there (and CAP_SYS_ADMIN to enter), so it happens before rights are
 * dropped. */
#ifndef MERIDIAN_ROUTER_NETNS_H
#define MERIDIAN_ROUTER_NETNS_H

#include "base/error.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define NETNS_DEVICE_NAME 16 /* IFNAMSIZ */

/* Moves the calling thread; *ret_old (-1: nothing was changed) leads back. NULL or "": stays. A name as `ip netns` knows
 * it, or an absolute path. */
int netns_enter(const char *namespace_, int *ret_old, struct error *err);
void netns_leave(int old);

struct netns_tun {
    const char *namespace_; /* NULL: ours */
    const char *device;
    bool tap;  /* frames with Ethernet headers; false: IP packets */
    bool keep; /* the device stays when we end, without carrier, with the host's addresses on it */
    uint32_t mtu;
    uint32_t queue; /* frames of the host that wait for us before the kernel drops; 0: the kernel's choice */
};

/* Makes it or takes over a kept one, sets it up. *ret_fd does not block. *ret_statistics reads /proc/net/dev of its
 * namespace, whoever we are later. */
int netns_tun_open(const struct netns_tun *cfg, int *ret_fd, int *ret_statistics, struct error *err);

/* In the calling thread's namespace. */
int netns_address_add(const char *device, const struct ip_addr *a, uint8_t len, struct error *err);
/* metric: of an IPv4 route; the same one may lead to several devices with one each. */
int netns_route_add(const char *device, const struct ip_prefix *to, uint32_t metric, struct error *err);

/* Frames that the kernel dropped at this device: on the way to the host (rx of its device), and from it (tx). */
int netns_dropped(int statistics_fd, const char *device, uint64_t *ret_rx, uint64_t *ret_tx);

#endif
