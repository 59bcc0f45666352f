/* Customers' routers (PE–CE): each VRF that has some gets a TUN of its own in our namespace, with our gateway addresses of that VRF
 * on it, so that the kernel's TCP reaches them. Only BGP's packets go in and out there: whatever else a customer sends to a gateway
 * never sees Linux. Sockets are bound to the TUN, so two customers may have the same addresses. */
#ifndef MERIDIAN_ROUTER_ROUTER_CUSTOMERS_H
#define MERIDIAN_ROUTER_ROUTER_CUSTOMERS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct peering;
struct rte_mbuf;
struct router;
struct router_bgp;
struct router_config;

/* Opens the TUNs of VRFs with customers; before rights are dropped. What is half open customers_close closes. */
int customers_open(struct router *r, struct error *err);
void customers_close(struct router *r);

/* On the worker. True: it was for one of them and is gone. */
bool customers_punt(struct router *r, uint32_t vrf, struct rte_mbuf *m);
bool customers_read(struct router *r, int64_t now); /* true: there may be more */

/* Listening sockets at their gateways. Before rights are dropped. */
int customers_listen(struct router *r, struct peering *p, struct error *err);
/* A changed configuration may bring customers to VRFs that had some, not to others: those need a TUN. */
int customers_may_change(const struct router *r, const struct router_config *to, struct error *err);
/* The TUN's name. NULL: this VRF has none. */
const char *customers_device(const struct router *r, uint32_t vrf);

#endif
