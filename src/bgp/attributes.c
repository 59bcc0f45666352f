#include "bgp/attributes.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bgp_attribute_table {
    struct bgp_attributes **bucket;
    size_t n_buckets; /* a power of two */
    size_t count, bytes;
    struct siphash_seed seed;
};

int bgp_attribute_table_create(struct bgp_attribute_table **ret, const struct siphash_seed *seed)
{
    struct bgp_attribute_table *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->seed = *seed;
    t->n_buckets = 256;
    t->bucket = calloc(t->n_buckets, sizeof(struct bgp_attributes *));
    if (!t->bucket) {
        free(t);
        return -ENOMEM;
    }
    *ret = t;
    return 0;
}

void bgp_attribute_table_free(struct bgp_attribute_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct bgp_attributes *a = t->bucket[i], *next; a; a = next) {
            next = a->chain;
            free(a);
        }
    free(t->bucket);
    free(t);
}

size_t bgp_attribute_table_count(const struct bgp_attribute_table *t)
{
    return t->count;
}

size_t bgp_attribute_table_bytes(const struct bgp_attribute_table *t)
{
    return t->bytes + t->n_buckets * sizeof(struct bgp_attributes *);
}

size_t bgp_attribute_table_longest(const struct bgp_attribute_table *t)
{
    size_t longest = 0;
    for (size_t i = 0; i < t->n_buckets; i++) {
        size_t n = 0;
        for (const struct bgp_attributes *a = t->bucket[i]; a; a = a->chain)
            n++;
        longest = n > longest ? n : longest;
    }
    return longest;
}

const struct siphash_seed *bgp_attribute_table_seed(const struct bgp_attribute_table *t)
{
    return &t->seed;
}

/* More buckets, so that chains stay short; where memory lacks they only get longer. */
static void grow(struct bgp_attribute_table *t)
{
    size_t n = t->n_buckets * 4;
    struct bgp_attributes **bucket = calloc(n, sizeof(struct bgp_attributes *));
    if (!bucket)
        return;
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct bgp_attributes *a = t->bucket[i], *next; a; a = next) {
            next = a->chain;
            a->chain = bucket[a->hash & (n - 1)];
            bucket[a->hash & (n - 1)] = a;
        }
    free(t->bucket);
    t->bucket = bucket;
    t->n_buckets = n;
}

/* --- the summary --------------------------------------------------------------------------------------------------------- */

/* RFC 4271 9.1.2.2 a: a set counts one; RFC 5065 5.3: confederation segments (types 3, 4) count nothing. */
static void read_path(struct bgp_attributes *a, const uint8_t *v, size_t len)
{
    for (size_t at = 0; at + 2 <= len; at += 2 + (size_t)v[at + 1] * 4) {
        uint8_t type = v[at], n = v[at + 1];
        if (at == 0 && type == 2)
            a->neighbour_as = bytes_get_be32(v + 2);
        a->path_length = (uint16_t)(a->path_length + (type == 2 ? n : type == 1));
    }
}

static void read_communities(struct bgp_attributes *a, const uint8_t *v, size_t len)
{
    for (size_t at = 0; at + 4 <= len; at += 4)
        switch (bytes_get_be32(v + at)) {
        case 0xffffff01: /* RFC 1997 */
            a->no_export = true;
            break;
        case 0xffffff02:
            a->no_advertise = true;
            break;
        case 0xffff0006: /* RFC 9494 */
            a->llgr_stale = true;
            break;
        case 0xffff0007:
            a->no_llgr = true;
            break;
        default:
            break;
        }
}

static void read_one(struct bgp_attributes *a, uint8_t type, const uint8_t *v, uint16_t len)
{
    switch (type) {
    case BGP_ORIGIN:
        a->origin = v[0];
        break;
    case BGP_AS_PATH:
        read_path(a, v, len);
        break;
    case BGP_MED:
        a->med = bytes_get_be32(v);
        break;
    case BGP_LOCAL_PREF:
        a->local_pref = bytes_get_be32(v);
        break;
    case BGP_ORIGINATOR_ID:
        memcpy(a->originator, v, 4);
        break;
    case BGP_CLUSTER_LIST:
        a->cluster_length = (uint8_t)(len / 4 < 255 ? len / 4 : 255);
        break;
    case BGP_COMMUNITIES:
        read_communities(a, v, len);
        break;
    default:
        break;
    }
}

bool bgp_raw_attribute_next(const uint8_t *bytes, size_t len, size_t *at, struct bgp_attribute *ret)
{
    if (*at >= len)
        return false;
    const uint8_t *p = bytes + *at;
    size_t head = p[0] & BGP_FLAG_EXTENDED ? 4 : 3;
    ret->flags = p[0];
    ret->type = p[1];
    ret->len = head == 4 ? bytes_get_be16(p + 2) : p[2];
    ret->value = p + head;
    ret->raw = p;
    ret->raw_len = (uint32_t)(head + ret->len);
    *at += ret->raw_len;
    return true;
}

bool bgp_attributes_next(const struct bgp_attributes *a, size_t *at, struct bgp_attribute *ret)
{
    return bgp_raw_attribute_next(a->bytes, a->len, at, ret);
}

