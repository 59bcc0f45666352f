/* A whole training job from files and numbers, as the command line and the HTTP API ask for it: opens model, vocabulary
 * and data, makes both sides and lets the trainer run. Blocks; one job a thread. */
#ifndef MERIDIAN_SPLIT_TRAIN_JOB_H
#define MERIDIAN_SPLIT_TRAIN_JOB_H

#include "base/error.h"
#include "split/dataset.h"
#include "split/local_train.h"
#include "split/trainer.h"

#include <stdbool.h>
#include <stdint.h>

struct train_job {
    const char *model; /* the campus's half, or a whole model that is trained here */
    const char *data;  /* JSONL (dataset.h) */
    const char *dir;   /* checkpoints and results */

    /* The middle of a half: in this process from this file, or wherever `connect` leads. A whole model takes neither. */
    const char *cloud_half;
    /* *cfg: configuration, slots and run of this job; cfg->store is NULL. */
    int (*connect)(void *user, struct train_middle **ret, const struct model_params *p,
        const struct local_train_config *cfg, struct error *err);
    void *connect_user;

    uint32_t n_threads;  /* 0: the machine's cores */
    uint32_t batch_rows; /* rows of a micro-batch; 0: 512 */
    uint32_t max_sample; /* rows of one sample; 0: the model's context, at most batch_rows */
    enum dataset_long too_long;
    double eval_fraction;
    uint64_t seed;         /* order and split of the data, beginning of adapters */
    double epochs_asked;   /* used when plan.steps is 0; 0: 1 */
    uint32_t lora_rank;    /* 0: every weight is trained */
    float lora_alpha;      /* 0: 2 × rank */
    uint32_t lora_targets; /* 0: all */
    bool recompute;        /* less memory, more work, the same bits */

    /* steps (0: as many as epochs make), accumulate, in_flight, lr, schedule, warmup (UINT64_MAX: a twentieth), clip,
     * freeze_head, eval_every, save_every, resume, export_best, keep_types, on_progress, … The job fills in the rest. */
    struct trainer_config plan;

    /* Once, when all is open and before the first step. NULL: not wanted. */
    void (*on_ready)(void *user, const struct dataset_counts *data, const struct trainer_config *plan, uint64_t bytes);
};

int train_job_run(const struct train_job *job, struct trainer_result *ret, struct error *err);

/* "q,k,v,o,gate,up,down", "attention", "all" to bits; -EINVAL with a sentence. */
int train_job_targets(const char *text, uint32_t *ret, struct error *err);

#endif
