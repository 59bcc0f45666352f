/* Inside the router daemon. One thread runs the worker (loop.h) and owns the core, the devices' frames, the punt and the
 * probes; the control thread, which is main's, has everything else and reaches those through loop_call.
 *
 *   router.c          start, stop, reload          router_ports.c    devices of ports
 *   router_events.c   what lanes tell: log, ring   router_collect.c  counters, flows, losses, once in a while
 *   router_drain.c    an orderly end               ctl*.c            the control socket
 *   router_customers.c  customers' routers
 *   router_bgp*.c     BGP                          router_changes.c  what follows from it, to the worker
 *   router_keys.c     xSEC */
#ifndef MERIDIAN_ROUTER_ROUTER_INNER_H
#define MERIDIAN_ROUTER_ROUTER_INNER_H

#include "router/capture.h"
#include "router/device_fibre.h"
#include "router/loop.h"
#include "router/memif.h"
#include "router/probe.h"
#include "router/punt.h"
#include "router/reactor.h"
#include "router/router.h"
#include "router/router_collect.h"

#include <pthread.h>

struct ctl;
struct http_server;
struct exporter;
struct router_bgp;
struct router_keys;

#define ROUTER_CUSTOMERS 64u /* VRFs with customers' routers */

struct router_customers {
    uint32_t vrf;
    char device[16];
    struct punt punt;
};

#define ROUTER_EVENTS 256u /* of the ring between worker and control thread, and of what `show events` remembers */

struct router_port {
    struct router *router;
    uint16_t index;
    struct device *device, *inner; /* outer one, and the one behind its fibre (or itself) */
    struct memif *memif;           /* NULL: none */
    uint8_t mac[6];
    struct capture *capture;   /* NULL: none */
    struct fibre_config fibre; /* as it is now */
};

struct router_events {
    struct lane_event ring[ROUTER_EVENTS];
    uint64_t written, read; /* atomic: the worker writes the one, the control thread the other */
    uint64_t lost;
    int wake; /* eventfd */
    struct reactor_watch watch;
    struct lane_event kept[ROUTER_EVENTS]; /* the last ones */
    uint64_t n_kept;
};

/* Echo requests to addresses of ours, to be answered after the batch: the core cannot be entered from its callback. */
#define ROUTER_ECHOES 64u

struct router_echoes {
    struct {
        struct rte_mbuf *m;
        uint32_t vrf;
    } waiting[ROUTER_ECHOES];
    unsigned n;
    uint64_t answered, dropped; /* dropped: more than fit in a batch, or no echo requests */
};

struct router {
    struct router_config config;
    struct router_options options;
    uint8_t seed[32], public[32];
    int64_t started_ns, wall_minus_now;
    bool huge, unverified;
    struct pool pool;
    struct forward *forward;
    struct loop *loop;
    struct reactor reactor;
    struct router_port ports[LANE_PORTS_MOST];
    struct punt punt;
    struct probe_set probes;
    struct router_echoes echoes;
    struct router_events events;
    struct collect collect;
    struct ctl *control;
    struct http_server *metrics;
    struct exporter *exporter;
    struct router_bgp *bgp;   /* NULL: none */
    struct router_keys *keys; /* NULL: none */
    struct router_customers customers[ROUTER_CUSTOMERS];
    unsigned n_customers;
    pthread_mutex_t config_lock; /* around the change of `config` by a reload, for those who read it on other threads */
    bool draining;
    int64_t drain_until;
    uid_t uid;
    gid_t gid;
};

/* router_ports.c */
int router_ports_open(struct router *r, struct error *err);
void router_ports_close(struct router *r);
void router_ports_look(struct router *r); /* now and then: a memif whose ring makes no sense is connected anew */

/* router.c */
int router_reload(struct router *r, struct error *err);

/* router_drain.c: on the control thread. Starts it, or does nothing when it is under way. */
void router_drain(struct router *r);
bool router_drained(struct router *r, int64_t now); /* also when its time is up */

/* router_events.c */
int router_events_open(struct router *r, struct error *err);
void router_events_close(struct router *r);
const char *router_event_name(enum lane_event_kind k);
void router_event(void *router, const struct lane_event *e); /* on the worker */

#endif
