/* A hospital's worker: the only process that holds this hospital's TLS server key and its middle layers, locked into its
 * store (sandbox.h). It is handed connections that named its id, and gives them to the split service once the handshake
 * has shown that hospital's certificate.
 *
 * Its server key is made at start, lives in memory only, and is certified through the supervisor; it is made anew when
 * half of the certificate's life is over. */
#ifndef MERIDIAN_CLOUD_WORKER_H
#define MERIDIAN_CLOUD_WORKER_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct worker_config {
    const char *name, *id; /* the hospital's, for the log; and its SNI */
    const char *store;     /* folder */
    uid_t uid;             /* to become; 0: stay */
    uint64_t memory_bytes; /* 0: no limit */
    uint64_t kv_bytes;     /* 0: a quarter of the memory, at most 1 GiB */
    uint32_t n_threads;    /* 0: cores */
    int control_fd, keylog_fd;
};

/* Runs until the supervisor says stop or goes away. */
int worker_run(const struct worker_config *cfg, struct error *err);

#endif
