/* A provider edge whose world does anything in any order: routes and policies come, change and go, links come and go, the
 * configuration changes, slices move or do not. The tables that follow (testing_pe.c) stop at what the core would refuse: what is
 * deleted was there, a path that goes is in nobody's use, no slice is there twice. Four bytes are a step. */
#include "base/bytes.h"
#include "base/clock.h"
#include "pe/testing_pe.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pe_static crosses[] = {{.prefix = {IP_V6, 64, {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xe0, 0}}}, .port = 0},
    {.prefix = {IP_V6, 64, {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xe0, 1}}}, .port = 1}};
static const struct pe_static ways[] = {
    {.prefix = {IP_V6, 127, {{0xfd, [15] = 2}}}, .port = 0}, {.prefix = {IP_V6, 127, {{0xfd, [15] = 4}}}, .port = 1}};

struct world {
    struct testing_bgp net;
    struct testing_pe edge;
    uint16_t peer;
};

static struct bgp_rt5 rt5_of(uint8_t b)
{
    struct bgp_rt5 r = {.rd = {0, 1, 10, 0, 0, (uint8_t)(b & 3), 0, 1},
        .prefix = {IP_V4, 24, {{10, 0, (uint8_t)(b >> 2 & 7)}}},
        .label = 0x30};
    return r;
}

static void route(struct world *w, uint8_t a, uint8_t b, bool gone)
{
    static const uint16_t behaviours[] = {SID_END_DT46_NEXT_CSID, SID_END_DT46, SID_END_DT6, SID_END_ESP_DT46};
    struct bgp_rt5 r = rt5_of(a);
    struct bgp_srv6_service s = {.sid = testing_service(9, b & 3),
        .behaviour = behaviours[b >> 2 & 3],
        .block_bits = 32,
        .node_bits = 16,
        .function_bits = 16};
    uint8_t nlri[64], at[256] = {0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, (uint8_t)(a >> 5)}, value[64];
    unsigned n = bgp_rt5_encode(&r, nlri);
    if (gone) {
        testing_bgp_unreach(&w->net, pe_speaker(w->edge.pe), w->peer, BGP_EVPN, nlri, n);
        return;
    }
    testing_target(value, 1 + (b >> 4 & 3));
    int len = bgp_attribute_put(at, 14, sizeof at, 0xc0, BGP_EXTENDED_COMMUNITIES, value, 8);
    if (b >> 6 != 3)
        len = bgp_attribute_put(
            at, (size_t)len, sizeof at, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&s, value));
    if (b >> 6 == 2)
        len = bgp_attribute_put(at, (size_t)len, sizeof at, 0xc0, BGP_XSEC_BEACON, "beacon", 6);
    testing_bgp_announce(
        &w->net, pe_speaker(w->edge.pe), w->peer, BGP_EVPN, nlri, n, at, (size_t)len, (uint8_t)(2 + (a & 3)));
}

static void policy(struct world *w, uint8_t a, uint8_t b, bool gone)
{
    struct bgp_sr_policy key = {.distinguisher = a & 3,
        .color = 20 + (a >> 2 & 1),
        .endpoint = {.family = IP_V6, .a = {{0xfd, [15] = (uint8_t)(2 + (a >> 3 & 3))}}}};
    struct bgp_sr_policy_path p = {.preference = b & 7, .priority = 128, .n_lists = 1};
    uint8_t nlri[64], at[600] = {0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100}, value[500];
    unsigned n = bgp_sr_policy_encode(&key, nlri);
    if (gone) {
        testing_bgp_unreach(&w->net, pe_speaker(w->edge.pe), w->peer, BGP_SR_POLICY_V6, nlri, n);
        return;
    }
    p.lists[0].weight = 1;
    p.lists[0].n_segments = (uint8_t)(b >> 3 & 3);
    for (unsigned i = 0; i < p.lists[0].n_segments; i++)
        p.lists[0].segments[i] = (struct ip6){{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xe0, (uint8_t)(b >> (5 + (i & 1)) & 1)}};
    int len = bgp_sr_policy_path_encode(&p, value, sizeof value);
    if (len < 0)
        return;
    len = bgp_attribute_put(at, 14, sizeof at, 0xc0, BGP_TUNNEL_ENCAPSULATION, value, (size_t)len);
    testing_bgp_announce(&w->net, pe_speaker(w->edge.pe), w->peer, BGP_SR_POLICY_V6, nlri, n, at, (size_t)len, 2);
}

