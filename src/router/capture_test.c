/* A capture's ring and its pcapng: what goes in comes out, what does not fit is counted, blocks are laid out as they should. */
#include "router/capture.h"

#include "base/bytes.h"
#include "base/test.h"
#include "lane/testing_mbuf.h"
#include "wire/pcapng.h"

static void blocks_are_those_of_pcapng(void **state)
{
    struct buf b = {0};
    assert_int_equal(pcapng_start(&b, "p0", "test", 96), 0);
    assert_int_equal(bytes_get_u32(b.data), 0x0a0d0d0a);
    assert_int_equal(bytes_get_u32(b.data + 8), 0x1a2b3c4d);
    uint32_t section = bytes_get_u32(b.data + 4);
    assert_int_equal(bytes_get_u32(b.data + section - 4), section);
    const uint8_t *interface = b.data + section;
    assert_int_equal(bytes_get_u32(interface), 1);
    assert_int_equal(bytes_get_u16(interface + 8), 1); /* Ethernet */
    assert_int_equal(bytes_get_u32(interface + 12), 96);
    assert_int_equal(section + bytes_get_u32(interface + 4), b.len);
    size_t at = b.len;
    assert_int_equal(
        pcapng_packet(&b, &(struct pcapng_packet){0x0000000123456789, 5, 60, true}, (uint8_t *)"hello"), 0);
    const uint8_t *p = b.data + at;
    assert_int_equal(bytes_get_u32(p), 6);
    assert_int_equal(bytes_get_u32(p + 4), b.len - at);
    assert_int_equal(bytes_get_u32(p + 12), 1);
    assert_int_equal(bytes_get_u32(p + 16), 0x23456789);
    assert_int_equal(bytes_get_u32(p + 20), 5);
    assert_int_equal(bytes_get_u32(p + 24), 60);
    assert_memory_equal(p + 28, "hello\0\0\0", 8);
    assert_memory_equal(p + 36, "\2\0\4\0\2\0\0\0\0\0\0\0", 12); /* flags: outbound */
    assert_int_equal(bytes_get_u32(b.data + b.len - 4), b.len - at);
    buf_done(&b);
}

static void frames_come_out_in_order_and_too_many_are_counted(void **state)
{
    struct testing_mbufs *slab = testing_mbufs_create(2, 2048);
    struct rte_mbuf *m = testing_mbuf_sized(slab, 1500);
    struct capture *c;
    uint64_t captured, dropped;
    assert_int_equal(capture_create(&c, 65535, 0, 0), 0);
    for (uint32_t i = 0; i < 4000; i++) {
        bytes_put_u32(packet_at(m, 0), i);
        capture_frames(c, 0, i & 1, &m, 1, i);
    }
    capture_counts(c, &captured, &dropped);
    assert_int_equal(captured + dropped, 4000);
    assert_true(dropped > 0 && captured > 2500);
    struct buf b = {0};
    uint32_t n = 0;
    do {
        b.len = 0;
        assert_int_equal(capture_take(c, &b, 100000), 0);
        for (size_t at = 0; at < b.len; at += bytes_get_u32(b.data + at + 4), n++) {
            assert_int_equal(bytes_get_u32(b.data + at + 28), n);
            assert_int_equal(bytes_get_u32(b.data + at + 16), n);
            assert_int_equal(bytes_get_u32(b.data + at + 24), 1500);
        }
    } while (b.len);
    assert_int_equal(n, captured);
    capture_frames(c, 0, false, &m, 1, 7); /* there is room again */
    assert_int_equal(capture_take(c, &b, 100000), 0);
    assert_true(b.len > 1500);
    buf_done(&b);
    capture_free(c);
    testing_mbuf_free(slab, m);
    testing_mbufs_free(slab);
}

static void no_more_than_wanted_and_no_longer_than_wanted(void **state)
{
    struct testing_mbufs *slab = testing_mbufs_create(1, 2048);
    struct rte_mbuf *m = testing_mbuf_sized(slab, 1500);
    struct capture *c;
    struct buf b = {0};
    uint64_t captured, dropped;
    assert_int_equal(capture_create(&c, 64, 3, 0), 0);
    for (int i = 0; i < 10; i++)
        capture_frames(c, 0, false, &m, 1, 0);
    capture_counts(c, &captured, &dropped);
    assert_int_equal(captured, 3);
    assert_int_equal(dropped, 0);
    assert_int_equal(capture_take(c, &b, 100000), 0);
    assert_int_equal(bytes_get_u32(b.data + 20), 64);
    assert_int_equal(bytes_get_u32(b.data + 24), 1500);
    buf_done(&b);
    capture_free(c);
    testing_mbuf_free(slab, m);
    testing_mbufs_free(slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_those_of_pcapng),
        cmocka_unit_test(frames_come_out_in_order_and_too_many_are_counted),
        cmocka_unit_test(no_more_than_wanted_and_no_longer_than_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
