#include "router/metrics.h"

#include "forward/classes.h"
#include "http/http.h"
#include "router/router_bgp.h"
#include "telemetry/metrics_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES_MOST   4096u
#define STREAMS_MOST 64u

struct views {
    struct ports_view ports;
    struct router_totals totals;
    struct lane_view lanes[LANES_MOST];
    unsigned n_lanes;
    struct forward_protect_view begins[STREAMS_MOST];
    struct forward_stream_view ends[STREAMS_MOST];
    unsigned n_begins, n_ends;
};

/* --- ports -------------------------------------------------------------------------------------------------------- */

static const char *port_name(const struct router *r, unsigned i)
{
    return i < r->config.n_ports ? r->config.ports[i].name : "";
}

static uint64_t port_number(const struct port_view *p, unsigned what)
{
    const uint64_t v[] = {p->rx_packets, p->tx_packets, p->rx_bytes, p->tx_bytes, p->dropped_packets,
        p->device.rx_no_buffer + p->device.rx_bad, p->device.tx_error + p->loop.down_frames,
        p->device.kernel_rx_dropped, p->device.kernel_tx_dropped, p->waiting_packets, p->up, p->link.up};
    return v[what];
}

static void both_ways(struct metrics_text *m, const struct router *r, const struct views *v, unsigned in, unsigned out)
{
    for (unsigned i = 0; i < v->ports.n; i++) {
        metrics_text_u64(
            m, port_number(&v->ports.port[i], in), METRICS_LABELS({"port", port_name(r, i)}, {"direction", "in"}));
        metrics_text_u64(
            m, port_number(&v->ports.port[i], out), METRICS_LABELS({"port", port_name(r, i)}, {"direction", "out"}));
    }
}

static void one_way(struct metrics_text *m, const struct router *r, const struct views *v, unsigned what)
{
    for (unsigned i = 0; i < v->ports.n; i++)
        if (what != 11 || v->ports.port[i].core)
            metrics_text_u64(m, port_number(&v->ports.port[i], what), METRICS_LABELS({"port", port_name(r, i)}));
}

static void write_ports(struct metrics_text *m, const struct router *r, const struct views *v)
{
    metrics_text_family(m, METRICS_COUNTER, "meridian_port_packets_total", "Packets by port and direction.");
    both_ways(m, r, v, 0, 1);
    metrics_text_family(m, METRICS_COUNTER, "meridian_port_bytes_total", "Bytes of frames by port and direction.");
    both_ways(m, r, v, 2, 3);
    metrics_text_family(m, METRICS_COUNTER, "meridian_port_queue_dropped_packets_total",
        "Packets dropped by queues of the port that carry no lane.");
    one_way(m, r, v, 4);
    metrics_text_family(m, METRICS_COUNTER, "meridian_port_device_lost_frames_total",
        "Frames lost between the wire and the queues: no buffer, nonsense, errors, a link that is down.");
    both_ways(m, r, v, 5, 6);
    metrics_text_family(m, METRICS_COUNTER, "meridian_port_kernel_dropped_frames_total",
        "Frames that the kernel dropped at the host's device, as the host counts directions.");
    both_ways(m, r, v, 7, 8);
    metrics_text_family(m, METRICS_GAUGE, "meridian_port_waiting_packets", "Packets in queues that carry no lane.");
    one_way(m, r, v, 9);
    metrics_text_family(m, METRICS_GAUGE, "meridian_port_up", "1: the port has carrier.");
    one_way(m, r, v, 10);
    metrics_text_family(m, METRICS_GAUGE, "meridian_link_up", "1: a session with the neighbour stands.");
    one_way(m, r, v, 11);
    metrics_text_family(m, METRICS_GAUGE, "meridian_link_rtt_seconds", "Measured round trip to the neighbour.");
    for (unsigned i = 0; i < v->ports.n; i++)
        if (v->ports.port[i].core)
            metrics_text_double(
                m, (double)v->ports.port[i].link.rtt_ns * 1e-9, METRICS_LABELS({"port", port_name(r, i)}));
}

