/* Calls are checked whole before anything runs, cut into batches of max_rows, and each batch is one run of a planned
 * graph. Nothing here depends on what else is in a batch: see infer_graph.c for the products and kernels.h for ours. */
#include "compute/infer_inner.h"

#include "compute/rope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_ROWS 8192u

struct span span_whole(const struct model_params *p)
{
    return (struct span){.first = 0, .last = p->n_block, .embed = true, .output = true};
}

struct span span_head(const struct model_params *p)
{
    return (struct span){.first = 0, .last = p->cut.head, .embed = true};
}

struct span span_middle(const struct model_params *p)
{
    return (struct span){.first = p->cut.head, .last = p->n_block - p->cut.tail};
}

struct span span_tail(const struct model_params *p)
{
    return (struct span){.first = p->n_block - p->cut.tail, .last = p->n_block, .output = true};
}

/* ---- creation ---- */

static int check_span(const struct model_params *p, struct span s, struct error *err)
{
    if (s.first > s.last || s.last > p->n_block)
        return error_set(err, EINVAL, "blocks %u to %u are asked for, the model has %u", s.first, s.last, p->n_block);
    if ((s.embed && s.first != 0) || (s.output && s.last != p->n_block))
        return error_set(err, EINVAL, "the embedding goes before block 0 and the output after block %u", p->n_block);
    for (uint32_t i = s.first; i < s.last; i++)
        if (!model_has_block(p, i))
            return error_set(err, EINVAL, "block %u lies in the other half of this cut model; open that file", i);
    if ((s.embed || s.output) && !model_has_ends(p))
        return error_set(err, EINVAL, "embedding and output lie in the edge half of this cut model; open that file");
    return 0;
}

static void fill_config(struct infer_config *c)
{
    c->n_threads = c->n_threads ? c->n_threads : cpu_cores();
    c->n_threads = c->n_threads < GGML_MAX_N_THREADS ? c->n_threads : GGML_MAX_N_THREADS;
    c->max_rows = c->max_rows ? c->max_rows : 512;
    c->max_rows = c->max_rows < MAX_ROWS ? (c->max_rows + 3) / 4 * 4 : MAX_ROWS;
    c->max_seqs = c->max_seqs ? c->max_seqs : 64;
}

/* Hands out pieces of the arena; with base NULL it only counts. */
static float *piece(uint8_t *base, uint64_t *at, uint64_t n_floats)
{
    float *p = base ? (float *)(base + *at) : NULL;
    *at += (n_floats * sizeof(float) + 63) / 64 * 64;
    return p;
}

static uint64_t lay_out(struct infer *x, uint8_t *base)
{
    const uint64_t rows = x->cfg.max_rows > x->w.most_least ? x->cfg.max_rows : x->w.most_least;
    const uint64_t out_rows = INFER_OUT_ROWS > x->w.most_least ? INFER_OUT_ROWS : x->w.most_least;
    const uint64_t d = x->p.d, hd = x->p.head_dim, half = x->p.rope_dims / 2;
    uint64_t at = 0, shared, end;
    x->nowhere = piece(base, &at, 16);
    x->x = piece(base, &at, rows * d);
    x->normed = piece(base, &at, rows * d);
    x->delta = piece(base, &at, rows * d);
    shared = at;
    x->q = piece(base, &at, rows * x->p.n_head * hd);
    x->k_ = piece(base, &at, rows * x->p.n_head_kv * hd);
    x->v = piece(base, &at, rows * x->p.n_head_kv * hd);
    x->a = piece(base, &at, rows * x->p.n_head * hd);
    end = at;
    at = shared;
    x->gate = piece(base, &at, rows * x->p.d_ff);
    x->up = piece(base, &at, rows * x->p.d_ff);
    at = at > end ? at : end;
    if (x->span.output) {
        x->out_normed = piece(base, &at, out_rows * d);
        x->logits = piece(base, &at, out_rows * x->p.n_vocab);
    }
    uint64_t wide = x->p.n_head * hd > x->p.d_ff ? x->p.n_head * hd : x->p.d_ff;
    wide = wide > d ? wide : d;
    x->columns.most = (uint32_t)((wide + 31) / 32 * 32 + 64); /* no power of two: columns would meet in one cache set */
    const uint64_t columns = rows > out_rows ? rows : out_rows;
    x->columns.q = (int8_t *)piece(base, &at, columns * x->columns.most / 4);
    x->columns.scale = piece(base, &at, columns * (x->columns.most / 32));
    x->columns.total = piece(base, &at, columns * (x->columns.most / 32));
    x->columns.sums = (int32_t *)piece(base, &at, columns * (x->columns.most / 16));
    x->scratch_stride = (attend_scratch((uint32_t)hd) + 15) / 16 * 16;
    x->scratch = piece(base, &at, x->cfg.n_threads * x->scratch_stride);
    x->batch.cos = piece(base, &at, rows * half);
    x->batch.sin = piece(base, &at, rows * half);
    return at;
}

