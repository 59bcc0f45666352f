#include "base/test.h"

#include "base/rng.h"
#include "compute/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define V 40

static struct sample_logprob scratch[V];

static struct sample_params plain(float temperature)
{
    return (struct sample_params){.temperature = temperature, .top_p = 1, .seed = 5};
}

static int32_t take(const struct sample_params *p, const float *logits, int32_t n, int32_t pos)
{
    return sample_token(p, logits, n, pos, NULL, 0, 0, NULL, scratch).token;
}

static void some_logits(float *ret)
{
    for (int i = 0; i < V; i++)
        ret[i] = (float)(6 * rng_uniform(77, (uint64_t)i) - 3);
}

/* Chi-square of draws against the expected shares (those below 5 expected draws are put together). */
static void check_shares(const struct sample_params *p, const float *logits, const double *share, const char *what)
{
    enum { DRAWS = 20000 };
    int count[V] = {0}, cells = 0;
    double chi = 0, rest = 0, rest_want = 0;
    for (int i = 0; i < DRAWS; i++)
        count[take(p, logits, V, i)]++;
    for (int i = 0; i < V; i++) {
        double want = share[i] * DRAWS;
        if (share[i] == 0)
            assert_int_equal(count[i], 0);
        else if (want < 5) {
            rest += count[i];
            rest_want += want;
        } else {
            chi += (count[i] - want) * (count[i] - want) / want;
            cells++;
        }
    }
    if (rest_want > 0) {
        chi += (rest - rest_want) * (rest - rest_want) / rest_want;
        cells++;
    }
    double k = cells - 1, z = (cbrt(chi / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k)); /* Wilson and Hilferty */
    if (!(fabs(z) < 4))
        fail_msg("%s: chi-square %.1f with %d degrees of freedom", what, chi, cells - 1);
}

static void softmax(const float *logits, double t, const char *keep, double *ret)
{
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += ret[i] = keep && !keep[i] ? 0 : exp(logits[i] / t);
    for (int i = 0; i < V; i++)
        ret[i] /= sum;
}

static void test_distribution(void **state)
{
    float logits[V];
    double share[V];
    some_logits(logits);
    for (int i = 0; i < 3; i++) {
        struct sample_params p = plain(i == 0 ? 1 : i == 1 ? 0.5f : 2);
        p.seed = (uint64_t)i;
        softmax(logits, p.temperature, NULL, share);
        check_shares(&p, logits, share, "temperature");
    }
}

/* Which tokens stay, worked out the slow way: ranks by sorting. */
static void ranks(const float *logits, int *ret)
{
    for (int i = 0; i < V; i++) {
        ret[i] = 0;
        for (int j = 0; j < V; j++)
            ret[i] += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
    }
}

static void test_filters(void **state)
{
    float logits[V];
    double share[V], all[V];
    char keep[V];
    int rank[V];
    some_logits(logits);
    ranks(logits, rank);
    softmax(logits, 0.8, NULL, all);

    struct sample_params p = plain(0.8f);
    p.top_k = 7;
    for (int i = 0; i < V; i++)
        keep[i] = rank[i] < 7;
    softmax(logits, 0.8, keep, share);
    check_shares(&p, logits, share, "top-k");

    for (int with_k = 0; with_k < 2; with_k++) {
        p = plain(0.8f);
        p.top_p = 0.7f;
        p.top_k = with_k ? 9 : 0;
        double of = 0;
        for (int i = 0; i < V; i++)
            of += !with_k || rank[i] < 9 ? all[i] : 0;
        for (int i = 0; i < V; i++) {
            double above = 0;
            for (int j = 0; j < V; j++)
                above += rank[j] < rank[i] ? all[j] : 0;
            keep[i] = above < 0.7 * of && (!with_k || rank[i] < 9);
        }
        softmax(logits, 0.8, keep, share);
        check_shares(&p, logits, share, "top-p");
    }

    p = plain(0.8f);
    p.min_p = 0.2f;
    double most = 0;
    for (int i = 0; i < V; i++)
        most = all[i] > most ? all[i] : most;
    for (int i = 0; i < V; i++)
        keep[i] = all[i] >= 0.2 * most;
    softmax(logits, 0.8, keep, share);
    check_shares(&p, logits, share, "min-p");
}

