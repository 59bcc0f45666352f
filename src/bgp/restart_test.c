/* Restarts of peers and of ourselves, connections that replace others, refreshes that sweep. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <string.h>

static const uint32_t families[] = {BGP_EVPN, BGP_IPV6_UNICAST};

struct rig {
    struct testing_bgp t;
    struct bgp_speaker *rr;
    uint16_t peer, other;
    int ends; /* End-of-RIBs of EVPN that `other` heard */
};

static struct bgp_speaker *reflector(void)
{
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    struct bgp_speaker *s;
    struct error err;
    assert_int_equal(bgp_speaker_create(&s, &c, NULL, &err), 0);
    return s;
}

static void end_of_rib(struct rig *r, uint16_t peer)
{
    testing_bgp_unreach(&r->t, r->rr, peer, BGP_EVPN, NULL, 0);
}

static void build_with(struct rig *r, const struct bgp_open *open)
{
    memset(r, 0, sizeof *r);
    r->t.now = 1000 * NS_PER_S;
    r->rr = reflector();
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
    r->peer = testing_bgp_raw(&r->t, r->rr, &c, open);
    assert_true(r->peer > 0);
    testing_bgp_hear(&r->t, r->rr, r->peer, NULL, NULL);
}

static void build(struct rig *r)
{
    struct bgp_open open = testing_bgp_open(1, families, 2);
    build_with(r, &open);
}

static void announce(struct rig *r, uint8_t number)
{
    struct bgp_rt5 rt5 = {
        .rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 10}, .prefix = {IP_V4, 32, {{10, 0, 0, number}}}, .label = 0x30};
    uint8_t raw[64];
    unsigned len = bgp_rt5_encode(&rt5, raw);
    testing_bgp_announce(
        &r->t, r->rr, r->peer, BGP_EVPN, raw, len, (const uint8_t *)"\x40\1\1\0\x40\2\0\x40\5\4\0\0\0\x64", 14, 1);
}

static size_t held(const struct rig *r)
{
    return bgp_rib_count(bgp_speaker_rib(r->rr, BGP_EVPN));
}

static enum bgp_state state_of(const struct rig *r, enum bgp_side side)
{
    return bgp_peer_session(r->rr, r->peer, side)->state;
}

static void lose(struct rig *r)
{
    bgp_peer_transport_failed(r->rr, r->peer, BGP_ACCEPTED, r->t.now);
}

/* --- which ends keep routes ---------------------------------------------------------------------------------------------- */

static void test_which_ends_keep_routes(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool graceful, notification;
        int code, subcode; /* 0: the connection is lost; otherwise the peer's NOTIFICATION */
        bool kept;
    } rows[] = {
        {"lost without graceful restart", false, false, 0, 0, false},
        {"lost", true, false, 0, 0, true},
        {"NOTIFICATION without N", true, false, BGP_ERROR_CEASE, BGP_CEASE_RESET, false},
        {"NOTIFICATION with N", true, true, BGP_ERROR_CEASE, BGP_CEASE_RESET, true},
        {"shutdown with N that is not hard (RFC 8538 4)", true, true, BGP_ERROR_CEASE, BGP_CEASE_SHUTDOWN, true},
        {"hard reset", true, true, BGP_ERROR_CEASE, BGP_CEASE_HARD_RESET, false},
        {"hold timer with N", true, true, BGP_ERROR_HOLD_TIMER, 0, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct bgp_open open = testing_bgp_open(1, families, 2);
        open.graceful = rows[i].graceful;
        open.graceful_notification = rows[i].notification;
        build_with(&r, &open);
        announce(&r, 1);
        uint8_t body[2] = {(uint8_t)rows[i].code, (uint8_t)rows[i].subcode};
        if (rows[i].code)
            testing_bgp_say(&r.t, r.rr, r.peer, BGP_NOTIFICATION, body, 2);
        else
            lose(&r);
        if (held(&r) != rows[i].kept)
            fail_msg("%s: %zu routes", rows[i].what, held(&r));
        bgp_speaker_free(r.rr);
    }
}

/* Our own end of the hold time, with N on both sides, keeps them too; our hard reset does not. */
static void test_what_we_end_ourselves(void **state)
{
    (void)state;
    struct rig r;
    build(&r);
    announce(&r, 1);
    r.t.now += 10 * NS_PER_S;
    bgp_speaker_poll(r.rr, r.t.now);
    assert_true(state_of(&r, BGP_ACCEPTED) < BGP_ESTABLISHED);
    assert_int_equal(held(&r), 1);
    struct bgp_open open = testing_bgp_open(1, families, 2);
    testing_bgp_raw_again(&r.t, r.rr, r.peer, &open);
    announce(&r, 1);
    bgp_peer_stop(r.rr, r.peer, "maintenance", r.t.now);
    assert_int_equal(held(&r), 0);
    bgp_speaker_free(r.rr);
}