/* --- lanes -------------------------------------------------------------------------------------------------------- */

static uint64_t lane_number(const struct lane_view *l, unsigned what)
{
    const uint64_t v[] = {l->sent_packets, l->sent_bytes, l->dropped_packets, l->lost_cells, l->queued_cells,
        l->credit_cells, l->window_cells, l->occupied_cells,
        l->state == LANE_VIEW_RUNNING || l->state == LANE_VIEW_BLOCKED};
    return v[what];
}

static void lanes(struct metrics_text *m, const struct router *r, const struct views *v, unsigned what, bool receiver)
{
    for (unsigned i = 0; i < v->n_lanes; i++) {
        const struct lane_view *l = &v->lanes[i];
        char id[48], tenant[16];
        if ((receiver ? l->in_port : l->out_port) == LANE_VIEW_NO_PORT)
            continue;
        snprintf(id, sizeof(id), "%" PRIu64 ":%" PRIu64, l->id >> 32, l->id & UINT32_MAX);
        snprintf(tenant, sizeof(tenant), "%u", l->tenant);
        metrics_text_u64(m, lane_number(l, what),
            METRICS_LABELS({"lane", id}, {"tenant", tenant}, {"class", class_name((enum lane_class)l->class_)},
                {"port", port_name(r, receiver ? l->in_port : l->out_port)}));
    }
}

static void write_lanes(struct metrics_text *m, const struct router *r, const struct views *v)
{
    metrics_text_family(m, METRICS_GAUGE, "meridian_lane_open", "1: the lane carries packets (or waits for credit).");
    lanes(m, r, v, 8, false);
    metrics_text_family(m, METRICS_COUNTER, "meridian_lane_packets_total", "Packets sent on by lane.");
    lanes(m, r, v, 0, false);
    metrics_text_family(m, METRICS_COUNTER, "meridian_lane_bytes_total", "Bytes sent on by lane.");
    lanes(m, r, v, 1, false);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_lane_policed_packets_total", "Packets of hosts beyond the lane's limits.");
    lanes(m, r, v, 2, false);
    metrics_text_family(m, METRICS_GAUGE, "meridian_lane_queued_cells", "Cells that wait to be sent on.");
    lanes(m, r, v, 4, false);
    metrics_text_family(m, METRICS_GAUGE, "meridian_lane_credit_cells", "Cells that may be sent without more credit.");
    lanes(m, r, v, 5, false);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_lane_lost_cells_total", "Cells lost on the link by which it arrives.");
    lanes(m, r, v, 3, true);
    metrics_text_family(m, METRICS_GAUGE, "meridian_lane_window_cells", "W: cells held for the lane at most.");
    lanes(m, r, v, 6, true);
    metrics_text_family(m, METRICS_GAUGE, "meridian_lane_occupied_cells", "Cells of the lane in this router.");
    lanes(m, r, v, 7, true);
}

/* --- 1+1 --------------------------------------------------------------------------------------------------------- */

static void begins(struct metrics_text *m, const struct views *v, unsigned what)
{
    for (unsigned i = 0; i < v->n_begins; i++) {
        const struct forward_protect_view *x = &v->begins[i];
        const uint64_t value[] = {x->packets, x->copies, x->redundant};
        char tenant[16], path[16];
        snprintf(tenant, sizeof(tenant), "%u", x->tenant);
        snprintf(path, sizeof(path), "%u", x->path[0]);
        metrics_text_u64(m, value[what],
            METRICS_LABELS({"tenant", tenant}, {"class", class_name((enum lane_class)x->class_)}, {"path", path}));
    }
}

