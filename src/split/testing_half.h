/* Halves for tests: small pure functions with a memory, so that whatever is computed twice, left out, mixed up between
 * sessions or taken from a position that should be forgotten changes the result. */
#ifndef MERIDIAN_SPLIT_TESTING_HALF_H
#define MERIDIAN_SPLIT_TESTING_HALF_H

#include "split/half.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Counted across all halves of a test; a test may set run_ns to make computing slow, or hold to make it wait. */
struct testing_counts {
    atomic_uint runs, rows, most_rows; /* most_rows: of one run */
    atomic_uint forwards, backwards, steps, saves, loads;
    atomic_int open;
    _Atomic long run_ns;
    atomic_bool hold, fail_run;
};

struct half_infer *testing_infer(uint32_t d, uint64_t kv_rows, struct testing_counts *c);
/* Reference: the answer for row `pos` of a session given all its input rows [pos + 1][d]. */
void testing_infer_row(uint32_t d, uint32_t pos, const float *rows, float *out);

struct half_train *testing_train(uint32_t d, uint32_t n_slots, uint32_t max_rows, struct testing_counts *c);
const float *testing_train_weights(const struct half_train *h); /* [d] */

#endif
