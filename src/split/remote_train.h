/* The training middle in the cloud, over the split protocol: struct train_middle for the trainer. One connection. */
#ifndef MERIDIAN_SPLIT_REMOTE_TRAIN_H
#define MERIDIAN_SPLIT_REMOTE_TRAIN_H

#include "split/remote.h"
#include "split/train_middle.h"

struct remote_train_config {
    struct remote_config
        remote;                /* cut: the half that the training starts from; codec: f32 unless measured to be fine */
    struct train_config train; /* of the middle; n_threads is the worker's own business */
    uint32_t n_slots;          /* micro-batches in flight; forward gives -ENOBUFS beyond; 0: 1 */
    uint8_t run[16];           /* this training run's id; the worker's checkpoints are found by it */
};

/* Connecting begins at once, in the background. A worker that was restarted gives TRAIN_LOST; until the caller has
 * taken it, and again until it asks for load(), whatever it asks leads to nothing. */
int remote_train_create(struct train_middle **ret, const struct remote_train_config *cfg, struct error *err);

#endif
