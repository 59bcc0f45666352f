/* `show`: what the router is and does, as JSON. Names instead of numbers where the configuration has names. */
#include "router/ctl.h"

#include "base/clock.h"
#include "base/hex.h"
#include "forward/classes.h"
#include "peering/show.h"
#include "router/ctl_keys.h"
#include "router/exporter.h"
#include "router/router_bgp.h"
#include "wire/ip_text.h"
#include "wire/lane_frame.h"
#include "wire/route_target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 1024u

struct show {
    struct ctl_conn *k;
    struct router *r;
    yyjson_mut_doc *doc;
    yyjson_mut_val *root, *list;
};

/* Where the value goes is always an object `o` of s->doc. */
static void put_u(struct show *s, yyjson_mut_val *o, const char *key, uint64_t v)
{
    yyjson_mut_obj_add_uint(s->doc, o, key, v);
}

static void put_b(struct show *s, yyjson_mut_val *o, const char *key, bool v)
{
    yyjson_mut_obj_add_bool(s->doc, o, key, v);
}

static void put_d(struct show *s, yyjson_mut_val *o, const char *key, double v)
{
    yyjson_mut_obj_add_real(s->doc, o, key, v);
}

static void put_s(struct show *s, yyjson_mut_val *o, const char *key, const char *v)
{
    yyjson_mut_obj_add_strcpy(s->doc, o, key, v);
}

static void put_addr(struct show *s, yyjson_mut_val *o, const char *key, const struct ip_addr *a)
{
    char text[IP_TEXT_SIZE];
    put_s(s, o, key, ip_addr_print(text, a));
}

static void put_prefix(struct show *s, yyjson_mut_val *o, const char *key, const struct ip_prefix *p)
{
    char text[IP_TEXT_SIZE];
    put_s(s, o, key, ip_prefix_print(text, p));
}

static void put_ip6(struct show *s, yyjson_mut_val *o, const char *key, const struct ip6 *a)
{
    char text[IP_TEXT_SIZE];
    put_s(s, o, key, ip6_print(text, a));
}

/* By what it is called; numbers that the configuration does not name stay numbers. */
static void put_port(struct show *s, yyjson_mut_val *o, const char *key, unsigned port)
{
    if (port < s->r->config.n_ports)
        put_s(s, o, key, s->r->config.ports[port].name);
}

static void put_vrf(struct show *s, yyjson_mut_val *o, const char *key, uint32_t vrf)
{
    for (unsigned i = 0; i < s->r->config.n_vrfs; i++)
        if (s->r->config.vrfs[i].id == vrf) {
            put_s(s, o, key, s->r->config.vrfs[i].name);
            return;
        }
    if (vrf)
        put_u(s, o, key, vrf);
}

static void put_lane_id(struct show *s, yyjson_mut_val *o, const char *key, uint64_t id)
{
    char text[48];
    snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64, id >> 32, id & UINT32_MAX);
    put_s(s, o, key, text);
}

static void put_wall(struct show *s, yyjson_mut_val *o, const char *key, int64_t at_ns)
{
    put_d(s, o, key, (double)(at_ns + s->r->wall_minus_now) * 1e-9);
}

static yyjson_mut_val *entry(struct show *s)
{
    return yyjson_mut_arr_add_obj(s->doc, s->list);
}

/* --- ports ------------------------------------------------------------------------------------------------------ */

static void show_device(struct show *s, yyjson_mut_val *o, const struct port_view *v)
{
    yyjson_mut_val *d = yyjson_mut_obj_add_obj(s->doc, o, "device");
    put_u(s, d, "rx_frames", v->device.rx_frames);
    put_u(s, d, "tx_frames", v->device.tx_frames);
    put_u(s, d, "rx_no_buffer", v->device.rx_no_buffer);
    put_u(s, d, "rx_bad", v->device.rx_bad);
    put_u(s, d, "tx_refused", v->device.tx_refused);
    put_u(s, d, "tx_error", v->device.tx_error);
    put_u(s, d, "kernel_rx_dropped", v->device.kernel_rx_dropped);
    put_u(s, d, "kernel_tx_dropped", v->device.kernel_tx_dropped);
    put_u(s, d, "down_frames", v->loop.down_frames);
    if (!v->has_fibre)
        return;
    yyjson_mut_val *f = yyjson_mut_obj_add_obj(s->doc, o, "fibre");
    put_u(s, f, "lost", v->fibre.lost);
    put_u(s, f, "bit_errors", v->fibre.bit_errors);
    put_u(s, f, "cut", v->fibre.cut);
    put_u(s, f, "flying", v->fibre.flying);
    put_u(s, f, "peak", v->fibre.peak);
}

