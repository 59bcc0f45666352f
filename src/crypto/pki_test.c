#include "crypto/pki.h"

#include "crypto/pki_fixture.h"
#include "os/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_leaf_is_good_only_for_its_role_name_time_and_root(void **state)
{
    struct pki_world w, other;
    pki_world_init(&w);
    pki_world_init(&other);
    struct pki_chain c;
    struct error err;
    EVP_PKEY *key = pki_world_leaf(&w, PKI_CLIENT, "h-1", -10, 60, false, &c);
    assert_int_equal(pki_verify(&c, w.root, PKI_CLIENT, "h-1", &err), 0);
    assert_int_equal(pki_verify(&c, w.root, PKI_CLIENT, NULL, &err), 0);
    assert_int_equal(pki_verify(&c, w.root, PKI_SERVER, "h-1", &err), -EKEYREJECTED);
    assert_int_equal(pki_verify(&c, w.root, PKI_CLIENT, "h-2", &err), -EKEYREJECTED);
    assert_int_equal(pki_verify(&c, other.root, PKI_CLIENT, "h-1", &err), -EKEYREJECTED);
    EVP_PKEY_free(key);
    pki_chain_done(&c);
    key = pki_world_leaf(&w, PKI_CLIENT, "h-1", -100, -10, false, &c);
    assert_int_equal(pki_verify(&c, w.root, PKI_CLIENT, "h-1", &err), -EKEYEXPIRED);
    assert_non_null(strstr(err.text, "expired"));
    EVP_PKEY_free(key);
    pki_chain_done(&c);
    pki_world_done(&w);
    pki_world_done(&other);
}

static void test_leaf_cannot_sign(void **state)
{
    struct pki_world w;
    pki_world_init(&w);
    struct pki_chain c, bad = {.n = 3};
    EVP_PKEY *key = pki_world_leaf(&w, PKI_CLIENT, "h-1", -10, 60, false, &c), *key2;
    struct pki_subject s = {PKI_CLIENT, "h-2", time(NULL) - 10, time(NULL) + 60};
    assert_int_equal(pki_key_create(&key2, NULL), 0);
    assert_int_equal(pki_sign(&bad.cert[0], &s, key2, key, c.cert[0], NULL), 0);
    X509_up_ref(bad.cert[1] = c.cert[0]);
    X509_up_ref(bad.cert[2] = c.cert[1]);
    assert_int_equal(pki_verify(&bad, w.root, PKI_CLIENT, "h-2", NULL), -EKEYREJECTED);
    EVP_PKEY_free(key);
    EVP_PKEY_free(key2);
    pki_chain_done(&c);
    pki_chain_done(&bad);
    pki_world_done(&w);
}

static void test_leaf_does_not_outlive_its_issuer(void **state)
{
    struct pki_world w;
    pki_world_init(&w);
    struct pki_chain c;
    EVP_PKEY_free(pki_world_leaf(&w, PKI_SERVER, "h-1", -10, 10 * 86400, false, &c));
    assert_int_equal(pki_not_after(c.cert[0]), pki_not_after(w.issuer));
    char name[PKI_MAX_NAME];
    assert_int_equal(pki_name(name, c.cert[0]), 0);
    assert_string_equal(name, "h-1");
    pki_chain_done(&c);
    pki_world_done(&w);
}

static void test_request_round_trip_and_tampering(void **state)
{
    EVP_PKEY *key, *got;
    struct buf pem = {0};
    struct error err;
    assert_int_equal(pki_key_create(&key, NULL), 0);
    assert_int_equal(pki_request_create(&pem, key, NULL), 0);
    assert_int_equal(pki_request_parse(&got, pem.data, pem.len, &err), 0);
    char a[PKI_FINGERPRINT], b[PKI_FINGERPRINT];
    pki_key_fingerprint(a, key);
    pki_key_fingerprint(b, got);
    assert_string_equal(a, b);
    EVP_PKEY_free(got);
    /* The last characters before the padding and footer belong to the signature. */
    char *footer = strstr((char *)(uintptr_t)buf_str(&pem), "\n-----END");
    footer[-6] = footer[-6] == 'A' ? 'B' : 'A';
    assert_int_equal(pki_request_parse(&got, pem.data, pem.len, &err), -EBADMSG);
    assert_int_equal(pki_request_parse(&got, "nonsense", 8, &err), -EINVAL);
    EVP_PKEY_free(key);
    key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    pem.len = 0;
    assert_int_equal(pki_request_create(&pem, key, NULL), 0);
    assert_int_equal(pki_request_parse(&got, pem.data, pem.len, &err), -EINVAL);
    EVP_PKEY_free(key);
    buf_done(&pem);
}

static void test_key_file_is_private_and_comes_back(void **state)
{
    char dir[] = "/tmp/pki-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key.pem", dir);
    EVP_PKEY *key, *again;
    assert_int_equal(pki_key_create(&key, NULL), 0);
    assert_int_equal(pki_key_save(key, path, NULL), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(pki_key_load(&again, path, NULL), 0);
    assert_true(EVP_PKEY_eq(key, again) == 1);
    EVP_PKEY_free(again);
    struct error err;
    assert_int_equal(file_write(path, "x", 1, 0600, NULL), 0);
    assert_int_equal(pki_key_load(&again, path, &err), -EINVAL);
    assert_non_null(strstr(err.text, path));
    EVP_PKEY_free(key);
    unlink(path);
    rmdir(dir);
}

static void test_chain_text(void **state)
{
    struct pki_world w;
    pki_world_init(&w);
    struct pki_chain c, back;
    struct buf pem = {0};
    EVP_PKEY_free(pki_world_leaf(&w, PKI_CLIENT, "h-1", -10, 60, true, &c));
    assert_int_equal(pki_chain_print(&pem, &c, NULL), 0);
    assert_int_equal(pki_chain_parse(&back, pem.data, pem.len, NULL), 0);
    assert_int_equal(back.n, 3);
    char a[PKI_FINGERPRINT], b[PKI_FINGERPRINT];
    pki_fingerprint(a, c.cert[2]);
    pki_fingerprint(b, back.cert[2]);
    assert_string_equal(a, b);
    assert_true(pki_fingerprint_equal("sha256:AB", "sha256:ab"));
    assert_false(pki_fingerprint_equal("sha256:ab", "sha256:abc"));
    pki_chain_done(&back);
    struct error err;
    assert_int_equal(pki_chain_parse(&back, pem.data, pem.len / 2, &err), -EINVAL);
    assert_int_equal(pki_chain_parse(&back, "", 0, &err), -EINVAL);
    size_t len = pem.len;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(buf_reserve(&pem, len), 0);
        assert_int_equal(buf_append(&pem, pem.data, len), 0);
    }
    assert_int_equal(pki_chain_parse(&back, pem.data, pem.len, &err), -E2BIG); /* nine are too many */
    buf_done(&pem);
    pki_chain_done(&c);
    pki_world_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_is_good_only_for_its_role_name_time_and_root),
        cmocka_unit_test(test_leaf_cannot_sign),
        cmocka_unit_test(test_leaf_does_not_outlive_its_issuer),
        cmocka_unit_test(test_request_round_trip_and_tampering),
        cmocka_unit_test(test_key_file_is_private_and_comes_back),
        cmocka_unit_test(test_chain_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
