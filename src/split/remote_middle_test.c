#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "split/remote_middle.h"
#include "split/testing_world.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define D    WORLD_D
#define N    300
#define LONG (20 * NS_PER_S)

static float rows[8][N][D];
static struct world world;

static struct middle *setup(const struct service_config *cfg)
{
    memset(&world, 0, sizeof(world));
    if (cfg)
        world.cfg = *cfg;
    world_start(&world);
    struct remote_config remote = world_remote(&world);
    struct middle *m;
    struct error err = {""};
    assert_int_equal(remote_middle_create(&m, &remote, &err), 0);
    return m;
}

static void teardown(struct middle *m)
{
    m->ops->free(m);
    world_end(&world);
}

/* The next event that is not about the connection. */
static struct middle_event next(struct middle *m)
{
    struct middle_event e;
    do
        assert_int_equal(m->ops->next(m, LONG, &e), 0);
    while (e.kind == MIDDLE_UP || e.kind == MIDDLE_DOWN);
    return e;
}

static struct middle_event want(struct middle *m, enum middle_event_kind kind)
{
    struct middle_event e = next(m);
    if (e.kind != kind)
        fail_msg("event %d (%s) instead of %d", e.kind, e.text ? e.text : "", kind);
    return e;
}

static void open_session(struct middle *m, uint32_t id, uint32_t n_ctx)
{
    assert_int_equal(m->ops->open(m, id, n_ctx), 0);
    assert_int_equal(want(m, MIDDLE_OPENED).session, id);
}

static void check(const struct middle_event *e, uint32_t who)
{
    for (uint32_t k = 0; k < e->n; k++) {
        float out[D];
        testing_infer_row(D, e->pos0 + k, rows[who][0], out);
        assert_memory_equal(out, e->x + k * D, sizeof(out));
    }
}

static void forward(struct middle *m, uint32_t id, uint32_t epoch, uint32_t pos0, uint32_t n, bool urgent)
{
    assert_int_equal(m->ops->forward(m, id, epoch, pos0, n, rows[id % 8][pos0], urgent), 0);
}

static void answer(struct middle *m, uint32_t id, uint32_t pos0, uint32_t n)
{
    struct middle_event e = want(m, MIDDLE_VECTORS);
    assert_int_equal(e.session, id);
    assert_int_equal(e.pos0, pos0);
    assert_int_equal(e.n, n);
    check(&e, id % 8);
}

static void test_answers(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, N);
    open_session(m, 2, N);
    forward(m, 1, 0, 0, 200, false);
    answer(m, 1, 0, 200);
    for (uint32_t p = 200; p < 220; p++) {
        forward(m, 1, 0, p, 1, true);
        answer(m, 1, p, 1);
    }
    forward(m, 2, 0, 0, 3, true);
    answer(m, 2, 0, 3);
    forward(m, 1, 1, 50, 4, true);
    answer(m, 1, 50, 4);
    struct middle_stats st;
    m->ops->stats(m, &st);
    assert_true(st.up && st.bytes_up > 200 * D * 4 && st.bytes_down > 200 * D * 4 && !st.lost_sessions);
    m->ops->close(m, 1);
    open_session(m, 3, 1700); /* only fits once session 1 has given back its room */
    assert_int_equal(atomic_load(&world.counts.open), 2);
    teardown(m);
}

static void test_rows_over_many_frames(void **state)
{
    struct middle *m = setup(&(struct service_config){.kv_bytes = 1 << 20});
    uint32_t n = 20000; /* 720 kB */
    float *x = calloc((size_t)n * D, sizeof(float));
    for (size_t i = 0; i < (size_t)n * D; i++)
        x[i] = (float)rng_uniform(5, i);
    open_session(m, 1, n);
    for (uint32_t p = 0; p < n; p += 5000)
        assert_int_equal(m->ops->forward(m, 1, 0, p, 5000, x + (size_t)p * D, false), 0);
    for (uint32_t p = 0; p < n; p += 5000) {
        struct middle_event e = want(m, MIDDLE_VECTORS);
        assert_int_equal(e.pos0, p);
        float s[D] = {0};
        for (uint32_t q = p > 40 ? p - 40 : 0; q <= p; q++) /* what is further back is below the last bit */
            for (uint32_t i = 0; i < D; i++)
                s[i] = s[i] * 0.5f + x[(size_t)q * D + i];
        for (uint32_t i = 0; i < D; i++)
            assert_true(e.x[i] - (float)p - s[i] < 0.01f && s[i] - e.x[i] + (float)p < 0.01f);
    }
    assert_int_equal(m->ops->forward(m, 1, 0, 0, 9000, x, false), -E2BIG);
    free(x);
    teardown(m);
}

