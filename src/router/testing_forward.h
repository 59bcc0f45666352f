/* A forwarding core for tests of the worker: a patch panel. What comes in at port i leaves at port i ^ 1, in order. */
#ifndef MERIDIAN_ROUTER_TESTING_FORWARD_H
#define MERIDIAN_ROUTER_TESTING_FORWARD_H

#include "forward/forward.h"

struct forward {
    struct {
        struct rte_mbuf *head, *tail;
        uint32_t n;
        uint64_t in, out, sent;
    } port[4];
    unsigned polls, link_downs;
    int64_t poll_every_ns;
    struct loss_log loss;
    void (*free)(struct rte_mbuf *m);
};

#endif
