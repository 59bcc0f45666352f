/* Every endpoint behaviour, byte for byte, from the layouts of RFC 8200, 8754, 8986 and 9800. One router with two core ports and
 * hosts of VRF 10 at port 2; what goes in and what comes out stand side by side. */
#include "base/test.h"
#include "forward/testing_hex.h"
#include "forward/testing_net.h"
#include "wire/ip_text.h"

#include <stdlib.h>

/* Ethernet: to us at port 0, from us at port 1 and port 2. */
#define IN   "020000000000 020000000909 86dd "
#define OUT0 "020000000909 020000000000 86dd "
#define OUT1 "020000000808 020000000001 86dd "
#define TO4  "020100000009 020000000002 0800 "
#define TO6  "020100000009 020000000002 86dd "

#define PE     "20010db8 00090000 00000000 00000009 " /* source of the outer header */
#define END    "20010db8 00010000 00000000 00000001 " /* ours */
#define PSP    "20010db8 00010000 00000000 00000002 "
#define USD    "20010db8 00010000 00000000 00000003 "
#define ENDX   "20010db8 00010000 0000000e 00000000 " /* over port 0 */
#define DT4    "20010db8 00010000 0000000d 00000004 "
#define DT6    "20010db8 00010000 0000000d 00000006 "
#define DT46   "20010db8 00010000 0000000d 00000046 "
#define SECOND "20010db8 00020000 00000000 00000001 " /* beyond port 1 */
#define THIRD  "20010db8 00030000 00000000 00000001 "

#define INNER4 "45000020 00004000 3f11 26ca 0a000102 0a000002 03e807d0000c0000 61626364 "
#define INNER6                                                                                                         \
    "60000000 000c 11 3f fd00000b000000000000000000000002 fd00000a000000000000000000000002 03e807d0000c0000 61626364 "

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
    ok(ip_prefix_parse(&p, text, &err), &err);
    return p;
}

static void sid(const char *text, enum sid_behaviour b, uint8_t flavours, uint16_t port, uint32_t vrf)
{
    struct error err = {0};
    struct forward_sid s = {prefix(text), b, flavours, port, vrf};
    ok(forward_sid_set(router, &s, &err), &err);
}

static void route(uint32_t vrf, const char *text, enum route_kind kind, uint16_t port)
{
    struct error err = {0};
    struct forward_route r = {.kind = kind, .port = port};
    struct ip_prefix p = prefix(text);
    ok(forward_route_set(router, vrf, &p, &r, &err), &err);
}

static void sids(void)
{
    sid("2001:db8:1::1/128", SID_END, 0, 0, 0);
    sid("2001:db8:1::2/128", SID_END, SID_PSP, 0, 0);
    sid("2001:db8:1::3/128", SID_END, SID_USD, 0, 0);
    sid("2001:db8:1::e:0:0/128", SID_END_X, 0, 0, 0);
    sid("2001:db8:1::d:0:4/128", SID_END_DT4, 0, 0, 10);
    sid("2001:db8:1::d:0:6/128", SID_END_DT6, 0, 0, 10);
    sid("2001:db8:1::d:0:46/128", SID_END_DT46, 0, 0, 10);
    sid("fcbb:bb00:1::/48", SID_END_NEXT_CSID, 0, 0, 0);
    sid("fcbb:bb00:e000::/48", SID_END_X_NEXT_CSID, 0, 0, 0);
    sid("fcbb:bb00:1:e000::/64", SID_END_X_NEXT_CSID, 0, 0, 0);
    sid("fcbb:bb00:1:d001::/64", SID_END_DT46_NEXT_CSID, 0, 0, 10);
    sid("fcbb:bb00:d001::/48", SID_END_DT46_NEXT_CSID, 0, 0, 10);
    sid("fcbb:bb00:d004::/48", SID_END_DT4_NEXT_CSID, 0, 0, 10);
    sid("fcbb:bb00:d006::/48", SID_END_DT6_NEXT_CSID, 0, 0, 10);
}

static void send(uint16_t port, const char *text)
{
    uint8_t frame[2048];
    uint32_t len = testing_hex(frame, text);
    testing_net_send(net, 0, port, frame, len);
    testing_net_run(net, 1000);
}

