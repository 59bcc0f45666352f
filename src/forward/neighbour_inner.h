/* Inside the neighbour table: neighbour.c has the states and lists, neighbour_net.c the nets and advertisements,
 * neighbour_receive.c what hosts say, neighbour_send.c our frames. */
#ifndef MERIDIAN_FORWARD_NEIGHBOUR_INNER_H
#define MERIDIAN_FORWARD_NEIGHBOUR_INNER_H

#include "forward/deadlines.h"
#include "forward/icmp.h"
#include "forward/neighbour.h"
#include "forward/table.h"

#define SECOND_NS       1000000000ll
#define NO_NEIGHBOUR    UINT32_MAX
#define ADDRESSES_MOST  (NEIGHBOUR_GATEWAYS + 1) /* of ours in a net: gateways and the link-local one */
#define REACHABLE_NS    (30 * SECOND_NS)         /* RFC 4861 section 10 */
#define RETRANSMIT_NS   SECOND_NS
#define DELAY_NS        (5 * SECOND_NS)
#define STALE_KEPT_NS   (600 * SECOND_NS)
#define SOLICITATIONS   3u
#define ADVERT_LIFETIME 1800u /* s */

struct neighbour_key {
    uint32_t net, family;
    struct ip6 a;
};

struct neighbour {
    struct neighbour_key key;
    uint8_t mac[6];
    uint8_t state; /* enum neighbour_state */
    uint8_t tries;
    uint16_t waiting;
    uint32_t next, prev; /* in its net's list; free ones: next only */
    struct rte_mbuf *head, *tail;
};

/* Neighbours of a net, the one unheard for longest first. */
struct neighbour_list {
    uint32_t head, tail, n;
};

struct net {
    struct neighbour_net config;
    bool live;
    struct ip6 link_local;
    struct neighbour_list resolving, known; /* INCOMPLETE; all others */
    unsigned adverts;                       /* multicast ones since it was set */
    int64_t advert_ns;                      /* when the last multicast one was sent; INT64_MIN: never */
    struct icmp_limit solicited;            /* advertisements to single hosts */
    struct icmp_limit asking;               /* first questions for unknown addresses */
};

struct neighbour_table {
    struct neighbour_ops ops;
    struct neighbour *all;
    struct net *nets;
    uint32_t neighbours_most, nets_most, reserved, free;
    struct table by_key;        /* struct neighbour_key to index */
    uint32_t recent[256];       /* indices that were asked for lately */
    struct deadlines deadlines; /* neighbours, then nets (their next advertisement) */
    uint64_t seed, draws;
    struct neighbour_counters counters;
};

/* neighbour.c */
uint32_t neighbour_index(struct neighbour_table *t, uint32_t net, const struct ip_addr *a);
/* What was heard of an address: its MAC, and whether it proves that the host hears us (an answer to our question).
 * `make`: a host that is not known yet is noted too. */
void neighbour_heard(struct neighbour_table *t, uint32_t net, const struct ip_addr *a, const uint8_t mac[6],
    bool answer, bool make, int64_t now);
void neighbour_state_set(struct neighbour_table *t, uint32_t i, enum neighbour_state s, int64_t now);
void neighbour_forget_net(struct neighbour_table *t, uint32_t net, int64_t now);

/* neighbour_net.c */
const struct ip_prefix *net_subnet(
    const struct net *n, const struct ip_addr *a); /* whose subnet holds it; NULL: none */
bool net_is_ours(const struct net *n, const struct ip_addr *a);
bool net_may_hold(const struct net *n, const struct ip_addr *a); /* a host of this net may have this address */
void net_advertise(struct neighbour_table *t, uint32_t net, int64_t now);
void net_advert_asked(
    struct neighbour_table *t, uint32_t net, const struct nd *solicit, const uint8_t src_mac[6], int64_t now);

/* neighbour_send.c: all of them count; a missing mbuf means that it is not sent. */
void send_solicit(struct neighbour_table *t, const struct neighbour *n, bool unicast, int64_t now);
void send_arp(
    struct neighbour_table *t, const struct net *n, const struct arp *a, const uint8_t dst_mac[6], int64_t now);
void send_nd(struct neighbour_table *t, const struct net *n, const struct nd *d, const uint8_t dst_mac[6], int64_t now);
void send_router(struct neighbour_table *t, const struct net *n, const struct ip6 *dst, const uint8_t dst_mac[6],
    uint16_t lifetime_s, int64_t now);
void send_announcements(struct neighbour_table *t, const struct net *n, int64_t now);

#endif
