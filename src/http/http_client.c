/* One loop moves bytes: send what is left, then receive until the parser is done. Plain and TLS differ in two functions;
 * both run on a non-blocking socket, so that every wait is one poll on the socket and the cancelling descriptor. */
#include "http/http_client.h"

#include "base/clock.h"
#include "http/http_parse.h"
#include "http/tls_files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 10000

struct wire {
    const struct http_client *c;
    int fd, timeout_ms;
    SSL_CTX *ctx;
    SSL *ssl;
    struct error *err;
};

int http_url_parse(struct http_url *ret, const char *text, struct error *err)
{
    const char *p = text;
    *ret = (struct http_url){0};
    if (!strncmp(p, "https://", 8))
        ret->tls = true, p += 8;
    else if (!strncmp(p, "http://", 7))
        p += 7;
    else if (strstr(p, "://"))
        return error_set(err, EINVAL, "\"%.100s\" is not an http:// or https:// address", text);
    size_t authority = strcspn(p, "/?#"), host = authority;
    const char *end = p + authority, *from = p, *port = NULL;
    if (p[0] == '[' && memchr(p, ']', authority)) {
        from = p + 1;
        host = strcspn(from, "]");
        port = from[host + 1] == ':' ? from + host + 2 : NULL;
    } else if (memchr(p, ':', authority)) {
        host = strcspn(p, ":");
        port = p + host + 1;
    }
    size_t port_len = port ? (size_t)(end - port) : 0, path_len = strlen(end);
    while (path_len && end[path_len - 1] == '/')
        path_len--;
    if (!host || host >= sizeof(ret->host) || port_len > 5 || path_len >= sizeof(ret->path) ||
        memchr(p, '@', authority) || (port && (!port_len || strspn(port, "0123456789") < port_len)))
        return error_set(err, EINVAL, "\"%.100s\" is not an address such as http://localhost:8080", text);
    memcpy(ret->host, from, host);
    memcpy(ret->path, end, path_len);
    snprintf(ret->port, sizeof(ret->port), "%.*s", (int)port_len, port ? port : "");
    if (!port)
        snprintf(ret->port, sizeof(ret->port), "%s", ret->tls ? "443" : "80");
    return 0;
}

/* --- waiting and connecting --- */

static int wait_for(struct wire *w, short events, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = w->fd, .events = events}, {.fd = w->c->cancel_fd, .events = POLLIN}};
    int64_t until = clock_now_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        int64_t left_ms = (until - clock_now_ns() + NS_PER_MS - 1) / NS_PER_MS;
        int n = poll(p, w->c->cancel_fd >= 0 ? 2 : 1, left_ms > 0 ? (int)left_ms : 0);
        if (n < 0 && errno != EINTR)
            return error_set(w->err, errno, "%s", strerror(errno));
        if (n > 0 && p[1].revents && w->c->cancel_fd >= 0)
            return error_set(w->err, ECANCELED, "stopped");
        if (n > 0)
            return 0;
        if (n == 0)
            return error_set(w->err, ETIMEDOUT, "%s:%s does not answer", w->c->url.host, w->c->url.port);
    }
}

static int connect_one(struct wire *w, const struct addrinfo *i)
{
    w->fd = socket(i->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0)
        return -errno;
    int one = 1, failed = 0;
    socklen_t len = sizeof(failed);
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int rc = connect(w->fd, i->ai_addr, i->ai_addrlen) ? -errno : 0;
    if (rc == -EINPROGRESS)
        rc = wait_for(w, POLLOUT, CONNECT_MS);
    if (!rc && !getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &failed, &len))
        rc = -failed;
    if (rc) {
        close(w->fd);
        w->fd = -1;
    }
    return rc;
}

static int connect_any(struct wire *w)
{
    const struct http_url *u = &w->c->url;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list;
    int rc = getaddrinfo(u->host, u->port, &hints, &list);
    if (rc)
        return error_set(w->err, EHOSTUNREACH, "cannot find %s: %s", u->host, gai_strerror(rc));
    rc = -EHOSTUNREACH;
    for (struct addrinfo *i = list; i && rc && rc != -ECANCELED; i = i->ai_next)
        rc = connect_one(w, i);
    freeaddrinfo(list);
    if (rc && rc != -ECANCELED)
        error_set(
            w->err, -rc, "cannot reach %s port %s: %s; is the edge running there?", u->host, u->port, strerror(-rc));
    return rc;
}

/* --- TLS --- */

