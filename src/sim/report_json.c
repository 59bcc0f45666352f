/* A run as one JSON object. */
#include "sim/report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yyjson.h>

static void put_real(yyjson_mut_doc *d, yyjson_mut_val *o, const char *key, double v)
{
    if (isfinite(v))
        yyjson_mut_obj_add_real(d, o, key, v);
    else
        yyjson_mut_obj_add_null(d, o, key);
}

static yyjson_mut_val *work(yyjson_mut_doc *d, const struct sim_work_result *w)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "name", w->name);
    yyjson_mut_obj_add_str(d, o, "type", w->type);
    put_real(d, o, "goodput_bps", w->goodput_bps);
    put_real(d, o, "wire_bps", w->wire_bps);
    yyjson_mut_obj_add_sint(d, o, "least_ns", w->least_ns);
    yyjson_mut_obj_add_sint(d, o, "p50_ns", w->p50_ns);
    yyjson_mut_obj_add_sint(d, o, "p99_ns", w->p99_ns);
    yyjson_mut_obj_add_sint(d, o, "p999_ns", w->p999_ns);
    yyjson_mut_obj_add_sint(d, o, "most_ns", w->most_ns);
    yyjson_mut_obj_add_sint(d, o, "silence_ns", w->silence_ns);
    yyjson_mut_obj_add_sint(d, o, "ramp_ns", w->ramp_ns);
    yyjson_mut_obj_add_sint(d, o, "first_ns", w->first_ns);
    yyjson_mut_obj_add_sint(d, o, "last_ns", w->last_ns);
    yyjson_mut_obj_add_uint(d, o, "sent", w->sent);
    yyjson_mut_obj_add_uint(d, o, "delivered", w->delivered);
    yyjson_mut_obj_add_uint(d, o, "lost", w->lost_links + w->lost_routers + w->lost_hosts);
    yyjson_mut_obj_add_uint(d, o, "lost_links", w->lost_links);
    yyjson_mut_obj_add_uint(d, o, "lost_routers", w->lost_routers);
    yyjson_mut_obj_add_uint(d, o, "lost_hosts", w->lost_hosts);
    yyjson_mut_obj_add_uint(d, o, "under_way", w->under_way);
    yyjson_mut_obj_add_uint(d, o, "held_back", w->held_back);
    yyjson_mut_obj_add_uint(d, o, "retransmitted", w->retransmitted);
    yyjson_mut_obj_add_uint(d, o, "reordered", w->reordered);
    yyjson_mut_obj_add_uint(d, o, "marked", w->marked);
    yyjson_mut_obj_add_uint(d, o, "broken", w->broken);
    yyjson_mut_obj_add_uint(d, o, "payload", w->payload);
    put_real(d, o, "completed", w->completed);
    return o;
}

static yyjson_mut_val *lane(yyjson_mut_doc *d, const struct plan *p, const struct sim_lane_result *l)
{
    char id[24];
    yyjson_mut_val *o = yyjson_mut_obj(d);
    snprintf(id, sizeof(id), "%llx", (unsigned long long)l->id);
    yyjson_mut_obj_add_strcpy(d, o, "id", id);
    yyjson_mut_obj_add_str(d, o, "router", p->scenario->routers[l->router].name);
    yyjson_mut_obj_add_uint(d, o, "port", l->port);
    yyjson_mut_obj_add_uint(d, o, "tenant", l->tenant);
    yyjson_mut_obj_add_str(d, o, "class", scenario_class_name((enum scenario_class)l->class_));
    yyjson_mut_obj_add_uint(d, o, "window_cells", l->window);
    yyjson_mut_obj_add_uint(d, o, "peak_cells", l->peak);
    yyjson_mut_obj_add_uint(d, o, "cells", l->cells);
    return o;
}

static yyjson_mut_val *verdict(yyjson_mut_doc *d, const struct scenario_expect *e, const struct runner_verdict *v)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_str(d, o, "expectation", e->text);
    yyjson_mut_obj_add_bool(d, o, "met", v->met);
    put_real(d, o, "seen", v->seen);
    if (e->alone)
        put_real(d, o, "alone", v->alone);
    return o;
}

