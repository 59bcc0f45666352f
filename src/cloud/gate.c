#include "cloud/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/source.h"
#include "os/dscp.h"
#include "wire/client_hello.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct half_open {
    int fd; /* -1: free */
    int64_t since_ns;
    struct source source;
};

struct gate {
    struct gate_config cfg;
    int epoll, listener;
    struct half_open *half_open; /* [max_half_open] */
    struct gate_counts counts;
    struct log_limit limit;
    char address[96];
};

/* --- listening --- */

static int split_listen(char host[256], char port[8], const char *text, struct error *err)
{
    const char *colon = strrchr(text, ':'), *start = text, *end = colon;
    if (colon && text[0] == '[' && colon > text + 1 && colon[-1] == ']')
        start++, end--;
    if (!colon || end - start >= 256 || strlen(colon + 1) > 5 || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return error_set(err, EINVAL,
            "--listen \"%.100s\": write ADDR:PORT, e.g. 0.0.0.0:7443, [::]:7443, or :7443 for all addresses", text);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = 0;
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

static int listen_on(const struct addrinfo *a)
{
    int on = 1, off = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 256)) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

static int open_listener(struct gate *g, struct error *err)
{
    char host[256], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list, *a;
    int rc = split_listen(host, port, g->cfg.listen, err);
    if (rc)
        return rc;
    int no = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
    if (no)
        return error_set(err, EADDRNOTAVAIL, "--listen %s: %s", g->cfg.listen, gai_strerror(no));
    /* Without a host the IPv6 wildcard serves both families; IPv4 alone where there is no IPv6. */
    int fd = -EADDRNOTAVAIL;
    for (int pass = 0; pass < 2 && fd < 0; pass++)
        for (a = list; a && fd < 0; a = a->ai_next)
            if ((a->ai_family == AF_INET6) == (pass == 0))
                fd = listen_on(a);
    freeaddrinfo(list);
    if (fd < 0)
        return error_set(err, -fd, "cannot listen on %s: %s", g->cfg.listen, strerror(-fd));
    (void)dscp_remember(fd); /* a kernel that cannot: answers go unmarked */
    g->listener = fd;
    return 0;
}

static void note_address(struct gate *g)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    char host[64] = "?", port[8] = "?";
    if (!getsockname(g->listener, (struct sockaddr *)&sa, &len))
        (void)getnameinfo(
            (struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(g->address, sizeof(g->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* --- half-open connections --- */

static void let_go(struct gate *g, struct half_open *h)
{
    h->fd = -1;
    g->counts.half_open--;
}

static void drop(struct gate *g, struct half_open *h, uint64_t *counter, const char *why)
{
    unsigned skipped;
    (*counter)++;
    if (log_limit_pass(&g->limit, 5, &skipped))
        log_info("a connection was closed at the gate: %s (%u more not logged)", why, skipped);
    close(h->fd);
    let_go(g, h);
}

/* Peeks at what is there. While more is needed the socket stays silent until that much has come (SO_RCVLOWAT), so a
 * sender of single bytes does not keep us busy. */
static void look(struct gate *g, struct half_open *h, bool hung_up)
{
    uint8_t bytes[CLIENT_HELLO_MAX];
    char name[CLIENT_HELLO_NAME];
    size_t need = 0;
    ssize_t n = recv(h->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !hung_up)
        return;
    if (n <= 0) {
        drop(g, h, &g->counts.refused, "it ended without a word");
        return;
    }
    int rc = client_hello_name(name, &need, bytes, (size_t)n), one = 1, least = (int)need;
    if (rc == -EAGAIN && !hung_up) {
        (void)setsockopt(h->fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof(least));
        return;
    }
    if (rc) {
        drop(g, h, &g->counts.refused, rc == -E2BIG ? "its greeting is too long" : "it does not speak TLS");
        return;
    }
    int fd = h->fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
    (void)epoll_ctl(g->epoll, EPOLL_CTL_DEL, fd, NULL);
    let_go(g, h);
    g->counts.named++;
    g->cfg.named(g->cfg.user, fd, name);
}

static struct half_open *make_room(struct gate *g)
{
    struct half_open *oldest = NULL;
    for (unsigned i = 0; i < g->cfg.max_half_open; i++) {
        struct half_open *h = &g->half_open[i];
        if (h->fd < 0)
            return h;
        if (!oldest || h->since_ns < oldest->since_ns)
            oldest = h;
    }
    drop(g, oldest, &g->counts.evicted, "too many wait at once, the oldest goes");
    return oldest;
}

static unsigned count_source(const struct gate *g, struct source s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < g->cfg.max_half_open; i++)
        n += g->half_open[i].fd >= 0 && source_equal(g->half_open[i].source, s);
    return n;
}

static void take_in(struct gate *g, int fd)
{
    struct source s = source_of(fd);
    unsigned skipped;
    g->counts.accepted++;
    if (count_source(g, s) >= g->cfg.max_per_source) {
        g->counts.refused++;
        if (log_limit_pass(&g->limit, 5, &skipped))
            log_info("a connection was closed at the gate: too many from one source (%u more not logged)", skipped);
        close(fd);
        return;
    }
    (void)dscp_answer(fd);
    struct half_open *h = make_room(g);
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = (uint32_t)(h - g->half_open)};
    if (epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e)) {
        close(fd);
        return;
    }
    *h = (struct half_open){fd, clock_now_ns(), s};
    g->counts.half_open++;
}

static void accept_some(struct gate *g)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(g->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return; /* none left, or no descriptors: those that time out will give some back */
        take_in(g, fd);
    }
}

void gate_run(struct gate *g)
{
    struct epoll_event events[64];
    int n = epoll_wait(g->epoll, events, 64, 0);
    bool more = false; /* accepted last: a newcomer may take the place that a later event of this round speaks of */
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == UINT32_MAX)
            more = true;
        else if (g->half_open[events[i].data.u32].fd >= 0)
            look(g, &g->half_open[events[i].data.u32], events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
    }
    if (more)
        accept_some(g);
    int64_t now = clock_now_ns();
    for (unsigned i = 0; i < g->cfg.max_half_open; i++)
        if (g->half_open[i].fd >= 0 && now - g->half_open[i].since_ns >= g->cfg.timeout_ns)
            drop(g, &g->half_open[i], &g->counts.timed_out, "it did not say in time whom it wants");
}