static void ends(struct metrics_text *m, const struct views *v, unsigned what)
{
    for (unsigned i = 0; i < v->n_ends; i++) {
        const struct forward_stream_view *x = &v->ends[i];
        const uint64_t value[] = {x->delivered, x->redundant, x->lost, x->held_cells};
        char tenant[16], ingress[24], vrf[16];
        snprintf(tenant, sizeof(tenant), "%u", x->tenant);
        snprintf(ingress, sizeof(ingress), "%" PRIu64, x->ingress);
        snprintf(vrf, sizeof(vrf), "%u", x->vrf);
        metrics_text_u64(m, value[what],
            METRICS_LABELS({"tenant", tenant}, {"class", class_name((enum lane_class)x->class_)}, {"ingress", ingress},
                {"vrf", vrf}));
    }
}

static void write_streams(struct metrics_text *m, const struct views *v)
{
    metrics_text_family(m, METRICS_COUNTER, "meridian_protected_packets_total", "Packets of 1+1 slices sent.");
    begins(m, v, 0);
    metrics_text_family(m, METRICS_COUNTER, "meridian_protected_copies_total", "Of these, sent by both paths.");
    begins(m, v, 1);
    metrics_text_family(m, METRICS_COUNTER, "meridian_protected_redundant_total",
        "Copies let go at the ingress because their path lagged.");
    begins(m, v, 2);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_stream_delivered_total", "Packets of 1+1 streams delivered, once each.");
    ends(m, v, 0);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_stream_redundant_total", "Second copies of them that were dropped.");
    ends(m, v, 1);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_stream_lost_total", "Packets of which neither copy came in time.");
    ends(m, v, 2);
    metrics_text_family(m, METRICS_GAUGE, "meridian_stream_held_cells", "Cells that wait for a packet before them.");
    ends(m, v, 3);
}

/* --- BGP ---------------------------------------------------------------------------------------------------------- */

static void write_bgp(struct metrics_text *m, const struct router_bgp_seen *s)
{
    if (!s)
        return;
    metrics_text_family(m, METRICS_GAUGE, "meridian_bgp_sessions", "BGP sessions, over links and with the cluster.");
    metrics_text_u64(m, s->established, METRICS_LABELS({"state", "established"}));
    metrics_text_u64(m, s->sessions - s->established, METRICS_LABELS({"state", "other"}));
    metrics_text_family(m, METRICS_GAUGE, "meridian_bgp_routes",
        "Routes that BGP says: of the underlay, of VPNs, and those of the latter that VRFs use.");
    metrics_text_u64(m, s->pe.underlay_routes, METRICS_LABELS({"what", "underlay"}));
    metrics_text_u64(m, s->pe.vpn_routes, METRICS_LABELS({"what", "vpn"}));
    metrics_text_u64(m, s->pe.vrf_routes, METRICS_LABELS({"what", "vrf"}));
    metrics_text_family(
        m, METRICS_GAUGE, "meridian_bgp_policies", "SR Policies, and those that have a valid candidate.");
    metrics_text_u64(m, s->pe.policies, METRICS_LABELS({"what", "all"}));
    metrics_text_u64(m, s->pe.policies_used, METRICS_LABELS({"what", "valid"}));
    metrics_text_family(m, METRICS_GAUGE, "meridian_bgp_steered", "Classes to services that a policy's path carries.");
    metrics_text_u64(m, s->pe.steered, METRICS_NO_LABELS);
    metrics_text_family(
        m, METRICS_COUNTER, "meridian_bgp_table_changes_total", "Changes of tables that followed from BGP.");
    metrics_text_u64(m, s->tables.changes - s->tables.refused, METRICS_LABELS({"result", "done"}));
    metrics_text_u64(m, s->tables.refused, METRICS_LABELS({"result", "refused"}));
}

/* --- the router --------------------------------------------------------------------------------------------------- */

