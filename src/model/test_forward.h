/* For tests: the logits of a model, computed as plainly as can be, in double precision from the file's own tensors. One
 * sequence from position 0; no rotary scaling, no window. Slow on purpose; nothing here is shared with the product. */
#ifndef MERIDIAN_MODEL_TEST_FORWARD_H
#define MERIDIAN_MODEL_TEST_FORWARD_H

#include "base/test.h"
#include "model/convert.h"
#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of tensor `blk.i.part` (or `part` when i < 0) as floats; NULL when it is not there. The caller frees. */
static float *forward_weights(const struct gguf_file *f, int i, const char *part)
{
    char name[64];
    if (i < 0)
        snprintf(name, sizeof(name), "%s", part);
    else
        snprintf(name, sizeof(name), "blk.%d.%s", i, part);
    const struct gguf_tensor *t = gguf_file_tensor(f, name);
    if (!t)
        return NULL;
    float *w = malloc((size_t)(t->ne[0] * t->ne[1]) * sizeof(*w));
    convert_to_floats(t->type, t->data, w, t->ne[0] * t->ne[1]);
    return w;
}

static void forward_norm(const float *w, const double *x, double *y, int n, double eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (int i = 0; i < n; i++)
        y[i] = x[i] / sqrt(sum / n + eps) * (double)w[i];
}

/* y[out] = W[out][in] x + b */
static void forward_linear(const struct gguf_file *f, int block, const char *part, const char *bias, const double *x,
    double *y, int in, int out)
{
    float *w = forward_weights(f, block, part), *b = bias ? forward_weights(f, block, bias) : NULL;
    for (int i = 0; i < out; i++) {
        y[i] = b ? (double)b[i] : 0;
        for (int j = 0; j < in; j++)
            y[i] += (double)w[(size_t)i * (size_t)in + (size_t)j] * x[j];
    }
    free(w);
    free(b);
}

static void forward_rotate(const struct model_params *p, const float *freqs, double *head, int pos)
{
    for (int i = 0; i < (int)p->rope_dims / 2; i++) {
        double angle = pos * pow((double)p->rope_base, -2.0 * i / p->rope_dims) / (freqs ? (double)freqs[i] : 1);
        int a = p->rope_kind == ROPE_NORM ? 2 * i : i,
            b = p->rope_kind == ROPE_NORM ? 2 * i + 1 : i + (int)p->rope_dims / 2;
        double x = head[a], y = head[b];
        head[a] = x * cos(angle) - y * sin(angle);
        head[b] = x * sin(angle) + y * cos(angle);
    }
}

static void forward_heads(
    const struct gguf_file *f, const struct model_params *p, int block, const char *norm, double *x, int n, int pos)
{
    float *w = p->qk_norm ? forward_weights(f, block, norm) : NULL,
          *freqs = forward_weights(f, -1, "rope_freqs.weight");
    for (int h = 0; h < n; h++) {
        double *head = x + h * (int)p->head_dim;
        if (w)
            forward_norm(w, head, head, (int)p->head_dim, (double)p->eps);
        forward_rotate(p, freqs, head, pos);
    }
    free(w);
    free(freqs);
}

