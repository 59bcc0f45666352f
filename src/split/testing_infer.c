#include "split/testing_infer.h"

#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOY_BLOCKS 3u

struct toy_seq {
    bool open;
    uint32_t n_ctx, len;
    uint64_t *history[TOY_BLOCKS]; /* after each position */
};

struct infer {
    struct span span;
    uint32_t d, n_vocab, max_seqs;
    uint64_t kv_free;
    struct toy_seq *seqs;
};

struct model_params toy_params(void)
{
    return (struct model_params){
        .n_block = TOY_BLOCKS, .d = 4, .n_vocab = 50, .n_ctx = 400, .cut = {.part = MODEL_EDGE, .head = 1, .tail = 1}};
}

struct span span_whole(const struct model_params *p)
{
    return (struct span){.last = p->n_block, .embed = true, .output = true};
}

struct span span_head(const struct model_params *p)
{
    return (struct span){.last = p->cut.head, .embed = true};
}

struct span span_middle(const struct model_params *p)
{
    return (struct span){.first = p->cut.head, .last = p->n_block - p->cut.tail};
}

struct span span_tail(const struct model_params *p)
{
    return (struct span){.first = p->n_block - p->cut.tail, .last = p->n_block, .output = true};
}

int infer_create(struct infer **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct infer_config *cfg, struct error *err)
{
    struct infer *x = calloc(1, sizeof(*x));
    *x = (struct infer){
        .span = span, .d = p->d, .n_vocab = p->n_vocab, .max_seqs = cfg->max_seqs, .kv_free = cfg->kv_rows};
    x->seqs = calloc(x->max_seqs, sizeof(*x->seqs));
    *ret = x;
    return 0;
}

void infer_seq_close(struct infer *x, int32_t seq)
{
    struct toy_seq *s = &x->seqs[seq];
    x->kv_free += s->n_ctx;
    for (uint32_t b = 0; b < TOY_BLOCKS; b++)
        free(s->history[b]);
    *s = (struct toy_seq){0};
}

void infer_free(struct infer *x)
{
    for (uint32_t i = 0; x && i < x->max_seqs; i++)
        infer_seq_close(x, (int32_t)i);
    if (x)
        free(x->seqs);
    free(x);
}

int infer_seq_open(struct infer *x, uint32_t n_ctx, int32_t *ret_seq)
{
    uint32_t i = 0;
    while (i < x->max_seqs && x->seqs[i].open)
        i++;
    if (n_ctx > x->kv_free || i == x->max_seqs)
        return -ENOSPC;
    x->seqs[i] = (struct toy_seq){.open = true, .n_ctx = n_ctx};
    for (uint32_t b = 0; b < TOY_BLOCKS; b++)
        x->seqs[i].history[b] = calloc(n_ctx, sizeof(uint64_t));
    x->kv_free -= n_ctx;
    *ret_seq = (int32_t)i;
    return 0;
}

int32_t infer_seq_len(const struct infer *x, int32_t seq)
{
    return (int32_t)x->seqs[seq].len;
}

void infer_seq_truncate(struct infer *x, int32_t seq, int32_t len)
{
    if (x->seqs[seq].len > (uint32_t)len)
        x->seqs[seq].len = (uint32_t)len;
}

static uint32_t block_run(uint64_t *history, uint32_t pos, uint32_t in)
{
    history[pos] = rng_mix((pos ? history[pos - 1] : 99) * 31 + in);
    return (uint32_t)(history[pos] >> 40); /* 24 bits: exact as a float */
}

int infer_run(struct infer *x, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        struct toy_seq *s = &x->seqs[rows[i].seq];
        if (!s->open || (uint32_t)rows[i].pos != s->len || s->len >= s->n_ctx)
            return error_set(err, EINVAL, "row %u: position %d of sequence %d, which has %u of %u", i, rows[i].pos,
                rows[i].seq, s->len, s->n_ctx);
        uint32_t v = x->span.embed ? (uint32_t)rows[i].token : (uint32_t)in[(size_t)i * x->d];
        for (uint32_t b = x->span.first; b < x->span.last; b++)
            v = block_run(s->history[b], s->len, v);
        s->len++;
        if (!x->span.output)
            for (uint32_t k = 0; k < x->d; k++)
                out[(size_t)i * x->d + k] = (float)v;
        else if (rows[i].want)
            for (uint32_t t = 0; t < x->n_vocab; t++)
                *out++ = (float)(6 * rng_uniform(v, t));
    }
    return 0;
}

struct infer_use infer_use(const struct infer *x)
{
    return (struct infer_use){.kv_rows_free = x->kv_free};
}