static void write_router(struct metrics_text *m, const struct router *r, const struct router_totals *t)
{
    metrics_text_family(m, METRICS_COUNTER, "meridian_lost_packets_total", "Packets lost here, by reason.");
    for (unsigned i = 1; i < LOSS_REASONS; i++)
        metrics_text_u64(m, t->loss_packets[i], METRICS_LABELS({"reason", loss_reason_name((enum loss_reason)i)}));
    metrics_text_family(m, METRICS_COUNTER, "meridian_lost_cells_total", "Cells lost here, by reason.");
    for (unsigned i = 1; i < LOSS_REASONS; i++)
        metrics_text_u64(m, t->loss_cells[i], METRICS_LABELS({"reason", loss_reason_name((enum loss_reason)i)}));
    metrics_text_family(m, METRICS_GAUGE, "meridian_pool_packets", "Packets of the pool.");
    metrics_text_u64(m, r->pool.packets, METRICS_LABELS({"state", "all"}));
    metrics_text_u64(m, t->pool_free, METRICS_LABELS({"state", "free"}));
    metrics_text_family(m, METRICS_COUNTER, "meridian_worker_busy_seconds_total", "Time in rounds that moved frames.");
    metrics_text_double(m, (double)t->loop.busy_ns * 1e-9, METRICS_NO_LABELS);
    metrics_text_family(m, METRICS_COUNTER, "meridian_worker_sleeps_total", "Times that the worker slept.");
    metrics_text_u64(m, t->loop.sleeps, METRICS_NO_LABELS);
    metrics_text_family(
        m, METRICS_HISTOGRAM, "meridian_worker_late_seconds", "How late the worker woke for its timers.");
    metrics_text_quantile(m, &t->loop.late, METRICS_NO_LABELS);
    metrics_text_family(m, METRICS_COUNTER, "meridian_punted_packets_total", "Packets for the router itself.");
    metrics_text_u64(m, t->forward.punted, METRICS_NO_LABELS);
}

int router_metrics_write(struct router *r, struct buf *to)
{
    struct views *v = malloc(sizeof(*v));
    struct metrics_text m;
    uint32_t cursor = 0;
    unsigned n;
    if (!v)
        return -ENOMEM;
    v->n_lanes = 0;
    router_view_ports(r, &v->ports);
    router_view_totals(r, &v->totals);
    while (v->n_lanes < LANES_MOST &&
           (n = router_view_lanes(r, &cursor, v->lanes + v->n_lanes, LANES_MOST - v->n_lanes)) > 0)
        v->n_lanes += n;
    cursor = 0;
    v->n_begins = router_view_protects(r, &cursor, v->begins, STREAMS_MOST);
    cursor = 0;
    v->n_ends = router_view_streams(r, &cursor, v->ends, STREAMS_MOST);
    pthread_mutex_lock(&r->config_lock);
    metrics_text_begin(&m, to);
    write_router(&m, r, &v->totals);
    write_ports(&m, r, v);
    write_lanes(&m, r, v);
    write_streams(&m, v);
    write_bgp(&m, router_bgp_seen(r->bgp));
    int rc = metrics_text_end(&m);
    pthread_mutex_unlock(&r->config_lock);
    free(v);
    return rc;
}

static void handle(void *user, const struct http_request *rq, struct http_answer *a)
{
    struct buf b = {0};
    const char *type = "text/plain; version=0.0.4; charset=utf-8";
    if (strcmp(rq->path, "/metrics"))
        http_answer_send(a, 404, "text/plain", "there is only /metrics here\n", 28);
    else if (strcmp(rq->method, "GET"))
        http_answer_send(a, 405, "text/plain", "GET\n", 4);
    else if (router_metrics_write(user, &b))
        http_answer_send(a, 500, "text/plain", "no memory\n", 10);
    else
        http_answer_send(a, 200, type, b.data, b.len);
    buf_done(&b);
}

int router_metrics_start(struct http_server **ret, struct router *r, struct error *err)
{
    const char *listen[8];
    for (unsigned i = 0; i < r->config.n_metrics; i++)
        listen[i] = r->config.metrics[i].at;
    return http_server_start(ret,
        &(struct http_config){.listen = listen,
            .n_listen = r->config.n_metrics,
            .body_most = 1024,
            .connections_most = 64,
            .n_threads = 1,
            .handle = handle,
            .user = r},
        err);
}
