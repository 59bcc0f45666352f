#include "model/cut.h"
#include "model/lora_file.h"
#include "model/test_models.h"

#include <errno.h>
#include <math.h>

enum { RANK = 3 };

/* A noisy adapter for these matrices of the file at `base`. */
static void make_adapter(
    const char *base, const char *path, const char *const *names, size_t n, const struct model_cut *cut, uint64_t seed)
{
    struct gguf_file *f = test_open(base);
    struct lora_matrix m[16];
    float *all[32];
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_file_tensor(f, names[i]);
        float *a = all[2 * i] = malloc((size_t)t->ne[0] * RANK * 4),
              *b = all[2 * i + 1] = malloc((size_t)t->ne[1] * RANK * 4);
        for (int64_t j = 0; j < t->ne[0] * RANK; j++)
            a[j] = 0.1f * model_noise(seed + i, (uint64_t)j);
        for (int64_t j = 0; j < t->ne[1] * RANK; j++)
            b[j] = 0.1f * model_noise(seed + 100 + i, (uint64_t)j);
        m[i] = (struct lora_matrix){names[i], RANK, t->ne[0], t->ne[1], a, b};
    }
    struct error err = {""};
    struct model_params p;
    assert_int_equal(model_params_read(&p, f, &err), 0);
    if (lora_file_write(path, p.arch, 6, cut, m, n, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < 2 * n; i++)
        free(all[i]);
    gguf_file_close(f);
}

static int fold(const char *base, const char *const *adapters, size_t n, const char *out, enum ggml_type type,
    struct lora_folded *ret, struct error *err)
{
    struct gguf_file *f = test_open(base), *a[4] = {NULL};
    struct lora_file l[4] = {0};
    const struct lora_file *list[4];
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        a[i] = test_open(adapters[i]);
        rc = lora_file_read(&l[i], a[i], err);
        list[i] = &l[i];
    }
    struct lora_fold how = {.type = type, .n_threads = 2};
    if (!rc)
        rc = model_merge_lora(f, list, n, &how, out, ret, NULL, err);
    for (size_t i = 0; i < n; i++) {
        lora_file_done(&l[i]);
        gguf_file_close(a[i]);
    }
    gguf_file_close(f);
    return rc;
}

static const char *const names[] = {"blk.0.attn_q.weight", "blk.2.ffn_down.weight", "blk.4.attn_v.weight"};

static void make_models(enum model_arch arch, struct model_cut *ret_cut)
{
    struct model_init cfg = test_tiny(arch);
    struct error err = {""};
    test_make(&cfg, test_path("m.gguf"));
    struct gguf_file *f = test_open(test_path("m.gguf"));
    struct model_split s = {.head = 1, .tail = 1, .edge_path = test_path("e.gguf"), .cloud_path = test_path("c.gguf")};
    assert_int_equal(model_split(f, &s, ret_cut, NULL, &err), 0);
    gguf_file_close(f);
}

/* Element (row, column) of W + scale B A, straight from its definition. */
static double expected(const struct gguf_tensor *w, const struct gguf_file *adapter, int64_t row, int64_t column)
{
    char name[80];
    snprintf(name, sizeof(name), "%s.lora_a", w->name);
    const float *a = gguf_file_tensor(adapter, name)->data;
    snprintf(name, sizeof(name), "%s.lora_b", w->name);
    const float *b = gguf_file_tensor(adapter, name)->data;
    double sum = 0;
    for (int k = 0; k < RANK; k++)
        sum += (double)b[row * RANK + k] * (double)a[k * w->ne[0] + column];
    return (double)((const float *)w->data)[row * w->ne[0] + column] + 6.0 / RANK * sum;
}

