/* What training learns from: a JSONL file on campus, one sample a line, tokenised once and held in memory.
 *
 *   {"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}]}   learns what the assistant says
 *   {"text":"…"}                                                                     learns everything
 *
 * A sample of n tokens makes n - 1 rows: row i has token i as input and token i + 1 as target, or -1 where nothing is
 * learnt. Rows go out in micro-batches of whole samples, in an order that is a pure function of (seed, epoch), so a
 * cursor of two numbers continues exactly where it was taken. Immutable after opening. */
#ifndef MERIDIAN_SPLIT_DATASET_H
#define MERIDIAN_SPLIT_DATASET_H

#include "base/error.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"

#include <stdint.h>

/* What happens to a sample with more rows than fit. */
enum dataset_long {
    DATASET_TRUNCATE, /* its beginning is kept */
    DATASET_REFUSE,   /* it is left out */
    DATASET_CHOP,     /* it becomes several samples (long texts for training from scratch) */
};

struct dataset_config {
    uint32_t max_rows;    /* of a micro-batch */
    uint32_t max_samples; /* of a micro-batch; 0: max_rows */
    uint32_t max_sample;  /* rows of one sample, e.g. the model's context; 0: max_rows */
    enum dataset_long too_long;
    double eval_fraction; /* [0,1) of the samples are kept apart; above 0 at least one is */
    uint64_t seed;        /* of the split and the order */
};

struct dataset_counts {
    uint64_t train, eval;                 /* samples */
    uint64_t rows, learnt;                /* of the samples for training: rows, and targets among them */
    uint64_t truncated, refused, chopped; /* lines too long, by what was done */
    uint64_t empty;                       /* samples in which nothing is learnt: left out */
};

struct dataset;

/* Errors name the file and the line. Chats need a family (CHAT_NONE: a clear error). */
int dataset_open(struct dataset **ret, const char *path, const struct tokenizer *t, enum chat_family family,
    const struct dataset_config *cfg, struct error *err);
/* The same from lines in memory; `name` is used in errors. */
int dataset_open_bytes(struct dataset **ret, const char *bytes, size_t len, const char *name, const struct tokenizer *t,
    enum chat_family family, const struct dataset_config *cfg, struct error *err);
void dataset_free(struct dataset *ds); /* NULL allowed; wiped */

struct dataset_counts dataset_counts(const struct dataset *ds);
uint64_t dataset_hash(const struct dataset *ds); /* of tokens, targets and configuration: equal when batches are */

uint32_t dataset_max_rows(const struct dataset *ds);
uint32_t dataset_max_samples(const struct dataset *ds);

struct dataset_cursor {
    uint64_t epoch, at; /* samples of this epoch already given out */
};

/* Owned by the caller, filled by dataset_next. */
struct micro_batch {
    int32_t *tokens, *targets; /* [max_rows] */
    uint32_t *sample_rows;     /* [max_samples] */
    uint32_t n_rows, n_samples, n_learnt;
};
int micro_batch_init(struct micro_batch *b, const struct dataset *ds); /* -ENOMEM */
void micro_batch_done(struct micro_batch *b);

/* The order of one epoch, kept so that it is made once; one for each user of a cursor. {0} is empty. */
struct dataset_order {
    uint64_t epoch;
    uint32_t *at; /* [train samples] */
};
void dataset_order_done(struct dataset_order *o);

/* The next micro-batch for training; *cursor moves on, into the next epoch after the last sample. -ENOMEM. */
int dataset_next(
    const struct dataset *ds, struct dataset_order *order, struct dataset_cursor *cursor, struct micro_batch *ret);

/* Micro-batch of samples kept apart, from *at on; false when there are no more. */
bool dataset_eval(const struct dataset *ds, uint64_t *at, struct micro_batch *ret);

/* Micro-batches in this many epochs, from the start. -ENOMEM. */
int dataset_count_batches(const struct dataset *ds, uint64_t epochs, uint64_t *ret);

#endif
