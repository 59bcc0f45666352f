/* Every frame survives the wire; every length that is not exactly right, and every field out of range, is refused. */
#include "base/bytes.h"
#include "base/rng.h"
#include "base/test.h"
#include "wire/lane_frame.h"

#include <errno.h>
#include <string.h>

static uint8_t bytes[LANE_FRAME_MOST];

static void header_layout(void **state)
{
    (void)state;
    struct lane_header h = {.type = LANE_CREDIT, .length = 52, .epoch = 0x1122334455667788, .seq = 9}, got;
    lane_header_encode(bytes, &h);
    static const uint8_t want[24] = {
        'M', 'L', 2, 2, 0, 0, 0, 52, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 0, 0, 0, 0, 9};
    assert_memory_equal(bytes, want, 24);
    assert_int_equal(lane_header_decode(&got, bytes, 24 + 52 + 16), 0);
    assert_true(got.type == h.type && got.length == h.length && got.epoch == h.epoch && got.seq == h.seq);
    assert_int_equal(lane_header_decode(&got, bytes, 24 + 52 + 15), -EPROTO);
    assert_int_equal(lane_header_decode(&got, bytes, 23), -EPROTO);
    for (unsigned i = 0; i < 6; i++) {
        bytes[i] ^= 0x80; /* magic, version, type, flags */
        assert_int_equal(lane_header_decode(&got, bytes, 200), -EPROTO);
        bytes[i] ^= 0x80;
    }
    bytes[3] = 0;
    assert_int_equal(lane_header_decode(&got, bytes, 200), -EPROTO);
    bytes[3] = LANE_HELLO; /* no seal */
    assert_int_equal(lane_header_decode(&got, bytes, 24 + 52), 0);
    bytes_put_be16(bytes + 6, 1400);
    assert_int_equal(lane_header_decode(&got, bytes, 9000), -EPROTO);
    memset(bytes + 8, 0, 8);
    assert_int_equal(lane_header_decode(&got, bytes, 9000), -EPROTO);
}

static void a_hello_of_any_version_tells_it(void **state)
{
    (void)state;
    struct lane_header h = {.type = LANE_HELLO, .length = LANE_HELLO_SIZE, .epoch = 5}, got;
    lane_header_encode(bytes, &h);
    for (unsigned v = 0; v < 256; v++) {
        bytes[2] = (uint8_t)v;
        assert_int_equal(lane_hello_version(bytes, LANE_FRAME_HEADER), v);
        assert_int_equal(lane_header_decode(&got, bytes, LANE_FRAME_HEADER + LANE_HELLO_SIZE),
            v == LANE_FRAME_VERSION ? 0 : -EPROTO);
    }
    assert_int_equal(lane_hello_version(bytes, LANE_FRAME_HEADER - 1), -EPROTO);
    assert_int_equal(lane_hello_version(bytes, 0), -EPROTO);
    bytes[3] = LANE_CREDIT;
    assert_int_equal(lane_hello_version(bytes, LANE_FRAME_HEADER), -EPROTO);
    bytes[3] = LANE_HELLO, bytes[0] = 'm';
    assert_int_equal(lane_hello_version(bytes, LANE_FRAME_HEADER), -EPROTO);
}

static void fill(void *to, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = (uint8_t)rng_u64(seed, i);
}

static void hello_survives(void **state)
{
    (void)state;
    struct lane_hello h = {.router = 7, .boot = 1, .echo = 2, .port = 3, .cell = 2048, .mtu = 9000, .window = 4096};
    struct lane_hello got;
    fill(h.mac, 6, 1);
    fill(h.identity, 32, 2);
    fill(h.key, 32, 3);
    fill(h.signature, 64, 4);
    h.sent_ns = -5;
    h.echo_ns = INT64_MAX;
    memset(&got, 0, sizeof got);
    lane_hello_encode(bytes, &h);
    assert_int_equal(lane_hello_decode(&got, bytes, LANE_HELLO_SIZE), 0);
    assert_true(got.router == 7 && got.boot == 1 && got.echo == 2 && got.port == 3 && got.cell == 2048);
    assert_true(got.mtu == 9000 && got.window == 4096 && got.sent_ns == -5 && got.echo_ns == INT64_MAX);
    assert_memory_equal(got.mac, h.mac, 6);
    assert_memory_equal(got.identity, h.identity, 32);
    assert_memory_equal(got.key, h.key, 32);
    assert_memory_equal(got.signature, h.signature, 64);
    assert_memory_equal(bytes + LANE_HELLO_SIZE - 64, h.signature, 64); /* the signature is last */
    assert_int_equal(lane_hello_decode(&got, bytes, LANE_HELLO_SIZE - 1), -EPROTO);
    assert_int_equal(lane_hello_decode(&got, bytes, LANE_HELLO_SIZE + 1), -EPROTO);
    memset(bytes, 0, 8);
    assert_int_equal(lane_hello_decode(&got, bytes, LANE_HELLO_SIZE), -EPROTO);
}

