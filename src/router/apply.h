/* A configuration becomes tables of the forwarding core, and a changed one the difference. On the worker, or before it
 * starts. */
#ifndef MERIDIAN_ROUTER_APPLY_H
#define MERIDIAN_ROUTER_APPLY_H

#include "router/router_config.h"

/* What the core is made from. `trusted` and `identity` of c and seed are used until forward_create returns. */
void apply_core_config(
    const struct router_config *c, const uint8_t seed[32], int64_t wall_minus_now, struct forward_config *ret);
void apply_port_config(const struct router_config *c, unsigned port, const uint8_t mac[6], struct port_config *ret);
/* A port's MAC address where nothing else says one. */
void apply_mac(const struct router_config *c, unsigned port, uint8_t ret[6]);

/* Makes the tables say `to` where they say `from` (NULL: nothing yet). On failure they say `from` again. */
int apply_tables(struct forward *f, const struct router_config *from, const struct router_config *to, int64_t now,
    struct error *err);
/* 0, or -EPERM and which key cannot change while the router runs. */
int apply_may_change(const struct router_config *from, const struct router_config *to, struct error *err);

#endif
