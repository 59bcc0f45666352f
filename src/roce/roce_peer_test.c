/* What a peer or a stranger may do wrong, and what it costs them. */
#include "roce/roce_host.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "roce/testing_line.h"

#include <stdlib.h>
#include <string.h>

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
        assert_int_equal(line_stats(l, 1).unexpected, 1);
        line_free(l);
    }
}

static void test_an_invalid_request_answer_breaks_the_requester(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    line_connect(l, &f);
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
    assert_int_equal(line_stats(l, 0).broken, 1);
    assert_true(roce_host_finished(l->host[0]));
    line_run(l, INT64_MAX);
    assert_int_equal(line_stats(l, 0).tx_packets, 1);
    line_free(l);
}

static void test_forged_answers_change_nothing(void **state)
{
    struct line *l = line_of(IP_V4);
    struct roce_flow f = line_flow(IP_V4);
    line_connect(l, &f);
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
        assert_int_equal(line_stats(l, 0).unexpected, i + 1);
        assert_int_equal(line_stats(l, 0).acked_payload, 0);
    }
    uint32_t len = build(buf, good);
    buf[len - 1] ^= 1;
    assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
    assert_int_equal(line_stats(l, 0).corrupted, 1);
    buf[len - 1] ^= 1;
    assert_true(roce_host_receive(l->host[0], buf, len - 1, len - 1, 0));
    assert_int_equal(line_stats(l, 0).malformed, 1);
    assert_true(roce_host_receive(l->host[0], buf, len, len, 0));
    assert_int_equal(line_stats(l, 0).acked_payload, 1024);
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
    assert_int_equal(line_stats(l, 1).refused, 10);
    assert_int_equal(line_stats(l, 1).rx_messages, 20);
    l->now = 2 * NS_PER_S;
    give(l, write_to_host(l, ROCE_WRITE_ONLY, 1, 1)); /* this one is alive */
    for (uint32_t qp = 100; qp < 119; qp++)
        give(l, write_to_host(l, ROCE_WRITE_ONLY, qp, 0));
    assert_int_equal(line_stats(l, 1).rx_messages, 40);
    give(l, write_to_host(l, ROCE_WRITE_ONLY, 1, 2));
    assert_int_equal(line_stats(l, 1).rx_messages, 41);
    assert_int_equal(line_stats(l, 1).refused, 10);
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
        cmocka_unit_test(test_requests_that_make_no_sense_end_the_connection),
        cmocka_unit_test(test_an_invalid_request_answer_breaks_the_requester),
        cmocka_unit_test(test_forged_answers_change_nothing),
        cmocka_unit_test(test_responders_are_bounded_and_old_ones_give_way),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
