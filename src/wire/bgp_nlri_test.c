#include "wire/bgp_nlri.h"

#include "base/test.h"

#include <errno.h>
#include <string.h>

/* RT-5 10.1.2.0/24 in RD 65000:10, label field 0x000030 (docs/wire-bgp.md). */
static const uint8_t rt5_v4[] = {5, 34, 0, 0, 0xfd, 0xe8, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 10,
    1, 2, 0, 0, 0, 0, 0, 0, 0, 0x30};

static void test_rt5_of_ipv4(void **state)
{
    (void)state;
    struct bgp_rt5 r;
    uint8_t again[64];
    char text[128];
    assert_int_equal(bgp_rt5_decode(&r, rt5_v4, sizeof rt5_v4), 0);
    assert_int_equal(r.prefix.len, 24);
    assert_int_equal(r.label, 0x30);
    assert_int_equal(bgp_rt5_encode(&r, again), sizeof rt5_v4);
    assert_memory_equal(again, rt5_v4, sizeof rt5_v4);
    assert_string_equal(bgp_nlri_text(BGP_EVPN, rt5_v4, sizeof rt5_v4, text, sizeof text), "RT-5 65000:10 10.1.2.0/24");
}

static void test_rt5_key_ignores_label_gateway_esi_and_host_bits(void **state)
{
    (void)state;
    uint8_t other[sizeof rt5_v4];
    struct bgp_nlri a, b;
    size_t at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, rt5_v4, sizeof rt5_v4, &at, &a), 1);
    memcpy(other, rt5_v4, sizeof other);
    other[35] = 0x32; /* EXP flipped in transit */
    other[30] = 9;    /* gateway */
    other[12] = 7;    /* ESI */
    other[28] = 77;   /* host bits */
    at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, other, sizeof other, &at, &b), 1);
    assert_int_equal(a.key_len, b.key_len);
    assert_memory_equal(a.key, b.key, a.key_len);
    struct bgp_rt5 r;
    assert_int_equal(bgp_rt5_decode(&r, other, sizeof other), 0);
    assert_int_equal(r.label, 0x30);
    other[20] = 1; /* the tag is part of it */
    at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, other, sizeof other, &at, &b), 1);
    assert_memory_not_equal(a.key, b.key, a.key_len);
}

static void test_v4_and_v6_defaults_are_different_routes(void **state)
{
    (void)state;
    struct bgp_rt5 four = {.prefix = {.family = IP_V4}}, six = {.prefix = {.family = IP_V6}};
    uint8_t a[64], b[64];
    struct bgp_nlri x, y;
    size_t at = 0;
    unsigned na = bgp_rt5_encode(&four, a), nb = bgp_rt5_encode(&six, b);
    assert_int_equal(nb, 60);
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, a, na, &at, &x), 1);
    at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, b, nb, &at, &y), 1);
    assert_false(x.key_len == y.key_len && memcmp(x.key, y.key, x.key_len) == 0);
}

static void test_rt5_of_impossible_form_is_skipped_alone(void **state)
{
    (void)state;
    uint8_t two[2 * sizeof rt5_v4];
    struct bgp_nlri n;
    size_t at = 0;
    memcpy(two, rt5_v4, sizeof rt5_v4);
    memcpy(two + sizeof rt5_v4, rt5_v4, sizeof rt5_v4);
    two[24] = 200; /* prefix length */
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, two, sizeof two, &at, &n), -EBADMSG);
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, two, sizeof two, &at, &n), 1);
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, two, sizeof two, &at, &n), 0);
}

static void test_unknown_evpn_types_are_carried(void **state)
{
    (void)state;
    static const uint8_t raw[] = {9, 3, 1, 2, 3};
    struct bgp_nlri n;
    size_t at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, raw, sizeof raw, &at, &n), 1);
    assert_false(n.known);
    assert_int_equal(n.raw_len, 5);
    at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, raw, 4, &at, &n), -EPROTO);
}

