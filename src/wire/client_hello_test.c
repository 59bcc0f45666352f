/* The hellos are OpenSSL's own (the test links it), cut up in every way. */
#include "wire/client_hello.h"

#include "base/test.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t hello[CLIENT_HELLO_MAX];
static size_t hello_len;

static void make_hello(const char *name)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    if (name)
        SSL_set_tlsext_host_name(ssl, name);
    SSL_connect(ssl);
    hello_len = (size_t)BIO_read(out, hello, sizeof(hello));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void test_name_is_found_at_once_or_byte_by_byte(void **state)
{
    make_hello("0AF39c2d");
    char name[CLIENT_HELLO_NAME];
    size_t need;
    assert_in_range(hello_len, 200, 4000);
    for (size_t n = 0; n < hello_len; n++) {
        need = 0;
        assert_int_equal(client_hello_name(name, &need, hello, n), -EAGAIN);
        assert_in_range(need, n + 1, hello_len);
    }
    assert_int_equal(client_hello_name(name, &need, hello, hello_len), 0);
    assert_string_equal(name, "0af39c2d");
    memset(hello + hello_len, 0xff, 64); /* what follows does not matter */
    assert_int_equal(client_hello_name(name, &need, hello, hello_len + 64), 0);
}

/* The same message in records of at most `piece` bytes. */
static size_t fragment(uint8_t *to, size_t piece)
{
    size_t n = 0, left = hello_len - 5;
    const uint8_t *from = hello + 5;
    while (left) {
        size_t k = left < piece ? left : piece;
        const uint8_t header[5] = {22, 3, 1, (uint8_t)(k >> 8), (uint8_t)k};
        memcpy(to + n, header, 5);
        memcpy(to + n + 5, from, k);
        n += 5 + k;
        from += k;
        left -= k;
    }
    return n;
}

static void test_fragments(void **state)
{
    make_hello("fragmented");
    uint8_t *bytes = malloc(3 * CLIENT_HELLO_MAX);
    assert_non_null(bytes);
    char name[CLIENT_HELLO_NAME];
    size_t need, least = hello_len / CLIENT_HELLO_RECORDS + 1;
    for (size_t piece = least; piece < hello_len; piece += 7) {
        size_t n = fragment(bytes, piece);
        assert_int_equal(client_hello_name(name, &need, bytes, n), 0);
        assert_string_equal(name, "fragmented");
        assert_int_equal(client_hello_name(name, &need, bytes, n - 1), -EAGAIN);
        assert_int_equal(need, n);
    }
    size_t n = fragment(bytes, 1); /* too many pieces */
    assert_int_equal(client_hello_name(name, &need, bytes, n), -EPROTO);
    free(bytes);
}

static void test_what_is_no_hello(void **state)
{
    char name[CLIENT_HELLO_NAME] = "untouched";
    size_t need;
    const char http[] = "GET / HTTP/1.1\r\n";
    assert_int_equal(client_hello_name(name, &need, (const uint8_t *)http, 1), -EPROTO);
    assert_int_equal(client_hello_name(name, &need, (const uint8_t *)http, sizeof(http)), -EPROTO);
    const uint8_t huge_record[] = {22, 3, 1, 0xff, 0xff}, empty_record[] = {22, 3, 1, 0, 0};
    assert_int_equal(client_hello_name(name, &need, huge_record, 5), -E2BIG);
    assert_int_equal(client_hello_name(name, &need, empty_record, 5), -EPROTO);
    const uint8_t huge_message[] = {22, 3, 1, 0, 4, 1, 1, 0, 0}, other_message[] = {22, 3, 1, 0, 1, 2};
    assert_int_equal(client_hello_name(name, &need, huge_message, 9), -E2BIG);
    assert_int_equal(client_hello_name(name, &need, other_message, 6), -EPROTO);
    assert_string_equal(name, "untouched");
}

static void test_no_name_and_odd_names(void **state)
{
    char name[CLIENT_HELLO_NAME];
    size_t need;
    make_hello(NULL);
    assert_int_equal(client_hello_name(name, &need, hello, hello_len), 0);
    assert_string_equal(name, "");
    make_hello("line\nbreak");
    assert_int_equal(client_hello_name(name, &need, hello, hello_len), -EPROTO);
}

/* Every single wrong byte gives some answer within bounds (the sanitizers look on). */
static void test_flipped_bytes_are_survived(void **state)
{
    make_hello("flipped");
    char name[CLIENT_HELLO_NAME];
    for (size_t i = 0; i < hello_len; i++)
        for (int v = 0; v < 256; v += 51) {
            uint8_t was = hello[i];
            size_t need = 0;
            hello[i] = (uint8_t)v;
            int rc = client_hello_name(name, &need, hello, hello_len);
            assert_true(rc == 0 || rc == -EPROTO || rc == -E2BIG || (rc == -EAGAIN && need > hello_len));
            if (!rc)
                assert_true(strlen(name) < CLIENT_HELLO_NAME);
            hello[i] = was;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_is_found_at_once_or_byte_by_byte),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_what_is_no_hello),
        cmocka_unit_test(test_no_name_and_odd_names),
        cmocka_unit_test(test_flipped_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
