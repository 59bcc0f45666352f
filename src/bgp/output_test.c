/* What a peer is told, message by message: sizes, what is too long, refreshes, numbers of two octets, other AS. */
#include "bgp/speaker.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <string.h>

static const uint32_t families[] = {BGP_EVPN, BGP_IPV6_UNICAST};

/* What one peer heard. */
struct ear {
    struct bgp_update_context where;
    int updates, routes, withdrawn, ends, begins, refresh_ends;
    size_t longest;
    struct bgp_update last;
    uint8_t copy[BGP_EXTENDED_MOST];
};

static int count(uint32_t family, const uint8_t *bytes, size_t len)
{
    struct bgp_nlri n;
    size_t at = 0;
    int i = 0;
    while (bgp_nlri_next(family, false, bytes, len, &at, &n) == 1)
        i++;
    return i;
}

static void hear(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    struct ear *e = user;
    struct bgp_notification error;
    struct bgp_update u;
    e->begins += type == BGP_ROUTE_REFRESH && body[2] == BGP_REFRESH_BEGIN;
    e->refresh_ends += type == BGP_ROUTE_REFRESH && body[2] == BGP_REFRESH_END;
    if (type != BGP_UPDATE)
        return;
    memcpy(e->copy, body, len);
    assert_int_equal(bgp_update_decode(&u, e->copy, len, &e->where, &error), BGP_ACCEPT);
    assert_int_equal(u.faults, 0);
    if (len + BGP_HEADER > e->longest)
        e->longest = len + BGP_HEADER;
    e->updates++;
    e->ends += u.reach_family == 0 && u.unreach_len == 0;
    e->routes += count(u.reach_family, u.reach, u.reach_len);
    e->withdrawn += count(u.unreach_family, u.unreach, u.unreach_len);
    if (u.reach_family)
        e->last = u;
}

struct rig {
    struct testing_bgp t;
    struct bgp_speaker *rr;
    uint16_t in, out; /* clients */
    struct ear ear;
};

static struct bgp_speaker *reflector(void)
{
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    struct bgp_speaker *s;
    struct error err;
    assert_int_equal(bgp_speaker_create(&s, &c, NULL, &err), 0);
    return s;
}

static void build(struct rig *r, const struct bgp_open *in, const struct bgp_open *out)
{
    memset(r, 0, sizeof *r);
    r->t.now = 1000 * NS_PER_S;
    r->rr = reflector();
    r->ear.where = (struct bgp_update_context){
        .ibgp = true, .as4 = out->as4, .peer_as = 65000, .families = families, .n_families = 2};
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
    assert_true((r->in = testing_bgp_raw(&r->t, r->rr, &c, in)) > 0);
    c = testing_bgp_peer(BGP_PEER_CLIENT, 2, families, 2);
    assert_true((r->out = testing_bgp_raw(&r->t, r->rr, &c, out)) > 0);
    for (unsigned i = 0; i < 2; i++) {
        testing_bgp_unreach(&r->t, r->rr, r->in, families[i], NULL, 0);
        testing_bgp_unreach(&r->t, r->rr, r->out, families[i], NULL, 0);
    }
    testing_bgp_hear(&r->t, r->rr, r->out, hear, &r->ear);
    assert_int_equal(r->ear.ends, 2);
    r->ear.updates = r->ear.routes = r->ear.ends = 0;
}

static void build_usual(struct rig *r)
{
    struct bgp_open one = testing_bgp_open(1, families, 2), two = testing_bgp_open(2, families, 2);
    build(r, &one, &two);
}

static void hear_all(struct rig *r)
{
    testing_bgp_hear(&r->t, r->rr, r->out, hear, &r->ear);
}

static size_t rt5s(uint8_t *to, uint32_t first, uint32_t n)
{
    size_t at = 0;
    for (uint32_t i = first; i < first + n; i++) {
        struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 10}, .prefix = {IP_V4, 32, {{10}}}, .label = 0x30};
        bytes_put_be32(r.prefix.a.b, 10u << 24 | i);
        at += bgp_rt5_encode(&r, to + at);
    }
    return at;
}

