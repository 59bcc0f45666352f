/* Totals of losses are exact whatever happens to the records; records come out in order, and what was overwritten is known. */
#include "base/rng.h"
#include "base/test.h"
#include "telemetry/loss.h"

#include <stdlib.h>
#include <string.h>

static struct loss_record record_of(uint64_t i)
{
    return (struct loss_record){.at_ns = (int64_t)i,
        .flow = i,
        .packets = rng_below(1, i, 4),
        .cells = rng_below(2, i, 9),
        .reason = (uint8_t)(1 + rng_below(3, i, LOSS_REASONS - 1))};
}

static void totals_are_exact_and_overruns_known(void **state)
{
    struct loss_log *log = calloc(1, sizeof *log);
    static struct loss_record got[LOSS_RING];
    uint64_t packets[LOSS_REASONS] = {0}, cells[LOSS_REASONS] = {0}, read = 0, next = 0;
    for (uint64_t i = 0; i < 20 * LOSS_RING; i++) {
        struct loss_record r = record_of(i);
        loss_record(log, &r);
        packets[r.reason] += r.packets;
        cells[r.reason] += r.cells;
        if (rng_below(4, i, 6000)) /* read in bursts, sometimes too late */
            continue;
        unsigned n = loss_read(log, got, 1 + rng_below(5, i, LOSS_RING));
        for (unsigned k = 0; k < n; k++) {
            assert_true(got[k].flow >= next); /* in order, each at most once */
            next = got[k].flow + 1;
            struct loss_record want = record_of(got[k].flow);
            assert_int_equal(got[k].packets, want.packets);
            assert_int_equal(got[k].reason, want.reason);
        }
        read += n;
    }
    assert_memory_equal(log->packets, packets, sizeof packets);
    assert_memory_equal(log->cells, cells, sizeof cells);
    assert_true(log->overrun > 0);
    while ((next = loss_read(log, got, 100)) > 0)
        read += next;
    assert_int_equal(read + log->overrun, log->written);
    free(log);
}

static void every_reason_has_a_name_of_its_own(void **state)
{
    for (unsigned i = 0; i < LOSS_REASONS; i++) {
        assert_non_null(loss_reason_name(i));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(loss_reason_name(i), loss_reason_name(k));
    }
    assert_string_equal(loss_reason_name(LOSS_REASONS), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_exact_and_overruns_known),
        cmocka_unit_test(every_reason_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