/* A conversation whose result is checked row by row; returns when everything is answered. */
static void converse(struct middle *m)
{
    open_session(m, 1, N);
    open_session(m, 2, N);
    forward(m, 1, 0, 0, 40, false);
    struct middle_event e;
    forward(m, 2, 0, 0, 1, true);
    for (int k = 0; k < 2; k++) {
        e = want(m, MIDDLE_VECTORS);
        check(&e, e.session);
    }
    for (uint32_t p = 40; p < 48; p += 2) { /* two flights at once */
        forward(m, 1, 0, p, 1, true);
        forward(m, 1, 0, p + 1, 1, true);
        answer(m, 1, p, 1);
        answer(m, 1, p + 1, 1);
    }
    forward(m, 1, 0, 48, 4, true);
    m->ops->cancel(m, 1, 1);
    forward(m, 1, 1, 45, 2, true);
    do
        e = want(m, MIDDLE_VECTORS);
    while (e.epoch == 0);
    assert_int_equal(e.pos0, 45);
    check(&e, 1);
    m->ops->close(m, 1);
    m->ops->close(m, 2);
    open_session(m, 3, 1990); /* both were closed */
    m->ops->close(m, 3);
}

/* The link dies after k bytes, for k over the whole conversation and its ends: nothing is lost, nothing differs. */
static void test_dies_anywhere(void **state)
{
    unsigned deaths = 0, times = 150;
    struct middle_stats st;
    struct middle *m = setup(NULL);
    converse(m);
    m->ops->stats(m, &st);
    teardown(m);
    long total = (long)(st.bytes_up + st.bytes_down);
    for (unsigned k = 0; k < times; k++) {
        m = setup(NULL);
        atomic_store(&world.die_after, 1 + total * k / times);
        converse(m);
        m->ops->stats(m, &st);
        assert_int_equal(st.lost_sessions, 0);
        deaths += atomic_load(&world.deaths);
        teardown(m);
    }
    assert_true(deaths > times * 3 / 4);
}

static void test_dies_again_and_again(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, N);
    for (uint32_t p = 0; p < 200; p++) {
        if (p % 5 == 0)
            atomic_store(&world.die_after, 1 + (long)rng_below(3, p, 200));
        forward(m, 1, 0, p, 1, p % 3 != 0);
        answer(m, 1, p, 1);
    }
    assert_true(atomic_load(&world.deaths) >= 20);
    assert_int_equal(atomic_load(&world.counts.open), 1);
    teardown(m);
}

static void test_executed_once(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 10, true);
    answer(m, 1, 0, 10);
    uint32_t before = atomic_load(&world.counts.rows);
    atomic_store(&world.counts.run_ns, 30 * NS_PER_MS); /* the answer finds a dead link */
    forward(m, 1, 0, 10, 1, true);
    atomic_store(&world.die_after, 20);
    atomic_store(&world.cut_off, true);
    struct middle_event e;
    do
        assert_int_equal(m->ops->next(m, LONG, &e), 0);
    while (e.kind != MIDDLE_DOWN);
    while (atomic_load(&world.counts.rows) == before) /* it is computed although nobody can be told */
        m->ops->next(m, NS_PER_MS, &e);
    atomic_store(&world.cut_off, false);
    answer(m, 1, 10, 1);
    assert_int_equal(atomic_load(&world.counts.rows), before + 1);
    teardown(m);
}

