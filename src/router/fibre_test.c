/* An emulated fibre in virtual time in front of a device that notes what arrives when. */
#include "router/device_fibre.h"

#include "base/clock.h"
#include "base/test.h"
#include "router/testing_pool.h"

struct sink {
    struct device d;
    unsigned room; /* frames that it takes in all */
    unsigned n;
    uint32_t number[4096];
    int64_t at[4096];
};

static unsigned sink_transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct sink *s = (struct sink *)d;
    unsigned i = 0;
    for (; i < n && s->n < s->room; i++) {
        s->number[s->n] = testing_frame_number(pkts[i]);
        s->at[s->n++] = now;
    }
    return i;
}

static void sink_close(struct device *d) {}

static const struct device_ops sink_ops = {.transmit = sink_transmit, .close = sink_close};

struct rig {
    struct pool pool;
    struct sink sink;
    struct device *fibre;
    int64_t now;
    unsigned reclaimed;
};

static void start(struct rig *g, const struct fibre_config *cfg)
{
    struct error err = {""};
    testing_pool_init(&g->pool, 8192, 256);
    g->sink.d = (struct device){.ops = &sink_ops, .pool = &g->pool, .up = true};
    g->sink.room = 4096;
    assert_int_equal(device_fibre_create(&g->fibre, &g->sink.d, cfg, &err), 0);
}

static void end(struct rig *g)
{
    g->fibre->ops->close(g->fibre);
    assert_int_equal(pool_free_count(&g->pool), 8192);
    pool_done(&g->pool);
}

/* Runs until `until`, offering frames from..to as the fibre takes them. */
static unsigned run(struct rig *g, int64_t until, unsigned from, unsigned to, uint32_t len)
{
    struct rte_mbuf *done[64];
    while (g->now <= until) {
        while (from < to) {
            struct rte_mbuf *m = testing_frame(&g->pool, from, len);
            if (!g->fibre->ops->transmit(g->fibre, &m, 1, g->now)) {
                pool_free(m);
                break;
            }
            from++;
        }
        unsigned n = g->fibre->ops->reclaim(g->fibre, done, 64, g->now);
        for (unsigned i = 0; i < n; i++)
            pool_free(done[i]);
        g->reclaimed += n;
        int64_t next = g->fibre->ops->poll(g->fibre, g->now);
        if (next <= g->now || (from < to && next > g->now + 1000))
            next = g->now + 1000;
        if (next > until)
            next = g->now < until ? until : until + 1;
        g->now = next;
    }
    return from;
}

static void frames_arrive_after_their_kilometres_at_the_fibres_rate(void **state)
{
    struct rig g = {.now = 1000};
    /* 100 Mbit/s: (226 + 24) x 8 bits take 20 µs; 200 km take 1 ms. */
    start(&g, &(struct fibre_config){.rate_bps = 100000000, .km = 200});
    run(&g, 1000 + 100 * NS_PER_US, 0, 100, 226);
    assert_int_equal(g.sink.n, 0);
    assert_in_range(g.reclaimed, 4, 5); /* descriptors are free when the bits are out, not when they arrive */
    run(&g, 20 * NS_PER_MS, 7, 100, 226);
    assert_int_equal(g.sink.n, 100);
    assert_int_equal(g.reclaimed, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(g.sink.number[i], i);
    assert_int_equal(g.sink.at[0], 1000 + 20 * NS_PER_US + NS_PER_MS);
    assert_in_range(g.sink.at[99] - g.sink.at[0], 99 * 20 * NS_PER_US, 99 * 20 * NS_PER_US + 10 * NS_PER_US);
    end(&g);
}

/* A worker that was left aside: what had waited for the wire left when it would have, what it has only now leaves now. */
static void a_late_worker_makes_up_for_what_waited_and_for_nothing_else(void **state)
{
    struct rig g = {.now = 1000};
    struct rte_mbuf *m[8], *done[64];
    /* (226 + 24) x 8 bits take 20 us; 200 km take 1 ms. Two fit: the one on the wire and one behind it. */
    start(&g, &(struct fibre_config){.rate_bps = 100000000, .km = 200});
    for (unsigned i = 0; i < 8; i++)
        m[i] = testing_frame(&g.pool, i, 226);
    unsigned taken = g.fibre->ops->transmit(g.fibre, m, 4, g.now);
    assert_in_range(taken, 1, 3);
    int64_t late = g.now + 40 * NS_PER_MS;
    assert_int_equal(g.fibre->ops->transmit(g.fibre, m + taken, 4 - taken, late), 4 - taken);
    unsigned n = g.fibre->ops->transmit(g.fibre, m + 4, 4, late);
    assert_true(n > 0);
    g.fibre->ops->poll(g.fibre, late);
    assert_int_equal(g.sink.n, 4);
    g.now = late;
    run(&g, late + 999 * NS_PER_US, 0, 0, 0);
    assert_int_equal(g.sink.n, 4); /* nothing is faster than light */
    run(&g, late + NS_PER_MS + 200 * NS_PER_US, 0, 0, 0);
    assert_int_equal(g.sink.n, 4 + n);
    for (unsigned i = 4 + n; i < 8; i++)
        pool_free(m[i]);
    n = g.fibre->ops->reclaim(g.fibre, done, 64, late + 10 * NS_PER_MS);
    for (unsigned i = 0; i < n; i++)
        pool_free(done[i]);
    end(&g);
}

static void jitter_never_reorders(void **state)
{
    struct rig g = {.now = 1};
    start(&g, &(struct fibre_config){.rate_bps = 1000000000, .km = 10, .jitter_ns = NS_PER_MS, .seed = 5});
    run(&g, 100 * NS_PER_MS, 0, 2000, 100);
    assert_int_equal(g.sink.n, 2000);
    unsigned apart = 0;
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(g.sink.number[i], i);
        apart += i && g.sink.at[i] - g.sink.at[i - 1] > 2000;
    }
    assert_true(apart > 0);
    end(&g);
}

