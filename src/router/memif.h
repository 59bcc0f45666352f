/* A memif connection: the control socket, the shared memory, the eventfds; on the control thread.
 *
 * Why not DPDK's driver: its interrupt thread unmaps the rings while a burst may be reading them when the neighbour dies,
 * and it copies as many bytes as the neighbour's descriptor says. A neighbour is another process that can be killed, or
 * be wrong, at any time; here the worker lets go of the rings before they are unmapped, and every number is checked.
 *
 * The server listens; the client connects, again and again while it must, and owns the memory. */
#ifndef MERIDIAN_ROUTER_MEMIF_H
#define MERIDIAN_ROUTER_MEMIF_H

#include "base/error.h"
#include "router/reactor.h"
#include "wire/memif.h"

#include <sys/types.h>

#define MEMIF_REGIONS 4

/* Two rings and the memory they live in, as agreed with the peer. */
struct memif_rings {
    bool client;
    struct {
        uint8_t *base;
        size_t size;
    } region[MEMIF_REGIONS];
    unsigned n_regions;
    struct memif_ring *rx, *tx;
    uint8_t rx_log2, tx_log2;
    int rx_event, tx_event; /* we are woken by / we wake by */
    /* client only: where its buffers are, whatever the peer writes into descriptors */
    uint32_t buffer, rx_buffers, tx_buffers; /* bytes of one; offsets of slot 0 in region 0 */
};

struct memif_config {
    bool server;
    char path[108];
    uint32_t id;
    uint8_t log2;    /* of the rings' slots */
    uint32_t buffer; /* bytes of a slot's buffer (client: for both rings) */
    char secret[MEMIF_SECRET + 1];
    char name[MEMIF_NAME + 1];
    uid_t owner; /* of the socket, and whom we talk to beside root */
};

struct memif_hooks {
    void *user;
    void (*connected)(void *user, struct memif_rings *rings); /* valid until `disconnected` returns */
    void (*disconnected)(void *user, const char *why);
};

struct memif;

/* Server: listens from here on. Client: tries from the first run of the reactor on. */
int memif_open(struct memif **ret, struct reactor *r, const struct memif_config *cfg, const struct memif_hooks *hooks,
    struct error *err);
/* Closes the connection with this reason (`disconnected` is called), and goes on as at the start. */
void memif_reset(struct memif *m, const char *why);
void memif_close(struct memif *m); /* NULL allowed */

#endif
