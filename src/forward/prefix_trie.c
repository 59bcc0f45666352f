/* A path-compressed binary trie in one array; freed twigs are chained through child[0]. */
#include "forward/prefix_trie.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_CAP 8u

void prefix_trie_done(struct prefix_trie *t)
{
    free(t->twigs);
    *t = (struct prefix_trie){0};
}

/* Room for `need` (1, 2) more twigs. Moves them. */
static int reserve(struct prefix_trie *t, unsigned need)
{
    unsigned have = t->cap - t->n;
    for (uint32_t f = t->free; f && have < need; f = t->twigs[f].child[0])
        have++;
    if (t->cap && have >= need)
        return 0;
    uint32_t cap = t->cap ? 2 * t->cap : FIRST_CAP;
    struct prefix_twig *twigs = realloc(t->twigs, cap * sizeof(*twigs));
    if (!twigs)
        return -ENOMEM;
    t->twigs = twigs;
    t->cap = cap;
    if (t->n == 0)
        t->n = 1;
    return 0;
}

static uint32_t twig_new(struct prefix_trie *t, struct prefix_key key, unsigned len, uint32_t value)
{
    uint32_t i = t->free;
    if (i)
        t->free = t->twigs[i].child[0];
    else
        i = t->n++;
    assert(i < t->cap);
    t->twigs[i] = (struct prefix_twig){.key = key, .value = value, .len = (uint8_t)len};
    return i;
}

static void twig_free(struct prefix_trie *t, uint32_t i)
{
    t->twigs[i].child[0] = t->free;
    t->free = i;
}

/* How many of the first `most` bits agree. */
static unsigned common_bits(struct prefix_key a, struct prefix_key b, unsigned most)
{
    uint64_t hi = a.hi ^ b.hi, lo = a.lo ^ b.lo;
    unsigned n = hi ? (unsigned)__builtin_clzll(hi) : lo ? 64 + (unsigned)__builtin_clzll(lo) : 128;
    return n < most ? n : most;
}

static struct prefix_key key_cut(struct prefix_key k, unsigned len)
{
    if (len == 0)
        return (struct prefix_key){0, 0};
    if (len <= 64)
        return (struct prefix_key){k.hi & ~0ull << (64 - len), 0};
    return (struct prefix_key){k.hi, k.lo & ~0ull << (128 - len)};
}

/* Where a twig hangs: the root (above 0), or a child of the one above. */
static uint32_t *link_at(struct prefix_trie *t, uint32_t above, unsigned side)
{
    return above ? &t->twigs[above].child[side] : &t->root;
}

int prefix_trie_set(struct prefix_trie *t, struct prefix_key key, unsigned len, uint32_t value, uint32_t *ret_old)
{
    uint32_t above = 0, below;
    unsigned side = 0, common = 0;
    while ((below = *link_at(t, above, side))) {
        struct prefix_twig *w = &t->twigs[below];
        common = common_bits(w->key, key, w->len < len ? w->len : len);
        if (common < w->len)
            break;
        if (w->len == len) {
            *ret_old = w->value;
            t->prefixes += w->value == PREFIX_NONE;
            w->value = value;
            return 0;
        }
        above = below;
        side = prefix_key_bit(key, w->len);
    }
    bool branches = below && common < len;
    if (reserve(t, branches ? 2 : 1))
        return -ENOMEM;
    uint32_t fresh = twig_new(t, key, len, value), top = fresh;
    if (branches) {
        top = twig_new(t, key_cut(key, common), common, PREFIX_NONE);
        t->twigs[top].child[prefix_key_bit(key, common)] = fresh;
        t->twigs[top].child[!prefix_key_bit(key, common)] = below;
    } else if (below) { /* the new one lies above */
        t->twigs[fresh].child[prefix_key_bit(t->twigs[below].key, len)] = below;
    }
    *link_at(t, above, side) = top;
    t->prefixes++;
    *ret_old = PREFIX_NONE;
    return 0;
}

/* A twig without a value stays only while it branches. */
static void prune(struct prefix_trie *t, uint32_t *at)
{
    struct prefix_twig *w = &t->twigs[*at];
    if (w->value != PREFIX_NONE || (w->child[0] && w->child[1]))
        return;
    uint32_t gone = *at;
    *at = w->child[0] ? w->child[0] : w->child[1];
    twig_free(t, gone);
}

uint32_t prefix_trie_del(struct prefix_trie *t, struct prefix_key key, unsigned len)
{
    uint32_t *at = &t->root, *above = NULL;
    for (; *at; above = at, at = &t->twigs[*at].child[prefix_key_bit(key, t->twigs[*at].len)]) {
        struct prefix_twig *w = &t->twigs[*at];
        if (w->len > len || common_bits(w->key, key, w->len) < w->len)
            return PREFIX_NONE;
        if (w->len == len)
            break;
    }
    if (!*at || t->twigs[*at].value == PREFIX_NONE)
        return PREFIX_NONE;
    uint32_t old = t->twigs[*at].value;
    t->twigs[*at].value = PREFIX_NONE;
    t->prefixes--;
    prune(t, at);
    if (above)
        prune(t, above);
    return old;
}

uint32_t prefix_trie_get(const struct prefix_trie *t, struct prefix_key key, unsigned len)
{
    uint32_t value;
    uint32_t i = prefix_trie_below(t, key, len, &value, NULL);
    return i && t->twigs[i].len == len ? t->twigs[i].value : PREFIX_NONE;
}

uint32_t prefix_trie_below(
    const struct prefix_trie *t, struct prefix_key key, unsigned len, uint32_t *ret_value, unsigned *ret_len)
{
    uint32_t i = t->root;
    unsigned value_len = 0;
    *ret_value = PREFIX_NONE;
    for (; i; i = t->twigs[i].child[prefix_key_bit(key, t->twigs[i].len)]) {
        const struct prefix_twig *w = &t->twigs[i];
        unsigned least = w->len < len ? w->len : len;
        if (common_bits(w->key, key, least) < least) {
            i = 0;
            break;
        }
        if (w->len <= len && w->value != PREFIX_NONE) {
            *ret_value = w->value;
            value_len = w->len;
        }
        if (w->len >= len)
            break;
    }
    if (ret_len)
        *ret_len = value_len;
    return i;
}

/* At most 129 twigs lie above each other, so this recursion is shallow. */
static int each(const struct prefix_trie *t, uint32_t i,
    int (*visit)(void *user, struct prefix_key key, unsigned len, uint32_t value), void *user)
{
    if (!i)
        return 0;
    const struct prefix_twig *w = &t->twigs[i];
    int rc = w->value == PREFIX_NONE ? 0 : visit(user, w->key, w->len, w->value);
    if (!rc)
        rc = each(t, w->child[0], visit, user);
    return rc ? rc : each(t, w->child[1], visit, user);
}

int prefix_trie_each(const struct prefix_trie *t,
    int (*visit)(void *user, struct prefix_key key, unsigned len, uint32_t value), void *user)
{
    return each(t, t->root, visit, user);
}
