#include "lab/udp.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAGIC     0x6d657275647031ull
#define HEAD      24u /* magic, number, when */
#define BATCH     32u
#define LATE_MOST (20 * NS_PER_MS) /* a sender left aside for longer does not make up for it */
#define ROOM      (16 << 20)
#define SEEN      65536u /* numbers remembered, to tell overtaken from repeated */

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void nap(int64_t until_ns)
{
    int64_t left = until_ns - clock_now_ns();
    left = left > NS_PER_S / 10 ? NS_PER_S / 10 : left;
    if (left > 0)
        nanosleep(&(struct timespec){0, left}, NULL);
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t fill(union address *a, const struct ip_addr *ip, uint16_t port)
{
    memset(a, 0, sizeof(*a));
    if (ip->family == IP_V4) {
        a->v4.sin_family = AF_INET;
        bytes_put_be16((uint8_t *)&a->v4.sin_port, port);
        memcpy(&a->v4.sin_addr, ip->a.b, 4);
        return sizeof(a->v4);
    }
    a->v6.sin6_family = AF_INET6;
    bytes_put_be16((uint8_t *)&a->v6.sin6_port, port);
    memcpy(&a->v6.sin6_addr, ip->a.b, 16);
    return sizeof(a->v6);
}

/* --- sending --- */

static int connected(const struct lab_udp_send *c, struct error *err)
{
    union address a;
    int family = c->to.family == IP_V4 ? AF_INET : AF_INET6, tos = c->dscp << 2 | (c->ecn ? 2 : 0), room = ROOM;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(err, errno, "no socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    int rc = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos))
                               : setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
    struct ip_addr any = {.family = c->to.family};
    socklen_t len = fill(&a, &any, c->src_port);
    rc = rc ? rc : bind(fd, &a.any, len);
    len = fill(&a, &c->to, c->port);
    rc = rc ? rc : connect(fd, &a.any, len);
    if (rc) {
        rc = error_set(err, errno, "cannot send there: %s", strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}

/* The time of pacing that has gone by at `now`: with bursts, the silent parts do not count. */
static int64_t pacing_time(const struct lab_udp_send *c, int64_t elapsed)
{
    if (c->on_ns <= 0)
        return elapsed;
    int64_t round = c->on_ns + c->off_ns, in = elapsed % round;
    return elapsed / round * c->on_ns + (in < c->on_ns ? in : c->on_ns);
}

/* When so much time of pacing will have gone by. */
static int64_t real_time(const struct lab_udp_send *c, int64_t pacing)
{
    if (c->on_ns <= 0)
        return pacing;
    return pacing / c->on_ns * (c->on_ns + c->off_ns) + pacing % c->on_ns;
}

static int send_batch(int fd, uint8_t *packets, uint32_t payload, uint64_t number, unsigned n, struct error *err)
{
    struct mmsghdr m[BATCH];
    struct iovec v[BATCH];
    int64_t wall = wall_ns();
    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = packets + (size_t)i * payload;
        bytes_put_be64(p, MAGIC);
        bytes_put_be64(p + 8, number + i);
        bytes_put_be64(p + 16, (uint64_t)wall);
        v[i] = (struct iovec){p, payload};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[i], .msg_iovlen = 1}};
    }
    int sent = sendmmsg(fd, m, n, 0);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH ||
        errno == ENETUNREACH)
        return 0;
    return error_set(err, errno, "cannot send: %s", strerror(errno));
}

static int pace(int fd, const struct lab_udp_send *c, uint8_t *packets, struct lab_udp_sent *r, struct error *err)
{
    uint32_t payload = c->packet - (c->to.family == IP_V4 ? IP4_SIZE : IP6_SIZE) - UDP_SIZE;
    double ns_each = (double)c->packet * 8e9 / (double)c->rate_bps;
    int64_t begun = clock_now_ns(), skipped = 0;
    while (!*c->interrupted && (!c->bytes || r->payload < c->bytes)) {
        int64_t now = clock_now_ns();
        if (c->duration_ns && now - begun >= c->duration_ns)
            break;
        int64_t due = (int64_t)((double)r->packets * ns_each) + skipped;
        int64_t behind = pacing_time(c, now - begun) - due;
        if (behind < 0) {
            nap(begun + real_time(c, due));
            continue;
        }
        if (behind > LATE_MOST)
            skipped += behind - LATE_MOST;
        unsigned n = (unsigned)((double)behind / ns_each) + 1;
        uint64_t left = c->bytes ? (c->bytes - r->payload + payload - 1) / payload : BATCH;
        n = n < BATCH ? n : BATCH;
        int sent = send_batch(fd, packets, payload, r->packets, left < n ? (unsigned)left : n, err);
        if (sent < 0)
            return sent;
        if (sent == 0) {
            r->refused++;
            nap(clock_now_ns() + 50 * NS_PER_US);
        }
        r->packets += (uint64_t)sent;
        r->payload += (uint64_t)sent * payload;
        r->active_ns = clock_now_ns() - begun;
    }
    return 0;
}