static int tls_failed(struct wire *w, const char *what)
{
    long v = w->ssl ? SSL_get_verify_result(w->ssl) : X509_V_OK;
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    if (v != X509_V_OK)
        return error_set(w->err, EACCES,
            "the certificate of %s is not trusted (%s); give its authority with --ca, or its fingerprint, which the "
            "edge "
            "prints, with --fingerprint",
            w->c->url.host, X509_verify_cert_error_string(v));
    return error_set(w->err, EPROTO, "%s: %s", what, why ? why : "the connection broke");
}

/* 0: go on; anything else ends. */
static int tls_wait(struct wire *w, int rc, int timeout_ms)
{
    switch (SSL_get_error(w->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(w, POLLIN, timeout_ms);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(w, POLLOUT, timeout_ms);
    default:
        return tls_failed(w, "TLS");
    }
}

static int set_trust(struct wire *w)
{
    const struct http_client *c = w->c;
    struct in6_addr scratch;
    if (c->fingerprint)
        return 0; /* compared after the handshake */
    int ok = c->ca_file ? SSL_CTX_load_verify_file(w->ctx, c->ca_file) : SSL_CTX_set_default_verify_paths(w->ctx);
    if (ok != 1)
        return error_set(
            w->err, EINVAL, "cannot read certificates from %s", c->ca_file ? c->ca_file : "the system's store");
    SSL_set_verify(w->ssl, SSL_VERIFY_PEER, NULL);
    bool ip = inet_pton(AF_INET, c->url.host, &scratch) == 1 || inet_pton(AF_INET6, c->url.host, &scratch) == 1;
    if (ip)
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(w->ssl), c->url.host);
    else
        ok = SSL_set1_host(w->ssl, c->url.host) && SSL_set_tlsext_host_name(w->ssl, c->url.host);
    return ok ? 0 : tls_failed(w, "TLS");
}

static int check_fingerprint(struct wire *w)
{
    uint8_t want[32], have[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!w->c->fingerprint)
        return 0;
    if (!tls_fingerprint_parse(w->c->fingerprint, want))
        return error_set(w->err, EINVAL, "a fingerprint is 64 hexadecimal digits (SHA-256), with or without colons");
    X509 *x = SSL_get1_peer_certificate(w->ssl);
    int ok = x && X509_digest(x, EVP_sha256(), have, &len) && len == 32 && !memcmp(have, want, 32);
    X509_free(x);
    return ok ? 0
              : error_set(w->err, EACCES,
                    "the certificate of %s has another fingerprint than the one given; do not send anything",
                    w->c->url.host);
}

