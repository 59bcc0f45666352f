/* The cage around a process of the cloud. Two steps: the supervisor starts it in namespaces of its own (spawn), and it
 * locks itself in once it has loaded what it needs (sandbox_enter). After that it sees one folder, no network, no other
 * process, has no rights, and dies on a system call outside a short list. Connections reach it as descriptors only.
 *
 * As root: a user id of its own. As an ordinary user, or root without CAP_SYS_ADMIN (a container): a user namespace; then
 * all share the caller's id outside, and are kept apart by their mount, PID and network namespaces alone. */
#ifndef MERIDIAN_CLOUD_SANDBOX_H
#define MERIDIAN_CLOUD_SANDBOX_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* --- from outside --- */

struct spawn_config {
    const char *const *argv; /* argv[0] is the program's path; ends with NULL */
    int control_fd;          /* becomes descriptor 3 of the child; 0, 1, 2 stay; no others */
    int cgroup_fd;           /* the child is born in this cgroup v2 folder; -1: ours */
};

/* Whether we may give each process a user id of its own; else spawn makes user namespaces. */
bool spawn_as_root(void);

/* A child in new mount, network, PID, IPC and UTS namespaces (and a user namespace unless spawn_as_root), in a session of
 * its own, killed when the thread that calls this ends. *ret_pidfd: readable when it has ended. */
int spawn(pid_t *ret_pid, int *ret_pidfd, const struct spawn_config *cfg, struct error *err);

/* --- from inside --- */

struct sandbox_config {
    const char *folder;    /* becomes "/store", the only thing there is; writable */
    uid_t uid;             /* as root: become this user and group; 0 (in a user namespace): stay */
    uint64_t memory_bytes; /* most private memory; 0: no limit. Address space: twice that and 2 GiB more */
    uint32_t max_files, max_threads;
    bool without_filter; /* tests: everything but the system call filter, to see what else holds */
};

/* One-way. To be called with one thread running. Sets, in this order: folder, limits, user, rights, not dumpable, filter. */
int sandbox_enter(const struct sandbox_config *cfg, struct error *err);

/* The filter alone (sandbox_filter.c). */
int sandbox_filter_enter(struct error *err);

/* --- memory by cgroup v2 --- */

/* Opens a cgroup of this name with this limit beside ours and gives its descriptor; -ENOTSUP: there is no cgroup v2 with a
 * memory controller that we may use (then only sandbox_enter's limits hold). */
int sandbox_cgroup_open(int *ret_fd, const char *name, uint64_t memory_bytes, struct error *err);

#endif
