#include "sim/control_inner.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define START_MOST_NS NS_PER_S /* PEs start within this, reflectors at once */

void control_note(struct control *c, uint64_t what, uint64_t a, uint64_t b)
{
    c->hash =
        rng_mix(c->hash ^ rng_mix(a ^ what << 48) ^ rng_mix(b + 0x9e3779b97f4a7c15u)) + (uint64_t)c->events.now_ns;
}

void control_spend(struct control_node *n, size_t octets)
{
    int64_t now = n->above->events.now_ns, begin = n->busy_until_ns > now ? n->busy_until_ns : now;
    n->busy_until_ns = begin + (int64_t)((double)octets * n->above->options.octet_ns);
}

/* --- nodes ----------------------------------------------------------------------------------------------------------------- */

static struct ip_addr address_of(const struct control_node *n)
{
    struct ip6 loopback = control_loopback(n->reflector ? 0x10000 + n->index : n->index);
    return (struct ip_addr){.family = IP_V6, .a = loopback};
}

static int add_peer(struct control_end *x, const struct control_node *other, int64_t now)
{
    static const uint32_t families[] = {BGP_EVPN, BGP_RTC};
    const struct scenario *s = x->node->above->scenario;
    struct bgp_peer_config p = {.kind = x->node->reflector ? BGP_PEER_CLIENT : BGP_PEER_INTERNAL,
        .address = address_of(other),
        .session = {.local_as = CONTROL_AS,
            .peer_as = CONTROL_AS,
            .hold_time_s = (uint16_t)(s->bgp_hold_ns / NS_PER_S),
            .restart_time_s = (uint16_t)(s->bgp_restart_ns / NS_PER_S),
            .n_families = 2,
            .passive = x->node->reflector}};
    struct error err;
    memcpy(p.session.families, families, sizeof(families));
    return bgp_peer_add(x->node->speaker, &p, now, &x->peer, &err);
}

int control_node_start(struct control_node *n, int64_t now)
{
    struct control *c = n->above;
    struct bgp_speaker_config config = {.role = n->reflector ? BGP_REFLECTOR : BGP_PE,
        .next_hop = control_loopback(n->reflector ? 0x10000 + n->index : n->index),
        .seed = {{c->options.seed, (uint64_t)(n - c->nodes)}}};
    struct bgp_sink sink = {.user = n, .vpn_route = control_vpn_route};
    struct error err;
    bytes_put_be32(config.identifier, (n->reflector ? 0x0aff0000 : 0x0a000000) + n->index + 1);
    if (bgp_speaker_create(&n->speaker, &config, &sink, &err))
        return -ENOMEM;
    n->alive = true;
    n->busy_until_ns = now;
    for (uint32_t i = 0; i < n->n_wires; i++)
        if (add_peer(&n->wires[i]->end[n->reflector], n->wires[i]->end[!n->reflector].node, now))
            return -ENOMEM;
    if (!n->reflector) {
        for (uint32_t i = 0; i < c->n_pes; i++)
            n->reaches[i] = true;
        if (control_routes_announce(n, now))
            return -ENOMEM;
    }
    event_by(&c->events, &n->work, now);
    return 0;
}

void control_node_stop(struct control_node *n)
{
    struct control *c = n->above;
    bgp_speaker_free(n->speaker);
    n->speaker = NULL;
    n->alive = false;
    event_never(&c->events, &n->work);
    event_never(&c->events, &n->hears);
    if (!n->reflector)
        control_routes_lost(n);
}

/* Its timers, what it has to say to whom, and when it wants to be asked again. */
static void on_work(struct event_source *e, int64_t now)
{
    struct control_node *n = (struct control_node *)(void *)((char *)e - offsetof(struct control_node, work));
    struct control *c = n->above;
    if (n->busy_until_ns > now) {
        event_at(&c->events, e, n->busy_until_ns);
        return;
    }
    if (!n->speaker) { /* its first moment */
        c->failed = control_node_start(n, now);
        control_truth(c);
        return;
    }
    int64_t next = bgp_speaker_poll(n->speaker, now);
    for (uint32_t i = 0; i < n->n_wires; i++)
        control_wire_tend(&n->wires[i]->end[n->reflector], now);
    if (next != INT64_MAX)
        event_by(&c->events, e, next > now ? next : now + NS_PER_MS);
}

