/* The sessions of one serving half: admission, order, batching. Used by the worker (service_infer.c) and by the middle in
 * this process (local_middle.c).
 *
 * Everything that waits, of all sessions, goes into one run: decode steps first, all of them, then as much prefill as
 * leaves the decode steps quick. Within a session items keep their order. An item of a stale epoch is dropped before
 * it is computed: by pool_cancel, or by an item of a later epoch that begins at or before it. Epochs never fall: an item
 * that comes late, of an earlier epoch than one before it, is dropped too.
 *
 * Threads: pool_take and pool_give touch queues (the owner's lock is held), pool_run computes (it is not held) and is
 * the only user of the half together with pool_take, so both are called by one thread. The others are called under
 * the lock by any thread. Nothing is allocated per token once items have been used. */
#ifndef MERIDIAN_SPLIT_POOL_H
#define MERIDIAN_SPLIT_POOL_H

#include "base/error.h"
#include "split/half.h"

#include <stdbool.h>
#include <stdint.h>

struct pool_config {
    uint32_t max_rows;       /* rows of one run; 0: 256 */
    uint32_t prefill_rows;   /* prefill rows in a run without decode steps; 0: 128 */
    uint32_t prefill_beside; /* prefill rows in a run with them; 0: 32 */
};

enum pool_result {
    POOL_DONE,
    POOL_DROPPED, /* stale: not computed, or computed for nothing */
    POOL_GAP,     /* begins after what the session holds: nothing was run */
    POOL_BROKEN,  /* the run failed; see pool_error */
};

struct pool_item {
    struct pool_item *next; /* in the session's queue; the caller's own afterwards */
    uint64_t tag;           /* the caller's */
    uint64_t route, cost;   /* the caller's, and the next */
    uint32_t codec;
    uint32_t epoch, pos0, n;
    bool urgent;
    float *x; /* [n][d]: given as input, returned as answer */
    /* the pool's */
    size_t cap;
    uint32_t n_done;
    bool running, stale;
};

struct pool_session {
    void *user;
    uint32_t n_ctx;
    /* the pool's */
    struct pool_session *next;
    int32_t seq;
    uint32_t least_epoch, newest_epoch;
    enum { POOL_OPENING, POOL_OPEN, POOL_CLOSING } state;
    struct pool_item *first, **last;
    uint32_t n_items;
};

struct pool_events {
    /* 0, -ENOSPC (not now), -E2BIG (never); after a failure the session is gone. */
    void (*opened)(void *user, struct pool_session *s, int rc);
    /* The item is the callee's now: pool_item_put when done with it. */
    void (*done)(void *user, struct pool_session *s, struct pool_item *i, enum pool_result result);
};

struct pool;

/* Takes the half over. */
int pool_create(struct pool **ret, struct half_infer *h, const struct pool_config *cfg,
    const struct pool_events *events, void *user);
void pool_free(struct pool *p); /* items that wait are freed without done; items kept by the caller: put first */

struct pool_item *pool_item_get(struct pool *p, uint32_t n); /* n >= 1; NULL: out of memory */
void pool_item_put(struct pool *p, struct pool_item *i);     /* NULL allowed */

struct pool_session *pool_open(struct pool *p, uint32_t n_ctx, void *user); /* `opened` follows; NULL: out of memory */
void pool_forward(struct pool *p, struct pool_session *s, struct pool_item *i); /* pos0 + n <= n_ctx is the caller's */
void pool_cancel(struct pool *p, struct pool_session *s, uint32_t epoch);
void pool_close(struct pool *p, struct pool_session *s); /* gone for the caller at once; no more events of it */
struct pool_item *pool_find(struct pool_session *s, uint64_t tag);

bool pool_has_work(const struct pool *p);
uint32_t pool_take(struct pool *p); /* rows to run; 0: only openings and closings were done */
void pool_run(struct pool *p);
void pool_give(struct pool *p);

const struct half_infer *pool_half(const struct pool *p);
const char *pool_error(const struct pool *p); /* of the last failed run */

#endif
