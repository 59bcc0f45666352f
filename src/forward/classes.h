/* Which class of lanes a host's packet belongs to, by its DSCP (RFC 2474, 4594, 5865).
 *
 * The default: EF, CS5 and VOICE-ADMIT carry inference; AF3x, AF4x, CS3 and CS4 carry parameters; all else is bulk, also CS6
 * and CS7, which a tenant may set but not use. LANE_CONTROL is the network's own and never granted to a host. */
#ifndef MERIDIAN_FORWARD_CLASSES_H
#define MERIDIAN_FORWARD_CLASSES_H

#include "base/error.h"
#include "lane/queue.h"

#include <stdint.h>

#define DSCP_COUNT 64u

/* The map of an access sub-interface from what was configured (forward_access.class_of_dscp): all zero gives the default,
 * else the 64 classes as they are. -EINVAL: a class that is none, or LANE_CONTROL among others that are set. */
int classes_plan(uint8_t ret[DSCP_COUNT], const uint8_t configured[DSCP_COUNT], struct error *err);

/* "control", "inference", "parameter", "bulk"; "unknown". */
const char *class_name(enum lane_class c);
/* The class of that name, or -EINVAL. */
int class_parse(enum lane_class *ret, const char *name, struct error *err);

#endif
