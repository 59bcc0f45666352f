/* Entries that are matched in the text as they stand, before any cutting into words: control tokens where the caller
 * asks for them, and user-defined tokens always. Longer entries go before shorter ones, and each takes its leftmost
 * occurrences first, as llama.cpp and the tokenizers library do.
 *
 * One pass with a trie finds which entries occur at all; nearly always none does. */
#include "model/tokenizer_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_length(const void *a, const void *b, void *arg)
{
    const struct strtab_str *strs = ((const struct tokenizer *)arg)->strs.strs;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    uint32_t lx = strs[x].len, ly = strs[y].len;
    return lx != ly ? (lx < ly) - (lx > ly) : (x > y) - (x < y);
}

/* A user-defined entry of SPM that is written with U+2581 stands for spaces; it is no literal. */
static bool is_special(const struct tokenizer *t, uint32_t id)
{
    size_t len = t->strs.strs[id].len;
    if (t->spm && (t->attrs[id] & TOKEN_USER) && memmem(strtab_text(&t->strs, id), len, "\xe2\x96\x81", 3))
        return false;
    return len && (t->attrs[id] & (TOKEN_CONTROL | TOKEN_USER | TOKEN_UNKNOWN));
}

static uint32_t trie_child(struct tokenizer *t, uint32_t *link, uint8_t byte)
{
    while (*link && t->trie[*link].byte != byte)
        link = &t->trie[*link].next;
    if (!*link) {
        *link = t->n_trie;
        t->trie[t->n_trie++] = (struct trie_node){.byte = byte};
    }
    return *link;
}

static void trie_add(struct tokenizer *t, uint32_t special)
{
    int32_t id = t->specials[special];
    const uint8_t *s = (const uint8_t *)strtab_text(&t->strs, (uint32_t)id);
    uint32_t at = trie_child(t, &t->trie_root[s[0]], s[0]);
    for (uint32_t i = 1; i < t->strs.strs[id].len; i++)
        at = trie_child(t, &t->trie[at].child, s[i]);
    if (!t->trie[at].special)
        t->trie[at].special = special + 1;
}

int special_init(struct tokenizer *t)
{
    size_t bytes = 0, n = 0;
    for (uint32_t i = 0; i < t->n_vocab; i++)
        if (is_special(t, i)) {
            bytes += t->strs.strs[i].len;
            n++;
        }
    if (!n)
        return 0;
    t->specials = malloc(n * sizeof(*t->specials));
    t->trie = calloc(bytes + 1, sizeof(*t->trie)); /* node 0 is "none" */
    if (!t->specials || !t->trie)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->n_vocab; i++)
        if (is_special(t, i)) {
            t->specials[t->n_specials++] = (int32_t)i;
            t->attrs[i] |= TOKEN_LITERAL;
        }
    qsort_r(t->specials, n, sizeof(*t->specials), by_length, t);
    t->n_trie = 1;
    for (uint32_t i = 0; i < n; i++)
        trie_add(t, i);
    return 0;
}

static bool wanted(const struct tokenizer *t, int32_t id, unsigned flags)
{
    unsigned a = t->attrs[id];
    if ((a & (TOKEN_CONTROL | TOKEN_UNKNOWN)) && !(flags & TOKENIZER_SPECIAL))
        return false;
    return !((a & TOKEN_MARKUP) && (flags & TOKENIZER_CONTENT));
}

/* Marks in seen[] which entries occur; false: none that is wanted. */
static bool find_present(const struct tokenizer *t, const char *text, size_t len, unsigned flags, uint8_t *seen)
{
    bool any = false;
    for (size_t i = 0; i < len; i++) {
        uint32_t at = t->trie_root[(uint8_t)text[i]];
        for (size_t k = i + 1; at; k++) {
            uint32_t s = t->trie[at].special;
            if (s && !seen[s - 1] && wanted(t, t->specials[s - 1], flags))
                seen[s - 1] = any = true;
            if (k >= len)
                break;
            for (at = t->trie[at].child; at && t->trie[at].byte != (uint8_t)text[k];)
                at = t->trie[at].next;
        }
    }
    return any;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int add(struct buf *to, size_t off, size_t len, int32_t token)
{
    struct fragment f = {off, len, token};
    return len || token >= 0 ? buf_append(to, &f, sizeof(f)) : 0;
}

/* Cuts one text fragment at every occurrence of one entry. */
static int cut(const struct tokenizer *t, const char *text, struct fragment f, int32_t id, struct buf *to)
{
    const char *entry = strtab_text(&t->strs, (uint32_t)id), *hit;
    size_t entry_len = t->strs.strs[id].len;
    while (f.len >= entry_len && (hit = memmem(text + f.off, f.len, entry, entry_len))) {
        size_t before = (size_t)(hit - text) - f.off;
        int rc = add(to, f.off, before, -1);
        if (!rc)
            rc = add(to, f.off + before, entry_len, id);
        if (rc)
            return rc;
        f.off += before + entry_len;
        f.len -= before + entry_len;
        if (t->attrs[id] & TOKEN_RSTRIP)
            for (; f.len && is_space(text[f.off]); f.off++)
                f.len--;
    }
    return add(to, f.off, f.len, -1);
}

static int cut_all(const struct tokenizer *t, const char *text, int32_t id, struct buf *frags)
{
    struct buf next = {0};
    int rc = 0;
    for (size_t i = 0; !rc && i < frags->len / sizeof(struct fragment); i++) {
        struct fragment f = ((const struct fragment *)frags->data)[i];
        rc = f.token >= 0 ? add(&next, f.off, f.len, f.token) : cut(t, text, f, id, &next);
    }
    buf_done(frags);
    *frags = next;
    return rc;
}

int special_split(const struct tokenizer *t, const char *text, size_t len, unsigned flags, struct buf *ret)
{
    int rc = add(ret, 0, len, -1);
    if (rc || !t->n_specials)
        return rc;
    uint8_t *seen = calloc(t->n_specials, 1);
    if (!seen)
        return -ENOMEM;
    if (find_present(t, text, len, flags, seen))
        for (uint32_t i = 0; i < t->n_specials && !rc; i++)
            if (seen[i])
                rc = cut_all(t, text, t->specials[i], ret);
    free(seen);
    return rc;
}
