/* One answer to one HTTP request, in the making: whoever computes it writes, from any thread, now or much later; the
 * server takes bytes out as the client can have them. It knows nothing of sockets, so handlers run in tests without any.
 *
 * An answer is sent whole (http_answer_send), or streamed (http_answer_stream, then write, then end). Its queue is
 * bounded: a client that reads more slowly than the limit allows is given up (-ENOBUFS, then the answer counts as gone).
 * When the client goes away before the end, the writer is told once through its hook. Locking: an answer's lock is held
 * for copying bytes and for `wake`, never while a hook runs. */
#ifndef MERIDIAN_HTTP_HTTP_ANSWER_H
#define MERIDIAN_HTTP_HTTP_ANSWER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http_answer;

/* `limit`: bytes of a stream that may wait for the client. One reference is the caller's. NULL: no memory. */
struct http_answer *http_answer_create(size_t limit);
struct http_answer *http_answer_ref(struct http_answer *a);
void http_answer_unref(struct http_answer *a); /* NULL allowed */

/* --- for who computes the answer --- */

/* Before send or stream. Values with control characters are left out (no header injection). */
void http_answer_header(struct http_answer *a, const char *name, const char *value);

/* A number of the handler's, for whoever counts answers (http_config.done). */
void http_answer_set_tag(struct http_answer *a, int tag);
int http_answer_tag(struct http_answer *a);

/* The whole answer; copied. What was written before a head was decided is dropped. Afterwards nothing can be written. A second answer is ignored. */
void http_answer_send(struct http_answer *a, int status, const char *type, const void *body, size_t len);

void http_answer_stream(struct http_answer *a, int status, const char *type);
/* 0; -EPIPE: the client is gone; -ENOBUFS: it reads too slowly and counts as gone from now on; -ENOMEM likewise. */
int http_answer_write(struct http_answer *a, const void *bytes, size_t len);
void http_answer_end(struct http_answer *a);

/* `gone(user)` is called at most once, from another thread, when the client goes away before the end; `drop(user)`
 * exactly once when the hook is no longer needed: after `gone`, or at the end of the answer. If the client is gone
 * already, both are called at once. One hook an answer. */
void http_answer_on_gone(struct http_answer *a, void (*gone)(void *user), void (*drop)(void *user), void *user);
bool http_answer_is_gone(struct http_answer *a);

/* --- for the server (and tests) --- */

struct http_head {
    int status; /* 0: not decided yet */
    bool stream;
    char type[64];       /* Content-Type */
    const char *headers; /* name NUL value NUL … NUL; stays valid while the answer lives once status is set */
};

/* `wake(ctx)` is called with the answer's lock held whenever there is something new to take; NULL ends that. */
void http_answer_attach(struct http_answer *a, void (*wake)(void *ctx), void *ctx);
void http_answer_detach(struct http_answer *a);

/* True when the head is decided. When not, and `park` is not NULL, park(ctx) runs under the lock: what it suspends is
 * woken by the next change, none is missed. */
bool http_answer_head(struct http_answer *a, struct http_head *ret, void (*park)(void *ctx), void *ctx);
/* Takes up to cap bytes. 0: nothing now (parked as above); -1: all taken and ended; -2: given up. */
ssize_t http_answer_take(struct http_answer *a, void *to, size_t cap, void (*park)(void *ctx), void *ctx);
/* The body of an answer that was sent whole, moved out. */
void http_answer_take_all(struct http_answer *a, struct buf *ret);

void http_answer_gone(struct http_answer *a); /* the client went away; nothing happens after the end */
/* Writes a comment line (": \n\n") into an event stream that wrote nothing for idle_ns, so that what stands between
 * sees life. Does nothing for other answers. */
void http_answer_keep_alive(struct http_answer *a, int64_t now_ns, int64_t idle_ns);

#endif
