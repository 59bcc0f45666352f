#include "compute/model_testing.h"

#include "base/rng.h"

#include <assert.h>
#include <gguf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct maker {
    const struct model_testing *m;
    struct gguf_context *g;
    struct ggml_context *ctx;
    uint64_t key;
};

struct model_testing model_testing_default(void)
{
    return (struct model_testing){.arch = MODEL_LLAMA,
        .type = GGML_TYPE_F32,
        .n_block = 3,
        .d = 64,
        .n_head = 4,
        .n_head_kv = 2,
        .head_dim = 16,
        .d_ff = 160,
        .n_vocab = 128,
        .n_ctx = 4096,
        .seed = 1};
}

static void key_name(char *ret, size_t size, const struct maker *k, const char *key)
{
    snprintf(ret, size, "%s.%s", model_arch_name(k->m->arch), key);
}

static void set_u32(struct maker *k, const char *key, uint32_t v)
{
    char name[96];
    key_name(name, sizeof name, k, key);
    gguf_set_val_u32(k->g, name, v);
}

static void set_f32(struct maker *k, const char *key, float v)
{
    char name[96];
    key_name(name, sizeof name, k, key);
    gguf_set_val_f32(k->g, name, v);
}

static struct ggml_tensor *same_in_first_block(struct maker *k, const char *name)
{
    char first[GGML_MAX_NAME];
    const char *rest = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
    if (!rest)
        return NULL;
    snprintf(first, sizeof first, "blk.0%s", rest);
    return ggml_get_tensor(k->ctx, first);
}

/* Uniform with the deviation that keeps activations about as they are. */
static void tensor(struct maker *k, const char *name, int64_t ne0, int64_t ne1, float mean, float deviation)
{
    int64_t n = ne0 * ne1;
    enum ggml_type type = ne1 == 1 ? GGML_TYPE_F32 : k->m->type;
    if (ne0 % ggml_blck_size(type))
        type = GGML_TYPE_F16;
    struct ggml_tensor *first = k->m->alike ? same_in_first_block(k, name) : NULL;
    if (first) {
        struct ggml_tensor *t = ggml_new_tensor_2d(k->ctx, first->type, ne0, ne1);
        ggml_set_name(t, name);
        memcpy(t->data, first->data, ggml_nbytes(t));
        gguf_add_tensor(k->g, t);
        return;
    }
    float *f = malloc((size_t)n * sizeof *f);
    k->key++;
    for (int64_t i = 0; i < n; i++)
        f[i] = mean + deviation * (float)((rng_uniform(k->key, (uint64_t)i) - 0.5) * 3.464);
    struct ggml_tensor *t = ggml_new_tensor_2d(k->ctx, type, ne0, ne1);
    ggml_set_name(t, name);
    if (type == GGML_TYPE_F32)
        memcpy(t->data, f, (size_t)n * sizeof *f);
    else
        ggml_quantize_chunk(type, f, t->data, 0, ne1, ne0, NULL);
    gguf_add_tensor(k->g, t);
    free(f);
}

static void block(struct maker *k, uint32_t i)
{
    const struct model_testing *m = k->m;
    int64_t d = m->d, n = (int64_t)m->n_head * m->head_dim, kv = (int64_t)m->n_head_kv * m->head_dim;
    const struct {
        const char *name;
        bool there;
        int64_t ne0, ne1;
        float mean, deviation;
    } all[] = {
        {"attn_norm.weight", true, d, 1, 1, 0.1f},
        {"attn_q.weight", true, d, n, 0, 2 / sqrtf((float)d)},
        {"attn_k.weight", true, d, kv, 0, 2 / sqrtf((float)d)},
        {"attn_v.weight", true, d, kv, 0, 1 / sqrtf((float)d)},
        {"attn_q.bias", m->arch == MODEL_QWEN2, n, 1, 0, 0.3f},
        {"attn_k.bias", m->arch == MODEL_QWEN2, kv, 1, 0, 0.3f},
        {"attn_v.bias", m->arch == MODEL_QWEN2, kv, 1, 0, 0.3f},
        {"attn_q_norm.weight", m->arch == MODEL_QWEN3, m->head_dim, 1, 1, 0.1f},
        {"attn_k_norm.weight", m->arch == MODEL_QWEN3, m->head_dim, 1, 1, 0.1f},
        {"attn_output.weight", true, n, d, 0, 1 / sqrtf((float)n)},
        {"ffn_norm.weight", true, d, 1, 1, 0.1f},
        {"ffn_gate.weight", true, d, m->d_ff, 0, 1 / sqrtf((float)d)},
        {"ffn_up.weight", true, d, m->d_ff, 0, 1 / sqrtf((float)d)},
        {"ffn_down.weight", true, m->d_ff, d, 0, 1 / sqrtf((float)m->d_ff)},
    };
    for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
        char name[GGML_MAX_NAME];
        snprintf(name, sizeof name, "blk.%u.%s", i, all[j].name);
        if (all[j].there)
            tensor(k, name, all[j].ne0, all[j].ne1, all[j].mean, all[j].deviation);
    }
}

