/* The answer's state is three flags (decided, ended, gone) and a queue under one lock. The hook is taken out under the
 * lock and run outside it, which is what makes "at most once" true and keeps a writer's own locks out of ours. */
#include "http/http_answer.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hook {
    void (*gone)(void *user);
    void (*drop)(void *user);
    void *user;
};

struct http_answer {
    pthread_mutex_t lock;
    atomic_uint refs;
    atomic_int tag;
    size_t limit;
    int status;
    bool stream, ended, gone;
    char type[64];
    struct buf headers, out;
    size_t taken; /* bytes of `out` that the server has */
    int64_t wrote_ns;
    void (*wake)(void *ctx);
    void *wake_ctx;
    struct hook hook;
};

struct http_answer *http_answer_create(size_t limit)
{
    struct http_answer *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    pthread_mutex_init(&a->lock, NULL);
    atomic_init(&a->refs, 1);
    a->limit = limit;
    return a;
}

struct http_answer *http_answer_ref(struct http_answer *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void http_answer_unref(struct http_answer *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    if (a->hook.drop)
        a->hook.drop(a->hook.user);
    buf_done(&a->headers);
    buf_done(&a->out);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void http_answer_set_tag(struct http_answer *a, int tag)
{
    atomic_store(&a->tag, tag);
}

int http_answer_tag(struct http_answer *a)
{
    return atomic_load(&a->tag);
}

static void wake(struct http_answer *a)
{
    if (a->wake)
        a->wake(a->wake_ctx);
}

static struct hook take_hook(struct http_answer *a)
{
    struct hook h = a->hook;
    a->hook = (struct hook){0};
    return h;
}

static void finish_hook(struct hook h, bool gone)
{
    if (gone && h.gone)
        h.gone(h.user);
    if (h.drop)
        h.drop(h.user);
}

static bool header_is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

void http_answer_header(struct http_answer *a, const char *name, const char *value)
{
    if (!header_is_clean(name) || !header_is_clean(value))
        return;
    pthread_mutex_lock(&a->lock);
    if (!a->status && !buf_reserve(&a->headers, strlen(name) + strlen(value) + 3)) {
        buf_append(&a->headers, name, strlen(name) + 1);
        buf_append(&a->headers, value, strlen(value) + 1);
    }
    pthread_mutex_unlock(&a->lock);
}

/* Under the lock, once. */
static void decide(struct http_answer *a, int status, const char *type, bool stream)
{
    if (buf_append(&a->headers, "", 1))
        buf_done(&a->headers);
    snprintf(a->type, sizeof(a->type), "%s", type);
    a->stream = stream;
    a->status = status;
    a->wrote_ns = clock_now_ns();
}

void http_answer_send(struct http_answer *a, int status, const char *type, const void *body, size_t len)
{
    struct hook h = {0};
    pthread_mutex_lock(&a->lock);
    if (!a->status) {
        a->out.len = a->taken = 0;
        if (buf_append(&a->out, body, len))
            status = 503;
        decide(a, status, type, false);
        a->ended = true;
        h = take_hook(a);
        wake(a);
    }
    pthread_mutex_unlock(&a->lock);
    finish_hook(h, false);
}

void http_answer_stream(struct http_answer *a, int status, const char *type)
{
    pthread_mutex_lock(&a->lock);
    if (!a->status) {
        decide(a, status, type, true);
        wake(a);
    }
    pthread_mutex_unlock(&a->lock);
}

int http_answer_write(struct http_answer *a, const void *bytes, size_t len)
{
    struct hook h = {0};
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    if (a->gone || a->ended) {
        rc = -EPIPE;
    } else if (a->out.len - a->taken + len > a->limit) {
        rc = -ENOBUFS;
    } else {
        if (a->taken) {
            buf_consume(&a->out, a->taken);
            a->taken = 0;
        }
        rc = buf_append(&a->out, bytes, len);
        a->wrote_ns = clock_now_ns();
    }
    if (rc && rc != -EPIPE) {
        a->gone = true;
        h = take_hook(a);
    }
    wake(a);
    pthread_mutex_unlock(&a->lock);
    finish_hook(h, true);
    return rc;
}

void http_answer_end(struct http_answer *a)
{
    pthread_mutex_lock(&a->lock);
    a->ended = true;
    struct hook h = take_hook(a);
    wake(a);
    pthread_mutex_unlock(&a->lock);
    finish_hook(h, false);
}

void http_answer_on_gone(struct http_answer *a, void (*gone)(void *user), void (*drop)(void *user), void *user)
{
    struct hook now = {0};
    pthread_mutex_lock(&a->lock);
    bool was_gone = a->gone;
    if (a->gone || a->ended)
        now = (struct hook){gone, drop, user};
    else
        a->hook = (struct hook){gone, drop, user};
    pthread_mutex_unlock(&a->lock);
    finish_hook(now, was_gone);
}

bool http_answer_is_gone(struct http_answer *a)
{
    pthread_mutex_lock(&a->lock);
    bool gone = a->gone;
    pthread_mutex_unlock(&a->lock);
    return gone;
}

void http_answer_attach(struct http_answer *a, void (*wake_fn)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&a->lock);
    a->wake = wake_fn;
    a->wake_ctx = ctx;
    pthread_mutex_unlock(&a->lock);
}

void http_answer_detach(struct http_answer *a)
{
    http_answer_attach(a, NULL, NULL);
}

bool http_answer_head(struct http_answer *a, struct http_head *ret, void (*park)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&a->lock);
    bool ready = a->status != 0 || a->gone;
    if (!ready && park)
        park(ctx);
    ret->status = a->status;
    ret->stream = a->stream;
    memcpy(ret->type, a->type, sizeof(ret->type));
    ret->headers = a->headers.data ? (const char *)a->headers.data : "";
    pthread_mutex_unlock(&a->lock);
    return ready;
}

ssize_t http_answer_take(struct http_answer *a, void *to, size_t cap, void (*park)(void *ctx), void *ctx)
{
    ssize_t rc = 0;
    pthread_mutex_lock(&a->lock);
    size_t have = a->out.len - a->taken;
    if (a->gone) {
        rc = -2;
    } else if (have) {
        rc = (ssize_t)(have < cap ? have : cap);
        memcpy(to, a->out.data + a->taken, (size_t)rc);
        a->taken += (size_t)rc;
    } else if (a->ended) {
        rc = -1;
    } else if (park) {
        park(ctx);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

void http_answer_take_all(struct http_answer *a, struct buf *ret)
{
    pthread_mutex_lock(&a->lock);
    *ret = a->out;
    a->out = (struct buf){0};
    a->taken = 0;
    pthread_mutex_unlock(&a->lock);
}

void http_answer_gone(struct http_answer *a)
{
    struct hook h = {0};
    pthread_mutex_lock(&a->lock);
    if (!a->ended && !a->gone) {
        a->gone = true;
        h = take_hook(a);
        wake(a);
    }
    pthread_mutex_unlock(&a->lock);
    finish_hook(h, true);
}

void http_answer_keep_alive(struct http_answer *a, int64_t now_ns, int64_t idle_ns)
{
    static const char comment[] = ": \n\n";
    pthread_mutex_lock(&a->lock);
    bool due = a->stream && !a->ended && !a->gone && a->out.len == a->taken && now_ns - a->wrote_ns >= idle_ns &&
               !strncmp(a->type, "text/event-stream", 17);
    if (due)
        a->out.len = a->taken = 0;
    if (due && !buf_append(&a->out, comment, sizeof(comment) - 1)) {
        a->wrote_ns = now_ns;
        wake(a);
    }
    pthread_mutex_unlock(&a->lock);
}
