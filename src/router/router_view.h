/* Copies of what the worker owns, for the control thread: taken in one call between two batches, so that the numbers of one
 * copy belong together. */
#ifndef MERIDIAN_ROUTER_ROUTER_VIEW_H
#define MERIDIAN_ROUTER_ROUTER_VIEW_H

#include "forward/view.h"
#include "lane/view.h"
#include "router/device_fibre.h"
#include "router/loop.h"

struct router;

struct port_view {
    bool up; /* carrier */
    bool core;
    struct lane_link_view link; /* core */
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    uint32_t waiting_packets, waiting_cells; /* in queues without a lane, and for the device */
    uint64_t dropped_packets;                /* by queues without a lane */
    uint8_t paused, stopped;                 /* bit per priority: PFC heard, told */
    uint64_t pfc_told, pfc_heard;
    struct device_counters device;
    bool has_fibre;
    struct fibre_counters fibre;
    struct loop_port_counters loop;
};

struct ports_view {
    int64_t at_ns;
    unsigned n;
    struct port_view port[LANE_PORTS_MOST];
};
void router_view_ports(struct router *r, struct ports_view *ret);

struct router_totals {
    int64_t at_ns;
    struct loop_counters loop;
    struct forward_counts forward;
    uint64_t loss_packets[LOSS_REASONS], loss_cells[LOSS_REASONS], loss_overrun;
    uint32_t pool_free;
    uint64_t punt_in, punt_out, punt_refused, echoes_answered, echoes_dropped;
};
void router_view_totals(struct router *r, struct router_totals *ret);

/* A chunk of a list, as lane_view and its likes give it. Each waits for the worker once. */
unsigned router_view_lanes(struct router *r, uint32_t *cursor, struct lane_view *ret, unsigned most);
unsigned router_view_routes(struct router *r, uint32_t *cursor, struct forward_route_view *ret, unsigned most);
unsigned router_view_protects(struct router *r, uint32_t *cursor, struct forward_protect_view *ret, unsigned most);
unsigned router_view_streams(struct router *r, uint32_t *cursor, struct forward_stream_view *ret, unsigned most);
unsigned router_view_neighbours(struct router *r, uint32_t *cursor, struct forward_neighbour_view *ret, unsigned most);

#endif
