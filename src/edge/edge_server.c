#include "edge/edge_server.h"

#include "base/clock.h"
#include "base/log.h"
#include "edge/edge_routes.h"
#include "http/http_listen.h"
#include "http/tls_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct edge_server {
    struct http_server *http;
    struct edge_routes routes;
    struct metrics metrics;
    struct tls_files tls;
    char *model, *fingerprint, *cors_origin;
    char url[320];
    int64_t stop_grace_ns;
};

static int no_memory(struct error *err)
{
    return error_set(err, ENOMEM, "no memory");
}

static int set_names(struct edge_server *s, const struct edge_config *cfg, struct error *err)
{
    uint32_t hash = 2166136261u;
    for (const char *p = cfg->model; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    char made[32];
    snprintf(made, sizeof(made), "fp_%08x", hash);
    s->model = strdup(cfg->model);
    s->fingerprint = strdup(cfg->fingerprint ? cfg->fingerprint : made);
    s->cors_origin = cfg->cors_origin ? strdup(cfg->cors_origin) : NULL;
    if (!s->model || !s->fingerprint || (cfg->cors_origin && !s->cors_origin))
        return no_memory(err);
    const char *scheme = cfg->cors_origin ? strstr(cfg->cors_origin, "://") : NULL;
    if (cfg->cors_origin && (!scheme || !scheme[3] || strchr(scheme + 3, '/')))
        return error_set(err, EINVAL,
            "--cors takes one origin such as https://console.example, without a path; not \"%.100s\"",
            cfg->cors_origin);
    return 0;
}

/* Without keys anybody who reaches the port may ask; then only this machine may reach it. */
static int check_open(struct edge_server *s, const char *const *listen, size_t n, struct error *err)
{
    s->routes.keys_needed = keys_any(s->routes.keys);
    for (size_t i = 0; i < n && !s->routes.keys_needed; i++) {
        struct http_listen_name name;
        int rc = http_listen_parse(&name, listen[i], err);
        if (rc)
            return rc;
        if (!http_listen_is_loopback(&name))
            return error_set(err, EACCES,
                "%.100s can be reached from other machines, and there are no API keys; make one with `meridian edge "
                "key add "
                "NAME`, or listen on localhost",
                listen[i]);
    }
    if (!s->routes.keys_needed)
        log_warn("no API keys: anybody on this machine may use the API; `meridian edge key add NAME` makes one");
    return 0;
}

static int load_tls(struct edge_server *s, const struct edge_config *cfg, struct error *err)
{
    if (!cfg->tls)
        return 0;
    int rc;
    if (cfg->cert_file && cfg->key_file)
        rc = tls_files_load(&s->tls, cfg->cert_file, cfg->key_file, err);
    else if (cfg->cert_file || cfg->key_file || !cfg->tls_dir)
        rc = error_set(
            err, EINVAL, "HTTPS needs a certificate file and a key file together, or a folder for a self-signed pair");
    else
        rc = tls_files_self_signed(&s->tls, cfg->tls_dir, NULL, err);
    s->routes.tls_not_after = s->tls.not_after;
    if (!rc && s->tls.made)
        log_info("made a self-signed certificate, SHA-256 %s", s->tls.fingerprint);
    return rc;
}

static int start_openai(struct edge_server *s, const struct edge_config *cfg, struct error *err)
{
    struct openai_config o = {
        .engine = cfg->engine,
        .tokenizer = cfg->tokenizer,
        .metrics = &s->metrics,
        .family = cfg->family,
        .model = s->model,
        .fingerprint = s->fingerprint,
        .default_max_tokens = cfg->default_max_tokens,
        .choices_most = cfg->choices_most,
        .per_key_most = cfg->per_key_most,
    };
    s->routes.engine = cfg->engine;
    s->routes.metrics = &s->metrics;
    s->routes.model = s->model;
    s->routes.cors_origin = s->cors_origin;
    s->routes.started = time(NULL);
    s->routes.link_not_after = cfg->link_not_after;
    s->routes.link_user = cfg->link_user;
    return openai_create(&s->routes.openai, &o, err);
}

static int start_http(
    struct edge_server *s, const struct edge_config *cfg, const char *const *listen, size_t n, struct error *err)
{
    struct http_config h = {
        .listen = listen,
        .n_listen = n,
        .cert_pem = s->tls.cert_pem,
        .key_pem = s->tls.key_pem,
        .body_most = cfg->body_most,
        .connections_most = cfg->connections_most,
        .idle_s = cfg->idle_s,
        .admit = edge_routes_admit,
        .handle = edge_routes_handle,
        .too_large = edge_routes_too_large,
        .done = edge_routes_done,
        .user = &s->routes,
    };
    int rc = http_server_start(&s->http, &h, err);
    if (rc)
        return rc;
    struct http_listen_name name;
    http_listen_parse(&name, listen[0], NULL);
    bool six = strchr(name.host, ':');
    snprintf(s->url, sizeof(s->url), "%s://%s%s%s:%u", cfg->tls ? "https" : "http", six ? "[" : "",
        name.host[0] ? name.host : "localhost", six ? "]" : "", http_server_port(s->http));
    return 0;
}

int edge_server_start(struct edge_server **ret, const struct edge_config *cfg, struct error *err)
{
    static const char *const usual[] = {"localhost:8080"};
    const char *const *listen = cfg->listen ? cfg->listen : usual;
    size_t n = cfg->listen ? cfg->n_listen : 1;
    struct edge_server *s = calloc(1, sizeof(*s));
    if (!s)
        return no_memory(err);
    s->stop_grace_ns = cfg->stop_grace_ms * NS_PER_MS;
    int rc = set_names(s, cfg, err);
    if (!rc)
        rc = keys_open(&s->routes.keys, cfg->keys_file, err);
    if (!rc)
        rc = check_open(s, listen, n, err);
    if (!rc)
        rc = load_tls(s, cfg, err);
    if (!rc && cfg->uploads_dir)
        rc = uploads_open(&s->routes.uploads, &(struct uploads_config){.dir = cfg->uploads_dir}, err);
    if (!rc)
        rc = start_openai(s, cfg, err);
    if (!rc)
        rc = start_http(s, cfg, listen, n, err);
    if (rc) {
        edge_server_stop(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void edge_server_stop(struct edge_server *s)
{
    if (!s)
        return;
    if (s->http)
        http_server_quiesce(s->http);
    if (s->routes.openai)
        openai_stop(s->routes.openai, s->stop_grace_ns);
    http_server_stop(s->http, 2 * NS_PER_S);
    openai_free(s->routes.openai);
    uploads_close(s->routes.uploads);
    keys_close(s->routes.keys);
    tls_files_done(&s->tls);
    free(s->model);
    free(s->fingerprint);
    free(s->cors_origin);
    free(s);
}

uint16_t edge_server_port(const struct edge_server *s)
{
    return http_server_port(s->http);
}

const char *edge_server_url(const struct edge_server *s)
{
    return s->url;
}

const char *edge_server_tls_fingerprint(const struct edge_server *s)
{
    return s->tls.fingerprint;
}

bool edge_server_tls_is_new(const struct edge_server *s)
{
    return s->tls.made;
}

bool edge_server_open(const struct edge_server *s)
{
    return !s->routes.keys_needed;
}
