/* Paths, workloads and faults of a scenario. */
#include "scenario/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MOST 100000u

/* --- paths ------------------------------------------------------------------------------------------------- */

static int via_names(const struct place *p, const struct scenario *s, const struct file_list *via)
{
    for (unsigned k = 0; k < via->n; k++)
        if (scenario_router_find(s, via->at[k]) == SCENARIO_NONE && scenario_link_find(s, via->at[k]) == SCENARIO_NONE)
            return place_bad(p, "via", via->at[k], "names no router and no link of this scenario");
    return 0;
}

static int path_classes(const struct place *p, const struct file_list *classes, uint8_t *ret)
{
    int rc = 0;
    *ret = classes->n ? 0 : (1u << SCENARIO_CLASSES) - 1;
    for (unsigned k = 0; k < classes->n && !rc; k++) {
        enum scenario_class c = SCENARIO_CONTROL;
        rc = get_class(p, "classes", classes->at[k], &c);
        *ret |= (uint8_t)(1u << c);
    }
    return rc;
}

static int path_how(struct scenario *s, const struct file_path *in, const struct place *p, struct scenario_path *x)
{
    static const char *const hows[] = {"via", "shortest", "disjoint", NULL};
    uint32_t how = in->via.n ? SCENARIO_VIA : in->apart_from ? SCENARIO_DISJOINT : SCENARIO_SHORTEST;
    x->apart_from = SCENARIO_NONE;
    int rc = get_choice(p, "how", in->how, hows, &how);
    rc = rc ? rc
            : get_name(p, "apart_from", in->apart_from, s, scenario_path_find, "path above this one", &x->apart_from);
    x->how = (enum scenario_how)how;
    if (!rc && in->via.n && how != SCENARIO_VIA)
        rc = place_bad(p, "how", in->how, "and via are given; one of them is enough");
    if (!rc && how == SCENARIO_DISJOINT && x->apart_from == SCENARIO_NONE)
        rc = place_missing(p, "apart_from");
    x->via = (const char *const *)in->via.at;
    x->n_via = in->via.n;
    return rc ? rc : via_names(p, s, &in->via);
}

/* It begins and ends where the other one does, and is used for nothing else. */
static int path_protects(
    const struct scenario *s, const struct place *p, const struct file_path *in, const struct scenario_path *x)
{
    if (x->protects == SCENARIO_NONE)
        return 0;
    const struct scenario_path *other = &s->paths[x->protects];
    if (other->from != x->from || other->to != x->to || other->both != x->both)
        return place_bad(
            p, "protects", in->protects, "begins or ends elsewhere, or only one of the two goes both ways");
    if (x->standby || other->standby || other->protects != SCENARIO_NONE)
        return place_bad(
            p, "protects", in->protects, "is standby or protects another one: a stream takes two plain paths");
    for (uint32_t i = 0; i < s->n_paths; i++)
        if (s->paths[i].protects == x->protects)
            return place_bad(p, "protects", in->protects, "is protected by another path already");
    return 0;
}

static int one_path(struct scenario *s, const struct file_path *in, uint32_t i, struct error *err)
{
    struct scenario_path *x = &s->paths[i];
    struct place p = {"paths", i, in->name, err};
    *x = (struct scenario_path){.vpn = SCENARIO_NONE, .both = true, .protects = SCENARIO_NONE};
    int rc = check_name(&p, in->name);
    rc = rc ? rc : scenario_path_find(s, in->name) == SCENARIO_NONE ? 0 : place_bad(&p, "name", in->name, "is taken");
    rc = rc ? rc : !in->from ? place_missing(&p, "from") : !in->to ? place_missing(&p, "to") : 0;
    rc = rc ? rc : get_name(&p, "from", in->from, s, scenario_router_find, "router", &x->from);
    rc = rc ? rc : get_name(&p, "to", in->to, s, scenario_router_find, "router", &x->to);
    if (!rc && x->from == x->to)
        rc = place_bad(&p, "to", in->to, "is where it begins");
    rc = rc ? rc : path_how(s, in, &p, x);
    rc = rc ? rc : get_name(&p, "vpn", in->vpn, s, scenario_vpn_find, "VPN", &x->vpn);
    rc = rc ? rc : path_classes(&p, &in->classes, &x->classes);
    rc = rc ? rc : get_truth(&p, "both", in->both, &x->both);
    rc = rc ? rc : get_truth(&p, "standby", in->standby, &x->standby);
    rc = rc ? rc : get_name(&p, "protects", in->protects, s, scenario_path_find, "path above this one", &x->protects);
    rc = rc ? rc : path_protects(s, &p, in, x);
    x->name = in->name;
    s->n_paths++;
    return rc;
}

int resolve_paths(struct scenario *s, struct file_scenario *f, struct error *err)
{
    s->paths = calloc(f->n_paths + 1, sizeof(*s->paths));
    int rc = s->paths ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < f->n_paths && !rc; i++)
        rc = one_path(s, &f->paths[i], i, err);
    return rc;
}

/* --- workloads --------------------------------------------------------------------------------------------- */

