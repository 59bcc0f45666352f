/* Merging neighbours: the pair with the lowest rank first, the leftmost of equals, until no pair is in the rules.
 *
 * Short words (nearly all) look at all pairs again after each merge: n is small and nothing is allocated. Long ones
 * (a page without a space) keep the pairs in a heap; an entry whose symbols have changed since is recognised by the
 * length it would have merged, and dropped. Both give the same result. */
#include "model/tokenizer_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_WORD 24

void merger_done(struct merger *m)
{
    free(m->syms);
    free(m->heap);
    *m = (struct merger){0};
}

int merger_push(struct merger *m, uint32_t str, size_t off, size_t len)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        struct symbol *syms = cap < UINT32_MAX ? realloc(m->syms, cap * sizeof(*syms)) : NULL;
        if (!syms)
            return -ENOMEM;
        m->syms = syms;
        m->cap = cap;
    }
    uint32_t i = (uint32_t)m->n++;
    m->syms[i] = (struct symbol){str, (uint32_t)off, (uint32_t)len, i ? i - 1 : SYMBOL_NONE, SYMBOL_NONE};
    if (i)
        m->syms[i - 1].next = i;
    return 0;
}

static void link_out(struct merger *m, uint32_t left, uint32_t str)
{
    struct symbol *l = &m->syms[left], *r = &m->syms[l->next];
    l->str = str;
    l->len += r->len;
    r->len = 0;
    l->next = r->next;
    if (l->next != SYMBOL_NONE)
        m->syms[l->next].prev = left;
}

static void run_short(struct merger *m, const struct tokenizer *t, const char *word, merge_rule rule)
{
    struct merge_to to[SHORT_WORD]; /* to[i]: symbol i with the one after it */
    for (uint32_t i = 0; i + 1 < m->n; i++)
        to[i] = rule(t, word, &m->syms[i], &m->syms[i + 1]);
    for (;;) {
        uint32_t best = SYMBOL_NONE, rank = UINT32_MAX;
        for (uint32_t i = 0; m->syms[i].next != SYMBOL_NONE; i = m->syms[i].next)
            if (to[i].rank < rank) {
                best = i;
                rank = to[i].rank;
            }
        if (best == SYMBOL_NONE)
            return;
        link_out(m, best, to[best].str);
        uint32_t next = m->syms[best].next, prev = m->syms[best].prev;
        if (next != SYMBOL_NONE)
            to[best] = rule(t, word, &m->syms[best], &m->syms[next]);
        if (prev != SYMBOL_NONE)
            to[prev] = rule(t, word, &m->syms[prev], &m->syms[best]);
    }
}

static bool item_before(const struct merge_item *a, const struct merge_item *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->left < b->left);
}

static int heap_push(struct merger *m, struct merge_item item)
{
    if (m->heap_n == m->heap_cap) {
        size_t cap = m->heap_cap ? m->heap_cap * 2 : 256;
        struct merge_item *heap = realloc(m->heap, cap * sizeof(*heap));
        if (!heap)
            return -ENOMEM;
        m->heap = heap;
        m->heap_cap = cap;
    }
    size_t i = m->heap_n++;
    for (; i > 0 && item_before(&item, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = item;
    return 0;
}

static struct merge_item heap_pop(struct merger *m)
{
    struct merge_item top = m->heap[0], last = m->heap[--m->heap_n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < m->heap_n; i = c) {
        if (c + 1 < m->heap_n && item_before(&m->heap[c + 1], &m->heap[c]))
            c++;
        if (!item_before(&m->heap[c], &last))
            break;
        m->heap[i] = m->heap[c];
    }
    m->heap[i] = last;
    return top;
}

static int consider(struct merger *m, const struct tokenizer *t, const char *word, merge_rule rule, uint32_t left)
{
    const struct symbol *l = &m->syms[left];
    if (l->next == SYMBOL_NONE)
        return 0;
    struct merge_to to = rule(t, word, l, &m->syms[l->next]);
    if (to.rank == UINT32_MAX)
        return 0;
    return heap_push(m, (struct merge_item){to.rank, left, l->len + m->syms[l->next].len, to.str});
}

static int run_long(struct merger *m, const struct tokenizer *t, const char *word, merge_rule rule)
{
    int rc = 0;
    m->heap_n = 0;
    for (uint32_t i = 0; !rc && i + 1 < m->n; i++)
        rc = consider(m, t, word, rule, i);
    while (!rc && m->heap_n) {
        struct merge_item item = heap_pop(m);
        const struct symbol *l = &m->syms[item.left];
        if (!l->len || l->next == SYMBOL_NONE || l->len + m->syms[l->next].len != item.len)
            continue;
        link_out(m, item.left, item.str);
        rc = consider(m, t, word, rule, item.left);
        if (!rc && l->prev != SYMBOL_NONE)
            rc = consider(m, t, word, rule, l->prev);
    }
    return rc;
}

int merger_run(struct merger *m, const struct tokenizer *t, const char *word, merge_rule rule)
{
    if (m->n > SHORT_WORD)
        return run_long(m, t, word, rule);
    if (m->n > 1)
        run_short(m, t, word, rule);
    return 0;
}
