/* However training is cut up (parts, slots, recomputation, threads), the numbers are the same. */
#include "compute/train_rig.h"

#include "compute/infer.h"

/* Head, middle and tail as the split has them: an edge trainer of two parts and a cloud trainer of one. */
struct cut_rig {
    struct train *edge, *cloud;
    float a[ROWS * 32], b[ROWS * 32], ga[ROWS * 32], gb[ROWS * 32]; /* vectors up and down, gradients down and up */
};

static void cut_open(struct cut_rig *c, const struct rig *r, const struct train_config *cfg)
{
    uint32_t n = r->p.n_block;
    struct train_part edge[] = {
        {.span = {0, 1, true, false}, .n_slots = 2}, {.span = {n - 1, n, false, true}, .n_slots = 1}};
    struct train_part cloud = {.span = {1, n - 1, false, false}, .n_slots = 2};
    c->edge = rig_train(r, edge, 2, cfg);
    c->cloud = rig_train(r, &cloud, 1, cfg);
}

static void cut_close(struct cut_rig *c)
{
    train_free(c->edge);
    train_free(c->cloud);
}

static void cut_forward(struct cut_rig *c, const struct rig *r, uint32_t slot)
{
    struct error err = {0};
    must(train_forward(c->edge, 0, slot, sample_rows, SAMPLES, r->tokens, NULL, c->a, &err), &err);
    must(train_forward(c->cloud, 0, slot, sample_rows, SAMPLES, NULL, c->a, c->b, &err), &err);
}

static struct train_loss cut_backward(struct cut_rig *c, const struct rig *r, uint32_t slot)
{
    struct error err = {0};
    struct train_loss loss;
    must(train_forward(c->edge, 1, 0, sample_rows, SAMPLES, NULL, c->b, NULL, &err), &err);
    must(train_loss(c->edge, 1, 0, r->targets, false, &loss, &err), &err);
    must(train_backward(c->edge, 1, 0, NULL, c->gb, &err), &err);
    must(train_backward(c->cloud, 0, slot, c->gb, c->ga, &err), &err);
    must(train_backward(c->edge, 0, slot, c->ga, NULL, &err), &err);
    return loss;
}

static void check_cut(enum model_arch arch, bool tied, const struct train_config *cfg)
{
    struct model_testing t = rig_small(arch);
    struct cut_rig c;
    struct rig r;
    t.n_block = 4;
    t.untied = !tied;
    rig_open(&r, &t, cfg);
    cut_open(&c, &r, cfg);
    rig_shake(r.x);
    rig_shake(c.edge);
    rig_shake(c.cloud);
    for (int step = 1; step <= 2; step++) {
        struct train_loss whole = rig_run(&r, false);
        cut_forward(&c, &r, 0);
        struct train_loss parts = cut_backward(&c, &r, 0);
        assert_true(whole.sum == parts.sum && whole.n == parts.n && whole.n_right == parts.n_right);
        rig_same(r.x, c.edge);
        rig_same(r.x, c.cloud);
        double norm = train_grad_sumsq(r.x), cut = train_grad_sumsq(c.edge) + train_grad_sumsq(c.cloud);
        assert_true(fabs(norm - cut) < 1e-9 * norm);
        rig_step(r.x, (uint64_t)step);
        rig_step(c.edge, (uint64_t)step);
        rig_step(c.cloud, (uint64_t)step);
    }
    cut_close(&c);
    rig_close(&r);
}

static void a_cut_model_learns_like_the_whole(void **state)
{
    struct train_config full = rig_config(), lora = rig_lora();
    static const enum model_arch all[] = {MODEL_LLAMA, MODEL_QWEN2, MODEL_QWEN3};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        check_cut(all[i], false, &full);
        check_cut(all[i], true, &full);
        check_cut(all[i], false, &lora);
    }
}

