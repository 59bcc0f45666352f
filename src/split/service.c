/* The worker's two threads. The I/O thread sleeps in poll(2) over links, watched descriptors and a pipe that wakes it; it
 * reads frames and files requests. The compute thread sleeps until there is work, leaves the lock to compute, and sends
 * the answers itself, so that one decode step costs two wake-ups here and no more. */
#include "service_state.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TICK_NS       NS_PER_S
#define HELLO_WITHIN  (15 * NS_PER_S)
#define FINISH_WITHIN (5 * NS_PER_S)

void service_wake(struct service *s)
{
    (void)!write(s->wake[1], "", 1);
}

void service_work(struct service *s)
{
    pthread_cond_signal(&s->work);
}

void service_begin(struct service *s)
{
    pthread_mutex_unlock(&s->lock);
}

void service_end(struct service *s, int64_t began_ns)
{
    pthread_mutex_lock(&s->lock);
    s->busy_ns += clock_now_ns() - began_ns;
}

/* --- the compute thread ---------------------------------------------------------------------------------------------- */

static bool pool_work(struct service *s)
{
    struct pool *p = s->serving.state == HALF_READY ? s->serving.pool : NULL;
    if (!p || !pool_has_work(p))
        return false;
    uint32_t n = pool_take(p);
    if (!n)
        return true;
    int64_t began = clock_now_ns();
    service_begin(s);
    pool_run(p);
    service_end(s, began);
    s->stats.rows += n;
    pool_give(p);
    return true;
}

