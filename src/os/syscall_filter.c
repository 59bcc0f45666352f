#include "os/syscall_filter.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static int known(int rc)
{
    return rc == -EDOM || rc == -EINVAL ? 0 : rc;
}

int syscall_allow(scmp_filter_ctx f, int call)
{
    return known(seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0));
}

int syscall_allow_when(scmp_filter_ctx f, int call, struct scmp_arg_cmp when)
{
    return known(seccomp_rule_add_array(f, SCMP_ACT_ALLOW, call, 1, &when));
}

int syscall_refuse(scmp_filter_ctx f, int call, int as_errno)
{
    return known(seccomp_rule_add(f, SCMP_ACT_ERRNO((uint32_t)as_errno), call, 0));
}

int syscall_allow_threads(scmp_filter_ctx f)
{
    const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    const uint64_t spaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                            CLONE_NEWCGROUP | CLONE_PTRACE;
    int rc = syscall_allow_when(f, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, thread | spaces, thread));
    /* its flags lie in memory, out of the filter's sight: the C library falls back to clone */
    rc = rc ? rc : syscall_refuse(f, SCMP_SYS(clone3), ENOSYS);
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(prlimit64), SCMP_A2(SCMP_CMP_EQ, 0));
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    rc = rc ? rc : syscall_refuse(f, SCMP_SYS(ioctl), ENOTTY);
    rc = rc ? rc : syscall_refuse(f, SCMP_SYS(mbind), EPERM);
    return rc ? rc : syscall_refuse(f, SCMP_SYS(sched_setscheduler), EPERM);
}

int syscall_filter_enter(const int *allowed, size_t n, int (*conditions)(scmp_filter_ctx f), struct error *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = f ? seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;
    if (!rc)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a chain: it runs on every call */
    for (size_t i = 0; !rc && i < n; i++)
        rc = syscall_allow(f, allowed[i]);
    if (!rc && conditions)
        rc = conditions(f);
    if (!rc)
        rc = seccomp_load(f);
    if (f)
        seccomp_release(f);
    return rc ? error_set(err, -rc, "no filter of system calls: %s", strerror(-rc)) : 0;
}
