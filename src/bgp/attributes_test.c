/* Sets of attributes are shared, counted, and given back. */
#include "bgp/attributes.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t hop[16] = {0xfd, [15] = 1};
static const struct siphash_seed seed = {{1, 2}};

static size_t set(uint8_t *to, uint32_t number)
{
    uint8_t med[4];
    bytes_put_be32(med, number);
    int at = bgp_attribute_put(to, 0, 256, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(to, (size_t)at, 256, 0x40, BGP_AS_PATH, "\2\2\0\0\0\7\0\0\0\11\1\2\0\0\0\1\0\0\0\2", 20);
    return (size_t)bgp_attribute_put(to, (size_t)at, 256, 0x80, BGP_MED, med, 4);
}

static struct bgp_attributes *obtain(struct bgp_attribute_table *t, uint32_t number)
{
    struct bgp_attributes *a;
    uint8_t bytes[256];
    size_t len = set(bytes, number);
    assert_int_equal(bgp_attributes_of_bytes(t, bytes, len, hop, 16, &a), 0);
    return a;
}

static void test_equal_sets_are_one(void **state)
{
    (void)state;
    struct bgp_attribute_table *t;
    struct bgp_attributes *b;
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    struct bgp_attributes *a = obtain(t, 1);
    assert_ptr_equal(obtain(t, 1), a);
    assert_int_equal(a->references, 2);
    assert_ptr_not_equal(obtain(t, 2), a);
    uint8_t bytes[256], other[16] = {0xfd, [15] = 2};
    size_t len = set(bytes, 1);
    assert_int_equal(bgp_attributes_of_bytes(t, bytes, len, other, 16, &b), 0); /* another next hop: another set */
    assert_ptr_not_equal(b, a);
    assert_int_equal(bgp_attribute_table_count(t), 3);
    size_t full = bgp_attribute_table_bytes(t);
    bgp_attributes_drop(t, b);
    assert_int_equal(bgp_attribute_table_count(t), 2);
    assert_true(bgp_attribute_table_bytes(t) < full);
    bgp_attributes_drop(t, a);
    assert_int_equal(bgp_attribute_table_count(t), 2);
    bgp_attributes_drop(t, a);
    assert_int_equal(bgp_attribute_table_count(t), 1);
    bgp_attributes_drop(t, NULL);
    bgp_attribute_table_free(t);
}

static void test_the_summary(void **state)
{
    (void)state;
    struct bgp_attribute_table *t;
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    struct bgp_attributes *a = obtain(t, 77);
    uint16_t len;
    assert_int_equal(a->path_length, 3); /* two and a set */
    assert_int_equal(a->neighbour_as, 7);
    assert_int_equal(a->med, 77);
    assert_int_equal(a->local_pref, 100);
    assert_int_equal(bytes_get_be32(bgp_attributes_find(a, BGP_MED, &len)), 77);
    assert_null(bgp_attributes_find(a, BGP_LOCAL_PREF, &len));
    bgp_attribute_table_free(t);
}

static void test_what_is_not_well_formed_is_refused(void **state)
{
    (void)state;
    struct bgp_attribute_table *t;
    struct bgp_attributes *a;
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    static const uint8_t wrong[][5] = {
        {0x40, 1, 2, 0, 0}, {0x40, 1, 1, 9, 0}, {0x50, 1, 0, 9, 0}, {0xc0, 250, 9, 0, 0}};
    for (unsigned i = 0; i < 4; i++)
        for (size_t len = 1; len <= 4; len++)
            assert_int_equal(bgp_attributes_of_bytes(t, wrong[i], len, hop, 16, &a), -EINVAL);
    uint8_t long_hop[49] = {1};
    assert_int_equal(bgp_attributes_of_bytes(t, wrong[0], 0, long_hop, 49, &a), -EINVAL);
    assert_int_equal(bgp_attribute_table_count(t), 0);
    bgp_attribute_table_free(t);
}

/* VPNv6 with a link-local address: two times RD and address (RFC 4659 3.2.1.1). */
static void test_the_longest_next_hop(void **state)
{
    (void)state;
    struct bgp_attribute_table *t;
    struct bgp_attributes *a;
    uint8_t long_hop[48] = {[8] = 0xfd, [32] = 0xfe, [47] = 9};
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    assert_int_equal(bgp_attributes_of_bytes(t, (const uint8_t *)"\x40\1\1\0", 4, long_hop, 48, &a), 0);
    assert_int_equal(a->next_hop_len, 48);
    assert_memory_equal(a->next_hop, long_hop, 48);
    bgp_attribute_table_free(t);
}

static void test_of_an_update(void **state)
{
    (void)state;
    struct bgp_attribute_table *t;
    struct bgp_attributes *a;
    uint8_t body[256] = {0};
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    int at = bgp_attribute_put(body, 4, 256, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(body, (size_t)at, 256, 0x40, BGP_AS_PATH, "", 0);
    at = bgp_attribute_put(body, (size_t)at, 256, 0x40, BGP_NEXT_HOP, "\12\0\0\1", 4);
    at = bgp_attribute_put(body, (size_t)at, 256, 0x40, BGP_LOCAL_PREF, "\0\0\0\7", 4);
    at = bgp_attribute_put(body, (size_t)at, 256, 0xc0, 200, "unknown", 7);
    at = bgp_attribute_put(body, (size_t)at, 256, 0xc0, BGP_COMMUNITIES, "\xff\xff\xff\2", 4);
    bytes_put_be16(body + 2, (uint16_t)(at - 4));
    memcpy(body + at, "\10\12", 2);
    static const uint32_t v4[] = {BGP_IPV4_UNICAST};
    struct bgp_update_context where = {.ibgp = true, .as4 = true, .families = v4, .n_families = 1};
    struct bgp_update u;
    struct bgp_notification error;
    assert_int_equal(bgp_update_decode(&u, body, (size_t)at + 2, &where, &error), BGP_ACCEPT);
    assert_int_equal(bgp_attributes_of_update(t, &u, false, &a), 0);
    assert_int_equal(a->next_hop_len, 4);
    assert_memory_equal(a->next_hop, "\12\0\0\1", 4);
    assert_int_equal(a->local_pref, 7);
    assert_true(a->no_advertise);
    uint16_t len;
    assert_null(bgp_attributes_find(a, BGP_NEXT_HOP, &len)); /* it is said anew for each peer */
    const uint8_t *unknown = bgp_attributes_find(a, 200, &len);
    assert_int_equal(unknown[-3], 0xe0); /* Partial: RFC 4271 5 */
    bgp_attribute_table_free(t);
}

static void test_many_sets_come_and_go(void **state)
{
    (void)state;
    enum { N = 20000 };
    static struct bgp_attributes *held[N];
    struct bgp_attribute_table *t;
    assert_int_equal(bgp_attribute_table_create(&t, &seed), 0);
    for (uint32_t i = 0; i < N; i++)
        held[i] = obtain(t, i);
    assert_int_equal(bgp_attribute_table_count(t), N);
    for (uint32_t i = 0; i < N; i++) {
        struct bgp_attributes *again = obtain(t, i);
        assert_ptr_equal(again, held[i]);
        bgp_attributes_drop(t, again);
    }
    for (uint32_t i = 0; i < N; i += 2)
        bgp_attributes_drop(t, held[i]);
    assert_int_equal(bgp_attribute_table_count(t), N / 2);
    for (uint32_t i = 1; i < N; i += 2)
        assert_ptr_equal(obtain(t, i), held[i]);
    bgp_attribute_table_free(t);
}

/* A peer that knew the seed could fill one bucket; one that does not, cannot. The sets are found by trying, as it would. */
static void test_a_hostile_peer_cannot_choose_buckets(void **state)
{
    (void)state;
    enum { SETS = 400 };
    static const struct siphash_seed known = {{7, 7}}, secret = {{0x1234, 0x5678}};
    struct bgp_attribute_table *t, *other;
    assert_int_equal(bgp_attribute_table_create(&t, &known), 0);
    assert_int_equal(bgp_attribute_table_create(&other, &secret), 0);
    uint64_t bucket = obtain(t, 0)->hash % 256;
    unsigned found = 0;
    for (uint32_t i = 1; found < SETS; i++) {
        struct bgp_attributes *a = obtain(t, i);
        if (a->hash % 256 == bucket) {
            obtain(other, i);
            found++;
        } else {
            bgp_attributes_drop(t, a);
        }
    }
    assert_true(
        bgp_attribute_table_longest(t) > SETS - 200); /* one of 256 buckets has them all (the table may have grown) */
    assert_int_equal(bgp_attribute_table_count(other), SETS);
    assert_true(bgp_attribute_table_longest(other) < 12);
    bgp_attribute_table_free(t);
    bgp_attribute_table_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_sets_are_one),
        cmocka_unit_test(test_the_summary),
        cmocka_unit_test(test_what_is_not_well_formed_is_refused),
        cmocka_unit_test(test_the_longest_next_hop),
        cmocka_unit_test(test_of_an_update),
        cmocka_unit_test(test_many_sets_come_and_go),
        cmocka_unit_test(test_a_hostile_peer_cannot_choose_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
