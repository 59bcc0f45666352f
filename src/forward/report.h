/* ICMP errors about packets that are about to be dropped; each one may stay away (RFC 4443 section 2.4). The packet remains
 * its owner's. */
#ifndef MERIDIAN_FORWARD_REPORT_H
#define MERIDIAN_FORWARD_REPORT_H

#include "forward/core.h"
#include "forward/inner.h"

/* About a packet of the underlay: our loopback tells its source. */
void report_hop_limit(struct forward *, const struct walk *);
void report_too_big(struct forward *, const struct walk *, uint32_t mtu);
void report_no_route(struct forward *, const struct walk *);
/* Parameter problem `code` pointing to offset `at` of the IP packet. */
void report_problem(struct forward *, const struct walk *, unsigned code, uint32_t at);

/* About a packet in a VRF: a gateway address of ours there tells its source. */
void report_inner_hop_limit(struct forward *, const struct inner *);
void report_inner_too_big(struct forward *, const struct inner *, uint32_t mtu);
void report_inner_no_route(struct forward *, const struct inner *);
void report_inner_no_host(struct forward *, const struct inner *);

#endif
