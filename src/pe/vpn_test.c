/* Provider edges in memory: what one says of its VPNs becomes routes of another, and stops being that. */
#include "base/bytes.h"
#include "base/test.h"
#include "pe/inner.h"
#include "pe/testing_pe.h"

#include <stdio.h>
#include <stdlib.h>

#define EDGES 3

/* Three edges, all linked with each other, and a reflector. Edge i is router i + 1. */
struct net {
    struct testing_bgp bgp;
    struct bgp_speaker *reflector;
    struct testing_pe edge[EDGES], *all[EDGES];
    struct testing_bgp_wire *client[EDGES];
};

static void settle(struct net *n)
{
    testing_pe_settle(&n->bgp, n->all, EDGES);
}

static struct net *start(void)
{
    struct net *n = calloc(1, sizeof *n);
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    n->bgp.now = 1000000000;
    assert_int_equal(bgp_speaker_create(&n->reflector, &c, NULL, NULL), 0);
    for (unsigned i = 0; i < EDGES; i++) {
        testing_pe_init(&n->edge[i], &n->bgp, i + 1);
        n->all[i] = &n->edge[i];
    }
    return n;
}

static void join(struct net *n)
{
    for (unsigned i = 0; i < EDGES; i++) {
        testing_pe_start(&n->edge[i]);
        n->client[i] = testing_pe_client(&n->edge[i], n->reflector, 9);
        assert_non_null(n->client[i]);
    }
    testing_pe_link(&n->edge[0], 0, &n->edge[1], 0);
    testing_pe_link(&n->edge[1], 1, &n->edge[2], 0);
    testing_pe_link(&n->edge[0], 1, &n->edge[2], 1);
    settle(n);
    testing_bgp_advance(&n->bgp, 70ll * 1000000000);
    settle(n);
}

static void end(struct net *n)
{
    for (unsigned i = 0; i < EDGES; i++)
        testing_pe_done(&n->edge[i]);
    bgp_speaker_free(n->reflector);
    free(n);
}

static void leads_to(const struct testing_pe *t, uint32_t vrf, const char *prefix, struct ip6 sid)
{
    const struct forward_route *r = testing_pe_route(t, vrf, prefix);
    assert_non_null(r);
    assert_int_equal(r->kind, ROUTE_REMOTE);
    assert_memory_equal(r->service_sid.b, sid.b, 16);
}

/* --- import ------------------------------------------------------------------------------------------------------------------------ */

static void tenants_with_the_same_addresses(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    testing_pe_vrf(&n->edge[0], 101, 2, 1);
    testing_pe_vrf(&n->edge[1], 100, 1, 2);
    testing_pe_vrf(&n->edge[1], 101, 2, 2);
    join(n);
    leads_to(&n->edge[0], 100, "10.2.0.0/16", testing_service(2, 100));
    leads_to(&n->edge[0], 101, "10.2.0.0/16", testing_service(2, 101));
    leads_to(&n->edge[1], 100, "10.1.0.0/16", testing_service(1, 100));
    leads_to(&n->edge[1], 101, "10.1.0.0/16", testing_service(1, 101));
    assert_null(
        testing_pe_route(&n->edge[0], 100, "10.1.0.0/16")); /* its own: the core has it from the configuration */
    assert_int_equal(testing_pe_reason(&n->edge[1], 100, "10.1.0.0/16", 1), PE_USED);
    assert_int_equal(testing_pe_reason(&n->edge[2], 0, "10.1.0.0/16", 1), PE_REASONS); /* RTC: never told */
    end(n);
}

static void withdrawn(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    struct pe_vrf *v = testing_pe_vrf(&n->edge[1], 100, 1, 2);
    join(n);
    assert_non_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    v->n_own = 0;
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    v->n_own = 1;
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    assert_non_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    n->edge[1].config.n_vrfs = 0; /* the whole VRF goes */
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    assert_null(testing_pe_route(&n->edge[1], 100, "10.1.0.0/16"));
    end(n);
}

