/* Inside of training: what a `struct train` is made of. Only for src/compute/train*.c.
 *
 * All heavy work runs inside one OpenMP parallel region for each call; every function below that takes a `struct team`
 * is called by all threads of that region together, does this thread's share, and says whether it needs a barrier
 * before it. Row-wise work (norms, projections, SwiGLU) is cut by rows of the micro-batch, always the same rows for the
 * same thread, so whole chains of it run without a barrier; weight gradients are cut by rows of the weight; attention by
 * (sample, key head). Each thread calls single-threaded BLAS on its share. */
#ifndef MERIDIAN_COMPUTE_TRAIN_IMPL_H
#define MERIDIAN_COMPUTE_TRAIN_IMPL_H

#include "compute/train.h"
#include "compute/train_kernels.h"

enum { MAT_Q, MAT_K, MAT_V, MAT_O, MAT_GATE, MAT_UP, MAT_DOWN, N_MATS };

struct team {
    uint32_t id, n;
};

/* A matrix [n_out][n_in]; y = W x. Pointers into the arenas are NULL for what is not trained. */
struct mat {
    const struct gguf_tensor *t;
    uint32_t n_out, n_in;
    float *w, *g;           /* master copy and gradient */
    float *a, *ga, *b, *gb; /* adapter: A [rank][n_in], B [n_out][rank] */
};

/* A norm's weight or a bias. w is NULL where the model has none; g where it is not trained. */
struct vec {
    float *w, *g;
    uint32_t n;
};

struct block {
    struct mat m[N_MATS];
    struct vec norm1, norm2, qnorm, knorm, bias[3]; /* bias of q, k, v */
};

/* The F32 matrices of one block as they are used now: master copies, the mapped file, or scratch. */
struct block_w {
    const float *w[N_MATS];
};

/* What one block keeps between forward and backward; T = max_rows. */
struct block_save {
    float *h1, *inv1;  /* [T][d], [T]: norm of the input */
    float *qkv;        /* [T][nqkv], rotated */
    float *raw, *invq; /* [T][nq + nkv] before q/k norm, [T][n_head + n_head_kv]; only with qk_norm */
    float *lse;        /* [T][n_head] */
    float *att;        /* [T][nq] */
    float *mid;        /* [T][d]: input + attention */
    float *h2, *inv2;  /* [T][d], [T] */
    float *gu;         /* [T][2 d_ff] */
    float *xa[N_MATS]; /* [T][rank]: A x of the adapters */
};

/* The micro-batch in a slot. */
struct batch {
    uint32_t n_rows, n_samples;
    uint32_t *first; /* [n_samples + 1]: row at which each sample begins */
    uint32_t *pos;   /* [n_rows] position in its sample */
    uint32_t *order; /* [n_samples]: longest first, for even work */
};

enum slot_state { SLOT_FREE, SLOT_FORWARD, SLOT_LOSS };

struct slot {
    enum slot_state state;
    struct batch batch;
    int32_t *tokens;         /* [n_rows], with `embed` */
    float *x;                /* [n_blocks (+1 with output)][T][d]: input of each block, and what the last gives */
    float *dx;               /* [T][d]: gradient of the last block's output, with `output` */
    struct block_save *save; /* [n_blocks], or NULL with recompute */
};

struct part {
    struct span span;
    bool freeze, keeps; /* keeps: backward is possible, so activations are kept */
    uint32_t n_blocks, n_slots;
    struct block *blocks;
    struct slot *slots;
};

/* One trainable tensor in the arenas. */
struct param {
    char name[96];
    uint64_t off; /* floats */
    uint32_t n_out, n_in;
    bool decay;
    const struct gguf_tensor *t; /* where its first value comes from (NULL: an adapter) */
    uint64_t key;                /* of the noise that an adapter's A starts from; 0: zeros */
    float **w, **g;              /* where its user finds it */
};

