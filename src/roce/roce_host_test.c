/* What reliable connections do when packets are lost, overtaken, marked, paused, forged: in virtual time, packet by packet. */
#include "roce/roce_host.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "roce/testing_line.h"

#include <stdlib.h>
#include <string.h>

static struct line *line_of(uint8_t family)
{
    struct roce_host_config config[2];
    line_default(config, family);
    return line_create(config);
}

static struct roce_stats stats_of(struct line *l, int host)
{
    struct roce_stats s;
    roce_host_stats(l->host[host], l->now, &s);
    return s;
}

static void connect_flow(struct line *l, const struct roce_flow *f)
{
    uint32_t flow;
    struct error err = {""};
    if (roce_host_connect(l->host[0], f, &flow, &err))
        fail_msg("%s", err.text);
}

static void assert_complete(struct line *l, const struct roce_flow *f)
{
    struct roce_stats tx = stats_of(l, 0), rx = stats_of(l, 1);
    assert_true(roce_host_finished(l->host[0]));
    assert_int_equal(tx.messages, f->messages);
    assert_int_equal(rx.rx_messages, f->messages);
    assert_int_equal(tx.acked_payload, f->messages * f->message_bytes);
    assert_int_equal(rx.rx_payload, f->messages * f->message_bytes);
    assert_int_equal(tx.broken, 0);
    assert_int_equal(rx.malformed + rx.corrupted + rx.unexpected + tx.malformed + tx.corrupted + tx.unexpected, 0);
    assert_int_equal(roce_host_latency(l->host[0])->count, f->messages);
}

static void test_nothing_is_sent_twice_on_a_good_line(void **state)
{
    for (int whole = 0; whole < 2; whole++)
        for (uint8_t family = IP_V4; family <= IP_V6; family += 2)
            for (uint32_t bytes = 1; bytes < 70000; bytes = bytes * 3 + 1) {
                struct line *l = line_of(family);
                struct roce_flow f = line_flow(family);
                f.message_bytes = bytes;
                f.mtu = bytes & 1 ? 1024 : 4096;
                l->whole = whole;
                connect_flow(l, &f);
                line_run(l, INT64_MAX);
                assert_complete(l, &f);
                struct roce_stats tx = stats_of(l, 0), rx = stats_of(l, 1);
                assert_int_equal(tx.tx_packets, f.messages * ((bytes + f.mtu - 1) / f.mtu));
                assert_int_equal(tx.retransmitted_packets + tx.timeouts + tx.naks_received, 0);
                assert_int_equal(rx.out_of_order + rx.duplicates + rx.naks_sent, 0);
                assert_int_equal(rx.rx_packets, tx.tx_packets);
                assert_int_equal(rx.rx_bytes, tx.tx_bytes);
                line_free(l);
            }
}

static void test_latency_is_line_and_delay(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.depth = f.messages = 1;
    f.message_bytes = 1000;
    connect_flow(l, &f);
    line_run(l, INT64_MAX);
    /* 1060 bytes one way and 48 back at 10 Gbit/s, 10 us each way */
    assert_int_equal(roce_host_latency(l->host[0])->most_ns, 1060 * 8 / 10 + 48 * 8 / 10 + 20000);
    line_free(l);
}

static void test_a_full_window_fills_the_line(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    f.mtu = 4096;
    connect_flow(l, &f);
    line_run(l, 20 * NS_PER_MS);
    struct roce_stats tx = stats_of(l, 0);
    assert_in_range(tx.tx_bytes * 8 / 20, 9990000, 10000000 + 4200); /* bits a millisecond */
    roce_host_stop(l->host[0], 0);
    line_run(l, INT64_MAX);
    assert_true(roce_host_finished(l->host[0]));
    line_free(l);
}

/* --- loss --- */

struct trap {
    uint64_t count, at[4]; /* which of the packets that match share a fate, counted from 1 */
    int from;
    uint8_t opcode; /* 0: any */
    enum line_fate fate;
};

static enum line_fate trap(void *user, int from, const struct roce_packet *p, int64_t now)
{
    struct trap *t = user;
    if (from != t->from || (t->opcode && p->opcode != t->opcode))
        return LINE_PASS;
    t->count++;
    for (int i = 0; i < 4; i++)
        if (t->at[i] == t->count)
            return t->fate;
    return LINE_PASS;
}

