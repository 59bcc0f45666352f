/* The idea: decide all sizes as struct model_params, let the shared list of tensors (params.h) say what such a model
 * consists of, describe them, then stream noise into them a piece at a time. */
#include "model/init.h"

#include "base/buf.h"
#include "base/rng.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 }; /* floats made at a time */

uint64_t model_noise_key(uint64_t seed, const char *name)
{
    uint64_t key = rng_mix(seed + 0x9e3779b97f4a7c15u);
    for (; *name; name++)
        key = rng_mix(key ^ (uint8_t)*name) + 0x9e3779b97f4a7c15u;
    return key;
}

float model_noise(uint64_t key, uint64_t counter)
{
    int32_t sum = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t bits = rng_u64(key, 2 * counter + (uint64_t)i);
        for (int j = 0; j < 4; j++)
            sum += (int32_t)(bits >> 16 * j & 0xffff);
    }
    /* Mean 8 * 65535 / 2; variance 8 * (2^32 - 1) / 12. */
    return (float)((double)(sum - 4 * 65535) * (1.0 / 53509.91992145));
}

/* --- sizes ------------------------------------------------------------------------------------------------------- */

static int decide(struct model_params *p, const struct model_init *c, struct error *err)
{
    *p = (struct model_params){.arch = c->arch,
        .n_block = c->n_block,
        .d = c->d,
        .n_head = c->n_head,
        .n_head_kv = c->n_head_kv,
        .d_ff = c->d_ff,
        .tied = c->tied};
    p->n_ctx = c->n_ctx ? c->n_ctx : 2048;
    p->rope_base = c->rope_base > 0 ? c->rope_base : 10000;
    p->eps = c->eps > 0 ? c->eps : 1e-5f;
    p->qkv_bias = c->arch == MODEL_QWEN2 || c->qkv_bias;
    p->qk_norm = c->arch == MODEL_QWEN3;
    p->rope_freqs = c->rope_freqs;
    if (!c->d || !c->n_block || !c->n_head || !c->n_head_kv || !c->d_ff)
        return error_set(err, EINVAL, "width, blocks, heads, key/value heads and feed-forward width must all be given");
    if (c->d > 1 << 16 || c->n_block > 1024 || c->n_head > 1024 || c->d_ff > 1 << 20 || p->n_ctx > INT32_MAX)
        return error_set(err, EINVAL, "a new model may be at most 65536 wide, 1024 blocks deep, with 1024 heads");
    if (c->n_head % c->n_head_kv)
        return error_set(err, EINVAL, "heads (%" PRIu32 ") must be a multiple of key/value heads (%" PRIu32 ")",
            c->n_head, c->n_head_kv);
    if (!c->head_dim && c->d % c->n_head)
        return error_set(err, EINVAL,
            "width (%" PRIu32 ") must be a multiple of heads (%" PRIu32 "), or give the width of a head", c->d,
            c->n_head);
    p->head_dim = c->head_dim ? c->head_dim : c->d / c->n_head;
    p->rope_dims = p->head_dim;
    if (p->head_dim % 2 || p->head_dim > 1024)
        return error_set(err, EINVAL,
            "a head must be an even number of dimensions wide, at most 1024 (it is %" PRIu32 ")", p->head_dim);
    if (c->qkv_bias && c->arch == MODEL_QWEN3)
        return error_set(err, EINVAL, "qwen3 has no attention biases");
    if (c->type != GGML_TYPE_F32 && c->type != GGML_TYPE_F16 && c->type != GGML_TYPE_BF16)
        return error_set(err, EINVAL, "a new model is F32, F16 or BF16; quantise it afterwards");
    return 0;
}

static void write_sizes(struct gguf_write *w, const struct model_init *c, const struct model_params *p)
{
    const char *arch = model_arch_name(p->arch);
    const struct {
        const char *key;
        uint32_t v;
    } numbers[] = {
        {"context_length", p->n_ctx},
        {"embedding_length", p->d},
        {"block_count", p->n_block},
        {"feed_forward_length", p->d_ff},
        {"attention.head_count", p->n_head},
        {"attention.head_count_kv", p->n_head_kv},
        {"attention.key_length", p->head_dim},
        {"attention.value_length", p->head_dim},
        {"rope.dimension_count", p->rope_dims},
    };
    char key[64];
    gguf_write_str(w, "general.architecture", arch);
    gguf_write_str(w, "general.type", "model");
    if (c->name)
        gguf_write_str(w, "general.name", c->name);
    gguf_write_u32(w, "general.file_type", c->type == GGML_TYPE_F32 ? 0 : c->type == GGML_TYPE_F16 ? 1 : 32);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        snprintf(key, sizeof(key), "%s.%s", arch, numbers[i].key);
        gguf_write_u32(w, key, numbers[i].v);
    }
    snprintf(key, sizeof(key), "%s.rope.freq_base", arch);
    gguf_write_f32(w, key, p->rope_base);
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", arch);
    gguf_write_f32(w, key, p->eps);
}