/* Work space shared by all parts: T = max_rows. */
struct scratch {
    float *x2[2];       /* [T][d]: between blocks, forward (recompute or nothing kept) and backward */
    float *act, *dgu;   /* [T][d_ff], [T][2 d_ff] */
    float *datt, *dqkv; /* [T][nq], [T][nqkv] */
    float *dh, *dmid;   /* [T][d] */
    float *delta;       /* [T][n_head]: sum of datt * att */
    float *dxa[N_MATS]; /* [T][rank] */
    float *weights;     /* dequantised matrices of one block */
    float *thread;      /* [n_threads][thread_n] */
    uint64_t thread_n;
    float *part; /* [n_threads][part_n]: sums of norm gradients, one row for each thread */
    uint64_t part_n;
    struct block_save save; /* with recompute, or for parts that keep nothing */
    float *logits;          /* [loss_rows][n_vocab] */
    float *hn, *hinv;       /* [loss_rows][d], [loss_rows] */
    float *dhn;             /* [n_threads][loss_rows][d] */
    float *at_target;       /* [loss_rows]: logit of the target */
    uint32_t loss_rows;
    uint32_t *loss_idx;   /* [T] rows with a target */
    struct loss_top *top; /* [n_threads][loss_rows] */
};

struct train {
    const struct gguf_file *f;
    struct model_params p;
    struct train_config cfg;
    const struct train_kernels *k;
    uint32_t nq, nkv, nqkv; /* floats of q, k (or v), and all three, in a row */
    float lora_scale;
    uint32_t n_parts;
    struct part parts[TRAIN_MAX_PARTS];
    struct mat embed, output; /* tied: the same w and g */
    float *shared_g; /* tied: what the embedding adds, until the step. Head and tail take turns as answers come back:
                        only sums kept apart depend neither on how many micro-batches are in flight nor on the cut */
    struct vec out_norm;
    float *rope_cos, *rope_sin; /* [max_rows][rope_dims / 2] */
    struct param *params;
    uint32_t n_params, cap_params;
    uint64_t n_weights;   /* floats in each arena */
    float *w, *g, *m, *v; /* the arenas */
    struct scratch s;
    uint64_t bytes; /* allocated so far */
    uint64_t most_bytes;
    void **owned; /* what train_free frees */
    uint32_t n_owned, cap_owned;
    bool failed; /* an allocation failed */
};

/* --- train_optim.c ------------------------------------------------------------------------------------------------ */

void train_fold_shared(struct train *x); /* the head's share of a tied matrix's gradient to the tail's */

/* --- train_alloc.c: memory that train_free frees ----------------------------------------------------------------- */

/* n zeroed items, 64-byte aligned; NULL with x->failed set when there is no room. x->bytes counts on even then. */
void *train_alloc(struct train *x, uint64_t n, uint64_t size);
void train_alloc_done(struct train *x);
/* Slots and work space, once parts and blocks are known. */
void train_alloc_slots(struct train *x);
void train_alloc_scratch(struct train *x);

/* --- train_model.c: tensors of the file to parameters and frozen weights ------------------------------------------ */

int train_model_bind(struct train *x, struct error *err);
/* Rows [r0, r1) of a tensor as F32, wherever it is. */
void train_dequantise(const struct gguf_tensor *t, uint64_t r0, uint64_t r1, float *ret);
/* F32 rows in the file that can be used where they are; NULL when they cannot. */
const float *train_mapped(const struct gguf_tensor *t);
/* The block's matrices as F32. Has barriers inside when it must fill scratch. */
struct block_w train_block_weights(struct train *x, const struct block *b, struct team t);
/* Registers a trainable tensor; *w and *g point to it once all are known. from NULL: an adapter, from noise or zero. */
struct param *train_param_add(struct train *x, const char *name, const struct gguf_tensor *from, uint32_t n_out,
    uint32_t n_in, float **w, float **g);

