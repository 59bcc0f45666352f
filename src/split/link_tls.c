/* Three stages, walked by whoever calls recv or send: connecting (each of the host's addresses in turn), handshake, open.
 * A failure is remembered: every later call returns it again.
 *
 * A server that refuses a peer lingers before it says so to its caller: what the peer has already sent would turn our
 * close into a reset, which destroys the alert on its way, and the peer would never learn why. So we end our
 * direction, and read into the void until the peer has closed, or for a second. */
#include "split/link_tls.h"

#include "base/clock.h"
#include "crypto/tls.h"
#include "os/dscp.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_NS NS_PER_S

enum stage { CONNECTING, HANDSHAKE, LINGER, OPEN, ENDED, BROKEN };

struct link_tls {
    struct link link;
    enum stage stage;
    int fd, broken; /* broken: -errno of the failure */
    unsigned dscp;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL while connecting */
    struct addrinfo *addresses, *trying;
    int64_t deadline_ns, attempt_until_ns;
    short wants;  /* what the stage waits for */
    bool drained; /* the last recv found nothing */
    char name[PKI_MAX_NAME], address[280], peer[80];
    struct error why;
};

static struct link_tls *of(const struct link *l)
{
    return (struct link_tls *)l;
}

static int broken(struct link_tls *t, int rc)
{
    t->stage = BROKEN;
    t->broken = rc;
    return rc;
}

/* --- the socket --- */

/* A dead peer is noticed after about 20 s, whether we are sending or only listening. */
static void socket_manners(int fd)
{
    int on = 1, idle = 10, interval = 4, count = 3;
    unsigned user_ms = 20000;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
}

static void print_peer(char to[80], const struct sockaddr *sa, socklen_t len)
{
    char host[64], port[8];
    if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(to, 80, "a local socket");
    else
        snprintf(to, 80, sa->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int start_session(struct link_tls *t)
{
    int rc = tls_session_create(&t->ssl, t->ctx, t->fd, t->name[0] ? t->name : NULL, &t->why);
    if (rc)
        return broken(t, rc);
    t->stage = HANDSHAKE;
    return 0;
}

/* --- connecting --- */

static void close_attempt(struct link_tls *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

/* Opens sockets for addresses from t->trying on until one of them is at least under way. */
static int try_addresses(struct link_tls *t, int last_error)
{
    for (; t->trying; t->trying = t->trying->ai_next) {
        const struct addrinfo *a = t->trying;
        t->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (t->fd < 0) {
            last_error = errno;
            continue;
        }
        print_peer(t->peer, a->ai_addr, a->ai_addrlen);
        socket_manners(t->fd);
        if (t->dscp)
            (void)dscp_set(t->fd, t->dscp); /* without it the connection is slower at worst */
        if (!connect(t->fd, a->ai_addr, a->ai_addrlen) || errno == EINPROGRESS) {
            int64_t now = clock_now_ns(), share = t->deadline_ns - now;
            t->attempt_until_ns = a->ai_next ? now + share / 2 : t->deadline_ns;
            t->wants = POLLOUT;
            return 0;
        }
        last_error = errno;
        close_attempt(t);
    }
    int rc = error_set(&t->why, last_error, "cannot connect to %s: %s", t->address, strerror(last_error));
    return broken(t, rc);
}

static int drive_connect(struct link_tls *t)
{
    struct pollfd p = {.fd = t->fd, .events = POLLOUT};
    int ready = poll(&p, 1, 0), code = 0;
    socklen_t len = sizeof(code);
    if (ready <= 0 && clock_now_ns() < t->attempt_until_ns)
        return -EAGAIN;
    if (ready <= 0)
        code = ETIMEDOUT;
    else if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &code, &len))
        code = errno;
    if (!code)
        return start_session(t);
    close_attempt(t);
    t->trying = t->trying->ai_next;
    int rc = try_addresses(t, code);
    return rc ? rc : -EAGAIN;
}

/* --- handshake --- */

static int drive_handshake(struct link_tls *t)
{
    errno = 0;
    int n = SSL_do_handshake(t->ssl);
    if (n == 1) {
        t->stage = OPEN;
        t->wants = POLLIN;
        t->drained = false;
        return 0;
    }
    int rc = tls_result(t->ssl, n, &t->wants, &t->why);
    if (rc == -EAGAIN)
        return rc;
    if (rc == 0)
        rc = error_set(&t->why, ECONNRESET, "the peer ended during the handshake");
    if (t->name[0] || rc == -ECONNRESET || shutdown(t->fd, SHUT_WR))
        return broken(t, rc);
    t->stage = LINGER;
    t->broken = rc;
    t->wants = POLLIN;
    t->deadline_ns = clock_now_ns() + LINGER_NS;
    return 0;
}

static int drive_linger(struct link_tls *t)
{
    char nothing[4096];
    ssize_t n = 1;
    for (int i = 0; i < 16 && n > 0; i++) /* bounded: who floods us is cut off */
        n = recv(t->fd, nothing, sizeof(nothing), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR) && clock_now_ns() < t->deadline_ns)
        return -EAGAIN;
    return broken(t, t->broken);
}

