/* Elimination and order of a 1+1 stream: cases by name, and a random network of two FIFOs against a model that remembers the
 * fate of every number. */
#include "base/rng.h"
#include "base/test.h"
#include "lane/duplicate.h"

#include <stdlib.h>

#define MS 1000000ll

struct rig {
    struct duplicate d;
    void *memory;
    uint64_t out[64];
    unsigned n_out;
};

static void rig_init(struct rig *r, uint32_t window, uint32_t cells, int64_t wait)
{
    r->memory = calloc(1, duplicate_memory(window));
    assert_non_null(r->memory);
    duplicate_init(&r->d, &(struct duplicate_limits){window, cells, wait}, r->memory);
    r->n_out = 0;
}

static void rig_done(struct rig *r)
{
    assert_int_equal(duplicate_check(&r->d), 0);
    free(r->memory);
}

static void drain(struct rig *r, int64_t now)
{
    for (void *item; (item = duplicate_next(&r->d, now));)
        r->out[r->n_out++ % 64] = (uintptr_t)item;
    assert_int_equal(duplicate_check(&r->d), 0);
}

static enum duplicate_verdict come(struct rig *r, uint32_t epoch, uint64_t number, unsigned path, int64_t now)
{
    if (duplicate_is_new(&r->d, epoch)) {
        for (void *item; (item = duplicate_flush(&r->d));)
            r->out[r->n_out++ % 64] = (uintptr_t)item;
        duplicate_begin(&r->d, epoch, number);
    }
    enum duplicate_verdict v = duplicate_arrive(&r->d, epoch, number, path, 1, (void *)(uintptr_t)number, now);
    if (v == DUPLICATE_DELIVER)
        r->out[r->n_out++ % 64] = number;
    drain(r, now);
    return v;
}

#define COME(r, number, path, now) come(r, 7, number, path, now)

static void the_second_copy_is_redundant(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    for (uint64_t n = 1; n <= 10; n++)
        assert_int_equal(COME(&r, n, 0, (int64_t)n), DUPLICATE_DELIVER);
    for (uint64_t n = 1; n <= 10; n++)
        assert_int_equal(COME(&r, n, 1, 100 + (int64_t)n), DUPLICATE_REDUNDANT);
    assert_true(r.d.delivered == 10 && r.d.redundant == 10 && !r.d.lost && !r.d.held);
    assert_int_equal(r.d.lag_ns, 100);
    rig_done(&r);
}

static void what_one_path_loses_the_other_brings_in_order(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    assert_int_equal(COME(&r, 3, 0, 2), DUPLICATE_HOLD);
    assert_int_equal(COME(&r, 4, 0, 3), DUPLICATE_HOLD);
    assert_int_equal(r.d.held_cells, 2);
    assert_int_equal(COME(&r, 1, 1, 10), DUPLICATE_REDUNDANT);
    assert_int_equal(COME(&r, 2, 1, 11), DUPLICATE_DELIVER);
    assert_int_equal(COME(&r, 3, 1, 12), DUPLICATE_REDUNDANT);
    const uint64_t want[] = {1, 2, 3, 4};
    assert_memory_equal(r.out, want, sizeof want);
    assert_true(r.n_out == 4 && !r.d.lost && !r.d.held && r.d.held_peak == 2);
    rig_done(&r);
}

static void a_number_that_both_have_passed_is_not_waited_for(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    COME(&r, 1, 1, 0);
    assert_int_equal(COME(&r, 3, 0, 1), DUPLICATE_HOLD);
    assert_int_equal(COME(&r, 4, 1, 2), DUPLICATE_HOLD);
    assert_true(r.n_out == 3 && r.d.lost == 1 && r.d.next == 5);
    assert_int_equal(COME(&r, 2, 1, 3), DUPLICATE_LATE); /* a path that is no FIFO after all */
    assert_int_equal(COME(&r, 2, 0, 3), DUPLICATE_REDUNDANT);
    assert_true(r.d.late == 1 && r.d.lost == 1);
    rig_done(&r);
}

static void a_missing_number_is_waited_for_so_long_and_no_longer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    COME(&r, 3, 0, MS);
    COME(&r, 4, 0, 2 * MS);
    assert_int_equal(duplicate_deadline(&r.d), 101 * MS);
    drain(&r, 101 * MS - 1);
    assert_int_equal(r.n_out, 1);
    drain(&r, 101 * MS);
    assert_true(r.n_out == 3 && r.d.lost == 1);
    assert_int_equal(duplicate_deadline(&r.d), INT64_MAX);
    /* With the lag known the wait follows it. */
    COME(&r, 5, 0, 102 * MS);
    COME(&r, 5, 1, 104 * MS);
    assert_int_equal(duplicate_wait_ns(&r.d), 13 * MS);
    rig_done(&r);
}

