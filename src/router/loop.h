/* The worker: one thread that moves frames between devices and the forwarding core, and sleeps when there is nothing to do.
 *
 *   receive bursts → forward_receive; forward_transmit → transmit → forward_sent; forward_poll at its deadlines
 *
 * What a device does not take waits here, at most a burst a port, and is offered again first. While frames come the worker
 * spins; a little after the last one it asks the devices to tell (eventfds, TAPs) and sleeps until they do or a timer is
 * due. Devices that cannot tell (network cards) are looked at in growing naps of at most 50 µs.
 *
 * Everything else reaches the core through loop_call: a function run on the worker between two batches. */
#ifndef MERIDIAN_ROUTER_LOOP_H
#define MERIDIAN_ROUTER_LOOP_H

#include "base/error.h"
#include "forward/forward.h"
#include "router/device.h"
#include "telemetry/quantile.h"

#include <stdint.h>

#define LOOP_BURST 64

struct loop;

/* Sees every frame of a port on its way in or out (packet capture). */
struct loop_tap {
    void (*frames)(void *user, uint16_t port, bool out, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
    void *user;
};

struct loop_config {
    struct forward *forward;
    struct pool *pool;
    int64_t spin_ns; /* how long it goes on looking after the last frame before it sleeps; 0: 10 µs */
    int core;        /* pinned to it; -1: where the scheduler likes */
    int nice;        /* of the worker; where it may not have it, it stays as it is */
    /* A descriptor that the worker reads itself between batches (the punt TUN); -1: none. */
    int extra_fd;
    bool (*extra)(void *user, int64_t now); /* it is readable: read a burst of it; true: there may be more */
    void *extra_user;
    /* After each batch that was received, outside of the core's own calls: what its callbacks put off. NULL: nothing. */
    void (*after)(void *user, int64_t now);
    void *after_user;
};

/* What the worker did since it started. Read with loop_call. */
struct loop_counters {
    uint64_t rounds, busy_rounds, sleeps, naps;
    int64_t busy_ns;      /* in rounds that found something to do */
    struct quantile late; /* how much later than its deadline it woke: the scheduler's gaps */
};

struct loop_port_counters {
    uint64_t down_frames; /* left the core while the link was down: lost, recorded */
    uint32_t waiting;     /* frames that the device has not taken yet */
};

int loop_create(struct loop **ret, const struct loop_config *cfg, struct error *err);
int loop_watch_extra(struct loop *l, int fd); /* one more for `extra` to read; before loop_start. -errno */
/* Before loop_start, or through loop_call. The loop does not own it. */
void loop_device_set(struct loop *l, uint16_t port, struct device *d);
struct device *loop_device(struct loop *l, uint16_t port);
/* The descriptors of a device have changed (memif came or is about to go). On the worker. */
void loop_watch(struct loop *l, uint16_t port);
void loop_unwatch(struct loop *l, uint16_t port);
void loop_tap_set(struct loop *l, uint16_t port, const struct loop_tap *tap); /* NULL: none. On the worker */

int loop_start(struct loop *l, struct error *err);
/* Runs fn(user, now) on the worker and waits for it. From any other thread; before loop_start and after loop_stop here. */
void loop_call(struct loop *l, void (*fn)(void *user, int64_t now), void *user);
/* Nothing more is taken from this device: what comes waits in it. On the worker. */
void loop_deaf(struct loop *l, uint16_t port, bool deaf);
/* All frames that the core gave have left for good. On the worker. */
bool loop_settled(struct loop *l);
const struct loop_counters *loop_counters(struct loop *l);                              /* on the worker */
void loop_port_counters(struct loop *l, uint16_t port, struct loop_port_counters *ret); /* on the worker */
void loop_stop(struct loop *l);                                                         /* joins the thread */
void loop_free(struct loop *l);                                                         /* NULL allowed */

#endif
