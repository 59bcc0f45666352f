#include "wire/bgp_message.h"

#include "base/bytes.h"
#include "base/test.h"

#include <errno.h>
#include <string.h>

static struct bgp_open our_open(void)
{
    return (struct bgp_open){
        .as = 4200000001u,
        .hold_time_s = 90,
        .identifier = {10, 0, 0, 1},
        .families = {BGP_EVPN, BGP_IPV6_UNICAST, BGP_SR_POLICY_V6},
        .n_families = 3,
        .refresh = true,
        .enhanced_refresh = true,
        .extended_message = true,
        .as4 = true,
        .graceful = true,
        .graceful_notification = true,
        .restart_time_s = 120,
        .graceful_families = {{BGP_EVPN, true, 3600}, {BGP_IPV6_UNICAST, false, 0}},
        .n_graceful = 2,
        .add_path = {{BGP_EVPN, 1}},
        .n_add_path = 1,
        .six_hops = {BGP_VPNV4, BGP_IPV4_UNICAST},
        .n_six_hops = 2,
        .hostname = "pe1.hospital",
    };
}

static void test_open_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    struct bgp_open o = our_open(), got;
    struct bgp_notification error;
    uint8_t bytes[512], type;
    uint32_t len;
    int n = bgp_open_encode(&o, bytes, sizeof bytes);
    assert_true(n > 0);
    assert_int_equal(bgp_header_decode(bytes, (size_t)n, BGP_MESSAGE_MOST, &type, &len, &error), 0);
    assert_int_equal(type, BGP_OPEN);
    assert_int_equal(len, n);
    assert_int_equal(bgp_open_decode(&got, bytes + BGP_HEADER, len - BGP_HEADER, &error), 0);
    assert_memory_equal(&got, &o, sizeof o);
    assert_int_equal(bytes_get_be16(bytes + 20), BGP_AS_TRANS);
}

static void test_every_shorter_buffer_is_refused(void **state)
{
    (void)state;
    struct bgp_open o = our_open();
    uint8_t bytes[512];
    int n = bgp_open_encode(&o, bytes, sizeof bytes);
    for (int cap = 0; cap < n; cap++)
        assert_int_equal(bgp_open_encode(&o, bytes, (size_t)cap), -ENOBUFS);
}

static void test_every_truncated_open_is_refused(void **state)
{
    (void)state;
    struct bgp_open o = our_open(), got;
    struct bgp_notification error;
    uint8_t bytes[512];
    int n = bgp_open_encode(&o, bytes, sizeof bytes);
    for (int len = 0; len < n - (int)BGP_HEADER; len++)
        assert_int_equal(bgp_open_decode(&got, bytes + BGP_HEADER, (size_t)len, &error), -EPROTO);
}

/* version, AS, hold time, identifier, no parameters */
static int open_of(uint8_t version, uint16_t as, uint16_t hold, uint32_t id, struct bgp_notification *error)
{
    uint8_t body[10] = {version};
    struct bgp_open got;
    bytes_put_be16(body + 1, as);
    bytes_put_be16(body + 3, hold);
    bytes_put_be32(body + 5, id);
    return bgp_open_decode(&got, body, sizeof body, error);
}

static void test_what_rfc_4271_refuses_in_an_open(void **state)
{
    (void)state;
    static const struct {
        uint8_t version;
        uint16_t as, hold;
        uint32_t id;
        uint8_t subcode;
    } rows[] = {
        {3, 65000, 90, 1, BGP_OPEN_VERSION},
        {4, 0, 90, 1, BGP_OPEN_PEER_AS},
        {4, 65000, 1, 1, BGP_OPEN_HOLD_TIME},
        {4, 65000, 2, 1, BGP_OPEN_HOLD_TIME},
        {4, 65000, 90, 0, BGP_OPEN_IDENTIFIER},
    };
    struct bgp_notification error;
    assert_int_equal(open_of(4, 65000, 0, 1, &error), 0);
    assert_int_equal(open_of(4, 65000, 3, 1, &error), 0);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(open_of(rows[i].version, rows[i].as, rows[i].hold, rows[i].id, &error), -EPROTO);
        assert_int_equal(error.code, BGP_ERROR_OPEN);
        assert_int_equal(error.subcode, rows[i].subcode);
    }
}

