/* libmicrohttpd on one side, http_answer on the other. A connection whose answer is not there yet is suspended, and
 * resumed by the answer's wake, so it costs nothing while it waits; the watch hears when its client leaves meanwhile. */
#include "http/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/http_listen.h"
#include "http/http_watch.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_DAEMONS 16

struct http_server {
    struct http_config cfg;
    struct MHD_Daemon *daemons[MOST_DAEMONS];
    size_t n_daemons;
    uint16_t port;
    atomic_bool stopping;
    bool quiet; /* listening sockets are closed */
    struct http_watch *watch;
};

/* One request on one connection, from its head until it is over. */
struct call {
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_answer *answer;
    struct http_watched watched;
    struct buf body;
    size_t seen; /* body bytes that came, kept or not */
    bool handled, queued;
    bool parked; /* under the answer's lock */
    int64_t started_ns;
};

static void call_park(void *ctx)
{
    struct call *c = ctx;
    c->parked = true;
    MHD_suspend_connection(c->connection);
}

static void call_wake(void *ctx)
{
    struct call *c = ctx;
    if (!c->parked)
        return;
    c->parked = false;
    MHD_resume_connection(c->connection);
}

static struct call *call_create(struct http_server *s, struct MHD_Connection *connection)
{
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->answer = http_answer_create(s->cfg.stream_bytes_most);
    if (!c->answer) {
        free(c);
        return NULL;
    }
    c->server = s;
    c->connection = connection;
    c->started_ns = clock_now_ns();
    http_answer_attach(c->answer, call_wake, c);
    http_watch_add(s->watch, &c->watched, c->answer);
    return c;
}

static void on_completed(
    void *cls, struct MHD_Connection *connection, void **con_cls, enum MHD_RequestTerminationCode why)
{
    struct http_server *s = cls;
    struct call *c = *con_cls;
    if (!c)
        return;
    *con_cls = NULL;
    http_answer_detach(c->answer);
    http_answer_gone(c->answer);
    struct http_head head;
    http_answer_head(c->answer, &head, NULL, NULL);
    struct http_done d = {.tag = http_answer_tag(c->answer),
        .status = head.status,
        .gone = why != MHD_REQUEST_TERMINATED_COMPLETED_OK,
        .took_ns = clock_now_ns() - c->started_ns};
    if (s->cfg.done)
        s->cfg.done(s->cfg.user, &d);
    http_watch_remove(s->watch, &c->watched);
    http_answer_unref(c->answer);
    buf_done(&c->body);
    free(c);
}

/* --- from answer to client --- */

static ssize_t read_stream(void *cls, uint64_t pos, char *to, size_t cap)
{
    struct call *c = cls;
    bool stopping = atomic_load(&c->server->stopping);
    ssize_t n = http_answer_take(c->answer, to, cap, stopping ? NULL : call_park, c);
    if (n == -1)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == -2 || (n == 0 && stopping))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return n;
}

static struct MHD_Response *response_of(struct call *c, const struct http_head *head)
{
    if (head->stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read_stream, c, NULL);
    struct buf body;
    http_answer_take_all(c->answer, &body);
    struct MHD_Response *r = MHD_create_response_from_buffer_with_free_callback(body.len, body.data, free);
    if (!r)
        buf_done(&body);
    return r;
}

static enum MHD_Result queue(struct call *c, const struct http_head *head)
{
    struct MHD_Response *r = response_of(c, head);
    if (!r)
        return MHD_NO;
    c->queued = true;
    if (head->type[0])
        MHD_add_response_header(r, "Content-Type", head->type);
    for (const char *h = head->headers; *h;) {
        const char *value = h + strlen(h) + 1;
        MHD_add_response_header(r, h, value);
        h = value + strlen(value) + 1;
    }
    enum MHD_Result rc = MHD_queue_response(c->connection, (unsigned)head->status, r);
    MHD_destroy_response(r);
    return rc;
}

/* --- from client to handler --- */

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static const char *any_header(const void *c, const char *name)
{
    return header((struct MHD_Connection *)c, name);
}

static void request_of(struct http_request *ret, struct call *c, const char *url, const char *method)
{
    struct MHD_Connection *mc = c->connection;
    const union MHD_ConnectionInfo *peer = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *ret = (struct http_request){
        .method = method,
        .path = url,
        .authorization = header(mc, "Authorization"),
        .origin = header(mc, "Origin"),
        .host = header(mc, "Host"),
        .fetch_site = header(mc, "Sec-Fetch-Site"),
        .body = c->body.data,
        .len = c->body.len,
        .loopback = peer && peer->client_addr && http_address_is_loopback(peer->client_addr),
        .tls = c->server->cfg.cert_pem != NULL,
        .header = any_header,
        .headers = mc,
    };
}

static void answer_too_large(struct http_server *s, struct http_answer *a)
{
    static const char text[] = "The request body is larger than this server accepts.\n";
    if (s->cfg.too_large)
        s->cfg.too_large(s->cfg.user, s->cfg.body_most, a);
    else
        http_answer_send(a, 413, "text/plain", text, sizeof(text) - 1);
}

/* The head is here, the body not yet: what can be refused now is refused before it is sent. */
static enum MHD_Result on_head(struct call *c, const char *url, const char *method)
{
    struct http_server *s = c->server;
    struct http_request rq;
    request_of(&rq, c, url, method);
    if (s->cfg.admit && !s->cfg.admit(s->cfg.user, &rq, c->answer)) {
        c->handled = true;
    } else {
        const char *length = header(c->connection, "Content-Length");
        if (length && strtoull(length, NULL, 10) > s->cfg.body_most) {
            answer_too_large(s, c->answer);
            c->handled = true;
        }
    }
    struct http_head head;
    if (!c->handled)
        return MHD_YES;
    return http_answer_head(c->answer, &head, NULL, NULL) && head.status ? queue(c, &head) : MHD_NO;
}

