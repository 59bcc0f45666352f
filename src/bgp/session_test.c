/* The state machine, one transition after the other (RFC 4271 8.2.2), with a peer made of bytes. */
#include "bgp/session.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"

#include <errno.h>
#include <string.h>

struct heard {
    int established, down, updates, refreshes;
    enum bgp_refresh_kind refresh;
    bool sent;
    struct bgp_notification why;
    enum bgp_action action;
};

static void on_established(void *user, const struct bgp_open *peer)
{
    (void)peer;
    ((struct heard *)user)->established++;
}

static void on_down(void *user, const struct bgp_notification *why, bool sent)
{
    struct heard *h = user;
    h->down++;
    h->sent = sent;
    h->why = why ? *why : (struct bgp_notification){0};
}

static void on_update(void *user, const struct bgp_update *u)
{
    struct heard *h = user;
    h->updates++;
    h->action = u->action;
}

static void on_refresh(void *user, uint32_t family, enum bgp_refresh_kind kind)
{
    struct heard *h = user;
    (void)family;
    h->refreshes++;
    h->refresh = kind;
}

struct rig {
    struct bgp_session s;
    struct bgp_session_above above;
    struct heard heard;
    int64_t now;
};

static const struct bgp_session_config usual = {.local_as = 65000,
    .peer_as = 65000,
    .identifier = {10, 0, 0, 1},
    .hold_time_s = 90,
    .restart_time_s = 120,
    .families = {BGP_EVPN, BGP_IPV6_UNICAST},
    .n_families = 2};

static void rig_with(struct rig *r, const struct bgp_session_config *c)
{
    memset(r, 0, sizeof *r);
    r->now = 100 * NS_PER_S;
    r->above = (struct bgp_session_above){
        .user = &r->heard, .established = on_established, .down = on_down, .update = on_update, .refresh = on_refresh};
    assert_int_equal(bgp_session_init(&r->s, c, &r->above), 0);
}

static void rig(struct rig *r)
{
    rig_with(r, &usual);
}

static void done(struct rig *r)
{
    bgp_session_done(&r->s);
}

/* What the peer says. */
static void say(struct rig *r, enum bgp_type type, const void *body, size_t len)
{
    uint8_t m[512];
    bgp_header_encode(m, (uint32_t)(BGP_HEADER + len), type);
    if (len)
        memcpy(m + BGP_HEADER, body, len);
    bgp_session_bytes(&r->s, m, BGP_HEADER + len, r->now);
}

static struct bgp_open peer_open(void)
{
    return (struct bgp_open){.as = 65000,
        .hold_time_s = 30,
        .identifier = {10, 0, 0, 2},
        .families = {BGP_EVPN, BGP_VPNV4},
        .n_families = 2,
        .refresh = true,
        .enhanced_refresh = true,
        .as4 = true};
}

static void say_open(struct rig *r, const struct bgp_open *o)
{
    uint8_t m[512];
    int n = bgp_open_encode(o, m, sizeof m);
    assert_true(n > 0);
    bgp_session_bytes(&r->s, m, (size_t)n, r->now);
}

/* The last message that waits to be written, and nothing waits any more. */
static enum bgp_type heard_last(struct rig *r, struct bgp_notification *ret)
{
    struct buf *out = bgp_session_out(&r->s);
    struct bgp_notification error;
    uint8_t type = 0;
    uint32_t len;
    size_t at = 0;
    while (at < out->len) {
        assert_int_equal(bgp_header_decode(out->data + at, out->len - at, BGP_EXTENDED_MOST, &type, &len, &error), 0);
        if (type == BGP_NOTIFICATION && ret)
            bgp_notification_decode(ret, out->data + at + BGP_HEADER, len - BGP_HEADER);
        at += len;
    }
    bgp_session_written(&r->s, out->len, r->now);
    return (enum bgp_type)type;
}

static void to_open_sent(struct rig *r)
{
    bgp_session_start(&r->s, r->now);
    bgp_session_transport_up(&r->s, r->now);
    assert_int_equal(r->s.state, BGP_OPEN_SENT);
    assert_int_equal(heard_last(r, NULL), BGP_OPEN);
}

