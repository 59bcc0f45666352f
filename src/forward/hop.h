/* Hops: what routes lead to. Equal ones exist once however many routes use them, so that a table of a hundred thousand
 * routes through ten egress routers keeps ten hops in the cache. Hops are named by index: the array moves when it grows. */
#ifndef MERIDIAN_FORWARD_HOP_H
#define MERIDIAN_FORWARD_HOP_H

#include "forward/forward_inner.h"

void hop_table_done(struct hop_table *);

/* The index of a hop equal to `like` (its `users` and `chain` aside), one user more. A new one is a copy of it: then
 * *ret_new is true and the caller fills what only packets need. -ENOMEM. */
int hop_get(struct hop_table *, const struct hop *like, uint32_t *ret, bool *ret_new);
/* One user less; true when that was the last: the hop is gone, *ret_was its copy. */
bool hop_put(struct hop_table *, uint32_t index, struct hop *ret_was);
/* A hop's content is about to change in place, and has changed. */
void hop_unhash(struct hop_table *, uint32_t index);
void hop_rehash(struct hop_table *, uint32_t index);

#endif
