/* Speakers talk to each other in memory: reflection byte for byte, withdraws, loops, limits, restarts, collisions. */
#include "bgp/speaker.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint32_t families[] = {BGP_EVPN, BGP_VPNV4, BGP_IPV6_UNICAST, BGP_SR_POLICY_V6};

/* What a PE heard. */
struct heard {
    int routes, withdrawn, policies, underlay;
    struct bgp_vpn_route last;
    uint8_t beacon[64];
    struct bgp_sr_policy_path policy;
    char why[128];
};

static void hear_vpn(void *user, const struct bgp_vpn_route *r, bool withdrawn)
{
    struct heard *h = user;
    h->routes += !withdrawn;
    h->withdrawn += withdrawn;
    h->last = *r;
    if (r->beacon)
        memcpy(h->beacon, r->beacon, r->beacon_len < 64 ? r->beacon_len : 64);
}

static void hear_policy(void *user, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *p, bool withdrawn)
{
    struct heard *h = user;
    (void)key;
    h->policies += withdrawn ? -1 : 1;
    if (p)
        h->policy = *p;
}

static void hear_underlay(void *user, uint16_t peer, const struct ip_prefix *p, bool withdrawn)
{
    struct heard *h = user;
    (void)peer, (void)p;
    h->underlay += withdrawn ? -1 : 1;
}

static void hear_state(void *user, uint16_t peer, enum bgp_state state, const struct bgp_notification *why)
{
    struct heard *h = user;
    (void)peer, (void)state;
    if (why)
        bgp_notification_text(why, h->why, sizeof h->why);
}

static struct bgp_speaker *speaker(enum bgp_role role, uint8_t last, struct heard *h)
{
    struct bgp_speaker_config c = {.role = role, .identifier = {10, 0, 0, last}, .next_hop = {{0xfd, [15] = last}}};
    struct bgp_sink sink = {.user = h,
        .vpn_route = hear_vpn,
        .policy = hear_policy,
        .underlay_route = hear_underlay,
        .peer_state = hear_state};
    struct bgp_speaker *s;
    struct error err;
    assert_int_equal(bgp_speaker_create(&s, &c, h ? &sink : NULL, &err), 0);
    return s;
}

/* Two PEs and a reflector between them. */
struct net {
    struct testing_bgp t;
    struct heard one, two;
    struct bgp_speaker *pe1, *pe2, *rr;
    struct testing_bgp_wire *wire1, *wire2;
};

static void build(struct net *n, size_t piece)
{
    memset(n, 0, sizeof *n);
    n->t.piece = piece;
    n->t.now = 1000 * NS_PER_S;
    n->pe1 = speaker(BGP_PE, 1, &n->one);
    n->pe2 = speaker(BGP_PE, 2, &n->two);
    n->rr = speaker(BGP_REFLECTOR, 9, NULL);
    struct bgp_peer_config to_rr = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 4);
    struct bgp_peer_config to_1 = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 4);
    struct bgp_peer_config to_2 = testing_bgp_peer(BGP_PEER_CLIENT, 2, families, 4);
    n->wire1 = testing_bgp_join(&n->t, n->pe1, &to_rr, n->rr, &to_1);
    n->wire2 = testing_bgp_join(&n->t, n->pe2, &to_rr, n->rr, &to_2);
    assert_non_null(n->wire1);
    assert_non_null(n->wire2);
    testing_bgp_settle(&n->t);
}

static void demolish(struct net *n)
{
    bgp_speaker_free(n->pe1);
    bgp_speaker_free(n->pe2);
    bgp_speaker_free(n->rr);
}

static enum bgp_state state_of(struct bgp_speaker *s, uint16_t peer)
{
    return bgp_peer_best_session(s, peer)->state;
}

static unsigned rt5(uint32_t number, uint8_t raw[64])
{
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 10}, .prefix = {IP_V4, 24, {{10}}}, .label = 0x30};
    r.prefix.a.b[1] = (uint8_t)(number >> 8);
    r.prefix.a.b[2] = (uint8_t)number;
    return bgp_rt5_encode(&r, raw);
}

