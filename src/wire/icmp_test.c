/* ICMP errors and echoes: bytes, limits, and what must not be answered. */
#include "base/test.h"
#include "wire/checksum.h"
#include "wire/hbh.h"
#include "wire/icmp.h"
#include "wire/ip_text.h"
#include "wire/srh.h"

#include <errno.h>

static struct ip_addr addr(const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_addr_parse(&a, text, NULL), 0);
    return a;
}

static size_t put_ip6(uint8_t *p, const char *src, const char *dst, uint8_t next, size_t payload)
{
    memset(p, 0, IP6_SIZE + payload);
    p[0] = 0x60;
    bytes_put_be16(p + IP6_LEN, (uint16_t)payload);
    p[IP6_NEXT] = next;
    p[IP6_HOPS] = 1;
    memcpy(p + IP6_SRC, addr(src).a.b, 16);
    memcpy(p + IP6_DST, addr(dst).a.b, 16);
    for (size_t i = 0; i < payload; i++)
        p[IP6_SIZE + i] = (uint8_t)i;
    return IP6_SIZE + payload;
}

static size_t put_ip4(uint8_t *p, const char *src, const char *dst, uint8_t proto, size_t payload)
{
    memset(p, 0, IP4_SIZE + payload);
    p[0] = 0x45;
    bytes_put_be16(p + IP4_LEN, (uint16_t)(IP4_SIZE + payload));
    p[IP4_TTL] = 1;
    p[IP4_PROTO] = proto;
    memcpy(p + IP4_SRC, addr(src).a.b, 4);
    memcpy(p + IP4_DST, addr(dst).a.b, 4);
    bytes_put_be16(p + IP4_SUM, checksum_ip4(p, IP4_SIZE));
    return IP4_SIZE + payload;
}

static uint8_t packet[2048], to[2048];
static struct ip_addr us6, us4;

static void check_error6(size_t n, uint8_t type, uint8_t code, uint32_t value, size_t quoted)
{
    assert_int_equal(n, IP6_SIZE + ICMP_HEADER + quoted);
    assert_int_equal(bytes_get_be16(to + IP6_LEN), ICMP_HEADER + quoted);
    assert_memory_equal(to + IP6_SRC, us6.a.b, 16);
    assert_memory_equal(to + IP6_DST, packet + IP6_SRC, 16);
    assert_int_equal(to[IP6_SIZE], type);
    assert_int_equal(to[IP6_SIZE + 1], code);
    assert_int_equal(bytes_get_be32(to + IP6_SIZE + 4), value);
    assert_memory_equal(to + IP6_SIZE + ICMP_HEADER, packet, quoted);
    assert_int_equal(
        checksum_ip6(to + IP6_SRC, to + IP6_DST, IP_PROTO_ICMP6, to + IP6_SIZE, (uint32_t)(ICMP_HEADER + quoted)), 0);
}

static void test_errors6(void **state)
{
    static const struct {
        enum icmp_error_kind kind;
        uint8_t type, code;
    } want[] = {{ICMP_NO_ROUTE, 1, 0}, {ICMP_PROHIBITED, 1, 1}, {ICMP_NO_HOST, 1, 3}, {ICMP_NO_PORT, 1, 4},
        {ICMP_TOO_BIG, 2, 0}, {ICMP_HOP_LIMIT, 3, 0}, {ICMP_BAD_FIELD, 4, 0}, {ICMP_BAD_NEXT, 4, 1},
        {ICMP_BAD_OPTION, 4, 2}};
    size_t len = put_ip6(packet, "2001:db8::1", "2001:db8:1::1", IP_PROTO_UDP, 100);
    for (unsigned i = 0; i < sizeof(want) / sizeof(*want); i++) {
        size_t n = icmp_error_write(to, sizeof(to), want[i].kind, 1400 + i, packet, len, &us6);
        check_error6(n, want[i].type, want[i].code, 1400 + i, len);
    }
}

