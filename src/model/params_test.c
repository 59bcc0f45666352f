#include "model/params.h"
#include "model/test_models.h"

#include <errno.h>

static const char base[] = "base.gguf";

static int read_path(const char *path, struct model_params *p, struct error *err)
{
    struct gguf_file *f = test_open(path);
    int rc = model_params_read(p, f, err);
    gguf_file_close(f);
    return rc;
}

static void make_base(enum model_arch arch)
{
    struct model_init cfg = test_tiny(arch);
    test_make(&cfg, test_path(base));
}

/* The base file after `change` is refused with this code and a sentence with this word. */
static void refuses(void (*change)(struct gguf_write *w), const char *drop, int code, const char *word)
{
    struct model_params p;
    struct error err = {""};
    test_copy(test_path(base), test_path("changed.gguf"), change, drop);
    assert_int_equal(read_path(test_path("changed.gguf"), &p, &err), -code);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static struct model_params accepts(void (*change)(struct gguf_write *w))
{
    struct model_params p = {0};
    struct error err = {""};
    test_copy(test_path(base), test_path("changed.gguf"), change, NULL);
    if (read_path(test_path("changed.gguf"), &p, &err))
        fail_msg("%s", err.text);
    return p;
}

static void the_three_families_read(void **state)
{
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        struct model_params p;
        struct error err = {""};
        make_base(arch);
        if (read_path(test_path(base), &p, &err))
            fail_msg("%s", err.text);
        assert_int_equal(p.arch, arch);
        assert_int_equal(p.n_block, 5);
        assert_int_equal(p.d, 64);
        assert_int_equal(p.head_dim, 16);
        assert_int_equal(p.n_head_kv, 2);
        assert_int_equal(p.n_vocab, 259);
        assert_int_equal(p.rope_kind, arch == MODEL_LLAMA ? ROPE_NORM : ROPE_NEOX);
        assert_int_equal(p.qkv_bias, arch == MODEL_QWEN2);
        assert_int_equal(p.qk_norm, arch == MODEL_QWEN3);
        assert_int_equal(p.tied, arch == MODEL_QWEN2);
        assert_int_equal(p.cut.part, MODEL_WHOLE);
        assert_true(model_has_ends(&p) && model_has_block(&p, 4) && !model_has_block(&p, 5));
        char name[48];
        model_cut_name(&p.cut, name);
        assert_string_equal(name, "uncut");
    }
}

static void drop_optional(struct gguf_write *w)
{
    gguf_write_drop(w, "llama.rope.dimension_count");
    gguf_write_drop(w, "llama.rope.freq_base");
    gguf_write_drop(w, "llama.attention.key_length");
    gguf_write_drop(w, "llama.attention.value_length");
    gguf_write_drop(w, "general.type");
}

static void missing_keys_get_their_defaults(void **state)
{
    make_base(MODEL_LLAMA);
    struct model_params p = accepts(drop_optional);
    assert_int_equal(p.rope_dims, 16);
    assert_int_equal(p.head_dim, 16);
    assert_true(p.rope_base == 10000);
    assert_int_equal(p.rope_scaling, ROPE_SCALE_NONE);
    assert_true(p.rope_scale_factor == 1);
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.n_head_kv = 4;
    test_make(&cfg, test_path(base));
    test_copy(test_path(base), test_path("changed.gguf"), NULL, NULL);
    assert_int_equal(p.n_head, 4);
}

static void drop_kv(struct gguf_write *w)
{
    gguf_write_drop(w, "llama.attention.head_count_kv");
}

static void without_a_count_every_head_has_its_own_keys(void **state)
{
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.n_head_kv = 4;
    test_make(&cfg, test_path(base));
    assert_int_equal(accepts(drop_kv).n_head_kv, 4);
    make_base(MODEL_LLAMA);
    refuses(drop_kv, NULL, EINVAL, "attn_k.weight"); /* the file has two */
}

static void linear(struct gguf_write *w)
{
    gguf_write_f32(w, "llama.rope.scale_linear", 4);
}

static void yarn(struct gguf_write *w)
{
    gguf_write_str(w, "llama.rope.scaling.type", "yarn");
    gguf_write_f32(w, "llama.rope.scaling.factor", 8);
    gguf_write_u32(w, "llama.rope.scaling.original_context_length", 32);
    gguf_write_f32(w, "llama.rope.scaling.attn_factor", 0.5f);
}

