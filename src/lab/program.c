#include "lab/program.h"

#include "base/buf.h"
#include "base/clock.h"
#include "lab/command.h"
#include "lab/program_words.h"
#include "os/file.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_WITHIN (30 * NS_PER_S)
#define STOP_GRACE   (5 * NS_PER_S)
#define CHECK_WITHIN (300 * NS_PER_S)
#define JOIN_TRIES   5

static const char *const ready_words[SCENARIO_PROGRAMS] = {[SCENARIO_PROGRAM_CLOUD] = "listening",
    [SCENARIO_PROGRAM_EDGE] = "serving",
    [SCENARIO_PROGRAM_RECEIVE] = "receiving"};

static const struct scenario_program *of(const struct lab_programs *p, uint32_t i)
{
    return &p->world->plan->scenario->programs[i];
}

static uint32_t count(const struct lab_programs *p)
{
    return p->world->plan->scenario->n_programs;
}

bool lab_program_ends(const struct scenario_program *p)
{
    switch (p->kind) {
    case SCENARIO_PROGRAM_TRAIN:
    case SCENARIO_PROGRAM_CHAT:
    case SCENARIO_PROGRAM_SEND:
    case SCENARIO_PROGRAM_STORESCU:
        return true;
    case SCENARIO_PROGRAM_COMMAND:
        return !p->ready;
    default:
        return false;
    }
}

/* --- folders and files --- */

static void site_folder(char ret[LAB_PATH_SIZE], const struct lab_world *w)
{
    lab_journal_path(w->journal, ret, "site");
}

void lab_program_folder(char ret[LAB_PATH_SIZE], const struct lab_world *w, uint32_t host)
{
    const struct scenario_host *h = &w->plan->scenario->hosts[host];
    char name[128];
    snprintf(name, sizeof(name), "site/%.100s", h->machine ? h->machine : h->name);
    lab_journal_path(w->journal, ret, name);
}

static int make_folders(const struct lab_world *w, struct error *err)
{
    char path[LAB_PATH_SIZE];
    site_folder(path, w);
    int rc = mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
    for (uint32_t h = 0; h < w->plan->scenario->n_hosts && !rc; h++) {
        lab_program_folder(path, w, h);
        rc = mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
    }
    for (uint32_t i = 0; i < w->plan->scenario->n_programs && !rc; i++) {
        const struct scenario_program *p = &w->plan->scenario->programs[i];
        char folder[LAB_PATH_SIZE + 80];
        if (p->kind != SCENARIO_PROGRAM_STORESCP && p->kind != SCENARIO_PROGRAM_RECEIVE)
            continue;
        lab_program_folder(path, w, p->host);
        snprintf(folder, sizeof(folder), "%s/%.64s", path, p->name);
        rc = mkdir(folder, 0755) && errno != EEXIST ? -errno : 0;
    }
    return rc ? error_set(err, -rc, "cannot make %s: %s", path, strerror(-rc)) : 0;
}

/* Runs a command to its end, as a process of the lab, so that ^C and the janitor end it too. */
static int run_words(struct lab_programs *p, const char *ns, const char *name, struct lab_words *words, int64_t within,
    struct error *err)
{
    struct lab_process x;
    char what[600];
    int rc = lab_process_start(&x, p->world->journal, ns, name, words->word, err);
    if (rc)
        return rc;
    struct lab_process *one = &x;
    if (!lab_process_wait(&x, clock_now_ns() + within, p->world->interrupted))
        lab_process_stop(&one, 1, SIGTERM, STOP_GRACE);
    if (*p->world->interrupted)
        return error_set(err, EINTR, "interrupted");
    if (x.status == 0)
        return 0;
    lab_process_describe(&x, what, sizeof(what));
    return error_set(err, EIO, "%s %s", name, what);
}

static int run_setup(struct lab_programs *p, struct error *err)
{
    const struct scenario *s = p->world->plan->scenario;
    char folder[LAB_PATH_SIZE];
    int rc = 0;
    site_folder(folder, p->world);
    for (uint32_t i = 0; i < s->n_setup && !rc; i++) {
        struct lab_words *w = calloc(1, sizeof(*w));
        char name[32];
        snprintf(name, sizeof(name), "setup-%u", i + 1);
        rc = w ? lab_shell_words(w, p->world, SCENARIO_NONE, SCENARIO_NONE, folder, s->setup[i], err)
               : error_set(err, ENOMEM, "out of memory");
        rc = rc ? rc : run_words(p, NULL, name, w, CHECK_WITHIN, err);
        free(w);
    }
    return rc;
}

