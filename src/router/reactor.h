/* The control thread's event loop: descriptors and timers, level-triggered, one thread. */
#ifndef MERIDIAN_ROUTER_REACTOR_H
#define MERIDIAN_ROUTER_REACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct reactor_watch {
    int fd;
    void (*ready)(struct reactor_watch *w, uint32_t events); /* may remove any watch, also w */
    void *user;
};

struct reactor_timer {
    int64_t at_ns;
    void (*due)(struct reactor_timer *t, int64_t now); /* may set any timer, also t */
    void *user;
    struct reactor_timer *next;
    bool set;
};

#define REACTOR_EVENTS 32

struct reactor {
    int epoll;
    struct reactor_timer *timers; /* by time */
    struct epoll_event events[REACTOR_EVENTS];
    int n, at; /* those of the current round, and how far it is */
};

int reactor_init(struct reactor *r);
void reactor_done(struct reactor *r);
int reactor_add(struct reactor *r, struct reactor_watch *w, uint32_t events); /* EPOLLIN, EPOLLOUT; -errno */
int reactor_change(struct reactor *r, struct reactor_watch *w, uint32_t events);
void reactor_remove(struct reactor *r, struct reactor_watch *w);                   /* before its fd is closed */
void reactor_timer_set(struct reactor *r, struct reactor_timer *t, int64_t at_ns); /* moves it if set */
void reactor_timer_clear(struct reactor *r, struct reactor_timer *t);
/* One round: waits for something to happen, at most until `until_ns`. */
void reactor_run(struct reactor *r, int64_t until_ns);

#endif
