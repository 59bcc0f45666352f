/* Routers in a row: what each says over its links becomes the others' way to it. */
#include "base/test.h"
#include "pe/inner.h"
#include "pe/testing_pe.h"

#include <stdlib.h>

#define ROUTERS 4

struct net {
    struct testing_bgp bgp;
    struct testing_pe r[ROUTERS], *all[ROUTERS];
};

static struct net *start(void)
{
    struct net *n = calloc(1, sizeof *n);
    n->bgp.now = 1000000000;
    for (unsigned i = 0; i < ROUTERS; i++) {
        testing_pe_init(&n->r[i], &n->bgp, i + 1);
        n->all[i] = &n->r[i];
    }
    return n;
}

static void settle(struct net *n)
{
    testing_pe_settle(&n->bgp, n->all, ROUTERS);
}

static void end(struct net *n)
{
    for (unsigned i = 0; i < ROUTERS; i++)
        testing_pe_done(&n->r[i]);
    free(n);
}

static int port_of(const struct testing_pe *t, const char *prefix)
{
    const struct forward_route *r = testing_pe_route(t, 0, prefix);
    return r && r->kind == ROUTE_ADJACENT ? r->port : -1;
}

static uint32_t metric_of(struct testing_pe *t, uint32_t router)
{
    struct ip6 a = {{0xfd, 0, 0x6d, 0x65, [15] = (uint8_t)router}};
    return nexthop_metric(t->pe, &a);
}

static void row(struct net *n)
{
    for (unsigned i = 0; i < ROUTERS; i++)
        testing_pe_start(&n->r[i]);
    for (unsigned i = 0; i + 1 < ROUTERS; i++)
        testing_pe_link(&n->r[i], 1, &n->r[i + 1], 0);
    settle(n);
}

static void everybody_is_reached(void **state)
{
    struct net *n = start();
    row(n);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::4/128"), 1);
    assert_int_equal(port_of(&n->r[0], "fcbb:bb00:4::/48"), 1);
    assert_int_equal(port_of(&n->r[3], "fd00:6d65::1/128"), 0);
    assert_int_equal(port_of(&n->r[1], "fd00:6d65::1/128"), 0);
    assert_int_equal(port_of(&n->r[1], "fcbb:bb00:3::/48"), 1);
    assert_int_equal(metric_of(&n->r[0], 4), 3);
    assert_int_equal(metric_of(&n->r[0], 2), 1);
    assert_int_equal(metric_of(&n->r[0], 1), 0);
    assert_int_equal(metric_of(&n->r[0], 9), UINT32_MAX);
    assert_null(testing_pe_route(&n->r[0], 0, "fd00:6d65::1/128")); /* not to itself */
    assert_int_equal(port_of(&n->r[0], "fe80::4d65:0:0:2/128"), 1); /* BGP's own way */
    end(n);
}

static void a_cut_goes_around(void **state)
{
    struct net *n = start();
    row(n);
    testing_pe_link(&n->r[0], 5, &n->r[3], 5); /* a ring */
    settle(n);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::4/128"), 5);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::3/128") >= 0, 1);
    testing_pe_cut(&n->r[0], 1, &n->r[1], 0);
    settle(n);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::2/128"), 5);
    assert_int_equal(metric_of(&n->r[0], 2), 3);
    assert_null(testing_pe_route(&n->r[0], 0, "fe80::4d65:0:0:2/128"));
    testing_pe_cut(&n->r[0], 5, &n->r[3], 5);
    settle(n);
    assert_int_equal(n->r[0].n_routes, 0);
    assert_int_equal(metric_of(&n->r[0], 4), UINT32_MAX);
    testing_pe_link(&n->r[0], 1, &n->r[1], 0);
    settle(n);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::4/128"), 1);
    end(n);
}

