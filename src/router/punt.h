/* The router's own traffic in the underlay: a TUN in its namespace, with the loopback on it. What the core punts goes in;
 * what Linux programs here (BGP, ping) send comes out and is routed like any other packet. On the worker. */
#ifndef MERIDIAN_ROUTER_PUNT_H
#define MERIDIAN_ROUTER_PUNT_H

#include "forward/forward.h"
#include "router/pool.h"

struct punt {
    int fd, statistics; /* -1: none */
    struct pool *pool;
    struct forward *forward;
    uint32_t vrf;              /* that packets from Linux go into; 0: the underlay */
    uint64_t in, out, refused; /* from Linux, to Linux, what Linux did not take */
};

struct punt_config {
    const char *device;
    uint32_t mtu;
    const struct ip_addr *addresses; /* hosts' (whole length) */
    unsigned n_addresses;
    const struct ip_prefix *routes;
    unsigned n_routes;
    uint32_t metric; /* of the IPv4 ones: the same route at several devices needs one each */
};

int punt_open(struct punt *p, const struct punt_config *cfg, struct pool *pool, struct error *err);
void punt_close(struct punt *p); /* also of one that was never opened, with fd -1 */
/* Takes ownership. */
void punt_write(struct punt *p, struct rte_mbuf *m);
/* Injects what waits, at most a burst; true: there may be more. */
bool punt_read(struct punt *p, int64_t now);

#endif
