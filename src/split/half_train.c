/* A training half over a model file. */
#include "split/half_model.h"

#include "split/lora_result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct model_half {
    struct half_train half;
    struct train *train;
    /* to begin again */
    const struct gguf_file *file;
    struct gguf_file *own; /* closed with the half */
    struct model_params params;
    struct train_part part;
    struct train_config cfg;
};

static struct train *inner(const struct half_train *h)
{
    return ((const struct model_half *)h)->train;
}

static int model_forward(struct half_train *h, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
    const float *in, float *out, struct error *err)
{
    return train_forward(inner(h), 0, slot, sample_rows, n_samples, NULL, in, out, err);
}

static int model_backward(struct half_train *h, uint32_t slot, const float *grad_out, float *grad_in, struct error *err)
{
    return train_backward(inner(h), 0, slot, grad_out, grad_in, err);
}

static void model_drop(struct half_train *h, uint32_t slot)
{
    train_drop(inner(h), 0, slot);
}

static double model_sumsq(const struct half_train *h)
{
    return train_grad_sumsq(inner(h));
}

static void model_step(struct half_train *h, const struct train_adamw *opt)
{
    train_step(inner(h), opt);
}

static void model_zero(struct half_train *h)
{
    train_grad_zero(inner(h));
}

static int model_save(const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err)
{
    return train_save(inner(h), path, cut, err);
}

static int model_load(struct half_train *h, const char *path, struct model_cut *ret_cut, struct error *err)
{
    return train_load(inner(h), path, ret_cut, err);
}

/* The new one first: when it does not fit beside the old one nothing has changed, and the worker may be restarted. */
static int model_reset(struct half_train *h, struct error *err)
{
    struct model_half *m = (struct model_half *)h;
    struct train *fresh;
    int rc = train_create(&fresh, m->file, &m->params, &m->part, 1, &m->cfg, err);
    if (rc)
        return rc;
    train_free(m->train);
    m->train = fresh;
    return 0;
}

static int model_export(const struct half_train *h, const char *path, const struct model_cut *cut, struct error *err)
{
    const struct model_half *m = (const struct model_half *)h;
    char adapter[4096];
    if (!m->cfg.lora_rank)
        return train_export(m->train, path, cut, true, err);
    snprintf(adapter, sizeof(adapter), "%s.adapter", path);
    return lora_result_write(m->train, m->file, adapter, path, cut, false, err);
}

static void model_free(struct half_train *h)
{
    if (!h)
        return;
    train_free(inner(h));
    gguf_file_close(((struct model_half *)h)->own);
    free(h);
}

static const struct half_train_ops model_ops = {
    .forward = model_forward,
    .backward = model_backward,
    .drop = model_drop,
    .sumsq = model_sumsq,
    .step = model_step,
    .zero = model_zero,
    .save = model_save,
    .load = model_load,
    .reset = model_reset,
    .export = model_export,
    .free = model_free,
};

void half_train_own(struct half_train *h, struct gguf_file *f)
{
    ((struct model_half *)h)->own = f;
}

int half_train_create(struct half_train **ret, const struct gguf_file *f, const struct model_params *p,
    struct span span, const struct train_config *cfg, uint32_t n_slots, struct error *err)
{
    if (span.embed || span.output)
        return error_set(err, EINVAL, "a middle takes and gives vectors: neither embedding nor output may be in it");
    struct model_half *m = calloc(1, sizeof(*m));
    if (!m)
        return error_set(err, ENOMEM, "out of memory");
    m->file = f;
    m->params = *p;
    m->part = (struct train_part){.span = span, .n_slots = n_slots};
    m->cfg = *cfg;
    int rc = train_create(&m->train, f, p, &m->part, 1, cfg, err);
    if (rc) {
        free(m);
        return rc;
    }
    m->half = (struct half_train){.ops = &model_ops,
        .d = p->d,
        .n_slots = n_slots,
        .max_rows = cfg->max_rows,
        .max_samples = cfg->max_samples ? cfg->max_samples : cfg->max_rows};
    *ret = &m->half;
    return 0;
}
