#include "wire/enrol_message.h"

#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void test_round_trips(void **state)
{
    struct enrol_request q = {.op = ENROL_JOIN, .token = "t.oken", .csr = "-----BEGIN\nab\"c\n-----END\n"}, q2;
    struct enrol_reply a = {.why = ENROL_OK, .id = "h1", .chain = "chain\n", .root = "root\n"}, a2;
    struct buf line = {0};
    assert_int_equal(enrol_request_encode(&line, &q), 0);
    assert_ptr_equal(memchr(line.data, '\n', line.len), line.data + line.len - 1);
    assert_int_equal(enrol_request_decode(&q2, line.data, line.len, NULL), 0);
    assert_int_equal(q2.op, ENROL_JOIN);
    assert_string_equal(q2.token, q.token);
    assert_string_equal(q2.csr, q.csr);
    line.len = 0;
    assert_int_equal(enrol_reply_encode(&line, &a), 0);
    assert_int_equal(enrol_reply_decode(&a2, line.data, line.len, NULL), 0);
    assert_string_equal(a2.id, "h1");
    assert_string_equal(a2.chain, "chain\n");
    line.len = 0;
    a = (struct enrol_reply){.why = ENROL_EXPIRED_TOKEN, .text = "too \"late\""};
    assert_int_equal(enrol_reply_encode(&line, &a), 0);
    assert_int_equal(enrol_reply_decode(&a2, line.data, line.len, NULL), 0);
    assert_int_equal(a2.why, ENROL_EXPIRED_TOKEN);
    assert_string_equal(a2.text, a.text);
    buf_done(&line);
}

static void test_nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"", "{", "null", "[]", "{}", "{\"op\":\"join\",\"csr\":\"x\"}",
        "{\"op\":\"leave\",\"csr\":\"x\"}", "{\"op\":\"renew\",\"csr\":7}", "{\"op\":\"renew\",\"csr\":\"a\\u0000b\"}",
        "{\"ok\":true}", "{\"ok\":1}", "{\"ok\":false}"};
    struct enrol_request q;
    struct enrol_reply a;
    struct error err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(enrol_request_decode(&q, bad[i], strlen(bad[i]), &err), -EPROTO);
        assert_int_equal(enrol_reply_decode(&a, bad[i], strlen(bad[i]), &err), -EPROTO);
    }
    char deep[ENROL_MAX_LINE];
    memset(deep, '[', sizeof(deep));
    assert_int_equal(enrol_request_decode(&q, deep, sizeof(deep), &err), -EPROTO);
    char long_csr[ENROL_MAX_PEM + 64];
    int n = snprintf(long_csr, sizeof(long_csr), "{\"op\":\"renew\",\"csr\":\"");
    memset(long_csr + n, 'A', sizeof(long_csr) - (size_t)n - 2);
    memcpy(long_csr + sizeof(long_csr) - 2, "\"}", 2);
    assert_int_equal(enrol_request_decode(&q, long_csr, sizeof(long_csr), &err), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
