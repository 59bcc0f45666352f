/* Guessing ahead on campus, so that one trip to the cloud carries several tokens.
 *
 * Drafts come from the request's own text (prompt lookup: what followed the last time these few tokens stood here). The
 * tail draws each token with noise keyed by its position, so a verified draft is the very token plain decoding would
 * have drawn; a wrong guess costs only its work. How many to guess follows from what the round trip costs against the
 * work, and how often guesses of this request were right. Pure: clocks are the caller's. */
#ifndef MERIDIAN_SPLIT_SPECULATE_H
#define MERIDIAN_SPLIT_SPECULATE_H

#include <stdbool.h>
#include <stdint.h>

#define SPECULATE_MOST 8u /* drafts in one trip */

/* Smoothed costs, shared by all requests. 0: not known yet. */
struct speculate_cost {
    double trip_s;         /* one decode row to the middle and back, the middle's work included */
    double rtt_s;          /* of which the network alone */
    double head_s, tail_s; /* one row on campus */
    double right;          /* share of everybody's drafts that were accepted lately */
};

/* One request's luck. */
struct speculate_seq {
    double right;    /* smoothed share of drafts that were accepted */
    uint32_t tried;  /* position at which guessing on was tried last */
    int64_t sent_ns; /* when its last single row left; 0: not measured */
};

/* A request begins with the luck of those before it. */
void speculate_seq_init(struct speculate_seq *s, const struct speculate_cost *c);
void speculate_learn(struct speculate_cost *c, struct speculate_seq *s, bool right);
/* A token that nobody guessed: bad luck fades, so that guessing is tried again now and then. */
void speculate_fade(struct speculate_seq *s);

/* Smooths a new measurement into *value. */
void speculate_measure(double *value, double seconds);

/* How many drafts make the most tokens per second, 0 … SPECULATE_MOST. */
uint32_t speculate_depth(const struct speculate_cost *c, const struct speculate_seq *s);

/* How many more guesses to send behind `under_way` that have not come back: 0 unless the round trip is long against the
 * work under way and all of that is likely right (else what follows is computed for nothing). */
uint32_t speculate_ahead(const struct speculate_cost *c, const struct speculate_seq *s, uint32_t under_way);

/* Writes up to `most` guesses of what follows tokens[0..n) to ret (may be tokens + n); returns how many: all or none. */
uint32_t speculate_draft(const int32_t *tokens, uint32_t n, uint32_t most, int32_t *ret);

#endif
