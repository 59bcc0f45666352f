/* The number that a packet of a 1+1 stream carries (router.md, Lanes, 9): an option in a Destination Options header (RFC 8200
 * section 4.6), which only the router at the path's end reads. Both copies have the same one. Routers between, and those that
 * do not know the option, pass over it: its type says skip if unknown, does not change on the way (RFC 4727 experiment).
 *
 *    0 next  1    1e 0c   |  4 epoch               |  8 number, 64 bits
 *
 * `epoch` is drawn anew whenever the sender begins to count; numbers go up from 1 and never repeat within one. What IEEE 802.1CB
 * calls a sequence number, with 64 bits, so that nothing has to be said about wrapping. Pure. */
#ifndef MERIDIAN_WIRE_SEQUENCE_H
#define MERIDIAN_WIRE_SEQUENCE_H

#include "wire/hbh.h"

#define SEQUENCE_SIZE    16u /* of the header with this option and nothing else */
#define SEQUENCE_DEFAULT 0x1e

enum { SEQUENCE_EPOCH_AT = 4, SEQUENCE_NUMBER_AT = 8, SEQUENCE_DATA = 12 };

struct sequence {
    uint16_t size; /* bytes of the header */
    uint8_t next;  /* the header behind it */
    bool has;      /* the option was there */
    uint32_t epoch;
    uint64_t number;
};

/* The header with the option, SEQUENCE_SIZE bytes. */
void sequence_encode(uint8_t *to, uint8_t next, uint8_t type, uint32_t epoch, uint64_t number);

/* Reads a Destination Options header at p, of which at most `len` bytes are there: any options, any padding. *ret is written
 * when HBH_OK; otherwise *ret_at is the offset of the offending option. A number of 0, the option twice, or of another length
 * is HBH_MALFORMED. */
enum hbh_verdict sequence_parse(struct sequence *ret, uint32_t *ret_at, const uint8_t *p, size_t len, uint8_t type);

#endif