static void open_survives_with_any_number_of_sids(void **state)
{
    (void)state;
    for (uint8_t n = 1; n <= LANE_FRAME_SIDS; n++) {
        struct lane_open_frame o = {
            .id = 1, .move_of = 2, .guarantee_bps = 3, .cap_bps = 4, .rate_bps = 5, .tenant = 6};
        struct lane_open_frame got;
        o.window_least = 7, o.ref = 8, o.class_ = 3, o.n_sids = n, o.at = n - 1;
        fill(o.sids, 16u * n, n);
        memset(&got, 0xaa, sizeof got);
        uint32_t len = lane_open_encode(bytes, &o);
        assert_int_equal(len, LANE_OPEN_SIZE + 16u * n);
        assert_int_equal(lane_open_decode(&got, bytes, len), 0);
        assert_memory_equal(got.sids, o.sids, sizeof o.sids);
        assert_true(got.id == 1 && got.move_of == 2 && got.guarantee_bps == 3 && got.cap_bps == 4 && got.rate_bps == 5);
        assert_true(got.tenant == 6 && got.window_least == 7 && got.ref == 8 && got.class_ == 3);
        assert_true(got.at == n - 1 && got.n_sids == n);
        for (uint32_t wrong = 0; wrong < len + 40; wrong++)
            if (wrong != len)
                assert_int_equal(lane_open_decode(&got, bytes, wrong), -EPROTO);
    }
    struct lane_open_frame bad = {.id = 1, .n_sids = 2}, got;
    bad.at = 2;
    assert_int_equal(lane_open_decode(&got, bytes, lane_open_encode(bytes, &bad)), -EPROTO);
    bad.at = 0, bad.id = 0;
    assert_int_equal(lane_open_decode(&got, bytes, lane_open_encode(bytes, &bad)), -EPROTO);
    bad.id = bad.move_of = 3;
    assert_int_equal(lane_open_decode(&got, bytes, lane_open_encode(bytes, &bad)), -EPROTO);
    bad.move_of = 0;
    uint32_t len = lane_open_encode(bytes, &bad);
    assert_int_equal(lane_open_decode(&got, bytes, len), 0);
    bytes[51] = 1; /* a flag that nobody knows */
    assert_int_equal(lane_open_decode(&got, bytes, len), -EPROTO);
}

static void small_frames_survive(void **state)
{
    (void)state;
    struct lane_accept a = {.id = 1, .ref = 2, .index = 3, .flags = 3, .generation = 4, .first = 5, .limit = 6}, a2;
    lane_accept_encode(bytes, &a);
    assert_int_equal(lane_accept_decode(&a2, bytes, LANE_ACCEPT_SIZE), 0);
    assert_true(a2.id == 1 && a2.ref == 2 && a2.index == 3 && a2.flags == 3 && a2.generation == 4 && a2.first == 5 &&
                a2.limit == 6);
    assert_int_equal(lane_accept_decode(&a2, bytes, LANE_ACCEPT_SIZE + 1), -EPROTO);
    a.flags = 4;
    lane_accept_encode(bytes, &a);
    assert_int_equal(lane_accept_decode(&a2, bytes, LANE_ACCEPT_SIZE), -EPROTO);
    a.flags = 0, a.limit = 4;
    lane_accept_encode(bytes, &a);
    assert_int_equal(lane_accept_decode(&a2, bytes, LANE_ACCEPT_SIZE), -EPROTO);

    struct lane_refuse r = {.id = 1, .where = 2, .ref = 3, .index = 4, .reason = LANE_REFUSED_POOL}, r2;
    lane_refuse_encode(bytes, &r);
    assert_int_equal(lane_refuse_decode(&r2, bytes, LANE_REFUSE_SIZE), 0);
    assert_true(r2.id == 1 && r2.where == 2 && r2.ref == 3 && r2.index == 4 && r2.reason == LANE_REFUSED_POOL);
    r.reason = LANE_REFUSAL_END;
    lane_refuse_encode(bytes, &r);
    assert_int_equal(lane_refuse_decode(&r2, bytes, LANE_REFUSE_SIZE), -EPROTO);

    struct lane_close_frame c = {.id = 1, .sent = 2, .ref = 3, .index = 4, .flags = 1}, c2;
    lane_close_encode(bytes, &c);
    assert_int_equal(lane_close_decode(&c2, bytes, LANE_CLOSE_SIZE), 0);
    assert_true(c2.id == 1 && c2.sent == 2 && c2.ref == 3 && c2.index == 4 && c2.flags == 1);
    assert_int_equal(lane_close_decode(&c2, bytes, 0), -EPROTO);

    struct lane_closed d = {.id = 1, .ref = 3, .index = 4, .losses = 5}, d2;
    lane_closed_encode(bytes, &d);
    assert_int_equal(lane_closed_decode(&d2, bytes, LANE_CLOSED_SIZE), 0);
    assert_true(d2.id == 1 && d2.ref == 3 && d2.index == 4 && d2.losses == 5);

    struct lane_reclaim e = {1, 2, 3, 4}, e2;
    lane_reclaim_encode(bytes, &e);
    assert_int_equal(lane_reclaim_decode(&e2, bytes, LANE_RECLAIM_SIZE), 0);
    assert_memory_equal(&e, &e2, sizeof e);

    struct lane_release f = {1, 2, 3, 1ull << 63}, f2;
    lane_release_encode(bytes, &f);
    assert_int_equal(lane_release_decode(&f2, bytes, LANE_RELEASE_SIZE), 0);
    assert_true(f2.ref == 1 && f2.index == 2 && f2.generation == 3 && f2.limit == 1ull << 63);
    assert_int_equal(lane_release_decode(&f2, bytes, LANE_RELEASE_SIZE - 1), -EPROTO);
}

