/* What the scenario says goes wrong, and how the underlay learns of it: links are silent for a while, then the news travels. */
#include "base/clock.h"
#include "sim/control_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define SILENCE_NS (10 * NS_PER_MS) /* of a link, until its ends call it down: the routers' default */

/* --- the underlay ---------------------------------------------------------------------------------------------------------- */

int control_underlay(struct control *c)
{
    uint32_t n = c->scenario->n_routers;
    int64_t silence = c->scenario->silence_ns ? c->scenario->silence_ns : SILENCE_NS;
    for (uint32_t i = 0; i < c->n_pes + c->n_reflectors; i++)
        if (distances_from(c->scenario, c->nodes[i].router, c->down_link, c->down_router, c->distances + (size_t)i * n))
            return -ENOMEM;
    for (uint32_t i = 0; i < c->n_wires; i++) {
        struct control_wire *w = &c->wires[i];
        const struct control_node *pe = w->end[0].node, *reflector = w->end[1].node;
        control_wire_way(w, c->distances[(size_t)(pe - c->nodes) * n + reflector->router], c->events.now_ns + silence);
    }
    return 0;
}

/* What a PE knows by now. */
void control_hears(struct event_source *e, int64_t now)
{
    struct control_node *n = (struct control_node *)(void *)((char *)e - offsetof(struct control_node, hears));
    struct control *c = n->above;
    const struct distance *d = c->distances + (size_t)(n - c->nodes) * c->scenario->n_routers;
    for (uint32_t i = 0; n->speaker && i < c->n_pes; i++) {
        bool reaches = i == n->index || d[c->nodes[i].router].delay_ns >= 0;
        struct ip6 hop = control_loopback(i);
        if (reaches == n->reaches[i])
            continue;
        n->reaches[i] = reaches;
        if (bgp_next_hop_set(n->speaker, &hop, reaches ? 0 : UINT32_MAX))
            c->failed = -ENOMEM;
    }
    if (n->speaker)
        event_by(&c->events, &n->work, now > n->busy_until_ns ? now : n->busy_until_ns);
    if (n->hears_last_ns > now)
        event_at(&c->events, e, n->hears_last_ns);
}

/* From the routers at both ends of a link, or from a router's neighbours, to everybody. */
static void spread(struct control *c, const uint32_t *from, uint32_t n_from, int64_t now)
{
    int64_t silence = c->scenario->silence_ns ? c->scenario->silence_ns : SILENCE_NS;
    for (uint32_t i = 0; i < c->n_pes; i++) {
        struct control_node *n = &c->nodes[i];
        const struct distance *d = c->distances + (size_t)i * c->scenario->n_routers;
        int64_t nearest = INT64_MAX;
        for (uint32_t k = 0; k < n_from; k++)
            if (d[from[k]].delay_ns >= 0 && d[from[k]].delay_ns < nearest)
                nearest = d[from[k]].delay_ns;
        int64_t at = now + silence + (nearest == INT64_MAX ? 0 : nearest); /* cut off: it notices by itself */
        if (at > n->hears_last_ns)
            n->hears_last_ns = at;
        event_by(&c->events, &n->hears, at);
    }
}

static void spread_from_neighbours(struct control *c, uint32_t router, int64_t now)
{
    for (uint32_t l = 0; l < c->scenario->n_links; l++) {
        const struct scenario_link *x = &c->scenario->links[l];
        if (x->router[0] == router || x->router[1] == router)
            spread(c, x->router, 2, now);
    }
}

/* --- what happens -------------------------------------------------------------------------------------------------------------- */

static struct control_node *node_of(struct control *c, uint32_t router)
{
    for (uint32_t i = 0; i < c->n_pes + c->n_reflectors; i++)
        if (c->nodes[i].router == router)
            return &c->nodes[i];
    return NULL;
}

/* A router's daemon forwards too: with it everything is silent. A reflector's host goes on and closes its connections. */
static void die(struct control *c, struct control_node *n, int64_t now)
{
    for (uint32_t i = 0; i < n->n_wires; i++) {
        struct control_end *ours = &n->wires[i]->end[n->reflector], *theirs = &n->wires[i]->end[!n->reflector];
        if (n->reflector) {
            control_wire_hang_up(ours, now);
        } else {
            ours->open = ours->dialing = false;
            control_wire_forget(ours);
            control_wire_forget(theirs);
        }
    }
    control_node_stop(n);
    (void)c;
}

