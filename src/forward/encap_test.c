/* What a PE makes of hosts' packets, byte for byte: H.Encaps.Red with hop-by-hop options, with and without SRH (RFC 8986, 8754,
 * 9343, 9800), and what it refuses. VRF 10 of tenant 100 is at port 2 untagged, VRF 20 of tenant 200 on VLAN 20, with the same
 * addresses: gateway 10.0.0.1 and fd00:a::1. Everything at 10.0.1.0/24 and fd00:b::/64 is behind another PE. */
#include "base/test.h"
#include "forward/testing_hex.h"
#include "forward/testing_net.h"
#include "wire/checksum.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>

#define OUT   "020000000909 020000000000 86dd "
#define HOST4 "020000000002 020100000009 0800 "
#define HOST6 "020000000002 020100000009 86dd "
#define US    "20010db8 ffff0000 00000000 00000001 "
#define A6    "fd00000a000000000000000000000002 "
#define B6    "fd00000b000000000000000000000002 "
#define GW6   "fd00000a000000000000000000000001 "
#define UDP   "03e807d0000c0000 61626364 "

/* IPv4 from host to host with this TOS, TTL and checksum; IPv6 with this first word and hop limit. */
#define IP4(tos, ttl, sum) "45" tos "0020 0000 4000 " ttl "11 " sum " 0a000002 0a000102 " UDP
#define IP6(word, hops)    word "000c 11 " hops " " A6 B6 UDP

/* Hop-by-hop options of a packet without a lane: next header, FlowMonID, slice. */
#define OPTIONS(next, flow, slice) next "02 1204 " flow "?00 01001e08 00000000 " slice " 01020000 "

static struct testing_net *net;
static struct forward *router;

static void ok(int rc, const struct error *err)
{
    if (rc)
        fail_msg("%s", err->text);
}

static struct ip_prefix prefix(const char *text)
{
    struct error err = {0};
    struct ip_prefix p;
    ok(ip_gateway_parse(&p, text, &err), &err);
    return p;
}

static struct ip6 address(const char *text)
{
    return prefix(text).a;
}

static void send_bytes(const uint8_t *frame, uint32_t len)
{
    testing_net_send(net, 0, 2, frame, len);
    testing_net_run(net, 1000);
}

static void send(const char *text)
{
    uint8_t frame[2048];
    send_bytes(frame, testing_hex(frame, text));
}

static void remote(uint32_t vrf, const char *to, const char *service, uint32_t path, bool encrypted)
{
    struct error err = {0};
    struct ip_prefix p = prefix(to);
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = address(service),
        .encrypted = encrypted,
        .path_of_class = {path, path, path, path}};
    ok(forward_route_set(router, vrf, &p, &r, &err), &err);
}

static void path(uint32_t id, unsigned n, const char *const *sids, bool full)
{
    struct error err = {0};
    struct forward_path p = {.id = id, .n_sids = n, .full_sids = full, .no_lanes = true};
    for (unsigned i = 0; i < n; i++)
        p.sids[i] = address(sids[i]);
    ok(forward_path_set(router, &p, &err), &err);
}

static void tenant(uint32_t vrf, uint32_t id, uint16_t vlan)
{
    struct error err = {0};
    ok(forward_vrf_add(router, vrf, id, &err), &err);
    struct forward_access a = {
        .port = 2, .vlan = vlan, .vrf = vrf, .tenant = id, .gateway = {prefix("10.0.0.1/24"), prefix("fd00:a::1/64")}};
    ok(forward_access_set(router, &a, 1, &err), &err);
}

