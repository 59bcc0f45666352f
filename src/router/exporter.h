/* IPFIX to collectors over TCP: a line to each, made again with growing waits, and a bounded buffer. What finds no room, or no
 * line, is dropped and counted: counters are totals, so a collector that comes back misses no count. On the control thread. */
#ifndef MERIDIAN_ROUTER_EXPORTER_H
#define MERIDIAN_ROUTER_EXPORTER_H

#include "router/router_inner.h"

int exporter_open(struct exporter **ret, struct router *r, struct error *err);
void exporter_close(struct exporter *x); /* NULL allowed */

/* All take NULL: nothing. */
void exporter_flow(struct exporter *x, const struct elephant_report *e);
void exporter_loss(struct exporter *x, const struct loss_record *l);
void exporter_marking(struct exporter *x, const struct marking_record *m);
void exporter_event(struct exporter *x, const struct lane_event *e);
/* Once in a while: counters of ports, lanes and losses. */
void exporter_counters(struct exporter *x, const struct ports_view *ports);
void exporter_flush(struct exporter *x); /* sends what has gathered */

struct exporter_view {
    struct ip_addr address;
    uint16_t port;
    bool up;
    uint64_t records, dropped, bytes, connects;
    uint32_t waiting; /* bytes */
};
unsigned exporter_view(const struct exporter *x, struct exporter_view *ret, unsigned most);

#endif
