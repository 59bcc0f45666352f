#include "edge/enrol_client.h"

#include "base/clock.h"
#include "split/link_tls.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

struct exchange {
    struct link *link;
    const char *address;
    int64_t until_ns;
    struct buf out, in;
};

static int waited(struct exchange *x, bool want_send, struct error *err)
{
    const struct link_ops *ops = x->link->ops;
    int64_t left = x->until_ns - clock_now_ns();
    if (left <= 0)
        return error_set(err, ETIMEDOUT, "%s: no answer in time", x->address);
    struct pollfd p = {ops->fd(x->link), ops->events(x->link, want_send), 0};
    int ms = left < NS_PER_S / 2 ? (int)(left / NS_PER_MS) + 1 : 500;
    if (!ops->pending(x->link))
        (void)poll(&p, 1, ms);
    return 0;
}

static int broke(const struct exchange *x, ssize_t rc, struct error *err)
{
    const char *why = x->link->ops->why(x->link);
    if (strstr(why, x->address))
        return error_set(err, rc ? (int)-rc : ECONNRESET, "%s", why);
    return error_set(err, rc ? (int)-rc : ECONNRESET, "%s: %s", x->address, why);
}

static int send_all(struct exchange *x, struct error *err)
{
    while (x->out.len) {
        ssize_t n = x->link->ops->send(x->link, x->out.data, x->out.len);
        if (n > 0)
            buf_consume(&x->out, (size_t)n);
        else if (n != -EAGAIN)
            return broke(x, n, err);
        else if (waited(x, true, err))
            return -ETIMEDOUT;
    }
    return 0;
}

static int recv_line(struct exchange *x, size_t *ret_line, struct error *err)
{
    while (x->in.len < ENROL_MAX_LINE) {
        if (buf_reserve(&x->in, ENROL_MAX_LINE - x->in.len))
            return error_set(err, ENOMEM, "out of memory");
        ssize_t n = x->link->ops->recv(x->link, x->in.data + x->in.len, ENROL_MAX_LINE - x->in.len);
        if (n > 0) {
            x->in.len += (size_t)n;
            uint8_t *end = memchr(x->in.data, '\n', x->in.len);
            if (end)
                return *ret_line = (size_t)(end - x->in.data), 0;
        } else if (n != -EAGAIN) {
            return broke(x, n, err);
        } else if (waited(x, false, err)) {
            return -ETIMEDOUT;
        }
    }
    return error_set(err, EPROTO, "%s: its answer is too long", x->address);
}

static int ask_once(struct enrol_reply *ret, SSL_CTX *tls, const char *address, const char *name,
    const struct enrol_request *q, int64_t until_ns, struct error *err)
{
    struct exchange x = {.address = address, .until_ns = until_ns};
    size_t line = 0;
    int rc = link_tls_connect(&x.link, tls, address, name, 0, until_ns - clock_now_ns(), err);
    if (rc)
        return rc;
    rc = enrol_request_encode(&x.out, q) ? error_set(err, ENOMEM, "out of memory") : 0;
    if (!rc)
        rc = send_all(&x, err);
    if (!rc)
        rc = recv_line(&x, &line, err);
    if (!rc && (rc = enrol_reply_decode(ret, x.in.data, line, err)))
        error_prefix(err, rc, "%s", address);
    if (!rc && ret->why != ENROL_OK)
        rc = error_set(err, EPERM, "the cloud refuses: %s", ret->text);
    if (x.out.data)
        explicit_bzero(x.out.data, x.out.cap); /* a token, if it was not sent */
    buf_done(&x.out);
    buf_done(&x.in);
    x.link->ops->free(x.link);
    return rc;
}

/* A cloud whose enrol process is just being started again says so: that is worth a few more tries. */
int enrol_client_ask(struct enrol_reply *ret, SSL_CTX *tls, const char *address, const char *name,
    const struct enrol_request *q, int64_t timeout_ns, struct error *err)
{
    int64_t until_ns = clock_now_ns() + timeout_ns;
    int rc;
    while ((rc = ask_once(ret, tls, address, name, q, until_ns, err)) == -EBUSY && clock_now_ns() + NS_PER_S < until_ns)
        poll(NULL, 0, 500);
    return rc;
}