static void test_worker_restarts(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 10, true);
    answer(m, 1, 0, 10);
    world_worker_stop(&world);
    forward(m, 1, 0, 10, 1, true);
    world_worker_start(&world);
    assert_int_equal(want(m, MIDDLE_LOST).session, 1);
    assert_int_equal(m->ops->forward(m, 1, 0, 10, 1, rows[1][10], true), -EINVAL);
    open_session(m, 2, N);
    assert_int_equal(m->ops->forward(m, 2, 0, 0, 11, rows[1][0], false), 0);
    struct middle_event e = want(m, MIDDLE_VECTORS);
    check(&e, 1);
    struct middle_stats st;
    m->ops->stats(m, &st);
    assert_int_equal(st.lost_sessions, 1);
    teardown(m);
}

static void test_away_too_long(void **state)
{
    struct middle *m = setup(&(struct service_config){.grace_ns = 10 * NS_PER_MS});
    struct middle_event e;
    open_session(m, 1, N);
    atomic_store(&world.cut_off, true);
    atomic_store(&world.die_after, 10);
    while (m->ops->next(m, LONG, &e) || e.kind != MIDDLE_DOWN)
        ;
    atomic_store(&world.die_after, 1);      /* the other link too, at its next ping */
    while (atomic_load(&world.counts.open)) /* the worker gives the session up */
        m->ops->next(m, NS_PER_MS, &e);
    atomic_store(&world.cut_off, false);
    assert_int_equal(want(m, MIDDLE_LOST).session, 1);
    open_session(m, 2, N);
    teardown(m);
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Ten seconds in which nothing passes and nobody says so, with the times that a real edge uses. */
static void test_outage(void **state)
{
    memset(&world, 0, sizeof(world));
    world_start(&world);
    struct remote_config remote = world_remote(&world);
    remote.ping_ns = remote.retry_least_ns = remote.retry_most_ns = 0;
    struct middle *m;
    struct middle_event e;
    assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
    open_session(m, 1, N);
    forward(m, 1, 0, 0, 100, false);
    answer(m, 1, 0, 100);
    int64_t used = cpu_ns();
    m->ops->next(m, NS_PER_S, &e);
    m->ops->next(m, NS_PER_S, &e);
    assert_true(cpu_ns() - used < 20 * NS_PER_MS); /* both ends idle: they sleep */
    atomic_store(&world.frozen, true);
    int64_t began = clock_now_ns(), down = 0;
    used = cpu_ns();
    forward(m, 1, 0, 100, 1, true);
    while (clock_now_ns() - began < 10 * NS_PER_S)
        if (!m->ops->next(m, 100 * NS_PER_MS, &e) && e.kind == MIDDLE_DOWN)
            down = clock_now_ns() - began;
    assert_true(cpu_ns() - used < 200 * NS_PER_MS); /* waiting costs nothing either */
    atomic_store(&world.frozen, false);
    assert_true(down > 3 * NS_PER_S && down < 8 * NS_PER_S);
    answer(m, 1, 100, 1);
    for (uint32_t p = 101; p < 120; p++) {
        forward(m, 1, 0, p, 1, true);
        answer(m, 1, p, 1);
    }
    struct middle_stats st;
    m->ops->stats(m, &st);
    assert_int_equal(st.lost_sessions, 0);
    assert_int_equal(atomic_load(&world.counts.rows), 120);
    teardown(m);
}

/* One that ends gives back what it had at once; one that is cut off does not. */
static void test_goodbye(void **state)
{
    struct middle *m = setup(NULL), *other;
    struct remote_config remote = world_remote(&world);
    assert_int_equal(remote_middle_create(&other, &remote, NULL), 0);
    open_session(other, 1, 1500);
    other->ops->free(other);
    open_session(m, 1, 1500);
    assert_int_equal(atomic_load(&world.counts.open), 1);
    teardown(m);
}

static void test_admission(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, 1500);
    assert_int_equal(m->ops->open(m, 2, 1500), 0);
    assert_false(want(m, MIDDLE_REFUSED).final);
    assert_int_equal(m->ops->open(m, 3, 2001), 0);
    assert_true(want(m, MIDDLE_REFUSED).final);
    m->ops->close(m, 1);
    open_session(m, 4, 1500);
    teardown(m);
}