/* --- how long ---------------------------------------------------------------------------------------------------------------- */

static void test_stale_until_the_restart_time_is_over(void **state)
{
    (void)state;
    struct rig r;
    build(&r);
    announce(&r, 1);
    lose(&r);
    r.t.now += 60 * NS_PER_S - 1;
    bgp_speaker_poll(r.rr, r.t.now);
    assert_int_equal(held(&r), 1);
    r.t.now += 1;
    bgp_speaker_poll(r.rr, r.t.now);
    assert_int_equal(held(&r), 0);
    bgp_speaker_free(r.rr);
}

static void test_end_of_rib_sweeps_and_so_does_its_absence(void **state)
{
    (void)state;
    struct bgp_open open = testing_bgp_open(1, families, 2);
    for (int with_end = 0; with_end < 2; with_end++) {
        struct rig r;
        build(&r);
        announce(&r, 1);
        announce(&r, 2);
        lose(&r);
        testing_bgp_raw_again(&r.t, r.rr, r.peer, &open);
        announce(&r, 2);
        assert_int_equal(held(&r), 2);
        if (with_end) {
            end_of_rib(&r, r.peer);
        } else {
            for (int i = 0; i < 361; i++) {
                r.t.now += NS_PER_S;
                testing_bgp_say(&r.t, r.rr, r.peer, BGP_KEEPALIVE, NULL, 0);
                testing_bgp_hear(&r.t, r.rr, r.peer, NULL, NULL);
                bgp_speaker_poll(r.rr, r.t.now);
            }
        }
        assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_ESTABLISHED);
        assert_int_equal(held(&r), 1);
        bgp_speaker_free(r.rr);
    }
}

static void test_forwarding_that_was_lost_takes_routes_with_it(void **state)
{
    (void)state;
    struct rig r;
    build(&r);
    announce(&r, 1);
    lose(&r);
    struct bgp_open open = testing_bgp_open(1, families, 2);
    open.graceful_families[0].forwarding = false;
    testing_bgp_raw_again(&r.t, r.rr, r.peer, &open);
    assert_int_equal(held(&r), 0);
    bgp_speaker_free(r.rr);
}

static void test_two_restarts_do_not_keep_twice(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_open open = testing_bgp_open(1, families, 2);
    build(&r);
    announce(&r, 1);
    lose(&r);
    testing_bgp_raw_again(&r.t, r.rr, r.peer, &open);
    announce(&r, 2);
    lose(&r); /* before End-of-RIB: what is stale since the first time goes (RFC 4724 4.2) */
    assert_int_equal(held(&r), 1);
    bgp_speaker_free(r.rr);
}

/* RFC 9494: when both offer it, stale routes stay longer, last in every choice, and only those hear of them who understand. */
static void test_long_lived(void **state)
{
    (void)state;
    for (int offered = 0; offered < 2; offered++) {
        struct rig r = {.t = {.now = 1000 * NS_PER_S}};
        struct bgp_open open = testing_bgp_open(1, families, 2);
        open.graceful_families[0].long_lived = 1000;
        r.rr = reflector();
        struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
        c.session.long_lived_time_s = offered ? 3600 : 0;
        r.peer = testing_bgp_raw(&r.t, r.rr, &c, &open);
        announce(&r, 1);
        lose(&r);
        r.t.now += 61 * NS_PER_S;
        bgp_speaker_poll(r.rr, r.t.now);
        assert_int_equal(held(&r), offered);
        r.t.now += 1000 * NS_PER_S;
        bgp_speaker_poll(r.rr, r.t.now);
        assert_int_equal(held(&r), 0);
        bgp_speaker_free(r.rr);
    }
}

struct ear {
    int routes, withdrawn, stale;
};

static void hear(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    static const struct bgp_update_context where = {
        .ibgp = true, .as4 = true, .peer_as = 65000, .families = families, .n_families = 2};
    struct ear *e = user;
    struct bgp_update u;
    struct bgp_notification error;
    if (type != BGP_UPDATE)
        return;
    assert_int_equal(bgp_update_decode(&u, body, len, &where, &error), BGP_ACCEPT);
    const struct bgp_attribute *a = bgp_attribute_find(&u, BGP_COMMUNITIES);
    e->routes += u.reach_len > 0;
    e->withdrawn += u.unreach_len > 0;
    e->stale += a && memcmp(a->value + a->len - 4, "\xff\xff\0\6", 4) == 0;
}

