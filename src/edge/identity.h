/* Who this edge is to its cloud: DIR/{cloud.json,key.pem,cert.pem,ca.pem}, made by edge_join, read by the daemon.
 *
 * The key is born here, mode 0600, and never leaves. ca.pem is the pinned root. The certificate is renewed over a
 * connection that shows the old one; connections made afterwards use the new one. */
#ifndef MERIDIAN_EDGE_IDENTITY_H
#define MERIDIAN_EDGE_IDENTITY_H

#include "base/error.h"
#include "split/link.h"

#include <stdbool.h>
#include <stdint.h>

#define EDGE_ALARM_DAYS 14 /* a certificate with less than this left is complained about, every day */

/* Redeems the invitation in the file `kit`. Run again after a failure it uses the same key, so an answer that was lost on
 * the way costs nothing. -EEXIST: this folder already belongs to a cloud (`again`: leave that one).
 * keylog_fd -1: none. */
int edge_join(const char *kit, const char *dir, bool again, int keylog_fd, struct error *err);

struct edge_identity;

/* Reads the folder. -ENOENT says to join first; -EKEYEXPIRED never: an expired certificate is told when connecting. */
int edge_identity_open(struct edge_identity **ret, const char *dir, int keylog_fd, struct error *err);
void edge_identity_free(struct edge_identity *i);

/* Begins a connection to the hospital's worker (split/link_tls.h: it goes on in recv and send). Any thread.
 * dscp: the mark of its packets; 0: none. */
int edge_identity_connect(void *identity, unsigned dscp, struct link **ret, struct error *err);

/* Asks the cloud for a new certificate: now, waiting for at most 15 s. Any thread, one at a time. */
int edge_identity_renew(struct edge_identity *i, struct error *err);

/* To be called now and then (every minute is plenty): renews when less than a third of the certificate's life is left
 * (at most once in ten minutes, until it works), and complains in the log once a day below EDGE_ALARM_DAYS. May take
 * 15 s: not on a thread that others wait for. 1: renewed, 0: nothing to do, -errno: tried and failed. */
int edge_identity_tick(struct edge_identity *i, struct error *err);

int64_t edge_identity_seconds_left(const struct edge_identity *i); /* for the metric; negative: expired */
const char *edge_identity_address(const struct edge_identity *i);  /* "203.0.113.9:7443" */

#endif
