#include "model/cut.h"
#include "model/quantize.h"
#include "model/test_models.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>

/* Wide enough for the types that pack 256. */
static struct model_init wide(enum model_arch arch)
{
    struct model_init cfg = test_tiny(arch);
    cfg.d = 256;
    cfg.d_ff = 256;
    cfg.n_head_kv = 1;
    return cfg;
}

static char notices[4096];

static void take_notice(void *ctx, const char *sentence)
{
    strncat(notices, sentence, sizeof(notices) - strlen(notices) - 1);
}

static struct model_quantized quantize(const char *in, const char *out, struct model_quantize q)
{
    struct gguf_file *f = test_open(in);
    struct model_quantized r = {0};
    struct error err = {""};
    notices[0] = 0;
    q.notice = take_notice;
    if (model_quantize(f, out, &q, &r, NULL, &err))
        fail_msg("%s", err.text);
    gguf_file_close(f);
    return r;
}

static enum ggml_type type_of(const char *path, const char *name)
{
    struct gguf_file *f = test_open(path);
    enum ggml_type type = gguf_file_tensor(f, name)->type;
    gguf_file_close(f);
    return type;
}

static void assert_same_bytes(const char *a, const char *b)
{
    struct file_map x, y;
    assert_int_equal(file_map_open(&x, a, NULL), 0);
    assert_int_equal(file_map_open(&y, b, NULL), 0);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    file_map_close(&x);
    file_map_close(&y);
}

static void each_type_keeps_the_weights_within_its_precision(void **state)
{
    const struct {
        const char *name;
        double most; /* relative error, root mean square */
    } all[] = {
        {"f16", 5e-4}, {"bf16", 4e-3}, {"q8_0", 0.01}, {"Q6_K", 0.03}, {"q5_k_m", 0.05}, {"q4_k", 0.1}, {"q4_0", 0.12}};
    struct model_init cfg = wide(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    double before = 1e-9;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct model_quantize q = {.n_threads = 2};
        struct error err = {""};
        assert_int_equal(model_type_by_name(all[i].name, &q.type, &err), 0);
        struct model_quantized r = quantize(test_path("m.gguf"), test_path("q.gguf"), q);
        double error = sqrt(r.loss.error_sumsq / r.loss.value_sumsq);
        if (!(error < all[i].most && error > before / 2))
            fail_msg("%s: relative error %g", all[i].name, error);
        before = error;
        assert_true(r.bytes_after < r.bytes_before);
        struct gguf_file *f = test_open(test_path("q.gguf"));
        struct model_params p;
        assert_int_equal(model_params_read(&p, f, &err), 0);
        gguf_file_close(f);
        struct gguf_context *g = gguf_init_from_file(test_path("q.gguf"), (struct gguf_init_params){.no_alloc = true});
        assert_non_null(g);
        gguf_free(g);
    }
}

