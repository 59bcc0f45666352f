/* The idea: read every number through one helper that knows its range and default, refuse by name whatever would change
 * the mathematics and is not implemented, then hold the list of tensors that these numbers demand against the list of
 * tensors that are there, both ways. A file that passes can be trusted by the code that computes.
 *
 * Defaults and their order are llama.cpp's (head_count_kv, key_length, rope.*), so files from any hub mean the same. */
#include "model/params.h"

#include "model/cut.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const struct gguf_file *f;
    const char *file, *arch;
    struct error *err;
};

/* --- keys ---------------------------------------------------------------------------------------------------- */

struct name {
    char s[96];
};

static struct name full_name(const struct reader *r, const char *key)
{
    struct name n;
    snprintf(n.s, sizeof(n.s), "%s.%s", r->arch, key);
    return n;
}

static int unusable(const struct reader *r, const char *key, const char *why)
{
    return error_set(r->err, EINVAL, "%s: key %s %s; the file is corrupt or was converted badly", r->file, key, why);
}

/* An array of one number for each block: usable when they are all the same. */
static int read_uniform(const struct reader *r, const char *key, uint32_t *ret)
{
    enum gguf_type type;
    uint64_t n;
    const void *raw;
    if (gguf_file_array(r->f, key, &type, &n) || gguf_file_array_raw(r->f, key, &raw) || n < 1 ||
        (type != GGUF_TYPE_UINT32 && type != GGUF_TYPE_INT32))
        return unusable(r, key, "is not a number");
    uint32_t first, each;
    memcpy(&first, raw, 4);
    for (uint64_t i = 1; i < n; i++) {
        memcpy(&each, (const uint8_t *)raw + 4 * i, 4);
        if (each != first)
            return error_set(r->err, ENOTSUP,
                "%s: %s differs from block to block; only models whose blocks are alike can be run", r->file, key);
    }
    if (type == GGUF_TYPE_INT32 && first > INT32_MAX)
        return unusable(r, key, "is negative");
    *ret = first;
    return 0;
}

/* *ret keeps its value (the default) when the key is missing and not `needed`. */
static int read_u32(const struct reader *r, const char *key, bool needed, uint32_t low, uint32_t high, uint32_t *ret)
{
    struct name k = full_name(r, key);
    uint32_t v = 0;
    int rc = gguf_file_u32(r->f, k.s, &v);
    if (rc == -ENOENT && !needed)
        return 0;
    if (rc == -ENOENT)
        return error_set(r->err, EINVAL, "%s: key %s is missing; this is not a complete model file", r->file, k.s);
    if (rc == -EINVAL)
        rc = read_uniform(r, k.s, &v);
    else if (rc)
        return unusable(r, k.s, "is out of range");
    if (rc)
        return rc;
    if (v < low || v > high)
        return error_set(r->err, EINVAL,
            "%s: %s is %" PRIu32 ", outside %" PRIu32 " to %" PRIu32
            "; the file is corrupt or not one this program can run",
            r->file, k.s, v, low, high);
    *ret = v;
    return 0;
}

static int read_f32(const struct reader *r, const char *key, bool needed, float low, float high, float *ret)
{
    struct name k = full_name(r, key);
    float v = 0;
    int rc = gguf_file_f32(r->f, k.s, &v);
    if (rc == -ENOENT && !needed)
        return 0;
    if (rc == -ENOENT)
        return error_set(r->err, EINVAL, "%s: key %s is missing; this is not a complete model file", r->file, k.s);
    if (rc)
        return unusable(r, k.s, "is not a floating-point number");
    if (!(v >= low && v <= high)) /* NaN fails too */
        return unusable(r, k.s, "is out of range");
    *ret = v;
    return 0;
}

/* --- what we do not run ---------------------------------------------------------------------------------------- */

static int refuse(const struct reader *r, const char *what)
{
    return error_set(r->err, ENOTSUP,
        "%s: %s, which this program does not run; use a dense llama, qwen2 or qwen3 model", r->file, what);
}