int lab_udp_send(const struct lab_udp_send *c, struct lab_udp_sent *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    if (c->packet < LAB_UDP_LEAST + IP6_SIZE - IP4_SIZE || c->packet > 65535 || !c->rate_bps)
        return error_set(err, EINVAL, "packets have 80 to 65535 bytes, and a rate");
    uint8_t *packets = calloc(BATCH, c->packet);
    if (!packets)
        return error_set(err, ENOMEM, "out of memory");
    prctl(PR_SET_TIMERSLACK, 1);
    int fd = connected(c, err), rc = fd < 0 ? fd : pace(fd, c, packets, ret, err);
    if (fd >= 0)
        close(fd);
    free(packets);
    return rc;
}

/* --- receiving --- */

struct sink {
    struct lab_udp_got *got;
    uint64_t next;       /* one above the highest number seen */
    uint64_t seen[SEEN]; /* number + 1 of the last packet in this place */
};

static int bound(uint16_t port, struct error *err)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, none = 0, room = ROOM;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    if (fd < 0)
        return error_set(err, errno, "no socket: %s", strerror(errno));
    bytes_put_be16((uint8_t *)&a.sin6_port, port);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &none, sizeof(none));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&a, sizeof(a))) {
        int rc = error_set(err, errno, "UDP port %u: %s", port, strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}

static void note(struct sink *s, const uint8_t *p, uint32_t len, int64_t now, int64_t wall)
{
    struct lab_udp_got *g = s->got;
    if (len < HEAD || bytes_get_be64(p) != MAGIC) {
        g->foreign++;
        return;
    }
    uint64_t number = bytes_get_be64(p + 8);
    uint64_t *seen = &s->seen[number % SEEN];
    if (*seen == number + 1) {
        g->repeated++;
        return;
    }
    *seen = number + 1;
    if (number < s->next)
        g->overtaken++;
    else
        s->next = number + 1;
    if (!g->packets++)
        g->first_ns = g->last_ns = now;
    g->payload += len;
    g->silence_ns = now - g->last_ns > g->silence_ns ? now - g->last_ns : g->silence_ns;
    g->last_ns = now;
    quantile_add(&g->one_way, wall - (int64_t)bytes_get_be64(p + 16));
}

static void look_at_control(struct msghdr *m, struct lab_udp_got *g)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        uint32_t value = 0;
        memcpy(&value, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) < 4 ? 1 : 4);
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
            g->missed = value;
        else if ((c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) ||
                 (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS))
            g->ce_marked += (value & 3) == 3;
    }
}

static void drain(int fd, struct sink *s)
{
    static uint8_t packets[BATCH][2048]; /* what is behind the head is not looked at, but counted */
    for (;;) {
        struct mmsghdr m[BATCH];
        struct iovec v[BATCH];
        uint8_t control[BATCH][128];
        for (unsigned i = 0; i < BATCH; i++) {
            v[i] = (struct iovec){packets[i], sizeof(packets[i])};
            m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &v[i],
                                        .msg_iovlen = 1,
                                        .msg_control = control[i],
                                        .msg_controllen = sizeof(control[i])}};
        }
        int n = recvmmsg(fd, m, BATCH, MSG_TRUNC, NULL);
        if (n <= 0)
            return;
        int64_t now = clock_now_ns(), wall = wall_ns();
        for (int i = 0; i < n; i++) {
            look_at_control(&m[i].msg_hdr, s->got);
            note(s, packets[i], m[i].msg_len, now, wall);
        }
    }
}

int lab_udp_receive(uint16_t port, int64_t quiet_ns, const volatile int *interrupted, void (*ready)(void),
    struct lab_udp_got *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    struct sink *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ENOMEM, "out of memory");
    s->got = ret;
    int fd = bound(port, err);
    if (fd < 0) {
        free(s);
        return fd;
    }
    ready();
    while (!*interrupted && !(quiet_ns > 0 && ret->packets && clock_now_ns() - ret->last_ns > quiet_ns)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 50);
        drain(fd, s);
    }
    drain(fd, s);
    ret->lost = s->next - ret->packets;
    close(fd);
    free(s);
    return 0;
}
