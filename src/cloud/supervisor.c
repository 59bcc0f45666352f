#include "cloud/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "cloud/children.h"
#include "cloud/gate.h"
#include "cloud/sandbox.h"
#include "crypto/tls.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#define LOOK_NS   (400 * NS_PER_MS) /* how often the registry is looked at … */
#define FULL_LOOK 25                /* … and every how many looks it is read though it seems unchanged */

struct supervisor {
    const struct supervisor_config *cfg;
    struct cloud_file file;
    char dir[PATH_MAX], hospitals[PATH_MAX + 16], issuer[PATH_MAX + 32];
    struct gate *gate;
    struct children children;
    struct hospital *known; /* as last read */
    size_t n_known;
    uint64_t registry_mark, issuer_mark;
    int64_t look_at_ns;
    int signals, lock;
    bool open; /* connections are taken: from when the enrol process is ready for the first time */
    unsigned stopping, looks;
    struct log_limit limit;
};

/* --- connections --- */

static void turn_away(int fd, enum tls_alert alert)
{
    unsigned char record[7];
    char unread[4096];
    tls_alert_encode(record, alert);
    /* What is unread would turn our close into a reset, and the alert would be lost. */
    while (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0)
        ;
    (void)send(fd, record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    close(fd);
}

static bool was_revoked(const struct supervisor *s, const char *id)
{
    for (size_t i = 0; i < s->n_known; i++)
        if (s->known[i].status == HOSPITAL_REVOKED && !strcmp(s->known[i].id, id))
            return true;
    return false;
}

static void on_named(void *user, int fd, const char *name)
{
    struct supervisor *s = user;
    struct child *ch = name[0] ? children_find(&s->children, name) : NULL;
    if (ch && children_hand(ch, fd))
        return;
    unsigned skipped;
    bool revoked = !ch && was_revoked(s, name);
    if (log_limit_pass(&s->limit, 2, &skipped))
        log_info("a connection was turned away: %s (%u more not logged)",
            ch        ? "its process is not ready"
            : revoked ? "its hospital has been revoked"
                      : "it asked for a name that is not known here",
            skipped);
    turn_away(fd, ch ? TLS_ALERT_BUSY : revoked ? TLS_ALERT_REVOKED : TLS_ALERT_UNKNOWN_NAME);
}

/* --- the registry --- */

static uint64_t mark_of(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return 0;
    return (uint64_t)st.st_ino * 1000003u + (uint64_t)st.st_mtim.tv_sec * 1000000007u + (uint64_t)st.st_mtim.tv_nsec;
}

/* Changes when a hospital comes or goes (the folder) or one that is known changes (its state). */
static uint64_t registry_mark(const struct supervisor *s)
{
    char path[PATH_MAX + 128];
    uint64_t mark = mark_of(s->hospitals);
    for (size_t i = 0; i < s->n_known; i++) {
        snprintf(path, sizeof(path), "%s/%s/state.json", s->hospitals, s->known[i].name);
        mark = mark * 31 + mark_of(path);
    }
    return mark;
}

static const struct hospital *known_by_id(const struct supervisor *s, const char *id)
{
    for (size_t i = 0; i < s->n_known; i++)
        if (!strcmp(s->known[i].id, id))
            return &s->known[i];
    return NULL;
}

/* Ends workers of who has left, then adds workers of who has come. */
static void follow_registry(struct supervisor *s)
{
    for (struct child *ch = s->children.first; ch; ch = ch->next) {
        const struct hospital *h = known_by_id(s, ch->of.id);
        if (ch->enrol || ch->leaving || (h && h->status == HOSPITAL_JOINED))
            continue;
        bool revoked =
            h && h->status == HOSPITAL_REVOKED; /* otherwise its state could not be read: no lasting verdict */
        log_info("%s %s: its worker and connections end", ch->of.name,
            revoked ? "has been revoked" : "is not in the registry any more");
        children_end(ch, revoked ? CHILDREN_REVOKED : CHILDREN_STOP);
    }
    for (size_t i = 0; i < s->n_known; i++)
        if (s->known[i].status == HOSPITAL_JOINED && !children_find(&s->children, s->known[i].id) &&
            !children_add_worker(&s->children, &s->known[i]))
            log_error("out of memory: %s gets no worker", s->known[i].name);
    s->children.status_changed = true;
}

static void look_at_registry(struct supervisor *s)
{
    struct error err;
    struct hospital *all;
    size_t n;
    uint64_t issuer = mark_of(s->issuer), mark = registry_mark(s);
    s->look_at_ns = clock_now_ns() + LOOK_NS;
    if (issuer != s->issuer_mark && s->issuer_mark) {
        log_info("there is a new issuer: the enrol process starts again");
        for (struct child *ch = s->children.first; ch; ch = ch->next)
            if (ch->enrol && ch->pid)
                kill(ch->pid, SIGKILL);
    }
    s->issuer_mark = issuer;
    if (mark == s->registry_mark && !s->children.registry_changed && ++s->looks % FULL_LOOK)
        return;
    s->children.registry_changed = false;
    if (registry_list(&all, &n, s->hospitals, &err)) {
        log_error("%s", err.text);
        return;
    }
    free(s->known);
    s->known = all;
    s->n_known = n;
    s->registry_mark = registry_mark(s);
    follow_registry(s);
}

/* --- status.json --- */

static void add_child(yyjson_mut_doc *doc, yyjson_mut_val *list, const struct child *ch)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    yyjson_mut_obj_add_str(doc, o, "name", ch->enrol ? "" : ch->of.name);
    yyjson_mut_obj_add_str(doc, o, "id", ch->of.id);
    yyjson_mut_obj_add_int(doc, o, "pid", ch->pid);
    yyjson_mut_obj_add_bool(doc, o, "ready", ch->ready);
    yyjson_mut_obj_add_uint(doc, o, "restarts", ch->restarts);
    yyjson_mut_obj_add_uint(doc, o, "links", ch->use.links);
    yyjson_mut_obj_add_uint(doc, o, "accepted", ch->use.accepted);
    yyjson_mut_obj_add_uint(doc, o, "refused", ch->use.handshakes_refused);
}

