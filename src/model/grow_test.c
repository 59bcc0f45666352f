#include "model/grow.h"
#include "model/test_forward.h"
#include "model/test_models.h"

#include <errno.h>

static const int tokens[] = {72, 101, 108, 108, 111, 3, 200, 17};

static double *logits_of(const char *path)
{
    struct gguf_file *f = test_open(path);
    double *logits = forward_logits(f, tokens, 8);
    gguf_file_close(f);
    return logits;
}

/* Largest difference over the largest logit. */
static double distance(const char *a, const char *b)
{
    double *x = logits_of(a), *y = logits_of(b), most = 0, size = 0;
    for (int i = 0; i < 259; i++) {
        most = fmax(most, fabs(x[i] - y[i]));
        size = fmax(size, fabs(x[i]));
    }
    free(x);
    free(y);
    return most / size;
}

static int grow(const char *in, const char *out, struct model_grow g, struct error *err)
{
    struct gguf_file *f = test_open(in);
    int rc = model_grow(f, &g, out, NULL, err);
    gguf_file_close(f);
    return rc;
}

static struct model_init small(enum model_arch arch)
{
    struct model_init cfg = test_tiny(arch);
    cfg.d = 32;
    cfg.n_block = 3;
    cfg.d_ff = 48;
    cfg.std = 0.2f; /* so that every tensor is felt in the logits */
    cfg.rope_freqs = arch == MODEL_LLAMA;
    cfg.eps = arch == MODEL_QWEN3 ? 1e-7f : 1e-5f; /* qwen3's head norms feel the change of eps: at 1e-5 by 2e-6 */
    return cfg;
}

static void a_grown_model_computes_the_same(void **state)
{
    const struct model_grow all[] = {
        {.d = 64},
        {.d = 128},
        {.n_block = 7},
        {.d_ff = 100},
        {.n_head = 8, .n_head_kv = 4},
        {.n_head = 8},
        {.n_head = 9, .n_head_kv = 3},
        {.d = 96, .n_block = 5, .n_head = 12, .n_head_kv = 3, .d_ff = 128, .seed = 5},
    };
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        struct model_init cfg = small(arch);
        test_make(&cfg, test_path("m.gguf"));
        for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
            struct error err = {""};
            if (grow(test_path("m.gguf"), test_path("g.gguf"), all[i], &err))
                fail_msg("%s", err.text);
            double far = distance(test_path("m.gguf"), test_path("g.gguf"));
            if (!(far < 1e-6))
                fail_msg("%s, case %zu: logits differ by %g", model_arch_name(arch), i, far);
        }
    }
}

/* The comparison above must be able to fail. */
static void another_model_computes_something_else(void **state)
{
    struct model_init cfg = small(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    cfg.seed++;
    test_make(&cfg, test_path("n.gguf"));
    assert_true(distance(test_path("m.gguf"), test_path("n.gguf")) > 0.1);
}

static void new_places_are_mostly_noise(void **state)
{
    struct error err = {""};
    struct model_init cfg = small(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    assert_int_equal(grow(test_path("m.gguf"), test_path("g.gguf"),
                         (struct model_grow){.d = 64, .n_block = 6, .type = GGML_TYPE_F16}, &err),
        0);
    struct gguf_file *f = test_open(test_path("g.gguf"));
    int64_t zeros = 0, all = 0;
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        const ggml_fp16_t *w = t->data;
        for (int64_t j = 0; j < t->ne[0] * t->ne[1] && t->type == GGML_TYPE_F16; j++, all++)
            zeros += w[j] == 0;
    }
    assert_true(zeros < all / 2);
    gguf_file_close(f);
}

static void shrinking_is_refused(void **state)
{
    struct error err = {""};
    struct model_init cfg = small(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    assert_int_equal(grow(test_path("m.gguf"), test_path("g.gguf"), (struct model_grow){.d = 16}, &err), -EINVAL);
    assert_int_equal(grow(test_path("m.gguf"), test_path("g.gguf"), (struct model_grow){.n_block = 2}, &err), -EINVAL);
    assert_int_equal(
        grow(test_path("m.gguf"), test_path("g.gguf"), (struct model_grow){.n_head_kv = 4}, &err), -EINVAL);
    assert_int_equal(grow(test_path("m.gguf"), test_path("g.gguf"), (struct model_grow){.n_head = 7}, &err), -EINVAL);
    assert_int_equal(
        grow(test_path("m.gguf"), test_path("g.gguf"), (struct model_grow){.type = GGML_TYPE_Q8_0}, &err), -EINVAL);
    assert_int_equal(grow(test_path("m.gguf"), test_path("m.gguf"), (struct model_grow){.d = 64}, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grown_model_computes_the_same),
        cmocka_unit_test(another_model_computes_something_else),
        cmocka_unit_test(new_places_are_mostly_noise),
        cmocka_unit_test(shrinking_is_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