/* --- the network ----------------------------------------------------------------------------------------------------------- */

static int check(const struct scenario *s, uint32_t pes, uint32_t reflectors, struct error *err)
{
    if (!reflectors || pes < 2)
        return error_set(err, EINVAL,
            "a control plane needs at least one router of role reflector and two of role pe or cpe; this scenario has "
            "%u and %u",
            reflectors, pes);
    if (pes >= BGP_PEERS_MOST || reflectors >= BGP_PEERS_MOST)
        return error_set(
            err, EINVAL, "a reflector has at most %u clients, this scenario %u PEs", BGP_PEERS_MOST - 1, pes);
    if (!s->n_vpns)
        return error_set(err, EINVAL, "this scenario has no VPN: add one under vpns");
    return 0;
}

static int init_nodes(struct control *c, struct error *err)
{
    const struct scenario *s = c->scenario;
    for (uint32_t r = 0; r < s->n_routers; r++) {
        c->n_pes += s->routers[r].role == SCENARIO_PE || s->routers[r].role == SCENARIO_CPE;
        c->n_reflectors += s->routers[r].role == SCENARIO_REFLECTOR;
    }
    int rc = check(s, c->n_pes, c->n_reflectors, err);
    if (rc)
        return rc;
    c->nodes = calloc(c->n_pes + c->n_reflectors, sizeof(*c->nodes));
    if (!c->nodes)
        return -ENOMEM;
    uint32_t pe = 0, reflector = 0;
    for (uint32_t r = 0; r < s->n_routers; r++) {
        bool reflects = s->routers[r].role == SCENARIO_REFLECTOR;
        if (s->routers[r].role == SCENARIO_P)
            continue;
        struct control_node *n = &c->nodes[reflects ? c->n_pes + reflector : pe];
        *n = (struct control_node){
            .above = c, .router = r, .index = reflects ? reflector++ : pe++, .reflector = reflects};
        n->wires = calloc(reflects ? c->n_pes : c->n_reflectors, sizeof(struct control_wire *));
        n->reaches = calloc(c->n_pes, sizeof(*n->reaches));
        if (!n->wires || !n->reaches || event_add(&c->events, &n->work, on_work) ||
            event_add(&c->events, &n->hears, control_hears))
            return -ENOMEM;
    }
    return 0;
}

static int init_wire(struct control *c, struct control_wire *w, struct control_node *pe, struct control_node *reflector)
{
    w->way = (struct distance){-1, 0};
    for (int i = 0; i < 2; i++) {
        struct control_end *x = &w->end[i];
        *x = (struct control_end){.node = i ? reflector : pe, .wire = w, .side = i ? BGP_ACCEPTED : BGP_CONNECTED};
        x->last = &x->first;
        x->node->wires[x->node->n_wires++] = w;
        if (event_add(&c->events, &x->arrives, control_wire_arrival))
            return -ENOMEM;
    }
    return 0;
}

static int init_network(struct control *c)
{
    const struct scenario *s = c->scenario;
    uint32_t nodes = c->n_pes + c->n_reflectors;
    c->wires = calloc((size_t)c->n_pes * c->n_reflectors, sizeof(*c->wires));
    c->down_link = calloc(s->n_links + 1, sizeof(*c->down_link));
    c->down_router = calloc(s->n_routers + 1, sizeof(*c->down_router));
    c->distances = calloc((size_t)nodes * s->n_routers + 1, sizeof(*c->distances));
    if (!c->wires || !c->down_link || !c->down_router || !c->distances)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_pes; i++)
        for (uint32_t k = 0; k < c->n_reflectors; k++)
            if (init_wire(c, &c->wires[c->n_wires++], &c->nodes[i], &c->nodes[c->n_pes + k]))
                return -ENOMEM;
    return control_underlay(c);
}

static int init_start(struct control *c)
{
    for (uint32_t i = 0; i < c->n_pes + c->n_reflectors; i++) {
        int64_t at = c->nodes[i].reflector ? 0 : (int64_t)rng_below(c->options.seed, i, (uint32_t)START_MOST_NS);
        event_at(&c->events, &c->nodes[i].work, at);
    }
    control_truth(c);
    int rc = control_window_begin(c, "start");
    return rc ? rc : control_faults_init(c);
}

