/* What infer.h promises beside numbers: admission, refusals that run nothing, wiping, and that one sequence's poison
 * stays its own. */
#include "base/test.h"

#include "compute/infer.h"
#include "compute/infer_inner.h"
#include "compute/model_testing.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    struct gguf_file *f;
    struct model_params p;
    struct infer *x;
};

static struct fixture start(struct model_testing m, bool middle, uint64_t kv_rows)
{
    struct fixture t = {0};
    struct infer_config cfg = {.n_threads = 2, .max_rows = 16, .kv_rows = kv_rows, .max_seqs = 4};
    struct error err = {""};
    t.f = model_testing_open(&m, &t.p);
    if (infer_create(&t.x, t.f, &t.p, middle ? span_middle(&t.p) : span_whole(&t.p), &cfg, &err))
        fail_msg("%s", err.text);
    return t;
}

static void stop(struct fixture *t)
{
    infer_free(t->x);
    gguf_file_close(t->f);
}

static void test_admission(void **state)
{
    struct fixture t = start(model_testing_default(), false, 4 * KV_PAGE);
    int32_t a, b, c, d, e;
    assert_int_equal(infer_seq_open(t.x, 4 * KV_PAGE + 1, &a), -E2BIG);
    assert_int_equal(infer_seq_open(t.x, 0, &a), -EINVAL);
    assert_int_equal(infer_seq_open(t.x, 3 * KV_PAGE, &a), 0);
    assert_int_equal(infer_seq_open(t.x, KV_PAGE + 1, &b), -ENOSPC);
    assert_int_equal(infer_seq_open(t.x, KV_PAGE, &b), 0);
    assert_int_equal(infer_use(t.x).kv_rows_free, 0);
    assert_int_equal(infer_use(t.x).seqs_open, 2);
    infer_seq_close(t.x, a);
    infer_seq_close(t.x, a); /* once more harms nothing */
    infer_seq_close(t.x, 99);
    assert_int_equal(infer_use(t.x).kv_rows_free, 3 * KV_PAGE);
    assert_int_equal(infer_seq_open(t.x, 1, &a), 0);
    assert_int_equal(infer_seq_open(t.x, 1, &c), 0);
    assert_int_equal(infer_seq_open(t.x, 1, &d), 0);
    assert_int_equal(infer_seq_open(t.x, 1, &e), -ENOSPC);
    stop(&t);
}

static int try(struct fixture *t, const struct infer_row *rows, uint32_t n)
{
    float out[4 * 128];
    struct error err = {""};
    int rc = infer_run(t->x, rows, n, NULL, out, &err);
    assert_true(!rc == !err.text[0]);
    return rc;
}

static void test_refusals(void **state)
{
    struct fixture t = start(model_testing_default(), false, 256);
    int32_t s;
    assert_int_equal(infer_seq_open(t.x, 3, &s), 0);
    struct infer_row good[] = {{s, 0, 1, true}, {s, 1, 2, true}, {s, 2, 3, true}, {s, 3, 4, true}};
    assert_int_equal(try(&t, good, 4), -EINVAL); /* the fourth is beyond n_ctx */
    assert_int_equal(infer_seq_len(t.x, s), 0);  /* so none was run */
    struct infer_row bad = good[0];
    bad.seq = s + 1;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    bad.seq = -1;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    bad = good[0];
    bad.pos = 1;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    bad.pos = -1;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    bad = good[0];
    bad.token = 128;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    bad.token = -1;
    assert_int_equal(try(&t, &bad, 1), -EINVAL);
    assert_int_equal(try(&t, good, 2), 0);
    assert_int_equal(infer_seq_len(t.x, s), 2);
    assert_int_equal(try(&t, good, 2), -EINVAL); /* again the same positions */
    infer_seq_truncate(t.x, s, 1);
    assert_int_equal(try(&t, good + 1, 2), 0);
    assert_int_equal(try(&t, good, 0), 0);
    stop(&t);
}

