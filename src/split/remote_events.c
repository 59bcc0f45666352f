#include "split/remote_events.h"

#include "base/clock.h"
#include "split/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void remote_events_init(struct remote_events *v)
{
    *v = (struct remote_events){0};
    v->last = &v->first;
    pthread_cond_init(&v->cond, NULL);
}

struct remote_event *remote_events_add(struct remote_events *v, const char *text)
{
    struct remote_event *e = v->spare;
    if (e)
        v->spare = e->next;
    else if (!(e = malloc(sizeof(*e))))
        return NULL;
    e->next = NULL;
    e->q = NULL;
    snprintf(e->text, sizeof(e->text), "%s", text ? text : "");
    *v->last = e;
    v->last = &e->next;
    if (v->waiting)
        pthread_cond_signal(&v->cond);
    return e;
}

static void shown_put(struct remote_events *v)
{
    struct remote_event *e = v->shown;
    if (!e)
        return;
    client_request_put(v->client, e->q);
    e->q = NULL;
    e->next = v->spare;
    v->spare = e;
    v->shown = NULL;
}

static void wait_for_one(struct remote_events *v, int64_t wait_ns)
{
    int64_t at = clock_now_ns() + wait_ns;
    struct timespec until = {at / NS_PER_S, at % NS_PER_S};
    v->waiting = true;
    while (!v->first && !v->woken)
        if (pthread_cond_clockwait(&v->cond, client_lock(v->client), CLOCK_MONOTONIC, &until) == ETIMEDOUT)
            break;
    v->waiting = false;
}

struct remote_event *remote_events_next(struct remote_events *v, int64_t wait_ns)
{
    shown_put(v);
    if (!v->first && wait_ns > 0)
        wait_for_one(v, wait_ns);
    v->woken = false;
    struct remote_event *e = v->first;
    if (!e)
        return NULL;
    v->first = e->next;
    if (!v->first)
        v->last = &v->first;
    v->shown = e;
    return e;
}

void remote_events_wake(struct remote_events *v)
{
    v->woken = true;
    pthread_cond_signal(&v->cond);
}

static void events_free(struct remote_events *v, struct remote_event *e)
{
    while (e) {
        struct remote_event *next = e->next;
        client_request_put(v->client, e->q);
        free(e);
        e = next;
    }
}

void remote_events_done(struct remote_events *v)
{
    shown_put(v);
    events_free(v, v->first);
    events_free(v, v->spare);
    pthread_cond_destroy(&v->cond);
}
