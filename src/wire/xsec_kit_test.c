/* xSEC's blobs: what is written is read again, at every size; what is cut, longer or of impossible numbers is refused. */
#include "wire/xsec_kit.h"

#include "base/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct xsec_certificate certificate(unsigned vpns, const char *name)
{
    struct xsec_certificate c = {.serial = 0x0102030405060708,
        .pe = {{0xfd, [15] = 9}},
        .not_before = 1800000000,
        .not_after = -1,
        .n_vpns = (uint8_t)vpns};
    memset(c.key, 7, 32);
    memset(c.signature, 9, 64);
    strcpy(c.name, name);
    for (unsigned i = 0; i < vpns; i++)
        c.vpn[i][7] = (uint8_t)(i + 1);
    return c;
}

#define LONGEST_NAME "a23456789-123456789.123456789_1"

static void test_certificates_of_every_size(void **state)
{
    (void)state;
    for (unsigned vpns = 0; vpns <= XSEC_VPNS_MOST; vpns++) {
        struct xsec_certificate c = certificate(vpns, vpns % 2 ? "p" : LONGEST_NAME), again;
        uint8_t bytes[XSEC_CERTIFICATE_MOST + 1] = {0};
        size_t len = xsec_certificate_encode(&c, bytes);
        assert_in_range(len, XSEC_CERTIFICATE_LEAST, XSEC_CERTIFICATE_MOST);
        assert_int_equal(xsec_certificate_decode(&again, bytes, len), 0);
        assert_memory_equal(&again, &c, sizeof c);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(xsec_certificate_decode(&again, bytes, cut), -EPROTO);
        assert_int_equal(xsec_certificate_decode(&again, bytes, len + 1), -EPROTO);
    }
}

static void test_numbers_that_are_too_high(void **state)
{
    (void)state;
    struct xsec_certificate c = certificate(0, "pe1"), again;
    uint8_t bytes[XSEC_CERTIFICATE_MOST], list[XSEC_REVOCATIONS_MOST + 8] = "XSR1";
    size_t len = xsec_certificate_encode(&c, bytes);
    bytes[76] = XSEC_NAME; /* of the name */
    assert_int_equal(xsec_certificate_decode(&again, bytes, len), -EPROTO);
    xsec_certificate_encode(&c, bytes);
    bytes[80] = XSEC_VPNS_MOST + 1;
    assert_int_equal(xsec_certificate_decode(&again, bytes, len), -EPROTO);
    struct xsec_revocations r;
    list[21] = XSEC_REVOKED_MOST + 1;
    assert_int_equal(xsec_revocations_decode(&r, list, sizeof list), -EPROTO);
}

static void test_names_that_a_terminal_would_obey(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a b", "\x1b[2J", "-x", ".hidden", "pe1\n", "é", "a/b"};
    struct xsec_certificate c, again;
    uint8_t bytes[XSEC_CERTIFICATE_MOST];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(xsec_name_good(bad[i]));
        c = certificate(1, bad[i]);
        assert_int_equal(xsec_certificate_decode(&again, bytes, xsec_certificate_encode(&c, bytes)), -EPROTO);
    }
    c = certificate(1, "pe1");
    size_t len = xsec_certificate_encode(&c, bytes);
    bytes[78] = 0; /* a NUL inside */
    assert_int_equal(xsec_certificate_decode(&again, bytes, len), -EPROTO);
}

static void test_the_longest_beacon_fits_an_attribute(void **state)
{
    (void)state;
    struct xsec_beacon b = {.certificate = certificate(XSEC_VPNS_MOST, LONGEST_NAME), .generation = 5, .suites = 2},
                       again;
    struct xsec_revocations r = {.number = 3, .n = XSEC_REVOKED_MOST}, list_again;
    uint8_t list[XSEC_REVOCATIONS_MOST], bytes[XSEC_BEACON_MOST + 1] = {0};
    for (unsigned i = 0; i < r.n; i++)
        r.serial[i] = 10 + i;
    struct xsec_carried carried = {list, (uint16_t)xsec_revocations_encode(&r, list)}, got;
    assert_int_equal(carried.len, XSEC_REVOCATIONS_MOST);
    size_t len = xsec_beacon_encode(&b, &carried, bytes);
    assert_int_equal(len, XSEC_BEACON_MOST);
    assert_int_equal(xsec_beacon_decode(&again, &got, bytes, len), 0);
    assert_memory_equal(&again, &b, sizeof b);
    assert_int_equal(got.len, carried.len);
    assert_int_equal(xsec_revocations_decode(&list_again, got.list, got.len), 0);
    assert_memory_equal(&list_again, &r, sizeof r);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(xsec_beacon_decode(&again, &got, bytes, cut), -EPROTO);
    assert_int_equal(xsec_beacon_decode(&again, &got, bytes, len + 1), -EPROTO);
    assert_int_equal(xsec_beacon_encode(&b, NULL, bytes), len - carried.len);
}

