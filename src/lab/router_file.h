/* A router's configuration file (docs/router-config.md) from a scenario's plan: what the simulator fills into its tables is
 * written down here. */
#ifndef MERIDIAN_LAB_ROUTER_FILE_H
#define MERIDIAN_LAB_ROUTER_FILE_H

#include "base/buf.h"
#include "scenario/plan.h"

#define LAB_DEVICE "eth0" /* of every host that has one cable */

struct lab_router_file {
    const struct plan *plan; /* plan_for_lab was done */
    const char *folder;      /* sockets, keys */
    const char *run;         /* namespaces of access ports are RUN-PORT (lab_port_name) */
    const char *const *keys; /* public keys of all routers, hexadecimal; NULL: any neighbour is trusted */
};

/* Appends the file of router `at`. -ENOMEM. */
int lab_router_file(struct buf *to, const struct lab_router_file *f, uint32_t at);

/* Has it VPNs whose keys come by BGP? */
bool lab_router_is_member(const struct plan *p, uint32_t router);

/* What an access port's namespace is called: "ROUTER-PORT", or as the machine that its hosts are part of; and its device
 * there: a machine has several. Of a core port: its link's name. */
void lab_port_name(char ret[72], const struct plan *p, uint32_t router, uint32_t port);
void lab_port_device(char ret[16], const struct plan *p, uint32_t router, uint32_t port);

#endif
