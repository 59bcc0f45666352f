#include "router/loop.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "router/device_fibre.h"
#include "router/eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS     (5 * NS_PER_US)  /* how often epoll is asked while frames come */
#define NAP_MOST_NS (50 * NS_PER_US) /* of a device that cannot tell */
#define FULL_NAP_NS (10 * NS_PER_US) /* while a device is full */
#define SLEEP_MOST  (100 * NS_PER_MS)

enum { WATCH_MAILBOX = PORT_MOST, WATCH_EXTRA };

struct loop_port {
    struct device *device;
    struct rte_mbuf *waiting[LOOP_BURST]; /* the core gave them, the device has not taken them */
    unsigned first, n;
    struct loop_tap tap;
    struct loop_port_counters c;
    bool was_up, deaf;
    uint64_t no_buffer_seen;
    int fds[2];
    unsigned n_fds;
};

struct loop {
    struct loop_config cfg;
    struct loop_port ports[PORT_MOST];
    unsigned n_ports; /* one above the highest in use */
    bool emulates;    /* a fibre: frames must not seem to be sent before they came */
    int epoll, wake;
    bool extra_ready;
    int64_t poll_at, looked_at, worked_at;
    struct loop_counters c;

    pthread_t thread;
    bool running, ending;
    pthread_mutex_t lock; /* one caller at a time */
    pthread_mutex_t slot_lock;
    pthread_cond_t slot_done;
    void (*fn)(void *, int64_t); /* atomic: what the worker is asked to run; NULL: nothing */
    void *fn_user;
};

/* --- devices ----------------------------------------------------------------------------------------------- */

void loop_watch(struct loop *l, uint16_t port)
{
    struct loop_port *p = &l->ports[port];
    loop_unwatch(l, port);
    if (!p->device->ops->watch)
        return;
    p->n_fds = p->device->ops->watch(p->device, p->fds, 2);
    for (unsigned i = 0; i < p->n_fds; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = port};
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, p->fds[i], &e);
    }
    p->device->ready = true;
}

void loop_unwatch(struct loop *l, uint16_t port)
{
    struct loop_port *p = &l->ports[port];
    for (unsigned i = 0; i < p->n_fds; i++)
        epoll_ctl(l->epoll, EPOLL_CTL_DEL, p->fds[i], NULL);
    p->n_fds = 0;
}

void loop_device_set(struct loop *l, uint16_t port, struct device *d)
{
    loop_unwatch(l, port);
    l->ports[port].device = d;
    if (!d)
        return;
    l->emulates |= device_is_fibre(d);
    d->port = port;
    if (port >= l->n_ports)
        l->n_ports = port + 1u;
    loop_watch(l, port);
}

struct device *loop_device(struct loop *l, uint16_t port)
{
    return port < PORT_MOST ? l->ports[port].device : NULL;
}

void loop_tap_set(struct loop *l, uint16_t port, const struct loop_tap *tap)
{
    l->ports[port].tap = tap ? *tap : (struct loop_tap){0};
}

static void record_lost(struct loop *l, uint16_t port, int reason, uint32_t packets, int64_t now)
{
    loss_record(forward_loss(l->cfg.forward),
        &(struct loss_record){.at_ns = now, .packets = packets, .port = port, .reason = (uint8_t)reason});
}

/* --- sending ----------------------------------------------------------------------------------------------- */

static bool is_lane_frame(struct rte_mbuf *m)
{
    return m->data_len >= ETHER_SIZE && bytes_get_be16(packet_at(m, ETHER_TYPE)) == ETHER_LANE;
}

/* The link is down: what the core had given for it is lost, and each packet recorded. */
static void lose(struct loop *l, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    for (unsigned i = 0; i < n; i++) {
        const struct packet_meta *meta = packet_meta(pkts[i]);
        if (is_lane_frame(pkts[i]))
            continue;
        l->ports[port].c.down_frames++;
        loss_record(forward_loss(l->cfg.forward), &(struct loss_record){.at_ns = now,
                                                      .flow = meta->flow,
                                                      .tenant = meta->tenant,
                                                      .cells = packet_cells(pkts[i]->pkt_len),
                                                      .packets = 1,
                                                      .port = port,
                                                      .reason = LOSS_LINK_DOWN,
                                                      .class_ = meta->class_});
    }
    forward_sent(l->cfg.forward, port, pkts, n, now);
}

