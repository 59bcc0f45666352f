/* A filter of system calls (seccomp) that a process puts on itself, all its threads, for good: a list of calls it may make as
 * they are, conditions on the arguments of some more, and the end of the process (SIGSYS; the kernel logs which call it was)
 * for everything else. The lists are their owners' (src/cloud's cage, the router's rights). */
#ifndef MERIDIAN_OS_SYSCALL_FILTER_H
#define MERIDIAN_OS_SYSCALL_FILTER_H

#include "base/error.h"

#include <seccomp.h>
#include <stddef.h>

/* All return 0 or a negative errno. A call that this processor does not have is no error: nobody can make it. */
int syscall_allow(scmp_filter_ctx f, int call);
int syscall_allow_when(scmp_filter_ctx f, int call, struct scmp_arg_cmp when);
int syscall_refuse(scmp_filter_ctx f, int call, int as_errno); /* libraries only try it: answered with this error */
/* What programs with threads need: memory that never is executable, threads (in no new namespace, and no processes), their
 * names; limits may be read; "is this a terminal?" is answered no, and what only tunes memory and scheduling is refused. */
int syscall_allow_threads(scmp_filter_ctx f);

/* Puts it into effect. `conditions` adds what is more than the list; it may be NULL. 0, or a negative errno and a sentence. */
int syscall_filter_enter(const int *allowed, size_t n, int (*conditions)(scmp_filter_ctx f), struct error *err);

#endif
