/* Admission in this order: is the origin allowed, does the path exist, is the method right, is the key known. A web page
 * from elsewhere is refused unless its origin was allowed by name, so no page can use an edge that trusts its machine; and
 * such an edge answers only to names of this machine (a stranger's name that points here is DNS rebinding). */
#include "edge/edge_routes.h"

#include "base/clock.h"
#include "edge/json_put.h"
#include "edge/openai_json.h"
#include "edge/page.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct route {
    const char *path; /* ends with '*': any continuation */
    const char *methods;
    enum edge_route route;
    enum { OPEN, KEY, KEY_OR_LOOPBACK } who;
};

static const struct route routes[] = {
    {"/v1/chat/completions", "POST", ROUTE_CHAT, KEY},
    {"/v1/completions", "POST", ROUTE_COMPLETIONS, KEY},
    {"/v1/models", "GET, HEAD", ROUTE_MODELS, KEY},
    {"/v1/models/*", "GET, HEAD", ROUTE_MODELS, KEY},
    {UPLOADS_PATH, "GET, HEAD, OPTIONS, POST", ROUTE_UPLOADS, KEY},
    {UPLOADS_PATH "/*", "HEAD, OPTIONS, PATCH, DELETE", ROUTE_UPLOADS, KEY},
    {"/health", "GET, HEAD", ROUTE_HEALTH, OPEN},
    {"/metrics", "GET, HEAD", ROUTE_METRICS, KEY_OR_LOOPBACK},
};

static bool path_matches(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);
    if (pattern[n - 1] == '*')
        return !strncmp(pattern, path, n - 1) && path[n - 1];
    return !strcmp(pattern, path);
}

static const struct page_file *find_page(const char *path)
{
    for (const struct page_file *f = page_files; f->path; f++)
        if (!strcmp(f->path, path))
            return f;
    return NULL;
}

static const struct route *find_route(const char *path)
{
    static const struct route page = {"/", "GET, HEAD", ROUTE_PAGE, OPEN};
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (path_matches(routes[i].path, path))
            return &routes[i];
    return find_page(path) ? &page : NULL;
}

static bool method_in(const char *list, const char *method)
{
    size_t n = strlen(method);
    for (const char *p = list; (p = strstr(p, method)); p += n)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ','))
            return true;
    return false;
}

static bool fail(struct http_answer *a, int status, const char *code, const char *text)
{
    struct openai_error e;
    openai_fail(&e, status, code, NULL, "%s", text);
    openai_error_send(&e, a);
    return false;
}

/* --- origins --- */

static bool is_own_origin(const struct http_request *rq)
{
    const char *host = strstr(rq->origin, "://");
    return host && rq->host && !strcasecmp(host + 3, rq->host) &&
           !strncasecmp(rq->origin, rq->tls ? "https" : "http", (size_t)(host - rq->origin));
}

static bool is_allowed_origin(const struct edge_routes *r, const struct http_request *rq)
{
    return r->cors_origin && !strcmp(rq->origin, r->cors_origin);
}

static bool host_is_local(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(names[i]);
        if (!strncasecmp(host, names[i], n) && (!host[n] || host[n] == ':'))
            return true;
    }
    return false;
}

static void add_cors(const struct edge_routes *r, const struct http_request *rq, struct http_answer *a)
{
    if (!r->cors_origin)
        return;
    http_answer_header(a, "Vary", "Origin");
    if (!rq->origin || !is_allowed_origin(r, rq))
        return;
    http_answer_header(a, "Access-Control-Allow-Origin", r->cors_origin);
    http_answer_header(a, "Access-Control-Expose-Headers",
        "Retry-After, Location, Upload-Offset, Upload-Length, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size");
}

static bool answer_preflight(const struct edge_routes *r, const struct http_request *rq, struct http_answer *a)
{
    if (strcmp(rq->method, "OPTIONS") || !rq->origin || !is_allowed_origin(r, rq))
        return false;
    http_answer_header(a, "Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE");
    http_answer_header(a, "Access-Control-Allow-Headers", "Authorization, Content-Type, *");
    http_answer_header(a, "Access-Control-Max-Age", "600");
    http_answer_send(a, 204, "", "", 0);
    return true;
}

/* --- who --- */

static bool may(
    struct edge_routes *r, const struct http_request *rq, const struct route *route, char key[KEY_NAME_MOST + 1])
{
    key[0] = 0;
    if (route->who == OPEN || keys_check(r->keys, rq->authorization, key))
        return true;
    if (!rq->loopback)
        return false;
    return route->who == KEY_OR_LOOPBACK || (!r->keys_needed && !keys_any(r->keys));
}

static bool refuse_stranger(struct edge_routes *r, const struct http_request *rq, struct http_answer *a)
{
    if (rq->authorization)
        return fail(a, 401, "invalid_api_key", "This API key is not known here.");
    if (r->keys_needed || keys_any(r->keys))
        return fail(a, 401, "missing_api_key", "An API key is needed: send the header 'Authorization: Bearer KEY'.");
    return fail(a, 401, "missing_api_key",
        "This server has no API keys, so it answers its own machine only; make one with `meridian edge key add NAME`.");
}

