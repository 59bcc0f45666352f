/* What lanes and links tell: from the worker through a ring to the control thread, which logs and remembers it. */
#include "router/exporter.h"
#include "router/router_bgp.h"

#include "base/log.h"
#include "wire/lane_frame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct {
    const char *name, *says;
    enum log_level level;
} kinds[] = {
    [LANE_EVENT_LINK_UP] = {"link-up", "link is up", LOG_LEVEL_INFO},
    [LANE_EVENT_LINK_DOWN] = {"link-down", "link is down", LOG_LEVEL_WARN},
    [LANE_EVENT_MISCABLED] = {"miscabled", "the neighbour is not the one that should be there", LOG_LEVEL_ERROR},
    [LANE_EVENT_OPEN] = {"lane-open", "lane is open", LOG_LEVEL_INFO},
    [LANE_EVENT_REFUSED] = {"lane-refused", "lane is refused", LOG_LEVEL_WARN},
    [LANE_EVENT_DOWN] = {"lane-down", "lane is down", LOG_LEVEL_WARN},
    [LANE_EVENT_WATCHDOG] = {"lane-stuck", "lane is discarded: its sink takes nothing", LOG_LEVEL_ERROR},
    [LANE_EVENT_RECOVERED] = {"lane-recovered", "lane's sink takes again", LOG_LEVEL_INFO},
    [LANE_EVENT_MOVED] = {"lane-moved", "lane moves", LOG_LEVEL_INFO},
    [LANE_EVENT_MOVE_DONE] = {"lane-move-done", "lane's old path has ended", LOG_LEVEL_INFO},
    [LANE_EVENT_MOVE_REVERTED] = {"lane-move-reverted", "lane's move was reverted", LOG_LEVEL_WARN},
    [LANE_EVENT_LEAVING] = {"lane-leaving", "a router on the lane's path is going to end", LOG_LEVEL_INFO},
    [LANE_EVENT_VERSION] = {"lane-version", "the neighbour speaks another version of lane frames", LOG_LEVEL_ERROR},
};

const char *router_event_name(enum lane_event_kind k)
{
    return (unsigned)k < sizeof(kinds) / sizeof(*kinds) && kinds[k].name ? kinds[k].name : "unknown";
}

void router_event(void *router, const struct lane_event *e)
{
    struct router_events *q = &((struct router *)router)->events;
    uint64_t one = 1;
    if (q->written - __atomic_load_n(&q->read, __ATOMIC_ACQUIRE) == ROUTER_EVENTS) {
        __atomic_store_n(&q->lost, q->lost + 1, __ATOMIC_RELAXED);
        return;
    }
    q->ring[q->written % ROUTER_EVENTS] = *e;
    __atomic_store_n(&q->written, q->written + 1, __ATOMIC_RELEASE);
    ssize_t n = write(q->wake, &one, sizeof(one));
    (void)n;
}

static void tell(struct router *r, const struct lane_event *e)
{
    char lane[48] = "", peer[48] = "", detail[24] = "";
    const char *port = e->port < r->config.n_ports ? r->config.ports[e->port].name : "?";
    if (e->kind == LANE_EVENT_VERSION) {
        log_write(LOG_LEVEL_ERROR,
            "port %s: the neighbour speaks version %u of lane frames and this router version %u: no link until both "
            "run the "
            "same release of Meridian",
            port, e->detail, LANE_FRAME_VERSION);
        return;
    }
    if (e->lane)
        snprintf(lane, sizeof(lane), " (lane %" PRIu64 ":%" PRIu64 ")", e->lane >> 32, e->lane & UINT32_MAX);
    if (e->peer)
        snprintf(peer, sizeof(peer), ", router %" PRIu64, e->peer);
    if (e->detail)
        snprintf(detail, sizeof(detail), ", %u", e->detail);
    if ((unsigned)e->kind < sizeof(kinds) / sizeof(*kinds))
        log_write(kinds[e->kind].level, "port %s: %s%s%s%s", port, kinds[e->kind].says, lane, peer, detail);
}

static void ready(struct reactor_watch *w, uint32_t events)
{
    struct router *r = w->user;
    struct router_events *q = &r->events;
    uint64_t count;
    ssize_t n = read(w->fd, &count, sizeof(count));
    (void)n;
    uint64_t written = __atomic_load_n(&q->written, __ATOMIC_ACQUIRE);
    while (q->read != written) {
        struct lane_event e = q->ring[q->read % ROUTER_EVENTS];
        __atomic_store_n(&q->read, q->read + 1, __ATOMIC_RELEASE);
        q->kept[q->n_kept++ % ROUTER_EVENTS] = e;
        tell(r, &e);
        exporter_event(r->exporter, &e);
        router_bgp_event(r->bgp, &e);
    }
    exporter_flush(r->exporter);
}

int router_events_open(struct router *r, struct error *err)
{
    r->events.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->events.watch = (struct reactor_watch){.fd = r->events.wake, .ready = ready, .user = r};
    if (r->events.wake < 0 || reactor_add(&r->reactor, &r->events.watch, EPOLLIN))
        return error_set(err, errno, "no descriptor for events: %s", strerror(errno));
    return 0;
}

void router_events_close(struct router *r)
{
    if (r->events.wake < 0)
        return;
    reactor_remove(&r->reactor, &r->events.watch);
    close(r->events.wake);
    r->events.wake = -1;
}