static void two_edges_with_one_prefix(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    testing_pe_vrf(&n->edge[1], 100, 1, 7);
    struct pe_vrf *third = testing_pe_vrf(&n->edge[2], 100, 1, 7);
    join(n);
    leads_to(&n->edge[0], 100, "10.7.0.0/16", testing_service(2, 100)); /* as far: the lower address */
    assert_int_equal(testing_pe_reason(&n->edge[0], 100, "10.7.0.0/16", 2), PE_USED);
    assert_int_equal(testing_pe_reason(&n->edge[0], 100, "10.7.0.0/16", 3), PE_BEATEN);
    assert_int_equal(testing_pe_reason(&n->edge[1], 100, "10.7.0.0/16", 3), PE_LOCAL);

    testing_pe_cut(&n->edge[0], 0, &n->edge[1], 0); /* now two hops away instead of one */
    settle(n);
    leads_to(&n->edge[0], 100, "10.7.0.0/16", testing_service(3, 100));
    testing_pe_cut(&n->edge[0], 1, &n->edge[2], 1); /* nobody is reachable */
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.7.0.0/16"));
    assert_int_equal(testing_pe_reason(&n->edge[0], 0, "10.7.0.0/16", 2), PE_UNREACHABLE);
    testing_pe_link(&n->edge[0], 0, &n->edge[1], 0);
    settle(n);
    leads_to(&n->edge[0], 100, "10.7.0.0/16", testing_service(2, 100));

    n->edge[1].vrf[0].n_own = 0; /* it withdraws: the other takes over */
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    leads_to(&n->edge[0], 100, "10.7.0.0/16", testing_service(3, 100));
    leads_to(&n->edge[1], 100, "10.7.0.0/16", testing_service(3, 100)); /* it has none of its own any more */
    third->n_own = 0;
    assert_int_equal(testing_pe_apply(&n->edge[2]), 0);
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.7.0.0/16"));
    end(n);
}

static void targets_change(void **state)
{
    struct net *n = start();
    struct pe_vrf *v = testing_pe_vrf(&n->edge[0], 100, 1, 1);
    testing_pe_vrf(&n->edge[1], 100, 1, 2);
    testing_pe_vrf(&n->edge[2], 100, 5, 3);
    join(n);
    assert_non_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    assert_null(testing_pe_route(&n->edge[0], 100, "10.3.0.0/16"));

    testing_target(n->edge[0].targets[0][1], 5); /* one target more */
    v->n_import = 2;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    unsigned changes = n->edge[0].changes;
    leads_to(&n->edge[0], 100, "10.3.0.0/16", testing_service(3, 100));
    leads_to(&n->edge[0], 100, "10.2.0.0/16", testing_service(2, 100));
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0); /* nothing new: nothing changes */
    settle(n);
    assert_int_equal(n->edge[0].changes, changes);

    testing_target(n->edge[0].targets[0][0], 5); /* imports and exports 5 only */
    v->n_import = 1;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    leads_to(&n->edge[0], 100, "10.3.0.0/16", testing_service(3, 100));
    assert_null(testing_pe_route(&n->edge[1], 100, "10.1.0.0/16"));
    leads_to(&n->edge[2], 100, "10.1.0.0/16", testing_service(1, 100));
    end(n);
}

static void own_prefixes_stand_above(void **state)
{
    struct net *n = start();
    struct pe_vrf *v = testing_pe_vrf(&n->edge[0], 100, 1, 1);
    testing_pe_vrf(&n->edge[1], 100, 1, 2);
    join(n);
    unsigned changes = n->edge[0].changes;
    n->edge[0].own[0][1] = (struct pe_own){.prefix = testing_prefix("10.2.0.0/16")}; /* a static route, not announced */
    v->n_own = 2;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_int_equal(n->edge[0].changes, changes); /* the shell has replaced it */
    assert_int_equal(testing_pe_reason(&n->edge[0], 100, "10.2.0.0/16", 2), PE_LOCAL);
    v->n_own = 1;
    n->edge[0].n_routes = 0; /* the shell has taken it out */
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    leads_to(&n->edge[0], 100, "10.2.0.0/16", testing_service(2, 100));
    end(n);
}

