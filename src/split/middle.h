/* What stands between head and tail when generating: the middle layers, in this process or in the cloud.
 *
 * Asynchronous: calls return at once, answers come out of `next`. One caller's thread uses it; only `wake` may be
 * called from others. Vectors are f32 [n][d]; they are copied on the way in. Losing the cloud loses nothing: the
 * caller holds all tokens and replays a session that was LOST. */
#ifndef MERIDIAN_SPLIT_MIDDLE_H
#define MERIDIAN_SPLIT_MIDDLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum middle_event_kind {
    MIDDLE_OPENED,  /* session has room for its n_ctx positions */
    MIDDLE_REFUSED, /* no room now: try again when a session closes, or never if `final` */
    MIDDLE_VECTORS, /* answer to forward: rows pos0..pos0+n of session in epoch */
    MIDDLE_LOST,    /* the middle no longer knows the session (its process restarted): open it again and replay */
    MIDDLE_DOWN,    /* no connection; requests are kept and answered later, or LOST follows */
    MIDDLE_UP,      /* connection is back */
    MIDDLE_FAILED,  /* session 0: for good (wrong halves, revoked, protocol error). Else only what this session asked
                        for (out of memory, computing failed): close it. `text` says what to do */
};

struct middle_event {
    enum middle_event_kind kind;
    uint32_t session, epoch, pos0, n;
    const float *x; /* [n][d], valid until the next call of any function */
    bool final;
    const char *text; /* REFUSED, DOWN, FAILED; valid as x */
};

struct middle_stats {
    uint64_t bytes_up, bytes_down; /* payload on the wire; 0 for a middle in this process */
    uint64_t reconnects, lost_sessions;
    double rtt_ms; /* last measured by PING; 0 unknown */
    bool up;
    char peer[128]; /* "in this process", "203.0.113.9:7443" */
};

struct middle;
struct middle_ops {
    /* Session ids are the caller's, not 0, never reused. OPENED or REFUSED follows; forward before it is -EINVAL. */
    int (*open)(struct middle *m, uint32_t session, uint32_t n_ctx);
    /* Rows at pos0 … pos0+n-1; whatever the middle held at positions >= pos0 is forgotten first. `epoch` never falls
     * within a session; answers carry it. `urgent`: a decode step, goes before prefill. -ENOBUFS: too much in flight,
     * take events first. */
    int (*forward)(
        struct middle *m, uint32_t session, uint32_t epoch, uint32_t pos0, uint32_t n, const float *x, bool urgent);
    void (*cancel)(struct middle *m, uint32_t session, uint32_t epoch); /* work of earlier epochs may be dropped */
    void (*close)(struct middle *m, uint32_t session);
    /* The next event; waits at most wait_ns. -EAGAIN: none, or woken. */
    int (*next)(struct middle *m, int64_t wait_ns, struct middle_event *ret);
    void (*wake)(struct middle *m); /* any thread */
    void (*stats)(struct middle *m, struct middle_stats *ret);
    void (*free)(struct middle *m);
};

struct middle {
    const struct middle_ops *ops;
};

#endif
