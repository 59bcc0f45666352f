/* The wheel against a plain list that is searched: random arming, disarming and passing of time. */
#include "base/rng.h"
#include "base/test.h"
#include "lane/wheel.h"

enum { TIMERS = 200, STEPS = 60000 };

struct model {
    struct wheel wheel;
    struct wheel_timer timer[TIMERS];
    int64_t at[TIMERS]; /* -1: not armed */
    uint64_t draws;
    int64_t now;
};

static uint32_t draw(struct model *m, uint32_t n)
{
    return rng_below(7, m->draws++, n);
}

static int64_t model_next(const struct model *m)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < TIMERS; i++)
        if (m->at[i] >= 0 && m->at[i] < next)
            next = m->at[i];
    return next;
}

static void arm(struct model *m)
{
    unsigned i = draw(m, TIMERS);
    int64_t ahead = (int64_t)(rng_u64(8, m->draws++) >> (24 + draw(m, 40)));
    int64_t at = m->now + ahead - (draw(m, 8) == 0 ? 50 : 0);
    wheel_arm(&m->wheel, &m->timer[i], at);
    m->at[i] = at > m->wheel.now ? at : m->wheel.now;
}

static void pass(struct model *m)
{
    int64_t next = model_next(m);
    if (next != INT64_MAX && draw(m, 4) > 0)
        m->now = next > m->now ? next : m->now; /* to the very moment, */
    else
        m->now += draw(m, 3000); /* or anywhere */
    struct wheel_timer *t;
    int64_t last = INT64_MIN;
    while ((t = wheel_expire(&m->wheel, m->now))) {
        int i = (int)(t - m->timer);
        assert_false(wheel_armed(t));
        assert_int_equal(t->at_ns, m->at[i]);
        assert_int_equal(m->at[i], model_next(m));
        assert_true(t->at_ns >= last && t->at_ns <= m->now);
        last = t->at_ns;
        m->at[i] = -1;
    }
    assert_true(model_next(m) > m->now);
}

static void rings_as_a_searched_list_does(void **state)
{
    (void)state;
    static struct model m;
    m.now = 1234567890123456789;
    wheel_init(&m.wheel, m.now);
    for (int i = 0; i < TIMERS; i++)
        m.at[i] = -1;
    for (int step = 0; step < STEPS; step++) {
        unsigned what = draw(&m, 8);
        if (what < 4) {
            arm(&m);
        } else if (what < 5) {
            unsigned i = draw(&m, TIMERS);
            wheel_disarm(&m.wheel, &m.timer[i]);
            m.at[i] = -1;
        } else {
            pass(&m);
        }
        assert_int_equal(wheel_next(&m.wheel), model_next(&m));
    }
}

static void holds_deadlines_of_every_distance(void **state)
{
    (void)state;
    static struct wheel w;
    static struct wheel_timer t[63];
    wheel_init(&w, 0);
    for (int i = 62; i >= 0; i--)
        wheel_arm(&w, &t[i], (int64_t)1 << i);
    for (int i = 0; i < 63; i++) {
        int64_t at = (int64_t)1 << i;
        assert_int_equal(wheel_next(&w), at);
        assert_null(wheel_expire(&w, at - 1));
        assert_ptr_equal(wheel_expire(&w, at), &t[i]);
    }
    assert_int_equal(wheel_next(&w), INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rings_as_a_searched_list_does),
        cmocka_unit_test(holds_deadlines_of_every_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
