#include "lab/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MOST (16u << 20)
#define WORDS       32

extern char **environ;

struct running {
    pid_t pid;
    int to, from[2]; /* its stdin; its stdout and stderr */
};

static void close_all(int fds[6])
{
    for (int i = 0; i < 6; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int start(struct running *r, const char *const *argv, struct error *err)
{
    int p[6] = {-1, -1, -1, -1, -1, -1};
    if (pipe2(p, O_CLOEXEC) || pipe2(p + 2, O_CLOEXEC) || pipe2(p + 4, O_CLOEXEC)) {
        int rc = error_set(err, errno, "no pipe for %s: %s", argv[0], strerror(errno));
        close_all(p);
        return rc;
    }
    posix_spawn_file_actions_t a;
    posix_spawnattr_t attributes;
    sigset_t normal;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_adddup2(&a, p[0], 0);
    posix_spawn_file_actions_adddup2(&a, p[3], 1);
    posix_spawn_file_actions_adddup2(&a, p[5], 2);
    posix_spawnattr_init(&attributes);
    sigemptyset(&normal);
    sigaddset(&normal, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &normal);
    posix_spawnattr_setpgroup(&attributes, 0); /* ^C is for us: a half-made namespace helps nobody */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawnp(&r->pid, argv[0], &a, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&a);
    posix_spawnattr_destroy(&attributes);
    close(p[0]), close(p[3]), close(p[5]);
    r->to = p[1], r->from[0] = p[2], r->from[1] = p[4];
    if (!rc)
        return 0;
    close(p[1]), close(p[2]), close(p[4]);
    return error_set(err, rc, "cannot run %s: %s", argv[0], strerror(rc));
}

/* Feeds and drains it until both its outputs are closed. */
static void talk(struct running *r, const char *input, struct buf *out, struct buf *complaint)
{
    size_t left = input ? strlen(input) : 0;
    struct buf *to[2] = {out, complaint};
    fcntl(r->to, F_SETFL, O_NONBLOCK);
    while (r->from[0] >= 0 || r->from[1] >= 0) {
        if (!left && r->to >= 0) {
            close(r->to);
            r->to = -1;
        }
        struct pollfd fds[3] = {{r->from[0], POLLIN, 0}, {r->from[1], POLLIN, 0}, {r->to, POLLOUT, 0}};
        if (poll(fds, 3, -1) < 0)
            continue;
        for (int i = 0; i < 2; i++) {
            char piece[4096];
            if (!fds[i].revents)
                continue;
            ssize_t n = read(r->from[i], piece, sizeof(piece));
            if (n > 0 && to[i] && to[i]->len < OUTPUT_MOST)
                buf_append(to[i], piece, (size_t)n);
            if (n == 0 || (n < 0 && errno != EINTR)) {
                close(r->from[i]);
                r->from[i] = -1;
            }
        }
        if (fds[2].revents) {
            ssize_t n = write(r->to, input, left);
            input += n > 0 ? n : 0;
            left = n > 0 ? left - (size_t)n : errno == EINTR || errno == EAGAIN ? left : 0;
        }
    }
    if (r->to >= 0)
        close(r->to);
}

int lab_command(const char *const *argv, const char *input, struct buf *output, struct error *err)
{
    struct running r;
    struct buf complaint = {0};
    int rc = start(&r, argv, err), status = 0;
    if (rc)
        return rc;
    talk(&r, input, output, &complaint);
    while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        while (complaint.len && complaint.data[complaint.len - 1] == '\n')
            complaint.len--;
        const char *words[4] = {argv[0], argv[1] ? argv[1] : "", "", ""};
        for (int i = 2; i < 4 && argv[1] && argv[i - 1] && argv[i]; i++)
            words[i] = argv[i];
        rc = error_set(err, EIO, "%s %s %s %s: %.*s", words[0], words[1], words[2], words[3],
            complaint.len ? (int)complaint.len : 6, complaint.len ? (const char *)complaint.data : "failed");
    }
    buf_done(&complaint);
    return rc;
}

int lab_ip(struct error *err, ...)
{
    const char *argv[WORDS] = {"ip"};
    va_list list;
    int n = 1;
    va_start(list, err);
    while (n < WORDS - 1 && (argv[n] = va_arg(list, const char *)))
        n++;
    va_end(list);
    argv[n] = NULL;
    return lab_command(argv, NULL, NULL, err);
}
