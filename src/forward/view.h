/* What a person may see of the tables: copies, taken between batches, a few at a time. */
#ifndef MERIDIAN_FORWARD_VIEW_H
#define MERIDIAN_FORWARD_VIEW_H

#include "forward/neighbour.h"
#include "forward/tables.h"

struct forward_route_view {
    uint32_t vrf;
    struct ip_prefix prefix;
    bool is_sid; /* then `sid`, else `route` */
    struct forward_route route;
    struct forward_sid sid;
    bool ready; /* remote: every class it has a path for has somewhere to go */
};

/* The routes and SIDs of all VRFs in order, from number *cursor on (0 at first), which is moved; 0: that was all. */
unsigned forward_routes_view(struct forward *, uint32_t *cursor, struct forward_route_view *ret, unsigned most);

struct forward_neighbour_view {
    uint16_t port, vlan;
    uint32_t vrf;
    struct ip_addr address;
    uint8_t mac[6];
    uint8_t state;    /* enum neighbour_state */
    uint16_t waiting; /* packets */
};
unsigned forward_neighbours_view(struct forward *, uint32_t *cursor, struct forward_neighbour_view *ret, unsigned most);
const char *neighbour_state_name(unsigned state);

#endif
