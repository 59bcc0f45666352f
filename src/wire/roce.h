/* RoCEv2 packets: InfiniBand's reliable connections over UDP port 4791 (InfiniBand Architecture vol. 1, chapter 9, and
 * annex A17). What RDMA writes need: WRITE requests, their acknowledgements, and congestion notifications (CNP).
 *
 *   IPv4 or IPv6 | UDP | BTH 12 | [RETH 16] or [AETH 4] or [16 zeros of a CNP] | payload | pad to 4 | ICRC 4
 *
 * The ICRC covers everything that no router may change: IP and UDP too, with their mutable fields taken as ones. Nothing
 * is allocated; the bytes decoded are an unauthenticated stranger's. */
#ifndef MERIDIAN_WIRE_ROCE_H
#define MERIDIAN_WIRE_ROCE_H

#include "wire/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROCE_PORT = 4791,
    ROCE_BTH_SIZE = 12,
    ROCE_RETH_SIZE = 16,
    ROCE_AETH_SIZE = 4,
    ROCE_CNP_SIZE = 16,
    ROCE_ICRC_SIZE = 4,
    ROCE_HEADERS_MAX = IP6_SIZE + UDP_SIZE + ROCE_BTH_SIZE + ROCE_RETH_SIZE,
    ROCE_PAYLOAD_MAX = 4096, /* the largest path MTU */
};
#define ROCE_PSN_MASK 0xffffffu

enum roce_opcode {
    ROCE_WRITE_FIRST = 0x06, /* with RETH */
    ROCE_WRITE_MIDDLE = 0x07,
    ROCE_WRITE_LAST = 0x08,
    ROCE_WRITE_ONLY = 0x0a,  /* with RETH */
    ROCE_ACKNOWLEDGE = 0x11, /* with AETH */
    ROCE_CNP = 0x81,
};

/* AETH syndromes: kind in bits 6..5, detail in bits 4..0. */
enum roce_syndrome {
    ROCE_ACK = 0x1f,     /* credit count 31: the responder does not limit the requester */
    ROCE_RNR_NAK = 0x20, /* mask of its kind */
    ROCE_NAK_SEQUENCE = 0x60,
    ROCE_NAK_INVALID = 0x61, /* invalid request */
};

/* ECN in the IP header (RFC 3168). */
enum roce_ecn { ROCE_NOT_ECT = 0, ROCE_ECT1 = 1, ROCE_ECT0 = 2, ROCE_CE = 3 };

struct roce_packet {
    struct ip_addr src, dst; /* of one family */
    uint8_t dscp, ecn, hops;
    uint32_t flow_label; /* 20 bits, IPv6 */
    uint16_t src_port;
    uint8_t opcode; /* enum roce_opcode */
    bool solicited, ack_request;
    bool becn;          /* a CNP's */
    uint16_t pkey;      /* 0xffff: the default partition */
    uint32_t qp, psn;   /* 24 bits each; qp: the destination's */
    uint64_t address;   /* FIRST, ONLY (RETH) */
    uint32_t key, size; /* the same: remote key; bytes of the whole message */
    uint8_t syndrome;   /* ACKNOWLEDGE (AETH) */
    uint32_t msn;       /* the same: messages completed, 24 bits */
    uint32_t payload;   /* bytes, without pad */
};

/* Bytes from the IP header to the payload, and of the whole IP packet. */
uint32_t roce_headers_size(const struct roce_packet *p);
uint32_t roce_size(const struct roce_packet *p);

/* Writes the headers (at most ROCE_HEADERS_MAX bytes, IPv4 checksum filled in, UDP checksum 0), as for a packet whose
 * payload, pad and ICRC follow. Returns roce_headers_size. Payload <= ROCE_PAYLOAD_MAX, 0 where there is none. */
uint32_t roce_put(uint8_t *to, const struct roce_packet *p);

/* Over a complete packet of `len` = roce_size bytes from its IP header on, of which the last four are the ICRC's. */
void roce_icrc_put(uint8_t *ip, uint32_t len);
bool roce_icrc_valid(const uint8_t *ip, uint32_t len);

/* From an IP header on: `have` bytes are there, of a packet of `len`; have < len when only headers are kept. The headers
 * must lie in `have`; what follows the IP packet's own length (Ethernet's padding) is ignored, and roce_size(ret) is that
 * length. Strict, but for the ICRC, which is not looked at.
 *   0         a packet of the kinds above
 *   -ENOENT   not UDP to ROCE_PORT (or a fragment, or behind extension headers): somebody else's
 *   -EPROTO   malformed    -ENOTSUP  another opcode */
int roce_decode(struct roce_packet *ret, const uint8_t *ip, uint32_t have, uint32_t len);

#endif
