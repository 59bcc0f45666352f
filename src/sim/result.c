/* What a run has shown so far, and what an expectation says of it. */
#include "scenario/plan_inner.h"
#include "sim/sim_inner.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void work_result(const struct sim *s, uint32_t i, struct sim_work_result *r)
{
    const struct work *w = &s->hosts.works[i];
    int64_t now = s->events.now_ns, end = w->stop_ns < now ? w->stop_ns : now;
    *r = (struct sim_work_result){.name = s->plan->scenario->workloads[i].name,
        .type = scenario_work_name(s->plan->scenario->workloads[i].type),
        .sent = w->sent,
        .delivered = w->delivered,
        .lost_links = w->lost_wire,
        .lost_routers = w->lost_router,
        .lost_hosts = w->lost_host,
        .under_way = w->sent - w->delivered - w->lost_wire - w->lost_router - w->lost_host,
        .held_back = w->held_back,
        .payload = w->payload,
        .wanted = w->wanted,
        .least_ns = w->latency.least_ns,
        .p50_ns = quantile_at(&w->latency, QUANTILE_P50),
        .p99_ns = quantile_at(&w->latency, QUANTILE_P99),
        .p999_ns = quantile_at(&w->latency, QUANTILE_P999),
        .most_ns = w->latency.most_ns,
        .silence_ns = w->silence_ns,
        .ramp_ns = w->ramp_ns,
        .first_ns = w->first_ns,
        .last_ns = w->last_ns,
        .retransmitted = w->retransmitted,
        .marked = w->marked,
        .reordered = w->reordered,
        .broken = w->broken,
        .completed = w->wanted ? (double)w->payload / (double)w->wanted : NAN,
        .ran = w->streams > 0};
    /* While it ran: from the first delivery to the last, or as long as it still wanted to send. */
    int64_t until = w->finished == w->streams || w->last_ns > end ? w->last_ns : end;
    if (w->measured && until > w->first_ns) {
        double span = (double)(until - w->first_ns) * 1e-9;
        r->goodput_bps = (double)w->measured * 8 / span;
        r->wire_bps = (double)w->measured_wire * 8 / span;
    }
}

/* Every lane at every router where it arrives. */
static int lane_results(struct sim *s, struct sim_result *r)
{
    struct lane_info l;
    for (uint32_t i = 0; i < s->plan->scenario->n_routers; i++)
        for (uint32_t at = 0; s->nodes[i].f && lane_info_next(forward_lanes(s->nodes[i].f), &at, &l);) {
            struct sim_lane_result *x = plan_grow((void **)&r->lanes, &r->n_lanes, sizeof(*r->lanes));
            if (!x)
                return -ENOMEM;
            *x = (struct sim_lane_result){.id = l.id,
                .router = i,
                .port = l.in_port,
                .tenant = l.tenant,
                .class_ = l.class_,
                .window = l.window_most,
                .peak = l.held_most,
                .cells = l.arrived};
        }
    for (uint32_t i = 0; i < r->n_lanes; i++) {
        double over = r->lanes[i].window ? (double)r->lanes[i].peak / r->lanes[i].window : 0;
        r->peak_over_w = over > r->peak_over_w ? over : r->peak_over_w;
    }
    return 0;
}

/* Reasons for which a router drops what is in a lane: overflow in any form, and its own mistakes. Links, cuts, hosts that
 * overrun their policer, and lanes that are discarded because their sink is dead are told apart. */
static bool is_lane_drop(unsigned reason)
{
    switch (reason) {
    case LOSS_BEYOND_CREDIT:
    case LOSS_UNKNOWN_LANE:
    case LOSS_WRONG_PATH:
    case LOSS_TAIL:
    case LOSS_NO_BUFFER:
    case LOSS_STALE_EPOCH:
        return true;
    default:
        return false;
    }
}

static void node_result(struct sim *s, struct node *n, struct sim_result *r)
{
    node_read_losses(n);
    for (unsigned i = 0; n->f && i < LOSS_REASONS; i++) {
        const struct loss_log *log = forward_loss(n->f);
        r->by_reason[i] += i == LOSS_LINK ? log->cells[i] : log->packets[i];
    }
    r->lost_killed += n->lost_killed + n->lost_dead;
    r->refused += n->events[LANE_EVENT_REFUSED];
    r->miscabled += n->events[LANE_EVENT_MISCABLED];
    r->watchdogs += n->events[LANE_EVENT_WATCHDOG];
}

