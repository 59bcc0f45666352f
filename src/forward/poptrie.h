/* Longest prefix match for IPv4 and IPv6: a poptrie (Asai, Ohara: Poptrie, SIGCOMM 2015), 64 ways per node, whose children
 * and leaves lie side by side and are found by counting bits. Ours differs in two points: bits that all prefixes below a
 * node share are compared at once instead of node by node (each node has `skip` of them), and there is no table in
 * front. So a table costs what its prefixes cost (an empty one: the struct and a few hundred bytes), and a lookup
 * visits as many nodes as the prefixes really branch.
 *
 * A path-compressed trie beside it holds the prefixes; an update rebuilds the part of one node that it touches. Changes
 * happen between batches, on the thread that looks up. Values are 32 bits, POPTRIE_NONE is none. */
#ifndef MERIDIAN_FORWARD_POPTRIE_H
#define MERIDIAN_FORWARD_POPTRIE_H

#include "forward/prefix_trie.h"
#include "wire/ip.h"

#include <stddef.h>
#include <stdint.h>

#define POPTRIE_NONE PREFIX_NONE
#define POPTRIE_WAYS 64u

struct poptrie_node {
    uint64_t inner;         /* bit per slot: a child node; else a leaf */
    uint64_t starts;        /* bit per slot: a run of equal leaves starts here */
    uint64_t key;           /* the skipped bits, the first in the highest place, zeros behind */
    uint32_t nodes, leaves; /* index of the first child, of the first leaf */
    uint32_t miss;          /* the value when the skipped bits differ */
    uint8_t skip;           /* 0 to 63 bits */
};

/* Runs of 1 to 64 items in one array that grows; freed runs wait in a list per size (a power of two). */
struct poptrie_pool {
    void *items;
    uint32_t n, cap, free[7];
    uint32_t used; /* items handed out */
    uint8_t item_size;
};

struct poptrie {
    struct poptrie_node root; /* the first: values used by lookups */
    struct poptrie_pool nodes, leaves;
    struct prefix_trie prefixes;
    uint32_t routes_most;
    uint8_t family;
};

/* family: IP_V4 or IP_V6. At most routes_most prefixes. 0 or -ENOMEM. */
int poptrie_init(struct poptrie *t, uint8_t family, uint32_t routes_most);
void poptrie_done(struct poptrie *t);

/* 0; -EINVAL (another family, too long, bits behind the length, value POPTRIE_NONE); -ENOSPC (routes_most reached);
 * -ENOMEM: nothing changed. Replaces the value of a prefix that is there; *ret_old (may be NULL): its value before. */
int poptrie_set(struct poptrie *t, const struct ip_prefix *p, uint32_t value, uint32_t *ret_old);
/* 0, -EINVAL, -ENOENT, -ENOMEM. *ret_old (may be NULL): the value that was there. */
int poptrie_del(struct poptrie *t, const struct ip_prefix *p, uint32_t *ret_old);
/* The value of exactly this prefix, or POPTRIE_NONE. */
uint32_t poptrie_get(const struct poptrie *t, const struct ip_prefix *p);
/* Longest match with its prefix, from the trie beside: not for packets. POPTRIE_NONE: none, *ret untouched. */
uint32_t poptrie_match(const struct poptrie *t, const struct ip6 *a, struct ip_prefix *ret);
/* All prefixes in order, until a visit returns other than 0; returns that. The table must not change meanwhile. */
int poptrie_each(
    const struct poptrie *t, int (*visit)(void *user, const struct ip_prefix *p, uint32_t value), void *user);

static inline uint32_t poptrie_count(const struct poptrie *t)
{
    return t->prefixes.prefixes;
}

size_t poptrie_bytes(const struct poptrie *t); /* allocated now */

/* Everything in it is the same as if it had been built anew. For tests. */
bool poptrie_check(const struct poptrie *t);

static inline uint32_t poptrie_walk(const struct poptrie *t, uint64_t hi, uint64_t lo)
{
    const struct poptrie_node *n = &t->root, *nodes = t->nodes.items;
    for (;;) {
        /* Two shifts, because a shift by 64 is not defined. */
        if ((hi ^ n->key) >> 1 >> (63 - n->skip))
            return n->miss;
        hi = hi << n->skip | lo >> 1 >> (63 - n->skip);
        lo <<= n->skip;
        unsigned slot = (unsigned)(hi >> 58);
        uint64_t upto = ~0ull >> (63 - slot); /* this slot and those before */
        if (!(n->inner >> slot & 1))
            return (
                (const uint32_t *)t->leaves.items)[n->leaves + (unsigned)__builtin_popcountll(n->starts & upto) - 1];
        n = &nodes[n->nodes + (unsigned)__builtin_popcountll(n->inner & upto) - 1];
        hi = hi << 6 | lo >> 58;
        lo <<= 6;
    }
}

/* a: the address as a number, in the host's order. */
static inline uint32_t poptrie_find4(const struct poptrie *t, uint32_t a)
{
    return poptrie_walk(t, (uint64_t)a << 32, 0);
}

static inline uint32_t poptrie_find6(const struct poptrie *t, const uint8_t a[16])
{
    return poptrie_walk(t, bytes_get_be64(a), bytes_get_be64(a + 8));
}

#endif