static void reclaim(struct loop *l, uint16_t port, int64_t now)
{
    struct device *d = l->ports[port].device;
    struct rte_mbuf *done[LOOP_BURST];
    unsigned n;
    while (d->ops->reclaim && (n = d->ops->reclaim(d, done, LOOP_BURST, now)) > 0)
        forward_sent(l->cfg.forward, port, done, n, now);
}

/* How many of them the device took; those are sent as far as the core is concerned, unless it will reclaim them. */
static unsigned offer(struct loop *l, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct loop_port *p = &l->ports[port];
    unsigned taken = p->device->ops->transmit(p->device, pkts, n, now);
    if (p->tap.frames && taken)
        p->tap.frames(p->tap.user, port, true, pkts, taken, now);
    if (!p->device->ops->reclaim && taken)
        forward_sent(l->cfg.forward, port, pkts, taken, now);
    return taken;
}

/* True: something moved. */
static bool send_port(struct loop *l, uint16_t port, int64_t now)
{
    struct loop_port *p = &l->ports[port];
    bool moved = false;
    if (p->n && p->device->up) {
        unsigned taken = offer(l, port, p->waiting + p->first, p->n, now);
        p->first += taken;
        p->n -= taken;
        moved = taken > 0;
        if (p->n)
            return moved;
    }
    for (int rounds = 0; rounds < 4 && !p->n; rounds++) {
        unsigned n = forward_transmit(l->cfg.forward, port, p->waiting, LOOP_BURST, now);
        if (!n)
            break;
        moved = true;
        if (!p->device->up) {
            lose(l, port, p->waiting, n, now);
            continue;
        }
        p->first = offer(l, port, p->waiting, n, now);
        p->n = n - p->first;
    }
    return moved;
}

static bool send_all(struct loop *l, int64_t now)
{
    bool moved = false;
    uint64_t ready = forward_ready_ports(l->cfg.forward);
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct loop_port *p = &l->ports[i];
        if (!p->device)
            continue;
        if (p->device->ops->reclaim)
            reclaim(l, i, now);
        if (p->n || (ready & 1ull << i))
            moved |= send_port(l, i, now);
    }
    return moved;
}

/* --- receiving --------------------------------------------------------------------------------------------- */

static bool receive_port(struct loop *l, uint16_t port, int64_t now)
{
    struct loop_port *p = &l->ports[port];
    struct device *d = p->device;
    struct rte_mbuf *pkts[LOOP_BURST];
    if ((!d->polled && !d->ready) || p->deaf)
        return false;
    unsigned n = d->ops->receive(d, pkts, LOOP_BURST, now);
    if (!n)
        return false;
    if (p->tap.frames)
        p->tap.frames(p->tap.user, port, false, pkts, n, now);
    forward_receive(l->cfg.forward, port, pkts, n, now);
    return true;
}

/* Carrier and what was lost for want of buffers. */
static void notice(struct loop *l, uint16_t port, int64_t now)
{
    struct loop_port *p = &l->ports[port];
    struct device *d = p->device;
    if (p->was_up && !d->up) {
        forward_link_down(l->cfg.forward, port, now);
        lose(l, port, p->waiting + p->first, p->n, now);
        p->n = 0;
    }
    p->was_up = d->up;
    if (d->n.rx_no_buffer != p->no_buffer_seen) {
        record_lost(l, port, LOSS_NO_BUFFER, (uint32_t)(d->n.rx_no_buffer - p->no_buffer_seen), now);
        p->no_buffer_seen = d->n.rx_no_buffer;
    }
}

static bool receive_all(struct loop *l, int64_t now)
{
    bool moved = false;
    for (uint16_t i = 0; i < l->n_ports; i++)
        if (l->ports[i].device) {
            notice(l, i, now);
            moved |= receive_port(l, i, now);
        }
    if (l->extra_ready) {
        l->extra_ready = l->cfg.extra(l->cfg.extra_user, now);
        moved = true;
    }
    return moved;
}

/* --- sleep ------------------------------------------------------------------------------------------------- */