/* --- making it --- */

int gate_create(struct gate **ret, const struct gate_config *cfg, struct error *err)
{
    struct gate *g = calloc(1, sizeof(*g));
    if (!g)
        return error_set(err, ENOMEM, "out of memory");
    g->cfg = *cfg;
    g->cfg.max_half_open = cfg->max_half_open ? cfg->max_half_open : 256;
    g->cfg.max_per_source = cfg->max_per_source ? cfg->max_per_source : 16;
    g->cfg.timeout_ns = cfg->timeout_ns ? cfg->timeout_ns : 5 * NS_PER_S;
    g->listener = g->epoll = -1;
    g->half_open = calloc(g->cfg.max_half_open, sizeof(*g->half_open));
    int rc = g->half_open ? 0 : error_set(err, ENOMEM, "out of memory");
    for (unsigned i = 0; !rc && i < g->cfg.max_half_open; i++)
        g->half_open[i].fd = -1;
    if (!rc)
        rc = open_listener(g, err);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    if (!rc && ((g->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->listener, &e)))
        rc = error_set(err, errno, "cannot listen on %s: %s", cfg->listen, strerror(errno));
    if (rc) {
        gate_free(g);
        return rc;
    }
    note_address(g);
    *ret = g;
    return 0;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    for (unsigned i = 0; g->half_open && i < g->cfg.max_half_open; i++)
        if (g->half_open[i].fd >= 0)
            close(g->half_open[i].fd);
    if (g->listener >= 0)
        close(g->listener);
    if (g->epoll >= 0)
        close(g->epoll);
    free(g->half_open);
    free(g);
}

int gate_fd(const struct gate *g)
{
    return g->epoll;
}

const char *gate_address(const struct gate *g)
{
    return g->address;
}

const struct gate_counts *gate_counts(const struct gate *g)
{
    return &g->counts;
}
