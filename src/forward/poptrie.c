/* Building and updating a poptrie.
 *
 * A node at depth `bit` stands for all prefixes longer than that below one slot of its parent: in the trie beside, the
 * twig `below`. It skips to where that twig branches (at most 63 bits), then its 64 slots are the next six bits. A slot is
 * a leaf if no prefix is longer than the slot's own depth, else a child. Leaves carry the longest match so far.
 *
 * An update: 1. changes the trie beside; 2. walks down while the path's child keeps its skip and the prefix is longer than
 * the child's depth: nothing above changes; 3. in that node builds the slots that the prefix covers anew, keeps the others,
 * and puts the new arrays in place; 4. frees the old ones. Memory is taken in 3 only: when there is none, 1 is undone. */
#include "forward/poptrie.h"

#include "wire/ip_text.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STRIDE    6u
#define SKIP_MOST 63u
#define POOL_CAP  16u

/* --- runs of items ------------------------------------------------------------------------------------------ */

static unsigned run_class(unsigned n)
{
    return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

static void *pool_at(const struct poptrie_pool *p, uint32_t i)
{
    return (uint8_t *)p->items + (size_t)i * p->item_size;
}

/* A run for n items (1 to 64); its index in *ret. Pointers into the pool are not valid afterwards. */
static int run_take(struct poptrie_pool *p, unsigned n, uint32_t *ret)
{
    unsigned c = run_class(n), size = 1u << c;
    if (p->free[c]) {
        *ret = p->free[c] - 1;
        memcpy(&p->free[c], pool_at(p, *ret), sizeof(uint32_t));
        p->used += size;
        return 0;
    }
    if (p->cap - p->n < size) {
        uint32_t cap = p->cap ? p->cap : POOL_CAP;
        while (cap - p->n < size)
            cap *= 2;
        void *items = realloc(p->items, (size_t)cap * p->item_size);
        if (!items)
            return -ENOMEM;
        p->items = items;
        p->cap = cap;
    }
    *ret = p->n;
    p->n += size;
    p->used += size;
    return 0;
}

static void run_give(struct poptrie_pool *p, uint32_t i, unsigned n)
{
    if (n == 0)
        return;
    unsigned c = run_class(n);
    memcpy(pool_at(p, i), &p->free[c], sizeof(uint32_t));
    p->free[c] = i + 1;
    p->used -= 1u << c;
}

static unsigned count(uint64_t bits)
{
    return (unsigned)__builtin_popcountll(bits);
}

static struct poptrie_node *node_at(const struct poptrie *t, uint32_t i)
{
    return pool_at(&t->nodes, i);
}

static void node_release(struct poptrie *t, const struct poptrie_node *n)
{
    for (unsigned i = 0; i < count(n->inner); i++)
        node_release(t, node_at(t, n->nodes + i));
    run_give(&t->nodes, n->nodes, count(n->inner));
    run_give(&t->leaves, n->leaves, count(n->starts));
}

/* --- the plan of a node ------------------------------------------------------------------------------------- */

struct plan {
    uint32_t value[POPTRIE_WAYS]; /* longest match down to the slot's depth */
    uint32_t below[POPTRIE_WAYS]; /* twig of the longer prefixes of a slot; 0: it is a leaf */
};

/* Where the prefixes below twig `i` branch: a twig at depth `bit` itself says nothing more than its value, which the
 * slot already has. */
static uint32_t twig_past(const struct prefix_trie *p, uint32_t i, unsigned bit)
{
    if (i == 0 || p->twigs[i].len > bit)
        return i;
    const uint32_t *child = p->twigs[i].child;
    return child[0] && child[1] ? i : child[0] ? child[0] : child[1];
}

/* Slots [lo, lo + n) of the plan lie below twig `i`; they begin at depth `bit`. */
static void plan_fill(
    struct plan *plan, const struct prefix_trie *p, uint32_t i, unsigned bit, unsigned lo, unsigned n, uint32_t value)
{
    const struct prefix_twig *w = i ? &p->twigs[i] : NULL;
    if (w && w->len == bit && w->value != PREFIX_NONE)
        value = w->value;
    if (!w || n == 1 || (w->len == bit && !w->child[0] && !w->child[1])) {
        for (unsigned s = lo; s < lo + n; s++) {
            plan->value[s] = value;
            plan->below[s] = n == 1 ? twig_past(p, i, bit) : 0;
        }
        return;
    }
    uint32_t child[2] = {0, 0};
    if (w->len == bit)
        memcpy(child, w->child, sizeof(child));
    else
        child[prefix_key_bit(w->key, bit)] = i;
    plan_fill(plan, p, child[0], bit + 1, lo, n / 2, value);
    plan_fill(plan, p, child[1], bit + 1, lo + n / 2, n / 2, value);
}

static unsigned skip_of(const struct prefix_trie *p, uint32_t below, unsigned bit)
{
    unsigned skip = below ? p->twigs[below].len - bit : 0;
    return skip < SKIP_MOST ? skip : SKIP_MOST;
}

/* `n` (1 to 63) bits of key from `bit` on, the first in the highest place. */
static uint64_t key_bits(struct prefix_key key, unsigned bit, unsigned n)
{
    if (n == 0)
        return 0;
    uint64_t v = bit < 64 ? key.hi << bit | key.lo >> 1 >> (63 - bit) : key.lo << (bit - 64);
    return v & ~0ull << (64 - n);
}

/* --- building ----------------------------------------------------------------------------------------------- */

static uint64_t plan_leaves(const struct plan *plan, uint32_t *leaves)
{
    uint64_t starts = 0;
    unsigned n = 0;
    for (unsigned s = 0; s < POPTRIE_WAYS; s++) {
        if (plan->below[s] || (n && leaves[n - 1] == plan->value[s]))
            continue; /* a child breaks no run: nobody looks up the leaf of its slot */
        leaves[n++] = plan->value[s];
        starts |= 1ull << s;
    }
    return starts;
}

static uint64_t plan_inner(const struct plan *plan)
{
    uint64_t inner = 0;
    for (unsigned s = 0; s < POPTRIE_WAYS; s++)
        inner |= (uint64_t)(plan->below[s] != 0) << s;
    return inner;
}

static unsigned child_of_slot(const struct poptrie_node *n, unsigned slot)
{
    return n->nodes + count(n->inner & ~0ull >> (63 - slot)) - 1;
}

static int node_build(struct poptrie *t, struct poptrie_node *ret, uint32_t below, unsigned bit, uint32_t value);

/* The children of a node with this plan, its slots at depth `bit`; those outside [lo, hi) are taken over from *old. On
 * failure what was built is released and the run given back. */
static int node_children(struct poptrie *t, struct poptrie_node *n, const struct plan *plan, unsigned bit,
    const struct poptrie_node *old, unsigned lo, unsigned hi)
{
    struct poptrie_node child;
    unsigned s;
    n->nodes = 0;
    if (n->inner && run_take(&t->nodes, count(n->inner), &n->nodes))
        return -ENOMEM;
    for (s = 0; s < POPTRIE_WAYS; s++) {
        if (!plan->below[s])
            continue;
        if (s < lo || s >= hi)
            child = *node_at(t, child_of_slot(old, s));
        else if (node_build(t, &child, plan->below[s], bit + STRIDE, plan->value[s]))
            goto release;
        *node_at(t, child_of_slot(n, s)) = child;
    }
    return 0;

release:
    while (s-- > lo)
        if (plan->below[s] && s < hi)
            node_release(t, node_at(t, child_of_slot(n, s)));
    run_give(&t->nodes, n->nodes, count(n->inner));
    return -ENOMEM;
}

/* Both arrays of a node, as node_children says. */
static int node_arrays(struct poptrie *t, struct poptrie_node *n, const struct plan *plan, unsigned bit,
    const struct poptrie_node *old, unsigned lo, unsigned hi)
{
    uint32_t leaves[POPTRIE_WAYS];
    n->inner = plan_inner(plan);
    n->starts = plan_leaves(plan, leaves);
    n->leaves = 0;
    if (n->starts) {
        if (run_take(&t->leaves, count(n->starts), &n->leaves))
            return -ENOMEM;
        memcpy(pool_at(&t->leaves, n->leaves), leaves, count(n->starts) * sizeof(*leaves));
    }
    int rc = node_children(t, n, plan, bit, old, lo, hi);
    if (rc)
        run_give(&t->leaves, n->leaves, count(n->starts));
    return rc;
}

static int node_build(struct poptrie *t, struct poptrie_node *ret, uint32_t below, unsigned bit, uint32_t value)
{
    const struct prefix_trie *p = &t->prefixes;
    struct plan plan;
    unsigned skip = skip_of(p, below, bit);
    struct poptrie_node n = {.skip = (uint8_t)skip, .miss = value};
    if (skip)
        n.key = key_bits(p->twigs[below].key, bit, skip);
    plan_fill(&plan, p, below, bit + skip, 0, POPTRIE_WAYS, value);
    int rc = node_arrays(t, &n, &plan, bit + skip, NULL, 0, POPTRIE_WAYS);
    if (!rc)
        *ret = n;
    return rc;
}

static int root_build(struct poptrie *t)
{
    struct poptrie_node fresh;
    uint32_t value, below = prefix_trie_below(&t->prefixes, (struct prefix_key){0, 0}, 0, &value, NULL);
    int rc = node_build(t, &fresh, twig_past(&t->prefixes, below, 0), 0, value);
    if (rc)
        return rc;
    node_release(t, &t->root);
    t->root = fresh;
    return 0;
}

/* --- updating ----------------------------------------------------------------------------------------------- */

#define ROOT UINT32_MAX

static struct poptrie_node *node_or_root(struct poptrie *t, uint32_t index)
{
    return index == ROOT ? &t->root : node_at(t, index);
}

/* Step 3 and 4: the slots [lo, hi) of a node whose slots begin at depth `bit`, below twig `below`. */
static int node_update(
    struct poptrie *t, uint32_t index, uint32_t below, unsigned bit, uint32_t value, unsigned lo, unsigned hi)
{
    struct poptrie_node old = *node_or_root(t, index), n = old;
    struct plan plan;
    plan_fill(&plan, &t->prefixes, below, bit, 0, POPTRIE_WAYS, value);
    int rc = node_arrays(t, &n, &plan, bit, &old, lo, hi);
    if (rc)
        return rc;
    for (unsigned s = lo; s < hi; s++)
        if (old.inner >> s & 1)
            node_release(t, node_at(t, child_of_slot(&old, s)));
    run_give(&t->nodes, old.nodes, count(old.inner));
    run_give(&t->leaves, old.leaves, count(old.starts));
    *node_or_root(t, index) = n;
    return 0;
}

/* Steps 2 to 4 for a prefix that came, went or changed. */
static int update(struct poptrie *t, struct prefix_key key, unsigned len)
{
    const struct prefix_trie *p = &t->prefixes;
    uint32_t index = ROOT, value;
    uint32_t below = twig_past(p, prefix_trie_below(p, key, 0, &value, NULL), 0);
    if (skip_of(p, below, 0) != t->root.skip || len <= t->root.skip)
        return root_build(t);
    for (unsigned bit = t->root.skip;;) {
        const struct poptrie_node *n = node_or_root(t, index);
        unsigned end = bit + STRIDE, slot = (unsigned)(key_bits(key, bit, STRIDE) >> 58);
        if (len < end)
            return node_update(t, index, below, bit, value, slot, slot + (1u << (end - len)));
        uint32_t next_value, next = twig_past(p, prefix_trie_below(p, key, end, &next_value, NULL), end);
        const struct poptrie_node *child = n->inner >> slot & 1 ? node_at(t, child_of_slot(n, slot)) : NULL;
        if (!child || !next || skip_of(p, next, end) != child->skip || len <= end + child->skip)
            return node_update(t, index, below, bit, value, slot, slot + 1);
        index = child_of_slot(n, slot);
        bit = end + child->skip;
        below = next;
        value = next_value;
    }
}

/* --- the table ---------------------------------------------------------------------------------------------- */

int poptrie_init(struct poptrie *t, uint8_t family, uint32_t routes_most)
{
    *t = (struct poptrie){
        .family = family,
        .routes_most = routes_most,
        .nodes.item_size = sizeof(struct poptrie_node),
        .leaves.item_size = sizeof(uint32_t),
    };
    return root_build(t);
}

void poptrie_done(struct poptrie *t)
{
    free(t->nodes.items);
    free(t->leaves.items);
    prefix_trie_done(&t->prefixes);
    *t = (struct poptrie){0};
}

static bool prefix_fits(const struct poptrie *t, const struct ip_prefix *p)
{
    struct ip6 masked = p->a;
    if (p->family != t->family || p->len > ip_bits(p->family))
        return false;
    ip_mask(&masked, p->len);
    return ip6_equal(&masked, &p->a);
}

int poptrie_set(struct poptrie *t, const struct ip_prefix *p, uint32_t value, uint32_t *ret_old)
{
    if (!prefix_fits(t, p) || value == POPTRIE_NONE)
        return -EINVAL;
    struct prefix_key key = prefix_key_of(&p->a);
    uint32_t old = prefix_trie_get(&t->prefixes, key, p->len);
    if (old == POPTRIE_NONE && poptrie_count(t) >= t->routes_most)
        return -ENOSPC;
    int rc = prefix_trie_set(&t->prefixes, key, p->len, value, &old);
    if (rc)
        return rc;
    rc = update(t, key, p->len);
    if (rc && old == POPTRIE_NONE)
        prefix_trie_del(&t->prefixes, key, p->len);
    else if (rc)
        prefix_trie_set(&t->prefixes, key, p->len, old, &value);
    else if (ret_old)
        *ret_old = old;
    return rc;
}

int poptrie_del(struct poptrie *t, const struct ip_prefix *p, uint32_t *ret_old)
{
    if (!prefix_fits(t, p))
        return -EINVAL;
    struct prefix_key key = prefix_key_of(&p->a);
    uint32_t gone, old = prefix_trie_del(&t->prefixes, key, p->len);
    if (old == POPTRIE_NONE)
        return -ENOENT;
    int rc = update(t, key, p->len);
    if (rc) {
        int again = prefix_trie_set(&t->prefixes, key, p->len, old, &gone);
        assert(again == 0); /* what was just deleted has its room */
        (void)again;
    } else if (ret_old) {
        *ret_old = old;
    }
    return rc;
}

uint32_t poptrie_get(const struct poptrie *t, const struct ip_prefix *p)
{
    return prefix_fits(t, p) ? prefix_trie_get(&t->prefixes, prefix_key_of(&p->a), p->len) : POPTRIE_NONE;
}

uint32_t poptrie_match(const struct poptrie *t, const struct ip6 *a, struct ip_prefix *ret)
{
    uint32_t value;
    unsigned len;
    prefix_trie_below(&t->prefixes, prefix_key_of(a), ip_bits(t->family), &value, &len);
    if (value == POPTRIE_NONE)
        return POPTRIE_NONE;
    *ret = (struct ip_prefix){.family = t->family, .len = (uint8_t)len, .a = *a};
    ip_mask(&ret->a, len);
    return value;
}

struct each {
    int (*visit)(void *user, const struct ip_prefix *p, uint32_t value);
    void *user;
    uint8_t family;
};

static int each_prefix(void *user, struct prefix_key key, unsigned len, uint32_t value)
{
    const struct each *e = user;
    struct ip_prefix p = {.family = e->family, .len = (uint8_t)len};
    bytes_put_be64(p.a.b, key.hi);
    bytes_put_be64(p.a.b + 8, key.lo);
    return e->visit(e->user, &p, value);
}

int poptrie_each(
    const struct poptrie *t, int (*visit)(void *user, const struct ip_prefix *p, uint32_t value), void *user)
{
    struct each e = {visit, user, t->family};
    return prefix_trie_each(&t->prefixes, each_prefix, &e);
}

size_t poptrie_bytes(const struct poptrie *t)
{
    return sizeof(*t) + (size_t)t->nodes.cap * t->nodes.item_size + (size_t)t->leaves.cap * t->leaves.item_size +
           (size_t)t->prefixes.cap * sizeof(struct prefix_twig);
}

static bool node_check(
    const struct poptrie *t, const struct poptrie_node *n, uint32_t below, unsigned bit, uint32_t value)
{
    const struct prefix_trie *p = &t->prefixes;
    uint32_t leaves[POPTRIE_WAYS];
    struct plan plan;
    if (n->skip != skip_of(p, below, bit) || n->miss != value ||
        n->key != (n->skip ? key_bits(p->twigs[below].key, bit, n->skip) : 0))
        return false;
    plan_fill(&plan, p, below, bit + n->skip, 0, POPTRIE_WAYS, value);
    uint64_t starts = plan_leaves(&plan, leaves);
    if (n->inner != plan_inner(&plan) || n->starts != starts ||
        (starts && memcmp(pool_at(&t->leaves, n->leaves), leaves, count(starts) * sizeof(*leaves))))
        return false;
    for (unsigned s = 0; s < POPTRIE_WAYS; s++)
        if (plan.below[s] &&
            !node_check(t, node_at(t, child_of_slot(n, s)), plan.below[s], bit + n->skip + STRIDE, plan.value[s]))
            return false;
    return true;
}

bool poptrie_check(const struct poptrie *t)
{
    uint32_t value, below = prefix_trie_below(&t->prefixes, (struct prefix_key){0, 0}, 0, &value, NULL);
    return node_check(t, &t->root, twig_past(&t->prefixes, below, 0), 0, value);
}