/* A chunked body has no length beforehand: the rest is read and dropped, within reason. */
static enum MHD_Result on_body(struct call *c, const char *data, size_t *len)
{
    size_t most = c->server->cfg.body_most;
    c->seen += *len;
    if (c->seen <= most && buf_append(&c->body, data, *len))
        return MHD_NO;
    if (c->seen > most)
        buf_done(&c->body);
    *len = 0;
    return c->seen > most * 4 + (1 << 20) ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_whole(struct call *c, const char *url, const char *method)
{
    struct http_server *s = c->server;
    if (!c->handled) {
        struct http_request rq;
        request_of(&rq, c, url, method);
        c->handled = true;
        if (c->seen > s->cfg.body_most)
            answer_too_large(s, c->answer);
        else
            s->cfg.handle(s->cfg.user, &rq, c->answer);
        buf_done(&c->body);
        const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (fd)
            http_watch_hangup(s->watch, &c->watched, fd->connect_fd);
    }
    struct http_head head;
    bool stopping = atomic_load(&s->stopping);
    if (!http_answer_head(c->answer, &head, stopping ? NULL : call_park, c))
        return stopping ? MHD_NO : MHD_YES;
    return head.status ? queue(c, &head) : MHD_NO;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *data, size_t *len, void **con_cls)
{
    struct call *c = *con_cls;
    if (!c) {
        c = call_create(cls, connection);
        *con_cls = c;
        return c ? on_head(c, url, method) : MHD_NO;
    }
    if (*len)
        return on_body(c, data, len);
    return c->queued ? MHD_YES : on_whole(c, url, method);
}

/* --- start and stop --- */

static void on_log(void *cls, const char *fmt, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\r\n")] = 0;
    log_debug("http: %s", text);
}

static struct MHD_Daemon *start_daemon(struct http_server *s, int fd)
{
    const struct http_config *cfg = &s->cfg;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem more[3] = {{MHD_OPTION_END, 0, NULL}};
    int n = 0;
    if (cfg->n_threads > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, cfg->n_threads, NULL};
    if (cfg->cert_pem) {
        flags |= MHD_USE_TLS;
        more[n++] = (struct MHD_OptionItem){
            MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"};
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    struct MHD_OptionItem tls[3] = {{MHD_OPTION_END, 0, NULL}};
    if (cfg->cert_pem) {
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cfg->cert_pem};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)cfg->key_pem};
        tls[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)cfg->connections_most, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)cfg->per_address_most,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)cfg->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
        MHD_OPTION_ARRAY, more, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

static int open_name(struct http_server *s, const char *text, struct error *err)
{
    struct http_listen_name name;
    int fds[8], rc = http_listen_parse(&name, text, err);
    if (rc)
        return rc;
    int n = http_listen_open(&name, fds, 8, err);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        struct MHD_Daemon *d = rc || s->n_daemons == MOST_DAEMONS ? NULL : start_daemon(s, fds[i]);
        if (!d) {
            close(fds[i]);
            rc = rc ? rc
                    : error_set(err, EIO, "cannot serve on %s%s", text,
                          s->cfg.cert_pem ? "; are the TLS certificate and key a matching pair in PEM?" : "");
            continue;
        }
        if (!s->n_daemons)
            s->port = http_listen_port(fds[i]);
        s->daemons[s->n_daemons++] = d;
    }
    return rc;
}

static void set_defaults(struct http_config *cfg)
{
    cfg->body_most = cfg->body_most ? cfg->body_most : 4 << 20;
    cfg->connections_most = cfg->connections_most ? cfg->connections_most : 1024;
    cfg->per_address_most = cfg->per_address_most ? cfg->per_address_most : 256;
    cfg->idle_s = cfg->idle_s ? cfg->idle_s : 60;
    cfg->stream_bytes_most = cfg->stream_bytes_most ? cfg->stream_bytes_most : 256 << 10;
    cfg->n_threads = cfg->n_threads ? cfg->n_threads : 2;
}

int http_server_start(struct http_server **ret, const struct http_config *cfg, struct error *err)
{
    struct http_server *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ENOMEM, "no memory");
    s->cfg = *cfg;
    set_defaults(&s->cfg);
    int rc = http_watch_create(&s->watch, err);
    for (size_t i = 0; i < cfg->n_listen && !rc; i++)
        rc = open_name(s, cfg->listen[i], err);
    if (rc) {
        http_server_stop(s, 0);
        return rc;
    }
    *ret = s;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_quiesce(struct http_server *s)
{
    if (s->quiet)
        return;
    s->quiet = true;
    for (size_t i = 0; i < s->n_daemons; i++) {
        int fd = MHD_quiesce_daemon(s->daemons[i]);
        if (fd >= 0)
            close(fd);
    }
}

void http_server_stop(struct http_server *s, int64_t grace_ns)
{
    if (!s)
        return;
    if (s->watch) {
        http_server_quiesce(s);
        http_watch_wait_empty(s->watch, grace_ns);
        atomic_store(&s->stopping, true);
        http_watch_give_up(s->watch);
    }
    for (size_t i = 0; i < s->n_daemons; i++)
        MHD_stop_daemon(s->daemons[i]);
    http_watch_free(s->watch);
    free(s);
}