static void reset(struct control_node *n, int64_t now)
{
    for (uint32_t i = 0; n->speaker && i < n->n_wires; i++) {
        uint16_t peer = n->wires[i]->end[n->reflector].peer;
        bgp_peer_stop(n->speaker, peer, NULL, now);
        bgp_peer_start(n->speaker, peer, now);
    }
    if (n->speaker)
        event_by(&n->above->events, &n->work, now > n->busy_until_ns ? now : n->busy_until_ns);
}

static int on_router(struct control *c, const struct scenario_fault *x, int64_t now)
{
    if (x->what >= c->scenario->n_routers)
        return 0; /* a program: there is none here */
    struct control_node *n = node_of(c, x->what);
    bool kill = x->kind == SCENARIO_KILL || x->kind == SCENARIO_DRAIN;
    if (x->kind == SCENARIO_RESET) {
        if (n)
            reset(n, now);
        return 0;
    }
    if (n && kill && n->alive)
        die(c, n, now);
    int rc = n && !kill && !n->alive ? control_node_start(n, now) : 0;
    if (n && n->reflector)
        return rc;
    c->down_router[x->what] = kill;
    rc = rc ? rc : control_underlay(c);
    spread_from_neighbours(c, x->what, now);
    return rc;
}

static int happen(struct control *c, const struct scenario_fault *x, int64_t now)
{
    int rc;
    switch (x->kind) {
    case SCENARIO_CUT:
    case SCENARIO_RESTORE:
        c->down_link[x->what] = x->kind == SCENARIO_CUT;
        rc = control_underlay(c);
        spread(c, c->scenario->links[x->what].router, 2, now);
        return rc;
    case SCENARIO_KILL:
    case SCENARIO_DRAIN:
    case SCENARIO_RESTART:
    case SCENARIO_RESET:
        return on_router(c, x, now);
    default:
        return 0; /* quality, hosts and lanes are none of the control plane's */
    }
}

static void name_fault(char *to, size_t cap, const struct scenario *s, const struct scenario_fault *x)
{
    static const char *const names[] = {
        "cut", "restore", "degrade", "heal", "stall", "resume", "kill", "drain", "restart", "reset", "move"};
    const char *of = x->kind <= SCENARIO_HEAL     ? s->links[x->what].name
                     : x->kind <= SCENARIO_RESUME ? s->hosts[x->what].name
                     : x->kind == SCENARIO_MOVE   ? s->vpns[x->what].name
                     : x->what < s->n_routers     ? s->routers[x->what].name
                                                  : s->programs[x->what - s->n_routers].name;
    snprintf(to, cap, "%s %.32s", names[x->kind], of);
}

static void on_fault(struct event_source *e, int64_t now)
{
    struct control *c = (struct control *)(void *)((char *)e - offsetof(struct control, fault_timer));
    const struct scenario *s = c->scenario;
    char what[64];
    uint32_t first = c->next_fault;
    control_window_end(c);
    for (; c->next_fault < s->n_faults && s->faults[c->next_fault].at_ns <= now; c->next_fault++) {
        name_fault(what, sizeof(what), s, &s->faults[c->next_fault]);
        if (c->options.trace)
            fprintf(c->options.trace, "%" PRId64 " fault %s\n", now, what);
        control_note(c, 8, c->next_fault, (uint64_t)now);
        int rc = happen(c, &s->faults[c->next_fault], now);
        c->failed = c->failed ? c->failed : rc;
    }
    if (c->next_fault - first > 1)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " and %u more", c->next_fault - first - 1);
    control_truth(c);
    int rc = control_window_begin(c, what);
    c->failed = c->failed ? c->failed : rc;
    if (c->next_fault < s->n_faults)
        event_at(&c->events, e, s->faults[c->next_fault].at_ns);
}

int control_faults_init(struct control *c)
{
    if (event_add(&c->events, &c->fault_timer, on_fault))
        return -ENOMEM;
    if (c->scenario->n_faults)
        event_at(&c->events, &c->fault_timer, c->scenario->faults[0].at_ns);
    return 0;
}