static void test_sizes6(void **state)
{
    size_t len = put_ip6(packet, "2001:db8::1", "2001:db8:1::1", IP_PROTO_UDP, 1900);
    check_error6(icmp_error_write(to, sizeof(to), ICMP_TOO_BIG, 1428, packet, len, &us6), 2, 0, 1428, 1280 - 48);
    /* bytes behind the packet's own length (Ethernet padding) do not go in; what is not there neither */
    len = put_ip6(packet, "2001:db8::1", "2001:db8:1::1", IP_PROTO_UDP, 4);
    check_error6(icmp_error_write(to, sizeof(to), ICMP_NO_ROUTE, 0, packet, len + 20, &us6), 1, 0, 0, len);
    len = put_ip6(packet, "2001:db8::1", "2001:db8:1::1", IP_PROTO_UDP, 1900);
    check_error6(icmp_error_write(to, sizeof(to), ICMP_NO_ROUTE, 0, packet, 400, &us6), 1, 0, 0, 400);
    check_error6(icmp_error_write(to, 300, ICMP_NO_ROUTE, 0, packet, len, &us6), 1, 0, 0, 252);
    assert_int_equal(icmp_error_write(to, 87, ICMP_NO_ROUTE, 0, packet, len, &us6), 0);
}

static size_t try6(enum icmp_error_kind kind, size_t len)
{
    return icmp_error_write(to, sizeof(to), kind, 0, packet, len, &us6);
}

static void test_not_answered6(void **state)
{
    size_t len = put_ip6(packet, "2001:db8::1", "ff02::1", IP_PROTO_UDP, 20);
    assert_int_equal(try6(ICMP_HOP_LIMIT, len), 0);
    assert_int_not_equal(try6(ICMP_TOO_BIG, len), 0);
    assert_int_not_equal(try6(ICMP_BAD_OPTION, len), 0);
    len = put_ip6(packet, "::", "2001:db8::2", IP_PROTO_UDP, 20);
    assert_int_equal(try6(ICMP_TOO_BIG, len), 0);
    len = put_ip6(packet, "ff02::5", "2001:db8::2", IP_PROTO_UDP, 20);
    assert_int_equal(try6(ICMP_NO_ROUTE, len), 0);
    len = put_ip6(packet, "2001:db8::1", "2001:db8::2", IP_PROTO_ICMP6, 20);
    for (unsigned type = 0; type < 256; type++) {
        packet[IP6_SIZE] = (uint8_t)type;
        assert_int_equal(try6(ICMP_NO_ROUTE, len) != 0, type >= 128 && type != ICMP6_REDIRECT);
    }
    /* an error behind hop-by-hop options and a routing header is still an error */
    const uint8_t hops[16] = {IP_PROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0, IP_PROTO_ICMP6, 0, 200, 0, 0, 0, 0, 0};
    len = put_ip6(packet, "2001:db8::1", "2001:db8::2", IP_PROTO_HOPOPT, 40);
    memcpy(packet + IP6_SIZE, hops, 16);
    packet[IP6_SIZE + 16] = ICMP6_TIME_EXCEEDED;
    assert_int_equal(try6(ICMP_NO_ROUTE, len), 0);
    packet[IP6_SIZE + 16] = ICMP6_ECHO_REQUEST;
    assert_int_not_equal(try6(ICMP_NO_ROUTE, len), 0);
    /* cut before one can tell */
    assert_int_equal(try6(ICMP_NO_ROUTE, IP6_SIZE + 12), 0);
    assert_int_equal(try6(ICMP_NO_ROUTE, IP6_SIZE - 1), 0);
    assert_int_equal(try6(ICMP_NO_ROUTE, 0), 0);
    /* a later fragment of an ICMPv6 message might be one of an error */
    const uint8_t later[8] = {IP_PROTO_ICMP6, 0, 0x01, 0x00, 0, 0, 0, 1};
    len = put_ip6(packet, "2001:db8::1", "2001:db8::2", IP_PROTO_FRAGMENT, 40);
    memcpy(packet + IP6_SIZE, later, 8);
    packet[IP6_SIZE + 8] = ICMP6_ECHO_REQUEST; /* looks like one, but is the middle of something */
    assert_int_equal(try6(ICMP_TOO_BIG, len), 0);
    packet[IP6_SIZE] = IP_PROTO_UDP;
    assert_int_not_equal(try6(ICMP_TOO_BIG, len), 0);
    assert_int_equal(icmp_error_write(to, sizeof(to), ICMP_TOO_BIG, 0, packet, len, &us4), 0);
}

