#include "forward/hop.h"

#include <errno.h>
#include <stdlib.h>

#define HOPS_FIRST 64u

void hop_table_done(struct hop_table *t)
{
    free(t->hops);
    free(t->buckets);
    *t = (struct hop_table){0};
}

static uint64_t mix_bytes(uint64_t h, const void *bytes, size_t len)
{
    for (const uint8_t *p = bytes, *end = p + len; p < end; p++)
        h = (h ^ *p) * 0x100000001b3u;
    return h;
}

static uint32_t bucket_of(const struct hop_table *t, const struct hop *h)
{
    uint64_t x = (uint64_t)h->kind << 56 | (uint64_t)h->behaviour << 40 | (uint64_t)h->port << 16 | h->vlan;
    x = mix_bytes(rng_mix(x) ^ (uintptr_t)h->vrf ^ h->tenant, h->path_of_class, sizeof h->path_of_class);
    x = mix_bytes(x ^ h->sa_vrf, h->service_sid.b, sizeof h->service_sid.b);
    return (uint32_t)rng_mix(mix_bytes(x, h->gateway.a.b, sizeof h->gateway.a.b)) & t->mask;
}

static bool equal(const struct hop *a, const struct hop *b)
{
    return a->kind == b->kind && a->behaviour == b->behaviour && a->flavours == b->flavours &&
           a->csid_bits == b->csid_bits && a->port == b->port && a->vlan == b->vlan && a->vrf == b->vrf &&
           a->gateway.family == b->gateway.family && ip6_equal(&a->gateway.a, &b->gateway.a) &&
           a->encrypted == b->encrypted && ip6_equal(&a->peer, &b->peer) && a->sa_vrf == b->sa_vrf &&
           a->tenant == b->tenant && ip6_equal(&a->service_sid, &b->service_sid) &&
           memcmp(a->path_of_class, b->path_of_class, sizeof a->path_of_class) == 0;
}

void hop_rehash(struct hop_table *t, uint32_t index)
{
    uint32_t *bucket = &t->buckets[bucket_of(t, &t->hops[index])];
    t->hops[index].chain = *bucket;
    *bucket = index + 1;
}

void hop_unhash(struct hop_table *t, uint32_t index)
{
    uint32_t *at = &t->buckets[bucket_of(t, &t->hops[index])];
    while (*at != index + 1)
        at = &t->hops[*at - 1].chain;
    *at = t->hops[index].chain;
}

/* Twice the room; the buckets grow with it. */
static int grow(struct hop_table *t)
{
    uint32_t cap = t->cap ? 2 * t->cap : HOPS_FIRST;
    uint32_t *buckets = calloc(cap, sizeof *buckets);
    struct hop *hops = buckets ? realloc(t->hops, cap * sizeof *hops) : NULL;
    if (!hops) {
        free(buckets);
        return -ENOMEM;
    }
    free(t->buckets);
    t->hops = hops;
    t->buckets = buckets;
    t->cap = cap;
    t->mask = cap - 1;
    for (uint32_t i = 0; i < t->n; i++)
        if (hops[i].users)
            hop_rehash(t, i); /* called with no free hop left: every chain is a bucket's */
    return 0;
}

int hop_get(struct hop_table *t, const struct hop *like, uint32_t *ret, bool *ret_new)
{
    for (uint32_t i = t->cap ? t->buckets[bucket_of(t, like)] : 0; i; i = t->hops[i - 1].chain)
        if (equal(&t->hops[i - 1], like)) {
            t->hops[i - 1].users++;
            *ret = i - 1;
            *ret_new = false;
            return 0;
        }
    if (!t->free && t->n == t->cap && grow(t))
        return -ENOMEM;
    uint32_t index = t->free ? t->free - 1 : t->n++;
    if (t->free)
        t->free = t->hops[index].chain;
    t->hops[index] = *like;
    t->hops[index].users = 1;
    hop_rehash(t, index);
    *ret = index;
    *ret_new = true;
    return 0;
}

bool hop_put(struct hop_table *t, uint32_t index, struct hop *ret_was)
{
    struct hop *h = &t->hops[index];
    if (--h->users)
        return false;
    hop_unhash(t, index);
    *ret_was = *h;
    *h = (struct hop){.chain = t->free};
    t->free = index + 1;
    return true;
}
