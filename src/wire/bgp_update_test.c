/* RFC 7606, a row per case: what an UPDATE looks like that has just this wrong, and what must follow. */
#include "wire/bgp_update.h"

#include "base/bytes.h"
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint32_t families[] = {BGP_IPV4_UNICAST, BGP_EVPN, BGP_SR_POLICY_V6, BGP_VPNV4};
static const struct bgp_update_context ibgp = {.ibgp = true,
                                           .as4 = true,
                                           .peer_as = 65000,
                                           .families = families,
                                           .n_families = 4},
                                       ebgp = {.as4 = true, .peer_as = 65001, .families = families, .n_families = 4},
                                       narrow = {.ibgp = true, .peer_as = 65000, .families = families, .n_families = 4};

/* An UPDATE body made of attributes. */
struct made {
    uint8_t bytes[4096];
    size_t len; /* of the attributes */
    uint8_t tail[64];
    size_t tail_len;
};

static void add(struct made *m, uint8_t flags, uint8_t type, const void *value, size_t len)
{
    int n = bgp_attribute_put(m->bytes + 4, m->len, sizeof m->bytes - 4, flags, type, value, len);
    assert_true(n > 0);
    m->len = (size_t)n;
}

static const uint8_t reach_rt5[] = {0, 25, 70, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 5, 34, 0, 0,
    0xfd, 0xe8, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 10, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0x30};

/* What every route needs, but for the attribute `without`. */
static void make_from(struct made *m, int without, const struct bgp_update_context *where)
{
    *m = (struct made){0};
    add(m, 0x80, BGP_MP_REACH, reach_rt5, sizeof reach_rt5);
    if (without != BGP_ORIGIN)
        add(m, 0x40, BGP_ORIGIN, "\0", 1);
    if (without != BGP_AS_PATH && where->ibgp)
        add(m, 0x40, BGP_AS_PATH, "", 0);
    else if (without != BGP_AS_PATH)
        add(m, 0x40, BGP_AS_PATH, "\2\1\0\0\xfd\xe9", 6); /* 65001 */
    if (without != BGP_LOCAL_PREF)
        add(m, 0x40, BGP_LOCAL_PREF, "\0\0\0\x64", 4);
}

static void make(struct made *m, int without)
{
    make_from(m, without, &ibgp);
}

static enum bgp_action read_made(
    struct made *m, const struct bgp_update_context *where, struct bgp_update *u, struct bgp_notification *error)
{
    bytes_put_be16(m->bytes, 0);
    bytes_put_be16(m->bytes + 2, (uint16_t)m->len);
    memcpy(m->bytes + 4 + m->len, m->tail, m->tail_len);
    return bgp_update_decode(u, m->bytes, 4 + m->len + m->tail_len, where, error);
}

static void test_a_sound_update(void **state)
{
    (void)state;
    struct made m;
    struct bgp_update u;
    struct bgp_notification error;
    make(&m, 0);
    add(&m, 0xc0, 247, "unknown", 7);
    add(&m, 0x80, 246, "not transitive", 14);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_ACCEPT);
    assert_int_equal(u.faults, 0);
    assert_int_equal(u.reach_family, BGP_EVPN);
    assert_int_equal(u.next_hop_len, 16);
    assert_int_equal(u.reach_len, 36);
    assert_int_equal(u.n_attributes, 4); /* MP_REACH apart, the non-transitive unknown one left out */
    assert_non_null(bgp_attribute_find(&u, 247));
    assert_null(bgp_attribute_find(&u, 246));
}

struct row {
    const char *what;
    uint8_t flags, type, len;
    const char *value;
    enum { INSIDE, OUTSIDE, NARROW } from; /* NARROW: inside, numbers of two octets */
    enum bgp_action action;
    bool kept;
};

