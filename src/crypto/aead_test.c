#include "crypto/aead.h"

#include "base/rng.h"
#include "base/test.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* An independent implementation: OpenSSL's, one call after the other. */
static void reference(const uint8_t key[32], const uint8_t nonce[12], const uint8_t *aad, int aad_len, uint8_t *bytes,
    int len, uint8_t tag[16])
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce);
    EVP_EncryptUpdate(c, NULL, &n, aad, aad_len);
    EVP_EncryptUpdate(c, bytes, &n, bytes, len);
    EVP_EncryptFinal_ex(c, bytes + n, &n);
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tag);
    EVP_CIPHER_CTX_free(c);
}

/* Test case 14 of the GCM specification: key, nonce and 16 bytes of zeros. */
static void test_the_specifications_own_vector(void **state)
{
    (void)state;
    static const uint8_t cipher[16] = {
        0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18};
    static const uint8_t tag[16] = {
        0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    uint8_t key[32] = {0}, bytes[16] = {0}, got[16];
    struct aead *a;
    struct aead_key *k;
    assert_int_equal(aead_create(&a), 0);
    assert_int_equal(aead_key_create(&k, a, key), 0);
    struct aead_job j = {.key = k, .bytes = bytes, .len = 16, .aad = key, .aad_len = 0, .tag = got};
    aead_seal(a, &j, 1);
    assert_memory_equal(bytes, cipher, 16);
    assert_memory_equal(got, tag, 16);
    aead_open(a, &j, 1);
    assert_true(j.good);
    assert_memory_equal(bytes, key, 16);
    aead_key_free(k);
    aead_free(a);
}

static void test_every_length_agrees_with_another_implementation(void **state)
{
    (void)state;
    struct aead *a;
    struct aead_key *k;
    uint8_t key[32], aad[12], bytes[1600], expected[1600], tag[16], expected_tag[16];
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)rng_u64(1, (uint64_t)i);
    assert_int_equal(aead_create(&a), 0);
    assert_int_equal(aead_key_create(&k, a, key), 0);
    for (uint32_t len = 1; len < sizeof bytes; len += len < 300 ? 1 : 37) {
        struct aead_job j = {.key = k, .bytes = bytes, .len = len, .aad = aad, .aad_len = len % 2 ? 8 : 12, .tag = tag};
        for (uint32_t i = 0; i < len; i++)
            bytes[i] = expected[i] = (uint8_t)rng_u64(2, len * 10000ull + i);
        for (int i = 0; i < 12; i++)
            aad[i] = j.nonce[i] = (uint8_t)rng_u64(3, len * 100 + (uint64_t)i);
        reference(key, j.nonce, aad, (int)j.aad_len, expected, (int)len, expected_tag);
        aead_seal(a, &j, 1);
        assert_memory_equal(bytes, expected, len);
        assert_memory_equal(tag, expected_tag, 16);
        aead_open(a, &j, 1);
        assert_true(j.good);
        assert_int_equal(bytes[len - 1], (uint8_t)rng_u64(2, len * 10000ull + len - 1));
    }
    aead_key_free(k);
    aead_free(a);
}

static void test_what_was_changed_does_not_open_and_leaves_nothing(void **state)
{
    (void)state;
    struct aead *a;
    struct aead_key *k;
    uint8_t key[32] = {5}, aad[8] = {0}, bytes[40], tag[16];
    assert_int_equal(aead_create(&a), 0);
    assert_int_equal(aead_key_create(&k, a, key), 0);
    for (int where = 0; where < 4; where++) {
        struct aead_job j = {.key = k, .bytes = bytes, .len = 40, .aad = aad, .aad_len = 8, .tag = tag};
        memset(bytes, 'x', sizeof bytes);
        aead_seal(a, &j, 1);
        uint8_t *broken = where == 0 ? bytes + 39 : where == 1 ? tag + 15 : where == 2 ? aad : j.nonce;
        *broken ^= 1;
        aead_open(a, &j, 1);
        assert_false(j.good);
        for (int i = 0; i < 40; i++)
            assert_int_equal(bytes[i], 0);
        *broken ^= 1;
    }
    aead_key_free(k);
    aead_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_specifications_own_vector),
        cmocka_unit_test(test_every_length_agrees_with_another_implementation),
        cmocka_unit_test(test_what_was_changed_does_not_open_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
