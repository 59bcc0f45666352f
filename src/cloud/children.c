#include "cloud/children.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/sandbox.h"
#include "os/file.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_PAUSE (500 * NS_PER_MS)
#define MOST_PAUSE  (30 * NS_PER_S)
#define GOOD_LIFE   (60 * NS_PER_S) /* who lived so long is started again at once */

/* --- starting --- */

static uid_t uid_of(const struct children *c, const struct child *ch)
{
    return !spawn_as_root() ? 0 : c->cfg->uid_base + (ch->enrol ? 0 : 1 + ch->of.slot);
}

struct words {
    const char *argv[40];
    char text[12][32], folder[4200];
    int n, n_text;
};

static void word(struct words *w, const char *option, const char *value)
{
    w->argv[w->n++] = option;
    if (value)
        w->argv[w->n++] = value;
}

static void number(struct words *w, const char *option, uint64_t value)
{
    char *text = w->text[w->n_text++];
    snprintf(text, sizeof(w->text[0]), "%" PRIu64, value);
    word(w, option, text);
}

static void command_line(struct words *w, const struct children *c, const struct child *ch)
{
    word(w, c->cfg->program ? c->cfg->program : "/proc/self/exe", "cloud");
    word(w, ch->enrol ? "enrol-process" : "worker-process", NULL);
    if (ch->enrol) {
        word(w, "--dir", c->dir);
        word(w, "--name", c->file->enrol);
        number(w, "--edge-seconds", (uint64_t)c->cfg->edge_s);
        number(w, "--server-seconds", (uint64_t)c->cfg->server_s);
    } else {
        snprintf(w->folder, sizeof(w->folder), "%s/stores/%s", c->dir, ch->of.name);
        word(w, "--store", w->folder);
        word(w, "--name", ch->of.name);
        word(w, "--id", ch->of.id);
        number(w, "--memory", c->cfg->memory_bytes);
        number(w, "--kv", c->cfg->kv_bytes);
        number(w, "--threads", c->cfg->n_threads);
    }
    number(w, "--uid", uid_of(c, ch));
    if (c->cfg->keylog)
        word(w, "--unsafe-keylog", c->cfg->keylog);
    if (c->cfg->json_log)
        word(w, "--json-log", NULL);
}

/* The store belongs to the worker's user and nobody else may look in. */
static int make_store(const char *folder, uid_t uid, struct error *err)
{
    int rc = file_make_dir(folder, 0700, err);
    if (!rc && uid && (lchown(folder, uid, uid) || chmod(folder, 0700)))
        rc = error_set(err, errno, "%s: cannot give it to user %u: %s", folder, (unsigned)uid, strerror(errno));
    return rc;
}

static int open_cgroup(const struct children *c, const struct child *ch)
{
    static bool told;
    struct error err;
    int fd = -1;
    if (ch->enrol || !c->cfg->memory_bytes)
        return -1;
    char name[REGISTRY_MAX_ID + 16];
    snprintf(name, sizeof(name), "worker-%s", ch->of.id);
    if (sandbox_cgroup_open(&fd, name, c->cfg->memory_bytes + (512ull << 20), &err) && !told) {
        log_info("workers' memory is limited by rlimits alone: %s", err.text);
        told = true;
    }
    return fd;
}

static int try_start(struct children *c, struct child *ch, struct error *err)
{
    struct words w = {0};
    int ends[2], cgroup = open_cgroup(c, ch);
    command_line(&w, c, ch);
    int rc = ch->enrol ? 0 : make_store(w.folder, uid_of(c, ch), err);
    if (!rc && (rc = control_pair(ends)))
        error_set(err, -rc, "cannot make a socket pair: %s", strerror(-rc));
    if (!rc) {
        struct spawn_config cfg = {.argv = w.argv, .control_fd = ends[1], .cgroup_fd = cgroup};
        rc = spawn(&ch->pid, &ch->pidfd, &cfg, err);
        close(ends[1]);
        if (rc)
            close(ends[0]);
        else
            ch->control = ends[0];
    }
    if (cgroup >= 0)
        close(cgroup);
    return rc;
}

