/* When a flow may send: pacing, schedules, turns, pauses, congestion marks: in virtual time. */
#include "roce/roce_host.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "roce/testing_line.h"

#include <stdlib.h>
#include <string.h>

static void test_pacing_is_exact(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    f.rate_bps = 3000000000;
    line_connect(l, &f);
    line_run(l, 10 * NS_PER_MS);
    assert_in_range(line_stats(l, 0).tx_bytes * 8, 30000000 - 9000, 30000000 + 9000);
    line_free(l);
}

static void test_messages_on_schedule(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.message_bytes = 1000;
    f.messages = 50;
    f.interval_ns = 100 * NS_PER_US;
    f.start_ns = NS_PER_MS;
    f.depth = 4;
    line_connect(l, &f);
    line_run(l, 2 * NS_PER_MS);
    assert_int_equal(line_stats(l, 0).messages, 10);
    roce_host_pause(l->host[0], 3, l->now + 2 * NS_PER_MS, l->now); /* late ones say that they were late */
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    assert_in_range(roce_host_latency(l->host[0])->most_ns, 1900 * NS_PER_US, 1950 * NS_PER_US);
    line_free(l);
}

static void test_a_paused_priority_sends_nothing_and_others_go_on(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4), g = f;
    f.messages = g.messages = 0;
    f.dscp = 26; /* priority 3 */
    g.dscp = 8;  /* priority 1 */
    line_connect(l, &f);
    line_connect(l, &g);
    line_run(l, NS_PER_MS);
    struct roce_stats a, b, c, d;
    roce_host_pause(l->host[0], 3, l->now + 5 * NS_PER_MS, l->now);
    roce_host_flow_stats(l->host[0], 0, &a);
    roce_host_flow_stats(l->host[0], 1, &b);
    line_run(l, 3 * NS_PER_MS);
    roce_host_flow_stats(l->host[0], 0, &c);
    roce_host_flow_stats(l->host[0], 1, &d);
    assert_int_equal(c.tx_packets, a.tx_packets);
    assert_true(d.tx_packets - b.tx_packets > 2000); /* the whole line */
    roce_host_pause(l->host[0], 3, 0, l->now);
    line_run(l, 4 * NS_PER_MS);
    roce_host_flow_stats(l->host[0], 0, &c);
    assert_true(c.tx_packets - a.tx_packets > 400);
    struct roce_stats s = line_stats(l, 0);
    assert_int_equal(s.pauses, 1);
    assert_int_equal(s.paused_ns, 2 * NS_PER_MS);
    assert_int_equal(s.retransmitted_packets, 0);
    line_free(l);
}

static void test_a_pause_ends_by_itself(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    line_connect(l, &f);
    roce_host_pause(l->host[0], 3, 7 * NS_PER_MS, 0);
    assert_int_equal(roce_host_next(l->host[0], 0), 0); /* the flow's start is looked at, */
    uint8_t headers[ROCE_HEADERS_MOST];
    struct roce_out out;
    assert_false(roce_host_pull(l->host[0], 0, headers, &out)); /* and waits */
    assert_int_equal(roce_host_next(l->host[0], 0), 7 * NS_PER_MS);
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    assert_true(l->now > 7 * NS_PER_MS);
    line_free(l);
}

static void test_a_long_pause_breaks_nothing(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.timeout_ns = NS_PER_MS;
    f.retries = 2;
    line_connect(l, &f);
    line_run(l, 100 * NS_PER_US);
    roce_host_pause(l->host[0], 3, l->now + 50 * NS_PER_MS, l->now);
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    assert_int_equal(line_stats(l, 0).timeouts, 0); /* nothing that asked was left unanswered */
    line_free(l);

    l = line_of(IP_V4);
    line_connect(l, &f);
    line_run(l, 100 * NS_PER_US);
    roce_host_pause(l->host[1], 3, l->now + 50 * NS_PER_MS, l->now); /* the answers are held up */
    line_run(l, INT64_MAX);
    assert_true(line_stats(l, 0).timeouts > 1);
    line_free(l);
}

static enum line_fate mark_until(void *user, int from, const struct roce_packet *p, int64_t now)
{
    return p->ecn == ROCE_ECT0 && now < *(int64_t *)user ? LINE_MARK : LINE_PASS;
}

static void test_marks_slow_the_sender_down_until_they_stop(void **state)
{
    struct line *l = line_of(IP_V6);
    struct roce_flow f = line_flow(IP_V6);
    int64_t until = 2 * NS_PER_MS;
    f.messages = 0;
    f.ecn = true;
    l->fate = mark_until;
    l->user = &until;
    line_connect(l, &f);
    line_run(l, until);
    struct roce_stats tx = line_stats(l, 0), rx = line_stats(l, 1);
    assert_in_range(rx.cnps_sent, 10, 41);                             /* one in 50 us at most */
    assert_in_range(tx.cnps_received, rx.cnps_sent - 1, rx.cnps_sent); /* one may be under way */
    uint64_t slow = roce_host_flow_rate_bps(l->host[0], 0);
    assert_in_range(slow, 1, 1000000000);
    line_run(l, 200 * NS_PER_MS);
    uint64_t now = roce_host_flow_rate_bps(l->host[0], 0);
    assert_true(now == 0 || now > 9 * 1000000000ull); /* 0: not held back any more */
    assert_int_equal(line_stats(l, 0).retransmitted_packets, 0);
    line_free(l);
}

static void test_without_ecn_nothing_is_marked(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    int64_t until = INT64_MAX;
    l->fate = mark_until;
    l->user = &until;
    line_connect(l, &f);
    line_run(l, INT64_MAX);
    line_assert_complete(l, &f);
    assert_int_equal(line_stats(l, 1).ce_marked, 0);
    line_free(l);
}

static void test_flows_share_the_line(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    for (uint8_t i = 0; i < 100; i++) {
        f.dscp = i % 2 ? 26 : 8; /* two priorities */
        line_connect(l, &f);
    }
    line_run(l, 20 * NS_PER_MS);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct roce_stats s;
        roce_host_flow_stats(l->host[0], i, &s);
        least = s.tx_packets < least ? s.tx_packets : least;
        most = s.tx_packets > most ? s.tx_packets : most;
    }
    assert_true(most - least <= 1);
    line_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pacing_is_exact),
        cmocka_unit_test(test_messages_on_schedule),
        cmocka_unit_test(test_a_paused_priority_sends_nothing_and_others_go_on),
        cmocka_unit_test(test_a_pause_ends_by_itself),
        cmocka_unit_test(test_a_long_pause_breaks_nothing),
        cmocka_unit_test(test_marks_slow_the_sender_down_until_they_stop),
        cmocka_unit_test(test_without_ecn_nothing_is_marked),
        cmocka_unit_test(test_flows_share_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
