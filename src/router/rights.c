#include "router/rights.h"

#include "os/syscall_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int rights_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
    *ret_uid = geteuid();
    *ret_gid = getegid();
    if (*ret_uid != 0)
        return 0;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (name[0] && !*end) {
        *ret_uid = (uid_t)number;
        *ret_gid = (gid_t)number;
        return number ? 0 : error_set(err, EINVAL, "user: a router does not stay root");
    }
    struct passwd *pw = getpwnam(name[0] ? name : "meridian");
    if (!pw && !name[0])
        pw = getpwnam("nobody");
    if (!pw)
        return error_set(err, ENOENT, "user: there is no user \"%s\"", name[0] ? name : "nobody");
    *ret_uid = pw->pw_uid;
    *ret_gid = pw->pw_gid;
    return pw->pw_uid ? 0 : error_set(err, EINVAL, "user: a router does not stay root");
}

/* As they are, whatever their arguments. */
static const int allowed[] = {
    /* descriptors that exist */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_settime),
    /* sockets: neighbours on this machine (memif, ctl), collectors, metrics (socket: below) */
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(pwrite64), /* xSEC's state, which is open already */
    SCMP_SYS(fdatasync),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    /* memory (mmap and mprotect: as all programs with threads); memif's is shared through memfd */
    SCMP_SYS(memfd_create),
    SCMP_SYS(ftruncate),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    /* threads (clone: the same) */
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(get_mempolicy),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(gettid),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),
    /* time, randomness, who am I */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
};

static int add_conditions(scmp_filter_ctx f)
{
    int rc = syscall_allow_threads(f);
    /* the configuration is read again */
    rc = rc ? rc
            : syscall_allow_when(
                  f, SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    rc = rc ? rc : syscall_refuse(f, SCMP_SYS(open), EACCES);
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET));
    rc = rc ? rc : syscall_allow_when(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_INET6));
    return rc ? rc : syscall_allow_when(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_TIMERSLACK));
}

static int failed(struct error *err, const char *what)
{
    int code = errno;
    return error_set(err, code, "%s: %s", what, strerror(code));
}

/* The C library changes ids in all threads; capabilities are per thread, and fall with the user id in each of them. */
static int become(uid_t uid, gid_t gid, struct error *err)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
        return failed(err, "cannot become another user");
    return 0;
}

int rights_drop(uid_t uid, gid_t gid, struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (geteuid() == 0)
        for (int cap = 0; cap < 64; cap++)
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
                return failed(err, "cannot drop rights for good");
    int rc = become(uid, gid, err);
    if (rc)
        return rc;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &header, none))
        return failed(err, "cannot drop rights");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
        return failed(err, "cannot give up new rights");
    return syscall_filter_enter(allowed, sizeof(allowed) / sizeof(*allowed), add_conditions, err);
}