/* --- vocabulary ---------------------------------------------------------------------------------------------------- */

/* How byte-level BPE writes a byte: printable ones as themselves, the others from U+0100 up, in order. */
static void byte_token(int byte, char ret[4])
{
    int code = byte, skipped = 0;
    bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    for (int b = 0; b < byte; b++)
        skipped += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
    if (!shown)
        code = 256 + skipped;
    if (code < 0x80)
        snprintf(ret, 4, "%c", code);
    else
        snprintf(ret, 4, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 0x3f));
}

struct vocab {
    struct gguf_str *tokens;
    int32_t *types;
    char (*text)[16]; /* of the tokens made here */
    uint64_t n;
};

static void vocab_done(struct vocab *v)
{
    free(v->tokens);
    free(v->types);
    free(v->text);
}

static void vocab_put(struct vocab *v, const char *text, int32_t type)
{
    snprintf(v->text[v->n], sizeof(*v->text), "%s", text);
    v->tokens[v->n] = (struct gguf_str){v->text[v->n], strlen(v->text[v->n])};
    v->types[v->n++] = type;
}

static int vocab_make(struct vocab *v, const struct model_init *c, struct error *err)
{
    const struct model_init_vocab *given = &c->vocab;
    uint64_t n = given->n_tokens ? given->n_tokens : 256 + 3, room = n > c->n_vocab ? n : c->n_vocab;
    if (room > 1 << 24 || (c->n_vocab && n > c->n_vocab))
        return error_set(
            err, EINVAL, "a vocabulary of %" PRIu64 " tokens does not fit the model's %" PRIu32, n, c->n_vocab);
    *v = (struct vocab){
        calloc(room, sizeof(*v->tokens)), calloc(room, sizeof(*v->types)), calloc(room, sizeof(*v->text)), 0};
    if (!v->tokens || !v->types || !v->text)
        return error_set(err, ENOMEM, "out of memory for a vocabulary of %" PRIu64 " tokens", room);
    char text[16];
    for (; v->n < given->n_tokens; v->n++) {
        v->tokens[v->n] = given->tokens[v->n];
        v->types[v->n] = given->types ? given->types[v->n] : 1;
    }
    for (int byte = 0; byte < 256 && !given->n_tokens; byte++) {
        byte_token(byte, text);
        vocab_put(v, text, 1);
    }
    static const char *const ends[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    for (int i = 0; i < 3 && !given->n_tokens; i++)
        vocab_put(v, ends[i], 3);
    while (v->n < room) {
        snprintf(text, sizeof(text), "[PAD%" PRIu64 "]", v->n);
        vocab_put(v, text, 5);
    }
    return 0;
}

static void write_vocab(struct gguf_write *w, const struct model_init *c, const struct vocab *v)
{
    const struct model_init_vocab *given = &c->vocab;
    bool own = !given->n_tokens;
    int32_t bos = own ? -1 : given->bos, eos = own ? 256 : given->eos;
    gguf_write_str(w, "tokenizer.ggml.model", "gpt2");
    gguf_write_str(w, "tokenizer.ggml.pre", given->pre ? given->pre : "gpt-2");
    gguf_write_strs(w, "tokenizer.ggml.tokens", v->tokens, v->n);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v->types, v->n);
    gguf_write_strs(w, "tokenizer.ggml.merges", given->merges, given->n_merges);
    if (bos >= 0)
        gguf_write_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)bos);
    if (eos >= 0)
        gguf_write_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)eos);
    if (own)
        gguf_write_u32(w, "tokenizer.ggml.eot_token_id", 258);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", bos >= 0);
    if (given->chat_template)
        gguf_write_str(w, "tokenizer.chat_template", given->chat_template);
}

static bool is_vocab_key(const void *ctx, const struct gguf_file *f, size_t i)
{
    return !strncmp(gguf_file_key_at(f, i), "tokenizer.", 10);
}

