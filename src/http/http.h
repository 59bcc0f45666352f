/* An HTTP and HTTPS server (libmicrohttpd) for answers that take their time. A request is handed to one function with
 * its whole body; that function fills a `struct http_answer`, now or later from any thread. A few threads serve all
 * connections; a connection that waits costs no thread and no CPU. One more thread sleeps until a waiting client hangs up,
 * which the answer's writer then hears. */
#ifndef MERIDIAN_HTTP_HTTP_H
#define MERIDIAN_HTTP_HTTP_H

#include "base/error.h"
#include "http/http_answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings are valid during the call only; NULL where the header is not there. */
struct http_request {
    const char *method, *path;                              /* path: percent-decoded, without the query */
    const char *authorization, *origin, *host, *fetch_site; /* fetch_site: Sec-Fetch-Site */
    const uint8_t *body;
    size_t len;
    bool loopback; /* the peer is this machine */
    bool tls;
    /* Any other header: http_request_header. */
    const char *(*header)(const void *headers, const char *name);
    const void *headers;
};

/* NULL where it is not there. */
static inline const char *http_request_header(const struct http_request *rq, const char *name)
{
    return rq->header ? rq->header(rq->headers, name) : NULL;
}

struct http_done {
    int tag;         /* http_answer_tag's, 0 when none was set */
    int status;      /* 0: the client left before there was one */
    bool gone;       /* the client left before the end */
    int64_t took_ns; /* from the request's head to here */
};

struct http_config {
    const char *const *listen; /* "127.0.0.1:8080", "[::1]:8080", "*:8080" (both families), "localhost:8080" (both) */
    size_t n_listen;           /* 1..8 */
    const char *cert_pem, *key_pem; /* both: HTTPS only; NULL: HTTP */
    size_t body_most;               /* bytes; more is 413. 0: 4 MiB */
    uint32_t connections_most;      /* 0: 1024 */
    uint32_t per_address_most;      /* connections from one address; 0: 256 */
    uint32_t idle_s;                /* a connection without a byte either way is closed; 0: 60 */
    size_t stream_bytes_most;       /* unread bytes of one stream; 0: 256 KiB */
    uint32_t n_threads;             /* 0: 2 */

    /* Before the body is read: false when it has answered already (wrong key, unknown path). May be NULL. */
    bool (*admit)(void *user, const struct http_request *rq, struct http_answer *a);
    void (*handle)(void *user, const struct http_request *rq, struct http_answer *a);
    /* Answers 413; NULL: a plain sentence. */
    void (*too_large)(void *user, size_t most, struct http_answer *a);
    /* After an answer has gone out, or its client has. May be NULL. */
    void (*done)(void *user, const struct http_done *d);
    void *user;
};

struct http_server;

int http_server_start(struct http_server **ret, const struct http_config *cfg, struct error *err);
uint16_t http_server_port(const struct http_server *s); /* of the first address (tests listen on port 0) */
/* Refuses new connections from here on; answers in the making go on. */
void http_server_quiesce(struct http_server *s);
/* Waits at most grace_ns for answers to end, gives up the rest, closes everything. NULL allowed. */
void http_server_stop(struct http_server *s, int64_t grace_ns);

#endif
