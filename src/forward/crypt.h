/* Packets of encrypted VPNs (router.md, "xSEC data plane"): into ESP behind the lookup and before the outer headers, out of it
 * behind an encrypted service SID, a batch at a time (esp/esp.h). A packet waits in its batch until that is full or
 * crypt_flush is called, which every call into the core does before it returns and before a lane can change: so order
 * within a lane is that of arrival, and nothing that waits outlives what it names. */
#ifndef MERIDIAN_FORWARD_CRYPT_H
#define MERIDIAN_FORWARD_CRYPT_H

#include "forward/core.h"

/* --- sa.c ----------------------------------------------------------------------------------------------------- */

void sa_find(struct forward *, struct hop *);

/* The SA for a class of what goes to this hop; NULL: no key, or its route is in clear. */
static inline struct esp_sa *sa_sending(struct forward *f, struct hop *h, unsigned class_)
{
    if (forward_unlikely(h->sas_at != f->sas_version))
        sa_find(f, h);
    return h->sa[class_];
}

/* --- seal.c: takes ownership ---------------------------------------------------------------------------------- */

/* An inner packet that fits, of protocol number `proto`, its data at the IP header. */
void seal_later(struct forward *, struct esp_sa *, const struct sealing_wait *, uint8_t proto, int64_t now);
void seal_flush(struct forward *, int64_t now);

/* --- open.c: takes ownership ---------------------------------------------------------------------------------- */

/* The walk stands at the ESP header. ecn: of the outer header. */
void open_later(struct forward *, const struct walk *, struct vrf *, unsigned ecn);
void open_flush(struct forward *, int64_t now);

static inline void crypt_flush(struct forward *f, int64_t now)
{
    if (f->opening.n)
        open_flush(f, now); /* may leave ICMP errors to be sealed */
    if (f->sealing.n)
        seal_flush(f, now);
}

#endif