static void to_open_confirm(struct rig *r)
{
    struct bgp_open o = peer_open();
    to_open_sent(r);
    say_open(r, &o);
    assert_int_equal(r->s.state, BGP_OPEN_CONFIRM);
    assert_int_equal(heard_last(r, NULL), BGP_KEEPALIVE);
}

static void to_established(struct rig *r)
{
    to_open_confirm(r);
    say(r, BGP_KEEPALIVE, NULL, 0);
    assert_int_equal(r->s.state, BGP_ESTABLISHED);
    assert_int_equal(r->heard.established, 1);
}

/* --- up -------------------------------------------------------------------------------------------------------------------- */

static void test_idle_starts_to_connect_or_waits(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_false(bgp_session_wants_transport(&r.s, r.now));
    bgp_session_start(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_CONNECT);
    assert_true(bgp_session_wants_transport(&r.s, r.now));
    done(&r);
    struct bgp_session_config c = usual;
    c.passive = true;
    rig_with(&r, &c);
    bgp_session_start(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_ACTIVE);
    assert_false(bgp_session_wants_transport(&r.s, r.now));
    done(&r);
}

static void test_a_refused_connection_is_tried_again_later(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    bgp_session_start(&r.s, r.now);
    bgp_session_transport_failed(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_CONNECT);
    assert_false(bgp_session_wants_transport(&r.s, r.now + 9 * NS_PER_S));
    assert_true(bgp_session_wants_transport(&r.s, r.now + 10 * NS_PER_S));
    assert_int_equal(r.heard.down, 0); /* it was never up */
    done(&r);
}

static void test_open_sent_takes_an_open(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_open_confirm(&r);
    assert_int_equal(r.s.hold_time_s, 30); /* the smaller one */
    assert_int_equal(r.s.n_families, 1);
    assert_true(bgp_session_family(&r.s, BGP_EVPN));
    assert_false(bgp_session_family(&r.s, BGP_IPV6_UNICAST));
    assert_false(r.s.extended);
    assert_int_equal(r.heard.established, 0);
    done(&r);
}

static void test_hold_time_zero_means_no_keepalives(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_open o = peer_open();
    o.hold_time_s = 0;
    rig(&r);
    to_open_sent(&r);
    say_open(&r, &o);
    say(&r, BGP_KEEPALIVE, NULL, 0);
    heard_last(&r, NULL);
    r.now += 3600 * NS_PER_S;
    bgp_session_poll(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_ESTABLISHED);
    assert_int_equal(bgp_session_out(&r.s)->len, 0);
    done(&r);
}

/* --- what is refused while it comes up --------------------------------------------------------------------------------------- */

static void test_opens_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t as;
        uint8_t last;
        uint8_t subcode;
    } rows[] = {
        {65001, 2, BGP_OPEN_PEER_AS}, {65000, 1, BGP_OPEN_IDENTIFIER}, /* our own, inside one AS (RFC 6286) */
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct bgp_open o = peer_open();
        struct bgp_notification n = {0};
        o.as = rows[i].as;
        o.identifier[3] = rows[i].last;
        rig(&r);
        to_open_sent(&r);
        say_open(&r, &o);
        assert_int_equal(r.s.state, BGP_IDLE);
        assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
        assert_int_equal(n.code, BGP_ERROR_OPEN);
        assert_int_equal(n.subcode, rows[i].subcode);
        assert_true(r.heard.sent);
        done(&r);
    }
    /* The same identifier in another AS is fine. */
    struct rig r;
    struct bgp_session_config c = usual;
    struct bgp_open o = peer_open();
    c.peer_as = o.as = 65001;
    o.identifier[3] = 1;
    rig_with(&r, &c);
    to_open_sent(&r);
    say_open(&r, &o);
    assert_int_equal(r.s.state, BGP_OPEN_CONFIRM);
    done(&r);
}