static size_t usual_attributes(uint8_t *to, size_t fill)
{
    static const uint8_t zeros[BGP_EXTENDED_MOST];
    int at = bgp_attribute_put(to, 0, BGP_EXTENDED_MOST, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(to, (size_t)at, BGP_EXTENDED_MOST, 0x40, BGP_AS_PATH, "", 0);
    at = bgp_attribute_put(to, (size_t)at, BGP_EXTENDED_MOST, 0x40, BGP_LOCAL_PREF, "\0\0\0\x64", 4);
    if (fill)
        at = bgp_attribute_put(to, (size_t)at, BGP_EXTENDED_MOST, 0xe0, 200, zeros, fill);
    return (size_t)at;
}

static void announce(struct rig *r, uint32_t first, uint32_t n, size_t fill)
{
    static uint8_t nlri[BGP_EXTENDED_MOST], attributes[BGP_EXTENDED_MOST];
    size_t len = rt5s(nlri, first, n);
    testing_bgp_announce(&r->t, r->rr, r->in, BGP_EVPN, nlri, len, attributes, usual_attributes(attributes, fill), 1);
}

static void test_routes_with_the_same_attributes_share_messages(void **state)
{
    (void)state;
    struct rig r;
    build_usual(&r);
    for (uint32_t i = 0; i < 1000; i += 50)
        announce(&r, i, 50, 0);
    hear_all(&r);
    assert_int_equal(r.ear.routes, 1000);
    assert_int_equal(r.ear.updates, 10); /* 107 routes of 36 bytes each */
    assert_true(r.ear.longest <= BGP_MESSAGE_MOST - 100);
    uint8_t nlri[4000];
    testing_bgp_unreach(&r.t, r.rr, r.in, BGP_EVPN, nlri, rt5s(nlri, 0, 100));
    hear_all(&r);
    assert_int_equal(r.ear.withdrawn, 100);
    assert_int_equal(r.ear.updates, 11);
    bgp_speaker_free(r.rr);
}

/* Around the limit of 4096: packed routes leave 100 bytes free, one route alone may fill the message, what does not fit is
 * not told, and what was told of it before is withdrawn. */
static void test_every_length_of_attributes(void **state)
{
    (void)state;
    struct rig r;
    int alone = 0, never = 0;
    build_usual(&r);
    for (size_t fill = 3700;; fill++) {
        size_t incoming = BGP_HEADER + 4 + 4 + 21 + 36 + 14 + 4 + fill,
               one = incoming + 14; /* with two of a reflector */
        if (incoming > BGP_MESSAGE_MOST)
            break;
        r.ear.longest = 0;
        r.ear.routes = r.ear.withdrawn = r.ear.updates = 0;
        announce(&r, 1, 1, 0);
        hear_all(&r);
        announce(&r, 1, 1, fill);
        announce(&r, 2, 1, fill);
        hear_all(&r);
        bool fits = one <= BGP_MESSAGE_MOST;
        assert_true(r.ear.longest <= BGP_MESSAGE_MOST);
        assert_int_equal(r.ear.routes, fits ? 3 : 1);
        assert_int_equal(r.ear.withdrawn, !fits);
        assert_int_equal(r.ear.updates, fits && one + 36 + 100 > BGP_MESSAGE_MOST ? 3 : 2);
        alone += r.ear.updates == 3;
        never += !fits;
        uint8_t nlri[100];
        testing_bgp_unreach(&r.t, r.rr, r.in, BGP_EVPN, nlri, rt5s(nlri, 1, 2));
        hear_all(&r);
    }
    assert_int_equal(alone, 136);
    assert_int_equal(never, 14);
    bgp_speaker_free(r.rr);
}

/* RFC 8654: attributes that only fit long messages reach those who take them; the others lose the route, not the session. */
static void test_long_messages(void **state)
{
    (void)state;
    for (int long_out = 0; long_out < 2; long_out++) {
        struct rig r;
        struct bgp_open one = testing_bgp_open(1, families, 2), two = testing_bgp_open(2, families, 2);
        one.extended_message = true;
        two.extended_message = long_out;
        build(&r, &one, &two);
        announce(&r, 1, 1, 0);
        hear_all(&r);
        announce(&r, 1, 1, 20000);
        announce(&r, 5, 1, 10);
        hear_all(&r);
        assert_int_equal(r.ear.routes, long_out ? 3 : 2);
        assert_int_equal(r.ear.withdrawn, long_out ? 0 : 1);
        assert_int_equal(bgp_peer_session(r.rr, r.out, BGP_ACCEPTED)->counters.routes_too_long, !long_out);
        assert_int_equal(bgp_peer_session(r.rr, r.out, BGP_ACCEPTED)->state, BGP_ESTABLISHED);
        for (uint32_t i = 0; i < 40; i++)
            announce(&r, 100 + 40 * i, 40, 0);
        r.ear.updates = 0;
        hear_all(&r);
        assert_int_equal(r.ear.updates, long_out ? 1 : 15); /* 1600 routes */
        bgp_speaker_free(r.rr);
    }
}

static void test_a_refresh_is_between_its_marks(void **state)
{
    (void)state;
    struct rig r;
    build_usual(&r);
    announce(&r, 1, 100, 0);
    hear_all(&r);
    testing_bgp_say(&r.t, r.rr, r.out, BGP_ROUTE_REFRESH, "\0\31\0\106", 4);
    announce(&r, 200, 1, 0);
    hear_all(&r);
    assert_int_equal(r.ear.begins, 1);
    assert_int_equal(r.ear.refresh_ends, 1);
    assert_int_equal(r.ear.routes, 201);
    assert_int_equal(r.ear.ends, 0); /* End-of-RIB is said once */
    bgp_speaker_free(r.rr);
}

/* Two-octet numbers (RFC 6793): widened when they come, narrowed when they go. */
static void test_peers_with_numbers_of_two_octets(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_open one = testing_bgp_open(1, families, 2), two = testing_bgp_open(2, families, 2);
    two.as4 = false;
    build(&r, &one, &two);
    uint8_t nlri[64], attributes[256];
    int at = bgp_attribute_put(attributes, 0, sizeof attributes, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_AS_PATH, "\2\2\0\1\0\1\0\0\0\7", 10);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_LOCAL_PREF, "\0\0\0\x64", 4);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0xc0, BGP_AGGREGATOR, "\0\1\0\1\1\1\1\1", 8);
    testing_bgp_announce(&r.t, r.rr, r.in, BGP_EVPN, nlri, rt5s(nlri, 1, 1), attributes, (size_t)at, 1);
    hear_all(&r);
    const struct bgp_attribute *a = bgp_attribute_find(&r.ear.last, BGP_AS_PATH);
    assert_int_equal(a->len, 6);
    assert_memory_equal(a->value, "\2\2\x5b\xa0\0\7", 6);
    a = bgp_attribute_find(&r.ear.last, BGP_AS4_PATH);
    assert_int_equal(a->len, 10);
    assert_memory_equal(a->value, "\2\2\0\1\0\1\0\0\0\7", 10);
    assert_int_equal(bgp_attribute_find(&r.ear.last, BGP_AGGREGATOR)->len, 6);
    assert_memory_equal(bgp_attribute_find(&r.ear.last, BGP_AS4_AGGREGATOR)->value, "\0\1\0\1\1\1\1\1", 8);
    /* And the other way: what it says reaches the other one whole. */
    struct ear other = {.where = r.ear.where};
    other.where.as4 = true;
    at = bgp_attribute_put(attributes, 0, sizeof attributes, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_AS_PATH, "\2\2\0\7\x5b\xa0", 6);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_LOCAL_PREF, "\0\0\0\x64", 4);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0xc0, BGP_AS4_PATH, "\2\1\0\1\0\1", 6);
    testing_bgp_hear(&r.t, r.rr, r.in, NULL, NULL);
    testing_bgp_announce(&r.t, r.rr, r.out, BGP_EVPN, nlri, rt5s(nlri, 9, 1), attributes, (size_t)at, 2);
    testing_bgp_hear(&r.t, r.rr, r.in, hear, &other);
    assert_int_equal(other.routes, 1);
    a = bgp_attribute_find(&other.last, BGP_AS_PATH);
    assert_memory_equal(a->value, "\2\1\0\0\0\7\2\1\0\1\0\1", 12);
    assert_null(bgp_attribute_find(&other.last, BGP_AS4_PATH));
    bgp_speaker_free(r.rr);
}