static size_t vpn_attributes(uint8_t *to, size_t cap, const char *beacon)
{
    struct bgp_srv6_service s = {.sid = {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xf0, 10}},
        .behaviour = 64,
        .block_bits = 32,
        .node_bits = 16,
        .function_bits = 16};
    uint8_t value[64], communities[16] = {0, 2, 0xfd, 0xe8, 0, 0, 0, 10, 3, 0x0b, 0, 0, 0, 0, 0, 20};
    int at = bgp_attribute_put(to, 0, cap, 0xc0, BGP_EXTENDED_COMMUNITIES, communities, sizeof communities);
    at = bgp_attribute_put(to, (size_t)at, cap, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&s, value));
    if (beacon)
        at = bgp_attribute_put(to, (size_t)at, cap, 0xc0, BGP_XSEC_BEACON, beacon, strlen(beacon));
    return (size_t)at;
}

static void originate(struct bgp_speaker *s, uint32_t number, const char *beacon, int64_t now)
{
    uint8_t raw[64], attributes[512];
    struct error err;
    unsigned n = rt5(number, raw);
    assert_int_equal(bgp_originate(s, BGP_EVPN, raw, n, attributes,
                         vpn_attributes(attributes, sizeof attributes, beacon), now, &err),
        0);
}

static void test_a_route_reaches_the_other_pe_byte_for_byte(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1, 7, 4096};
    for (unsigned i = 0; i < 4; i++) {
        struct net n;
        build(&n, pieces[i]);
        assert_int_equal(state_of(n.pe1, 1), BGP_ESTABLISHED);
        originate(n.pe1, 7, "signed", n.t.now);
        testing_bgp_settle(&n.t);
        assert_int_equal(n.two.routes, 1);
        assert_int_equal(n.one.routes, 0); /* not back to where it came from */
        assert_int_equal(n.two.last.prefix.len, 24);
        assert_true(n.two.last.has_service);
        assert_int_equal(n.two.last.service.behaviour, 64);
        assert_int_equal(n.two.last.color, 20);
        assert_int_equal(n.two.last.beacon_len, 6);
        assert_memory_equal(n.two.beacon, "signed", 6);
        assert_int_equal(n.two.last.next_hop_len, 16);

        const struct bgp_route *r = bgp_rib_next(bgp_speaker_rib(n.pe2, BGP_EVPN), 0);
        uint8_t expected[512];
        size_t len = vpn_attributes(expected, sizeof expected, "signed");
        assert_non_null(memmem(r->best->attributes->bytes, r->best->attributes->len, expected, len));
        assert_int_equal(r->best->attributes->cluster_length, 1);
        assert_memory_equal(r->best->attributes->originator, ((uint8_t[]){10, 0, 0, 1}), 4);
        demolish(&n);
    }
}

static void test_withdraws_and_changes(void **state)
{
    (void)state;
    struct net n;
    uint8_t raw[64];
    build(&n, 0);
    for (uint32_t i = 0; i < 1000; i++)
        originate(n.pe1, i, NULL, n.t.now);
    testing_bgp_settle(&n.t);
    assert_int_equal(n.two.routes, 1000);
    for (uint32_t i = 0; i < 1000; i += 2)
        assert_int_equal(bgp_withdraw(n.pe1, BGP_EVPN, raw, rt5(i, raw), n.t.now), 0);
    originate(n.pe1, 1, "new", n.t.now);
    testing_bgp_settle(&n.t);
    assert_int_equal(n.two.withdrawn, 500);
    assert_int_equal(n.two.routes, 1001);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 500);
    assert_int_equal(bgp_withdraw(n.pe1, BGP_EVPN, raw, rt5(0, raw), n.t.now), -ENOENT);
    /* A thousand routes with the same attributes: few messages. */
    assert_true(bgp_peer_best_session(n.pe1, 1)->counters.updates_out < 60);
    demolish(&n);
}

static void test_what_changes_while_a_peer_lags_is_told_once(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    uint64_t before = bgp_peer_best_session(n.pe1, 1)->counters.updates_out;
    uint8_t raw[64];
    for (int i = 0; i < 100; i++) {
        originate(n.pe1, 3, i % 2 ? "a" : "b", n.t.now);
        bgp_withdraw(n.pe1, BGP_EVPN, raw, rt5(3, raw), n.t.now);
    }
    originate(n.pe1, 3, "last", n.t.now);
    testing_bgp_settle(&n.t);
    assert_int_equal(bgp_peer_best_session(n.pe1, 1)->counters.updates_out - before, 1);
    assert_int_equal(n.two.routes, 1);
    assert_memory_equal(n.two.beacon, "last", 4);
    demolish(&n);
}

