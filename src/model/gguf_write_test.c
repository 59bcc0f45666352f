#include "base/buf.h"
#include "model/gguf_write.h"
#include "model/test_models.h"
#include "os/file.h"

#include <errno.h>

static void a_written_file_reads_back_here_and_in_ggml(void **state)
{
    struct model_init cfg = test_tiny(MODEL_QWEN3);
    test_make(&cfg, test_path("a.gguf"));
    struct gguf_file *f = test_open(test_path("a.gguf"));
    struct gguf_context *g = gguf_init_from_file(test_path("a.gguf"), (struct gguf_init_params){.no_alloc = true});
    assert_non_null(g);
    assert_int_equal(gguf_get_n_tensors(g), gguf_file_n_tensors(f));
    assert_int_equal(gguf_get_n_kv(g), gguf_file_n_keys(f));
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        assert_string_equal(gguf_get_tensor_name(g, (int64_t)i), t->name);
        assert_int_equal(gguf_get_tensor_size(g, (int64_t)i), t->size);
    }
    assert_int_equal(gguf_get_val_u32(g, gguf_find_key(g, "qwen3.block_count")), 5);
    int64_t tokens = gguf_find_key(g, "tokenizer.ggml.tokens");
    assert_string_equal(gguf_get_arr_str(g, tokens, 258), "<|im_end|>");
    assert_string_equal(gguf_get_arr_str(g, tokens, ' '), "\xc4\xa0"); /* U+0120 */
    gguf_free(g);
    gguf_file_close(f);
}

static void a_copy_is_the_same_file(void **state)
{
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("a.gguf"));
    test_copy(test_path("a.gguf"), test_path("b.gguf"), NULL, NULL);
    struct file_map a, b;
    assert_int_equal(file_map_open(&a, test_path("a.gguf"), NULL), 0);
    assert_int_equal(file_map_open(&b, test_path("b.gguf"), NULL), 0);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    file_map_close(&a);
    file_map_close(&b);
}

static void the_same_seed_makes_the_same_weights(void **state)
{
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    const char *names[] = {"a.gguf", "b.gguf", "c.gguf"};
    struct file_map m[3];
    for (int i = 0; i < 3; i++) {
        cfg.seed = i < 2 ? 11 : 12;
        test_make(&cfg, test_path(names[i]));
        assert_int_equal(file_map_open(&m[i], test_path(names[i]), NULL), 0);
    }
    assert_memory_equal(m[0].data, m[1].data, m[0].size);
    assert_memory_not_equal(m[0].data, m[2].data, m[0].size);
    for (int i = 0; i < 3; i++)
        file_map_close(&m[i]);
}

static void noise_is_standard_normal(void **state)
{
    double sum = 0, squares = 0, fourth = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double x = (double)model_noise(3, i);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(sum / 1e5 > -0.02 && sum / 1e5 < 0.02);
    assert_true(squares / 1e5 > 0.98 && squares / 1e5 < 1.02);
    assert_true(fourth / 1e5 > 2.7 && fourth / 1e5 < 3.1);
}

static void keys_are_replaced_and_dropped(void **state)
{
    struct gguf_write *w = NULL;
    struct error err;
    assert_int_equal(gguf_write_create(&w, &err), 0);
    gguf_write_u32(w, "a", 1);
    gguf_write_str(w, "b", "x");
    gguf_write_u64(w, "a", 1ull << 40);
    gguf_write_drop(w, "b");
    gguf_write_drop(w, "none");
    assert_int_equal(gguf_write_open(w, test_path("k.gguf"), 0600, NULL, &err), 0);
    assert_int_equal(gguf_write_commit(w, &err), 0);
    gguf_write_free(w);
    struct gguf_file *f = test_open(test_path("k.gguf"));
    uint64_t v;
    assert_int_equal(gguf_file_n_keys(f), 1);
    assert_int_equal(gguf_file_u64(f, "a", &v), 0);
    assert_true(v == 1ull << 40);
    gguf_file_close(f);
}

static void names_too_long_and_places_that_cannot_be_are_errors(void **state)
{
    struct gguf_write *w = NULL;
    struct error err = {""};
    char name[100];
    memset(name, 'x', 99);
    name[99] = 0;
    assert_int_equal(gguf_write_create(&w, &err), 0);
    gguf_write_tensor(w, name, GGML_TYPE_F32, 1, (int64_t[4]){1, 1, 1, 1});
    assert_int_equal(gguf_write_open(w, test_path("k.gguf"), 0600, NULL, &err), -ENAMETOOLONG);
    gguf_write_free(w);
    assert_int_equal(gguf_write_create(&w, &err), 0);
    assert_int_equal(gguf_write_open(w, "/nonexistent/k.gguf", 0600, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent/k.gguf"));
    gguf_write_free(w);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.n_head_kv = 3;
    assert_int_equal(model_init(&cfg, test_path("z.gguf"), NULL, &err), -EINVAL);
    cfg = test_tiny(MODEL_LLAMA);
    cfg.d = 62;
    assert_int_equal(model_init(&cfg, test_path("z.gguf"), NULL, &err), -EINVAL);
    cfg = test_tiny(MODEL_LLAMA);
    cfg.n_vocab = 100;
    assert_int_equal(model_init(&cfg, test_path("z.gguf"), NULL, &err), -EINVAL);
    assert_int_equal(access(test_path("z.gguf"), F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_back_here_and_in_ggml),
        cmocka_unit_test(a_copy_is_the_same_file),
        cmocka_unit_test(the_same_seed_makes_the_same_weights),
        cmocka_unit_test(noise_is_standard_normal),
        cmocka_unit_test(keys_are_replaced_and_dropped),
        cmocka_unit_test(names_too_long_and_places_that_cannot_be_are_errors),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
