/* What the files of the service share. Everything here is guarded by service.lock, except where it says otherwise. */
#ifndef MERIDIAN_SPLIT_SERVICE_STATE_H
#define MERIDIAN_SPLIT_SERVICE_STATE_H

#include "base/buf.h"
#include "base/log.h"
#include "split/pool.h"
#include "split/service.h"
#include "split/store.h"
#include "split/train_core.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define SERVICE_MAX_LINKS   32
#define SERVICE_MAX_CLIENTS 16
#define SERVICE_MAX_WATCHES 8

struct client;
struct conn;

/* A request of a training session, then its answer: executed once, kept until it is known to have arrived. */
struct train_op {
    struct train_op *next;
    struct split_header h;  /* of the request */
    struct split_rows rows; /* FORWARD, BACKWARD: the pointers in it are not used */
    float *x;               /* [rows.n][d]: the request's, then the answer's */
    size_t n_floats;        /* in x */
    uint32_t *sample_rows;  /* [rows.n_samples] */
    struct split_step step;
    struct split_save save;
    uint64_t load;
    /* the answer */
    int code; /* SPLIT_ERR_…, 0: fine */
    double sumsq;
    struct error error;
};

/* Rows of one request, arriving in several frames of one connection. */
struct assembly {
    bool active, skip; /* skip: refused already, the rest is only read */
    struct split_header h;
    uint32_t next_row;
    struct pool_item *item;
    struct train_op *op;
    struct split_rows first;
};

struct conn {
    struct conn *next;
    struct link *link;
    uint64_t id; /* never reused */
    char peer[64];
    struct client *client; /* NULL before HELLO */
    enum split_which which;
    bool closing; /* nothing more is read; freed once `out` is sent, or at close_by_ns */
    bool dead;    /* to be freed by the I/O thread */
    int64_t born_ns, heard_ns, close_by_ns;
    uint8_t *in; /* [CONN_IN] */
    size_t in_len;
    struct buf out;
    size_t out_sent;
    uint64_t granted, received, owed; /* window: payload bytes allowed, come, and to be allowed again */
    struct assembly rows;
};
#define CONN_IN (2 * (SPLIT_HEADER + SPLIT_MAX_PAYLOAD))

/* A session for serving. */
struct session {
    struct session *next;
    struct client *client;
    uint32_t id, n_ctx;
    uint64_t open_seq;
    enum split_which open_which;
    bool open;
    struct pool_session *seat; /* NULL while the half is being loaded */
    uint64_t last_seq;
    struct pool_item *kept, **kept_last; /* answers, oldest first */
    uint64_t kept_bytes;
};

/* A process on campus. */
struct client {
    struct client *next;
    uint64_t number; /* never reused */
    uint8_t instance[16];
    struct split_hello hello; /* the latest */
    struct conn *conns[2];
    struct session *sessions;
    uint32_t n_sessions;
    int64_t gone_ns; /* when the last connection went; 0: there is one */
};

enum half_state { HALF_NONE, HALF_LOADING, HALF_READY };

struct serving {
    enum half_state state;
    struct model_cut cut;
    struct pool *pool; /* READY; used by the compute thread without the lock in pool_run only */
};

struct training {
    enum half_state state;
    struct client *client; /* NULL: nobody trains */
    uint64_t number;       /* of this OPEN; never reused, 0: none */
    uint32_t session;
    struct split_train_config cfg;
    struct train_core *core;  /* the compute thread's alone */
    struct split_header open; /* the OPEN that waits for an answer */
    enum split_which which;
    bool open_waits, touched;
    uint32_t d, n_queued;
    uint64_t steps_done, last_seq;
    struct train_op *queue, **queue_last, *running; /* running: the queue's first, while the lock is not held */
    struct train_op *kept, **kept_last;             /* answers, oldest first */
    uint64_t kept_bytes;
    struct train_core *old; /* to be freed by the compute thread */
};

struct install {
    bool active, verifying;
    struct model_cut cut;
    uint64_t total, have;
    uint8_t sha256[32];
    int fd;
    uint8_t instance[16];  /* who sends it */
    struct split_header h; /* of the last piece, which waits for the answer */
};