static void test_attributes_that_are_wrong(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ORIGIN of two bytes", 0x40, BGP_ORIGIN, 2, "\0\0", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"ORIGIN 3", 0x40, BGP_ORIGIN, 1, "\3", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"ORIGIN optional", 0xc0, BGP_ORIGIN, 1, "\0", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH segment overrun", 0x40, BGP_AS_PATH, 6, "\2\2\0\0\0\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH segment empty", 0x40, BGP_AS_PATH, 2, "\2\0", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH segment unknown", 0x40, BGP_AS_PATH, 6, "\5\1\0\0\0\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH one byte left", 0x40, BGP_AS_PATH, 7, "\2\1\0\0\0\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"NEXT_HOP of 3", 0x40, BGP_NEXT_HOP, 3, "\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"MED of 3", 0x80, BGP_MED, 3, "\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"LOCAL_PREF of 3", 0x40, BGP_LOCAL_PREF, 3, "\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"LOCAL_PREF from outside", 0x40, BGP_LOCAL_PREF, 3, "\1\1\1", OUTSIDE, BGP_ACCEPT, false},
        {"AS_PATH from outside without the peer's number", 0x40, BGP_AS_PATH, 6, "\2\1\0\0\0\1", OUTSIDE,
            BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH from outside, empty", 0x40, BGP_AS_PATH, 0, "", OUTSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH of a confederation from outside", 0x40, BGP_AS_PATH, 6, "\3\1\0\0\xfd\xe9", OUTSIDE,
            BGP_TREAT_AS_WITHDRAW, false},
        {"AS_PATH sound from outside", 0x40, BGP_AS_PATH, 6, "\2\1\0\0\xfd\xe9", OUTSIDE, BGP_ACCEPT, true},
        {"AS_PATH of two octets", 0x40, BGP_AS_PATH, 4, "\2\1\0\1", NARROW, BGP_ACCEPT, true},
        {"AGGREGATOR not transitive", 0x80, BGP_AGGREGATOR, 8, "\1\1\1\1\1\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW,
            false},
        {"ATOMIC_AGGREGATE optional", 0xc0, BGP_ATOMIC_AGGREGATE, 0, "", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"ATOMIC_AGGREGATE of 1", 0x40, BGP_ATOMIC_AGGREGATE, 1, "\1", INSIDE, BGP_DISCARD_ATTRIBUTE, false},
        {"AGGREGATOR of 6 with AS4", 0xc0, BGP_AGGREGATOR, 6, "\1\1\1\1\1\1", INSIDE, BGP_DISCARD_ATTRIBUTE, false},
        {"COMMUNITIES of 3", 0xc0, BGP_COMMUNITIES, 3, "\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"COMMUNITIES empty", 0xc0, BGP_COMMUNITIES, 0, "", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"ORIGINATOR_ID of 5", 0x80, BGP_ORIGINATOR_ID, 5, "\1\1\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"ORIGINATOR_ID from outside", 0x80, BGP_ORIGINATOR_ID, 4, "\1\1\1\1", OUTSIDE, BGP_ACCEPT, false},
        {"CLUSTER_LIST of 5", 0x80, BGP_CLUSTER_LIST, 5, "\1\1\1\1\1", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"CLUSTER_LIST from outside", 0x80, BGP_CLUSTER_LIST, 5, "\1\1\1\1\1", OUTSIDE, BGP_ACCEPT, false},
        {"EXTENDED_COMMUNITIES of 7", 0xc0, BGP_EXTENDED_COMMUNITIES, 7, "\1\1\1\1\1\1\1", INSIDE,
            BGP_TREAT_AS_WITHDRAW, false},
        {"EXTENDED_COMMUNITIES sound", 0xc0, BGP_EXTENDED_COMMUNITIES, 8, "\0\2\xfd\xe8\0\0\0\1", INSIDE, BGP_ACCEPT,
            true},
        {"LARGE_COMMUNITY of 11", 0xc0, BGP_LARGE_COMMUNITIES, 11, "aaaaaaaaaaa", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"AS4_PATH between speakers of four octets", 0xc0, BGP_AS4_PATH, 6, "\2\1\0\0\0\1", INSIDE, BGP_ACCEPT, false},
        {"AS4_PATH malformed", 0xc0, BGP_AS4_PATH, 3, "\2\1\1", NARROW, BGP_DISCARD_ATTRIBUTE, false},
        {"AS4_AGGREGATOR of 7", 0xc0, BGP_AS4_AGGREGATOR, 7, "\1\1\1\1\1\1\1", NARROW, BGP_DISCARD_ATTRIBUTE, false},
        {"PREFIX_SID TLV overrun", 0xc0, BGP_PREFIX_SID, 5, "\5\0\11\0\0", INSIDE, BGP_TREAT_AS_WITHDRAW, false},
        {"PREFIX_SID unknown TLV", 0xc0, BGP_PREFIX_SID, 5, "\77\0\2\0\0", INSIDE, BGP_ACCEPT, true},
        {"PREFIX_SID with a SID too short", 0xc0, BGP_PREFIX_SID, 9, "\5\0\6\0\1\0\2\0\0", INSIDE,
            BGP_TREAT_AS_WITHDRAW, false},
        {"TUNNEL_ENCAPSULATION overrun", 0xc0, BGP_TUNNEL_ENCAPSULATION, 5, "\0\17\0\4\1", INSIDE,
            BGP_TREAT_AS_WITHDRAW, false},
        {"unknown well-known", 0x40, 250, 1, "\1", INSIDE, BGP_RESET, false},
        {"unknown optional", 0xc0, 250, 1, "\1", INSIDE, BGP_ACCEPT, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct made m;
        struct bgp_update u;
        struct bgp_notification error;
        const struct bgp_update_context *where = r->from == OUTSIDE ? &ebgp : r->from == NARROW ? &narrow : &ibgp;
        make_from(&m, r->type, where);
        add(&m, r->flags, r->type, r->value, r->len);
        enum bgp_action got = read_made(&m, where, &u, &error);
        bool kept = bgp_attribute_find(&u, r->type) != NULL;
        if (got != r->action || kept != r->kept)
            fail_msg("%s: action %d, kept %d (%s)", r->what, got, kept, u.why);
    }
}

