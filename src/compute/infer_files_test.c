/* infer against the plainest forward pass there is (model/test_forward.h, double precision, shares no code), on files
 * that the model tools make: new, grown and cut. */
#include "base/test.h"

#include "compute/infer.h"
#include "model/cut.h"
#include "model/grow.h"
#include "model/test_forward.h"
#include "model/test_models.h"

#include <math.h>

static const int tokens[] = {72, 101, 108, 108, 111, 3, 200, 17};
enum { N = 8, VOCAB = 259 };

/* Logits of the last of the tokens. `in` and `out` are for a span in the middle of others. */
static void run_span(const char *path, int part, const float *in, float *out)
{
    struct gguf_file *f = test_open(path);
    struct model_params p;
    struct error err = {""};
    assert_int_equal(model_params_read(&p, f, &err), 0);
    struct span span = part == 0   ? span_whole(&p)
                       : part == 1 ? span_head(&p)
                       : part == 2 ? span_middle(&p)
                                   : span_tail(&p);
    struct infer_config cfg = {.n_threads = 1, .max_rows = N, .kv_rows = 64, .max_seqs = 1, .kv_f32 = true};
    struct infer *x = NULL;
    struct infer_row rows[N];
    int32_t seq = -1;
    if (infer_create(&x, f, &p, span, &cfg, &err) || infer_seq_open(x, N, &seq))
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++)
        rows[i] = (struct infer_row){.seq = seq, .pos = i, .token = tokens[i], .want = i == N - 1};
    if (infer_run(x, rows, N, in, out, &err))
        fail_msg("%s", err.text);
    infer_free(x);
    gguf_file_close(f);
}

static void assert_near(const char *reference, const float *got, double most, const char *what)
{
    struct gguf_file *f = test_open(reference);
    double *want = forward_logits(f, tokens, N), far = 0, size = 0;
    for (int i = 0; i < VOCAB; i++) {
        far = fmax(far, fabs(want[i] - (double)got[i]));
        size = fmax(size, fabs(want[i]));
    }
    if (!(far < most * size))
        fail_msg("%s: logits differ by %g of %g", what, far, size);
    free(want);
    gguf_file_close(f);
}

static void make(enum model_arch arch)
{
    struct model_init cfg = test_tiny(arch);
    cfg.std = 0.1f;
    cfg.eps = 1e-6f;
    cfg.rope_freqs = arch == MODEL_LLAMA;
    test_make(&cfg, test_path("m.gguf"));
}

static void new_and_grown_models_compute_what_they_should(void **state)
{
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        float logits[VOCAB];
        struct error err = {""};
        struct model_grow grow = {.d = 128, .n_block = 7, .n_head = 8, .n_head_kv = 4, .d_ff = 192};
        make(arch);
        run_span(test_path("m.gguf"), 0, NULL, logits);
        assert_near(test_path("m.gguf"), logits, 1e-4, model_arch_name(arch));
        struct gguf_file *f = test_open(test_path("m.gguf"));
        assert_int_equal(model_grow(f, &grow, test_path("g.gguf"), NULL, &err), 0);
        gguf_file_close(f);
        run_span(test_path("g.gguf"), 0, NULL, logits);
        assert_near(test_path("m.gguf"), logits, 1e-4, "grown");
    }
}

static void the_halves_compute_the_whole(void **state)
{
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        float whole[VOCAB], split[VOCAB], a[N * 64], b[N * 64];
        struct error err = {""};
        make(arch);
        struct gguf_file *f = test_open(test_path("m.gguf"));
        struct model_split s = {
            .head = 2, .tail = 1, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
        assert_int_equal(model_split(f, &s, NULL, NULL, &err), 0);
        gguf_file_close(f);
        run_span(test_path("m.gguf"), 0, NULL, whole);
        run_span(test_path("e.gguf"), 1, NULL, a);
        run_span(test_path("c.gguf"), 2, a, b);
        run_span(test_path("e.gguf"), 3, b, split);
        assert_memory_equal(whole, split, sizeof(whole));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_and_grown_models_compute_what_they_should),
        cmocka_unit_test(the_halves_compute_the_whole),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
