#include "scenario/scenario.h"

#include "base/clock.h"
#include "os/file.h"
#include "scenario/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MOST (16 << 20)

static const char *const control_names[] = {"static", "bgp", NULL};
static const char *const mode_names[] = {"lanes", "fifo", "ecn", "pfc", NULL};

const char *scenario_mode_name(enum scenario_mode m)
{
    return mode_names[m];
}

static int resolve_head(struct scenario *s, const struct file_scenario *f, struct error *err)
{
    struct place p = {.err = err};
    uint32_t mode = SCENARIO_LANES, control = 0;
    s->seed = 1;
    int rc = check_name(&p, f->name);
    rc = rc ? rc : get_u64(&p, "seed", f->seed, &s->seed);
    rc = rc ? rc : get_time(&p, "duration", f->duration, &s->duration_ns);
    rc = rc ? rc : get_choice(&p, "mode", f->mode, mode_names, &mode);
    rc = rc ? rc : get_time(&p, "hello", f->hello, &s->hello_ns);
    rc = rc ? rc : get_time(&p, "silence", f->silence, &s->silence_ns);
    rc = rc ? rc : get_time(&p, "watchdog", f->watchdog, &s->watchdog_ns);
    s->bgp_hold_ns = 90 * NS_PER_S;
    s->bgp_restart_ns = 120 * NS_PER_S;
    rc = rc ? rc : get_time(&p, "bgp_hold", f->bgp_hold, &s->bgp_hold_ns);
    rc = rc ? rc : get_time(&p, "bgp_restart", f->bgp_restart, &s->bgp_restart_ns);
    if (!rc && (s->bgp_hold_ns < 3 * NS_PER_S || s->bgp_hold_ns > 65535 * NS_PER_S))
        rc = place_bad(&p, "bgp_hold", f->bgp_hold, "is not between 3 s and 65535 s");
    if (!rc && s->bgp_restart_ns > 4095 * NS_PER_S)
        rc = place_bad(&p, "bgp_restart", f->bgp_restart, "is above 4095 s");
    rc = rc ? rc : get_truth(&p, "heal", f->heal, &s->heal);
    rc = rc ? rc : get_choice(&p, "control", f->control, control_names, &control);
    s->control_bgp = control == 1;
    rc = rc ? rc : get_share(&p, "control_loss", f->control_loss, &s->control_loss);
    if (!rc && s->duration_ns <= 0)
        rc = f->duration ? place_bad(&p, "duration", f->duration, "is no time at all") : place_missing(&p, "duration");
    s->name = f->name;
    s->about = f->about ? f->about : "";
    s->mode = (enum scenario_mode)mode;
    return rc;
}

uint32_t scenario_reflector(const struct scenario *s)
{
    for (uint32_t i = 0; i < s->n_routers; i++)
        if (s->routers[i].role == SCENARIO_REFLECTOR)
            return i;
    return SCENARIO_NONE;
}

int scenario_parse(struct scenario **ret, const char *name, const char *text, size_t len, struct error *err)
{
    struct scenario *s = calloc(1, sizeof(*s));
    struct file_scenario *f = NULL;
    int rc = s ? file_load(&f, text, len, err) : error_set(err, ENOMEM, "no memory");
    if (!rc) {
        s->file = f;
        rc = resolve_head(s, f, err);
    }
    rc = rc ? rc : resolve_topology(s, f, err);
    if (!rc && s->control_bgp && scenario_reflector(s) == SCENARIO_NONE) {
        struct place p = {.err = err};
        rc = place_bad(&p, "control", f->control, "needs a router with the role reflector");
    }
    rc = rc ? rc : resolve_programs(s, f, err);
    rc = rc ? rc : resolve_work(s, f, err);
    rc = rc ? rc : resolve_expect(s, f, err);
    if (rc) {
        scenario_free(s);
        return error_prefix(err, rc, "%s", name);
    }
    *ret = s;
    return 0;
}

int scenario_read(struct scenario **ret, const char *path, struct error *err)
{
    struct buf text = {0};
    int rc = file_read(&text, path, FILE_MOST, err);
    rc = rc ? rc : scenario_parse(ret, path, buf_str(&text), text.len, err);
    buf_done(&text);
    return rc;
}

void scenario_free(struct scenario *s)
{
    if (!s)
        return;
    free(s->sites);
    free(s->routers);
    free(s->links);
    free(s->hosts);
    free(s->vpns);
    free(s->paths);
    free(s->workloads);
    free(s->programs);
    free(s->faults);
    free(s->expect);
    file_free(s->file);
    free(s);
}

/* Lists are short (at most some thousands) and this runs while reading only: a search from the front will do. */
#define FIND(kind, list)                                                                                               \
    uint32_t scenario_##kind##_find(const struct scenario *s, const char *name)                                        \
    {                                                                                                                  \
        for (uint32_t i = 0; i < s->n_##list; i++)                                                                     \
            if (s->list[i].name && strcmp(s->list[i].name, name) == 0)                                                 \
                return i;                                                                                              \
        return SCENARIO_NONE;                                                                                          \
    }

FIND(router, routers)
FIND(link, links)
FIND(host, hosts)
FIND(vpn, vpns)
FIND(path, paths)
FIND(workload, workloads)
FIND(program, programs)
