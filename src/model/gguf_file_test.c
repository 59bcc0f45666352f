/* Files are made here byte by byte, so that every field can also be wrong. */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/test.h"
#include "model/gguf_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t p[4];
    bytes_put_u32(p, v);
    assert_int_equal(buf_append(b, p, 4), 0);
}

static void put_u64(struct buf *b, uint64_t v)
{
    uint8_t p[8];
    bytes_put_u64(p, v);
    assert_int_equal(buf_append(b, p, 8), 0);
}

static void put_str(struct buf *b, const char *s)
{
    put_u64(b, strlen(s));
    assert_int_equal(buf_append_str(b, s), 0);
}

static void put_key(struct buf *b, const char *name, enum gguf_type type)
{
    put_str(b, name);
    put_u32(b, type);
}

static void put_tensor(struct buf *b, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
    put_str(b, name);
    put_u32(b, 2);
    put_u64(b, ne0);
    put_u64(b, ne1);
    put_u32(b, type);
    put_u64(b, offset);
}

static void put_header(struct buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    assert_int_equal(buf_append_str(b, "GGUF"), 0);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_keys);
}

static void put_data(struct buf *b, size_t n)
{
    while (b->len % 32)
        assert_int_equal(buf_append(b, "", 1), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_append(b, &(uint8_t){(uint8_t)i}, 1), 0);
}

/* One key of every kind and two tensors, 96 bytes of data in all. */
static struct buf sample(void)
{
    struct buf b = {0};
    put_header(&b, 3, 2, 7);
    put_key(&b, "a.u8", GGUF_TYPE_UINT8);
    assert_int_equal(buf_append(&b, "\xc8", 1), 0);
    put_key(&b, "a.i32", GGUF_TYPE_INT32);
    put_u32(&b, (uint32_t)-5);
    put_key(&b, "a.f64", GGUF_TYPE_FLOAT64);
    uint8_t d[8];
    bytes_put_f64(d, 2.5);
    assert_int_equal(buf_append(&b, d, 8), 0);
    put_key(&b, "a.bool", GGUF_TYPE_BOOL);
    assert_int_equal(buf_append(&b, "\1", 1), 0);
    put_key(&b, "a.str", GGUF_TYPE_STRING);
    put_str(&b, "text");
    put_key(&b, "a.strs", GGUF_TYPE_ARRAY);
    put_u32(&b, GGUF_TYPE_STRING);
    put_u64(&b, 3);
    put_str(&b, "x");
    put_str(&b, "");
    put_str(&b, "zz");
    put_key(&b, "a.nums", GGUF_TYPE_ARRAY);
    put_u32(&b, GGUF_TYPE_UINT16);
    put_u64(&b, 2);
    put_u32(&b, 0x00020001);
    put_tensor(&b, "t.f32", 4, 2, GGML_TYPE_F32, 0);
    put_tensor(&b, "t.q8", 32, 1, GGML_TYPE_Q8_0, 32);
    put_data(&b, 32 + 34);
    return b;
}

static int open_bytes(const struct buf *b, struct error *err)
{
    struct gguf_file *f = NULL;
    int rc = gguf_file_open_bytes(&f, b->data, b->len, "test.gguf", err);
    gguf_file_close(f);
    return rc;
}

/* Refused, with a sentence that names the file and contains `word`. */
static void refuses(struct buf *b, int code, const char *word)
{
    struct error err = {""};
    assert_int_equal(open_bytes(b, &err), -code);
    assert_non_null(strstr(err.text, "test.gguf"));
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
    buf_done(b);
}

static void every_kind_of_value_reads_back(void **state)
{
    struct buf b = sample();
    struct gguf_file *f;
    struct error err = {""};
    assert_int_equal(gguf_file_open_bytes(&f, b.data, b.len, "test.gguf", &err), 0);
    uint32_t u = 0;
    float x = 0;
    bool yes = false;
    struct gguf_str s;
    enum gguf_type type;
    uint64_t n;
    assert_int_equal(gguf_file_u32(f, "a.u8", &u), 0);
    assert_int_equal(u, 200);
    assert_int_equal(gguf_file_u32(f, "a.i32", &u), -ERANGE);
    assert_int_equal(gguf_file_u32(f, "a.none", &u), -ENOENT);
    assert_int_equal(gguf_file_u32(f, "a.str", &u), -EINVAL);
    assert_int_equal(gguf_file_f32(f, "a.f64", &x), 0);
    assert_true(x == 2.5f);
    assert_int_equal(gguf_file_bool(f, "a.bool", &yes), 0);
    assert_true(yes);
    assert_int_equal(gguf_file_str(f, "a.str", &s), 0);
    assert_int_equal(s.len, 4);
    assert_memory_equal(s.s, "text", 4);
    assert_int_equal(gguf_file_array(f, "a.strs", &type, &n), 0);
    assert_int_equal(type, GGUF_TYPE_STRING);
    assert_int_equal(n, 3);
    assert_int_equal(gguf_file_array_str(f, "a.strs", 2, &s), 0);
    assert_memory_equal(s.s, "zz", 2);
    assert_int_equal(gguf_file_array_str(f, "a.strs", 3, &s), -ERANGE);
    assert_int_equal(gguf_file_array_str(f, "a.nums", 0, &s), -EINVAL);
    const void *raw;
    assert_int_equal(gguf_file_array_raw(f, "a.nums", &raw), 0);
    assert_int_equal(bytes_get_u16((const uint8_t *)raw + 2), 2);
    assert_int_equal(gguf_file_array_raw(f, "a.strs", &raw), -EINVAL);
    gguf_file_close(f);
    buf_done(&b);
}

