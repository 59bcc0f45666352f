/* Where keys and values are kept: pages of KV_PAGE positions, reserved for a sequence when it is opened, wiped when it
 * is closed. Memory is taken from the system as it is first touched, and kept out of core dumps. */
#ifndef MERIDIAN_COMPUTE_KV_H
#define MERIDIAN_COMPUTE_KV_H

#include "base/error.h"
#include "compute/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv_seq {
    bool open;
    uint32_t n_ctx, len;
    uint32_t high;    /* most positions ever written: what must be wiped */
    uint32_t *pages;  /* [ceil(n_ctx / KV_PAGE)], the sequence's own */
    uint32_t pending; /* rows of the call being checked */
};

struct kv {
    uint8_t *mem; /* [block][page][kv head] of head_bytes */
    uint64_t size;
    uint64_t head_bytes, page_bytes, block_bytes;
    uint32_t n_blocks, n_pages, n_free, max_seqs, n_open;
    uint32_t *free_pages; /* stack of n_free page numbers */
    struct kv_seq *seqs;  /* [max_seqs] */
};

/* rows: positions, rounded up to whole pages. -ENOMEM says how much. */
int kv_init(struct kv *ret, uint32_t n_blocks, uint32_t n_head_kv, uint32_t head_dim, bool f32, uint64_t rows,
    uint32_t max_seqs, struct error *err);
void kv_done(struct kv *kv); /* wiped; {0} allowed */

int kv_open(struct kv *kv, uint32_t n_ctx, int32_t *ret_seq); /* as infer_seq_open */
void kv_close(struct kv *kv, int32_t seq);
struct kv_seq *kv_find(const struct kv *kv, int32_t seq); /* NULL: no such open sequence */

#endif
