/* Runs the commands of an acceptance, one after the other, each in a process group of its own with its output in files. */
#ifndef MERIDIAN_ACCEPT_RUNNER_H
#define MERIDIAN_ACCEPT_RUNNER_H

#include "accept/verdict.h"
#include "base/error.h"

struct accept_place {
    const char *top;      /* of the repository: where commands run */
    const char *evidence; /* folder, made: NAME.json or NAME.figures.json, and NAME.log */
    bool quick;
    const volatile int *interrupted;
    /* Now and then while a command runs: seconds of it so far. */
    void (*tick)(void *user, const struct accept_run *run, double seconds);
    void *user;
};

/* Always leaves an outcome; nothing of the command is left running. -EINTR: interrupted (the outcome says not run). */
int accept_run_make(struct accept_outcome *ret, const struct accept_run *run, const struct accept_place *p);
void accept_outcome_done(struct accept_outcome *o);

/* The command as a person types it. */
const char *accept_run_command(const struct accept_run *run, bool quick);

#endif