/* RFC 4271 9.1.2: our own AS in the path, from inside too. RFC 9136 3.2: an RT-5 of segment and gateway. */
static void test_routes_that_cannot_be_used(void **state)
{
    (void)state;
    struct rig r;
    build_usual(&r);
    uint8_t nlri[64], attributes[256];
    size_t len = rt5s(nlri, 1, 1);
    int at = bgp_attribute_put(attributes, 0, sizeof attributes, 0x40, BGP_ORIGIN, "\0", 1);
    at =
        bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_AS_PATH, "\2\2\0\0\0\7\0\0\xfd\xe8", 10);
    at = bgp_attribute_put(attributes, (size_t)at, sizeof attributes, 0x40, BGP_LOCAL_PREF, "\0\0\0\x64", 4);
    announce(&r, 1, 1, 0);
    testing_bgp_announce(&r.t, r.rr, r.in, BGP_EVPN, nlri, len, attributes, (size_t)at, 1);
    hear_all(&r);
    assert_int_equal(r.ear.routes, 0);
    announce(&r, 1, 1, 0);
    nlri[10] = 1;  /* segment */
    nlri[29] = 10; /* gateway */
    testing_bgp_announce(&r.t, r.rr, r.in, BGP_EVPN, nlri, len, attributes, usual_attributes(attributes, 0), 1);
    hear_all(&r);
    assert_int_equal(r.ear.routes, 0);
    assert_int_equal(bgp_peer_session(r.rr, r.in, BGP_ACCEPTED)->state, BGP_ESTABLISHED);
    bgp_speaker_free(r.rr);
}