static void test_mandatory_attributes(void **state)
{
    (void)state;
    static const uint8_t types[] = {BGP_ORIGIN, BGP_AS_PATH, BGP_LOCAL_PREF};
    for (unsigned i = 0; i < 3; i++) {
        struct made m;
        struct bgp_update u;
        struct bgp_notification error;
        make(&m, types[i]);
        assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_TREAT_AS_WITHDRAW);
        assert_non_null(strstr(u.why, "missing"));
    }
    struct made m;
    struct bgp_update u;
    struct bgp_notification error;
    make_from(&m, BGP_LOCAL_PREF, &ebgp);
    assert_int_equal(read_made(&m, &ebgp, &u, &error), BGP_ACCEPT);
    make(&m, 0);
    m.tail_len = 4;
    memcpy(m.tail, "\30\12\1\2", 4); /* an IPv4 route without NEXT_HOP */
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_TREAT_AS_WITHDRAW);
    assert_int_equal(u.announced_len, 4);
}

static void test_duplicates(void **state)
{
    (void)state;
    struct made m;
    struct bgp_update u;
    struct bgp_notification error;
    make(&m, 0);
    add(&m, 0x40, BGP_LOCAL_PREF, "\0\0\0\1", 4);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_ACCEPT);
    assert_int_equal(u.faults, 1);
    assert_int_equal(bytes_get_be32(bgp_attribute_find(&u, BGP_LOCAL_PREF)->value), 100);
    make(&m, 0);
    add(&m, 0x80, BGP_MP_REACH, reach_rt5, sizeof reach_rt5);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    assert_int_equal(error.subcode, BGP_UPDATE_ATTRIBUTES);
}

static void test_overruns(void **state)
{
    (void)state;
    struct made m;
    struct bgp_update u;
    struct bgp_notification error;
    /* Fewer than three octets left, then an attribute longer than the list: the routes are known, so withdraw. */
    make(&m, 0);
    m.bytes[4 + m.len] = 0x40;
    m.len += 1;
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_TREAT_AS_WITHDRAW);
    make(&m, 0);
    memcpy(m.bytes + 4 + m.len, "\x40\7\377\0", 4);
    m.len += 4;
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_TREAT_AS_WITHDRAW);
    assert_int_equal(u.reach_len, 36);
    /* The lists themselves longer than the message: reset. */
    static const uint8_t lists[][6] = {{0, 9, 0, 0, 0, 0}, {0, 0, 0, 9, 0, 0}, {0xff, 0xff, 0, 0, 0, 0}};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(bgp_update_decode(&u, lists[i], 6, &ibgp, &error), BGP_RESET);
    assert_int_equal(bgp_update_decode(&u, lists[0], 3, &ibgp, &error), BGP_RESET);
}

static void test_routes_that_cannot_be_read(void **state)
{
    (void)state;
    struct made m;
    struct bgp_update u;
    struct bgp_notification error;
    uint8_t bad[sizeof reach_rt5];
    memcpy(bad, reach_rt5, sizeof bad);
    bad[22] = 60; /* the EVPN route runs over the end */
    m = (struct made){0};
    add(&m, 0x80, BGP_MP_REACH, bad, sizeof bad);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    memcpy(bad, reach_rt5, sizeof bad);
    bad[45] = 200; /* prefix length: this route is skipped, the session stays */
    make(&m, 0);
    memcpy(m.bytes + 4 + 3, bad, sizeof bad);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_ACCEPT);
    assert_int_equal(u.faults, 1);
    memcpy(bad, reach_rt5, sizeof bad);
    bad[3] = 15; /* next hop */
    m = (struct made){0};
    add(&m, 0x80, BGP_MP_REACH, bad, sizeof bad);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    m = (struct made){0};
    add(&m, 0x80, BGP_MP_UNREACH, "\0\31", 2);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
}