static void longrope(struct gguf_write *w)
{
    gguf_write_str(w, "llama.rope.scaling.type", "longrope");
}

static void not_scaled(struct gguf_write *w)
{
    gguf_write_str(w, "llama.rope.scaling.type", "none");
    gguf_write_f32(w, "llama.rope.scaling.factor", 8);
}

static void rotary_scalings_read(void **state)
{
    make_base(MODEL_LLAMA);
    struct model_params p = accepts(linear);
    assert_int_equal(p.rope_scaling, ROPE_SCALE_LINEAR);
    assert_true(p.rope_scale_factor == 4 && p.yarn_ext_factor == 0);
    p = accepts(yarn);
    assert_int_equal(p.rope_scaling, ROPE_SCALE_YARN);
    assert_true(p.rope_scale_factor == 8 && p.rope_orig_ctx == 32 && p.yarn_attn_factor == 0.5f);
    assert_true(p.yarn_ext_factor == 1 && p.yarn_beta_fast == 32 && p.yarn_beta_slow == 1);
    p = accepts(not_scaled);
    assert_true(p.rope_scaling == ROPE_SCALE_NONE && p.rope_scale_factor == 1);
    refuses(longrope, NULL, ENOTSUP, "longrope");
}

static void heads_alike(struct gguf_write *w)
{
    gguf_write_array(w, "llama.attention.head_count_kv", GGUF_TYPE_INT32, (int32_t[]){2, 2, 2, 2, 2}, 5);
}

static void heads_differ(struct gguf_write *w)
{
    gguf_write_array(w, "llama.attention.head_count_kv", GGUF_TYPE_INT32, (int32_t[]){2, 2, 1, 2, 2}, 5);
}

static void window(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.attention.sliding_window", 48);
}

static void wide_window(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.attention.sliding_window", 4096);
}

static void window_pattern(struct gguf_write *w)
{
    window(w);
    gguf_write_array(w, "llama.attention.sliding_window_pattern", GGUF_TYPE_BOOL, "\1\0\1\0\1", 5);
}

static void arrays_and_windows(void **state)
{
    make_base(MODEL_LLAMA);
    assert_int_equal(accepts(heads_alike).n_head_kv, 2);
    refuses(heads_differ, NULL, ENOTSUP, "block to block");
    assert_int_equal(accepts(window).window, 48);
    assert_int_equal(accepts(wide_window).window, 0);
    refuses(window_pattern, NULL, ENOTSUP, "window");
}

static void moe(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.expert_count", 8);
}

static void not_moe(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.expert_count", 0);
}

static void other_arch(struct gguf_write *w)
{
    gguf_write_str(w, "general.architecture", "mamba\n");
}

static void no_arch(struct gguf_write *w)
{
    gguf_write_drop(w, "general.architecture");
}

static void a_piece(struct gguf_write *w)
{
    gguf_write_u32(w, "split.count", 3);
}

static void an_adapter(struct gguf_write *w)
{
    gguf_write_str(w, "general.type", "adapter");
}

static void no_width(struct gguf_write *w)
{
    gguf_write_drop(w, "llama.embedding_length");
}

static void wrong_width(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.embedding_length", 128);
    gguf_write_u32(w, "llama.attention.key_length", 16);
}

static void text_width(struct gguf_write *w)
{
    gguf_write_str(w, "llama.embedding_length", "64");
}

static void many_blocks(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.block_count", UINT32_MAX);
}

static void few_blocks(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.block_count", 4);
}

static void odd_head(struct gguf_write *w)
{
    gguf_write_u32(w, "llama.attention.key_length", 15);
    gguf_write_u32(w, "llama.attention.value_length", 15);
}

static void not_a_number(struct gguf_write *w)
{
    gguf_write_f32(w, "llama.attention.layer_norm_rms_epsilon", __builtin_nanf(""));
}