/* The originator of what a peer told is that peer, also while its next connection is not up yet. */
static void test_originator_of_routes_that_stay_over_a_restart(void **state)
{
    (void)state;
    struct rig r;
    build_usual(&r);
    announce(&r, 1, 1, 0);
    bgp_peer_transport_failed(r.rr, r.in, BGP_ACCEPTED, r.t.now);
    bgp_peer_transport_up(r.rr, r.in, BGP_CONNECTED, r.t.now);
    hear_all(&r);
    assert_int_equal(r.ear.routes, 1);
    assert_memory_equal(bgp_attribute_find(&r.ear.last, BGP_ORIGINATOR_ID)->value, "\12\0\0\1", 4);
    bgp_speaker_free(r.rr);
}

/* RFC 7432, 9251: segments, MAC addresses, multicast, groups. We only carry them: octet for octet, beside RT-5 in one message, and
 * taken back likewise. */
static void test_other_evpn_routes_pass_unharmed(void **state)
{
    (void)state;
    struct rig r;
    uint8_t nlri[512];
    size_t len = rt5s(nlri, 7, 1);
    static const uint8_t lengths[][2] = {
        {1, 25}, {2, 33}, {2, 40}, {2, 52}, {3, 17}, {4, 23}, {6, 30}, {7, 34}, {8, 40}, {11, 9}};
    build_usual(&r);
    for (unsigned i = 0; i < sizeof lengths / 2; i++) {
        nlri[len++] = lengths[i][0];
        nlri[len++] = lengths[i][1];
        for (unsigned k = 0; k < lengths[i][1]; k++)
            nlri[len++] = (uint8_t)(i * 16 + k);
    }
    testing_bgp_announce(
        &r.t, r.rr, r.in, BGP_EVPN, nlri, len, (const uint8_t *)"\x40\1\1\0\x40\2\0\x40\5\4\0\0\0\x64", 14, 1);
    testing_bgp_hear(&r.t, r.rr, r.out, hear, &r.ear);
    assert_int_equal(r.ear.updates, 1);
    assert_int_equal(r.ear.routes, 11);
    assert_int_equal(r.ear.last.reach_len, len);
    assert_memory_equal(r.ear.last.reach, nlri, len);
    testing_bgp_unreach(&r.t, r.rr, r.in, BGP_EVPN, nlri, len);
    testing_bgp_hear(&r.t, r.rr, r.out, hear, &r.ear);
    assert_int_equal(r.ear.withdrawn, 11);
    assert_int_equal(bgp_rib_count(bgp_speaker_rib(r.rr, BGP_EVPN)), 0);
    bgp_speaker_free(r.rr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_evpn_routes_pass_unharmed),
        cmocka_unit_test(test_routes_with_the_same_attributes_share_messages),
        cmocka_unit_test(test_every_length_of_attributes),
        cmocka_unit_test(test_long_messages),
        cmocka_unit_test(test_a_refresh_is_between_its_marks),
        cmocka_unit_test(test_peers_with_numbers_of_two_octets),
        cmocka_unit_test(test_routes_that_cannot_be_used),
        cmocka_unit_test(test_originator_of_routes_that_stay_over_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
