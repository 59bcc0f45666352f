#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "split/local_train.h"
#include "split/remote_train.h"
#include "split/store.h"
#include "split/testing_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D       WORLD_D
#define ROWS    24u
#define SLOTS   3u
#define BATCHES 5u /* of a step */
#define LONG    (20 * NS_PER_S)

static struct world world;
static const struct train_adamw opt = {.lr = 0.01f, .beta1 = 0.5f, .grad_scale = 0.1f, .t = 1};

static struct train_middle *remote(void)
{
    struct remote_train_config cfg = {
        .remote = world_remote(&world), .train = {.max_rows = ROWS, .max_samples = 4}, .n_slots = SLOTS, .run = {7}};
    struct train_middle *m;
    struct error err = {""};
    if (remote_train_create(&m, &cfg, &err))
        fail_msg("%s", err.text);
    return m;
}

static struct train_middle *setup(void)
{
    memset(&world, 0, sizeof(world));
    world_start(&world);
    return remote();
}

static void teardown(struct train_middle *m)
{
    m->ops->free(m);
    world_end(&world);
}

static struct train_event next(struct train_middle *m)
{
    struct train_event e;
    do
        assert_int_equal(m->ops->next(m, LONG, &e), 0);
    while (e.kind == TRAIN_UP || e.kind == TRAIN_DOWN);
    return e;
}

static struct train_event want(struct train_middle *m, enum train_event_kind kind)
{
    struct train_event e = next(m);
    if (e.kind != kind)
        fail_msg("event %d (%s) instead of %d", e.kind, e.text ? e.text : "", kind);
    return e;
}

/* What a trainer would see: everything that comes back, mixed into one number, bit by bit. */
static uint64_t mix(uint64_t h, const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n * D; i++) {
        uint32_t u;
        memcpy(&u, x + i, 4);
        h = rng_mix(h ^ u) + i;
    }
    return h;
}

static void forward(struct train_middle *m, uint64_t b)
{
    float x[ROWS * D];
    for (uint32_t i = 0; i < ROWS * D; i++)
        x[i] = (float)rng_uniform(b, i) - 0.5f;
    assert_int_equal(m->ops->forward(m, b, (uint32_t[]){10, 14}, 2, ROWS, x, false), 0);
}

static void backward(struct train_middle *m, uint64_t b)
{
    float g[ROWS * D];
    for (uint32_t i = 0; i < ROWS * D; i++)
        g[i] = (float)rng_uniform(b + 1000, i) - 0.5f;
    assert_int_equal(m->ops->backward(m, b, ROWS, g, b % 2 == 0), 0);
}

/* A step, pipelined: SLOTS micro-batches under way. */
static uint64_t one_step(struct train_middle *m, uint64_t step, uint64_t h)
{
    uint64_t first = step * 100, sent = 0, back = 0, done = 0;
    while (done < BATCHES) {
        while (sent < BATCHES && sent - back < SLOTS)
            forward(m, first + sent++);
        struct train_event e = next(m);
        if (e.kind == TRAIN_OUT) {
            h = mix(h, e.x, e.n_rows);
            assert_int_equal(e.batch, first + back);
            backward(m, e.batch);
            back++;
        } else if (e.kind == TRAIN_GRAD) {
            assert_int_equal(e.batch, first + done);
            assert_true((e.x != NULL) == (e.batch % 2 == 0));
            h = e.x ? mix(h, e.x, e.n_rows) : h;
            done++;
        } else {
            fail_msg("event %d: %s", e.kind, e.text ? e.text : "");
        }
    }
    assert_int_equal(m->ops->norm(m, step), 0);
    double norm = want(m, TRAIN_NORM).value;
    assert_true(norm > 0);
    assert_int_equal(m->ops->step(m, step, &opt), 0);
    assert_int_equal(want(m, TRAIN_STEPPED).step, step);
    return rng_mix(h ^ (uint64_t)(norm * 1e6));
}