/* --- hospitals --- */

__attribute__((sentinel)) static int meridian(
    struct lab_programs *p, const char *ns, struct buf *out, struct error *err, ...)
{
    const char *argv[24] = {"ip", "netns", "exec", ns};
    unsigned n = ns ? 4 : 0;
    argv[n++] = p->world->program;
    va_list list;
    va_start(list, err);
    while (n < 23 && (argv[n] = va_arg(list, const char *)))
        n++;
    va_end(list);
    argv[n] = NULL;
    return lab_command(argv, NULL, out, err);
}

static void kit_path(char ret[LAB_PATH_SIZE], const struct lab_programs *p, uint32_t cloud, uint32_t member)
{
    char name[160];
    snprintf(name, sizeof(name), "site/%.60s-%.60s.kit", of(p, cloud)->name, lab_hospital(p->world, member));
    lab_journal_path(p->world->journal, ret, name);
}

/* Is there an earlier program of the same hospital at the same cloud (and, with `site`, in the same folder)? */
static bool known(const struct lab_programs *p, uint32_t i, bool site)
{
    char a[LAB_PATH_SIZE], b[LAB_PATH_SIZE];
    lab_program_folder(a, p->world, of(p, i)->host);
    for (uint32_t k = 0; k < i; k++) {
        if (of(p, k)->cloud != of(p, i)->cloud || of(p, k)->cloud == SCENARIO_NONE)
            continue;
        lab_program_folder(b, p->world, of(p, k)->host);
        if (!strcmp(lab_hospital(p->world, k), lab_hospital(p->world, i)) && (!site || !strcmp(a, b)))
            return true;
    }
    return false;
}

static int invite(struct lab_programs *p, uint32_t member, struct error *err)
{
    const struct scenario *s = p->world->plan->scenario;
    uint32_t cloud = of(p, member)->cloud;
    char folder[LAB_PATH_SIZE], dir[LAB_PATH_SIZE + 80], address[96], at[64], kit[LAB_PATH_SIZE];
    lab_program_folder(folder, p->world, of(p, cloud)->host);
    snprintf(dir, sizeof(dir), "%s/%.64s", folder, of(p, cloud)->name);
    lab_host_text(at, p->world, of(p, cloud)->host, s->hosts[of(p, member)->host].vpn);
    snprintf(address, sizeof(address), strchr(at, ':') ? "[%s]:%u" : "%s:%u", at, LAB_CLOUD_PORT);
    kit_path(kit, p, cloud, member);
    return meridian(p, NULL, NULL, err, "cloud", "invite", lab_hospital(p->world, member), "--dir", dir, "--address",
        address, "--out", kit, NULL);
}

static int join(struct lab_programs *p, uint32_t member, struct error *err)
{
    char folder[LAB_PATH_SIZE], dir[LAB_PATH_SIZE + 80], kit[LAB_PATH_SIZE], keylog[LAB_PATH_SIZE + 16];
    uint32_t cloud = of(p, member)->cloud;
    lab_program_folder(folder, p->world, of(p, member)->host);
    snprintf(dir, sizeof(dir), "%s/identity-%.60s", folder, of(p, cloud)->name);
    snprintf(keylog, sizeof(keylog), "%s/keylog.txt", folder);
    kit_path(kit, p, cloud, member);
    int rc = -EAGAIN;
    for (int i = 0; i < JOIN_TRIES && rc && !*p->world->interrupted; i++)
        rc = meridian(p, lab_world_ns(p->world, of(p, member)->host), NULL, err, "edge", "join", kit, "--dir", dir,
            "--unsafe-keylog", keylog, NULL);
    return rc;
}

/* The key with which people of this lab ask. */
static int make_key(struct lab_programs *p, uint32_t edge, struct error *err)
{
    char folder[LAB_PATH_SIZE], keys[LAB_PATH_SIZE + 16], key[LAB_PATH_SIZE + 16];
    struct buf out = {0};
    lab_program_folder(folder, p->world, of(p, edge)->host);
    snprintf(keys, sizeof(keys), "%s/edge.keys", folder);
    snprintf(key, sizeof(key), "%s/lab.key", folder);
    if (!access(key, F_OK))
        return 0; /* another edge of this site */
    int rc = meridian(p, NULL, &out, err, "edge", "key", "add", "lab", "--keys", keys, NULL);
    rc = rc ? rc : file_write(key, out.data, out.len, 0600, err);
    buf_done(&out);
    return rc;
}