static void write_status(struct supervisor *s)
{
    char path[PATH_MAX + 32];
    struct error err;
    size_t len = 0;
    char *text = NULL;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    s->children.status_changed = false;
    if (doc) {
        yyjson_mut_val *o = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, o);
        yyjson_mut_obj_add_int(doc, o, "pid", getpid());
        yyjson_mut_obj_add_str(doc, o, "listen", gate_address(s->gate));
        yyjson_mut_val *list = yyjson_mut_obj_add_arr(doc, o, "processes");
        for (const struct child *ch = s->children.first; ch; ch = ch->next)
            add_child(doc, list, ch);
        text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &len);
    }
    snprintf(path, sizeof(path), "%s/status.json", s->dir);
    if (!text || file_write(path, text, len, 0600, &err))
        log_warn("%s", text ? err.text : "out of memory");
    free(text);
    yyjson_mut_doc_free(doc);
}

/* --- running --- */

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        s->stopping++;
        log_info(s->stopping == 1 ? "stopping: workers say goodbye to their edges" : "stopping at once");
        for (struct child *ch = s->children.first; ch; ch = ch->next)
            children_end(ch, s->stopping > 1 || ch->enrol ? CHILDREN_NOW : CHILDREN_STOP);
    }
}

static void open_when_ready(struct supervisor *s)
{
    const struct child *enrol = s->open ? NULL : children_find(&s->children, s->file.enrol);
    if (!enrol || !enrol->ready)
        return;
    s->open = true;
    log_info("listening on %s", gate_address(s->gate));
}