static void look(struct loop *l, int64_t wait_ns)
{
    struct epoll_event events[PORT_MOST];
    struct timespec t = {wait_ns / NS_PER_S, wait_ns % NS_PER_S};
    int n = epoll_pwait2(l->epoll, events, PORT_MOST, &t, NULL);
    for (int i = 0; i < n; i++) {
        uint32_t who = events[i].data.u32;
        if (who < PORT_MOST) {
            if (l->ports[who].device)
                l->ports[who].device->ready = true;
        } else if (who == WATCH_EXTRA) {
            l->extra_ready = true;
        } else {
            uint64_t count;
            ssize_t got = read(l->wake, &count, sizeof(count));
            (void)got;
        }
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When there will be something to do though nobody tells us. *ret_full: a device does not take what we have for it;
 * *ret_blind: one cannot tell when frames come. */
static int64_t next_deadline(struct loop *l, int64_t now, bool *ret_full, bool *ret_blind)
{
    int64_t next = sooner(l->poll_at, now + SLEEP_MOST);
    uint64_t ready = forward_ready_ports(l->cfg.forward);
    *ret_full = *ret_blind = false;
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct loop_port *p = &l->ports[i];
        if (!p->device)
            continue;
        if (p->device->ops->poll)
            next = sooner(next, p->device->ops->poll(p->device, now));
        if (p->n)
            *ret_full = true;
        else if (ready & 1ull << i)
            next = sooner(next, forward_port_next(l->cfg.forward, i, now));
        *ret_blind |= !p->device->ops->watch || (p->device->up && p->n_fds == 0);
    }
    return next;
}

static bool arm_all(struct loop *l)
{
    bool some = l->extra_ready || __atomic_load_n(&l->fn, __ATOMIC_ACQUIRE);
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct device *d = l->ports[i].device;
        if (d && d->ops->arm)
            some |= d->ops->arm(d) && !l->ports[i].deaf;
    }
    return some;
}

static void disarm_all(struct loop *l)
{
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct device *d = l->ports[i].device;
        if (d && d->ops->disarm)
            d->ops->disarm(d);
    }
}

static void nap(int64_t ns)
{
    struct timespec t = {0, ns};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void idle(struct loop *l, int64_t now)
{
    bool full, blind;
    int64_t quiet = now - l->worked_at;
    forward_awake(l->cfg.forward, now);
    if (quiet < l->cfg.spin_ns) {
        rte_pause();
        return;
    }
    int64_t next = next_deadline(l, now, &full, &blind);
    if (next <= now)
        return;
    int64_t wait = next - now;
    if (full || blind) {
        l->c.naps++;
        nap(sooner(wait, full ? FULL_NAP_NS : sooner(1 + quiet / 8, NAP_MOST_NS)));
        return;
    }
    l->c.sleeps++;
    if (!arm_all(l))
        look(l, wait);
    disarm_all(l);
    l->looked_at = clock_now_ns();
    if (l->looked_at > next)
        quantile_add(&l->c.late, l->looked_at - next);
    forward_awake(l->cfg.forward, l->looked_at < next ? l->looked_at : next); /* what is beyond is late */
}

/* --- the thread -------------------------------------------------------------------------------------------- */

static void run_mail(struct loop *l, int64_t now)
{
    void (*fn)(void *, int64_t) = __atomic_load_n(&l->fn, __ATOMIC_ACQUIRE);
    if (!fn)
        return;
    fn(l->fn_user, now);
    pthread_mutex_lock(&l->slot_lock);
    __atomic_store_n(&l->fn, NULL, __ATOMIC_RELEASE);
    pthread_cond_signal(&l->slot_done);
    pthread_mutex_unlock(&l->slot_lock);
    l->poll_at = 0; /* what it changed may have moved deadlines */
}

static void poll_devices(struct loop *l, int64_t now)
{
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct device *d = l->ports[i].device;
        if (d && d->ops->poll)
            d->ops->poll(d, now);
    }
}

static void one_round(struct loop *l)
{
    int64_t now = clock_now_ns();
    run_mail(l, now);
    if (now - l->looked_at >= LOOK_NS) {
        look(l, 0);
        l->looked_at = now;
    }
    bool busy = receive_all(l, now);
    if (busy && l->cfg.after)
        l->cfg.after(l->cfg.after_user, now);
    if (busy || now >= l->poll_at)
        l->poll_at = forward_poll(l->cfg.forward, now);
    /* The kernel may have left us aside since the clock was read, and then neighbours have sent what we received. */
    int64_t sent = l->emulates ? clock_now_ns() : now;
    busy |= send_all(l, sent);
    poll_devices(l, sent);
    l->c.rounds++;
    if (!busy)
        return idle(l, now);
    l->worked_at = now;
    l->c.busy_rounds++;
    l->c.busy_ns += clock_now_ns() - now;
}

