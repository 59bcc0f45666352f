#include "lab/ask.h"

#include "base/buf.h"
#include "base/clock.h"
#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_WITHIN (2 * NS_PER_S)
#define ANSWER_MOST   (16u << 20)

static int dial(const char *path, struct error *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path))
        return error_set(err, ENAMETOOLONG, "%s is too long for a socket", path);
    memcpy(a.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !connect(fd, (const struct sockaddr *)&a, sizeof(a)))
        return fd;
    int rc = error_set(err, errno, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Until the end of the line. */
static int answer(int fd, struct buf *b)
{
    int64_t until = clock_now_ns() + ANSWER_WITHIN;
    while (!b->len || b->data[b->len - 1] != '\n') {
        int64_t left = until - clock_now_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || b->len > ANSWER_MOST)
            return -ETIMEDOUT;
        if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) <= 0)
            continue;
        if (buf_reserve(b, 65536))
            return -ENOMEM;
        ssize_t n = read(fd, b->data + b->len, 65536);
        if (n <= 0)
            return n < 0 && errno == EINTR ? 0 : -EPIPE;
        b->len += (size_t)n;
    }
    return 0;
}

int lab_ask(const char *socket, const char *request, yyjson_doc **ret, struct error *err)
{
    struct buf b = {0};
    int fd = dial(socket, err);
    if (fd < 0)
        return fd;
    int rc = file_write_all(fd, request, strlen(request));
    rc = rc ? rc : file_write_all(fd, "\n", 1);
    rc = rc ? rc : answer(fd, &b);
    close(fd);
    yyjson_doc *d = rc ? NULL : yyjson_read((const char *)b.data, b.len, YYJSON_READ_STOP_WHEN_DONE);
    yyjson_val *root = yyjson_doc_get_root(d);
    buf_done(&b);
    if (rc || !root) {
        yyjson_doc_free(d);
        return error_set(err, rc ? -rc : EPROTO, "%s does not answer: %s", socket, rc ? strerror(-rc) : "no JSON");
    }
    if (!yyjson_get_bool(yyjson_obj_get(root, "ok"))) {
        const char *why = yyjson_get_str(yyjson_obj_get(root, "error"));
        rc = error_set(err, EPROTO, "%s", why ? why : "refused");
    }
    if (!rc && ret)
        *ret = d;
    else
        yyjson_doc_free(d);
    return rc;
}
