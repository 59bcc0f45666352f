/* Two passes over the span's tensors. The first decides for each matrix where it will live and adds up what must be
 * allocated, so that one allocation can be refused with one clear sentence; the second fills it.
 *
 * What our own kernels take is packed for them. Of the rest, a matrix is repacked when ggml says that its kernels take a product with this tensor from CPU_REPACK. What is not
 * repacked is used in the map, unless it lies there less aligned than ggml's kernels want. */
#include "compute/weights.h"

#include "compute/columns.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN 64u /* of every tensor that we place ourselves; ggml wants 32 */

enum place { PLACE_MAPPED, PLACE_COPIED, PLACE_REPACKED, PLACE_PACKED };

struct item {
    const struct gguf_tensor *from;
    struct weight *to;
    struct ggml_tensor *t;
    enum place place;
    uint64_t at; /* within its buffer */
};

struct loader {
    const struct cpu *cpu;
    const struct gguf_file *f;
    struct weights *w;
    struct item *items;
    uint32_t n_items;
    uint64_t copied, repacked, packed, n_floats; /* sizes */
    uint32_t n_threads;
    atomic_uint next; /* item to pack */
    bool place;       /* second pass over the floats */
    struct error *err;
};

static uint64_t align_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* A tensor of type and shape in an empty buffer of that kind, to ask about. */
static bool can_multiply(const struct cpu *cpu, ggml_backend_buffer_type_t kind, const struct gguf_tensor *from)
{
    struct ggml_init_params small = {.mem_size = 8 * ggml_tensor_overhead(), .no_alloc = true};
    struct ggml_context *ctx = ggml_init(small);
    ggml_backend_buffer_t none = ctx ? ggml_backend_buft_alloc_buffer(kind, 0) : NULL;
    bool can = false;
    if (none) {
        struct ggml_tensor *w = ggml_new_tensor_2d(ctx, from->type, from->ne[0], from->ne[1]);
        struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, from->ne[0], 4);
        w->buffer = none;
        can = ggml_backend_dev_supports_op(cpu->dev, ggml_mul_mat(ctx, w, x));
    }
    ggml_backend_buffer_free(none);
    ggml_free(ctx);
    return can;
}

/* Types whose blocks are made for activations, or that are no numbers, have no product. */
static bool is_weight_type(enum ggml_type type)
{
    if (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16)
        return true;
    return ggml_is_quantized(type) && type != GGML_TYPE_Q8_1 && type != GGML_TYPE_Q8_K;
}

/* One of ours. */
static int add_ours(struct loader *l, const struct gguf_tensor *from, struct weight *ret)
{
    uint32_t rows = (uint32_t)from->ne[1], width = (uint32_t)from->ne[0];
    uint64_t size = matrix_bytes(from->type, rows, width);
    ret->m = (struct matrix){.type = from->type, .n_rows = rows, .width = width};
    if (!matrix_packs(from->type)) {
        ret->m.data = from->data;
        l->w->bytes += from->size;
        return 0;
    }
    ret->m.tile_bytes = size / matrix_tiles(&ret->m);
    l->items[l->n_items++] = (struct item){.from = from, .to = ret, .place = PLACE_PACKED, .at = l->packed};
    l->packed += size;
    l->w->bytes += size;
    return 0;
}

static int load_matrix(struct loader *l, const char *name, struct weight *ret)
{
    const struct gguf_tensor *from = gguf_file_tensor(l->f, name);
    if (!from)
        return error_set(l->err, EINVAL, "%s: tensor %s is missing; this part of the model lies in another file",
            gguf_file_name(l->f), name);
    if (matrix_can(from->type, from->ne[1], from->ne[0]))
        return add_ours(l, from, ret);
    struct item *it = &l->items[l->n_items];
    bool repack = is_weight_type(from->type) && l->cpu->repack && can_multiply(l->cpu, l->cpu->repack, from);
    if (!repack && (!is_weight_type(from->type) || !can_multiply(l->cpu, l->cpu->plain, from)))
        return error_set(l->err, ENOTSUP, "%s: tensor %s is %s, which this machine cannot multiply; convert it to Q8_0",
            gguf_file_name(l->f), name, ggml_type_name(from->type));
    ret->least = columns_least(l->cpu, from->type, repack);
    if (!ret->least)
        return error_set(l->err, ENOTSUP,
            "%s: tensor %s: this ggml rounds products of type %s differently each time; convert it to Q8_0",
            gguf_file_name(l->f), name, ggml_type_name(from->type));
    l->w->most_least = ret->least > l->w->most_least ? ret->least : l->w->most_least;
    it->from = from;
    it->t = ggml_new_tensor_2d(l->w->ctx, from->type, from->ne[0], from->ne[1]);
    it->place = repack ? PLACE_REPACKED : (uintptr_t)from->data % 32 ? PLACE_COPIED : PLACE_MAPPED;
    ggml_set_name(it->t, name);
    uint64_t *total = repack ? &l->repacked : &l->copied;
    it->at = *total;
    if (it->place != PLACE_MAPPED)
        *total += align_up(ggml_nbytes(it->t));
    l->w->bytes += ggml_nbytes(it->t);
    l->n_items++;
    ret->t = it->t;
    return 0;
}