static int arena_init(struct infer *x, struct error *err)
{
    x->arena_size = lay_out(x, NULL);
    void *mem = mmap(NULL, x->arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem != MAP_FAILED) {
        madvise(mem, x->arena_size, MADV_DONTDUMP);
        x->arena = mem;
        lay_out(x, x->arena);
        x->arena_buffer = ggml_backend_cpu_buffer_from_ptr(mem, x->arena_size);
    }
    if (!x->arena_buffer)
        return error_set(err, ENOMEM, "%.0f MB of memory are needed for %u rows at a time; lower max_rows",
            (double)x->arena_size / 1e6, x->cfg.max_rows);
    return 0;
}

static int batch_init(struct infer *x, struct error *err)
{
    struct batch *b = &x->batch;
    const uint32_t n = x->cfg.max_rows;
    b->seqs = calloc(n, sizeof(*b->seqs));
    b->lo = calloc(n, sizeof *b->lo);
    b->hi = calloc(n, sizeof *b->hi);
    b->tiles = calloc(n, sizeof *b->tiles);
    b->wanted = calloc(n, sizeof *b->wanted);
    x->blocks = calloc(x->span.last - x->span.first + 1, sizeof *x->blocks);
    x->rope_steps = calloc(x->p.rope_dims / 2, sizeof *x->rope_steps);
    if (!b->seqs || !b->lo || !b->hi || !b->tiles || !b->wanted || !x->blocks || !x->rope_steps)
        return error_set(err, ENOMEM, "no memory for the tables of %u rows", n);
    for (uint32_t i = 0; i < x->span.last - x->span.first; i++)
        x->blocks[i] = (struct block){.x = x, .i = i, .w = &x->w.blocks[i]};
    rope_steps(&x->p, x->w.rope_freqs, x->rope_steps, &x->rope_magnitude);
    return 0;
}

static int backend_init(struct infer *x, struct error *err)
{
    x->backend = ggml_backend_dev_init(x->cpu->dev, NULL);
    if (!x->backend)
        return error_set(err, ENOMEM, "ggml's CPU backend could not be started");
    x->cpu->set_n_threads(x->backend, (int)x->cfg.n_threads);
    if (x->cpu->threadpool_new && x->cpu->threadpool_free && x->cpu->set_threadpool) {
        /* Kept, or ggml makes one for every run. */
        struct ggml_threadpool_params params = ggml_threadpool_params_default((int)x->cfg.n_threads);
        x->pool = x->cpu->threadpool_new(&params);
        if (x->pool)
            x->cpu->set_threadpool(x->backend, x->pool);
    }
    return 0;
}

static int init_all(struct infer *x, const struct gguf_file *f, struct error *err)
{
    int rc = check_span(&x->p, x->span, err);
    if (!rc)
        rc = cpu_get(&x->cpu, err);
    if (!rc)
        rc = backend_init(x, err);
    if (!rc)
        rc = weights_load(&x->w, x->cpu, f, &x->p, x->span, x->cfg.n_threads, err);
    if (!rc)
        rc = kv_init(&x->kv, x->span.last - x->span.first, x->p.n_head_kv, x->p.head_dim, x->cfg.kv_f32, x->cfg.kv_rows,
            x->cfg.max_seqs, err);
    if (!rc)
        rc = arena_init(x, err);
    if (!rc)
        rc = batch_init(x, err);
    return rc ? rc : infer_graphs_init(x, err);
}

int infer_create(struct infer **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct infer_config *cfg, struct error *err)
{
    struct infer *x = calloc(1, sizeof *x);
    if (!x)
        return error_set(err, ENOMEM, "no memory");
    x->p = *p;
    x->span = span;
    x->cfg = *cfg;
    x->k = kernels_get();
    fill_config(&x->cfg);
    int rc = init_all(x, f, err);
    if (rc)
        infer_free(x);
    else
        *ret = x;
    return rc;
}

void infer_free(struct infer *x)
{
    if (!x)
        return;
    infer_graphs_done(x);
    kv_done(&x->kv);
    weights_done(&x->w);
    if (x->backend)
        ggml_backend_free(x->backend);
    if (x->pool)
        x->cpu->threadpool_free(x->pool);
    ggml_backend_buffer_free(x->arena_buffer);
    if (x->arena) {
        explicit_bzero(x->arena, x->arena_size);
        munmap(x->arena, x->arena_size);
    }
    free(x->batch.seqs);
    free(x->batch.lo);
    free(x->batch.hi);
    free(x->batch.tiles);
    free(x->batch.wanted);
    free(x->blocks);
    free(x->rope_steps);
    free(x);
}

/* ---- sequences ---- */

int infer_seq_open(struct infer *x, uint32_t n_ctx, int32_t *ret_seq)
{
    return kv_open(&x->kv, n_ctx, ret_seq);
}

void infer_seq_close(struct infer *x, int32_t seq)
{
    kv_close(&x->kv, seq);
}

int32_t infer_seq_len(const struct infer *x, int32_t seq)
{
    const struct kv_seq *s = kv_find(&x->kv, seq);
    return s ? (int32_t)s->len : -1;
}

