/* The poptrie against a naive list: random prefixes come, go and change, and after each step lookups agree and the
 * structure is what building it anew would give. */
#include "base/rng.h"
#include "base/test.h"
#include "forward/poptrie.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_MOST 600

struct list {
    struct ip_prefix p[LIST_MOST];
    uint32_t value[LIST_MOST];
    unsigned n;
};

static uint32_t list_find(const struct list *l, const struct ip6 *a)
{
    int best = -1;
    uint32_t value = POPTRIE_NONE;
    for (unsigned i = 0; i < l->n; i++)
        if (l->p[i].len > best && ip_match(&l->p[i].a, a, l->p[i].len)) {
            best = l->p[i].len;
            value = l->value[i];
        }
    return value;
}

static int list_index(const struct list *l, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->p[i].len == p->len && ip6_equal(&l->p[i].a, &p->a))
            return (int)i;
    return -1;
}

struct dice {
    uint64_t seed, n;
};

static uint32_t roll(struct dice *d, uint32_t below)
{
    return rng_below(d->seed, d->n++, below);
}

/* Addresses that share much: few values per byte, and now and then a byte of any value. */
static void random_address(struct dice *d, struct ip6 *a, unsigned bits)
{
    static const uint8_t few[] = {0x00, 0x01, 0x80, 0xff, 0x20, 0xfd};
    memset(a, 0, sizeof(*a));
    for (unsigned i = 0; i < bits / 8; i++)
        a->b[i] = roll(d, 8) ? few[roll(d, i < 4 ? 2 : sizeof(few))] : (uint8_t)roll(d, 256);
}

static void random_prefix(struct dice *d, struct ip_prefix *p, uint8_t family)
{
    unsigned bits = ip_bits(family);
    *p = (struct ip_prefix){.family = family};
    random_address(d, &p->a, bits);
    switch (roll(d, 6)) {
    case 0:
        p->len = (uint8_t)bits;
        break;
    case 1:
        p->len = (uint8_t)(bits / 2);
        break;
    default:
        p->len = (uint8_t)roll(d, bits + 1);
    }
    ip_mask(&p->a, p->len);
}

static uint32_t find(const struct poptrie *t, const struct ip6 *a)
{
    return t->family == IP_V4 ? poptrie_find4(t, bytes_get_be32(a->b)) : poptrie_find6(t, a->b);
}

static void compare(const struct poptrie *t, const struct list *l, struct dice *d, unsigned lookups)
{
    for (unsigned i = 0; i < lookups; i++) {
        struct ip6 a;
        struct ip_prefix got;
        random_address(d, &a, ip_bits(t->family));
        if (l->n && roll(d, 2)) { /* near a prefix: inside it, or a neighbour */
            a = l->p[roll(d, l->n)].a;
            unsigned bit = roll(d, ip_bits(t->family));
            a.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        }
        uint32_t want = list_find(l, &a);
        assert_int_equal(find(t, &a), want);
        assert_int_equal(poptrie_match(t, &a, &got), want);
        if (want != POPTRIE_NONE)
            assert_int_equal(poptrie_get(t, &got), want);
    }
}

static void step(struct poptrie *t, struct list *l, struct dice *d, unsigned want)
{
    struct ip_prefix p;
    uint32_t old = 0, value = roll(d, 5);
    random_prefix(d, &p, t->family);
    if (l->n && roll(d, 2 * want) < l->n) {
        if (roll(d, 8))
            p = l->p[roll(d, l->n)];
        int i = list_index(l, &p);
        int rc = poptrie_del(t, &p, &old);
        assert_int_equal(rc, i < 0 ? -ENOENT : 0);
        if (i >= 0) {
            assert_int_equal(old, l->value[i]);
            l->n--;
            l->p[i] = l->p[l->n];
            l->value[i] = l->value[l->n];
        }
        return;
    }
    int i = list_index(l, &p);
    if (i < 0 && l->n == LIST_MOST)
        return;
    assert_int_equal(poptrie_set(t, &p, value, &old), 0);
    assert_int_equal(old, i < 0 ? POPTRIE_NONE : l->value[i]);
    if (i < 0)
        l->p[i = (int)l->n++] = p;
    l->value[i] = value;
}

static void against_a_list(uint8_t family, uint64_t seed, unsigned want, unsigned steps)
{
    static struct list l;
    struct poptrie t;
    struct dice d = {seed, 0};
    l.n = 0;
    assert_int_equal(poptrie_init(&t, family, LIST_MOST), 0);
    compare(&t, &l, &d, 10);
    for (unsigned i = 0; i < steps; i++) {
        step(&t, &l, &d, want);
        assert_int_equal(poptrie_count(&t), l.n);
        assert_true(poptrie_check(&t));
        compare(&t, &l, &d, 20);
    }
    while (l.n) { /* and empty again */
        l.n--;
        assert_int_equal(poptrie_del(&t, &l.p[l.n], NULL), 0);
        assert_true(poptrie_check(&t));
    }
    compare(&t, &l, &d, 10);
    assert_int_equal(t.nodes.used, 0);
    assert_int_equal(t.leaves.used, 1);
    poptrie_done(&t);
}