bool edge_routes_admit(void *user, const struct http_request *rq, struct http_answer *a)
{
    struct edge_routes *r = user;
    char key[KEY_NAME_MOST + 1];
    const struct route *route = find_route(rq->path);
    http_answer_set_tag(a, route ? (int)route->route : ROUTE_OTHER);
    http_answer_header(a, "X-Content-Type-Options", "nosniff");
    add_cors(r, rq, a);
    if (answer_preflight(r, rq, a))
        return false;
    if (rq->origin && !is_own_origin(rq) && !is_allowed_origin(r, rq))
        return fail(a, 403, "origin_not_allowed",
            "Requests from other web pages are not allowed; the server's administrator can allow one origin with "
            "--cors.");
    if (!r->keys_needed && rq->host && !host_is_local(rq->host) && rq->loopback && !keys_any(r->keys))
        return fail(a, 403, "host_not_allowed",
            "A server without API keys answers only to localhost, 127.0.0.1 and [::1]; use one of these names.");
    if (!route)
        return fail(a, 404, "unknown_url",
            "There is nothing at this path; the API is at /v1/chat/completions, /v1/completions and /v1/models.");
    if (route->route == ROUTE_UPLOADS && !r->uploads)
        return fail(a, 404, "no_uploads", "Uploads are not taken here; start the edge with --uploads FOLDER.");
    if (!method_in(route->methods, rq->method)) {
        http_answer_header(a, "Allow", route->methods);
        return fail(a, 405, "method_not_allowed", "This path does not take this method; see the Allow header.");
    }
    return may(r, rq, route, key) || refuse_stranger(r, rq, a);
}

/* --- what --- */

static void send_buf(struct http_answer *a, int status, const char *type, struct buf *b)
{
    http_answer_send(a, status, type, b->data, b->len);
    buf_done(b);
}

static void answer_models(struct edge_routes *r, const char *path, struct http_answer *a)
{
    static const char prefix[] = "/v1/models/";
    struct buf b = {0};
    bool list = strncmp(path, prefix, sizeof(prefix) - 1) != 0;
    if (!list && strcmp(path + sizeof(prefix) - 1, r->model)) {
        struct openai_error e;
        openai_fail(&e, 404, "model_not_found", "model", "This server has only the model '%.200s'.", r->model);
        openai_error_send(&e, a);
        return;
    }
    openai_json_models(r->model, r->started, list, &b);
    send_buf(a, 200, "application/json", &b);
}

/* Ready, or degraded while the cloud cannot be reached (then requests wait, and load balancers should look elsewhere). */
static void answer_health(struct edge_routes *r, struct http_answer *a)
{
    struct engine_stats s;
    struct buf b = {0};
    engine_stats(r->engine, &s);
    bool local = strstr(s.middle.peer, "in this process") != NULL;
    buf_printf(&b, "{\"status\":\"%s\",\"link\":{\"up\":%s,\"local\":%s,\"rtt_ms\":%.3f},\"model\":",
        s.middle.up ? "ready" : "degraded", s.middle.up ? "true" : "false", local ? "true" : "false", s.middle.rtt_ms);
    json_put_cstr(&b, r->model);
    buf_printf(&b, ",\"running\":%u,\"waiting\":%u", s.running, s.waiting);
    if (!s.middle.up) {
        buf_printf(&b, ",\"reason\":");
        json_put_cstr(&b, s.trouble[0] ? s.trouble : "the cloud cannot be reached; requests wait until it is back");
    }
    buf_printf(&b, "}\n");
    http_answer_header(a, "Cache-Control", "no-store");
    send_buf(a, s.middle.up ? 200 : 503, "application/json", &b);
}

static void answer_metrics(struct edge_routes *r, struct http_answer *a)
{
    struct engine_stats s;
    struct buf b = {0};
    struct metrics_certs certs = {.now = time(NULL), .tls_not_after = r->tls_not_after};
    if (r->link_not_after)
        certs.link_not_after = r->link_not_after(r->link_user);
    engine_stats(r->engine, &s);
    metrics_text(r->metrics, &s, &certs, &b);
    send_buf(a, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void answer_page(const char *path, struct http_answer *a)
{
    const struct page_file *f = find_page(path);
    http_answer_header(a, "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'");
    http_answer_header(a, "X-Frame-Options", "DENY");
    http_answer_header(a, "Referrer-Policy", "no-referrer");
    http_answer_header(a, "Cache-Control", "no-cache");
    http_answer_send(a, 200, f->type, f->bytes, f->len);
}

void edge_routes_handle(void *user, const struct http_request *rq, struct http_answer *a)
{
    struct edge_routes *r = user;
    char key[KEY_NAME_MOST + 1];
    const struct route *route = find_route(rq->path);
    /* Asked again: a key may have been removed while its body was on the way. */
    if (!route || !may(r, rq, route, key)) {
        refuse_stranger(r, rq, a);
        return;
    }
    switch (route->route) {
    case ROUTE_CHAT:
        openai_generate(r->openai, OPENAI_CHAT, key, rq->body, rq->len, a);
        break;
    case ROUTE_COMPLETIONS:
        openai_generate(r->openai, OPENAI_COMPLETION, key, rq->body, rq->len, a);
        break;
    case ROUTE_MODELS:
        answer_models(r, rq->path, a);
        break;
    case ROUTE_HEALTH:
        answer_health(r, a);
        break;
    case ROUTE_UPLOADS:
        uploads_handle(r->uploads, rq, key, a);
        break;
    case ROUTE_METRICS:
        answer_metrics(r, a);
        break;
    default:
        answer_page(rq->path, a);
    }
}

void edge_routes_too_large(void *user, size_t most, struct http_answer *a)
{
    struct openai_error e;
    openai_fail(
        &e, 413, "request_too_large", NULL, "The request body is larger than the %zu bytes this server accepts.", most);
    openai_error_send(&e, a);
}

void edge_routes_done(void *user, const struct http_done *d)
{
    struct edge_routes *r = user;
    metrics_answer(r->metrics, (enum edge_route)d->tag, d->status);
}
