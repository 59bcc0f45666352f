/* ARP and neighbour discovery on the wire. */
#include "base/test.h"
#include "wire/checksum.h"
#include "wire/ip_text.h"
#include "wire/neighbour.h"

#include <errno.h>

static struct ip6 ip6_of(const char *text)
{
    struct ip6 a;
    assert_int_equal(ip6_parse(&a, text, NULL), 0);
    return a;
}

static const uint8_t mac[6] = {2, 0, 0, 0xaa, 0xbb, 0xcc};

static void test_arp(void **state)
{
    const uint8_t want[ARP_SIZE] = {
        0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0xaa, 0xbb, 0xcc, 10, 0, 0, 1, 2, 1, 1, 1, 1, 1, 10, 0, 0, 9};
    struct arp a = {.op = ARP_REPLY,
                   .sender.b = {10, 0, 0, 1},
                   .target_mac = {2, 1, 1, 1, 1, 1},
                   .target.b = {10, 0, 0, 9}},
               got;
    memcpy(a.sender_mac, mac, 6);
    uint8_t to[ARP_SIZE];
    arp_encode(to, &a);
    assert_memory_equal(to, want, ARP_SIZE);
    assert_int_equal(arp_parse(&got, to, ARP_SIZE), 0);
    assert_memory_equal(&got, &a, sizeof(a));
    assert_int_equal(arp_parse(&got, to, ARP_SIZE - 1), -EPROTO);
    static const struct {
        uint8_t at, value;
    } wrong[] = {{1, 6}, {3, 6}, {4, 8}, {5, 16}, {7, 3}, {7, 0}, {8, 3}};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        memcpy(to, want, ARP_SIZE);
        to[wrong[i].at] = wrong[i].value;
        assert_int_equal(arp_parse(&got, to, ARP_SIZE), -EPROTO);
    }
}

static void test_addresses(void **state)
{
    struct ip6 a = ip6_of("2001:db8::12:3456"), got;
    uint8_t m[6];
    const uint8_t want[6] = {0x33, 0x33, 0xff, 0x12, 0x34, 0x56};
    char text[IP_TEXT_SIZE];
    nd_solicited_node(&got, &a);
    assert_string_equal(ip6_print(text, &got), "ff02::1:ff12:3456");
    nd_multicast_mac(m, &got);
    assert_memory_equal(m, want, 6);
    nd_link_local(&got, mac);
    assert_string_equal(ip6_print(text, &got), "fe80::ff:feaa:bbcc");
    assert_true(nd_is_link_local(&got));
    assert_false(nd_is_link_local(&a));
}

static struct nd solicit(void)
{
    struct nd n = {.type = ICMP6_NEIGHBOUR_SOLICIT, .has_mac = true};
    memcpy(n.mac, mac, 6);
    n.src = ip6_of("2001:db8::2");
    n.target = ip6_of("2001:db8::1");
    nd_solicited_node(&n.dst, &n.target);
    return n;
}

static int again(const struct nd *n, struct nd *ret)
{
    uint8_t p[ND_SIZE_MOST];
    size_t len = nd_encode(p, n);
    uint8_t *exact = test_malloc(len);
    memcpy(exact, p, len);
    int rc = nd_parse(ret, exact, len);
    test_free(exact);
    return rc;
}

static void test_round_trips(void **state)
{
    struct nd n = solicit(), got;
    assert_int_equal(again(&n, &got), 0);
    assert_memory_equal(&got, &n, sizeof(n));
    n.has_mac = false;
    memset(n.mac, 0, 6);
    assert_int_equal(again(&n, &got), 0);
    assert_memory_equal(&got, &n, sizeof(n));
    n = solicit();
    n.type = ICMP6_NEIGHBOUR_ADVERT;
    n.flags = ND_ROUTER | ND_SOLICITED | ND_OVERRIDE;
    n.dst = ip6_of("2001:db8::9");
    assert_int_equal(again(&n, &got), 0);
    assert_memory_equal(&got, &n, sizeof(n));
    n = solicit();
    n.type = ICMP6_ROUTER_SOLICIT;
    memset(&n.target, 0, sizeof(n.target));
    n.dst = ip6_of("ff02::2");
    assert_int_equal(again(&n, &got), 0);
    assert_memory_equal(&got, &n, sizeof(n));
}