static void what_is_held_is_bounded_in_numbers_and_cells(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 10, 100 * MS);
    COME(&r, 1, 1, 0);
    for (uint64_t n = 3; n <= 12; n++)
        assert_int_equal(COME(&r, n, 0, 1), DUPLICATE_HOLD);
    assert_int_equal(COME(&r, 13, 0, 1), DUPLICATE_NO_ROOM);
    assert_int_equal(COME(&r, 200, 0, 1), DUPLICATE_NO_ROOM);
    assert_int_equal(r.d.held_cells, 10);
    for (uint64_t n = 2; n <= 200; n++) /* the slower path has them all */
        COME(&r, n, 1, 2);
    assert_true(r.d.delivered == 200 && !r.d.lost && !r.d.held);
    rig_done(&r);
}

static void a_path_that_is_alone_again_far_ahead_goes_on_after_the_wait(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    for (uint64_t n = 1000; n < 1010; n++) /* both were down */
        assert_int_equal(COME(&r, n, 0, MS), DUPLICATE_NO_ROOM);
    assert_int_equal(duplicate_deadline(&r.d), 101 * MS);
    drain(&r, 101 * MS);
    assert_int_equal(COME(&r, 1010, 0, 101 * MS), DUPLICATE_DELIVER);
    assert_true(r.d.lost == 1008);
    assert_true(r.d.delivered + r.d.lost == r.d.top - 1);
    rig_done(&r);
}

static void one_path_alone_waits_for_the_silent_one_only_as_long_as_it_lags(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    COME(&r, 1, 1, MS); /* the lag is known; now the second path is cut */
    COME(&r, 2, 0, 20 * MS);
    assert_int_equal(COME(&r, 4, 0, 20 * MS), DUPLICATE_HOLD);
    drain(&r, 29 * MS - 1);
    assert_true(r.d.held == 1);
    drain(&r, 29 * MS);
    assert_true(r.d.delivered == 3 && r.d.lost == 1 && !r.d.held);
    rig_done(&r);
}

/* Numbers that went by one path each, the slower one far behind all it ever lagged before: it is not silent, so it is waited for. */
static void a_path_that_lags_more_than_ever_is_waited_for_while_it_moves(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    COME(&r, 1, 1, 10);
    COME(&r, 10, 0, MS);
    for (uint64_t n = 2; n < 9; n++) { /* every 4 ms one; the wait is 5 */
        assert_int_equal(COME(&r, n, 1, (int64_t)n * 4 * MS), DUPLICATE_DELIVER);
        drain(&r, (int64_t)n * 4 * MS + 3 * MS);
    }
    assert_true(r.d.lost == 0 && r.d.held == 1);
    COME(&r, 9, 1, 36 * MS);
    assert_true(r.d.delivered == 10 && !r.d.lost);
    rig_done(&r);
}

static void a_new_epoch_lets_go_of_what_is_held_and_stragglers_are_stale(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    COME(&r, 3, 0, 0);
    COME(&r, 5, 0, 0);
    assert_int_equal(come(&r, 8, 1, 0, 1), DUPLICATE_DELIVER);
    const uint64_t want[] = {1, 3, 5, 1};
    assert_memory_equal(r.out, want, sizeof want);
    assert_int_equal(come(&r, 7, 6, 1, 2), DUPLICATE_STALE);
    assert_int_equal(come(&r, 8, 1, 1, 2), DUPLICATE_REDUNDANT);
    assert_true(r.d.stale == 1 && r.d.lost == 2 && r.d.next == 2);
    rig_done(&r);
}

static void one_that_begins_in_the_middle_takes_it_from_there(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    assert_int_equal(COME(&r, 1000000, 0, 0), DUPLICATE_DELIVER); /* this router was restarted */
    assert_int_equal(COME(&r, 999990, 1, 0), DUPLICATE_REDUNDANT);
    assert_int_equal(COME(&r, 1000002, 0, 0), DUPLICATE_HOLD); /* the other path may still have it */
    assert_int_equal(COME(&r, 1000001, 1, 0), DUPLICATE_DELIVER);
    assert_true(r.d.lost == 0 && r.d.late == 0 && r.d.delivered == 3);
    /* And in the first numbers the beginning may come by the other path. */
    assert_int_equal(come(&r, 9, 3, 0, 1), DUPLICATE_HOLD);
    assert_int_equal(come(&r, 9, 1, 1, 2), DUPLICATE_DELIVER);
    assert_int_equal(come(&r, 9, 2, 1, 2), DUPLICATE_DELIVER);
    assert_int_equal(r.d.next, 4);
    rig_done(&r);
}

