#include "router/ctl.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct ctl {
    struct router *router;
    struct reactor_watch watch;
    char path[CONFIG_PATH];
    struct ctl_conn *conns[CTL_CONNS];
};

/* --- answers -------------------------------------------------------------------------------------------------- */

static void hang_up(struct ctl_conn *k)
{
    struct ctl *c = k->control;
    if (k->end_work)
        k->end_work(k);
    reactor_timer_clear(&k->router->reactor, &k->timer);
    reactor_remove(&k->router->reactor, &k->watch);
    close(k->watch.fd);
    buf_done(&k->in);
    buf_done(&k->out);
    for (unsigned i = 0; i < CTL_CONNS; i++)
        if (c->conns[i] == k)
            c->conns[i] = NULL;
    free(k);
}

/* Ends k when it cannot be written to; so nothing may touch k after a call of this from its own handler but returns. */
void ctl_flush(struct ctl_conn *k)
{
    while (k->out.len) {
        ssize_t n = send(k->watch.fd, k->out.data, k->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            buf_consume(&k->out, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else {
            k->closing = true;
            k->out.len = 0;
        }
    }
    if (k->out.len > CTL_OUT_MOST) {
        k->closing = true;
        k->out.len = 0;
    }
    reactor_change(&k->router->reactor, &k->watch, (k->half ? 0 : EPOLLIN) | (k->out.len || k->closing ? EPOLLOUT : 0));
}

void ctl_send(struct ctl_conn *k, yyjson_mut_doc *doc)
{
    size_t len;
    char *text = yyjson_mut_write(doc, 0, &len);
    if (!text || buf_append(&k->out, text, len) || buf_append_str(&k->out, "\n"))
        k->closing = true;
    free(text);
    yyjson_mut_doc_free(doc);
    ctl_flush(k);
}

yyjson_mut_doc *ctl_answer(yyjson_mut_val **ret_root)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
    if (!root) {
        yyjson_mut_doc_free(doc);
        return NULL;
    }
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_bool(doc, root, "ok", true);
    *ret_root = root;
    return doc;
}

void ctl_fail(struct ctl_conn *k, const char *fmt, ...)
{
    char text[1200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = doc ? yyjson_mut_obj(doc) : NULL;
    if (!root) {
        k->closing = true;
        return;
    }
    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_bool(doc, root, "ok", false);
    yyjson_mut_obj_add_strcpy(doc, root, "error", text);
    ctl_send(k, doc);
}

/* --- what a request says ---------------------------------------------------------------------------------------- */

const char *ctl_text(struct ctl_conn *k, yyjson_val *rq, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(rq, name));
    if (!text)
        ctl_fail(k, "\"%s\" is missing", name);
    return text;
}

bool ctl_number(
    struct ctl_conn *k, yyjson_val *rq, const char *name, double least, double most, double fallback, double *ret)
{
    yyjson_val *v = yyjson_obj_get(rq, name);
    *ret = v ? yyjson_get_num(v) : fallback;
    if ((!v || yyjson_is_num(v)) && *ret >= least && *ret <= most)
        return true;
    ctl_fail(k, "\"%s\" is no number from %g to %g", name, least, most);
    return false;
}

bool ctl_port(struct ctl_conn *k, yyjson_val *rq, unsigned *ret)
{
    const char *name = ctl_text(k, rq, "port");
    if (!name)
        return false;
    for (unsigned i = 0; i < k->router->config.n_ports; i++)
        if (!strcmp(k->router->config.ports[i].name, name)) {
            *ret = i;
            return true;
        }
    ctl_fail(k, "there is no port \"%.40s\"", name);
    return false;
}

bool ctl_vrf(struct ctl_conn *k, yyjson_val *rq, uint32_t *ret)
{
    const char *name = yyjson_get_str(yyjson_obj_get(rq, "vrf"));
    *ret = 0;
    if (!name || !name[0])
        return true;
    for (unsigned i = 0; i < k->router->config.n_vrfs; i++)
        if (!strcmp(k->router->config.vrfs[i].name, name)) {
            *ret = k->router->config.vrfs[i].id;
            return true;
        }
    ctl_fail(k, "there is no VRF \"%.40s\"", name);
    return false;
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(struct ctl_conn *k, yyjson_val *rq);
} requests[] = {
    {"show", ctl_show},
    {"ping", ctl_ping},
    {"traceroute", ctl_traceroute},
    {"capture", ctl_capture},
    {"link", ctl_link},
    {"move", ctl_move},
    {"reload", ctl_reload},
    {"drain", ctl_drain},
};

static void take_line(struct ctl_conn *k, const char *line, size_t len)
{
    yyjson_doc *doc = yyjson_read(line, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *what = yyjson_get_str(yyjson_obj_get(root, "do"));
    size_t i = 0, n = sizeof(requests) / sizeof(*requests);
    while (what && i < n && strcmp(requests[i].name, what))
        i++;
    if (!what)
        ctl_fail(k, "a request is a JSON object with \"do\"");
    else if (i == n)
        ctl_fail(k, "\"%.40s\" is not known here", what);
    else
        requests[i].run(k, root);
    yyjson_doc_free(doc);
}

static void take_lines(struct ctl_conn *k)
{
    while (!k->busy && !k->closing) {
        char *end = k->in.len ? memchr(k->in.data, '\n', k->in.len) : NULL;
        if (!end)
            break;
        size_t len = (size_t)(end - (char *)k->in.data);
        take_line(k, (char *)k->in.data, len);
        buf_consume(&k->in, len + 1);
    }
    if (k->half && !k->busy) {
        k->closing = true;
        ctl_flush(k);
    }
}

void ctl_work_done(struct ctl_conn *k)
{
    if (k->end_work)
        k->end_work(k);
    k->end_work = NULL;
    k->work = NULL;
    k->busy = false;
    reactor_timer_clear(&k->router->reactor, &k->timer);
    take_lines(k);
}

static void receive(struct ctl_conn *k)
{
    char bytes[4096];
    ssize_t n = recv(k->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        k->half = true;
        reactor_change(&k->router->reactor, &k->watch, k->out.len ? EPOLLOUT : 0);
        /* Who waits for an answer may have said all; a capture is ended like this. */
        if (k->busy && k->end_work && n < 0)
            k->closing = true;
        return;
    }
    if (k->in.len + (size_t)n > CTL_LINE_MOST || buf_append(&k->in, bytes, (size_t)n))
        k->closing = true;
}

static void conn_ready(struct reactor_watch *w, uint32_t events)
{
    struct ctl_conn *k = w->user;
    if (events & EPOLLIN)
        receive(k);
    if (events & (EPOLLERR | EPOLLHUP)) {
        k->closing = true;
        k->out.len = 0;
    }
    if (events & EPOLLOUT)
        ctl_flush(k);
    if (!k->closing)
        take_lines(k);
    if (k->closing && !k->out.len)
        hang_up(k);
}

static void listener_ready(struct reactor_watch *w, uint32_t events)
{
    struct ctl *c = w->user;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    unsigned i = 0;
    if (fd < 0)
        return;
    while (i < CTL_CONNS && c->conns[i])
        i++;
    struct ctl_conn *k = i < CTL_CONNS ? calloc(1, sizeof(*k)) : NULL;
    if (!k) {
        close(fd);
        return;
    }
    *k = (struct ctl_conn){
        .control = c, .router = c->router, .watch = {.fd = fd, .ready = conn_ready}, .timer = {.user = k}};
    k->watch.user = k;
    if (reactor_add(&c->router->reactor, &k->watch, EPOLLIN)) {
        close(fd);
        free(k);
        return;
    }
    c->conns[i] = k;
}

/* --- the socket ------------------------------------------------------------------------------------------------- */

static int listen_at(const char *path, uid_t owner, struct error *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
        close(fd);
        return error_set(err, EADDRINUSE, "%s: another router answers there", path);
    }
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    mode_t mask = umask(0117);
    int rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&at, sizeof(at));
    int code = errno;
    umask(mask);
    if (rc == 0 && (chown(path, owner, (gid_t)-1) || listen(fd, 16))) {
        rc = -1;
        code = errno;
    }
    if (rc) {
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "control: cannot listen at %s: %s", path, strerror(code));
    }
    return fd;
}

int ctl_open(struct ctl **ret, struct router *r, const char *path, uid_t owner, struct error *err)
{
    struct ctl *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(err, ENOMEM, "no memory");
    int fd = listen_at(path, owner, err);
    if (fd < 0) {
        free(c);
        return fd;
    }
    c->router = r;
    snprintf(c->path, sizeof(c->path), "%s", path);
    c->watch = (struct reactor_watch){.fd = fd, .ready = listener_ready, .user = c};
    int rc = reactor_add(&r->reactor, &c->watch, EPOLLIN);
    if (rc) {
        close(fd);
        free(c);
        return error_set(err, -rc, "control: %s", strerror(-rc));
    }
    *ret = c;
    return 0;
}

void ctl_close(struct ctl *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < CTL_CONNS; i++)
        if (c->conns[i])
            hang_up(c->conns[i]);
    reactor_remove(&c->router->reactor, &c->watch);
    close(c->watch.fd);
    unlink(c->path);
    free(c);
}
