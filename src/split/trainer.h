/* The campus's side of training: data, head, tail, loss and the plan; the middle stands behind train_middle.h.
 *
 * A step is `accumulate` micro-batches. Up to `in_flight` of them are under way at once (head forward, middle forward,
 * tail with loss and its backward, middle backward, head backward), so both sides compute while vectors travel. Answers
 * are taken in the order of micro-batches, so gradients add up in the same order whatever the timing.
 *
 * Checkpoints are taken on both sides at the same step: first the campus writes its weights, then the middle, then the
 * campus notes the step (step-N.json: cursor of the data, best loss, …), which makes it count. Two generations are kept
 * on both sides, so after a crash of either the newest noted step is on both; from there the same weights follow again,
 * bit for bit (same machines, same options). */
#ifndef MERIDIAN_SPLIT_TRAINER_H
#define MERIDIAN_SPLIT_TRAINER_H

#include "base/error.h"
#include "compute/train.h"
#include "model/params.h"
#include "split/dataset.h"
#include "split/train_middle.h"

#include <stdbool.h>
#include <stdint.h>

struct trainer_progress;

enum trainer_schedule { TRAINER_CONSTANT, TRAINER_LINEAR, TRAINER_COSINE };

struct trainer_config {
    uint64_t steps;      /* in all, from the start of the run; at least 1 */
    uint32_t accumulate; /* micro-batches in a step; 0: 1 */
    uint32_t in_flight;  /* micro-batches under way; 0: 4. At most the head's and the middle's slots */
    float lr, lr_least;  /* highest, and the end of the schedule as a share of it */
    enum trainer_schedule schedule;
    uint64_t warmup;                       /* steps in which the rate rises from 0 */
    float beta1, beta2, eps, weight_decay; /* 0 for beta1, beta2, eps: 0.9, 0.95, 1e-8 */
    float clip;                            /* largest norm of the gradient over both sides; 0: off */
    bool freeze_head;                      /* as the head part was made: nothing is asked back for it */
    uint64_t eval_every;                   /* steps; 0: only at the end. Nothing when no samples are kept apart */
    uint64_t save_every;                   /* steps; 0: only at the end */
    int64_t down_timeout_ns;               /* how long to wait for a lost cloud; 0: one hour */

    const char *dir;              /* checkpoints and results; made if not there */
    uint8_t run[16];              /* this run's id */
    const char *fingerprint;      /* what must be the same when resumed, for people; "" nothing */
    bool resume;                  /* from the newest step in dir */
    bool export_best;             /* at every evaluation that is the best so far, and not only at the end */
    bool keep_types;              /* exported weights go back to the types the file had, instead of F32 */
    bool lora;                    /* adapters were trained: they are exported, and folded into `base` */
    const struct gguf_file *base; /* with lora: the campus's file. NULL: adapters are not folded */

    /* After every step and evaluation, and about once a second while waiting; on the caller's thread. False: take a
     * checkpoint and stop. */
    bool (*on_progress)(void *user, const struct trainer_progress *p);
    void *user;
};

struct trainer_progress {
    uint64_t step, steps;
    uint64_t epoch;
    uint64_t rows;                /* tokens taken in since the start of the run */
    double loss;                  /* mean of the last step, nats; NAN before the first */
    double eval_loss, eval_right; /* of the last evaluation; NAN: none yet */
    double best_loss;
    uint64_t best_step;
    double lr, grad_norm;
    double rows_per_s;             /* lately */
    double busy_edge, busy_middle; /* share of the time that each side computed, lately */
    uint64_t bytes_up, bytes_down; /* since this process began */
    uint64_t losses;               /* times the middle had to be brought back to a checkpoint */
    bool waiting;                  /* no connection at the moment */
};

enum trainer_end { TRAINER_DONE, TRAINER_STOPPED };

struct trainer_result {
    enum trainer_end end;
    struct trainer_progress last;
    uint64_t saved_step; /* of the newest checkpoint */
};

/* `edge`: part 0 the head, part 1 the tail; with `middle` NULL part 0 is the whole model. Both stay the caller's.
 * `p` with the cut as it was when the run began. Blocks until done, stopped or failed. */
int trainer_run(struct train *edge, struct train_middle *middle, const struct model_params *p,
    const struct dataset *data, const struct trainer_config *cfg, struct trainer_result *ret, struct error *err);

/* The run of the newest checkpoint in `dir`; -ENOENT with a sentence when there is none. */
int trainer_find(const char *dir, uint8_t ret_run[16], uint64_t *ret_step, struct error *err);

double trainer_rate(const struct trainer_config *cfg, uint64_t step); /* learning rate of step 1, 2, … */

#endif