static struct line *trapped(struct trap *t, const struct roce_flow *f)
{
    struct line *l = line_of(f->peer.family);
    l->fate = trap;
    l->user = t;
    connect_flow(l, f);
    line_run(l, INT64_MAX);
    return l;
}

static void test_one_lost_packet_costs_a_round_trip_of_packets(void **state)
{
    struct trap t = {.at = {100}, .fate = LINE_LOSE};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    assert_complete(l, &f);
    struct roce_stats tx = stats_of(l, 0), rx = stats_of(l, 1);
    assert_int_equal(tx.naks_received, 1);
    assert_int_equal(tx.timeouts, 0);
    /* all that was sent until the NAK came is thrown away and sent again: about 20 us of 1084 byte packets */
    assert_int_equal(rx.out_of_order, tx.retransmitted_packets - 1);
    assert_in_range(tx.retransmitted_packets, 22, 30);
    assert_int_equal(rx.naks_sent, 1);
    line_free(l);
}

static void test_a_lost_last_packet_costs_a_timeout(void **state)
{
    struct roce_flow f = line_flow(IP_V4);
    struct trap t = {.at = {640}, .fate = LINE_LOSE}; /* 10 messages of 64 packets */
    struct line *l = trapped(&t, &f);
    assert_complete(l, &f);
    struct roce_stats tx = stats_of(l, 0);
    assert_int_equal(tx.timeouts, 1);
    assert_int_equal(tx.naks_received, 0);
    assert_in_range(roce_host_latency(l->host[0])->most_ns, 4096 << 14, (4096 << 14) + 2 * NS_PER_MS);
    line_free(l);
}

static void test_a_lost_nak_costs_a_timeout(void **state)
{
    struct roce_flow f = line_flow(IP_V6);
    struct trap t = {.at = {10, 12}, .fate = LINE_LOSE};
    struct line *l = line_of(IP_V6);
    l->fate = trap;
    l->user = &t;
    f.timeout_ns = NS_PER_MS;
    connect_flow(l, &f);
    line_run(l, 60 * NS_PER_US); /* the gap is told once, however many packets show it */
    assert_int_equal(stats_of(l, 1).naks_sent, 1);
    line_run(l, INT64_MAX);
    assert_complete(l, &f);
    line_free(l);

    struct trap both = {.from = 1, .at = {1}, .opcode = ROCE_ACKNOWLEDGE, .fate = LINE_LOSE};
    struct line *m = line_of(IP_V6);
    f.messages = 1;
    f.message_bytes = 3 * 1024;
    m->fate = trap;
    m->user = &both;
    connect_flow(m, &f);
    struct roce_out out;
    uint8_t lost[ROCE_HEADERS_MOST];
    assert_true(roce_host_pull(m->host[0], 0, lost, &out)); /* the first packet never reaches the line */
    line_run(m, INT64_MAX);
    assert_complete(m, &f);
    assert_int_equal(stats_of(m, 0).timeouts, 1);
    assert_int_equal(stats_of(m, 0).naks_received, 0);
    line_free(m);
}

static void test_a_lost_acknowledgement_is_made_good_by_the_next(void **state)
{
    struct trap t = {.from = 1, .at = {3, 4, 5}, .fate = LINE_LOSE};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    assert_complete(l, &f);
    assert_int_equal(stats_of(l, 0).retransmitted_packets, 0);
    line_free(l);
    struct trap all = {.from = 1, .at = {1, 2, 3, 4}, .fate = LINE_LOSE};
    f.messages = 1;
    l = trapped(&all, &f);
    assert_complete(l, &f);
    struct roce_stats tx = stats_of(l, 0), rx = stats_of(l, 1);
    assert_int_equal(tx.timeouts, 1); /* which repeats everything, and the duplicates are answered */
    assert_int_equal(rx.duplicates, tx.retransmitted_packets);
    line_free(l);
}

static void test_an_overtaken_packet_is_taken_for_lost(void **state)
{
    struct trap t = {.at = {50}, .fate = LINE_SWAP};
    struct roce_flow f = line_flow(IP_V4);
    struct line *l = trapped(&t, &f);
    assert_complete(l, &f);
    /* dropped, and so is all that follows the late one until the sender has gone back */
    assert_in_range(stats_of(l, 1).out_of_order, 20, 40);
    assert_in_range(stats_of(l, 0).naks_received, 1, 2);
    assert_in_range(stats_of(l, 0).retransmitted_packets, 20, 60);
    line_free(l);
}

