/* Who has which MAC: the next hop that a sender resolves, and everybody who wrote to us (their answers go back by the way they
 * came). A host of its own, whose address the kernel does not know, also answers for that address. No I/O here: frames go
 * in, frames to send come out. */
#ifndef MERIDIAN_ROCE_NEIGHBOURS_H
#define MERIDIAN_ROCE_NEIGHBOURS_H

#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define ROCE_NEIGHBOURS      1024u /* a power of two: where two meet, the later one stays */
#define ROCE_NEIGHBOUR_FRAME 96u   /* bytes of the longest frame that these functions write */

struct roce_neighbours {
    uint8_t mac[6];
    struct ip_addr own[2]; /* family 0: none */
    bool answers;          /* the kernel does not: we answer for them */
    struct {
        struct ip_addr who;
        uint8_t mac[6];
    } known[ROCE_NEIGHBOURS];
};

void roce_neighbours_learn(struct roce_neighbours *n, const struct ip_addr *who, const uint8_t mac[6]);
const uint8_t *roce_neighbours_find(const struct roce_neighbours *n, const struct ip_addr *who); /* NULL: not known */

/* "Who has it?" from our address of its family. Returns the frame's bytes; 0: we have no such address. */
uint32_t roce_neighbours_ask(const struct roce_neighbours *n, const struct ip_addr *who, uint8_t *frame);
/* Looks at an arriving frame: ARP and neighbour discovery are learned from. Returns the bytes of an answer at `answer`; 0:
 * none is due. */
uint32_t roce_neighbours_hear(struct roce_neighbours *n, const uint8_t *frame, uint32_t len, uint8_t *answer);

#endif
