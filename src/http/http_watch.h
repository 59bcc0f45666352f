/* Who is being answered, and whether each still listens: the list of calls, and one thread that sleeps until a client
 * in the list hangs up (EPOLLRDHUP, as nginx does it: a client that closes its sending side has left), then tells that
 * client's answer. Every few seconds, while there are calls, silent event streams get a comment line. */
#ifndef MERIDIAN_HTTP_HTTP_WATCH_H
#define MERIDIAN_HTTP_HTTP_WATCH_H

#include "base/error.h"
#include "http/http_answer.h"

#include <stdint.h>

struct http_watch;

/* Storage inside the caller's call; the fields are the watch's. */
struct http_watched {
    struct http_watched *next, *prev;
    struct http_answer *answer;
    uint64_t id;
    int fd; /* -1: not asked the kernel yet */
};

int http_watch_create(struct http_watch **ret, struct error *err);
void http_watch_free(struct http_watch *w); /* the list must be empty; NULL allowed */

void http_watch_add(struct http_watch *w, struct http_watched *it, struct http_answer *a);
void http_watch_hangup(struct http_watch *w, struct http_watched *it, int fd); /* from now on tell the answer */
void http_watch_remove(struct http_watch *w, struct http_watched *it);

void http_watch_give_up(struct http_watch *w); /* tells every answer in the list that its client is gone */
int http_watch_wait_empty(struct http_watch *w, int64_t wait_ns); /* 0, or -ETIMEDOUT */

#endif
