/* The examples of FIPS 180-4. */
#include "base/test.h"
#include "crypto/sha256.h"

#include <stdlib.h>
#include <string.h>

static void digest_of_abc(void **state)
{
    const uint8_t want[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t got[32];
    assert_int_equal(sha256_of("abc", 3, got), 0);
    assert_memory_equal(got, want, 32);
}

static void pieces_make_the_same_digest(void **state)
{
    uint8_t whole[32], pieces[32];
    char text[1000];
    memset(text, 'a', sizeof(text));
    assert_int_equal(sha256_of(text, sizeof(text), whole), 0);
    struct sha256 *s = sha256_create();
    assert_non_null(s);
    for (size_t at = 0, step = 1; at < sizeof(text);
        at += step, step = step * 2 < sizeof(text) - at ? step * 2 : sizeof(text) - at)
        sha256_add(s, text + at, step);
    assert_int_equal(sha256_end(s, pieces), 0);
    assert_memory_equal(whole, pieces, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_of_abc),
        cmocka_unit_test(pieces_make_the_same_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