static void *work(void *user)
{
    struct loop *l = user;
    struct error err = {""};
    prctl(PR_SET_NAME, "worker", 0, 0, 0);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (l->cfg.core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)l->cfg.core, &set);
        if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
            log_warn("the worker cannot be tied to core %d", l->cfg.core);
    }
    if (l->cfg.nice && setpriority(PRIO_PROCESS, (id_t)gettid(), l->cfg.nice))
        log_debug("the worker cannot have priority %d", l->cfg.nice);
    if (eal_thread_register(&err))
        log_warn("%s", err.text);
    while (!__atomic_load_n(&l->ending, __ATOMIC_ACQUIRE))
        one_round(l);
    run_mail(l, clock_now_ns());
    eal_thread_unregister();
    return NULL;
}

void loop_call(struct loop *l, void (*fn)(void *user, int64_t now), void *user)
{
    if (!l->running) {
        fn(user, clock_now_ns());
        return;
    }
    uint64_t one = 1;
    pthread_mutex_lock(&l->lock);
    pthread_mutex_lock(&l->slot_lock);
    l->fn_user = user;
    __atomic_store_n(&l->fn, fn, __ATOMIC_RELEASE);
    ssize_t n = write(l->wake, &one, sizeof(one));
    (void)n;
    while (__atomic_load_n(&l->fn, __ATOMIC_ACQUIRE))
        pthread_cond_wait(&l->slot_done, &l->slot_lock);
    pthread_mutex_unlock(&l->slot_lock);
    pthread_mutex_unlock(&l->lock);
}

void loop_deaf(struct loop *l, uint16_t port, bool deaf)
{
    l->ports[port].deaf = deaf;
}

bool loop_settled(struct loop *l)
{
    for (uint16_t i = 0; i < l->n_ports; i++) {
        struct loop_port *p = &l->ports[i];
        if (p->device && p->device->up && (p->n || (p->device->ops->settled && !p->device->ops->settled(p->device))))
            return false;
    }
    return true;
}

const struct loop_counters *loop_counters(struct loop *l)
{
    return &l->c;
}

void loop_port_counters(struct loop *l, uint16_t port, struct loop_port_counters *ret)
{
    *ret = l->ports[port].c;
    ret->waiting = l->ports[port].n;
}

static int watch_own(struct loop *l, int fd, uint32_t who, uint32_t flags)
{
    struct epoll_event e = {.events = EPOLLIN | flags, .data.u32 = who};
    return fd >= 0 && epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

int loop_create(struct loop **ret, const struct loop_config *cfg, struct error *err)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (!l)
        return error_set(err, ENOMEM, "no memory");
    l->cfg = *cfg;
    if (!l->cfg.spin_ns)
        l->cfg.spin_ns = 10 * NS_PER_US;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->slot_lock, NULL);
    pthread_cond_init(&l->slot_done, NULL);
    if (l->epoll < 0 || l->wake < 0 || watch_own(l, l->wake, WATCH_MAILBOX, 0) ||
        watch_own(l, cfg->extra_fd, WATCH_EXTRA, EPOLLET)) {
        int code = errno;
        loop_free(l);
        return error_set(err, code, "no descriptors for the worker: %s", strerror(code));
    }
    l->extra_ready = cfg->extra_fd >= 0;
    *ret = l;
    return 0;
}

int loop_watch_extra(struct loop *l, int fd)
{
    l->extra_ready = true;
    return watch_own(l, fd, WATCH_EXTRA, EPOLLET);
}

int loop_start(struct loop *l, struct error *err)
{
    int rc = pthread_create(&l->thread, NULL, work, l);
    if (rc)
        return error_set(err, rc, "no thread for the worker: %s", strerror(rc));
    l->running = true;
    return 0;
}

void loop_stop(struct loop *l)
{
    uint64_t one = 1;
    if (!l->running)
        return;
    __atomic_store_n(&l->ending, true, __ATOMIC_RELEASE);
    ssize_t n = write(l->wake, &one, sizeof(one));
    (void)n;
    pthread_join(l->thread, NULL);
    l->running = false;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_stop(l);
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->slot_lock);
    pthread_cond_destroy(&l->slot_done);
    free(l);
}
