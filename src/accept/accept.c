#include "accept/accept.h"

#include "accept/runner.h"
#include "base/clock.h"
#include "os/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void first_line(const char *command, char *ret, size_t cap)
{
    FILE *p = popen(command, "r");
    *ret = 0;
    if (!p)
        return;
    if (!fgets(ret, (int)cap, p))
        *ret = 0;
    ret[strcspn(ret, "\n")] = 0;
    pclose(p);
}

static double load_now(void)
{
    double l[1] = {0};
    return getloadavg(l, 1) == 1 ? l[0] : 0;
}

static void about(struct accept_about *a, const struct accept_config *c)
{
    struct utsname u;
    char command[4200], processor[120];
    *a = (struct accept_about){.started = time(NULL), .quick = c->quick, .load_before = load_now()};
    snprintf(command, sizeof(command), "git -C '%s' describe --always --dirty 2>/dev/null", c->top);
    first_line(strchr(c->top, '\'') ? "" : command, a->commit, sizeof(a->commit));
    first_line("sed -n 's/^model name.*: //p' /proc/cpuinfo", processor, sizeof(processor));
    uname(&u);
    snprintf(a->machine, sizeof(a->machine), "%s, %ld cores, %s %s", *processor ? processor : u.machine,
        sysconf(_SC_NPROCESSORS_ONLN), u.sysname, u.release);
}

static int write_report(const char *folder, const char *name, const struct accept_rows *rows,
    const struct accept_result *r, int (*write)(FILE *, const struct accept_rows *, const struct accept_result *),
    struct error *err)
{
    char path[4200], *text = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = open_memstream(&text, &len);
    int rc = f ? write(f, rows, r) : -ENOMEM;
    if (f && fclose(f))
        rc = -ENOMEM;
    rc = rc ? error_set(err, -rc, "%s: %s", path, strerror(-rc)) : file_write(path, text, len, 0644, err);
    free(text);
    return rc;
}

static void make_runs(
    struct accept_result *ret, const struct accept_rows *rows, const struct accept_config *c, const char *evidence)
{
    struct accept_place place = {c->top, evidence, c->quick, c->interrupted, c->tick, c->user};
    unsigned at = 0, n = 0;
    for (size_t i = 0; i < accept_n_runs; i++)
        n += accept_run_wanted(&accept_runs[i], rows, c->quick);
    for (size_t i = 0; i < accept_n_runs && !ret->about.interrupted; i++) {
        if (!accept_run_wanted(&accept_runs[i], rows, c->quick))
            continue;
        c->before(c->user, &accept_runs[i], at++, n);
        ret->about.interrupted = accept_run_make(&ret->outcomes[i], &accept_runs[i], &place) == -EINTR;
        c->after(c->user, &accept_runs[i], &ret->outcomes[i]);
    }
}

int accept_make(
    struct accept_result *ret, const struct accept_rows *rows, const struct accept_config *c, struct error *err)
{
    char evidence[4100];
    int64_t started = clock_now_ns();
    *ret = (struct accept_result){.outcomes = calloc(accept_n_runs, sizeof(*ret->outcomes)),
        .judgements = calloc(rows->n, sizeof(*ret->judgements))};
    snprintf(evidence, sizeof(evidence), "%s/evidence", c->out);
    if (!ret->outcomes || !ret->judgements)
        return error_set(err, ENOMEM, "out of memory");
    int rc = file_make_dir(evidence, 0755, err);
    if (rc)
        return rc;
    about(&ret->about, c);
    make_runs(ret, rows, c, evidence);
    for (size_t i = 0; i < rows->n; i++) {
        accept_judge(&ret->judgements[i], rows->row[i], ret->outcomes);
        ret->count[ret->judgements[i].verdict]++;
    }
    ret->about.seconds = (double)(clock_now_ns() - started) / 1e9;
    ret->about.load_after = load_now();
    rc = write_report(c->out, "report.json", rows, ret, accept_write_json, err);
    return rc ? rc : write_report(c->out, "report.html", rows, ret, accept_write_html, err);
}

void accept_result_done(struct accept_result *r)
{
    for (size_t i = 0; r->outcomes && i < accept_n_runs; i++)
        accept_outcome_done(&r->outcomes[i]);
    free(r->outcomes);
    free(r->judgements);
    *r = (struct accept_result){0};
}
