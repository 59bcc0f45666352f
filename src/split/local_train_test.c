#include "base/test.h"
#include "split/local_train.h"
#include "split/store.h"
#include "split/testing_half.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define D 8

static struct testing_counts counts;
static struct half_train *half;
static const struct model_cut base = {.part = MODEL_CLOUD, .id = {1, 2, 3}, .head = 1, .tail = 1};
static const struct train_adamw opt = {.lr = 0.1f, .beta1 = 0.5f, .grad_scale = 1};
static char dir[64];

static struct train_middle *setup(void)
{
    memset(&counts, 0, sizeof(counts));
    half = testing_train(D, 2, 16, &counts);
    struct train_middle *m;
    struct error err = {""};
    struct local_train_config cfg = {.store = dir, .run = {7}};
    assert_int_equal(local_train_create_over(&m, half, &base, &cfg, &err), 0);
    return m;
}

static struct train_event want(struct train_middle *m, enum train_event_kind kind)
{
    struct train_event e;
    assert_int_equal(m->ops->next(m, 0, &e), 0);
    assert_int_equal(e.kind, kind);
    return e;
}

static void batch(struct train_middle *m, uint64_t number)
{
    float x[6 * D], g[6 * D];
    for (int i = 0; i < 6 * D; i++)
        x[i] = (float)(number + (uint64_t)i), g[i] = 0.001f * (float)i;
    assert_int_equal(m->ops->forward(m, number, (uint32_t[]){2, 4}, 2, 6, x, false), 0);
    struct train_event e = want(m, TRAIN_OUT);
    assert_int_equal(e.batch, number);
    for (int i = 0; i < 6 * D; i++)
        assert_true(e.x[i] == x[i] * testing_train_weights(half)[i % D]);
    assert_int_equal(m->ops->backward(m, number, 6, g, true), 0);
    e = want(m, TRAIN_GRAD);
    assert_true(e.x[9] == g[9] * testing_train_weights(half)[9 % D]);
}

static void one_step(struct train_middle *m, uint64_t step)
{
    batch(m, 2 * step);
    batch(m, 2 * step + 1);
    assert_int_equal(m->ops->norm(m, step), 0);
    assert_true(want(m, TRAIN_NORM).value > 0);
    assert_int_equal(m->ops->step(m, step, &opt), 0);
    assert_int_equal(want(m, TRAIN_STEPPED).step, step);
}

static void save(struct train_middle *m, uint64_t step, bool serve)
{
    struct model_cut cut = base;
    cut.step = step;
    cut.run[0] = 7;
    assert_int_equal(m->ops->save(m, step, &cut, serve), 0);
    want(m, TRAIN_SAVED);
}

static void test_resumes_exactly_and_keeps_two(void **state)
{
    float expected[D];
    struct train_middle *m = setup();
    for (uint64_t s = 1; s <= 6; s++) {
        one_step(m, s);
        if (s <= 4)
            save(m, s, s != 3);
    }
    memcpy(expected, testing_train_weights(half), sizeof(expected));
    m->ops->free(m);

    struct store store;
    uint64_t steps[STORE_MAX_STEPS];
    assert_int_equal(store_open(&store, dir, NULL), 0);
    assert_int_equal(store_run_steps(&store, base.id, (uint8_t[16]){7}, steps), 2);
    assert_int_equal(steps[0], 4);
    assert_int_equal(steps[1], 3);
    struct model_cut served = base, found;
    served.step = 4;
    served.run[0] = 7;
    assert_true(store_half_has(&store, &served));
    served.step = 2;
    assert_true(store_half_has(&store, &served));
    served.step = 1; /* two generations of halves too */
    assert_false(store_half_has(&store, &served));
    assert_true(store_half_newest(&store, &found));
    assert_int_equal(found.step, 4);
    assert_memory_equal(found.id, base.id, 32);
    assert_memory_equal(found.run, served.run, 16);

    m = setup();
    assert_int_equal(m->ops->load(m, 3), 0);
    assert_int_equal(want(m, TRAIN_LOADED).step, 3);
    for (uint64_t s = 4; s <= 6; s++)
        one_step(m, s);
    assert_memory_equal(expected, testing_train_weights(half), sizeof(expected));
    save(m, 6, false);
    assert_int_equal(store_run_steps(&store, base.id, (uint8_t[16]){7}, steps), 2);
    assert_int_equal(steps[0], 6);
    assert_int_equal(steps[1], 3); /* 4 went when 3 was loaded */
    assert_int_equal(m->ops->load(m, 0), 0);
    want(m, TRAIN_LOADED);
    one_step(m, 1);
    assert_int_equal(m->ops->load(m, 5), 0);
    assert_non_null(strstr(want(m, TRAIN_FAILED).text, "no checkpoint of step 5"));
    m->ops->free(m);
}

