/* From the tensors of a file to what training uses: a trainable tensor becomes a piece of the arenas (weights,
 * gradients, and AdamW's two moments, each one run of floats), a frozen one stays in the file. Order in the arenas is
 * chosen so that q, k, v and gate, up lie one after the other and multiply as one matrix. */
#include "compute/train_impl.h"

#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *mat_names[N_MATS] = {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight",
    "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"};

const float *train_mapped(const struct gguf_tensor *t)
{
    bool aligned = ((uintptr_t)t->data & 3) == 0;
    return t->type == GGML_TYPE_F32 && aligned ? t->data : NULL;
}

void train_dequantise(const struct gguf_tensor *t, uint64_t r0, uint64_t r1, float *ret)
{
    size_t row = ggml_row_size(t->type, t->ne[0]);
    if (r1 <= r0)
        return;
    if (t->type == GGML_TYPE_F32)
        memcpy(ret, (const char *)t->data + r0 * row, (r1 - r0) * row);
    else
        ggml_get_type_traits(t->type)->to_float((const char *)t->data + r0 * row, ret, (int64_t)(r1 - r0) * t->ne[0]);
}

/* --- trainable tensors ------------------------------------------------------------------------------------------------ */

struct param *train_param_add(struct train *x, const char *name, const struct gguf_tensor *from, uint32_t n_out,
    uint32_t n_in, float **w, float **g)
{
    if (x->n_params == x->cap_params) {
        uint32_t cap = x->cap_params ? 2 * x->cap_params : 64;
        struct param *more = realloc(x->params, cap * sizeof *more);
        if (!more) {
            x->failed = true;
            return NULL;
        }
        x->params = more;
        x->cap_params = cap;
    }
    struct param *p = &x->params[x->n_params++];
    *p = (struct param){
        .off = x->n_weights, .n_out = n_out, .n_in = n_in, .decay = n_out > 1, .t = from, .w = w, .g = g};
    snprintf(p->name, sizeof p->name, "%s", name);
    x->n_weights += ((uint64_t)n_out * n_in + 15) / 16 * 16;
    return p;
}

static void param_start(const struct param *p, float *w)
{
    uint64_t n = (uint64_t)p->n_out * p->n_in;
    if (p->t)
        train_dequantise(p->t, 0, p->n_out, w);
    else if (p->key) {
        float bound = sqrtf(3.0f / (float)p->n_in); /* variance 1 / n_in */
        for (uint64_t i = 0; i < n; i++)
            w[i] = bound * (float)(2 * rng_uniform(p->key, i) - 1);
    }
}

/* Arenas for all that was registered, filled with first values. */
static void params_settle(struct train *x)
{
    x->w = train_alloc(x, x->n_weights, sizeof(float));
    x->g = train_alloc(x, x->n_weights, sizeof(float));
    x->m = train_alloc(x, x->n_weights, sizeof(float));
    x->v = train_alloc(x, x->n_weights, sizeof(float));
    for (uint32_t i = 0; i < x->n_params && !x->failed; i++) {
        struct param *p = &x->params[i];
        *p->w = x->w + p->off;
        *p->g = x->g + p->off;
    }
}

static void params_start(struct train *x)
{
    for (uint32_t i = 0; i < x->n_params && !x->failed; i++)
        param_start(&x->params[i], x->w + x->params[i].off);
}

/* --- tensors by name ---------------------------------------------------------------------------------------------------- */

/* Checked here too, although model_params_read has: what is used below relies on it. */
static int find(const struct train *x, const char *name, uint32_t n_out, uint32_t n_in, const struct gguf_tensor **ret,
    struct error *err)
{
    const struct gguf_tensor *t = gguf_file_tensor(x->f, name);
    if (!t)
        return error_set(err, ENOENT, "%s has no tensor %s", gguf_file_name(x->f), name);
    if (t->ne[0] != n_in || t->ne[1] != n_out || t->ne[2] != 1 || t->ne[3] != 1)
        return error_set(err, EINVAL, "%s: tensor %s is %lld x %lld where %u x %u belongs", gguf_file_name(x->f), name,
            (long long)t->ne[1], (long long)t->ne[0], n_out, n_in);
    if (t->type != GGML_TYPE_F32 && !ggml_get_type_traits(t->type)->to_float)
        return error_set(err, ENOTSUP, "%s: tensor %s has type %s, which cannot be turned into numbers to train with",
            gguf_file_name(x->f), name, ggml_type_name(t->type));
    *ret = t;
    return 0;
}

static int bind_mat(
    struct train *x, struct mat *m, const char *name, uint32_t n_out, uint32_t n_in, bool trained, struct error *err)
{
    int rc = find(x, name, n_out, n_in, &m->t, err);
    if (rc < 0)
        return rc;
    m->n_out = n_out;
    m->n_in = n_in;
    if (trained)
        train_param_add(x, name, m->t, n_out, n_in, &m->w, &m->g);
    return 0;
}

static int bind_vec(struct train *x, struct vec *v, const char *name, uint32_t n, bool trained, struct error *err)
{
    const struct gguf_tensor *t = NULL;
    int rc = find(x, name, 1, n, &t, err);
    if (rc < 0)
        return rc;
    v->n = n;
    if (trained) {
        train_param_add(x, name, t, 1, n, &v->w, &v->g);
        return 0;
    }
    v->w = train_alloc(x, n, sizeof(float));
    if (v->w)
        train_dequantise(t, 0, 1, v->w);
    return 0;
}

