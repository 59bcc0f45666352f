/* Checkpoints and exports: what was learnt is still there, and what does not belong is refused. */
#include "compute/train_rig.h"

#include "base/buf.h"
#include "os/file.h"

#include <unistd.h>

static char folder[] = "/tmp/meridian-train-test-XXXXXX";

static const char *path(const char *name)
{
    static char full[4][128];
    static int at;
    at = (at + 1) % 4;
    snprintf(full[at], sizeof full[at], "%s/%s", folder, name);
    return full[at];
}

static int make_folder(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    const char *names[] = {"a", "b", "model.gguf", "lora.gguf"};
    for (int i = 0; i < 4; i++)
        unlink(path(names[i]));
    return rmdir(folder);
}

static void steps(struct rig *r, uint64_t from, uint64_t to)
{
    for (uint64_t t = from; t <= to; t++) {
        rig_run(r, false);
        rig_step(r->x, t);
    }
}

static void continuing_is_as_if_never_stopped(void **state)
{
    for (int lora = 0; lora < 2; lora++) {
        struct model_testing t = rig_small(MODEL_QWEN2);
        struct train_config cfg = lora ? rig_lora() : rig_config();
        struct error err = {0};
        struct rig r, s;
        struct model_cut cut = {.step = 3, .run = "fifteen letters"}, got;
        t.type = lora ? GGML_TYPE_F16 : GGML_TYPE_F32;
        rig_open(&r, &t, &cfg);
        steps(&r, 1, 3);
        must(train_save(r.x, path("a"), &cut, &err), &err);
        steps(&r, 4, 5);
        rig_open(&s, &t, &cfg);
        must(train_load(s.x, path("a"), &got, &err), &err);
        assert_true(got.step == 3);
        assert_memory_equal(got.run, cut.run, 16);
        steps(&s, 4, 5);
        rig_same(r.x, s.x);
        rig_close(&r);
        rig_close(&s);
    }
}

/* Loads bytes as a checkpoint; they must be refused with a sentence and change nothing. */
static void refused(struct rig *r, const void *bytes, size_t len, const char *word)
{
    struct error err = {0};
    struct model_cut got;
    struct train_param p = train_param_at(r->x, 0);
    float first = p.w[0];
    must(file_write(path("b"), bytes, len, 0600, &err), &err);
    assert_true(train_load(r->x, path("b"), &got, &err) < 0);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" was expected in: %s", word, err.text);
    assert_true(p.w[0] == first);
}

static void damage_is_noticed(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_config();
    struct error err = {0};
    struct model_cut cut = {.step = 1};
    struct buf b = {0};
    struct rig r;
    rig_open(&r, &t, &cfg);
    must(train_save(r.x, path("a"), &cut, &err), &err);
    must(file_read(&b, path("a"), 1 << 24, &err), &err);
    steps(&r, 1, 1);
    refused(&r, b.data, 0, "not a training checkpoint");
    refused(&r, b.data, 11, "not a training checkpoint");
    for (size_t cut_at = 12; cut_at < b.len; cut_at += b.len / 13)
        refused(&r, b.data, cut_at, "damaged");
    const size_t flip[] = {9, 11, 20, 300, b.len / 2, b.len - 33, b.len - 1};
    for (size_t i = 0; i < sizeof flip / sizeof *flip; i++) {
        b.data[flip[i]] ^= 0x40;
        refused(&r, b.data, b.len, "damaged");
        b.data[flip[i]] ^= 0x40;
    }
    b.data[0] = 'X';
    refused(&r, b.data, b.len, "not a training checkpoint");
    buf_done(&b);
    rig_close(&r);
}

