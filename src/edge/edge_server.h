/* The HTTP side of the campus appliance: API, chat page, health and metrics, over an engine that runs already. */
#ifndef MERIDIAN_EDGE_EDGE_SERVER_H
#define MERIDIAN_EDGE_EDGE_SERVER_H

#include "base/error.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "split/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge_config {
    struct engine *engine; /* stays the caller's, outlives the server; likewise the tokenizer */
    const struct tokenizer *tokenizer;
    enum chat_family family;
    const char *model;       /* what clients call it, e.g. "qwen2.5-7b" */
    const char *fingerprint; /* names weights and version, e.g. of the cut; NULL: from the model's name */

    const char *const *listen; /* as in http.h; NULL: "localhost:8080" alone */
    size_t n_listen;

    const char *keys_file;   /* NULL: no keys, and then loopback only */
    const char *cors_origin; /* NULL: no other web page may use the API */
    bool tls;                /* HTTPS. With cert_file and key_file, or a self-signed pair kept in tls_dir */
    const char *cert_file, *key_file, *tls_dir;

    const char *uploads_dir;     /* where files that hosts send up are kept; NULL: none are taken */
    size_t body_most;            /* bytes; 0: 4 MiB */
    uint32_t connections_most;   /* 0: 1024 */
    uint32_t idle_s;             /* 0: 60 */
    uint32_t per_key_most;       /* generation requests of one key at once; 0: 64 */
    uint32_t choices_most;       /* of one request; 0: 16 */
    uint32_t default_max_tokens; /* when a chat request names none; 0: 2048 */
    uint32_t stop_grace_ms;      /* how long answers may go on after edge_server_stop */

    /* When the certificate towards the cloud ends, seconds since 1970, 0 unknown; any thread. May be NULL. */
    int64_t (*link_not_after)(void *user);
    void *link_user;
};

struct edge_server;

/* -EACCES when it would listen beyond this machine without any key. Copies all strings. */
int edge_server_start(struct edge_server **ret, const struct edge_config *cfg, struct error *err);
/* No new requests; those running may end for stop_grace_ms, then end with a clear error. NULL allowed. */
void edge_server_stop(struct edge_server *s);

uint16_t edge_server_port(const struct edge_server *s);
/* "http://localhost:8080", for a person. */
const char *edge_server_url(const struct edge_server *s);
const char *edge_server_tls_fingerprint(const struct edge_server *s); /* "" without TLS */
bool edge_server_tls_is_new(const struct edge_server *s);             /* a self-signed pair was made just now */
bool edge_server_open(const struct edge_server *s);                   /* no keys: anybody on this machine may ask */

#endif