static void test_unknown_capabilities_are_skipped_and_no_family_means_ipv4(void **state)
{
    (void)state;
    static const uint8_t body[] = {
        4, 0xfd, 0xe8, 0, 90, 1, 1, 1, 1, 7, 2, 5, 199, 3, 1, 2, 3}; /* one parameter: capability 199 */
    struct bgp_open got;
    struct bgp_notification error;
    assert_int_equal(bgp_open_decode(&got, body, sizeof body, &error), 0);
    assert_int_equal(got.n_families, 1);
    assert_int_equal(got.families[0], BGP_IPV4_UNICAST);
    assert_false(got.as4);
    assert_int_equal(got.as, 65000);
}

static void test_extended_parameters_of_rfc_9072(void **state)
{
    (void)state;
    static const uint8_t body[] = {4, 0xfd, 0xe8, 0, 90, 1, 1, 1, 1, 255, 255, 0, 9, 2, 0, 6, 1, 4, 0, 25, 0, 70};
    struct bgp_open got;
    struct bgp_notification error;
    assert_int_equal(bgp_open_decode(&got, body, sizeof body, &error), 0);
    assert_int_equal(got.families[0], BGP_EVPN);
    uint8_t other[sizeof body];
    memcpy(other, body, sizeof body);
    other[9] = 1; /* the old length field may say anything but 0 */
    assert_int_equal(bgp_open_decode(&got, other, sizeof other, &error), 0);
    assert_int_equal(got.families[0], BGP_EVPN);
}

static void test_headers(void **state)
{
    (void)state;
    uint8_t h[64], type;
    uint32_t len;
    struct bgp_notification error;
    static const struct {
        uint16_t len;
        uint8_t type;
        int rc;
        uint8_t subcode;
    } rows[] = {
        {19, BGP_KEEPALIVE, 0, 0},
        {20, BGP_KEEPALIVE, -EPROTO, BGP_HEADER_LENGTH},
        {18, BGP_KEEPALIVE, -EPROTO, BGP_HEADER_LENGTH},
        {28, BGP_OPEN, -EPROTO, BGP_HEADER_LENGTH},
        {22, BGP_UPDATE, -EPROTO, BGP_HEADER_LENGTH},
        {4097, BGP_UPDATE, -EPROTO, BGP_HEADER_LENGTH},
        {4096, BGP_UPDATE, -EAGAIN, 0},
        {23, BGP_UPDATE, 0, 0},
        {23, 6, -EPROTO, BGP_HEADER_TYPE},
        {23, 0, -EPROTO, BGP_HEADER_TYPE},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        bgp_header_encode(h, rows[i].len, (enum bgp_type)rows[i].type);
        assert_int_equal(bgp_header_decode(h, sizeof h, BGP_MESSAGE_MOST, &type, &len, &error), rows[i].rc);
        if (rows[i].rc == -EPROTO)
            assert_int_equal(error.subcode, rows[i].subcode);
    }
    bgp_header_encode(h, 4097, BGP_UPDATE);
    assert_int_equal(bgp_header_decode(h, sizeof h, BGP_EXTENDED_MOST, &type, &len, &error), -EAGAIN);
    h[3] = 0xfe;
    assert_int_equal(bgp_header_decode(h, sizeof h, BGP_EXTENDED_MOST, &type, &len, &error), -EPROTO);
    assert_int_equal(error.subcode, BGP_HEADER_MARKER);
    assert_int_equal(bgp_header_decode(h, 18, BGP_MESSAGE_MOST, &type, &len, &error), -EAGAIN);
}

