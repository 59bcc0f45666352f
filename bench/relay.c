/* A TCP relay that puts distance between two processes on one machine: a one-way delay of half the round trip and a rate,
 * in each direction, for each connection's bytes in order. The rate is shared by all connections of a direction, as on a
 * line. For measurements and tests where the kernel has no netem.
 *
 *   relay LISTEN_PORT TO_HOST TO_PORT RTT_MS RATE_MBIT
 *
 * Prints "ready" when it listens. SIGUSR1: the line goes dead (bytes wait, none pass) or comes back. SIGUSR2: every
 * connection is cut, as by a crash between. SIGHUP: RTT becomes 0, then the given value again, in turn. SIGTERM ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PAIRS  64
#define PIECE      16384
#define MAX_QUEUED (8 << 20) /* bytes waiting in one direction of one connection before the sender is held back */

struct piece {
    struct piece *next;
    int64_t due_ns; /* when its last byte arrives at the far end */
    size_t len, sent;
    uint8_t bytes[PIECE];
};

struct way { /* one direction of one connection */
    int from, to;
    struct piece *first, **last;
    size_t queued;
    int ended, shut; /* end of input seen; end passed on */
};

struct pair {
    int used;
    struct way ways[2];
};

static struct pair pairs[MAX_PAIRS];
static int64_t line_free_ns[2]; /* when each direction's line has sent what it was given */
static double ns_per_byte;
static int64_t delay_ns;
static volatile sig_atomic_t dead, cut, near, stop;

static void on_signal(int sig)
{
    if (sig == SIGUSR1)
        dead = !dead;
    else if (sig == SIGUSR2)
        cut = 1;
    else if (sig == SIGHUP)
        near = !near;
    else
        stop = 1;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void way_open(struct way *w, int from, int to)
{
    *w = (struct way){.from = from, .to = to};
    w->last = &w->first;
}

static void way_drop(struct way *w)
{
    while (w->first) {
        struct piece *p = w->first;
        w->first = p->next;
        free(p);
    }
}

static void pair_close(struct pair *p)
{
    close(p->ways[0].from);
    close(p->ways[0].to);
    way_drop(&p->ways[0]);
    way_drop(&p->ways[1]);
    p->used = 0;
}

/* Takes what there is to read and says when it will have crossed. 0, or -1 when the connection broke. */
static int way_read(struct way *w, int direction)
{
    struct piece *p = malloc(sizeof(*p));
    if (!p)
        return -1;
    ssize_t n = read(w->from, p->bytes, PIECE);
    if (n <= 0) {
        free(p);
        if (n == 0)
            w->ended = 1;
        return n == 0 || errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    int64_t now = now_ns();
    if (line_free_ns[direction] < now)
        line_free_ns[direction] = now;
    line_free_ns[direction] += (int64_t)((double)n * ns_per_byte);
    p->due_ns = line_free_ns[direction] + (near ? 0 : delay_ns);
    p->len = (size_t)n;
    p->sent = 0;
    p->next = NULL;
    *w->last = p;
    w->last = &p->next;
    w->queued += p->len;
    return 0;
}

static int way_write(struct way *w, int64_t now)
{
    while (w->first && w->first->due_ns <= now) {
        struct piece *p = w->first;
        ssize_t n = send(w->to, p->bytes + p->sent, p->len - p->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        p->sent += (size_t)n;
        w->queued -= (size_t)n;
        if (p->sent < p->len)
            return 0;
        w->first = p->next;
        if (!w->first)
            w->last = &w->first;
        free(p);
    }
    if (w->ended && !w->first && !w->shut) {
        shutdown(w->to, SHUT_WR);
        w->shut = 1;
    }
    return 0;
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    if (getaddrinfo(host, port, &hints, &list))
        return -1;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

static void ready_socket(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void accept_one(int listener, char **argv)
{
    int a = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (a < 0)
        return;
    int b = dead ? -1 : dial(argv[2], argv[3]);
    struct pair *p = NULL;
    for (int i = 0; i < MAX_PAIRS && !p; i++)
        if (!pairs[i].used)
            p = &pairs[i];
    if (b < 0 || !p) {
        close(a);
        if (b >= 0)
            close(b);
        return;
    }
    ready_socket(a);
    ready_socket(b);
    p->used = 1;
    way_open(&p->ways[0], a, b);
    way_open(&p->ways[1], b, a);
}

static int listen_on(const char *port)
{
    struct sockaddr_in6 any = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port)), .sin6_addr = in6addr_any};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 64)) {
        perror("relay: listen");
        exit(1);
    }
    return fd;
}

/* Poll entries: the listener, then two a pair. Returns the wait until the next piece is due. */
static int64_t gather(struct pollfd *fds, int64_t now)
{
    int64_t wait = 100000000;
    for (int i = 0; i < MAX_PAIRS; i++) {
        for (int d = 0; d < 2; d++) {
            struct way *w = &pairs[i].ways[d];
            struct pollfd *f = &fds[1 + 2 * i + d];
            f->fd = pairs[i].used ? w->from : -1;
            f->events = pairs[i].used && !w->ended && w->queued < MAX_QUEUED ? POLLIN : 0;
        }
        for (int d = 0; pairs[i].used && d < 2; d++) {
            struct way *w = &pairs[i].ways[d];
            if (dead || !w->first)
                continue;
            if (w->first->due_ns > now && w->first->due_ns - now < wait)
                wait = w->first->due_ns - now;
            else if (w->first->due_ns <= now)
                fds[1 + 2 * i + !d].events |= POLLOUT; /* the other way reads where this one writes */
        }
    }
    return wait;
}

static void move_all(struct pollfd *fds)
{
    int64_t now = now_ns();
    for (int i = 0; i < MAX_PAIRS; i++) {
        if (!pairs[i].used)
            continue;
        int broken = 0;
        for (int d = 0; d < 2; d++) {
            if (fds[1 + 2 * i + d].revents & (POLLIN | POLLHUP | POLLERR) && fds[1 + 2 * i + d].events & POLLIN)
                broken |= way_read(&pairs[i].ways[d], d);
            if (!dead)
                broken |= way_write(&pairs[i].ways[d], now);
        }
        if (broken || cut || (pairs[i].ways[0].shut && pairs[i].ways[1].shut))
            pair_close(&pairs[i]);
    }
    cut = 0;
}

int main(int argc, char **argv)
{
    if (argc != 6 || atof(argv[5]) <= 0) {
        fprintf(stderr, "usage: relay LISTEN_PORT TO_HOST TO_PORT RTT_MS RATE_MBIT\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1000);
    delay_ns = (int64_t)(atof(argv[4]) / 2 * 1e6);
    ns_per_byte = 8e3 / atof(argv[5]);
    int listener = listen_on(argv[1]);
    struct sigaction act = {.sa_handler = on_signal};
    for (int i = 0; i < 5; i++)
        sigaction((int[]){SIGUSR1, SIGUSR2, SIGHUP, SIGTERM, SIGINT}[i], &act, NULL);
    puts("ready");
    fflush(stdout);
    while (!stop) {
        struct pollfd fds[1 + 2 * MAX_PAIRS] = {{.fd = listener, .events = POLLIN}};
        int64_t wait = gather(fds, now_ns());
        struct timespec t = {.tv_nsec = wait};
        if (ppoll(fds, 1 + 2 * MAX_PAIRS, &t, NULL) < 0 && errno != EINTR)
            return 1;
        if (fds[0].revents & POLLIN)
            accept_one(listener, argv);
        move_all(fds);
    }
    return 0;
}