static void test_lists_rise(void **state)
{
    (void)state;
    struct xsec_revocations r = {.number = 1, .n = 2, .serial = {5, 5}}, again;
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    assert_int_equal(xsec_revocations_decode(&again, bytes, xsec_revocations_encode(&r, bytes)), -EPROTO);
    r.serial[1] = 6;
    size_t len = xsec_revocations_encode(&r, bytes);
    assert_int_equal(xsec_revocations_decode(&again, bytes, len), 0);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(xsec_revocations_decode(&again, bytes, cut), -EPROTO);
}

static void test_kit_and_request_as_text(void **state)
{
    (void)state;
    struct xsec_kit k = {.ca = {1, 2}, .certificate = certificate(2, "pe1"), .list_len = 3, .list = {1, 2, 3}}, kit;
    struct xsec_request q = {.pe = {{0xfd}}, .made = 77, .name = "pe2"}, request;
    uint8_t bytes[XSEC_KIT_MOST], back[XSEC_FILE_MOST];
    struct buf text = {0};
    enum xsec_file kind;
    size_t len = xsec_kit_encode(&k, bytes), n;
    assert_int_equal(xsec_text_encode(&text, XSEC_FILE_KIT, bytes, len), 0);
    assert_memory_equal(buf_str(&text), "meridian xsec kit\n58534b31", 26);
    assert_int_equal(xsec_text_decode(&kind, back, &n, buf_str(&text), text.len), 0);
    assert_int_equal(kind, XSEC_FILE_KIT);
    assert_int_equal(n, len);
    assert_int_equal(xsec_kit_decode(&kit, back, n), 0);
    assert_memory_equal(&kit, &k, sizeof k);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(xsec_kit_decode(&kit, back, cut), -EPROTO);
    text.len = 0;
    len = xsec_request_encode(&q, bytes);
    assert_int_equal(xsec_text_encode(&text, XSEC_FILE_REQUEST, bytes, len), 0);
    assert_int_equal(xsec_text_decode(&kind, back, &n, buf_str(&text), text.len), 0);
    assert_int_equal(kind, XSEC_FILE_REQUEST);
    assert_int_equal(xsec_request_decode(&request, back, n), 0);
    assert_memory_equal(&request, &q, sizeof q);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(xsec_request_decode(&request, back, cut), -EPROTO);
    buf_done(&text);
}

static void test_text_that_is_none_of_ours(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "meridian xsec kit", "meridian xsec kit\n", "meridian xsec kit 00",
        "meridian xsec kit\n0", "meridian xsec kit\n0g", "meridian xsec kitten\n00", "name: pe1\nid: 1\n",
        "meridian xsec KIT\n00", "meridian xsec"};
    uint8_t back[XSEC_FILE_MOST];
    enum xsec_file kind;
    size_t n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(xsec_text_decode(&kind, back, &n, bad[i], strlen(bad[i])), -EPROTO);
    assert_int_equal(xsec_text_decode(&kind, back, &n, "meridian xsec kit\r\n 0 0\r\n", 25), 0);
    assert_int_equal(n, 1);
    struct buf text = {0};
    uint8_t *many = calloc(1, XSEC_FILE_MOST + 1);
    xsec_text_encode(&text, XSEC_FILE_LIST, many, XSEC_FILE_MOST);
    assert_int_equal(xsec_text_decode(&kind, back, &n, buf_str(&text), text.len), 0);
    text.len = 0;
    xsec_text_encode(&text, XSEC_FILE_LIST, many, XSEC_FILE_MOST + 1);
    assert_int_equal(xsec_text_decode(&kind, back, &n, buf_str(&text), text.len), -EPROTO);
    buf_done(&text);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_of_every_size),
        cmocka_unit_test(test_numbers_that_are_too_high),
        cmocka_unit_test(test_names_that_a_terminal_would_obey),
        cmocka_unit_test(test_the_longest_beacon_fits_an_attribute),
        cmocka_unit_test(test_lists_rise),
        cmocka_unit_test(test_kit_and_request_as_text),
        cmocka_unit_test(test_text_that_is_none_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