int control_create(struct control **ret, const struct scenario *s, const struct control_options *o, struct error *err)
{
    struct control *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(err, ENOMEM, "no memory");
    c->scenario = s;
    c->options = *o;
    if (!c->options.seed)
        c->options.seed = s->seed;
    c->hash = rng_mix(c->options.seed);
    c->end_ns = o->duration_ns ? o->duration_ns : s->duration_ns;
    events_init(&c->events);
    int rc = init_nodes(c, err);
    if (rc == -EINVAL)
        goto fail;
    rc = rc ? rc : control_routes_init(c);
    rc = rc ? rc : init_network(c);
    rc = rc ? rc : init_start(c);
    if (rc == 0 && c->n_routes == 0)
        rc = error_set(err, EINVAL, "nothing is announced: give PEs `routes`, or hosts in a VPN");
    else if (rc == 0 && c->n_routes >= 1u << 24)
        rc = error_set(err, EINVAL, "%u routes are more than this can tell apart (%u)", c->n_routes, (1u << 24) - 1);
    else if (rc)
        error_set(err, ENOMEM, "no memory for this many speakers");
    if (rc)
        goto fail;
    *ret = c;
    return 0;
fail:
    control_free(c);
    return rc;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->n_wires; i++)
        control_wire_done(&c->wires[i]);
    for (uint32_t i = 0; c->nodes && i < c->n_pes + c->n_reflectors; i++) {
        bgp_speaker_free(c->nodes[i].speaker);
        free(c->nodes[i].wires);
        free(c->nodes[i].reaches);
    }
    control_routes_done(c);
    free(c->nodes);
    free(c->wires);
    free(c->down_link);
    free(c->down_router);
    free(c->distances);
    events_done(&c->events);
    free(c);
}

/* --- the run --------------------------------------------------------------------------------------------------------------- */

int control_run(
    struct control *c, bool (*tick)(void *user, int64_t now_ns, int64_t end_ns), void *user, struct error *err)
{
    for (int64_t until = 0; until < c->end_ns && !c->stopped && !c->failed;) {
        until = c->end_ns - until > NS_PER_S ? until + NS_PER_S : c->end_ns;
        while (!c->failed && event_step(&c->events, until))
            ;
        c->stopped = tick && !tick(user, c->events.now_ns, c->end_ns);
    }
    return c->failed ? error_set(err, -c->failed, "no memory in the midst of the run") : 0;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sum_up(struct control *c, struct control_result *r)
{
    int64_t *took = calloc(c->n_windows + 1, sizeof(*took));
    uint32_t n = 0;
    for (uint32_t i = 1; i < c->n_windows; i++) {
        r->unfinished += c->windows[i].unfinished > 0;
        if (took && c->windows[i].last_ns >= 0)
            took[n++] = c->windows[i].last_ns;
    }
    if (n)
        qsort(took, n, sizeof(*took), by_time);
    r->p50_ns = n ? took[(n - 1) / 2] : -1;
    r->p99_ns = n ? took[((uint64_t)n * 99 + 99) / 100 - 1] : -1;
    r->most_ns = n ? took[n - 1] : -1;
    free(took);
}

void control_result(struct control *c, struct control_result *ret)
{
    control_window_end(c);
    *ret = (struct control_result){.pes = c->n_pes,
        .reflectors = c->n_reflectors,
        .vpns = c->scenario->n_vpns,
        .routes = c->n_routes,
        .now_ns = c->events.now_ns,
        .windows = c->windows,
        .n_windows = c->n_windows,
        .events = c->events.fired,
        .octets = c->octets,
        .hash = c->hash};
    for (uint32_t i = 0; i < c->n_pes + c->n_reflectors; i++) {
        const struct control_node *n = &c->nodes[i];
        size_t bytes = n->speaker ? bgp_speaker_bytes(n->speaker) : 0;
        size_t *most = n->reflector ? &ret->reflector_bytes : &ret->pe_bytes;
        *most = bytes > *most ? bytes : *most;
        ret->all_bytes += bytes;
        for (uint32_t k = 0; n->speaker && k < n->n_wires; k++) {
            const struct bgp_session *s = bgp_peer_best_session(n->speaker, n->wires[k]->end[n->reflector].peer);
            ret->updates += s->counters.updates_in;
            ret->sessions += !n->reflector && s->state == BGP_ESTABLISHED;
        }
    }
    sum_up(c, ret);
}