static void serve(struct supervisor *s)
{
    struct pollfd p[2 + 2 * (REGISTRY_MAX + 1)];
    while (!s->stopping || s->children.first) {
        p[0] = (struct pollfd){s->signals, POLLIN, 0};
        p[1] = (struct pollfd){s->stopping || !s->open ? -1 : gate_fd(s->gate), POLLIN, 0};
        size_t n = children_poll(&s->children, p + 2, sizeof(p) / sizeof(*p) - 2);
        (void)poll(p, 2 + n, 200);
        if (p[0].revents)
            on_signal(s);
        children_run(&s->children, p + 2);
        open_when_ready(s);
        if (!s->stopping && s->open)
            gate_run(s->gate);
        if (!s->stopping && (clock_now_ns() >= s->look_at_ns || s->children.registry_changed))
            look_at_registry(s);
        if (s->children.status_changed)
            write_status(s);
    }
}

/* --- starting --- */

static int lock_dir(struct supervisor *s, struct error *err)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/running.lock", s->dir);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB))
        return error_set(err, EBUSY, "%s: another meridian cloud runs with this folder", s->dir);
    return 0;
}

/* As root the registry belongs to the enrol process, which is another user. */
static int give_registry(const struct supervisor *s, struct error *err)
{
    char path[PATH_MAX + 256];
    uid_t uid = spawn_as_root() ? s->cfg->uid_base : geteuid();
    if (geteuid())
        return 0;
    struct hospital *all;
    size_t n;
    int rc = registry_list(&all, &n, s->hospitals, err);
    if (rc)
        return rc;
    bool failed = lchown(s->hospitals, uid, uid);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", s->hospitals, all[i].name);
        failed |= lchown(path, uid, uid);
        snprintf(path, sizeof(path), "%s/%s/state.json", s->hospitals, all[i].name);
        failed |= lchown(path, uid, uid);
    }
    free(all);
    snprintf(path, sizeof(path), "%s/.lock", s->hospitals);
    failed |= lchown(path, uid, uid) && errno != ENOENT;
    if (failed)
        return error_set(
            err, EPERM, "%s: cannot give it to user %u; choose other ids with --uid-base", s->hospitals, (unsigned)uid);
    return 0;
}

static int catch_signals(struct supervisor *s, struct error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signals < 0 ? error_set(err, errno, "signalfd: %s", strerror(errno)) : 0;
}

static int prepare(struct supervisor *s, struct error *err)
{
    const struct supervisor_config *cfg = s->cfg;
    int rc = cloud_file_ensure(&s->file, cfg->dir, err);
    if (!rc && !realpath(cfg->dir, s->dir))
        rc = error_set(err, errno, "%s: %s", cfg->dir, strerror(errno));
    if (rc)
        return rc;
    snprintf(s->hospitals, sizeof(s->hospitals), "%s/hospitals", s->dir);
    snprintf(s->issuer, sizeof(s->issuer), "%s/ca/issuer.pem", s->dir);
    rc = lock_dir(s, err);
    if (!rc)
        rc = give_registry(s, err);
    if (!rc)
        rc = catch_signals(s, err);
    if (!rc)
        rc = gate_create(&s->gate, &(struct gate_config){.listen = cfg->listen, .named = on_named, .user = s}, err);
    if (!rc)
        rc = children_init(&s->children, cfg, &s->file, s->dir, err);
    if (!rc && !children_add_enrol(&s->children))
        rc = error_set(err, ENOMEM, "out of memory");
    return rc;
}

int supervisor_run(const struct supervisor_config *cfg, struct error *err)
{
    struct supervisor *s = calloc(1, sizeof(*s));
    struct rlimit no_core = {0, 0}, files;
    if (!s)
        return error_set(err, ENOMEM, "out of memory");
    s->cfg = cfg;
    s->signals = s->lock = -1;
    setrlimit(RLIMIT_CORE, &no_core);
    if (!getrlimit(RLIMIT_NOFILE, &files)) { /* two for each worker, one for each connection at the gate */
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int rc = prepare(s, err);
    if (!rc) {
        s->children.registry_changed = true;
        serve(s);
        log_info("stopped");
    }
    children_done(&s->children);
    gate_free(s->gate);
    free(s->known);
    if (s->signals >= 0)
        close(s->signals);
    if (s->lock >= 0)
        close(s->lock);
    free(s);
    return rc;
}