static enum line_fate percent(void *user, int from, const struct roce_packet *p, int64_t now)
{
    uint64_t *n = user;
    return rng_uniform(99, (*n)++) < 0.01 ? LINE_LOSE : LINE_PASS;
}

static void test_random_loss_both_ways(void **state)
{
    uint64_t hash[2];
    for (int run = 0; run < 2; run++) {
        struct line *l = line_of(IP_V6);
        uint64_t n = 0;
        struct roce_flow f = line_flow(IP_V6);
        f.messages = 300;
        f.timeout_ns = 500 * NS_PER_US;
        f.retry_forever = true;
        l->fate = percent;
        l->user = &n;
        connect_flow(l, &f);
        line_run(l, INT64_MAX);
        assert_complete(l, &f);
        assert_true(stats_of(l, 0).naks_received > 50);
        hash[run] = l->hash;
        line_free(l);
    }
    assert_int_equal(hash[0], hash[1]);
}

static void test_loss_on_purpose_at_the_receiver(void **state)
{
    struct roce_host_config config[2];
    line_default(config, IP_V4);
    config[1].lose = 0.05;
    struct line *l = line_create(config);
    struct roce_flow f = line_flow(IP_V4);
    f.retry_forever = true;
    f.timeout_ns = NS_PER_MS;
    connect_flow(l, &f);
    line_run(l, INT64_MAX);
    assert_complete(l, &f);
    assert_in_range(stats_of(l, 1).lost_on_purpose, 20, 200);
    line_free(l);
}

static enum line_fate lose_all(void *user, int from, const struct roce_packet *p, int64_t now)
{
    return now < *(int64_t *)user ? LINE_PASS : LINE_LOSE;
}

static void test_a_dead_line_breaks_the_queue_pair(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    int64_t dies = 30 * NS_PER_US;
    f.timeout_ns = NS_PER_MS;
    f.retries = 3;
    l->fate = lose_all;
    l->user = &dies;
    connect_flow(l, &f);
    line_run(l, INT64_MAX);
    struct roce_stats tx = stats_of(l, 0);
    assert_true(roce_host_finished(l->host[0]));
    assert_int_equal(tx.broken, 1);
    assert_int_equal(tx.timeouts, 4);
    assert_true(tx.messages < f.messages);
    assert_in_range(l->now, 4 * NS_PER_MS, 5 * NS_PER_MS);
    line_free(l);
}

static void test_timeouts_count_in_a_row_only(void **state)
{
    struct roce_flow f = line_flow(IP_V4);
    f.message_bytes = 1000; /* each loss costs a timeout: nothing behind it shows the gap */
    f.depth = 1;
    f.retries = 1;
    struct trap t = {.at = {1, 3, 5, 7}, .fate = LINE_LOSE};
    struct line *l = trapped(&t, &f);
    assert_complete(l, &f);
    assert_int_equal(stats_of(l, 0).timeouts, 4);
    line_free(l);
}

/* PSNs have 24 bits: a connection that begins near their end goes on behind it, over losses. */
static void test_psn_wraps(void **state)
{
    for (uint64_t seed = 1;; seed++) {
        struct roce_host_config config[2];
        line_default(config, IP_V4);
        config[0].seed = seed;
        struct line *l = line_create(config);
        struct roce_flow f = line_flow(IP_V4);
        uint32_t flow, qp;
        f.messages = 800;
        f.message_bytes = 100 * 256;
        f.mtu = 256;
        f.retry_forever = true;
        f.timeout_ns = NS_PER_MS;
        roce_host_connect(l->host[0], &f, &flow, NULL);
        uint8_t headers[ROCE_HEADERS_MOST];
        struct roce_out out;
        roce_host_pull(l->host[0], 0, headers, &out);
        qp = out.qp;
        if (roce_first_psn(qp) > 0xff0000) {
            uint64_t n = 0;
            l->fate = percent;
            l->user = &n;
            line_run(l, INT64_MAX);
            assert_complete(l, &f);
            line_free(l);
            return;
        }
        line_free(l);
    }
}

/* --- congestion, pauses, pacing --- */

