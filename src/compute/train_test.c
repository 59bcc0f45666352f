/* Gradients against finite differences, for every kind of parameter of every family. */
#include "compute/train_rig.h"

/* Slope along a direction within one parameter: central differences against the gradient's component. The direction is
 * half noise, half uphill, so that the slope is not small by chance. */
struct slope {
    double seen, said, noise; /* noise: of float sums, for one unit of direction */
};

static double move(struct rig *r, struct train_param p, const float *keep, const float *dir, double by)
{
    for (uint64_t i = 0; i < p.n_out * p.n_in; i++)
        p.w[i] = keep[i] + (float)(by * dir[i]);
    return rig_run(r, true).sum;
}

static struct slope slope_of(struct rig *r, struct train_param p)
{
    uint64_t n = p.n_out * p.n_in;
    float *keep = malloc(sizeof(float) * n), *dir = malloc(sizeof(float) * n);
    double norm = 0, gg = 0;
    struct slope s = {0};
    memcpy(keep, p.w, sizeof(float) * n);
    for (uint64_t i = 0; i < n; i++)
        gg += (double)p.grad[i] * p.grad[i];
    for (uint64_t i = 0; i < n; i++) {
        dir[i] = (float)(rng_uniform(31, i) - 0.5 + (gg > 0 ? 0.3 * p.grad[i] * sqrt((double)n / gg) : 0));
        norm += (double)dir[i] * dir[i];
        s.said += (double)p.grad[i] * dir[i];
    }
    double step = 3e-3 / sqrt(norm);
    double far = move(r, p, keep, dir, step) - move(r, p, keep, dir, -step);
    double near = move(r, p, keep, dir, step / 2) - move(r, p, keep, dir, -step / 2);
    s.seen = (8 * near - far) / (6 * step); /* Richardson: the third derivative cancels */
    s.noise = sqrt(norm);
    memcpy(p.w, keep, sizeof(float) * n);
    free(keep);
    free(dir);
    return s;
}

static void check_all(const struct model_testing *t, const struct train_config *cfg)
{
    struct rig r;
    double off = 0, all = 0;
    rig_open(&r, t, cfg);
    rig_shake(r.x);
    rig_run(&r, false);
    assert_true(train_n_params(r.x) > 5);
    for (uint32_t i = 0; i < train_n_params(r.x); i++) {
        struct train_param p = train_param_at(r.x, i);
        struct slope s = slope_of(&r, p);
        if (!(fabs(s.seen - s.said) <= 1e-2 * fabs(s.said) + 1e-2 * s.noise) || s.said == 0)
            fail_msg("%s: gradient says %g, differences say %g", p.name, s.said, s.seen);
        off += (s.seen - s.said) * (s.seen - s.said);
        all += s.said * s.said;
    }
    if (!(off <= 1e-6 * all))
        fail_msg("all parameters together are off by %g", sqrt(off / all));
    rig_close(&r);
}

static void every_parameter_of_every_family(void **state)
{
    for (enum model_arch a = MODEL_LLAMA; a <= MODEL_QWEN3; a++) {
        struct model_testing t = rig_small(a);
        struct train_config c = rig_config();
        t.untied = a != MODEL_QWEN3;
        check_all(&t, &c);
    }
}

static void adapters_of_every_family(void **state)
{
    for (enum model_arch a = MODEL_LLAMA; a <= MODEL_QWEN3; a++) {
        struct model_testing t = rig_small(a);
        struct train_config c = rig_lora();
        check_all(&t, &c);
    }
}

static void adapters_over_quantised_weights(void **state)
{
    const enum ggml_type types[] = {GGML_TYPE_Q8_0, GGML_TYPE_F16, GGML_TYPE_BF16};
    struct train_config c = rig_lora();
    struct model_testing t = rig_small(MODEL_QWEN2);
    t.d_ff = 64;
    for (int i = 0; i < 3; i++) {
        t.type = types[i];
        check_all(&t, &c);
    }
    t = (struct model_testing){.arch = MODEL_LLAMA,
        .d = 256,
        .n_block = 1,
        .n_head = 4,
        .n_head_kv = 2,
        .d_ff = 256,
        .head_dim = 64,
        .n_ctx = 256,
        .n_vocab = 300, /* more than one tile of the output matrix */
        .untied = true,
        .type = GGML_TYPE_Q4_K};
    check_all(&t, &c);
}

static void windows_and_scaled_rotations(void **state)
{
    struct train_config c = rig_config();
    struct model_testing t = rig_small(MODEL_LLAMA);
    t.window = 7;
    t.rope_scaling = "yarn";
    check_all(&t, &c);
    t = rig_small(MODEL_QWEN3);
    t.window = 1;
    t.head_dim = 16;
    t.rope_dims = 8;
    t.rope_scaling = "linear";
    check_all(&t, &c);
}

/* A sample of several attention tiles. */
static void long_samples(void **state)
{
    struct rig r;
    struct train_config c = rig_config();
    struct model_testing t = rig_small(MODEL_LLAMA);
    c.max_rows = 200;
    for (t.window = 0; t.window <= 90; t.window += 90) {
        rig_open(&r, &t, &c);
        uint32_t rows = 200;
        int32_t tokens[200], targets[200];
        for (int i = 0; i < 200; i++) {
            tokens[i] = (int32_t)rng_below(6, (uint64_t)i, t.n_vocab);
            targets[i] = i == 170 ? 5 : -1;
        }
        struct train_param p = rig_param(r.x, "token_embd.weight");
        struct error err = {0};
        struct train_loss loss[3];
        for (int i = 0; i < 3; i++) {
            uint64_t at = (uint64_t)tokens[100] * t.d + 3; /* within the window of 170 */
            p.w[at] += i == 0 ? 0 : i == 1 ? 2e-3f : -4e-3f;
            must(train_forward(r.x, 0, 0, &rows, 1, tokens, NULL, NULL, &err), &err);
            must(train_loss(r.x, 0, 0, targets, i > 0, &loss[i], &err), &err);
            if (i == 0)
                must(train_backward(r.x, 0, 0, NULL, NULL, &err), &err);
            train_drop(r.x, 0, 0);
        }
        double seen = (loss[1].sum - loss[2].sum) / 4e-3, said = p.grad[(uint64_t)tokens[100] * t.d + 3];
        if (fabs(seen - said) > 2e-2 * fabs(said) + 2e-3 || said == 0)
            fail_msg("window %u: gradient says %g, differences say %g", t.window, said, seen);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_of_every_family),
        cmocka_unit_test(adapters_of_every_family),
        cmocka_unit_test(adapters_over_quantised_weights),
        cmocka_unit_test(windows_and_scaled_rotations),
        cmocka_unit_test(long_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