/* RFC 4271 8.2.2 with RFC 6608's subcodes: what does not belong into a state ends the session. */
static void test_messages_out_of_place(void **state)
{
    (void)state;
    static const struct {
        enum bgp_state at;
        enum bgp_type type;
        uint8_t subcode;
    } rows[] = {
        {BGP_OPEN_SENT, BGP_KEEPALIVE, 1},
        {BGP_OPEN_SENT, BGP_UPDATE, 1},
        {BGP_OPEN_SENT, BGP_ROUTE_REFRESH, 1},
        {BGP_OPEN_CONFIRM, BGP_OPEN, 2},
        {BGP_OPEN_CONFIRM, BGP_UPDATE, 2},
        {BGP_OPEN_CONFIRM, BGP_ROUTE_REFRESH, 2},
        {BGP_ESTABLISHED, BGP_OPEN, 3},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct bgp_open o = peer_open();
        struct bgp_notification n = {0};
        rig(&r);
        if (rows[i].at == BGP_OPEN_SENT)
            to_open_sent(&r);
        else if (rows[i].at == BGP_OPEN_CONFIRM)
            to_open_confirm(&r);
        else
            to_established(&r);
        if (rows[i].type == BGP_OPEN)
            say_open(&r, &o);
        else
            say(&r, rows[i].type, "\0\0\0\0", rows[i].type == BGP_KEEPALIVE ? 0 : 4);
        assert_int_equal(r.s.state, BGP_IDLE);
        assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
        assert_int_equal(n.code, BGP_ERROR_FSM);
        assert_int_equal(n.subcode, rows[i].subcode);
        assert_int_equal(r.heard.down, 1);
        done(&r);
    }
}

static void test_headers_that_are_wrong(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_notification n = {0};
    uint8_t m[BGP_HEADER];
    rig(&r);
    to_established(&r);
    bgp_header_encode(m, BGP_HEADER, BGP_KEEPALIVE);
    m[0] = 0;
    bgp_session_bytes(&r.s, m, sizeof m, r.now);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
    assert_int_equal(n.code, BGP_ERROR_HEADER);
    assert_int_equal(n.subcode, BGP_HEADER_MARKER);
    done(&r);
}

/* --- established -------------------------------------------------------------------------------------------------------------- */

static void test_updates_are_handed_on_and_faults_counted(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    say(&r, BGP_UPDATE, "\0\0\0\0", 4);
    assert_int_equal(r.heard.updates, 1);
    assert_int_equal(r.heard.action, BGP_ACCEPT);
    say(&r, BGP_UPDATE, "\0\0\0\4\x40\6\1\1", 8); /* ATOMIC_AGGREGATE of one byte */
    assert_int_equal(r.heard.action, BGP_DISCARD_ATTRIBUTE);
    assert_int_equal(r.s.counters.attributes_discarded, 1);
    assert_int_equal(r.s.counters.faulty, 1);
    assert_non_null(strstr(r.s.last_fault, "ATOMIC_AGGREGATE"));
    assert_int_equal(r.s.state, BGP_ESTABLISHED);
    struct bgp_notification n = {0};
    say(&r, BGP_UPDATE, "\0\1\0\0", 4);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
    assert_int_equal(n.code, BGP_ERROR_UPDATE);
    assert_int_equal(r.heard.updates, 2);
    done(&r);
}

static void test_refreshes(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    say(&r, BGP_ROUTE_REFRESH, "\0\31\0\106", 4);
    assert_int_equal(r.heard.refreshes, 1);
    say(&r, BGP_ROUTE_REFRESH, "\0\31\1\106", 4);
    assert_int_equal(r.heard.refreshes, 2);
    assert_int_equal(r.heard.refresh, BGP_REFRESH_BEGIN);
    say(&r, BGP_ROUTE_REFRESH, "\0\31\7\106", 4); /* RFC 7313 5: an unknown subtype is ignored */
    say(&r, BGP_ROUTE_REFRESH, "\0\2\0\1", 4);    /* a family that was not agreed too */
    assert_int_equal(r.heard.refreshes, 2);
    assert_int_equal(r.s.state, BGP_ESTABLISHED);
    done(&r);
}

static void test_notifications_end_without_an_answer(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    heard_last(&r, NULL);
    say(&r, BGP_NOTIFICATION, "\6\4", 2);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_int_equal(bgp_session_out(&r.s)->len, 0);
    assert_false(r.heard.sent);
    assert_int_equal(r.heard.why.subcode, BGP_CEASE_RESET);
    done(&r);
}

/* --- timers --------------------------------------------------------------------------------------------------------------------- */