static void test_long_lived_routes_are_marked_for_those_who_understand(void **state)
{
    (void)state;
    for (int understands = 0; understands < 2; understands++) {
        struct rig r = {.t = {.now = 1000 * NS_PER_S}};
        struct ear e = {0};
        struct bgp_open open = testing_bgp_open(1, families, 2), other = testing_bgp_open(2, families, 2);
        open.graceful_families[0].long_lived = 1000;
        other.graceful_families[0].long_lived = understands ? 1000 : 0;
        other.hold_time_s = 0;
        r.rr = reflector();
        struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
        c.session.long_lived_time_s = 3600;
        r.peer = testing_bgp_raw(&r.t, r.rr, &c, &open);
        c.address.a.b[15] = 2;
        r.other = testing_bgp_raw(&r.t, r.rr, &c, &other);
        announce(&r, 1);
        testing_bgp_hear(&r.t, r.rr, r.other, hear, &e);
        assert_int_equal(e.routes, 1);
        lose(&r);
        r.t.now += 61 * NS_PER_S;
        bgp_speaker_poll(r.rr, r.t.now);
        testing_bgp_hear(&r.t, r.rr, r.other, hear, &e);
        assert_int_equal(e.stale, understands);
        assert_int_equal(e.routes, 1 + understands);
        assert_int_equal(e.withdrawn, !understands);
        bgp_speaker_free(r.rr);
    }
}

/* --- enhanced route refresh, from the peer (RFC 7313) -------------------------------------------------------------------- */

static void test_what_is_not_said_between_the_marks_is_gone(void **state)
{
    (void)state;
    struct rig r;
    build(&r);
    announce(&r, 1);
    announce(&r, 2);
    testing_bgp_say(&r.t, r.rr, r.peer, BGP_ROUTE_REFRESH, "\0\31\1\106", 4);
    testing_bgp_say(&r.t, r.rr, r.peer, BGP_ROUTE_REFRESH, "\0\31\2\106", 4);
    assert_int_equal(held(&r), 2); /* before End-of-RIB BoRR is ignored (4.2), and EoRR without it */
    end_of_rib(&r, r.peer);
    testing_bgp_say(&r.t, r.rr, r.peer, BGP_ROUTE_REFRESH, "\0\31\1\106", 4);
    announce(&r, 2);
    announce(&r, 3);
    assert_int_equal(held(&r), 3);
    testing_bgp_say(&r.t, r.rr, r.peer, BGP_ROUTE_REFRESH, "\0\31\2\106", 4);
    assert_int_equal(held(&r), 2);
    /* What is stale for a restart is not EoRR's to sweep. */
    struct bgp_open open = testing_bgp_open(1, families, 2);
    lose(&r);
    testing_bgp_raw_again(&r.t, r.rr, r.peer, &open);
    testing_bgp_say(&r.t, r.rr, r.peer, BGP_ROUTE_REFRESH, "\0\31\2\106", 4);
    assert_int_equal(held(&r), 2);
    bgp_speaker_free(r.rr);
}

/* --- connections that replace others -------------------------------------------------------------------------------------- */

static void join_again(struct rig *r, enum bgp_side side, const struct bgp_open *open, bool confirmed)
{
    uint8_t m[512], keepalive[BGP_HEADER];
    int n = bgp_open_encode(open, m, sizeof m);
    bgp_header_encode(keepalive, BGP_HEADER, BGP_KEEPALIVE);
    bgp_peer_transport_up(r->rr, r->peer, side, r->t.now);
    bgp_peer_bytes(r->rr, r->peer, side, m, (size_t)n, r->t.now);
    if (confirmed)
        bgp_peer_bytes(r->rr, r->peer, side, keepalive, BGP_HEADER, r->t.now);
}

