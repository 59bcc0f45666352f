/* xSEC in the router: keys.h joined to the control thread, to BGP (router_bgp.h) and to the worker. */
#ifndef MERIDIAN_ROUTER_ROUTER_KEYS_H
#define MERIDIAN_ROUTER_ROUTER_KEYS_H

#include "router/keys.h"
#include "router/router_inner.h"

struct pe_beacon;
struct router_keys;

/* While the router still has its rights and its seed, once BGP is open. */
int router_keys_open(struct router_keys **ret, struct router *r, struct error *err);
void router_keys_close(struct router_keys *k); /* before BGP and the worker end; NULL allowed, as everywhere here */
void router_keys_reload(struct router_keys *k, const struct router_config *to);
/* From pe's callbacks: a beacon that BGP has, or no longer has. */
void router_keys_beacon(struct router_keys *k, const struct pe_beacon *b, bool withdrawn);
/* On the worker, from the core's callback: the first packet under an SA. */
void router_keys_heard(struct router_keys *k, const struct ip6 *peer, uint32_t spi);

const struct keys *router_keys_view(const struct router_keys *k); /* for `show` and metrics; NULL: none */

/* The VPNs of a configuration that must be encrypted. Caller frees. -EINVAL: one has not exactly one route target, both ways. */
int router_keys_vpns(const struct router_config *c, struct keys_vpn **ret, unsigned *ret_n, struct error *err);

#endif
