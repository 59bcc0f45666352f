#include "accept/runner.h"

#include "base/buf.h"
#include "base/clock.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define WORDS       32
#define TEXT        4096
#define RESULT_MOST (64u << 20)
#define GRACE_S     20 /* to clean up, once asked to end */

const char *accept_run_command(const struct accept_run *run, bool quick)
{
    return quick && run->quick && *run->quick ? run->quick : run->full;
}

/* Leading NAME=VALUE words go into the environment. */
static void become(char *command, const struct accept_place *p, int out, int log)
{
    char *words[WORDS + 1];
    unsigned n = 0;
    for (char *save, *w = strtok_r(command, " ", &save); w && n < WORDS; w = strtok_r(NULL, " ", &save))
        if (n == 0 && strchr(w, '='))
            putenv(w);
        else
            words[n++] = w;
    words[n] = NULL;
    int null = open("/dev/null", O_RDONLY);
    if (setpgid(0, 0) || prctl(PR_SET_PDEATHSIG, SIGTERM) || chdir(p->top) || dup2(null, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(log, 2) < 0)
        _exit(126);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    execvp(words[0], words);
    dprintf(2, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
}

static bool gone(pid_t pid, int *status)
{
    pid_t got;
    while ((got = waitpid(pid, status, WNOHANG)) < 0 && errno == EINTR)
        ;
    return got == pid;
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 50000000}, NULL);
}

/* Asked first: a lab takes its namespaces down. */
static void end(pid_t pid, int *status)
{
    int64_t until = clock_now_ns() + GRACE_S * NS_PER_S;
    kill(-pid, SIGTERM);
    while (!gone(pid, status)) {
        if (clock_now_ns() > until)
            kill(-pid, SIGKILL);
        nap();
    }
}

/* The last line with something on it. */
static void last_words(char *ret, size_t cap, const char *path)
{
    struct buf b = {0};
    *ret = 0;
    if (file_read(&b, path, RESULT_MOST, NULL) == 0) {
        while (b.len && strchr(" \r\n", b.data[b.len - 1]))
            b.len--;
        size_t from = b.len;
        while (from && b.data[from - 1] != '\n')
            from--;
        snprintf(ret, cap, "%.*s", (int)(b.len - from), b.data ? (const char *)b.data + from : "");
    }
    buf_done(&b);
}

/* One object, or list, a line: the last. */
static yyjson_doc *last_json(const char *path)
{
    struct buf b = {0};
    yyjson_doc *doc = NULL;
    if (file_read(&b, path, RESULT_MOST, NULL) == 0 && b.len) {
        doc = yyjson_read((const char *)b.data, b.len, 0); /* all of it, however it is laid out */
        while (!doc && b.len && b.data[b.len - 1] == '\n')
            b.len--;
        size_t from = b.len;
        while (!doc && from && b.data[from - 1] != '\n')
            from--;
        if (!doc)
            doc = yyjson_read((const char *)b.data + from, b.len - from, 0);
    }
    buf_done(&b);
    return doc;
}

struct files {
    char out[TEXT], log[TEXT], figures[TEXT], kept[TEXT];
};

static void take_result(struct accept_outcome *o, const struct accept_run *run, const struct files *f)
{
    bool clean = o->status == 0;
    if (run->form == ACCEPT_TEST) {
        o->end = clean ? ACCEPT_DONE : o->status == 77 ? ACCEPT_SKIPPED : ACCEPT_FAILED;
    } else if (run->form == ACCEPT_FIGURES) {
        struct buf b = {0};
        if (clean && file_read(&b, f->figures, RESULT_MOST, NULL) == 0 &&
            file_write(f->kept, b.data, b.len, 0644, NULL) == 0)
            o->result = last_json(f->kept);
        buf_done(&b);
        o->end = o->result ? ACCEPT_DONE : ACCEPT_FAILED;
    } else { /* a scenario whose expectations were not met ends with 1 and says so in its result */
        o->result = o->status <= 1 ? last_json(f->out) : NULL;
        o->end = o->result ? ACCEPT_DONE : ACCEPT_FAILED;
    }
    if (o->end != ACCEPT_DONE)
        last_words(o->why, sizeof(o->why), f->log);
    if (o->end != ACCEPT_DONE && !*o->why)
        last_words(o->why, sizeof(o->why), f->out);
}

static void names(struct files *f, const struct accept_run *run, const struct accept_place *p)
{
    snprintf(f->out, sizeof(f->out), "%s/%s.%s", p->evidence, run->name, run->form == ACCEPT_JSON ? "json" : "out");
    snprintf(f->log, sizeof(f->log), "%s/%s.log", p->evidence, run->name);
    snprintf(f->figures, sizeof(f->figures), "%s/build/figures/%s.json", p->top, run->figures ? run->figures : "");
    snprintf(f->kept, sizeof(f->kept), "%s/%s.figures.json", p->evidence, run->name);
}

int accept_run_make(struct accept_outcome *ret, const struct accept_run *run, const struct accept_place *p)
{
    *ret = (struct accept_outcome){.end = ACCEPT_NOT_RUN};
    struct files f;
    names(&f, run, p);
    if (run->form == ACCEPT_FIGURES)
        unlink(f.figures); /* an older one is no evidence of this run */
    int out = open(f.out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int log = open(f.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    char *command = strdup(accept_run_command(run, p->quick));
    int64_t started = clock_now_ns();
    double most = 10.0 * (p->quick && run->quick_s ? run->quick_s : run->full_s);
    pid_t pid = out < 0 || log < 0 || !command ? -1 : fork();
    if (pid == 0)
        become(command, p, out, log);
    free(command);
    int status = 0;
    bool stopped = false, late = false;
    while (pid > 0 && !gone(pid, &status)) {
        ret->seconds = (double)(clock_now_ns() - started) / 1e9;
        stopped = *p->interrupted;
        late = ret->seconds > most;
        if (stopped || late) {
            end(pid, &status);
            break;
        }
        p->tick(p->user, run, ret->seconds);
        nap();
    }
    if (pid > 0)
        kill(-pid, SIGKILL); /* what it may have left behind */
    ret->seconds = (double)(clock_now_ns() - started) / 1e9;
    ret->status = pid < 0 ? 126 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (out >= 0)
        close(out);
    if (log >= 0)
        close(log);
    if (stopped)
        return -EINTR;
    if (late)
        ret->end = ACCEPT_TOO_LONG;
    else
        take_result(ret, run, &f);
    return 0;
}

void accept_outcome_done(struct accept_outcome *o)
{
    yyjson_doc_free(o->result);
    o->result = NULL;
}