static void keys(struct maker *k)
{
    const struct model_testing *m = k->m;
    gguf_set_val_str(k->g, "general.architecture", model_arch_name(m->arch));
    set_u32(k, "block_count", m->n_block);
    set_u32(k, "context_length", m->n_ctx);
    set_u32(k, "embedding_length", m->d);
    set_u32(k, "feed_forward_length", m->d_ff);
    set_u32(k, "attention.head_count", m->n_head);
    set_u32(k, "attention.head_count_kv", m->n_head_kv);
    set_u32(k, "attention.key_length", m->head_dim);
    set_u32(k, "attention.value_length", m->head_dim);
    set_f32(k, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (m->window)
        set_u32(k, "attention.sliding_window", m->window);
    if (m->rope_dims)
        set_u32(k, "rope.dimension_count", m->rope_dims);
    if (m->rope_scaling) {
        char name[96];
        key_name(name, sizeof name, k, "rope.scaling.type");
        gguf_set_val_str(k->g, name, m->rope_scaling);
        set_f32(k, "rope.scaling.factor", m->rope_factor);
        set_u32(k, "rope.scaling.original_context_length", m->n_ctx);
    }
}

static void write_file(const struct model_testing *m, const char *path)
{
    uint64_t block_floats = (uint64_t)m->d * m->d_ff * 3 + 2ull * m->d * (m->n_head + m->n_head_kv) * m->head_dim;
    uint64_t floats =
        m->n_block * (block_floats + 8ull * (m->d + m->n_head * m->head_dim)) + (2ull * m->n_vocab + 2) * m->d;
    uint32_t n_tensors = 16 * m->n_block + 4;
    uint64_t bytes = (m->type == GGML_TYPE_F32 ? 4 : 2) * floats + n_tensors * (ggml_tensor_overhead() + 64);
    struct ggml_init_params init = {.mem_size = bytes + (1 << 16)};
    struct maker k = {.m = m, .g = gguf_init_empty(), .ctx = ggml_init(init), .key = m->seed << 32};
    assert(k.ctx);
    keys(&k);
    tensor(&k, "token_embd.weight", m->d, m->n_vocab, 0, 1);
    tensor(&k, "output_norm.weight", m->d, 1, 1, 0.1f);
    if (m->untied)
        tensor(&k, "output.weight", m->d, m->n_vocab, 0, 1 / sqrtf((float)m->d));
    for (uint32_t i = 0; i < m->n_block; i++)
        block(&k, i);
    bool ok = gguf_write_to_file(k.g, path, false);
    assert(ok);
    gguf_free(k.g);
    ggml_free(k.ctx);
}

struct gguf_file *model_testing_open(const struct model_testing *m, struct model_params *ret_params)
{
    char path[] = "/tmp/meridian-test-XXXXXX";
    struct error err = {""};
    struct gguf_file *f = NULL;
    int fd = mkstemp(path);
    assert(fd >= 0);
    close(fd);
    write_file(m, path);
    if (gguf_file_open(&f, path, &err) || model_params_read(ret_params, f, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    unlink(path);
    ret_params->cut.head = m->head;
    ret_params->cut.tail = m->tail;
    return f;
}