static int drive(struct link_tls *t)
{
    int rc = 0;
    if (t->stage == CONNECTING)
        rc = drive_connect(t);
    if (!rc && t->stage == HANDSHAKE)
        rc = drive_handshake(t);
    if (t->stage == LINGER)
        return drive_linger(t);
    if (rc == -EAGAIN && clock_now_ns() >= t->deadline_ns) {
        error_set(&t->why, ETIMEDOUT, "%s: no answer in time", t->address[0] ? t->address : t->peer);
        return broken(t, -ETIMEDOUT);
    }
    return t->stage == BROKEN ? t->broken : rc;
}

int link_tls_handshake(struct link *l)
{
    struct link_tls *t = of(l);
    return t->stage < OPEN || t->stage == BROKEN ? drive(t) : 0;
}

/* --- moving data --- */

static ssize_t moved(struct link_tls *t, int n)
{
    short wants = POLLIN;
    int rc = tls_result(t->ssl, n, &wants, &t->why);
    if (rc == -EAGAIN)
        t->wants = wants;
    else if (rc == 0)
        t->stage = ENDED;
    else
        broken(t, rc);
    return rc;
}

static ssize_t tls_recv(struct link *l, void *to, size_t cap)
{
    struct link_tls *t = of(l);
    int rc = link_tls_handshake(l);
    if (rc || t->stage == ENDED)
        return rc;
    errno = 0;
    int n = SSL_read(t->ssl, to, cap > INT32_MAX ? INT32_MAX : (int)cap);
    t->drained = n <= 0;
    t->wants = POLLIN;
    return n > 0 ? n : moved(t, n);
}

static ssize_t tls_send(struct link *l, const void *from, size_t len)
{
    struct link_tls *t = of(l);
    int rc = link_tls_handshake(l);
    if (rc)
        return rc;
    if (t->stage == ENDED)
        return error_set(&t->why, EPIPE, "the peer ended the connection");
    if (!len)
        return 0;
    errno = 0;
    int n = SSL_write(t->ssl, from, len > INT32_MAX ? INT32_MAX : (int)len);
    if (n > 0)
        return n;
    short waited = t->wants;
    rc = (int)moved(t, n);
    if (rc == -EAGAIN)
        t->wants = waited; /* events() adds POLLOUT for who wants to send */
    return rc == 0 ? -EPIPE : rc;
}

static int tls_fd(const struct link *l)
{
    return of(l)->fd;
}

static short tls_events(const struct link *l, int want_send)
{
    const struct link_tls *t = of(l);
    if (t->stage < OPEN)
        return t->wants;
    return (short)(POLLIN | t->wants | (want_send ? POLLOUT : 0));
}

/* With read-ahead whole records may lie inside; a part of one counts only until a recv has found it wanting. */
static size_t tls_pending(const struct link *l)
{
    const struct link_tls *t = of(l);
    if (t->stage != OPEN)
        return 0;
    int n = SSL_pending(t->ssl);
    if (n > 0)
        return (size_t)n;
    return !t->drained && SSL_has_pending(t->ssl);
}

static const char *tls_why(const struct link *l)
{
    const struct link_tls *t = of(l);
    if (t->stage == ENDED)
        return "the peer ended the connection";
    return t->why.text[0] ? t->why.text : "the connection is open";
}

