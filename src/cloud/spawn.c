#include "cloud/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)

extern char **environ;

/* The child is handed no more of the operator's environment than its libraries read. */
static bool environment_passes(const char *entry)
{
    static const char *const begin[] = {"GOMP_", "OMP_", "GGML_", "OPENBLAS_",
        "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LD_LIBRARY_PATH=", "LANG=", "MERIDIAN_INSIDE="};
    for (size_t i = 0; i < sizeof(begin) / sizeof(*begin); i++)
        if (!strncmp(entry, begin[i], strlen(begin[i])))
            return true;
    return false;
}

static void clean_environment(char *to[64])
{
    size_t n = 0;
    for (char **e = environ; e && *e && n < 63; e++)
        if (environment_passes(*e))
            to[n++] = *e;
    to[n] = NULL;
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(126);
    close(fd);
}

/* In a new user namespace: our id outside is root inside, for as long as sandbox_enter needs it. */
static void map_ids(uid_t uid, gid_t gid)
{
    char line[64];
    write_text("/proc/self/setgroups", "deny");
    snprintf(line, sizeof(line), "0 %u 1", (unsigned)uid);
    write_text("/proc/self/uid_map", line);
    snprintf(line, sizeof(line), "0 %u 1", (unsigned)gid);
    write_text("/proc/self/gid_map", line);
}

/* Runs in the child, between clone and exec: nothing here may rely on another thread's locks. */
static void child(const struct spawn_config *cfg, char *const *env, bool in_user_namespace, uid_t uid, gid_t gid)
{
    sigset_t none;
    sigemptyset(&none);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || sigprocmask(SIG_SETMASK, &none, NULL))
        _exit(126);
    if (in_user_namespace)
        map_ids(uid, gid);
    setsid(); /* a terminal's ^C is for the supervisor, which ends us in order */
    if (cfg->control_fd == 3 ? fcntl(3, F_SETFD, 0) < 0 : dup2(cfg->control_fd, 3) < 0)
        _exit(126);
    if (syscall(SYS_close_range, 4, ~0u, 0))
        _exit(126);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    execve(cfg->argv[0], (char *const *)(uintptr_t)cfg->argv, env);
    _exit(127);
}

/* Like fork, with namespaces, and a descriptor of the child. */
static long clone_child(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    struct clone_args a = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
    if (cgroup_fd >= 0) {
        a.flags |= CLONE_INTO_CGROUP;
        a.cgroup = (uint64_t)cgroup_fd;
    }
    return syscall(SYS_clone3, &a, sizeof(a));
}

bool spawn_as_root(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[2] = {{0}};
    return !geteuid() && !syscall(SYS_capget, &header, has) && (has[0].effective >> CAP_SYS_ADMIN & 1);
}

int spawn(pid_t *ret_pid, int *ret_pidfd, const struct spawn_config *cfg, struct error *err)
{
    char *env[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int pidfd = -1;
    bool in_user_namespace = !spawn_as_root();
    clean_environment(env);
    long pid = clone_child(NAMESPACES | (in_user_namespace ? CLONE_NEWUSER : 0), cfg->cgroup_fd, &pidfd);
    if (pid == 0)
        child(cfg, env, in_user_namespace, uid, gid);
    if (pid < 0)
        return error_set(err, errno,
            "cannot start a process in namespaces of its own: %s; run as root, or allow unprivileged user namespaces "
            "(sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
            strerror(errno));
    *ret_pid = (pid_t)pid;
    *ret_pidfd = pidfd;
    return 0;
}
