/* Hop-by-hop options: the canonical bytes, every combination, and what peers may send instead. */
#include "base/rng.h"
#include "base/test.h"
#include "wire/hbh.h"

static const struct hbh_types types = {HBH_NR_DEFAULT, HBH_LANE_DEFAULT};

static const struct hbh full = {
    .next = IP_PROTO_ROUTING,
    .has = HBH_HAS_ALL,
    .mark = HBH_MARK_L,
    .lane_index = 0x0102,
    .lane_epoch = 0x0304,
    .lane_cell = 0xa0b0c0d0,
    .flow_mon_id = 0x12345,
    .slice = 77,
};

/* clang-format off */
static const uint8_t canonical[HBH_SIZE] = {
    43, 3, 0x12, 4, 0x12, 0x34, 0x58, 0x00,         /* RFC 9343: FlowMonID 12345, L 1, D 0 */
    1, 0, 0x1e, 8, 0, 0, 0, 0, 0, 0, 0, 77,
    1, 0, 0x3e, 8, 1, 2, 3, 4, 0xa0, 0xb0, 0xc0, 0xd0,
};
/* clang-format on */

static void same(const struct hbh *a, const struct hbh *b)
{
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->next, b->next);
    assert_int_equal(a->has, b->has);
    assert_int_equal(a->mark, b->mark);
    assert_int_equal(a->nr_flags, b->nr_flags);
    assert_int_equal(a->mark_at, b->mark_at);
    assert_int_equal(a->nr_at, b->nr_at);
    assert_int_equal(a->lane_at, b->lane_at);
    assert_int_equal(a->lane_index, b->lane_index);
    assert_int_equal(a->lane_epoch, b->lane_epoch);
    assert_int_equal(a->lane_cell, b->lane_cell);
    assert_int_equal(a->flow_mon_id, b->flow_mon_id);
    assert_int_equal(a->slice, b->slice);
}

static void test_canonical_bytes(void **state)
{
    uint8_t to[HBH_SIZE];
    struct hbh fast = {0}, slow;
    uint32_t at;
    assert_int_equal(hbh_encode(to, &full, &types), HBH_SIZE);
    assert_memory_equal(to, canonical, HBH_SIZE);
    assert_true(hbh_canonical(&fast, to, sizeof(to), &types));
    assert_int_equal(hbh_parse(&slow, &at, to, sizeof(to), &types), HBH_OK);
    same(&fast, &slow);
    assert_int_equal(fast.flow_mon_id, 0x12345);
    assert_int_equal(fast.mark, HBH_MARK_L);
    assert_int_equal(fast.lane_at, HBH_LANE_AT);
    assert_false(hbh_canonical(&fast, to, sizeof(to) - 1, &types));
}

static void test_marks(void **state)
{
    uint8_t to[HBH_SIZE];
    for (unsigned mark = 0; mark < 4; mark++) {
        struct hbh h = full, got;
        uint32_t at;
        h.mark = (uint8_t)mark;
        hbh_encode(to, &h, &types);
        assert_int_equal(bytes_get_be32(to + 4), 0x12345000u | (mark & 1) << 11 | (mark >> 1) << 10);
        assert_int_equal(hbh_parse(&got, &at, to, sizeof(to), &types), HBH_OK);
        assert_int_equal(got.mark, mark);
    }
}

static void test_every_combination(void **state)
{
    for (unsigned has = 1; has <= HBH_HAS_ALL; has++) {
        uint8_t to[HBH_SIZE + 1];
        struct hbh h = full, got;
        uint32_t at;
        h.has = (uint8_t)has;
        memset(to, 0xee, sizeof(to));
        size_t n = hbh_encode(to, &h, &types);
        assert_int_equal(n, hbh_size(has));
        assert_int_equal(n % 8, 0);
        assert_int_equal(to[n], 0xee);
        assert_int_equal(hbh_parse(&got, &at, to, n, &types), HBH_OK);
        assert_int_equal(got.has, has);
        assert_int_equal(got.size, n);
        assert_int_equal(got.mark_at % 4 + got.nr_at % 4 + got.lane_at % 4, 0);
        assert_int_equal(got.slice, has & HBH_HAS_NR ? 77 : 0);
        assert_int_equal(got.lane_cell, has & HBH_HAS_LANE ? 0xa0b0c0d0 : 0);
        assert_int_equal(hbh_canonical(&got, to, n, &types), has == HBH_HAS_ALL || has == (HBH_HAS_MARK | HBH_HAS_NR));
    }
    assert_int_equal(hbh_size(HBH_HAS_MARK), 8);
    assert_int_equal(hbh_size(0), 0);
}