static int setup(void **state)
{
    struct error err = {0};
    struct forward_config c = {.locator_block_bits = 32};
    ok(ip6_parse(&c.loopback, "2001:db8:ffff::1", &err), &err);
    net = testing_net_create(1);
    testing_net_router(net, &c);
    router = testing_net_forward(net, 0);
    for (uint16_t i = 0; i < 3; i++) {
        struct port_config p = {.kind = i == 2 ? PORT_ACCESS : PORT_CORE, .mtu = 1500, .pool_cells = 64};
        memcpy(p.peer_mac, i ? "\2\0\0\0\10\10" : "\2\0\0\0\11\11", i == 2 ? 0 : 6);
        testing_net_port(net, 0, i, &p);
    }
    ok(forward_vrf_add(router, 10, 100, &err), &err);
    struct forward_access a = {.port = 2, .vrf = 10, .gateway = {prefix("10.0.0.0/24"), prefix("fd00:a::/64")}};
    a.gateway[0].a.b[3] = 1;
    a.gateway[1].a.b[15] = 1;
    ok(forward_access_set(router, &a, 1, &err), &err);
    sids();
    route(0, "2001:db8:ffff::1/128", ROUTE_LOCAL, 0);
    route(0, "2001:db8:9::/48", ROUTE_ADJACENT, 0);
    route(0, "2001:db8:2::/48", ROUTE_ADJACENT, 1);
    route(0, "2001:db8:3::/48", ROUTE_BLACKHOLE, 0);
    route(0, "fcbb:bb00:2::/48", ROUTE_ADJACENT, 1);
    /* The host asks for both its gateways. */
    send(2, "ffffffffffff 020100000009 0806 0001080006040001 020100000009 0a000002 000000000000 0a000001");
    send(2, "3333ff000001 020100000009 86dd 60000000 0020 3a ff fd00000a000000000000000000000002"
            "ff0200000000000000000001ff000001 8700 7d7b 00000000 fd00000a000000000000000000000001 0101 020100000009");
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
    assert_null(testing_net_any(net, 0));
    struct loss_record got;
    assert_int_equal(loss_read(forward_loss(router), &got, 1), 1);
    assert_string_equal(loss_reason_name(got.reason), loss_reason_name(r));
    assert_int_equal(got.packets, 1);
}

/* An ICMPv6 error of ours to PE left by port 0, and the packet was counted as lost. `quoted` is how its body begins. */
static void assert_error(const char *type_code_value, const char *quoted, enum loss_reason r)
{
    uint8_t want[512];
    const struct testing_frame *f = testing_net_seen(net, 0, 0, 0);
    assert_non_null(f);
    uint32_t n = testing_hex(want, OUT0);
    assert_memory_equal(f->bytes, want, n);
    testing_hex(want, "20010db8 ffff0000 00000000 00000001" PE);
    assert_memory_equal(f->bytes + ETHER_SIZE + IP6_SRC, want, 32);
    uint8_t icmp[8];
    testing_hex(icmp, type_code_value);
    assert_memory_equal(f->bytes + 54, icmp, 2);
    assert_memory_equal(f->bytes + 58, icmp + 2, 4);
    n = testing_hex(want, quoted);
    assert_memory_equal(f->bytes + 62, want, n);
    testing_net_clear(net);
    assert_lost(r);
}

/* --- End -------------------------------------------------------------------------------------------------------- */

#define SRH(left, list) "3b 04 04 " left " 01 00 0000 " list /* two entries, nothing behind them */

static void end_takes_the_next_segment(void **state)
{
    send(0, IN "6a512345 0028 2b 40" PE END SRH("01", SECOND END));
    assert_left(1, OUT1 "6a512345 0028 2b 3f" PE SECOND SRH("00", SECOND END));
}

static void end_of_a_reduced_header_counts_from_one_more(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE END SRH("02", THIRD SECOND)); /* left 2, last entry 1 */
    assert_left(1, OUT1 "60000000 0028 2b 3f" PE SECOND SRH("01", THIRD SECOND));
}

static void psp_takes_the_header_off(void **state)
{
    send(0, IN "60000000 002c 2b 40" PE PSP "29 04 04 01 01 00 0000" SECOND PSP "deadbeef");
    assert_left(1, OUT1 "60000000 0004 29 3f" PE SECOND "deadbeef");
}

