/* Best path, a row per step of RFC 4271 9.1.2.2 with RFC 4456 9 and RFC 9494 4.3: two paths that differ in this step and, the
 * other way round, in every later one; and the answer must not depend on their order. */
#include "bgp/best.h"

#include "base/bytes.h"
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

struct made {
    struct bgp_path path;
    uint32_t metric;
    uint8_t identifier[4];
    uint8_t address;
    struct bgp_attributes attributes; /* without bytes */
};

static struct made *table[BGP_PEERS_MOST]; /* by source */

static uint32_t metric(void *user, const uint8_t *next_hop, uint8_t len)
{
    (void)user, (void)len;
    return table[next_hop[0]]->metric;
}

static void peer_order(void *user, uint16_t source, uint8_t ret_identifier[4], struct ip_addr *ret_address)
{
    (void)user;
    memcpy(ret_identifier, table[source]->identifier, 4);
    *ret_address = (struct ip_addr){.family = IP_V6, .a = {{0xfd, [15] = table[source]->address}}};
}

static const struct bgp_rib_above above = {.metric = metric, .peer_order = peer_order};

static struct made *make(uint16_t source)
{
    static struct made pool[8];
    struct made *m = &pool[source];
    *m = (struct made){.path = {.source = source, .ibgp = true}, .identifier = {10, 0, 0, 5}, .address = 5};
    m->attributes.local_pref = 100;
    m->attributes.path_length = 2;
    m->attributes.origin = 1;
    m->attributes.neighbour_as = 65001;
    m->attributes.med = 10;
    m->attributes.next_hop_len = 16;
    m->attributes.next_hop[0] = (uint8_t)source;
    m->path.attributes = &m->attributes;
    m->metric = 10;
    table[source] = m;
    return m;
}

static struct bgp_path *best_of(struct made *x, struct made *y)
{
    x->path.next = &y->path;
    y->path.next = NULL;
    struct bgp_path *one = bgp_best(&x->path, &above);
    y->path.next = &x->path;
    x->path.next = NULL;
    struct bgp_path *two = bgp_best(&y->path, &above);
    x->path.next = y->path.next = NULL;
    assert_ptr_equal(one, two);
    return one;
}

enum step { LONG_LIVED, OURS, LOCAL_PREF, PATH, ORIGIN, MED, EXTERNAL, METRIC, IDENTIFIER, CLUSTERS, ADDRESS, STEPS };

/* Makes it better or worse in one step. */
static void set(struct made *m, enum step step, bool better)
{
    switch (step) {
    case LONG_LIVED:
        m->path.long_lived_stale = !better;
        break;
    case OURS: /* the source is what it is: see below */
        break;
    case LOCAL_PREF:
        m->attributes.local_pref = better ? 200 : 100;
        break;
    case PATH:
        m->attributes.path_length = better ? 1 : 2;
        break;
    case ORIGIN:
        m->attributes.origin = better ? 0 : 1;
        break;
    case MED:
        m->attributes.med = better ? 5 : 10;
        break;
    case EXTERNAL:
        m->path.ibgp = !better;
        break;
    case METRIC:
        m->metric = better ? 1 : 10;
        break;
    case IDENTIFIER:
        m->identifier[3] = better ? 1 : 5;
        break;
    case CLUSTERS:
        m->attributes.cluster_length = better ? 0 : 3;
        break;
    case ADDRESS:
        m->address = better ? 1 : 5;
        break;
    default:
        break;
    }
}

static void test_every_step_before_all_later_ones(void **state)
{
    (void)state;
    for (enum step step = LONG_LIVED; step < STEPS; step++) {
        /* x wins this step, y all later ones; before it they are equal. */
        struct made *x = make(step == OURS ? BGP_SELF : 1), *y = make(2);
        if (step != OURS) {
            set(x, step, true);
            set(y, step, false);
        }
        for (enum step later = step + 1; later < STEPS; later++) {
            set(x, later, false);
            set(y, later, true);
        }
        if (best_of(x, y) != &x->path)
            fail_msg("step %d does not decide", step);
    }
    struct made *x = make(1), *y = make(2); /* equal in all: the lower number */
    assert_ptr_equal(best_of(x, y), &x->path);
}

static void test_llgr_stale_community_counts_as_stale(void **state)
{
    (void)state;
    struct made *x = make(1), *y = make(2);
    x->attributes.llgr_stale = true;
    x->attributes.local_pref = 1000;
    assert_ptr_equal(best_of(x, y), &y->path);
}

static void test_originator_stands_for_the_identifier(void **state)
{
    (void)state;
    struct made *x = make(1), *y = make(2);
    memcpy(x->attributes.originator, (uint8_t[]){10, 0, 0, 9}, 4);
    x->identifier[3] = 1;
    y->identifier[3] = 8;
    assert_ptr_equal(best_of(x, y), &y->path);
}

static void test_unreachable_next_hops_are_never_best(void **state)
{
    (void)state;
    struct made *x = make(1), *y = make(2);
    x->attributes.local_pref = 500;
    x->metric = UINT32_MAX;
    assert_ptr_equal(best_of(x, y), &y->path);
    y->metric = UINT32_MAX;
    assert_null(best_of(x, y));
    assert_null(bgp_best(NULL, &above));
}

static void test_med_counts_inside_one_neighbouring_as_only(void **state)
{
    (void)state;
    struct made *x = make(1), *y = make(2);
    x->attributes.med = 100;
    x->identifier[3] = 1;
    assert_ptr_equal(best_of(x, y), &y->path);
    x->attributes.neighbour_as = 65002;
    assert_ptr_equal(best_of(x, y), &x->path);
}

/* RFC 4271 9.1.2.2 c: the classic of three where pairwise comparison goes in circles. All orders must agree. */
static void test_med_does_not_depend_on_order(void **state)
{
    (void)state;
    struct made *m[3] = {make(1), make(2), make(3)};
    m[0]->attributes.neighbour_as = 1, m[0]->attributes.med = 10, m[0]->metric = 1;
    m[1]->attributes.neighbour_as = 1, m[1]->attributes.med = 0, m[1]->metric = 9;
    m[2]->attributes.neighbour_as = 2, m[2]->attributes.med = 0, m[2]->metric = 5;
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) {
        m[orders[i][0]]->path.next = &m[orders[i][1]]->path;
        m[orders[i][1]]->path.next = &m[orders[i][2]]->path;
        m[orders[i][2]]->path.next = NULL;
        assert_ptr_equal(bgp_best(&m[orders[i][0]]->path, &above), &m[2]->path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step_before_all_later_ones),
        cmocka_unit_test(test_llgr_stale_community_counts_as_stale),
        cmocka_unit_test(test_originator_stands_for_the_identifier),
        cmocka_unit_test(test_unreachable_next_hops_are_never_best),
        cmocka_unit_test(test_med_counts_inside_one_neighbouring_as_only),
        cmocka_unit_test(test_med_does_not_depend_on_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