static void two_cables_one_session(void **state)
{
    struct net *n = start();
    row(n);
    testing_pe_link(&n->r[0], 7, &n->r[1], 7);
    settle(n);
    assert_int_equal(pe_counts(n->r[0].pe).neighbours, 1);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::2/128"), 1);
    pe_link_down(n->r[0].pe, 1, n->bgp.now); /* nothing of BGP ends */
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::2/128"), 7);
    assert_int_equal(port_of(&n->r[0], "fe80::4d65:0:0:2/128"), 7);
    pe_link_up(n->r[0].pe, 1, 2, n->bgp.now);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::2/128"), 1);
    end(n);
}

static void configuration_stands_above(void **state)
{
    struct net *n = start();
    static const struct pe_static own[] = {{.prefix = {IP_V6, 128, {{0xfd, 0, 0x6d, 0x65, [15] = 4}}}, .port = 9}};
    row(n);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::4/128"), 1);
    n->r[0].config.statics = own;
    n->r[0].config.n_statics = 1;
    n->r[0].n_routes = 0; /* the shell has put its own there */
    assert_int_equal(testing_pe_apply(&n->r[0]), 0);
    assert_null(testing_pe_route(&n->r[0], 0, "fd00:6d65::4/128"));
    assert_int_equal(metric_of(&n->r[0], 4), UINT32_MAX); /* nobody says HELLO at port 9 */
    pe_link_up(n->r[0].pe, 9, 50, n->bgp.now);
    assert_int_equal(metric_of(&n->r[0], 4), 1);
    n->r[0].config.n_statics = 0;
    assert_int_equal(testing_pe_apply(&n->r[0]), 0);
    assert_int_equal(port_of(&n->r[0], "fd00:6d65::4/128"), 1);
    end(n);
}

static void nobody_takes_our_place(void **state)
{
    struct net *n = start();
    static const struct ip_prefix lies[] = {{IP_V6, 128, {{0xfd, 0, 0x6d, 0x65, [15] = 1}}},
        {IP_V6, 64, {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xf0, 0x64}}}, {IP_V6, 64, {{0xfe, 0x80}}}, {IP_V6, 8, {{0xff}}},
        {IP_V6, 64, {{0x20, 1, 0x0d, 0xb8}}}};
    n->r[1].config.announce = lies;
    n->r[1].config.n_announce = 5;
    row(n);
    assert_null(testing_pe_route(&n->r[0], 0, "fd00:6d65::1/128"));
    assert_null(testing_pe_route(&n->r[0], 0, "fcbb:bb00:1:f064::/64"));
    assert_null(testing_pe_route(&n->r[0], 0, "fe80::/64"));
    assert_null(testing_pe_route(&n->r[0], 0, "ff00::/8"));
    assert_int_equal(port_of(&n->r[0], "2001:db8::/64"), 1); /* what is not ours may be theirs */
    end(n);
}

static void strange_neighbours(void **state)
{
    struct net *n = start();
    for (unsigned i = 0; i < ROUTERS; i++)
        testing_pe_start(&n->r[i]);
    struct pe *pe = n->r[0].pe;
    const uint64_t ids[] = {0, 1, 94967295, 1ull << 40};
    for (unsigned i = 0; i < 4; i++) {
        pe_link_up(pe, 3, ids[i], n->bgp.now);
        assert_int_equal(pe_counts(pe).neighbours, 0);
        pe_link_down(pe, 3, n->bgp.now);
    }
    pe_link_up(pe, 200, 2, n->bgp.now);
    pe_link_down(pe, 200, n->bgp.now);
    pe_link_down(pe, 4, n->bgp.now);
    assert_int_equal(pe_counts(pe).neighbours, 0);
    pe_link_up(pe, 3, 2, n->bgp.now);
    pe_link_up(pe, 3, 3, n->bgp.now); /* another router at the same cable */
    assert_int_equal(pe_counts(pe).neighbours, 1);
    assert_null(testing_pe_route(&n->r[0], 0, "fe80::4d65:0:0:2/128"));
    assert_int_equal(port_of(&n->r[0], "fe80::4d65:0:0:3/128"), 3);
    end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_reached),
        cmocka_unit_test(a_cut_goes_around),
        cmocka_unit_test(two_cables_one_session),
        cmocka_unit_test(configuration_stands_above),
        cmocka_unit_test(nobody_takes_our_place),
        cmocka_unit_test(strange_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