/* Keys that change the mathematics where they are not this value. */
static int refuse_extras(const struct reader *r)
{
    static const struct {
        const char *key;
        float harmless;
        const char *what;
    } extras[] = {
        {"expert_count", 0, "a mixture-of-experts model"},
        {"attention.sliding_window_pattern", 0, "a model with a different attention window for each block"},
        {"attention.scale", 0, "a model with its own attention scale"},
        {"attention.temperature_length", 0, "a model with attention temperature tuning"},
        {"attention.temperature_scale", 0, "a model with attention temperature tuning"},
        {"attention.clamp_kqv", 0, "a model with clamped attention"},
        {"attn_logit_softcapping", 0, "a model with soft-capped attention"},
        {"final_logit_softcapping", 0, "a model with soft-capped logits"},
        {"logit_scale", 1, "a model with scaled logits"},
        {"embedding_scale", 1, "a model with scaled embeddings"},
        {"residual_scale", 1, "a model with scaled residuals"},
    };
    for (size_t i = 0; i < sizeof(extras) / sizeof(*extras); i++) {
        struct name k = full_name(r, extras[i].key);
        uint64_t u;
        float v;
        bool b;
        if (!gguf_file_has_key(r->f, k.s))
            continue;
        if (!gguf_file_u64(r->f, k.s, &u))
            v = (float)u;
        else if (!gguf_file_bool(r->f, k.s, &b))
            v = b;
        else if (gguf_file_f32(r->f, k.s, &v))
            return refuse(r, extras[i].what);
        if (v != extras[i].harmless)
            return refuse(r, extras[i].what);
    }
    bool causal = true;
    struct name k = full_name(r, "attention.causal");
    (void)gguf_file_bool(r->f, k.s, &causal);
    if (!causal)
        return refuse(r, "an encoder that sees the future");
    k = full_name(r, "rope.dimension_sections");
    return gguf_file_has_key(r->f, k.s) ? refuse(r, "a model with rotary sections (vision)") : 0;
}

static int read_arch(struct reader *r, struct model_params *p)
{
    struct gguf_str arch, type;
    if (!gguf_file_str(r->f, "general.type", &type) && !(type.len == 5 && !memcmp(type.s, "model", 5)))
        return error_set(r->err, ENOTSUP, "%s: holds a \"%.*s\", not a model", r->file,
            (int)(type.len < 32 ? type.len : 32), type.s);
    uint32_t pieces = 1;
    if (!gguf_file_u32(r->f, "split.count", &pieces) && pieces > 1)
        return error_set(r->err, ENOTSUP,
            "%s: one of %" PRIu32 " pieces of a model; join them first (llama-gguf-split --merge)", r->file, pieces);
    if (gguf_file_str(r->f, "general.architecture", &arch))
        return error_set(r->err, EINVAL, "%s: key general.architecture is missing; this is not a model file", r->file);
    for (p->arch = MODEL_LLAMA; p->arch <= MODEL_QWEN3; p->arch++) {
        r->arch = model_arch_name(p->arch);
        if (arch.len == strlen(r->arch) && !memcmp(arch.s, r->arch, arch.len))
            return 0;
    }
    char shown[33];
    size_t n = arch.len < 32 ? arch.len : 32;
    for (size_t i = 0; i < n; i++)
        shown[i] = isprint((unsigned char)arch.s[i]) ? arch.s[i] : '?';
    shown[n] = 0;
    return error_set(r->err, ENOTSUP,
        "%s: architecture \"%s\" is not one this program runs; use a dense llama, qwen2 or qwen3 model", r->file,
        shown);
}

/* --- sizes ----------------------------------------------------------------------------------------------------- */

