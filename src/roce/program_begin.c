/* Where a RoCE host stands: interface, addresses, next hop. */
#include "base/clock.h"
#include "roce/program_inner.h"
#include "roce/route.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ASK_EVERY (200 * NS_PER_MS)
#define ASK_FOR   (5 * NS_PER_S)
#define BURST     (5 * NS_PER_MS) /* a busy machine may leave us aside for so long */
#define LINE_BPS  10000000000ull

static int find_place(struct roce_program *p, struct error *err)
{
    const struct roce_program_config *c = p->config;
    struct roce_route route = {0};
    int rc = 0;
    if (c->own.family) {
        route.source = (struct ip_addr){c->own.family, c->own.a};
        bool near = c->send && c->own.family == c->flow.peer.family && ip_match(&c->own.a, &c->flow.peer.a, c->own.len);
        route.next_hop = near ? c->flow.peer : c->gateway;
        if (c->send && !near && !c->gateway.family)
            return error_set(err, ENETUNREACH, "the peer is in another subnet: say with --gateway who leads there");
    } else if (c->send) {
        rc = roce_route_find(&route, &c->flow.peer, err);
    }
    if (!rc && c->interface)
        snprintf(route.interface, sizeof(route.interface), "%s", c->interface);
    else if (!rc && !route.interface[0])
        rc = roce_route_interface(route.interface, err);
    if (rc || (rc = roce_port_open(&p->port, route.interface, err)))
        return rc;
    p->next_hop = c->send ? route.next_hop : (struct ip_addr){0};
    p->neighbours.own[0] = route.source;
    p->neighbours.answers = c->own.family != 0;
    memcpy(p->neighbours.mac, roce_port_mac(p->port), 6);
    if (!c->own.family && !c->send) {
        roce_route_address(&p->neighbours.own[0], route.interface, IP_V4);
        roce_route_address(&p->neighbours.own[1], route.interface, IP_V6);
        if (!p->neighbours.own[0].family) {
            p->neighbours.own[0] = p->neighbours.own[1];
            p->neighbours.own[1].family = 0;
        }
    }
    if (!p->neighbours.own[0].family)
        return error_set(err, EADDRNOTAVAIL, "interface %s has no address", route.interface);
    snprintf(p->result->interface, sizeof(p->result->interface), "%s", route.interface);
    p->result->address = p->neighbours.own[0];
    return 0;
}

/* The largest path MTU whose packets the interface takes. */
static uint32_t largest_mtu(const struct roce_program *p)
{
    uint32_t mtu = ROCE_PAYLOAD_MAX;
    while (mtu > 256 && mtu + ROCE_HEADERS_MAX + ROCE_ICRC_SIZE > roce_port_mtu(p->port))
        mtu /= 2;
    return mtu;
}

static int make_host(struct roce_program *p, struct error *err)
{
    const struct roce_program_config *c = p->config;
    struct roce_host_config host = c->host;
    uint64_t speed = roce_port_speed(p->port);
    p->line_bps = c->line_bps ? c->line_bps : speed ? speed : LINE_BPS;
    host.address = p->neighbours.own[0];
    host.also = p->neighbours.own[1];
    host.line_bps = p->line_bps;
    int rc = roce_host_create(&p->host, &host, err);
    struct roce_flow flow = c->flow;
    flow.mtu = flow.mtu ? flow.mtu : largest_mtu(p);
    flow.burst_ns = BURST;
    flow.start_ns = clock_now_ns();
    p->result->mtu = flow.mtu;
    p->result->flows = c->send ? c->flows : 0;
    if (!rc && c->send && flow.mtu + ROCE_HEADERS_MAX + ROCE_ICRC_SIZE > roce_port_mtu(p->port))
        return error_set(err, EMSGSIZE, "packets of %u bytes payload do not fit on %s, whose MTU is %u", flow.mtu,
            p->result->interface, roce_port_mtu(p->port));
    uint32_t number;
    for (uint32_t i = 0; !rc && i < p->result->flows; i++)
        rc = roce_host_connect(p->host, &flow, &number, err);
    return rc;
}

/* Before anything is sent: who is the next hop? */
static int resolve(struct roce_program *p, struct error *err)
{
    int64_t begun = clock_now_ns(), ask_ns = begun;
    uint8_t frame[ROCE_NEIGHBOUR_FRAME];
    while (p->next_hop.family && !roce_neighbours_find(&p->neighbours, &p->next_hop)) {
        int64_t now = clock_now_ns();
        if (*p->config->interrupted)
            return error_set(err, EINTR, "interrupted before anything was sent");
        if (now - begun > ASK_FOR) {
            char text[IP_TEXT_SIZE];
            return error_set(
                err, EHOSTUNREACH, "%s does not answer on %s", ip_addr_print(text, &p->next_hop), p->result->interface);
        }
        int rc = 0;
        if (now >= ask_ns) {
            rc = roce_program_send_small(p, frame, roce_neighbours_ask(&p->neighbours, &p->next_hop, frame), err);
            ask_ns = now + ASK_EVERY;
        }
        if (rc || (rc = roce_program_receive(p, now, err)))
            return rc;
        roce_port_wait(p->port, ask_ns, true);
    }
    return 0;
}

int roce_program_begin(struct roce_program *p, struct error *err)
{
    int rc = find_place(p, err);
    rc = rc ? rc : make_host(p, err);
    return rc ? rc : resolve(p, err);
}
