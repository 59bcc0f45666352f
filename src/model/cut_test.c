#include "base/buf.h"
#include "model/cut.h"
#include "model/test_models.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>

static int split_at(
    const char *in, uint32_t head, uint32_t tail, const char *edge, const char *cloud, struct error *err)
{
    struct gguf_file *f = test_open(in);
    struct model_split s = {.head = head, .tail = tail, .edge_path = edge, .cloud_path = cloud};
    int rc = model_split(f, &s, NULL, NULL, err);
    gguf_file_close(f);
    return rc;
}

static int merge(const char *edge, const char *cloud, const char *out, struct error *err)
{
    struct gguf_file *e = test_open(edge), *c = test_open(cloud);
    int rc = model_merge(e, c, out, NULL, err);
    gguf_file_close(e);
    gguf_file_close(c);
    return rc;
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

static struct model_params params_of(const char *path)
{
    struct gguf_file *f = test_open(path);
    struct model_params p = {0};
    struct error err = {""};
    if (model_params_read(&p, f, &err))
        fail_msg("%s", err.text);
    gguf_file_close(f);
    return p;
}

static bool file_contains(const char *path, const char *word)
{
    struct file_map m;
    assert_int_equal(file_map_open(&m, path, NULL), 0);
    bool found = memmem(m.data, m.size, word, strlen(word));
    file_map_close(&m);
    return found;
}

static void halves_merge_to_the_same_file(void **state)
{
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        struct model_init cfg = test_tiny(arch);
        cfg.rope_freqs = arch == MODEL_LLAMA;
        struct error err = {""};
        test_make(&cfg, test_path("m.gguf"));
        if (split_at(test_path("m.gguf"), 2, 1, test_path("e.gguf"), test_path("c.gguf"), &err))
            fail_msg("%s", err.text);
        struct model_params e = params_of(test_path("e.gguf")), c = params_of(test_path("c.gguf"));
        assert_int_equal(model_check_pair(&e, &c, &err), 0);
        assert_int_equal(c.n_block, 5);
        assert_int_equal(c.n_vocab, 0);
        assert_int_equal(c.cut.head, 2);
        assert_int_equal(c.cut.tail, 1);
        assert_int_equal(c.rope_freqs, cfg.rope_freqs);
        assert_int_equal(merge(test_path("e.gguf"), test_path("c.gguf"), test_path("m2.gguf"), &err), 0);
        assert_same_bytes(test_path("m.gguf"), test_path("m2.gguf"));
    }
}

static void no_tensor_is_in_both_halves(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_QWEN3);
    test_make(&cfg, test_path("m.gguf"));
    assert_int_equal(split_at(test_path("m.gguf"), 1, 2, test_path("e.gguf"), test_path("c.gguf"), &err), 0);
    struct gguf_file *m = test_open(test_path("m.gguf")), *e = test_open(test_path("e.gguf")),
                     *c = test_open(test_path("c.gguf"));
    for (size_t i = 0; i < gguf_file_n_tensors(m); i++) {
        const char *name = gguf_file_tensor_at(m, i)->name;
        bool middle = !strncmp(name, "blk.1.", 6) || !strncmp(name, "blk.2.", 6);
        assert_int_equal(gguf_file_tensor(c, name) != NULL, middle);
        assert_int_equal(gguf_file_tensor(e, name) != NULL, !middle);
    }
    assert_int_equal(gguf_file_n_tensors(m), gguf_file_n_tensors(e) + gguf_file_n_tensors(c));
    gguf_file_close(m);
    gguf_file_close(e);
    gguf_file_close(c);
}

static void tell_tales(struct gguf_write *w)
{
    gguf_write_str(w, "general.source.url", "https://canary.example");
    gguf_write_str(w, "tokenizer.chat_template", "canary template");
    gguf_write_str(w, "llama.attention.note", "canary note");
    gguf_write_u32(w, "llama.vocab_size", 259);
    gguf_write_str(w, "custom.key", "canary key");
}