static void test_notifications_are_told_in_words(void **state)
{
    (void)state;
    struct bgp_notification n = {.code = BGP_ERROR_CEASE,
                                .subcode = BGP_CEASE_SHUTDOWN,
                                .len = 7,
                                .data = "\6down\x1b!"},
                            got;
    uint8_t bytes[256];
    char text[256];
    int len = bgp_notification_encode(&n, bytes, sizeof bytes);
    assert_int_equal(len, 28);
    assert_int_equal(bgp_notification_decode(&got, bytes + BGP_HEADER, (size_t)len - BGP_HEADER), 0);
    assert_string_equal(bgp_notification_text(&got, text, sizeof text), "cease: administrative shutdown (\"down?!\")");
    got = (struct bgp_notification){.code = BGP_ERROR_UPDATE, .subcode = BGP_UPDATE_OPTIONAL};
    assert_string_equal(bgp_notification_text(&got, text, sizeof text), "UPDATE error: optional attribute");
    got = (struct bgp_notification){.code = 200, .subcode = 200};
    assert_string_equal(bgp_notification_text(&got, text, sizeof text), "unknown error");
    /* A length octet that lies about the text. */
    got = (struct bgp_notification){
        .code = BGP_ERROR_CEASE, .subcode = BGP_CEASE_RESET, .len = 3, .data = {200, 'a', 'b'}};
    assert_string_equal(bgp_notification_text(&got, text, sizeof text), "cease: administrative reset");
}

static void test_hard_resets_carry_what_they_stand_for(void **state)
{
    (void)state;
    struct bgp_notification n = {.code = BGP_ERROR_CEASE, .subcode = BGP_CEASE_SHUTDOWN, .len = 4, .data = "\3bye"},
                            got;
    char text[256];
    assert_false(bgp_notification_hard(&n, &got));
    bgp_notification_harden(&n);
    assert_int_equal(n.subcode, BGP_CEASE_HARD_RESET);
    assert_memory_equal(n.data, "\6\2\3bye", 6);
    assert_true(bgp_notification_hard(&n, &got));
    assert_int_equal(got.subcode, BGP_CEASE_SHUTDOWN);
    assert_string_equal(
        bgp_notification_text(&n, text, sizeof text), "cease: hard reset: cease: administrative shutdown (\"bye\")");
    for (size_t cap = 1; cap < 60; cap++)
        assert_true(strlen(bgp_notification_text(&n, text, cap)) < cap);
    /* Empty ones, and ones that carry themselves. */
    n.len = 1;
    assert_false(bgp_notification_hard(&n, &got));
    n.len = 2;
    bgp_notification_harden(&n);
    assert_false(bgp_notification_hard(&n, &got));
    assert_string_equal(bgp_notification_text(&n, text, sizeof text), "cease: hard reset");
    /* The longest one that fits is cut, not overrun. */
    n = (struct bgp_notification){.code = BGP_ERROR_UPDATE, .subcode = 1, .len = sizeof n.data};
    bgp_notification_harden(&n);
    assert_int_equal(n.len, sizeof n.data);
}

static void test_route_refresh(void **state)
{
    (void)state;
    uint8_t bytes[64];
    uint32_t family;
    enum bgp_refresh_kind kind;
    struct bgp_notification error;
    assert_int_equal(bgp_refresh_encode(BGP_EVPN, BGP_REFRESH_END, bytes, sizeof bytes), 23);
    assert_int_equal(bgp_refresh_decode(&family, &kind, bytes + 19, 4, &error), 0);
    assert_int_equal(family, BGP_EVPN);
    assert_int_equal(kind, BGP_REFRESH_END);
    assert_int_equal(bgp_refresh_decode(&family, &kind, bytes + 19, 5, &error), -EPROTO);
    assert_int_equal(error.code, BGP_ERROR_REFRESH);
    assert_int_equal(error.len, 24); /* the whole message */
    assert_memory_equal(error.data, "\xff\xff", 2);
    assert_int_equal(error.data[17], 24);
    assert_int_equal(bgp_refresh_encode(BGP_EVPN, BGP_REFRESH, bytes, 22), -ENOBUFS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_comes_back_as_it_was_sent),
        cmocka_unit_test(test_every_shorter_buffer_is_refused),
        cmocka_unit_test(test_every_truncated_open_is_refused),
        cmocka_unit_test(test_what_rfc_4271_refuses_in_an_open),
        cmocka_unit_test(test_unknown_capabilities_are_skipped_and_no_family_means_ipv4),
        cmocka_unit_test(test_extended_parameters_of_rfc_9072),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_notifications_are_told_in_words),
        cmocka_unit_test(test_hard_resets_carry_what_they_stand_for),
        cmocka_unit_test(test_route_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