static void test_pacing_is_exact(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    f.rate_bps = 3000000000;
    connect_flow(l, &f);
    line_run(l, 10 * NS_PER_MS);
    assert_in_range(stats_of(l, 0).tx_bytes * 8, 30000000 - 9000, 30000000 + 9000);
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
    connect_flow(l, &f);
    line_run(l, 2 * NS_PER_MS);
    assert_int_equal(stats_of(l, 0).messages, 10);
    roce_host_pause(l->host[0], 3, l->now + 2 * NS_PER_MS, l->now); /* late ones say that they were late */
    line_run(l, INT64_MAX);
    assert_complete(l, &f);
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
    connect_flow(l, &f);
    connect_flow(l, &g);
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
    struct roce_stats s = stats_of(l, 0);
    assert_int_equal(s.pauses, 1);
    assert_int_equal(s.paused_ns, 2 * NS_PER_MS);
    assert_int_equal(s.retransmitted_packets, 0);
    line_free(l);
}

static void test_a_pause_ends_by_itself(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    connect_flow(l, &f);
    roce_host_pause(l->host[0], 3, 7 * NS_PER_MS, 0);
    assert_int_equal(roce_host_next(l->host[0], 0), 0); /* the flow's start is looked at, */
    uint8_t headers[ROCE_HEADERS_MOST];
    struct roce_out out;
    assert_false(roce_host_pull(l->host[0], 0, headers, &out)); /* and waits */
    assert_int_equal(roce_host_next(l->host[0], 0), 7 * NS_PER_MS);
    line_run(l, INT64_MAX);
    assert_complete(l, &f);
    assert_true(l->now > 7 * NS_PER_MS);
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
    connect_flow(l, &f);
    line_run(l, until);
    struct roce_stats tx = stats_of(l, 0), rx = stats_of(l, 1);
    assert_in_range(rx.cnps_sent, 10, 41);                             /* one in 50 us at most */
    assert_in_range(tx.cnps_received, rx.cnps_sent - 1, rx.cnps_sent); /* one may be under way */
    uint64_t slow = roce_host_flow_rate_bps(l->host[0], 0);
    assert_in_range(slow, 1, 1000000000);
    line_run(l, 200 * NS_PER_MS);
    uint64_t now = roce_host_flow_rate_bps(l->host[0], 0);
    assert_true(now == 0 || now > 9 * 1000000000ull); /* 0: not held back any more */
    assert_int_equal(stats_of(l, 0).retransmitted_packets, 0);
    line_free(l);
}

static void test_without_ecn_nothing_is_marked(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    int64_t until = INT64_MAX;
    l->fate = mark_until;
    l->user = &until;
    connect_flow(l, &f);
    line_run(l, INT64_MAX);
    assert_complete(l, &f);
    assert_int_equal(stats_of(l, 1).ce_marked, 0);
    line_free(l);
}

