#include "model/quantize.h"

#include "base/buf.h"
#include "model/cut.h"
#include "model/params.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    enum ggml_type type;
    const char *name;
    uint32_t file_type; /* general.file_type: what the file mostly holds, as llama.cpp numbers it */
} types[] = {
    {GGML_TYPE_F32, "f32", 0},
    {GGML_TYPE_F16, "f16", 1},
    {GGML_TYPE_BF16, "bf16", 32},
    {GGML_TYPE_Q8_0, "q8_0", 7},
    {GGML_TYPE_Q6_K, "q6_k", 18},
    {GGML_TYPE_Q5_K, "q5_k", 17},
    {GGML_TYPE_Q4_K, "q4_k", 15},
    {GGML_TYPE_Q3_K, "q3_k", 12},
    {GGML_TYPE_Q2_K, "q2_k", 10},
    {GGML_TYPE_Q5_1, "q5_1", 9},
    {GGML_TYPE_Q5_0, "q5_0", 8},
    {GGML_TYPE_Q4_1, "q4_1", 3},
    {GGML_TYPE_Q4_0, "q4_0", 2},
    {GGML_TYPE_IQ4_NL, "iq4_nl", 25},
    {GGML_TYPE_IQ4_XS, "iq4_xs", 30},
};
enum { N_TYPES = sizeof(types) / sizeof(*types) };

int model_type_by_name(const char *name, enum ggml_type *ret, struct error *err)
{
    size_t n = strlen(name);
    if (n > 2 && (!strcasecmp(name + n - 2, "_m") || !strcasecmp(name + n - 2, "_s")) && name[n - 3] != '_')
        n -= 2;
    for (int i = 0; i < N_TYPES; i++)
        if (strlen(types[i].name) == n && !strncasecmp(types[i].name, name, n)) {
            *ret = types[i].type;
            return 0;
        }
    return error_set(err, EINVAL,
        "\"%.32s\" is not a type of weights; use f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q3_k, q2_k, q5_1, q5_0, q4_1, "
        "q4_0, iq4_nl or iq4_xs",
        name);
}

/* --- which type ---------------------------------------------------------------------------------------------------- */

/* Bits a weight takes, to compare types by. */
static double bits(enum ggml_type type)
{
    return 8.0 * (double)ggml_type_size(type) / (double)ggml_blck_size(type);
}

static bool sensitive_block(uint32_t i, uint32_t n)
{
    return i < n / 8 || i >= n - n / 8 || (i - n / 8) % 3 == 2;
}

static enum ggml_type better(enum ggml_type type)
{
    switch (type) {
    case GGML_TYPE_Q5_K:
    case GGML_TYPE_Q4_K:
        return GGML_TYPE_Q6_K;
    case GGML_TYPE_Q3_K:
        return GGML_TYPE_Q5_K;
    case GGML_TYPE_Q2_K:
        return GGML_TYPE_Q4_K;
    default:
        return type;
    }
}

static enum ggml_type mixed(const struct model_params *p, const struct model_quantize *q, const char *name)
{
    unsigned block;
    char part[32] = "";
    if (q->pure || bits(q->type) >= bits(GGML_TYPE_Q6_K))
        return q->type;
    if (!strcmp(name, "output.weight") || (p->tied && !strcmp(name, "token_embd.weight")))
        return GGML_TYPE_Q6_K;
    if (sscanf(name, "blk.%5u.%31[a-z_.]", &block, part) == 2 && sensitive_block(block, p->n_block) &&
        (!strcmp(part, "attn_v.weight") || !strcmp(part, "ffn_down.weight")))
        return better(q->type);
    return q->type;
}

static enum ggml_type packable(enum ggml_type type, int64_t ne0)
{
    if (ne0 % ggml_blck_size(type) == 0)
        return type;
    return ne0 % ggml_blck_size(GGML_TYPE_Q8_0) == 0 ? GGML_TYPE_Q8_0 : GGML_TYPE_F16;
}

/* --- doing it -------------------------------------------------------------------------------------------------------- */