static void numbers_at_the_very_end_do_no_harm(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 64, 100, 100 * MS);
    COME(&r, 1, 0, 0);
    assert_int_equal(COME(&r, UINT64_MAX, 0, 0), DUPLICATE_NO_ROOM);
    assert_int_equal(COME(&r, UINT64_MAX - 1, 1, 0), DUPLICATE_NO_ROOM);
    assert_int_equal(COME(&r, 2, 0, 1), DUPLICATE_DELIVER);
    COME(&r, 4, 0, 1);
    drain(&r, 500 * MS);
    assert_int_equal(COME(&r, UINT64_MAX - 1, 1, 500 * MS), DUPLICATE_NO_ROOM);
    drain(&r, 900 * MS);
    assert_int_equal(come(&r, 8, 1, 0, 900 * MS), DUPLICATE_DELIVER); /* its next epoch begins like any other */
    rig_done(&r);
}

/* --- two random FIFOs against a model ------------------------------------------------------------------------- */

enum { NUMBERS = 6000, FATE_NONE = 0, FATE_HELD, FATE_OUT, FATE_LOST };

struct random_case {
    uint64_t seed, draws;
    double loss[2];
    int64_t delay[2], jitter[2], down_from[2], down_to[2];
    uint32_t window, cells;
    int64_t wait;
};

struct arrival {
    int64_t at;
    uint64_t number;
    unsigned path;
};

static double draw(struct random_case *c)
{
    return rng_uniform(c->seed, c->draws++);
}

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->path != y->path ? (int)x->path - (int)y->path : x->number < y->number ? -1 : x->number > y->number;
}

static unsigned make(struct random_case *c, struct arrival *a)
{
    unsigned n = 0;
    int64_t sent = 0, last[2] = {0, 0};
    for (uint64_t number = 1; number <= NUMBERS; number++) {
        sent += (int64_t)(draw(c) * 20000);
        for (unsigned p = 0; p < 2; p++) {
            int64_t at = sent + c->delay[p] + (int64_t)(draw(c) * (double)c->jitter[p]);
            bool lost = draw(c) < c->loss[p] || (sent >= c->down_from[p] && sent < c->down_to[p]);
            if (lost)
                continue;
            last[p] = at > last[p] ? at : last[p]; /* a FIFO */
            a[n++] = (struct arrival){last[p], number, p};
            if (draw(c) < 0.01) { /* it cannot happen in a lane; it does no harm */
                a[n] = a[n - 1];
                n++;
            }
        }
    }
    qsort(a, n, sizeof *a, by_time);
    return n;
}

struct model {
    uint8_t fate[NUMBERS + 2];
    int64_t came[NUMBERS + 2];
    uint64_t passed[2], last_out;
    int64_t longest;
};

static void model_out(struct model *m, uint64_t number, int64_t now)
{
    assert_true(number > m->last_out); /* in order, once */
    for (uint64_t n = m->last_out + 1; n < number; n++) {
        assert_true(m->fate[n] != FATE_HELD); /* nothing that was there is left behind */
        m->fate[n] = FATE_LOST;
    }
    m->fate[number] = FATE_OUT;
    m->last_out = number;
    m->longest = now - m->came[number] > m->longest ? now - m->came[number] : m->longest;
}

static void model_drain(struct model *m, struct duplicate *d, int64_t now)
{
    for (void *item; (item = duplicate_next(d, now));) {
        assert_int_equal(m->fate[(uintptr_t)item], FATE_HELD);
        model_out(m, (uintptr_t)item, now);
    }
    for (uint64_t n = m->last_out + 1; n < d->next && n <= NUMBERS; n++) {
        assert_true(m->fate[n] == FATE_NONE || m->fate[n] == FATE_LOST);
        m->fate[n] = FATE_LOST;
    }
}

static void model_arrive(struct model *m, struct duplicate *d, const struct arrival *a)
{
    uint8_t was = m->fate[a->number];
    enum duplicate_verdict v = duplicate_arrive(d, 5, a->number, a->path, 1, (void *)(uintptr_t)a->number, a->at);
    switch (v) {
    case DUPLICATE_DELIVER:
        assert_int_equal(was, FATE_NONE);
        m->came[a->number] = a->at;
        model_out(m, a->number, a->at);
        break;
    case DUPLICATE_HOLD:
        assert_int_equal(was, FATE_NONE);
        m->came[a->number] = a->at;
        m->fate[a->number] = FATE_HELD;
        break;
    case DUPLICATE_REDUNDANT:
        assert_true(was != FATE_NONE);
        break;
    case DUPLICATE_LATE:
        assert_int_equal(was, FATE_LOST);
        break;
    case DUPLICATE_NO_ROOM:
        assert_true(
            was == FATE_NONE || d->held_cells == d->limits.cells_most || a->number - d->next >= d->limits.window);
        break;
    default:
        fail();
    }
}