/* x[t][d] in place */
static void forward_attention(const struct gguf_file *f, const struct model_params *p, int block, double *x, int n)
{
    int d = (int)p->d, hd = (int)p->head_dim, q = (int)p->n_head * hd, k = (int)p->n_head_kv * hd,
        group = (int)(p->n_head / p->n_head_kv);
    double *h = calloc((size_t)d, sizeof(double)), *qs = calloc((size_t)(n * q), sizeof(double)),
           *ks = calloc((size_t)(n * k), sizeof(double)), *vs = calloc((size_t)(n * k), sizeof(double)),
           *o = calloc((size_t)q, sizeof(double)), *score = calloc((size_t)n, sizeof(double));
    float *norm = forward_weights(f, block, "attn_norm.weight");
    for (int t = 0; t < n; t++) {
        forward_norm(norm, x + t * d, h, d, (double)p->eps);
        forward_linear(f, block, "attn_q.weight", "attn_q.bias", h, qs + t * q, d, q);
        forward_linear(f, block, "attn_k.weight", "attn_k.bias", h, ks + t * k, d, k);
        forward_linear(f, block, "attn_v.weight", "attn_v.bias", h, vs + t * k, d, k);
        forward_heads(f, p, block, "attn_q_norm.weight", qs + t * q, (int)p->n_head, t);
        forward_heads(f, p, block, "attn_k_norm.weight", ks + t * k, (int)p->n_head_kv, t);
    }
    for (int t = 0; t < n; t++) {
        memset(o, 0, (size_t)q * sizeof(double));
        for (int a = 0; a < (int)p->n_head; a++) {
            double most = -INFINITY, sum = 0;
            for (int s = 0; s <= t; s++) {
                score[s] = 0;
                for (int i = 0; i < hd; i++)
                    score[s] += qs[t * q + a * hd + i] * ks[s * k + a / group * hd + i];
                score[s] /= sqrt(hd);
                most = fmax(most, score[s]);
            }
            for (int s = 0; s <= t; s++)
                sum += score[s] = exp(score[s] - most);
            for (int s = 0; s <= t; s++)
                for (int i = 0; i < hd; i++)
                    o[a * hd + i] += score[s] / sum * vs[s * k + a / group * hd + i];
        }
        forward_linear(f, block, "attn_output.weight", NULL, o, h, q, d);
        for (int i = 0; i < d; i++)
            x[t * d + i] += h[i];
    }
    free(norm), free(h), free(qs), free(ks), free(vs), free(o), free(score);
}

static void forward_ffn(const struct gguf_file *f, const struct model_params *p, int block, double *x)
{
    int d = (int)p->d, ff = (int)p->d_ff;
    double *h = calloc((size_t)d, sizeof(double)), *g = calloc((size_t)ff, sizeof(double)),
           *u = calloc((size_t)ff, sizeof(double));
    float *norm = forward_weights(f, block, "ffn_norm.weight");
    forward_norm(norm, x, h, d, (double)p->eps);
    forward_linear(f, block, "ffn_gate.weight", NULL, h, g, d, ff);
    forward_linear(f, block, "ffn_up.weight", NULL, h, u, d, ff);
    for (int i = 0; i < ff; i++)
        u[i] *= g[i] / (1 + exp(-g[i]));
    forward_linear(f, block, "ffn_down.weight", NULL, u, h, ff, d);
    for (int i = 0; i < d; i++)
        x[i] += h[i];
    free(norm), free(h), free(g), free(u);
}

/* Logits of the last token, [n_vocab]. The caller frees. */
__attribute__((unused)) static double *forward_logits(const struct gguf_file *f, const int *tokens, int n)
{
    struct model_params p;
    struct error err = {""};
    if (model_params_read(&p, f, &err))
        fail_msg("%s", err.text);
    int d = (int)p.d;
    double *x = calloc((size_t)(n * d), sizeof(double)), *logits = calloc(p.n_vocab, sizeof(double));
    float *embd = forward_weights(f, -1, "token_embd.weight"), *norm = forward_weights(f, -1, "output_norm.weight");
    for (int t = 0; t < n; t++)
        for (int i = 0; i < d; i++)
            x[t * d + i] = (double)embd[tokens[t] * d + i];
    for (int b = 0; b < (int)p.n_block; b++) {
        forward_attention(f, &p, b, x, n);
        for (int t = 0; t < n; t++)
            forward_ffn(f, &p, b, x + t * d);
    }
    forward_norm(norm, x + (n - 1) * d, x, d, (double)p.eps);
    forward_linear(f, -1, p.tied ? "token_embd.weight" : "output.weight", NULL, x, logits, d, (int)p.n_vocab);
    free(x), free(embd), free(norm);
    return logits;
}

#endif
