#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "wire/split_payload.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint8_t bytes[SPLIT_MAX_PAYLOAD + 64];

/* With MERIDIAN_CORPUS=DIR, what the tests build is written there as inputs for the fuzzer. */
static void corpus(const char *name, int role, uint8_t op, uint8_t flags, size_t len)
{
    const char *dir = getenv("MERIDIAN_CORPUS");
    if (!dir)
        return;
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    uint8_t head[1 + SPLIT_HEADER] = {(uint8_t)role};
    split_header_encode(head + 1, &(struct split_header){(uint32_t)len, op, flags, 7, 1, 9});
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(head, 1, sizeof(head), f);
    fwrite(bytes, 1, len, f);
    fclose(f);
}

static void test_header_bytes(void **state)
{
    static const uint8_t expected[SPLIT_HEADER] = {
        0x04, 0x03, 0x00, 0x00, 4, 3, 0, 0, 0x78, 0x56, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x90, 8, 7, 6, 5, 4, 3, 2, 1};
    struct split_header h = {0x304, SPLIT_FORWARD, SPLIT_REPLY | SPLIT_MORE, 0x12345678, 0x90abcdef,
                            0x0102030405060708},
                        got;
    uint8_t to[SPLIT_HEADER];
    split_header_encode(to, &h);
    assert_memory_equal(to, expected, sizeof(to));
    assert_int_equal(split_header_decode(&got, to, sizeof(to)), 0);
    assert_memory_equal(&got, &h, sizeof(h));
    for (size_t n = 0; n < SPLIT_HEADER; n++)
        assert_int_equal(split_header_decode(&got, to, n), -EAGAIN);
}

static void header_refused(uint32_t len, uint8_t op, uint8_t flags, uint8_t reserved)
{
    struct split_header h = {len, op, flags, 1, 1, 1};
    uint8_t to[SPLIT_HEADER];
    split_header_encode(to, &h);
    to[6] = reserved;
    assert_int_equal(split_header_decode(&h, to, sizeof(to)), -EPROTO);
}

static void test_header_refused(void **state)
{
    header_refused(SPLIT_MAX_PAYLOAD + 1, SPLIT_FORWARD, 0, 0);
    header_refused(UINT32_MAX, SPLIT_FORWARD, 0, 0);
    header_refused(0, 0, 0, 0);
    header_refused(0, SPLIT_OP_END, 0, 0);
    header_refused(0, 255, 0, 0);
    header_refused(0, SPLIT_FORWARD, 4, 0);
    header_refused(0, SPLIT_FORWARD, 0, 1);
    header_refused(0, SPLIT_PING, SPLIT_MORE, 0);
    header_refused(0, SPLIT_GOAWAY, SPLIT_REPLY, 0);
}

static struct split_hello hello(void)
{
    struct split_hello h = {
        .version = 1, .codecs = 7, .which = SPLIT_BULK, .role = SPLIT_TRAIN, .may_install = true, .d = 0x1000};
    for (uint8_t i = 0; i < 16; i++)
        h.instance[i] = i, h.run[i] = (uint8_t)(0xe0 + i), h.cut.run[i] = (uint8_t)(0xc0 + i);
    for (uint8_t i = 0; i < 32; i++)
        h.cut.id[i] = (uint8_t)(0x40 + i);
    h.cut.head = 2, h.cut.tail = 3, h.cut.step = 0x100;
    return h;
}

/* Every shorter and longer length is refused; every byte that must be zero is; ranges of single bytes are. */
#define REFUSE_LENGTHS(type, decode, n)                                                                                \
    for (size_t k = 0; k < (n) + 9; k++) {                                                                             \
        type refuse_v;                                                                                                 \
        uint8_t *exact = malloc(k ? k : 1);                                                                            \
        memcpy(exact, bytes, k);                                                                                       \
        assert_int_equal(decode(&refuse_v, exact, k), k == (n) ? 0 : -EPROTO);                                         \
        free(exact);                                                                                                   \
    }
#define REFUSE_BYTE(type, decode, n, at, value)                                                                        \
    do {                                                                                                               \
        type refuse_v;                                                                                                 \
        uint8_t was = bytes[at];                                                                                       \
        bytes[at] = (value);                                                                                           \
        assert_int_equal(decode(&refuse_v, bytes, n), -EPROTO);                                                        \
        bytes[at] = was;                                                                                               \
    } while (0)