static const char *title(const struct child *ch)
{
    return ch->enrol ? "the enrol process" : ch->of.name;
}

static void pause_before_next(struct child *ch, int64_t now)
{
    bool lived = ch->started_ns && now - ch->started_ns > GOOD_LIFE;
    ch->pause_ns = lived || !ch->pause_ns ? FIRST_PAUSE : ch->pause_ns * 2;
    if (ch->pause_ns > MOST_PAUSE)
        ch->pause_ns = MOST_PAUSE;
    ch->start_at_ns = now + ch->pause_ns;
}

static void start(struct children *c, struct child *ch)
{
    struct error err;
    int64_t now = clock_now_ns();
    if (try_start(c, ch, &err)) {
        pause_before_next(ch, now);
        log_error("%s could not be started, next try in %lld ms: %s", title(ch), (long long)(ch->pause_ns / NS_PER_MS),
            err.text);
        return;
    }
    ch->started_ns = now;
    c->status_changed = true;
    log_info("%s%s runs as process %d", ch->enrol ? "" : "the worker of ", title(ch), (int)ch->pid);
}

/* --- ending --- */

static void closed(struct child *ch)
{
    close(ch->pidfd);
    close(ch->control);
    ch->pidfd = ch->control = -1;
    ch->pid = 0;
    ch->ready = ch->asked = false;
    ch->use = (struct control_use){0};
}