/* Computing stands still until the worker has read all that is asked here: where only one session may be open, the refusal of
 * a second one says so. */
static void test_stale_is_not_computed(void **state)
{
    struct service_config one = {.max_sessions = 1};
    struct middle *m = setup(&one);
    open_session(m, 1, N);
    atomic_store(&world.counts.hold, true);
    forward(m, 1, 0, 0, 4, true); /* may run */
    forward(m, 1, 0, 4, 100, true);
    forward(m, 1, 0, 104, 100, true);
    m->ops->cancel(m, 1, 1);
    forward(m, 1, 1, 0, 2, true);
    assert_int_equal(m->ops->open(m, 2, N), 0);
    assert_int_equal(want(m, MIDDLE_REFUSED).session, 2);
    atomic_store(&world.counts.hold, false);
    struct middle_event e;
    do
        e = want(m, MIDDLE_VECTORS);
    while (e.epoch == 0);
    check(&e, 1);
    assert_true(atomic_load(&world.counts.rows) <= 6);
    teardown(m);
}

static void test_wrong_halves(void **state)
{
    struct middle *m = setup(NULL), *wrong;
    struct remote_config remote = world_remote(&world);
    struct error err;
    remote.cut.id[0] = 0x11;
    assert_int_equal(remote_middle_create(&wrong, &remote, &err), 0);
    struct middle_event e = want(wrong, MIDDLE_FAILED);
    assert_non_null(strstr(e.text, "11cdef000000/0"));
    assert_non_null(strstr(e.text, "abcdef000000/0"));
    assert_non_null(strstr(e.text, "different cuts"));
    wrong->ops->free(wrong);
    remote = world_remote(&world);
    remote.cut.step = 40;
    assert_int_equal(remote_middle_create(&wrong, &remote, &err), 0);
    e = want(wrong, MIDDLE_FAILED);
    assert_non_null(strstr(e.text, "abcdef000000/40"));
    assert_non_null(strstr(e.text, "trained differently"));
    open_session(m, 1, N); /* the right one is not disturbed */
    /* The half of that step appears, as after training: the refused edge finds it by itself. */
    m->ops->close(m, 1);
    world_install(&world, &remote.cut);
    do
        assert_int_equal(wrong->ops->next(wrong, LONG, &e), 0);
    while (e.kind != MIDDLE_UP);
    wrong->ops->free(wrong);
    teardown(m);
}

static void test_revoked(void **state)
{
    struct middle *m = setup(NULL);
    open_session(m, 1, N);
    service_revoke(world.service, "this hospital's contract has ended");
    assert_non_null(strstr(want(m, MIDDLE_FAILED).text, "contract"));
    teardown(m);
}

/* A connection that breaks, or whose handshake says that our certificate was revoked. */
struct turned_away {
    struct link link;
    int fds[2];
    int rc;
};

static uint32_t n_turned_away;

static ssize_t away_recv(struct link *l, void *to, size_t cap)
{
    return ((struct turned_away *)l)->rc;
}

static ssize_t away_send(struct link *l, const void *from, size_t len)
{
    return -EAGAIN;
}

static int away_fd(const struct link *l)
{
    return ((const struct turned_away *)l)->fds[0];
}

static short away_events(const struct link *l, int want_send)
{
    return POLLIN;
}

static size_t away_pending(const struct link *l)
{
    return 1;
}

static const char *away_why(const struct link *l)
{
    return "our certificate has been revoked";
}

static void away_free(struct link *l)
{
    struct turned_away *t = (struct turned_away *)l;
    close(t->fds[0]);
    close(t->fds[1]);
    free(t);
}

/* The first *user attempts only break. */
static int connect_turned_away(void *user, enum split_which which, struct link **ret, struct error *err)
{
    static const struct link_ops ops = {away_recv, away_send, away_fd, away_events, away_pending, away_why, away_free};
    struct turned_away *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    assert_int_equal(pipe(t->fds), 0);
    t->link.ops = &ops;
    t->rc = n_turned_away++ < *(uint32_t *)user ? -ECONNRESET : -EKEYREVOKED;
    *ret = &t->link;
    return 0;
}