static int start_tls(struct wire *w)
{
    w->ctx = SSL_CTX_new(TLS_client_method());
    w->ssl = w->ctx ? SSL_new(w->ctx) : NULL;
    if (!w->ssl || !SSL_CTX_set_min_proto_version(w->ctx, TLS1_2_VERSION) || !SSL_set_fd(w->ssl, w->fd))
        return tls_failed(w, "TLS");
    SSL_set_mode(w->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int rc = set_trust(w), n;
    while (!rc && (n = SSL_connect(w->ssl)) != 1)
        rc = tls_wait(w, n, CONNECT_MS);
    return rc ? rc : check_fingerprint(w);
}

/* --- bytes --- */

/* > 0 bytes, 0 end, -errno. */
static ssize_t wire_recv(struct wire *w, void *to, size_t cap)
{
    for (int rc = 0; !rc;) {
        ssize_t n = w->ssl ? SSL_read(w->ssl, to, (int)cap) : recv(w->fd, to, cap, 0);
        if (n > 0)
            return n;
        if (w->ssl && SSL_get_error(w->ssl, (int)n) == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (w->ssl)
            rc = tls_wait(w, (int)n, w->timeout_ms);
        else if (n == 0)
            return 0;
        else
            rc = errno == EAGAIN || errno == EINTR
                     ? wait_for(w, POLLIN, w->timeout_ms)
                     : error_set(w->err, errno, "the connection broke: %s", strerror(errno));
        if (rc)
            return rc;
    }
    return -EIO;
}

static int wire_send(struct wire *w, const uint8_t *from, size_t len)
{
    int rc = 0;
    while (len && !rc) {
        ssize_t n =
            w->ssl ? SSL_write(w->ssl, from, len > 1 << 20 ? 1 << 20 : (int)len) : send(w->fd, from, len, MSG_NOSIGNAL);
        if (n > 0) {
            from += n;
            len -= (size_t)n;
        } else if (w->ssl) {
            rc = tls_wait(w, (int)n, w->timeout_ms);
        } else {
            rc = errno == EAGAIN || errno == EINTR
                     ? wait_for(w, POLLOUT, w->timeout_ms)
                     : error_set(w->err, errno, "the connection broke: %s", strerror(errno));
        }
    }
    return rc;
}

/* --- one request --- */

struct receiver {
    const struct http_client_request *rq;
    struct http_parse parse;
};

static bool on_body(void *user, const void *bytes, size_t len)
{
    struct receiver *r = user;
    if (r->parse.status == 200 && r->rq->on_body)
        return r->rq->on_body(r->rq->user, bytes, len);
    size_t most = r->parse.status == 200 ? 16u << 20 : 1u << 20;
    if (!r->rq->ret_body)
        return true;
    return r->rq->ret_body->len + len <= most && !buf_append(r->rq->ret_body, bytes, len);
}

static bool header_safe(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
            return false;
    return true;
}

static int put_request(
    const struct http_client *c, const struct http_client_request *rq, struct buf *b, struct error *err)
{
    const struct http_url *u = &c->url;
    bool six = strchr(u->host, ':');
    if (!header_safe(u->path) || !header_safe(rq->path) || !header_safe(u->host) || (c->key && !header_safe(c->key)))
        return error_set(err, EINVAL, "address and key must not have spaces or control characters");
    int rc = buf_printf(b, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nConnection: close\r\nUser-Agent: meridian\r\n",
        rq->method, u->path, rq->path, six ? "[" : "", u->host, six ? "]" : "", u->port);
    if (!rc && c->key)
        rc = buf_printf(b, "Authorization: Bearer %s\r\n", c->key);
    if (!rc && rq->body)
        rc = buf_printf(
            b, "Content-Type: %s\r\nContent-Length: %zu\r\n", rq->type ? rq->type : "application/json", rq->len);
    for (const char *const *h = rq->headers; !rc && h && *h; h += 2)
        rc = strpbrk(h[1], "\r\n") ? -EINVAL : buf_printf(b, "%s: %s\r\n", h[0], h[1]);
    if (rc == -EINVAL)
        return error_set(err, EINVAL, "a header must not have line ends in it");
    if (!rc)
        rc = buf_append(b, "\r\n", 2);
    if (!rc && rq->body)
        rc = buf_append(b, rq->body, rq->len);
    return rc ? error_set(err, ENOMEM, "no memory") : 0;
}

static int exchange(struct wire *w, const struct buf *request, struct receiver *r)
{
    char bytes[16384];
    int rc = wire_send(w, request->data, request->len);
    bool unsent = rc == -EPIPE || rc == -ECONNRESET; /* refused early: its answer may be here already */
    while ((!rc || unsent) && r->parse.state != PARSE_DONE) {
        ssize_t n = wire_recv(w, bytes, sizeof(bytes));
        if (n == 0 && http_parse_eof(&r->parse))
            return error_set(w->err, EPIPE, "the answer was cut off");
        if (n <= 0)
            return (int)n;
        int fed = http_parse_feed(&r->parse, bytes, (size_t)n);
        if (fed)
            return fed == -EPROTO ? error_set(w->err, EPROTO, "%s does not speak HTTP", w->c->url.host) : fed;
        rc = 0;
        unsent = false;
    }
    return rc;
}

static void wire_close(struct wire *w)
{
    if (w->ssl && SSL_is_init_finished(w->ssl))
        SSL_shutdown(w->ssl);
    SSL_free(w->ssl);
    SSL_CTX_free(w->ctx);
    ERR_clear_error();
    if (w->fd >= 0)
        close(w->fd);
}

int http_client_do(
    const struct http_client *c, const struct http_client_request *rq, int *ret_status, struct error *err)
{
    struct wire w = {.c = c, .fd = -1, .timeout_ms = c->timeout_ms ? c->timeout_ms : 300000, .err = err};
    struct receiver r = {.rq = rq};
    struct buf request = {0};
    http_parse_init(&r.parse, on_body, &r);
    int rc = put_request(c, rq, &request, err);
    if (!rc)
        rc = connect_any(&w);
    if (!rc && c->url.tls)
        rc = start_tls(&w);
    if (!rc)
        rc = exchange(&w, &request, &r);
    *ret_status = r.parse.status;
    http_parse_done(&r.parse);
    buf_done(&request);
    wire_close(&w);
    return rc;
}
