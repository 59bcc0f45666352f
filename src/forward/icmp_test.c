/* ICMP errors in mbufs: what is answered, and how often. */
#include "base/bytes.h"
#include "base/test.h"
#include "forward/icmp.h"
#include "lane/testing_mbuf.h"
#include "wire/ip_text.h"

#define SECOND_NS 1000000000ll

static struct testing_mbufs *slab;
static struct icmp_ops ops;

static struct rte_mbuf *frame(uint8_t first_mac_byte)
{
    struct rte_mbuf *m = testing_mbuf_sized(slab, 1514);
    uint8_t *p = packet_at(m, 0);
    p[0] = first_mac_byte;
    p += ETHER_SIZE;
    p[0] = 0x60;
    bytes_put_be16(p + IP6_LEN, 1500 - IP6_SIZE);
    p[IP6_NEXT] = IP_PROTO_UDP;
    p[IP6_SRC] = p[IP6_DST] = 0x20;
    return m;
}

static void test_error(void **state)
{
    struct icmp_limit l;
    struct ip_addr us;
    icmp_limit_init(&l, 0, 0);
    assert_int_equal(ip_addr_parse(&us, "2001:db8::1", NULL), 0);
    struct rte_mbuf *m = frame(2), *e = icmp_error(&l, &ops, ICMP_TOO_BIG, 1428, m, ETHER_SIZE, &us, 5);
    assert_non_null(e);
    assert_int_equal(e->data_len, ICMP6_ERROR_MOST);
    assert_int_equal(e->pkt_len, ICMP6_ERROR_MOST);
    assert_int_equal(packet_at(e, 0)[IP6_SIZE], ICMP6_TOO_BIG);
    assert_int_equal(packet_meta(e)->cells, 1);
    assert_int_equal(l.sent, 1);
    testing_mbuf_free(slab, e);
    m->data_len = 100; /* the simulator: the rest is virtual */
    e = icmp_error(&l, &ops, ICMP_TOO_BIG, 1428, m, ETHER_SIZE, &us, 5);
    assert_int_equal(e->data_len, 48 + 100 - ETHER_SIZE);
    testing_mbuf_free(slab, e);
    m->data_len = ETHER_SIZE;
    assert_null(icmp_error(&l, &ops, ICMP_TOO_BIG, 1428, m, ETHER_SIZE, &us, 5));
    testing_mbuf_free(slab, m);
    m = frame(0x33);
    assert_null(icmp_error(&l, &ops, ICMP_TOO_BIG, 1428, m, ETHER_SIZE, &us, 5));
    testing_mbuf_free(slab, m);
    assert_int_equal(l.sent, 2);
    assert_int_equal(slab->used, 0);
}

static void test_limit(void **state)
{
    struct icmp_limit l;
    icmp_limit_init(&l, 10, 5); /* ten a second, five at once */
    unsigned passed = 0;
    for (unsigned i = 0; i < 100; i++)
        passed += icmp_limit_pass(&l, 0);
    assert_int_equal(passed, 5);
    assert_int_equal(l.held, 95);
    for (int64_t now = 0; now <= 10 * SECOND_NS; now += 1000000)
        passed += icmp_limit_pass(&l, now);
    assert_int_equal(passed, 5 + 100);
    assert_false(icmp_limit_pass(&l, 10 * SECOND_NS));
    for (passed = 0; icmp_limit_pass(&l, 3600 * SECOND_NS);)
        passed++;
    assert_int_equal(passed, 5);
}

static void test_no_memory(void **state)
{
    struct rte_mbuf *all[8], *m = frame(2);
    struct icmp_limit l;
    struct ip_addr us = {.family = IP_V6, .a.b = {0x20}};
    icmp_limit_init(&l, 0, 0);
    unsigned n = 0;
    while ((all[n] = testing_mbuf_alloc(slab)))
        n++;
    assert_null(icmp_error(&l, &ops, ICMP_NO_ROUTE, 0, m, ETHER_SIZE, &us, 0));
    while (n--)
        testing_mbuf_free(slab, all[n]);
    testing_mbuf_free(slab, m);
}

int main(void)
{
    slab = testing_mbufs_create(8, 2048);
    ops = (struct icmp_ops){slab, testing_mbuf_alloc, testing_mbuf_free};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_no_memory),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    testing_mbufs_free(slab);
    return rc;
}