static void psp_keeps_what_has_segments_left(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE PSP SRH("02", THIRD SECOND));
    assert_left(1, OUT1 "60000000 0028 2b 3f" PE SECOND SRH("01", THIRD SECOND));
}

static void usd_sends_the_inner_packet_on(void **state)
{
    send(0, IN "60000000 002c 29 40" PE USD "6a500001 0004 3b 11" PE SECOND "deadbeef");
    assert_left(1, OUT1 "6a500001 0004 3b 10" PE SECOND "deadbeef");
}

static void usd_with_a_used_up_header(void **state)
{
    send(0, IN "60000000 0044 2b 40" PE USD "29 02 04 00 00 00 0000" USD "60000000 0004 3b 11" PE SECOND "deadbeef");
    assert_left(1, OUT1 "60000000 0004 3b 10" PE SECOND "deadbeef");
}

static void pings_of_a_sid_are_for_us(void **state)
{
    send(0, IN "60000000 0008 3a 01" PE END "8000 0000 00010001");
    const struct testing_frame *p = testing_net_punted(net, 0, 0);
    assert_non_null(p);
    assert_int_equal(p->vrf, 0);
    assert_true(testing_hex_equal(p->bytes, p->len, "60000000 0008 3a 01" PE END "8000 0000 00010001"));
    testing_net_clear(net);
}

static void what_no_sid_serves_is_answered(void **state)
{
#define TCP "60000000 0014 06 40" PE END "0001000200000000000000005002000000000000"
    send(0, IN TCP);
    assert_error(
        "0404 00000006", TCP, LOSS_MALFORMED); /* parameter problem, SR upper-layer header error, at next header */
}

static void segments_left_beyond_the_list(void **state)
{
#define BEYOND "60000000 0028 2b 40" PE END SRH("03", THIRD SECOND)
    send(0, IN BEYOND);
    assert_error("0400 0000002b", BEYOND, LOSS_MALFORMED); /* pointing to segments left: 40 + 3 */
}

static void hop_limit_at_its_end(void **state)
{
#define LAST_HOP "60000000 0028 2b 01" PE END SRH("01", SECOND END)
    send(0, IN LAST_HOP);
    assert_error("0300 00000000", LAST_HOP, LOSS_HOP_LIMIT);
}

static void broken_headers_are_dropped(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE END "3b 06 04 01 01 00 0000" SECOND END); /* header longer than the packet */
    assert_lost(LOSS_MALFORMED);
    send(0, IN "60000000 0029 2b 40" PE END SRH("01", SECOND END)); /* length longer than the frame */
    assert_lost(LOSS_MALFORMED);
    send(0, IN "50000000 0028 2b 40" PE END SRH("01", SECOND END));
    assert_lost(LOSS_MALFORMED);
}

/* --- End.X, transit ---------------------------------------------------------------------------------------------- */

static void end_x_leaves_by_its_link(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE ENDX SRH("01", SECOND ENDX));
    assert_left(0, OUT0 "60000000 0028 2b 3f" PE SECOND SRH("00", SECOND ENDX)); /* wherever SECOND is */
}

static void transit_looks_at_the_address_only(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE SECOND SRH("01", THIRD SECOND));
    assert_left(1, OUT1 "60000000 0028 2b 3f" PE SECOND SRH("01", THIRD SECOND));
}

static void padding_of_short_frames_is_cut_off(void **state)
{
    send(0, IN "60000000 0002 3b 40" PE SECOND "aabb 00000000");
    assert_left(1, OUT1 "60000000 0002 3b 3f" PE SECOND "aabb");
}

static void nowhere_to_go(void **state)
{
    send(0, IN "60000000 0000 3b 40" PE THIRD);
    assert_lost(LOSS_NO_ROUTE);
#define UNKNOWN "60000000 0000 3b 40" PE "20010db8 00770000 00000000 00000001"
    send(0, IN UNKNOWN);
    assert_error("0100 00000000", UNKNOWN, LOSS_NO_ROUTE);
}

