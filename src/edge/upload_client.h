/* Sends a file up to an edge and does not give up: after a break it asks what arrived and goes on from there, also in a later
 * run (edge/uploads.h has the protocol). What `meridian upload` is made of. */
#ifndef MERIDIAN_EDGE_UPLOAD_CLIENT_H
#define MERIDIAN_EDGE_UPLOAD_CLIENT_H

#include "base/error.h"
#include "http/http_client.h"

#include <stdbool.h>
#include <stdint.h>

struct upload_client {
    struct http_client http;
    uint32_t piece;                  /* bytes of a request; 0: 1 MiB */
    int64_t patience_s;              /* without any progress, then it is given up; 0: 600 */
    const volatile int *interrupted; /* may be NULL */
    /* Now and then. `trouble`: why it waits, NULL: it goes on. May be NULL. */
    void (*at)(void *user, uint64_t done, uint64_t total, const char *trouble);
    void *user;
};

struct upload_done {
    uint64_t bytes, resumed_from; /* resumed_from: what was there already */
    uint32_t breaks;
};

/* 0; -EINTR: interrupted, what arrived stays; otherwise -errno and a sentence. */
int upload_client_send(struct upload_client *c, const char *path, struct upload_done *ret, struct error *err);

#endif
