/* What the scenario says goes wrong, at its times. */
#include "sim/sim_inner.h"

#include <errno.h>
#include <inttypes.h>

static void on_link(struct sim *s, const struct scenario_fault *x, int64_t now)
{
    for (uint32_t side = 0; side < 2; side++) {
        struct wire *w = &s->wires[2 * x->what + side];
        if (x->kind == SCENARIO_DEGRADE || x->kind == SCENARIO_HEAL)
            wire_set_quality(w, x->kind == SCENARIO_DEGRADE ? &x->quality : &s->plan->scenario->links[x->what].quality);
        else
            wire_set_down(w, x->kind == SCENARIO_CUT, now);
    }
}

static int happen(struct sim *s, const struct scenario_fault *x, int64_t now)
{
    switch (x->kind) {
    case SCENARIO_CUT:
    case SCENARIO_RESTORE:
    case SCENARIO_DEGRADE:
    case SCENARIO_HEAL:
        on_link(s, x, now);
        return 0;
    case SCENARIO_STALL:
    case SCENARIO_RESUME:
        hosts_stall(&s->hosts, x->what, x->kind == SCENARIO_STALL, now);
        return 0;
    case SCENARIO_KILL: /* of a program: there is none here */
        if (x->what >= s->plan->scenario->n_routers)
            return 0;
        node_kill(&s->nodes[x->what], now);
        return 0;
    case SCENARIO_DRAIN:
        node_drain(&s->nodes[x->what], now);
        return 0;
    case SCENARIO_RESTART:
        if (x->what >= s->plan->scenario->n_routers)
            return 0;
        return node_restart(&s->nodes[x->what], now, &s->error);
    case SCENARIO_RESET:
        return 0; /* `sim control` */
    case SCENARIO_MOVE:
        if (s->mode != SCENARIO_LANES)
            return 0;
        return node_move(&s->nodes[s->plan->scenario->paths[x->from_path].from], x, now, &s->error);
    }
    return 0;
}

static void on_fault(struct event_source *e, int64_t now)
{
    struct sim *s = (struct sim *)(void *)((char *)e - offsetof(struct sim, fault_timer));
    const struct scenario *sc = s->plan->scenario;
    for (; s->next_fault < sc->n_faults && sc->faults[s->next_fault].at_ns <= now; s->next_fault++) {
        const struct scenario_fault *x = &sc->faults[s->next_fault];
        if (s->options.trace)
            fprintf(s->options.trace, "%" PRId64 " fault %d of %u\n", now, (int)x->kind, x->what);
        int rc = happen(s, x, now);
        if (rc)
            s->failed = rc;
    }
    if (s->next_fault < sc->n_faults)
        event_at(&s->events, e, sc->faults[s->next_fault].at_ns);
}

int sim_faults_init(struct sim *s, struct error *err)
{
    if (event_add(&s->events, &s->fault_timer, on_fault))
        return error_set(err, ENOMEM, "no memory");
    if (s->plan->scenario->n_faults)
        event_at(&s->events, &s->fault_timer, s->plan->scenario->faults[0].at_ns);
    return 0;
}
