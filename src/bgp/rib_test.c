/* The RIB against a naive model: random announcements, withdraws, lost sources, stale marks and sweeps, peers that follow at
 * their own pace. After every step best paths agree; at the end every peer holds exactly what the RIB says. */
#include "bgp/rib.h"

#include "base/rng.h"
#include "base/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 40, SOURCES = 6, PEERS = 3, STEPS = 10000, SETS = 5 };

struct model {
    struct {
        bool there, stale;
        int set;
    } path[KEYS][SOURCES];
    int told[PEERS][KEYS]; /* 1 + source * SETS + set of the best path that the peer holds; 0: none */
    uint64_t at[PEERS];
    int best_calls;
};

static const struct siphash_seed hash_seed = {{3, 4}};
static uint32_t dead_hop = UINT32_MAX; /* next hop that cannot be reached */

static uint32_t metric(void *user, const uint8_t *next_hop, uint8_t len)
{
    (void)user, (void)len;
    return next_hop[0] == dead_hop ? UINT32_MAX : 0;
}

static void on_best(void *user, uint32_t family, const struct bgp_route *route, const struct bgp_path *before)
{
    struct model *m = user;
    (void)family;
    assert_true(route->best || before);
    m->best_calls++;
}

static void nlri_of(unsigned key, uint8_t raw[64], struct bgp_nlri *n)
{
    struct ip_prefix p = {.family = IP_V6, .len = 64, .a = {{0xfd, 1, (uint8_t)(key >> 8), (uint8_t)key}}};
    size_t at = 0;
    unsigned len = bgp_prefix_encode(&p, raw);
    assert_int_equal(bgp_nlri_next(BGP_IPV6_UNICAST, false, raw, len, &at, n), 1);
}

/* Sets differ in LOCAL_PREF (0 and 1 are alike), the last one in a next hop of its own. */
static struct bgp_attributes *set_of(struct bgp_attribute_table *t, int set)
{
    uint8_t bytes[64], hop[16] = {(uint8_t)set}, pref[4] = {0, 0, 0, (uint8_t)(100 + set / 2)};
    struct bgp_attributes *a;
    int at = bgp_attribute_put(bytes, 0, sizeof bytes, 0x40, BGP_LOCAL_PREF, pref, 4);
    assert_int_equal(bgp_attributes_of_bytes(t, bytes, (size_t)at, hop, 16, &a), 0);
    return a;
}

/* 1 + source * SETS + set of the best path: highest LOCAL_PREF, then the lowest source; our own (source 0) before all. */
static int model_best(const struct model *m, unsigned key)
{
    int best = 0, best_pref = -1;
    for (int s = 0; s < SOURCES; s++) {
        if (!m->path[key][s].there || (s != BGP_SELF && (uint32_t)m->path[key][s].set == dead_hop))
            continue;
        int pref = s == BGP_SELF ? 1000 : m->path[key][s].set / 2;
        if (pref > best_pref) {
            best = 1 + s * SETS + m->path[key][s].set;
            best_pref = pref;
        }
    }
    return best;
}

static int rib_best(const struct bgp_route *r)
{
    return r && r->best ? 1 + r->best->source * SETS + r->best->attributes->next_hop[0] : 0;
}

static const struct bgp_route *find(const struct bgp_rib *rib, unsigned key)
{
    uint8_t raw[64];
    struct bgp_nlri n;
    nlri_of(key, raw, &n);
    return bgp_rib_find(rib, n.key, n.key_len);
}

static void announce(
    struct bgp_rib *rib, struct bgp_attribute_table *t, struct model *m, unsigned key, int source, int set)
{
    uint8_t raw[64];
    struct bgp_nlri n;
    nlri_of(key, raw, &n);
    assert_int_equal(bgp_rib_announce(rib, &n, (uint16_t)source, true, set_of(t, set), 0), 0);
    m->path[key][source].there = true;
    m->path[key][source].stale = false;
    m->path[key][source].set = set;
}