static void check_error4(size_t n, uint8_t type, uint8_t code, uint32_t value, size_t quoted)
{
    assert_int_equal(n, IP4_SIZE + ICMP_HEADER + quoted);
    assert_int_equal(bytes_get_be16(to + IP4_LEN), n);
    assert_int_equal(checksum_ip4(to, IP4_SIZE), 0);
    assert_int_equal(checksum_ip4(to + IP4_SIZE, ICMP_HEADER + quoted), 0);
    assert_memory_equal(to + IP4_SRC, us4.a.b, 4);
    assert_memory_equal(to + IP4_DST, packet + IP4_SRC, 4);
    assert_int_equal(to[IP4_SIZE], type);
    assert_int_equal(to[IP4_SIZE + 1], code);
    assert_int_equal(bytes_get_be32(to + IP4_SIZE + 4), value);
    assert_memory_equal(to + IP4_SIZE + ICMP_HEADER, packet, quoted);
}

static size_t try4(enum icmp_error_kind kind, uint32_t value, size_t len)
{
    return icmp_error_write(to, sizeof(to), kind, value, packet, len, &us4);
}

static void test_errors4(void **state)
{
    size_t len = put_ip4(packet, "10.0.0.1", "10.1.0.1", IP_PROTO_UDP, 100);
    check_error4(try4(ICMP_HOP_LIMIT, 9, len), 11, 0, 0, len);
    check_error4(try4(ICMP_NO_ROUTE, 9, len), 3, 0, 0, len);
    check_error4(try4(ICMP_NO_HOST, 9, len), 3, 1, 0, len);
    check_error4(try4(ICMP_PROHIBITED, 9, len), 3, 13, 0, len);
    check_error4(try4(ICMP_TOO_BIG, 1428, len), 3, 4, 1428, len);
    check_error4(try4(ICMP_BAD_FIELD, 9, len), 12, 0, 9u << 24, len);
    len = put_ip4(packet, "10.0.0.1", "10.1.0.1", IP_PROTO_UDP, 1000);
    check_error4(try4(ICMP_TOO_BIG, 900, len), 3, 4, 900, 576 - 28);
}