void infer_seq_truncate(struct infer *x, int32_t seq, int32_t len)
{
    struct kv_seq *s = kv_find(&x->kv, seq);
    if (s && len >= 0 && (uint32_t)len < s->len)
        s->len = (uint32_t)len;
}

/* ---- running ---- */

static int check_row(const struct infer *x, const struct infer_row *r, uint32_t i, struct error *err)
{
    struct kv_seq *s = kv_find(&x->kv, r->seq);
    if (!s)
        return error_set(err, EINVAL, "row %u: there is no open sequence %d", i, r->seq);
    uint32_t next = s->len + s->pending;
    if (r->pos < 0 || (uint32_t)r->pos != next)
        return error_set(
            err, EINVAL, "row %u: position %d does not follow; the next of sequence %d is %u", i, r->pos, r->seq, next);
    if (next >= s->n_ctx)
        return error_set(err, EINVAL, "row %u: position %d lies beyond the %u that sequence %d was opened for", i,
            r->pos, s->n_ctx, r->seq);
    if (x->span.embed && (r->token < 0 || (uint32_t)r->token >= x->p.n_vocab))
        return error_set(err, EINVAL, "row %u: token %d is not in the vocabulary of %u", i, r->token, x->p.n_vocab);
    s->pending++;
    return 0;
}

static int check_rows(const struct infer *x, const struct infer_row *rows, uint32_t n, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc; i++)
        rc = check_row(x, &rows[i], i, err);
    for (uint32_t i = 0; i < n; i++) {
        struct kv_seq *s = kv_find(&x->kv, rows[i].seq);
        if (s)
            s->pending = 0;
    }
    return rc;
}

/* A tile is as many rows of one sequence as fit beside each other with all heads of a group. */
static void tile_rows(struct batch *b, uint32_t most)
{
    b->n_tiles = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        struct tile *t = b->n_tiles ? &b->tiles[b->n_tiles - 1] : NULL;
        if (t && t->seq == b->seqs[i] && t->n < most)
            t->n++;
        else
            b->tiles[b->n_tiles++] = (struct tile){.first = i, .n = 1, .seq = b->seqs[i]};
    }
}

static void place_rows(struct infer *x)
{
    struct batch *b = &x->batch;
    const uint32_t half = x->p.rope_dims / 2, window = x->p.window, group = x->p.n_head / x->p.n_head_kv;
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t pos = (uint32_t)b->rows[i].pos;
        struct kv_seq *s = kv_find(&x->kv, b->rows[i].seq);
        b->seqs[i] = s;
        b->hi[i] = pos + 1;
        b->lo[i] = window && pos + 1 > window ? pos + 1 - window : 0;
        s->len = pos + 1;
        s->high = s->high > s->len ? s->high : s->len;
        rope_at(x->rope_steps, x->rope_magnitude, half, pos, b->cos + (uint64_t)i * half, b->sin + (uint64_t)i * half);
    }
    tile_rows(b, group < ATTEND_ROWS ? ATTEND_ROWS / group : 1);
}

/* Logits of the batch's wanted rows, INFER_OUT_ROWS at a time. */
static int run_output(struct infer *x, float **out)
{
    struct batch *b = &x->batch;
    int rc = 0;
    for (uint32_t i = 0; i < b->n && !rc;) {
        b->n_wanted = 0;
        for (; i < b->n && b->n_wanted < INFER_OUT_ROWS; i++)
            if (b->rows[i].want)
                b->wanted[b->n_wanted++] = i;
        if (b->n_wanted)
            rc = infer_graph_run(x, x->out_graphs, b->n_wanted);
        uint64_t floats = (uint64_t)b->n_wanted * x->p.n_vocab;
        if (!rc)
            memcpy(*out, x->logits, floats * sizeof(float));
        *out += floats;
    }
    return rc;
}

int infer_run(struct infer *x, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err)
{
    struct batch *b = &x->batch;
    int rc = check_rows(x, rows, n, err);
    if (rc)
        return rc;
    for (uint32_t at = 0; at < n && !rc; at += b->n) {
        b->n = n - at < x->cfg.max_rows ? n - at : x->cfg.max_rows;
        b->rows = rows + at;
        b->in = in ? in + (uint64_t)at * x->p.d : NULL;
        b->out = x->span.output ? NULL : out + (uint64_t)at * x->p.d;
        place_rows(x);
        rc = infer_graph_run(x, x->graphs, b->n);
        if (!rc && x->span.output)
            rc = run_output(x, &out);
    }
    return rc ? error_set(err, -rc, "ggml could not run the graph") : 0;
}

struct infer_use infer_use(const struct infer *x)
{
    return (struct infer_use){.weight_bytes = x->w.bytes,
        .kv_bytes = x->kv.size,
        .work_bytes = x->arena_size + infer_graphs_bytes(x),
        .kv_rows_free = (uint64_t)x->kv.n_free * KV_PAGE,
        .seqs_open = x->kv.n_open};
}