/* A host of that name, or at least one that the pattern matches. */
static int some_host(const struct place *p, const struct scenario *s, const char *key, const char *pattern)
{
    if (!pattern)
        return place_missing(p, key);
    for (uint32_t i = 0; i < s->n_hosts; i++)
        if (name_matches(pattern, s->hosts[i].name))
            return 0;
    return place_bad(p, key, pattern, "names no host of this scenario");
}

/* At least one pair of hosts of one VPN; the classes they use become that VPN's when it lists none. */
static int pairs(struct scenario *s, const struct file_scenario *f, const struct place *p, struct scenario_workload *w)
{
    bool found = false;
    for (uint32_t a = 0; a < s->n_hosts; a++) {
        if (!name_matches(w->from, s->hosts[a].name))
            continue;
        for (uint32_t b = 0; b < s->n_hosts; b++) {
            uint32_t v = s->hosts[a].vpn;
            if (a == b || s->hosts[b].vpn != v || !name_matches(w->to, s->hosts[b].name))
                continue;
            found = true;
            if (!f->vpns[v].n_classes && !s->vpns[v].best_effort)
                s->vpns[v].slice[w->class_].wanted = true;
        }
    }
    return found ? 0 : place_bad(p, "to", w->to, "is no other host of the VPN that `from` is in");
}

static int times(const struct place *p, const struct file_workload *in, struct scenario_workload *w)
{
    int rc = get_time(p, "start", in->start, &w->start_ns);
    rc = rc ? rc : get_time(p, "duration", in->duration, &w->duration_ns);
    rc = rc ? rc : get_time(p, "burst", in->burst, &w->on_ns);
    rc = rc ? rc : get_time(p, "pause", in->pause, &w->off_ns);
    rc = rc ? rc : get_time(p, "stagger", in->stagger, &w->stagger_ns);
    rc = rc ? rc : get_time(p, "settle", in->settle, &w->settle_ns);
    if (!rc && w->off_ns && !w->on_ns)
        return place_missing(p, "burst");
    return rc;
}

static int one_workload(struct scenario *s, struct file_scenario *f, uint32_t i, struct error *err)
{
    static const char *const types[] = {"tcp", "udp", "roce", "command", NULL};
    const struct file_workload *in = &f->workloads[i];
    struct scenario_workload *w = &s->workloads[i];
    struct place p = {"workloads", i, in->name, err};
    uint32_t type = SCENARIO_WORK_TCP, dscp = 256;
    *w = (struct scenario_workload){.name = in->name,
        .from = in->from,
        .to = in->to,
        .class_ = SCENARIO_PARAMETER,
        .count = 1,
        .command = in->command,
        .server = in->server};
    int rc = check_name(&p, in->name);
    rc = rc                                                     ? rc
         : scenario_workload_find(s, in->name) == SCENARIO_NONE ? 0
                                                                : place_bad(&p, "name", in->name, "is taken");
    s->n_workloads++;
    rc = rc ? rc : in->type ? get_choice(&p, "type", in->type, types, &type) : place_missing(&p, "type");
    rc = rc ? rc : some_host(&p, s, "from", in->from);
    rc = rc ? rc : some_host(&p, s, "to", in->to);
    rc = rc ? rc : get_class(&p, "class", in->class_, &w->class_);
    rc = rc ? rc : get_u32(&p, "dscp", in->dscp, 0, 63, &dscp);
    rc = rc ? rc : get_rate(&p, "rate", in->rate, &w->rate_bps);
    rc = rc ? rc : get_bytes(&p, "bytes", in->bytes, &w->bytes);
    rc = rc ? rc : get_u32(&p, "packet", in->packet, 64, 9600, &w->packet);
    rc = rc ? rc : get_bytes(&p, "message", in->message, &w->message);
    rc = rc ? rc : get_u32(&p, "count", in->count, 1, 10000, &w->count);
    rc = rc ? rc : times(&p, in, w);
    w->type = (enum scenario_work)type;
    w->dscp = dscp < 64 ? (uint8_t)dscp : SCENARIO_DSCP_OF_CLASS;
    if (!rc && w->type == SCENARIO_WORK_COMMAND && !w->command)
        rc = place_missing(&p, "command");
    if (!rc && in->rate && !w->rate_bps)
        rc = place_bad(&p, "rate", in->rate, "sends nothing");
    if (!rc && w->type == SCENARIO_WORK_UDP && !w->rate_bps)
        rc = place_missing(&p, "rate");
    if (!rc && w->class_ == SCENARIO_CONTROL)
        rc = place_bad(&p, "class", in->class_, "is the routers' own");
    return rc ? rc : pairs(s, f, &p, w);
}

/* --- faults ------------------------------------------------------------------------------------------------ */

static const char *const fault_names[] = {
    "cut", "restore", "degrade", "heal", "stall", "resume", "kill", "drain", "restart", "reset", "move", NULL};
/* What ends each one after `for`. */
static const enum scenario_fault_kind undone_by[] = {
    SCENARIO_RESTORE, 0, SCENARIO_HEAL, 0, SCENARIO_RESUME, 0, SCENARIO_RESTART, SCENARIO_RESTART, 0, 0, 0};