static void test_a_lost_session_keeps_routes_for_the_restart_time_only(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    originate(n.pe1, 1, NULL, n.t.now);
    originate(n.pe1, 2, NULL, n.t.now);
    testing_bgp_settle(&n.t);
    testing_bgp_cut(&n.t, n.wire1);
    testing_bgp_settle(&n.t);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 2); /* still there */
    uint8_t raw[64];
    bgp_withdraw(n.pe1, BGP_EVPN, raw, rt5(2, raw), n.t.now);
    testing_bgp_advance(&n.t, 20 * NS_PER_S);
    testing_bgp_connect(&n.t, n.wire1);
    testing_bgp_settle(&n.t);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 1); /* End-of-RIB swept what was not said again */
    assert_int_equal(n.two.withdrawn, 1);
    assert_int_equal(n.two.routes, 2);
    testing_bgp_cut(&n.t, n.wire1);
    testing_bgp_advance(&n.t, 61 * NS_PER_S);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 0);
    demolish(&n);
}

static void test_hold_timer(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    testing_bgp_advance(&n.t, 60 * NS_PER_S);
    assert_int_equal(state_of(n.pe1, 1), BGP_ESTABLISHED); /* keepalives do their work */
    n.wire1->cut = true;                                   /* silence that nobody tells */
    testing_bgp_advance(&n.t, 10 * NS_PER_S);
    assert_true(state_of(n.pe1, 1) < BGP_ESTABLISHED);
    assert_string_equal(n.one.why, "hold timer expired");
    demolish(&n);
}

static void test_limit_of_prefixes(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    struct bgp_speaker *pe3 = speaker(BGP_PE, 3, NULL);
    struct bgp_peer_config to_rr = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 4);
    struct bgp_peer_config to_3 = testing_bgp_peer(BGP_PEER_CLIENT, 3, families, 4);
    to_3.prefixes_most = 10;
    struct testing_bgp_wire *w = testing_bgp_join(&n.t, pe3, &to_rr, n.rr, &to_3);
    for (uint32_t i = 0; i < 11; i++)
        originate(pe3, i, NULL, n.t.now);
    testing_bgp_settle(&n.t);
    assert_true(state_of(n.rr, w->peer_of_b) < BGP_ESTABLISHED);
    assert_int_equal(bgp_rib_from(bgp_speaker_rib(n.rr, BGP_EVPN), w->peer_of_b), 0);
    char text[128];
    assert_string_equal(bgp_notification_text(&bgp_peer_session(pe3, 1, BGP_CONNECTED)->last, text, sizeof text),
        "cease: hard reset: cease: maximum number of prefixes"); /* RFC 8538: or its routes would be kept */
    assert_int_equal(state_of(n.rr, 1), BGP_ESTABLISHED);        /* the others are not touched */
    bgp_speaker_free(pe3);
    demolish(&n);
}

static void test_route_refresh_tells_everything_again(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    originate(n.pe1, 1, NULL, n.t.now);
    testing_bgp_settle(&n.t);
    uint64_t before = bgp_peer_session(n.rr, 2, BGP_ACCEPTED)->counters.updates_out;
    uint8_t m[64];
    int len = bgp_refresh_encode(BGP_EVPN, BGP_REFRESH, m, sizeof m);
    bgp_peer_bytes(n.rr, 2, BGP_ACCEPTED, m, (size_t)len, n.t.now);
    testing_bgp_settle(&n.t);
    /* BoRR, the route, EoRR. */
    assert_int_equal(bgp_peer_session(n.rr, 2, BGP_ACCEPTED)->counters.updates_out - before, 3);
    assert_int_equal(state_of(n.pe2, 1), BGP_ESTABLISHED);
    demolish(&n);
}

