/* Signatures, key agreement, HKDF and seals against the vectors of their RFCs, and what they must refuse. */
#include "base/rng.h"
#include "base/test.h"
#include "crypto/curve25519.h"
#include "crypto/hkdf.h"
#include "crypto/seal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void unhex(uint8_t *to, const char *hex)
{
    for (unsigned v; sscanf(hex, "%2x", &v) == 1; hex += 2)
        *to++ = (uint8_t)v;
}

/* RFC 8032, 7.1, test 2 */
static void ed25519_signs_as_in_the_rfc(void **state)
{
    (void)state;
    uint8_t seed[32], pub[32], want[64], got[64];
    unhex(seed, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    unhex(pub, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    unhex(want, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    struct ed25519 *k;
    assert_int_equal(ed25519_create(&k, seed), 0);
    assert_memory_equal(ed25519_public(k), pub, 32);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ed25519_sign(k, (const uint8_t *)"\x72", 1, got), 0);
        assert_memory_equal(got, want, 64);
    }
    assert_int_equal(ed25519_verify(pub, (const uint8_t *)"\x72", 1, want), 0);
    assert_int_equal(ed25519_verify(pub, (const uint8_t *)"\x73", 1, want), -EPROTO);
    want[40] ^= 1;
    assert_int_equal(ed25519_verify(pub, (const uint8_t *)"\x72", 1, want), -EPROTO);
    want[40] ^= 1;
    pub[0] ^= 1;
    assert_int_equal(ed25519_verify(pub, (const uint8_t *)"\x72", 1, want), -EPROTO);
    ed25519_free(k);
    ed25519_free(NULL);
}

/* RFC 7748, 6.1 */
static void x25519_agrees_as_in_the_rfc(void **state)
{
    (void)state;
    uint8_t a[32], b[32], want_a[32], want_b[32], want[32], got[32], zero[32] = {0};
    unhex(a, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    unhex(want_a, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    unhex(b, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    unhex(want_b, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    unhex(want, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_int_equal(x25519_public(got, a), 0);
    assert_memory_equal(got, want_a, 32);
    assert_int_equal(x25519_public(got, b), 0);
    assert_memory_equal(got, want_b, 32);
    assert_int_equal(x25519_shared(got, a, want_b), 0);
    assert_memory_equal(got, want, 32);
    assert_int_equal(x25519_shared(got, b, want_a), 0);
    assert_memory_equal(got, want, 32);
    assert_int_equal(x25519_shared(got, a, zero), -EPROTO);
}

/* RFC 5869, A.1 */
static void hkdf_derives_as_in_the_rfc(void **state)
{
    (void)state;
    uint8_t secret[22], salt[13], info[10], want[42], got[42];
    memset(secret, 0x0b, sizeof secret);
    unhex(salt, "000102030405060708090a0b0c");
    unhex(info, "f0f1f2f3f4f5f6f7f8f9");
    unhex(want, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    assert_int_equal(hkdf_sha256(got, 42, secret, 22, salt, 13, info, 10), 0);
    assert_memory_equal(got, want, 42);
}

/* The first case of the GCM proposal with a 256-bit key: nothing under a key and nonce of zeros. */
static void a_seal_is_gmac(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY] = {0}, want[16], got[16], frame[100];
    unhex(want, "530f8afbc74536b9a963b4f1c4cb738b");
    struct seal *s;
    assert_int_equal(seal_create(&s), 0);
    assert_int_equal(seal_make(s, 0, frame, 0, got), -EIO); /* no key yet */
    assert_int_equal(seal_key(s, key), 0);
    assert_int_equal(seal_make(s, 0, frame, 0, got), 0);
    assert_memory_equal(got, want, 16);

    memset(frame, 7, sizeof frame);
    assert_int_equal(seal_make(s, 5, frame, 100, got), 0);
    assert_int_equal(seal_check(s, 5, frame, 100, got), 0);
    assert_int_equal(seal_check(s, 6, frame, 100, got), -EPROTO);
    assert_int_equal(seal_check(s, 5, frame, 99, got), -EPROTO);
    frame[99] ^= 0x80;
    assert_int_equal(seal_check(s, 5, frame, 100, got), -EPROTO);
    frame[99] ^= 0x80;
    key[31] = 1;
    assert_int_equal(seal_key(s, key), 0);
    assert_int_equal(seal_check(s, 5, frame, 100, got), -EPROTO);
    assert_int_equal(seal_key(s, NULL), 0);
    assert_int_equal(seal_check(s, 5, frame, 100, got), -EPROTO);
    seal_free(s);
    seal_free(NULL);
}

static void each_number_passes_once_in_any_order(void **state)
{
    (void)state;
    enum { N = 5000 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct seal_window w = {0};
        static uint8_t passed[N + 2000];
        memset(passed, 0, sizeof passed);
        uint64_t highest = 0;
        for (uint64_t i = 0; i < 4 * N; i++) {
            uint64_t seq = i / 4 + rng_below(seed, i, 1500);
            bool pass = seal_window_pass(&w, seq);
            bool old = highest > 1023 && seq < highest - 1023;
            assert_int_equal(pass, !passed[seq] && !old);
            passed[seq] |= pass;
            highest = seq > highest ? seq : highest;
        }
    }
    struct seal_window w = {0};
    assert_true(seal_window_pass(&w, 1ull << 60));
    assert_false(seal_window_pass(&w, 1ull << 60));
    assert_true(seal_window_pass(&w, (1ull << 60) - 1023));
    assert_false(seal_window_pass(&w, (1ull << 60) - 1024));
    assert_false(seal_window_pass(&w, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_signs_as_in_the_rfc),
        cmocka_unit_test(x25519_agrees_as_in_the_rfc),
        cmocka_unit_test(hkdf_derives_as_in_the_rfc),
        cmocka_unit_test(a_seal_is_gmac),
        cmocka_unit_test(each_number_passes_once_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
