/* For tests: a worker over a small pure function, in threads of this process, and a network of socket pairs that breaks
 * when it is told to. */
#ifndef MERIDIAN_SPLIT_TESTING_WORLD_H
#define MERIDIAN_SPLIT_TESTING_WORLD_H

#include "split/remote.h"
#include "split/service.h"
#include "split/testing_half.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define WORLD_D 8u

struct world {
    char dir[64]; /* store */
    struct service_config cfg;
    struct service *service; /* NULL: no worker runs */
    pthread_t thread;
    struct testing_counts counts;
    pthread_mutex_t lock;
    struct model_cut cut;  /* installed, and wanted by world_remote */
    atomic_bool cut_off;   /* no new connection */
    atomic_long die_after; /* the n-th byte through any link breaks it, once; 0: never */
    atomic_bool frozen;    /* nothing passes, nobody is told; what is sent meanwhile is gone, and its link with it */
    atomic_uint links, deaths;
};

void world_start(struct world *w); /* folder, half, worker */
void world_worker_start(struct world *w);
void world_worker_stop(struct world *w);            /* as SIGTERM does */
void world_end(struct world *w);                    /* everything, and the folder */
struct remote_config world_remote(struct world *w); /* impatient times */
/* A connected socket to the worker, for a client that is no client. */
int world_socket(struct world *w);
void world_install(struct world *w, const struct model_cut *cut); /* writes a half into the store */
/* Bytes of a half of this cut, as the test's service_halves read them. */
void world_half(const struct model_cut *cut, uint8_t ret[128]);

#endif
