/* The middle in the cloud, over the split protocol: struct middle for the engine. Two connections, so that a decode step
 * never waits behind a prompt. A session stays on one of them as long as it has requests there, so its order holds. */
#ifndef MERIDIAN_SPLIT_REMOTE_MIDDLE_H
#define MERIDIAN_SPLIT_REMOTE_MIDDLE_H

#include "split/middle.h"
#include "split/remote.h"

/* Connecting begins at once, in the background; MIDDLE_UP tells when it is there. */
int remote_middle_create(struct middle **ret, const struct remote_config *cfg, struct error *err);

#endif
