/* Pages, so that sequences of any length come and go without gaps; reserved whole at opening, so that an admitted
 * sequence never runs out half way. */
#include "compute/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint32_t pages_for(uint64_t rows)
{
    return (uint32_t)((rows + KV_PAGE - 1) / KV_PAGE);
}

static int no_memory(uint64_t bytes, struct error *err)
{
    return error_set(err, ENOMEM, "no memory for %.1f MB of keys and values; lower the number of positions kept",
        (double)bytes / 1e6);
}

int kv_init(struct kv *ret, uint32_t n_blocks, uint32_t n_head_kv, uint32_t head_dim, bool f32, uint64_t rows,
    uint32_t max_seqs, struct error *err)
{
    if (rows > (uint64_t)INT32_MAX)
        return error_set(
            err, EINVAL, "at most %d positions can be kept, not %llu", INT32_MAX, (unsigned long long)rows);
    struct kv kv = {.n_blocks = n_blocks, .max_seqs = max_seqs, .n_pages = pages_for(rows ? rows : 1)};
    kv.head_bytes = 2ull * KV_PAGE * head_dim * (f32 ? 4 : 2);
    kv.page_bytes = kv.head_bytes * n_head_kv;
    kv.block_bytes = kv.page_bytes * kv.n_pages;
    kv.size = kv.block_bytes * n_blocks;
    kv.n_free = kv.n_pages;
    kv.free_pages = malloc(kv.n_pages * sizeof *kv.free_pages);
    kv.seqs = calloc(max_seqs, sizeof *kv.seqs);
    if (!kv.free_pages || !kv.seqs)
        goto fail;
    for (uint32_t i = 0; i < kv.n_pages; i++)
        kv.free_pages[i] = kv.n_pages - 1 - i;
    if (kv.size) { /* a span without blocks keeps nothing */
        void *mem = mmap(NULL, kv.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (mem == MAP_FAILED)
            goto fail;
        madvise(mem, kv.size, MADV_DONTDUMP);
        kv.mem = mem;
    }
    *ret = kv;
    return 0;
fail:
    free(kv.free_pages);
    free(kv.seqs);
    return no_memory(kv.size, err);
}

void kv_done(struct kv *kv)
{
    for (uint32_t i = 0; kv->seqs && i < kv->max_seqs; i++)
        kv_close(kv, (int32_t)i);
    if (kv->mem)
        munmap(kv->mem, kv->size);
    free(kv->free_pages);
    free(kv->seqs);
    *kv = (struct kv){0};
}

int kv_open(struct kv *kv, uint32_t n_ctx, int32_t *ret_seq)
{
    uint32_t need = pages_for(n_ctx), slot = 0;
    if (n_ctx == 0)
        return -EINVAL;
    if (need > kv->n_pages)
        return -E2BIG;
    while (slot < kv->max_seqs && kv->seqs[slot].open)
        slot++;
    if (slot == kv->max_seqs || need > kv->n_free)
        return -ENOSPC;
    uint32_t *pages = malloc(need * sizeof *pages);
    if (!pages)
        return -ENOMEM;
    for (uint32_t i = 0; i < need; i++)
        pages[i] = kv->free_pages[--kv->n_free];
    kv->seqs[slot] = (struct kv_seq){.open = true, .n_ctx = n_ctx, .pages = pages};
    kv->n_open++;
    *ret_seq = (int32_t)slot;
    return 0;
}

void kv_close(struct kv *kv, int32_t seq)
{
    struct kv_seq *s = kv_find(kv, seq);
    if (!s)
        return;
    uint32_t used = pages_for(s->high), all = pages_for(s->n_ctx);
    for (uint32_t b = 0; b < kv->n_blocks; b++)
        for (uint32_t i = 0; i < used; i++)
            memset(kv->mem + b * kv->block_bytes + s->pages[i] * kv->page_bytes, 0, kv->page_bytes);
    for (uint32_t i = all; i-- > 0;)
        kv->free_pages[kv->n_free++] = s->pages[i];
    free(s->pages);
    *s = (struct kv_seq){0};
    kv->n_open--;
}

struct kv_seq *kv_find(const struct kv *kv, int32_t seq)
{
    if (seq < 0 || (uint32_t)seq >= kv->max_seqs || !kv->seqs[seq].open)
        return NULL;
    return &kv->seqs[seq];
}
