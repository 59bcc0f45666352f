/* Byte-level BPE. A word is its bytes, each written as the character that stands for it (byte_char_of), and the
 * merges of the file join neighbours, lowest rank first.
 *
 * All strings that merges name are numbered once, so that merging compares numbers: a table from (left, right) to
 * (rank, merged). Merges may build strings that are no tokens; those fall back to the tokens of their bytes. */
#include "model/tokenizer_inner.h"

#include "base/rng.h"
#include "model/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct pair_slot *pair_slot_of(const struct tokenizer *t, uint32_t left, uint32_t right)
{
    uint64_t h = rng_mix((uint64_t)left << 32 | right);
    struct pair_slot *s = &t->pairs[h & t->pair_mask];
    while (s->rank != UINT32_MAX && (s->left != left || s->right != right))
        s = &t->pairs[++h & t->pair_mask];
    return s;
}

/* "left right": the space is the first one after at least one byte of left. */
static int add_merge(struct tokenizer *t, struct gguf_str m, uint32_t rank, struct buf *scratch)
{
    const char *space = m.len > 2 ? memchr(m.s + 1, ' ', m.len - 1) : NULL;
    size_t left_len = space ? (size_t)(space - m.s) : 0, right_len = space ? m.len - left_len - 1 : 0;
    if (!right_len)
        return 0; /* nothing this merge could ever join */
    struct pair_slot p = {.rank = rank};
    int rc = strtab_intern(&t->strs, m.s, left_len, &p.left);
    if (!rc)
        rc = strtab_intern(&t->strs, space + 1, right_len, &p.right);
    scratch->len = 0;
    if (!rc)
        rc = buf_append(scratch, m.s, left_len);
    if (!rc)
        rc = buf_append(scratch, space + 1, right_len);
    if (!rc)
        rc = strtab_intern(&t->strs, (const char *)scratch->data, scratch->len, &p.merged);
    if (rc)
        return rc;
    struct pair_slot *s = pair_slot_of(t, p.left, p.right);
    if (s->rank == UINT32_MAX)
        *s = p; /* of two equal merges the first counts */
    if (p.merged < t->n_vocab)
        t->attrs[p.merged] |= TOKEN_MERGED;
    return 0;
}

static int read_merges(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    enum gguf_type type;
    uint64_t n;
    if (gguf_file_array(f, "tokenizer.ggml.merges", &type, &n) || type != GGUF_TYPE_STRING)
        return error_set(
            err, EINVAL, "%s: tokenizer.ggml.merges is missing or not a list of strings", gguf_file_name(f));
    if (n > UINT32_MAX / 8)
        return error_set(err, EFBIG, "%s: %llu merges are too many", gguf_file_name(f), (unsigned long long)n);
    uint32_t slots = 2;
    while (slots < 2 * n)
        slots *= 2;
    t->pairs = malloc(slots * sizeof(*t->pairs));
    if (!t->pairs)
        return error_set(err, ENOMEM, "no memory for %u merges", (unsigned)n);
    t->pair_mask = slots - 1;
    memset(t->pairs, 0xff, slots * sizeof(*t->pairs));
    struct buf scratch = {0};
    int rc = 0;
    for (uint64_t i = 0; !rc && i < n; i++) {
        struct gguf_str m;
        rc = gguf_file_array_str(f, "tokenizer.ggml.merges", i, &m);
        if (!rc)
            rc = add_merge(t, m, (uint32_t)i, &scratch);
    }
    buf_done(&scratch);
    return rc ? error_set(err, -rc, "%s: the merges cannot be read (%s)", gguf_file_name(f), strerror(-rc)) : 0;
}

/* User-defined entries are written as they stand, not byte-level: "õ" among them is no name of the byte 0xF5. */
static bool is_text(const struct tokenizer *t, uint32_t str)
{
    return str < t->n_vocab && !(t->attrs[str] & (TOKEN_CONTROL | TOKEN_UNKNOWN | TOKEN_USER));
}

int bpe_init(struct tokenizer *t, const struct gguf_file *f, struct error *err)
{
    int rc = read_merges(t, f, err);
    if (rc)
        return rc;
    for (int b = 0; b < 256; b++) {
        char s[4];
        size_t len = utf8_put(s, byte_char_of((uint8_t)b));
        rc = strtab_intern(&t->strs, s, len, &t->byte_str[b]);
        if (rc)
            return error_set(err, -rc, "no memory for the vocabulary");
        t->byte_id[b] = is_text(t, t->byte_str[b]) ? (int32_t)t->byte_str[b] : -1;
    }
    return 0;
}

static struct merge_to bpe_rule(
    const struct tokenizer *t, const char *word, const struct symbol *l, const struct symbol *r)
{
    const struct pair_slot *s = pair_slot_of(t, l->str, r->str);
    return (struct merge_to){s->rank, s->merged};
}

/* The word as it stands, when it is a token (ignore_merges). */
static bool whole_word(struct encoder *e, const char *word, size_t len)
{
    e->word.len = 0;
    for (size_t i = 0; i < len; i++) {
        char s[4];
        int rc = buf_append(&e->word, s, utf8_put(s, byte_char_of((uint8_t)word[i])));
        if (rc) {
            e->rc = rc;
            return true;
        }
    }
    uint32_t str = strtab_find(&e->t->strs, (const char *)e->word.data, e->word.len);
    if (!is_text(e->t, str))
        return false;
    encoder_emit(e, (int32_t)str);
    return true;
}

void bpe_word(struct encoder *e, const char *word, size_t len)
{
    const struct tokenizer *t = e->t;
    if (t->ignore_merges && whole_word(e, word, len))
        return;
    e->merger.n = 0;
    for (size_t i = 0; i < len && !e->rc; i++)
        e->rc = merger_push(&e->merger, t->byte_str[(uint8_t)word[i]], i, 1);
    if (!e->rc)
        e->rc = merger_run(&e->merger, t, word, bpe_rule);
    for (uint32_t i = 0; i != SYMBOL_NONE && !e->rc; i = e->merger.syms[i].next) {
        const struct symbol *s = &e->merger.syms[i];
        if (is_text(t, s->str))
            encoder_emit(e, (int32_t)s->str);
        else
            encoder_emit_bytes(e, word + s->off, s->len);
    }
}

uint32_t byte_char_of(uint8_t b)
{
    if ((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad))
        return b;
    return b <= 0x20 ? 0x100u + b : b == 0xad ? 0x143 : 0x121u + (b - 0x7f);
}

int byte_of_char(uint32_t c)
{
    if (c < 0x100)
        return byte_char_of((uint8_t)c) == c ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}
