/* A reliable byte stream to the peer, behind which transports stand: TLS 1.3 over TCP now (split/link_tls.h), RDMA later.
 * Non-blocking; a link is used by one thread. It knows nothing of frames. */
#ifndef MERIDIAN_SPLIT_LINK_H
#define MERIDIAN_SPLIT_LINK_H

#include <stddef.h>
#include <sys/types.h>

struct link;
struct link_ops {
    /* Bytes moved (> 0), -EAGAIN: wait as `events` says, 0 (recv): the peer ended, other -errno: broken. */
    ssize_t (*recv)(struct link *l, void *to, size_t cap);
    ssize_t (*send)(struct link *l, const void *from, size_t len);
    int (*fd)(const struct link *l);                      /* for poll(2) */
    short (*events)(const struct link *l, int want_send); /* what to poll for now (POLLIN, POLLOUT) */
    size_t (*pending)(const struct link *l);              /* received bytes already inside (poll would not tell) */
    const char *(*why)(const struct link *l);             /* one sentence on the last failure */
    void (*free)(struct link *l);                         /* ends cleanly if it can without waiting */
};

struct link {
    const struct link_ops *ops;
};

/* A plain connected socket (tests, the leak demonstration's unencrypted control). Takes fd over. */
int link_plain_create(struct link **ret, int fd);

#endif
