/* Outer headers (H.Encaps.Red, RFC 8986 section 5.2), prepared once per (tenant, class, path, service SID) and copied in front
 * of every packet:
 *
 *   IPv6 | hop-by-hop {alternate marking, NR: the slice, [lane]} | [SRH, reduced]
 *
 * Hop limit 64; DSCP says the class; ECN is the inner packet's (RFC 6040 section 4.1); one flow label per lane, so that inner
 * flows do not show; FlowMonID per (tenant, class, service SID). */
#ifndef MERIDIAN_FORWARD_ENCAP_H
#define MERIDIAN_FORWARD_ENCAP_H

#include "forward/leave.h"

struct encap_key {
    uint32_t tenant, path; /* path 0: the underlay's shortest way */
    struct ip6 service_sid;
    uint8_t class_;
};

/* The one with this key, made if need be; one user more. -ENOENT: no such path; -E2BIG: its headers do not fit. */
int encap_get(struct forward *, const struct encap_key *, struct encap **ret, struct error *);
void encap_put(struct forward *, struct encap *); /* NULL: nothing */

/* The lane that carries its packets from now on; NULL: none. The headers change with it. */
void encap_lane_set(struct forward *, struct encap *, struct lane_tx *);
/* The path was replaced: -E2BIG when the headers of one of its users would not fit any more (nothing changed). */
int encap_path_check(struct forward *, const struct forward_path *, struct error *);
void encap_path_changed(struct forward *, uint32_t path);

/* The underlay changed since it was made: asks anew where it leads. */
void encap_refresh(struct forward *, struct encap *);

/* Addresses that the way takes: the first is the destination, the others are in the SRH. 0: more than fit. service_sid
 * NULL: the longest C-SID there may be. */
unsigned encap_addresses(const struct forward *, const struct forward_path *, const struct ip6 *service_sid);
/* Bytes of the headers over this path; 0: they do not fit. */
unsigned encap_size(const struct forward *, const struct forward_path *, const struct ip6 *service_sid);

/* Puts the Ethernet header (but for its addresses) and the outer headers in front of m, whose data begins at the inner IP
 * header: `inner` its protocol number, ecn its two bits, marks enum marking_bits. False: not enough headroom. */
static inline bool encap_push(const struct encap *e, struct rte_mbuf *m, uint8_t inner, unsigned ecn, unsigned marks)
{
    unsigned more = ETHER_SIZE + e->size;
    uint32_t payload = m->pkt_len + e->size - IP6_SIZE;
    if (forward_unlikely(m->data_off < more))
        return false;
    m->data_off = (uint16_t)(m->data_off - more);
    m->data_len = (uint16_t)(m->data_len + more);
    m->pkt_len += more;
    uint8_t *ip = packet_at(m, ETHER_SIZE);
    memcpy(ip, e->bytes, ENCAP_LEAST);
    for (unsigned at = ENCAP_LEAST; at < e->size; at += 8)
        memcpy(ip + at, e->bytes + at, 8);
    ip[1] = (uint8_t)(ip[1] | ecn << 4); /* traffic class straddles bytes 0 and 1: its ECN bits are 0x30 of byte 1 */
    bytes_put_be16(ip + IP6_LEN, (uint16_t)payload);
    ip[e->next_at] = inner;
    ip[e->mark_at + 2] = (uint8_t)(ip[e->mark_at + 2] | (marks & MARKING_L) << 3 | (marks & MARKING_D) << 1);
    return true;
}

/* With its headers on, into the queue. Takes ownership. */
static inline void encap_leave(
    struct forward *f, const struct encap *e, struct queue *q, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    meta->cells = packet_cells(m->pkt_len);
    meta->l3 = ETHER_SIZE;
    meta->lane_option = e->lane ? (uint16_t)(ETHER_SIZE + e->lane_at) : 0;
    if (leave_admitted(f, m, now))
        leave_core(q->port, q, m, now);
}

#endif
