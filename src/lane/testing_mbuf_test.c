/* The slab that other tests trust: layout as the shells make it, nothing handed out twice, leaks seen. */
#include "base/test.h"
#include "lane/testing_mbuf.h"

static void hands_out_each_mbuf_once(void **state)
{
    (void)state;
    struct testing_mbufs *s = testing_mbufs_create(3, 512);
    struct rte_mbuf *m[3];
    for (int i = 0; i < 3; i++) {
        m[i] = testing_mbuf_alloc(s);
        assert_non_null(m[i]);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(m[i], m[j]);
    }
    assert_null(testing_mbuf_alloc(s));
    assert_int_equal(s->refused, 1);
    assert_int_equal(s->used, 3);
    testing_mbuf_free(s, m[1]);
    assert_ptr_equal(testing_mbuf_alloc(s), m[1]);
    for (int i = 0; i < 3; i++)
        testing_mbuf_free(s, m[i]);
    assert_int_equal(s->used, 0);
    assert_int_equal(s->peak, 3);
    assert_int_equal(s->allocs, s->frees);
    testing_mbufs_free(s);
}

static void has_the_layout_of_a_packet(void **state)
{
    (void)state;
    struct testing_mbufs *s = testing_mbufs_create(2, 512);
    struct rte_mbuf *m = testing_mbuf_sized(s, 4097);
    assert_int_equal(m->pkt_len, 4097);
    assert_int_equal(m->data_len, 512);
    assert_int_equal(m->priv_size, PACKET_META_SIZE);
    assert_int_equal(packet_meta(m)->cells, 3);
    assert_null(packet_meta(m)->from);
    assert_ptr_equal(m->buf_addr, (uint8_t *)packet_meta(m) + PACKET_META_SIZE);
    assert_ptr_equal(packet_at(m, 0), (uint8_t *)m->buf_addr + PACKET_HEADROOM);
    memset(m->buf_addr, 0xff, m->buf_len);
    struct rte_mbuf *n = testing_mbuf_bytes(s, "abc", 3);
    assert_int_equal(n->pkt_len, 3);
    assert_memory_equal(packet_at(n, 0), "abc", 3);
    testing_mbuf_free(s, m);
    testing_mbuf_free(s, n);
    testing_mbufs_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_each_mbuf_once),
        cmocka_unit_test(has_the_layout_of_a_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