static void test_hello_bytes(void **state)
{
    struct split_hello h = hello(), got;
    uint8_t expected[112] = {1, 0, 0, 0, 7, 0, 0, 0, 1, 1, 1, 0, 0, 0x10, 0, 0};
    memcpy(expected + 16, h.instance, 16);
    memcpy(expected + 32, h.cut.id, 32);
    expected[64] = 2, expected[68] = 3, expected[73] = 1;
    memcpy(expected + 80, h.cut.run, 16);
    memcpy(expected + 96, h.run, 16);
    assert_int_equal(split_hello_encode(bytes, &h), sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));
    assert_int_equal(split_hello_decode(&got, bytes, sizeof(expected)), 0);
    assert_memory_equal(&got, &h, sizeof(h));
    corpus("hello", 1, SPLIT_HELLO, 0, 112);
    REFUSE_LENGTHS(struct split_hello, split_hello_decode, 112u)
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 4, 6); /* no f32 */
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 4, 15);
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 8, 2);
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 9, 2);
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 10, 2);
    REFUSE_BYTE(struct split_hello, split_hello_decode, 112, 11, 1);
    bytes[0] = 2;
    assert_int_equal(split_hello_decode(&got, bytes, 112), -EPROTONOSUPPORT);
    assert_int_equal(split_hello_decode(&got, bytes, 7), -EPROTONOSUPPORT);
}

static void test_hello_reply(void **state)
{
    struct split_hello_reply r = {.version = 1,
                                 .codecs = 3,
                                 .installed = true,

                                 .max_sessions = 64,
                                 .instance = {9},
                                 .part = 5,
                                 .window = 1 << 20,
                                 .max_install = 1ull << 40,
                                 .max_rows = 4096,
                                 .n_steps = 2,
                                 .steps = {20, 10},
                                 .client = 3},
                             got;
    assert_int_equal(split_hello_reply_encode(bytes, &r), 112);
    assert_int_equal(split_hello_reply_decode(&got, bytes, 112), 0);
    assert_memory_equal(&got, &r, sizeof(r));
    corpus("hello-reply", 0, SPLIT_HELLO, SPLIT_REPLY, 112);
    assert_int_equal(bytes_get_u64(bytes + 64), 20);
    assert_int_equal(bytes_get_u64(bytes + 72), 10);
    REFUSE_LENGTHS(struct split_hello_reply, split_hello_reply_decode, 112u)
    REFUSE_BYTE(struct split_hello_reply, split_hello_reply_decode, 112, 60, 5);
    REFUSE_BYTE(struct split_hello_reply, split_hello_reply_decode, 112, 60, 1); /* a step beyond those counted */
    REFUSE_BYTE(struct split_hello_reply, split_hello_reply_decode, 112, 111, 1);
}

static void test_install(void **state)
{
    struct split_install i = {.offset = 100, .total = 104, .sha256 = {1, 2}}, got;
    size_t n = split_install_encode_start(bytes, &i);
    assert_int_equal(n, 48);
    memcpy(bytes + n, "abcd", 4);
    assert_int_equal(split_install_decode(&got, bytes, n + 4), 0);
    assert_int_equal(got.n, 4);
    assert_ptr_equal(got.bytes, bytes + 48);
    corpus("install", 0, SPLIT_INSTALL, 0, n + 4);
    assert_int_equal(split_install_decode(&got, bytes, n + 5), -EPROTO); /* beyond the total */
    assert_int_equal(split_install_decode(&got, bytes, n), -EPROTO);     /* nothing */
    bytes_put_u64(bytes, UINT64_MAX);
    assert_int_equal(split_install_decode(&got, bytes, n + 4), -EPROTO);
    struct split_install_reply r = {77, true}, r2;
    assert_int_equal(split_install_reply_encode(bytes, &r), 16);
    assert_int_equal(split_install_reply_decode(&r2, bytes, 16), 0);
    assert_true(r2.have == 77 && r2.installed);
    corpus("install-reply", 0, SPLIT_INSTALL, SPLIT_REPLY, 16);
    REFUSE_LENGTHS(struct split_install_reply, split_install_reply_decode, 16u)
}