static void encrypted_vpns(void **state)
{
    struct net *n = start();
    struct error err;
    for (unsigned i = 0; i < 2; i++) {
        struct pe_vrf *v = testing_pe_vrf(&n->edge[i], 100, 1, (uint8_t)(i + 1));
        v->encrypted = true;
        v->service.behaviour = SID_END_ESP_DT46_NEXT_CSID;
    }
    testing_pe_vrf(&n->edge[2], 100, 1, 3);
    join(n);
    const struct forward_route *f = testing_pe_route(&n->edge[0], 100, "10.2.0.0/16");
    assert_true(f && f->encrypted);
    assert_memory_equal(f->peer.b, n->edge[1].config.loopback.b, 16);
    /* nothing in clear into an encrypted VPN, nothing sealed that nobody here could seal */
    assert_null(testing_pe_route(&n->edge[2], 100, "10.2.0.0/16"));
    assert_null(testing_pe_route(&n->edge[0], 100, "10.3.0.0/16"));
    assert_int_equal(testing_pe_reason(&n->edge[0], 100, "10.3.0.0/16", 3), PE_CLEAR);
    assert_int_equal(testing_pe_reason(&n->edge[2], 100, "10.2.0.0/16", 2), PE_SEALED);

    assert_int_equal(pe_beacon_set(n->edge[1].pe, 100, (const uint8_t *)"beacon", 6, n->bgp.now, &err), 0);
    settle(n);
    const struct pe_beacon *b = &n->edge[0].last_beacon;
    assert_int_equal(n->edge[0].beacons, 1);
    assert_memory_equal(n->edge[0].beacon, "beacon", 6);
    assert_int_equal(b->vrf, 100);
    assert_memory_equal(b->service_sid.b, testing_service(2, 100).b, 16);
    assert_memory_equal(b->next_hop.b, n->edge[1].config.loopback.b, 16);
    assert_int_equal(n->edge[2].beacons, 0);                             /* its VRF is not encrypted */
    assert_null(testing_pe_route(&n->edge[0], 100, "fd00:6d65::2/128")); /* no route for packets */
    assert_int_equal(testing_pe_reason(&n->edge[0], 100, "fd00:6d65::2/128", 2), PE_BEACON);

    assert_int_equal(pe_beacon_set(n->edge[1].pe, 100, (const uint8_t *)"later", 5, n->bgp.now, &err), 0);
    settle(n);
    assert_int_equal(n->edge[0].beacons, 2);
    assert_int_equal(pe_beacon_set(n->edge[1].pe, 100, NULL, 0, n->bgp.now, &err), 0);
    settle(n);
    assert_int_equal(n->edge[0].beacons_gone, 1);
    assert_int_equal(pe_beacon_set(n->edge[1].pe, 7, NULL, 0, n->bgp.now, &err), -2 /* ENOENT */);
    static const uint8_t long_one[BGP_XSEC_BEACON_MOST + 1];
    assert_true(pe_beacon_set(n->edge[1].pe, 100, long_one, sizeof long_one, n->bgp.now, &err) < 0);
    end(n);
}

/* --- routes that others make --------------------------------------------------------------------------------------------------------- */

struct route {
    struct bgp_rt5 rt5;
    struct bgp_srv6_service service;
    bool has_service;
    uint32_t target, local_pref;
};

static void say(struct net *n, uint16_t peer, const struct route *r, uint8_t last)
{
    uint8_t nlri[64], a[256], value[64];
    size_t len = 0;
    static const uint8_t head[] = {0x40, 1, 1, 0, 0x40, 2, 0};
    memcpy(a, head, sizeof head);
    len = sizeof head;
    bytes_put_be32(value, r->local_pref ? r->local_pref : 100);
    len = (size_t)bgp_attribute_put(a, len, sizeof a, 0x40, BGP_LOCAL_PREF, value, 4);
    testing_target(value, r->target);
    len = (size_t)bgp_attribute_put(a, len, sizeof a, 0xc0, BGP_EXTENDED_COMMUNITIES, value, 8);
    if (r->has_service)
        len = (size_t)bgp_attribute_put(
            a, len, sizeof a, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&r->service, value));
    unsigned nlri_len = bgp_rt5_encode(&r->rt5, nlri);
    testing_bgp_announce(&n->bgp, pe_speaker(n->edge[0].pe), peer, BGP_EVPN, nlri, nlri_len, a, len, last);
}

/* A reflector of bytes beside the other; its next hops are fd00::last, which the configuration knows a way to. */
static uint16_t stranger(struct net *n)
{
    static const uint32_t families[] = {BGP_EVPN};
    static struct pe_static way[] = {{.prefix = {IP_V6, 8, {{0xfd}}}, .port = 0}};
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_INTERNAL, 40, families, 1);
    struct bgp_open open = testing_bgp_open(40, families, 1);
    n->edge[0].config.statics = way;
    n->edge[0].config.n_statics = 1;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    uint16_t peer = testing_bgp_raw(&n->bgp, pe_speaker(n->edge[0].pe), &c, &open);
    assert_int_not_equal(peer, 0);
    return peer;
}