static uint64_t steps(struct train_middle *m, uint64_t from, uint64_t to, uint64_t h)
{
    for (uint64_t s = from; s <= to; s++)
        h = one_step(m, s, h);
    return h;
}

static void save(struct train_middle *m, uint64_t step, bool serve)
{
    struct model_cut cut = world.cut;
    cut.step = step;
    cut.run[0] = 7;
    assert_int_equal(m->ops->save(m, step, &cut, serve), 0);
    assert_int_equal(want(m, TRAIN_SAVED).step, step);
}

/* The same in this process, and what is expected of every worker. */
static uint64_t expected(uint64_t to)
{
    struct testing_counts counts = {0};
    struct train_middle *m;
    static const struct model_cut base = {.part = MODEL_CLOUD};
    struct local_train_config cfg = {.run = {7}};
    assert_int_equal(local_train_create_over(&m, testing_train(D, SLOTS, ROWS, &counts), &base, &cfg, NULL), 0);
    uint64_t h = steps(m, 1, to, 0);
    m->ops->free(m);
    return h;
}

static void test_same_as_here(void **state)
{
    struct train_middle *m = setup();
    assert_true(steps(m, 1, 4, 0) == expected(4));
    save(m, 4, true);
    struct model_cut served = world.cut;
    served.step = 4;
    served.run[0] = 7;
    struct store store;
    assert_int_equal(store_open(&store, world.dir, NULL), 0);
    assert_true(store_half_has(&store, &served)); /* HELLO can ask for it at once */
    struct train_middle_stats st;
    m->ops->stats(m, &st);
    assert_true(st.up && st.bytes_up > 4ull * BATCHES * ROWS * D * 4);
    teardown(m);
}

static void test_evaluation_and_slots(void **state)
{
    struct train_middle *m = setup();
    float x[ROWS * D] = {1};
    uint32_t one = ROWS;
    assert_int_equal(m->ops->forward(m, 1, &one, 1, ROWS, x, true), 0);
    want(m, TRAIN_OUT);
    for (uint64_t b = 2; b < 2 + SLOTS; b++)
        forward(m, b);
    assert_int_equal(m->ops->forward(m, 9, &one, 1, ROWS, x, false), -ENOBUFS);
    for (uint64_t b = 2; b < 2 + SLOTS; b++) {
        want(m, TRAIN_OUT);
        backward(m, b);
    }
    assert_int_equal(m->ops->forward(m, 9, &one, 1, ROWS + 1, x, false), -EINVAL);
    for (uint64_t b = 2; b < 2 + SLOTS; b++)
        want(m, TRAIN_GRAD);
    assert_int_equal(atomic_load(&world.counts.backwards), SLOTS);
    teardown(m);
}

/* The link dies after k bytes, everywhere: each micro-batch is computed once, and not a bit differs. */
static void test_dies_anywhere(void **state)
{
    uint64_t right = expected(2);
    struct train_middle_stats st;
    unsigned deaths = 0, times = 120;
    struct train_middle *m = setup();
    steps(m, 1, 2, 0);
    m->ops->stats(m, &st);
    teardown(m);
    long total = (long)(st.bytes_up + st.bytes_down);
    for (unsigned k = 0; k < times; k++) {
        m = setup();
        atomic_store(&world.die_after, 1 + total * k / times);
        assert_true(steps(m, 1, 2, 0) == right);
        assert_int_equal(atomic_load(&world.counts.forwards), 2 * BATCHES);
        assert_int_equal(atomic_load(&world.counts.backwards), 2 * BATCHES);
        assert_int_equal(atomic_load(&world.counts.steps), 2);
        deaths += atomic_load(&world.deaths);
        teardown(m);
    }
    assert_true(deaths > times * 3 / 4);
}