static void slots_in_flight_change_nothing(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_config();
    struct cut_rig c, d;
    struct rig r, other;
    t.n_block = 3;
    rig_open(&r, &t, &cfg);
    other = r;
    for (uint32_t i = 0; i < ROWS; i++)
        other.tokens[i] = (r.tokens[i] + 1) % 61;
    cut_open(&c, &r, &cfg);
    cut_open(&d, &r, &cfg);
    cut_forward(&c, &r, 0);
    cut_backward(&c, &r, 0);
    cut_forward(&c, &other, 0);
    cut_backward(&c, &other, 0);
    cut_forward(&d, &r, 0);
    float keep[ROWS * 32];
    memcpy(keep, d.b, sizeof keep);
    cut_forward(&d, &other, 1);
    float later[ROWS * 32];
    memcpy(later, d.b, sizeof later);
    memcpy(d.b, keep, sizeof keep);
    cut_backward(&d, &r, 0);
    memcpy(d.b, later, sizeof later);
    cut_backward(&d, &other, 1);
    rig_same(c.edge, d.edge);
    rig_same(c.cloud, d.cloud);
    cut_close(&c);
    cut_close(&d);
    rig_close(&r);
}

static void recomputing_changes_nothing(void **state)
{
    for (int lora = 0; lora < 2; lora++)
        for (enum model_arch a = MODEL_LLAMA; a <= MODEL_QWEN3; a++) {
            struct model_testing t = rig_small(a);
            struct train_config cfg = lora ? rig_lora() : rig_config();
            struct rig r, s;
            t.type = lora ? GGML_TYPE_F16 : GGML_TYPE_F32;
            rig_open(&r, &t, &cfg);
            cfg.recompute = true;
            rig_open(&s, &t, &cfg);
            assert_true(train_bytes(s.x) < train_bytes(r.x));
            rig_shake(r.x);
            rig_shake(s.x);
            assert_true(rig_run(&r, false).sum == rig_run(&s, false).sum);
            rig_same(r.x, s.x);
            rig_close(&r);
            rig_close(&s);
        }
}

static void threads_change_only_rounding(void **state)
{
    struct model_testing t = rig_small(MODEL_QWEN3);
    struct train_config cfg = rig_config();
    struct rig one, three;
    cfg.n_threads = 1;
    rig_open(&one, &t, &cfg);
    cfg.n_threads = 3;
    rig_open(&three, &t, &cfg);
    rig_run(&one, false);
    rig_run(&three, false);
    for (uint32_t i = 0; i < train_n_params(one.x); i++) {
        struct train_param p = train_param_at(one.x, i), q = train_param_at(three.x, i);
        double off = 0, all = 0;
        for (uint64_t j = 0; j < p.n_out * p.n_in; j++) {
            off += pow(p.grad[j] - q.grad[j], 2);
            all += pow(p.grad[j], 2);
        }
        if (!(off <= 1e-8 * all))
            fail_msg("%s is off by %g", p.name, sqrt(off / all));
    }
    rig_close(&one);
    rig_close(&three);
}

static void samples_do_not_see_each_other(void **state)
{
    struct model_testing t = rig_small(MODEL_QWEN2);
    struct train_config cfg = rig_config();
    struct error err = {0};
    struct rig r;
    rig_open(&r, &t, &cfg);
    double together = rig_run(&r, true).sum, alone = 0;
    uint64_t n = 0;
    for (uint32_t i = 0, row = 0; i < SAMPLES; row += sample_rows[i], i++) {
        struct train_loss loss;
        must(train_forward(r.x, 0, 1, &sample_rows[i], 1, r.tokens + row, NULL, NULL, &err), &err);
        must(train_loss(r.x, 0, 1, r.targets + row, true, &loss, &err), &err);
        train_drop(r.x, 0, 1);
        alone += loss.sum;
        n += loss.n;
    }
    assert_true(fabs(together - alone) < 1e-5 * together);
    assert_int_equal(n, 32); /* of 40 rows, 8 have no target */
    rig_close(&r);
}