/* Revoked while there was no connection: only TLS says so, and it must say so more than once. */
static void test_revoked_unseen(void **state)
{
    uint32_t n_broken = 4;
    memset(&world, 0, sizeof(world));
    world_start(&world);
    struct remote_config remote = world_remote(&world);
    struct middle *m;
    remote.connect = connect_turned_away;
    remote.user = &n_broken;
    n_turned_away = 0;
    assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
    assert_non_null(strstr(want(m, MIDDLE_FAILED).text, "revoked"));
    assert_true(n_turned_away >= n_broken + 3);
    teardown(m);
}

static void test_codecs(void **state)
{
    for (enum split_codec codec = SPLIT_F16; codec <= SPLIT_INT8; codec++)
        for (uint32_t allowed = 0; allowed < 2; allowed++) {
            memset(&world, 0, sizeof(world));
            world.cfg.codecs = allowed ? 7 : 1;
            world_start(&world);
            struct remote_config remote = world_remote(&world);
            struct middle *m;
            remote.codec = codec;
            assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
            open_session(m, 1, N);
            forward(m, 1, 0, 0, 8, true);
            struct middle_event e = want(m, MIDDLE_VECTORS);
            bool exact = true;
            for (uint32_t k = 0; k < e.n; k++) {
                float out[D];
                testing_infer_row(D, k, rows[1][0], out);
                exact &= !memcmp(out, e.x + k * D, sizeof(out));
                for (uint32_t i = 0; i < D; i++)
                    assert_true(out[i] - e.x[k * D + i] < 0.1f && e.x[k * D + i] - out[i] < 0.1f);
            }
            assert_int_equal(exact, !allowed);
            teardown(m);
        }
}

/* A tiny window and a slow worker: everything is answered in the end, and the caller is told to wait. */
static void test_back_pressure(void **state)
{
    memset(&world, 0, sizeof(world));
    world.cfg.kv_bytes = 1 << 20;
    world.cfg.window = 1 << 20;
    world.cfg.max_rows = 4000;
    world_start(&world);
    struct remote_config remote = world_remote(&world);
    struct middle *m;
    remote.max_in_flight = 2 << 20;
    assert_int_equal(remote_middle_create(&m, &remote, NULL), 0);
    uint32_t n = 4000, sent = 0, got = 0, refused = 0;
    float *x = calloc((size_t)n * D, sizeof(float));
    open_session(m, 1, 60 * n);
    while (got < 60) {
        int rc = sent < 60 ? m->ops->forward(m, 1, 0, sent * n, n, x, false) : -ENOBUFS;
        assert_true(!rc || rc == -ENOBUFS);
        sent += !rc;
        refused += sent < 60 && rc;
        if (rc) {
            assert_int_equal(want(m, MIDDLE_VECTORS).pos0, got * n);
            got++;
        }
    }
    assert_true(refused > 0);
    free(x);
    teardown(m);
}

static int setup_rows(void **state)
{
    for (uint32_t s = 0; s < 8; s++)
        for (uint32_t p = 0; p < N; p++)
            for (uint32_t i = 0; i < D; i++)
                rows[s][p][i] = (float)rng_uniform(s, p * D + i);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest slow[] = {cmocka_unit_test(test_outage)};
    if (argc > 1 && !strcmp(argv[1], "outage"))
        return cmocka_run_group_tests(slow, setup_rows, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_rows_over_many_frames),
        cmocka_unit_test(test_dies_anywhere),
        cmocka_unit_test(test_dies_again_and_again),
        cmocka_unit_test(test_executed_once),
        cmocka_unit_test(test_worker_restarts),
        cmocka_unit_test(test_away_too_long),
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_stale_is_not_computed),
        cmocka_unit_test(test_wrong_halves),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_revoked_unseen),
        cmocka_unit_test(test_codecs),
        cmocka_unit_test(test_back_pressure),
    };
    return cmocka_run_group_tests(tests, setup_rows, NULL);
}
