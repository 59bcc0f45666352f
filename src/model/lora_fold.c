/* Folding adapters into weights: W + (alpha / rank) B A, a few rows at a time, then back to the matrix's own type. */
#include "model/lora_file.h"

#include "model/cut.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One adapter's two factors for the matrix at hand, as floats. */
struct factor {
    float *a, *b; /* [rank][n_in], [n_out][rank] */
    int64_t n_in, rank;
    float scale;
};

struct folder {
    const struct gguf_file *base;
    const struct lora_file *const *adapters;
    size_t n;
    const struct lora_fold *fold;
    struct model_params p;
    struct gguf_write *w;
    struct convert *c;
    struct factor *factors; /* n; of the matrix at hand, n_factors of them */
    size_t n_factors;
    struct lora_folded sum;
};

/* --- who belongs to whom ----------------------------------------------------------------------------------------------- */

static bool other_half_holds(const struct model_params *p, const char *name)
{
    unsigned block;
    int end = 0;
    if (p->cut.part == MODEL_WHOLE)
        return false;
    if (sscanf(name, "blk.%5u.%n", &block, &end) == 1 && end)
        return block < p->n_block && !model_has_block(p, block);
    return !model_has_ends(p) && !strcmp(name, "output.weight");
}

static int check_target(struct folder *x, const struct lora_file *l, const struct lora_target *t, struct error *err)
{
    const struct gguf_tensor *w = gguf_file_tensor(x->base, t->name);
    const char *adapter = gguf_file_name(l->f), *base = gguf_file_name(x->base);
    if (!w && other_half_holds(&x->p, t->name)) {
        x->sum.n_elsewhere++;
        return 0;
    }
    if (!w)
        return error_set(
            err, EINVAL, "%s: adapts %s, which %s does not have; it belongs to another model", adapter, t->name, base);
    if (!strcmp(t->name, "token_embd.weight"))
        return error_set(err, ENOTSUP, "%s: adapts the embedding, which cannot be folded", adapter);
    if (w->ne[0] != t->a->ne[0] || w->ne[1] != t->b->ne[1])
        return error_set(err, EINVAL,
            "%s: adapts %s as %" PRId64 " x %" PRId64 ", but in %s it is %" PRId64 " x %" PRId64
            "; it belongs to another model",
            adapter, t->name, t->a->ne[0], t->b->ne[1], base, w->ne[0], w->ne[1]);
    if (x->fold->type == GGML_TYPE_COUNT && !convert_can_write(w->type))
        return error_set(err, ENOTSUP, "%s: %s is %s, which cannot be written again; fold into F16 or Q8_0 instead",
            base, t->name, ggml_type_name(w->type));
    x->sum.n_folded++;
    return 0;
}

static int check_adapter(struct folder *x, const struct lora_file *l, struct error *err)
{
    const char *adapter = gguf_file_name(l->f), *base = gguf_file_name(x->base);
    if (l->arch != x->p.arch)
        return error_set(err, EINVAL, "%s: an adapter for %s, but %s is %s", adapter, model_arch_name(l->arch), base,
            model_arch_name(x->p.arch));
    bool both_cut = l->cut.part != MODEL_WHOLE && x->p.cut.part != MODEL_WHOLE;
    if (both_cut && (memcmp(l->cut.id, x->p.cut.id, sizeof(l->cut.id)) || l->cut.part != x->p.cut.part)) {
        char a[48], b[48];
        model_cut_name(&l->cut, a);
        model_cut_name(&x->p.cut, b);
        return error_set(err, EINVAL, "%s: an adapter for the %s half of cut %s, but %s is the %s half of cut %s",
            adapter, l->cut.part == MODEL_EDGE ? "edge" : "cloud", a, base,
            x->p.cut.part == MODEL_EDGE ? "edge" : "cloud", b);
    }
    int rc = 0;
    for (size_t i = 0; i < l->n_targets && !rc; i++)
        rc = check_target(x, l, &l->targets[i], err);
    return rc;
}

static int check(struct folder *x, const char *path, struct error *err)
{
    enum ggml_type type = x->fold->type;
    if (type != GGML_TYPE_COUNT && !convert_can_write(type))
        return error_set(err, ENOTSUP, "weights cannot be written in this type");
    if (model_same_file(gguf_file_name(x->base), path))
        return error_set(err, EINVAL, "%s: the result would replace the model itself; give it another name", path);
    int rc = 0;
    for (size_t i = 0; i < x->n && !rc; i++)
        rc = check_adapter(x, x->adapters[i], err);
    if (!rc && !x->sum.n_folded)
        rc = error_set(
            err, EINVAL, "%s: nothing to fold: the adapters adapt no matrix that it holds", gguf_file_name(x->base));
    return rc;
}

/* --- folding ----------------------------------------------------------------------------------------------------------- */

static void fold_rows(void *ctx, int64_t row, int64_t n, float *rows)
{
    const struct folder *x = ctx;
    for (size_t i = 0; i < x->n_factors; i++) {
        const struct factor *f = &x->factors[i];
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = 0; k < f->rank; k++) {
                float s = f->scale * f->b[(row + r) * f->rank + k];
                for (int64_t j = 0; j < f->n_in; j++)
                    rows[r * f->n_in + j] += s * f->a[k * f->n_in + j];
            }
    }
}

