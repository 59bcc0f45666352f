/* Attempts to break out, one process each. The test starts itself again through spawn(); that child enters the sandbox,
 * tries one thing and exits with the errno it got (0: it got through), or is killed by the filter. Each attempt runs with
 * the filter and without, so the layers below the filter are seen to hold alone. */
#include "cloud/sandbox.h"

#include "base/test.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY = 256 << 20, KILLED = 256, OUTSIDE_UID = 60790 };

static const char *elsewhere; /* another hospital's store, as the parent knows it */
static pid_t outside;

static int opened(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    return fd < 0 ? errno : 0;
}

static int try_passwd(void)
{
    return opened("/etc/passwd", O_RDONLY);
}

static int try_proc(void)
{
    return opened("/proc/self/environ", O_RDONLY);
}

static int try_other_store(void)
{
    int rc = opened(elsewhere, O_RDONLY);
    return rc ? rc : opened("/store/../../secret", O_RDONLY);
}

static int try_write_own_store(void)
{
    return opened("/store/mine", O_RDWR | O_CREAT);
}

static int try_write_root(void)
{
    return opened("/mine", O_RDWR | O_CREAT);
}

static int try_tcp(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x7f000001)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) ? errno : 0;
}

static int try_exec(void)
{
    char *const argv[] = {(char *)(uintptr_t)"true", NULL};
    execv("/store/true", argv);
    return errno;
}

static int try_fork(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    return pid < 0 ? errno : 0;
}

static int try_ptrace(void)
{
    return ptrace(PTRACE_SEIZE, outside, NULL, NULL) ? errno : 0;
}

static int try_kill(void)
{
    return kill(outside, 0) ? errno : 0;
}

static int try_memory(void)
{
    for (size_t got = 0; got < 2 * (size_t)MEMORY; got += 16 << 20) {
        char *p = malloc(16 << 20);
        if (!p)
            return got < MEMORY / 4 ? EDOM : ENOMEM; /* an honest share must be had */
        memset(p, 1, 16 << 20);
    }
    return 0;
}

static int try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int try_root(void)
{
    return setresuid(0, 0, 0) ? errno : getuid() == 0 && mount("none", "/store", "tmpfs", 0, NULL) ? errno : 0;
}

static int try_mount(void)
{
    return mount("none", "/store", "tmpfs", 0, NULL) ? errno : 0;
}

static int try_new_namespace(void)
{
    return (int)syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) ? errno : 0;
}

static int try_inherited(void)
{
    for (int fd = 4; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 0;
    return getenv("SECRET_OF_THE_OPERATOR") ? 0 : EBADF;
}

static int try_core(void)
{
    struct rlimit r;
    return getrlimit(RLIMIT_CORE, &r) || r.rlim_max ? 0 : EPERM;
}

static int try_dumpable(void)
{
    return prctl(PR_GET_DUMPABLE) ? 0 : EPERM;
}

static void *nothing(void *arg)
{
    return arg;
}

static int try_thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, nothing, NULL);
    return rc ? rc : pthread_join(t, NULL);
}

/* sandbox.c leaves the limits of memory away under AddressSanitizer. */
#if defined(__SANITIZE_ADDRESS__)
#define NO_MEMORY -1
#else
#define NO_MEMORY ENOMEM
#endif

static const struct attempt {
    const char *name;
    int (*run)(void);
    int filtered, unfiltered; /* errno, KILLED, or 0 for what must work; -1: not tried */
} attempts[] = {
    {"read /etc/passwd", try_passwd, ENOENT, ENOENT},
    {"read /proc", try_proc, ENOENT, ENOENT},
    {"read another hospital's store", try_other_store, ENOENT, ENOENT},
    {"write its own store", try_write_own_store, 0, 0},
    {"write beside its store", try_write_root, EROFS, EROFS},
    {"connect over TCP", try_tcp, KILLED, ENETUNREACH},
    {"run a program from its store", try_exec, KILLED, EACCES},
    {"fork", try_fork, KILLED, -1},
    {"trace a process outside", try_ptrace, KILLED, ESRCH},
    {"signal a process outside", try_kill, ESRCH, ESRCH},
    {"take more memory than allowed", try_memory, NO_MEMORY, NO_MEMORY},
    {"make code", try_code, KILLED, -1},
    {"become root", try_root, KILLED, EPERM},
    {"mount", try_mount, KILLED, EPERM},
    {"make a namespace", try_new_namespace, KILLED, -1},
    {"use inherited descriptors and environment", try_inherited, EBADF, EBADF},
    {"leave a core", try_core, EPERM, EPERM},
    {"be dumpable", try_dumpable, -1, EPERM},
    {"start a thread", try_thread, 0, 0},
};