/* Ours is up; the peer restarts without a word and connects: the old one ends once the new one is up, routes stay until swept. */
static void test_a_silent_restart_replaces_the_connection(void **state)
{
    (void)state;
    struct rig r = {.t = {.now = 1000 * NS_PER_S}};
    struct bgp_open open = testing_bgp_open(1, families, 2);
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
    struct error err;
    open.graceful_notification = false; /* routes stay for a connection that is lost only */
    r.rr = reflector();
    assert_int_equal(bgp_peer_add(r.rr, &c, r.t.now, &r.peer, &err), 0);
    join_again(&r, BGP_CONNECTED, &open, true);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_ESTABLISHED);
    uint8_t raw[64], m[256] = {0};
    struct bgp_rt5 rt5 = {.prefix = {IP_V4, 32, {{10}}}, .label = 0x30};
    unsigned len = bgp_rt5_encode(&rt5, raw);
    uint8_t reach[128] = {0, 25, 70, 16, 0xfd};
    memcpy(reach + 21, raw, len);
    int at = bgp_attribute_put(m, BGP_HEADER + 4, sizeof m, 0x80, BGP_MP_REACH, reach, 21 + len);
    memcpy(m + at, "\x40\1\1\0\x40\2\0\x40\5\4\0\0\0\x64", 14);
    bytes_put_be16(m + BGP_HEADER + 2, (uint16_t)(at + 14 - (int)BGP_HEADER - 4));
    bgp_header_encode(m, (uint32_t)at + 14, BGP_UPDATE);
    bgp_peer_bytes(r.rr, r.peer, BGP_CONNECTED, m, (size_t)at + 14, r.t.now);
    assert_int_equal(held(&r), 1);
    join_again(&r, BGP_ACCEPTED, &open, false);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_ESTABLISHED); /* an OPEN alone proves nothing */
    uint8_t keepalive[BGP_HEADER];
    bgp_header_encode(keepalive, BGP_HEADER, BGP_KEEPALIVE);
    bgp_peer_bytes(r.rr, r.peer, BGP_ACCEPTED, keepalive, BGP_HEADER, r.t.now);
    assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_ESTABLISHED);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_IDLE);
    assert_int_equal(held(&r), 1);
    end_of_rib(&r, r.peer);
    assert_int_equal(held(&r), 0); /* it was not said again */
    bgp_speaker_free(r.rr);
}

/* A peer without graceful restart: the established connection stays (RFC 4271 6.8), the new one hears why. */
static void test_an_established_connection_stays(void **state)
{
    (void)state;
    struct rig r = {.t = {.now = 1000 * NS_PER_S}};
    struct bgp_open open = testing_bgp_open(1, families, 2);
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
    struct error err;
    open.graceful = false;
    r.rr = reflector();
    assert_int_equal(bgp_peer_add(r.rr, &c, r.t.now, &r.peer, &err), 0);
    join_again(&r, BGP_CONNECTED, &open, true);
    join_again(&r, BGP_ACCEPTED, &open, false);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_ESTABLISHED);
    assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_IDLE);
    assert_int_equal(bgp_peer_session(r.rr, r.peer, BGP_ACCEPTED)->last.subcode, BGP_CEASE_COLLISION);
    /* Accepted and established: a second one is not even taken. */
    bgp_peer_transport_failed(r.rr, r.peer, BGP_CONNECTED, r.t.now);
    join_again(&r, BGP_ACCEPTED, &open, true);
    assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_ESTABLISHED);
    assert_false(bgp_peer_accepts(r.rr, r.peer));
    bgp_speaker_free(r.rr);
}

/* Our own attempt that succeeds only after the peer's connection was established: it is not begun, nothing changes. */
static void test_our_late_attempt_is_given_up(void **state)
{
    (void)state;
    struct rig r;
    build(&r);
    announce(&r, 1);
    bgp_peer_transport_up(r.rr, r.peer, BGP_CONNECTED, r.t.now);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_IDLE);
    assert_int_equal(bgp_peer_out(r.rr, r.peer, BGP_CONNECTED, r.t.now)->len, 0);
    assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_ESTABLISHED);
    assert_int_equal(held(&r), 1);
    bgp_speaker_free(r.rr);
}

/* The connection that lost a collision tries again when the one that won is gone. */
static void test_the_loser_of_a_collision_comes_back(void **state)
{
    (void)state;
    struct rig r = {.t = {.now = 1000 * NS_PER_S}};
    struct bgp_open open = testing_bgp_open(200, families, 2); /* the higher identifier: its connection stays */
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2);
    struct error err;
    r.rr = reflector();
    assert_int_equal(bgp_peer_add(r.rr, &c, r.t.now, &r.peer, &err), 0);
    join_again(&r, BGP_CONNECTED, &open, false);
    join_again(&r, BGP_ACCEPTED, &open, false);
    assert_int_equal(state_of(&r, BGP_CONNECTED), BGP_IDLE);
    assert_int_equal(state_of(&r, BGP_ACCEPTED), BGP_OPEN_CONFIRM);
    lose(&r); /* before it was established */
    r.t.now += 11 * NS_PER_S;
    bgp_speaker_poll(r.rr, r.t.now);
    assert_true(bgp_peer_wants_transport(r.rr, r.peer, r.t.now));
    bgp_speaker_free(r.rr);
}

