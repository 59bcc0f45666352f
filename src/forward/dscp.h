/* The DSCP of the outer header says the class on core links: EF inference, AF41 parameter, default bulk, CS6 our own control
 * traffic (RFC 4594). */
#ifndef MERIDIAN_FORWARD_DSCP_H
#define MERIDIAN_FORWARD_DSCP_H

#include "lane/queue.h"

enum { DSCP_DEFAULT = 0, DSCP_AF41 = 34, DSCP_EF = 46, DSCP_CS6 = 48 };

static inline uint8_t dscp_of_class(enum lane_class c)
{
    static const uint8_t dscp[LANE_CLASSES] = {DSCP_CS6, DSCP_EF, DSCP_AF41, DSCP_DEFAULT};
    return dscp[c];
}

/* Of a packet on a core link. Other routers' own traffic is CS6 or CS7. */
static inline enum lane_class dscp_core_class(unsigned dscp)
{
    switch (dscp) {
    case DSCP_CS6:
    case DSCP_CS6 + 8:
        return LANE_CONTROL;
    case DSCP_EF:
        return LANE_INFERENCE;
    case DSCP_AF41:
        return LANE_PARAMETER;
    default:
        return LANE_BULK;
    }
}

#endif