/* The sum of squares of scale B A, without making it: sum over k, l of (B'B)[k][l] (AA')[k][l]. */
static double change_sumsq(const struct factor *f, int64_t n_out)
{
    double sum = 0;
    for (int64_t k = 0; k < f->rank; k++)
        for (int64_t l = 0; l < f->rank; l++) {
            double aa = 0, bb = 0;
            for (int64_t j = 0; j < f->n_in; j++)
                aa += (double)f->a[k * f->n_in + j] * (double)f->a[l * f->n_in + j];
            for (int64_t i = 0; i < n_out; i++)
                bb += (double)f->b[i * f->rank + k] * (double)f->b[i * f->rank + l];
            sum += aa * bb;
        }
    return sum * (double)f->scale * (double)f->scale;
}

static const struct lora_target *find_target(const struct lora_file *l, const char *name)
{
    size_t low = 0, high = l->n_targets;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(name, l->targets[mid].name);
        if (!order)
            return &l->targets[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static void drop_factors(struct folder *x)
{
    for (size_t i = 0; i < x->n_factors; i++) {
        free(x->factors[i].a);
        free(x->factors[i].b);
    }
    x->n_factors = 0;
}

static int take_factors(struct folder *x, const char *name, struct error *err)
{
    for (size_t i = 0; i < x->n; i++) {
        const struct lora_target *t = find_target(x->adapters[i], name);
        if (!t)
            continue;
        size_t na = (size_t)(t->a->ne[0] * t->a->ne[1]), nb = (size_t)(t->b->ne[0] * t->b->ne[1]);
        struct factor *f = &x->factors[x->n_factors++];
        *f = (struct factor){malloc(na * sizeof(float)), malloc(nb * sizeof(float)), t->a->ne[0], t->rank,
            x->adapters[i]->alpha / (float)t->rank};
        if (!f->a || !f->b)
            return error_set(err, ENOMEM, "out of memory for the adapter of %s", name);
        convert_to_floats(t->a->type, t->a->data, f->a, (int64_t)na);
        convert_to_floats(t->b->type, t->b->data, f->b, (int64_t)nb);
        x->sum.change_sumsq += change_sumsq(f, t->b->ne[1]);
    }
    return 0;
}

static bool adapted(const struct folder *x, const char *name)
{
    for (size_t i = 0; i < x->n; i++)
        if (find_target(x->adapters[i], name))
            return true;
    return false;
}

static enum ggml_type type_after(const struct folder *x, const struct gguf_tensor *t)
{
    return adapted(x, t->name) && x->fold->type != GGML_TYPE_COUNT && t->ne[0] % ggml_blck_size(x->fold->type) == 0
               ? x->fold->type
               : t->type;
}

static int fold_tensor(struct folder *x, const struct gguf_tensor *t, struct error *err)
{
    int rc = take_factors(x, t->name, err);
    if (!rc)
        rc = convert_tensor(x->c, x->w, t, type_after(x, t), x->n_factors ? fold_rows : NULL, x,
            x->n_factors ? &x->sum.loss : NULL, err);
    drop_factors(x);
    return rc;
}

static void describe(struct folder *x)
{
    gguf_write_keys_of(x->w, x->base, NULL, NULL);
    struct model_cut cut = x->p.cut;
    for (size_t i = 0; i < x->n && cut.part != MODEL_WHOLE; i++)
        if (x->adapters[i]->cut.part == cut.part) {
            cut.step = x->adapters[i]->cut.step;
            memcpy(cut.run, x->adapters[i]->cut.run, sizeof(cut.run));
        }
    if (cut.part != MODEL_WHOLE)
        model_cut_write(x->w, &cut);
    for (size_t i = 0; i < gguf_file_n_tensors(x->base); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(x->base, i);
        gguf_write_tensor(x->w, t->name, type_after(x, t), t->n_dims, t->ne);
    }
}

static int run(struct folder *x, const char *path, const struct gguf_progress *progress, struct error *err)
{
    x->factors = calloc(x->n + 1, sizeof(*x->factors));
    if (!x->factors)
        return error_set(err, ENOMEM, "%s: out of memory", path);
    describe(x);
    int rc = gguf_write_open(x->w, path, x->p.cut.part == MODEL_CLOUD ? 0644 : 0600, progress, err);
    for (size_t i = 0; i < gguf_file_n_tensors(x->base) && !rc; i++)
        rc = fold_tensor(x, gguf_file_tensor_at(x->base, i), err);
    return rc ? rc : gguf_write_commit(x->w, err);
}

int model_merge_lora(const struct gguf_file *base, const struct lora_file *const *adapters, size_t n,
    const struct lora_fold *fold, const char *path, struct lora_folded *ret, const struct gguf_progress *progress,
    struct error *err)
{
    struct folder x = {.base = base, .adapters = adapters, .n = n, .fold = fold};
    int rc = model_params_read(&x.p, base, err);
    if (!rc)
        rc = check(&x, path, err);
    if (!rc)
        rc = convert_create(&x.c, fold->n_threads, err);
    if (!rc)
        rc = gguf_write_create(&x.w, err);
    if (!rc)
        rc = run(&x, path, progress, err);
    gguf_write_free(x.w);
    convert_free(x.c);
    free(x.factors);
    if (!rc && ret)
        *ret = x.sum;
    return rc;
}
