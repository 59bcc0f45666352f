#include "split/speculate.h"

#include <string.h>

#define LONGEST_GRAM   4u
#define SHORTEST_GRAM  2u
#define HOPE           0.2
#define LIKELY         0.5
#define MOST_UNDER_WAY 40u
#define LOOK_BACK      4096u /* positions searched, so that a draft costs microseconds whatever the context */

void speculate_seq_init(struct speculate_seq *s, const struct speculate_cost *c)
{
    double right = c->right > 0 ? c->right : 0.5;
    *s = (struct speculate_seq){.right = right > HOPE ? right : HOPE};
}

void speculate_learn(struct speculate_cost *c, struct speculate_seq *s, bool right)
{
    double now = right ? 1.0 : 0.0;
    s->right += 0.1 * (now - s->right);
    c->right = c->right > 0 ? c->right + 0.01 * (now - c->right) : 0.5;
}

void speculate_fade(struct speculate_seq *s)
{
    if (s->right < HOPE)
        s->right += 0.02 * (HOPE - s->right);
}

void speculate_measure(double *value, double seconds)
{
    *value = *value > 0 ? *value + 0.1 * (seconds - *value) : seconds;
}

/* With k drafts a trip yields 1 + a + … + a^k tokens in rtt + (k + 1) · work. */
uint32_t speculate_depth(const struct speculate_cost *c, const struct speculate_seq *s)
{
    double cloud_s = c->trip_s > c->rtt_s ? c->trip_s - c->rtt_s : 0;
    double work_s = c->head_s + c->tail_s + cloud_s, tokens = 1, power = 1, best = 0;
    uint32_t depth = 0;
    if (c->trip_s <= 0 || c->rtt_s < work_s / 4)
        return 0; /* little to win, and wrong guesses would cost others their turn */
    for (uint32_t k = 0; k <= SPECULATE_MOST; k++) {
        double rate = tokens / (c->rtt_s + (k + 1) * work_s);
        if (rate > best) {
            best = rate;
            depth = k;
        }
        power *= s->right;
        tokens += power;
    }
    return depth;
}

uint32_t speculate_ahead(const struct speculate_cost *c, const struct speculate_seq *s, uint32_t under_way)
{
    uint32_t depth = speculate_depth(c, s);
    double all_right = 1, work_s = c->head_s + c->tail_s + (c->trip_s > c->rtt_s ? c->trip_s - c->rtt_s : 0);
    for (uint32_t i = 0; i < under_way; i++)
        all_right *= s->right;
    bool worth = all_right >= LIKELY && under_way + depth <= MOST_UNDER_WAY && under_way * work_s < c->rtt_s;
    return worth ? depth : 0;
}

uint32_t speculate_draft(const int32_t *tokens, uint32_t n, uint32_t most, int32_t *ret)
{
    for (uint32_t gram = LONGEST_GRAM; most && gram >= SHORTEST_GRAM; gram--) {
        if (n <= gram)
            continue;
        const int32_t *last = tokens + n - gram;
        uint32_t stop = n - gram > LOOK_BACK ? n - gram - LOOK_BACK : 0;
        for (uint32_t at = n - gram; at-- > stop;) {
            if (memcmp(tokens + at, last, gram * sizeof(*tokens)) != 0)
                continue;
            for (uint32_t i = 0, from = at + gram; i < most; i++, from++)
                ret[i] = from < n ? tokens[from] : ret[from - n]; /* a short loop goes on turning */
            return most;
        }
    }
    return 0;
}
