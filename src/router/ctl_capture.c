/* `capture`: after its line the answer is pcapng, until the client sends no more (then the statistics follow and the line is
 * closed), leaves, or as many frames as it wanted were captured. */
#include "router/ctl.h"

#include "base/clock.h"
#include "wire/pcapng.h"

#include <stdlib.h>

#define LOOK_NS (20 * NS_PER_MS)
#define CHUNK   (1u << 20)

struct work {
    struct router_port *port;
    uint64_t most;
};

static void set_tap(void *user, int64_t now)
{
    struct router_port *p = user;
    loop_tap_set(p->router->loop, p->index, &(struct loop_tap){capture_frames, p->capture});
}

static void clear_tap(void *user, int64_t now)
{
    struct router_port *p = user;
    loop_tap_set(p->router->loop, p->index, NULL);
}

static void end_work(struct ctl_conn *k)
{
    struct work *w = k->work;
    loop_call(k->router->loop, clear_tap, w->port);
    capture_free(w->port->capture);
    w->port->capture = NULL;
    free(w);
}

static void tick(struct reactor_timer *t, int64_t now)
{
    struct ctl_conn *k = t->user;
    struct work *w = k->work;
    uint64_t captured, dropped;
    bool end = k->half;
    capture_counts(w->port->capture, &captured, &dropped);
    end |= w->most && captured >= w->most;
    /* A client that reads slowly fills the ring, where what comes too much is counted; not our memory. */
    if (k->out.len < CHUNK && capture_take(w->port->capture, &k->out, CHUNK))
        k->closing = true;
    if (end && !k->closing) {
        pcapng_end(&k->out, now + k->router->wall_minus_now, captured + dropped, dropped);
        k->closing = true;
        k->half = true;
        ctl_flush(k);
        ctl_work_done(k);
        return;
    }
    ctl_flush(k);
    if (!k->closing)
        reactor_timer_set(&k->router->reactor, t, now + LOOK_NS);
}

void ctl_capture(struct ctl_conn *k, yyjson_val *rq)
{
    unsigned port;
    double snap, count;
    yyjson_mut_val *o;
    if (!ctl_port(k, rq, &port) || !ctl_number(k, rq, "snap", 14, 65535, 65535, &snap) ||
        !ctl_number(k, rq, "count", 0, 1e12, 0, &count))
        return;
    struct router_port *p = &k->router->ports[port];
    if (p->capture)
        return ctl_fail(k, "port \"%s\" is being captured already", k->router->config.ports[port].name);
    struct work *w = calloc(1, sizeof(*w));
    if (!w || capture_create(&p->capture, (uint32_t)snap, (uint64_t)count, k->router->wall_minus_now)) {
        free(w);
        return ctl_fail(k, "no memory");
    }
    *w = (struct work){p, (uint64_t)count};
    k->work = w;
    k->end_work = end_work;
    k->busy = true;
    loop_call(k->router->loop, set_tap, p);
    yyjson_mut_doc *doc = ctl_answer(&o);
    if (doc)
        ctl_send(k, doc);
    if (pcapng_start(&k->out, k->router->config.ports[port].name, "meridian router", (uint32_t)snap))
        k->closing = true;
    ctl_flush(k);
    k->timer.due = tick;
    reactor_timer_set(&k->router->reactor, &k->timer, 0);
}
