/* A poptrie without memory: whichever allocation fails, a call changes all or nothing. Its realloc and malloc are ours
 * here (the linker wraps them). */
#include "base/rng.h"
#include "base/test.h"
#include "forward/poptrie.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

static long left = -1; /* allocations until one fails; negative: none does */

void *__wrap_realloc(void *p, size_t n)
{
    if (left == 0)
        return NULL;
    left -= left > 0;
    return __real_realloc(p, n);
}

static void random_prefix(struct ip_prefix *p, uint64_t i)
{
    *p = (struct ip_prefix){.family = IP_V6, .len = (uint8_t)(16 + rng_below(1, 2 * i, 100))};
    bytes_put_be64(p->a.b, rng_u64(2, i) & 0x20ff00000fff00ff);
    bytes_put_be64(p->a.b + 8, rng_u64(3, i) & 0xf0f0f0f0f0f0f0f0);
    ip_mask(&p->a, p->len);
}

static void test_all_or_nothing(void **state)
{
    struct poptrie t;
    unsigned refused = 0, refused_del = 0;
    left = -1;
    assert_int_equal(poptrie_init(&t, IP_V6, 5000), 0);
    for (uint64_t i = 0; i < 6000; i++) {
        struct ip_prefix p;
        random_prefix(&p, i);
        uint32_t had = poptrie_get(&t, &p), n = poptrie_count(&t);
        left = (long)rng_below(4, i, 3);
        int rc = poptrie_set(&t, &p, (uint32_t)i, NULL);
        assert_int_equal(poptrie_get(&t, &p), rc ? had : i);
        assert_int_equal(poptrie_count(&t), n + (rc == 0 && had == POPTRIE_NONE));
        assert_true(rc == 0 || rc == -ENOMEM);
        refused += rc != 0;
        if (i % 3 == 0) {
            random_prefix(&p, rng_below(5, i, (uint32_t)i + 1));
            had = poptrie_get(&t, &p);
            left = 0;
            rc = poptrie_del(&t, &p, NULL);
            assert_int_equal(rc == -ENOENT, had == POPTRIE_NONE);
            assert_int_equal(poptrie_get(&t, &p), rc == -ENOMEM ? had : POPTRIE_NONE);
            refused_del += rc == -ENOMEM;
        }
        left = -1;
        if (i % 50 == 0 || rc)
            assert_true(poptrie_check(&t));
    }
    assert_true(refused >= 5 && refused_del >= 1);
    uint32_t nodes = t.nodes.used, leaves = t.leaves.used;
    /* what failures left behind would show here */
    struct poptrie fresh;
    assert_int_equal(poptrie_init(&fresh, IP_V6, 5000), 0);
    for (uint64_t i = 0; i < 6000; i++) {
        struct ip_prefix p;
        random_prefix(&p, i);
        if (poptrie_get(&t, &p) != POPTRIE_NONE)
            assert_int_equal(poptrie_set(&fresh, &p, poptrie_get(&t, &p), NULL), 0);
    }
    assert_int_equal(fresh.nodes.used, nodes);
    assert_int_equal(fresh.leaves.used, leaves);
    poptrie_done(&fresh);
    poptrie_done(&t);
    left = 0;
    assert_int_equal(poptrie_init(&t, IP_V4, 10), -ENOMEM);
    left = -1;
    poptrie_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_or_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
