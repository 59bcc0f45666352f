/* The worker between two devices of the test's making and the patch panel: order, backpressure, sleep, calls, link loss. */
#include "router/loop.h"

#include "base/clock.h"
#include "base/test.h"
#include "router/testing_forward.h"
#include "router/testing_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

/* Gives `give` frames and takes what `room` allows; the test changes both from its own thread. */
struct fake {
    struct device d;
    struct pool *pool;
    int event;
    atomic_uint give, room;
    unsigned given;
    atomic_uint taken;
    bool disordered;
};

static unsigned fake_receive(struct device *d, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    struct fake *f = (struct fake *)d;
    unsigned n = 0;
    for (; n < most && f->given < atomic_load(&f->give); n++)
        if (!(ret[n] = testing_frame(f->pool, f->given, 100)))
            break;
        else
            f->given++;
    return n;
}

static unsigned fake_transmit(struct device *d, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    struct fake *f = (struct fake *)d;
    unsigned i = 0;
    for (; i < n && atomic_load(&f->taken) < atomic_load(&f->room); i++) {
        f->disordered |= testing_frame_number(pkts[i]) != atomic_load(&f->taken);
        atomic_fetch_add(&f->taken, 1);
    }
    return i;
}

static unsigned fake_watch(struct device *d, int *ret, unsigned most)
{
    ret[0] = ((struct fake *)d)->event;
    return 1;
}

static bool fake_arm(struct device *d)
{
    struct fake *f = (struct fake *)d;
    return f->given < atomic_load(&f->give);
}

static void fake_close(struct device *d) {}

static const struct device_ops fake_ops = {
    .receive = fake_receive, .transmit = fake_transmit, .watch = fake_watch, .arm = fake_arm, .close = fake_close};

struct rig {
    struct pool pool;
    struct forward forward;
    struct fake dev[2];
    struct loop *loop;
};

static int set_up(void **state)
{
    struct rig *g = *state = calloc(1, sizeof(*g));
    struct error err = {""};
    testing_pool_init(&g->pool, 4096, 256);
    g->forward.free = pool_free;
    g->forward.poll_every_ns = 10 * NS_PER_MS;
    assert_int_equal(
        loop_create(&g->loop,
            &(struct loop_config){.forward = &g->forward, .pool = &g->pool, .core = -1, .extra_fd = -1}, &err),
        0);
    for (unsigned i = 0; i < 2; i++) {
        g->dev[i].d = (struct device){.ops = &fake_ops, .pool = &g->pool, .up = true, .polled = true};
        g->dev[i].pool = &g->pool;
        g->dev[i].event = eventfd(0, EFD_NONBLOCK);
        g->dev[i].room = 1000000;
        loop_device_set(g->loop, (uint16_t)i, &g->dev[i].d);
    }
    if (loop_start(g->loop, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *g = *state;
    loop_free(g->loop);
    for (unsigned i = 0; i < 2; i++) {
        struct rte_mbuf *m;
        while (forward_transmit(&g->forward, (uint16_t)i, &m, 1, 0))
            pool_free(m);
        close(g->dev[i].event);
    }
    free(g);
    return 0;
}

static void give(struct fake *f, unsigned n)
{
    uint64_t one = 1;
    atomic_fetch_add(&f->give, n);
    assert_int_equal(write(f->event, &one, 8), 8);
}

static bool taken(struct fake *f, unsigned n)
{
    int64_t until = clock_now_ns() + 5 * NS_PER_S;
    while (atomic_load(&f->taken) < n && clock_now_ns() < until)
        usleep(100);
    return atomic_load(&f->taken) == n;
}

static void frames_pass_in_order_through_a_device_that_takes_little(void **state)
{
    struct rig *g = *state;
    g->dev[1].room = 0;
    give(&g->dev[0], 1000);
    for (unsigned room = 0; room <= 1000; room += 25) {
        g->dev[1].room = room;
        assert_true(taken(&g->dev[1], room));
    }
    assert_false(g->dev[1].disordered);
}

static void count_call(void *user, int64_t now)
{
    ++*(unsigned *)user;
}

static void *call_much(void *user)
{
    static _Thread_local unsigned mine;
    struct rig *g = user;
    for (int i = 0; i < 500; i++)
        loop_call(g->loop, count_call, &mine);
    return (void *)(uintptr_t)mine;
}

static void calls_run_on_the_worker_one_after_the_other(void **state)
{
    struct rig *g = *state;
    pthread_t t[3];
    give(&g->dev[0], 2000);
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, call_much, g);
    for (int i = 0; i < 3; i++) {
        void *n;
        pthread_join(t[i], &n);
        assert_int_equal((uintptr_t)n, 500);
    }
    assert_true(taken(&g->dev[1], 2000));
}

static void read_counters(void *user, int64_t now)
{
    struct rig *g = ((void **)user)[0];
    *(struct loop_counters *)((void **)user)[1] = *loop_counters(g->loop);
}

static void who_has_nothing_to_do_sleeps_and_still_keeps_its_deadlines(void **state)
{
    struct rig *g = *state;
    static struct loop_counters before, after;
    loop_call(g->loop, read_counters, (void *[]){g, &before});
    int64_t start = clock_now_ns();
    usleep(300000);
    loop_call(g->loop, read_counters, (void *[]){g, &after});
    int64_t took = clock_now_ns() - start;
    uint64_t polls = (uint64_t)(took / g->forward.poll_every_ns);
    assert_in_range(after.sleeps - before.sleeps, 1, 3 * polls + 20);
    assert_in_range(g->forward.polls, polls / 2, 3 * polls + 50);
    give(&g->dev[0], 1);
    assert_true(taken(&g->dev[1], 1));
}

static void set_down(void *user, int64_t now)
{
    ((struct fake *)user)->d.up = false;
}

static void frames_for_a_dead_link_are_recorded_one_by_one(void **state)
{
    struct rig *g = *state;
    g->dev[1].room = 10;
    give(&g->dev[0], 100);
    assert_true(taken(&g->dev[1], 10));
    loop_call(g->loop, set_down, &g->dev[1]);
    int64_t until = clock_now_ns() + 5 * NS_PER_S;
    while (__atomic_load_n(&g->forward.port[1].sent, __ATOMIC_ACQUIRE) < 100 && clock_now_ns() < until)
        usleep(100);
    loop_stop(g->loop);
    assert_int_equal(g->forward.port[1].sent, 100);
    assert_int_equal(g->forward.loss.packets[LOSS_LINK_DOWN], 90);
    assert_int_equal(g->forward.link_downs, 1);
    assert_int_equal(pool_free_count(&g->pool), 4096);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_pass_in_order_through_a_device_that_takes_little),
        TEST(calls_run_on_the_worker_one_after_the_other),
        TEST(who_has_nothing_to_do_sleeps_and_still_keeps_its_deadlines),
        TEST(frames_for_a_dead_link_are_recorded_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
