/* Shared by dataset.c (samples, order, batches) and dataset_read.c (lines to samples). */
#ifndef MERIDIAN_SPLIT_DATASET_INNER_H
#define MERIDIAN_SPLIT_DATASET_INNER_H

#include "base/buf.h"
#include "split/dataset.h"

#include <stdbool.h>

struct sample {
    uint64_t first; /* into tokens; targets lie one further */
    uint32_t rows;
    uint32_t learnt;
    bool eval;
};

struct dataset {
    struct dataset_config cfg;
    struct dataset_counts counts;
    struct buf tokens;      /* int32_t, a sample's n tokens after one another */
    struct buf mask;        /* a byte a token: learnt */
    struct buf samples;     /* struct sample */
    struct buf train, eval; /* uint32_t: indices of samples */
    uint64_t hash;
};

/* Lines into samples; `eval` is not decided yet. */
int dataset_read_lines(struct dataset *ds, const char *bytes, size_t len, const char *name, const struct tokenizer *t,
    enum chat_family family, struct error *err);

#endif