static bool has_step(uint64_t step)
{
    struct store store;
    uint64_t steps[STORE_MAX_STEPS];
    assert_int_equal(store_open(&store, dir, NULL), 0);
    uint32_t n = store_run_steps(&store, base.id, (uint8_t[16]){7}, steps);
    for (uint32_t i = 0; i < n; i++)
        if (steps[i] == step)
            return true;
    return false;
}

/* The campus died before it noted step 2 and goes on from 1. If it dies before it notes 3, 1 is all both sides have. */
static void test_going_back_ends_the_future(void **state)
{
    struct train_middle *m = setup();
    struct model_cut served = base, other = base;
    struct store store;
    char path[STORE_PATH];
    assert_int_equal(m->ops->load(m, 0), 0);
    want(m, TRAIN_LOADED);
    one_step(m, 1);
    save(m, 1, false);
    one_step(m, 2);
    save(m, 2, true);
    assert_int_equal(store_open(&store, dir, NULL), 0);
    other.run[0] = 8; /* another run's checkpoints are none of this one's business */
    assert_int_equal(store_run_make(&store, base.id, other.run, NULL), 0);
    store_step_path(&store, base.id, other.run, 9, path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    m->ops->free(m);

    m = setup();
    assert_int_equal(m->ops->load(m, 9), 0); /* what fails forgets nothing */
    want(m, TRAIN_FAILED);
    assert_true(has_step(2));
    m->ops->free(m);

    m = setup();
    assert_int_equal(m->ops->load(m, 1), 0);
    want(m, TRAIN_LOADED);
    one_step(m, 2);
    one_step(m, 3);
    save(m, 3, false);
    assert_true(has_step(3));
    assert_true(has_step(1));
    assert_false(has_step(2));
    served.step = 2;
    served.run[0] = 7;
    assert_true(store_half_has(&store, &served)); /* somebody may be served by it */
    assert_int_equal(access(path, F_OK), 0);
    m->ops->free(m);
}

static void test_out_of_order_is_refused(void **state)
{
    struct train_middle *m = setup();
    float x[20 * D] = {0};
    uint32_t rows = 6;
    assert_int_equal(m->ops->backward(m, 1, 6, x, true), -EPROTO);
    assert_int_equal(m->ops->forward(m, 5, &rows, 1, 6, x, false), 0);
    want(m, TRAIN_OUT);
    assert_int_equal(m->ops->forward(m, 5, &rows, 1, 6, x, false), -EPROTO);
    assert_int_equal(m->ops->forward(m, 6, &rows, 1, 5, x, false), -EINVAL);
    assert_int_equal(m->ops->forward(m, 6, (uint32_t[]){0, 6}, 2, 6, x, false), -EINVAL);
    assert_int_equal(m->ops->forward(m, 6, (uint32_t[]){20}, 1, 20, x, false), -EINVAL);
    assert_int_equal(m->ops->norm(m, 1), -EPROTO);
    assert_int_equal(m->ops->step(m, 1, &opt), -EPROTO);
    assert_int_equal(m->ops->backward(m, 5, 5, x, true), -EINVAL);
    assert_int_equal(m->ops->backward(m, 5, 6, x, true), 0);
    assert_int_equal(m->ops->backward(m, 5, 6, x, true), -EPROTO);
    assert_int_equal(m->ops->step(m, 2, &opt), -EPROTO);
    assert_int_equal(atomic_load(&counts.forwards), 1);
    assert_int_equal(atomic_load(&counts.backwards), 1);
    assert_int_equal(atomic_load(&counts.steps), 0);
    m->ops->free(m);
}

static void test_slots_and_evaluation(void **state)
{
    struct train_middle *m = setup();
    float x[6 * D] = {1};
    uint32_t rows = 6;
    assert_int_equal(m->ops->forward(m, 1, &rows, 1, 6, x, true), 0);
    want(m, TRAIN_OUT);
    assert_int_equal(m->ops->backward(m, 1, 6, x, true), -EPROTO);
    assert_int_equal(m->ops->forward(m, 2, &rows, 1, 6, x, false), 0);
    assert_int_equal(m->ops->forward(m, 3, &rows, 1, 6, x, false), 0);
    assert_int_equal(m->ops->forward(m, 4, &rows, 1, 6, x, false), -ENOBUFS);
    want(m, TRAIN_OUT);
    want(m, TRAIN_OUT);
    assert_int_equal(m->ops->backward(m, 2, 6, x, false), 0);
    assert_null(want(m, TRAIN_GRAD).x);
    assert_int_equal(m->ops->forward(m, 4, &rows, 1, 6, x, false), 0);
    m->ops->free(m);
}

int main(void)
{
    snprintf(dir, sizeof(dir), "/tmp/local_train_test-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumes_exactly_and_keeps_two),
        cmocka_unit_test(test_going_back_ends_the_future),
        cmocka_unit_test(test_out_of_order_is_refused),
        cmocka_unit_test(test_slots_and_evaluation),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return rc || system(command);
}