static void test_open(void **state)
{
    struct split_open o = {.role = SPLIT_SERVE, .n_ctx = 0x1234}, got;
    static const uint8_t expected[] = {0, 0, 0, 0, 0x34, 0x12, 0, 0};
    assert_int_equal(split_open_encode(bytes, &o), 8);
    assert_memory_equal(bytes, expected, 8);
    corpus("open", 0, SPLIT_OPEN, 0, 8);
    REFUSE_LENGTHS(struct split_open, split_open_decode, 8u)
    REFUSE_BYTE(struct split_open, split_open_decode, 8, 0, 1);
    REFUSE_BYTE(struct split_open, split_open_decode, 8, 7, 2); /* beyond SPLIT_MAX_POS */

    o = (struct split_open){.role = SPLIT_TRAIN,
        .train = {.max_rows = 512,
            .max_samples = 8,
            .n_slots = 4,
            .lora_rank = 16,
            .lora_targets = 15,
            .lora_alpha = 32,
            .seed = 99,
            .recompute = true,
            .run = {5}}};
    assert_int_equal(split_open_encode(bytes, &o), 56);
    assert_int_equal(split_open_decode(&got, bytes, 56), 0);
    assert_memory_equal(&got, &o, sizeof(o));
    corpus("open-train", 1, SPLIT_OPEN, 0, 56);
    REFUSE_LENGTHS(struct split_open, split_open_decode, 56u)
    REFUSE_BYTE(struct split_open, split_open_decode, 56, 12, 0);  /* no slot */
    REFUSE_BYTE(struct split_open, split_open_decode, 56, 12, 65); /* too many */
    REFUSE_BYTE(struct split_open, split_open_decode, 56, 20, 128);
    REFUSE_BYTE(struct split_open, split_open_decode, 56, 9, 3); /* more samples than rows */
    bytes_put_f32(bytes + 24, NAN);
    assert_int_equal(split_open_decode(&got, bytes, 56), -EPROTO);
    struct split_open_reply r = {12, true, 1, {10}}, r2;
    assert_int_equal(split_open_reply_encode(bytes, &r), 48);
    assert_int_equal(split_open_reply_decode(&r2, bytes, 48), 0);
    assert_true(r2.steps_done == 12 && r2.fresh && r2.n_steps == 1 && r2.steps[0] == 10);
    corpus("open-reply", 1, SPLIT_OPEN, SPLIT_REPLY, 48);
    REFUSE_LENGTHS(struct split_open_reply, split_open_reply_decode, 48u)
}

static int decode_rows(struct split_rows *r, enum split_role role, uint8_t op, uint8_t flags, size_t len)
{
    struct split_header h = {(uint32_t)len, op, flags, 1, 1, 1};
    return split_rows_decode(r, role, &h, bytes);
}

