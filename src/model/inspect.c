#include "model/inspect.h"

#include "model/chat_template.h"
#include "model/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- facts ----------------------------------------------------------------------------------------------------------- */

/* A string of the file for a terminal: no control characters, cut where it is too long, UTF-8 kept. */
static void copy_text(const struct gguf_file *f, const char *key, char *to, size_t cap)
{
    struct gguf_str s;
    if (gguf_file_str(f, key, &s))
        return;
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    while (n && n < s.len && ((uint8_t)s.s[n] & 0xc0) == 0x80)
        n--; /* not inside a character */
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)s.s[i] < 0x20 || s.s[i] == 0x7f ? ' ' : s.s[i];
    to[n] = 0;
}

static void count_tensors(struct model_facts *r, const struct gguf_file *f)
{
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        r->n_weights += (uint64_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]);
        r->weight_bytes += t->size;
        r->types[t->type].n_tensors++;
        r->types[t->type].bytes += t->size;
    }
}

/* The vocabulary and the chat family; a problem goes into why_not. */
static void try_vocabulary(struct model_facts *r, const struct gguf_file *f)
{
    struct error err = {""};
    struct tokenizer *t = NULL;
    enum gguf_type type;
    enum chat_family family;
    (void)gguf_file_array(f, "tokenizer.ggml.tokens", &type, &r->n_tokens);
    if (tokenizer_open(&t, f, &err)) {
        r->runs = false;
        if (!r->why_not[0])
            snprintf(r->why_not, sizeof(r->why_not), "%s", err.text);
        return;
    }
    snprintf(r->chat, sizeof(r->chat), "%s", chat_family_of(&family, f, t, &err) ? "none" : chat_family_name(family));
    tokenizer_free(t);
}

int model_inspect(struct model_facts *ret, const struct gguf_file *f, struct error *err)
{
    struct model_facts r = {.file = f, .file_bytes = gguf_file_size(f), .chat = "none"};
    struct error why = {""};
    copy_text(f, "general.architecture", r.architecture, sizeof(r.architecture));
    copy_text(f, "general.name", r.name, sizeof(r.name));
    copy_text(f, "tokenizer.ggml.model", r.tokenizer, sizeof(r.tokenizer));
    copy_text(f, "tokenizer.ggml.pre", r.pre, sizeof(r.pre));
    count_tensors(&r, f);
    r.runs = !model_params_read(&r.params, f, &why);
    if (!r.runs)
        snprintf(r.why_not, sizeof(r.why_not), "%s", why.text);
    if (!r.runs || model_has_ends(&r.params))
        try_vocabulary(&r, f);
    *ret = r;
    return 0;
}

/* --- costs ----------------------------------------------------------------------------------------------------------- */

static int64_t block_of(const char *name)
{
    unsigned block;
    int end = 0;
    return sscanf(name, "blk.%5u.%n", &block, &end) == 1 && end ? (int64_t)block : -1;
}

/* Which side a tensor lies on under a cut, and how many multiplications it makes for a token. */
static void weigh(struct model_cut_cost *c, const struct model_params *p, const struct gguf_tensor *t, double work[2])
{
    int64_t block = block_of(t->name);
    bool cloud = block >= c->head && block < (int64_t)p->n_block - c->tail,
         freqs = !strcmp(t->name, "rope_freqs.weight");
    uint64_t *to = cloud ? &c->cloud_bytes : &c->edge_bytes;
    *to += t->size;
    if (freqs)
        c->cloud_bytes += t->size; /* both halves have it */
    bool looked_up = !strcmp(t->name, "token_embd.weight") && !p->tied;
    if (t->n_dims == 2 && !looked_up)
        work[cloud] += (double)t->ne[0] * (double)t->ne[1];
}

static void set_rows(struct model_cut_cost *c, const struct model_params *p)
{
    c->row_bytes[CUT_F32] = 4 + 4 * (uint64_t)p->d;
    c->row_bytes[CUT_F16] = 4 + 2 * (uint64_t)p->d;
    c->row_bytes[CUT_INT8] = 4 + p->d + 2 * (((uint64_t)p->d + 31) / 32);
}

int model_cut_cost(
    struct model_cut_cost *ret, const struct model_facts *facts, uint32_t head, uint32_t tail, struct error *err)
{
    const struct model_params *p = &facts->params;
    if (!facts->runs)
        return error_set(err, ENOTSUP, "%s", facts->why_not);
    if (p->cut.part != MODEL_WHOLE && (head != p->cut.head || tail != p->cut.tail))
        return error_set(
            err, EINVAL, "this file is already cut, at head %" PRIu32 " and tail %" PRIu32, p->cut.head, p->cut.tail);
    if (head > p->n_block || tail > p->n_block || head + tail >= p->n_block)
        return error_set(err, EINVAL,
            "a head of %" PRIu32 " and a tail of %" PRIu32 " leave no block for the cloud: the model has %" PRIu32,
            head, tail, p->n_block);
    struct model_cut_cost c = {.head = head, .tail = tail};
    double work[2] = {0, 0};
    for (size_t i = 0; i < gguf_file_n_tensors(facts->file); i++)
        weigh(&c, p, gguf_file_tensor_at(facts->file, i), work);
    if (p->cut.part == MODEL_CLOUD)
        c.edge_bytes = 0;
    if (p->cut.part == MODEL_EDGE)
        c.cloud_bytes = 0;
    uint64_t kv_block = 1024ull * 2 * 2 * p->n_head_kv * p->head_dim; /* keys and values, two bytes each */
    c.edge_kv = kv_block * (head + tail);
    c.cloud_kv = kv_block * (p->n_block - head - tail);
    c.edge_share = work[0] + work[1] > 0 ? work[0] / (work[0] + work[1]) : 0;
    set_rows(&c, p);
    *ret = c;
    return 0;
}

static void add_place(
    struct model_cut_place *ret, uint32_t *n, const struct model_params *p, uint32_t head, uint32_t tail)
{
    if (head + tail >= p->n_block || *n >= 8)
        return;
    for (uint32_t i = 0; i < *n; i++)
        if (ret[i].head == head && ret[i].tail == tail)
            return;
    ret[(*n)++] = (struct model_cut_place){head, tail};
}

uint32_t model_cut_candidates(const struct model_params *p, struct model_cut_place ret[8])
{
    uint32_t n = 0, blocks = p->n_block;
    if (p->cut.part != MODEL_WHOLE) {
        ret[0] = (struct model_cut_place){p->cut.head, p->cut.tail};
        return 1;
    }
    add_place(ret, &n, p, 1, 1);
    add_place(ret, &n, p, 2, 1);
    add_place(ret, &n, p, 2, 2);
    add_place(ret, &n, p, 4, 2);
    if (blocks >= 16) {
        add_place(ret, &n, p, blocks / 4, 2);
        add_place(ret, &n, p, blocks / 4, blocks / 8);
        add_place(ret, &n, p, blocks / 2, blocks / 8);
    }
    return n;
}

/* A micro-batch's rows go up after the head and, as gradients, after the tail; down after the middle and, as gradients,
 * to the head. */
struct model_train_bytes model_cut_train_bytes(
    const struct model_cut_cost *c, int codec, uint32_t rows, uint32_t n_micro, bool frozen_head)
{
    uint64_t once = c->row_bytes[codec] * rows * n_micro;
    return (struct model_train_bytes){2 * once, frozen_head ? once : 2 * once};
}