static void the_mixture_is_as_described(void **state)
{
    struct model_init cfg = wide(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    quantize(test_path("m.gguf"), test_path("q.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K});
    assert_string_equal(notices, "");
    assert_int_equal(type_of(test_path("q.gguf"), "output.weight"), GGML_TYPE_Q6_K);
    assert_int_equal(type_of(test_path("q.gguf"), "token_embd.weight"), GGML_TYPE_Q4_K);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.2.ffn_down.weight"), GGML_TYPE_Q6_K);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.1.ffn_down.weight"), GGML_TYPE_Q4_K);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.0.ffn_up.weight"), GGML_TYPE_Q4_K);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.0.attn_norm.weight"), GGML_TYPE_F32);
    quantize(test_path("m.gguf"), test_path("q.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K, .pure = true});
    assert_int_equal(type_of(test_path("q.gguf"), "output.weight"), GGML_TYPE_Q4_K);
    cfg = wide(MODEL_QWEN2);
    test_make(&cfg, test_path("m.gguf"));
    quantize(test_path("m.gguf"), test_path("q.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K});
    assert_int_equal(type_of(test_path("q.gguf"), "token_embd.weight"), GGML_TYPE_Q6_K);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.0.attn_q.bias"), GGML_TYPE_F32);
}

static void rows_that_do_not_fit_fall_back_and_say_so(void **state)
{
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.d_ff = 100;
    test_make(&cfg, test_path("m.gguf"));
    quantize(test_path("m.gguf"), test_path("q.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K});
    assert_int_equal(type_of(test_path("q.gguf"), "blk.1.attn_q.weight"), GGML_TYPE_Q8_0);
    assert_int_equal(type_of(test_path("q.gguf"), "blk.1.ffn_down.weight"), GGML_TYPE_F16);
    assert_non_null(strstr(notices, "cannot pack"));
    quantize(test_path("q.gguf"), test_path("q2.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_0});
    assert_non_null(strstr(notices, "lose twice"));
}

static void threads_do_not_change_the_bytes(void **state)
{
    struct model_init cfg = wide(MODEL_QWEN3);
    cfg.d_ff = 1024;
    cfg.n_block = 1;
    test_make(&cfg, test_path("m.gguf"));
    quantize(test_path("m.gguf"), test_path("a.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K, .n_threads = 1});
    quantize(test_path("m.gguf"), test_path("b.gguf"), (struct model_quantize){.type = GGML_TYPE_Q4_K, .n_threads = 5});
    assert_same_bytes(test_path("a.gguf"), test_path("b.gguf"));
}

static void cutting_before_or_after_is_the_same(void **state)
{
    struct error err = {""};
    struct model_init cfg = wide(MODEL_LLAMA);
    struct model_quantize q = {.type = GGML_TYPE_Q4_K};
    test_make(&cfg, test_path("m.gguf"));
    struct model_split s = {.head = 2, .tail = 2, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
    struct gguf_file *f = test_open(test_path("m.gguf"));
    assert_int_equal(model_split(f, &s, NULL, NULL, &err), 0);
    gguf_file_close(f);
    quantize(test_path("e.gguf"), test_path("eq.gguf"), q);
    quantize(test_path("c.gguf"), test_path("cq.gguf"), q);
    struct gguf_file *e = test_open(test_path("eq.gguf")), *c = test_open(test_path("cq.gguf"));
    if (model_merge(e, c, test_path("merged.gguf"), NULL, &err))
        fail_msg("%s", err.text);
    gguf_file_close(e);
    gguf_file_close(c);
    quantize(test_path("m.gguf"), test_path("mq.gguf"), q);
    assert_same_bytes(test_path("merged.gguf"), test_path("mq.gguf"));
}

static void bad_values_and_names_are_refused(void **state)
{
    struct error err = {""};
    enum ggml_type type;
    assert_int_equal(model_type_by_name("q7_k", &type, &err), -EINVAL);
    assert_non_null(strstr(err.text, "q4_k"));
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    struct gguf_file *f = test_open(test_path("m.gguf"));
    const float bad[] = {__builtin_nanf(""), __builtin_inff(), 1e38f, 7e4f};
    const enum ggml_type to[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, GGML_TYPE_F16};
    const struct gguf_tensor *t = gguf_file_tensor(f, "blk.0.attn_q.weight");
    struct file_map map;
    assert_int_equal(file_map_open(&map, test_path("m.gguf"), NULL), 0);
    const uint8_t *at = memmem(map.data, map.size, t->data, t->size);
    for (int i = 0; i < 4; i++) {
        int fd = open(test_path("m.gguf"), O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, &bad[i], 4, at - map.data + 400), 4);
        close(fd);
        struct model_quantize q = {.type = to[i]};
        assert_int_equal(model_quantize(f, test_path("q.gguf"), &q, NULL, NULL, &err), i < 2 ? -EINVAL : -ERANGE);
        assert_non_null(strstr(err.text, "blk.0.attn_q.weight"));
    }
    struct model_quantize q = {.type = GGML_TYPE_Q8_0};
    assert_int_equal(model_quantize(f, test_path("m.gguf"), &q, NULL, NULL, &err), -EINVAL);
    file_map_close(&map);
    gguf_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_keeps_the_weights_within_its_precision),
        cmocka_unit_test(the_mixture_is_as_described),
        cmocka_unit_test(rows_that_do_not_fit_fall_back_and_say_so),
        cmocka_unit_test(threads_do_not_change_the_bytes),
        cmocka_unit_test(cutting_before_or_after_is_the_same),
        cmocka_unit_test(bad_values_and_names_are_refused),
    };
    int rc = cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
    ggml_quantize_free();
    return rc;
}
