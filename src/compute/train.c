/* Creating a trainer and driving its parts: check what the caller says, then one parallel region for the whole span. */
#include "compute/train.h"

#include "base/omp.h"
#include "compute/rope.h"
#include "compute/train_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- creation -------------------------------------------------------------------------------------------------------- */

static int check_span(const struct train *x, const struct span *s, struct error *err)
{
    if (s->first > s->last || s->last > x->p.n_block)
        return error_set(
            err, EINVAL, "cannot train blocks %u to %u of a model of %u blocks", s->first, s->last, x->p.n_block);
    for (uint32_t i = s->first; i < s->last; i++)
        if (!model_has_block(&x->p, i))
            return error_set(err, EINVAL, "%s does not hold block %u", gguf_file_name(x->f), i);
    if ((s->embed || s->output) && !model_has_ends(&x->p))
        return error_set(err, EINVAL, "%s holds neither embedding nor output matrix", gguf_file_name(x->f));
    if (s->first == s->last && !s->embed && !s->output)
        return error_set(err, EINVAL, "a part to train is empty: no block, no embedding, no output");
    return 0;
}

static int check_parts(const struct train *x, const struct train_part *parts, uint32_t n, struct error *err)
{
    if (n < 1 || n > TRAIN_MAX_PARTS)
        return error_set(err, EINVAL, "a trainer holds 1 to %d parts, not %u", TRAIN_MAX_PARTS, n);
    for (uint32_t i = 0; i < n; i++) {
        int rc = check_span(x, &parts[i].span, err);
        if (rc < 0)
            return rc;
        for (uint32_t j = 0; j < i; j++) {
            const struct span *a = &parts[i].span, *b = &parts[j].span;
            if ((a->first < b->last && b->first < a->last) || (a->embed && b->embed) || (a->output && b->output))
                return error_set(err, EINVAL, "two parts to train overlap");
        }
    }
    return 0;
}

static int check_config(const struct train *x, struct error *err)
{
    const struct train_config *c = &x->cfg;
    if (c->max_rows < 1 || c->max_rows > 1u << 20)
        return error_set(err, EINVAL, "a micro-batch has 1 to %u rows, not %u", 1u << 20, c->max_rows);
    if (c->n_threads > 1024)
        return error_set(err, EINVAL, "training runs on 1 to 1024 threads, not %u", c->n_threads);
    if (c->lora_rank > x->p.d)
        return error_set(err, EINVAL, "LoRA rank %u is larger than the model's width %u", c->lora_rank, x->p.d);
    if (c->lora_rank && !(c->lora_targets & LORA_ALL))
        return error_set(err, EINVAL, "LoRA with rank %u has no target matrices", c->lora_rank);
    return 0;
}

static void take_parts(struct train *x, const struct train_part *parts, uint32_t n)
{
    x->n_parts = n;
    for (uint32_t i = 0; i < n; i++) {
        struct part *p = &x->parts[i];
        p->span = parts[i].span;
        p->freeze = parts[i].freeze;
        p->n_slots = parts[i].n_slots ? parts[i].n_slots : 1;
        p->keeps = !(p->freeze && p->span.embed) || p->span.output;
    }
}

