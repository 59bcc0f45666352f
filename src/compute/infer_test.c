/* A row's numbers must not depend on its company. The reference is one sequence run row by row on one thread; every
 * other way of computing the same must give the same bits. */
#include "base/test.h"

#include "base/rng.h"
#include "compute/infer.h"
#include "compute/matrix.h"
#include "compute/model_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 70u /* rows of the sequence that is looked at */

struct fixture {
    struct gguf_file *f;
    struct model_params p;
    uint64_t seed;
    float *want; /* [N][n_vocab] */
};

static struct infer *create(const struct fixture *x, struct span span, uint32_t n_threads, uint32_t max_rows)
{
    struct infer_config cfg = {.n_threads = n_threads, .max_rows = max_rows, .kv_rows = 1024, .max_seqs = 8};
    struct error err = {""};
    struct infer *i = NULL;
    if (infer_create(&i, x->f, &x->p, span, &cfg, &err))
        fail_msg("%s", err.text);
    return i;
}

static int32_t open_seq(struct infer *x, uint32_t n_ctx)
{
    int32_t seq = -1;
    assert_int_equal(infer_seq_open(x, n_ctx, &seq), 0);
    return seq;
}

static struct infer_row row_of(const struct fixture *x, int32_t seq, uint32_t pos, uint64_t stream)
{
    return (struct infer_row){.seq = seq,
        .pos = (int32_t)pos,
        .want = true,
        .token = (int32_t)rng_below(x->seed + stream, pos, x->p.n_vocab)};
}

static void run(struct infer *x, const struct infer_row *rows, uint32_t n, const float *in, float *out)
{
    struct error err = {""};
    if (infer_run(x, rows, n, in, out, &err))
        fail_msg("%s", err.text);
}

static void same_bits(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], 4))
            fail_msg("%s: value %zu is %.9g, not %.9g", what, i, (double)got[i], (double)want[i]);
}

static void setup(struct fixture *x, const struct model_testing *m)
{
    *x = (struct fixture){.seed = m->seed};
    x->f = model_testing_open(m, &x->p);
    x->want = calloc((size_t)N * x->p.n_vocab, sizeof(float));
    struct infer *i = create(x, span_whole(&x->p), 1, 4);
    int32_t seq = open_seq(i, N);
    for (uint32_t pos = 0; pos < N; pos++) {
        struct infer_row r = row_of(x, seq, pos, 0);
        run(i, &r, 1, NULL, x->want + (size_t)pos * x->p.n_vocab);
    }
    infer_free(i);
}

static void teardown(struct fixture *x)
{
    gguf_file_close(x->f);
    free(x->want);
}

/* The whole sequence in chunks of n rows (0: sizes at random), after `company` rows of other sequences in each call. */
static void check_chunks(const struct fixture *x, struct infer *i, uint32_t n, uint32_t company, const char *what)
{
    const uint32_t v = x->p.n_vocab;
    struct infer_row rows[3 * N];
    float *out = malloc(3ull * N * v * sizeof *out);
    int32_t other[2] = {0}, seq = open_seq(i, N);
    uint32_t other_pos = 0;
    for (int j = 0; j < 2 && company; j++)
        other[j] = open_seq(i, 300);
    for (uint32_t pos = 0, k; pos < N; pos += k) {
        uint32_t m = 0, first;
        k = n ? n : 1 + rng_below(99, pos, 20);
        k = k < N - pos ? k : N - pos;
        for (uint32_t c = 0; c < company && other_pos < 300; c++, other_pos++)
            for (int j = 0; j < 2; j++)
                rows[m++] = row_of(x, other[j], other_pos, 1 + (uint64_t)j);
        first = m;
        for (uint32_t r = 0; r < k; r++)
            rows[m++] = row_of(x, seq, pos + r, 0);
        run(i, rows, m, NULL, out);
        same_bits(out + (size_t)first * v, x->want + (size_t)pos * v, (size_t)k * v, what);
    }
    infer_seq_close(i, seq);
    for (int j = 0; j < 2 && company; j++)
        infer_seq_close(i, other[j]);
    free(out);
}

static void check_truncation(const struct fixture *x, struct infer *i)
{
    const uint32_t v = x->p.n_vocab;
    struct infer_row rows[N];
    float *out = malloc((size_t)N * v * sizeof *out);
    int32_t seq = open_seq(i, N);
    for (uint32_t r = 0; r < 40; r++)
        rows[r] = row_of(x, seq, r, r < 25 ? 0 : 7); /* other tokens from 25 on */
    run(i, rows, 40, NULL, out);
    infer_seq_truncate(i, seq, 25);
    assert_int_equal(infer_seq_len(i, seq), 25);
    for (uint32_t r = 25; r < N; r++)
        rows[r - 25] = row_of(x, seq, r, 0);
    run(i, rows, N - 25, NULL, out);
    same_bits(out, x->want + 25ull * v, (N - 25ull) * v, "after truncation and replay");
    infer_seq_close(i, seq);
    free(out);
}

