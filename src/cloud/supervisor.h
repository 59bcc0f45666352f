/* The cloud's first process. It accepts connections, reads the name they ask for (gate.h), and hands the socket to the
 * process of that name: a hospital's worker or the enrol process. It starts, watches and ends those processes, and holds
 * no TLS key and no vector. It starts nothing because of a stranger: workers of all hospitals that have joined run from the
 * beginning. One that dies is started again, after a pause that doubles up to 30 s, and its neighbours notice nothing.
 *
 *   DIR/cloud.json          the enrol process's name; the address last put into a kit
 *   DIR/ca/                 authority.h
 *   DIR/hospitals/NAME/     registry.h
 *   DIR/stores/NAME/        a worker's store
 *   DIR/status.json         what runs, for `meridian cloud list`; DIR/running.lock is locked meanwhile */
#ifndef MERIDIAN_CLOUD_SUPERVISOR_H
#define MERIDIAN_CLOUD_SUPERVISOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct supervisor_config {
    const char *dir, *listen;
    const char *program;   /* path of meridian, started again for each process; NULL: /proc/self/exe */
    const char *keylog;    /* NULL: none */
    uid_t uid_base;        /* used when we are root */
    uint64_t memory_bytes; /* of each worker; 0: no limit */
    uint64_t kv_bytes;
    uint32_t n_threads;
    int64_t edge_s, server_s; /* lifetimes of certificates */
    bool json_log;
};

/* Runs until SIGINT or SIGTERM. Then workers say goodbye to their edges (at most 6 s), a second signal ends them at once. */
int supervisor_run(const struct supervisor_config *cfg, struct error *err);

/* --- DIR/cloud.json --- */

struct cloud_file {
    char enrol[40];    /* SNI of the enrol process: 32 hex digits */
    char address[280]; /* "" unknown */
};
/* Makes the folders, the authority and the file where they are missing. */
int cloud_file_ensure(struct cloud_file *ret, const char *dir, struct error *err);
int cloud_file_save(const struct cloud_file *f, const char *dir, struct error *err);
/* -ENOENT: no cloud there (yet). */
int cloud_file_load(struct cloud_file *ret, const char *dir, struct error *err);

#endif
