#include "lab/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

static const char *const names[] = {[SCENARIO_CUT] = "cut",
    [SCENARIO_RESTORE] = "restore",
    [SCENARIO_DEGRADE] = "degrade",
    [SCENARIO_HEAL] = "heal",
    [SCENARIO_STALL] = "stall",
    [SCENARIO_RESUME] = "resume",
    [SCENARIO_KILL] = "kill",
    [SCENARIO_RESTART] = "restart",
    [SCENARIO_MOVE] = "move"};

static const char *what_of(const struct scenario *s, const struct scenario_fault *f)
{
    switch (f->kind) {
    case SCENARIO_STALL:
    case SCENARIO_RESUME:
        return s->hosts[f->what].name;
    case SCENARIO_KILL:
    case SCENARIO_RESTART:
        return s->routers[f->what].name;
    case SCENARIO_MOVE:
        return s->vpns[f->what].name;
    default:
        return s->links[f->what].name;
    }
}

void lab_fault_name(char *ret, size_t cap, const struct scenario *s, const struct scenario_fault *f)
{
    snprintf(ret, cap, "%s %s", names[f->kind], what_of(s, f));
}

static int kill_router(struct lab_world *w, uint32_t router)
{
    struct lab_router *r = &w->routers[router];
    struct lab_process *p = &r->process;
    r->killed = true;
    lab_process_stop(&p, 1, SIGKILL, 0);
    return 0;
}

int lab_fault_apply(struct lab_work *k, const struct scenario_fault *f, struct error *err)
{
    const struct scenario *s = k->world->plan->scenario;
    switch (f->kind) {
    case SCENARIO_STALL:
    case SCENARIO_RESUME:
        lab_work_stall(k, f->what, f->kind == SCENARIO_STALL);
        return 0;
    case SCENARIO_KILL:
        return kill_router(k->world, f->what);
    case SCENARIO_RESTART:
        return k->world->routers[f->what].process.running ? 0 : lab_world_start_router(k->world, f->what, err);
    default:
        return error_set(err, EOPNOTSUPP, "%s %s: the lab cannot do this yet", names[f->kind], what_of(s, f));
    }
}
