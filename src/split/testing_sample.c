/* For tests until the real one is linked. */
#include "base/rng.h"
#include "compute/sample.h"

#include <math.h>

struct sample_logprob sample_token(const struct sample_params *p, const float *logits, int32_t n_vocab, int32_t pos,
    const int32_t *generated, uint32_t n_generated, uint32_t n_top, struct sample_logprob *ret_top, void *scratch)
{
    struct sample_logprob best = {.logprob = -INFINITY};
    for (int32_t t = 0; t < n_vocab; t++) {
        double v = (double)logits[t];
        for (uint32_t i = 0; i < p->n_bias; i++)
            v += p->bias[i].token == t ? (double)p->bias[i].bias : 0;
        if (p->temperature > 0)
            v = v / (double)p->temperature - log(-log(rng_uniform(p->seed + (uint64_t)pos * 977, (uint64_t)t)));
        if (v > (double)best.logprob)
            best = (struct sample_logprob){.token = t, .logprob = (float)v};
    }
    return best;
}