static void loss_is_what_was_asked_and_the_same_with_the_same_seed(void **state)
{
    uint32_t first[4096];
    unsigned n_first = 0;
    for (int again = 0; again < 2; again++) {
        struct rig g = {.now = 1};
        struct fibre_counters n;
        start(&g, &(struct fibre_config){.rate_bps = 1000000000, .loss = 0.1, .bit_error = 1e-4, .seed = 9});
        run(&g, 100 * NS_PER_MS, 0, 4000, 125);
        device_fibre_counters(g.fibre, &n);
        assert_int_equal(g.sink.n + n.lost + n.bit_errors, 4000);
        assert_in_range(n.lost, 320, 480);       /* 10 % */
        assert_in_range(n.bit_errors, 270, 420); /* 1 - (1 - 1e-4)^1000 = 9.5 % of the rest */
        assert_int_equal(g.reclaimed, 4000);
        if (!again)
            memcpy(first, g.sink.number, sizeof(first)), n_first = g.sink.n;
        assert_int_equal(g.sink.n, n_first);
        assert_memory_equal(first, g.sink.number, n_first * sizeof(*first));
        end(&g);
    }
}

static void a_far_end_that_takes_nothing_holds_the_sender_and_nothing_is_lost(void **state)
{
    struct rig g = {.now = 1};
    start(&g, &(struct fibre_config){.rate_bps = 1000000000, .km = 1, .frames_most = 64});
    g.sink.room = 10;
    unsigned sent = run(&g, 10 * NS_PER_MS, 0, 1000, 100);
    assert_int_equal(g.sink.n, 10);
    assert_int_equal(sent, 10 + 64);
    g.sink.room = 4096;
    run(&g, 40 * NS_PER_MS, sent, 1000, 100);
    assert_int_equal(g.sink.n, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(g.sink.number[i], i);
    end(&g);
}

static void a_cut_swallows_what_flies_and_mending_lets_frames_through_again(void **state)
{
    struct rig g = {.now = 1};
    struct fibre_counters n;
    start(&g, &(struct fibre_config){.rate_bps = 1000000000, .km = 1000});
    run(&g, NS_PER_MS, 0, 50, 100);
    device_fibre_cut(g.fibre, true, false);
    assert_true(g.fibre->up);
    run(&g, 3 * NS_PER_MS, 50, 60, 100);
    device_fibre_counters(g.fibre, &n);
    assert_int_equal(n.cut, 60);
    assert_int_equal(g.reclaimed, 60);
    device_fibre_cut(g.fibre, true, true);
    assert_false(g.fibre->up);
    device_fibre_cut(g.fibre, false, false);
    assert_true(g.fibre->up);
    run(&g, 20 * NS_PER_MS, 60, 70, 100);
    assert_int_equal(g.sink.n, 10);
    assert_int_equal(g.sink.number[0], 60);
    end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_after_their_kilometres_at_the_fibres_rate),
        cmocka_unit_test(a_late_worker_makes_up_for_what_waited_and_for_nothing_else),
        cmocka_unit_test(jitter_never_reorders),
        cmocka_unit_test(loss_is_what_was_asked_and_the_same_with_the_same_seed),
        cmocka_unit_test(a_far_end_that_takes_nothing_holds_the_sender_and_nothing_is_lost),
        cmocka_unit_test(a_cut_swallows_what_flies_and_mending_lets_frames_through_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
