/* Which of a route's paths is best: RFC 4271 9.1.2.2, its steps in the RFC's order, with RFC 4456 9's two additions. */
#ifndef MERIDIAN_BGP_BEST_H
#define MERIDIAN_BGP_BEST_H

#include "bgp/rib.h"

/* NULL: none can be used. The same answer whatever the order of the list. */
struct bgp_path *bgp_best(struct bgp_path *paths, const struct bgp_rib_above *a);

#endif
