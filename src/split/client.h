/* The edge's end of the split protocol, below remote_middle.h and remote_train.h: one or two connections to the worker,
 * kept up by one I/O thread. A request waits here until it is answered, however often a connection breaks: after each
 * reconnect what has no answer is sent again under the same sequence number, and the worker executes it once. A worker
 * that does not know us any more (restarted, or we were away too long) is told to the user as `lost`.
 *
 * The caller's thread sends for itself when the link takes the bytes; only what is left goes through the I/O thread. */
#ifndef MERIDIAN_SPLIT_CLIENT_H
#define MERIDIAN_SPLIT_CLIENT_H

#include "base/buf.h"
#include "base/error.h"
#include "split/link.h"
#include "split/remote.h"
#include "wire/split_payload.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct client_request {
    struct client_request *next; /* in its connection's line; the user's own once it is answered or forgotten */
    uint64_t seq;
    uint32_t session, epoch;
    uint8_t op;
    enum split_which which;
    struct buf frames; /* the request as it is sent */
    size_t sent;       /* bytes of it given to the present connection */
    bool forgotten;    /* its answer is not wanted; it goes once no frame of it is half sent */
    /* rows asked for, and the answer's */
    uint32_t n, n_got, pos0;
    uint64_t batch;
    float *x;   /* [n][d] */
    size_t cap; /* floats in x */
};

struct client_events { /* from the I/O thread, with the lock held */
    /* The answer is whole. Rows lie in q->x, n_got of them (0: dropped as stale, or none wanted). q is the user's. */
    void (*answered)(void *user, struct client_request *q, const struct split_header *h, const uint8_t *payload);
    void (*refused)(void *user, struct client_request *q, const struct split_error *e); /* q is the user's */
    void (*up)(void *user);
    void (*down)(void *user, const char *text);
    /* Everything that the worker knew of us is gone. Requests that wait are sent to the new one unless forgotten here. */
    void (*lost)(void *user, const struct split_hello_reply *r);
    void (*failed)(void *user, const char *text);
    void (*busy)(void *user, double busy_s);
};

struct client;

/* The lock is made by this. instance: random. one_link: only the bulk connection is used. */
int client_create(struct client **ret, const struct remote_config *cfg, enum split_role role, const uint8_t run[16],
    bool one_link, const struct client_events *events, void *user, struct error *err);
void client_start(struct client *c);
void client_stop(struct client *c); /* waits for its thread; NULL allowed */
void client_free(struct client *c); /* the same, and frees what waits */

pthread_mutex_t *client_lock(struct client *c);

/* All below: with the lock held. */
struct client_request *client_request_get(struct client *c); /* NULL: out of memory */
void client_request_put(struct client *c, struct client_request *q);
uint64_t client_next_seq(struct client *c);
enum split_codec client_codec(const struct client *c); /* as agreed with the worker */
uint32_t client_max_rows(const struct client *c);      /* of one request; 0: not connected yet */
uint64_t client_in_flight(const struct client *c);     /* bytes of requests that wait */
/* The lowest sequence number of this session that has no answer, or `otherwise`. */
uint64_t client_unanswered(const struct client *c, uint32_t session, uint64_t otherwise);
/* Whether the session has requests of this operation waiting, and on which connection. */
bool client_waits(const struct client *c, uint32_t session, uint8_t op, enum split_which *ret);

void client_send(struct client *c, struct client_request *q); /* frames, seq, op, which are filled in */
void client_notify(struct client *c, enum split_which which, const struct split_header *h); /* no payload, no answer */
/* Those of this session for which wanted(q, arg) is false get no answer. */
void client_forget(
    struct client *c, uint32_t session, bool (*keep)(const struct client_request *q, const void *arg), const void *arg);

/* Frames of rows, appended to q->frames: x [n][d]. */
int client_rows(struct client_request *q, enum split_role role, struct split_rows r, uint32_t d,
    const uint32_t *sample_rows, const float *x);
int client_frame(struct client_request *q, const uint8_t *payload, size_t len); /* one whole frame */

struct client_counts {
    uint64_t bytes_up, bytes_down, reconnects;
    double rtt_ms;
    bool up;
};
struct client_counts client_counts(const struct client *c);

#endif