/* Cells that links lost in lanes, against what the router at their end recorded for that port. */
static uint64_t unaccounted(const struct sim *s)
{
    uint64_t off = 0;
    for (uint32_t i = 0; i < 2 * s->plan->scenario->n_links; i++) {
        const struct wire *w = &s->wires[i];
        const struct node *to = w->ends.to;
        uint64_t said = to->gap_cells[w->ends.to_port], was = s->lane_cells[i];
        off += said > was ? said - was : was - said;
    }
    return off;
}

int sim_result(struct sim *s, struct sim_result *r)
{
    const struct scenario *sc = s->plan->scenario;
    *r = (struct sim_result){.mode = s->mode,
        .as_lab = s->plan->for_lab,
        .seed = s->seed,
        .hash = s->hash,
        .events = sim_events(s),
        .fired = s->events.fired,
        .checks = s->checks,
        .now_ns = s->events.now_ns,
        .seconds = s->seconds,
        .n_works = sc->n_workloads,
        .sent = s->hosts.sent,
        .delivered = s->hosts.delivered,
        .under_way = s->hosts.sent - s->host_packets,
        .lost_links = s->lost_wire,
        .lost_control = s->lost_control,
        .lost_cut = s->lost_cut,
        .sense = s->sensed};
    r->works = calloc(r->n_works + 1, sizeof(*r->works));
    if (!r->works)
        return -ENOMEM;
    hosts_finish(&s->hosts, s->events.now_ns);
    for (uint32_t i = 0; i < r->n_works; i++)
        work_result(s, i, &r->works[i]);
    for (uint32_t i = 0; i < sc->n_routers; i++)
        node_result(s, &s->nodes[i], r);
    for (uint32_t i = 0; i < s->hosts.n_hosts; i++)
        r->misdelivered += s->hosts.host[i].misdelivered;
    for (unsigned i = 0; i < LOSS_REASONS; i++)
        r->lane_drops += s->mode == SCENARIO_LANES && is_lane_drop(i) ? r->by_reason[i] : 0;
    r->unaccounted = unaccounted(s);
    return lane_results(s, r);
}

void sim_result_done(struct sim_result *r)
{
    free(r->works);
    free(r->lanes);
    r->works = NULL;
    r->lanes = NULL;
}

/* --- metrics --------------------------------------------------------------------------------------------------------------------- */

static uint64_t drops(const struct sim_work_result *w)
{
    return w->lost_links + w->lost_routers;
}

static double of_work(const struct sim_work_result *w, enum scenario_metric m)
{
    switch (m) {
    case SCENARIO_DROPS:
        return (double)drops(w);
    case SCENARIO_GOODPUT:
        return w->goodput_bps;
    case SCENARIO_P50:
        return (double)w->p50_ns;
    case SCENARIO_P99:
        return (double)w->p99_ns;
    case SCENARIO_P999:
        return (double)w->p999_ns;
    case SCENARIO_JITTER:
        return (double)(w->p999_ns - w->p50_ns);
    case SCENARIO_COMPLETED:
        return w->completed;
    case SCENARIO_RETRANSMIT:
        return (double)w->retransmitted;
    case SCENARIO_REORDERED:
        return (double)w->reordered;
    case SCENARIO_SILENCE:
        return (double)w->silence_ns;
    case SCENARIO_RAMP:
        return w->ramp_ns ? (double)w->ramp_ns : NAN;
    default:
        return NAN;
    }
}

double sim_metric(const struct sim_result *r, const struct scenario_expect *e)
{
    double sum = 0;
    if (scenario_metric_of_program(e->metric))
        return NAN; /* programs are real, or not there */
    switch (e->metric) {
    case SCENARIO_LANE_DROPS:
        return (double)r->lane_drops;
    case SCENARIO_PEAK_OVER_W:
        return r->peak_over_w;
    case SCENARIO_UNACCOUNTED:
        return (double)r->unaccounted;
    default:
        break;
    }
    if (e->workload != SCENARIO_NONE)
        return of_work(&r->works[e->workload], e->metric);
    for (uint32_t i = 0; i < r->n_works; i++)
        sum += of_work(&r->works[i], e->metric);
    return sum;
}