/* Head, middle and tail apart, each with its own chunks. */
static void check_cut(const struct fixture *x, uint32_t n_threads)
{
    const uint32_t v = x->p.n_vocab, d = x->p.d;
    struct infer *part[3] = {create(x, span_head(&x->p), n_threads, 32), create(x, span_middle(&x->p), n_threads, 8),
        create(x, span_tail(&x->p), n_threads, 64)};
    float *a = malloc((size_t)N * d * sizeof *a), *b = malloc((size_t)N * d * sizeof *b);
    float *out = malloc((size_t)N * v * sizeof *out);
    struct infer_row rows[N];
    for (uint32_t i = 0; i < 3; i++) {
        int32_t seq = open_seq(part[i], N);
        for (uint32_t r = 0; r < N; r++)
            rows[r] = row_of(x, seq, r, 0);
        run(part[i], rows, 33, i == 1 ? a : b, i == 0 ? a : i == 1 ? b : out);
        run(part[i], rows + 33, N - 33, (i == 1 ? a : b) + 33ull * d,
            i == 0   ? a + 33ull * d
            : i == 1 ? b + 33ull * d
                     : out + 33ull * v);
        infer_free(part[i]);
    }
    same_bits(out, x->want, (size_t)N * v, "cut in three");
    free(a);
    free(b);
    free(out);
}

static void check_all(const struct model_testing *m)
{
    struct fixture x;
    setup(&x, m);
    const char *type = ggml_type_name(m->type);
    for (uint32_t threads = 1; threads <= 4; threads++) {
        char what[64];
        snprintf(what, sizeof what, "%s %s, %u threads", model_arch_name(m->arch), type, threads);
        struct infer *i = create(&x, span_whole(&x.p), threads, threads == 3 ? 20 : 128);
        check_chunks(&x, i, 0, 0, what);
        check_chunks(&x, i, 5, 3, what);
        if (threads < 3) {
            check_chunks(&x, i, N, 0, what);
            check_chunks(&x, i, 1, 7, what);
        }
        if (threads == 2) {
            for (uint32_t n = 2; n < 36; n += n < 10 ? 1 : 5)
                check_chunks(&x, i, n, 0, what);
            check_truncation(&x, i);
        }
        infer_free(i);
    }
    check_cut(&x, 2);
    teardown(&x);
}

static struct model_testing wide(enum ggml_type type)
{
    struct model_testing m = model_testing_default();
    m.type = type;
    m.d = 256;
    m.n_head = 8;
    m.head_dim = 32;
    m.d_ff = 512;
    m.n_vocab = 320;
    m.head = m.tail = 1;
    return m;
}

static void test_f32(void **state)
{
    check_all(&(struct model_testing){.arch = MODEL_LLAMA,
        .n_block = 4,
        .d = 64,
        .n_head = 4,
        .n_head_kv = 2,
        .head_dim = 16,
        .d_ff = 160,
        .n_vocab = 128,
        .n_ctx = 512,
        .head = 1,
        .tail = 2,
        .seed = 3});
}

/* Nothing is a multiple of anything: widths, heads, vocabulary. */
static void test_odd_sizes(void **state)
{
    struct model_testing m = {.arch = MODEL_QWEN2,
        .n_block = 3,
        .d = 90,
        .n_head = 6,
        .n_head_kv = 1,
        .head_dim = 22,
        .d_ff = 210,
        .n_vocab = 123,
        .n_ctx = 512,
        .head = 1,
        .tail = 1,
        .seed = 4};
    check_all(&m);
    m.type = GGML_TYPE_F16;
    check_all(&m);
    m.type = GGML_TYPE_Q8_0;
    m.d = 96;
    m.n_head = 20;
    m.head_dim = 6;
    m.arch = MODEL_QWEN3;
    m.window = 17;
    check_all(&m);
}

static void check_types(const enum ggml_type *types, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct model_testing m = wide(types[i]);
        m.arch = (const enum model_arch[]){MODEL_LLAMA, MODEL_QWEN2, MODEL_QWEN3}[i % 3];
        m.seed = 10 + i;
        check_all(&m);
    }
}

static void test_common_types(void **state)
{
    static const enum ggml_type types[] = {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
    check_types(types, sizeof types / sizeof *types);
}

static void test_all_types(void **state)
{
    static const enum ggml_type types[] = {GGML_TYPE_F32, GGML_TYPE_BF16, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1,
        GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q5_K, GGML_TYPE_IQ4_NL,
        GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4, GGML_TYPE_IQ3_S, GGML_TYPE_IQ2_S, GGML_TYPE_IQ3_XXS, GGML_TYPE_TQ1_0,
        GGML_TYPE_TQ2_0};
    check_types(types, sizeof types / sizeof *types);
}

/* What machines do that have no kernels of ours for these. */
static void test_without_ours(void **state)
{
    static const enum ggml_type types[] = {
        GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};
    matrix_allow(false);
    check_types(types, sizeof types / sizeof *types);
    matrix_allow(true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest fast[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_common_types),
    };
    const struct CMUnitTest slow[] = {cmocka_unit_test(test_all_types), cmocka_unit_test(test_without_ours)};
    return argc > 1 ? cmocka_run_group_tests(slow, NULL, NULL) : cmocka_run_group_tests(fast, NULL, NULL);
}
