/* A device moves frames in and out for one port: memif, TAP, a network card, or an emulated fibre in front of any of them.
 *
 * All calls but `close` come from the router's worker thread and return without blocking. A frame given to `transmit` and
 * taken stays the core's until `reclaim` returns it (its descriptor is free), in the order taken; a device without
 * `reclaim` is done with it when `transmit` returns. What `transmit` does not take stays the caller's, who offers it again
 * first: nothing is dropped or reordered by a device that is up. */
#ifndef MERIDIAN_ROUTER_DEVICE_H
#define MERIDIAN_ROUTER_DEVICE_H

#include "router/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct device;

struct device_ops {
    /* Frames that came in, at most `most`; ownership goes to the caller. */
    unsigned (*receive)(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now);
    /* How many of them, from the first on, were taken. */
    unsigned (*transmit)(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now);
    /* NULL: done with transmit's return. */
    unsigned (*reclaim)(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now);
    /* Timers; the next deadline. NULL: none. */
    int64_t (*poll)(struct device *d, int64_t now);
    /* Before the worker sleeps: from now on its descriptors (`watch`) tell of frames. True: there are some already. */
    bool (*arm)(struct device *d);
    /* After sleep. NULL: nothing to do. */
    void (*disarm)(struct device *d);
    /* Descriptors that become readable (edge) when there is something: at most `most` into ret. The device counts on being
     * told through device.ready. NULL, or 0: only polling tells. */
    unsigned (*watch)(struct device *d, int *ret, unsigned most);
    /* All that was taken has left us for good. NULL: always so. */
    bool (*settled)(struct device *d);
    void (*close)(struct device *d); /* the worker has stopped; frees d */
};

/* What only the device knows; the core counts frames itself. */
struct device_counters {
    uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes;
    uint64_t rx_no_buffer; /* came in while the pool was empty, or the card ran out of descriptors: lost */
    uint64_t rx_bad;       /* too long, or the peer's ring made no sense: dropped */
    uint64_t tx_refused;   /* times that transmit took less than all */
    uint64_t tx_error;     /* the kernel or card refused the frame for good: dropped */
    uint64_t kernel_rx_dropped, kernel_tx_dropped; /* TAP: what the host's device dropped, seen from us */
};

struct device {
    const struct device_ops *ops;
    struct pool *pool;
    char name[32];
    bool up;       /* carrier */
    bool ready;    /* one of `watch` was readable since receive last found nothing */
    bool polled;   /* receive is cheap: call it always, whatever `ready` says */
    uint16_t port; /* the core's number */
    struct device_counters n;
};

#endif
