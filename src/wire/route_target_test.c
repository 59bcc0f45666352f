/* Route targets: every kind goes round, and what is none is named. */
#include "wire/route_target.h"

#include "base/test.h"

#include <string.h>

static void test_every_kind_goes_round(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint8_t bytes[8];
    } cases[] = {
        {"65000:10", {0, 2, 0xfd, 0xe8, 0, 0, 0, 10}},
        {"0:4294967295", {0, 2, 0, 0, 255, 255, 255, 255}},
        {"65536:7", {2, 2, 0, 1, 0, 0, 0, 7}},
        {"4294967295:65535", {2, 2, 255, 255, 255, 255, 255, 255}},
        {"10.0.0.1:10", {1, 2, 10, 0, 0, 1, 0, 10}},
    };
    uint8_t b[8];
    char text[ROUTE_TARGET_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(route_target_parse(b, cases[i].text, NULL), 0);
        assert_memory_equal(b, cases[i].bytes, 8);
        assert_string_equal(route_target_print(text, b), cases[i].text);
    }
    assert_string_equal(route_target_print(text, (uint8_t[8]){0, 3, 1}), "0003010000000000");
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":", "1:", ":1", "a:1", "65536:65536", "4294967296:1", "1:4294967296", "1:-1",
        "1.2.3:4", "1.2.3.4:65536", "fd00::1:2", "1:2:3", "99999999999999999999:1", " 1:2"};
    uint8_t b[8] = {9};
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(route_target_parse(b, bad[i], &err) < 0);
        assert_non_null(strstr(err.text, "65000:10"));
    }
    assert_int_equal(b[0], 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_goes_round),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
