/* A connected socket as it is: no encryption, no identity. For tests, and for the control of the leak demonstration that
 * shows what an observer would see without TLS. */
#include "split/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct link_plain {
    struct link link;
    int fd, broken; /* errno of the failure */
};

static ssize_t moved(struct link_plain *p, ssize_t n)
{
    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return -EAGAIN;
    p->broken = errno;
    return -errno;
}

static ssize_t plain_recv(struct link *l, void *to, size_t cap)
{
    struct link_plain *p = (struct link_plain *)l;
    return moved(p, recv(p->fd, to, cap, 0));
}

static ssize_t plain_send(struct link *l, const void *from, size_t len)
{
    struct link_plain *p = (struct link_plain *)l;
    return moved(p, send(p->fd, from, len, MSG_NOSIGNAL));
}

static int plain_fd(const struct link *l)
{
    return ((const struct link_plain *)l)->fd;
}

static short plain_events(const struct link *l, int want_send)
{
    return (short)(POLLIN | (want_send ? POLLOUT : 0));
}

static size_t plain_pending(const struct link *l)
{
    return 0;
}

static const char *plain_why(const struct link *l)
{
    int broken = ((const struct link_plain *)l)->broken;
    return broken ? strerror(broken) : "the connection is open";
}

static void plain_free(struct link *l)
{
    struct link_plain *p = (struct link_plain *)l;
    close(p->fd);
    free(p);
}

static const struct link_ops plain_ops = {
    .recv = plain_recv,
    .send = plain_send,
    .fd = plain_fd,
    .events = plain_events,
    .pending = plain_pending,
    .why = plain_why,
    .free = plain_free,
};

int link_plain_create(struct link **ret, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct link_plain *p = calloc(1, sizeof(*p));
    if (!p || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        int code = p ? errno : ENOMEM;
        free(p);
        close(fd);
        return -code;
    }
    p->link.ops = &plain_ops;
    p->fd = fd;
    *ret = &p->link;
    return 0;
}
