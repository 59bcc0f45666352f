#include "lab/process.h"

#include "base/buf.h"
#include "base/clock.h"
#include "lab/tidy.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MOST 64
#define GROUP_NICE (-15)
#define LOOK_EVERY (5 * NS_PER_MS)

extern char **environ;

static void nap(int64_t ns)
{
    const struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};
    nanosleep(&t, NULL);
}

/* --- starting --- */

/* Where Linux groups processes by session, a lab of a few sleepy programs is woken late beside anything that computes. Its
 * sessions are asked to come first; where that is not allowed they are like any other. */
static void come_first(void)
{
    int fd = open("/proc/self/autogroup", O_WRONLY);
    if (fd < 0)
        return;
    dprintf(fd, "%d", GROUP_NICE);
    close(fd);
}

/* In the child. Between fork and exec it has no mark yet: should the lab die just then, the kernel ends it. */
static void become(const struct lab_process *p, pid_t parent, const char *const *argv, char *const *env)
{
    sigset_t none;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(126);
    setsid();
    come_first();
    int in = open("/dev/null", O_RDONLY), out = open(p->out, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 || log < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    environ = (char **)(uintptr_t)env;
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Ours with the run's mark. One allocation to free. */
static char **marked_environment(const char *run)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **env = malloc((n + 2) * sizeof(char *) + 64);
    if (!env)
        return NULL;
    char *mark = (char *)(env + n + 2);
    snprintf(mark, 64, LAB_MARK "=%s", run);
    memcpy(env, environ, n * sizeof(char *));
    env[n] = mark;
    env[n + 1] = NULL;
    return env;
}

int lab_process_start(struct lab_process *ret, struct lab_journal *j, const char *ns, const char *name,
    const char *const *argv, struct error *err)
{
    const char *words[WORDS_MOST] = {"ip", "netns", "exec", ns};
    unsigned n = ns ? 4 : 0;
    for (unsigned i = 0; argv[i]; i++) {
        if (n + 1 >= WORDS_MOST)
            return error_set(err, E2BIG, "%s: more than %u words", name, WORDS_MOST - 5);
        words[n++] = argv[i];
    }
    words[n] = NULL;
    struct lab_process p = {.started_ns = clock_now_ns(), .running = true};
    char file[128];
    snprintf(p.name, sizeof(p.name), "%s", name);
    snprintf(file, sizeof(file), "%.80s.out", name);
    lab_journal_path(j, p.out, file);
    snprintf(file, sizeof(file), "%.80s.log", name);
    lab_journal_path(j, p.log, file);
    char **env = marked_environment(lab_journal_run(j));
    if (!env)
        return error_set(err, ENOMEM, "out of memory");
    pid_t parent = getpid();
    p.pid = fork();
    if (p.pid == 0)
        become(&p, parent, words, env);
    free(env);
    if (p.pid < 0)
        return error_set(err, errno, "cannot start %s: %s", name, strerror(errno));
    *ret = p;
    return 0;
}

/* --- watching --- */

bool lab_process_check(struct lab_process *p)
{
    if (!p->running || waitpid(p->pid, &p->status, WNOHANG) != p->pid)
        return p->running;
    p->running = false;
    p->ended_ns = clock_now_ns();
    return false;
}

bool lab_process_wait(struct lab_process *p, int64_t until_ns, const volatile int *interrupted)
{
    while (lab_process_check(p) && clock_now_ns() < until_ns && !*interrupted)
        nap(LOOK_EVERY);
    return !p->running;
}

void lab_process_signal(const struct lab_process *p, int sig)
{
    if (p->running && kill(-p->pid, sig)) /* with what it started, which shares its session; not yet: itself */
        kill(p->pid, sig);
}

void lab_process_stop(struct lab_process *const *p, unsigned n, int sig, int64_t grace_ns)
{
    int64_t until = clock_now_ns() + grace_ns;
    for (unsigned i = 0; i < n; i++)
        lab_process_signal(p[i], sig);
    for (unsigned i = 0; i < n; i++)
        while (lab_process_check(p[i]) && clock_now_ns() < until)
            nap(LOOK_EVERY);
    for (unsigned i = 0; i < n; i++)
        lab_process_signal(p[i], SIGKILL);
    for (unsigned i = 0; i < n; i++)
        while (lab_process_check(p[i]))
            nap(LOOK_EVERY);
}

/* --- its words --- */

static bool file_has(const char *path, const char *text)
{
    struct buf b = {0};
    bool found = !file_read(&b, path, 64 << 20, NULL) && strstr(buf_str(&b), text);
    buf_done(&b);
    return found;
}

/* The last lines of a file, at most cap - 1 bytes. */
static void tail(const char *path, char *ret, size_t cap)
{
    struct buf b = {0};
    ret[0] = 0;
    if (!file_read(&b, path, 64 << 20, NULL)) {
        while (b.len && b.data[b.len - 1] == '\n')
            b.len--;
        size_t from = b.len > cap - 1 ? b.len - (cap - 1) : 0;
        memcpy(ret, b.data ? (const char *)b.data + from : "", b.len - from);
        ret[b.len - from] = 0;
    }
    buf_done(&b);
}

void lab_process_describe(const struct lab_process *p, char *ret, size_t cap)
{
    char end[400];
    tail(p->log, end, sizeof(end));
    const char *between = end[0] ? ": " : "";
    if (p->running)
        snprintf(ret, cap, "runs%s%s", between, end);
    else if (WIFSIGNALED(p->status))
        snprintf(ret, cap, "was killed by signal %d%s%s", WTERMSIG(p->status), between, end);
    else
        snprintf(ret, cap, "exited with status %d%s%s", WEXITSTATUS(p->status), between, end);
}

int lab_process_ready(
    struct lab_process *p, const char *text, int64_t until_ns, const volatile int *interrupted, struct error *err)
{
    char what[600];
    for (;;) {
        bool runs = lab_process_check(p);
        if (file_has(p->log, text) || file_has(p->out, text))
            return 0;
        lab_process_describe(p, what, sizeof(what));
        if (!runs)
            return error_set(err, ECHILD, "%s %s", p->name, what);
        if (clock_now_ns() >= until_ns)
            return error_set(err, ETIMEDOUT, "%s is not ready in time; it %s", p->name, what);
        if (*interrupted)
            return error_set(err, EINTR, "interrupted");
        nap(LOOK_EVERY);
    }
}
