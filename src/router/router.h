/* The router daemon: opens what its configuration names, gives up its rights, and runs until told to stop. */
#ifndef MERIDIAN_ROUTER_ROUTER_H
#define MERIDIAN_ROUTER_ROUTER_H

#include "base/error.h"
#include "router/router_config.h"

#include <stdint.h>

struct router;

struct router_options {
    const char *path; /* of the configuration, for reload */
    int64_t drain_ns; /* how long an orderly stop may take */
    bool keep_rights; /* tests under sanitizers, whose runtime needs more system calls */
};

/* Takes over *cfg, also on failure. */
int router_start(
    struct router **ret, struct router_config *cfg, const struct router_options *options, struct error *err);
/* Until *stop is not 0 (then it drains) or something that cannot be mended happens. *reload: set by a signal, cleared here. */
int router_run(struct router *r, const volatile int *stop, volatile int *reload, struct error *err);
void router_free(struct router *r); /* NULL allowed */

#endif