static void test_keepalives_every_third_of_the_hold_time(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    heard_last(&r, NULL);
    r.now += 10 * NS_PER_S - 1;
    bgp_session_poll(&r.s, r.now);
    assert_int_equal(bgp_session_out(&r.s)->len, 0);
    r.now += 1;
    assert_int_equal(bgp_session_poll(&r.s, r.now), r.now + 10 * NS_PER_S);
    assert_int_equal(heard_last(&r, NULL), BGP_KEEPALIVE);
    done(&r);
}

static void test_hold_timer_in_every_state(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig r;
        struct bgp_notification n = {0};
        rig(&r);
        if (i == 0)
            to_open_sent(&r);
        else if (i == 1)
            to_open_confirm(&r);
        else
            to_established(&r);
        heard_last(&r, NULL);
        int64_t hold = i == 0 ? 240 * NS_PER_S : 30 * NS_PER_S; /* RFC 4271 8.2.2: 4 minutes before an OPEN */
        for (int64_t end = r.now + hold - 1; r.now < end; r.now += NS_PER_S / 2) {
            bgp_session_poll(&r.s, r.now);
            heard_last(&r, NULL);
        }
        r.now += NS_PER_S;
        bgp_session_poll(&r.s, r.now);
        assert_int_equal(r.s.state, BGP_IDLE);
        assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
        assert_int_equal(n.code, BGP_ERROR_HOLD_TIMER);
        done(&r);
    }
}

static void test_any_message_restarts_the_hold_timer(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    for (int i = 0; i < 10; i++) {
        r.now += 25 * NS_PER_S;
        say(&r, BGP_UPDATE, "\0\0\0\0", 4);
        bgp_session_poll(&r.s, r.now);
        heard_last(&r, NULL);
    }
    assert_int_equal(r.s.state, BGP_ESTABLISHED);
    done(&r);
}