static void others_are_refused(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA), other = t;
    struct train_config cfg = rig_lora();
    struct error err = {0};
    struct model_cut cut = {.step = 1}, got;
    struct rig r, s;
    rig_open(&r, &t, &cfg);
    must(train_save(r.x, path("a"), &cut, &err), &err);
    other.seed++; /* other frozen weights */
    rig_open(&s, &other, &cfg);
    assert_true(train_load(s.x, path("a"), &got, &err) < 0);
    assert_non_null(strstr(err.text, "another training"));
    rig_close(&s);
    cfg.lora_rank = 3;
    rig_open(&s, &t, &cfg);
    assert_true(train_load(s.x, path("a"), &got, &err) < 0);
    rig_close(&s);
    cfg.lora_rank = 4;
    rig_open(&s, &t, &cfg);
    train_free(s.x);
    s.p.cut.id[3] = 1; /* another cut */
    struct train_part part = {.span = {0, s.p.n_block, true, true}};
    s.x = rig_train(&s, &part, 1, &cfg);
    assert_true(train_load(s.x, path("a"), &got, &err) < 0);
    assert_non_null(strstr(err.text, "another cut"));
    rig_close(&s);
    rig_close(&r);
}

static void an_exported_model_computes_the_same(void **state)
{
    for (int keep = 0; keep < 2; keep++) {
        struct model_testing t = rig_small(MODEL_QWEN3);
        struct train_config cfg = rig_config();
        struct error err = {0};
        struct model_cut cut = {.step = 2};
        struct rig r, s;
        t.type = GGML_TYPE_F16;
        t.untied = false;
        rig_open(&r, &t, &cfg);
        steps(&r, 1, 2);
        must(train_export(r.x, path("model.gguf"), &cut, keep, &err), &err);
        s = r;
        must(gguf_file_open(&s.f, path("model.gguf"), &err), &err);
        must(model_params_read(&s.p, s.f, &err), &err);
        struct train_part part = {.span = {0, s.p.n_block, true, true}};
        s.x = rig_train(&s, &part, 1, &cfg);
        assert_int_equal(gguf_file_tensor(s.f, "blk.0.attn_q.weight")->type, keep ? GGML_TYPE_F16 : GGML_TYPE_F32);
        double before = rig_run(&r, true).sum, after = rig_run(&s, true).sum;
        assert_true(keep ? fabs(before - after) < 1e-2 * before : before == after);
        rig_close(&s);
        rig_close(&r);
    }
}

static void exported_adapters_are_llama_cpps(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_lora();
    struct error err = {0};
    struct model_cut cut = {.step = 2};
    struct gguf_file *f;
    struct gguf_str s;
    struct rig r;
    float alpha;
    rig_open(&r, &t, &cfg);
    steps(&r, 1, 2);
    must(train_export_lora(r.x, path("lora.gguf"), &cut, &err), &err);
    must(gguf_file_open(&f, path("lora.gguf"), &err), &err);
    assert_int_equal(gguf_file_str(f, "general.type", &s), 0);
    assert_true(s.len == 7 && memcmp(s.s, "adapter", 7) == 0);
    assert_int_equal(gguf_file_str(f, "adapter.type", &s), 0);
    assert_int_equal(gguf_file_f32(f, "adapter.lora.alpha", &alpha), 0);
    assert_true(alpha == 6);
    const struct gguf_tensor *a = gguf_file_tensor(f, "blk.1.ffn_down.weight.lora_a");
    const struct gguf_tensor *b = gguf_file_tensor(f, "blk.1.ffn_down.weight.lora_b");
    assert_true(a && a->ne[0] == 48 && a->ne[1] == 4);
    assert_true(b && b->ne[0] == 4 && b->ne[1] == 32);
    assert_memory_equal(b->data, rig_param(r.x, b->name).w, b->size);
    assert_int_equal(gguf_file_n_tensors(f), train_n_params(r.x));
    assert_true(train_export(r.x, path("b"), &cut, false, &err) < 0);
    gguf_file_close(f);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continuing_is_as_if_never_stopped),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(an_exported_model_computes_the_same),
        cmocka_unit_test(exported_adapters_are_llama_cpps),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
