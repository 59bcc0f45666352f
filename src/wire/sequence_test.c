/* The option of 1+1 streams: octets, and what hostile headers may not do. */
#include "base/test.h"
#include "wire/sequence.h"

static void octets(void **state)
{
    (void)state;
    static const uint8_t want[SEQUENCE_SIZE] = {4, 1, 0x1e, 12, 0xa1, 0xb2, 0xc3, 0xd4, 0, 0, 0, 1, 2, 3, 4, 5};
    uint8_t b[SEQUENCE_SIZE];
    struct sequence s;
    uint32_t at;
    sequence_encode(b, 4, SEQUENCE_DEFAULT, 0xa1b2c3d4, 0x102030405);
    assert_memory_equal(b, want, sizeof want);
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, SEQUENCE_DEFAULT), HBH_OK);
    assert_true(s.has && s.next == 4 && s.size == 16 && s.epoch == 0xa1b2c3d4 && s.number == 0x102030405);
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, 0x3e), HBH_OK); /* unknown, and says: skip */
    assert_true(!s.has && s.size == 16);
}

static void others_beside_it(void **state)
{
    (void)state;
    uint8_t b[32] = {41, 3, 0, 1, 4, 0, 0, 0, 0, 0x1e, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0x05, 7};
    struct sequence s;
    uint32_t at;
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, SEQUENCE_DEFAULT), HBH_OK);
    assert_true(s.has && s.epoch == 7 && s.number == 9 && s.size == 32);
    b[23] = 0x85; /* unknown: answer */
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, SEQUENCE_DEFAULT), HBH_PROBLEM);
    assert_int_equal(at, 23);
    b[23] = 0x45;
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, SEQUENCE_DEFAULT), HBH_DISCARD);
    b[23] = 0xc5;
    assert_int_equal(sequence_parse(&s, &at, b, sizeof b, SEQUENCE_DEFAULT), HBH_PROBLEM_UNICAST);
}

static void refused(void **state)
{
    (void)state;
    uint8_t b[32];
    struct sequence s = {.epoch = 77};
    uint32_t at;
    sequence_encode(b, 4, SEQUENCE_DEFAULT, 1, 1);
    for (size_t len = 0; len < SEQUENCE_SIZE; len++)
        assert_int_equal(sequence_parse(&s, &at, b, len, SEQUENCE_DEFAULT), HBH_MALFORMED);
    b[3] = 11;
    assert_int_equal(sequence_parse(&s, &at, b, 16, SEQUENCE_DEFAULT), HBH_MALFORMED);
    b[3] = 200; /* beyond the header */
    assert_int_equal(sequence_parse(&s, &at, b, 16, SEQUENCE_DEFAULT), HBH_MALFORMED);
    sequence_encode(b, 4, SEQUENCE_DEFAULT, 1, 0);
    assert_int_equal(sequence_parse(&s, &at, b, 16, SEQUENCE_DEFAULT), HBH_MALFORMED); /* numbers begin at 1 */
    sequence_encode(b, 4, SEQUENCE_DEFAULT, 1, 1);
    b[1] = 3;
    memcpy(b + 16, b + 2, 14); /* twice */
    b[30] = 1, b[31] = 0;
    assert_int_equal(sequence_parse(&s, &at, b, 32, SEQUENCE_DEFAULT), HBH_MALFORMED);
    assert_int_equal(at, 16);
    assert_int_equal(s.epoch, 77); /* untouched on failure */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets), cmocka_unit_test(others_beside_it), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
