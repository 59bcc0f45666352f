/* The hosts behind access sub-interfaces: which MAC has which address (ARP, RFC 826; neighbour unreachability detection,
 * RFC 4861 section 7.3, for both families), and what hosts must know of us: answers for our gateway addresses and router
 * advertisements (RFC 4861 section 6.2).
 *
 *   unknown → INCOMPLETE → REACHABLE → (30 s) STALE → (used) DELAY → (5 s) PROBE → REACHABLE or forgotten
 *
 * A sub-interface (a port, or one VLAN of it) is a *net* with its own share of the table, reserved when it is set: hosts of
 * one net can neither exhaust nor see another's. Within a net, addresses that do not answer occupy at most a quarter of the
 * share, and the oldest of them gives way (a scan cannot push out hosts that do answer, RFC 6583); after that the host
 * unheard for longest that is not REACHABLE does.
 *
 * Pure: `now` comes in, frames and waiting packets go out by callbacks; all memory is taken at creation. Nothing here trusts a
 * host with more than its own net: senders must lie in the net's subnets and not be us. */
#ifndef MERIDIAN_FORWARD_NEIGHBOUR_H
#define MERIDIAN_FORWARD_NEIGHBOUR_H

#include "base/error.h"
#include "lane/packet.h"
#include "wire/neighbour.h"

#define NEIGHBOUR_GATEWAYS  4u
#define NEIGHBOUR_NET_MOST  64u /* share of a net that asks for none */
#define NEIGHBOUR_WAITING   16u /* packets that wait for one address; a further one replaces the oldest */
#define NEIGHBOUR_RESOLVING 4u  /* 1 / this of a net's share may be INCOMPLETE */

enum neighbour_state {
    NEIGHBOUR_NONE,
    NEIGHBOUR_INCOMPLETE,
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_STALE,
    NEIGHBOUR_DELAY,
    NEIGHBOUR_PROBE,
};

struct neighbour_net {
    uint16_t port, vlan;                          /* the key; vlan 0: untagged */
    uint8_t mac[6];                               /* ours there */
    bool advertise;                               /* send router advertisements (only where an IPv6 gateway is) */
    uint32_t mtu;                                 /* of hosts: what fits every path after encapsulation; 0: not told */
    uint32_t share;                               /* neighbours at most; 0: NEIGHBOUR_NET_MOST */
    struct ip_prefix gateway[NEIGHBOUR_GATEWAYS]; /* our addresses with their subnets' lengths; family 0: unused */
};

/* Callbacks; they must not call back into the table, except neighbour_resolve from `ready`. */
struct neighbour_ops {
    void *user;
    struct rte_mbuf *(*alloc)(void *user); /* NULL: none left; the frame is then not sent */
    /* A whole frame of ours, tagged if the net is; takes ownership. */
    void (*send)(void *user, uint16_t port, struct rte_mbuf *m, int64_t now);
    /* A packet that waited can go to `mac`; takes ownership. In the order in which they came. */
    void (*ready)(void *user, uint32_t net, const uint8_t mac[6], struct rte_mbuf *m, int64_t now);
    /* A packet whose neighbour does not answer, or that had no room (LOSS_NO_NEIGHBOUR); takes ownership. `failed`: the
     * address is known to be dead: worth an ICMP error. */
    void (*lost)(void *user, uint32_t net, struct rte_mbuf *m, bool failed, int64_t now);
};

struct neighbour_config {
    uint32_t neighbours_most; /* sum of the nets' shares; 0: 4096 */
    uint32_t nets_most;       /* 0: 256 */
    uint64_t seed;            /* of the hash and of advertisement times */
};

struct neighbour_counters {
    uint64_t received, malformed, foreign; /* foreign: senders outside the subnets, or with our own address */
    uint64_t sent, no_buffer;
    uint64_t resolved, failed, evicted, refused; /* neighbours; refused: no room in the net's share */
    uint64_t waiting_lost;                       /* packets */
};

struct neighbour_table;

int neighbour_create(struct neighbour_table **ret, const struct neighbour_config *, const struct neighbour_ops *);
void neighbour_free(struct neighbour_table *); /* packets that still wait go to `lost` */

/* Sets a net, new or in place of the one with the same port and VLAN (whose neighbours are forgotten if our MAC or addresses
 * changed, or if they are more than the new share); tells hosts of our addresses. *ret_net names it in all other calls. -EINVAL, -ENOSPC (nets or shares used up), and one sentence. */
int neighbour_net_set(
    struct neighbour_table *, const struct neighbour_net *, int64_t now, uint32_t *ret_net, struct error *);
/* Tells hosts that we are no router any more. -ENOENT. */
int neighbour_net_del(struct neighbour_table *, uint32_t net, int64_t now);
/* UINT32_MAX: none. */
uint32_t neighbour_net_find(const struct neighbour_table *, uint16_t port, uint16_t vlan);

/* The MAC of the host with address `a`, to be used at once (it lies in the table). NULL: not known yet: m (its meta.next is
 * used) waits or was lost, and is not the caller's any more. */
const uint8_t *neighbour_resolve(
    struct neighbour_table *, uint32_t net, const struct ip_addr *a, struct rte_mbuf *m, int64_t now);

/* What came in at the net: from its ARP header (ether_type ETHER_ARP) or IPv6 header on; src_mac: of its frame. True: it was
 * ARP or discovery and is done with; false: something else. The bytes stay the caller's. */
bool neighbour_receive(struct neighbour_table *, uint32_t net, uint16_t ether_type, const uint8_t src_mac[6],
    const uint8_t *packet, size_t len, int64_t now);

/* Retries, probes, advertisements that are due. Returns the next deadline, INT64_MAX: none. */
int64_t neighbour_poll(struct neighbour_table *, int64_t now);

const struct neighbour_counters *neighbour_counters(const struct neighbour_table *);
/* For `show` and tests: the state of an address, NEIGHBOUR_NONE if unknown. ret_mac may be NULL. */
enum neighbour_state neighbour_look(
    const struct neighbour_table *, uint32_t net, const struct ip_addr *a, uint8_t ret_mac[6]);
uint32_t neighbour_count(const struct neighbour_table *, uint32_t net);
/* Shares, lists, hash, deadlines and queues agree. For tests. */
bool neighbour_check(const struct neighbour_table *);

#endif