/* RFC 7606 5.2. */
static void test_wrong_attributes_without_routes_reset(void **state)
{
    (void)state;
    struct made m = {0};
    struct bgp_update u;
    struct bgp_notification error;
    add(&m, 0x40, BGP_ORIGIN, "\3", 1);
    add(&m, 0x80, BGP_MP_UNREACH, "\0\31\106", 3);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    assert_int_equal(error.subcode, BGP_UPDATE_ATTRIBUTES);
    /* An attribute that hides the ones behind it, MP_REACH_NLRI among them. */
    m = (struct made){0};
    memcpy(m.bytes + 4, "\x40\1\377\0", 4);
    m.len = 4;
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    m = (struct made){0};
    m.bytes[4] = 0x40;
    m.len = 1;
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_RESET);
    /* What is only discarded does not matter; nor do the flags of what withdraws. */
    m = (struct made){0};
    add(&m, 0x40, BGP_ATOMIC_AGGREGATE, "\3", 1);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_DISCARD_ATTRIBUTE);
    m = (struct made){0};
    add(&m, 0xc0, BGP_MP_UNREACH, "\0\31\106", 3);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_TREAT_AS_WITHDRAW);
}

static void test_end_of_rib_and_withdraws_need_no_attributes(void **state)
{
    (void)state;
    struct made m = {0};
    struct bgp_update u;
    struct bgp_notification error;
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_ACCEPT);
    add(&m, 0x80, BGP_MP_UNREACH, "\0\31\106", 3);
    assert_int_equal(read_made(&m, &ibgp, &u, &error), BGP_ACCEPT);
    assert_int_equal(u.unreach_family, BGP_EVPN);
    assert_int_equal(u.unreach_len, 0);
}

static void test_prefix_sid_is_the_37_octets_that_daemons_know(void **state)
{
    (void)state;
    struct bgp_srv6_service s = {.sid = {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xf0, 0x0a}},
                                .behaviour = 64,
                                .block_bits = 32,
                                .node_bits = 16,
                                .function_bits = 16},
                            got;
    uint8_t v[64];
    static const uint8_t head[] = {5, 0, 34, 0, 1, 0, 30, 0, 0xfc, 0xbb};
    assert_int_equal(bgp_srv6_service_encode(&s, v), 37);
    assert_memory_equal(v, head, sizeof head);
    assert_int_equal(bgp_srv6_service_decode(&got, v, 37, 0x30), 0);
    assert_memory_equal(&got, &s, sizeof s);
    /* Transposed: 16 function bits at bit 48 travel in the label. */
    v[35] = 16;
    v[36] = 48;
    v[8 + 6] = v[8 + 7] = 0;
    assert_int_equal(bgp_srv6_service_decode(&got, v, 37, 0xf00a << 8), 0);
    assert_memory_equal(&got.sid, &s.sid, 16);
    v[36] = 120;
    assert_int_equal(bgp_srv6_service_decode(&got, v, 37, 0), -EPROTO);
    for (unsigned len = 1; len < 37; len++)
        assert_int_equal(bgp_srv6_service_decode(&got, v, len, 0), -EPROTO);
    assert_int_equal(bgp_srv6_service_decode(&got, v, 0, 0), -ENOENT);
}

static void test_sr_policy_goes_there_and_back(void **state)
{
    (void)state;
    struct bgp_sr_policy_path p = {.preference = 200,
                                  .has_bsid = true,
                                  .bsid = {{0xfc, 9}},
                                  .priority = 3,
                                  .name = "gold",
                                  .n_lists = 2},
                              got;
    p.lists[0].weight = 1;
    p.lists[0].n_segments = 3;
    for (int i = 0; i < 3; i++)
        p.lists[0].segments[i].b[5] = (uint8_t)(i + 1);
    p.lists[1].weight = 7;
    uint8_t v[1024];
    int n = bgp_sr_policy_path_encode(&p, v, sizeof v);
    assert_true(n > 0);
    assert_int_equal(v[4], 12); /* preference first */
    assert_int_equal(bgp_sr_policy_path_decode(&got, v, (size_t)n), 0);
    assert_memory_equal(&got.lists, &p.lists, sizeof p.lists[0] * 2);
    assert_int_equal(got.preference, 200);
    assert_string_equal(got.name, "gold");
    for (int cap = 0; cap < n; cap++)
        assert_int_equal(bgp_sr_policy_path_encode(&p, v, (size_t)cap), -ENOBUFS);
    n = bgp_sr_policy_path_encode(&p, v, sizeof v);
    for (int len = 1; len < n; len++)
        assert_int_equal(bgp_sr_policy_path_decode(&got, v, (size_t)len), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_update),
        cmocka_unit_test(test_attributes_that_are_wrong),
        cmocka_unit_test(test_mandatory_attributes),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_overruns),
        cmocka_unit_test(test_routes_that_cannot_be_read),
        cmocka_unit_test(test_wrong_attributes_without_routes_reset),
        cmocka_unit_test(test_end_of_rib_and_withdraws_need_no_attributes),
        cmocka_unit_test(test_prefix_sid_is_the_37_octets_that_daemons_know),
        cmocka_unit_test(test_sr_policy_goes_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
