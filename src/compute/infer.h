/* Running a span of a model forward: head, middle, tail, or all of it. One owner, one thread at a time.
 *
 * Numerics never depend on company: a row's result is bit-identical whatever else is in the batch, however the rows
 * are chunked, wherever the model is cut (f32 vectors), and after truncation and replay; for one machine's kernels.
 * Nothing is allocated per row or per token after infer_create.
 *
 * Spans: blocks [first, last); `embed`: input is token ids; `output`: final norm and output matrix, result is logits.
 * Head = embed, blocks [0,h). Middle = blocks [h,n-t). Tail = blocks [n-t,n), output. Whole = everything. */
#ifndef MERIDIAN_COMPUTE_INFER_H
#define MERIDIAN_COMPUTE_INFER_H

#include "base/error.h"
#include "model/gguf_file.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

struct span {
    uint32_t first, last; /* blocks [first, last) */
    bool embed, output;
};

struct span span_whole(const struct model_params *p);
struct span span_head(const struct model_params *p); /* by p->cut, or of nothing cut: error in infer_create */
struct span span_middle(const struct model_params *p);
struct span span_tail(const struct model_params *p);

struct infer_config {
    uint32_t n_threads; /* 0: the machine's cores */
    uint32_t max_rows;  /* most rows in one infer_run; 0: 512. Larger calls are cut up inside */
    uint64_t kv_rows;   /* KV capacity in positions, summed over sequences (in all blocks of the span) */
    uint32_t max_seqs;  /* most sequences open at once; 0: 64 */
    bool kv_f32;        /* keys and values kept as f32 instead of f16 */
};

struct infer_row {
    int32_t seq;   /* from infer_seq_open */
    int32_t pos;   /* position in that sequence; must be the sequence's length so far (rows of one sequence in order) */
    int32_t token; /* with `embed`; checked against the vocabulary */
    bool want;     /* with `output`: logits of this row are wanted */
};

struct infer;

/* Loads the span's weights from `f` (which must stay open: unrepacked weights are used where they are mapped).
 * -ENOMEM says how much would be needed. */
int infer_create(struct infer **ret, const struct gguf_file *f, const struct model_params *p, struct span span,
    const struct infer_config *cfg, struct error *err);
void infer_free(struct infer *x); /* keys and values are wiped */

/* Admission: reserves room for n_ctx positions, in whole pages of 64 (kv_rows is rounded up to pages too). -ENOSPC when
 * it does not fit now, -E2BIG when it never will, -EINVAL for 0. */
int infer_seq_open(struct infer *x, uint32_t n_ctx, int32_t *ret_seq);
void infer_seq_close(struct infer *x, int32_t seq); /* wiped */
int32_t infer_seq_len(const struct infer *x, int32_t seq);
void infer_seq_truncate(struct infer *x, int32_t seq, int32_t len); /* forget positions >= len */

/* Runs rows of any mix of sequences. in: [n][d] f32 (NULL with `embed`); out: [n][d] f32, or with `output`
 * [number of rows with want][n_vocab] f32 in row order. -EINVAL (nothing run) for a row that does not fit: bad
 * sequence, position not next, beyond its n_ctx, token out of range. */
int infer_run(
    struct infer *x, const struct infer_row *rows, uint32_t n, const float *in, float *out, struct error *err);

struct infer_use {
    uint64_t weight_bytes, kv_bytes, work_bytes; /* resident, as allocated */
    uint64_t kv_rows_free;
    uint32_t seqs_open;
};
struct infer_use infer_use(const struct infer *x);

#endif