static void reasons(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    join(n);
    uint16_t peer = stranger(n);
    struct route r = {
        .rt5 = {.rd = {0, 1, 10, 0, 0, 50, 0, 1}, .prefix = testing_prefix("10.50.0.0/16"), .label = 0x30},
        .service = {.sid = testing_service(50, 1),
            .behaviour = SID_END_DT46,
            .block_bits = 32,
            .node_bits = 16,
            .function_bits = 16},
        .target = 1};
    static const struct {
        uint16_t behaviour;
        bool used;
    } cases[] = {{SID_END_DT46, true}, {SID_END_DT4, true}, {SID_END_DT6, false}, {SID_END_X, false}, {0xffff, true},
        {SID_END_DT4_NEXT_CSID, true}, {SID_END_DT6_NEXT_CSID, false}, {SID_END_DT46_NEXT_CSID, true}};
    say(n, peer, &r, 50);
    struct pe_route_view v[64];
    struct pe_cursor cursor = {0};
    unsigned many = pe_routes_view(n->edge[0].pe, &cursor, v, 64);
    bool seen = false;
    for (unsigned i = 0; i < many; i++)
        seen |= v[i].reason == PE_NO_SERVICE;
    assert_true(seen);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16"));
    r.has_service = true;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        r.service.behaviour = cases[i].behaviour;
        say(n, peer, &r, 50);
        assert_int_equal(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16") != NULL, cases[i].used);
    }
    r.target = 77;
    say(n, peer, &r, 50);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16"));
    r.target = 1;
    say(n, peer, &r, 50);
    struct ip_prefix p = testing_prefix("10.50.0.0/16");
    pe_route_refused(n->edge[0].pe, 100, &p);
    cursor = (struct pe_cursor){0};
    many = pe_routes_view(n->edge[0].pe, &cursor, v, 64);
    seen = false;
    for (unsigned i = 0; i < many; i++)
        seen |= v[i].reason == PE_REFUSED;
    assert_true(seen);
    end(n);
}

static void preferences(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    join(n);
    uint16_t peer = stranger(n);
    struct route r = {
        .rt5 = {.rd = {0, 1, 10, 0, 0, 50, 0, 1}, .prefix = testing_prefix("10.50.0.0/16"), .label = 0x30},
        .service = {.sid = testing_service(50, 1),
            .behaviour = SID_END_DT46,
            .block_bits = 32,
            .node_bits = 16,
            .function_bits = 16},
        .has_service = true,
        .target = 1};
    say(n, peer, &r, 50);
    leads_to(&n->edge[0], 100, "10.50.0.0/16", testing_service(50, 1));
    r.rt5.rd[5] = 51;
    r.service.sid = testing_service(51, 1);
    r.local_pref = 200;
    say(n, peer, &r, 51);
    leads_to(&n->edge[0], 100, "10.50.0.0/16", testing_service(51, 1)); /* preferred, though its address is higher */
    r.local_pref = 50;
    say(n, peer, &r, 51);
    leads_to(&n->edge[0], 100, "10.50.0.0/16", testing_service(50, 1));
    end(n);
}

