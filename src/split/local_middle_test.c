#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "split/local_middle.h"
#include "split/testing_half.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define D 8
#define N 300

static float rows[4][N][D];
static struct testing_counts counts;

static struct middle *setup(uint64_t kv_rows, const struct pool_config *cfg)
{
    memset(&counts, 0, sizeof(counts));
    for (int s = 0; s < 4; s++)
        for (int p = 0; p < N; p++)
            for (int i = 0; i < D; i++)
                rows[s][p][i] = (float)rng_uniform((uint64_t)s, (uint64_t)(p * D + i));
    struct middle *m;
    assert_int_equal(local_middle_create_over(&m, testing_infer(D, kv_rows, &counts), cfg), 0);
    return m;
}

static struct middle_event want(struct middle *m, enum middle_event_kind kind)
{
    struct middle_event e;
    assert_int_equal(m->ops->next(m, NS_PER_S, &e), 0);
    assert_int_equal(e.kind, kind);
    return e;
}

static void open_session(struct middle *m, uint32_t id, uint32_t n_ctx)
{
    assert_int_equal(m->ops->open(m, id, n_ctx), 0);
    assert_int_equal(want(m, MIDDLE_OPENED).session, id);
}

static void check_vectors(const struct middle_event *e, const float (*in)[D])
{
    for (uint32_t k = 0; k < e->n; k++) {
        float out[D];
        testing_infer_row(D, e->pos0 + k, in[0], out);
        assert_memory_equal(out, e->x + k * D, sizeof(out));
    }
}

static void forward(struct middle *m, uint32_t id, uint32_t epoch, uint32_t pos0, uint32_t n, bool urgent)
{
    assert_int_equal(m->ops->forward(m, id, epoch, pos0, n, rows[id - 1][pos0], urgent), 0);
}

static void test_answers(void **state)
{
    struct middle *m = setup(2000, NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 200, false);
    struct middle_event e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.n, 200);
    check_vectors(&e, rows[0]);
    forward(m, 1, 0, 200, 1, true);
    e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.pos0, 200);
    check_vectors(&e, rows[0]);
    forward(m, 1, 1, 50, 3, true); /* forgets 50 and after */
    e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.epoch, 1);
    check_vectors(&e, rows[0]);
    assert_int_equal(m->ops->next(m, 0, &e), -EAGAIN);
    m->ops->free(m);
}

static void test_everything_that_waits_runs_together(void **state)
{
    struct middle *m = setup(2000, &(struct pool_config){.prefill_beside = 16});
    for (uint32_t s = 1; s <= 4; s++)
        open_session(m, s, N);
    forward(m, 4, 0, 0, 100, false);
    for (uint32_t s = 1; s <= 3; s++)
        forward(m, s, 0, 0, 2, true);
    for (int k = 0; k < 3; k++) {
        struct middle_event e = want(m, MIDDLE_VECTORS);
        assert_int_not_equal(e.session, 4);
        check_vectors(&e, rows[e.session - 1]);
    }
    assert_int_equal(atomic_load(&counts.runs), 1); /* the decode steps and a bounded share of the prefill */
    assert_int_equal(atomic_load(&counts.rows), 6 + 16);
    struct middle_event e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.session, 4);
    check_vectors(&e, rows[3]);
    m->ops->free(m);
}

static void test_flights_of_one_session_run_together(void **state)
{
    struct middle *m = setup(2000, NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 4, true);
    forward(m, 1, 0, 4, 4, true);
    forward(m, 1, 0, 8, 4, true);
    for (uint32_t k = 0; k < 3; k++) {
        struct middle_event e = want(m, MIDDLE_VECTORS);
        assert_int_equal(e.pos0, 4 * k);
        check_vectors(&e, rows[0]);
    }
    assert_int_equal(atomic_load(&counts.runs), 1);
    m->ops->free(m);
}

