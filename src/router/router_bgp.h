/* BGP in the router: src/pe decides, src/peering has the sockets, this joins both to the control thread, and hands what follows
 * to the worker in batches. Sockets are the kernel's, on the punt TUN: sessions with the cluster from our loopback, sessions over
 * links from the link-local address that follows from our id. */
#ifndef MERIDIAN_ROUTER_ROUTER_BGP_H
#define MERIDIAN_ROUTER_ROUTER_BGP_H

#include "pe/pe.h"
#include "router/router_inner.h"

struct router_bgp;

/* Opens what needs rights: listening sockets, the socket of `meridian bgp show`. After the punt, before rights are dropped. */
int router_bgp_open(struct router_bgp **ret, struct router *r, struct error *err);
void router_bgp_close(struct router_bgp *b); /* NULL allowed; sessions are told to cease */
/* From here on on the control thread, NULL allowed. */
void router_bgp_event(struct router_bgp *b, const struct lane_event *e);
/* The tables say `to` already. What BGP cannot take of it is logged: the rest is in effect. */
void router_bgp_reload(struct router_bgp *b, const struct router_config *to);
void router_bgp_drain(struct router_bgp *b); /* others take other ways */

/* After anything that was done to its pe from outside. */
void router_bgp_turn(struct router_bgp *b);

/* For `show` and metrics. */
struct pe *router_bgp_pe(struct router_bgp *b);
struct router_bgp_counts {
    uint64_t changes, refused, batches;
    uint32_t waiting;
};
struct router_bgp_counts router_bgp_counts(const struct router_bgp *b);

/* As of the last turn: for other threads, under the router's config_lock. */
struct router_bgp_seen {
    struct pe_counts pe;
    struct router_bgp_counts tables;
    uint32_t sessions, established;
};
const struct router_bgp_seen *router_bgp_seen(const struct router_bgp *b); /* NULL: no BGP */

/* router_bgp_config.c */
int router_bgp_config(const struct router_config *c, struct pe_config *ret, struct error *err);
void router_bgp_config_free(struct pe_config *c);

#endif
