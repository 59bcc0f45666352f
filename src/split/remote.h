/* How to reach the worker in the cloud: for remote_middle.h and remote_train.h. */
#ifndef MERIDIAN_SPLIT_REMOTE_H
#define MERIDIAN_SPLIT_REMOTE_H

#include "base/error.h"
#include "model/params.h"
#include "split/link.h"
#include "wire/split_frame.h"
#include "wire/split_payload.h"

#include <stdint.h>

struct remote_config {
    /* Begins a connection; called by the I/O thread, again and again; must not wait long (a link may connect and shake
     * hands while it is used, as link_tls.h does). Connections break when this link's recv or send says so. */
    int (*connect)(void *user, enum split_which which, struct link **ret, struct error *err);
    void *user;
    unsigned install_dscp;  /* of a connection's packets while the cloud's half goes up, whatever they are afterwards */
    const char *peer;       /* for people: "203.0.113.9:7443"; copied */
    struct model_cut cut;   /* of the edge's half: the worker must have the other one, of the same step and run */
    uint32_t d;             /* width of a vector */
    enum split_codec codec; /* wished for; f32 if the worker cannot */
    const char *cloud_half; /* path of the cloud's half, sent when the worker has none; NULL: never; copied */
    /* Is the file at `path` the half of `cut`? Asked once before it is sent, from the I/O thread; NULL: the worker will say. */
    int (*check_half)(const char *path, const struct model_cut *cut, struct error *err);
    void (*on_install)(void *user, uint64_t done, uint64_t total); /* bytes; from the I/O thread; may be NULL */
    int64_t ping_ns;                                               /* 0: 1 s */
    int64_t dead_ns;                       /* a connection that is silent so long is given up; 0: 5 s */
    int64_t connect_ns;                    /* until HELLO must be answered; 0: 5 s */
    int64_t retry_least_ns, retry_most_ns; /* between attempts, doubling, with jitter; 0: 0.1 s, 2 s */
    uint64_t max_in_flight;                /* bytes of requests without an answer; 0: 64 MiB */
};

#endif