static void test_flows_share_the_line(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    f.messages = 0;
    for (uint8_t i = 0; i < 100; i++) {
        f.dscp = i % 2 ? 26 : 8; /* two priorities */
        connect_flow(l, &f);
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

/* --- what a peer may do wrong --- */

static uint32_t build(uint8_t *buf, struct roce_packet p)
{
    uint32_t n = roce_put(buf, &p), len = roce_size(&p);
    memset(buf + n, 0, len - n);
    roce_icrc_put(buf, len);
    return len;
}

static struct roce_packet write_to_host(struct line *l, uint8_t opcode, uint32_t qp, uint32_t number)
{
    struct roce_packet p = {.src = {IP_V4, {{10, 0, 0, 9}}},
        .dst = {IP_V4, {{10, 0, 0, 2}}},
        .hops = 64,
        .opcode = opcode,
        .ack_request = true,
        .qp = qp,
        .psn = (roce_first_psn(qp) + number) & ROCE_PSN_MASK,
        .payload = 256};
    p.size = opcode == ROCE_WRITE_FIRST ? 600 : 256;
    return p;
}

static struct roce_packet answer_of(struct line *l)
{
    uint8_t headers[ROCE_HEADERS_MOST];
    struct roce_out out;
    struct roce_packet p = {0};
    if (roce_host_pull(l->host[1], l->now, headers, &out))
        assert_int_equal(roce_decode(&p, headers, out.headers, out.len), 0);
    return p;
}

static void give(struct line *l, struct roce_packet p)
{
    uint8_t buf[6000];
    uint32_t len = build(buf, p);
    assert_true(roce_host_receive(l->host[1], buf, len, len, l->now));
}

static void test_requests_that_make_no_sense_end_the_connection(void **state)
{
    static const struct {
        uint8_t first, second;
        uint32_t payload;
    } wrong[] = {
        {ROCE_WRITE_FIRST, ROCE_WRITE_FIRST, 256},
        {ROCE_WRITE_FIRST, ROCE_WRITE_ONLY, 256},
        {ROCE_WRITE_FIRST, ROCE_WRITE_MIDDLE, 512}, /* another path MTU */
        {ROCE_WRITE_FIRST, ROCE_WRITE_LAST, 200},   /* less than announced */
        {ROCE_WRITE_ONLY, ROCE_WRITE_MIDDLE, 256},
        {ROCE_WRITE_ONLY, ROCE_WRITE_LAST, 256},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct line *l = line_of(IP_V4);
        give(l, write_to_host(l, wrong[i].first, 77, 0));
        assert_int_equal(answer_of(l).syndrome, ROCE_ACK);
        struct roce_packet p = write_to_host(l, wrong[i].second, 77, 1);
        p.payload = p.size = wrong[i].payload;
        if (p.opcode == ROCE_WRITE_FIRST)
            p.size = 600;
        give(l, p);
        struct roce_packet a = answer_of(l);
        assert_int_equal(a.opcode, ROCE_ACKNOWLEDGE);
        assert_int_equal(a.syndrome, ROCE_NAK_INVALID);
        assert_int_equal(a.psn, p.psn);
        give(l, write_to_host(l, ROCE_WRITE_ONLY, 77, 1)); /* refused from now on */
        assert_int_equal(answer_of(l).opcode, 0);
        assert_int_equal(stats_of(l, 1).unexpected, 1);
        line_free(l);
    }
}

static void test_an_invalid_request_answer_breaks_the_requester(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    connect_flow(l, &f);
    uint8_t buf[512];
    struct roce_out out;
    assert_true(roce_host_pull(l->host[0], 0, buf, &out));
    struct roce_packet nak = {.src = f.peer,
        .dst = {IP_V4, {{10, 0, 0, 1}}},
        .opcode = ROCE_ACKNOWLEDGE,
        .syndrome = ROCE_NAK_INVALID,
        .qp = out.qp,
        .psn = roce_first_psn(out.qp)};
    uint32_t len = build(buf, nak);
    assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
    assert_int_equal(stats_of(l, 0).broken, 1);
    assert_true(roce_host_finished(l->host[0]));
    line_run(l, INT64_MAX);
    assert_int_equal(stats_of(l, 0).tx_packets, 1);
    line_free(l);
}

static void test_forged_answers_change_nothing(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    connect_flow(l, &f);
    uint8_t buf[512];
    struct roce_out out;
    assert_true(roce_host_pull(l->host[0], 0, buf, &out));
    struct roce_packet good = {.src = f.peer,
        .dst = {IP_V4, {{10, 0, 0, 1}}},
        .opcode = ROCE_ACKNOWLEDGE,
        .syndrome = ROCE_ACK,
        .qp = out.qp,
        .psn = roce_first_psn(out.qp)};
    struct roce_packet forged[4] = {good, good, good, good};
    forged[0].src.a.b[3] = 77;                      /* not the peer */
    forged[1].qp++;                                 /* no queue pair of ours */
    forged[2].psn = (good.psn + 1) & ROCE_PSN_MASK; /* never sent */
    forged[3].syndrome = ROCE_NAK_SEQUENCE, forged[3].psn = (good.psn + 1) & ROCE_PSN_MASK;
    for (int i = 0; i < 4; i++) {
        uint32_t len = build(buf, forged[i]);
        assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
        assert_int_equal(stats_of(l, 0).unexpected, i + 1);
        assert_int_equal(stats_of(l, 0).acked_payload, 0);
    }
    uint32_t len = build(buf, good);
    buf[len - 1] ^= 1;
    assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
    assert_int_equal(stats_of(l, 0).corrupted, 1);
    buf[len - 1] ^= 1;
    assert_true(roce_host_receive(l->host[0], buf, len - 1, len - 1, 0));
    assert_int_equal(stats_of(l, 0).malformed, 1);
    assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
    assert_int_equal(stats_of(l, 0).acked_payload, 1024);
    struct roce_packet other = good;
    other.dst.a.b[3] = 99;
    len = build(buf, other);
    assert_false(roce_host_receive(l->host[0], buf, len, len, 0));
    line_free(l);
}

static void test_responders_are_bounded_and_old_ones_give_way(void **state)
{
    struct roce_host_config config[2];
    line_default(config, IP_V4);
    config[1].responders_most = 20;
    struct line *l = line_create(config);
    for (uint32_t qp = 0; qp < 30; qp++) {
        l->now = qp;
        give(l, write_to_host(l, ROCE_WRITE_ONLY, qp, 0));
        while (answer_of(l).opcode)
            ;
    }
    assert_int_equal(stats_of(l, 1).refused, 10);
    assert_int_equal(stats_of(l, 1).rx_messages, 20);
    l->now = 2 * NS_PER_S;
    give(l, write_to_host(l, ROCE_WRITE_ONLY, 1, 1)); /* this one is alive */
    for (uint32_t qp = 100; qp < 119; qp++)
        give(l, write_to_host(l, ROCE_WRITE_ONLY, qp, 0));
    assert_int_equal(stats_of(l, 1).rx_messages, 40);
    give(l, write_to_host(l, ROCE_WRITE_ONLY, 1, 2));
    assert_int_equal(stats_of(l, 1).rx_messages, 41);
    assert_int_equal(stats_of(l, 1).refused, 10);
    line_free(l);
}

static void test_what_cannot_be_is_refused(void **state)
{
    struct line *l = line_of(IP_V4);
    struct error err;
    uint32_t flow;
    struct roce_flow good = line_flow(IP_V4), f = good;
    f.mtu = 1000;
    assert_true(roce_host_connect(l->host[0], &f, &flow, &err) < 0);
    f = good, f.message_bytes = 0;
    assert_true(roce_host_connect(l->host[0], &f, &flow, &err) < 0);
    f = good, f.peer.family = IP_V6;
    assert_true(roce_host_connect(l->host[0], &f, &flow, &err) < 0);
    f = good, f.window = 1 << 23;
    assert_true(roce_host_connect(l->host[0], &f, &flow, &err) < 0);
    assert_int_equal(roce_host_flows(l->host[0]), 0);
    struct roce_host *h;
    struct roce_host_config c = {.address = {IP_V4, {{1}}}, .lose = 2};
    assert_true(roce_host_create(&h, &c, &err) < 0);
    line_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_sent_twice_on_a_good_line),
        cmocka_unit_test(test_latency_is_line_and_delay),
        cmocka_unit_test(test_a_full_window_fills_the_line),
        cmocka_unit_test(test_one_lost_packet_costs_a_round_trip_of_packets),
        cmocka_unit_test(test_a_lost_last_packet_costs_a_timeout),
        cmocka_unit_test(test_a_lost_nak_costs_a_timeout),
        cmocka_unit_test(test_a_lost_acknowledgement_is_made_good_by_the_next),
        cmocka_unit_test(test_an_overtaken_packet_is_taken_for_lost),
        cmocka_unit_test(test_random_loss_both_ways),
        cmocka_unit_test(test_loss_on_purpose_at_the_receiver),
        cmocka_unit_test(test_a_dead_line_breaks_the_queue_pair),
        cmocka_unit_test(test_timeouts_count_in_a_row_only),
        cmocka_unit_test(test_psn_wraps),
        cmocka_unit_test(test_pacing_is_exact),
        cmocka_unit_test(test_messages_on_schedule),
        cmocka_unit_test(test_a_paused_priority_sends_nothing_and_others_go_on),
        cmocka_unit_test(test_a_pause_ends_by_itself),
        cmocka_unit_test(test_marks_slow_the_sender_down_until_they_stop),
        cmocka_unit_test(test_without_ecn_nothing_is_marked),
        cmocka_unit_test(test_flows_share_the_line),
        cmocka_unit_test(test_requests_that_make_no_sense_end_the_connection),
        cmocka_unit_test(test_an_invalid_request_answer_breaks_the_requester),
        cmocka_unit_test(test_forged_answers_change_nothing),
        cmocka_unit_test(test_responders_are_bounded_and_old_ones_give_way),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
