/* GTSM (RFC 5082) from the first packet on. IPV6_MINHOPCOUNT and IP_MINTTL can be set only on a connection that was accepted;
 * by then an OPEN from anywhere may wait in it. So the listening socket gets a packet filter: from the peers given, what does
 * not come with a hop limit of 255 is thrown away, SYNs too. Connections that are accepted inherit it. */
#ifndef MERIDIAN_PEERING_GTSM_H
#define MERIDIAN_PEERING_GTSM_H

#include "base/error.h"
#include "wire/ip.h"

#define PEERING_GTSM_MOST 370u /* peers: a filter has at most 4096 instructions */

/* n 0: everybody is heard. -E2BIG, -ENOMEM or the kernel's reason, with a sentence. */
/* Of a socket at a link-local address: nobody else than a neighbour can have sent what comes with 255. Once, when it is opened:
 * some kernels take filters from privileged processes only. */
int peering_gtsm_link(int listening, struct error *err);
int peering_gtsm_filter(int listening, const struct ip_addr *peers, unsigned n, struct error *err);

#endif