static enum hbh_verdict parse(struct hbh *h, uint32_t *at, const uint8_t *p, size_t n)
{
    uint8_t *exact = test_malloc(n ? n : 1); /* so that the sanitizer sees the end */
    memcpy(exact, p, n);
    enum hbh_verdict v = hbh_parse(h, at, exact, n, &types);
    test_free(exact);
    return v;
}

static void test_any_order(void **state)
{
    struct hbh h;
    uint32_t at;
    const uint8_t lane_first[] = {
        17, 2, 0x3e, 8, 0, 9, 0, 1, 0, 0, 0, 5, 0, 0, 0x12, 4, 0xff, 0xff, 0xfc, 0, 1, 2, 0, 0};
    assert_int_equal(parse(&h, &at, lane_first, sizeof(lane_first)), HBH_OK);
    assert_int_equal(h.has, HBH_HAS_MARK | HBH_HAS_LANE);
    assert_int_equal(h.lane_at, 4);
    assert_int_equal(h.lane_index, 9);
    assert_int_equal(h.mark_at, 16);
    assert_int_equal(h.flow_mon_id, 0xfffff);
    assert_int_equal(h.mark, HBH_MARK_L | HBH_MARK_D);
    /* router alert (skip) before, other context type of the NR option: not known, skipped */
    const uint8_t others[] = {6, 1, 5, 2, 0, 0, 0x1e, 8, 0, 1, 0, 0, 0, 0, 0, 1};
    assert_int_equal(parse(&h, &at, others, sizeof(others)), HBH_OK);
    assert_int_equal(h.has, 0);
    assert_int_equal(h.next, 6);
}

static void test_unknown_options(void **state)
{
    static const struct {
        uint8_t type;
        enum hbh_verdict want;
    } cases[] = {{0x0d, HBH_OK}, {0x4d, HBH_DISCARD}, {0x8d, HBH_PROBLEM}, {0xcd, HBH_PROBLEM_UNICAST}};
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t p[] = {6, 0, 0, cases[i].type, 2, 0, 0, 0};
        struct hbh h;
        uint32_t at;
        assert_int_equal(parse(&h, &at, p, sizeof(p)), cases[i].want);
        if (cases[i].want != HBH_OK)
            assert_int_equal(at, 3);
    }
}

static void test_malformed(void **state)
{
    struct hbh h;
    uint32_t at;
    const uint8_t beyond[] = {6, 0, 0, 0, 0, 0, 0x12, 4}, lone[] = {6, 0, 0, 0, 0, 0, 0, 0x12};
    const uint8_t wrong[] = {6, 0, 0x12, 3, 0, 0, 0, 0}, longer[] = {6, 1, 1, 4, 0, 0, 0, 0};
    const uint8_t twice[] = {6, 1, 0x12, 4, 0, 0, 0, 0, 1, 0, 0x12, 4, 0, 0, 0, 0};
    assert_int_equal(parse(&h, &at, beyond, sizeof(beyond)), HBH_MALFORMED);
    assert_int_equal(at, 6);
    assert_int_equal(parse(&h, &at, lone, sizeof(lone)), HBH_MALFORMED);
    assert_int_equal(parse(&h, &at, wrong, sizeof(wrong)), HBH_MALFORMED);
    assert_int_equal(parse(&h, &at, longer, sizeof(longer)), HBH_MALFORMED);
    assert_int_equal(parse(&h, &at, longer, 0), HBH_MALFORMED);
    const uint8_t one_more[] = {6, 0, 1, 5, 0, 0, 0, 0};
    assert_int_equal(parse(&h, &at, one_more, sizeof(one_more)), HBH_MALFORMED);
    assert_int_equal(parse(&h, &at, twice, sizeof(twice)), HBH_MALFORMED);
    assert_int_equal(at, 10);
    uint8_t many[8 * 32] = {6, 31};
    for (unsigned i = 2; i < sizeof(many); i += 2)
        many[i] = HBH_PADN;
    assert_int_equal(parse(&h, &at, many, sizeof(many)), HBH_MALFORMED);
}

/* What the recogniser takes for canonical is what the parser says, whichever byte is changed. */
static void test_recogniser_agrees(void **state)
{
    struct hbh short_one = full;
    short_one.has = HBH_HAS_MARK | HBH_HAS_NR;
    for (unsigned i = 0; i < HBH_SIZE * 128; i++) {
        uint8_t p[HBH_SIZE];
        struct hbh fast, slow;
        uint32_t at;
        size_t size = HBH_SIZE;
        memset(&fast, 0xff, sizeof(fast));
        memcpy(p, canonical, sizeof(p));
        if (i % 2)
            size = hbh_encode(p, &short_one, &types);
        p[i / 2 % size] = (uint8_t)rng_u64(5, i);
        if (!hbh_canonical(&fast, p, size, &types))
            continue;
        assert_int_equal(hbh_parse(&slow, &at, p, size, &types), HBH_OK);
        same(&fast, &slow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_bytes),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_recogniser_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