static void test_two_reflectors_do_not_loop(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    struct bgp_speaker *rr2 = speaker(BGP_REFLECTOR, 8, NULL);
    struct bgp_peer_config rr = testing_bgp_peer(BGP_PEER_CLIENT, 8, families, 4);
    struct bgp_peer_config back = testing_bgp_peer(BGP_PEER_CLIENT, 9, families, 4);
    struct bgp_peer_config to_rr2 = testing_bgp_peer(BGP_PEER_INTERNAL, 8, families, 4);
    struct bgp_peer_config to_1 = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 4);
    assert_non_null(testing_bgp_join(&n.t, n.rr, &rr, rr2, &back));
    assert_non_null(testing_bgp_join(&n.t, n.pe1, &to_rr2, rr2, &to_1));
    testing_bgp_settle(&n.t);
    originate(n.pe1, 1, NULL, n.t.now);
    testing_bgp_settle(&n.t); /* ends */
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 1);
    assert_int_equal(n.one.routes, 0);
    uint8_t raw[64];
    bgp_withdraw(n.pe1, BGP_EVPN, raw, rt5(1, raw), n.t.now);
    testing_bgp_settle(&n.t);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(n.pe2, BGP_EVPN)), 0);
    bgp_speaker_free(rr2);
    demolish(&n);
}

static void test_underlay_over_links_grows_the_path_and_stops_at_loops(void **state)
{
    (void)state;
    struct heard heard[3] = {0};
    struct bgp_speaker *r[3];
    struct testing_bgp t = {.now = NS_PER_S};
    for (int i = 0; i < 3; i++)
        r[i] = speaker(BGP_PE, (uint8_t)(i + 1), &heard[i]);
    for (int i = 0; i < 3; i++) { /* a triangle */
        int k = (i + 1) % 3;
        struct bgp_peer_config a = testing_bgp_peer(BGP_PEER_LINK, (uint8_t)(10 * i + 1), families + 2, 1);
        struct bgp_peer_config b = testing_bgp_peer(BGP_PEER_LINK, (uint8_t)(10 * i + 2), families + 2, 1);
        a.session.local_as = b.session.peer_as = 4200000001u + (uint32_t)i;
        a.session.peer_as = b.session.local_as = 4200000001u + (uint32_t)k;
        assert_non_null(testing_bgp_join(&t, r[i], &a, r[k], &b));
    }
    uint8_t raw[64];
    struct ip_prefix locator = {IP_V6, 48, {{0xfc, 0xbb, 0xbb, 0, 0, 1}}};
    struct error err;
    assert_int_equal(
        bgp_originate(r[0], BGP_IPV6_UNICAST, raw, bgp_prefix_encode(&locator, raw), NULL, 0, t.now, &err), 0);
    testing_bgp_settle(&t);
    assert_int_equal(heard[0].underlay, 0);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(r[2], BGP_IPV6_UNICAST)), 1);
    const struct bgp_route *route = bgp_rib_next(bgp_speaker_rib(r[2], BGP_IPV6_UNICAST), 0);
    assert_int_equal(route->best->attributes->path_length, 1);
    assert_int_equal(route->best->attributes->next_hop[0], 0xfe);
    /* The direct link goes: the longer way takes over. */
    testing_bgp_cut(&t, &t.wire[2]);
    testing_bgp_advance(&t, 70 * NS_PER_S);
    route = bgp_rib_next(bgp_speaker_rib(r[2], BGP_IPV6_UNICAST), 0);
    while (route && !route->best)
        route = bgp_rib_next(bgp_speaker_rib(r[2], BGP_IPV6_UNICAST), route->version);
    assert_non_null(route);
    assert_int_equal(route->best->attributes->path_length, 2);
    for (int i = 0; i < 3; i++)
        bgp_speaker_free(r[i]);
}

