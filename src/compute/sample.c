/* One pass puts (token, adjusted logit) of everything still allowed into the scratch; filters shrink it; the draw takes
 * the largest of logit/temperature + Gumbel noise. A token's noise is a function of (seed, choice, position, token)
 * alone, so a filter or a different order of the candidates cannot move anybody else's draw.
 *
 * Order, as the well-known servers have it: bias and penalties, then greedy or temperature, top-k, top-p, min-p over
 * the softmax at that temperature. */
#include "compute/sample.h"

#include "base/rng.h"
#include "compute/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Falling by logit, then rising by id: a total order, so that ties are settled the same everywhere. NaN counts least. */
static bool before(const struct sample_logprob *a, const struct sample_logprob *b)
{
    float x = isnan(a->logprob) ? -INFINITY : a->logprob, y = isnan(b->logprob) ? -INFINITY : b->logprob;
    return x > y || (x == y && a->token < b->token);
}

static void swap(struct sample_logprob *a, struct sample_logprob *b)
{
    struct sample_logprob t = *a;
    *a = *b;
    *b = t;
}

static void sift_down(struct sample_logprob *c, int32_t n, int32_t i)
{
    for (;;) {
        int32_t best = i;
        for (int32_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (before(&c[child], &c[best]))
                best = child;
        if (best == i)
            return;
        swap(&c[i], &c[best]);
        i = best;
    }
}

/* Makes a heap with the first in order on top: taking k of n costs n + k log n, and k is mostly small. */
static void heapify(struct sample_logprob *c, int32_t n)
{
    for (int32_t i = n / 2; i-- > 0;)
        sift_down(c, n, i);
}

/* Moves the heap's first to its end, c[n - 1]; the heap is then n - 1 long. */
static void heap_pop(struct sample_logprob *c, int32_t n)
{
    swap(&c[0], &c[n - 1]);
    sift_down(c, n - 1, 0);
}

static void top_tokens(const float *logits, int32_t n, double log_total, uint32_t n_top, struct sample_logprob *ret,
    struct sample_logprob *c)
{
    for (int32_t i = 0; i < n; i++)
        c[i] = (struct sample_logprob){i, logits[i]};
    heapify(c, n);
    for (uint32_t i = 0; i < n_top; i++)
        if (i < (uint32_t)n) {
            heap_pop(c, n - (int32_t)i);
            struct sample_logprob x = c[n - 1 - (int32_t)i];
            ret[i] = (struct sample_logprob){x.token, (float)(x.logprob - log_total)};
        } else {
            ret[i] = (struct sample_logprob){-1, -INFINITY};
        }
}

/* Candidates with bias and penalties; c[token] while they are being added. */
static void adjust(const struct sample_params *p, const float *logits, int32_t n, const int32_t *generated,
    uint32_t n_generated, struct sample_logprob *c)
{
    for (int32_t i = 0; i < n; i++)
        c[i] = (struct sample_logprob){i, logits[i]};
    for (uint32_t i = 0; i < p->n_bias; i++)
        if (p->bias[i].token >= 0 && p->bias[i].token < n)
            c[p->bias[i].token].logprob += p->bias[i].bias;
    if (p->frequency_penalty == 0 && p->presence_penalty == 0)
        return;
    /* The sign of `token` remembers that presence has been counted. */
    for (uint32_t i = 0; i < n_generated; i++) {
        int32_t t = generated[i];
        if (t < 0 || t >= n)
            continue;
        c[t].logprob -= p->frequency_penalty;
        if (c[t].token >= 0) {
            c[t].logprob -= p->presence_penalty;
            c[t].token = -1 - c[t].token;
        }
    }
    for (int32_t i = 0; i < n; i++)
        c[i].token = i;
}

static int32_t greedy(const struct sample_logprob *c, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (before(&c[i], &c[best]))
            best = i;
    return c[best].token;
}

/* The kept candidates are moved to the end of c, which is returned with their number. */
static struct sample_logprob *filter(const struct sample_params *p, struct sample_logprob *c, int32_t n, int32_t *ret_n)
{
    int32_t limit = p->top_k > 0 && p->top_k < n ? p->top_k : n, kept = 0;
    double inv_t = 1.0 / p->temperature, total = 0, seen = 0;
    bool by_p = p->top_p < 1;
    if (limit == n && !by_p && !(p->min_p > 0)) {
        *ret_n = n;
        return c;
    }
    heapify(c, n);
    const double most = c[0].logprob;
    /* top-p is a share of what top-k leaves. */
    if (by_p && limit == n)
        for (int32_t i = 0; i < n; i++)
            total += expf((float)((c[i].logprob - most) * inv_t));
    for (; kept < limit; kept++) {
        double e = exp((c[0].logprob - most) * inv_t);
        if (kept > 0 && (!(e >= p->min_p) || (by_p && limit == n && seen >= p->top_p * total)))
            break;
        seen += e;
        heap_pop(c, n - kept);
    }
    struct sample_logprob *k = c + n - kept; /* rising: the first in order is the last */
    if (by_p && limit < n) {
        double share = 0;
        int32_t i = 0;
        while (i < kept && (i == 0 || share < p->top_p * seen))
            share += exp((k[kept - 1 - i++].logprob - most) * inv_t);
        k += kept - i;
        kept = i;
    }
    *ret_n = kept;
    return k;
}

static uint64_t noise_key(const struct sample_params *p, int32_t pos)
{
    return rng_u64(rng_u64(p->seed, p->choice), (uint64_t)(uint32_t)pos);
}

/* Noise can lift a candidate by `behind` or more only if 1 - u < 1 - e^(-e^-behind) <= e^-behind. Nearly all fail this,
 * which costs no logarithm. */
static bool hopeless(double behind, double u)
{
    static const double lift[] = {1, 3.7e-1, 1.36e-1, 5e-2, 1.84e-2, 6.8e-3, 2.5e-3, 9.2e-4, 3.4e-4, 1.24e-4, 4.6e-5,
        1.68e-5, 6.2e-6, 2.3e-6, 8.4e-7, 3.1e-7, 1.13e-7}; /* e^-i, rounded up */
    if (!(behind > 0))
        return false;
    int i = behind < 16 ? (int)behind : 16;
    return 1 - u > lift[i];
}

static int32_t draw(const struct sample_params *p, const struct sample_logprob *c, int32_t n, int32_t pos)
{
    const uint64_t key = noise_key(p, pos);
    const double inv_t = 1.0 / p->temperature;
    double best = -INFINITY;
    int32_t token = c[n - 1].token;
    for (int32_t i = n; i-- > 0;) {
        double x = c[i].logprob * inv_t, u = rng_uniform(key, (uint64_t)c[i].token);
        if (hopeless(best - x, u))
            continue;
        double g = x - log(-log(u));
        if (g > best || (g == best && c[i].token < token)) {
            best = g;
            token = c[i].token;
        }
    }
    return token;
}

struct sample_logprob sample_token(const struct sample_params *p, const float *logits, int32_t n_vocab, int32_t pos,
    const int32_t *generated, uint32_t n_generated, uint32_t n_top, struct sample_logprob *ret_top, void *scratch)
{
    struct sample_logprob *c = scratch, *kept;
    float most;
    double total = kernels_get()->log_sum_exp(logits, (uint64_t)n_vocab, &most);
    int32_t n, token;
    if (n_top)
        top_tokens(logits, n_vocab, total, n_top, ret_top, c);
    adjust(p, logits, n_vocab, generated, n_generated, c);
    if (!(p->temperature > 0)) {
        token = greedy(c, n_vocab);
    } else {
        kept = filter(p, c, n_vocab, &n);
        token = draw(p, kept, n, pos);
    }
    return (struct sample_logprob){token, (float)(logits[token] - total)};
}