static void keys_and_tensors_keep_their_order(void **state)
{
    struct buf b = sample();
    struct gguf_file *f;
    struct error err = {""};
    assert_int_equal(gguf_file_open_bytes(&f, b.data, b.len, "test.gguf", &err), 0);
    assert_int_equal(gguf_file_n_keys(f), 7);
    assert_string_equal(gguf_file_key_at(f, 0), "a.u8");
    assert_int_equal(gguf_file_key_type_at(f, 4), GGUF_TYPE_STRING);
    struct gguf_str raw = gguf_file_key_raw_at(f, 4);
    assert_int_equal(raw.len, 12);
    assert_memory_equal(raw.s, "\4\0\0\0\0\0\0\0text", 12);
    assert_null(gguf_file_key_at(f, 7));
    assert_int_equal(gguf_file_n_tensors(f), 2);
    const struct gguf_tensor *t = gguf_file_tensor(f, "t.q8");
    assert_ptr_equal(t, gguf_file_tensor_at(f, 1));
    assert_int_equal(t->size, 34);
    assert_int_equal(*(const uint8_t *)t->data, 32);
    assert_null(gguf_file_tensor(f, "t.q9"));
    gguf_file_close(f);
    buf_done(&b);
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    struct buf b = sample();
    size_t whole = b.len;
    for (size_t n = 0; n < whole; n++) {
        struct error err = {""};
        uint8_t *exact = malloc(n ? n : 1); /* so that ASan sees a step beyond */
        memcpy(exact, b.data, n);
        struct gguf_file *f = NULL;
        int rc = gguf_file_open_bytes(&f, exact, n, "test.gguf", &err);
        assert_true(rc < 0 && err.text[0]);
        free(exact);
    }
    struct error err;
    assert_int_equal(open_bytes(&b, &err), 0);
    buf_done(&b);
}

static void walk(const struct gguf_file *f)
{
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        assert_ptr_equal(gguf_file_tensor(f, t->name), t);
        volatile uint8_t last = ((const uint8_t *)t->data)[t->size - 1];
        (void)last;
    }
    for (size_t i = 0; i < gguf_file_n_keys(f); i++) {
        enum gguf_type type;
        uint64_t n;
        struct gguf_str s;
        if (!gguf_file_array(f, gguf_file_key_at(f, i), &type, &n) && type == GGUF_TYPE_STRING)
            for (uint64_t j = 0; j < n; j++)
                assert_int_equal(gguf_file_array_str(f, gguf_file_key_at(f, i), j, &s), 0);
    }
}

static void no_flipped_bit_leads_out_of_the_file(void **state)
{
    struct buf b = sample();
    int refused = 0;
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        struct error err = {""};
        struct gguf_file *f = NULL;
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (!gguf_file_open_bytes(&f, b.data, b.len, "test.gguf", &err))
            walk(f);
        else
            refused++;
        gguf_file_close(f);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > 500);
    buf_done(&b);
}

static void wrong_headers_are_told_apart(void **state)
{
    struct buf b = {0};
    buf_append_str(&b, "GGML1234567890123456789012345678");
    refuses(&b, EINVAL, "not a GGUF file");
    put_header(&b, 1, 0, 0);
    refuses(&b, ENOTSUP, "version 1");
    put_header(&b, 3u << 24, 0, 0);
    refuses(&b, ENOTSUP, "big-endian");
    put_header(&b, 3, 0, UINT64_MAX);
    refuses(&b, EINVAL, "keys");
    put_header(&b, 3, INT64_MAX, 0);
    refuses(&b, EINVAL, "tensors");
    refuses(&b, EINVAL, "not a GGUF file"); /* empty */
}

