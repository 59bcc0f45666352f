/* From logits to a token. Gumbel-max with counter-based noise keyed (seed, choice, position, token): the draw is a pure
 * function of the request, so it is the same again after a recovery, with speculation, in any batch.
 * Order: bias and penalties; then greedy, or temperature, top-k, top-p (a share of what top-k leaves), min-p. The most
 * likely token always stays. */
#ifndef MERIDIAN_COMPUTE_SAMPLE_H
#define MERIDIAN_COMPUTE_SAMPLE_H

#include <stdint.h>

struct sample_params {
    float temperature; /* 0: greedy (lowest id wins a tie) */
    float top_p;       /* (0,1]; 1: off */
    float min_p;       /* [0,1); 0: off */
    int32_t top_k;     /* 0: off */
    uint64_t seed;
    uint32_t choice;                           /* which of n choices of one request */
    float presence_penalty, frequency_penalty; /* [-2,2]; over generated tokens */
    uint32_t n_bias;
    const struct sample_bias {
        int32_t token;
        float bias;
    } *bias; /* logit_bias; owned by the request */
};

struct sample_logprob {
    int32_t token;
    float logprob; /* natural log, of the softmax at temperature 1 before any filter */
};

/* `scratch`: n_vocab * sizeof(struct sample_logprob) bytes, the caller's. `generated`: tokens so far, for penalties.
 * ret_top (n_top entries, NULL if 0) gets the most likely tokens, falling. Returns the token chosen and its logprob. */
struct sample_logprob sample_token(const struct sample_params *p, const float *logits, int32_t n_vocab, int32_t pos,
    const int32_t *generated, uint32_t n_generated, uint32_t n_top, struct sample_logprob *ret_top, void *scratch);

#endif
