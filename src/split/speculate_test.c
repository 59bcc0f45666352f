#include "split/speculate.h"

#include "base/test.h"

static void depth_follows_distance_and_luck(void **state)
{
    struct speculate_seq lucky, unlucky;
    struct speculate_cost shared = {0};
    speculate_seq_init(&lucky, &shared);
    speculate_seq_init(&unlucky, &shared);
    for (int i = 0; i < 50; i++) {
        speculate_learn(&shared, &lucky, true);
        speculate_learn(&shared, &unlucky, false);
    }
    struct speculate_cost unknown = {0}, here = {.trip_s = 0.03, .rtt_s = 0.0005, .head_s = 0.001, .tail_s = 0.002};
    struct speculate_cost far = {.trip_s = 0.09, .rtt_s = 0.08, .head_s = 0.001, .tail_s = 0.002};
    assert_int_equal(speculate_depth(&unknown, &lucky), 0);
    assert_int_equal(speculate_depth(&here, &lucky), 0); /* work would only be doubled */
    assert_int_equal(speculate_depth(&far, &unlucky), 0);
    assert_int_equal(speculate_depth(&far, &lucky), SPECULATE_MOST);
    for (int i = 0; i < 200; i++)
        speculate_fade(&unlucky);
    assert_int_equal(speculate_depth(&far, &unlucky), 1); /* tried again after a while */
    assert_int_equal(speculate_depth(&here, &unlucky), 0);
    assert_int_equal(speculate_ahead(&far, &unlucky, 1), 0);
    assert_int_equal(speculate_ahead(&far, &lucky, 1), SPECULATE_MOST);
    assert_int_equal(speculate_ahead(&far, &lucky, 9), 0); /* 9 rows of 13 ms fill the 80 */
}

static void drafts_follow_the_text(void **state)
{
    int32_t text[32] = {1, 2, 3, 4, 5, 9, 2, 3}, got[8];
    assert_int_equal(speculate_draft(text, 8, 3, got), 3);
    assert_int_equal(got[0], 4);
    assert_int_equal(got[1], 5);
    assert_int_equal(got[2], 9);
    assert_int_equal(speculate_draft(text, 6, 3, got), 0); /* nothing like it before */
    assert_int_equal(speculate_draft(text, 8, 0, got), 0);
    assert_int_equal(speculate_draft(text, 1, 3, got), 0);

    int32_t loop[32] = {7, 8, 7, 8, 7}; /* in place, and turning on beyond the end */
    assert_int_equal(speculate_draft(loop, 5, 8, loop + 5), 8);
    for (int i = 0; i < 13; i++)
        assert_int_equal(loop[i], i % 2 ? 8 : 7);
}

static void costs_are_smoothed(void **state)
{
    double v = 0;
    speculate_measure(&v, 1);
    assert_true(v == 1);
    speculate_measure(&v, 2);
    assert_true(v > 1 && v < 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_follows_distance_and_luck),
        cmocka_unit_test(drafts_follow_the_text),
        cmocka_unit_test(costs_are_smoothed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
