/* The reader of IPFIX: a session of messages, each in memory of its exact size. Every value is touched; what was read as a
 * record is written again with the same template and must come back the same. */
#include "base/bytes.h"
#include "wire/ipfix.h"

#include <stdlib.h>
#include <string.h>

static uint64_t sum;

static void same(
    void *user, const struct ipfix_header *h, const struct ipfix_known *of, const struct ipfix_value *v, unsigned n)
{
    const struct ipfix_value *want = user;
    for (unsigned i = 0; i < n; i++)
        if (v[i].len != want[i].len || memcmp(v[i].bytes, want[i].bytes, v[i].len))
            abort();
    sum++;
}

static void again(const struct ipfix_known *of, const struct ipfix_value *v, unsigned n)
{
    static uint8_t bytes[IPFIX_MESSAGE_MOST];
    struct ipfix_writer w;
    struct ipfix_session *s;
    size_t need = 0;
    ipfix_begin(&w, bytes, sizeof bytes);
    if (ipfix_put_template(&w, &(struct ipfix_template){of->id, of->n, of->scope, of->field}))
        return;
    for (unsigned i = 0; i < n; i++)
        need += 3u + v[i].len;
    if (ipfix_record(&w, of->id, need))
        return;
    for (unsigned i = 0; i < n; i++) {
        if (v[i].field->len == IPFIX_VARIABLE) {
            ipfix_put(&w, 255, 1);
            ipfix_put(&w, v[i].len, 2);
        }
        ipfix_put_bytes(&w, v[i].bytes, v[i].len);
    }
    if (ipfix_session_create(&s, true, 1))
        return;
    uint64_t before = sum;
    if (ipfix_read(s, bytes, ipfix_end(&w, 1, 2, 3), same, (void *)(uintptr_t)v) || sum != before + 1)
        abort();
    ipfix_session_free(s);
}

static void touch(
    void *user, const struct ipfix_header *h, const struct ipfix_known *of, const struct ipfix_value *v, unsigned n)
{
    unsigned *left = user;
    for (unsigned i = 0; i < n; i++) {
        sum += ipfix_uint(&v[i]) + (uint64_t)ipfix_unix_ns(&v[i]);
        for (unsigned k = 0; k < v[i].len; k++)
            sum += v[i].bytes[k];
    }
    sum += ipfix_find(v, n, 0, 1) != NULL;
    if (*left) {
        --*left;
        again(of, v, n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipfix_session *s;
    unsigned left = 16;
    if (size < 1 || ipfix_session_create(&s, data[0] & 1, 4))
        return 0;
    for (size_t at = 1; at < size;) {
        int len = ipfix_message_length(data + at, size - at);
        size_t take = len <= 0 || (size_t)len > size - at ? size - at : (size_t)len;
        uint8_t *exact = malloc(take);
        memcpy(exact, data + at, take);
        ipfix_read(s, exact, take, touch, &left);
        free(exact);
        at += take;
    }
    ipfix_session_free(s);
    return 0;
}