struct watch {
    int fd;
    void (*cb)(void *user, int fd);
    void *user;
};

struct service {
    struct service_config cfg;
    struct store store;
    uint8_t instance[16];
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the compute thread */
    pthread_t compute;
    int wake[2]; /* pipe: anyone -> I/O thread */
    atomic_bool stop;
    bool stopping, quit; /* quit: the compute thread ends */
    char revoked[256];
    struct conn *conns;
    uint32_t n_conns;
    uint64_t last_conn, last_client;
    struct client *clients;
    uint32_t n_clients;
    struct serving serving;
    struct training training;
    uint64_t last_training;
    struct install install;
    struct watch watches[SERVICE_MAX_WATCHES];
    uint32_t n_watches;
    struct service_stats stats;
    int64_t busy_ns;
    struct log_limit limit;
};

/* --- service.c ------------------------------------------------------------------------------------------------- */
void service_wake(struct service *s); /* the I/O thread looks at everything again */
void service_work(struct service *s); /* the compute thread has something to do */

/* --- service_conn.c: bytes ---------------------------------------------------------------------------------------- */
struct conn *conn_create(struct link *l, const char *peer, int64_t now_ns);
void conn_free(struct conn *c);
/* Appends a frame and sends what it can. payload may be NULL when len is 0. */
void conn_send(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *payload);
void conn_flush(struct service *s, struct conn *c);
/* A reply to request `h`: same operation, session, epoch, sequence number. */
void conn_reply(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *payload, size_t len);
/* Rows as a reply, in as many frames as they need. r: pos0 or batch and n; x [n][d]. */
void conn_reply_rows(struct service *s, struct conn *c, enum split_role role, const struct split_header *h,
    struct split_rows r, const float *x);
__attribute__((format(printf, 5, 6))) void conn_refuse(
    struct service *s, struct conn *c, const struct split_header *h, unsigned code, const char *fmt, ...);
/* ERROR about the connection, then its end. */
__attribute__((format(printf, 4, 5))) void conn_fail(
    struct service *s, struct conn *c, unsigned code, const char *fmt, ...);
void conn_credit(struct service *s, struct conn *c, uint64_t bytes); /* these may be sent again */
void conn_read(struct service *s, struct conn *c, int64_t now_ns);   /* receives and handles frames */
struct conn *client_conn(struct client *c, enum split_which which);  /* NULL: not there */

/* --- service_hello.c: who is there ------------------------------------------------------------------------------ */
void service_hello(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p);
void service_conn_gone(struct service *s, struct conn *c, int64_t now_ns);
void service_goodbye(struct service *s, struct conn *c);
void service_client_tick(struct service *s, int64_t now_ns); /* ends those whose grace is over */
void service_client_free(struct service *s, struct client *c);

/* --- service_infer.c --------------------------------------------------------------------------------------------- */
void infer_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p);
void infer_close_all(struct service *s, struct client *c);
void infer_rows_abandon(struct service *s, struct conn *c); /* a half-received request; the rest of it is only read */
void infer_load_failed(struct service *s, int rc, const struct error *err);
void infer_loaded(struct service *s); /* opens the sessions that waited */
int infer_pool_create(struct service *s, struct half_infer *h, struct pool **ret);

/* --- service_train.c ----------------------------------------------------------------------------------------------- */
void train_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p);
void train_client_gone(struct service *s, struct client *c);
void train_rows_abandon(struct service *s, struct conn *c);
bool train_work(struct service *s); /* compute thread, lock held: does one thing; false: there was nothing */
void train_done(struct service *s);

/* --- service_store.c ------------------------------------------------------------------------------------------------ */
void install_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p);
void install_client_gone(struct service *s, const uint8_t instance[16]);
bool store_work(struct service *s); /* compute thread, lock held: checks an install or loads a half to serve */
struct model_cut service_cut(const struct split_cut *c);

/* The compute thread leaves the lock for something long, and comes back. */
void service_begin(struct service *s);
void service_end(struct service *s, int64_t began_ns);

#endif
