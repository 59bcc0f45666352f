/* Events carry an id, not a pointer: between epoll_wait and the lock a call may have ended, and its id is then simply
 * not in the list any more. The list is as long as there are requests in the making, so a walk is cheap. */
#include "http/http_watch.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define KEEP_ALIVE_IDLE_NS (15 * NS_PER_S)
#define TICK_MS            5000

struct http_watch {
    pthread_mutex_t lock;
    pthread_cond_t empty;
    pthread_t thread;
    int epoll, stop;
    uint64_t last_id;
    struct http_watched *list;
};

static void tell_gone(struct http_watch *w, uint64_t id)
{
    struct http_answer *a = NULL;
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *i = w->list; i && !a; i = i->next)
        if (i->id == id)
            a = http_answer_ref(i->answer);
    pthread_mutex_unlock(&w->lock);
    if (a)
        http_answer_gone(a);
    http_answer_unref(a);
}

static int tick_ms(struct http_watch *w)
{
    int64_t now = clock_now_ns();
    pthread_mutex_lock(&w->lock);
    for (struct http_watched *i = w->list; i; i = i->next)
        http_answer_keep_alive(i->answer, now, KEEP_ALIVE_IDLE_NS);
    int ms = w->list ? TICK_MS : -1;
    pthread_mutex_unlock(&w->lock);
    return ms;
}

static void *watch_main(void *arg)
{
    struct http_watch *w = arg;
    struct epoll_event ev[32];
    for (;;) {
        int n = epoll_wait(w->epoll, ev, 32, tick_ms(w));
        for (int i = 0; i < n; i++) {
            if (!ev[i].data.u64) {
                eventfd_t count;
                eventfd_read(w->stop, &count);
                if (count >= 1ull << 32)
                    return NULL;
            } else {
                tell_gone(w, ev[i].data.u64);
            }
        }
    }
}

int http_watch_create(struct http_watch **ret, struct error *err)
{
    struct http_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return error_set(err, ENOMEM, "no memory");
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->empty, &attr);
    pthread_condattr_destroy(&attr);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};
    int rc = 0;
    if (w->epoll < 0 || w->stop < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->stop, &ev))
        rc = error_set(err, errno, "cannot watch connections: %s", strerror(errno));
    else if ((rc = -pthread_create(&w->thread, NULL, watch_main, w)))
        rc = error_set(err, -rc, "cannot start a thread: %s", strerror(-rc));
    if (!rc) {
        *ret = w;
        return 0;
    }
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->stop >= 0)
        close(w->stop);
    pthread_cond_destroy(&w->empty);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return rc;
}

void http_watch_free(struct http_watch *w)
{
    if (!w)
        return;
    eventfd_write(w->stop, 1ull << 32);
    pthread_join(w->thread, NULL);
    close(w->epoll);
    close(w->stop);
    pthread_cond_destroy(&w->empty);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void http_watch_add(struct http_watch *w, struct http_watched *it, struct http_answer *a)
{
    pthread_mutex_lock(&w->lock);
    *it = (struct http_watched){.next = w->list, .answer = a, .id = ++w->last_id, .fd = -1};
    if (w->list)
        w->list->prev = it;
    else
        eventfd_write(w->stop, 1); /* the thread may sleep without a timeout */
    w->list = it;
    pthread_mutex_unlock(&w->lock);
}

void http_watch_hangup(struct http_watch *w, struct http_watched *it, int fd)
{
    if (it->fd >= 0)
        return;
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = it->id};
    if (!epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev))
        it->fd = fd;
}

void http_watch_remove(struct http_watch *w, struct http_watched *it)
{
    if (it->fd >= 0)
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, it->fd, NULL);
    pthread_mutex_lock(&w->lock);
    if (it->next)
        it->next->prev = it->prev;
    if (it->prev)
        it->prev->next = it->next;
    else
        w->list = it->next;
    if (!w->list)
        pthread_cond_broadcast(&w->empty);
    pthread_mutex_unlock(&w->lock);
}

/* Hooks run outside the lock, so one at a time is taken; those already gone are passed over. */
void http_watch_give_up(struct http_watch *w)
{
    uint64_t below = UINT64_MAX; /* ids fall along the list */
    for (;;) {
        struct http_answer *a = NULL;
        pthread_mutex_lock(&w->lock);
        for (struct http_watched *i = w->list; i && !a; i = i->next)
            if (i->id < below) {
                below = i->id;
                a = http_answer_ref(i->answer);
            }
        pthread_mutex_unlock(&w->lock);
        if (!a)
            return;
        http_answer_gone(a);
        http_answer_unref(a);
    }
}

int http_watch_wait_empty(struct http_watch *w, int64_t wait_ns)
{
    int64_t until = clock_now_ns() + wait_ns;
    struct timespec ts = {until / NS_PER_S, until % NS_PER_S};
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    while (w->list && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&w->empty, &w->lock, &ts);
    rc = w->list ? -ETIMEDOUT : 0;
    pthread_mutex_unlock(&w->lock);
    return rc;
}
