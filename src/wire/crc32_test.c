/* Known answers, and the folding against the tables at every length and alignment that matters. */
#include "wire/crc32.h"

#include "base/rng.h"
#include "base/test.h"

#include <string.h>

static void test_known_answers(void **state)
{
    assert_int_equal(~crc32_update(CRC32_START, "123456789", 9), 0xcbf43926u); /* the "check" of every CRC catalogue */
    assert_int_equal(~crc32_update_plain(CRC32_START, "", 0), 0);
    uint8_t zeros[512] = {0}; /* 32 zero bytes: 190a55ad; 512: b2aa7578 */
    assert_int_equal(~crc32_update(CRC32_START, zeros, 32), 0x190a55adu);
    assert_int_equal(~crc32_update(CRC32_START, zeros, 512), 0xb2aa7578u);
}

static void test_both_ways_agree(void **state)
{
    uint8_t bytes[1200];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rng_u64(7, i);
    for (size_t offset = 0; offset < 17; offset++)
        for (size_t len = 0; len + offset <= sizeof(bytes); len += len < 200 ? 1 : 37) {
            uint32_t start = (uint32_t)rng_u64(offset, len);
            assert_int_equal(crc32_update(start, bytes + offset, len), crc32_update_plain(start, bytes + offset, len));
        }
}

static void test_in_pieces_as_in_one(void **state)
{
    uint8_t bytes[700];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rng_u64(8, i);
    uint32_t whole = crc32_update(CRC32_START, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut += 13) {
        uint32_t first = crc32_update(CRC32_START, bytes, cut);
        assert_int_equal(crc32_update(first, bytes + cut, sizeof(bytes) - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_both_ways_agree),
        cmocka_unit_test(test_in_pieces_as_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