static void show_link(struct show *s, yyjson_mut_val *o, const struct lane_link_view *l)
{
    yyjson_mut_val *v = yyjson_mut_obj_add_obj(s->doc, o, "link");
    put_b(s, v, "up", l->up);
    put_u(s, v, "peer", l->peer);
    put_u(s, v, "peer_port", l->peer_port);
    put_d(s, v, "rtt_ms", (double)l->rtt_ns * 1e-6);
    put_u(s, v, "lanes", l->lanes);
    put_u(s, v, "committed_cells", l->committed_cells);
    put_u(s, v, "pool_cells", l->pool_cells);
    put_u(s, v, "frames_bad", l->frames_bad);
    put_u(s, v, "frames_replayed", l->frames_replayed);
    put_u(s, v, "hellos_refused", l->hellos_refused);
}

static void show_ports(struct show *s)
{
    struct ports_view *v = malloc(sizeof(*v));
    if (!v)
        return;
    router_view_ports(s->r, v);
    for (unsigned i = 0; i < v->n; i++) {
        const struct port_view *p = &v->port[i];
        const struct config_port *c = &s->r->config.ports[i];
        const struct port_rates *rate = &s->r->collect.rates[i];
        yyjson_mut_val *o = entry(s);
        put_s(s, o, "name", c->name);
        put_s(s, o, "kind", c->kind == PORT_CORE ? "core" : "access");
        put_b(s, o, "up", p->up);
        put_u(s, o, "rate_bps", c->rate_bps);
        put_u(s, o, "mtu", c->mtu);
        put_u(s, o, "rx_packets", p->rx_packets);
        put_u(s, o, "rx_bytes", p->rx_bytes);
        put_u(s, o, "tx_packets", p->tx_packets);
        put_u(s, o, "tx_bytes", p->tx_bytes);
        put_d(s, o, "rx_bps", rate->rx_bps);
        put_d(s, o, "tx_bps", rate->tx_bps);
        put_u(s, o, "waiting_packets", p->waiting_packets);
        put_u(s, o, "dropped_packets", p->dropped_packets);
        put_u(s, o, "pfc_told", p->pfc_told);
        put_u(s, o, "pfc_heard", p->pfc_heard);
        if (p->core)
            show_link(s, o, &p->link);
        show_device(s, o, p);
    }
    free(v);
}

/* --- lanes ------------------------------------------------------------------------------------------------------ */

static void show_lane(struct show *s, const struct lane_view *v)
{
    yyjson_mut_val *o = entry(s);
    put_lane_id(s, o, "id", v->id);
    put_u(s, o, "tenant", v->tenant);
    put_s(s, o, "class", class_name((enum lane_class)v->class_));
    put_s(s, o, "state", lane_view_state_name(v->state));
    put_port(s, o, "in", v->in_port);
    put_port(s, o, "out", v->out_port);
    if (v->refused) {
        put_s(s, o, "refused", lane_refusal_name(v->refused));
        put_u(s, o, "refused_by", v->refused_where);
    }
    if (v->out_port != LANE_VIEW_NO_PORT) {
        put_u(s, o, "sent_cells", v->sent_cells);
        put_u(s, o, "credit_cells", v->credit_cells);
        put_u(s, o, "queued_packets", v->queued_packets);
        put_u(s, o, "queued_cells", v->queued_cells);
        put_u(s, o, "peak_cells", v->peak_cells);
        put_u(s, o, "sent_packets", v->sent_packets);
        put_u(s, o, "sent_bytes", v->sent_bytes);
        put_u(s, o, "dropped_packets", v->dropped_packets);
        put_u(s, o, "marked_packets", v->marked_packets);
    } else {
        put_vrf(s, o, "vrf", v->vrf);
    }
    if (v->in_port == LANE_VIEW_NO_PORT)
        return;
    put_u(s, o, "arrived_cells", v->arrived_cells);
    put_u(s, o, "lost_cells", v->lost_cells);
    put_u(s, o, "window_cells", v->window_cells);
    put_u(s, o, "occupied_cells", v->occupied_cells);
    put_u(s, o, "reserved_cells", v->reserved_cells);
}

