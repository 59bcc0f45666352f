/* Gradients against finite differences, for every kind of parameter of every family. */
#include "base/test.h"

#include "base/rng.h"
#include "compute/toy_model.h"
#include "compute/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS    40
#define SAMPLES 3

static const uint32_t sample_rows[SAMPLES] = {13, 1, 26};

struct rig {
    struct gguf_file *f;
    struct model_params p;
    struct train *x;
    int32_t tokens[ROWS], targets[ROWS];
};

static struct toy_model small(enum model_arch arch)
{
    return (struct toy_model){.arch = arch,
        .d = 32,
        .n_block = 2,
        .n_head = 4,
        .n_head_kv = 2,
        .d_ff = 48,
        .n_vocab = 61,
        .seed = 5,
        .type = GGML_TYPE_F32};
}

static struct train_config config(void)
{
    return (struct train_config){.n_threads = 2, .max_rows = ROWS, .max_samples = SAMPLES, .seed = 9};
}

static struct span whole(const struct model_params *p)
{
    return (struct span){0, p->n_block, true, true};
}

static void rig_open(struct rig *r, const struct toy_model *t, const struct train_config *cfg, bool freeze)
{
    struct error err = {0};
    r->f = toy_model_open(t, &r->p);
    struct train_part part = {.span = whole(&r->p), .n_slots = 2, .freeze = freeze};
    if (train_create(&r->x, r->f, &r->p, &part, 1, cfg, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < ROWS; i++) {
        r->tokens[i] = (int32_t)rng_below(1, i, t->n_vocab);
        r->targets[i] = i % 5 == 3 ? -1 : (int32_t)rng_below(2, i, t->n_vocab);
    }
}

static void rig_close(struct rig *r)
{
    train_free(r->x);
    gguf_file_close(r->f);
}

static struct train_loss loss_of(struct rig *r, bool only_eval)
{
    struct train_loss loss;
    struct error err = {0};
    assert_int_equal(train_forward(r->x, 0, 0, sample_rows, SAMPLES, r->tokens, NULL, NULL, &err), 0);
    assert_int_equal(train_loss(r->x, 0, 0, r->targets, only_eval, &loss, &err), 0);
    if (only_eval)
        train_drop(r->x, 0, 0);
    else
        assert_int_equal(train_backward(r->x, 0, 0, NULL, NULL, &err), 0);
    return loss;
}

/* Adapters start with B = 0, where A has no gradient: move away from there. */
static void shake(struct rig *r)
{
    for (uint32_t i = 0; i < train_n_params(r->x); i++) {
        struct train_param p = train_param_at(r->x, i);
        for (uint64_t j = 0; j < p.n_out * p.n_in && strstr(p.name, "lora_b"); j++)
            p.w[j] = (float)(0.2 * (rng_uniform(77 + i, j) - 0.5));
    }
}

/* Slope along a direction of noise within one parameter: central difference against the gradient's component. */
static void check_param(struct rig *r, struct train_param p)
{
    uint64_t n = p.n_out * p.n_in;
    float *keep = malloc(sizeof(float) * n), *dir = malloc(sizeof(float) * n);
    double slope = 0, norm = 0, gg = 0;
    memcpy(keep, p.w, sizeof(float) * n);
    for (uint64_t i = 0; i < n; i++)
        gg += (double)p.grad[i] * p.grad[i];
    for (uint64_t i = 0; i < n; i++) { /* half noise, half uphill, so that the slope is not small by chance */
        dir[i] = (float)(rng_uniform(31, i) - 0.5 + (gg > 0 ? 0.3 * p.grad[i] * sqrt((double)n / gg) : 0));
        norm += (double)dir[i] * dir[i];
    }
    double step = 4e-3 / sqrt(norm), l[2];
    for (uint64_t i = 0; i < n; i++)
        slope += (double)p.grad[i] * dir[i];
    for (int s = 0; s < 2; s++) {
        for (uint64_t i = 0; i < n; i++)
            p.w[i] = keep[i] + (float)((s ? step : -step) * dir[i]);
        l[s] = loss_of(r, true).sum;
    }
    memcpy(p.w, keep, sizeof(float) * n);
    double seen = (l[1] - l[0]) / (2 * step), tolerance = 4e-3 * fabs(slope) + 2e-2 * sqrt(norm);
    if (!(fabs(seen - slope) <= tolerance) || gg == 0)
        fail_msg("%s: gradient says %g, differences say %g", p.name, slope, seen);
    free(keep);
    free(dir);
}

static void check_all(const struct toy_model *t, const struct train_config *cfg)
{
    struct rig r;
    rig_open(&r, t, cfg, false);
    shake(&r);
    loss_of(&r, false);
    assert_true(train_n_params(r.x) > 5);
    for (uint32_t i = 0; i < train_n_params(r.x); i++)
        check_param(&r, train_param_at(r.x, i));
    rig_close(&r);
}

static void test_full(void **state)
{
    for (enum model_arch a = MODEL_LLAMA; a <= MODEL_QWEN3; a++) {
        struct toy_model t = small(a);
        struct train_config c = config();
        t.tied = a == MODEL_QWEN3;
        check_all(&t, &c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