static void tls_free(struct link *l)
{
    struct link_tls *t = of(l);
    if (t->ssl && (t->stage == OPEN || t->stage == ENDED)) {
        (void)SSL_shutdown(t->ssl); /* sends close_notify if there is room; nobody waits for theirs */
        ERR_clear_error();
        char unread[4096]; /* would turn our close into a reset, and our last words might be lost */
        for (int i = 0; i < 64 && recv(t->fd, unread, sizeof(unread), MSG_DONTWAIT) > 0; i++)
            ;
    }
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    if (t->addresses)
        freeaddrinfo(t->addresses);
    close_attempt(t);
    free(t);
}

static const struct link_ops tls_ops = {
    .recv = tls_recv,
    .send = tls_send,
    .fd = tls_fd,
    .events = tls_events,
    .pending = tls_pending,
    .why = tls_why,
    .free = tls_free,
};

/* --- making one --- */

static struct link_tls *create(SSL_CTX *ctx, int64_t timeout_ns)
{
    struct link_tls *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    SSL_CTX_up_ref(ctx);
    t->link.ops = &tls_ops;
    t->ctx = ctx;
    t->fd = -1;
    t->wants = POLLIN;
    t->deadline_ns = clock_now_ns() + (timeout_ns > 0 ? timeout_ns : 10 * NS_PER_S);
    return t;
}

/* "host:port" or "[v6]:port" into its halves. */
static int split_address(char host[256], char port[8], const char *address, struct error *err)
{
    const char *colon = strrchr(address, ':'), *start = address, *end = colon;
    if (colon && address[0] == '[' && colon > address + 2 && colon[-1] == ']')
        start++, end--;
    size_t n = colon ? (size_t)(end - start) : 0;
    if (!n || n >= 256 || !colon[1] || strlen(colon + 1) > 5 || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return error_set(
            err, EINVAL, "\"%.100s\" is no address; write HOST:PORT, 192.0.2.1:7443 or [2001:db8::1]:7443", address);
    memcpy(host, start, n);
    host[n] = 0;
    snprintf(port, 8, "%s", colon + 1);
    return 0;
}

static int resolve(struct link_tls *t, const char *address, struct error *err)
{
    char host[256], port[8];
    int rc = split_address(host, port, address, err);
    if (rc)
        return rc;
    snprintf(t->address, sizeof(t->address), "%s", address);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int no = getaddrinfo(host, port, &hints, &t->addresses);
    if (no)
        return error_set(err, EHOSTUNREACH, "cannot find the address of %s: %s", host, gai_strerror(no));
    t->trying = t->addresses;
    return 0;
}

int link_tls_connect(struct link **ret, SSL_CTX *ctx, const char *address, const char *name, unsigned dscp,
    int64_t timeout_ns, struct error *err)
{
    struct link_tls *t = create(ctx, timeout_ns);
    if (!t)
        return error_set(err, ENOMEM, "out of memory");
    int rc = 0;
    t->dscp = dscp;
    if ((size_t)snprintf(t->name, sizeof(t->name), "%s", name) >= sizeof(t->name))
        rc = error_set(err, EINVAL, "a name for TLS is too long");
    if (!rc)
        rc = resolve(t, address, err);
    if (!rc && (rc = try_addresses(t, EHOSTUNREACH)))
        error_set(err, -rc, "%s", t->why.text);
    if (rc) {
        tls_free(&t->link);
        return rc;
    }
    *ret = &t->link;
    return 0;
}

int link_tls_accept(struct link **ret, SSL_CTX *ctx, int fd, int64_t timeout_ns, struct error *err)
{
    struct link_tls *t = create(ctx, timeout_ns);
    int flags = fcntl(fd, F_GETFL);
    if (!t || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        int code = t ? errno : ENOMEM;
        if (t)
            tls_free(&t->link);
        close(fd);
        return error_set(err, code, "cannot take a connection: %s", strerror(code));
    }
    t->fd = fd;
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    socket_manners(fd);
    snprintf(t->peer, sizeof(t->peer), "a local socket");
    if (!getpeername(fd, (struct sockaddr *)&sa, &len) && sa.ss_family != AF_UNIX)
        print_peer(t->peer, (struct sockaddr *)&sa, len);
    int rc = start_session(t);
    if (rc) {
        error_set(err, -rc, "%s", t->why.text);
        tls_free(&t->link);
        return rc;
    }
    *ret = &t->link;
    return 0;
}

const char *link_tls_peer(const struct link *l)
{
    return of(l)->peer;
}

SSL *link_tls_session(struct link *l)
{
    return of(l)->ssl;
}