static void test_families_go_there_and_back(void **state)
{
    (void)state;
    uint8_t raw[64], again[64];
    struct bgp_vpn vpn = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 3},
                       .prefix = {IP_V6, 56, {{0x20, 1, 0xd, 0xb8, 0, 7, 8}}},
                       .label = 0x30},
                   vpn2;
    unsigned n = bgp_vpn_encode(&vpn, BGP_VPNV6, raw);
    assert_int_equal(n, 12 + 7);
    assert_int_equal(bgp_vpn_decode(&vpn2, BGP_VPNV6, raw, n), 0);
    assert_int_equal(bgp_vpn_encode(&vpn2, BGP_VPNV6, again), n);
    assert_memory_equal(raw, again, n);
    assert_int_equal(bgp_vpn_decode(&vpn2, BGP_EVPN, raw, n), -EINVAL);

    struct ip_prefix p = {IP_V6, 48, {{0xfc, 0xbb, 0xbb, 0, 0, 5}}}, p2;
    n = bgp_prefix_encode(&p, raw);
    assert_int_equal(n, 7);
    assert_int_equal(bgp_prefix_decode(&p2, BGP_IPV6_UNICAST, raw, n), 0);
    assert_memory_equal(&p, &p2, sizeof p);

    struct bgp_sr_policy s = {.distinguisher = 1, .color = 20, .endpoint = {IP_V6, {{0xfd, 1}}}}, s2;
    n = bgp_sr_policy_encode(&s, raw);
    assert_int_equal(n, 25);
    assert_int_equal(raw[0], 192);
    assert_int_equal(bgp_sr_policy_decode(&s2, BGP_SR_POLICY_V6, raw, n), 0);
    assert_memory_equal(&s, &s2, sizeof s);
    assert_int_equal(bgp_sr_policy_decode(&s2, BGP_SR_POLICY_V4, raw, n), -EINVAL);

    struct bgp_rtc r = {.origin_as = 65000, .target = {0, 2, 0xfd, 0xe8, 0, 0, 0, 1}, .bits = 96}, r2;
    n = bgp_rtc_encode(&r, raw);
    assert_int_equal(bgp_rtc_decode(&r2, raw, n), 0);
    assert_memory_equal(&r, &r2, sizeof r);
    static const uint8_t everything[] = {0};
    assert_int_equal(bgp_rtc_decode(&r2, everything, 1), 0);
    assert_int_equal(r2.bits, 0);
}

static void test_lengths_that_cannot_be(void **state)
{
    (void)state;
    struct bgp_nlri n;
    size_t at = 0;
    assert_int_equal(bgp_nlri_next(BGP_IPV4_UNICAST, false, (uint8_t[]){33, 1, 2, 3, 4, 5}, 6, &at, &n), -EPROTO);
    assert_int_equal(bgp_nlri_next(BGP_IPV6_UNICAST, false, (uint8_t[]){64, 1, 2}, 3, &at, &n), -EPROTO);
    assert_int_equal(bgp_nlri_next(BGP_VPNV4, false, (uint8_t[]){24, 1, 2, 3}, 4, &at, &n), -EPROTO);
    assert_int_equal(bgp_nlri_next(BGP_RTC, false, (uint8_t[]){97}, 1, &at, &n), -EPROTO);
    assert_int_equal(bgp_nlri_next(BGP_IPV4_UNICAST, true, (uint8_t[]){0, 0, 0, 1}, 4, &at, &n), -EPROTO);
    assert_int_equal(at, 0);
    assert_int_equal(bgp_nlri_next(BGP_IPV4_UNICAST, true, (uint8_t[]){0, 0, 0, 9, 8, 10}, 6, &at, &n), 1);
    assert_int_equal(n.path_id, 9);
    assert_int_equal(at, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rt5_of_ipv4),
        cmocka_unit_test(test_rt5_key_ignores_label_gateway_esi_and_host_bits),
        cmocka_unit_test(test_v4_and_v6_defaults_are_different_routes),
        cmocka_unit_test(test_rt5_of_impossible_form_is_skipped_alone),
        cmocka_unit_test(test_unknown_evpn_types_are_carried),
        cmocka_unit_test(test_families_go_there_and_back),
        cmocka_unit_test(test_lengths_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