static void totals(yyjson_mut_doc *d, yyjson_mut_val *o, const struct run *r)
{
    const struct sim_result *x = &r->result;
    char hash[24];
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)x->hash);
    yyjson_mut_obj_add_str(d, o, "world", "sim");
    yyjson_mut_obj_add_bool(d, o, "as_lab", x->as_lab);
    yyjson_mut_obj_add_str(d, o, "mode", scenario_mode_name(x->mode));
    yyjson_mut_obj_add_uint(d, o, "seed", x->seed);
    yyjson_mut_obj_add_strcpy(d, o, "hash", hash);
    yyjson_mut_obj_add_bool(d, o, "whole", r->whole);
    if (r->rc)
        yyjson_mut_obj_add_str(d, o, "violation", r->error.text);
    yyjson_mut_obj_add_sint(d, o, "virtual_ns", x->now_ns);
    put_real(d, o, "seconds", x->seconds);
    yyjson_mut_obj_add_uint(d, o, "events", x->events);
    put_real(d, o, "events_per_s", x->seconds > 0 ? (double)x->events / x->seconds : NAN);
    yyjson_mut_obj_add_uint(d, o, "checks", x->checks);
    yyjson_mut_obj_add_uint(d, o, "sent", x->sent);
    yyjson_mut_obj_add_uint(d, o, "delivered", x->delivered);
    yyjson_mut_obj_add_uint(d, o, "under_way", x->under_way);
    yyjson_mut_obj_add_uint(d, o, "lost_links", x->lost_links);
    yyjson_mut_obj_add_uint(d, o, "lost_control", x->lost_control);
    yyjson_mut_obj_add_uint(d, o, "lost_cut", x->lost_cut);
    yyjson_mut_obj_add_uint(d, o, "lost_killed", x->lost_killed);
    yyjson_mut_obj_add_uint(d, o, "lane_drops", x->lane_drops);
    yyjson_mut_obj_add_uint(d, o, "unaccounted", x->unaccounted);
    yyjson_mut_obj_add_uint(d, o, "misdelivered", x->misdelivered);
    yyjson_mut_obj_add_uint(d, o, "refused", x->refused);
    yyjson_mut_obj_add_uint(d, o, "watchdogs", x->watchdogs);
    put_real(d, o, "peak_over_w", x->peak_over_w);
    yyjson_mut_obj_add_sint(d, o, "sense_p50_ns", quantile_at(&x->sense, QUANTILE_P50));
    yyjson_mut_obj_add_sint(d, o, "sense_p99_ns", quantile_at(&x->sense, QUANTILE_P99));
    yyjson_mut_obj_add_uint(d, o, "sense_count", x->sense.count);
}

int report_json(FILE *to, const struct plan *p, const struct run *r, const struct runner_verdict *v)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = d ? yyjson_mut_obj(d) : NULL;
    if (!o) {
        yyjson_mut_doc_free(d);
        return -ENOMEM;
    }
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_str(d, o, "scenario", p->scenario->name);
    totals(d, o, r);
    yyjson_mut_val *reasons = yyjson_mut_obj_add_obj(d, o, "dropped");
    for (unsigned i = 0; i < LOSS_REASONS; i++)
        if (r->result.by_reason[i])
            yyjson_mut_obj_add_uint(d, reasons, loss_reason_name((enum loss_reason)i), r->result.by_reason[i]);
    yyjson_mut_val *works = yyjson_mut_obj_add_arr(d, o, "workloads");
    for (uint32_t i = 0; i < r->result.n_works; i++)
        if (r->result.works[i].ran)
            yyjson_mut_arr_append(works, work(d, &r->result.works[i]));
    yyjson_mut_val *lanes = yyjson_mut_obj_add_arr(d, o, "lanes");
    for (uint32_t i = 0; i < r->result.n_lanes; i++)
        yyjson_mut_arr_append(lanes, lane(d, p, &r->result.lanes[i]));
    yyjson_mut_val *expect = yyjson_mut_obj_add_arr(d, o, "expectations");
    for (uint32_t i = 0; v && i < p->scenario->n_expect; i++)
        yyjson_mut_arr_append(expect, verdict(d, &p->scenario->expect[i], &v[i]));
    char *text = yyjson_mut_write(d, YYJSON_WRITE_NOFLAG, NULL);
    yyjson_mut_doc_free(d);
    if (!text)
        return -ENOMEM;
    fprintf(to, "%s\n", text);
    free(text);
    return 0;
}