const uint8_t *bgp_attributes_find(const struct bgp_attributes *a, uint8_t type, uint16_t *ret_len)
{
    struct bgp_attribute one;
    size_t at = 0;
    while (bgp_raw_attribute_next(a->bytes, a->len, &at, &one))
        if (one.type == type) {
            *ret_len = one.len;
            return one.value;
        }
    return NULL;
}

/* --- interning -------------------------------------------------------------------------------------------------------------- */

static bool same(const struct bgp_attributes *a, uint64_t hash, const uint8_t *bytes, size_t len,
    const uint8_t *next_hop, uint8_t next_hop_len)
{
    return a->hash == hash && a->len == len && a->next_hop_len == next_hop_len &&
           memcmp(a->next_hop, next_hop, next_hop_len) == 0 && memcmp(a->bytes, bytes, len) == 0;
}

/* The second hash is keyed by the first: the sum of both would be 0 wherever the peer makes them alike. */
static uint64_t hash_of(
    const struct bgp_attribute_table *t, const uint8_t *bytes, size_t len, const uint8_t *next_hop, uint8_t hop_len)
{
    struct siphash_seed then = {{t->seed.k[0] ^ siphash(&t->seed, bytes, len), t->seed.k[1]}};
    return siphash(&then, next_hop, hop_len);
}

static int intern(struct bgp_attribute_table *t, const uint8_t *bytes, size_t len, const uint8_t *next_hop,
    uint8_t next_hop_len, struct bgp_attributes **ret)
{
    if (next_hop_len > sizeof(*ret)->next_hop)
        return -EINVAL;
    uint64_t hash = hash_of(t, bytes, len, next_hop, next_hop_len);
    for (struct bgp_attributes *a = t->bucket[hash & (t->n_buckets - 1)]; a; a = a->chain)
        if (same(a, hash, bytes, len, next_hop, next_hop_len)) {
            a->references++;
            *ret = a;
            return 0;
        }
    struct bgp_attributes *a = calloc(1, sizeof *a + len);
    if (!a)
        return -ENOMEM;
    a->references = 1;
    a->hash = hash;
    a->local_pref = 100;
    a->len = (uint32_t)len;
    if (len)
        memcpy(a->bytes, bytes, len);
    memcpy(a->next_hop, next_hop, next_hop_len);
    a->next_hop_len = next_hop_len;
    struct bgp_attribute one;
    size_t at = 0;
    while (bgp_raw_attribute_next(bytes, len, &at, &one))
        read_one(a, one.type, one.value, one.len);
    if (t->count > t->n_buckets * 2)
        grow(t);
    a->chain = t->bucket[hash & (t->n_buckets - 1)];
    t->bucket[hash & (t->n_buckets - 1)] = a;
    t->count++;
    t->bytes += sizeof *a + len;
    *ret = a;
    return 0;
}

int bgp_attributes_of_update(
    struct bgp_attribute_table *t, const struct bgp_update *u, bool for_mp, struct bgp_attributes **ret)
{
    uint8_t bytes[BGP_EXTENDED_MOST];
    size_t len = 0;
    const uint8_t *next_hop = u->next_hop;
    uint8_t next_hop_len = for_mp ? u->next_hop_len : 0;
    for (int i = 0; i < u->n_attributes; i++) {
        const struct bgp_attribute *a = &u->attributes[i];
        if (a->type == BGP_NEXT_HOP) {
            if (!for_mp) {
                next_hop = a->value;
                next_hop_len = (uint8_t)a->len;
            }
            continue; /* RFC 4760 3: beside MP_REACH it means nothing */
        }
        memcpy(bytes + len, a->raw, a->raw_len);
        if (!bgp_attribute_rule(a->type))
            bytes[len] |= BGP_FLAG_PARTIAL; /* RFC 4271 5: carried by one who does not know it */
        len += a->raw_len;
    }
    return intern(t, bytes, len, next_hop, next_hop_len, ret);
}

int bgp_attributes_of_bytes(struct bgp_attribute_table *t, const uint8_t *bytes, size_t len, const uint8_t *next_hop,
    uint8_t next_hop_len, struct bgp_attributes **ret)
{
    static const struct bgp_update_context ours = {.ibgp = true, .as4 = true};
    for (size_t at = 0; at < len;) {
        size_t head = bytes[at] & BGP_FLAG_EXTENDED ? 4 : 3;
        if (len - at < head)
            return -EINVAL;
        size_t n = head == 4 ? bytes_get_be16(bytes + at + 2) : bytes[at + 2];
        if (len - at - head < n)
            return -EINVAL;
        const struct bgp_attribute_rule *rule = bgp_attribute_rule(bytes[at + 1]);
        if (rule && !rule->check(bytes + at + head, (uint16_t)n, &ours))
            return -EINVAL;
        at += head + n;
    }
    return intern(t, bytes, len, next_hop, next_hop_len, ret);
}

void bgp_attributes_hold(struct bgp_attributes *a)
{
    a->references++;
}

void bgp_attributes_drop(struct bgp_attribute_table *t, struct bgp_attributes *a)
{
    if (!a || --a->references)
        return;
    struct bgp_attributes **p = &t->bucket[a->hash & (t->n_buckets - 1)];
    while (*p != a)
        p = &(*p)->chain;
    *p = a->chain;
    t->count--;
    t->bytes -= sizeof *a + a->len;
    free(a);
}