/* Another configuration: targets, colours and own prefixes. What the shell has put in the place of ours is not the table's. */
static void configure(struct world *w, uint8_t a, uint8_t b)
{
    testing_target(w->edge.targets[0][0], 1 + (a & 3));
    w->edge.vrf[0].class_[LANE_PARAMETER] =
        (struct pe_class){.color = a >> 2 & 1 ? 20 : 0, .no_lane = a >> 3 & 1, .cap_bps = a >> 4};
    w->edge.vrf[1].class_[LANE_BULK].color = b & 1 ? 21 : 0;
    w->edge.config.n_vrfs = b & 2 ? 1 : 2;
    w->edge.config.n_crosses = b & 4 ? 1 : 2;
    testing_pe_apply(&w->edge);
}

static void move(struct world *w, uint8_t a)
{
    if (a >= w->edge.n_slices || !w->edge.slices[a].moving_to)
        return;
    struct testing_slice *s = &w->edge.slices[a];
    s->slice.path = s->moving_to;
    s->moving_to = 0;
    struct forward_slice now = s->slice;
    pe_slice_moved(w->edge.pe, now.tenant, now.class_, &now.service_sid, now.path, w->net.now);
}

static void step(struct world *w, const uint8_t *b)
{
    switch (b[0] % 8) {
    case 0:
    case 1:
        route(w, b[1], b[2], b[0] >> 7);
        break;
    case 2:
    case 3:
        policy(w, b[1], b[2], b[0] >> 7);
        break;
    case 4:
        configure(w, b[1], b[2]);
        break;
    case 5:
        if (b[1] & 1)
            pe_link_up(w->edge.pe, b[1] >> 1 & 1, 2 + (b[2] & 3), w->net.now);
        else
            pe_link_down(w->edge.pe, b[1] >> 1 & 1, w->net.now);
        break;
    case 6:
        move(w, b[1] & 7);
        break;
    case 7:
        w->net.now += b[1] * (NS_PER_S / 16);
        break;
    }
    if (b[3] & 1)
        pe_poll(w->edge.pe, w->net.now);
    testing_bgp_hear(&w->net, pe_speaker(w->edge.pe), w->peer, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t families[] = {BGP_EVPN, BGP_SR_POLICY_V6};
    struct world w = {.net = {.now = NS_PER_S}};
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_INTERNAL, 40, families, 2);
    struct bgp_open open = testing_bgp_open(40, families, 2);
    c.session.hold_time_s = open.hold_time_s = 0;
    testing_pe_init(&w.edge, &w.net, 1);
    testing_pe_vrf(&w.edge, 100, 1, 1)->class_[LANE_PARAMETER].color = 20;
    testing_pe_vrf(&w.edge, 101, 2, 2);
    w.edge.config.crosses = crosses;
    w.edge.config.n_crosses = 2;
    w.edge.config.statics = ways;
    w.edge.config.n_statics = 2;
    testing_pe_start(&w.edge);
    w.peer = testing_bgp_raw(&w.net, pe_speaker(w.edge.pe), &c, &open);
    pe_link_up(w.edge.pe, 0, 2, w.net.now);
    pe_link_up(w.edge.pe, 1, 3, w.net.now);
    if (!w.peer)
        abort();
    for (size_t at = 0; at + 4 <= size && at < 2000; at += 4)
        step(&w, data + at);
    /* Nothing remains once everything has gone. */
    bgp_peer_remove(pe_speaker(w.edge.pe), w.peer, w.net.now);
    pe_poll(w.edge.pe, w.net.now);
    for (int i = 0; i < 3; i++) {
        w.net.now += 10 * NS_PER_S;
        pe_poll(w.edge.pe, w.net.now);
    }
    if (pe_counts(w.edge.pe).vrf_routes || w.edge.n_slices || w.edge.n_paths)
        abort();
    testing_pe_done(&w.edge);
    return 0;
}
