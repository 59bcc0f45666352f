/* pcapng (draft-ietf-opsawg-pcapng), as much as a capture of one interface needs: section header, interface description,
 * enhanced packets with nanoseconds and direction, statistics at the end. Little-endian. Bytes only. */
#ifndef MERIDIAN_WIRE_PCAPNG_H
#define MERIDIAN_WIRE_PCAPNG_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct pcapng_packet {
    int64_t wall_ns;
    uint32_t captured, length; /* bytes that follow; bytes of the frame */
    bool out;                  /* left by the interface; false: came in */
};

/* All return 0 or -ENOMEM, nothing written then. Interface: Ethernet. */
int pcapng_start(struct buf *to, const char *interface, const char *program, uint32_t snap);
int pcapng_packet(struct buf *to, const struct pcapng_packet *p, const uint8_t *bytes);
int pcapng_end(struct buf *to, int64_t wall_ns, uint64_t received, uint64_t dropped);

#endif