/* --- starting --- */

static int start(struct lab_programs *p, uint32_t i, int64_t elapsed_ns, struct error *err)
{
    struct lab_program *x = &p->at[i];
    const struct scenario_program *in = of(p, i);
    struct lab_words *w = calloc(1, sizeof(*w));
    int64_t left = p->duration_ns - elapsed_ns;
    if (!w)
        return error_set(err, ENOMEM, "out of memory");
    if (in->duration_ns && in->start_ns + in->duration_ns - elapsed_ns < left)
        left = in->start_ns + in->duration_ns - elapsed_ns;
    left = left > NS_PER_S ? left : NS_PER_S;
    char name[80];
    snprintf(name, sizeof(name), "program-%.60s", in->name);
    int rc = lab_program_words(w, p->world, i, x->starts > 0, left, err);
    rc = rc ? rc
            : lab_process_start(&x->process, p->world->journal, lab_world_ns(p->world, in->host), name, w->word, err);
    free(w);
    if (rc)
        return rc;
    if (x->starts < LAB_PROGRAM_STARTS)
        x->began_ns[x->starts] = x->process.started_ns;
    if (in->kind == SCENARIO_PROGRAM_CLOUD)
        p->world->cloud_pid = x->process.pid;
    x->starts++;
    x->due = true;
    x->killed = x->ended = false;
    x->ready = false;
    return 0;
}

static const char *ready_word(const struct scenario_program *p)
{
    return p->ready ? p->ready : ready_words[p->kind];
}

static bool is_ready(struct lab_programs *p, uint32_t i)
{
    static const volatile int never;
    struct lab_program *x = &p->at[i];
    const char *word = ready_word(of(p, i));
    if (!x->due)
        return false;
    if (!x->ready)
        x->ready = !word || !lab_process_ready(&x->process, word, 0, &never, NULL);
    return x->ready;
}

static bool may_start(struct lab_programs *p, uint32_t i)
{
    const struct scenario_program *in = of(p, i);
    if (in->after != SCENARIO_NONE && !p->at[in->after].ended)
        return false;
    return (in->cloud == SCENARIO_NONE || is_ready(p, in->cloud)) &&
           (in->edge == SCENARIO_NONE || is_ready(p, in->edge)) && (in->to == SCENARIO_NONE || is_ready(p, in->to));
}

/* What clouds, hospitals and receivers need before the scenario's time begins. */
static int prepare(struct lab_programs *p, struct error *err)
{
    int rc = make_folders(p->world, err);
    rc = rc ? rc : run_setup(p, err);
    for (uint32_t i = 0; i < count(p) && !rc; i++)
        if (of(p, i)->cloud != SCENARIO_NONE && !known(p, i, false))
            rc = invite(p, i, err);
    for (uint32_t i = 0; i < count(p) && !rc; i++)
        if (of(p, i)->kind == SCENARIO_PROGRAM_CLOUD)
            rc = start(p, i, 0, err);
    for (uint32_t i = 0; i < count(p) && !rc; i++) {
        struct lab_program *x = &p->at[i];
        if (x->due)
            rc = lab_process_ready(
                &x->process, ready_word(of(p, i)), clock_now_ns() + READY_WITHIN, p->world->interrupted, err);
    }
    for (uint32_t i = 0; i < count(p) && !rc; i++) {
        if (of(p, i)->cloud != SCENARIO_NONE && !known(p, i, true))
            rc = join(p, i, err);
        if (!rc && of(p, i)->kind == SCENARIO_PROGRAM_EDGE)
            rc = make_key(p, i, err);
    }
    return rc;
}