/* RFC 9687: a peer that reads nothing while it says keepalives. */
static void test_send_hold_timer(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_notification n = {0};
    rig(&r);
    to_established(&r);
    heard_last(&r, NULL);
    uint8_t m[23] = {0};
    bgp_header_encode(m, sizeof m, BGP_UPDATE);
    assert_int_equal(bgp_session_send(&r.s, m, sizeof m, r.now), 0);
    int64_t end = r.now + 480 * NS_PER_S;
    for (; r.now < end; r.now += 5 * NS_PER_S) {
        say(&r, BGP_KEEPALIVE, NULL, 0);
        bgp_session_poll(&r.s, r.now);
        assert_int_equal(r.s.state, BGP_ESTABLISHED);
    }
    say(&r, BGP_KEEPALIVE, NULL, 0);
    bgp_session_poll(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
    assert_int_equal(n.code, BGP_ERROR_SEND_HOLD_TIMER);
    done(&r);
}

static void test_it_comes_up_again_by_itself(void **state)
{
    (void)state;
    struct rig r;
    rig(&r);
    to_established(&r);
    bgp_session_transport_failed(&r.s, r.now);
    assert_int_equal(r.s.state, BGP_IDLE);
    assert_int_equal(r.heard.down, 1);
    assert_int_equal(r.heard.why.code, 0);
    assert_int_equal(bgp_session_poll(&r.s, r.now), r.now + 10 * NS_PER_S);
    assert_int_equal(r.s.state, BGP_IDLE);
    r.now += 10 * NS_PER_S;
    bgp_session_poll(&r.s, r.now);
    assert_true(bgp_session_wants_transport(&r.s, r.now));
    to_open_sent(&r);
    done(&r);
}

/* --- stopping ------------------------------------------------------------------------------------------------------------------- */

static void test_stop_says_why_and_stays_down(void **state)
{
    (void)state;
    struct rig r;
    struct bgp_notification n = {0};
    char text[256];
    rig(&r);
    to_established(&r);
    bgp_session_stop(&r.s, BGP_CEASE_SHUTDOWN, "maintenance", r.now);
    assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
    assert_string_equal(
        bgp_notification_text(&n, text, sizeof text), "cease: administrative shutdown (\"maintenance\")");
    r.now += 3600 * NS_PER_S;
    assert_int_equal(bgp_session_poll(&r.s, r.now), INT64_MAX);
    assert_int_equal(r.s.state, BGP_IDLE);
    done(&r);
}

/* RFC 8538 3.1. */
static void test_stop_is_hard_between_speakers_that_keep_routes(void **state)
{
    (void)state;
    static const struct {
        bool graceful, notification;
        uint8_t subcode, expected;
    } rows[] = {
        {true, true, BGP_CEASE_SHUTDOWN, BGP_CEASE_HARD_RESET},
        {true, true, BGP_CEASE_PREFIXES, BGP_CEASE_HARD_RESET},
        {true, true, BGP_CEASE_DECONFIGURED, BGP_CEASE_HARD_RESET},
        {true, true, BGP_CEASE_RESOURCES, BGP_CEASE_RESOURCES},
        {true, false, BGP_CEASE_SHUTDOWN, BGP_CEASE_SHUTDOWN},
        {false, false, BGP_CEASE_SHUTDOWN, BGP_CEASE_SHUTDOWN},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig r;
        struct bgp_notification n = {0};
        struct bgp_open o = peer_open();
        o.graceful = rows[i].graceful;
        o.graceful_notification = rows[i].notification;
        rig(&r);
        to_open_sent(&r);
        say_open(&r, &o);
        say(&r, BGP_KEEPALIVE, NULL, 0);
        bgp_session_stop(&r.s, rows[i].subcode, NULL, r.now);
        assert_int_equal(heard_last(&r, &n), BGP_NOTIFICATION);
        assert_int_equal(n.subcode, rows[i].expected);
        done(&r);
    }
}

/* RFC 8654: long messages once both sides said so, never before. */
static void test_long_messages_only_when_agreed(void **state)
{
    (void)state;
    static uint8_t m[8000];
    for (int agreed = 0; agreed < 2; agreed++) {
        struct rig r;
        struct bgp_open o = peer_open();
        o.extended_message = agreed;
        rig(&r);
        to_open_sent(&r);
        say_open(&r, &o);
        say(&r, BGP_KEEPALIVE, NULL, 0);
        memset(m, 0, sizeof m);
        bgp_header_encode(m, sizeof m, BGP_UPDATE);
        bytes_put_be16(m + BGP_HEADER + 2, sizeof m - BGP_HEADER - 4);
        bytes_put_be16(m + BGP_HEADER + 4, 0xd0fa); /* an unknown attribute fills it */
        bytes_put_be16(m + BGP_HEADER + 6, sizeof m - BGP_HEADER - 8);
        for (size_t at = 0; at < sizeof m; at += 1000)
            bgp_session_bytes(&r.s, m + at, 1000, r.now);
        assert_int_equal(r.s.state, agreed ? BGP_ESTABLISHED : BGP_IDLE);
        assert_int_equal(r.heard.updates, agreed);
        done(&r);
    }
}

static void test_configurations_that_are_refused(void **state)
{
    (void)state;
    struct bgp_session s;
    struct bgp_session_above above = {0};
    struct bgp_session_config c = usual;
    c.hold_time_s = 2;
    assert_int_equal(bgp_session_init(&s, &c, &above), -EINVAL);
    c = usual;
    c.n_families = BGP_FAMILIES_MOST + 1;
    assert_int_equal(bgp_session_init(&s, &c, &above), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_starts_to_connect_or_waits),
        cmocka_unit_test(test_a_refused_connection_is_tried_again_later),
        cmocka_unit_test(test_open_sent_takes_an_open),
        cmocka_unit_test(test_hold_time_zero_means_no_keepalives),
        cmocka_unit_test(test_opens_that_are_refused),
        cmocka_unit_test(test_messages_out_of_place),
        cmocka_unit_test(test_headers_that_are_wrong),
        cmocka_unit_test(test_updates_are_handed_on_and_faults_counted),
        cmocka_unit_test(test_refreshes),
        cmocka_unit_test(test_notifications_end_without_an_answer),
        cmocka_unit_test(test_keepalives_every_third_of_the_hold_time),
        cmocka_unit_test(test_hold_timer_in_every_state),
        cmocka_unit_test(test_any_message_restarts_the_hold_timer),
        cmocka_unit_test(test_send_hold_timer),
        cmocka_unit_test(test_it_comes_up_again_by_itself),
        cmocka_unit_test(test_stop_says_why_and_stays_down),
        cmocka_unit_test(test_stop_is_hard_between_speakers_that_keep_routes),
        cmocka_unit_test(test_long_messages_only_when_agreed),
        cmocka_unit_test(test_configurations_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