static void nothing_to_learn_teaches_nothing(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_config();
    struct rig r;
    rig_open(&r, &t, &cfg);
    memset(r.targets, 0xff, sizeof r.targets);
    struct train_loss loss = rig_run(&r, false);
    assert_true(loss.sum == 0 && loss.n == 0 && loss.n_right == 0);
    assert_true(train_grad_sumsq(r.x) == 0);
    rig_close(&r);
}

static void frozen_parts(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_config();
    struct error err = {0};
    struct rig r;
    t.n_block = 3;
    rig_open(&r, &t, &cfg);
    rig_run(&r, false);
    struct train_part head_off[] = {{.span = {0, 1, true, false}, .freeze = true}, {.span = {1, 3, false, true}}};
    struct train_part tail_off[] = {{.span = {0, 1, true, false}}, {.span = {1, 3, false, true}, .freeze = true}};
    for (int i = 0; i < 2; i++) {
        struct train *x = rig_train(&r, i ? tail_off : head_off, 2, &cfg);
        float v[ROWS * 32], g[ROWS * 32];
        struct train_loss loss;
        must(train_forward(x, 0, 0, sample_rows, SAMPLES, r.tokens, NULL, v, &err), &err);
        must(train_forward(x, 1, 0, sample_rows, SAMPLES, NULL, v, NULL, &err), &err);
        must(train_loss(x, 1, 0, r.targets, false, &loss, &err), &err);
        must(train_backward(x, 1, 0, NULL, i ? g : NULL, &err), &err);
        must(train_backward(x, 0, 0, g, NULL, &err), &err);
        rig_same(r.x, x);
        train_free(x);
    }
    rig_close(&r);
}