/* RFC 4861 section 7.1, one by one */
static void test_discarded(void **state)
{
    struct nd n = solicit(), got;
    n.target = ip6_of("ff02::1");
    assert_int_equal(again(&n, &got), -EPROTO);
    n = solicit();
    n.src = ip6_of("::");
    assert_int_equal(again(&n, &got), -EPROTO); /* a probe with its own MAC */
    n.has_mac = false;
    assert_int_equal(again(&n, &got), 0);
    n.dst = ip6_of("2001:db8::1");
    assert_int_equal(again(&n, &got), -EPROTO); /* a probe by unicast */
    n = solicit();
    n.type = ICMP6_NEIGHBOUR_ADVERT;
    n.flags = ND_SOLICITED;
    n.dst = nd_all_nodes;
    assert_int_equal(again(&n, &got), -EPROTO);
    n.flags = 0;
    assert_int_equal(again(&n, &got), 0);
    n = solicit();
    n.mac[0] |= 1;
    assert_int_equal(again(&n, &got), -EPROTO);
    n = solicit();
    n.type = ICMP6_ROUTER_SOLICIT;
    n.src = ip6_of("::");
    assert_int_equal(again(&n, &got), -EPROTO);
    n.has_mac = false;
    assert_int_equal(again(&n, &got), 0);
}

static void sum(uint8_t *p)
{
    bytes_put_be16(p + IP6_SIZE + 2, 0);
    bytes_put_be16(p + IP6_SIZE + 2,
        checksum_ip6(p + IP6_SRC, p + IP6_DST, IP_PROTO_ICMP6, p + IP6_SIZE, bytes_get_be16(p + IP6_LEN)));
}

static void test_bytes_that_lie(void **state)
{
    struct nd n = solicit(), got;
    uint8_t good[ND_SIZE_MOST], p[ND_SIZE_MOST];
    size_t len = nd_encode(good, &n);
    assert_int_equal(nd_parse(&got, good, len - 1), -EPROTO);
    assert_int_equal(nd_parse(&got, good, IP6_SIZE + 7), -ENOENT);
    static const struct {
        uint8_t at, value;
        bool summed;
        int want;
    } cases[] = {{IP6_HOPS, 254, true, -EPROTO}, {IP6_SIZE + 1, 1, true, -EPROTO}, {IP6_SIZE + 9, 9, false, -EPROTO},
        {IP6_LEN + 1, 23, true, -EPROTO}, {IP6_LEN + 1, 31, true, -EPROTO}, {IP6_SIZE + 25, 0, true, -EPROTO},
        {IP6_SIZE + 25, 2, true, -EPROTO}, {IP6_SIZE + 24, 14, true, 0}, {IP6_SIZE, 128, true, -ENOENT},
        {IP6_SIZE, 134, true, -ENOENT}, {IP6_NEXT, 0, true, -ENOENT}, {0, 0x45, true, -ENOENT}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        memcpy(p, good, len);
        p[cases[i].at] = cases[i].value;
        if (cases[i].summed)
            sum(p);
        assert_int_equal(nd_parse(&got, p, len), cases[i].want);
    }
}

static void test_router_advertisement(void **state)
{
    struct nd_router r = {
        .src = ip6_of("fe80::1"), .dst = nd_all_nodes, .lifetime_s = 1800, .mtu = 1428, .n_prefixes = 2};
    uint8_t to[ND_ROUTER_MOST];
    memcpy(r.mac, mac, 6);
    assert_int_equal(ip_prefix_parse(&r.prefixes[0], "2001:db8:1::/64", NULL), 0);
    assert_int_equal(ip_prefix_parse(&r.prefixes[1], "2001:db8:2::/120", NULL), 0);
    size_t n = nd_router_encode(to, &r);
    assert_int_equal(n, IP6_SIZE + 16 + 8 + 8 + 64);
    const uint8_t *icmp = to + IP6_SIZE;
    const uint8_t start[16] = {134, 0, icmp[2], icmp[3], 64, 0, 1800 >> 8, 1800 & 255};
    assert_memory_equal(icmp, start, 16);
    const uint8_t options[] = {1, 1, 2, 0, 0, 0xaa, 0xbb, 0xcc, 5, 1, 0, 0, 0, 0, 1428 >> 8, 1428 & 255, 3, 4, 64, 0xc0,
        0, 0x27, 0x8d, 0, 0, 9, 0x3a, 0x80, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 1};
    assert_memory_equal(icmp + 16, options, sizeof(options));
    assert_int_equal(icmp[64 + 3], 0x80); /* no addresses from a /120 */
    assert_int_equal(checksum_ip6(to + IP6_SRC, to + IP6_DST, IP_PROTO_ICMP6, icmp, (uint32_t)(n - IP6_SIZE)), 0);
    assert_int_equal(to[IP6_HOPS], 255);
    r.mtu = 0;
    assert_int_equal(nd_router_encode(to, &r), n - 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_discarded),
        cmocka_unit_test(test_bytes_that_lie),
        cmocka_unit_test(test_router_advertisement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