static void take_config(struct train *x, const struct train_config *cfg)
{
    x->cfg = *cfg;
    if (x->cfg.n_threads == 0)
        x->cfg.n_threads = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (x->cfg.max_samples == 0 || x->cfg.max_samples > x->cfg.max_rows)
        x->cfg.max_samples = x->cfg.max_rows;
    x->nq = x->p.n_head * x->p.head_dim;
    x->nkv = x->p.n_head_kv * x->p.head_dim;
    x->nqkv = x->nq + 2 * x->nkv;
    x->lora_scale = cfg->lora_rank ? cfg->lora_alpha / (float)cfg->lora_rank : 0;
    x->k = train_kernels_pick();
    /* The system gives more than it has, and takes it back by killing: what cannot fit is refused by count. */
    x->most_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int make_rope(struct train *x, struct error *err)
{
    uint32_t half = x->p.rope_dims / 2;
    const struct gguf_tensor *t = gguf_file_tensor(x->f, "rope_freqs.weight");
    const float *factors = NULL;
    if (t) {
        factors = train_mapped(t);
        if (!factors || t->ne[0] != half || t->ne[1] != 1)
            return error_set(err, EINVAL, "%s: rope_freqs.weight is not %u F32 numbers", gguf_file_name(x->f), half);
    }
    x->rope_cos = train_alloc(x, (uint64_t)x->cfg.max_rows * half, sizeof(float));
    x->rope_sin = train_alloc(x, (uint64_t)x->cfg.max_rows * half, sizeof(float));
    if (!x->failed)
        rope_table(&x->p, factors, x->cfg.max_rows, x->rope_cos, x->rope_sin);
    return 0;
}

static int check_memory(const struct train *x, struct error *err)
{
    if (!x->failed)
        return 0;
    return error_set(err, ENOMEM,
        "training %s this way needs %.1f GB of memory and the machine has %.1f GB: use smaller or fewer micro-batches, "
        "recomputation, or LoRA",
        gguf_file_name(x->f), (double)x->bytes / 1e9, (double)x->most_bytes / 1e9);
}

static int set_up(struct train *x, struct error *err)
{
    int rc = train_model_bind(x, err);
    if (rc == 0)
        rc = make_rope(x, err);
    if (rc < 0)
        return rc;
    train_alloc_slots(x);
    train_alloc_scratch(x);
    return check_memory(x, err);
}

int train_create(struct train **ret, const struct gguf_file *f, const struct model_params *p,
    const struct train_part *parts, uint32_t n_parts, const struct train_config *cfg, struct error *err)
{
    struct train *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(err, ENOMEM, "no memory to train with");
    x->f = f;
    x->p = *p;
    take_config(x, cfg);
    int rc = check_config(x, err);
    if (rc == 0)
        rc = check_parts(x, parts, n_parts, err);
    if (rc == 0) {
        take_parts(x, parts, n_parts);
        rc = set_up(x, err);
    }
    if (rc < 0) {
        train_free(x);
        return rc;
    }
    *ret = x;
    return 0;
}

void train_free(struct train *x)
{
    if (!x)
        return;
    train_alloc_done(x);
    free(x->params);
    free(x);
}

uint64_t train_bytes(const struct train *x)
{
    return x->bytes;
}

uint32_t train_n_params(const struct train *x)
{
    return x->n_params;
}

struct train_param train_param_at(struct train *x, uint32_t i)
{
    const struct param *p = &x->params[i];
    train_fold_shared(x);
    return (struct train_param){p->name, x->w + p->off, x->g + p->off, p->n_out, p->n_in};
}

/* --- forward --------------------------------------------------------------------------------------------------------- */

/* NULL with the sentence set when there is no such slot. */
static struct slot *find_slot(struct train *x, uint32_t part, uint32_t slot, struct error *err)
{
    if (part < x->n_parts && slot < x->parts[part].n_slots)
        return &x->parts[part].slots[slot];
    error_set(err, EINVAL, "training has no part %u with a slot %u", part, slot);
    return NULL;
}

static int check_tokens(const struct train *x, const int32_t *tokens, uint32_t n, int32_t least, struct error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (tokens[i] < least || (tokens[i] >= 0 && (uint32_t)tokens[i] >= x->p.n_vocab))
            return error_set(
                err, EINVAL, "token %d at row %u is outside the vocabulary of %u", (int)tokens[i], i, x->p.n_vocab);
    return 0;
}

/* Stable, so that the same micro-batch is worked through in the same order. */
static void order_longest_first(struct batch *b)
{
    for (uint32_t i = 0; i < b->n_samples; i++) {
        uint32_t rows = b->first[i + 1] - b->first[i], at = i;
        for (; at > 0 && b->first[b->order[at - 1] + 1] - b->first[b->order[at - 1]] < rows; at--)
            b->order[at] = b->order[at - 1];
        b->order[at] = i;
    }
}

static int take_batch(
    const struct train *x, struct batch *b, const uint32_t *sample_rows, uint32_t n_samples, struct error *err)
{
    uint32_t row = 0;
    if (n_samples < 1 || n_samples > x->cfg.max_samples)
        return error_set(err, EINVAL, "a micro-batch has 1 to %u samples here, not %u", x->cfg.max_samples, n_samples);
    for (uint32_t i = 0; i < n_samples; i++) {
        if (sample_rows[i] < 1 || sample_rows[i] > x->cfg.max_rows - row)
            return error_set(err, EINVAL, "sample %u of %u rows does not fit a micro-batch of %u rows with %u taken", i,
                sample_rows[i], x->cfg.max_rows, row);
        b->first[i] = row;
        for (uint32_t j = 0; j < sample_rows[i]; j++)
            b->pos[row++] = j;
    }
    b->first[n_samples] = row;
    b->n_samples = n_samples;
    b->n_rows = row;
    order_longest_first(b);
    return 0;
}

/* Own rows of the first block's input: embeddings of tokens, or a copy of what came. */
static void fill_input(const struct train *x, const struct slot *s, const float *in, float *to, struct team t)
{
    size_t d = x->p.d;
    uint32_t r0 = team_cut(s->batch.n_rows, 8, t.id, t.n), r1 = team_cut(s->batch.n_rows, 8, t.id + 1, t.n);
    if (in)
        memcpy(to + r0 * d, in + r0 * d, sizeof(float) * (r1 - r0) * d);
    for (uint32_t r = r0; r < r1 && !in; r++) {
        uint64_t token = (uint64_t)s->tokens[r];
        if (x->embed.w)
            memcpy(to + r * d, x->embed.w + token * d, sizeof(float) * d);
        else
            train_dequantise(x->embed.t, token, token + 1, to + r * d);
    }
}

/* Where block i finds its input; i == n_blocks: where the last one leaves its output. */
static float *block_input(const struct train *x, const struct part *part, const struct slot *s, uint32_t i)
{
    return part->keeps ? s->x + (size_t)i * x->cfg.max_rows * x->p.d : x->s.x2[i & 1];
}

static void forward_team(
    struct train *x, const struct part *part, struct slot *s, const float *in, float *out, struct team t)
{
    fill_input(x, s, in, part->n_blocks || part->span.output ? block_input(x, part, s, 0) : out, t);
    for (uint32_t i = 0; i < part->n_blocks; i++) {
        struct block_w w = train_block_weights(x, &part->blocks[i], t);
        bool last = i + 1 == part->n_blocks && !part->span.output;
        block_forward(x, &part->blocks[i], &w, &s->batch, s->save ? &s->save[i] : &x->s.save,
            block_input(x, part, s, i), last ? out : block_input(x, part, s, i + 1), t);
    }
}

static int check_forward(const struct span *span, const struct slot *s, const int32_t *tokens, const float *in,
    const float *out, struct error *err)
{
    if (s->state != SLOT_FREE)
        return error_set(err, EINVAL, "forward into a slot that still holds a micro-batch");
    if ((span->embed ? (const void *)tokens : (const void *)in) == NULL || (!out && !span->output))
        return error_set(err, EINVAL, "forward lacks its input or the place of its output");
    return 0;
}

int train_forward(struct train *x, uint32_t part, uint32_t slot, const uint32_t *sample_rows, uint32_t n_samples,
    const int32_t *tokens, const float *in, float *out, struct error *err)
{
    struct slot *s = find_slot(x, part, slot, err);
    if (!s)
        return -EINVAL;
    struct part *p = &x->parts[part];
    int rc = check_forward(&p->span, s, tokens, in, out, err);
    if (rc == 0)
        rc = take_batch(x, &s->batch, sample_rows, n_samples, err);
    if (rc == 0 && p->span.embed)
        rc = check_tokens(x, tokens, s->batch.n_rows, 0, err);
    if (rc < 0)
        return rc;
    if (p->span.embed)
        memcpy(s->tokens, tokens, sizeof *tokens * s->batch.n_rows);
    int outer = omp_get_max_threads();
    omp_set_num_threads(1); /* BLAS, called from each thread, looks here */
#pragma omp parallel num_threads(x->cfg.n_threads)
    {
        struct team t = {(uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads()};
        forward_team(x, p, s, p->span.embed ? NULL : in, out, t);
    }
    omp_set_num_threads(outer);
    s->state = p->keeps ? SLOT_FORWARD : SLOT_FREE;
    return 0;
}

int train_loss(struct train *x, uint32_t part, uint32_t slot, const int32_t *targets, bool only_eval,
    struct train_loss *ret, struct error *err)
{
    struct slot *s = find_slot(x, part, slot, err);
    if (!s)
        return -EINVAL;
    struct part *p = &x->parts[part];
    if (!p->span.output || s->state != SLOT_FORWARD)
        return error_set(err, EINVAL, "slot %u of part %u has no result to take a loss of", slot, part);
    int rc = check_tokens(x, targets, s->batch.n_rows, -1, err);
    if (rc < 0)
        return rc;
    int outer = omp_get_max_threads();
    omp_set_num_threads(1);
    loss_forward(x, s, block_input(x, p, s, p->n_blocks), targets, only_eval, ret);
    omp_set_num_threads(outer);
    if (!only_eval)
        s->state = SLOT_LOSS;
    return 0;
}

/* --- backward -------------------------------------------------------------------------------------------------------- */

/* Adds rows of dx to the embedding's gradient; each thread has its columns, so rows of one token never meet. */
static void embed_back(struct train *x, const struct slot *s, const float *dx, struct team t)
{
    size_t d = x->p.d;
    uint32_t n0 = team_cut(x->p.d, 16, t.id, t.n), n1 = team_cut(x->p.d, 16, t.id + 1, t.n);
    for (uint32_t r = 0; r < s->batch.n_rows && n1 > n0; r++)
        x->k->add(x->embed.g + (uint64_t)s->tokens[r] * d + n0, dx + r * d + n0, n1 - n0);
}

static void backward_team(
    struct train *x, const struct part *part, struct slot *s, const float *grad, float *grad_in, struct team t)
{
    for (uint32_t i = part->n_blocks; i-- > 0;) {
        const struct block *b = &part->blocks[i];
        struct block_w w = train_block_weights(x, b, t);
        struct block_save *save = s->save ? &s->save[i] : &x->s.save;
        const float *in = block_input(x, part, s, i);
        if (!s->save)
            block_forward(x, b, &w, &s->batch, save, in, x->s.x2[1], t);
        float *din = i == 0 && grad_in ? grad_in : x->s.x2[0];
        block_backward(x, b, &w, &s->batch, save, in, grad, din, t);
        grad = din;
    }
    if (x->embed.g && part->span.embed)
        embed_back(x, s, grad, t);
    else if (part->n_blocks == 0 && grad_in && t.id == 0)
        memcpy(grad_in, grad, sizeof(float) * s->batch.n_rows * x->p.d);
}

int train_backward(
    struct train *x, uint32_t part, uint32_t slot, const float *grad_out, float *grad_in, struct error *err)
{
    struct slot *s = find_slot(x, part, slot, err);
    if (!s)
        return -EINVAL;
    struct part *p = &x->parts[part];
    if (!p->keeps)
        return 0;
    if (s->state != (p->span.output ? SLOT_LOSS : SLOT_FORWARD))
        return error_set(err, EINVAL, "slot %u of part %u holds nothing to go backward from", slot, part);
    if (!p->span.output && !grad_out)
        return error_set(err, EINVAL, "backward of part %u lacks the gradient of its output", part);
    s->state = SLOT_FREE;
    if (p->freeze && (p->span.embed || !grad_in))
        return 0;
    int outer = omp_get_max_threads();
    omp_set_num_threads(1);
#pragma omp parallel num_threads(x->cfg.n_threads)
    {
        struct team t = {(uint32_t)omp_get_thread_num(), (uint32_t)omp_get_num_threads()};
        backward_team(x, p, s, p->span.output ? s->dx : grad_out, p->span.embed ? NULL : grad_in, t);
    }
    omp_set_num_threads(outer);
    return 0;
}

void train_drop(struct train *x, uint32_t part, uint32_t slot)
{
    if (part < x->n_parts && slot < x->parts[part].n_slots)
        x->parts[part].slots[slot].state = SLOT_FREE;
}
