/* The inside of struct infer, shared by infer.c (calls), infer_graph.c (plans) and infer_ops.c (our operations). */
#ifndef MERIDIAN_COMPUTE_INFER_INNER_H
#define MERIDIAN_COMPUTE_INFER_INNER_H

#include "compute/cpu.h"
#include "compute/infer.h"
#include "compute/kernels.h"
#include "compute/kv.h"
#include "compute/weights.h"

#include <stdatomic.h>

#define INFER_MAX_GRAPHS 32u
#define INFER_OUT_ROWS   16u /* logits computed at a time */

/* One planned computation: a fixed number of rows, run again and again. */
struct graph {
    uint32_t n; /* rows, a multiple of 4 */
    struct ggml_context *ctx;
    struct ggml_cgraph *cgraph;
    ggml_backend_graph_plan_t plan;
};

/* Rows of one sequence next to each other, worked on together by attention. */
struct tile {
    uint32_t first, n; /* rows */
    const struct kv_seq *seq;
};

/* Up to three products of the same rows, by our own kernels. */
struct mul {
    struct infer *x;
    const struct weight *w[3];
    float *y[3]; /* [row][w's n_rows] */
    uint32_t n_w;
    const float *in;   /* [row][width] */
    const uint32_t *n; /* rows: of the batch, or wanted */
    bool rounds;       /* some of them take rounded columns */
    bool silu;         /* y[0] = silu(y[0]) * y[1] */
    atomic_uint next;  /* the next unit of work to take */
};

/* What our operations need to know of a block; ggml hands it back to them. */
struct block {
    struct infer *x;
    uint32_t i; /* within the span */
    const struct weights_block *w;
    atomic_uint next; /* attention: the next unit of work to take */
    struct mul qkv, o, gate_up, down;
};

/* The rows in hand. Everything is [max_rows] or more, allocated once. */
struct batch {
    uint32_t n; /* real rows; the graph's further rows are padding */
    const struct infer_row *rows;
    const float *in;
    float *out;
    struct kv_seq **seqs;
    uint32_t *lo, *hi; /* row sees positions [lo, hi) */
    float *cos, *sin;  /* [row][rope_dims / 2] */
    struct tile *tiles;
    uint32_t n_tiles;
    uint32_t *wanted; /* rows whose logits are wanted now */
    uint32_t n_wanted;
};

struct infer {
    const struct cpu *cpu;
    const struct kernels *k;
    struct model_params p;
    struct span span;
    struct infer_config cfg; /* no zeros left */
    struct weights w;
    struct kv kv;
    struct block *blocks;
    ggml_backend_t backend;
    ggml_threadpool_t pool;

    uint8_t *arena; /* activations; wiped at the end */
    uint64_t arena_size;
    ggml_backend_buffer_t arena_buffer;
    float *x;                      /* [max_rows][d] residual stream */
    float *normed;                 /* [max_rows][d] */
    float *delta;                  /* [max_rows][d] what a half block adds */
    float *q, *k_, *v, *a;         /* [max_rows][heads * head_dim] */
    float *gate, *up;              /* [max_rows][d_ff]; share memory with q, k, v, a */
    float *out_normed;             /* [INFER_OUT_ROWS][d] */
    float *logits;                 /* [INFER_OUT_ROWS][n_vocab] */
    struct matrix_columns columns; /* the rows in hand, rounded for our products */
    struct mul out_mul;
    float *scratch; /* [n_threads][scratch_stride] */
    float *nowhere; /* result of operations that have none */
    uint64_t scratch_stride;
    double *rope_steps;
    double rope_magnitude;

    struct batch batch;
    struct graph graphs[INFER_MAX_GRAPHS], out_graphs[INFER_MAX_GRAPHS]; /* rising n, 0 ends */
};

/* infer_graph.c */
int infer_graphs_init(struct infer *x, struct error *err);
void infer_graphs_done(struct infer *x);
uint64_t infer_graphs_bytes(const struct infer *x);
/* Runs the smallest graph that holds n rows. */
int infer_graph_run(struct infer *x, struct graph *graphs, uint32_t n);

/* infer_ops.c: operations in a graph (struct ggml_tensor *dst, thread ith of nth, user). */
typedef void infer_op(struct ggml_tensor *dst, int ith, int nth, void *user);
infer_op op_load;      /* x = in, or the tokens' embeddings; user: struct infer */
infer_op op_attn_norm; /* x += delta but in the first block; normed = norm(x); user: struct block */
infer_op op_prepare;   /* biases, norms, rotation; keys and values into the cache */
infer_op op_attend;
infer_op op_ffn_norm; /* x += delta; normed = norm(x) */
infer_op op_silu;     /* gate = silu(gate) * up */
infer_op op_leave;    /* x += delta, and to the caller without output; user: struct infer */
infer_op op_round;    /* columns = in; user: struct mul */
infer_op op_multiply; /* after op_round */
infer_op op_out_norm; /* out_normed = norm(x[wanted]) */

#endif
