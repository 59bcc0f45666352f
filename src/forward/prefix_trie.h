/* Prefixes with values in a path-compressed binary trie: the exact content of a routing table. It is what a poptrie is
 * built from and what answers questions that are not per packet (which prefix matched, list them all). Keys are addresses
 * as 128 bits, an IPv4 address in the first 32. A table of n prefixes has at most 2n nodes of 32 bytes. */
#ifndef MERIDIAN_FORWARD_PREFIX_TRIE_H
#define MERIDIAN_FORWARD_PREFIX_TRIE_H

#include "base/bytes.h"
#include "wire/ip.h"

#include <stdbool.h>
#include <stdint.h>

#define PREFIX_NONE UINT32_MAX /* no value */

struct prefix_key {
    uint64_t hi, lo;
};

struct prefix_twig {
    struct prefix_key key; /* bits behind len are zero */
    uint32_t child[2];     /* longer prefixes that go on with 0 and 1; 0: none */
    uint32_t value;        /* PREFIX_NONE: only a branch */
    uint8_t len;
};

struct prefix_trie {
    struct prefix_twig *twigs; /* [0] is not used */
    uint32_t n, cap, free, root;
    uint32_t prefixes; /* with values */
};

static inline struct prefix_key prefix_key_of(const struct ip6 *a)
{
    return (struct prefix_key){bytes_get_be64(a->b), bytes_get_be64(a->b + 8)};
}

static inline unsigned prefix_key_bit(struct prefix_key k, unsigned i)
{
    return (unsigned)((i < 64 ? k.hi >> (63 - i) : k.lo >> (127 - i)) & 1);
}

void prefix_trie_done(struct prefix_trie *t); /* t was zeroed at first */

/* 0; -ENOMEM, nothing changed. *ret_old: the value before, or PREFIX_NONE. value is not PREFIX_NONE. */
int prefix_trie_set(struct prefix_trie *t, struct prefix_key key, unsigned len, uint32_t value, uint32_t *ret_old);
/* The value that was there, or PREFIX_NONE. A prefix_trie_set of what was just deleted never fails. */
uint32_t prefix_trie_del(struct prefix_trie *t, struct prefix_key key, unsigned len);
uint32_t prefix_trie_get(const struct prefix_trie *t, struct prefix_key key, unsigned len);

/* The root of everything that is at least `len` long below the first `len` bits of key, 0: nothing. *ret_value: that of
 * the longest prefix of at most `len` bits that covers them, *ret_len its length (ret_len may be NULL). */
uint32_t prefix_trie_below(
    const struct prefix_trie *t, struct prefix_key key, unsigned len, uint32_t *ret_value, unsigned *ret_len);

/* All prefixes in order. Stops at the first visit that returns other than 0 and returns that. */
int prefix_trie_each(const struct prefix_trie *t,
    int (*visit)(void *user, struct prefix_key key, unsigned len, uint32_t value), void *user);

#endif
