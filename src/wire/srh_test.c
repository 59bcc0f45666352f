/* Segment routing headers and NEXT-C-SID containers, and the checksums and addresses in text beside them. */
#include "base/rng.h"
#include "base/test.h"
#include "wire/checksum.h"
#include "wire/ip_text.h"
#include "wire/srh.h"

#include <errno.h>
#include <stdlib.h>

static struct ip6 ip6_of(const char *text)
{
    struct ip6 a;
    assert_int_equal(ip6_parse(&a, text, NULL), 0);
    return a;
}

static void is(const struct ip6 *a, const char *text)
{
    char got[IP_TEXT_SIZE];
    assert_string_equal(ip6_print(got, a), text);
}

static void test_reduced_header(void **state)
{
    const struct ip6 path[3] = {ip6_of("fc00:1::"), ip6_of("fc00:2::"), ip6_of("fc00:3::46")};
    uint8_t to[SRH_FIXED + 32 + 1];
    struct srh h;
    struct ip6 s;
    /* RFC 8754 section 2, RFC 8986 section 5.2: the first segment is only in the destination address */
    const uint8_t fixed[SRH_FIXED] = {IP_PROTO_IPV6, 4, 4, 2, 1, 0, 0, 0};
    to[sizeof(to) - 1] = 0xee;
    assert_int_equal(srh_encode(to, IP_PROTO_IPV6, path, 3), 40);
    assert_int_equal(to[40], 0xee);
    assert_memory_equal(to, fixed, SRH_FIXED);
    assert_memory_equal(to + 8, path[2].b, 16);
    assert_memory_equal(to + 24, path[1].b, 16);
    assert_int_equal(srh_parse(&h, to, 40), 0);
    assert_int_equal(h.size, 40);
    assert_int_equal(h.n, 2);
    assert_int_equal(h.left, 2);
    assert_int_equal(h.next, IP_PROTO_IPV6);
    srh_segment(&s, to, 0);
    is(&s, "fc00:3::46");
    assert_int_equal(srh_encode(to, IP_PROTO_IPV6, path, 1), 0);
}

static int parse(struct srh *h, const uint8_t *p, size_t n)
{
    uint8_t *exact = test_malloc(n ? n : 1);
    memcpy(exact, p, n);
    int rc = srh_parse(h, exact, n);
    test_free(exact);
    return rc;
}

static void test_what_peers_send(void **state)
{
    uint8_t p[8 + 16 * 17] = {IP_PROTO_IPIP, 2, 4, 0, 0, 0, 0, 9};
    struct srh h;
    assert_int_equal(parse(&h, p, 24), 0);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.tag, 9);
    assert_int_equal(parse(&h, p, 23), -EPROTO);
    assert_int_equal(parse(&h, p, 0), -EPROTO);
    p[SRH_LEFT] = 1; /* reduced: the segment that is not in the list */
    assert_int_equal(parse(&h, p, 24), 0);
    p[SRH_LEFT] = 2;
    assert_int_equal(parse(&h, p, 24), -ERANGE);
    p[SRH_LEFT] = 0;
    p[SRH_LAST] = 1; /* two segments in 24 bytes */
    assert_int_equal(parse(&h, p, 24), -EPROTO);
    p[SRH_LAST] = 255;
    assert_int_equal(parse(&h, p, 24), -EPROTO);
    p[SRH_LAST] = 0;
    p[SRH_LEN] = 3; /* with a TLV of 8 bytes behind it */
    assert_int_equal(parse(&h, p, 32), 0);
    assert_int_equal(h.size, 32);
    p[SRH_ROUTING_TYPE] = 3;
    assert_int_equal(parse(&h, p, 32), -EPROTONOSUPPORT);
    p[SRH_ROUTING_TYPE] = 4;
    p[SRH_LEN] = 34;
    p[SRH_LAST] = 16; /* 17 segments */
    assert_int_equal(parse(&h, p, sizeof(p)), -EPROTO);
}

static void test_containers(void **state)
{
    struct ip6 ret[4];
    /* five hops in one address of a 48-bit block */
    const struct ip6 five[] = {ip6_of("fcbb:bb00:1:a::"), ip6_of("fcbb:bb00:1:b::"), ip6_of("fcbb:bb00:1:c::"),
        ip6_of("fcbb:bb00:1:d::"), ip6_of("fcbb:bb00:1:e::")};
    assert_int_equal(csid_pack(ret, 4, five, 5, 48), 1);
    is(&ret[0], "fcbb:bb00:1:a:b:c:d:e");
    /* with a function behind the last node: four hops; the node before its function is said once */
    const struct ip6 service[] = {five[0], five[1], five[2], five[3], ip6_of("fcbb:bb00:1:d:f123::")};
    assert_int_equal(csid_pack(ret, 4, service, 5, 48), 1);
    is(&ret[0], "fcbb:bb00:1:a:b:c:d:f123");
    /* NODE:FUNC is never cut in two */
    const struct ip6 six[] = {five[0], five[1], five[2], five[3], ip6_of("fcbb:bb00:1:e:f123::")};
    assert_int_equal(csid_pack(ret, 4, six, 5, 48), 2);
    is(&ret[0], "fcbb:bb00:1:a:b:c:d:0");
    is(&ret[1], "fcbb:bb00:1:e:f123::");
    assert_int_equal(csid_pack(ret, 1, six, 5, 48), -ENOSPC);
    /* a 32-bit block has room for six */
    const struct ip6 wide[] = {ip6_of("fcbb:bb00:1::"), ip6_of("fcbb:bb00:2::"), ip6_of("fcbb:bb00:3::"),
        ip6_of("fcbb:bb00:4::"), ip6_of("fcbb:bb00:5::"), ip6_of("fcbb:bb00:6::"), ip6_of("fcbb:bb00:7::")};
    assert_int_equal(csid_pack(ret, 4, wide, 7, 32), 2);
    is(&ret[0], "fcbb:bb00:1:2:3:4:5:6");
    is(&ret[1], "fcbb:bb00:7::");
    assert_int_equal(csid_pack(ret, 4, wide, 7, 40), -EINVAL);
    assert_int_equal(csid_pack(ret, 4, wide, 0, 32), -EINVAL);
}

