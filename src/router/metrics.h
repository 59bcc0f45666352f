/* `/metrics` of a router, in Prometheus' text format, over src/http. On the server's threads: what it reads it copies from the
 * worker, or takes under router.config_lock. */
#ifndef MERIDIAN_ROUTER_METRICS_H
#define MERIDIAN_ROUTER_METRICS_H

#include "base/buf.h"
#include "router/router_inner.h"

struct http_server;

int router_metrics_start(struct http_server **ret, struct router *r, struct error *err);
int router_metrics_write(struct router *r, struct buf *to); /* 0 or -ENOMEM */

#endif
