/* How the kernel would reach an address from this namespace: through which interface, from which address, by whom. */
#ifndef MERIDIAN_ROCE_ROUTE_H
#define MERIDIAN_ROCE_ROUTE_H

#include "base/error.h"
#include "wire/ip.h"

#include <net/if.h>

struct roce_route {
    char interface[IF_NAMESIZE];
    struct ip_addr source;   /* our address */
    struct ip_addr next_hop; /* the gateway, or the address itself */
};

/* -ENETUNREACH when there is none. */
int roce_route_find(struct roce_route *ret, const struct ip_addr *to, struct error *err);

/* The first address of this family on an interface (not link-local); family 0 in *ret when there is none. */
void roce_route_address(struct ip_addr *ret, const char *interface, uint8_t family);
/* The only interface that is up and not the loopback; -ENODEV when there is none or a choice. */
int roce_route_interface(char ret[IF_NAMESIZE], struct error *err);

#endif
