#include "router/reactor.h"

#include "base/clock.h"

#include <errno.h>
#include <unistd.h>

int reactor_init(struct reactor *r)
{
    *r = (struct reactor){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    return r->epoll < 0 ? -errno : 0;
}

void reactor_done(struct reactor *r)
{
    if (r->epoll >= 0)
        close(r->epoll);
    r->epoll = -1;
}

int reactor_add(struct reactor *r, struct reactor_watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, w->fd, &e) ? -errno : 0;
}

int reactor_change(struct reactor *r, struct reactor_watch *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    return epoll_ctl(r->epoll, EPOLL_CTL_MOD, w->fd, &e) ? -errno : 0;
}

void reactor_remove(struct reactor *r, struct reactor_watch *w)
{
    epoll_ctl(r->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    for (int i = r->at; i < r->n; i++)
        if (r->events[i].data.ptr == w)
            r->events[i].data.ptr = NULL;
}

void reactor_timer_clear(struct reactor *r, struct reactor_timer *t)
{
    for (struct reactor_timer **p = &r->timers; t->set && *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->set = false;
}

void reactor_timer_set(struct reactor *r, struct reactor_timer *t, int64_t at_ns)
{
    reactor_timer_clear(r, t);
    struct reactor_timer **p = &r->timers;
    while (*p && (*p)->at_ns <= at_ns)
        p = &(*p)->next;
    t->at_ns = at_ns;
    t->next = *p;
    t->set = true;
    *p = t;
}

static void run_timers(struct reactor *r)
{
    int64_t now = clock_now_ns();
    while (r->timers && r->timers->at_ns <= now) {
        struct reactor_timer *t = r->timers;
        r->timers = t->next;
        t->set = false;
        t->due(t, now);
    }
}

void reactor_run(struct reactor *r, int64_t until_ns)
{
    if (r->timers && r->timers->at_ns < until_ns)
        until_ns = r->timers->at_ns;
    int64_t wait = until_ns - clock_now_ns();
    int ms = wait <= 0 ? 0 : wait > 60 * NS_PER_S ? 60000 : (int)((wait + NS_PER_MS - 1) / NS_PER_MS);
    r->n = epoll_wait(r->epoll, r->events, REACTOR_EVENTS, ms);
    for (r->at = 0; r->at < r->n;) {
        struct epoll_event *e = &r->events[r->at++];
        struct reactor_watch *w = e->data.ptr;
        if (w)
            w->ready(w, e->events);
    }
    r->n = r->at = 0;
    run_timers(r);
}