/* First pass: counts. Second: copies. */
static int load_floats(struct loader *l, const char *name, const float **ret)
{
    const struct gguf_tensor *from = gguf_file_tensor(l->f, name);
    if (!from || from->type != GGML_TYPE_F32)
        return error_set(l->err, EINVAL,
            "%s: tensor %s is missing or not F32; this part of the model lies in another file", gguf_file_name(l->f),
            name);
    if (l->place) {
        memcpy(l->w->floats + l->n_floats, from->data, from->size);
        *ret = l->w->floats + l->n_floats;
    }
    l->n_floats += align_up(from->size) / sizeof(float);
    return 0;
}

static int each_matrix(struct loader *l, const struct model_params *p, struct span span)
{
    for (uint32_t i = span.first; i < span.last; i++) {
        struct weights_block *b = &l->w->blocks[i - span.first];
        const struct {
            const char *name;
            struct weight *to;
        } all[] = {{"attn_q", &b->q}, {"attn_k", &b->k}, {"attn_v", &b->v}, {"attn_output", &b->o},
            {"ffn_gate", &b->gate}, {"ffn_up", &b->up}, {"ffn_down", &b->down}};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
            char name[GGML_MAX_NAME];
            snprintf(name, sizeof name, "blk.%" PRIu32 ".%s.weight", i, all[j].name);
            int rc = load_matrix(l, name, all[j].to);
            if (rc)
                return rc;
        }
    }
    return span.output ? load_matrix(l, p->tied ? "token_embd.weight" : "output.weight", &l->w->out) : 0;
}

