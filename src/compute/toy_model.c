#include "compute/toy_model.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct maker {
    const struct toy_model *t;
    struct gguf_context *g;
    struct ggml_context *c;
    uint64_t n_noise;
};

static void must(bool fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "toy model: %s\n", what);
        abort();
    }
}

static float noise(struct maker *m)
{
    double a = rng_uniform(m->t->seed + 1, m->n_noise), b = rng_uniform(m->t->seed + 2, m->n_noise);
    m->n_noise++;
    return (float)(sqrt(-2 * log(a)) * cos(2 * M_PI * b));
}

static void tensor(struct maker *m, const char *name, uint32_t n_in, uint32_t n_out, float mean, float dev)
{
    enum ggml_type type = n_out > 1 ? m->t->type : GGML_TYPE_F32;
    struct ggml_tensor *t =
        n_out > 1 ? ggml_new_tensor_2d(m->c, type, n_in, n_out) : ggml_new_tensor_1d(m->c, type, n_in);
    float *row = malloc(sizeof(float) * n_in);
    ggml_set_name(t, name);
    for (uint32_t r = 0; r < n_out; r++) {
        for (uint32_t i = 0; i < n_in; i++)
            row[i] = mean + dev * noise(m);
        ggml_quantize_chunk(type, row, (char *)t->data + r * ggml_row_size(type, n_in), 0, 1, n_in, NULL);
    }
    free(row);
    gguf_add_tensor(m->g, t);
}

static void block_tensor(struct maker *m, uint32_t block, const char *name, uint32_t n_in, uint32_t n_out, float mean)
{
    char full[64];
    float dev = m->t->noise > 0 ? m->t->noise : 0.3f;
    snprintf(full, sizeof full, "blk.%u.%s", block, name);
    tensor(m, full, n_in, n_out, mean, n_out > 1 ? dev : 0.2f);
}

static void block(struct maker *m, uint32_t i)
{
    const struct toy_model *t = m->t;
    uint32_t hd = t->head_dim ? t->head_dim : t->d / t->n_head, nq = t->n_head * hd, nkv = t->n_head_kv * hd;
    block_tensor(m, i, "attn_norm.weight", t->d, 1, 1);
    block_tensor(m, i, "attn_q.weight", t->d, nq, 0);
    block_tensor(m, i, "attn_k.weight", t->d, nkv, 0);
    block_tensor(m, i, "attn_v.weight", t->d, nkv, 0);
    if (t->arch == MODEL_QWEN2 && !t->no_bias) {
        block_tensor(m, i, "attn_q.bias", nq, 1, 0);
        block_tensor(m, i, "attn_k.bias", nkv, 1, 0);
        block_tensor(m, i, "attn_v.bias", nkv, 1, 0);
    }
    if (t->arch == MODEL_QWEN3) {
        block_tensor(m, i, "attn_q_norm.weight", hd, 1, 1);
        block_tensor(m, i, "attn_k_norm.weight", hd, 1, 1);
    }
    block_tensor(m, i, "attn_output.weight", nq, t->d, 0);
    block_tensor(m, i, "ffn_norm.weight", t->d, 1, 1);
    block_tensor(m, i, "ffn_gate.weight", t->d, t->d_ff, 0);
    block_tensor(m, i, "ffn_up.weight", t->d, t->d_ff, 0);
    block_tensor(m, i, "ffn_down.weight", t->d_ff, t->d, 0);
}

static void number(struct maker *m, const char *key, uint32_t value)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", model_arch_name(m->t->arch), key);
    if (value)
        gguf_set_val_u32(m->g, full, value);
}

static void real(struct maker *m, const char *key, float value)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", model_arch_name(m->t->arch), key);
    gguf_set_val_f32(m->g, full, value);
}

static void keys(struct maker *m)
{
    const struct toy_model *t = m->t;
    char full[96];
    gguf_set_val_str(m->g, "general.architecture", model_arch_name(t->arch));
    number(m, "block_count", t->n_block);
    number(m, "embedding_length", t->d);
    number(m, "feed_forward_length", t->d_ff);
    number(m, "context_length", 4096);
    number(m, "attention.head_count", t->n_head);
    number(m, "attention.head_count_kv", t->n_head_kv);
    number(m, "attention.key_length", t->head_dim);
    number(m, "attention.value_length", t->head_dim);
    number(m, "attention.sliding_window", t->window);
    number(m, "rope.dimension_count", t->rope_dims);
    real(m, "attention.layer_norm_rms_epsilon", 1e-5f);
    if (t->rope_scaling) {
        snprintf(full, sizeof full, "%s.rope.scaling.type", model_arch_name(t->arch));
        gguf_set_val_str(m->g, full, t->rope_scaling);
        real(m, "rope.scaling.factor", 4);
        number(m, "rope.scaling.original_context_length", 64);
    }
}

static void tensors(struct maker *m)
{
    const struct toy_model *t = m->t;
    tensor(m, "token_embd.weight", t->d, t->n_vocab, 0, 1);
    for (uint32_t i = 0; i < t->n_block; i++)
        block(m, i);
    tensor(m, "output_norm.weight", t->d, 1, 1, 0.2f);
    if (!t->tied)
        tensor(m, "output.weight", t->d, t->n_vocab, 0, t->noise > 0 ? t->noise : 0.3f);
}

struct gguf_file *toy_model_open(const struct toy_model *t, struct model_params *ret_params)
{
    uint64_t d = t->d, nq = (uint64_t)t->n_head * (t->head_dim ? t->head_dim : t->d / t->n_head);
    uint64_t floats = 2 * d * t->n_vocab + t->n_block * (4 * nq * d + 3 * d * t->d_ff + 64 * d);
    struct ggml_init_params ip = {.mem_size = floats * 4 + (1 << 20) + t->n_block * 16384};
    struct maker m = {.t = t, .g = gguf_init_empty(), .c = ggml_init(ip)};
    must(m.g && m.c, "no memory");
    keys(&m);
    tensors(&m);
    char path[] = "/tmp/meridian-toy-XXXXXX";
    int fd = mkstemp(path);
    must(fd >= 0 && gguf_write_to_file(m.g, path, false), "cannot write to /tmp");
    close(fd);
    struct gguf_file *f;
    struct error err = {0};
    must(gguf_file_open(&f, path, &err) == 0 && model_params_read(ret_params, f, &err) == 0, err.text);
    unlink(path);
    gguf_free(m.g);
    ggml_free(m.c);
    return f;
}
