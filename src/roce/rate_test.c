/* Pacing to the bit, and DCQCN's curve: the cut, the fast way back, and what congestion that goes on does. */
#include "roce/rate.h"

#include "base/clock.h"
#include "base/test.h"

#define LINE 40000000000ull

static void test_pacing_loses_no_bit(void **state)
{
    struct roce_rate r;
    int64_t now = 0;
    roce_rate_init(&r, 7000000001, LINE, 0, 0); /* a rate that divides nothing */
    for (int i = 0; i < 1000000; i++) {
        roce_rate_sent(&r, 1500, now);
        now = r.due_ns;
    }
    assert_in_range(
        now, 1500ull * 8 * 1000000 * 1000000000 / 7000000001 - 1, 1500ull * 8 * 1000000 * 1000000000 / 7000000001);
}

static void test_a_late_caller_catches_up_as_far_as_allowed(void **state)
{
    struct roce_rate r;
    roce_rate_init(&r, 1000000000, LINE, 100000, 0);
    roce_rate_sent(&r, 1250, NS_PER_S); /* 10 us of wire */
    assert_int_equal(r.due_ns, NS_PER_S - 100000 + 10000);
    roce_rate_init(&r, 1000000000, LINE, 0, 0);
    roce_rate_sent(&r, 1250, NS_PER_S);
    assert_int_equal(r.due_ns, NS_PER_S + 10000);
}

static void test_the_first_cnp_halves(void **state)
{
    struct roce_rate r;
    roce_rate_init(&r, 0, LINE, 0, 0);
    assert_int_equal(roce_rate_now(&r), 0);
    roce_rate_cnp(&r, 0);
    assert_int_equal(roce_rate_now(&r), LINE / 2); /* alpha is 1 */
    roce_rate_cnp(&r, 50000);
    assert_in_range(roce_rate_now(&r), LINE / 4 - 1000, LINE / 4 + 1000);
}

static void test_fast_recovery_is_half_way_five_times(void **state)
{
    struct roce_rate r;
    roce_rate_init(&r, 0, LINE, 0, 0);
    roce_rate_cnp(&r, 0);
    uint64_t expected = LINE / 2;
    for (int i = 1; i <= 5; i++) {
        roce_rate_sent(&r, 100, i * 55 * NS_PER_US);
        expected = (expected + LINE) / 2;
        assert_int_equal(roce_rate_now(&r), expected);
    }
}

static void test_a_wish_is_never_exceeded(void **state)
{
    struct roce_rate r;
    roce_rate_init(&r, 1000000000, LINE, 0, 0);
    roce_rate_cnp(&r, 0);
    assert_int_equal(roce_rate_now(&r), 1000000000);
    for (int64_t t = 0; t < NS_PER_S; t += 10 * NS_PER_US) {
        roce_rate_sent(&r, 1000, t);
        assert_in_range(roce_rate_now(&r), 1, 1000000000);
    }
}

static void test_rare_marks_cost_little(void **state)
{
    struct roce_rate r;
    roce_rate_init(&r, 0, LINE, 0, 0);
    roce_rate_cnp(&r, 0);
    roce_rate_sent(&r, 100, NS_PER_S); /* long ago: back, and alpha has decayed */
    assert_int_equal(roce_rate_now(&r), 0);
    roce_rate_cnp(&r, NS_PER_S);
    assert_true(roce_rate_now(&r) > LINE * 99 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pacing_loses_no_bit),
        cmocka_unit_test(test_a_late_caller_catches_up_as_far_as_allowed),
        cmocka_unit_test(test_the_first_cnp_halves),
        cmocka_unit_test(test_fast_recovery_is_half_way_five_times),
        cmocka_unit_test(test_a_wish_is_never_exceeded),
        cmocka_unit_test(test_rare_marks_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
