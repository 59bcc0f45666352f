/* Everything a trainer will ever need is taken here, once, by the largest micro-batch it was configured for. */
#include "compute/train_impl.h"

#include <stdlib.h>

static bool keep_owned(struct train *x, void *p)
{
    if (x->n_owned == x->cap_owned) {
        uint32_t cap = x->cap_owned ? 2 * x->cap_owned : 64;
        void **more = realloc(x->owned, cap * sizeof *more);
        if (!more)
            return false;
        x->owned = more;
        x->cap_owned = cap;
    }
    x->owned[x->n_owned++] = p;
    return true;
}

void *train_alloc(struct train *x, uint64_t n, uint64_t size)
{
    uint64_t bytes;
    if (n == 0)
        return NULL;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > INT64_MAX / 2 || x->bytes > INT64_MAX / 2) {
        x->failed = true;
        return NULL;
    }
    x->bytes += bytes;
    x->failed |= x->bytes > x->most_bytes;
    void *raw = x->failed ? NULL : calloc(1, bytes + 64);
    if (!raw || !keep_owned(x, raw)) {
        free(raw);
        x->failed = true;
        return NULL;
    }
    return (void *)(((uintptr_t)raw + 63) & ~(uintptr_t)63);
}

void train_alloc_done(struct train *x)
{
    for (uint32_t i = 0; i < x->n_owned; i++)
        free(x->owned[i]);
    free(x->owned);
}

/* a [max_rows] array of rows of n floats. */
static float *rows_of(struct train *x, uint64_t n)
{
    return train_alloc(x, (uint64_t)x->cfg.max_rows * n, sizeof(float));
}

static void alloc_save(struct train *x, struct block_save *s)
{
    const struct model_params *p = &x->p;
    s->h1 = rows_of(x, p->d);
    s->inv1 = rows_of(x, 1);
    s->qkv = rows_of(x, x->nqkv);
    s->lse = rows_of(x, p->n_head);
    s->att = rows_of(x, x->nq);
    s->mid = rows_of(x, p->d);
    s->h2 = rows_of(x, p->d);
    s->inv2 = rows_of(x, 1);
    s->gu = rows_of(x, (uint64_t)2 * p->d_ff);
    if (p->qk_norm) {
        s->raw = rows_of(x, x->nq + x->nkv);
        s->invq = rows_of(x, p->n_head + p->n_head_kv);
    }
    for (uint32_t i = 0; i < N_MATS; i++)
        if (x->cfg.lora_rank && x->cfg.lora_targets & 1u << i)
            s->xa[i] = rows_of(x, x->cfg.lora_rank);
}

static void alloc_slot(struct train *x, const struct part *part, struct slot *s)
{
    uint32_t n_x = part->n_blocks + part->span.output;
    s->batch.first = train_alloc(x, (uint64_t)x->cfg.max_samples + 1, sizeof(uint32_t));
    s->batch.order = train_alloc(x, x->cfg.max_samples, sizeof(uint32_t));
    s->batch.pos = train_alloc(x, x->cfg.max_rows, sizeof(uint32_t));
    if (part->span.embed)
        s->tokens = train_alloc(x, x->cfg.max_rows, sizeof(int32_t));
    if (!part->keeps)
        return;
    s->x = rows_of(x, (uint64_t)x->p.d * (n_x ? n_x : 1));
    if (part->span.output)
        s->dx = rows_of(x, x->p.d);
    if (x->cfg.recompute)
        return;
    s->save = train_alloc(x, part->n_blocks, sizeof *s->save);
    for (uint32_t i = 0; i < part->n_blocks && s->save; i++)
        alloc_save(x, &s->save[i]);
}