static int block_floats(struct loader *l, const struct model_params *p, uint32_t i, struct weights_block *b)
{
    const struct {
        const char *name;
        bool there;
        const float **to;
    } all[] = {{"attn_norm.weight", true, &b->attn_norm}, {"ffn_norm.weight", true, &b->ffn_norm},
        {"attn_q.bias", p->qkv_bias, &b->q_bias}, {"attn_k.bias", p->qkv_bias, &b->k_bias},
        {"attn_v.bias", p->qkv_bias, &b->v_bias}, {"attn_q_norm.weight", p->qk_norm, &b->q_norm},
        {"attn_k_norm.weight", p->qk_norm, &b->k_norm}};
    for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
        char name[GGML_MAX_NAME];
        snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", i, all[j].name);
        int rc = all[j].there ? load_floats(l, name, all[j].to) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int each_floats(struct loader *l, const struct model_params *p, struct span span)
{
    l->n_floats = 0;
    int rc = 0;
    for (uint32_t i = span.first; i < span.last && !rc; i++)
        rc = block_floats(l, p, i, &l->w->blocks[i - span.first]);
    if (!rc && span.output)
        rc = load_floats(l, "output_norm.weight", &l->w->out_norm);
    if (!rc && p->rope_freqs && span.first < span.last)
        rc = load_floats(l, "rope_freqs.weight", &l->w->rope_freqs);
    return rc;
}

static int too_little(struct loader *l, uint64_t bytes)
{
    return error_set(l->err, ENOMEM,
        "%s: %.0f MB of memory are needed for its weights; free memory, use a smaller quantisation, or cut the model",
        gguf_file_name(l->f), (double)bytes / 1e6);
}

static ggml_backend_buffer_t keep(struct weights *w, ggml_backend_buffer_t buffer)
{
    if (buffer)
        w->buffers[w->n_buffers++] = buffer;
    return buffer;
}

static void fill(struct loader *l, struct item *it, ggml_backend_buffer_t buffer)
{
    ggml_backend_tensor_alloc(buffer, it->t, (uint8_t *)ggml_backend_buffer_get_base(buffer) + it->at);
    ggml_backend_tensor_set(it->t, it->from->data, 0, ggml_nbytes(it->t));
}

static ggml_backend_buffer_t allocate(struct loader *l, ggml_backend_buffer_type_t kind, uint64_t size)
{
    ggml_backend_buffer_t buffer = keep(l->w, ggml_backend_buft_alloc_buffer(kind, size + 2 * ALIGN));
    if (buffer) { /* fewer misses when decoding walks over all of it */
        uintptr_t at = (uintptr_t)ggml_backend_buffer_get_base(buffer), page = 4096;
        uintptr_t from = (at + page - 1) & ~(page - 1), to = (at + size) & ~(page - 1);
        if (from < to)
            madvise((void *)from, to - from, MADV_HUGEPAGE);
    }
    return buffer;
}

/* A thread that packs whatever nobody has taken yet. */
static void *pack_some(void *user)
{
    struct loader *l = user;
    for (uint32_t i; (i = atomic_fetch_add(&l->next, 1)) < l->n_items;) {
        struct item *it = &l->items[i];
        struct matrix *m = &it->to->m;
        if (it->place != PLACE_PACKED)
            continue;
        matrix_pack(m->type, m->n_rows, m->width, it->from->data, l->w->packed + it->at);
        m->data = l->w->packed + it->at;
    }
    return NULL;
}

static bool pack_all(struct loader *l)
{
    if (!l->packed)
        return true;
    void *mem = mmap(NULL, l->packed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        return false;
    madvise(mem, l->packed, MADV_HUGEPAGE); /* fewer misses when decoding walks over all of it */
    l->w->packed = mem;
    l->w->packed_size = l->packed;
    pthread_t threads[16];
    uint32_t n = 0, most = l->n_threads - 1 < 16 ? l->n_threads - 1 : 16;
    while (n < most && pthread_create(&threads[n], NULL, pack_some, l) == 0)
        n++;
    pack_some(l);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    return true;
}

static int place_all(struct loader *l)
{
    uint64_t need = l->copied + l->repacked + l->packed;
    uint64_t have = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (need > have)
        return too_little(l, need);
    ggml_backend_buffer_t copied = l->copied ? allocate(l, l->cpu->plain, l->copied) : NULL;
    ggml_backend_buffer_t repacked = l->repacked ? allocate(l, l->cpu->repack, l->repacked) : NULL;
    if ((l->copied && !copied) || (l->repacked && !repacked) || !pack_all(l))
        return too_little(l, need);
    for (uint32_t i = 0; i < l->n_items; i++) {
        struct item *it = &l->items[i];
        if (it->place == PLACE_PACKED)
            continue;
        if (it->place == PLACE_MAPPED) {
            void *data = (void *)(uintptr_t)it->from->data; /* never written */
            ggml_backend_buffer_t b = keep(l->w, ggml_backend_cpu_buffer_from_ptr(data, it->from->size));
            if (!b)
                return too_little(l, need);
            ggml_backend_tensor_alloc(b, it->t, data);
        } else {
            fill(l, it, it->place == PLACE_COPIED ? copied : repacked);
        }
    }
    return 0;
}

static int load_embedding(struct loader *l, struct span span)
{
    if (!span.embed)
        return 0;
    l->w->embed = gguf_file_tensor(l->f, "token_embd.weight");
    if (!l->w->embed)
        return error_set(
            l->err, EINVAL, "%s: has no embedding; this part of the model lies in another file", gguf_file_name(l->f));
    l->w->bytes += l->w->embed->size;
    return 0;
}

static int load_all(struct loader *l, const struct model_params *p, struct span span)
{
    int rc = load_embedding(l, span);
    if (!rc)
        rc = each_matrix(l, p, span);
    if (!rc)
        rc = each_floats(l, p, span);
    if (rc)
        return rc;
    l->w->floats = aligned_alloc(ALIGN, align_up(l->n_floats * sizeof(float) + 1));
    if (!l->w->floats)
        return too_little(l, l->n_floats * sizeof(float));
    l->w->bytes += l->n_floats * sizeof(float);
    l->place = true;
    each_floats(l, p, span);
    return place_all(l);
}

int weights_load(struct weights *ret, const struct cpu *cpu, const struct gguf_file *f, const struct model_params *p,
    struct span span, uint32_t n_threads, struct error *err)
{
    uint32_t n = 7 * (span.last - span.first) + 1;
    struct weights w = {0};
    struct ggml_init_params init = {.mem_size = (n + 1) * ggml_tensor_overhead(), .no_alloc = true};
    struct loader l = {.cpu = cpu, .f = f, .w = &w, .n_threads = n_threads, .err = err};
    w.ctx = ggml_init(init);
    w.blocks = calloc(span.last - span.first + 1, sizeof *w.blocks);
    w.buffers = calloc(n + 2, sizeof(*w.buffers));
    l.items = calloc(n, sizeof *l.items);
    int rc = w.ctx && w.blocks && w.buffers && l.items ? load_all(&l, p, span) : too_little(&l, 0);
    free(l.items);
    if (rc)
        weights_done(&w);
    else
        *ret = w;
    return rc;
}

void weights_done(struct weights *w)
{
    for (uint32_t i = 0; i < w->n_buffers; i++)
        ggml_backend_buffer_free(w->buffers[i]);
    ggml_free(w->ctx);
    free(w->buffers);
    free(w->blocks);
    free(w->floats);
    if (w->packed)
        munmap(w->packed, w->packed_size);
    *w = (struct weights){0};
}