/* In the child. */
static int attempt(char **argv)
{
    struct error err;
    const struct attempt *a = &attempts[atoi(argv[2])];
    struct sandbox_config cfg = {.folder = argv[4],
        .uid = !geteuid() && !access("/proc/self/ns/user", F_OK) && atoi(argv[7]) ? OUTSIDE_UID : 0,
        .memory_bytes = MEMORY,
        .max_files = 64,
        .max_threads = 64,
        .without_filter = !strcmp(argv[3], "0")};
    elsewhere = argv[5];
    outside = atoi(argv[6]);
    if (sandbox_enter(&cfg, &err)) {
        fprintf(stderr, "%s\n", err.text);
        _exit(255);
    }
    _exit(a->run());
}

struct world {
    char dir[64], store[96], other[96];
};

static int ended(pid_t pid, int pidfd)
{
    struct pollfd p = {pidfd, POLLIN, 0};
    int status = 0;
    if (poll(&p, 1, 10000) != 1)
        kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pidfd);
    return WIFSIGNALED(status) ? (WTERMSIG(status) == SIGSYS ? KILLED : 1000 + WTERMSIG(status)) : WEXITSTATUS(status);
}

static int start(const struct world *w, size_t i, bool filter, bool as_user)
{
    char number[8], pid_text[16], secret[128];
    int control = open("/dev/null", O_RDWR), leak = open("/dev/null", O_RDWR), pidfd;
    pid_t pid;
    struct error err;
    snprintf(number, sizeof(number), "%zu", i);
    snprintf(pid_text, sizeof(pid_text), "%d", (int)getpid());
    snprintf(secret, sizeof(secret), "%s/secret", w->other);
    const char *argv[] = {"/proc/self/exe", "--attempt", number, filter ? "1" : "0", w->store, secret, pid_text,
        as_user ? "1" : "0", NULL};
    int rc = spawn(&pid, &pidfd, &(struct spawn_config){argv, control, -1}, &err);
    close(control);
    close(leak);
    if (rc) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    return ended(pid, pidfd);
}

static void test_attempts(void **state)
{
    struct world w = {.dir = "/tmp/sandbox-test-XXXXXX"};
    char path[160];
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.store, sizeof(w.store), "%s/mine", w.dir);
    snprintf(w.other, sizeof(w.other), "%s/other", w.dir);
    assert_int_equal(file_make_dir(w.store, 0700, NULL), 0);
    assert_int_equal(file_make_dir(w.other, 0777, NULL), 0);
    snprintf(path, sizeof(path), "%s/secret", w.other);
    assert_int_equal(file_write(path, "secret", 6, 0666, NULL), 0);
    struct file_map program;
    assert_int_equal(file_map_open(&program, "/bin/true", NULL), 0);
    snprintf(path, sizeof(path), "%s/true", w.store);
    assert_int_equal(file_write(path, program.data, program.size, 0755, NULL), 0);
    file_map_close(&program);
    bool as_user = !geteuid();
    if (as_user && chown(w.store, OUTSIDE_UID, OUTSIDE_UID))
        as_user = false; /* a user namespace with few ids */
    setenv("SECRET_OF_THE_OPERATOR", "1", 1);
    int wrong = 0;
    for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++)
        for (int filter = 0; filter < 2; filter++) {
            int want = filter ? attempts[i].filtered : attempts[i].unfiltered;
            if (want < 0)
                continue;
            int got = start(&w, i, filter, as_user);
            if (got != want)
                print_error("%s, %s filter: %d, not %d\n", attempts[i].name, filter ? "with" : "without", got, want);
            wrong += got != want;
        }
    assert_int_equal(wrong, 0);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", w.dir);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    if (argc == 8 && !strcmp(argv[1], "--attempt"))
        return attempt(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attempts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
