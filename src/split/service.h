/* The worker's core: one hospital's middle layers behind the split protocol (docs/wire-split.md).
 *
 * One I/O thread (whoever calls service_run) polls the links and watched descriptors; one compute thread runs the model,
 * loads it, checks what was installed, and writes its answers straight to the links. Everything a peer can make it hold
 * is bounded by the configuration. A peer's mistake costs it the connection, with a typed error; never the process. */
#ifndef MERIDIAN_SPLIT_SERVICE_H
#define MERIDIAN_SPLIT_SERVICE_H

#include "base/error.h"
#include "split/half.h"
#include "split/link.h"
#include "wire/split_payload.h"

#include <stdbool.h>
#include <stdint.h>

/* How halves are made from files: `half_files` of half_model.h, tests bring others. Called by the compute thread. */
struct service_halves {
    /* That this file is a cloud half of this cut. -EBADMSG and a sentence if not. */
    int (*check)(const char *path, const struct model_cut *cut, struct error *err);
    /* kv_bytes for keys and values. -ENOMEM: does not fit into memory_bytes (0: no limit). */
    int (*serve)(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
        uint32_t n_threads, uint32_t max_sessions, struct error *err);
    int (*train)(struct half_train **ret, struct model_cut *ret_cut, const char *path,
        const struct split_train_config *cfg, uint64_t memory_bytes, uint32_t n_threads, struct error *err);
};

struct service_config {
    const char *store;                   /* folder of halves and checkpoints (split/store.h); made if missing */
    uint64_t kv_bytes;                   /* memory for keys and values; 0: 1 GiB */
    uint64_t memory_bytes;               /* of weights, keys and values, training state; 0: no limit of our own */
    uint64_t max_install;                /* bytes of the largest half accepted; 0: 1 TiB */
    uint32_t n_threads;                  /* 0: the machine's cores */
    uint32_t max_sessions;               /* 0: 64 */
    uint32_t max_rows;                   /* of one request; 0: 8192 */
    uint32_t codecs;                     /* bits of enum split_codec that may be used besides f32; 0: all */
    uint64_t window;                     /* bytes a peer may send ahead on one connection; 0: 64 MiB, at least 1 MiB */
    uint64_t kept;                       /* bytes of answers kept for a peer that reconnects, per session; 0: 4 MiB */
    int64_t grace_ns;                    /* how long sessions outlive their connections; 0: 120 s */
    int64_t silence_ns;                  /* a connection that says nothing for so long is dead; 0: 30 s */
    const struct service_halves *halves; /* must be given: &half_files */
};

struct service_stats {
    uint32_t links, clients, sessions;
    uint64_t bytes_in, bytes_out; /* frames */
    uint64_t rows;                /* computed for generation */
    uint64_t micro_batches;       /* forwards computed for training */
    uint64_t refused_links;       /* ended for a peer's mistake */
    double busy_s;
};

struct service;

int service_create(struct service **ret, const struct service_config *cfg, struct error *err);
void service_free(struct service *s); /* after service_run has returned; frees the links */

/* Takes the link over, also when it fails (-EMFILE: too many). peer: for the log. Any thread. */
int service_add_link(struct service *s, struct link *l, const char *peer);

/* Calls cb from the I/O thread, without locks held, when fd is readable or broken. Before service_run or from cb. */
int service_watch(struct service *s, int fd, void (*cb)(void *user, int fd), void *user);

/* Serves until service_stop: then GOAWAY is sent, what runs is finished (at most 5 s), links are closed. */
int service_run(struct service *s, struct error *err);
void service_stop(struct service *s); /* any thread, and signal handlers */

/* Ends every connection with "revoked" and this sentence, and every later one too. Any thread. */
void service_revoke(struct service *s, const char *text);

void service_stats(struct service *s, struct service_stats *ret); /* any thread */

#endif
