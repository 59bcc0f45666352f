/* The hash table and the heap of deadlines against naive arrays. */
#include "base/test.h"
#include "forward/deadlines.h"
#include "forward/table.h"

#include <errno.h>

#define KEYS 200u

static void key_of(uint64_t key[2], unsigned i)
{
    key[0] = i % 7;
    key[1] = i;
}

static void against_an_array(unsigned keys, unsigned most)
{
    struct table t;
    uint32_t naive[KEYS];
    uint64_t key[2];
    unsigned n = 0;
    memset(naive, 0xff, sizeof(naive));
    assert_int_equal(table_init(&t, 16, most, 42), 0);
    for (unsigned step = 0; step < 50000; step++) {
        unsigned i = rng_below(1, 2 * step, keys);
        key_of(key, i);
        if (rng_u64(1, 2 * step + 1) % 2) {
            int rc = table_set(&t, key, step);
            assert_int_equal(rc, naive[i] == TABLE_NONE && n == most ? -ENOSPC : 0);
            n += rc == 0 && naive[i] == TABLE_NONE;
            if (rc == 0)
                naive[i] = step;
        } else {
            assert_int_equal(table_del(&t, key), naive[i]);
            n -= naive[i] != TABLE_NONE;
            naive[i] = TABLE_NONE;
        }
        assert_int_equal(t.n, n);
        for (unsigned k = 0; k < keys && (keys < 20 || step % 100 == 0); k++) {
            key_of(key, k);
            assert_int_equal(table_find(&t, key), naive[k]);
        }
    }
    table_done(&t);
}

static void test_table(void **state)
{
    against_an_array(12, 4); /* eight places: runs go round the end all the time */
    against_an_array(KEYS, 100);
}

static void test_deadlines(void **state)
{
    struct deadlines d;
    int64_t naive[50];
    assert_int_equal(deadlines_init(&d, 50), 0);
    assert_int_equal(deadlines_next(&d), DEADLINE_NEVER);
    assert_int_equal(deadlines_take(&d, DEADLINE_NEVER), UINT32_MAX);
    for (unsigned i = 0; i < 50; i++)
        naive[i] = DEADLINE_NEVER;
    int64_t now = 0;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = rng_below(2, 3 * step, 50);
        naive[i] = rng_below(2, 3 * step + 1, 8) ? now + rng_below(2, 3 * step + 2, 40) : DEADLINE_NEVER;
        deadlines_set(&d, i, naive[i]);
        now += rng_below(3, step, 3);
        for (uint32_t got; (got = deadlines_take(&d, now)) != UINT32_MAX;) {
            unsigned first = 0;
            for (unsigned k = 1; k < 50; k++)
                if (naive[k] < naive[first])
                    first = k;
            assert_int_equal(got, first);
            assert_true(naive[first] <= now);
            naive[first] = DEADLINE_NEVER;
        }
        int64_t next = DEADLINE_NEVER;
        for (unsigned k = 0; k < 50; k++)
            next = naive[k] < next ? naive[k] : next;
        assert_int_equal(deadlines_next(&d), next);
        assert_true(next > now);
    }
    deadlines_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_deadlines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