static int read_heads(const struct reader *r, struct model_params *p)
{
    int rc = read_u32(r, "attention.head_count", true, 1, 4096, &p->n_head);
    if (rc)
        return rc;
    p->n_head_kv = p->n_head;
    rc = read_u32(r, "attention.head_count_kv", false, 1, 4096, &p->n_head_kv);
    if (rc)
        return rc;
    if (p->n_head % p->n_head_kv)
        return error_set(r->err, EINVAL,
            "%s: %" PRIu32 " heads cannot share %" PRIu32 " key/value heads evenly; the file is corrupt", r->file,
            p->n_head, p->n_head_kv);
    p->head_dim = p->d / p->n_head;
    rc = read_u32(r, "attention.key_length", false, 2, 4096, &p->head_dim);
    uint32_t value = p->head_dim;
    if (!rc)
        rc = read_u32(r, "attention.value_length", false, 2, 4096, &value);
    if (rc)
        return rc;
    if (value != p->head_dim)
        return refuse(r, "a model whose keys and values differ in length");
    if (p->head_dim < 2 || p->head_dim % 2 || p->head_dim > 4096)
        return error_set(r->err, EINVAL,
            "%s: heads of %" PRIu32 " dimensions (even, 2 to 4096, expected); the file is corrupt", r->file,
            p->head_dim);
    return 0;
}

static int read_sizes(const struct reader *r, struct model_params *p)
{
    int rc = read_u32(r, "block_count", true, 1, 4096, &p->n_block);
    if (!rc)
        rc = read_u32(r, "embedding_length", true, 1, 1 << 20, &p->d);
    if (!rc)
        rc = read_u32(r, "feed_forward_length", true, 1, 1 << 24, &p->d_ff);
    if (!rc)
        rc = read_u32(r, "context_length", true, 1, INT32_MAX, &p->n_ctx);
    if (!rc)
        rc = read_f32(r, "attention.layer_norm_rms_epsilon", true, 0, 1, &p->eps);
    if (!rc)
        rc = read_heads(r, p);
    if (!rc)
        rc = read_u32(r, "attention.sliding_window", false, 0, INT32_MAX, &p->window);
    if (p->window >= p->n_ctx)
        p->window = 0; /* never reached */
    return rc;
}

static int read_rope_scaling(const struct reader *r, struct model_params *p)
{
    struct name k = full_name(r, "rope.scaling.type");
    struct gguf_str type = {"linear", 6};
    if (gguf_file_has_key(r->f, k.s) && gguf_file_str(r->f, k.s, &type))
        return unusable(r, k.s, "is not a string");
    if (type.len == 4 && !memcmp(type.s, "none", 4))
        p->rope_scaling = ROPE_SCALE_NONE;
    else if (type.len == 6 && !memcmp(type.s, "linear", 6))
        p->rope_scaling = ROPE_SCALE_LINEAR;
    else if (type.len == 4 && !memcmp(type.s, "yarn", 4))
        p->rope_scaling = ROPE_SCALE_YARN;
    else
        return refuse(r, "a model with a rotary scaling other than linear or yarn (longrope, su)");
    /* The older key's value means the same; 0 means unset. */
    float factor = 0;
    int rc = read_f32(r, "rope.scale_linear", false, 0, 1e6f, &factor);
    if (!rc)
        rc = read_f32(r, "rope.scaling.factor", false, 0, 1e6f, &factor);
    p->rope_scale_factor = factor > 0 && p->rope_scaling != ROPE_SCALE_NONE ? factor : 1;
    if (p->rope_scaling == ROPE_SCALE_LINEAR && p->rope_scale_factor == 1)
        p->rope_scaling = ROPE_SCALE_NONE;
    return rc;
}

static int read_yarn(const struct reader *r, struct model_params *p)
{
    uint32_t orig = p->n_ctx;
    int rc = read_u32(r, "rope.scaling.original_context_length", false, 1, INT32_MAX, &orig);
    p->rope_orig_ctx = (float)orig;
    p->yarn_ext_factor = p->rope_scaling == ROPE_SCALE_YARN ? 1 : 0;
    p->yarn_attn_factor = 1;
    p->yarn_beta_fast = 32;
    p->yarn_beta_slow = 1;
    if (!rc)
        rc = read_f32(r, "rope.scaling.attn_factor", false, 1e-6f, 1e6f, &p->yarn_attn_factor);
    if (!rc && p->rope_scaling == ROPE_SCALE_YARN)
        rc = read_f32(r, "rope.scaling.yarn_ext_factor", false, 0, 1e6f, &p->yarn_ext_factor);
    if (!rc)
        rc = read_f32(r, "rope.scaling.yarn_attn_factor", false, 1e-6f, 1e6f, &p->yarn_attn_factor);
    if (!rc)
        rc = read_f32(r, "rope.scaling.yarn_beta_fast", false, 0, 1e6f, &p->yarn_beta_fast);
    if (!rc)
        rc = read_f32(r, "rope.scaling.yarn_beta_slow", false, 0, 1e6f, &p->yarn_beta_slow);
    return rc;
}