/* The first slot tells what all will take, before they are taken. */
static void alloc_part(struct train *x, struct part *part)
{
    part->slots = train_alloc(x, part->n_slots, sizeof *part->slots);
    if (!part->slots)
        return;
    uint64_t before = x->bytes, more;
    alloc_slot(x, part, &part->slots[0]);
    if (__builtin_mul_overflow(x->bytes - before, (uint64_t)part->n_slots - 1, &more) || more > INT64_MAX / 2 ||
        x->bytes > INT64_MAX / 2)
        more = INT64_MAX / 2;
    if (more > x->most_bytes || x->bytes > x->most_bytes - more) {
        x->failed = true;
        x->bytes += more;
        return;
    }
    for (uint32_t j = 1; j < part->n_slots; j++)
        alloc_slot(x, part, &part->slots[j]);
}

void train_alloc_slots(struct train *x)
{
    for (uint32_t i = 0; i < x->n_parts; i++)
        alloc_part(x, &x->parts[i]);
}

/* Floats of the largest block, if any block has a frozen matrix that must be dequantised. */
static uint64_t weights_scratch(const struct train *x)
{
    uint64_t n = 0;
    bool any = false;
    for (uint32_t i = 0; i < x->n_parts; i++)
        for (uint32_t j = 0; j < x->parts[i].n_blocks && x->parts[i].blocks; j++)
            for (uint32_t k = 0; k < N_MATS; k++) {
                const struct mat *m = &x->parts[i].blocks[j].m[k];
                any |= !m->w && !train_mapped(m->t);
            }
    uint64_t d = x->p.d;
    n = (uint64_t)x->nqkv * d + x->nq * d + 3 * d * x->p.d_ff;
    return any ? n : 0;
}

static void alloc_loss(struct train *x)
{
    struct scratch *s = &x->s;
    s->loss_rows = loss_rows(x);
    s->logits = train_alloc(x, (uint64_t)s->loss_rows * x->p.n_vocab, sizeof(float));
    s->hn = train_alloc(x, (uint64_t)s->loss_rows * x->p.d, sizeof(float));
    s->hinv = train_alloc(x, s->loss_rows, sizeof(float));
    s->at_target = train_alloc(x, s->loss_rows, sizeof(float));
    s->dhn = train_alloc(x, (uint64_t)s->loss_rows * x->p.d * x->cfg.n_threads, sizeof(float));
    s->top = train_alloc(x, (uint64_t)s->loss_rows * x->cfg.n_threads, sizeof *s->top);
    s->loss_idx = train_alloc(x, x->cfg.max_rows, sizeof(uint32_t));
}

void train_alloc_scratch(struct train *x)
{
    const struct model_params *p = &x->p;
    struct scratch *s = &x->s;
    uint64_t loss_n = loss_thread_floats(x);
    bool output = false, keeps_none = false;
    for (uint32_t i = 0; i < x->n_parts; i++) {
        output |= x->parts[i].span.output;
        keeps_none |= !x->parts[i].keeps;
    }
    s->x2[0] = rows_of(x, p->d);
    s->x2[1] = rows_of(x, p->d);
    s->act = rows_of(x, p->d_ff);
    s->dgu = rows_of(x, (uint64_t)2 * p->d_ff);
    s->datt = rows_of(x, x->nq);
    s->dqkv = rows_of(x, x->nqkv);
    s->dh = rows_of(x, p->d);
    s->dmid = rows_of(x, p->d);
    s->delta = rows_of(x, p->n_head);
    for (uint32_t i = 0; i < N_MATS; i++)
        if (x->cfg.lora_rank && x->cfg.lora_targets & 1u << i)
            s->dxa[i] = rows_of(x, x->cfg.lora_rank);
    s->weights = train_alloc(x, weights_scratch(x), sizeof(float));
    s->thread_n = attention_thread_floats(x) > loss_n ? attention_thread_floats(x) : loss_n;
    s->thread = train_alloc(x, s->thread_n * x->cfg.n_threads, sizeof(float));
    s->part_n = (2 * (uint64_t)p->d + 2 * p->head_dim + 15) / 16 * 16;
    s->part = train_alloc(x, s->part_n * x->cfg.n_threads, sizeof(float));
    if (x->cfg.recompute || keeps_none)
        alloc_save(x, &s->save);
    if (output)
        alloc_loss(x);
}
