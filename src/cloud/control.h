/* Messages between the cloud's own processes: one datagram each over a unix SOCK_SEQPACKET pair, connections ride along
 * as file descriptors. Bounded; whoever receives takes the other for possibly taken over: kinds and lengths are checked,
 * and descriptors are accepted only by who expects them. */
#ifndef MERIDIAN_CLOUD_CONTROL_H
#define MERIDIAN_CLOUD_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAX_ID   64u
#define CONTROL_MAX_BODY 24576u

enum control_kind {
    CONTROL_CONNECTION = 1, /* supervisor to worker or enrol: a socket, nothing read from it yet */
    CONTROL_SIGN = 2,       /* worker to supervisor to enrol: a certificate request (PEM); id: whose */
    CONTROL_SIGNED = 3,     /* and back: chain (PEM), NUL, root (PEM) */
    CONTROL_READY = 4,      /* worker or enrol: connections may come */
    CONTROL_CHANGED = 5,    /* enrol: somebody joined or renewed, look again */
    CONTROL_STOP = 6,       /* supervisor: end cleanly, soon */
    CONTROL_USE = 7,        /* worker: struct control_use */
    CONTROL_REVOKED = 8,    /* supervisor to worker: say so to your peers; you will be ended in a moment */
    CONTROL_KIND_END,
};

/* Counters of a worker for `meridian cloud list`. */
struct control_use {
    uint32_t links, handshakes_refused;
    uint64_t accepted;
};

struct control {
    uint32_t kind, len;
    char id[CONTROL_MAX_ID];
    uint8_t body[CONTROL_MAX_BODY + 1]; /* a NUL is kept after len */
};

/* Two ends, non-blocking, close-on-exec. -errno. */
int control_pair(int ret_fds[2]);

/* fd >= 0 rides along (and stays the caller's). -EAGAIN: the other does not keep up. */
int control_send(int to, enum control_kind kind, const char *id, const void *body, size_t len, int fd);

/* The next message. ret_fd NULL: descriptors are not accepted; else -1 or one, which is the caller's now.
 * -EAGAIN none, -EPIPE the other end is gone, -EPROTO: not one of ours (dropped). */
int control_recv(int from, struct control *ret, int *ret_fd);

#endif