static void show_lanes(struct show *s)
{
    struct lane_view *v = malloc(CHUNK * sizeof(*v));
    uint32_t cursor = 0;
    unsigned n;
    while (v && (n = router_view_lanes(s->r, &cursor, v, CHUNK)) > 0)
        for (unsigned i = 0; i < n; i++)
            show_lane(s, &v[i]);
    free(v);
}

/* --- tables ----------------------------------------------------------------------------------------------------- */

static const char *const route_kinds[] = {[ROUTE_ATTACHED] = "attached",
    [ROUTE_GATEWAY] = "gateway",
    [ROUTE_REMOTE] = "remote",
    [ROUTE_ADJACENT] = "adjacent",
    [ROUTE_LOCAL] = "local",
    [ROUTE_BLACKHOLE] = "blackhole"};

static void show_route(struct show *s, const struct forward_route_view *v)
{
    yyjson_mut_val *o = entry(s);
    const struct forward_route *r = &v->route;
    put_vrf(s, o, "vrf", v->vrf);
    put_prefix(s, o, "prefix", &v->prefix);
    put_s(s, o, "kind", route_kinds[r->kind]);
    if (r->kind == ROUTE_ATTACHED || r->kind == ROUTE_GATEWAY || r->kind == ROUTE_ADJACENT)
        put_port(s, o, "port", r->port);
    if (r->vlan)
        put_u(s, o, "vlan", r->vlan);
    if (r->kind == ROUTE_GATEWAY)
        put_addr(s, o, "gateway", &r->gateway);
    if (r->kind != ROUTE_REMOTE)
        return;
    put_ip6(s, o, "sid", &r->service_sid);
    put_b(s, o, "ready", v->ready);
    put_b(s, o, "encrypted", r->encrypted);
    yyjson_mut_val *paths = yyjson_mut_obj_add_obj(s->doc, o, "paths");
    put_u(s, paths, "inference", r->path_of_class[LANE_INFERENCE]);
    put_u(s, paths, "parameter", r->path_of_class[LANE_PARAMETER]);
    put_u(s, paths, "bulk", r->path_of_class[LANE_BULK]);
}

static void show_sid(struct show *s, const struct forward_route_view *v)
{
    yyjson_mut_val *o = entry(s);
    put_prefix(s, o, "sid", &v->sid.sid);
    put_s(s, o, "behaviour", sid_behaviour_name(v->sid.behaviour));
    if (v->sid.behaviour == SID_END_X || v->sid.behaviour == SID_END_X_NEXT_CSID)
        put_port(s, o, "port", v->sid.port);
    if (v->sid.vrf)
        put_vrf(s, o, "vrf", v->sid.vrf);
}

static void show_tables(struct show *s, bool sids)
{
    struct forward_route_view *v = malloc(CHUNK * sizeof(*v));
    uint32_t cursor = 0;
    unsigned n;
    while (v && (n = router_view_routes(s->r, &cursor, v, CHUNK)) > 0)
        for (unsigned i = 0; i < n; i++)
            if (v[i].is_sid && sids)
                show_sid(s, &v[i]);
            else if (!v[i].is_sid && !sids)
                show_route(s, &v[i]);
    free(v);
}

static void show_routes(struct show *s)
{
    show_tables(s, false);
}

static void show_sids(struct show *s)
{
    show_tables(s, true);
}