struct job {
    const struct gguf_file *f;
    const struct model_quantize *q;
    struct model_params p;
    struct convert *c;
    struct gguf_write *w;
    enum ggml_type *to; /* of each tensor */
};

__attribute__((format(printf, 2, 3))) static void notice(const struct job *j, const char *fmt, ...)
{
    char text[512];
    va_list args;
    if (!j->q->notice)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    j->q->notice(j->q->notice_ctx, text);
}

static void choose(struct job *j)
{
    size_t fallback = 0, again = 0;
    const struct gguf_tensor *example = NULL;
    for (size_t i = 0; i < gguf_file_n_tensors(j->f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(j->f, i);
        enum ggml_type want = t->n_dims == 1 || t->ne[1] == 1 ? t->type : mixed(&j->p, j->q, t->name);
        j->to[i] = want == t->type ? want : packable(want, t->ne[0]);
        if (j->to[i] != want) {
            example = example ? example : t;
            fallback++;
        }
        again += j->to[i] != t->type && ggml_is_quantized(t->type) && ggml_is_quantized(j->to[i]);
    }
    if (fallback)
        notice(j, "%zu tensors have rows that %s cannot pack (%s: %" PRId64 ") and become Q8_0 or F16", fallback,
            ggml_type_name(j->q->type), example->name, example->ne[0]);
    if (again)
        notice(j, "%zu tensors are quantised already and lose twice; start from an F16 or F32 file where there is one",
            again);
}

static void describe(struct job *j)
{
    gguf_write_keys_of(j->w, j->f, NULL, NULL);
    for (int i = 0; i < N_TYPES; i++)
        if (types[i].type == j->q->type)
            gguf_write_u32(j->w, "general.file_type", types[i].file_type);
    gguf_write_u32(j->w, "general.quantization_version", GGML_QNT_VERSION);
    for (size_t i = 0; i < gguf_file_n_tensors(j->f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(j->f, i);
        gguf_write_tensor(j->w, t->name, j->to[i], t->n_dims, t->ne);
    }
}

static int convert_all(struct job *j, struct model_quantized *ret, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < gguf_file_n_tensors(j->f) && !rc; i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(j->f, i);
        rc = convert_tensor(j->c, j->w, t, j->to[i], NULL, NULL, &ret->loss, err);
        ret->bytes_before += t->size;
        ret->bytes_after += t->size / ggml_row_size(t->type, t->ne[0]) * ggml_row_size(j->to[i], t->ne[0]);
    }
    return rc;
}

static int run(struct job *j, const char *path, struct model_quantized *ret, const struct gguf_progress *progress,
    struct error *err)
{
    j->to = calloc(gguf_file_n_tensors(j->f) + 1, sizeof(*j->to));
    if (!j->to)
        return error_set(err, ENOMEM, "%s: out of memory", path);
    choose(j);
    describe(j);
    int rc = gguf_write_open(j->w, path, j->p.cut.part == MODEL_CLOUD ? 0644 : 0600, progress, err);
    if (!rc)
        rc = convert_all(j, ret, err);
    return rc ? rc : gguf_write_commit(j->w, err);
}

int model_quantize(const struct gguf_file *f, const char *path, const struct model_quantize *q,
    struct model_quantized *ret, const struct gguf_progress *progress, struct error *err)
{
    struct job j = {.f = f, .q = q};
    struct model_quantized sum = {0};
    if (!convert_can_write(q->type))
        return error_set(err, ENOTSUP, "weights cannot be written in this type");
    if (model_same_file(gguf_file_name(f), path))
        return error_set(err, EINVAL, "%s: the result would replace the model itself; give it another name", path);
    int rc = model_params_read(&j.p, f, err);
    if (!rc)
        rc = convert_create(&j.c, q->n_threads, err);
    if (!rc)
        rc = gguf_write_create(&j.w, err);
    if (!rc)
        rc = run(&j, path, &sum, progress, err);
    gguf_write_free(j.w);
    convert_free(j.c);
    free(j.to);
    if (!rc && ret)
        *ret = sum;
    return rc;
}