/* --- train_linear.c: one or more matrices with a common input, with their adapters --------------------------------- */

/* Matrices [first, first + n) of a block, whose outputs lie side by side. */
struct linear {
    const struct train *x;
    const struct block *b;
    const struct block_w *w;
    uint32_t first, n;
    float *const *xa, *const *dxa; /* [N_MATS]: A x, and its gradient */
};

/* y [r0..r1) (+)= W x. Own rows only, no barrier. */
void linear_forward(
    const struct linear *l, const float *in, size_t ldi, float *out, size_t ldo, bool add, uint32_t r0, uint32_t r1);
/* din = W^T dout. Own rows only, no barrier. */
void linear_back_in(
    const struct linear *l, const float *dout, size_t ldo, float *din, size_t ldi, uint32_t r0, uint32_t r1);
/* Gradients of the weights or adapters over all rows: dout and dxa must be whole (barrier before). */
void linear_back_w(
    const struct linear *l, const float *dout, size_t ldo, const float *in, size_t ldi, uint32_t rows, struct team t);

/* Row-major sgemm, single-threaded: y[m][n] (+)= x[m][k] w[n][k]^T; dx[m][k] (+)= dy[m][n] w[n][k];
 * dw[n][k] += by * dy[m][n]^T x[m][k]. */
void mm_forward(size_t m, size_t n, size_t k, float by, const float *x, size_t ldx, const float *w, size_t ldw,
    float *y, size_t ldy, bool add);
void mm_back_in(size_t m, size_t n, size_t k, float by, const float *dy, size_t ldy, const float *w, size_t ldw,
    float *dx, size_t ldx, bool add);
void mm_back_w(size_t m, size_t n, size_t k, float by, const float *dy, size_t ldy, const float *x, size_t ldx,
    float *dw, size_t ldw);

/* This thread's share [ret[0], ret[1]) of n things, in multiples of `unit`. */
static inline uint32_t team_cut(uint32_t n, uint32_t unit, uint32_t id, uint32_t of)
{
    uint64_t at = ((uint64_t)n * id / of + unit / 2) / unit * unit;
    return id == of || at > n ? n : (uint32_t)at;
}

/* --- train_attention.c, train_block.c, train_loss.c ---------------------------------------------------------------- */

/* Floats of work space one thread needs. */
uint64_t attention_thread_floats(const struct train *x);
/* Barrier before; ends with one. att and lse from qkv. */
void attention_forward(const struct train *x, const struct batch *b, struct block_save *s, struct team t);
/* Barrier before; ends with one. dqkv (of rotated q and k) from datt and delta. */
void attention_backward(const struct train *x, const struct batch *b, const struct block_save *s, struct team t);

/* Row-wise at both ends: in and out need no barrier if the neighbours are row-wise too. */
void block_forward(struct train *x, const struct block *b, const struct block_w *w, const struct batch *batch,
    struct block_save *s, const float *in, float *out, struct team t);
/* dx_in may be NULL (nobody wants it). Ends with a barrier. dout and din: [T][d]. */
void block_backward(struct train *x, const struct block *b, const struct block_w *w, const struct batch *batch,
    struct block_save *s, const float *in, const float *dout, float *din, struct team t);

struct loss_top { /* of one row in one thread's slice of the vocabulary */
    float max;
    uint32_t at;
    double sum;
};

/* Rows of logits held at once, and floats of work space one thread needs. */
uint32_t loss_rows(const struct train *x);
uint64_t loss_thread_floats(const struct train *x);
void loss_forward(struct train *x, const struct slot *s, const float *last, const int32_t *targets, bool only_eval,
    struct train_loss *ret);

/* --- train_lora.c ------------------------------------------------------------------------------------------------ */

/* Registers the adapters that the configuration wants on a block's matrices. */
void lora_add(struct train *x, uint32_t block, struct mat m[N_MATS]);

#endif
