/* Which request gets what, and whether it may: the edge's HTTP surface without sockets (tests drive it directly). */
#ifndef MERIDIAN_EDGE_EDGE_ROUTES_H
#define MERIDIAN_EDGE_EDGE_ROUTES_H

#include "edge/keys.h"
#include "edge/metrics.h"
#include "edge/openai.h"
#include "edge/uploads.h"
#include "http/http.h"

struct edge_routes {
    struct openai *openai;
    struct engine *engine;
    struct metrics *metrics;
    struct keys *keys;
    struct uploads *uploads; /* NULL: none are taken */
    bool keys_needed;        /* there were keys at the start: then always */
    const char *model;
    const char *cors_origin; /* NULL: off */
    int64_t started;         /* seconds since 1970 */
    int64_t tls_not_after;   /* 0: no TLS */
    int64_t (*link_not_after)(void *user);
    void *link_user;
};

/* The functions of struct http_config; user is the struct edge_routes. */
bool edge_routes_admit(void *user, const struct http_request *rq, struct http_answer *a);
void edge_routes_handle(void *user, const struct http_request *rq, struct http_answer *a);
void edge_routes_too_large(void *user, size_t most, struct http_answer *a);
void edge_routes_done(void *user, const struct http_done *d);

#endif