static uint32_t target_count(const struct scenario *s, enum scenario_fault_kind k)
{
    return k <= SCENARIO_HEAL      ? s->n_links
           : k <= SCENARIO_RESUME  ? s->n_hosts
           : k == SCENARIO_RESET   ? s->n_routers
           : k == SCENARIO_DRAIN   ? s->n_routers
           : k <= SCENARIO_RESTART ? s->n_routers + s->n_programs
                                   : s->n_vpns;
}

static const char *target_name(const struct scenario *s, enum scenario_fault_kind k, uint32_t i)
{
    return k <= SCENARIO_HEAL     ? s->links[i].name
           : k <= SCENARIO_RESUME ? s->hosts[i].name
           : k > SCENARIO_RESET   ? s->vpns[i].name
           : i < s->n_routers     ? s->routers[i].name
                                  : s->programs[i - s->n_routers].name;
}

static int add_fault(struct scenario *s, const struct scenario_fault *x, struct error *err)
{
    if (s->n_faults == FAULTS_MOST)
        return error_set(err, EINVAL, "faults: more than %u of them", FAULTS_MOST);
    if ((s->n_faults & (s->n_faults - 1)) == 0) { /* full at powers of two */
        struct scenario_fault *more = realloc(s->faults, (s->n_faults ? 2 * s->n_faults : 1) * sizeof(*more));
        if (!more)
            return error_set(err, ENOMEM, "no memory");
        s->faults = more;
    }
    s->faults[s->n_faults++] = *x;
    return 0;
}

static int move_fault(struct scenario *s, const struct file_fault *in, const struct place *p, struct scenario_fault *x)
{
    int rc = in->from_path && in->to_path ? 0 : place_missing(p, in->from_path ? "to_path" : "from_path");
    rc = rc ? rc : get_name(p, "from_path", in->from_path, s, scenario_path_find, "path", &x->from_path);
    rc = rc ? rc : get_name(p, "to_path", in->to_path, s, scenario_path_find, "path", &x->to_path);
    x->class_ = SCENARIO_PARAMETER;
    rc = rc ? rc : get_class(p, "class", in->class_, &x->class_);
    if (!rc && (s->paths[x->from_path].from != s->paths[x->to_path].from ||
                   s->paths[x->from_path].to != s->paths[x->to_path].to))
        rc = place_bad(p, "to_path", in->to_path, "does not lead from and to the same routers as from_path");
    return rc;
}

static int one_fault(struct scenario *s, const struct file_fault *in, uint32_t i, struct error *err)
{
    struct place p = {"faults", i, in->fault, err};
    struct scenario_fault x = {0};
    uint32_t kind = 0, found = 0;
    int64_t lasts = 0;
    int rc = !in->fault ? place_missing(&p, "fault") : !in->of ? place_missing(&p, "of") : 0;
    rc = rc ? rc : in->at ? get_time(&p, "at", in->at, &x.at_ns) : place_missing(&p, "at");
    rc = rc ? rc : get_choice(&p, "fault", in->fault, fault_names, &kind);
    rc = rc ? rc : get_time(&p, "for", in->for_, &lasts);
    x.kind = (enum scenario_fault_kind)kind;
    if (!rc && in->for_ && !undone_by[kind])
        rc = place_bad(&p, "for", in->for_, "has no meaning here: this is done once");
    rc = rc ? rc : resolve_quality(&p, in, &x.quality);
    if (!rc && x.kind == SCENARIO_MOVE)
        rc = move_fault(s, in, &p, &x);
    for (x.what = 0; !rc && x.what < target_count(s, x.kind); x.what++) {
        if (!name_matches(in->of, target_name(s, x.kind, x.what)))
            continue;
        struct scenario_fault undo = {.at_ns = x.at_ns + lasts, .kind = undone_by[kind], .what = x.what};
        found++;
        rc = add_fault(s, &x, err);
        if (!rc && in->for_)
            rc = add_fault(s, &undo, err);
    }
    return rc || found ? rc : place_bad(&p, "of", in->of, "names nothing of this scenario that this can happen to");
}

/* In order of time; those of one moment as they stand in the file. */
static void sort_faults(struct scenario *s)
{
    for (uint32_t i = 1; i < s->n_faults; i++) {
        struct scenario_fault x = s->faults[i];
        uint32_t k = i;
        for (; k > 0 && s->faults[k - 1].at_ns > x.at_ns; k--)
            s->faults[k] = s->faults[k - 1];
        s->faults[k] = x;
    }
}

int resolve_work(struct scenario *s, struct file_scenario *f, struct error *err)
{
    s->workloads = calloc(f->n_workloads + 1, sizeof(*s->workloads));
    int rc = s->workloads ? 0 : error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < f->n_workloads && !rc; i++)
        rc = one_workload(s, f, i, err);
    for (uint32_t i = 0; i < f->n_faults && !rc; i++)
        rc = one_fault(s, &f->faults[i], i, err);
    sort_faults(s);
    return rc;
}
