/* A graph for each number of rows that we run: 4, 8, 12, 16, 24, 32, … max_rows. All are planned at the start over the
 * same arena of activations, laid out by hand, so a run allocates nothing and touches the same memory each time.
 *
 * Rows are always a multiple of 4, and a product has at least as many columns as its matrix needs for its rounding to
 * be the same in any company (columns.h). */
#include "compute/infer_inner.h"

#include <errno.h>
#include <string.h>

#define NODES_PER_BLOCK 20u

struct builder {
    struct infer *x;
    struct ggml_context *ctx;
    struct ggml_cgraph *g;
    int64_t n;
};

static struct ggml_tensor *put(struct builder *b, struct ggml_tensor *t, float *data)
{
    t->data = data;
    t->buffer = b->x->arena_buffer;
    return t;
}

/* data = w · in, for every row; and for some of the arena's further rows where this matrix needs more columns. */
static void product(struct builder *b, struct weight w, float *in, float *data)
{
    int64_t n = b->n > w.least ? b->n : w.least;
    struct ggml_tensor *x = put(b, ggml_new_tensor_2d(b->ctx, GGML_TYPE_F32, w.t->ne[0], n), in);
    ggml_build_forward_expand(b->g, put(b, ggml_mul_mat(b->ctx, w.t, x), data));
}

/* Our operation; `data` and `width` say where its result lies. */
static void step(struct builder *b, infer_op *op, void *user, float *data, int64_t width)
{
    struct ggml_tensor *none = put(b, ggml_new_tensor_1d(b->ctx, GGML_TYPE_F32, 1), b->x->nowhere);
    struct ggml_tensor *t =
        ggml_custom_4d(b->ctx, GGML_TYPE_F32, width, b->n, 1, 1, &none, 1, op, GGML_N_TASKS_MAX, user);
    ggml_build_forward_expand(b->g, put(b, t, data));
}

/* Products of the same rows: ours together, ggml's one by one. */
static void products(struct builder *b, struct mul *m, const struct weight *const *w, float *const *y, uint32_t n,
    float *in, const uint32_t *rows)
{
    if (m->n_w == 0) /* the first graph that is built */
        for (uint32_t i = 0; i < n; i++)
            if (w[i]->m.data) {
                m->rounds |= matrix_packs(w[i]->m.type);
                m->w[m->n_w] = w[i];
                m->y[m->n_w++] = y[i];
            }
    m->x = b->x;
    m->in = in;
    m->n = rows;
    if (m->n_w) {
        step(b, op_round, m, b->x->nowhere, 1);
        step(b, op_multiply, m, b->x->nowhere, 1);
    }
    for (uint32_t i = 0; i < n; i++)
        if (!w[i]->m.data)
            product(b, *w[i], in, y[i]);
}

static void build_feed_forward(struct builder *b, struct block *block)
{
    struct infer *x = b->x;
    const struct weights_block *w = block->w;
    const uint32_t *rows = &x->batch.n;
    block->gate_up.silu = w->gate.m.data && w->up.m.data;
    products(b, &block->gate_up, (const struct weight *[]){&w->gate, &w->up}, (float *[]){x->gate, x->up}, 2, x->normed,
        rows);
    if (!block->gate_up.silu)
        step(b, op_silu, block, x->gate, x->p.d_ff);
    products(b, &block->down, (const struct weight *[]){&w->down}, &x->delta, 1, x->gate, rows);
}

static void build_block(struct builder *b, struct block *block)
{
    struct infer *x = b->x;
    const struct weights_block *w = block->w;
    const int64_t wide = (int64_t)x->p.n_head * x->p.head_dim;
    const uint32_t *rows = &x->batch.n;
    step(b, op_attn_norm, block, x->normed, x->p.d);
    products(b, &block->qkv, (const struct weight *[]){&w->q, &w->k, &w->v}, (float *[]){x->q, x->k_, x->v}, 3,
        x->normed, rows);
    step(b, op_prepare, block, x->q, wide);
    step(b, op_attend, block, x->a, wide);
    products(b, &block->o, (const struct weight *[]){&w->o}, &x->delta, 1, x->a, rows);
    step(b, op_ffn_norm, block, x->normed, x->p.d);
    build_feed_forward(b, block);
}

