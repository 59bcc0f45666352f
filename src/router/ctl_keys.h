/* `router ctl show keys`: this router as a member of xSEC, then the other members of its VPNs. */
#ifndef MERIDIAN_ROUTER_CTL_KEYS_H
#define MERIDIAN_ROUTER_CTL_KEYS_H

#include <yyjson.h>

struct router;

void ctl_keys_show(
    const struct router *r, yyjson_mut_doc *doc, yyjson_mut_val *list); /* nothing where there is no xSEC */

#endif