static void log_end(const struct child *ch, int status)
{
    if (WIFSIGNALED(status) && ch->leaving && WTERMSIG(status) == SIGKILL)
        log_info("%s has ended", title(ch)); /* as we wanted */
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_error("%s was ended for a forbidden system call (the kernel's log says which)", title(ch));
    else if (WIFSIGNALED(status))
        log_warn("%s was ended by signal %d (%s)", title(ch), WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        log_info("%s has ended with status %d", title(ch), WEXITSTATUS(status));
}

static void reap(struct children *c, struct child *ch)
{
    int status = 0;
    pid_t got;
    do
        got = waitpid(ch->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    log_end(ch, status);
    closed(ch);
    c->status_changed = true;
    if (ch->leaving)
        return;
    ch->restarts++;
    pause_before_next(ch, clock_now_ns());
    /* Requests that were with it are lost; who asked asks again. */
    for (struct child *o = ch->enrol ? c->first : NULL; o; o = o->next)
        o->asked = false;
}

void children_end(struct child *ch, enum children_end how)
{
    int64_t most = how == CHILDREN_REVOKED ? 300 * NS_PER_MS : 6 * NS_PER_S;
    ch->leaving = true;
    ch->ready = false;
    if (!ch->pid)
        return;
    enum control_kind kind = how == CHILDREN_REVOKED ? CONTROL_REVOKED : CONTROL_STOP;
    if (how == CHILDREN_NOW || control_send(ch->control, kind, NULL, NULL, 0, -1))
        most = 0;
    int64_t at = clock_now_ns() + most;
    if (!ch->kill_at_ns || ch->kill_at_ns > at)
        ch->kill_at_ns = at;
    if (!most)
        kill(ch->pid, SIGKILL);
}

/* --- messages --- */

static void pass_request(struct children *c, struct child *from, const struct control *m)
{
    if (from->enrol || from->asked || m->len > 8192)
        return; /* one at a time */
    for (struct child *e = c->first; e; e = e->next)
        if (e->enrol && e->pid && !control_send(e->control, CONTROL_SIGN, from->of.id, m->body, m->len, -1))
            from->asked = true;
}

static void pass_certificate(struct children *c, struct child *from, const struct control *m)
{
    struct child *to = from->enrol ? children_find(c, m->id) : NULL;
    if (!to || !to->asked || to->enrol)
        return;
    to->asked = false;
    if (to->pid && control_send(to->control, CONTROL_SIGNED, m->id, m->body, m->len, -1))
        log_warn("%s does not take its certificate", title(to));
}

static void hear(struct children *c, struct child *ch)
{
    struct control *m = c->message;
    int rc;
    for (int i = 0; i < 16 && !(rc = control_recv(ch->control, m, NULL)); i++) {
        if (m->kind == CONTROL_SIGN)
            pass_request(c, ch, m);
        if (m->kind == CONTROL_SIGNED)
            pass_certificate(c, ch, m);
        if (m->kind == CONTROL_CHANGED && ch->enrol)
            c->registry_changed = true;
        if (m->kind == CONTROL_USE && m->len == sizeof(ch->use)) {
            memcpy(&ch->use, m->body, sizeof(ch->use));
            c->status_changed = true;
        }
        if (m->kind == CONTROL_READY && !ch->ready && !ch->leaving) {
            ch->ready = true;
            c->status_changed = true;
            log_info("%s%s is ready", ch->enrol ? "" : "the worker of ", title(ch));
        }
    }
}

bool children_hand(struct child *ch, int fd)
{
    bool taken = ch->ready && !control_send(ch->control, CONTROL_CONNECTION, NULL, NULL, 0, fd);
    if (taken)
        close(fd);
    return taken;
}

/* --- the list --- */

int children_init(struct children *c, const struct supervisor_config *cfg, const struct cloud_file *file,
    const char *dir, struct error *err)
{
    *c = (struct children){.cfg = cfg, .file = file};
    snprintf(c->dir, sizeof(c->dir), "%s", dir);
    c->message = malloc(sizeof(*c->message));
    return c->message ? 0 : error_set(err, ENOMEM, "out of memory");
}

static struct child *add(struct children *c)
{
    struct child *ch = calloc(1, sizeof(*ch));
    if (!ch)
        return NULL;
    ch->pidfd = ch->control = -1;
    ch->next = c->first;
    c->first = ch;
    return ch;
}

struct child *children_add_enrol(struct children *c)
{
    struct child *ch = add(c);
    if (ch) {
        ch->enrol = true;
        snprintf(ch->of.id, sizeof(ch->of.id), "%s", c->file->enrol);
    }
    return ch;
}

struct child *children_add_worker(struct children *c, const struct hospital *h)
{
    struct child *ch = add(c);
    if (ch)
        ch->of = *h;
    return ch;
}

struct child *children_find(struct children *c, const char *id)
{
    for (struct child *ch = c->first; ch; ch = ch->next)
        if (!ch->leaving && !strcmp(ch->of.id, id))
            return ch;
    return NULL;
}

static void forget_ended(struct children *c)
{
    for (struct child **at = &c->first; *at;) {
        struct child *ch = *at;
        if (ch->leaving && !ch->pid) {
            *at = ch->next;
            free(ch);
        } else {
            at = &ch->next;
        }
    }
}

size_t children_poll(struct children *c, struct pollfd *p, size_t most)
{
    size_t n = 0;
    for (struct child *ch = c->first; ch; ch = ch->next) {
        ch->poll_at = -1;
        if (!ch->pid || n + 2 > most)
            continue;
        ch->poll_at = (int)n;
        p[n++] = (struct pollfd){ch->pidfd, POLLIN, 0};
        p[n++] = (struct pollfd){ch->control, POLLIN, 0};
    }
    return n;
}

void children_run(struct children *c, const struct pollfd *p)
{
    int64_t now = clock_now_ns();
    for (struct child *ch = c->first; ch; ch = ch->next) {
        if (ch->pid && ch->poll_at >= 0 && p[ch->poll_at + 1].revents)
            hear(c, ch);
        if (ch->pid && ch->poll_at >= 0 && p[ch->poll_at].revents)
            reap(c, ch);
        if (ch->pid && ch->kill_at_ns && now >= ch->kill_at_ns)
            kill(ch->pid, SIGKILL);
        if (!ch->pid && !ch->leaving && now >= ch->start_at_ns)
            start(c, ch);
    }
    forget_ended(c);
}

void children_done(struct children *c)
{
    for (struct child *ch = c->first; ch; ch = ch->next) {
        ch->leaving = true;
        if (ch->pid) {
            kill(ch->pid, SIGKILL);
            reap(c, ch);
        }
    }
    forget_ended(c);
    free(c->message);
    c->message = NULL;
}