static void *compute_main(void *arg)
{
    struct service *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        bool any = pool_work(s);
        any |= train_work(s);
        any |= store_work(s);
        if (any)
            continue;
        if (s->stopping)
            service_wake(s); /* everything that ran is finished */
        pthread_cond_wait(&s->work, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* --- links -------------------------------------------------------------------------------------------------------------- */

int service_add_link(struct service *s, struct link *l, const char *peer)
{
    struct conn *c = conn_create(l, peer, clock_now_ns());
    pthread_mutex_lock(&s->lock);
    if (!c || s->n_conns >= SERVICE_MAX_LINKS || s->stopping) {
        int rc = !c ? -ENOMEM : -EMFILE;
        pthread_mutex_unlock(&s->lock);
        if (c)
            conn_free(c);
        else
            l->ops->free(l);
        return rc;
    }
    c->id = ++s->last_conn;
    c->next = s->conns;
    s->conns = c;
    s->n_conns++;
    service_wake(s);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void conns_tick(struct service *s, int64_t now)
{
    for (struct conn *c = s->conns; c; c = c->next) {
        if (!c->client && !c->closing) {
            conn_read(s, c, now); /* a handshake notices its time limit only when it is asked */
            conn_flush(s, c);
        }
        if (!c->client && !c->closing && now - c->born_ns > HELLO_WITHIN)
            conn_fail(s, c, SPLIT_ERR_MALFORMED, "no HELLO came");
        if (now - c->heard_ns > s->cfg.silence_ns)
            c->dead = true;
    }
}

static void conns_reap(struct service *s, int64_t now)
{
    for (struct conn **at = &s->conns; *at;) {
        struct conn *c = *at;
        if (c->closing && now > c->close_by_ns) /* until then the peer may read why, and leave itself */
            c->dead = true;
        if (!c->dead) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        s->n_conns--;
        service_conn_gone(s, c, now);
        conn_free(c);
    }
}

/* --- the I/O thread -------------------------------------------------------------------------------------------------------- */

static void begin_stop(struct service *s, int64_t now, int64_t *ret_by)
{
    s->stopping = true;
    *ret_by = now + FINISH_WITHIN;
    struct split_header h = {.op = SPLIT_GOAWAY};
    for (struct conn *c = s->conns; c; c = c->next)
        if (c->client && !c->closing)
            conn_send(s, c, &h, NULL);
    service_work(s);
}

/* Nothing runs and nothing waits to be sent. */
static bool quiet(const struct service *s)
{
    if (s->serving.pool && pool_has_work(s->serving.pool))
        return false;
    if (s->training.queue || s->install.verifying)
        return false;
    for (const struct conn *c = s->conns; c; c = c->next)
        if (c->out_sent < c->out.len)
            return false;
    return true;
}

struct polled {
    struct pollfd fds[1 + SERVICE_MAX_WATCHES + SERVICE_MAX_LINKS];
    uint64_t ids[1 + SERVICE_MAX_WATCHES + SERVICE_MAX_LINKS];
    uint32_t n, n_watches;
};

static void poll_fill(struct service *s, struct polled *p)
{
    p->n = p->n_watches = 0;
    p->fds[p->n++] = (struct pollfd){.fd = s->wake[0], .events = POLLIN};
    for (uint32_t i = 0; i < s->n_watches; i++, p->n_watches++)
        p->fds[p->n++] = (struct pollfd){.fd = s->watches[i].fd, .events = POLLIN};
    for (struct conn *c = s->conns; c; c = c->next) {
        short events = c->link->ops->events(c->link, c->out_sent < c->out.len);
        p->ids[p->n] = c->id;
        p->fds[p->n++] = (struct pollfd){.fd = c->link->ops->fd(c->link), .events = events};
    }
}

static void poll_links(struct service *s, const struct polled *p, int64_t now)
{
    for (uint32_t i = 1 + p->n_watches; i < p->n; i++) {
        struct conn *c = s->conns;
        while (c && c->id != p->ids[i])
            c = c->next;
        if (!c || (!p->fds[i].revents && !c->link->ops->pending(c->link)))
            continue;
        conn_read(s, c, now);
        conn_flush(s, c);
    }
}

static void poll_watches(struct service *s, const struct polled *p)
{
    for (uint32_t i = 0; i < p->n_watches; i++) {
        const struct pollfd *f = &p->fds[1 + i];
        for (uint32_t k = 0; f->revents && k < s->n_watches; k++)
            if (s->watches[k].fd == f->fd) {
                s->watches[k].cb(s->watches[k].user, f->fd);
                break;
            }
    }
}

static int poll_timeout(const struct service *s, int64_t now, int64_t tick_ns)
{
    if (!s->conns && !s->clients && !s->stopping)
        return -1;
    int64_t ms = (tick_ns - now) / NS_PER_MS + 1;
    return ms < 0 ? 0 : ms > 1000 ? 1000 : (int)ms;
}

static bool any_pending(const struct service *s)
{
    for (const struct conn *c = s->conns; c; c = c->next)
        if (!c->dead && !c->closing && c->link->ops->pending(c->link))
            return true;
    return false;
}

int service_run(struct service *s, struct error *err)
{
    struct polled p;
    int64_t tick = 0, stop_by = 0;
    int rc = pthread_create(&s->compute, NULL, compute_main, s);
    if (rc)
        return error_set(err, rc, "cannot start a thread: %s", strerror(rc));
    pthread_mutex_lock(&s->lock);
    for (;;) {
        int64_t now = clock_now_ns();
        if (atomic_load(&s->stop) && !s->stopping)
            begin_stop(s, now, &stop_by);
        if (now >= tick) {
            tick = now + TICK_NS;
            conns_tick(s, now);
            service_client_tick(s, now);
        }
        conns_reap(s, now);
        if (s->stopping && (quiet(s) || now > stop_by))
            break;
        poll_fill(s, &p);
        int timeout = any_pending(s) ? 0 : poll_timeout(s, now, tick);
        pthread_mutex_unlock(&s->lock);
        int n = poll(p.fds, p.n, timeout);
        if (n < 0 && errno != EINTR)
            p.n = p.n_watches = 0;
        if (n > 0 && p.fds[0].revents) {
            char bytes[256];
            (void)!read(s->wake[0], bytes, sizeof(bytes));
        }
        if (n > 0)
            poll_watches(s, &p);
        pthread_mutex_lock(&s->lock);
        poll_links(s, &p, clock_now_ns());
    }
    s->quit = true;
    service_work(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->compute, NULL);
    return 0;
}

void service_stop(struct service *s)
{
    int was = errno;
    atomic_store(&s->stop, true);
    service_wake(s);
    errno = was;
}

int service_watch(struct service *s, int fd, void (*cb)(void *user, int fd), void *user)
{
    if (s->n_watches == SERVICE_MAX_WATCHES)
        return -ENOSPC;
    s->watches[s->n_watches++] = (struct watch){fd, cb, user};
    return 0;
}

void service_revoke(struct service *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->revoked, sizeof(s->revoked), "%s", text);
    for (struct conn *c = s->conns; c; c = c->next)
        conn_fail(s, c, SPLIT_ERR_REVOKED, "%s", text);
    service_wake(s);
    pthread_mutex_unlock(&s->lock);
}

void service_stats(struct service *s, struct service_stats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->links = s->n_conns;
    ret->clients = s->n_clients;
    ret->busy_s = (double)s->busy_ns / NS_PER_S;
    pthread_mutex_unlock(&s->lock);
}

static void config_defaults(struct service_config *c)
{
    c->kv_bytes = c->kv_bytes ? c->kv_bytes : 1ull << 30;
    c->max_install = c->max_install ? c->max_install : 1ull << 40;
    c->max_sessions = c->max_sessions ? c->max_sessions : 64;
    c->max_rows = c->max_rows ? c->max_rows : 8192;
    c->codecs = (c->codecs ? c->codecs & 7 : 7) | 1u << SPLIT_F32;
    c->window = c->window ? c->window : 64ull << 20;
    c->window = c->window < 1u << 20 ? 1u << 20 : c->window;
    c->kept = c->kept ? c->kept : 4ull << 20;
    c->grace_ns = c->grace_ns ? c->grace_ns : 120 * NS_PER_S;
    c->silence_ns = c->silence_ns ? c->silence_ns : 30 * NS_PER_S;
}

int service_create(struct service **ret, const struct service_config *cfg, struct error *err)
{
    struct service *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ENOMEM, "out of memory");
    s->cfg = *cfg;
    config_defaults(&s->cfg);
    s->install.fd = -1;
    s->training.queue_last = &s->training.queue;
    s->training.kept_last = &s->training.kept;
    int rc = store_open(&s->store, cfg->store, err);
    if (!rc && getrandom(s->instance, sizeof(s->instance), 0) != sizeof(s->instance))
        rc = error_set(err, EIO, "no random numbers");
    if (!rc && pipe2(s->wake, O_CLOEXEC | O_NONBLOCK))
        rc = error_set(err, errno, "cannot make a pipe: %s", strerror(errno));
    if (rc) {
        free(s);
        return rc;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    *ret = s;
    return 0;
}

void service_free(struct service *s)
{
    if (!s)
        return;
    while (s->clients)
        service_client_free(s, s->clients);
    while (s->conns) {
        struct conn *c = s->conns;
        s->conns = c->next;
        conn_free(c);
    }
    train_done(s);
    pool_free(s->serving.pool);
    if (s->install.fd >= 0)
        close(s->install.fd);
    close(s->wake[0]);
    close(s->wake[1]);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