static void hostile_keys_are_refused(void **state)
{
    struct buf b = {0};
    put_header(&b, 3, 0, 1);
    put_u64(&b, UINT64_MAX);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "truncated");
    put_header(&b, 3, 0, 1);
    put_key(&b, "", GGUF_TYPE_UINT32);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "name");
    put_header(&b, 3, 0, 1);
    put_key(&b, "k", 13);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "type");
    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_TYPE_ARRAY);
    put_u32(&b, GGUF_TYPE_STRING);
    put_u64(&b, UINT64_MAX / 8 + 2);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "truncated");
    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_TYPE_ARRAY);
    put_u32(&b, GGUF_TYPE_UINT64);
    put_u64(&b, UINT64_MAX / 8 + 2);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "truncated");
    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GGUF_TYPE_ARRAY);
    put_u32(&b, GGUF_TYPE_ARRAY);
    put_u64(&b, 0);
    refuses(&b, EINVAL, "type");
    put_header(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_key(&b, "same", GGUF_TYPE_UINT32);
        put_u32(&b, 0);
    }
    refuses(&b, EINVAL, "twice");
    put_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GGUF_TYPE_UINT32);
    put_u32(&b, 48);
    refuses(&b, EINVAL, "alignment");
}

/* A file with one tensor as described and 4096 bytes of data. */
static struct buf one_tensor(uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
    struct buf b = {0};
    put_header(&b, 3, 1, 0);
    put_tensor(&b, "w", ne0, ne1, type, offset);
    put_data(&b, 4096);
    return b;
}

static void hostile_tensors_are_refused(void **state)
{
    const struct {
        uint64_t ne0, ne1;
        uint32_t type;
        uint64_t offset;
        int code;
        const char *word;
    } cases[] = {
        {0, 1, GGML_TYPE_F32, 0, EINVAL, "dimension"},
        {UINT64_MAX, 1, GGML_TYPE_F32, 0, EINVAL, "dimension"},
        {INT64_MAX, 1, GGML_TYPE_F32, 0, EINVAL, "larger"},
        {1ull << 32, 1ull << 32, GGML_TYPE_F32, 0, EINVAL, "larger"},
        {32, INT64_MAX, GGML_TYPE_Q8_0, 0, EINVAL, "larger"},
        {33, 1, GGML_TYPE_Q8_0, 0, EINVAL, "multiple"},
        {32, 1, 4, 0, ENOTSUP, "type"},
        {32, 1, UINT32_MAX, 0, ENOTSUP, "type"},
        {32, 1, GGML_TYPE_F32, 4, EINVAL, "aligned"},
        {32, 1, GGML_TYPE_F32, 4096, EINVAL, "beyond"},
        {32, 1, GGML_TYPE_F32, UINT64_MAX - 31, EINVAL, "beyond"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf b = one_tensor(cases[i].ne0, cases[i].ne1, cases[i].type, cases[i].offset);
        refuses(&b, cases[i].code, cases[i].word);
    }
    struct buf b = one_tensor(32, 32, GGML_TYPE_F32, 0);
    struct error err;
    assert_int_equal(open_bytes(&b, &err), 0);
    buf_done(&b);
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 32, 1, GGML_TYPE_F32, 0);
    put_tensor(&b, "b", 32, 1, GGML_TYPE_F32, 96);
    put_data(&b, 4096);
    refuses(&b, EINVAL, "overlap");
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 32, 1, GGML_TYPE_F32, 0);
    put_tensor(&b, "a", 32, 1, GGML_TYPE_F32, 128);
    put_data(&b, 4096);
    refuses(&b, EINVAL, "twice");
}

static void real_vocabularies_open(void **state)
{
    const char *shared = getenv("MERIDIAN_SHARED");
    char path[512];
    snprintf(path, sizeof(path), "%s/data/vocab/ggml-vocab-gpt-2.gguf", shared ? shared : "../shared");
    struct gguf_file *f;
    struct error err;
    int rc = gguf_file_open(&f, path, &err);
    if (rc == -ENOENT) {
        print_message("no %s here: skipped\n", path);
        skip();
    }
    assert_int_equal(rc, 0);
    struct gguf_str s;
    assert_int_equal(gguf_file_array_str(f, "tokenizer.ggml.tokens", 50256, &s), 0);
    assert_memory_equal(s.s, "<|endoftext|>", 13);
    assert_string_equal(gguf_file_name(f), path);
    gguf_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_reads_back),
        cmocka_unit_test(keys_and_tensors_keep_their_order),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(no_flipped_bit_leads_out_of_the_file),
        cmocka_unit_test(wrong_headers_are_told_apart),
        cmocka_unit_test(hostile_keys_are_refused),
        cmocka_unit_test(hostile_tensors_are_refused),
        cmocka_unit_test(real_vocabularies_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
