/* RFC 4684: VPN routes go where their targets are wanted. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <errno.h>
#include <string.h>

static const uint32_t families[] = {BGP_EVPN, BGP_IPV6_UNICAST, BGP_RTC};

struct heard {
    int routes;
};

static void hear_vpn(void *user, const struct bgp_vpn_route *v, bool withdrawn)
{
    struct heard *h = user;
    (void)v;
    h->routes += withdrawn ? -1 : 1;
}

static struct bgp_speaker *speaker(enum bgp_role role, uint8_t last, struct heard *h)
{
    struct bgp_speaker_config c = {.role = role, .identifier = {10, 0, 0, last}, .next_hop = {{0xfd, [15] = last}}};
    struct bgp_sink sink = {.user = h, .vpn_route = hear_vpn};
    struct bgp_speaker *s;
    struct error err;
    assert_int_equal(bgp_speaker_create(&s, &c, h ? &sink : NULL, &err), 0);
    return s;
}

/* Three PEs with a reflector; the first two speak RTC, the third does not. */
struct net {
    struct testing_bgp t;
    struct heard heard[3];
    struct bgp_speaker *pe[3], *rr;
};

static void build(struct net *n, bool with_session)
{
    memset(n, 0, sizeof *n);
    n->t.now = 1000 * NS_PER_S;
    n->rr = speaker(BGP_REFLECTOR, 9, NULL);
    for (int i = 0; i < 3; i++) {
        n->pe[i] = speaker(BGP_PE, (uint8_t)(i + 1), &n->heard[i]);
        struct bgp_peer_config up = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, i < 2 ? 3 : 2);
        struct bgp_peer_config down = testing_bgp_peer(BGP_PEER_CLIENT, (uint8_t)(i + 1), families, 3);
        if (with_session)
            assert_non_null(testing_bgp_join(&n->t, n->pe[i], &up, n->rr, &down));
    }
    testing_bgp_settle(&n->t);
}

static void demolish(struct net *n)
{
    for (int i = 0; i < 3; i++)
        bgp_speaker_free(n->pe[i]);
    bgp_speaker_free(n->rr);
}

static void originate(struct net *n, int pe, uint32_t number, uint8_t target)
{
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, target}, .prefix = {IP_V4, 32, {{10}}}, .label = 0x30};
    uint8_t raw[64], attributes[64], community[8] = {0, 2, 0xfd, 0xe8, 0, 0, 0, target};
    struct error err;
    bytes_put_be32(r.prefix.a.b, 10u << 24 | number);
    int len = target ? bgp_attribute_put(attributes, 0, 64, 0xc0, BGP_EXTENDED_COMMUNITIES, community, 8) : 0;
    assert_int_equal(
        bgp_originate(n->pe[pe], BGP_EVPN, raw, bgp_rt5_encode(&r, raw), attributes, (size_t)len, n->t.now, &err), 0);
}

static void import(struct net *n, int pe, uint8_t target, bool wanted)
{
    uint8_t community[8] = {0, 2, 0xfd, 0xe8, 0, 0, 0, target};
    struct error err;
    assert_int_equal(wanted ? bgp_import(n->pe[pe], 65000, community, n->t.now, &err)
                            : bgp_import_end(n->pe[pe], 65000, community, n->t.now),
        0);
}

static size_t held(struct bgp_speaker *s)
{
    return bgp_rib_count(bgp_speaker_rib(s, BGP_EVPN));
}

static void test_only_what_is_wanted(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    for (uint32_t i = 0; i < 30; i++)
        originate(&n, 0, i, (uint8_t)(1 + i % 3));
    originate(&n, 0, 100, 0); /* without a target */
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.rr), 31); /* the reflector wants everything */
    assert_int_equal(held(n.pe[1]), 0);
    assert_int_equal(held(n.pe[2]), 31); /* does not speak RTC: everything */
    import(&n, 1, 1, true);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 10);
    import(&n, 1, 2, true);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 20);
    import(&n, 1, 1, false);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 10);
    assert_int_equal(n.heard[1].routes, 10);
    demolish(&n);
}

static void test_wishes_before_the_session_and_routes_that_come_later(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    import(&n, 1, 7, true);
    testing_bgp_settle(&n.t);
    originate(&n, 0, 1, 7);
    originate(&n, 0, 2, 8);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 1);
    /* A route whose target changes leaves, and comes back. */
    originate(&n, 0, 1, 7);
    uint8_t raw[64], attributes[64];
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 7}, .prefix = {IP_V4, 32, {{10, 0, 0, 1}}}, .label = 0x30};
    struct error err;
    int len = bgp_attribute_put(attributes, 0, 64, 0xc0, BGP_EXTENDED_COMMUNITIES, "\0\2\xfd\xe8\0\0\0\11", 8);
    assert_int_equal(
        bgp_originate(n.pe[0], BGP_EVPN, raw, bgp_rt5_encode(&r, raw), attributes, (size_t)len, n.t.now, &err), 0);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 0);
    import(&n, 1, 9, true);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 1);
    demolish(&n);
}