static int bind_block_vec(
    struct train *x, struct vec *v, uint32_t block, const char *name, uint32_t n, bool trained, struct error *err)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", block, name);
    return bind_vec(x, v, full, n, trained, err);
}

static int bind_mats(struct train *x, struct block *b, uint32_t block, bool trained, struct error *err)
{
    uint32_t d = x->p.d, ff = x->p.d_ff;
    const uint32_t n_out[N_MATS] = {x->nq, x->nkv, x->nkv, d, ff, ff, d};
    const uint32_t n_in[N_MATS] = {d, d, d, x->nq, d, d, ff};
    for (uint32_t i = 0; i < N_MATS; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s", block, mat_names[i]);
        int rc = bind_mat(x, &b->m[i], name, n_out[i], n_in[i], trained, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* llama files may carry some of the biases only: each one there is used. */
static int bind_biases(struct train *x, struct block *b, uint32_t block, bool trained, struct error *err)
{
    static const char *names[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
    for (uint32_t i = 0; i < 3; i++) {
        int rc = bind_block_vec(x, &b->bias[i], block, names[i], b->m[i].n_out, trained, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int bind_block(struct train *x, struct block *b, uint32_t block, bool freeze, struct error *err)
{
    const struct model_params *p = &x->p;
    bool trained = !freeze && x->cfg.lora_rank == 0;
    int rc = bind_mats(x, b, block, trained, err);
    if (rc == 0 && p->qkv_bias)
        rc = bind_biases(x, b, block, trained, err);
    if (rc == 0)
        rc = bind_block_vec(x, &b->norm1, block, "attn_norm.weight", p->d, trained, err);
    if (rc == 0)
        rc = bind_block_vec(x, &b->norm2, block, "ffn_norm.weight", p->d, trained, err);
    if (rc == 0 && p->qk_norm)
        rc = bind_block_vec(x, &b->qnorm, block, "attn_q_norm.weight", p->head_dim, trained, err);
    if (rc == 0 && p->qk_norm)
        rc = bind_block_vec(x, &b->knorm, block, "attn_k_norm.weight", p->head_dim, trained, err);
    if (rc == 0 && !freeze && x->cfg.lora_rank)
        lora_add(x, block, b->m);
    return rc;
}

static int bind_part(struct train *x, struct part *part, struct error *err)
{
    part->n_blocks = part->span.last - part->span.first;
    part->blocks = train_alloc(x, part->n_blocks, sizeof *part->blocks);
    for (uint32_t i = 0; i < part->n_blocks && part->blocks; i++) {
        int rc = bind_block(x, &part->blocks[i], part->span.first + i, part->freeze, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The embedding, the final norm and the output matrix. */
static int bind_ends(struct train *x, struct error *err)
{
    bool embed = false, output = false, thaw_embed = x->cfg.lora_rank == 0, thaw_output = thaw_embed;
    for (uint32_t i = 0; i < x->n_parts; i++) {
        embed |= x->parts[i].span.embed;
        output |= x->parts[i].span.output;
        thaw_embed &= !(x->parts[i].span.embed && x->parts[i].freeze);
        thaw_output &= !(x->parts[i].span.output && x->parts[i].freeze);
    }
    bool shared = x->p.tied && embed && output, thaw_shared = thaw_embed && thaw_output;
    int rc = 0;
    if (embed)
        rc = bind_mat(x, &x->embed, "token_embd.weight", x->p.n_vocab, x->p.d, shared ? thaw_shared : thaw_embed, err);
    if (rc == 0 && output)
        rc = bind_vec(x, &x->out_norm, "output_norm.weight", x->p.d, thaw_output, err);
    if (rc == 0 && output && !shared)
        rc = bind_mat(
            x, &x->output, x->p.tied ? "token_embd.weight" : "output.weight", x->p.n_vocab, x->p.d, thaw_output, err);
    return rc;
}

int train_model_bind(struct train *x, struct error *err)
{
    int rc = bind_ends(x, err);
    for (uint32_t i = 0; i < x->n_parts && rc == 0; i++)
        rc = bind_part(x, &x->parts[i], err);
    if (rc < 0)
        return rc;
    params_settle(x);
    params_start(x);
    if (x->embed.t && !x->output.t && x->out_norm.n) /* tied, both ends here */
        x->output = x->embed;
    if (x->output.g && x->output.g == x->embed.g) {
        x->shared_g = train_alloc(x, (uint64_t)x->p.n_vocab * x->p.d, sizeof(float));
        x->embed.g = x->shared_g;
    }
    return 0;
}

struct block_w train_block_weights(struct train *x, const struct block *b, struct team t)
{
    struct block_w ret;
    float *at = x->s.weights;
    bool fill = false;
    for (uint32_t i = 0; i < N_MATS; i++) {
        const struct mat *m = &b->m[i];
        const float *use = m->w ? m->w : train_mapped(m->t);
        ret.w[i] = use ? use : at;
        fill |= !use;
        at += (uint64_t)m->n_out * m->n_in;
    }
    if (!fill)
        return ret;
#pragma omp barrier
    at = x->s.weights;
    for (uint32_t i = 0; i < N_MATS; at += (uint64_t)b->m[i].n_out * b->m[i].n_in, i++) {
        const struct mat *m = &b->m[i];
        uint32_t r0 = team_cut(m->n_out, 8, t.id, t.n), r1 = team_cut(m->n_out, 8, t.id + 1, t.n);
        if (ret.w[i] == at)
            train_dequantise(m->t, r0, r1, at + (uint64_t)r0 * m->n_in);
    }
#pragma omp barrier
    return ret;
}