static int read_rope(const struct reader *r, struct model_params *p)
{
    p->rope_kind = p->arch == MODEL_LLAMA ? ROPE_NORM : ROPE_NEOX;
    p->rope_dims = p->head_dim;
    p->rope_base = 10000;
    int rc = read_u32(r, "rope.dimension_count", false, 2, p->head_dim, &p->rope_dims);
    if (!rc && p->rope_dims % 2)
        rc = error_set(r->err, EINVAL, "%s: an odd number of rotary dimensions; the file is corrupt", r->file);
    if (!rc)
        rc = read_f32(r, "rope.freq_base", false, 1e-3f, 1e12f, &p->rope_base);
    if (!rc)
        rc = read_rope_scaling(r, p);
    return rc ? rc : read_yarn(r, p);
}

/* --- tensors --------------------------------------------------------------------------------------------------- */

struct expect {
    const struct reader *r;
    size_t n; /* found so far */
};

static int expect_tensor(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct expect *x = ctx;
    const struct reader *r = x->r;
    const struct gguf_tensor *t = gguf_file_tensor(r->f, name);
    if (!t)
        return error_set(
            r->err, EINVAL, "%s: tensor %s is missing; the file is incomplete (one piece of several?)", r->file, name);
    if (t->ne[0] != ne0 || t->ne[1] != ne1 || t->ne[2] != 1 || t->ne[3] != 1)
        return error_set(r->err, EINVAL,
            "%s: tensor %s is %" PRId64 " x %" PRId64 " instead of %" PRId64 " x %" PRId64
            "; the file contradicts itself",
            r->file, name, t->ne[0], t->ne[1], ne0, ne1);
    if (n_dims == 1 && t->type != GGML_TYPE_F32)
        return error_set(r->err, ENOTSUP, "%s: tensor %s is %s; norms and biases must be F32: convert the file again",
            r->file, name, ggml_type_name(t->type));
    if (t->type != GGML_TYPE_F32 && !ggml_get_type_traits(t->type)->to_float)
        return error_set(r->err, ENOTSUP, "%s: tensor %s has type %s, which holds no weights", r->file, name,
            ggml_type_name(t->type));
    x->n++;
    return 0;
}

static int read_ends(const struct reader *r, struct model_params *p)
{
    const struct gguf_tensor *embd = gguf_file_tensor(r->f, "token_embd.weight");
    if (!gguf_file_n_tensors(r->f))
        return error_set(r->err, EINVAL, "%s: holds a vocabulary but no weights; give a whole model", r->file);
    if (!embd)
        return error_set(r->err, EINVAL,
            "%s: tensor token_embd.weight is missing; the file is incomplete (one piece of several?)", r->file);
    if (embd->ne[1] > INT32_MAX)
        return error_set(r->err, EINVAL, "%s: the embedding has more rows than tokens can be numbered", r->file);
    p->n_vocab = (uint32_t)embd->ne[1];
    p->tied = !gguf_file_tensor(r->f, "output.weight");
    enum gguf_type type;
    uint64_t n;
    if (!gguf_file_array(r->f, "tokenizer.ggml.tokens", &type, &n) && n > p->n_vocab)
        return error_set(r->err, EINVAL,
            "%s: %" PRIu64 " tokens but an embedding of %" PRIu32 "; the file contradicts itself", r->file, n,
            p->n_vocab);
    return 0;
}

