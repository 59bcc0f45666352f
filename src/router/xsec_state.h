/* What a router must remember of xSEC from one life to the next: the highest generation that it ever advertised, and the newest
 * revocation list. Durable before it counts, whatever moment the power fails.
 *
 * One file with two places, written in turn: {"XSS1", count 8, generation 8, length 2, list 598, SHA-256 32}. The valid place
 * with the higher count holds; a write that was torn leaves the other one. So no file has to be made or renamed once the
 * router has given up its rights: it needs the open descriptor, pwrite and fdatasync. */
#ifndef MERIDIAN_ROUTER_XSEC_STATE_H
#define MERIDIAN_ROUTER_XSEC_STATE_H

#include "base/error.h"
#include "wire/xsec_beacon.h"

#include <sys/types.h>

struct xsec_state {
    int fd;
    uint64_t count, generation;
    uint8_t list[XSEC_REVOCATIONS_MOST];
    uint16_t list_len; /* 0: none yet */
};
#define XSEC_STATE_PLACE 4096u /* octets from one place to the other: never in one sector */

/* Makes the file (0600, of this user) where there is none. -EINVAL when neither place makes sense: the sentence says what to do. */
int xsec_state_open(struct xsec_state *ret, const char *path, uid_t uid, gid_t gid, struct error *err);
void xsec_state_close(struct xsec_state *s);
/* Durable when it returns 0; -errno: *s and what counts in the file are as they were. */
int xsec_state_keep_generation(struct xsec_state *s, uint64_t generation);
int xsec_state_keep_list(struct xsec_state *s, const uint8_t *list, size_t len);

#endif
