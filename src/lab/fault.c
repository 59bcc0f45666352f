#include "lab/fault.h"

#include "lab/ask.h"
#include "wire/ip_text.h"

#include <signal.h>
#include <stdio.h>

static const char *const names[] = {[SCENARIO_CUT] = "cut",
    [SCENARIO_RESTORE] = "restore",
    [SCENARIO_DEGRADE] = "degrade",
    [SCENARIO_HEAL] = "heal",
    [SCENARIO_STALL] = "stall",
    [SCENARIO_RESUME] = "resume",
    [SCENARIO_KILL] = "kill",
    [SCENARIO_DRAIN] = "drain",
    [SCENARIO_RESTART] = "restart",
    [SCENARIO_RESET] = "reset",
    [SCENARIO_MOVE] = "move"};

static const char *what_of(const struct scenario *s, const struct scenario_fault *f)
{
    switch (f->kind) {
    case SCENARIO_STALL:
    case SCENARIO_RESUME:
        return s->hosts[f->what].name;
    case SCENARIO_KILL:
    case SCENARIO_DRAIN:
    case SCENARIO_RESTART:
    case SCENARIO_RESET:
        return f->what < s->n_routers ? s->routers[f->what].name : s->programs[f->what - s->n_routers].name;
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

/* Each end emulates the fibre in its own sending direction. `what` is the rest of the request. */
static int tell_link(struct lab_world *w, uint32_t link, const char *what, struct error *err)
{
    const struct plan *p = w->plan;
    int rc = 0;
    for (uint32_t i = 0; i < p->scenario->n_routers && !rc; i++)
        for (uint32_t k = 0; k < p->routers[i].n_ports && !rc; k++) {
            char request[256];
            if (p->routers[i].ports[k].access || p->routers[i].ports[k].link != link || !w->routers[i].process.running)
                continue;
            snprintf(request, sizeof(request), "{\"do\":\"link\",\"port\":\"core%u\",%s}", k, what);
            rc = lab_ask(w->routers[i].socket, request, NULL, err);
        }
    return rc;
}

/* What the lab's fibres can do of it. */
static int set_quality(struct lab_world *w, uint32_t link, const struct scenario_quality *q, struct error *err)
{
    char what[200];
    snprintf(what, sizeof(what), "\"loss\":%.9g,\"bit_error\":%.9g,\"jitter_us\":%.9g", q->loss, q->bit_errors,
        (double)q->jitter_ns * 1e-3);
    return tell_link(w, link, what, err);
}

static uint32_t path_id(const struct plan_router *r, uint32_t of)
{
    for (uint32_t i = 0; i < r->n_paths; i++)
        if (r->paths[i].of == of)
            return r->paths[i].id;
    return 0;
}

static int move(struct lab_world *w, const struct scenario_fault *f, struct error *err)
{
    const struct scenario *s = w->plan->scenario;
    uint32_t router = s->paths[f->from_path].from;
    const struct plan_router *r = &w->plan->routers[router];
    struct ip6 service = plan_service_sid(w->plan, s->paths[f->to_path].to, f->what);
    char request[256], sid[IP_TEXT_SIZE];
    snprintf(request, sizeof(request),
        "{\"do\":\"move\",\"tenant\":%u,\"class\":\"%s\",\"sid\":\"%s\",\"from\":%u,\"to\":%u}",
        s->vpns[f->what].tenant_id, scenario_class_name(f->class_), ip6_print(sid, &service), path_id(r, f->from_path),
        path_id(r, f->to_path));
    return lab_ask(w->routers[router].socket, request, NULL, err);
}

int lab_fault_apply(struct lab_work *k, struct lab_programs *p, const struct scenario_fault *f, struct error *err)
{
    const struct scenario *s = k->world->plan->scenario;
    switch (f->kind) {
    case SCENARIO_STALL:
    case SCENARIO_RESUME:
        lab_work_stall(k, f->what, f->kind == SCENARIO_STALL);
        return 0;
    case SCENARIO_KILL:
        if (f->what >= s->n_routers)
            return lab_programs_kill(p, f->what - s->n_routers);
        return kill_router(k->world, f->what);
    case SCENARIO_DRAIN:
        k->world->routers[f->what].killed = true; /* it ends by itself */
        return lab_ask(k->world->routers[f->what].socket, "{\"do\":\"drain\"}", NULL, err);
    case SCENARIO_RESTART:
        if (f->what >= s->n_routers)
            return lab_programs_restart(p, f->what - s->n_routers, err);
        return k->world->routers[f->what].process.running ? 0 : lab_world_start_router(k->world, f->what, err);
    case SCENARIO_CUT:
        return tell_link(k->world, f->what, "\"set\":\"cut\"", err);
    case SCENARIO_RESTORE:
        return tell_link(k->world, f->what, "\"set\":\"mend\"", err);
    case SCENARIO_DEGRADE:
        return set_quality(k->world, f->what, &f->quality, err);
    case SCENARIO_HEAL:
        return set_quality(k->world, f->what, &s->links[f->what].quality, err);
    case SCENARIO_RESET:
        return 0; /* `sim control` */
    case SCENARIO_MOVE:
        return s->mode == SCENARIO_LANES ? move(k->world, f, err) : 0;
    }
    return 0;
}
