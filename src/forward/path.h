/* Strict paths: lists of SIDs behind a first link. Encapsulations and slices name them. */
#ifndef MERIDIAN_FORWARD_PATH_H
#define MERIDIAN_FORWARD_PATH_H

#include "forward/forward_inner.h"

const struct path *path_find(const struct forward *, uint32_t id); /* NULL: there is none */
void path_free_all(struct forward *);

#endif