/* Returns how many numbers were lost, and by *ret_gone how many neither path brought. */
static uint64_t run(struct random_case *c, uint64_t *ret_gone)
{
    struct arrival *a = calloc(4 * NUMBERS, sizeof *a);
    struct model *m = calloc(1, sizeof *m);
    void *memory = calloc(1, duplicate_memory(c->window));
    assert_true(a && m && memory);
    struct duplicate d;
    duplicate_init(&d, &(struct duplicate_limits){c->window, c->cells, c->wait}, memory);
    duplicate_begin(&d, 5, 1);
    unsigned n = make(c, a);
    uint8_t *came = calloc(NUMBERS + 1, 1);
    for (unsigned i = 0; i < n; i++) {
        for (int64_t due; (due = duplicate_deadline(&d)) <= a[i].at;) {
            model_drain(m, &d, due);
            assert_true(duplicate_deadline(&d) > due);
        }
        came[a[i].number] = 1;
        model_arrive(m, &d, &a[i]);
        model_drain(m, &d, a[i].at);
        if (i % 16 == 0)
            assert_int_equal(duplicate_check(&d), 0);
        assert_true(d.held < d.limits.window && d.held_cells <= d.limits.cells_most);
    }
    for (int64_t due; (due = duplicate_deadline(&d)) != INT64_MAX;)
        model_drain(m, &d, due);
    assert_true(d.held == 0 && m->longest <= c->wait);
    assert_true(d.delivered + d.lost == d.next - 1);
    *ret_gone = 0;
    for (uint64_t k = 1; k < d.next; k++)
        *ret_gone += !came[k];
    uint64_t lost = d.lost;
    free(came);
    free(memory);
    free(m);
    free(a);
    return lost;
}

static void random_networks_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct random_case c = {.seed = seed};
        for (unsigned p = 0; p < 2; p++) {
            c.loss[p] = draw(&c) < 0.5 ? 0 : draw(&c) * 0.3;
            c.delay[p] = (int64_t)(draw(&c) * 5 * MS);
            c.jitter[p] = (int64_t)(draw(&c) * MS);
            c.down_from[p] = (int64_t)(draw(&c) * 60 * MS);
            c.down_to[p] = c.down_from[p] + (int64_t)(draw(&c) * 30 * MS);
        }
        c.window = 64u << rng_below(seed, 1000, 6);
        c.cells = 1 + rng_below(seed, 1001, 2 * c.window);
        c.wait = 1 + (int64_t)(draw(&c) * 20 * MS);
        uint64_t gone, lost = run(&c, &gone);
        assert_true(lost >= gone);
    }
}

/* Enough room and patience, and never both paths at once: exactly what neither brings is lost. */
static void with_room_nothing_is_lost_that_either_path_brings(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct random_case c = {.seed = seed, .window = 8192, .cells = 8192, .wait = 200 * MS};
        unsigned dead = seed & 1;
        for (unsigned p = 0; p < 2; p++) {
            c.delay[p] = (int64_t)(draw(&c) * 5 * MS);
            c.jitter[p] = (int64_t)(draw(&c) * MS);
            c.loss[p] = seed % 3 ? 0 : 0.05;
        }
        c.down_from[dead] = (int64_t)(draw(&c) * 30 * MS);
        c.down_to[dead] = c.down_from[dead] + (int64_t)(draw(&c) * 30 * MS);
        uint64_t gone, lost = run(&c, &gone);
        assert_int_equal(lost, gone);
        if (seed % 3)
            assert_int_equal(lost, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_copy_is_redundant),
        cmocka_unit_test(what_one_path_loses_the_other_brings_in_order),
        cmocka_unit_test(a_number_that_both_have_passed_is_not_waited_for),
        cmocka_unit_test(a_missing_number_is_waited_for_so_long_and_no_longer),
        cmocka_unit_test(what_is_held_is_bounded_in_numbers_and_cells),
        cmocka_unit_test(a_path_that_is_alone_again_far_ahead_goes_on_after_the_wait),
        cmocka_unit_test(one_path_alone_waits_for_the_silent_one_only_as_long_as_it_lags),
        cmocka_unit_test(a_path_that_lags_more_than_ever_is_waited_for_while_it_moves),
        cmocka_unit_test(a_new_epoch_lets_go_of_what_is_held_and_stragglers_are_stale),
        cmocka_unit_test(one_that_begins_in_the_middle_takes_it_from_there),
        cmocka_unit_test(numbers_at_the_very_end_do_no_harm),
        cmocka_unit_test(random_networks_agree_with_the_model),
        cmocka_unit_test(with_room_nothing_is_lost_that_either_path_brings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