static int setup(void **state)
{
    struct forward_config c = {.locator_block_bits = 32};
    c.loopback = address("2001:db8:ffff::1");
    net = testing_net_create(1);
    testing_net_router(net, &c);
    router = testing_net_forward(net, 0);
    struct port_config core = {.mtu = 1500, .pool_cells = 64, .peer_mac = {2, 0, 0, 0, 9, 9}};
    struct port_config hosts = {.kind = PORT_ACCESS, .mtu = 1500};
    testing_net_port(net, 0, 0, &core);
    testing_net_port(net, 0, 2, &hosts);
    tenant(10, 100, 0);
    tenant(20, 200, 20);
    path(1, 0, NULL, false);
    remote(10, "10.0.1.0/24", "fcbb:bb00:5:d001::", 1, false);
    remote(10, "fd00:b::/64", "fcbb:bb00:5:d001::", 1, false);
    remote(20, "10.0.1.0/24", "fcbb:bb00:5:d002::", 1, false);
    testing_net_run(net, 1000); /* our addresses are announced */
    testing_net_clear(net);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(testing_net_free(net), 0);
    return 0;
}

static void assert_left(uint16_t port, const char *text)
{
    const struct testing_frame *f = testing_net_seen(net, 0, port, 0);
    assert_non_null(f);
    assert_true(testing_hex_equal(f->bytes, f->len, text));
    assert_null(testing_net_any(net, 1));
    testing_net_clear(net);
}

static void assert_lost(enum loss_reason r)
{
    struct loss_record got;
    assert_null(testing_net_seen(net, 0, 0, 0));
    assert_int_equal(loss_read(forward_loss(router), &got, 1), 1);
    assert_string_equal(loss_reason_name(got.reason), loss_reason_name(r));
}

/* --- out --------------------------------------------------------------------------------------------------------- */