/* --- our own restart ------------------------------------------------------------------------------------------------------------ */

static void count_ends(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    struct rig *r = user;
    r->ends += type == BGP_UPDATE && len == 11 && memcmp(body + 4, "\x90\17\0\3\0\31\106", 6) == 0;
}

/* The first peer holds routes of ours from before: our End-of-RIB must wait until the second one has told its own. */
static void test_end_of_rib_waits_for_the_others(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) { /* the other says End-of-RIB, restarts itself, never comes */
        struct rig r = {.t = {.now = 1000 * NS_PER_S}};
        struct bgp_open open = testing_bgp_open(1, families, 2), other = testing_bgp_open(2, families, 2);
        open.hold_time_s = 0;
        struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 2),
                               second = testing_bgp_peer(BGP_PEER_CLIENT, 2, families, 2);
        struct error err;
        r.rr = reflector();
        assert_int_equal(bgp_peer_add(r.rr, &second, r.t.now, &r.other, &err), 0);
        r.peer = testing_bgp_raw(&r.t, r.rr, &c, &open);
        testing_bgp_hear(&r.t, r.rr, r.peer, count_ends, &r);
        assert_int_equal(r.ends, 0);
        other.restarting = how == 1;
        if (how < 2)
            testing_bgp_raw_again(&r.t, r.rr, r.other, &other);
        testing_bgp_hear(&r.t, r.rr, r.peer, count_ends, &r);
        assert_int_equal(r.ends, how == 1);
        if (how == 0)
            end_of_rib(&r, r.other);
        if (how == 2)
            r.t.now += 61 * NS_PER_S;
        bgp_speaker_poll(r.rr, r.t.now);
        testing_bgp_hear(&r.t, r.rr, r.peer, count_ends, &r);
        assert_int_equal(r.ends, 1);
        bgp_speaker_free(r.rr);
    }
}

static struct bgp_open said;

static void hear_open(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    struct bgp_notification error;
    (void)user;
    if (type == BGP_OPEN)
        assert_int_equal(bgp_open_decode(&said, body, len, &error), 0);
}

/* R while we have just started; F of a PE only if its packets went on meanwhile, of a reflector always (RFC 4724 3). */
static void test_what_our_open_says_of_restarts(void **state)
{
    (void)state;
    static const struct {
        enum bgp_role role;
        bool kept;
        int64_t later;
        bool restarting, forwarding;
    } rows[] = {
        {BGP_REFLECTOR, false, 0, true, true},
        {BGP_PE, false, 0, true, false},
        {BGP_PE, true, 0, true, true},
        {BGP_PE, false, 61 * NS_PER_S, false, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct testing_bgp t = {.now = 1000 * NS_PER_S};
        struct bgp_speaker_config sc = {
            .role = rows[i].role, .identifier = {10, 0, 0, 9}, .forwarding_kept = rows[i].kept};
        struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_INTERNAL, 1, families, 2);
        struct bgp_speaker *s;
        struct error err;
        uint16_t peer;
        assert_int_equal(bgp_speaker_create(&s, &sc, NULL, &err), 0);
        assert_int_equal(bgp_peer_add(s, &c, t.now, &peer, &err), 0);
        t.now += rows[i].later;
        bgp_peer_transport_up(s, peer, BGP_ACCEPTED, t.now);
        testing_bgp_hear(&t, s, peer, hear_open, NULL);
        assert_int_equal(said.restarting, rows[i].restarting);
        assert_int_equal(said.graceful_families[0].forwarding, rows[i].forwarding);
        bgp_speaker_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_ends_keep_routes),
        cmocka_unit_test(test_what_we_end_ourselves),
        cmocka_unit_test(test_stale_until_the_restart_time_is_over),
        cmocka_unit_test(test_end_of_rib_sweeps_and_so_does_its_absence),
        cmocka_unit_test(test_forwarding_that_was_lost_takes_routes_with_it),
        cmocka_unit_test(test_two_restarts_do_not_keep_twice),
        cmocka_unit_test(test_long_lived),
        cmocka_unit_test(test_long_lived_routes_are_marked_for_those_who_understand),
        cmocka_unit_test(test_what_is_not_said_between_the_marks_is_gone),
        cmocka_unit_test(test_a_silent_restart_replaces_the_connection),
        cmocka_unit_test(test_an_established_connection_stays),
        cmocka_unit_test(test_our_late_attempt_is_given_up),
        cmocka_unit_test(test_the_loser_of_a_collision_comes_back),
        cmocka_unit_test(test_end_of_rib_waits_for_the_others),
        cmocka_unit_test(test_what_our_open_says_of_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