static void too_big_for_the_next_link(void **state)
{
    uint8_t frame[1600] = {0};
    uint32_t n = testing_hex(frame, IN "60000000 05b5 3b 40" PE SECOND); /* 1461 + 40 */
    testing_net_send(net, 0, 0, frame, n + 1461);
    testing_net_run(net, 1000);
    assert_error("0200 000005dc", "60000000 05b5 3b 3f" PE SECOND, LOSS_TOO_BIG);
}

static void options_that_insist_are_answered(void **state)
{
#define INSISTS "60000000 0008 00 40" PE SECOND "3b 00 de 04 00000000" /* type 11: answer unless multicast */
    send(0, IN INSISTS);
    assert_error("0402 0000002a", INSISTS, LOSS_MALFORMED);
    send(0, IN "60000000 0008 00 40" PE SECOND "3b 00 5e 04 00000000"); /* type 01: silently */
    assert_lost(LOSS_MALFORMED);
    send(0, IN "60000000 0008 00 40" PE SECOND "3b 00 1d 04 00000000"); /* type 00: skipped */
    assert_left(1, OUT1 "60000000 0008 00 3f" PE SECOND "3b 00 1d 04 00000000");
}

static void our_own_sids_in_a_circle_end(void **state)
{
    send(0, IN "60000000 0098 2b 40" PE END "3b 12 04 09 08 00 0000" END END END END END END END END END);
    assert_lost(LOSS_HOP_LIMIT);
}

/* --- NEXT-C-SID --------------------------------------------------------------------------------------------------- */

static void un_moves_the_argument_up(void **state)
{
    send(0, IN "60000000 0000 3b 40" PE "fcbbbb00 0001 0002 0003 0004 0005 0006");
    assert_left(1, OUT1 "60000000 0000 3b 3f" PE "fcbbbb00 0002 0003 0004 0005 0006 0000");
}

static void un_without_argument_goes_on_with_the_header(void **state)
{
    send(0, IN "60000000 0028 2b 40" PE "fcbbbb00 0001 0000 0000 0000 0000 0000" SRH("01", SECOND END));
    assert_left(1, OUT1 "60000000 0028 2b 3f" PE SECOND SRH("00", SECOND END));
}

static void ua_moves_and_leaves_by_its_link(void **state)
{
    send(0, IN "60000000 0000 3b 40" PE "fcbbbb00 e000 0002 0003 0000 0000 0000");
    assert_left(0, OUT0 "60000000 0000 3b 3f" PE "fcbbbb00 0002 0003 0000 0000 0000 0000");
    send(0, IN "60000000 0000 3b 40" PE "fcbbbb00 0001 e000 0002 0003 0000 0000"); /* NODE:FUNCTION: one SID */
    assert_left(0, OUT0 "60000000 0000 3b 3f" PE "fcbbbb00 0002 0003 0000 0000 0000 0000");
}

static void csid_hop_limit_at_its_end(void **state)
{
#define CSID_LAST "60000000 0000 3b 01" PE "fcbbbb00 0001 0002 0000 0000 0000 0000"
    send(0, IN CSID_LAST);
    assert_error("0300 00000000", CSID_LAST, LOSS_HOP_LIMIT);
}

/* --- End.DT* ------------------------------------------------------------------------------------------------------- */

static void assert_delivered4(void)
{
    assert_left(2, TO4 "45000020 00004000 3e11 27ca 0a000102 0a000002 03e807d0000c0000 61626364");
}

static void assert_delivered6(void)
{
    assert_left(2, TO6 "60000000 000c 11 3e fd00000b000000000000000000000002 fd00000a000000000000000000000002"
                       "03e807d0000c0000 61626364");
}

static void tables_deliver_their_family(void **state)
{
    send(0, IN "60000000 0020 04 40" PE DT4 INNER4);
    assert_delivered4();
    send(0, IN "60000000 0034 29 40" PE DT6 INNER6);
    assert_delivered6();
    send(0, IN "60000000 0020 04 40" PE DT46 INNER4);
    assert_delivered4();
    send(0, IN "60000000 0034 29 40" PE DT46 INNER6);
    assert_delivered6();
    send(0, IN "60000000 0020 04 40" PE "fcbbbb00 d004 0000 0000 0000 0000 0000" INNER4);
    assert_delivered4();
    send(0, IN "60000000 0034 29 40" PE "fcbbbb00 d006 0000 0000 0000 0000 0000" INNER6);
    assert_delivered6();
    send(0, IN "60000000 0034 29 40" PE "fcbbbb00 0001 d001 0000 0000 0000 0000" INNER6);
    assert_delivered6();
}