static void show_neighbours(struct show *s)
{
    struct forward_neighbour_view *v = malloc(CHUNK * sizeof(*v));
    uint32_t cursor = 0;
    unsigned n;
    char mac[32];
    while (v && (n = router_view_neighbours(s->r, &cursor, v, CHUNK)) > 0)
        for (unsigned i = 0; i < n; i++) {
            yyjson_mut_val *o = entry(s);
            const uint8_t *m = v[i].mac;
            snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
            put_port(s, o, "port", v[i].port);
            if (v[i].vlan)
                put_u(s, o, "vlan", v[i].vlan);
            put_vrf(s, o, "vrf", v[i].vrf);
            put_addr(s, o, "address", &v[i].address);
            put_s(s, o, "mac", v[i].state == NEIGHBOUR_INCOMPLETE ? "" : mac);
            put_s(s, o, "state", neighbour_state_name(v[i].state));
        }
    free(v);
}

/* --- 1+1 ---------------------------------------------------------------------------------------------------------- */

static void show_begins(struct show *s, const struct forward_protect_view *v)
{
    yyjson_mut_val *o = entry(s);
    put_s(s, o, "end", "ingress");
    put_u(s, o, "tenant", v->tenant);
    put_s(s, o, "class", class_name((enum lane_class)v->class_));
    put_ip6(s, o, "sid", &v->service_sid);
    put_u(s, o, "packets", v->packets);
    put_u(s, o, "copies", v->copies);
    put_u(s, o, "redundant", v->redundant);
    put_u(s, o, "alone", v->alone);
    put_u(s, o, "path", v->path[0]);
    put_lane_id(s, o, "lane", v->lane[0]);
    put_b(s, o, "complete", v->complete[0]);
    put_u(s, o, "queued_cells", v->cells[0]);
    put_u(s, o, "second_path", v->path[1]);
    put_lane_id(s, o, "second_lane", v->lane[1]);
    put_b(s, o, "second_complete", v->complete[1]);
    put_u(s, o, "second_queued_cells", v->cells[1]);
}

static void show_ends(struct show *s, const struct forward_stream_view *v)
{
    yyjson_mut_val *o = entry(s);
    put_s(s, o, "end", "egress");
    put_u(s, o, "ingress", v->ingress);
    put_u(s, o, "tenant", v->tenant);
    put_s(s, o, "class", class_name((enum lane_class)v->class_));
    put_vrf(s, o, "vrf", v->vrf);
    put_u(s, o, "delivered", v->delivered);
    put_u(s, o, "redundant", v->redundant);
    put_u(s, o, "refused", v->refused);
    put_u(s, o, "lost", v->lost);
    put_u(s, o, "late", v->late);
    put_u(s, o, "held_packets", v->held_packets);
    put_u(s, o, "held_cells", v->held_cells);
    put_u(s, o, "held_peak_cells", v->held_peak_cells);
    if (v->lag_ns >= 0)
        put_d(s, o, "lag_us", (double)v->lag_ns * 1e-3);
    put_d(s, o, "wait_us", (double)v->wait_ns * 1e-3);
    put_lane_id(s, o, "lane", v->lanes[0]);
    put_lane_id(s, o, "second_lane", v->lanes[1]);
}

static void show_streams(struct show *s)
{
    struct forward_protect_view begins[16];
    struct forward_stream_view ends[16];
    uint32_t cursor = 0;
    for (unsigned n; (n = router_view_protects(s->r, &cursor, begins, 16)) > 0;)
        for (unsigned i = 0; i < n; i++)
            show_begins(s, &begins[i]);
    cursor = 0;
    for (unsigned n; (n = router_view_streams(s->r, &cursor, ends, 16)) > 0;)
        for (unsigned i = 0; i < n; i++)
            show_ends(s, &ends[i]);
}

/* --- flows, losses, events -------------------------------------------------------------------------------------- */

