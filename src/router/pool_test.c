/* Packets have room in front wherever they come from: our own, a driver's, and those that a driver freed itself. */
#include "base/test.h"
#include "router/testing_pool.h"

static void own_packets_have_headroom_and_room(void **state)
{
    struct pool p;
    testing_pool_init(&p, 64, 2100);
    struct rte_mbuf *m = pool_alloc(&p);
    assert_int_equal(rte_pktmbuf_headroom(m), PACKET_HEADROOM);
    assert_int_equal(rte_pktmbuf_tailroom(m), 2100);
    assert_int_equal(packet_meta(m)->cells, 0);
    packet_meta(m)->cells = 7;
    assert_non_null(rte_pktmbuf_prepend(m, PACKET_HEADROOM));
    pool_free(m);
    assert_int_equal(pool_free_count(&p), 64);
    m = pool_alloc(&p);
    assert_int_equal(packet_meta(m)->cells, 0);
    pool_free(m);
    pool_done(&p);
}

/* As a driver does it: it allocates, leaves its constant headroom, and fills what it believes the buffer to hold. */
static struct rte_mbuf *driver_fills(struct pool *p, uint8_t with)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(p->mempool);
    uint16_t len = (uint16_t)(rte_pktmbuf_data_room_size(p->mempool) - RTE_PKTMBUF_HEADROOM);
    m->data_len = len;
    m->pkt_len = len;
    memset(rte_pktmbuf_mtod(m, void *), with, len);
    return m;
}

static void a_drivers_packets_get_the_headroom_without_copying(void **state)
{
    struct pool p;
    testing_pool_init(&p, 4, 1600);
    struct rte_mbuf *all[4];
    for (int i = 0; i < 4; i++) {
        all[i] = driver_fills(&p, (uint8_t)i);
        void *at = rte_pktmbuf_mtod(all[i], void *);
        assert_int_equal(all[i]->data_len, 1600);
        pool_from_driver(all[i]);
        assert_ptr_equal(rte_pktmbuf_mtod(all[i], void *), at);
        assert_int_equal(rte_pktmbuf_headroom(all[i]), PACKET_HEADROOM);
    }
    for (int i = 0; i < 4; i++) {
        memset(rte_pktmbuf_prepend(all[i], PACKET_HEADROOM), 0xee, PACKET_HEADROOM);
        rte_pktmbuf_adj(all[i], PACKET_HEADROOM);
    }
    for (int i = 0; i < 4; i++) { /* nobody wrote into a neighbour */
        for (int b = 0; b < 1600; b++)
            assert_int_equal(*packet_at(all[i], (unsigned)b), i);
        pool_free(all[i]);
    }
    pool_done(&p);
}

static void packets_that_a_driver_freed_are_whole_again(void **state)
{
    struct pool p;
    testing_pool_init(&p, 1, 1600);
    struct rte_mbuf *m = pool_alloc(&p);
    rte_mbuf_refcnt_update(m, 1); /* sent: the driver's reference */
    pool_free(m);                 /* ours */
    rte_pktmbuf_free(m);          /* the driver's, later */
    m = driver_fills(&p, 9);
    pool_from_driver(m);
    assert_int_equal(rte_pktmbuf_headroom(m), PACKET_HEADROOM);
    assert_int_equal(rte_pktmbuf_tailroom(m), 0);
    for (unsigned b = 0; b < 1600; b++)
        assert_int_equal(*packet_at(m, b), 9);
    pool_free(m);
    m = driver_fills(&p, 10);
    void *at = rte_pktmbuf_mtod(m, void *);
    pool_from_driver(m);
    assert_ptr_equal(rte_pktmbuf_mtod(m, void *), at);
    pool_free(m);
    pool_done(&p);
}

static void an_empty_pool_says_so(void **state)
{
    struct pool p;
    testing_pool_init(&p, 2, 100);
    struct rte_mbuf *a = pool_alloc(&p), *b = pool_alloc(&p);
    assert_non_null(b);
    assert_null(pool_alloc(&p));
    pool_free(a);
    a = pool_alloc(&p);
    assert_non_null(a);
    pool_free(a);
    pool_free(b);
    pool_done(&p);
}

/* The tests' EAL has 128 MiB: a pool that is said to take 100 must fit, whatever its packets' size. */
static void a_pool_fits_into_what_it_says_it_takes(void **state)
{
    static const uint32_t rooms[] = {2176, 1600, 3600, 9300};
    for (unsigned i = 0; i < sizeof(rooms) / sizeof(*rooms); i++) {
        struct pool p;
        uint32_t packets = 1024;
        while (pool_bytes(packets + 512, rooms[i]) < 100u << 20)
            packets += 512;
        assert_true(packets > 5000);
        testing_pool_init(&p, packets, rooms[i]);
        assert_int_equal(pool_free_count(&p), packets);
        pool_done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_packets_have_headroom_and_room),
        cmocka_unit_test(a_drivers_packets_get_the_headroom_without_copying),
        cmocka_unit_test(packets_that_a_driver_freed_are_whole_again),
        cmocka_unit_test(an_empty_pool_says_so),
        cmocka_unit_test(a_pool_fits_into_what_it_says_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
