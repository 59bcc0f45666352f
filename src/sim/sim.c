/* A run: made, stepped, checked, ended. */
#include "base/clock.h"
#include "sim/sim_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define MEMORY   (8ull << 30)
#define CHECK_NS NS_PER_MS

int sim_create(struct sim **ret, const struct plan *p, const struct sim_options *o, struct error *err)
{
    struct sim *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ENOMEM, "no memory");
    s->plan = p;
    s->options = *o;
    s->seed = o->seed ? o->seed : p->scenario->seed;
    s->mode = o->mode;
    s->end_ns = o->duration_ns ? o->duration_ns : p->scenario->duration_ns;
    s->options.check_ns = o->check_ns ? o->check_ns : CHECK_NS;
    s->hash = rng_mix(s->seed);
    events_init(&s->events);
    slab_init(&s->slab, o->memory ? o->memory : MEMORY);
    int rc = hosts_create(&s->hosts, p, &s->events, &s->slab, s->seed, o->only, s->mode, err);
    rc = rc ? rc : sim_build(s, err);
    rc = rc ? rc : sim_faults_init(s, err);
    if (!rc && o->sense)
        rc = sim_sense_init(s, err);
    if (rc) {
        sim_free(s);
        return rc;
    }
    hosts_start(&s->hosts);
    *ret = s;
    return 0;
}

void sim_free(struct sim *s)
{
    if (!s)
        return;
    s->slab.on_free = NULL;
    for (uint32_t i = 0; s->wires && i < 2 * s->plan->scenario->n_links; i++)
        if (s->wires[i].events)
            wire_done(&s->wires[i]);
    for (uint32_t i = 0; s->downs && i < s->hosts.n_cables; i++)
        if (s->downs[i].events)
            wire_done(&s->downs[i]);
    for (uint32_t i = 0; s->nodes && i < s->plan->scenario->n_routers; i++)
        node_done(&s->nodes[i]);
    hosts_free(&s->hosts);
    free(s->nodes);
    free(s->wires);
    free(s->downs);
    free(s->lane_cells);
    free(s->trusted);
    slab_done(&s->slab);
    events_done(&s->events);
    free(s);
}

/* --- what must always hold -------------------------------------------------------------------------------------------------- */

/* How full each lane is, for the trace. */
static void trace_lanes(const struct sim *s, const struct node *n)
{
    struct lane_info l;
    for (uint32_t at = 0; lane_info_next(forward_lanes(n->f), &at, &l);)
        fprintf(s->options.trace, "%" PRId64 " lane router %s lane %" PRIx64 " window %u held %u arrived %" PRIu64 "\n",
            s->events.now_ns, s->plan->scenario->routers[n->index].name, l.id, l.window, l.held, l.arrived);
}

static int check_node(const struct sim *s, struct node *n, struct error *err)
{
    const char *name = s->plan->scenario->routers[n->index].name;
    node_read_losses(n);
    if (!n->f)
        return 0;
    int rc = lane_check(forward_lanes(n->f), err);
    if (rc)
        return error_prefix(err, rc, "at %" PRId64 " ns, router %s", s->events.now_ns, name);
    /* Every packet that a router dropped has been counted by its reason, and nothing else has (R8), but for what it learns
     * to have been on a link when that was cut. (Of what a killed neighbour did with its packets nobody can know.) */
    uint64_t lost = n->lost + n->lost_copies - n->lost_killed - n->lost_dead - n->copies_killed - n->lost_ring, cut = 0;
    for (uint32_t i = 0; i < n->n_ports; i++)
        cut += n->out[i] ? n->out[i]->lost[WIRE_CUT] : 0;
    if (lost > node_recorded(n) || (!s->killed && node_recorded(n) > lost + cut))
        return error_set(err, EPROTO,
            "at %" PRId64 " ns, router %s: %" PRIu64 " packets were dropped, %" PRIu64 " recorded", s->events.now_ns,
            name, lost, node_recorded(n));
    if (s->options.trace)
        trace_lanes(s, n);
    return 0;
}

int sim_check(struct sim *s, struct error *err)
{
    uint64_t lost = s->lost_wire + s->hosts.dropped, misdelivered = 0;
    s->checks++;
    for (uint32_t i = 0; i < s->plan->scenario->n_routers; i++) {
        int rc = check_node(s, &s->nodes[i], err);
        if (rc)
            return rc;
        lost += s->nodes[i].lost;
    }
    for (uint32_t i = 0; i < s->hosts.n_hosts; i++)
        misdelivered += s->hosts.host[i].misdelivered;
    lost += misdelivered;
    if (misdelivered)
        return error_set(err, EPROTO, "%" PRIu64 " packets reached a host that they were not for", misdelivered);
    uint64_t ended = s->hosts.delivered + lost;
    if (ended > s->hosts.sent || s->host_packets > s->hosts.sent)
        return error_set(
            err, EPROTO, "more packets ended than were sent: %" PRIu64 " of %" PRIu64, ended, s->hosts.sent);
    if (s->host_packets != ended && !s->slab.refused)
        return error_set(err, EPROTO, "%" PRIu64 " packets are gone, but %" PRIu64 " were delivered or lost",
            s->host_packets, ended);
    return 0;
}

/* --- running -------------------------------------------------------------------------------------------------------------------- */

bool sim_step(struct sim *s, int64_t until_ns)
{
    return !s->failed && event_step(&s->events, until_ns < s->end_ns ? until_ns : s->end_ns);
}

/* What this thread has computed so far: on a busy machine a run takes longer, but not more of this. */
static int64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int sim_run(struct sim *s, int64_t until_ns, struct error *err)
{
    int64_t began = processor_ns(), until = until_ns < s->end_ns ? until_ns : s->end_ns;
    int rc = 0;
    while (!s->failed && !rc) {
        bool more = event_step(&s->events, s->check_at < until ? s->check_at : until);
        if (s->options.check_ns == 1 || s->events.now_ns >= s->check_at || s->events.now_ns >= s->end_ns) {
            rc = sim_check(s, err);
            s->check_at = s->events.now_ns + s->options.check_ns;
        }
        if (!more && s->events.now_ns >= until)
            break;
    }
    if (s->failed) {
        rc = s->failed;
        *err = s->error;
    }
    if (!rc && s->slab.refused)
        rc = error_set(err, ENOMEM, "packets need more than %" PRIu64 " MB: give the run more memory or less traffic",
            s->slab.bytes_most >> 20);
    s->seconds += (double)(processor_ns() - began) * 1e-9;
    return rc;
}

int64_t sim_now(const struct sim *s)
{
    return s->events.now_ns;
}

int64_t sim_end(const struct sim *s)
{
    return s->end_ns;
}

uint64_t sim_payload(const struct sim *s, uint32_t workload)
{
    return s->hosts.works[workload].payload;
}

uint64_t sim_hash(const struct sim *s)
{
    return s->hash;
}

uint64_t sim_events(const struct sim *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < 2 * s->plan->scenario->n_links; i++)
        n += s->wires[i].arrived;
    for (uint32_t i = 0; i < s->hosts.n_cables; i++)
        n += s->downs[i].arrived + s->hosts.cables[i].up.arrived;
    return n;
}