/* Nothing is told twice when wishes grow. */
static void test_a_change_tells_the_difference_only(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    for (uint32_t i = 0; i < 1000; i++)
        originate(&n, 0, i, (uint8_t)(1 + (i >= 500)));
    import(&n, 1, 1, true);
    testing_bgp_settle(&n.t);
    uint64_t before = bgp_peer_best_session(n.rr, 2)->counters.bytes_out;
    int heard = n.heard[1].routes;
    import(&n, 1, 2, true);
    testing_bgp_settle(&n.t);
    assert_int_equal(n.heard[1].routes - heard, 500);
    uint64_t bytes = bgp_peer_best_session(n.rr, 2)->counters.bytes_out - before;
    assert_true(bytes > 500 * 36 && bytes < 530 * 36);
    demolish(&n);
}

static void test_the_default_wants_everything_and_prefixes_match(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    for (uint32_t i = 0; i < 8; i++)
        originate(&n, 0, i, (uint8_t)(i + 1));
    originate(&n, 0, 100, 0);
    uint8_t raw[64];
    struct error err;
    /* The first 61 bits of a target: 65000:0 to 65000:7. */
    struct bgp_rtc rtc = {.origin_as = 65000, .target = {0, 2, 0xfd, 0xe8, 0, 0, 0, 0}, .bits = 32 + 61};
    unsigned len = bgp_rtc_encode(&rtc, raw);
    assert_int_equal(bgp_originate(n.pe[1], BGP_RTC, raw, len, NULL, 0, n.t.now, &err), 0);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 7);
    assert_int_equal(bgp_import(n.pe[1], 65000, NULL, n.t.now, &err), 0);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 9);
    assert_int_equal(bgp_import_end(n.pe[1], 65000, NULL, n.t.now), 0);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 7);
    assert_int_equal(bgp_withdraw(n.pe[1], BGP_RTC, raw, len, n.t.now), 0);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 0);
    demolish(&n);
}

/* RFC 4684 6: VPN routes wait for the peer's End-of-RIB of targets, a minute at most; other families do not. */
static void test_routes_wait_for_the_targets(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    originate(&n, 0, 1, 1);
    struct ip_prefix p = {IP_V6, 48, {{0xfc, 1}}};
    uint8_t raw[64];
    struct error err;
    assert_int_equal(bgp_originate(n.rr, BGP_IPV6_UNICAST, raw, bgp_prefix_encode(&p, raw), NULL, 0, n.t.now, &err), 0);
    testing_bgp_settle(&n.t);
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 50, families, 3);
    struct bgp_open open = testing_bgp_open(50, families, 3);
    open.hold_time_s = 0;
    uint16_t peer = testing_bgp_raw(&n.t, n.rr, &c, &open);
    assert_true(peer > 0);
    testing_bgp_hear(&n.t, n.rr, peer, NULL, NULL);
    uint64_t before = bgp_peer_session(n.rr, peer, BGP_ACCEPTED)->counters.updates_out;
    assert_true(before >= 3); /* the underlay route, our default target, and End-of-RIBs */
    testing_bgp_advance(&n.t, 30 * NS_PER_S);
    testing_bgp_hear(&n.t, n.rr, peer, NULL, NULL);
    assert_int_equal(bgp_peer_session(n.rr, peer, BGP_ACCEPTED)->counters.updates_out, before);
    /* It wants everything, but says no End-of-RIB: after a minute what it said counts. */
    testing_bgp_announce(&n.t, n.rr, peer, BGP_RTC, (const uint8_t *)"", 1,
        (const uint8_t *)"\x40\1\1\0\x40\2\0\x40\5\4\0\0\0\x64", 14, 50);
    testing_bgp_hear(&n.t, n.rr, peer, NULL, NULL);
    assert_int_equal(bgp_peer_session(n.rr, peer, BGP_ACCEPTED)->counters.updates_out, before);
    testing_bgp_advance(&n.t, 31 * NS_PER_S);
    testing_bgp_hear(&n.t, n.rr, peer, NULL, NULL);
    assert_int_equal(
        bgp_peer_session(n.rr, peer, BGP_ACCEPTED)->counters.updates_out, before + 2); /* the route, its end */
    demolish(&n);
}

/* A PE that restarts wants what it wanted until it says otherwise. */
static void test_wishes_stay_over_a_restart(void **state)
{
    (void)state;
    struct net n;
    build(&n, true);
    import(&n, 1, 1, true);
    originate(&n, 0, 1, 1);
    testing_bgp_settle(&n.t);
    testing_bgp_cut(&n.t, &n.t.wire[1]);
    testing_bgp_advance(&n.t, 20 * NS_PER_S);
    originate(&n, 0, 2, 1);
    import(&n, 1, 1, false);
    import(&n, 1, 2, true);
    originate(&n, 0, 3, 2);
    testing_bgp_connect(&n.t, &n.t.wire[1]);
    testing_bgp_settle(&n.t);
    assert_int_equal(held(n.pe[1]), 1);
    demolish(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_wanted),
        cmocka_unit_test(test_wishes_before_the_session_and_routes_that_come_later),
        cmocka_unit_test(test_a_change_tells_the_difference_only),
        cmocka_unit_test(test_the_default_wants_everything_and_prefixes_match),
        cmocka_unit_test(test_routes_wait_for_the_targets),
        cmocka_unit_test(test_wishes_stay_over_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