static void what_cannot_run_is_refused_by_name(void **state)
{
    make_base(MODEL_LLAMA);
    refuses(moe, NULL, ENOTSUP, "mixture-of-experts");
    assert_int_equal(accepts(not_moe).n_block, 5);
    refuses(other_arch, NULL, ENOTSUP, "\"mamba?\"");
    refuses(no_arch, NULL, EINVAL, "general.architecture");
    refuses(a_piece, NULL, ENOTSUP, "3 pieces");
    refuses(an_adapter, NULL, ENOTSUP, "adapter");
    refuses(no_width, NULL, EINVAL, "llama.embedding_length");
    refuses(text_width, NULL, EINVAL, "not a number");
    refuses(wrong_width, NULL, EINVAL, "token_embd.weight");
    refuses(many_blocks, NULL, EINVAL, "llama.block_count");
    refuses(few_blocks, NULL, ENOTSUP, "blk.4.");
    refuses(odd_head, NULL, EINVAL, "heads");
    refuses(not_a_number, NULL, EINVAL, "epsilon");
    refuses(NULL, "blk.3.ffn_up.weight", EINVAL, "blk.3.ffn_up.weight");
    refuses(NULL, "output_norm.weight", EINVAL, "output_norm.weight");
    refuses(NULL, "token_embd.weight", EINVAL, "token_embd.weight");
}

static void a_llama_without_output_is_tied_and_may_have_biases(void **state)
{
    struct model_params p;
    struct error err = {""};
    make_base(MODEL_LLAMA);
    test_copy(test_path(base), test_path("changed.gguf"), NULL, "output.weight");
    assert_int_equal(read_path(test_path("changed.gguf"), &p, &err), 0);
    assert_true(p.tied);
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.qkv_bias = true;
    test_make(&cfg, test_path(base));
    assert_true(accepts(NULL).qkv_bias);
    refuses(NULL, "blk.2.attn_v.bias", EINVAL, "blk.2.attn_v.bias");
}

static void a_bare_vocabulary_is_told(void **state)
{
    struct error err = {""};
    struct model_params p;
    const char *shared = getenv("MERIDIAN_SHARED");
    char path[512];
    snprintf(path, sizeof(path), "%s/data/vocab/ggml-vocab-llama-spm.gguf", shared ? shared : "../shared");
    if (access(path, R_OK)) {
        print_message("no %s here: skipped\n", path);
        skip();
    }
    assert_int_equal(read_path(path, &p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "vocabulary"));
}

static struct model_params half(enum model_part part, uint8_t id, uint64_t step, uint8_t run)
{
    struct model_params p = {
        .arch = MODEL_LLAMA, .n_block = 5, .d = 64, .cut = {.part = part, .head = 1, .tail = 1, .step = step}};
    p.cut.id[0] = id;
    p.cut.run[0] = run;
    return p;
}

static void halves_refuse_each_other_by_name(void **state)
{
    struct error err = {""};
    struct model_params e = half(MODEL_EDGE, 0xab, 3, 1), c = half(MODEL_CLOUD, 0xab, 3, 1);
    assert_int_equal(model_check_pair(&e, &c, &err), 0);
    assert_int_equal(model_check_pair(&c, &e, &err), -EINVAL);
    c = half(MODEL_CLOUD, 0xac, 3, 1);
    assert_int_equal(model_check_pair(&e, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "ab0000000000/3"));
    assert_non_null(strstr(err.text, "ac0000000000/3"));
    c = half(MODEL_CLOUD, 0xab, 4, 1);
    assert_int_equal(model_check_pair(&e, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "/4"));
    c = half(MODEL_CLOUD, 0xab, 3, 2);
    assert_int_equal(model_check_pair(&e, &c, &err), -EINVAL);
    assert_true(model_has_block(&e, 0) && model_has_block(&e, 4) && !model_has_block(&e, 1));
    assert_true(model_has_block(&c, 1) && model_has_block(&c, 3) && !model_has_block(&c, 4) && !model_has_ends(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_families_read),
        cmocka_unit_test(missing_keys_get_their_defaults),
        cmocka_unit_test(without_a_count_every_head_has_its_own_keys),
        cmocka_unit_test(rotary_scalings_read),
        cmocka_unit_test(arrays_and_windows),
        cmocka_unit_test(what_cannot_run_is_refused_by_name),
        cmocka_unit_test(a_llama_without_output_is_tied_and_may_have_biases),
        cmocka_unit_test(a_bare_vocabulary_is_told),
        cmocka_unit_test(halves_refuse_each_other_by_name),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