static void and_no_other(void **state)
{
#define FOUR_IN_SIX "60000000 0020 04 40" PE DT6 INNER4
    send(0, IN FOUR_IN_SIX);
    assert_error("0404 00000006", FOUR_IN_SIX, LOSS_MALFORMED);
#define SIX_IN_FOUR "60000000 0034 29 40" PE DT4 INNER6
    send(0, IN SIX_IN_FOUR);
    assert_error("0404 00000006", SIX_IN_FOUR, LOSS_MALFORMED);
}

static void a_used_up_header_before_the_inner_packet(void **state)
{
    send(0, IN "60000000 0038 2b 40" PE DT46 "04 02 04 00 00 00 0000" DT46 INNER4);
    assert_delivered4();
#define LEFT "60000000 0038 2b 40" PE DT46 "04 02 04 01 00 00 0000" DT46 INNER4
    send(0, IN LEFT);
    assert_error("0400 0000002b", LEFT, LOSS_MALFORMED);
}

static void node_then_service_in_one_container(void **state)
{
    send(0, IN "60000000 0020 04 40" PE "fcbbbb00 0001 d001 0000 0000 0000 0000" INNER4); /* longest match: one SID */
    assert_delivered4();
    send(0, IN "60000000 0020 04 40" PE "fcbbbb00 0001 d004 0000 0000 0000 0000" INNER4); /* two: shift, then End.DT4 */
    assert_delivered4();
}

static void encrypted_packets_without_a_key(void **state)
{
    send(0, IN "60000000 0010 32 40" PE DT46 "00000001 00000001 0011223344556677");
    assert_lost(LOSS_NO_KEY);
}

static void frames_for_others_are_no_loss(void **state)
{
    uint64_t before = forward_counts(router).ignored;
    struct loss_record r;
    send(0, "020000000077 020000000909 86dd 60000000 0000 3b 40" PE SECOND);
    assert_null(testing_net_any(net, 0));
    assert_int_equal(loss_read(forward_loss(router), &r, 1), 0);
    assert_int_equal(forward_counts(router).ignored, before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(end_takes_the_next_segment),
        cmocka_unit_test(end_of_a_reduced_header_counts_from_one_more),
        cmocka_unit_test(psp_takes_the_header_off),
        cmocka_unit_test(psp_keeps_what_has_segments_left),
        cmocka_unit_test(usd_sends_the_inner_packet_on),
        cmocka_unit_test(usd_with_a_used_up_header),
        cmocka_unit_test(pings_of_a_sid_are_for_us),
        cmocka_unit_test(what_no_sid_serves_is_answered),
        cmocka_unit_test(segments_left_beyond_the_list),
        cmocka_unit_test(hop_limit_at_its_end),
        cmocka_unit_test(broken_headers_are_dropped),
        cmocka_unit_test(end_x_leaves_by_its_link),
        cmocka_unit_test(transit_looks_at_the_address_only),
        cmocka_unit_test(padding_of_short_frames_is_cut_off),
        cmocka_unit_test(nowhere_to_go),
        cmocka_unit_test(too_big_for_the_next_link),
        cmocka_unit_test(options_that_insist_are_answered),
        cmocka_unit_test(our_own_sids_in_a_circle_end),
        cmocka_unit_test(un_moves_the_argument_up),
        cmocka_unit_test(un_without_argument_goes_on_with_the_header),
        cmocka_unit_test(ua_moves_and_leaves_by_its_link),
        cmocka_unit_test(csid_hop_limit_at_its_end),
        cmocka_unit_test(tables_deliver_their_family),
        cmocka_unit_test(and_no_other),
        cmocka_unit_test(a_used_up_header_before_the_inner_packet),
        cmocka_unit_test(node_then_service_in_one_container),
        cmocka_unit_test(encrypted_packets_without_a_key),
        cmocka_unit_test(frames_for_others_are_no_loss),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
