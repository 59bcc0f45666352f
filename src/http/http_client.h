/* A small HTTP client for `meridian chat` and for tests: one request a connection, http or https, the body handed over as
 * it comes. Blocking, with a time limit and a descriptor that ends the wait. */
#ifndef MERIDIAN_HTTP_HTTP_CLIENT_H
#define MERIDIAN_HTTP_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http_url {
    bool tls;
    char host[256], port[16];
    char path[512]; /* without a slash at the end: "" or "/prefix" */
};
/* "http://host:port/prefix"; http is taken when nothing is said. -EINVAL with a sentence. */
int http_url_parse(struct http_url *ret, const char *text, struct error *err);

struct http_client {
    struct http_url url;
    const char *key;         /* API key or NULL */
    const char *ca_file;     /* trusted instead of the system's store; NULL: the system's */
    const char *fingerprint; /* SHA-256 of the server's certificate: trusted if it is this one; NULL */
    int timeout_ms;          /* without a byte from the server; 0: 300 s */
    int cancel_fd;           /* readable: give up with -ECANCELED; -1: none */
};

struct http_client_request {
    const char *method, *path; /* path is put behind url.path */
    const void *body;          /* NULL: none */
    size_t len;
    const char *type;           /* of the body; NULL: application/json */
    const char *const *headers; /* more: name, value, …, NULL; or NULL */
    /* Body bytes of an answer with status 200, as they come; false: enough (-ECANCELED). NULL: into *ret_body. */
    bool (*on_body)(void *user, const void *bytes, size_t len);
    void *user;
    struct buf *ret_body; /* of other answers too, at most 1 MiB (16 MiB for 200) */
};

/* 0 with *ret_status once the answer is whole; -ECANCELED; -ETIMEDOUT; other -errno. */
int http_client_do(
    const struct http_client *c, const struct http_client_request *rq, int *ret_status, struct error *err);

#endif
