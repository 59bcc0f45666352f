/* How fast backpressure is: the time from the moment at which a lane's buffer at a hop begins to fill (more than SENSE_CELLS
 * held: what came does not leave at once) to the moment at which the upstream router withholds the lane's next packet (it has
 * one, and no credit). Looked at every microsecond, so figures are right to that. For runs of few lanes. */
#include "base/clock.h"
#include "sim/sim_inner.h"

#include <errno.h>

#define SENSE_CELLS    16
#define SENSE_EVERY_NS NS_PER_US

static struct sense_lane *lane_of(struct sim *s, uint32_t router, uint64_t id)
{
    for (uint32_t i = 0; i < s->n_sense; i++)
        if (s->sense[i].router == router && s->sense[i].id == id)
            return &s->sense[i];
    if (s->n_sense == SENSE_LANES_MOST)
        return NULL;
    s->sense[s->n_sense] = (struct sense_lane){.router = router, .id = id, .sensed_ns = -1};
    return &s->sense[s->n_sense++];
}

static bool upstream_blocked(const struct sim *s, uint32_t router, const struct lane_info *l)
{
    const struct node *up = &s->nodes[s->plan->routers[router].ports[l->in_port].peer];
    struct lane_sender_info t;
    for (uint32_t at = 0; up->f && lane_sender_next(forward_lanes(up->f), &at, &t);)
        if (t.id == l->id)
            return t.blocked;
    return false;
}

static void look(struct sim *s, uint32_t router, const struct lane_info *l, int64_t now)
{
    struct sense_lane *x = lane_of(s, router, l->id);
    bool full = l->held > SENSE_CELLS;
    if (!x || (!full && !x->withheld && x->sensed_ns < 0))
        return;
    bool blocked = upstream_blocked(s, router, l);
    if (x->withheld) {
        x->withheld = full || blocked;
    } else if (x->sensed_ns < 0) {
        x->sensed_ns = blocked ? -1 : now;
        x->withheld = blocked; /* of an earlier one: not counted */
    } else if (blocked) {
        quantile_add(&s->sensed, now - x->sensed_ns);
        x->withheld = true;
        x->sensed_ns = -1;
    } else if (!full) {
        x->sensed_ns = -1; /* it passed without the upstream noticing */
    }
}

static void on_sense(struct event_source *e, int64_t now)
{
    struct sim *s = (struct sim *)(void *)((char *)e - offsetof(struct sim, sense_timer));
    struct lane_info l;
    for (uint32_t i = 0; i < s->plan->scenario->n_routers; i++)
        for (uint32_t at = 0; s->nodes[i].f && lane_info_next(forward_lanes(s->nodes[i].f), &at, &l);)
            look(s, i, &l, now);
    event_at(&s->events, e, now + SENSE_EVERY_NS);
}

int sim_sense_init(struct sim *s, struct error *err)
{
    if (event_add(&s->events, &s->sense_timer, on_sense))
        return error_set(err, ENOMEM, "no memory");
    event_at(&s->events, &s->sense_timer, 0);
    return 0;
}