static void test_random_v4(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        against_a_list(IP_V4, seed, seed % 2 ? 20 : 300, 1500);
}

static void test_random_v6(void **state)
{
    for (uint64_t seed = 11; seed <= 16; seed++)
        against_a_list(IP_V6, seed, seed % 2 ? 20 : 300, 1500);
}

static void set(struct poptrie *t, const char *text, uint32_t value)
{
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(&p, text, NULL), 0);
    assert_int_equal(poptrie_set(t, &p, value, NULL), 0);
}

static uint32_t find_text(const struct poptrie *t, const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_addr_parse(&a, text, NULL), 0);
    return find(t, &a.a);
}

static void test_by_hand(void **state)
{
    struct poptrie t;
    struct ip_prefix p;
    assert_int_equal(poptrie_init(&t, IP_V4, 4), 0);
    assert_int_equal(find_text(&t, "10.0.0.1"), POPTRIE_NONE);
    set(&t, "10.0.0.0/8", 1);
    set(&t, "10.1.2.3/32", 2);
    set(&t, "0.0.0.0/0", 3);
    assert_int_equal(find_text(&t, "10.1.2.4"), 1);
    assert_int_equal(find_text(&t, "10.1.2.3"), 2);
    assert_int_equal(find_text(&t, "255.255.255.255"), 3);
    set(&t, "255.255.255.255/32", 0);
    assert_int_equal(find_text(&t, "255.255.255.255"), 0);
    assert_int_equal(find_text(&t, "255.255.255.254"), 3);
    /* full; but what is there may change */
    assert_int_equal(ip_prefix_parse(&p, "11.0.0.0/8", NULL), 0);
    assert_int_equal(poptrie_set(&t, &p, 1, NULL), -ENOSPC);
    set(&t, "10.0.0.0/8", 7);
    assert_int_equal(find_text(&t, "10.9.9.9"), 7);
    poptrie_done(&t);
}

static void test_what_fits(void **state)
{
    struct poptrie t;
    assert_int_equal(poptrie_init(&t, IP_V6, 10), 0);
    struct ip_prefix v4 = {.family = IP_V4, .len = 8}, long_ = {.family = IP_V6, .len = 129};
    struct ip_prefix bits = {.family = IP_V6, .len = 3, .a.b = {0x30}}, good = {.family = IP_V6, .len = 128};
    assert_int_equal(poptrie_set(&t, &v4, 1, NULL), -EINVAL);
    assert_int_equal(poptrie_set(&t, &long_, 1, NULL), -EINVAL);
    assert_int_equal(poptrie_set(&t, &bits, 1, NULL), -EINVAL);
    assert_int_equal(poptrie_set(&t, &good, POPTRIE_NONE, NULL), -EINVAL);
    assert_int_equal(poptrie_del(&t, &bits, NULL), -EINVAL);
    assert_int_equal(poptrie_del(&t, &good, NULL), -ENOENT);
    assert_int_equal(poptrie_set(&t, &good, 1, NULL), 0);
    assert_int_equal(poptrie_find6(&t, good.a.b), 1);
    poptrie_done(&t);
}

static int note(void *user, const struct ip_prefix *p, uint32_t value)
{
    char text[IP_TEXT_SIZE], *to = user;
    sprintf(to + strlen(to), "%s=%u ", ip_prefix_print(text, p), value);
    return value == 9;
}

static void test_each(void **state)
{
    struct poptrie t;
    char all[200] = "";
    assert_int_equal(poptrie_init(&t, IP_V6, 10), 0);
    set(&t, "2001:db8:8000::/33", 3);
    set(&t, "2001:db8::/32", 2);
    set(&t, "::/0", 1);
    set(&t, "fd00::/8", 9);
    set(&t, "fe80::/10", 10);
    assert_int_equal(poptrie_each(&t, note, all), 1);
    assert_string_equal(all, "::/0=1 2001:db8::/32=2 2001:db8:8000::/33=3 fd00::/8=9 ");
    poptrie_done(&t);
}

/* A thousand VRFs must not cost a thousand big tables. */
static void test_small_tables_are_small(void **state)
{
    struct poptrie t;
    assert_int_equal(poptrie_init(&t, IP_V6, 65536), 0);
    assert_true(poptrie_bytes(&t) < 1024);
    for (unsigned i = 0; i < 20; i++) {
        struct ip_prefix p = {.family = IP_V6, .len = 64, .a.b = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, (uint8_t)i}};
        assert_int_equal(poptrie_set(&t, &p, i, NULL), 0);
    }
    assert_true(poptrie_bytes(&t) < 8192);
    poptrie_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_what_fits),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_small_tables_are_small),
        cmocka_unit_test(test_random_v4),
        cmocka_unit_test(test_random_v6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
