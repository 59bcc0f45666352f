/* Shared by the trainer's files: trainer.c (the plan), trainer_pipe.c (micro-batches), trainer_state.c (checkpoints). */
#ifndef MERIDIAN_SPLIT_TRAINER_INNER_H
#define MERIDIAN_SPLIT_TRAINER_INNER_H

#include "split/trainer.h"

/* The middle restarted: nothing under way counts, both sides must go back to a common checkpoint. */
#define TRAINER_LOST (-100000)

/* What a checkpoint says beside the weights. */
struct trainer_state {
    uint64_t step, rows;
    struct dataset_cursor cursor;
    double best_loss; /* NAN: none */
    uint64_t best_step;
    uint8_t run[16];
};

struct flight {
    struct micro_batch mb;
    uint64_t number;
};

struct trainer {
    struct train *edge;
    struct train_middle *middle; /* NULL: part 0 is the whole */
    const struct model_params *p;
    const struct dataset *data;
    struct trainer_config cfg;

    struct trainer_state st;
    uint64_t saved_step; /* UINT64_MAX: nothing yet */
    struct dataset_order order;
    struct flight *flights; /* [in_flight], by number % in_flight */
    uint64_t next_number;   /* of the next micro-batch; never used twice */
    float *x;               /* [max_rows][d], out of head or tail */
    bool x_waits;           /* the last forward found no slot in the middle: its vectors are still in x */
    uint32_t max_rows;

    struct train_loss loss; /* of the step or evaluation under way */
    double sumsq;           /* the middle's */
    bool has_sumsq;
    uint64_t lost_steps[4]; /* checkpoints that the restarted middle has */
    uint32_t n_lost_steps;

    double edge_busy_s;
    struct trainer_progress progress;
    bool stop;
    int64_t shown_ns, down_since_ns; /* down_since_ns 0: connected */
    int64_t window_ns;               /* rates are of the time since */
    double window_edge_s, window_middle_s;
    uint64_t window_rows, seen_rows;
    uint64_t generations[2]; /* the newest first */
    uint32_t n_generations;
};

/* trainer_pipe.c. All may return TRAINER_LOST. */
int trainer_pipe_init(struct trainer *t);
void trainer_pipe_done(struct trainer *t);
int trainer_pipe_step(struct trainer *t, struct error *err); /* micro-batches of one step, forward and backward */
int trainer_pipe_eval(struct trainer *t, struct error *err);
void trainer_pipe_drop(struct trainer *t); /* forget all that is under way, and the gradients */
/* The middle's next event, whatever time it takes. Connections that come and go are handled inside. */
int trainer_next(struct trainer *t, struct train_event *ret, struct error *err);
/* Waits for one event of this kind and step. */
int trainer_await(struct trainer *t, enum train_event_kind kind, uint64_t step, struct error *err);

/* trainer_state.c */
int trainer_save(struct trainer *t, struct error *err); /* may return TRAINER_LOST */
/* Goes back to the newest noted step that the middle has too (any: what it has is not known). */
int trainer_restore(struct trainer *t, bool any, struct error *err);
int trainer_export(struct trainer *t, bool best, struct error *err);
int trainer_scan(struct trainer *t, struct error *err); /* finds generations */

/* trainer.c */
void trainer_show(struct trainer *t, bool now);

#endif