static void the_cloud_half_tells_nothing_of_tokens(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m0.gguf"));
    test_copy(test_path("m0.gguf"), test_path("m.gguf"), tell_tales, NULL);
    assert_int_equal(split_at(test_path("m.gguf"), 1, 1, test_path("e.gguf"), test_path("c.gguf"), &err), 0);
    const char *words[] = {"canary", "token", "vocab", "endoftext", "general.name", "template", "output_norm", "embd"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (file_contains(test_path("c.gguf"), words[i]))
            fail_msg("the cloud half contains \"%s\"", words[i]);
        assert_true(file_contains(test_path("m.gguf"), words[i]));
    }
    assert_int_equal(merge(test_path("e.gguf"), test_path("c.gguf"), test_path("m2.gguf"), &err), 0);
    assert_same_bytes(test_path("m.gguf"), test_path("m2.gguf"));
}

static void refuses_split(
    const char *in, uint32_t head, uint32_t tail, const char *edge, const char *cloud, const char *word)
{
    struct error err = {""};
    assert_int_equal(split_at(in, head, tail, edge, cloud, &err), -EINVAL);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static void cuts_that_make_no_sense_are_refused(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    const char *m = test_path("m.gguf"), *e = test_path("e.gguf"), *c = test_path("c.gguf");
    test_make(&cfg, m);
    refuses_split(m, 3, 2, e, c, "no block for the cloud");
    refuses_split(m, UINT32_MAX, 2, e, c, "no block for the cloud");
    refuses_split(m, 0, 2, e, c, "prompt");
    refuses_split(m, 1, 0, e, c, "answer");
    refuses_split(m, 1, 1, m, c, "replace");
    refuses_split(m, 1, 1, e, m, "replace");
    refuses_split(m, 1, 1, e, e, "two names");
    assert_int_equal(split_at(m, 1, 1, e, c, &err), 0);
    refuses_split(e, 1, 1, m, m, "already one half");
    assert_int_equal(split_at(m, 1, 1, test_path("fresh.gguf"), "/nonexistent/c.gguf", &err), -ENOENT);
    assert_int_equal(access(test_path("fresh.gguf"), F_OK), -1);
    struct gguf_file *f = test_open(m);
    struct model_split bare = {
        .head = 0, .tail = 0, .bare = true, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
    assert_int_equal(model_split(f, &bare, NULL, NULL, &err), 0);
    gguf_file_close(f);
    assert_int_equal(merge(test_path("e.gguf"), test_path("c.gguf"), test_path("m2.gguf"), &err), 0);
    assert_same_bytes(test_path("m.gguf"), test_path("m2.gguf"));
}

static void another_step(struct gguf_write *w)
{
    struct model_cut cut = params_of(test_path("c.gguf")).cut;
    cut.step = 9;
    cut.run[3] = 1;
    model_cut_write(w, &cut);
}

static void halves_that_do_not_match_are_refused_by_name(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    assert_int_equal(split_at(test_path("m.gguf"), 1, 1, test_path("e.gguf"), test_path("c.gguf"), &err), 0);
    assert_int_equal(split_at(test_path("m.gguf"), 1, 2, test_path("e2.gguf"), test_path("c2.gguf"), &err), 0);
    char name[48], name2[48];
    struct model_params p = params_of(test_path("e.gguf")), p2 = params_of(test_path("c2.gguf"));
    model_cut_name(&p.cut, name);
    model_cut_name(&p2.cut, name2);
    assert_int_equal(merge(test_path("e.gguf"), test_path("c2.gguf"), test_path("x.gguf"), &err), -EINVAL);
    assert_non_null(strstr(err.text, name));
    assert_non_null(strstr(err.text, name2));
    assert_int_equal(merge(test_path("e.gguf"), test_path("e.gguf"), test_path("x.gguf"), &err), -EINVAL);
    assert_int_equal(merge(test_path("e.gguf"), test_path("c.gguf"), test_path("e.gguf"), &err), -EINVAL);
    test_copy(test_path("c.gguf"), test_path("c3.gguf"), another_step, NULL);
    assert_int_equal(merge(test_path("e.gguf"), test_path("c3.gguf"), test_path("x.gguf"), &err), -EINVAL);
    assert_non_null(strstr(err.text, "trained apart"));
    assert_int_equal(access(test_path("x.gguf"), F_OK), -1);
}

static void rename_model(struct gguf_write *w)
{
    gguf_write_str(w, "general.name", "another name");
}

static void the_identity_is_of_content_not_of_names(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    test_copy(test_path("m.gguf"), test_path("named.gguf"), rename_model, NULL);
    assert_int_equal(split_at(test_path("m.gguf"), 1, 1, test_path("e.gguf"), test_path("c.gguf"), &err), 0);
    assert_int_equal(split_at(test_path("named.gguf"), 1, 1, test_path("e2.gguf"), test_path("c2.gguf"), &err), 0);
    struct model_params a = params_of(test_path("e.gguf")), b = params_of(test_path("e2.gguf"));
    assert_memory_equal(a.cut.id, b.cut.id, 32);
    struct gguf_file *f = test_open(test_path("m.gguf"));
    const struct gguf_tensor *t = gguf_file_tensor(f, "blk.3.ffn_up.weight");
    struct file_map map;
    assert_int_equal(file_map_open(&map, test_path("m.gguf"), NULL), 0);
    uint8_t *bytes = malloc(map.size);
    memcpy(bytes, map.data, map.size);
    uint8_t *at = memmem(bytes, map.size, t->data, t->size);
    at[17] ^= 1;
    assert_int_equal(file_write(test_path("bit.gguf"), bytes, map.size, 0600, &err), 0);
    assert_int_equal(split_at(test_path("bit.gguf"), 1, 1, test_path("e3.gguf"), test_path("c3.gguf"), &err), 0);
    struct model_params c = params_of(test_path("e3.gguf"));
    assert_memory_not_equal(a.cut.id, c.cut.id, 32);
    free(bytes);
    file_map_close(&map);
    gguf_file_close(f);
}

static void drop_order(struct gguf_write *w)
{
    gguf_write_drop(w, "meridian.cut.tensors");
}

static void without_the_remembered_order_the_weights_are_the_same(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_QWEN2);
    test_make(&cfg, test_path("m.gguf"));
    assert_int_equal(split_at(test_path("m.gguf"), 1, 1, test_path("e.gguf"), test_path("c.gguf"), &err), 0);
    test_copy(test_path("e.gguf"), test_path("e2.gguf"), drop_order, NULL);
    assert_int_equal(merge(test_path("e2.gguf"), test_path("c.gguf"), test_path("m2.gguf"), &err), 0);
    struct gguf_file *a = test_open(test_path("m.gguf")), *b = test_open(test_path("m2.gguf"));
    assert_int_equal(gguf_file_n_tensors(a), gguf_file_n_tensors(b));
    assert_int_equal(gguf_file_n_keys(a), gguf_file_n_keys(b));
    for (size_t i = 0; i < gguf_file_n_tensors(a); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(a, i), *u = gguf_file_tensor(b, t->name);
        assert_non_null(u);
        assert_memory_equal(t->data, u->data, t->size);
    }
    gguf_file_close(a);
    gguf_file_close(b);
}

static void count(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *last = ctx;
    assert_true(done >= last[0] && done <= total);
    last[0] = done;
    last[1] = total;
}

static void progress_ends_at_the_total(void **state)
{
    struct error err = {""};
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    test_make(&cfg, test_path("m.gguf"));
    struct gguf_file *f = test_open(test_path("m.gguf"));
    uint64_t last[2] = {0};
    struct gguf_progress progress = {count, last};
    struct model_split s = {.head = 1, .tail = 1, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
    assert_int_equal(model_split(f, &s, NULL, &progress, &err), 0);
    assert_true(last[1] > 0 && last[0] == last[1]);
    gguf_file_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_merge_to_the_same_file),
        cmocka_unit_test(no_tensor_is_in_both_halves),
        cmocka_unit_test(the_cloud_half_tells_nothing_of_tokens),
        cmocka_unit_test(cuts_that_make_no_sense_are_refused),
        cmocka_unit_test(halves_that_do_not_match_are_refused_by_name),
        cmocka_unit_test(the_identity_is_of_content_not_of_names),
        cmocka_unit_test(without_the_remembered_order_the_weights_are_the_same),
        cmocka_unit_test(progress_ends_at_the_total),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
