/* Probes and what answers them: replies, errors that quote them, and everything that only looks like it. */
#include "router/probe.h"

#include "base/test.h"
#include "router/testing_pool.h"
#include "wire/icmp.h"
#include "wire/ip_text.h"

#include <errno.h>

static struct pool pool;
static uint8_t sent[2048];
static uint32_t sent_len, sent_vrf;

/* The core: keeps a copy of what is injected. */
void forward_inject(struct forward *f, uint32_t vrf, struct rte_mbuf *m, int64_t now)
{
    sent_len = m->data_len;
    sent_vrf = vrf;
    memcpy(sent, packet_at(m, 0), sent_len);
    pool_free(m);
}

static struct probe_set set;

static int set_up(void **state)
{
    testing_pool_init(&pool, 64, 2000);
    set = (struct probe_set){.pool = &pool, .identifier = 0x4d45};
    return 0;
}

static int tear_down(void **state)
{
    assert_int_equal(pool_free_count(&pool), 64);
    pool_done(&pool);
    return 0;
}

static struct probe_spec spec(const char *from, const char *to)
{
    struct error err = {""};
    struct probe_spec s = {.vrf = 9, .hops = 5, .size = 40};
    assert_int_equal(ip_addr_parse(&s.from, from, &err), 0);
    assert_int_equal(ip_addr_parse(&s.to, to, &err), 0);
    return s;
}

static bool take(uint32_t vrf, const uint8_t *bytes, uint32_t len)
{
    struct rte_mbuf *m = pool_alloc(&pool);
    memcpy(packet_at(m, 0), bytes, len);
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    bool taken = probe_take(&set, vrf, m, 1000);
    pool_free(m);
    return taken;
}

static const char *const pairs[][3] = {{"10.0.0.1", "10.0.0.2", "10.9.9.9"}, {"fd00::1", "fd00::2", "fd00::9"}};

static void a_reply_answers_its_probe_once(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct probe_spec s = spec(pairs[i][0], pairs[i][1]);
        int index = probe_send(&set, &s, 500);
        assert_true(index >= 0);
        assert_int_equal(sent_vrf, 9);
        assert_int_equal(sent[i ? IP6_HOPS : IP4_TTL], 5);
        assert_false(take(9, sent, sent_len)); /* the request is no reply */
        assert_true(icmp_echo_reply(sent, sent_len));
        assert_false(take(8, sent, sent_len)); /* another VRF */
        assert_true(take(9, sent, sent_len));
        assert_int_equal(set.probe[index].state, PROBE_ANSWERED);
        assert_int_equal(set.probe[index].answer, PROBE_REPLY);
        assert_int_equal(set.probe[index].answered_ns - set.probe[index].sent_ns, 500);
        assert_true(ip_addr_equal(&set.probe[index].from, &s.to));
        assert_false(take(9, sent, sent_len));
        probe_forget(&set, (unsigned)index);
    }
}

static void an_error_about_it_answers_it(void **state)
{
    static const struct {
        enum icmp_error_kind kind;
        enum probe_answer answer;
    } errors[] = {
        {ICMP_HOP_LIMIT, PROBE_TIME_EXCEEDED}, {ICMP_NO_ROUTE, PROBE_UNREACHABLE}, {ICMP_TOO_BIG, PROBE_TOO_BIG}};
    for (int i = 0; i < 2; i++)
        for (unsigned k = 0; k < 3; k++) {
            uint8_t packet[1500];
            struct error err = {""};
            struct ip_addr router;
            struct probe_spec s = spec(pairs[i][0], pairs[i][1]);
            assert_int_equal(ip_addr_parse(&router, pairs[i][2], &err), 0);
            int index = probe_send(&set, &s, 0);
            size_t len = icmp_error_write(packet, sizeof(packet), errors[k].kind, 1280, sent, sent_len, &router);
            assert_true(len > 0);
            for (uint32_t cut = 0; cut < len;
                cut += 7) /* parts of it never crash, and answer nothing they do not show */
                if (cut < 60)
                    take(8, packet, cut);
            assert_true(take(9, packet, (uint32_t)len));
            assert_int_equal(set.probe[index].answer, errors[k].answer);
            assert_true(ip_addr_equal(&set.probe[index].from, &router));
            if (errors[k].answer == PROBE_TOO_BIG)
                assert_int_equal(set.probe[index].value, 1280);
            probe_forget(&set, (unsigned)index);
        }
}

static void there_is_a_bound_and_old_answers_do_not_fit_new_probes(void **state)
{
    struct probe_spec s = spec(pairs[0][0], pairs[0][1]);
    int index = probe_send(&set, &s, 0);
    uint8_t old[2048];
    memcpy(old, sent, sent_len);
    assert_true(icmp_echo_reply(old, sent_len));
    probe_forget(&set, (unsigned)index);
    for (unsigned i = 0; i < PROBE_MOST; i++)
        assert_true(probe_send(&set, &s, 0) >= 0);
    assert_int_equal(probe_send(&set, &s, 0), -ENOBUFS);
    assert_false(take(9, old, sent_len));
    s.size = 60000;
    assert_int_equal(probe_send(&set, &s, 0), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reply_answers_its_probe_once),
        TEST(an_error_about_it_answers_it),
        TEST(there_is_a_bound_and_old_answers_do_not_fit_new_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