static void ip4_over_one_container(void **state)
{
    send(HOST4 IP4("00", "40", "25ca"));
    assert_left(0, OUT "6 00 ????? 0038 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "04", "01004", "00000064") IP4("00", "3f", "26ca"));
}

static void ip6_over_one_container(void **state)
{
    send(HOST6 IP6("60012345", "40"));
    assert_left(0, OUT "6 00 ????? 004c 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "29", "01004", "00000064") IP6("60012345", "3f"));
}

static void a_tagged_tenant_has_its_own_service_and_slice(void **state)
{
    send("020000000002 020100000009 8100 6014 0800" IP4("00", "40", "25ca"));
    assert_left(0, OUT "6 00 ????? 0038 00 40" US "fcbbbb00 0005 d002 0000 0000 0000 0000" OPTIONS(
                       "04", "01008", "000000c8") IP4("00", "3f", "26ca"));
}

static void a_path_fills_the_container(void **state)
{
    static const char *const sids[] = {"fcbb:bb00:e001::", "fcbb:bb00:e002::", "fcbb:bb00:e003::", "fcbb:bb00:e004::"};
    path(2, 4, sids, false);
    remote(10, "10.0.1.0/24", "fcbb:bb00:5:d001::", 2, false);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_left(0, OUT "6 00 ????? 0038 00 40" US "fcbbbb00 e001 e002 e003 e004 0005 d001" OPTIONS(
                       "04", "01004", "00000064") IP4("00", "3f", "26ca"));
}

static void a_longer_one_needs_a_routing_header(void **state)
{
    static const char *const sids[] = {"fcbb:bb00:e001::", "fcbb:bb00:e002::", "fcbb:bb00:e003::", "fcbb:bb00:e004::",
        "fcbb:bb00:e005::"}; /* a node and its function stay in one container */
    path(3, 5, sids, false);
    remote(10, "10.0.1.0/24", "fcbb:bb00:5:d001::", 3, false);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_left(
        0, OUT "6 00 ????? 0050 00 40" US "fcbbbb00 e001 e002 e003 e004 e005 0000" OPTIONS("2b", "01004",
               "00000064") "04 02 04 01 00 00 0000 fcbbbb00 0005 d001 0000 0000 0000 0000" IP4("00", "3f", "26ca"));
}

static void full_sids_are_listed_backwards_without_the_first(void **state)
{
    static const char *const sids[] = {"2001:db8:2::e:1", "2001:db8:3::e:1"};
    path(4, 2, sids, true);
    remote(10, "10.0.1.0/24", "2001:db8:5::d:1", 4, false);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_left(0, OUT "6 00 ????? 0060 00 40" US "20010db8 00020000 00000000 000e0001" OPTIONS(
                       "2b", "0100c", "00000064") "04 04 04 02 01 00 0000 20010db8 00050000 00000000 000d0001"
                                                  "20010db8 00030000 00000000 000e0001" IP4("00", "3f", "26ca"));
}

static void unsteered_takes_the_underlays_way(void **state)
{
    struct error err = {0};
    struct forward_route out = {.kind = ROUTE_ADJACENT, .port = 0};
    struct ip_prefix p = prefix("fcbb:bb00:5::/48");
    remote(10, "10.0.1.0/24", "fcbb:bb00:5:d001::", 0, false);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_lost(LOSS_NO_ROUTE);
    testing_net_clear(net);
    ok(forward_route_set(router, 0, &p, &out, &err), &err); /* seen at once */
    send(HOST4 IP4("00", "40", "25ca"));
    assert_left(0, OUT "6 00 ????? 0038 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "04", "01004", "00000064") IP4("00", "3f", "26ca"));
    assert_int_equal(forward_route_del(router, 0, &p), 0);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_lost(LOSS_NO_ROUTE);
}

static void class_and_congestion_are_told_outside(void **state)
{
    send(HOST4 IP4("b8", "40", "2512")); /* EF: inference */
    assert_left(0, OUT "6 b8 ????? 0038 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "04", "01002", "00000064") IP4("b8", "3f", "2612"));
    send(HOST6 IP6("68a00000", "40")); /* AF41, ECT(0): parameter */
    assert_left(0, OUT "6 8a ????? 004c 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "29", "01003", "00000064") IP6("68a00000", "3f"));
    send(HOST4 IP4("c3", "40", "2507")); /* CS6 is not granted; CE is copied */
    assert_left(0, OUT "6 03 ????? 0038 00 40" US "fcbbbb00 0005 d001 0000 0000 0000 0000" OPTIONS(
                       "04", "01004", "00000064") IP4("c3", "3f", "2607"));
}

static uint32_t label(void)
{
    const struct testing_frame *f = testing_net_seen(net, 0, 0, 0);
    assert_non_null(f);
    uint32_t l = bytes_get_be32(f->bytes + ETHER_SIZE) & 0xfffff;
    testing_net_clear(net);
    return l;
}

static void flows_inside_do_not_show(void **state)
{
    send(HOST4 IP4("00", "40", "25ca"));
    uint32_t one = label();
    send(HOST4 "4500001c 00004000 4006 25d9 0a000002 0a000102 1234567800000000"); /* other protocol, other ports */
    assert_int_equal(label(), one);
    send("020000000002 020100000009 8100 6014 0800" IP4("00", "40", "25ca"));
    assert_int_not_equal(label(), one); /* another tenant's lane */
    assert_int_not_equal(one, 0);
}

/* --- refused ------------------------------------------------------------------------------------------------------ */

/* What the host beside port 2 gets: an ICMP error of the gateway, `head` of it (type, code, 4 bytes) behind its IP header. */
static void assert_told(const char *ip, const char *head, enum loss_reason r)
{
    uint8_t bytes[256];
    send("ffffffffffff 020100000009 0806 0001080006040001 020100000009 0a000002 000000000000 0a000001");
    send("3333ff000001 020100000009 86dd 60000000 0020 3a ff" A6 "ff0200000000000000000001ff000001"
         "8700 7d7b 00000000" GW6 "0101 020100000009");
    testing_net_clear(net);
    uint32_t n = testing_hex(bytes, ip);
    send_bytes(bytes, n);
    const struct testing_frame *f = testing_net_seen(net, 0, 2, 0);
    assert_non_null(f);
    bool four = bytes_get_be16(f->bytes + ETHER_TYPE) == ETHER_IP4;
    uint32_t size = four ? IP4_SIZE : IP6_SIZE;
    n = testing_hex(bytes, four ? "0a000001 0a000002" : GW6 A6);
    assert_memory_equal(f->bytes + ETHER_SIZE + (four ? (uint32_t)IP4_SRC : (uint32_t)IP6_SRC), bytes, n);
    testing_hex(bytes, head);
    assert_memory_equal(f->bytes + ETHER_SIZE + size, bytes, 2);
    assert_memory_equal(f->bytes + ETHER_SIZE + size + 4, bytes + 2, 4);
    testing_net_clear(net);
    assert_lost(r);
}

static void hop_limits_at_their_end(void **state)
{
    assert_told(HOST4 IP4("00", "01", "64ca"), "0b00 00000000", LOSS_HOP_LIMIT);
    assert_told(HOST6 IP6("60000000", "01"), "0300 00000000", LOSS_HOP_LIMIT);
}

static void destinations_that_nobody_has(void **state)
{
    assert_told(HOST4 "45000020 00004000 4011 1aca 0a000002 0a000c02" UDP, "0300 00000000", LOSS_NO_ROUTE);
    assert_told(HOST6 "60000000 000c 11 40" A6 "fd00000c000000000000000000000002" UDP, "0100 00000000", LOSS_NO_ROUTE);
}

static void packets_that_do_not_fit_behind_the_headers(void **state)
{
    uint8_t frame[1600] = {0};
    uint32_t inner = 1500 - 40 - 24;
    testing_hex(frame, HOST6 "60000000 0000 11 40" A6 B6 UDP);
    bytes_put_be16(frame + ETHER_SIZE + IP6_LEN, (uint16_t)(inner - 40));
    send_bytes(frame, ETHER_SIZE + inner);
    const struct testing_frame *f = testing_net_seen(net, 0, 0, 0);
    assert_non_null(f);
    assert_int_equal(f->len, 1514); /* exactly the link's MTU */
    testing_net_clear(net);
    bytes_put_be16(frame + ETHER_SIZE + IP6_LEN, (uint16_t)(inner - 40 + 1));
    send("3333ff000001 020100000009 86dd 60000000 0020 3a ff" A6 "ff0200000000000000000001ff000001"
         "8700 7d7b 00000000" GW6 "0101 020100000009");
    testing_net_clear(net);
    send_bytes(frame, ETHER_SIZE + inner + 1);
    f = testing_net_seen(net, 0, 2, 0);
    assert_non_null(f);
    assert_int_equal(f->bytes[ETHER_SIZE + IP6_SIZE], 2);
    assert_int_equal(bytes_get_be32(f->bytes + ETHER_SIZE + IP6_SIZE + 4), inner);
    testing_net_clear(net);
    assert_lost(LOSS_TOO_BIG);
    assert_int_equal(forward_path_mtu(router, 1, false), inner - 8); /* what a lane's options leave */
}

static void addresses_that_are_never_forwarded(void **state)
{
    static const char *const bad[] = {
        HOST4 "45000020 00004000 4011 b0ca 7f000001 0a000102" UDP,             /* from loopback */
        HOST4 "45000020 00004000 4011 50ca 0a000002 e0000001" UDP,             /* to a group */
        HOST6 "60000000 000c 11 40 fe800000000000000000000000000002" B6 UDP,   /* from the link */
        HOST6 "60000000 000c 11 40" A6 "ff0e0000000000000000000000000001" UDP, /* to a group */
        HOST6 "60000000 000c 11 40 00000000000000000000000000000000" B6 UDP,   /* from nobody */
    };
    for (unsigned i = 0; i < 5; i++) {
        send(bad[i]);
        assert_null(testing_net_any(net, 0));
        struct loss_record got;
        assert_int_equal(loss_read(forward_loss(router), &got, 1), 1);
        assert_int_equal(got.reason, LOSS_NO_ROUTE);
    }
}

static void broken_packets(void **state)
{
    send(HOST4 IP4("00", "40", "25cb")); /* checksum */
    assert_lost(LOSS_MALFORMED);
    send(HOST4 "46000020 00004000 4011 24ca 0a000002 0a000102"); /* header longer than what is there */
    assert_lost(LOSS_MALFORMED);
    send(HOST6 "60000000 0fff 11 40" A6 B6 UDP);
    assert_lost(LOSS_MALFORMED);
    send(HOST6 IP4("00", "40", "25ca")); /* says IPv6 */
    assert_lost(LOSS_MALFORMED);
}

static void an_encrypted_vpn_without_key_sends_nothing(void **state)
{
    remote(10, "10.0.1.0/24", "fcbb:bb00:5:d001::", 1, true);
    send(HOST4 IP4("00", "40", "25ca"));
    assert_lost(LOSS_NO_KEY);
    assert_null(testing_net_any(net, 0));
}

static void a_host_that_sends_too_much_is_policed(void **state)
{
    struct error err = {0};
    struct forward_access a = {
        .port = 2, .vrf = 10, .police_bps = 8000000, .gateway = {prefix("10.0.0.1/24"), prefix("fd00:a::1/64")}};
    ok(forward_access_set(router, &a, testing_net_now(net), &err), &err);
    testing_net_run(net, 1000000000);
    unsigned sent = 0, lost = 0;
    struct loss_record got;
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t frame[64];
        uint32_t n = testing_hex(frame, HOST4 IP4("00", "40", "25ca"));
        testing_net_send(net, 0, 2, frame, n);
    }
    testing_net_run(net, 1000);
    while (testing_net_seen(net, 0, 0, sent))
        sent++;
    while (loss_read(forward_loss(router), &got, 1)) {
        assert_int_equal(got.reason, LOSS_POLICED);
        lost++;
    }
    assert_int_equal(sent + lost, 1000);
    assert_int_equal(
        sent, 120); /* 10 ms of 1 byte/us in frames of 84 bytes on the wire, the one that empties it included */
}

/* --- tables --------------------------------------------------------------------------------------------------------- */

static void tables_say_no_and_why(void **state)
{
    struct error err = {0};
    struct forward_route r = {.kind = ROUTE_ADJACENT, .port = 0};
    struct ip_prefix p = prefix("10.9.0.0/16"), six = prefix("2001:db8:9::/48");
    assert_int_equal(forward_route_set(router, 10, &p, &r, &err), -EINVAL); /* hosts never see the underlay */
    assert_int_equal(forward_route_set(router, 0, &p, &r, &err), -EINVAL);  /* which is IPv6 */
    assert_int_equal(forward_route_set(router, 77, &p, &r, &err), -ENOENT);
    r.port = 2;
    assert_int_equal(forward_route_set(router, 0, &six, &r, &err), -EINVAL); /* no core port */
    r = (struct forward_route){.kind = ROUTE_GATEWAY, .port = 2, .vlan = 7};
    assert_int_equal(forward_route_set(router, 10, &p, &r, &err), -EINVAL); /* no hosts there */
    r = (struct forward_route){.kind = ROUTE_REMOTE, .path_of_class = {99}};
    assert_int_equal(forward_route_set(router, 10, &p, &r, &err), -ENOENT); /* no such path */
    assert_non_null(strstr(err.text, "99"));
    assert_int_equal(forward_route_del(router, 10, &p), -ENOENT);
    assert_int_equal(forward_path_del(router, 1), -EBUSY);
    assert_int_equal(forward_path_del(router, 99), -ENOENT);
    assert_int_equal(forward_vrf_add(router, 10, 1, &err), -EEXIST);
    assert_int_equal(forward_vrf_del(router, 10), -EBUSY); /* it has hosts */
    assert_int_equal(forward_vrf_del(router, 0), -EBUSY);
    assert_int_equal(forward_vrf_del(router, 77), -ENOENT);
}

static void long_paths_are_refused_when_they_are_set(void **state)
{
    struct error err = {0};
    struct forward_path p = {.id = 9, .n_sids = 14, .full_sids = true};
    for (unsigned i = 0; i < 14; i++) {
        p.sids[i] = address("2001:db8:1::e:1");
        p.sids[i].b[5] = (uint8_t)(i + 1);
    }
    ok(forward_path_set(router, &p, &err), &err); /* nobody uses it yet */
    struct ip_prefix to = prefix("10.9.0.0/16");
    struct forward_route r = {
        .kind = ROUTE_REMOTE, .service_sid = address("2001:db8:5::d:1"), .path_of_class = {9, 9, 9, 9}};
    assert_int_equal(forward_route_set(router, 10, &to, &r, &err), -E2BIG);
    p.n_sids = 9;
    ok(forward_path_set(router, &p, &err), &err);
    ok(forward_route_set(router, 10, &to, &r, &err), &err);
    p.n_sids = 14;
    assert_int_equal(forward_path_set(router, &p, &err), -E2BIG); /* and now somebody does */
    struct forward_route got;
    struct ip_prefix match;
    assert_int_equal(forward_route_find(router, 10, &(struct ip_addr){IP_V4, to.a}, &got, &match), 0);
    assert_int_equal(match.len, 16);
    assert_int_equal(got.path_of_class[3], 9);
    assert_int_equal(forward_route_del(router, 10, &to), 0);
    assert_int_equal(forward_path_del(router, 9), 0);
}

static void ten_thousand_routes_through_one_hop(void **state)
{
    struct error err = {0};
    struct forward_route r = {
        .kind = ROUTE_REMOTE, .service_sid = address("fcbb:bb00:7:d001::"), .path_of_class = {1, 1, 1, 1}};
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10000; i++) {
            struct ip_prefix p = {IP_V4, 32, {{100, 0, (uint8_t)(i >> 8), (uint8_t)i}}};
            if (round == 0)
                ok(forward_route_set(router, 10, &p, &r, &err), &err);
            else
                assert_int_equal(forward_route_del(router, 10, &p), 0);
        }
        send(HOST4 "45000020 00004000 4011 ccca 0a000002 64000001" UDP);
        if (round == 0)
            assert_left(0, OUT "6 00 ????? 0038 00 40" US "fcbbbb00 0007 d001 0000 0000 0000 0000" OPTIONS(
                               "04", "01???", "00000064") "45000020 00004000 3f11 cdca 0a000002 64000001" UDP);
        else
            assert_lost(LOSS_NO_ROUTE);
        testing_net_clear(net);
    }
    assert_int_equal(forward_path_del(router, 1), -EBUSY); /* of the other routes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(ip4_over_one_container),
        T(ip6_over_one_container),
        T(a_tagged_tenant_has_its_own_service_and_slice),
        T(a_path_fills_the_container),
        T(a_longer_one_needs_a_routing_header),
        T(full_sids_are_listed_backwards_without_the_first),
        T(unsteered_takes_the_underlays_way),
        T(class_and_congestion_are_told_outside),
        T(flows_inside_do_not_show),
        T(hop_limits_at_their_end),
        T(destinations_that_nobody_has),
        T(packets_that_do_not_fit_behind_the_headers),
        T(addresses_that_are_never_forwarded),
        T(broken_packets),
        T(an_encrypted_vpn_without_key_sends_nothing),
        T(a_host_that_sends_too_much_is_policed),
        T(tables_say_no_and_why),
        T(long_paths_are_refused_when_they_are_set),
        T(ten_thousand_routes_through_one_hop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
