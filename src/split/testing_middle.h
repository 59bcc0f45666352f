/* For tests: a middle in this process that answers late and has every kind of bad day, drawn from a seed. */
#ifndef MERIDIAN_SPLIT_TESTING_MIDDLE_H
#define MERIDIAN_SPLIT_TESTING_MIDDLE_H

#include "compute/infer.h"
#include "split/middle.h"

struct testing_luck {
    uint64_t seed;
    uint64_t kv_rows;        /* room for sessions, in positions */
    int64_t delay_ns;        /* before an answer can be taken */
    uint32_t most_under_way; /* rows before -ENOBUFS; 0: no bound */
    double lose, down;       /* chance of each at every forward */
    int64_t down_ns;         /* how long a connection stays away */
    uint32_t fail_after;     /* forwards before it fails for good; 0: never */
    uint32_t refuse_one;     /* this forward, and later ones of its session, are refused; 0: none */
    bool refuse_finally;     /* every open is refused for good */
    bool never_up;           /* no connection from the start */
    double rtt_ms;           /* reported */
};

/* Takes `x` (the middle's span) over. */
struct middle *testing_middle_create(struct infer *x, uint32_t d, const struct testing_luck *luck);

#endif
