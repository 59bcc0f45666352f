/* For tests of training: a small model, one trainer or more over it, and one micro-batch of three samples. */
#ifndef MERIDIAN_COMPUTE_TRAIN_RIG_H
#define MERIDIAN_COMPUTE_TRAIN_RIG_H

#include "base/test.h"

#include "base/rng.h"
#include "compute/model_testing.h"
#include "compute/train.h"

#include <errno.h>
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

__attribute__((unused)) static struct model_testing rig_small(enum model_arch arch)
{
    return (struct model_testing){.arch = arch,
        .untied = true,
        .n_ctx = 256,
        .rope_factor = 4,
        .d = 32,
        .n_block = 2,
        .n_head = 4,
        .n_head_kv = 2,
        .head_dim = 8,
        .d_ff = 48,
        .n_vocab = 61,
        .seed = 5,
        .type = GGML_TYPE_F32};
}

__attribute__((unused)) static struct train_config rig_config(void)
{
    return (struct train_config){.n_threads = 2, .max_rows = ROWS, .max_samples = SAMPLES, .seed = 9};
}

__attribute__((unused)) static struct train_config rig_lora(void)
{
    struct train_config c = rig_config();
    c.lora_rank = 4;
    c.lora_alpha = 6;
    c.lora_targets = LORA_ALL;
    return c;
}

static void must(int rc, const struct error *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

static struct train *rig_train(
    const struct rig *r, const struct train_part *parts, uint32_t n, const struct train_config *cfg)
{
    struct error err = {0};
    struct train *x = NULL;
    must(train_create(&x, r->f, &r->p, parts, n, cfg, &err), &err);
    return x;
}

/* A trainer of the whole model with two slots. */
__attribute__((unused)) static void rig_open(
    struct rig *r, const struct model_testing *t, const struct train_config *cfg)
{
    r->f = model_testing_open(t, &r->p);
    struct train_part part = {.span = {0, r->p.n_block, true, true}, .n_slots = 2};
    r->x = rig_train(r, &part, 1, cfg);
    for (uint32_t i = 0; i < ROWS; i++) {
        r->tokens[i] = (int32_t)rng_below(1, i, t->n_vocab);
        r->targets[i] = i % 5 == 3 ? -1 : (int32_t)rng_below(2, i, t->n_vocab);
    }
}

__attribute__((unused)) static void rig_close(struct rig *r)
{
    train_free(r->x);
    gguf_file_close(r->f);
}

/* Adapters start with B = 0, where A has no gradient: move away from there. */
__attribute__((unused)) static void rig_shake(struct train *x)
{
    for (uint32_t i = 0; i < train_n_params(x); i++) {
        struct train_param p = train_param_at(x, i);
        uint64_t key = 0;
        for (const char *c = p.name; *c; c++)
            key = key * 31 + (uint8_t)*c;
        for (uint64_t j = 0; j < p.n_out * p.n_in && strstr(p.name, "lora_b"); j++)
            p.w[j] = (float)(0.2 * (rng_uniform(key, j) - 0.5));
    }
}

/* Forward, loss and (unless only_eval) backward of the rig's micro-batch through the whole model. */
__attribute__((unused)) static struct train_loss rig_run(struct rig *r, bool only_eval)
{
    struct train_loss loss;
    struct error err = {0};
    must(train_forward(r->x, 0, 0, sample_rows, SAMPLES, r->tokens, NULL, NULL, &err), &err);
    must(train_loss(r->x, 0, 0, r->targets, only_eval, &loss, &err), &err);
    if (only_eval)
        train_drop(r->x, 0, 0);
    else
        must(train_backward(r->x, 0, 0, NULL, NULL, &err), &err);
    return loss;
}

__attribute__((unused)) static void rig_step(struct train *x, uint64_t t)
{
    struct train_adamw opt = {
        .lr = 3e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.01f, .grad_scale = 0.03f, .t = t};
    train_step(x, &opt);
}

/* The parameter of that name; fails when there is none. */
__attribute__((unused)) static struct train_param rig_param(struct train *x, const char *name)
{
    for (uint32_t i = 0; i < train_n_params(x); i++)
        if (strcmp(train_param_at(x, i).name, name) == 0)
            return train_param_at(x, i);
    fail_msg("no parameter %s", name);
    return train_param_at(x, 0);
}

/* Weights and gradients of everything in b are those of the same names in a, bit for bit. */
__attribute__((unused)) static void rig_same(struct train *a, struct train *b)
{
    assert_true(train_n_params(b) > 0);
    for (uint32_t i = 0; i < train_n_params(b); i++) {
        struct train_param q = train_param_at(b, i), p = rig_param(a, q.name);
        size_t bytes = sizeof(float) * q.n_out * q.n_in;
        if (memcmp(p.w, q.w, bytes) != 0 || memcmp(p.grad, q.grad, bytes) != 0)
            fail_msg("%s differs", q.name);
    }
}

#endif
