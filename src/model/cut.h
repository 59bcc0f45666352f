/* Cutting a model in two files and putting it together again.
 *
 * The edge half holds what must stay on campus: vocabulary, embedding, blocks [0,head) and [n-tail,n), final norm,
 * output matrix, and every key of the original. The cloud half holds blocks [head,n-tail) under their original names
 * (blk.N with N of the whole) and only the numbers that computing them needs: no vocabulary, no name, author or source,
 * no chat template, nothing that tells tokens. rope_freqs.weight (a constant of the architecture) is in both.
 *
 * Both carry meridian.cut.part ("edge", "cloud"), .id (64 hex digits), .head, .tail (u32), .step (u64) and .run (32 hex
 * digits); the edge also .tensors, the original's order, so that merging gives the original file back, byte for byte
 * where it was written the usual way.
 *
 * The id is SHA-256 over every tensor (name, type, shape, data), the numbers that the cloud half keeps, head and tail:
 * two cuts of the same weights at the same places are the same cut, whatever the file was called. */
#ifndef MERIDIAN_MODEL_CUT_H
#define MERIDIAN_MODEL_CUT_H

#include "base/error.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

struct model_split {
    uint32_t head, tail; /* blocks on campus at each end; at least one stays in the middle */
    bool bare;           /* allow 0: bare embeddings (head 0) give the tokens away, tail 0 gives the answers away */
    const char *edge_path, *cloud_path;
};

/* Writes both halves. *ret_cut (may be NULL): the cut as the edge half carries it. -EINVAL: a cut that leaves nothing in
 * the middle, a file that is already a half, an output that would replace the input or the other output. Either both
 * files are written or neither (an older edge half that was replaced is gone). */
int model_split(const struct gguf_file *f, const struct model_split *split, struct model_cut *ret_cut,
    const struct gguf_progress *progress, struct error *err);

/* The whole model again, with the weights that the halves hold now. Halves of different cuts, steps or runs are refused
 * by name. */
int model_merge(const struct gguf_file *edge, const struct gguf_file *cloud, const char *path,
    const struct gguf_progress *progress, struct error *err);

/* Sets meridian.cut.part, id, head, tail, step and run; drops them all (and .tensors) for a whole model. */
void model_cut_write(struct gguf_write *w, const struct model_cut *cut);

/* The cut that a file says it belongs to; part MODEL_WHOLE for a file that says nothing. */
int model_cut_read(struct model_cut *ret, const struct gguf_file *f, struct error *err);

/* True when both paths name the same existing file. */
bool model_same_file(const char *a, const char *b);

#endif