static int make_vocab(struct gguf_write *w, const struct model_init *c, struct model_params *p, struct error *err)
{
    if (!c->vocab.from) {
        struct vocab v = {0};
        int rc = vocab_make(&v, c, err);
        if (!rc)
            write_vocab(w, c, &v);
        p->n_vocab = (uint32_t)v.n;
        vocab_done(&v);
        return rc;
    }
    enum gguf_type type;
    uint64_t n;
    const struct gguf_file *f = c->vocab.from;
    if (gguf_file_array(f, "tokenizer.ggml.tokens", &type, &n) || type != GGUF_TYPE_STRING || n < 1 || n > 1 << 24)
        return error_set(err, EINVAL, "%s: holds no vocabulary", gguf_file_name(f));
    if (c->n_vocab && n > c->n_vocab)
        return error_set(err, EINVAL, "%s: its %" PRIu64 " tokens do not fit the model's %" PRIu32, gguf_file_name(f),
            n, c->n_vocab);
    gguf_write_keys_of(w, f, is_vocab_key, NULL);
    p->n_vocab = c->n_vocab ? c->n_vocab : (uint32_t)n;
    return 0;
}

/* --- weights ------------------------------------------------------------------------------------------------------- */

struct maker {
    struct gguf_write *w;
    const struct model_init *c;
    const struct model_params *p;
    float *floats; /* PIECE */
    uint8_t *bytes;
    struct error *err;
};

static int describe(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct maker *m = ctx;
    gguf_write_tensor(m->w, name, n_dims == 1 ? GGML_TYPE_F32 : m->c->type, n_dims, (int64_t[4]){ne0, ne1, 1, 1});
    return 0;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* The value of element i is mean + deviation * noise. */
static void distribution(const struct maker *m, const char *name, int n_dims, float *ret_mean, float *ret_deviation)
{
    float std = m->c->std > 0 ? m->c->std : 0.02f;
    bool bias = ends_with(name, ".bias");
    if (n_dims == 1) {
        *ret_mean = bias ? 0 : 1;
        *ret_deviation = m->c->rough ? 0.1f : 0;
        return;
    }
    *ret_mean = 0;
    *ret_deviation = std;
    if (ends_with(name, "attn_output.weight") || ends_with(name, "ffn_down.weight"))
        *ret_deviation = std / sqrtf(2 * (float)m->p->n_block);
}

static int fill(void *ctx, const char *name, int n_dims, int64_t ne0, int64_t ne1)
{
    struct maker *m = ctx;
    enum ggml_type type = n_dims == 1 ? GGML_TYPE_F32 : m->c->type;
    uint64_t key = model_noise_key(m->c->seed, name), n = (uint64_t)ne0 * (uint64_t)ne1;
    float mean, deviation;
    bool freqs = !strcmp(name, "rope_freqs.weight");
    distribution(m, name, n_dims, &mean, &deviation);
    for (uint64_t at = 0; at < n; at += PIECE) {
        uint64_t step = n - at < PIECE ? n - at : PIECE;
        for (uint64_t i = 0; i < step; i++)
            m->floats[i] = freqs           ? 1 + 7 * (float)(at + i) / (float)n
                           : deviation > 0 ? mean + deviation * model_noise(key, at + i)
                                           : mean;
        const void *bytes = m->floats;
        if (type != GGML_TYPE_F32) {
            ggml_quantize_chunk(type, m->floats, m->bytes, 0, 1, (int64_t)step, NULL);
            bytes = m->bytes;
        }
        int rc = gguf_write_data(m->w, bytes, (size_t)step * ggml_type_size(type), m->err);
        if (rc)
            return rc;
    }
    return 0;
}

static int each_tensor(const struct model_params *p, model_tensor_fn *each, void *ctx)
{
    int rc = p->rope_freqs ? each(ctx, "rope_freqs.weight", 1, p->rope_dims / 2, 1) : 0;
    if (!rc)
        rc = model_each_end_tensor(p, each, ctx);
    for (uint32_t i = 0; i < p->n_block && !rc; i++)
        rc = model_each_block_tensor(p, i, each, ctx);
    return rc;
}

static int make(struct maker *m, struct model_params *p, const char *path, const struct gguf_progress *progress)
{
    write_sizes(m->w, m->c, p);
    int rc = make_vocab(m->w, m->c, p, m->err);
    if (rc)
        return rc;
    each_tensor(p, describe, m);
    rc = gguf_write_open(m->w, path, 0644, progress, m->err);
    if (!rc)
        rc = each_tensor(p, fill, m);
    return rc ? rc : gguf_write_commit(m->w, m->err);
}

int model_init(const struct model_init *cfg, const char *path, const struct gguf_progress *progress, struct error *err)
{
    struct model_params p;
    int rc = decide(&p, cfg, err);
    if (rc)
        return rc;
    struct maker m = {
        .c = cfg, .p = &p, .floats = malloc(PIECE * sizeof(float)), .bytes = malloc(PIECE * 2), .err = err};
    rc = m.floats && m.bytes ? gguf_write_create(&m.w, err) : error_set(err, ENOMEM, "out of memory");
    if (!rc)
        rc = make(&m, &p, path, progress);
    gguf_write_free(m.w);
    free(m.floats);
    free(m.bytes);
    return rc;
}