static void show_flows(struct show *s)
{
    for (unsigned i = 0; i < s->r->collect.n_flows; i++) {
        const struct elephant_report *e = &s->r->collect.flows[i];
        yyjson_mut_val *o = entry(s);
        char flow[24];
        struct ip_addr src = {.family = e->key.family, .a = e->key.src},
                       dst = {.family = e->key.family, .a = e->key.dst};
        snprintf(flow, sizeof(flow), "%016" PRIx64, e->flow);
        put_s(s, o, "flow", flow);
        put_vrf(s, o, "vrf", e->key.vrf);
        put_addr(s, o, "src", &src);
        put_addr(s, o, "dst", &dst);
        put_u(s, o, "proto", e->key.proto);
        put_u(s, o, "src_port", e->key.src_port);
        put_u(s, o, "dst_port", e->key.dst_port);
        put_u(s, o, "tenant", e->tenant);
        put_s(s, o, "class", class_name((enum lane_class)e->class_));
        put_u(s, o, "rate_bps", e->rate_bps);
        put_u(s, o, "bytes", e->bytes);
        put_wall(s, o, "since", e->since_ns);
    }
}

static void show_losses(struct show *s)
{
    static struct router_totals t;
    const struct collect *c = &s->r->collect;
    router_view_totals(s->r, &t);
    yyjson_mut_val *totals = yyjson_mut_obj_add_obj(s->doc, s->root, "totals");
    for (unsigned i = 1; i < LOSS_REASONS; i++)
        if (t.loss_packets[i] || t.loss_cells[i]) {
            yyjson_mut_val *o = yyjson_mut_obj_add_obj(s->doc, totals, loss_reason_name((enum loss_reason)i));
            put_u(s, o, "packets", t.loss_packets[i]);
            put_u(s, o, "cells", t.loss_cells[i]);
        }
    uint64_t from = c->n_losses > COLLECT_LOSSES ? c->n_losses - COLLECT_LOSSES : 0;
    for (uint64_t i = from; i < c->n_losses; i++) {
        const struct loss_record *l = &c->losses[i % COLLECT_LOSSES];
        yyjson_mut_val *o = entry(s);
        char flow[24];
        snprintf(flow, sizeof(flow), "%016" PRIx64, l->flow);
        put_wall(s, o, "at", l->at_ns);
        put_s(s, o, "reason", loss_reason_name((enum loss_reason)l->reason));
        put_port(s, o, "port", l->port);
        put_u(s, o, "packets", l->packets);
        put_u(s, o, "cells", l->cells);
        put_u(s, o, "tenant", l->tenant);
        put_s(s, o, "class", class_name((enum lane_class)l->class_));
        if (l->lane)
            put_lane_id(s, o, "lane", l->lane);
        if (l->flow)
            put_s(s, o, "flow", flow);
    }
}

static void show_events(struct show *s)
{
    const struct router_events *q = &s->r->events;
    uint64_t from = q->n_kept > ROUTER_EVENTS ? q->n_kept - ROUTER_EVENTS : 0;
    for (uint64_t i = from; i < q->n_kept; i++) {
        const struct lane_event *e = &q->kept[i % ROUTER_EVENTS];
        yyjson_mut_val *o = entry(s);
        put_wall(s, o, "at", e->at_ns);
        put_s(s, o, "event", router_event_name(e->kind));
        put_port(s, o, "port", e->port);
        if (e->lane)
            put_lane_id(s, o, "lane", e->lane);
        if (e->peer)
            put_u(s, o, "peer", e->peer);
        put_u(s, o, "detail", e->detail);
    }
}

/* --- the router itself ------------------------------------------------------------------------------------------ */

static void show_router(struct show *s)
{
    static struct router_totals t;
    char key[65];
    yyjson_mut_val *o = entry(s);
    router_view_totals(s->r, &t);
    hex_put(key, s->r->public, 32);
    double up = (double)(t.at_ns - s->r->started_ns) * 1e-9;
    put_s(s, o, "name", s->r->config.name);
    put_u(s, o, "id", s->r->config.id);
    put_ip6(s, o, "loopback", &s->r->config.loopback);
    put_prefix(s, o, "locator", &s->r->config.locator);
    put_s(s, o, "key", key);
    put_d(s, o, "up_s", up);
    put_b(s, o, "huge", s->r->huge);
    put_u(s, o, "packets", s->r->pool.packets);
    put_u(s, o, "packets_free", t.pool_free);
    put_d(s, o, "busy_share", up > 0 ? (double)t.loop.busy_ns * 1e-9 / up : 0);
    put_u(s, o, "rounds", t.loop.rounds);
    put_u(s, o, "sleeps", t.loop.sleeps);
    put_u(s, o, "naps", t.loop.naps);
    put_d(s, o, "late_p50_us", (double)quantile_at(&t.loop.late, QUANTILE_P50) * 1e-3);
    put_d(s, o, "late_p999_us", (double)quantile_at(&t.loop.late, QUANTILE_P999) * 1e-3);
    put_d(s, o, "late_most_us", (double)t.loop.late.most_ns * 1e-3);
    put_u(s, o, "ignored_frames", t.forward.ignored);
    put_u(s, o, "punted", t.forward.punted);
    put_u(s, o, "injected", t.forward.injected);
    put_u(s, o, "punt_refused", t.punt_refused);
    put_u(s, o, "events_lost", __atomic_load_n(&s->r->events.lost, __ATOMIC_RELAXED));
}