static void test_dies_again_and_again(void **state)
{
    struct train_middle *m = setup();
    uint64_t h = 0;
    for (uint64_t s = 1; s <= 30; s++) {
        atomic_store(&world.die_after, 1 + (long)rng_below(9, s, 12000));
        h = one_step(m, s, h);
    }
    assert_true(h == expected(30));
    assert_int_equal(atomic_load(&world.counts.steps), 30);
    assert_int_equal(atomic_load(&world.counts.backwards), 30 * BATCHES);
    assert_true(atomic_load(&world.deaths) >= 15);
    teardown(m);
}

static void test_worker_restarts(void **state)
{
    struct train_middle *m = setup();
    uint64_t h = steps(m, 1, 3, 0);
    save(m, 3, false);
    uint64_t at3 = h;
    steps(m, 4, 5, h);
    save(m, 5, false);
    uint64_t at_end = expected(7);
    forward(m, 600);
    want(m, TRAIN_OUT);
    world_worker_stop(&world);
    world_worker_start(&world);
    forward(m, 601); /* meant for a state that is gone */
    struct train_event e = want(m, TRAIN_LOST);
    assert_int_equal(e.n_steps, 2);
    assert_int_equal(e.step, 5);
    assert_int_equal(e.steps[0], 5);
    assert_int_equal(e.steps[1], 3);
    assert_int_equal(m->ops->norm(m, 6), 0); /* leads to nothing: the checkpoint comes first */
    assert_int_equal(m->ops->load(m, 3), 0); /* say that the campus only has that one */
    assert_int_equal(want(m, TRAIN_LOADED).step, 3);
    assert_true(steps(m, 4, 7, at3) == at_end);
    assert_int_equal(m->ops->load(m, 4), 0);
    assert_non_null(strstr(want(m, TRAIN_FAILED).text, "no checkpoint of step 4"));
    teardown(m);
}

/* The campus is killed: its next process finds the checkpoint, and the old one's training does not stand in its way. */
static void test_edge_restarts(void **state)
{
    struct train_middle *m = setup();
    uint64_t h = steps(m, 1, 2, 0);
    save(m, 2, false);
    forward(m, 300);
    want(m, TRAIN_OUT);
    struct train_event e;
    atomic_store(&world.cut_off, true); /* so that it cannot say goodbye */
    atomic_store(&world.die_after, 1);
    while (m->ops->next(m, LONG, &e) || e.kind != TRAIN_DOWN)
        ;
    m->ops->free(m);
    atomic_store(&world.cut_off, false);
    m = remote();
    assert_int_equal(m->ops->load(m, 2), 0);
    assert_int_equal(want(m, TRAIN_LOADED).step, 2);
    assert_true(steps(m, 3, 5, h) == expected(5));
    teardown(m);
}

static void test_two_at_once(void **state)
{
    struct train_middle *m = setup(), *other;
    forward(m, 1);
    want(m, TRAIN_OUT);
    other = remote();
    assert_non_null(strstr(want(other, TRAIN_FAILED).text, "another training"));
    other->ops->free(other);
    backward(m, 1);
    want(m, TRAIN_GRAD);
    teardown(m);
}

static void test_out_of_order(void **state)
{
    struct train_middle *m = setup();
    backward(m, 5);
    assert_non_null(strstr(want(m, TRAIN_FAILED).text, "not in flight"));
    forward(m, 6);
    want(m, TRAIN_OUT);
    assert_int_equal(m->ops->step(m, 1, &opt), 0);
    assert_non_null(strstr(want(m, TRAIN_FAILED).text, "in flight"));
    assert_int_equal(atomic_load(&world.counts.steps), 0);
    teardown(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_here),
        cmocka_unit_test(test_evaluation_and_slots),
        cmocka_unit_test(test_dies_anywhere),
        cmocka_unit_test(test_dies_again_and_again),
        cmocka_unit_test(test_worker_restarts),
        cmocka_unit_test(test_edge_restarts),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
