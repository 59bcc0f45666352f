/* RFC 6793: paths of speakers with two-octet numbers become what they would have been, and the other way. */
#include "bgp/as4.h"

#include "base/bytes.h"
#include "base/test.h"

#include <string.h>

static struct bgp_update update(uint8_t *space, size_t cap, size_t *at)
{
    (void)space, (void)cap;
    *at = 0;
    return (struct bgp_update){0};
}

static void add(
    struct bgp_update *u, uint8_t *space, size_t *at, uint8_t flags, uint8_t type, const void *value, size_t len)
{
    struct bgp_attribute *a = &u->attributes[u->n_attributes++];
    int end = bgp_attribute_put(space, *at, 8192, flags, type, value, len);
    assert_true(end > 0);
    size_t head = len > 255 ? 4 : 3;
    *a = (struct bgp_attribute){.flags = space[*at],
        .type = type,
        .value = space + *at + head,
        .len = (uint16_t)len,
        .raw = space + *at,
        .raw_len = (uint32_t)(head + len)};
    *at = (size_t)end;
}

struct row {
    const char *what, *path2, *path4, *expected;
    uint8_t path2_len, path4_len, expected_len;
};

#define ROW(what, path2, path4, expected)                                                                              \
    {what, path2, path4, expected, sizeof(path2) - 1, sizeof(path4) - 1, sizeof(expected) - 1}

static void test_paths_are_merged(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("empty", "", "", ""),
        ROW("no AS4_PATH", "\2\2\0\1\0\2", "", "\2\2\0\0\0\1\0\0\0\2"),
        ROW("the whole path known", "\2\2\x5b\xa0\x5b\xa0", "\2\2\0\1\0\1\0\2\0\2", "\2\2\0\1\0\1\0\2\0\2"),
        ROW("its end known", "\2\3\0\7\x5b\xa0\x5b\xa0", "\2\2\0\1\0\1\0\2\0\2", "\2\1\0\0\0\7\2\2\0\1\0\1\0\2\0\2"),
        ROW("AS4_PATH longer than the path", "\2\1\0\7", "\2\2\0\1\0\1\0\2\0\2", "\2\1\0\0\0\7"),
        ROW("a set counts one", "\2\1\0\7\1\2\0\1\0\2", "\1\2\0\1\0\1\0\2\0\2", "\2\1\0\0\0\7\1\2\0\1\0\1\0\2\0\2"),
        ROW("a confederation's segments count nothing", "\3\1\0\11\2\2\0\7\x5b\xa0", "\2\1\0\1\0\1",
            "\3\1\0\0\0\11\2\1\0\0\0\7\2\1\0\1\0\1"),
        ROW("and are not taken from AS4_PATH", "\2\1\x5b\xa0", "\3\1\0\0\0\11\2\1\0\1\0\1", "\2\1\0\1\0\1"),
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        uint8_t bytes[8192];
        struct bgp_as4_space space;
        struct bgp_update u, wide;
        size_t at;
        u = update(bytes, sizeof bytes, &at);
        add(&u, bytes, &at, 0x40, BGP_ORIGIN, "\0", 1);
        add(&u, bytes, &at, 0x40, BGP_AS_PATH, r->path2, r->path2_len);
        if (r->path4_len)
            add(&u, bytes, &at, 0xc0, BGP_AS4_PATH, r->path4, r->path4_len);
        assert_true(bgp_as4_widen(&wide, &u, &space));
        assert_int_equal(wide.n_attributes, 2);
        const struct bgp_attribute *a = bgp_attribute_find(&wide, BGP_AS_PATH);
        if (a->len != r->expected_len || memcmp(a->value, r->expected, a->len) != 0)
            fail_msg("%s: %u bytes", r->what, a->len);
        assert_int_equal(a->raw[1], BGP_AS_PATH);
        assert_int_equal(a->raw_len, a->len + (a->value - a->raw));
    }
}

static void test_long_paths(void **state)
{
    (void)state;
    static uint8_t path[4000], bytes[8192];
    for (size_t n = 100; n <= 2000; n += 100) { /* hops: segments of 100 */
        struct bgp_as4_space space;
        struct bgp_update u, wide;
        size_t at, len = 0;
        u = update(bytes, sizeof bytes, &at);
        for (size_t i = 0; i < n / 100; i++) {
            path[len] = 2;
            path[len + 1] = 100;
            memset(path + len + 2, (int)i + 1, 200);
            len += 202;
            if (len + 202 > sizeof path)
                break;
        }
        add(&u, bytes, &at, 0x40, BGP_AS_PATH, path, len);
        bool fits = len / 202 * 402 <= BGP_AS4_PATH_MOST;
        assert_int_equal(bgp_as4_widen(&wide, &u, &space), fits);
        if (fits)
            assert_int_equal(wide.attributes[0].len, len / 202 * 402);
    }
}

static void test_aggregators(void **state)
{
    (void)state;
    static const struct {
        const char *old, *four, *expected;
        bool path_kept; /* of AS4_PATH */
    } rows[] = {
        {"\0\7\1\2\3\4", NULL, "\0\0\0\7\1\2\3\4", true},
        {"\x5b\xa0\1\2\3\4", "\0\1\0\1\5\6\7\10", "\0\1\0\1\1\2\3\4", true},
        {"\0\7\1\2\3\4", "\0\1\0\1\5\6\7\10", "\0\0\0\7\1\2\3\4", false}, /* RFC 6793 4.2.3 */
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t bytes[8192];
        struct bgp_as4_space space;
        struct bgp_update u, wide;
        size_t at;
        u = update(bytes, sizeof bytes, &at);
        add(&u, bytes, &at, 0x40, BGP_AS_PATH, "\2\1\x5b\xa0", 4);
        add(&u, bytes, &at, 0xc0, BGP_AS4_PATH, "\2\1\0\1\0\1", 6);
        add(&u, bytes, &at, 0xc0, BGP_AGGREGATOR, rows[i].old, 6);
        if (rows[i].four)
            add(&u, bytes, &at, 0xc0, BGP_AS4_AGGREGATOR, rows[i].four, 8);
        assert_true(bgp_as4_widen(&wide, &u, &space));
        const struct bgp_attribute *a = bgp_attribute_find(&wide, BGP_AGGREGATOR);
        assert_int_equal(a->len, 8);
        assert_memory_equal(a->value, rows[i].expected, 8);
        assert_int_equal(a->raw_len, 11);
        a = bgp_attribute_find(&wide, BGP_AS_PATH);
        assert_int_equal(bytes_get_be32(a->value + 2), rows[i].path_kept ? 0x10001 : BGP_AS_TRANS);
        assert_null(bgp_attribute_find(&wide, BGP_AS4_PATH));
        assert_null(bgp_attribute_find(&wide, BGP_AS4_AGGREGATOR));
    }
}

static void test_narrow_and_back(void **state)
{
    (void)state;
    static const uint8_t path[] = {3, 1, 0, 0, 0, 9, 2, 2, 0, 1, 0, 1, 0, 0, 0, 7};
    uint8_t two[64], four[64];
    bool lossy;
    size_t n = bgp_as4_narrow(two, path, sizeof path, &lossy);
    assert_true(lossy);
    assert_int_equal(n, 10);
    assert_memory_equal(two, "\3\1\0\11\2\2\x5b\xa0\0\7", 10);
    assert_int_equal(bgp_as4_path(four, path, sizeof path), 10);
    assert_memory_equal(four, path + 6, 10);
    bgp_as4_narrow(two, path + 12, 0, &lossy);
    assert_false(lossy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_are_merged),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_aggregators),
        cmocka_unit_test(test_narrow_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
