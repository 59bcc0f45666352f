#include "lab/watch.h"

#include "lab/ask.h"
#include "telemetry/loss.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct counts {
    uint64_t lane_drops, drops, by_reason[LOSS_REASONS];
};

struct watched {
    struct counts last; /* as it said the last time */
    bool answered;
};

struct lab_watch {
    const struct lab_world *world;
    struct watched *routers;
    struct counts sum;
    double peak_over_w;
    bool begun;
};

static enum loss_reason reason_of(const char *name)
{
    for (int i = 0; i < LOSS_REASONS; i++)
        if (!strcmp(name, loss_reason_name((enum loss_reason)i)))
            return (enum loss_reason)i;
    return LOSS_NONE;
}

/* Losses inside lanes by the routers' doing; the same set as the simulator's. */
static bool in_lane(enum loss_reason r)
{
    return r == LOSS_BEYOND_CREDIT || r == LOSS_UNKNOWN_LANE || r == LOSS_WRONG_PATH || r == LOSS_TAIL ||
           r == LOSS_NO_BUFFER || r == LOSS_STALE_EPOCH;
}

/* Neither copies nor what was refused at the entrance is a loss of the network. */
static bool is_loss(enum loss_reason r)
{
    return in_lane(r) || r == LOSS_LINK || r == LOSS_WATCHDOG || r == LOSS_CUT || r == LOSS_NO_NEIGHBOUR ||
           r == LOSS_NO_KEY || r == LOSS_LINK_DOWN;
}

/* `lanes`: a full lossy queue is no lane then; in the other modes it is what lanes are compared with. */
static bool read_losses(const char *socket, bool lanes, struct counts *ret)
{
    yyjson_doc *d;
    if (lab_ask(socket, "{\"do\":\"show\",\"what\":\"losses\"}", &d, NULL))
        return false;
    struct counts c = {0};
    size_t i, n;
    yyjson_val *reason, *o;
    yyjson_obj_foreach(yyjson_obj_get(yyjson_doc_get_root(d), "totals"), i, n, reason, o)
    {
        enum loss_reason r = reason_of(yyjson_get_str(reason));
        uint64_t packets = yyjson_get_uint(yyjson_obj_get(o, "packets"));
        if (r == LOSS_LINK) /* gaps are cells until the sender names their packets */
            packets = yyjson_get_uint(yyjson_obj_get(o, "cells"));
        c.lane_drops += in_lane(r) && !(lanes && r == LOSS_TAIL) ? packets : 0;
        c.drops += is_loss(r) ? packets : 0;
        c.by_reason[r] += is_loss(r) ? packets : 0;
    }
    yyjson_doc_free(d);
    *ret = c;
    return true;
}

static void look_at_lanes(struct lab_watch *v, const char *socket)
{
    yyjson_doc *d;
    if (lab_ask(socket, "{\"do\":\"show\",\"what\":\"lanes\"}", &d, NULL))
        return;
    size_t i, n;
    yyjson_val *lane;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(d), "lanes"), i, n, lane)
    {
        double window = (double)yyjson_get_uint(yyjson_obj_get(lane, "window_cells"));
        double occupied = (double)yyjson_get_uint(yyjson_obj_get(lane, "occupied_cells"));
        if (window > 0 && occupied / window > v->peak_over_w)
            v->peak_over_w = occupied / window;
    }
    yyjson_doc_free(d);
}

static int64_t later(int64_t was, yyjson_val *o, const char *key)
{
    int64_t ns = (int64_t)(yyjson_get_num(yyjson_obj_get(o, key)) * 1e3);
    return ns > was ? ns : was;
}

static void ask_how_late(const char *socket, struct lab_router_totals *t)
{
    yyjson_doc *d;
    if (lab_ask(socket, "{\"do\":\"show\",\"what\":\"router\"}", &d, NULL))
        return;
    yyjson_val *o = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(d), "router"));
    t->late_p50_ns = later(t->late_p50_ns, o, "late_p50_us");
    t->late_p999_ns = later(t->late_p999_ns, o, "late_p999_us");
    t->late_most_ns = later(t->late_most_ns, o, "late_most_us");
    yyjson_doc_free(d);
}

void lab_watch_look(struct lab_watch *v)
{
    for (uint32_t i = 0; i < v->world->plan->scenario->n_routers; i++) {
        const struct lab_router *r = &v->world->routers[i];
        struct watched *w = &v->routers[i];
        struct counts now;
        if (!r->process.running || !read_losses(r->socket, v->world->plan->scenario->mode == SCENARIO_LANES, &now))
            continue;
        if (now.drops < w->last.drops || now.lane_drops < w->last.lane_drops)
            w->last = (struct counts){0}; /* it has begun anew */
        if (v->begun) {
            v->sum.drops += now.drops - w->last.drops;
            v->sum.lane_drops += now.lane_drops - w->last.lane_drops;
            for (int k = 0; k < LOSS_REASONS; k++)
                v->sum.by_reason[k] +=
                    now.by_reason[k] > w->last.by_reason[k] ? now.by_reason[k] - w->last.by_reason[k] : 0;
            look_at_lanes(v, r->socket);
        }
        w->last = now;
        w->answered = true;
    }
    v->begun = true;
}

int lab_watch_create(struct lab_watch **ret, const struct lab_world *w, struct error *err)
{
    struct lab_watch *v = calloc(1, sizeof(*v));
    struct watched *routers = calloc(w->plan->scenario->n_routers + 1, sizeof(*routers));
    if (!v || !routers) {
        free(v);
        free(routers);
        return error_set(err, ENOMEM, "out of memory");
    }
    *v = (struct lab_watch){.world = w, .routers = routers};
    lab_watch_look(v);
    *ret = v;
    return 0;
}

void lab_watch_free(struct lab_watch *v)
{
    if (v)
        free(v->routers);
    free(v);
}

void lab_watch_totals(const struct lab_watch *v, struct lab_router_totals *ret)
{
    *ret = (struct lab_router_totals){
        .known = true, .lane_drops = v->sum.lane_drops, .drops = v->sum.drops, .peak_over_w = v->peak_over_w};
    memcpy(ret->by_reason, v->sum.by_reason, sizeof(ret->by_reason));
    for (uint32_t i = 0; i < v->world->plan->scenario->n_routers; i++)
        ret->known &= v->routers[i].answered;
    for (uint32_t i = 0; i < v->world->plan->scenario->n_routers; i++)
        if (v->world->routers[i].process.running)
            ask_how_late(v->world->routers[i].socket, ret);
}
