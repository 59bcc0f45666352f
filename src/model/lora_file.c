#include "model/lora_file.h"

#include "model/cut.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reading --------------------------------------------------------------------------------------------------------- */

static bool key_is(const struct gguf_file *f, const char *key, const char *value)
{
    struct gguf_str s;
    return !gguf_file_str(f, key, &s) && s.len == strlen(value) && !memcmp(s.s, value, s.len);
}

static int read_head(struct lora_file *l, struct error *err)
{
    const char *file = gguf_file_name(l->f);
    if (!key_is(l->f, "general.type", "adapter"))
        return error_set(err, EINVAL, "%s: not an adapter; give a LoRA adapter in GGUF form", file);
    if (!key_is(l->f, "adapter.type", "lora"))
        return error_set(err, ENOTSUP, "%s: an adapter of another kind than LoRA", file);
    for (l->arch = MODEL_LLAMA; l->arch <= MODEL_QWEN3; l->arch++)
        if (key_is(l->f, "general.architecture", model_arch_name(l->arch)))
            break;
    if (l->arch > MODEL_QWEN3)
        return error_set(err, ENOTSUP,
            "%s: an adapter for an architecture that this program does not run (llama, qwen2 and qwen3 it does)", file);
    if (gguf_file_f32(l->f, "adapter.lora.alpha", &l->alpha) || !isfinite(l->alpha))
        return error_set(err, EINVAL, "%s: key adapter.lora.alpha is missing or no number; the file is corrupt", file);
    return model_cut_read(&l->cut, l->f, err);
}

/* Takes the pair that begins at sorted place i: T.lora_a, then T.lora_b. */
static int read_target(struct lora_file *l, const struct gguf_tensor *a, struct error *err)
{
    const char *file = gguf_file_name(l->f);
    size_t stem = strlen(a->name) - strlen(".lora_a");
    char name[GGML_MAX_NAME];
    snprintf(name, sizeof(name), "%.*s.lora_b", (int)stem, a->name);
    const struct gguf_tensor *b = gguf_file_tensor(l->f, name);
    if (!b)
        return error_set(err, EINVAL, "%s: tensor %s has no %s beside it; the file is incomplete", file, a->name, name);
    if (a->ne[2] != 1 || a->ne[3] != 1 || b->ne[2] != 1 || b->ne[3] != 1 || a->ne[1] != b->ne[0] || a->ne[1] > 1 << 16)
        return error_set(
            err, EINVAL, "%s: the shapes of %s and %s do not fit together; the file is corrupt", file, a->name, name);
    const struct gguf_tensor *both[] = {a, b};
    for (int i = 0; i < 2; i++)
        if (both[i]->type != GGML_TYPE_F32 && !ggml_get_type_traits(both[i]->type)->to_float)
            return error_set(err, ENOTSUP, "%s: tensor %s has a type that holds no weights", file, both[i]->name);
    char *copy = strndup(a->name, stem);
    if (!copy)
        return error_set(err, ENOMEM, "%s: out of memory", file);
    l->targets[l->n_targets++] = (struct lora_target){copy, a, b, (uint32_t)a->ne[1]};
    return 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && !strcmp(s + n - m, end);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct lora_target *)a)->name, ((const struct lora_target *)b)->name);
}

static int read_targets(struct lora_file *l, struct error *err)
{
    size_t n = gguf_file_n_tensors(l->f);
    l->targets = calloc(n + 1, sizeof(*l->targets));
    if (!l->targets)
        return error_set(err, ENOMEM, "%s: out of memory", gguf_file_name(l->f));
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(l->f, i);
        int rc = ends_with(t->name, ".lora_a") ? read_target(l, t, err) : 0;
        if (rc)
            return rc;
    }
    if (2 * l->n_targets != n || !n)
        return error_set(err, ENOTSUP, "%s: has tensors that are no pairs of lora_a and lora_b, or none at all",
            gguf_file_name(l->f));
    qsort(l->targets, l->n_targets, sizeof(*l->targets), by_name);
    return 0;
}

int lora_file_read(struct lora_file *ret, const struct gguf_file *f, struct error *err)
{
    struct lora_file l = {.f = f};
    int rc = read_head(&l, err);
    if (!rc)
        rc = read_targets(&l, err);
    if (rc)
        lora_file_done(&l);
    else
        *ret = l;
    return rc;
}

void lora_file_done(struct lora_file *l)
{
    for (size_t i = 0; i < l->n_targets; i++)
        free((char *)l->targets[i].name);
    free(l->targets);
    *l = (struct lora_file){0};
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

static int write_tensors(
    struct gguf_write *w, const char *path, const struct lora_matrix *m, size_t n, struct error *err)
{
    char name[2 * GGML_MAX_NAME];
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%s.lora_a", m[i].name);
        gguf_write_tensor(w, name, GGML_TYPE_F32, 2, (int64_t[4]){m[i].n_in, m[i].rank, 1, 1});
        snprintf(name, sizeof(name), "%s.lora_b", m[i].name);
        gguf_write_tensor(w, name, GGML_TYPE_F32, 2, (int64_t[4]){m[i].rank, m[i].n_out, 1, 1});
    }
    int rc = gguf_write_open(w, path, 0600, NULL, err);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = gguf_write_data(w, m[i].a, (size_t)m[i].n_in * m[i].rank * sizeof(float), err);
        if (!rc)
            rc = gguf_write_data(w, m[i].b, (size_t)m[i].n_out * m[i].rank * sizeof(float), err);
    }
    return rc ? rc : gguf_write_commit(w, err);
}

int lora_file_write(const char *path, enum model_arch arch, float alpha, const struct model_cut *cut,
    const struct lora_matrix *matrices, size_t n, struct error *err)
{
    struct gguf_write *w = NULL;
    int rc = gguf_write_create(&w, err);
    if (rc)
        return rc;
    gguf_write_str(w, "general.architecture", model_arch_name(arch));
    gguf_write_str(w, "general.type", "adapter");
    gguf_write_str(w, "adapter.type", "lora");
    gguf_write_f32(w, "adapter.lora.alpha", alpha);
    if (cut)
        model_cut_write(w, cut);
    rc = write_tensors(w, path, matrices, n, err);
    gguf_write_free(w);
    return rc;
}