static void folding_adds_the_product(void **state)
{
    for (enum model_arch arch = MODEL_LLAMA; arch <= MODEL_QWEN3; arch++) {
        struct model_cut cut;
        struct error err = {""};
        struct lora_folded r;
        make_models(arch, &cut);
        make_adapter(test_path("m.gguf"), test_path("a.gguf"), names, 3, NULL, 1);
        const char *list[] = {test_path("a.gguf")};
        if (fold(test_path("m.gguf"), list, 1, test_path("out.gguf"), GGML_TYPE_COUNT, &r, &err))
            fail_msg("%s", err.text);
        assert_int_equal(r.n_folded, 3);
        assert_true(r.loss.error_sumsq == 0);
        struct gguf_file *m = test_open(test_path("m.gguf")), *o = test_open(test_path("out.gguf")),
                         *a = test_open(test_path("a.gguf"));
        double change = 0;
        for (size_t i = 0; i < gguf_file_n_tensors(m); i++) {
            const struct gguf_tensor *t = gguf_file_tensor_at(m, i), *u = gguf_file_tensor_at(o, i);
            bool is_adapted = !strcmp(t->name, names[0]) || !strcmp(t->name, names[1]) || !strcmp(t->name, names[2]);
            if (!is_adapted)
                assert_memory_equal(t->data, u->data, t->size);
            for (int64_t j = 0; is_adapted && j < t->ne[0] * t->ne[1]; j++) {
                double want = expected(t, a, j / t->ne[0], j % t->ne[0]), got = (double)((const float *)u->data)[j];
                assert_true(fabs(want - got) < 1e-6);
                change += (want - (double)((const float *)t->data)[j]) * (want - (double)((const float *)t->data)[j]);
            }
        }
        assert_true(fabs(r.change_sumsq - change) < 1e-6 * change);
        gguf_file_close(m);
        gguf_file_close(o);
        gguf_file_close(a);
    }
}

