/* The engine over a toy model whose every token depends on its whole history (testing_infer.h) and a middle with bad
 * days (testing_middle.h): whatever happens, a request's tokens are those it gets alone on a whole model. */
#include "split/engine.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "split/testing_infer.h"
#include "split/testing_middle.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 400

struct tokenizer {
    int32_t end;
};

bool tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    return id == t->end;
}

/* --- one request as its client sees it --------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct client {
    int32_t prompt[MOST_TOKENS], got[MOST_TOKENS];
    struct engine_request r;
    uint32_t n, stop_after, cancel_after; /* 0: never */
    struct engine *e;
    uint64_t id;
    unsigned ends;
    enum engine_end why;
    char text[128];
};

static bool on_token(void *user, const struct engine_token *t)
{
    struct client *c = user;
    pthread_mutex_lock(&lock);
    c->got[c->n++] = t->id;
    uint32_t n = c->n;
    pthread_cond_broadcast(&changed);
    uint64_t id = c->id;
    pthread_mutex_unlock(&lock);
    if (c->cancel_after && n == c->cancel_after)
        engine_cancel(c->e, id);
    return !c->stop_after || n < c->stop_after;
}

static void on_end(void *user, enum engine_end why, const char *text)
{
    struct client *c = user;
    pthread_mutex_lock(&lock);
    c->ends++;
    c->why = why;
    snprintf(c->text, sizeof(c->text), "%s", text);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Client number `i` is always the same request. */
static void client_init(struct client *c, uint32_t i)
{
    *c = (struct client){0};
    c->r = (struct engine_request){
        .tokens = c->prompt,
        .n_tokens = 1 + rng_below(i, 1, i % 3 ? 60 : 12),
        .max_tokens = 1 + rng_below(i, 2, 50),
        .sampling = {.temperature = i % 2 ? 0.9f : 0, .top_p = 1, .seed = i},
        .ignore_end = true,
        .on_token = on_token,
        .on_end = on_end,
        .user = c,
    };
    for (uint32_t k = 0; k < c->r.n_tokens; k++)
        c->prompt[k] = (int32_t)rng_below(i, 100 + k, i % 4 ? 50 : 3);
}

static int client_start(struct client *c, struct engine *e)
{
    uint64_t id = 0;
    pthread_mutex_lock(&lock);
    c->e = e;
    int rc = engine_submit(e, &c->r, &id, NULL);
    c->id = id;
    pthread_mutex_unlock(&lock);
    return rc;
}

static void client_wait_tokens(struct client *c, uint32_t n)
{
    pthread_mutex_lock(&lock);
    while (!c->ends && c->n < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void client_wait(struct client *c)
{
    client_wait_tokens(c, UINT32_MAX);
    assert_int_equal(c->ends, 1);
}

/* --- engines ----------------------------------------------------------------------------------------------------- */

static struct engine *engine_whole(const struct engine_config *cfg, const struct tokenizer *t)
{
    struct engine *e = NULL;
    struct model_params p = toy_params();
    struct error err = {""};
    p.cut.part = MODEL_WHOLE;
    assert_int_equal(engine_create(&e, NULL, &p, t, NULL, cfg, &err), 0);
    return e;
}

static struct engine *engine_split(const struct engine_config *cfg, const struct testing_luck *luck)
{
    struct engine *e = NULL;
    struct model_params p = toy_params();
    struct error err = {""};
    struct infer *x;
    struct infer_config c = {.kv_rows = luck->kv_rows ? luck->kv_rows : 100000, .max_seqs = 64};
    assert_int_equal(infer_create(&x, NULL, &p, span_middle(&p), &c, &err), 0);
    assert_int_equal(engine_create(&e, NULL, &p, NULL, testing_middle_create(x, p.d, luck), cfg, &err), 0);
    return e;
}

#define N_CLIENTS 21
static struct client alone[N_CLIENTS], some[N_CLIENTS];

/* What each client gets alone on a whole model. */
static int make_references(void **state)
{
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        struct engine *e = engine_whole(NULL, NULL);
        client_init(&alone[i], i);
        assert_int_equal(client_start(&alone[i], e), 0);
        client_wait(&alone[i]);
        assert_int_equal(alone[i].why, ENGINE_LENGTH);
        assert_int_equal(alone[i].n, alone[i].r.max_tokens);
        engine_free(e);
    }
    return 0;
}

static void same_as_alone(struct engine *e, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        client_init(&some[i], i);
        assert_int_equal(client_start(&some[i], e), 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        client_wait(&some[i]);
        if (some[i].why != ENGINE_LENGTH)
            fail_msg("client %u ended with %d: %s", i, some[i].why, some[i].text);
        assert_int_equal(some[i].n, alone[i].n);
        assert_memory_equal(some[i].got, alone[i].got, sizeof(int32_t) * alone[i].n);
    }
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void company_changes_no_token(void **state)
{
    struct engine *e = engine_whole(NULL, NULL);
    same_as_alone(e, N_CLIENTS);
    engine_free(e);
    e = engine_whole(&(struct engine_config){.max_running = 3, .prefill_rows = 7, .kv_rows = 400}, NULL);
    same_as_alone(e, N_CLIENTS);
    struct engine_stats st;
    engine_stats(e, &st);
    assert_int_equal(st.finished, N_CLIENTS);
    assert_int_equal(st.kv_rows_free, 400);
    assert_int_equal(st.running + st.waiting, 0);
    engine_free(e);
}

static void a_cut_changes_no_token(void **state)
{
    struct engine *e = engine_split(NULL, &(struct testing_luck){0});
    same_as_alone(e, N_CLIENTS);
    engine_free(e);
    e = engine_split(&(struct engine_config){.prefill_rows = 5, .max_running = 6},
        &(struct testing_luck){.delay_ns = NS_PER_MS / 5, .most_under_way = 12});
    same_as_alone(e, N_CLIENTS);
    engine_free(e);
}

static void a_bad_middle_changes_no_token(void **state)
{
    uint64_t replayed = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct testing_luck luck = {.seed = seed,
            .kv_rows = seed % 3 ? 0 : 300,
            .lose = 0.01,
            .down = 0.01,
            .down_ns = NS_PER_MS / 2,
            .delay_ns = seed % 2 ? 0 : NS_PER_MS / 20,
            .most_under_way = seed % 5 ? 0 : 20,
            .rtt_ms = seed % 4 ? 0 : 2};
        struct engine *e = engine_split(&(struct engine_config){.prefill_rows = 3 + seed % 20}, &luck);
        same_as_alone(e, N_CLIENTS);
        struct engine_stats st;
        engine_stats(e, &st);
        replayed += st.replayed_tokens;
        assert_int_equal(st.failed, 0);
        engine_free(e);
    }
    assert_true(replayed > 1000);
}

/* A request whose answer is made of few tokens: guesses are often right and often wrong. */
static void client_monotonous(struct client *c, const struct sample_bias *bias, uint32_t n_bias)
{
    client_init(c, 5);
    c->r.sampling.n_bias = n_bias;
    c->r.sampling.bias = bias;
    c->r.max_tokens = 200;
}

static void guesses_change_no_token(void **state)
{
    static const struct sample_bias bias[] = {{7, 10}, {8, 10}, {9, 13}};
    struct testing_luck luck = {.delay_ns = 2 * NS_PER_MS, .rtt_ms = 2, .seed = 1, .lose = 0.02};
    struct client plain, c;
    struct engine_stats st;
    struct engine *e = engine_split(&(struct engine_config){.plain = true}, &luck);
    client_monotonous(&plain, bias, 3);
    assert_int_equal(client_start(&plain, e), 0);
    client_wait(&plain);
    engine_stats(e, &st);
    assert_int_equal(st.drafts, 0);
    engine_free(e);

    e = engine_split(NULL, &luck);
    client_monotonous(&c, bias, 3);
    assert_int_equal(client_start(&c, e), 0);
    same_as_alone(e, N_CLIENTS);
    client_wait(&c);
    assert_memory_equal(c.got, plain.got, sizeof(int32_t) * 200);
    engine_stats(e, &st);
    assert_true(st.drafts_right > 50 && st.drafts - st.drafts_right > 50);
    engine_free(e);
}

static void right_guesses_save_trips(void **state)
{
    static const struct sample_bias bias = {.token = 7, .bias = 1000};
    struct testing_luck luck = {.delay_ns = 2 * NS_PER_MS, .rtt_ms = 2};
    struct engine *e = engine_split(NULL, &luck);
    struct client c;
    client_monotonous(&c, &bias, 1);
    int64_t began = clock_now_ns();
    assert_int_equal(client_start(&c, e), 0);
    client_wait(&c);
    double trips = (double)(clock_now_ns() - began) / (2 * NS_PER_MS);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(c.got[i], 7);
    struct engine_stats st;
    engine_stats(e, &st);
    print_message("200 tokens in the time of %.0f trips, %llu of %llu guesses right\n", trips,
        (unsigned long long)st.drafts_right, (unsigned long long)st.drafts);
    assert_true(st.drafts_right > 120);
    engine_free(e);
}

static void answers_end_where_they_should(void **state)
{
    struct tokenizer t = {.end = alone[2].got[alone[2].n / 2]};
    uint32_t first = 0;
    while (alone[2].got[first] != t.end)
        first++;
    struct engine *e = engine_whole(NULL, &t);
    struct client c;
    client_init(&c, 2);
    c.r.ignore_end = false;
    assert_int_equal(client_start(&c, e), 0);
    client_wait(&c);
    assert_int_equal(c.why, ENGINE_STOP);
    assert_int_equal(c.n, first);

    client_init(&c, 2);
    c.stop_after = 3;
    assert_int_equal(client_start(&c, e), 0);
    client_wait(&c);
    assert_int_equal(c.why, ENGINE_STOP);
    assert_int_equal(c.n, 3);
    engine_free(e);
}

static void what_cannot_be_is_refused(void **state)
{
    struct engine *e = engine_whole(&(struct engine_config){.kv_rows = 100}, NULL);
    struct client c;
    assert_int_equal(engine_context(e), 100);
    client_init(&c, 1);
    c.r.max_tokens = 100;
    assert_int_equal(client_start(&c, e), -E2BIG);
    c.r.max_tokens = 0;
    assert_int_equal(client_start(&c, e), -EINVAL);
    client_init(&c, 1);
    c.prompt[0] = 50;
    assert_int_equal(client_start(&c, e), -EINVAL);
    client_init(&c, 1);
    c.r.sampling.top_p = 0;
    assert_int_equal(client_start(&c, e), -EINVAL);
    client_init(&c, 1);
    c.r.sampling.temperature = -1;
    assert_int_equal(client_start(&c, e), -EINVAL);
    client_init(&c, 1);
    c.r.n_top = 21;
    assert_int_equal(client_start(&c, e), -EINVAL);
    engine_free(e);

    struct model_params p = toy_params();
    struct error err = {""};
    assert_int_equal(engine_create(&e, NULL, &p, NULL, NULL, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cloud half"));
}

static void the_line_is_bounded_and_in_order(void **state)
{
    struct engine *e =
        engine_split(&(struct engine_config){.max_running = 1, .max_waiting = 3, .down_timeout_ns = NS_PER_S},
            &(struct testing_luck){.never_up = true});
    struct client c[6];
    uint32_t accepted = 0;
    int rc = 0;
    for (uint32_t i = 0; i < 6; i++) {
        client_init(&c[i], i);
        rc = client_start(&c[i], e);
        if (rc)
            break;
        accepted++;
    }
    assert_int_equal(rc, -EBUSY);
    assert_in_range(accepted, 3, 4); /* one may be in the slot already */
    engine_free(e);
    for (uint32_t i = 0; i < accepted; i++) {
        assert_int_equal(c[i].ends, 1);
        assert_int_equal(c[i].why, ENGINE_CANCELLED);
    }
}

static void a_cloud_that_stays_away_ends_requests(void **state)
{
    struct engine *e = engine_split(
        &(struct engine_config){.down_timeout_ns = 30 * NS_PER_MS}, &(struct testing_luck){.never_up = true});
    struct client c;
    client_init(&c, 3);
    assert_int_equal(client_start(&c, e), 0);
    client_wait(&c);
    assert_int_equal(c.why, ENGINE_FAILED);
    assert_non_null(strstr(c.text, "connection"));
    engine_free(e);
}

static void a_cloud_that_fails_ends_requests(void **state)
{
    struct engine *e = engine_split(NULL, &(struct testing_luck){.fail_after = 4});
    struct client c[3];
    for (uint32_t i = 0; i < 3; i++) {
        client_init(&c[i], 10);
        client_start(&c[i], e); /* the last may come after it failed */
    }
    client_wait(&c[0]);
    assert_int_equal(c[0].why, ENGINE_FAILED);
    assert_string_equal(c[0].text, "the halves do not fit");
    assert_int_equal(client_start(&c[2], e), -EIO);
    engine_free(e);

    e = engine_split(NULL, &(struct testing_luck){.refuse_finally = true});
    client_init(&c[0], 4);
    assert_int_equal(client_start(&c[0], e), 0);
    client_wait(&c[0]);
    assert_int_equal(c[0].why, ENGINE_FAILED);
    assert_string_equal(c[0].text, "this hospital may not");
    engine_free(e);
}

/* The cloud refuses to compute for one request: nobody else notices, and its room is given back. */
static void a_refused_request_ends_alone(void **state)
{
    for (uint32_t at = 1; at <= 40; at += 13) {
        struct testing_luck luck = {.refuse_one = at, .delay_ns = NS_PER_MS / 20, .kv_rows = 250};
        struct engine *e = engine_split(&(struct engine_config){.max_running = 4, .prefill_rows = 6}, &luck);
        uint32_t failed = 0;
        for (uint32_t i = 0; i < 8; i++) {
            client_init(&some[i], i);
            assert_int_equal(client_start(&some[i], e), 0);
        }
        for (uint32_t i = 0; i < 8; i++) {
            client_wait(&some[i]);
            assert_memory_equal(some[i].got, alone[i].got, sizeof(int32_t) * some[i].n);
            if (some[i].why == ENGINE_FAILED) {
                assert_string_equal(some[i].text, "out of memory");
                failed++;
            } else {
                assert_int_equal(some[i].why, ENGINE_LENGTH);
                assert_int_equal(some[i].n, alone[i].n);
            }
        }
        assert_int_equal(failed, 1);
        same_as_alone(e, 8);
        struct engine_stats st;
        engine_stats(e, &st);
        assert_int_equal(st.failed, 1);
        assert_string_equal(st.trouble, "");
        engine_free(e);
    }
}

static void cancelling_works_at_every_stage(void **state)
{
    struct testing_luck luck = {.seed = 5, .delay_ns = NS_PER_MS / 20, .lose = 0.02, .kv_rows = 250};
    struct engine *e = engine_split(&(struct engine_config){.max_running = 4, .prefill_rows = 6}, &luck);
    for (uint32_t round = 0; round < 30; round++) {
        struct client c[8];
        for (uint32_t i = 0; i < 8; i++) {
            client_init(&c[i], i);
            c[i].cancel_after = (round + i) % 5; /* from its own callback; 0: from here */
            assert_int_equal(client_start(&c[i], e), 0);
        }
        for (uint32_t i = 0; i < 8; i++)
            if (!c[i].cancel_after) {
                client_wait_tokens(&c[i], round % 3);
                engine_cancel(e, c[i].id);
            }
        for (uint32_t i = 0; i < 8; i++) {
            client_wait(&c[i]);
            assert_true(c[i].why == ENGINE_CANCELLED || c[i].why == ENGINE_LENGTH);
            assert_memory_equal(c[i].got, alone[i].got, sizeof(int32_t) * c[i].n);
        }
    }
    engine_cancel(e, 123456789); /* unknown: nothing */
    same_as_alone(e, 8);         /* and nothing leaked: there is room for all of them, one after the other */
    engine_free(e);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / NS_PER_S;
}

static void idle_costs_nothing(void **state)
{
    struct engine *a = engine_split(NULL, &(struct testing_luck){0}), *b = engine_whole(NULL, NULL);
    same_as_alone(a, 2);
    same_as_alone(b, 2);
    double before = cpu_s();
    nanosleep(&(struct timespec){.tv_nsec = 200 * NS_PER_MS}, NULL);
    assert_true(cpu_s() - before < 0.01);
    engine_free(a);
    engine_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(company_changes_no_token),
        cmocka_unit_test(a_cut_changes_no_token),
        cmocka_unit_test(a_bad_middle_changes_no_token),
        cmocka_unit_test(guesses_change_no_token),
        cmocka_unit_test(right_guesses_save_trips),
        cmocka_unit_test(answers_end_where_they_should),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(the_line_is_bounded_and_in_order),
        cmocka_unit_test(a_cloud_that_stays_away_ends_requests),
        cmocka_unit_test(a_cloud_that_fails_ends_requests),
        cmocka_unit_test(a_refused_request_ends_alone),
        cmocka_unit_test(cancelling_works_at_every_stage),
        cmocka_unit_test(idle_costs_nothing),
    };
    return cmocka_run_group_tests(tests, make_references, NULL);
}