static void build_body(struct builder *b)
{
    struct infer *x = b->x;
    step(b, op_load, x, x->x, x->p.d);
    for (uint32_t i = 0; i < x->span.last - x->span.first; i++)
        build_block(b, &x->blocks[i]);
    step(b, op_leave, x, x->x, x->p.d);
}

static void build_out(struct builder *b)
{
    struct infer *x = b->x;
    step(b, op_out_norm, x, x->out_normed, x->p.d);
    products(b, &x->out_mul, (const struct weight *[]){&x->w.out}, &x->logits, 1, x->out_normed, &x->batch.n_wanted);
}

static int graph_init(struct infer *x, struct graph *ret, uint32_t n, void (*build)(struct builder *b))
{
    uint32_t nodes = NODES_PER_BLOCK * (x->span.last - x->span.first) + 4;
    uint32_t tensors = 3 * nodes;
    struct ggml_init_params init = {.no_alloc = true};
    init.mem_size = tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(tensors, false);
    struct graph g = {.n = n, .ctx = ggml_init(init)};
    if (!g.ctx)
        return -ENOMEM;
    g.cgraph = ggml_new_graph_custom(g.ctx, tensors, false);
    struct builder b = {.x = x, .ctx = g.ctx, .g = g.cgraph, .n = n};
    build(&b);
    g.plan = ggml_backend_graph_plan_create(x->backend, g.cgraph);
    *ret = g;
    return g.plan ? 0 : -ENOMEM;
}

static uint32_t next_size(uint32_t n, uint32_t most)
{
    uint32_t power = 4;
    while (power * 2 <= n)
        power *= 2;
    n += n < 16 ? 4 : power / 2;
    return n < most ? n : most;
}

static int init_all(struct infer *x, struct graph *graphs, uint32_t most, void (*build)(struct builder *b))
{
    for (uint32_t i = 0, n = 4; i + 1 < INFER_MAX_GRAPHS; i++, n = next_size(n, most)) {
        int rc = graph_init(x, &graphs[i], n, build);
        if (rc || n == most)
            return rc;
    }
    return -EINVAL; /* max_rows is bounded, so this is not reached */
}

int infer_graphs_init(struct infer *x, struct error *err)
{
    int rc = init_all(x, x->graphs, x->cfg.max_rows, build_body);
    if (!rc && x->span.output)
        rc = init_all(x, x->out_graphs, INFER_OUT_ROWS, build_out);
    return rc ? error_set(err, -rc, "no memory for the plans of %u rows; lower max_rows", x->cfg.max_rows) : 0;
}

static void done_all(struct infer *x, struct graph *graphs)
{
    for (uint32_t i = 0; i < INFER_MAX_GRAPHS && graphs[i].ctx; i++) {
        if (graphs[i].plan)
            ggml_backend_graph_plan_free(x->backend, graphs[i].plan);
        ggml_free(graphs[i].ctx);
        graphs[i] = (struct graph){0};
    }
}

void infer_graphs_done(struct infer *x)
{
    done_all(x, x->graphs);
    done_all(x, x->out_graphs);
}

uint64_t infer_graphs_bytes(const struct infer *x)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < INFER_MAX_GRAPHS; i++) {
        sum += x->graphs[i].ctx ? ggml_get_mem_size(x->graphs[i].ctx) : 0;
        sum += x->out_graphs[i].ctx ? ggml_get_mem_size(x->out_graphs[i].ctx) : 0;
    }
    return sum;
}

int infer_graph_run(struct infer *x, struct graph *graphs, uint32_t n)
{
    while (graphs->n < n)
        graphs++;
    return ggml_backend_graph_plan_compute(x->backend, graphs->plan) == GGML_STATUS_SUCCESS ? 0 : -EIO;
}
