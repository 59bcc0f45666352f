/* The histogram against sorted values: never below the truth, at most 1/64 above it, over the whole range. */
#include "base/rng.h"
#include "base/test.h"
#include "telemetry/quantile.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Values of every magnitude below 2^bits. */
static int64_t draw(uint64_t key, unsigned i, unsigned bits)
{
    return (int64_t)(rng_u64(key, i) >> (64 - 1 - rng_below(key + 1, i, bits)));
}

static void stays_within_a_sixty_fourth(void **state)
{
    enum { N = 20000 };
    static int64_t v[N];
    static struct quantile q;
    static const uint32_t ppm[] = {
        1, 1000, 10000, 250000, QUANTILE_P50, 900000, QUANTILE_P99, QUANTILE_P999, 999999, 1000000};
    for (uint64_t key = 1; key <= 5; key++) {
        quantile_reset(&q);
        uint64_t sum = 0;
        for (unsigned i = 0; i < N; i++) {
            v[i] = draw(key, i, QUANTILE_TOP_BITS);
            quantile_add(&q, v[i]);
            sum += (uint64_t)v[i];
        }
        qsort(v, N, sizeof v[0], by_value);
        for (unsigned i = 0; i < sizeof ppm / sizeof ppm[0]; i++) {
            uint64_t rank = ((uint64_t)N * ppm[i] + 999999) / 1000000;
            int64_t truth = v[rank ? rank - 1 : 0], said = quantile_at(&q, ppm[i]);
            assert_true(said >= truth);
            assert_true(said - truth <= truth / 64);
        }
        assert_int_equal(q.count, N);
        assert_int_equal(q.sum_ns, sum);
        assert_int_equal(q.least_ns, v[0]);
        assert_int_equal(quantile_at(&q, 1000000), v[N - 1]);
        assert_int_equal(quantile_mean(&q), (int64_t)(sum / N));
        assert_int_equal(quantile_up_to(&q, INT64_MAX), N);
    }
}

static void small_values_are_exact(void **state)
{
    static struct quantile q;
    quantile_reset(&q);
    for (int64_t v = 1; v <= 100; v++)
        quantile_add(&q, v);
    assert_int_equal(quantile_at(&q, QUANTILE_P50), 50);
    assert_int_equal(quantile_at(&q, QUANTILE_P99), 99);
    assert_int_equal(quantile_at(&q, QUANTILE_P999), 100);
    assert_int_equal(quantile_up_to(&q, 10), 10);
    assert_int_equal(quantile_up_to(&q, 0), 0);
    assert_int_equal(quantile_up_to(&q, -1), 0);
}

static void edges(void **state)
{
    static struct quantile q;
    quantile_reset(&q);
    assert_int_equal(quantile_at(&q, QUANTILE_P99), 0);
    assert_int_equal(quantile_mean(&q), 0);
    quantile_add(&q, -5); /* two clocks that disagree */
    assert_int_equal(quantile_at(&q, QUANTILE_P99), 0);
    quantile_add(&q, INT64_MAX / 4);
    assert_int_equal(quantile_at(&q, QUANTILE_P99), INT64_MAX / 4);
    assert_int_equal(q.count, 2);
    for (int bit = 0; bit < 63; bit++) /* bucket borders: each value is in a bucket of its own or a later one */
        for (int64_t d = -1; d <= 1; d++)
            assert_true(quantile_bucket((1ll << bit) + d) <= quantile_bucket((1ll << bit) + d + 1));
    assert_true(quantile_bucket(INT64_MAX) < QUANTILE_BUCKETS);
}

static void merging_is_adding(void **state)
{
    static struct quantile a, b, both, empty;
    quantile_reset(&a), quantile_reset(&b), quantile_reset(&both), quantile_reset(&empty);
    for (unsigned i = 0; i < 5000; i++) {
        int64_t v = 100 + draw(9, i, 30);
        quantile_add(i % 3 ? &a : &b, v);
        quantile_add(&both, v);
    }
    quantile_merge(&a, &b);
    quantile_merge(&a, &empty);
    assert_memory_equal(&a, &both, sizeof a);
    quantile_merge(&empty, &both);
    assert_memory_equal(&empty, &both, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_within_a_sixty_fourth),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(edges),
        cmocka_unit_test(merging_is_adding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