int lab_programs_create(struct lab_programs **ret, struct lab_world *w, int64_t duration_ns, struct error *err)
{
    struct lab_programs *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ENOMEM, "out of memory");
    *p = (struct lab_programs){.world = w, .duration_ns = duration_ns};
    p->at = calloc(count(p) + 1, sizeof(*p->at));
    int rc = !p->at ? error_set(err, ENOMEM, "out of memory") : count(p) ? prepare(p, err) : 0;
    if (rc) {
        lab_programs_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void lab_programs_free(struct lab_programs *p)
{
    if (p)
        free(p->at);
    free(p);
}

/* --- while it runs --- */

/* A program that has ended: well, on purpose, or to be told about. */
static int notice_end(struct lab_programs *p, uint32_t i, struct error *err)
{
    struct lab_program *x = &p->at[i];
    char what[600];
    if (!x->due || x->ended || x->killed || lab_process_check(&x->process))
        return 0;
    if (lab_program_ends(of(p, i)) && x->process.status == 0) {
        x->ended = true;
        return 0;
    }
    lab_process_describe(&x->process, what, sizeof(what));
    return error_set(err, ECHILD, "program %s %s", of(p, i)->name, what);
}

int lab_programs_at(struct lab_programs *p, int64_t elapsed_ns, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < count(p) && !rc; i++) {
        const struct scenario_program *in = of(p, i);
        rc = notice_end(p, i, err);
        if (!rc && !p->at[i].due && in->kind != SCENARIO_PROGRAM_CHECK && in->start_ns <= elapsed_ns && may_start(p, i))
            rc = start(p, i, elapsed_ns, err);
    }
    return rc;
}

bool lab_programs_over(const struct lab_programs *p)
{
    for (uint32_t i = 0; i < count(p); i++)
        if (lab_program_ends(of(p, i)) && !p->at[i].ended)
            return false;
    return true;
}

int lab_programs_kill(struct lab_programs *p, uint32_t program)
{
    struct lab_program *x = &p->at[program];
    struct lab_process *one = &x->process;
    if (!x->due || !x->process.running)
        return 0;
    x->killed = true;
    lab_process_stop(&one, 1, SIGKILL, 0);
    return 0;
}

int lab_programs_restart(struct lab_programs *p, uint32_t program, struct error *err)
{
    struct lab_program *x = &p->at[program];
    return x->killed ? start(p, program, clock_now_ns() - p->begun_ns, err) : 0;
}

/* --- the end --- */

static int run_check(struct lab_programs *p, uint32_t i, struct error *err)
{
    struct lab_program *x = &p->at[i];
    char folder[LAB_PATH_SIZE], name[80];
    struct lab_words *w = calloc(1, sizeof(*w));
    if (!w)
        return error_set(err, ENOMEM, "out of memory");
    site_folder(folder, p->world);
    snprintf(name, sizeof(name), "program-%.60s", of(p, i)->name);
    int rc = lab_shell_words(w, p->world, SCENARIO_NONE, SCENARIO_NONE, folder, of(p, i)->command, err);
    rc = rc ? rc : lab_process_start(&x->process, p->world->journal, NULL, name, w->word, err);
    free(w);
    if (rc)
        return rc;
    struct lab_process *one = &x->process;
    x->due = true;
    x->starts = 1;
    if (!lab_process_wait(&x->process, clock_now_ns() + CHECK_WITHIN, p->world->interrupted))
        lab_process_stop(&one, 1, SIGTERM, STOP_GRACE);
    x->ended = x->process.status == 0;
    return 0;
}

/* A program that ends by itself and has not is asked to; servers end well when they are told to. */
int lab_programs_stop(struct lab_programs *p, bool checks, struct error *err)
{
    int rc = 0;
    uint32_t n = 0;
    struct lab_process **all = calloc(count(p) + 1, sizeof(*all));
    for (uint32_t i = 0; i < count(p) && checks && !rc; i++)
        if (of(p, i)->kind == SCENARIO_PROGRAM_CHECK)
            rc = run_check(p, i, err);
    for (uint32_t i = 0; i < count(p) && all; i++)
        if (p->at[i].due && lab_process_check(&p->at[i].process)) {
            all[n++] = &p->at[i].process;
            p->at[i].ended = !lab_program_ends(of(p, i));
        }
    if (all)
        lab_process_stop(all, n, SIGINT, STOP_GRACE);
    free(all);
    for (uint32_t i = 0; i < count(p); i++) /* people stop asking when their time is over */
        if (of(p, i)->kind == SCENARIO_PROGRAM_CHAT && p->at[i].due && !p->at[i].killed)
            p->at[i].ended = !p->at[i].process.running && p->at[i].process.status == 0;
    return rc;
}