/* The first tensor that this program would leave unused: it would compute something else than was meant. */
static int find_stranger(const struct reader *r, const struct model_params *p)
{
    for (size_t i = 0; i < gguf_file_n_tensors(r->f); i++) {
        const char *name = gguf_file_tensor_at(r->f, i)->name;
        if (strstr(name, "_exps.") || strstr(name, "ffn_gate_inp"))
            return refuse(r, "a mixture-of-experts model");
        if (!strncmp(name, "rope_factors_", 13))
            return refuse(r, "a model with a rotary scaling other than linear or yarn (longrope)");
    }
    static const char *const known[] = {"attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight",
        "attn_output.weight", "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "attn_q.bias",
        "attn_k.bias", "attn_v.bias", "attn_q_norm.weight", "attn_k_norm.weight"};
    for (size_t i = 0; i < gguf_file_n_tensors(r->f); i++) {
        const char *name = gguf_file_tensor_at(r->f, i)->name;
        unsigned block;
        int end = 0;
        bool ok = !strcmp(name, "rope_freqs.weight");
        ok |= model_has_ends(p) && (!strcmp(name, "token_embd.weight") || !strcmp(name, "output_norm.weight") ||
                                       !strcmp(name, "output.weight"));
        if (sscanf(name, "blk.%5u.%n", &block, &end) == 1 && end && model_has_block(p, block))
            for (size_t j = 0; j < sizeof(known) / sizeof(*known); j++)
                ok |= !strcmp(name + end, known[j]) && (j < 9 || (j < 12 ? p->qkv_bias : p->qk_norm));
        if (!ok)
            return error_set(r->err, ENOTSUP, "%s: tensor %s is not part of a %s model that this program runs", r->file,
                name, p->cut.part == MODEL_CLOUD ? "cloud half of a" : r->arch);
    }
    return error_set(r->err, EINVAL, "%s: has tensors that do not belong together", r->file);
}

static int check_tensors(const struct reader *r, struct model_params *p)
{
    uint32_t first = 0;
    while (first < p->n_block && !model_has_block(p, first))
        first++; /* none at all in an edge half with bare ends */
    char name[GGML_MAX_NAME];
    snprintf(name, sizeof(name), "blk.%" PRIu32 ".attn_q.bias", first);
    p->qkv_bias = p->arch == MODEL_QWEN2 || gguf_file_tensor(r->f, name);
    p->qk_norm = p->arch == MODEL_QWEN3;
    struct expect x = {r, 0};
    int rc = model_has_ends(p) ? read_ends(r, p) : 0;
    p->rope_freqs = gguf_file_tensor(r->f, "rope_freqs.weight");
    if (!rc && p->rope_freqs)
        rc = expect_tensor(&x, "rope_freqs.weight", 1, p->rope_dims / 2, 1);
    if (!rc && model_has_ends(p))
        rc = model_each_end_tensor(p, expect_tensor, &x);
    for (uint32_t i = 0; i < p->n_block && !rc; i++)
        if (model_has_block(p, i))
            rc = model_each_block_tensor(p, i, expect_tensor, &x);
    if (!rc && x.n != gguf_file_n_tensors(r->f))
        rc = find_stranger(r, p);
    return rc;
}

int model_params_read(struct model_params *ret, const struct gguf_file *f, struct error *err)
{
    struct reader r = {f, gguf_file_name(f), "", err};
    struct model_params p = {0};
    int rc = read_arch(&r, &p);
    if (!rc)
        rc = refuse_extras(&r);
    if (!rc)
        rc = read_sizes(&r, &p);
    if (!rc)
        rc = read_rope(&r, &p);
    if (!rc)
        rc = model_cut_read(&p.cut, f, err);
    if (!rc && p.cut.part != MODEL_WHOLE && p.cut.head + p.cut.tail >= p.n_block)
        rc = error_set(err, EINVAL, "%s: its cut leaves no block in the middle; the file is corrupt", r.file);
    if (!rc)
        rc = check_tensors(&r, &p);
    if (!rc)
        *ret = p;
    return rc;
}
