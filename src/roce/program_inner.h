/* Inside of `meridian roce`: what its beginning (program_begin.c) and its loop (program.c) share. */
#ifndef MERIDIAN_ROCE_PROGRAM_INNER_H
#define MERIDIAN_ROCE_PROGRAM_INNER_H

#include "roce/neighbours.h"
#include "roce/port.h"
#include "roce/program.h"
#include "wire/roce.h"

#include <sys/uio.h>

#define ROCE_SLOT_SIZE (ETHER_SIZE + VLAN_SIZE + ROCE_HEADERS_MAX + ROCE_PAYLOAD_MAX + 8)
#define ROCE_SLOTS     ROCE_PORT_BATCH

struct roce_program {
    const struct roce_program_config *config;
    struct roce_program_result *result;
    struct roce_host *host;
    struct roce_port *port;
    struct roce_neighbours neighbours;
    struct ip_addr next_hop; /* family 0: only answers are sent */
    uint64_t line_bps;
    uint8_t *slots;
    struct iovec ready[ROCE_SLOTS]; /* built and not sent: [first, n) */
    unsigned first, n;
    int64_t retry_ns; /* the interface is full until then */
    int64_t began_ns;
    uint8_t priorities; /* bit per priority that peers send with: paused while we stall */
    bool stalled;
    int64_t pause_ns; /* when the next PFC frame is due */
    struct progress progress;
};

/* Opens the interface, makes the host and its flows, finds out who the next hop is. */
int roce_program_begin(struct roce_program *p, struct error *err);

/* Takes a batch of what arrived. */
int roce_program_receive(struct roce_program *p, int64_t now, struct error *err);
/* ARP and neighbour discovery, untagged in `frame`; sent with the tag where there is one. */
int roce_program_send_small(struct roce_program *p, const uint8_t *frame, uint32_t len, struct error *err);

#endif