static bool all_zero(const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void test_wiped(void **state)
{
    struct fixture t = start(model_testing_default(), false, 512);
    struct infer_row rows[150];
    float *out = malloc(150 * 128 * sizeof *out);
    int32_t s;
    assert_int_equal(infer_seq_open(t.x, 200, &s), 0);
    for (int i = 0; i < 150; i++)
        rows[i] = (struct infer_row){.seq = s, .pos = i, .token = i % 128};
    assert_int_equal(infer_run(t.x, rows, 150, NULL, out, NULL), 0);
    infer_seq_truncate(t.x, s, 3); /* what was beyond must go too */
    assert_false(all_zero(t.x->kv.mem, t.x->kv.size));
    infer_seq_close(t.x, s);
    assert_true(all_zero(t.x->kv.mem, t.x->kv.size));
    free(out);
    stop(&t);
}

/* A peer may send anything as a vector. */
static void check_poison(enum ggml_type type)
{
    struct model_testing m = model_testing_default();
    m.type = type;
    m.d = m.d_ff = 256;
    m.head = m.tail = 1;
    struct fixture t = start(m, true, 512);
    float in[6][256], out[6][256], clean[6][256];
    const float poison[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-40f};
    for (int round = 0; round < 2; round++) {
        struct infer_row rows[6];
        int32_t s[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(infer_seq_open(t.x, 8, &s[i]), 0);
        for (int i = 0; i < 6; i++) {
            rows[i] = (struct infer_row){.seq = s[i % 2], .pos = i / 2};
            for (int d = 0; d < 256; d++)
                in[i][d] = i % 2 && round ? poison[(d + i) % 6] : (float)(d % 13 - 6) / (float)(i + 1);
        }
        assert_int_equal(infer_run(t.x, rows, 6, in[0], round ? out[0] : clean[0], NULL), 0);
        for (int i = 0; i < 2; i++)
            infer_seq_close(t.x, s[i]);
    }
    for (int i = 0; i < 6; i += 2)
        assert_memory_equal(out[i], clean[i], sizeof out[i]);
    stop(&t);
}

static void test_poison(void **state)
{
    check_poison(GGML_TYPE_F32);
    check_poison(GGML_TYPE_F16);
    check_poison(GGML_TYPE_Q8_0);
    check_poison(GGML_TYPE_Q4_K);
    check_poison(GGML_TYPE_IQ4_XS);
    matrix_allow(false);
    check_poison(GGML_TYPE_Q4_K);
    check_poison(GGML_TYPE_Q6_K);
    check_poison(GGML_TYPE_F32);
    matrix_allow(true);
}

static void test_wrong_spans(void **state)
{
    struct model_testing m = model_testing_default();
    struct model_params p;
    struct gguf_file *f = model_testing_open(&m, &p);
    struct infer_config cfg = {.kv_rows = 64};
    struct infer *x = NULL;
    const struct span wrong[] = {{.first = 2, .last = 1}, {.first = 0, .last = 9},
        {.first = 1, .last = 2, .embed = true}, {.first = 0, .last = 2, .output = true}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error err = {""};
        assert_int_equal(infer_create(&x, f, &p, wrong[i], &cfg, &err), -EINVAL);
        assert_true(err.text[0]);
    }
    /* Nothing but the ends is fine. */
    struct span ends = {.first = 0, .last = 0, .embed = true};
    assert_int_equal(infer_create(&x, f, &p, ends, &cfg, NULL), 0);
    int32_t s;
    float out[64];
    assert_int_equal(infer_seq_open(x, 4, &s), 0);
    assert_int_equal(infer_run(x, &(struct infer_row){.seq = s, .token = 5}, 1, NULL, out, NULL), 0);
    assert_memory_equal(out, (const float *)gguf_file_tensor(f, "token_embd.weight")->data + 5 * 64, sizeof out);
    infer_free(x);
    gguf_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_wiped),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_wrong_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