static void test_stale_is_not_computed(void **state)
{
    struct middle *m = setup(2000, NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 4, true);
    want(m, MIDDLE_VECTORS);
    forward(m, 1, 0, 4, 4, true);
    forward(m, 1, 0, 8, 4, true);
    m->ops->cancel(m, 1, 1);
    forward(m, 1, 1, 3, 2, true);
    struct middle_event e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.pos0, 3);
    assert_int_equal(e.epoch, 1);
    check_vectors(&e, rows[0]);
    assert_int_equal(m->ops->next(m, 0, &e), -EAGAIN);
    assert_int_equal(atomic_load(&counts.rows), 6);
    forward(m, 1, 1, 5, 2, true);
    forward(m, 1, 2, 4, 1, true); /* a later epoch from 4 on makes the rows from 5 on pointless */
    e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.pos0, 4);
    assert_int_equal(atomic_load(&counts.rows), 7);
    m->ops->free(m);
}

static void test_admission(void **state)
{
    struct middle *m = setup(100, NULL);
    open_session(m, 1, 60);
    assert_int_equal(m->ops->open(m, 2, 60), 0);
    struct middle_event e = want(m, MIDDLE_REFUSED);
    assert_false(e.final);
    assert_int_equal(m->ops->forward(m, 2, 0, 0, 1, rows[1][0], true), -EINVAL);
    assert_int_equal(m->ops->open(m, 3, 101), 0);
    assert_true(want(m, MIDDLE_REFUSED).final);
    m->ops->close(m, 1);
    open_session(m, 4, 60);
    assert_int_equal(m->ops->forward(m, 4, 0, 59, 2, rows[3][0], true), -EINVAL);
    assert_int_equal(m->ops->forward(m, 4, 0, 0, 0, rows[3][0], true), -EINVAL);
    assert_int_equal(m->ops->forward(m, 4, 0, UINT32_MAX, 2, rows[3][0], true), -EINVAL);
    m->ops->free(m);
}

static void test_gap_is_a_loss(void **state)
{
    struct middle *m = setup(2000, NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 4, true);
    want(m, MIDDLE_VECTORS);
    forward(m, 1, 0, 9, 4, true);
    assert_int_equal(want(m, MIDDLE_LOST).session, 1);
    open_session(m, 2, N);
    assert_int_equal(atomic_load(&counts.open), 1);
    m->ops->free(m);
}

static void test_close_with_work_waiting(void **state)
{
    struct middle *m = setup(2000, NULL);
    open_session(m, 1, N);
    open_session(m, 2, N);
    forward(m, 1, UINT32_MAX, 0, 200, false);
    forward(m, 2, 0, 0, 4, true);
    m->ops->close(m, 1);
    assert_int_equal(want(m, MIDDLE_VECTORS).session, 2);
    struct middle_event e;
    assert_int_equal(m->ops->next(m, 0, &e), -EAGAIN);
    assert_int_equal(atomic_load(&counts.open), 1);
    assert_int_equal(atomic_load(&counts.rows), 4);
    m->ops->open(m, 3, N);
    forward(m, 2, 0, 4, 4, true);
    m->ops->free(m);
}

static void *waker(void *m)
{
    struct middle *x = m;
    x->ops->wake(x);
    return NULL;
}

static void test_wake(void **state)
{
    struct middle *m = setup(100, NULL);
    pthread_t t;
    struct middle_event e;
    int64_t began = clock_now_ns();
    assert_int_equal(pthread_create(&t, NULL, waker, m), 0);
    assert_int_equal(m->ops->next(m, 20 * NS_PER_S, &e), -EAGAIN);
    assert_true(clock_now_ns() - began < 10 * NS_PER_S);
    pthread_join(t, NULL);
    m->ops->free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_everything_that_waits_runs_together),
        cmocka_unit_test(test_flights_of_one_session_run_together),
        cmocka_unit_test(test_stale_is_not_computed),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_gap_is_a_loss),
        cmocka_unit_test(test_close_with_work_waiting),
        cmocka_unit_test(test_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
