/* A program of the lab: started in a namespace, its output in a file, its end noticed. ^C reaches only the lab, which ends
 * its programs in order; should the lab die, they are killed (by the kernel, by the janitor, by lab_clean). */
#ifndef MERIDIAN_LAB_PROCESS_H
#define MERIDIAN_LAB_PROCESS_H

#include "lab/journal.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lab_process {
    char name[80];
    char out[LAB_PATH_SIZE], log[LAB_PATH_SIZE]; /* files of its stdout and stderr */
    pid_t pid;                                   /* 0: never started */
    bool running;
    int status; /* as of waitpid, once not running */
    int64_t started_ns, ended_ns;
};

/* argv ends with NULL. `ns`: a namespace's name; NULL: ours. `name` is unique in the run: files are NAME.out, NAME.log
 * (appended to, should it be started again). */
int lab_process_start(struct lab_process *ret, struct lab_journal *j, const char *ns, const char *name,
    const char *const *argv, struct error *err);

/* Notices its end; true while it runs. Does not wait. */
bool lab_process_check(struct lab_process *p);
/* Until it ends, `until_ns` (clock_now_ns) comes or *interrupted. True if it has ended. */
bool lab_process_wait(struct lab_process *p, int64_t until_ns, const volatile int *interrupted);
void lab_process_signal(const struct lab_process *p, int sig);
/* SIGINT or SIGTERM, then SIGKILL after the grace time. All of them at once: none waits for another's grace. */
void lab_process_stop(struct lab_process *const *p, unsigned n, int sig, int64_t grace_ns);

/* Waits until a line of its stderr (or stdout) contains `text`. -ETIMEDOUT; -ECHILD when it ended before (the last lines of
 * its log are in the sentence); -EINTR. */
int lab_process_ready(
    struct lab_process *p, const char *text, int64_t until_ns, const volatile int *interrupted, struct error *err);
/* "exited with status 1", "was killed by signal 9", and the end of its log. */
void lab_process_describe(const struct lab_process *p, char *ret, size_t cap);

#endif
