/* What `edge run`, `train` and `bench` share: this hospital's connection to its worker in the cloud. */
#ifndef MERIDIAN_CLI_REMOTE_H
#define MERIDIAN_CLI_REMOTE_H

#include "cli/common.h"
#include "edge/identity.h"
#include "split/remote.h"

#define CLI_OPTION_IDENTITY {"identity", "DIR", NULL, "what `edge join` made: the middle runs in that cloud"}
#define CLI_OPTION_CLOUD_HALF                                                                                          \
    {"cloud-half", "FILE", NULL, "the cloud's half, installed there if the worker does not have it yet"}
#define CLI_OPTION_DSCP                                                                                                \
    {"dscp", "A,B,C", "46,26,0",                                                                                       \
        "marks of what goes to the cloud, for the network's classes: what a person waits for, the rest, and "          \
        "installing the cloud's half; the cloud answers with the same"}
#define CLI_OPTION_CODEC {"codec", "NAME", "f16", "how vectors travel: f32, f16 or int8"}

/* Owns what a connection needs; `config` is filled in for remote_middle_create and remote_train_create and may be used
 * until cli_remote_done. */
struct cli_remote {
    struct edge_identity *identity;
    int keylog_fd;
    unsigned dscp[2];         /* by enum split_which */
    struct progress progress; /* of installing the cloud's half */
    bool installing;
    struct remote_config config;
};

/* From the options above; `edge` is the campus half. -EINVAL for a whole model. *ret must be zeroed and must not move. */
int cli_remote_init(
    struct cli_remote *ret, const struct cli_args *args, const struct cli_model *edge, struct error *err);
void cli_remote_done(struct cli_remote *r); /* after what used the config has been freed; twice is allowed */

#endif