static void show_collectors(struct show *s)
{
    struct exporter_view v[8];
    unsigned n = exporter_view(s->r->exporter, v, 8);
    for (unsigned i = 0; i < n; i++) {
        yyjson_mut_val *o = entry(s);
        put_addr(s, o, "address", &v[i].address);
        put_u(s, o, "port", v[i].port);
        put_b(s, o, "up", v[i].up);
        put_u(s, o, "records", v[i].records);
        put_u(s, o, "dropped", v[i].dropped);
        put_u(s, o, "bytes", v[i].bytes);
        put_u(s, o, "connects", v[i].connects);
        put_u(s, o, "waiting", v[i].waiting);
    }
}

static void show_keys(struct show *s)
{
    ctl_keys_show(s->r, s->doc, s->list);
}

static void show_config(struct show *s)
{
    struct buf b = {0};
    if (!fields_print(&b, &router_config_fields, &s->r->config))
        yyjson_mut_arr_add_strcpy(s->doc, s->list, buf_str(&b));
    buf_done(&b);
}

/* --- BGP ---------------------------------------------------------------------------------------------------------- */

static void show_peers(struct show *s)
{
    struct buf b = {0};
    if (s->r->bgp && !peering_show_peers(pe_speaker(router_bgp_pe(s->r->bgp)), clock_now_ns(), &b)) {
        yyjson_doc *doc = yyjson_read((const char *)b.data, b.len, 0);
        yyjson_val *one, *list = yyjson_obj_get(yyjson_doc_get_root(doc), "peers");
        size_t i, n;
        yyjson_arr_foreach(list, i, n, one) yyjson_mut_arr_append(s->list, yyjson_val_mut_copy(s->doc, one));
        yyjson_doc_free(doc);
    }
    buf_done(&b);
}

static void put_rd(struct show *s, yyjson_mut_val *o, const uint8_t rd[8])
{
    char text[ROUTE_TARGET_TEXT];
    const uint8_t target[8] = {rd[1], 2, rd[2], rd[3], rd[4], rd[5], rd[6], rd[7]};
    put_s(s, o, "rd", route_target_print(text, target));
}

static void show_vpn_route(struct show *s, const struct pe_route_view *v)
{
    yyjson_mut_val *o = entry(s);
    put_vrf(s, o, "vrf", v->vrf);
    put_prefix(s, o, "prefix", &v->prefix);
    put_s(s, o, "family", peering_family_name(v->family));
    put_rd(s, o, v->rd);
    put_ip6(s, o, "next_hop", &v->next_hop);
    if (v->has_service)
        put_ip6(s, o, "sid", &v->service_sid);
    if (v->color)
        put_u(s, o, "color", v->color);
    put_b(s, o, "used", v->reason == PE_USED);
    put_s(s, o, "why", pe_reason_text(v->reason));
    put_d(s, o, "since_s", (double)(clock_now_ns() - v->since_ns) * 1e-9);
}

static void show_vpn(struct show *s)
{
    struct pe_route_view *v = malloc(CHUNK * sizeof(*v));
    struct pe_cursor cursor = {0};
    unsigned n;
    while (v && s->r->bgp && (n = pe_routes_view(router_bgp_pe(s->r->bgp), &cursor, v, CHUNK)) > 0)
        for (unsigned i = 0; i < n; i++)
            show_vpn_route(s, &v[i]);
    free(v);
}

