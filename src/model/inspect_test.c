#include "model/cut.h"
#include "model/inspect.h"
#include "model/test_models.h"

#include <errno.h>
#include <yyjson.h>

static void the_numbers_add_up(void **state)
{
    struct error err = {""};
    struct model_facts facts;
    struct model_cut_cost c;
    struct model_init cfg = test_tiny(MODEL_LLAMA);
    cfg.rope_freqs = true;
    test_make(&cfg, test_path("m.gguf"));
    struct gguf_file *f = test_open(test_path("m.gguf"));
    assert_int_equal(model_inspect(&facts, f, &err), 0);
    if (!facts.runs)
        fail_msg("%s", facts.why_not);
    assert_string_equal(facts.architecture, "llama");
    assert_string_equal(facts.tokenizer, "gpt2");
    assert_int_equal(facts.n_tokens, 259);
    assert_true(facts.weight_bytes == 4 * facts.n_weights); /* all F32 */
    assert_int_equal(facts.types[GGML_TYPE_F32].n_tensors, gguf_file_n_tensors(f));
    assert_int_equal(model_cut_cost(&c, &facts, 2, 1, &err), 0);
    uint64_t freqs = gguf_file_tensor(f, "rope_freqs.weight")->size;
    assert_true(c.edge_bytes + c.cloud_bytes == facts.weight_bytes + freqs);
    /* norms 2 x 64; q, o 64 x 64; k, v 64 x 32; three times 64 x 96; two blocks */
    assert_true(c.cloud_bytes == 2 * 4 * (128 + 2 * 4096 + 2 * 2048 + 3 * 6144) + freqs);
    assert_true(c.cloud_kv == 2 * 1024 * 2 * 2 * 32 && c.edge_kv == 3 * 1024 * 2 * 2 * 32);
    assert_int_equal(c.row_bytes[CUT_F32], 260);
    assert_int_equal(c.row_bytes[CUT_F16], 132);
    assert_int_equal(c.row_bytes[CUT_INT8], 72);
    struct model_train_bytes t = model_cut_train_bytes(&c, CUT_F16, 10, 3, true);
    assert_true(t.up == 2 * 30 * 132 && t.down == 30 * 132);
    assert_int_equal(model_cut_cost(&c, &facts, 4, 1, &err), -EINVAL);
    gguf_file_close(f);
}

static void the_halves_agree_with_the_forecast(void **state)
{
    struct error err = {""};
    struct model_facts whole, edge, cloud;
    struct model_cut_cost forecast, e, c;
    struct model_init cfg = test_tiny(MODEL_QWEN3);
    test_make(&cfg, test_path("m.gguf"));
    struct gguf_file *f = test_open(test_path("m.gguf"));
    struct model_split s = {.head = 1, .tail = 2, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
    assert_int_equal(model_split(f, &s, NULL, NULL, &err), 0);
    struct gguf_file *fe = test_open(test_path("e.gguf")), *fc = test_open(test_path("c.gguf"));
    assert_int_equal(
        model_inspect(&whole, f, &err) | model_inspect(&edge, fe, &err) | model_inspect(&cloud, fc, &err), 0);
    assert_true(edge.runs && cloud.runs);
    assert_int_equal(model_cut_cost(&forecast, &whole, 1, 2, &err), 0);
    assert_int_equal(model_cut_cost(&e, &edge, 1, 2, &err), 0);
    assert_int_equal(model_cut_cost(&c, &cloud, 1, 2, &err), 0);
    assert_true(forecast.edge_bytes == e.edge_bytes && e.edge_bytes == edge.weight_bytes && e.cloud_bytes == 0);
    assert_true(forecast.cloud_bytes == c.cloud_bytes && c.cloud_bytes == cloud.weight_bytes && c.edge_bytes == 0);
    assert_int_equal(model_cut_cost(&c, &cloud, 1, 1, &err), -EINVAL);
    assert_string_equal(cloud.tokenizer, "");
    gguf_file_close(f);
    gguf_file_close(fe);
    gguf_file_close(fc);
}

static void odd_names(struct gguf_write *w)
{
    gguf_write_str(w, "general.name", "a \"quoted\\\"\n\x1b[31m \xff\xe4\xbd\xa0 name");
}

static void unknown_arch(struct gguf_write *w)
{
    gguf_write_str(w, "general.architecture", "mamba");
}

static yyjson_doc *json_of(const char *path, struct buf *b, const struct model_cut_place *cut)
{
    struct error err = {""};
    struct model_facts facts;
    struct gguf_file *f = test_open(path);
    assert_int_equal(model_inspect(&facts, f, &err), 0);
    assert_int_equal(model_inspect_json(b, &facts, cut), 0);
    yyjson_doc *doc = yyjson_read((const char *)b->data, b->len, 0);
    if (!doc)
        fail_msg("no JSON: %s", buf_str(b));
    struct buf text = {0};
    assert_int_equal(model_inspect_text(&text, &facts, cut), 0);
    assert_null(strchr(buf_str(&text), 0x1b));
    buf_done(&text);
    gguf_file_close(f);
    return doc;
}

static void reports_are_valid_whatever_the_file_says(void **state)
{
    struct model_init cfg = test_tiny(MODEL_QWEN2);
    test_make(&cfg, test_path("m0.gguf"));
    test_copy(test_path("m0.gguf"), test_path("m.gguf"), odd_names, NULL);
    struct buf b = {0};
    yyjson_doc *doc = json_of(test_path("m.gguf"), &b, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_true(yyjson_get_bool(yyjson_obj_get(root, "runs")));
    assert_int_equal(yyjson_get_int(yyjson_obj_get(root, "blocks")), 5);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "cuts")), 3);
    yyjson_doc_free(doc);
    b.len = 0;
    doc = json_of(test_path("m.gguf"), &b, &(struct model_cut_place){3, 1});
    yyjson_val *cut = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "cuts"));
    assert_int_equal(yyjson_get_int(yyjson_obj_get(cut, "head")), 3);
    yyjson_doc_free(doc);
    test_copy(test_path("m0.gguf"), test_path("u.gguf"), unknown_arch, NULL);
    b.len = 0;
    doc = json_of(test_path("u.gguf"), &b, NULL);
    root = yyjson_doc_get_root(doc);
    assert_false(yyjson_get_bool(yyjson_obj_get(root, "runs")));
    assert_non_null(strstr(yyjson_get_str(yyjson_obj_get(root, "why_not")), "mamba"));
    yyjson_doc_free(doc);
    buf_done(&b);
}

static void candidates_fit_the_model(void **state)
{
    for (uint32_t n = 1; n < 100; n++) {
        struct model_params p = {.n_block = n};
        struct model_cut_place places[8];
        uint32_t many = model_cut_candidates(&p, places);
        assert_true(many <= 8 && (n < 3 || many >= 1));
        for (uint32_t i = 0; i < many; i++)
            assert_true(places[i].head && places[i].tail && places[i].head + places[i].tail < n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_add_up),
        cmocka_unit_test(the_halves_agree_with_the_forecast),
        cmocka_unit_test(reports_are_valid_whatever_the_file_says),
        cmocka_unit_test(candidates_fit_the_model),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