static void test_policies_reach_the_pe(void **state)
{
    (void)state;
    struct net n;
    build(&n, 0);
    struct bgp_sr_policy key = {.distinguisher = 1, .color = 20, .endpoint = {IP_V6, {{0xfd, [15] = 2}}}};
    struct bgp_sr_policy_path path = {.preference = 300, .n_lists = 1};
    path.lists[0].n_segments = 2;
    path.lists[0].weight = 1;
    path.lists[0].segments[1].b[0] = 0xfc;
    uint8_t raw[64], value[256], attributes[300];
    int len = bgp_sr_policy_path_encode(&path, value, sizeof value);
    len = bgp_attribute_put(attributes, 0, sizeof attributes, 0xc0, BGP_TUNNEL_ENCAPSULATION, value, (size_t)len);
    struct error err;
    assert_int_equal(bgp_originate(n.rr, BGP_SR_POLICY_V6, raw, bgp_sr_policy_encode(&key, raw), attributes,
                         (size_t)len, n.t.now, &err),
        0);
    testing_bgp_settle(&n.t);
    assert_int_equal(n.one.policies, 1);
    assert_int_equal(n.one.policy.preference, 300);
    assert_int_equal(n.one.policy.lists[0].n_segments, 2);
    bgp_withdraw(n.rr, BGP_SR_POLICY_V6, raw, bgp_sr_policy_encode(&key, raw), n.t.now);
    testing_bgp_settle(&n.t);
    assert_int_equal(n.one.policies, 0);
    demolish(&n);
}

static void test_collision_leaves_one_connection(void **state)
{
    (void)state;
    struct bgp_speaker *a = speaker(BGP_PE, 1, NULL), *b = speaker(BGP_PE, 2, NULL);
    struct testing_bgp t = {.now = NS_PER_S};
    struct bgp_peer_config to_b = testing_bgp_peer(BGP_PEER_INTERNAL, 2, families, 1);
    struct bgp_peer_config to_a = testing_bgp_peer(BGP_PEER_INTERNAL, 1, families, 1);
    struct testing_bgp_wire *w = testing_bgp_join(&t, a, &to_b, b, &to_a);
    t.wire[t.n_wires++] =
        (struct testing_bgp_wire){.a = b, .b = a, .peer_of_a = w->peer_of_b, .peer_of_b = w->peer_of_a};
    bgp_peer_transport_up(b, w->peer_of_b, BGP_CONNECTED, t.now);
    bgp_peer_transport_up(a, w->peer_of_a, BGP_ACCEPTED, t.now);
    testing_bgp_settle(&t);
    int up = 0;
    for (int side = 0; side < BGP_SIDES; side++) {
        up += bgp_peer_session(a, 1, (enum bgp_side)side)->state == BGP_ESTABLISHED;
        assert_int_equal(bgp_peer_session(a, 1, (enum bgp_side)side)->state == BGP_ESTABLISHED,
            bgp_peer_session(b, 1, (enum bgp_side) !side)->state == BGP_ESTABLISHED);
    }
    assert_int_equal(up, 1);
    bgp_speaker_free(a);
    bgp_speaker_free(b);
}

static void test_a_wrong_peer_is_told_why(void **state)
{
    (void)state;
    struct heard h = {0};
    struct bgp_speaker *a = speaker(BGP_PE, 1, &h), *b = speaker(BGP_PE, 2, NULL);
    struct testing_bgp t = {.now = NS_PER_S};
    struct bgp_peer_config to_b = testing_bgp_peer(BGP_PEER_LINK, 2, families, 1);
    struct bgp_peer_config to_a = testing_bgp_peer(BGP_PEER_INTERNAL, 1, families, 1);
    to_b.session.peer_as = 65001;
    struct testing_bgp_wire *w = testing_bgp_join(&t, a, &to_b, b, &to_a);
    testing_bgp_settle(&t);
    char text[128];
    assert_string_equal(
        bgp_notification_text(&bgp_peer_session(b, w->peer_of_b, BGP_ACCEPTED)->last, text, sizeof text),
        "OPEN error: bad peer AS");
    bgp_speaker_free(a);
    bgp_speaker_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_reaches_the_other_pe_byte_for_byte),
        cmocka_unit_test(test_withdraws_and_changes),
        cmocka_unit_test(test_what_changes_while_a_peer_lags_is_told_once),
        cmocka_unit_test(test_a_lost_session_keeps_routes_for_the_restart_time_only),
        cmocka_unit_test(test_hold_timer),
        cmocka_unit_test(test_limit_of_prefixes),
        cmocka_unit_test(test_route_refresh_tells_everything_again),
        cmocka_unit_test(test_two_reflectors_do_not_loop),
        cmocka_unit_test(test_underlay_over_links_grows_the_path_and_stops_at_loops),
        cmocka_unit_test(test_policies_reach_the_pe),
        cmocka_unit_test(test_collision_leaves_one_connection),
        cmocka_unit_test(test_a_wrong_peer_is_told_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