static void withdraw(struct bgp_rib *rib, struct model *m, unsigned key, int source)
{
    uint8_t raw[64];
    struct bgp_nlri n;
    nlri_of(key, raw, &n);
    assert_int_equal(bgp_rib_withdraw(rib, n.key, n.key_len, (uint16_t)source, 0), m->path[key][source].there);
    m->path[key][source].there = false;
}

static void drop(struct bgp_rib *rib, struct model *m, int source, bool only_stale)
{
    if (only_stale)
        bgp_rib_sweep_stale(rib, (uint16_t)source);
    else
        bgp_rib_drop_source(rib, (uint16_t)source);
    for (unsigned k = 0; k < KEYS; k++)
        if (!only_stale || m->path[k][source].stale)
            m->path[k][source].there = m->path[k][source].stale = false;
}

static void mark(struct bgp_rib *rib, struct model *m, int source)
{
    bgp_rib_mark_stale(rib, (uint16_t)source, false);
    for (unsigned k = 0; k < KEYS; k++)
        m->path[k][source].stale = m->path[k][source].there;
}

/* A peer reads at most `most` routes on. */
static void follow(struct bgp_rib *rib, struct model *m, int peer, int most)
{
    const struct bgp_route *r;
    for (int i = 0; i < most && (r = bgp_rib_next(rib, m->at[peer])) != NULL; i++) {
        unsigned key = (unsigned)(r->key[3] << 8 | r->key[4]);
        assert_true(r->version > m->at[peer]);
        assert_int_equal(bgp_rib_told(r, (uint16_t)(peer + 1)), m->told[peer][key] != 0);
        m->told[peer][key] = rib_best(r);
        bgp_rib_set_told(rib, r, (uint16_t)(peer + 1), r->best != NULL);
        m->at[peer] = r->version;
    }
}

static void forget(struct bgp_rib *rib, struct model *m)
{
    uint64_t least = bgp_rib_version(rib);
    for (int p = 0; p < PEERS; p++)
        least = m->at[p] < least ? m->at[p] : least;
    bgp_rib_forget(rib, least);
}

static void check(const struct bgp_rib *rib, const struct model *m)
{
    size_t with_best = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        int expected = model_best(m, k);
        with_best += expected != 0;
        assert_int_equal(rib_best(find(rib, k)), expected);
    }
    assert_int_equal(bgp_rib_count(rib), with_best);
    for (int s = 0; s < SOURCES; s++) {
        uint32_t n = 0;
        for (unsigned k = 0; k < KEYS; k++)
            n += m->path[k][s].there;
        assert_int_equal(bgp_rib_from(rib, (uint16_t)s), n);
    }
}

static void one_step(struct bgp_rib *rib, struct bgp_attribute_table *t, struct model *m, uint64_t seed, uint64_t i)
{
    unsigned what = rng_below(seed, 8 * i, 100), key = rng_below(seed, 8 * i + 1, KEYS);
    int source = (int)rng_below(seed, 8 * i + 2, SOURCES), set = (int)rng_below(seed, 8 * i + 3, SETS);
    if (what < 50)
        announce(rib, t, m, key, source, set);
    else if (what < 75)
        withdraw(rib, m, key, source);
    else if (what < 77)
        drop(rib, m, source, false);
    else if (what < 79)
        mark(rib, m, source);
    else if (what < 81)
        drop(rib, m, source, true);
    else if (what < 82) {
        dead_hop = rng_below(seed, 8 * i + 4, 2) ? (uint32_t)set : UINT32_MAX;
        bgp_rib_select_all(rib);
    } else if (what < 96)
        follow(rib, m, (int)rng_below(seed, 8 * i + 5, PEERS), (int)rng_below(seed, 8 * i + 6, 20));
    else
        forget(rib, m);
}

