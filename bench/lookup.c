/* Nanoseconds of a longest-prefix match (forward/poptrie.h) and of a hash lookup (forward/table.h) on one core, independent
 * lookups of random addresses within the prefixes. Prints JSON lines. */
#include "base/clock.h"
#include "forward/poptrie.h"
#include "forward/table.h"
#include "wire/ip_text.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOKUPS   4000000u
#define ADDRESSES 4096u

/* Prefixes of an operator: IPv4 /8 to /32, IPv6 /32 to /128, most of them /24 and /64, in a few blocks. */
static void random_prefix(struct ip_prefix *p, uint8_t family, uint64_t i)
{
    static const uint8_t lens4[] = {24, 24, 24, 22, 16, 32, 28, 20}, lens6[] = {64, 64, 64, 48, 56, 128, 64, 40};
    *p = (struct ip_prefix){.family = family, .len = (family == IP_V4 ? lens4 : lens6)[rng_below(1, i, 8)]};
    bytes_put_be64(p->a.b, rng_u64(2, i));
    bytes_put_be64(p->a.b + 8, rng_u64(3, i));
    if (family == IP_V6)
        bytes_put_be32(p->a.b, 0x20010db8u + rng_below(4, i, 4));
    else
        p->a.b[0] = (uint8_t)(10 + rng_below(4, i, 4));
    ip_mask(&p->a, p->len);
}

static void bench_poptrie(uint8_t family, unsigned prefixes)
{
    static struct ip6 a[ADDRESSES];
    struct poptrie t;
    uint64_t sum = 0;
    if (poptrie_init(&t, family, prefixes))
        abort();
    int64_t start = clock_now_ns();
    for (uint64_t i = 0; i < prefixes; i++) {
        struct ip_prefix p;
        random_prefix(&p, family, i);
        if (poptrie_set(&t, &p, (uint32_t)i, NULL))
            abort();
    }
    double insert = (double)(clock_now_ns() - start) / prefixes;
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct ip_prefix p;
        random_prefix(&p, family, rng_below(5, i, prefixes));
        a[i] = p.a;
        a[i].b[family == IP_V4 ? 3 : 15] |= (uint8_t)i & (p.len == ip_bits(family) ? 0 : 0xff);
    }
    start = clock_now_ns();
    for (unsigned i = 0; i < LOOKUPS; i++) {
        const uint8_t *b = a[i % ADDRESSES].b;
        sum += family == IP_V4 ? poptrie_find4(&t, bytes_get_be32(b)) : poptrie_find6(&t, b);
    }
    double ns = (double)(clock_now_ns() - start) / LOOKUPS;
    printf("{\"bench\":\"poptrie%u\",\"prefixes\":%u,\"ns\":%.1f,\"insert_ns\":%.0f,\"bytes_per_prefix\":%.1f,\"sum\":%"
           "llu}\n",
        family, prefixes, ns, insert, (double)poptrie_bytes(&t) / poptrie_count(&t), (unsigned long long)sum);
    poptrie_done(&t);
}

static void bench_table(unsigned keys)
{
    struct table t;
    uint64_t key[3], sum = 0;
    if (table_init(&t, sizeof(key), keys, 1))
        abort();
    for (uint64_t i = 0; i < keys; i++) {
        key[0] = i % 16, key[1] = rng_u64(1, i), key[2] = 0;
        if (table_set(&t, key, (uint32_t)i))
            abort();
    }
    int64_t start = clock_now_ns();
    for (uint64_t i = 0; i < LOOKUPS; i++) {
        key[0] = i % keys % 16, key[1] = rng_u64(1, i % keys), key[2] = 0;
        sum += table_find(&t, key);
    }
    double ns = (double)(clock_now_ns() - start) / LOOKUPS;
    printf("{\"bench\":\"table24\",\"keys\":%u,\"ns\":%.1f,\"sum\":%llu}\n", keys, ns, (unsigned long long)sum);
    table_done(&t);
}

int main(void)
{
    static const unsigned prefixes[] = {10, 100, 1000, 10000, 65536};
    for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        bench_poptrie(IP_V4, prefixes[i]);
        bench_poptrie(IP_V6, prefixes[i]);
    }
    bench_table(100);
    bench_table(4096);
    return 0;
}
