#include "router/ctl_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MOST (256u << 20) /* a show of a very large table */

int ctl_client_open(struct ctl_client *c, const char *path, struct error *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    *c = (struct ctl_client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    snprintf(c->path, sizeof(c->path), "%s", path);
    if (strlen(path) >= sizeof(to.sun_path) || c->fd < 0)
        return error_set(err, EINVAL, "%s: no socket's path", path);
    strcpy(to.sun_path, path);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return 0;
    int code = errno;
    ctl_client_close(c);
    return error_set(err, code, "%s: no router answers there: %s", path, strerror(code));
}

void ctl_client_close(struct ctl_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_done(&c->in);
}

int ctl_client_ask(struct ctl_client *c, yyjson_mut_doc *doc, struct error *err)
{
    size_t len, done = 0;
    char *text = doc ? yyjson_mut_write(doc, 0, &len) : NULL;
    yyjson_mut_doc_free(doc);
    if (!text)
        return error_set(err, ENOMEM, "no memory");
    text[len++] = '\n'; /* in place of its NUL */
    while (done < len) {
        ssize_t n = send(c->fd, text + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    free(text);
    return done == len ? 0 : error_set(err, errno, "%s: %s", c->path, strerror(errno));
}

static int more(struct ctl_client *c, int timeout_ms, struct error *err)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int rc = poll(&p, 1, timeout_ms);
    if (rc == 0)
        return error_set(err, ETIMEDOUT, "%s: no answer", c->path);
    if (rc < 0)
        return error_set(err, errno, "%s: %s", c->path, strerror(errno));
    if (buf_reserve(&c->in, 65536))
        return error_set(err, ENOMEM, "no memory");
    ssize_t n = recv(c->fd, c->in.data + c->in.len, 65536, 0);
    if (n <= 0)
        return error_set(err, n ? errno : EPIPE, "%s: the router has closed the line", c->path);
    c->in.len += (size_t)n;
    return 0;
}

static int refusal(yyjson_doc *doc, struct error *err)
{
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *says = yyjson_get_str(yyjson_obj_get(root, "error"));
    if (yyjson_get_bool(yyjson_obj_get(root, "ok")))
        return 0;
    return error_set(err, EIO, "%s", says ? says : "an answer that is none");
}

int ctl_client_line(struct ctl_client *c, yyjson_doc **ret, int timeout_ms, struct error *err)
{
    char *end;
    size_t seen = 0;
    while (!(end = c->in.len > seen ? memchr(c->in.data + seen, '\n', c->in.len - seen) : NULL)) {
        seen = c->in.len;
        int rc = seen > LINE_MOST ? error_set(err, EFBIG, "%s: an endless answer", c->path) : more(c, timeout_ms, err);
        if (rc)
            return rc;
    }
    size_t len = (size_t)(end - (char *)c->in.data);
    yyjson_doc *doc = yyjson_read((char *)c->in.data, len, 0);
    buf_consume(&c->in, len + 1);
    int rc = doc ? refusal(doc, err) : error_set(err, EPROTO, "%s: an answer that is no JSON", c->path);
    if (rc) {
        yyjson_doc_free(doc);
        return rc;
    }
    *ret = doc;
    return 0;
}

ssize_t ctl_client_bytes(struct ctl_client *c, void *to, size_t most)
{
    if (!c->in.len)
        return recv(c->fd, to, most, 0);
    size_t n = c->in.len < most ? c->in.len : most;
    memcpy(to, c->in.data, n);
    buf_consume(&c->in, n);
    return (ssize_t)n;
}

int ctl_client_show(struct ctl_client *c, const char *what, yyjson_doc **ret, struct error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
    if (!root) {
        yyjson_mut_doc_free(doc);
        return error_set(err, ENOMEM, "no memory");
    }
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_str(doc, root, "do", "show");
    yyjson_mut_obj_add_strcpy(doc, root, "what", what);
    int rc = ctl_client_ask(c, doc, err);
    return rc ? rc : ctl_client_line(c, ret, 10000, err);
}