static void test_greedy(void **state)
{
    float logits[V] = {0};
    struct sample_params p = plain(0);
    logits[11] = logits[7] = logits[30] = 2;
    assert_int_equal(take(&p, logits, V, 3), 7);
    logits[30] = 2.5f;
    assert_int_equal(take(&p, logits, V, 3), 30);
    p = plain(1);
    p.top_k = 1;
    logits[30] = 2;
    assert_int_equal(take(&p, logits, V, 3), 7); /* the same tie, the same answer */
    for (int i = 0; i < V; i++)
        logits[i] = NAN;
    assert_in_range(take(&p, logits, V, 3), 0, V - 1);
    p = plain(1);
    assert_in_range(take(&p, logits, V, 3), 0, V - 1);
    p.top_p = 0.5f;
    for (int i = 0; i < V; i++)
        logits[i] = i == 20 ? 1 : -INFINITY;
    assert_int_equal(take(&p, logits, V, 3), 20);
}

static void test_penalties_and_bias(void **state)
{
    float logits[V] = {0};
    const int32_t generated[] = {4, 4, 9};
    struct sample_params p = plain(0);
    logits[4] = 3;
    logits[9] = 2.5f;
    logits[12] = 1;
    p.presence_penalty = 1;
    p.frequency_penalty = 0.3f; /* 4: 3 - 1 - 0.6; 9: 2.5 - 1 - 0.3; 12: 1 */
    struct sample_logprob x = sample_token(&p, logits, V, 0, generated, 3, 0, NULL, scratch);
    assert_int_equal(x.token, 4);
    p.frequency_penalty = 1; /* 4: 0; 9: 0.5; 12: 1 */
    assert_int_equal(sample_token(&p, logits, V, 0, generated, 3, 0, NULL, scratch).token, 12);
    const struct sample_bias bias[] = {{12, -100}, {9, 1}, {-3, 50}, {V, 50}};
    p.bias = bias;
    p.n_bias = 4;
    assert_int_equal(sample_token(&p, logits, V, 0, generated, 3, 0, NULL, scratch).token, 9);
}

static void test_logprobs(void **state)
{
    float logits[V];
    double all[V];
    int rank[V];
    struct sample_logprob top[V + 2];
    some_logits(logits);
    softmax(logits, 1, NULL, all);
    ranks(logits, rank);
    struct sample_params p = plain(0.3f);
    p.top_k = 2;
    struct sample_logprob x = sample_token(&p, logits, V, 9, NULL, 0, 5, top, scratch);
    assert_true(fabs(x.logprob - log(all[x.token])) < 1e-5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rank[top[i].token], i);
        assert_true(fabs(top[i].logprob - log(all[top[i].token])) < 1e-5);
    }
    sample_token(&p, logits, V, 9, NULL, 0, V + 2, top, scratch);
    assert_int_equal(top[V].token, -1);
}

/* The same draw whatever else was drawn before, and other draws with another seed, choice or position. A token that no
 * filter touches wins or loses against another as before. */
static void test_same_again(void **state)
{
    float logits[V];
    int differ[3] = {0};
    some_logits(logits);
    for (int pos = 0; pos < 200; pos++) {
        struct sample_params p = plain(1), seed = p, choice = p, filtered = p;
        int32_t t = take(&p, logits, V, pos);
        seed.seed++;
        choice.choice++;
        filtered.top_k = V - 1;
        differ[0] += take(&seed, logits, V, pos) != t;
        differ[1] += take(&choice, logits, V, pos) != t;
        differ[2] += take(&p, logits, V, pos + 1000) != t;
        int32_t f = take(&filtered, logits, V, pos);
        int rank[V];
        ranks(logits, rank);
        if (rank[t] < V - 1)
            assert_int_equal(f, t);
        assert_int_equal(take(&p, logits, V, pos), t);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(differ[i], 100, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_penalties_and_bias),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_same_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
