/* Trained weights back into model files. */
#include "compute/train_impl.h"

#include "model/convert.h"
#include "model/cut.h"
#include "model/gguf_write.h"

#include <errno.h>
#include <string.h>

/* The cut of this file with the step and run that are given. */
static struct model_cut cut_of(const struct train *x, const struct model_cut *cut)
{
    struct model_cut c = x->p.cut;
    c.step = cut->step;
    memcpy(c.run, cut->run, sizeof c.run);
    return c;
}

/* An F32 tensor over a parameter's numbers. */
static struct gguf_tensor tensor_of(const struct train *x, const struct param *p)
{
    bool vector = p->t && p->t->n_dims == 1;
    return (struct gguf_tensor){.name = p->name,
        .type = GGML_TYPE_F32,
        .n_dims = vector ? 1 : 2,
        .ne = {p->n_in, p->n_out, 1, 1},
        .data = x->w + p->off,
        .size = sizeof(float) * p->n_out * p->n_in};
}

static const struct param *trained(const struct train *x, const char *name)
{
    for (uint32_t i = 0; i < x->n_params; i++)
        if (strcmp(x->params[i].name, name) == 0)
            return &x->params[i];
    return NULL;
}

static enum ggml_type type_of(const struct gguf_tensor *t, bool trained_one, bool keep_types)
{
    return !trained_one || (keep_types && convert_can_write(t->type)) ? t->type : GGML_TYPE_F32;
}

static int write_tensors(
    const struct train *x, struct gguf_write *w, struct convert *c, bool keep_types, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < gguf_file_n_tensors(x->f) && rc == 0; i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(x->f, i);
        const struct param *p = trained(x, t->name);
        if (p) {
            struct gguf_tensor now = tensor_of(x, p);
            rc = convert_tensor(c, w, &now, type_of(t, true, keep_types), NULL, NULL, NULL, err);
        } else
            rc = gguf_write_data(w, t->data, t->size, err);
    }
    return rc;
}

static void describe(const struct train *x, struct gguf_write *w, const struct model_cut *cut, bool keep_types)
{
    gguf_write_keys_of(w, x->f, NULL, NULL);
    model_cut_write(w, cut);
    if (!keep_types)
        gguf_write_u32(w, "general.file_type", 0); /* mostly F32 */
    for (size_t i = 0; i < gguf_file_n_tensors(x->f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(x->f, i);
        gguf_write_tensor(w, t->name, type_of(t, trained(x, t->name), keep_types), t->n_dims, t->ne);
    }
}

int train_export(
    const struct train *x, const char *path, const struct model_cut *cut, bool keep_types, struct error *err)
{
    struct model_cut now = cut_of(x, cut);
    struct gguf_write *w = NULL;
    struct convert *c = NULL;
    if (x->cfg.lora_rank)
        return error_set(err, EINVAL, "adapters were trained, not weights: export them as adapters");
    int rc = gguf_write_create(&w, err);
    if (rc == 0)
        rc = convert_create(&c, x->cfg.n_threads, err);
    if (rc == 0) {
        describe(x, w, &now, keep_types);
        rc = gguf_write_open(w, path, 0600, NULL, err);
    }
    if (rc == 0)
        rc = write_tensors(x, w, c, keep_types, err);
    if (rc == 0)
        rc = gguf_write_commit(w, err);
    convert_free(c);
    gguf_write_free(w);
    return rc;
}

/* llama.cpp's keys, then ours: whose cut and which step these adapters belong to. */
static void describe_adapters(const struct train *x, struct gguf_write *w, const struct model_cut *cut)
{
    gguf_write_str(w, "general.type", "adapter");
    gguf_write_str(w, "general.architecture", model_arch_name(x->p.arch));
    gguf_write_str(w, "adapter.type", "lora");
    gguf_write_f32(w, "adapter.lora.alpha", x->cfg.lora_alpha);
    model_cut_write(w, cut);
    for (uint32_t i = 0; i < x->n_params; i++) {
        struct gguf_tensor t = tensor_of(x, &x->params[i]);
        gguf_write_tensor_like(w, &t);
    }
}

static int write_adapters(const struct train *x, struct gguf_write *w, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < x->n_params && rc == 0; i++) {
        struct gguf_tensor t = tensor_of(x, &x->params[i]);
        rc = gguf_write_data(w, t.data, t.size, err);
    }
    return rc;
}

int train_export_lora(const struct train *x, const char *path, const struct model_cut *cut, struct error *err)
{
    struct model_cut now = cut_of(x, cut);
    struct gguf_write *w = NULL;
    if (!x->cfg.lora_rank)
        return error_set(err, EINVAL, "whole weights were trained, not adapters: export them as a model");
    int rc = gguf_write_create(&w, err);
    if (rc == 0) {
        describe_adapters(x, w, &now);
        rc = gguf_write_open(w, path, 0600, NULL, err);
    }
    if (rc == 0)
        rc = write_adapters(x, w, err);
    if (rc == 0)
        rc = gguf_write_commit(w, err);
    gguf_write_free(w);
    return rc;
}