static void wrong_use_is_refused(void **state)
{
    struct model_testing t = rig_small(MODEL_LLAMA);
    struct train_config cfg = rig_config();
    struct error err = {0};
    struct train_loss loss;
    struct rig r;
    rig_open(&r, &t, &cfg);
    const uint32_t too_long[] = {30, 11}, empty[] = {3, 0};
    assert_true(train_forward(r.x, 0, 0, too_long, 2, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_forward(r.x, 0, 0, empty, 2, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_forward(r.x, 0, 0, sample_rows, 0, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_forward(r.x, 1, 0, sample_rows, SAMPLES, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_forward(r.x, 0, 2, sample_rows, SAMPLES, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_loss(r.x, 0, 0, r.targets, false, &loss, &err) < 0);
    r.tokens[7] = 61;
    assert_true(train_forward(r.x, 0, 0, sample_rows, SAMPLES, r.tokens, NULL, NULL, &err) < 0);
    assert_non_null(strstr(err.text, "61"));
    r.tokens[7] = 60;
    must(train_forward(r.x, 0, 0, sample_rows, SAMPLES, r.tokens, NULL, NULL, &err), &err);
    assert_true(train_forward(r.x, 0, 0, sample_rows, SAMPLES, r.tokens, NULL, NULL, &err) < 0);
    assert_true(train_backward(r.x, 0, 0, NULL, NULL, &err) < 0);
    r.targets[0] = -2;
    assert_true(train_loss(r.x, 0, 0, r.targets, false, &loss, &err) < 0);
    struct train *x = NULL;
    struct train_part overlap[] = {{.span = {0, 2, true, false}}, {.span = {1, 2, false, true}}};
    assert_true(train_create(&x, r.f, &r.p, overlap, 2, &cfg, &err) < 0);
    struct train_part beyond = {.span = {0, 3, true, false}};
    assert_true(train_create(&x, r.f, &r.p, &beyond, 1, &cfg, &err) < 0);
    cfg.max_rows = 4096;
    struct train_part huge = {.span = {0, 2, true, true}, .n_slots = 1u << 16};
    assert_int_equal(train_create(&x, r.f, &r.p, &huge, 1, &cfg, &err), -ENOMEM);
    assert_null(x);
    rig_close(&r);
}

static void a_sequence_is_learnt(void **state)
{
    for (int lora = 0; lora < 2; lora++) {
        struct model_testing t = rig_small(MODEL_QWEN3);
        struct train_config cfg = lora ? rig_lora() : rig_config();
        struct rig r;
        cfg.lora_alpha = 16;
        rig_open(&r, &t, &cfg);
        for (uint32_t i = 0; i < ROWS; i++) {
            r.tokens[i] = (int32_t)(i * i % 23);
            r.targets[i] = (int32_t)((i + 1) * (i + 1) % 23);
        }
        double first = rig_run(&r, true).sum;
        for (uint64_t step = 1; step <= 120; step++) {
            rig_run(&r, false);
            rig_step(r.x, step);
        }
        struct train_loss last = rig_run(&r, true);
        if (!(last.sum < (lora ? 0.5 : 0.1) * first))
            fail_msg("loss went from %g to %g", first, last.sum);
        rig_close(&r);
    }
}

static void inference_computes_the_same(void **state)
{
    for (enum model_arch a = MODEL_LLAMA; a <= MODEL_QWEN3; a++) {
        struct model_testing t = rig_small(a);
        struct train_config cfg = rig_config();
        struct error err = {0};
        struct rig r;
        t.d = 64;
        t.d_ff = 96;
        t.head_dim = 16;
        t.window = a == MODEL_LLAMA ? 9 : 0; /* differences of a wrong mask agree with its gradients: only this tells */
        t.rope_dims = a == MODEL_LLAMA ? 8 : 0;
        t.rope_scaling = a == MODEL_QWEN2 ? "yarn" : a == MODEL_QWEN3 ? "linear" : NULL;
        rig_open(&r, &t, &cfg);
        struct train_loss mine;
        uint32_t rows = ROWS;
        must(train_forward(r.x, 0, 0, &rows, 1, r.tokens, NULL, NULL, &err), &err);
        must(train_loss(r.x, 0, 0, r.targets, true, &mine, &err), &err);
        struct infer *inf = NULL;
        struct infer_config ic = {.n_threads = 1, .max_rows = ROWS, .kv_rows = 256, .max_seqs = 1, .kv_f32 = true};
        struct span whole = {0, t.n_block, true, true};
        must(infer_create(&inf, r.f, &r.p, whole, &ic, &err), &err);
        struct infer_row run[ROWS];
        int32_t seq;
        must(infer_seq_open(inf, ROWS, &seq), &err);
        for (int i = 0; i < ROWS; i++)
            run[i] = (struct infer_row){.seq = seq, .pos = i, .token = r.tokens[i], .want = true};
        float logits[ROWS][61];
        must(infer_run(inf, run, ROWS, NULL, logits[0], &err), &err);
        double loss = 0;
        for (int i = 0; i < ROWS; i++) {
            double sum = 0;
            for (int v = 0; v < 61; v++)
                sum += exp(logits[i][v]);
            loss += r.targets[i] < 0 ? 0 : log(sum) - logits[i][r.targets[i]];
        }
        if (!(fabs(loss - mine.sum) < 1e-4 * loss))
            fail_msg("%s: loss %.8g by inference, %.8g by training", model_arch_name(a), loss, mine.sum);
        infer_free(inf);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_model_learns_like_the_whole),
        cmocka_unit_test(slots_in_flight_change_nothing),
        cmocka_unit_test(recomputing_changes_nothing),
        cmocka_unit_test(threads_change_only_rounding),
        cmocka_unit_test(samples_do_not_see_each_other),
        cmocka_unit_test(nothing_to_learn_teaches_nothing),
        cmocka_unit_test(frozen_parts),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(a_sequence_is_learnt),
        cmocka_unit_test(inference_computes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
