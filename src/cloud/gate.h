/* The gate: listens, accepts, and looks at the server name in each ClientHello without taking it off the socket, so that
 * whoever is handed the socket reads it from its first byte. It answers nothing and starts nothing for strangers: a
 * connection has few seconds and few bytes to say its name, there are so many at once and so many from one source. */
#ifndef MERIDIAN_CLOUD_GATE_H
#define MERIDIAN_CLOUD_GATE_H

#include "base/error.h"

#include <stdint.h>

struct gate_config {
    const char *listen;      /* "ADDR:PORT", "[v6]:PORT", ":PORT" (all addresses) */
    unsigned max_half_open;  /* 0: 256; beyond that the oldest goes */
    unsigned max_per_source; /* 0: 16; beyond that new ones are closed */
    int64_t timeout_ns;      /* 0: 5 s */
    /* A connection that named itself ("" if it gave none). The callee owns fd (non-blocking) from now on. */
    void (*named)(void *user, int fd, const char *name);
    void *user;
};

struct gate_counts {
    uint64_t accepted, named, timed_out, refused, evicted; /* refused: no ClientHello, or too many from one source */
    unsigned half_open;
};

struct gate;
int gate_create(struct gate **ret, const struct gate_config *cfg, struct error *err);
void gate_free(struct gate *g);

int gate_fd(const struct gate *g); /* readable: call gate_run; call it every 250 ms at least, too */
void gate_run(struct gate *g);
const char *gate_address(const struct gate *g); /* where it really listens, e.g. when asked for port 0 */
const struct gate_counts *gate_counts(const struct gate *g);

#endif