static void halves_fold_their_own_parts_and_fit_again(void **state)
{
    struct model_cut cut;
    struct error err = {""};
    struct lora_folded r;
    make_models(MODEL_QWEN3, &cut);
    cut.step = 12;
    cut.run[0] = 5;
    const char *edge_names[] = {names[0], names[2]};
    make_adapter(test_path("m.gguf"), test_path("a.gguf"), names, 3, NULL, 1);
    make_adapter(test_path("m.gguf"), test_path("ae.gguf"), edge_names, 2, &cut, 1);
    cut.part = MODEL_CLOUD;
    make_adapter(test_path("m.gguf"), test_path("ac.gguf"), names + 1, 1, &cut, 2);
    const char *edge[] = {test_path("ae.gguf")}, *cloud[] = {test_path("ac.gguf")},
               *both[] = {test_path("ae.gguf"), test_path("ac.gguf")};
    if (fold(test_path("e.gguf"), edge, 1, test_path("e2.gguf"), GGML_TYPE_COUNT, &r, &err) ||
        fold(test_path("c.gguf"), cloud, 1, test_path("c2.gguf"), GGML_TYPE_COUNT, &r, &err) ||
        fold(test_path("m.gguf"), both, 2, test_path("m2.gguf"), GGML_TYPE_COUNT, &r, &err))
        fail_msg("%s", err.text);
    struct gguf_file *e = test_open(test_path("e2.gguf")), *c = test_open(test_path("c2.gguf")),
                     *old = test_open(test_path("c.gguf"));
    struct model_params p;
    assert_int_equal(model_params_read(&p, e, &err), 0);
    assert_int_equal(p.cut.step, 12);
    assert_int_equal(model_merge(e, old, test_path("x.gguf"), NULL, &err), -EINVAL); /* one is trained, one is not */
    if (model_merge(e, c, test_path("merged.gguf"), NULL, &err))
        fail_msg("%s", err.text);
    struct gguf_file *a = test_open(test_path("merged.gguf")), *b = test_open(test_path("m2.gguf"));
    for (size_t i = 0; i < gguf_file_n_tensors(a); i++)
        assert_memory_equal(
            gguf_file_tensor_at(a, i)->data, gguf_file_tensor_at(b, i)->data, gguf_file_tensor_at(a, i)->size);
    gguf_file_close(a);
    gguf_file_close(b);
    gguf_file_close(e);
    gguf_file_close(c);
    gguf_file_close(old);
    /* One for the whole model leaves the other half's matrices to it. */
    const char *whole[] = {test_path("a.gguf")};
    assert_int_equal(fold(test_path("e.gguf"), whole, 1, test_path("e3.gguf"), GGML_TYPE_COUNT, &r, &err), 0);
    assert_int_equal(r.n_folded, 2);
    assert_int_equal(r.n_elsewhere, 1);
    assert_int_equal(fold(test_path("e.gguf"), cloud, 1, test_path("x.gguf"), GGML_TYPE_COUNT, &r, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cloud half"));
}

static void quantised_weights_say_what_they_lose(void **state)
{
    struct model_cut cut;
    struct error err = {""};
    struct lora_folded r, as_f16;
    make_models(MODEL_LLAMA, &cut);
    struct gguf_file *m = test_open(test_path("m.gguf"));
    struct gguf_write *w;
    struct convert *c;
    assert_int_equal(gguf_write_create(&w, &err) | convert_create(&c, 1, &err), 0);
    gguf_write_keys_of(w, m, NULL, NULL);
    for (size_t i = 0; i < gguf_file_n_tensors(m); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(m, i);
        gguf_write_tensor(w, t->name, t->n_dims == 2 ? GGML_TYPE_Q4_0 : t->type, t->n_dims, t->ne);
    }
    assert_int_equal(gguf_write_open(w, test_path("q.gguf"), 0600, NULL, &err), 0);
    for (size_t i = 0; i < gguf_file_n_tensors(m); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(m, i);
        assert_int_equal(convert_tensor(c, w, t, t->n_dims == 2 ? GGML_TYPE_Q4_0 : t->type, NULL, NULL, NULL, &err), 0);
    }
    assert_int_equal(gguf_write_commit(w, &err), 0);
    gguf_write_free(w);
    convert_free(c);
    gguf_file_close(m);
    make_adapter(test_path("m.gguf"), test_path("a.gguf"), names, 3, NULL, 1);
    const char *list[] = {test_path("a.gguf")};
    assert_int_equal(fold(test_path("q.gguf"), list, 1, test_path("o.gguf"), GGML_TYPE_COUNT, &r, &err), 0);
    assert_int_equal(fold(test_path("q.gguf"), list, 1, test_path("o2.gguf"), GGML_TYPE_F16, &as_f16, &err), 0);
    assert_true(r.loss.error_sumsq > 1e-4 * r.loss.value_sumsq);
    assert_true(as_f16.loss.error_sumsq < 1e-6 * as_f16.loss.value_sumsq && as_f16.loss.error_sumsq > 0);
    struct gguf_file *o = test_open(test_path("o.gguf")), *o2 = test_open(test_path("o2.gguf"));
    assert_int_equal(gguf_file_tensor(o, names[0])->type, GGML_TYPE_Q4_0);
    assert_int_equal(gguf_file_tensor(o2, names[0])->type, GGML_TYPE_F16);
    assert_int_equal(gguf_file_tensor(o2, "blk.0.attn_k.weight")->type, GGML_TYPE_Q4_0);
    gguf_file_close(o);
    gguf_file_close(o2);
}

static void refuses(void (*change)(struct gguf_write *w), const char *drop, int code, const char *word)
{
    struct error err = {""};
    struct lora_folded r;
    test_copy(test_path("a.gguf"), test_path("bad.gguf"), change, drop);
    const char *list[] = {test_path("bad.gguf")};
    assert_int_equal(fold(test_path("m.gguf"), list, 1, test_path("x.gguf"), GGML_TYPE_COUNT, &r, &err), -code);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
    assert_int_equal(access(test_path("x.gguf"), F_OK), -1);
}

static void a_model(struct gguf_write *w)
{
    gguf_write_str(w, "general.type", "model");
}

static void a_control_vector(struct gguf_write *w)
{
    gguf_write_str(w, "adapter.type", "control_vector");
}

static void no_alpha(struct gguf_write *w)
{
    gguf_write_drop(w, "adapter.lora.alpha");
}

static void of_qwen2(struct gguf_write *w)
{
    gguf_write_str(w, "general.architecture", "qwen2");
}

static void bad_adapters_are_refused(void **state)
{
    struct model_cut cut;
    make_models(MODEL_LLAMA, &cut);
    make_adapter(test_path("m.gguf"), test_path("a.gguf"), names, 3, NULL, 1);
    refuses(a_model, NULL, EINVAL, "not an adapter");
    refuses(a_control_vector, NULL, ENOTSUP, "another kind");
    refuses(no_alpha, NULL, EINVAL, "adapter.lora.alpha");
    refuses(of_qwen2, NULL, EINVAL, "qwen2");
    refuses(NULL, "blk.2.ffn_down.weight.lora_b", EINVAL, "blk.2.ffn_down.weight.lora_b");
    refuses(NULL, "blk.2.ffn_down.weight.lora_a", ENOTSUP, "pairs");
    struct model_init other = test_tiny(MODEL_LLAMA);
    other.d = 32;
    test_make(&other, test_path("m.gguf"));
    refuses(NULL, NULL, EINVAL, "belongs to another model");
    other = test_tiny(MODEL_LLAMA);
    other.n_block = 3;
    test_make(&other, test_path("m.gguf"));
    refuses(NULL, NULL, EINVAL, "blk.4.attn_v.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_adds_the_product),
        cmocka_unit_test(halves_fold_their_own_parts_and_fit_again),
        cmocka_unit_test(quantised_weights_say_what_they_lose),
        cmocka_unit_test(bad_adapters_are_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
