/* Plans made before packets flow: classes by DSCP and MTUs of encapsulations. */
#include "base/test.h"
#include "forward/classes.h"
#include "forward/mtu.h"
#include "wire/hbh.h"

#include <errno.h>
#include <string.h>

static void test_default_classes(void **state)
{
    const uint8_t nothing[DSCP_COUNT] = {0};
    uint8_t map[DSCP_COUNT];
    assert_int_equal(classes_plan(map, nothing, NULL), 0);
    static const uint8_t inference[] = {46, 40, 44}, parameter[] = {26, 28, 30, 34, 36, 38, 24, 32};
    unsigned counts[LANE_CLASSES] = {0};
    for (unsigned d = 0; d < DSCP_COUNT; d++)
        counts[map[d]]++;
    for (unsigned i = 0; i < sizeof(inference); i++)
        assert_int_equal(map[inference[i]], LANE_INFERENCE);
    for (unsigned i = 0; i < sizeof(parameter); i++)
        assert_int_equal(map[parameter[i]], LANE_PARAMETER);
    assert_int_equal(counts[LANE_CONTROL], 0);
    assert_int_equal(counts[LANE_INFERENCE], sizeof(inference));
    assert_int_equal(counts[LANE_PARAMETER], sizeof(parameter));
    assert_int_equal(map[48], LANE_BULK); /* CS6 of a tenant */
    assert_int_equal(map[0], LANE_BULK);
}

static void test_configured_classes(void **state)
{
    uint8_t map[DSCP_COUNT], own[DSCP_COUNT];
    struct error err;
    memset(own, LANE_BULK, sizeof(own));
    own[48] = LANE_INFERENCE;
    assert_int_equal(classes_plan(map, own, &err), 0);
    assert_int_equal(map[48], LANE_INFERENCE);
    assert_int_equal(map[46], LANE_BULK);
    own[3] = LANE_CONTROL;
    assert_int_equal(classes_plan(map, own, &err), -EINVAL);
    assert_string_equal(err.text, "DSCP 3: a host's packets may be inference, parameter or bulk");
    own[3] = LANE_CLASSES;
    assert_int_equal(classes_plan(map, own, &err), -EINVAL);
}

static void test_class_names(void **state)
{
    for (unsigned c = 0; c < LANE_CLASSES; c++) {
        enum lane_class got;
        assert_int_equal(class_parse(&got, class_name((enum lane_class)c), NULL), 0);
        assert_int_equal(got, c);
    }
    enum lane_class got = LANE_BULK;
    assert_int_equal(class_parse(&got, "gold", NULL), -EINVAL);
    assert_int_equal(got, LANE_BULK);
    assert_string_equal(class_name(LANE_CLASSES), "unknown");
}

static void test_overheads(void **state)
{
    const struct mtu_encap plain = {.addresses = 1}, lane = {.options = HBH_HAS_ALL, .addresses = 1};
    const struct mtu_encap long_path = {.options = HBH_HAS_ALL, .addresses = 3};
    const struct mtu_encap secret = {.options = HBH_HAS_ALL, .addresses = 2, .esp = true};
    assert_int_equal(mtu_overhead(&plain), 40);
    assert_int_equal(mtu_overhead(&lane), 72);
    assert_int_equal(mtu_overhead(&long_path), 72 + 8 + 32);
    assert_int_equal(mtu_overhead(&secret), 72 + 24 + 16);
    assert_int_equal(mtu_inner(&lane, 1500), 1428);
    assert_int_equal(mtu_outer(&lane, 1500), 1572);
    assert_int_equal(mtu_outer(&secret, 1500), 112 + 1504 + 16); /* 1500 + 2 is padded to 1504 */
    assert_int_equal(mtu_outer(&secret, 1502), 112 + 1504 + 16);
    assert_int_equal(mtu_outer(&secret, 1503), 112 + 1508 + 16);
    assert_int_equal(mtu_inner(&secret, 100), 0);
    assert_int_equal(mtu_inner(&plain, 40), 0);
    assert_true(mtu_usable(mtu_inner(&lane, 1500)));
    assert_false(mtu_usable(mtu_inner(&lane, 1300)));
}

static void test_largest_inner_is_largest(void **state)
{
    for (unsigned k = 0; k < 64; k++) {
        const struct mtu_encap e = {(uint8_t)(k & 7), (uint8_t)(1 + (k >> 3 & 3)), k >> 5 & 1};
        for (uint32_t link = 1280; link < 1400; link++) {
            uint32_t inner = mtu_inner(&e, link);
            assert_true(inner > 0 && mtu_outer(&e, inner) <= link);
            assert_true(mtu_outer(&e, inner + 1) > link);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_classes),
        cmocka_unit_test(test_configured_classes),
        cmocka_unit_test(test_class_names),
        cmocka_unit_test(test_overheads),
        cmocka_unit_test(test_largest_inner_is_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
