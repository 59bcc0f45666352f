/* Priority-based flow control frames (IEEE 802.1Qbb, 802.1Q clause 36): "stop sending these priorities for so long".
 * A MAC control frame to 01:80:c2:00:00:01, never forwarded: opcode 0x0101, a bit per priority, and per priority a time in
 * quanta of 512 bit times of the link; 0 means go on. */
#ifndef MERIDIAN_WIRE_PFC_H
#define MERIDIAN_WIRE_PFC_H

#include "base/bytes.h"
#include "wire/ip.h"

#include <errno.h>

enum { PFC_SIZE = 60, PFC_BODY = 20 }; /* a frame without FCS, padded; what of it behind the Ethernet header matters */

struct pfc {
    uint8_t enabled; /* bit per priority: only these are told something */
    uint16_t quanta[8];
};

/* The body of an untagged Ethernet frame of type ETHER_MAC_CONTROL. 0; -EPROTO: no PFC frame (a plain PAUSE, or short). */
static inline int pfc_decode(struct pfc *ret, const uint8_t *body, size_t len)
{
    if (len < PFC_BODY || bytes_get_be16(body) != 0x0101)
        return -EPROTO;
    ret->enabled = body[3]; /* byte 2 is reserved: ignored on receipt */
    for (unsigned i = 0; i < 8; i++)
        ret->quanta[i] = bytes_get_be16(body + 4 + 2 * i);
    return 0;
}

/* A whole frame of PFC_SIZE bytes. */
static inline void pfc_put(uint8_t *frame, const uint8_t src_mac[6], const struct pfc *p)
{
    static const uint8_t to[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x01};
    memset(frame, 0, PFC_SIZE);
    memcpy(frame + ETHER_DST, to, 6);
    memcpy(frame + ETHER_SRC, src_mac, 6);
    bytes_put_be16(frame + ETHER_TYPE, ETHER_MAC_CONTROL);
    bytes_put_be16(frame + ETHER_SIZE, 0x0101);
    frame[ETHER_SIZE + 3] = p->enabled;
    for (unsigned i = 0; i < 8; i++)
        bytes_put_be16(frame + ETHER_SIZE + 4 + 2 * i, p->quanta[i]);
}

/* Nanoseconds of so many quanta on a link of this speed (> 0). */
static inline int64_t pfc_ns(uint16_t quanta, uint64_t link_bps)
{
    return (int64_t)((uint64_t)quanta * 512u * 1000000000u / link_bps);
}

#endif