static void test_strangers_stay_whole(void **state)
{
    struct ip6 ret[6];
    const struct ip6 mixed[] = {ip6_of("fcbb:bb00:1:a::"), ip6_of("2001:db8::1"), ip6_of("fcbb:bb00:1:b::"),
        ip6_of("fcbb:bb00:1::1"), ip6_of("fcbb:bb00:2:c::"), ip6_of("fcbb:bb00:2:d::")};
    assert_int_equal(csid_pack(ret, 6, mixed, 6, 48), 5);
    is(&ret[0], "fcbb:bb00:1:a::");
    is(&ret[1], "2001:db8::1");
    is(&ret[2], "fcbb:bb00:1:b::");
    is(&ret[3], "fcbb:bb00:1::1");
    is(&ret[4], "fcbb:bb00:2:c:d::");
}

static void test_shift(void **state)
{
    struct ip6 a = ip6_of("fcbb:bb00:1:a:b:c:d:f123");
    assert_true(csid_shift(&a, 48, 16));
    is(&a, "fcbb:bb00:1:b:c:d:f123:0");
    assert_true(csid_shift(&a, 48, 32)); /* End.X as NODE:FUNC */
    is(&a, "fcbb:bb00:1:d:f123::");
    assert_true(csid_shift(&a, 48, 16));
    is(&a, "fcbb:bb00:1:f123::");
    assert_false(csid_shift(&a, 48, 16));
    is(&a, "fcbb:bb00:1:f123::");
    a = ip6_of("fcbb:bb00:1:2:3:4:5:6");
    assert_true(csid_shift(&a, 32, 16));
    is(&a, "fcbb:bb00:2:3:4:5:6:0");
}

static void test_checksums(void **state)
{
    /* the example of RFC 1071, section 3 */
    const uint8_t words[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(checksum_fold(checksum_add(0, words, 8)), (uint16_t)~0xddf2);
    assert_int_equal(checksum_fold(checksum_add(0, words, 7)), (uint16_t)~(0xddf2 - 0xf7));
    for (unsigned i = 0; i < 1000; i++) { /* a TTL that is decremented, an address word that changes */
        uint8_t h[IP4_SIZE];
        for (unsigned k = 0; k < sizeof(h); k++)
            h[k] = (uint8_t)rng_u64(3, i * 64 + k);
        h[IP4_SUM] = h[IP4_SUM + 1] = 0;
        uint16_t sum = checksum_ip4(h, sizeof(h)), from = bytes_get_be16(h + 12), to = (uint16_t)rng_u64(4, i);
        bytes_put_be16(h + 12, to);
        assert_int_equal(checksum_update(sum, from, to), checksum_ip4(h, sizeof(h)));
    }
}

static void test_addresses_in_text(void **state)
{
    struct error err;
    struct ip_addr a;
    struct ip_prefix p;
    char text[IP_TEXT_SIZE];
    assert_int_equal(ip_addr_parse(&a, "192.0.2.1", &err), 0);
    assert_int_equal(a.family, IP_V4);
    assert_string_equal(ip_addr_print(text, &a), "192.0.2.1");
    assert_int_equal(ip_addr_parse(&a, "2001:DB8:0:0:0:0:0:1", &err), 0);
    assert_string_equal(ip_addr_print(text, &a), "2001:db8::1");
    static const char *bad[] = {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "::1::", "2001:db8::1%eth0", "host", "1.2.3.4 "};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(ip_addr_parse(&a, bad[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "is no IPv4 or IPv6 address"));
    }
    static const char *good[] = {"0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/33", "fd00::1/128"};
    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(ip_prefix_parse(&p, good[i], &err), 0);
        assert_string_equal(ip_prefix_print(text, &p), good[i]);
    }
    assert_int_equal(ip_prefix_parse(&p, "10.0.0.1", &err), 0);
    assert_int_equal(p.len, 32);
    static const char *bad_prefixes[] = {
        "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8 ", "::/129", "x/3"};
    for (unsigned i = 0; i < sizeof(bad_prefixes) / sizeof(*bad_prefixes); i++)
        assert_int_equal(ip_prefix_parse(&p, bad_prefixes[i], &err), -EINVAL);
    assert_int_equal(ip_prefix_parse(&p, "10.1.2.3/8", &err), -EINVAL);
    assert_string_equal(err.text, "\"10.1.2.3/8\" has bits behind its length; did you mean 10.0.0.0/8?");
    assert_int_equal(ip_gateway_parse(&p, "10.1.2.3/8", &err), 0);
    assert_string_equal(ip_prefix_print(text, &p), "10.1.2.3/8");
    struct ip6 x = ip6_of("2001:db8:ffff::"), y = ip6_of("2001:db8:fffe::");
    assert_true(ip_match(&x, &y, 47));
    assert_false(ip_match(&x, &y, 48));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduced_header),
        cmocka_unit_test(test_what_peers_send),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_strangers_stay_whole),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_addresses_in_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
