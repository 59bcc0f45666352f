#include "cloud/control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct header {
    uint32_t kind, len;
    char id[CONTROL_MAX_ID];
};

int control_pair(int ret_fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds))
        return -errno;
    return 0;
}

int control_send(int to, enum control_kind kind, const char *id, const void *body, size_t len, int fd)
{
    if (len > CONTROL_MAX_BODY)
        return -EMSGSIZE;
    struct header h = {.kind = kind, .len = (uint32_t)len};
    strncpy(h.id, id ? id : "", sizeof(h.id) - 1);
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)body, len}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } space = {0};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (fd >= 0) {
        m.msg_control = space.bytes;
        m.msg_controllen = sizeof(space.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(to, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Closes all descriptors of a message but the first, which is returned; -1 none. */
static int take_descriptor(struct msghdr *m)
{
    int got = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (got < 0)
                got = fd;
            else
                close(fd);
        }
    }
    return got;
}

int control_recv(int from, struct control *ret, int *ret_fd)
{
    struct header h;
    struct iovec iov[2] = {{&h, sizeof(h)}, {ret->body, CONTROL_MAX_BODY}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } space;
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (ret_fd) { /* without room for them the kernel drops descriptors */
        m.msg_control = space.bytes;
        m.msg_controllen = sizeof(space.bytes);
    }
    ssize_t n;
    do
        n = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    if (n == 0)
        return -EPIPE;
    int fd = ret_fd ? take_descriptor(&m) : -1;
    if ((size_t)n < sizeof(h) || (m.msg_flags & MSG_TRUNC) || h.kind == 0 || h.kind >= CONTROL_KIND_END ||
        h.len != (size_t)n - sizeof(h) || !memchr(h.id, 0, sizeof(h.id))) {
        if (fd >= 0)
            close(fd);
        return -EPROTO;
    }
    ret->kind = h.kind;
    ret->len = h.len;
    memcpy(ret->id, h.id, sizeof(h.id));
    ret->body[h.len] = 0;
    if (ret_fd)
        *ret_fd = fd;
    return 0;
}
