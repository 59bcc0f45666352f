/* TCP sockets as BGP wants them: MD5 signatures (RFC 2385), GTSM (RFC 5082), one address family at a time, never blocking. */
#ifndef MERIDIAN_PEERING_SOCKET_H
#define MERIDIAN_PEERING_SOCKET_H

#include "base/error.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define PEERING_MD5_MOST 80 /* bytes of a key: the kernel's limit */

struct peering_secure {
    char md5[PEERING_MD5_MOST + 1]; /* "": no signature */
    bool gtsm;                      /* the peer is one hop away: packets with a TTL below 255 are not accepted */
    char device[16];                /* packets come and go by this interface only: a VRF's; "": any */
};

/* A listening socket on `at` (family IP_V6 with an address of zero: both families); -errno with a sentence. */
int peering_listen(const struct ip_addr *at, uint16_t port, uint32_t scope, struct error *err);
/* The same for one interface: other sockets may listen on the same address and port at others. */
int peering_listen_at(const struct ip_addr *at, uint16_t port, const char *device, struct error *err);
/* Lets a listening socket take connections from `peer` with this key only; "" takes it away. */
int peering_listen_key(int fd, const struct ip_addr *peer, const char *md5, struct error *err);
/* Begins to connect; the descriptor is writable when it is done. source: family 0, or our address. scope: the interface of
 * a link-local address, else 0. */
int peering_connect(const struct ip_addr *to, uint16_t port, uint32_t scope, const struct ip_addr *source,
    const struct peering_secure *secure, struct error *err);
int peering_connected(int fd); /* 0, or -errno of the attempt */
/* Takes a waiting connection; who it is. -EAGAIN: there is none. */
int peering_accept(int listening, struct ip_addr *ret_from, struct error *err);
int peering_protect(int fd, const struct ip_addr *peer, const struct peering_secure *secure, struct error *err);

#endif