static void lists_survive(void **state)
{
    (void)state;
    struct lane_credit c = {.losses = 1, .window = 2, .sent_ns = 3, .echo_ns = 4}, c2;
    unsigned n;
    lane_credit_encode(bytes, &c);
    for (unsigned i = 0; i < 55; i++)
        lane_credit_entry_put(bytes, i, &(struct lane_credit_entry){(uint16_t)i, 2, 3, 4, 5, 6});
    assert_int_equal(lane_credit_decode(&c2, &n, bytes, LANE_CREDIT_SIZE + 55 * LANE_CREDIT_ENTRY), 0);
    assert_int_equal(n, 55);
    assert_memory_equal(&c, &c2, sizeof c);
    for (unsigned i = 0; i < 55; i++) {
        struct lane_credit_entry e;
        lane_credit_entry_get(&e, bytes, i);
        assert_true(e.ref == i && e.index == 2 && e.generation == 3 && e.limit == 4 && e.behind == 5 && e.hold == 6);
    }
    assert_int_equal(lane_credit_decode(&c2, &n, bytes, LANE_CREDIT_SIZE + LANE_CREDIT_ENTRY - 1), -EPROTO);
    assert_int_equal(lane_credit_decode(&c2, &n, bytes, LANE_CREDIT_SIZE - 1), -EPROTO);

    uint64_t session, first;
    lane_sync_encode(bytes, 77);
    lane_sync_entry_put(bytes, 0, &(struct lane_sync_entry){1, 2, 3});
    lane_sync_entry_put(bytes, 1, &(struct lane_sync_entry){4, 5, 6});
    assert_int_equal(lane_sync_decode(&session, &n, bytes, LANE_SYNC_SIZE + 2 * LANE_SYNC_ENTRY), 0);
    struct lane_sync_entry s;
    lane_sync_entry_get(&s, bytes, 1);
    assert_true(session == 77 && n == 2 && s.ref == 4 && s.index == 5 && s.sent == 6);

    lane_loss_encode(bytes, 78);
    lane_gap_put(
        bytes, 0, &(struct lane_gap){.session = 1, .ref = 2, .kind = LANE_GAP_SESSION, .cells = 3, .first = 4});
    assert_int_equal(lane_loss_decode(&first, &n, bytes, LANE_LOSS_SIZE + LANE_LOSS_ENTRY), 0);
    struct lane_gap g;
    lane_gap_get(&g, bytes, 0);
    assert_true(first == 78 && n == 1 && g.session == 1 && g.ref == 2 && g.kind == 1 && g.cells == 3 && g.first == 4);
    bytes[LANE_LOSS_SIZE + 10] = LANE_GAP_KINDS;
    assert_int_equal(lane_loss_decode(&first, &n, bytes, LANE_LOSS_SIZE + LANE_LOSS_ENTRY), -EPROTO);
}

static void every_refusal_has_a_name(void **state)
{
    (void)state;
    for (unsigned r = 1; r < LANE_REFUSAL_END; r++)
        assert_string_not_equal(lane_refusal_name(r), "unknown");
    assert_string_equal(lane_refusal_name(0), "unknown");
    assert_string_equal(lane_refusal_name(4000), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_layout),
        cmocka_unit_test(a_hello_of_any_version_tells_it),
        cmocka_unit_test(hello_survives),
        cmocka_unit_test(open_survives_with_any_number_of_sids),
        cmocka_unit_test(small_frames_survive),
        cmocka_unit_test(lists_survive),
        cmocka_unit_test(every_refusal_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