static void test_against_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct model m = {0};
        struct bgp_attribute_table *t;
        struct bgp_rib *rib;
        struct bgp_rib_above above = {.user = &m, .metric = metric, .best = on_best};
        dead_hop = UINT32_MAX;
        assert_int_equal(bgp_attribute_table_create(&t, &hash_seed), 0);
        assert_int_equal(bgp_rib_create(&rib, BGP_IPV6_UNICAST, t, &above), 0);
        for (uint64_t i = 0; i < STEPS; i++) {
            one_step(rib, t, &m, seed, i);
            check(rib, &m);
        }
        for (int p = 0; p < PEERS; p++) {
            follow(rib, &m, p, INT32_MAX);
            for (unsigned k = 0; k < KEYS; k++)
                assert_int_equal(m.told[p][k], model_best(&m, k));
        }
        /* Everything goes: nothing is left, neither routes nor sets nor the memory of them. */
        for (int s = 0; s < SOURCES; s++)
            drop(rib, &m, s, false);
        for (int p = 0; p < PEERS; p++)
            follow(rib, &m, p, INT32_MAX);
        forget(rib, &m);
        assert_int_equal(bgp_attribute_table_count(t), 0);
        for (unsigned k = 0; k < KEYS; k++)
            assert_null(find(rib, k));
        assert_true(m.best_calls > 1000);
        bgp_rib_free(rib);
        bgp_attribute_table_free(t);
    }
}

/* A route that was known, then useless, then gone: nobody has to be told, and it must not stay for ever. */
static void test_a_route_that_dies_unreachable_is_forgotten(void **state)
{
    (void)state;
    struct model m = {0};
    struct bgp_attribute_table *t;
    struct bgp_rib *rib;
    struct bgp_rib_above above = {.user = &m, .metric = metric};
    dead_hop = UINT32_MAX;
    assert_int_equal(bgp_attribute_table_create(&t, &hash_seed), 0);
    assert_int_equal(bgp_rib_create(&rib, BGP_IPV6_UNICAST, t, &above), 0);
    announce(rib, t, &m, 1, 1, 4);
    dead_hop = 4;
    bgp_rib_select_all(rib);
    bgp_rib_forget(rib, bgp_rib_version(rib));
    assert_non_null(find(rib, 1));
    withdraw(rib, &m, 1, 1);
    assert_null(find(rib, 1));
    bgp_rib_free(rib);
    bgp_attribute_table_free(t);
}

static void test_what_says_the_same_changes_nothing(void **state)
{
    (void)state;
    struct model m = {0};
    struct bgp_attribute_table *t;
    struct bgp_rib *rib;
    struct bgp_rib_above above = {.user = &m, .metric = metric, .best = on_best};
    dead_hop = UINT32_MAX;
    assert_int_equal(bgp_attribute_table_create(&t, &hash_seed), 0);
    assert_int_equal(bgp_rib_create(&rib, BGP_IPV6_UNICAST, t, &above), 0);
    announce(rib, t, &m, 1, 1, 0);
    uint64_t version = bgp_rib_version(rib);
    for (int i = 0; i < 10; i++)
        announce(rib, t, &m, 1, 1, 0);
    assert_int_equal(bgp_rib_version(rib), version);
    assert_int_equal(m.best_calls, 1);
    assert_int_equal(set_of(t, 0)->references, 2); /* the path's and ours */
    bgp_rib_free(rib);
    bgp_attribute_table_free(t);
}

/* A key announced and withdrawn for ever costs no memory. */
static void test_flapping_costs_no_memory(void **state)
{
    (void)state;
    struct model m = {0};
    struct bgp_attribute_table *t;
    struct bgp_rib *rib;
    struct bgp_rib_above above = {.user = &m, .metric = metric};
    dead_hop = UINT32_MAX;
    assert_int_equal(bgp_attribute_table_create(&t, &hash_seed), 0);
    assert_int_equal(bgp_rib_create(&rib, BGP_IPV6_UNICAST, t, &above), 0);
    for (int i = 0; i < 200000; i++) {
        announce(rib, t, &m, (unsigned)i % 3, 1, 0);
        withdraw(rib, &m, (unsigned)i % 3, 1);
    }
    assert_true(bgp_rib_bytes(rib) < 20000);
    bgp_rib_free(rib);
    bgp_attribute_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_naive_model),
        cmocka_unit_test(test_a_route_that_dies_unreachable_is_forgotten),
        cmocka_unit_test(test_what_says_the_same_changes_nothing),
        cmocka_unit_test(test_flapping_costs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
