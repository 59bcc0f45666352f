#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "base/test.h"

#include <errno.h>
#include <string.h>

static void error_carries_one_sentence(void **state)
{
    struct error err = {""};
    assert_int_equal(error_set(&err, EINVAL, "head must be 1..%d", 3), -EINVAL);
    assert_string_equal(err.text, "head must be 1..3");
    assert_int_equal(error_prefix(&err, -EINVAL, "%s", "m.gguf"), -EINVAL);
    assert_string_equal(err.text, "m.gguf: head must be 1..3");
    assert_int_equal(error_set(NULL, ENOMEM, "nobody listens"), -ENOMEM);
}

static void error_longer_than_its_room_is_cut(void **state)
{
    struct error err;
    char long_text[4096];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    error_set(&err, EIO, "%s", long_text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    error_prefix(&err, -EIO, "%s", "file");
    assert_memory_equal(err.text, "file: xxx", 9);
}

static void buf_grows_and_consumes(void **state)
{
    struct buf b = {0};
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_printf(&b, "%d,", i), 0);
    assert_memory_equal(b.data, "0,1,2,", 6);
    buf_consume(&b, 4);
    assert_memory_equal(b.data, "2,3,", 4);
    assert_int_equal(strlen(buf_str(&b)), b.len);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
    buf_done(&b);
    assert_null(b.data);
}

static void bytes_round_trip(void **state)
{
    uint8_t p[8];
    bytes_put_u64(p, 0x0123456789abcdefull);
    assert_int_equal(p[0], 0xef);
    assert_true(bytes_get_u64(p) == 0x0123456789abcdefull);
    bytes_put_f32(p, -1.5f);
    assert_true(bytes_get_f32(p) == -1.5f);
    bytes_put_f64(p, 3.25);
    assert_true(bytes_get_f64(p) == 3.25);
}

static void hex_is_two_lower_case_digits_a_byte(void **state)
{
    char text[7] = "......";
    hex_put(text, (const uint8_t[]){0x00, 0x9f, 0xa5}, 3);
    assert_string_equal(text, "009fa5");
    hex_put(text, NULL, 0);
    assert_string_equal(text, "");
}

static void rng_is_a_function_of_key_and_counter(void **state)
{
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        double u = rng_uniform(7, i);
        assert_true(u > 0 && u < 1);
        assert_true(u == rng_uniform(7, i));
        assert_true(rng_below(9, i, 10) < 10);
        sum += u;
    }
    assert_true(sum > 4850 && sum < 5150);
    assert_true(rng_u64(1, 2) != rng_u64(2, 1));
}

/* The example of the paper, appendix A, and its neighbours by their definition: every length goes through its own end. */
static void siphash_is_the_papers(void **state)
{
    struct siphash_seed seed = {{0x0706050403020100, 0x0f0e0d0c0b0a0908}}, other = {{0x0706050403020100, 0}};
    uint8_t bytes[16];
    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)i;
    assert_true(siphash(&seed, bytes, 15) == 0xa129ca6149be45e5u);
    assert_true(siphash(&seed, bytes, 0) == 0x726fdb47dd0e0e31u);
    assert_true(siphash(&seed, bytes, 8) == 0x93f5f5799a932462u);
    assert_true(siphash(&other, bytes, 15) != siphash(&seed, bytes, 15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_carries_one_sentence),
        cmocka_unit_test(error_longer_than_its_room_is_cut),
        cmocka_unit_test(buf_grows_and_consumes),
        cmocka_unit_test(bytes_round_trip),
        cmocka_unit_test(hex_is_two_lower_case_digits_a_byte),
        cmocka_unit_test(siphash_is_the_papers),
        cmocka_unit_test(rng_is_a_function_of_key_and_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
