/* Events of a middle in the cloud, on their way from the client's thread to the caller's: a queue that allocates nothing once it
 * has grown, because a shown event is used again. Everything is called with the client's lock held. */
#ifndef MERIDIAN_SPLIT_REMOTE_EVENTS_H
#define MERIDIAN_SPLIT_REMOTE_EVENTS_H

#include "split/middle.h"
#include "split/train_middle.h"

#include <pthread.h>

struct client;
struct client_request;

struct remote_event {
    struct remote_event *next;
    union { /* of the one kind of middle, or the other */
        struct middle_event infer;
        struct train_event train;
    };
    struct client_request *q; /* whose rows these are; goes back once the event was shown. NULL: none */
    char text[700];
};

struct remote_events {
    struct client *client;
    struct remote_event *first, **last, *spare, *shown;
    pthread_cond_t cond;
    bool waiting, woken;
};

void remote_events_init(struct remote_events *v);
/* After client_stop and before client_free; the client may be missing if nothing was ever added. */
void remote_events_done(struct remote_events *v);

/* A new one at the end, all zero but for its text (NULL: none), whoever waits is woken. NULL: no memory, nothing is told. */
struct remote_event *remote_events_add(struct remote_events *v, const char *text);

/* The next one, valid until the next call; waits for it up to wait_ns, or until somebody wakes it. NULL: there is none. */
struct remote_event *remote_events_next(struct remote_events *v, int64_t wait_ns);
void remote_events_wake(struct remote_events *v);

#endif