static void show_underlay(struct show *s)
{
    struct pe_underlay_view v[64];
    uint32_t cursor = 0;
    unsigned n;
    while (s->r->bgp && (n = pe_underlay_view(router_bgp_pe(s->r->bgp), &cursor, v, 64)) > 0)
        for (unsigned i = 0; i < n; i++) {
            yyjson_mut_val *o = entry(s);
            put_prefix(s, o, "prefix", &v[i].prefix);
            put_u(s, o, "router", v[i].router);
            put_port(s, o, "port", v[i].port);
            put_u(s, o, "metric", v[i].metric);
            put_b(s, o, "used", v[i].used);
        }
}

static void show_policies(struct show *s)
{
    struct pe_policy_view v[64];
    uint32_t cursor = 0;
    unsigned n;
    while (s->r->bgp && (n = pe_policies_view(router_bgp_pe(s->r->bgp), &cursor, v, 64)) > 0)
        for (unsigned i = 0; i < n; i++) {
            yyjson_mut_val *o = entry(s);
            put_u(s, o, "color", v[i].color);
            put_ip6(s, o, "endpoint", &v[i].endpoint);
            put_u(s, o, "distinguisher", v[i].distinguisher);
            put_u(s, o, "preference", v[i].preference);
            put_u(s, o, "segments", v[i].n_segments);
            if (v[i].has_bsid)
                put_ip6(s, o, "bsid", &v[i].bsid);
            put_s(s, o, "name", v[i].name);
            put_b(s, o, "valid", v[i].valid);
            put_b(s, o, "chosen", v[i].chosen);
            put_b(s, o, "failed", v[i].failed);
            put_u(s, o, "path", v[i].path);
            put_u(s, o, "steered", v[i].steered);
        }
}

static void show_bgp(struct show *s)
{
    if (!s->r->bgp)
        return;
    struct pe_counts c = pe_counts(router_bgp_pe(s->r->bgp));
    struct router_bgp_counts t = router_bgp_counts(s->r->bgp);
    yyjson_mut_val *o = entry(s);
    put_u(s, o, "vrfs", c.vrfs);
    put_u(s, o, "neighbours", c.neighbours);
    put_u(s, o, "underlay_routes", c.underlay_routes);
    put_u(s, o, "vpn_routes", c.vpn_routes);
    put_u(s, o, "vrf_routes", c.vrf_routes);
    put_u(s, o, "policies", c.policies);
    put_u(s, o, "policies_used", c.policies_used);
    put_u(s, o, "steered", c.steered);
    put_u(s, o, "changes", t.changes);
    put_u(s, o, "refused", t.refused);
    put_u(s, o, "waiting", t.waiting);
}

static const struct {
    const char *name;
    void (*fill)(struct show *s);
} shows[] = {
    {"bgp", show_bgp},
    {"peers", show_peers},
    {"vpn", show_vpn},
    {"underlay", show_underlay},
    {"policies", show_policies},
    {"router", show_router},
    {"ports", show_ports},
    {"lanes", show_lanes},
    {"streams", show_streams},
    {"routes", show_routes},
    {"sids", show_sids},
    {"neighbours", show_neighbours},
    {"flows", show_flows},
    {"losses", show_losses},
    {"events", show_events},
    {"collectors", show_collectors},
    {"keys", show_keys},
    {"config", show_config},
};

void ctl_show(struct ctl_conn *k, yyjson_val *rq)
{
    const char *what = ctl_text(k, rq, "what");
    size_t i = 0, n = sizeof(shows) / sizeof(*shows);
    if (!what)
        return;
    while (i < n && strcmp(shows[i].name, what))
        i++;
    if (i == n) {
        ctl_fail(k, "there is no \"%.40s\" to show", what);
        return;
    }
    struct show s = {.k = k, .r = k->router};
    s.doc = ctl_answer(&s.root);
    if (!s.doc)
        return ctl_fail(k, "no memory");
    s.list = yyjson_mut_obj_add_arr(s.doc, s.root, shows[i].name);
    shows[i].fill(&s);
    ctl_send(k, s.doc);
}