static void test_rows_serve(void **state)
{
    const float x[3][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {-1, -2, -3, -4}};
    struct split_rows
        p = {.pos0 = 0x102, .n = 5, .row0 = 1, .n_here = 3, .codec = SPLIT_F32, .urgent = true, .answered = 0x99},
        got;
    static const uint8_t expected[24] = {2, 1, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 1, 0x99};
    size_t n = split_rows_encode_start(bytes, SPLIT_SERVE, &p, NULL);
    assert_int_equal(n, 24);
    assert_memory_equal(bytes, expected, 24);
    for (int i = 0; i < 3; i++)
        n += vec_row_encode(SPLIT_F32, x[i], 4, bytes + n);
    assert_int_equal(n, 24 + 3 * 20);
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_MORE, n), 0);
    assert_true(
        got.pos0 == 0x102 && got.n == 5 && got.row0 == 1 && got.n_here == 3 && got.urgent && got.answered == 0x99);
    corpus("forward", 0, SPLIT_FORWARD, SPLIT_MORE, n);
    float y[3][4];
    assert_int_equal(split_rows_unpack(&got, 4, y[0]), 0);
    assert_memory_equal(x, y, sizeof(x));
    assert_int_equal(split_rows_unpack(&got, 5, (float[15]){0}), -EPROTO);
    assert_int_equal(split_rows_unpack(&got, 3, (float[15]){0}), -EPROTO);          /* bytes left over */
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, n), -EPROTO); /* MORE is missing */
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_BACKWARD, SPLIT_MORE, n), -EPROTO);
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_MORE, 23), -EPROTO);
    assert_int_equal(
        decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_MORE | SPLIT_REPLY, n), -EPROTO); /* answered */
    bytes[8] = 3;                                                                             /* rows 3..6 of 5 */
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_MORE, n), -EPROTO);
    bytes[8] = 2;
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_MORE, n), -EPROTO); /* the last has no MORE */
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, n), 0);
    bytes[14] = 3;
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, n), -EPROTO);
    bytes[14] = 0, bytes[15] = 2;
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, n), -EPROTO);
    bytes[15] = 0;
    bytes_put_u32(bytes, SPLIT_MAX_POS + 1);
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, n), -EPROTO);
    p = (struct split_rows){.pos0 = 3};
    split_rows_encode_start(bytes, SPLIT_SERVE, &p, NULL);
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, SPLIT_REPLY, 24), 0); /* dropped */
    assert_int_equal(decode_rows(&got, SPLIT_SERVE, SPLIT_FORWARD, 0, 24), -EPROTO);
}

static void test_rows_train(void **state)
{
    const float x[4] = {1, 2, 3, 4};
    struct split_rows
        p = {.batch = 0x77, .n = 1, .n_here = 1, .codec = SPLIT_F16, .only_eval = true, .n_samples = 1, .answered = 8},
        got;
    static const uint8_t expected[36] = {
        0x77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    uint32_t sample = 1;
    size_t n = split_rows_encode_start(bytes, SPLIT_TRAIN, &p, &sample);
    assert_int_equal(n, 36);
    assert_memory_equal(bytes, expected, 36);
    n += vec_row_encode(SPLIT_F16, x, 4, bytes + n);
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_FORWARD, 0, n), 0);
    assert_int_equal(bytes_get_u32(got.sample_rows), 1);
    corpus("forward-train", 1, SPLIT_FORWARD, 0, n);
    float y[4];
    assert_int_equal(split_rows_unpack(&got, 4, y), 0);
    assert_memory_equal(x, y, sizeof(x));
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_BACKWARD, 0, n), -EPROTO); /* samples, evaluation */
    bytes_put_u32(bytes + 20, 4096);
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_FORWARD, 0, n), -EPROTO); /* more samples than bytes */
    bytes_put_u32(bytes + 20, UINT32_MAX);
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_FORWARD, 0, n), -EPROTO);
    bytes_put_u32(bytes + 20, 0);
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_FORWARD, 0, n), -EPROTO); /* none in the first piece */
    p = (struct split_rows){.batch = 1, .n = 1, .n_here = 1, .want_grad = true};
    n = split_rows_encode_start(bytes, SPLIT_TRAIN, &p, NULL);
    n += vec_row_encode(SPLIT_F32, x, 4, bytes + n);
    assert_int_equal(decode_rows(&got, SPLIT_TRAIN, SPLIT_BACKWARD, 0, n), 0);
    assert_true(got.want_grad && !got.only_eval);
    corpus("backward", 1, SPLIT_BACKWARD, 0, n);
}

