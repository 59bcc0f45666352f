/* Changes of the core's tables on their way from the control thread to the worker: in order, a few in each pause between two
 * batches of packets, so that ten thousand routes hold up no packet for long. */
#ifndef MERIDIAN_ROUTER_ROUTER_CHANGES_H
#define MERIDIAN_ROUTER_ROUTER_CHANGES_H

#include "forward/tables.h"
#include "pe/pe.h"
#include "router/loop.h"

#define CHANGES_AT_ONCE 64u

struct changes;
int changes_create(struct changes **ret, struct loop *loop, struct forward *f, void *owner);
void *changes_owner(const void *changes); /* of the `user` that changes_above sets */
void changes_free(struct changes *c);     /* NULL allowed; what waits is not done */
/* The calls of `pe_above` that change tables; user: struct changes. */
void changes_above(struct pe_above *ret, struct changes *c);
/* Does all that waits. `refused` is told of each that could not be done (route: vrf and prefix, else prefix NULL). */
void changes_flush(struct changes *c,
    void (*refused)(void *user, uint32_t vrf, const struct ip_prefix *p, const char *why), void *user);
/* Slices whose move was begun: those that take their new path now are told and forgotten. True: some are not there yet. */
bool changes_moves(struct changes *c,
    void (*moved)(void *user, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path),
    void *user);
uint32_t changes_waiting(const struct changes *c);
uint64_t changes_done(const struct changes *c, uint64_t *ret_refused, uint64_t *ret_batches);

#endif
