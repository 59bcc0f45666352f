/* A BGP speaker's connections: sockets in, sockets out, one thread that waits for all of them. The protocol is src/bgp's; the
 * router and the controller each run one of these beside their own work. Not thread-safe: call from one thread, but
 * peering_wake may come from any. */
#ifndef MERIDIAN_PEERING_PEERING_H
#define MERIDIAN_PEERING_PEERING_H

#include "bgp/speaker.h"
#include "peering/socket.h"

struct peering_config {
    struct bgp_speaker *speaker; /* the caller's; outlives the peering */
    struct ip_addr listen[8];
    unsigned n_listen;
    uint32_t scope; /* interface of link-local ones among them */
    uint16_t port;  /* 0: 179. The one that we listen on and connect to */
};

struct peering_peer {
    uint16_t peer; /* bgp_peer_add's number */
    struct peering_secure secure;
    struct ip_addr source; /* family 0: the kernel's choice */
    uint32_t scope;        /* interface of a link-local address */
    uint16_t port;         /* to connect to; 0: as configured */
};

struct peering;
int peering_create(struct peering **ret, const struct peering_config *c, struct error *err);
void peering_free(
    struct peering *p); /* closes every connection; sessions that are up are told to cease. NULL allowed */

#define PEERING_VRFS_MOST 64u /* listening sockets of VRFs */

/* Takes connections of the VRF's customers at this address of ours there, by its interface. Before the customers' peers are
 * added. -ENOSPC or the kernel's reason, with a sentence. */
int peering_listen_vrf(
    struct peering *p, uint32_t vrf, const struct ip_addr *at, const char *device, struct error *err);

/* Sockets of a peer that the speaker has. A customer's: secure.device is its VRF's interface. */
int peering_peer_add(struct peering *p, const struct peering_peer *c, struct error *err);
void peering_peer_remove(struct peering *p, uint16_t peer);

/* Asked when a connection comes from an address that is no peer's: it may make it one (bgp_peer_add, peering_peer_add) and return
 * its number, or 0: refused. For reflectors whose clients are known by their prefix only. */
void peering_strangers(struct peering *p, uint16_t (*who)(void *user, const struct ip_addr *from), void *user);

/* One more descriptor of the caller's to wait for (at most 4): `ready` is called when it can be read. */
int peering_watch(struct peering *p, int fd, void (*ready)(void *user), void *user);

/* Waits for at most `most_ns` (< 0: as long as nothing is due), then does what there is to do. */
void peering_step(struct peering *p, int64_t most_ns);
void peering_wake(struct peering *p);

/* For a caller with a loop of its own, which calls peering_step(p, 0) when this descriptor can be read, when the time that
 * peering_due says has come, and after anything that it did to the speaker. Closed by peering_free. */
int peering_descriptor(struct peering *p);
int64_t peering_due(const struct peering *p);

#endif