static void test_step_and_save(void **state)
{
    struct split_step s = {true, 5, 1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 5}, got;
    assert_int_equal(split_step_encode(bytes, &s), 48);
    assert_int_equal(split_step_decode(&got, bytes, 48), 0);
    assert_true(
        got.apply && got.step == 5 && got.lr == 1e-3f && got.beta2 == 0.95f && got.grad_scale == 0.5f && got.t == 5);
    corpus("step", 1, SPLIT_STEP, 0, 48);
    REFUSE_LENGTHS(struct split_step, split_step_decode, 48u)
    for (int at = 16; at < 40; at += 4) {
        float was = bytes_get_f32(bytes + at);
        bytes_put_f32(bytes + at, at % 8 ? NAN : INFINITY);
        assert_int_equal(split_step_decode(&got, bytes, 48), -EPROTO);
        bytes_put_f32(bytes + at, was);
    }
    REFUSE_BYTE(struct split_step, split_step_decode, 48, 0, 0); /* numbers beside a question for the norm */
    REFUSE_BYTE(struct split_step, split_step_decode, 48, 40, 0);
    struct split_step_reply r = {5, 2.25}, r2;
    assert_int_equal(split_step_reply_encode(bytes, &r), 16);
    assert_int_equal(split_step_reply_decode(&r2, bytes, 16), 0);
    assert_true(r2.step == 5 && r2.sumsq == 2.25);
    corpus("step-reply", 1, SPLIT_STEP, SPLIT_REPLY, 16);
    REFUSE_LENGTHS(struct split_step_reply, split_step_reply_decode, 16u)
    struct split_save v = {7, true, hello().cut}, v2;
    assert_int_equal(split_save_encode(bytes, &v), 80);
    assert_int_equal(split_save_decode(&v2, bytes, 80), 0);
    assert_memory_equal(&v2.cut, &v.cut, sizeof(v.cut));
    corpus("save", 1, SPLIT_SAVE, 0, 80);
    REFUSE_LENGTHS(struct split_save, split_save_decode, 80u)
    REFUSE_BYTE(struct split_save, split_save_decode, 80, 8, 2);
    REFUSE_BYTE(struct split_save, split_save_decode, 80, 15, 1);
}

static void test_ping_and_error(void **state)
{
    struct split_ping p = {42, 1.5}, got;
    assert_int_equal(split_ping_encode(bytes, &p, false), 8);
    corpus("ping", 0, SPLIT_PING, 0, 8);
    assert_int_equal(split_ping_decode(&got, bytes, 8, true), -EPROTO);
    assert_int_equal(split_ping_encode(bytes, &p, true), 16);
    assert_int_equal(split_ping_decode(&got, bytes, 16, true), 0);
    assert_true(got.token == 42 && got.busy_s == 1.5);
    uint64_t v;
    assert_int_equal(split_u64_encode(bytes, 0x0102), 8);
    corpus("window", 0, SPLIT_WINDOW, 0, 8);
    REFUSE_LENGTHS(uint64_t, split_u64_decode, 8u)
    assert_int_equal(split_u64_decode(&v, bytes, 8), 0);
    assert_int_equal(v, 0x0102);

    static const uint8_t expected[] = {6, 0, 0, 0, 'n', 'o', ' ', 'r'};
    struct split_error e;
    assert_int_equal(split_error_encode(bytes, SPLIT_ERR_FULL, "no\nr"), 8);
    assert_memory_equal(bytes, expected, 8);
    corpus("error", 0, SPLIT_ERROR, SPLIT_REPLY, 8);
    assert_int_equal(split_error_decode(&e, bytes, 8), 0);
    assert_int_equal(e.code, SPLIT_ERR_FULL);
    assert_string_equal(e.text, "no r");
    assert_int_equal(split_error_decode(&e, bytes, 4), 0);
    assert_string_equal(e.text, "");
    assert_int_equal(split_error_decode(&e, bytes, 3), -EPROTO);
    REFUSE_BYTE(struct split_error, split_error_decode, 8, 0, 0);
    REFUSE_BYTE(struct split_error, split_error_decode, 8, 0, SPLIT_ERR_END);
    REFUSE_BYTE(struct split_error, split_error_decode, 8, 5, '\n');
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    size_t n = split_error_encode(bytes, SPLIT_ERR_INTERNAL, text);
    assert_int_equal(n, 4 + SPLIT_MAX_TEXT);
    assert_int_equal(split_error_decode(&e, bytes, n), 0);
    assert_int_equal(split_error_decode(&e, bytes, n + 1), -EPROTO);
    for (unsigned i = 1; i < SPLIT_ERR_END; i++)
        assert_string_not_equal(split_error_name(i), "unknown");
    assert_string_equal(split_error_name(12345), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_header_refused),
        cmocka_unit_test(test_hello_bytes),
        cmocka_unit_test(test_hello_reply),
        cmocka_unit_test(test_install),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_rows_serve),
        cmocka_unit_test(test_rows_train),
        cmocka_unit_test(test_step_and_save),
        cmocka_unit_test(test_ping_and_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
