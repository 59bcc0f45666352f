/* A paced UDP flow of the lab and its sink: packets carry a number and when they were sent, so that the sink knows what was
 * lost, repeated or overtaken, and how long each was under way (both ends share a clock: it is one machine). Sockets of the
 * kernel, in the current namespace. */
#ifndef MERIDIAN_LAB_UDP_H
#define MERIDIAN_LAB_UDP_H

#include "base/error.h"
#include "telemetry/quantile.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define LAB_UDP_LEAST 60u /* bytes of an IP packet: headers and our 24 bytes, rounded */

struct lab_udp_send {
    struct ip_addr to;
    uint16_t port, src_port; /* src_port 0: any */
    uint8_t dscp;
    bool ecn;              /* ECT(0) */
    uint32_t packet;       /* bytes of IP packet */
    uint64_t rate_bps;     /* of IP packets; > 0 */
    uint64_t bytes;        /* payload to send; 0: no end */
    int64_t duration_ns;   /* 0: no end */
    int64_t on_ns, off_ns; /* bursts: send for on_ns, be silent for off_ns; 0 0: steady */
    const volatile int *interrupted;
};

struct lab_udp_sent {
    uint64_t packets, payload, refused; /* refused: by the socket for a moment; sent later */
    int64_t active_ns;
};

struct lab_udp_got {
    uint64_t packets, payload;
    uint64_t lost; /* numbers never seen, up to the highest one seen */
    uint64_t overtaken, repeated, foreign, ce_marked;
    uint64_t missed;                       /* by this socket: the machine was too slow */
    int64_t first_ns, last_ns, silence_ns; /* silence: longest time between two packets */
    struct quantile one_way;
};

int lab_udp_send(const struct lab_udp_send *c, struct lab_udp_sent *ret, struct error *err);
/* Until interrupted or, when quiet_ns > 0, nothing came for so long after the first packet. */
int lab_udp_receive(uint16_t port, int64_t quiet_ns, const volatile int *interrupted, void (*ready)(void),
    struct lab_udp_got *ret, struct error *err);

#endif