static void test_not_answered4(void **state)
{
    static const char *const bad[][2] = {{"0.0.0.0", "10.0.0.1"}, {"224.0.0.1", "10.0.0.1"}, {"127.0.0.1", "10.0.0.1"},
        {"255.255.255.255", "10.0.0.1"}, {"10.0.0.1", "224.0.0.5"}, {"10.0.0.1", "255.255.255.255"}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(try4(ICMP_NO_ROUTE, 0, put_ip4(packet, bad[i][0], bad[i][1], IP_PROTO_UDP, 20)), 0);
    size_t len = put_ip4(packet, "10.0.0.1", "10.1.0.1", IP_PROTO_ICMP, 20);
    packet[IP4_SIZE] = ICMP4_UNREACHABLE;
    assert_int_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
    packet[IP4_SIZE] = ICMP4_ECHO_REQUEST;
    assert_int_not_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
    bytes_put_be16(packet + IP4_FRAG, 7); /* not the first fragment */
    assert_int_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
    bytes_put_be16(packet + IP4_FRAG, 0x2000);
    assert_int_not_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
    packet[0] = 0x4f; /* a header of 60 bytes in a packet of 40 */
    assert_int_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
    packet[0] = 0x05;
    assert_int_equal(try4(ICMP_NO_ROUTE, 0, len), 0);
}

static void test_echo6(void **state)
{
    size_t len = put_ip6(packet, "2001:db8::1", "2001:db8::2", IP_PROTO_ICMP6, 31);
    uint8_t *icmp = packet + IP6_SIZE;
    memset(icmp, 0, 4);
    icmp[0] = ICMP6_ECHO_REQUEST;
    bytes_put_be16(icmp + 2, checksum_ip6(packet + IP6_SRC, packet + IP6_DST, IP_PROTO_ICMP6, icmp, 31));
    assert_true(icmp_echo_reply(packet, len));
    assert_memory_equal(packet + IP6_DST, addr("2001:db8::1").a.b, 16);
    assert_memory_equal(packet + IP6_SRC, addr("2001:db8::2").a.b, 16);
    assert_int_equal(icmp[0], ICMP6_ECHO_REPLY);
    assert_int_equal(checksum_ip6(packet + IP6_SRC, packet + IP6_DST, IP_PROTO_ICMP6, icmp, 31), 0);
    assert_false(icmp_echo_reply(packet, len)); /* a reply has no reply */
    icmp[0] = ICMP6_ECHO_REQUEST;
    assert_false(icmp_echo_reply(packet, IP6_SIZE + 7));
    packet[IP6_DST] = 0xff;
    assert_false(icmp_echo_reply(packet, len));
}

static void test_echo4(void **state)
{
    size_t len = put_ip4(packet, "10.0.0.1", "10.0.0.254", IP_PROTO_ICMP, 33);
    uint8_t *icmp = packet + IP4_SIZE;
    memset(icmp, 0, 4);
    icmp[0] = ICMP4_ECHO_REQUEST;
    bytes_put_be16(icmp + 2, checksum_ip4(icmp, 33));
    assert_true(icmp_echo_reply(packet, len));
    assert_memory_equal(packet + IP4_DST, addr("10.0.0.1").a.b, 4);
    assert_int_equal(packet[IP4_TTL], ICMP_HOPS);
    assert_int_equal(checksum_ip4(packet, IP4_SIZE), 0);
    assert_int_equal(checksum_ip4(icmp, 33), 0);
    assert_int_equal(icmp[0], ICMP4_ECHO_REPLY);
    icmp[0] = ICMP4_ECHO_REQUEST;
    bytes_put_be16(packet + IP4_FRAG, 0x2000);
    assert_false(icmp_echo_reply(packet, len));
    assert_false(icmp_echo_reply(packet, 0));
}

/* An encapsulation that was too big for a link inside, as its ingress gets it back. */
static void test_quoted(void **state)
{
    const struct ip6 path[3] = {addr("fcbb:bb00:1:2::").a, addr("fcbb:bb00:1:3::").a, addr("fcbb:bb00:1:4:46::").a};
    const struct hbh options = {.next = IP_PROTO_ROUTING, .has = HBH_HAS_ALL, .slice = 7};
    const struct hbh_types types = {HBH_NR_DEFAULT, HBH_LANE_DEFAULT};
    struct icmp_quoted q;
    size_t len = put_ip6(packet, "2001:db8::1", "fcbb:bb00:1:2::", IP_PROTO_HOPOPT, 1500);
    size_t at = IP6_SIZE;
    at += hbh_encode(packet + at, &options, &types);
    at += srh_encode(packet + at, IP_PROTO_IPIP, path, 3);
    put_ip4(packet + at, "10.0.0.1", "10.1.0.1", IP_PROTO_UDP, 1000);
    size_t n = icmp_error_write(to, sizeof(to), ICMP_TOO_BIG, 1400, packet, len, &us6);
    assert_int_equal(icmp_quoted_parse(&q, to, n), 0);
    assert_int_equal(q.type, ICMP6_TOO_BIG);
    assert_int_equal(q.value, 1400);
    assert_int_equal(q.inner_family, IP_V4);
    assert_int_equal(q.outer_at, 48);
    assert_int_equal(q.inner_at, 48 + at);
    assert_memory_equal(to + q.inner_at, packet + at, IP4_SIZE);
    assert_true(ip6_equal(&q.dst, &path[0]));
    assert_true(ip6_equal(&q.last, &path[2]));
    /* a host's error is none about us: the quoted packet carries no packet */
    size_t plain = put_ip6(packet, "2001:db8::1", "2001:db8::2", IP_PROTO_UDP, 100);
    n = icmp_error_write(to, sizeof(to), ICMP_TOO_BIG, 1400, packet, plain, &us6);
    assert_int_equal(icmp_quoted_parse(&q, to, n), -ENOENT);
    to[50]++; /* its checksum is wrong */
    assert_int_equal(icmp_quoted_parse(&q, to, n), -EPROTO);
    assert_int_equal(icmp_quoted_parse(&q, to, n - 1), -EPROTO);
    assert_int_equal(icmp_quoted_parse(&q, packet, plain), -EPROTO);
}

int main(void)
{
    us6 = addr("2001:db8:ffff::1");
    us4 = addr("192.0.2.254");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors6),
        cmocka_unit_test(test_sizes6),
        cmocka_unit_test(test_not_answered6),
        cmocka_unit_test(test_errors4),
        cmocka_unit_test(test_not_answered4),
        cmocka_unit_test(test_echo6),
        cmocka_unit_test(test_echo4),
        cmocka_unit_test(test_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
