/* A scenario's network made of real things: a process for each router, in a namespace of its own; memif sockets between them;
 * for each access port a namespace with the port's TAP in it, where its hosts live. */
#ifndef MERIDIAN_LAB_WORLD_H
#define MERIDIAN_LAB_WORLD_H

#include "lab/journal.h"
#include "lab/ns.h"
#include "lab/process.h"
#include "scenario/plan.h"

struct lab_router {
    struct lab_ns ns;
    struct lab_process process;
    char socket[LAB_PATH_SIZE]; /* its control socket */
    bool killed;                /* by a fault: its end is no surprise */
    char key[72];               /* public, hexadecimal */
};

/* An access port. Those of one machine share its namespace. */
struct lab_place {
    uint32_t router, port;
    struct lab_ns ns;
    char device[16];
};

struct lab_world {
    const struct plan *plan;
    const char *program; /* the meridian program */
    const volatile int *interrupted;
    struct lab_journal *journal;
    struct lab_router *routers;   /* by scenario index */
    struct lab_process reflector; /* pid 0: none */
    struct lab_place *places;
    uint32_t *place_of_host;
    bool *bare; /* by host: the kernel has no address for it (a VLAN where Linux has none): only user-space programs */
    uint32_t n_places;
    pid_t cloud_pid;            /* of the last cloud that was started; 0: none */
    char scenario_folder[4096]; /* where its file lies: $SCENARIO of commands */
};

struct lab_world_options {
    const char *scenario_file;
    const char *program;
    const volatile int *interrupted;
    void (*say)(void *user, const char *line); /* what is being done; NULL: silence */
    void *user;
};

/* Everything up to hosts that reach each other. On failure all is gone again (the folder is kept if `keep`). */
int lab_world_create(
    struct lab_world **ret, const struct plan *p, const struct lab_world_options *o, bool keep, struct error *err);
/* Routers end in order, then everything else goes. NULL is fine. */
void lab_world_free(struct lab_world *w, bool keep);

/* Again after it was killed; does not wait for its lanes. */
int lab_world_start_router(struct lab_world *w, uint32_t router, struct error *err);
/* Its configuration file, from the plan as it is now. */
int lab_world_write_router(struct lab_world *w, uint32_t router, struct error *err);
/* -ECHILD when a router has ended that nobody killed. */
int lab_world_check(struct lab_world *w, struct error *err);

const char *lab_world_ns(const struct lab_world *w, uint32_t host);

#endif