/* A reflector strips service SIDs, or leads elsewhere: what the PE has signed counts in an encrypted VPN, and only there. */
static void signed_services(void **state)
{
    struct net *n = start();
    struct pe_vrf *sealed = testing_pe_vrf(&n->edge[0], 100, 1, 1);
    sealed->encrypted = true;
    sealed->service.behaviour = SID_END_ESP_DT46_NEXT_CSID;
    testing_pe_vrf(&n->edge[0], 101, 2, 1);
    join(n);
    struct pe *pe = n->edge[0].pe;
    uint16_t peer = stranger(n);
    struct ip6 there = {{0xfd, [15] = 50}}, other = {{0xfd, [15] = 51}}, sid = testing_service(50, 100),
               wrong = testing_service(66, 66);
    struct route r = {
        .rt5 = {.rd = {0, 1, 10, 0, 0, 50, 0, 1}, .prefix = testing_prefix("10.50.0.0/16"), .label = 0x30},
        .target = 1};
    say(n, peer, &r, 50); /* stripped */
    assert_null(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16"));
    pe_service_signed(pe, 100, &other, &wrong, n->bgp.now); /* another PE's */
    assert_null(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16"));
    pe_service_signed(pe, 100, &there, &sid, n->bgp.now);
    leads_to(&n->edge[0], 100, "10.50.0.0/16", sid);
    const struct forward_route *f = testing_pe_route(&n->edge[0], 100, "10.50.0.0/16");
    assert_true(f->encrypted && ip6_equal(&f->peer, &there));
    /* What comes later is settled at once; what says otherwise leads to the signed one all the same. */
    r.rt5.prefix = testing_prefix("10.51.0.0/16");
    r.has_service = true;
    r.service = (struct bgp_srv6_service){
        .sid = wrong, .behaviour = SID_END_ESP_DT46_NEXT_CSID, .block_bits = 32, .node_bits = 16, .function_bits = 16};
    say(n, peer, &r, 50);
    leads_to(&n->edge[0], 100, "10.51.0.0/16", sid);
    /* A VPN in clear takes no notice. */
    pe_service_signed(pe, 101, &there, &sid, n->bgp.now);
    r.rt5.prefix = testing_prefix("10.52.0.0/16");
    r.rt5.rd[7] = 2;
    r.has_service = false;
    r.target = 2;
    say(n, peer, &r, 50);
    assert_null(testing_pe_route(&n->edge[0], 101, "10.52.0.0/16"));
    /* Signed anew, and no more: then routes are what they say. */
    pe_service_signed(pe, 100, &there, &wrong, n->bgp.now);
    leads_to(&n->edge[0], 100, "10.50.0.0/16", wrong);
    pe_service_signed(pe, 100, &there, NULL, n->bgp.now);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.50.0.0/16"));
    leads_to(&n->edge[0], 100, "10.51.0.0/16", wrong);
    pe_service_signed(pe, 7, &there, &sid, n->bgp.now); /* no such VRF */
    for (unsigned i = 0; i < 100; i++) {                /* many, and away again with the VRF */
        other.b[14] = (uint8_t)(i + 1);
        pe_service_signed(pe, 100, &other, &sid, n->bgp.now);
    }
    end(n);
}

static void ten_thousand(void **state)
{
    struct net *n = start();
    testing_pe_vrf(&n->edge[0], 100, 1, 1);
    join(n);
    uint16_t peer = stranger(n);
    unsigned before = n->edge[0].n_routes;
    struct route r = {.rt5 = {.rd = {0, 1, 10, 0, 0, 50, 0, 1}, .prefix = {IP_V4, 24, {{10}}}, .label = 0x30},
        .service = {.sid = testing_service(50, 1),
            .behaviour = SID_END_DT46,
            .block_bits = 32,
            .node_bits = 16,
            .function_bits = 16},
        .has_service = true,
        .target = 1};
    for (unsigned i = 0; i < 10000; i++) {
        r.rt5.prefix.a.b[1] = (uint8_t)(100 + i / 256);
        r.rt5.prefix.a.b[2] = (uint8_t)i;
        say(n, peer, &r, 50);
    }
    assert_int_equal(n->edge[0].n_routes - before, 10000);
    assert_int_equal(pe_counts(n->edge[0].pe).vrf_routes, 10000);
    testing_pe_cut(&n->edge[0], 0, &n->edge[1], 0);
    pe_poll(n->edge[0].pe, n->bgp.now); /* the way to all of them is gone */
    assert_int_equal(pe_counts(n->edge[0].pe).vrf_routes, 0);
    testing_pe_link(&n->edge[0], 0, &n->edge[1], 0);
    pe_poll(n->edge[0].pe, n->bgp.now);
    assert_int_equal(pe_counts(n->edge[0].pe).vrf_routes, 10000);
    bgp_peer_remove(pe_speaker(n->edge[0].pe), peer, n->bgp.now);
    assert_int_equal(pe_counts(n->edge[0].pe).vrf_routes, 0);
    end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_with_the_same_addresses),
        cmocka_unit_test(withdrawn),
        cmocka_unit_test(two_edges_with_one_prefix),
        cmocka_unit_test(targets_change),
        cmocka_unit_test(own_prefixes_stand_above),
        cmocka_unit_test(encrypted_vpns),
        cmocka_unit_test(reasons),
        cmocka_unit_test(preferences),
        cmocka_unit_test(signed_services),
        cmocka_unit_test(ten_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
