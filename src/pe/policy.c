/* SR Policies (RFC 9256) as they come by BGP (RFC 9830) become paths; classes of VRFs that ask for a colour take them, each with a
 * slice of its own.
 *
 *   candidates (distinguisher) → policy (colour, endpoint): the valid one with the highest preference, its heaviest list
 *   way: that list as a path of the core; never changed, since lanes run along it: another list is another way
 *   steer (VRF, class, colour, endpoint, service): on which way a class's packets to one service are
 *
 * A better candidate moves each steer by make before break: the new way is made, the slice is moved there (nothing is lost or
 * reordered), and only when its packets are there do routes name the new path and the old one goes. A slice that is not there
 * in time, since its old path is dead or the new one does not take it, is made anew. */
#include "pe/inner.h"

#include "base/clock.h"
#include "wire/ip_text.h"

#include <stdlib.h>

#define MOVE_MOST_NS    (5 * NS_PER_S)  /* then the slice is made anew on the new way */
#define WAY_STAYS_NS    (3 * NS_PER_S)  /* unused: a reverted move may come back to it */
#define BROKEN_NS       NS_PER_S        /* a lane that is not open for so long: another candidate */
#define FAILED_NS       (30 * NS_PER_S) /* before a candidate is tried again, twice as long each time */
#define POLICIES_MOST   4096u
#define CANDIDATES_MOST 16u /* of one policy */

struct candidate {
    struct candidate *next;
    uint32_t distinguisher;
    struct bgp_sr_policy_path path;
    int64_t failed_until_ns; /* 0: it has not */
    unsigned fails;
};

struct policy {
    struct policy *next;
    uint32_t color;
    struct ip6 endpoint;
    struct candidate *candidates;
    unsigned n_candidates;
    struct candidate *chosen; /* NULL: none is valid */
};

struct way {
    struct way *next;
    struct forward_path path;
    unsigned users;
    int64_t unused_ns; /* since when; 0: it is used */
};

struct steer {
    struct steer *next;
    struct vrf *vrf;
    enum lane_class class_;
    uint32_t color;
    struct ip6 endpoint, service_sid;
    bool full_sids; /* the service is no NEXT-C-SID */
    struct pe_class how;
    struct way *way;      /* packets take it; NULL: the underlay's shortest way */
    struct way *next_way; /* the slice is on the move there */
    int64_t until_ns;
    uint32_t broken_path; /* its lane there is not open */
    int64_t broken_ns;    /* since when; 0: nothing is wrong */
    bool dead;            /* the way was given up for that: nothing of it is worth being moved */
    bool sliced;          /* there is a slice, on `way` */
    bool seen;            /* a route asks for it */
};

/* --- candidates ------------------------------------------------------------------------------------------------------------------------ */

static struct policy *policy_of(const struct pe *pe, uint32_t color, const struct ip6 *endpoint)
{
    struct policy *p = pe->policies;
    while (p && (p->color != color || !ip6_equal(&p->endpoint, endpoint)))
        p = p->next;
    return p;
}

static void drop_candidate(struct policy *p, uint32_t distinguisher)
{
    struct candidate **at = &p->candidates, *gone;
    while (*at && (*at)->distinguisher != distinguisher)
        at = &(*at)->next;
    if (!*at)
        return;
    gone = *at;
    *at = gone->next;
    if (p->chosen == gone)
        p->chosen = NULL;
    p->n_candidates--;
    free(gone);
}

static struct policy *obtain(struct pe *pe, uint32_t color, const struct ip6 *endpoint)
{
    struct policy *p = policy_of(pe, color, endpoint);
    if (p || pe->counts.policies == POLICIES_MOST || (p = calloc(1, sizeof *p)) == NULL)
        return p;
    *p = (struct policy){.next = pe->policies, .color = color, .endpoint = *endpoint};
    pe->policies = p;
    pe->counts.policies++;
    return p;
}

void policy_take(void *user, const struct bgp_sr_policy *key, const struct bgp_sr_policy_path *path, bool withdrawn)
{
    struct pe *pe = user;
    struct policy *p;
    if (key->endpoint.family != IP_V6 || key->color == 0) /* paths of ours end at IPv6 loopbacks */
        return;
    p = withdrawn ? policy_of(pe, key->color, &key->endpoint.a) : obtain(pe, key->color, &key->endpoint.a);
    if (!p)
        return;
    drop_candidate(p, key->distinguisher);
    pe->policies_dirty = true;
    struct candidate *c = withdrawn || p->n_candidates == CANDIDATES_MOST ? NULL : malloc(sizeof *c);
    if (!c)
        return; /* an empty policy goes with the next poll */
    *c = (struct candidate){.next = p->candidates, .distinguisher = key->distinguisher, .path = *path};
    p->candidates = c;
    p->n_candidates++;
}

/* --- ways --------------------------------------------------------------------------------------------------------------------------------- */

/* The adjacency of ours that a segment names, or the first link to whom it names. -1: neither. */
static int first_port(const struct pe *pe, const struct ip6 *segment, bool *ret_ours)
{
    uint32_t metric;
    int longest = -1, port = -1;
    for (unsigned i = 0; i < pe->config.n_crosses; i++) {
        const struct pe_static *x = &pe->config.crosses[i];
        if (x->prefix.len > longest && ip_match(&x->prefix.a, segment, x->prefix.len)) {
            longest = x->prefix.len;
            port = x->port;
        }
    }
    *ret_ours = port >= 0;
    if (port >= 0)
        return port < LANE_PORTS_MOST && (pe->ports_up >> port & 1) ? port : -1;
    return underlay_port(pe, segment, &metric);
}

/* The heaviest list as a path of ours. False: it leads nowhere from here. */
static bool resolve(const struct pe *pe, const struct candidate *c, struct forward_path *ret)
{
    unsigned best = 0, from;
    bool ours;
    for (unsigned i = 1; i < c->path.n_lists; i++)
        if (c->path.lists[i].weight > c->path.lists[best].weight)
            best = i;
    if (c->path.n_lists == 0 || c->path.lists[best].n_segments == 0)
        return false;
    int port = first_port(pe, &c->path.lists[best].segments[0], &ours);
    from = ours ? 1 : 0;
    unsigned n = c->path.lists[best].n_segments - from;
    if (port < 0 || n > LANE_SIDS_MOST - 1)
        return false;
    *ret = (struct forward_path){.n_sids = n, .out_port = (uint16_t)port};
    memcpy(ret->sids, c->path.lists[best].segments + from, n * sizeof *ret->sids);
    return true;
}

/* RFC 9256 2.9: preference, then the higher distinguisher. */
static void choose(struct pe *pe, struct policy *p)
{
    struct forward_path ignored;
    p->chosen = NULL;
    for (struct candidate *c = p->candidates; c; c = c->next)
        if (!c->failed_until_ns && resolve(pe, c, &ignored) &&
            (!p->chosen || c->path.preference > p->chosen->path.preference ||
                (c->path.preference == p->chosen->path.preference && c->distinguisher > p->chosen->distinguisher)))
            p->chosen = c;
}

static bool same_path(const struct forward_path *a, const struct forward_path *b)
{
    return a->n_sids == b->n_sids && a->out_port == b->out_port && a->full_sids == b->full_sids &&
           memcmp(a->sids, b->sids, a->n_sids * sizeof *a->sids) == 0;
}

static void hold(struct way *w)
{
    w->users++;
    w->unused_ns = 0;
}

static void let_go(struct pe *pe, struct way *w)
{
    if (w && --w->users == 0)
        w->unused_ns = pe->now ? pe->now : 1;
}

/* The way of this list: made if there is none. */
static struct way *way_of(struct pe *pe, const struct forward_path *path)
{
    struct way *w = pe->ways;
    while (w && !same_path(&w->path, path))
        w = w->next;
    if (w || !pe->above.path_set || (w = calloc(1, sizeof *w)) == NULL)
        return w;
    w->path = *path;
    w->path.id = pe->next_path++;
    if (pe->next_path == 0)
        pe->next_path = PE_PATHS_FROM;
    w->next = pe->ways;
    pe->ways = w;
    w->unused_ns = pe->now ? pe->now : 1;
    pe->above.path_set(pe->above.user, &w->path);
    return w;
}

static struct way *wanted_way(struct pe *pe, const struct steer *s)
{
    const struct policy *p = policy_of(pe, s->color, &s->endpoint);
    struct forward_path path;
    if (!p || !p->chosen || !resolve(pe, p->chosen, &path))
        return NULL;
    path.full_sids = s->full_sids;
    return way_of(pe, &path);
}

/* --- steers ----------------------------------------------------------------------------------------------------------------------------------- */

static uint32_t tenant_of(const struct steer *s)
{
    return s->vrf->config.tenant;
}

static void slice_open(struct pe *pe, struct steer *s)
{
    if (!s->way || s->how.no_lane || !pe->above.slice_set)
        return;
    struct forward_slice x = {.tenant = tenant_of(s),
        .path = s->way->path.id,
        .class_ = s->class_,
        .service_sid = s->service_sid,
        .guarantee_bps = s->how.guarantee_bps,
        .cap_bps = s->how.cap_bps,
        .rate_bps = s->how.rate_bps,
        .window_least = s->how.window_least,
        .limits = s->how.limits};
    pe->above.slice_set(pe->above.user, &x);
    s->sliced = true;
}

static void slice_close(struct pe *pe, const struct steer *s, const struct way *w)
{
    if (pe->above.slice_del)
        pe->above.slice_del(pe->above.user, tenant_of(s), w->path.id, s->class_, &s->service_sid);
}

/* Packets take `to` now. The new slice before the routes, the old one after them: no packet names a path without one. */
static void switch_over(struct pe *pe, struct steer *s, struct way *to, bool slice_is_there)
{
    struct way *from = s->way;
    bool close = s->sliced && !slice_is_there;
    s->dead = false;
    s->broken_ns = 0;
    if (to)
        hold(to);
    s->way = to;
    if (!slice_is_there) {
        s->sliced = false;
        slice_open(pe, s);
    }
    vpn_steered(pe, s->vrf);
    if (close)
        slice_close(pe, s, from);
    let_go(pe, s->next_way);
    s->next_way = NULL;
    let_go(pe, from);
}

static void begin_move(struct pe *pe, struct steer *s, struct way *to)
{
    s->next_way = to;
    hold(to);
    s->until_ns = pe->now + MOVE_MOST_NS;
    pe->above.slice_move(pe->above.user, tenant_of(s), s->class_, &s->service_sid, s->way->path.id, to->path.id);
}

static void give_up_move(struct pe *pe, struct steer *s)
{
    if (!s->next_way)
        return;
    pe->above.slice_move(pe->above.user, tenant_of(s), s->class_, &s->service_sid, s->way->path.id, s->way->path.id);
    let_go(pe, s->next_way);
    s->next_way = NULL;
}

static void aim(struct pe *pe, struct steer *s)
{
    struct way *to = wanted_way(pe, s);
    if (s->next_way && s->next_way != to)
        give_up_move(pe, s);
    if (to == s->way || (to && to == s->next_way))
        return;
    if (s->sliced && !s->dead && s->way && to && pe->above.slice_move)
        begin_move(pe, s, to);
    else
        switch_over(pe, s, to, false);
}

static bool same_class(const struct pe_class *a, const struct pe_class *b)
{
    return a->no_lane == b->no_lane && a->guarantee_bps == b->guarantee_bps && a->cap_bps == b->cap_bps &&
           a->rate_bps == b->rate_bps && a->window_least == b->window_least &&
           a->limits.ecn_cells == b->limits.ecn_cells && a->limits.pfc_xoff_cells == b->limits.pfc_xoff_cells &&
           a->limits.pfc_xon_cells == b->limits.pfc_xon_cells && a->limits.drop_cells == b->limits.drop_cells;
}

static bool is_full(const struct vpn *r)
{
    switch (r->service.behaviour) {
    case SID_END_DT46_NEXT_CSID:
    case SID_END_DT4_NEXT_CSID:
    case SID_END_DT6_NEXT_CSID:
    case SID_END_ESP_DT46_NEXT_CSID:
        return false;
    default:
        return true;
    }
}

uint32_t policy_path(struct pe *pe, struct vrf *v, enum lane_class c, const struct vpn *r)
{
    uint32_t color = v->config.class_[c].color ? v->config.class_[c].color : r->color;
    struct steer *s = pe->steers;
    if (!color)
        return 0;
    while (s && (s->vrf != v || s->class_ != c || s->color != color || !ip6_equal(&s->endpoint, &r->next_hop) ||
                    !ip6_equal(&s->service_sid, &r->service.sid)))
        s = s->next;
    if (!s && (s = calloc(1, sizeof *s)) != NULL) {
        *s = (struct steer){.next = pe->steers,
            .vrf = v,
            .class_ = c,
            .color = color,
            .endpoint = r->next_hop,
            .service_sid = r->service.sid,
            .full_sids = is_full(r),
            .how = v->config.class_[c]};
        pe->steers = s;
        pe->policies_dirty = true; /* it is aimed in pe_poll: nothing may change in the midst of a choice */
    }
    if (!s)
        return 0;
    s->seen = true;
    return s->way ? s->way->path.id : 0;
}

static void end_steer(struct pe *pe, struct steer **at)
{
    struct steer *s = *at;
    give_up_move(pe, s);
    if (s->sliced)
        slice_close(pe, s, s->way);
    let_go(pe, s->way);
    *at = s->next;
    free(s);
}

/* --- all of it --------------------------------------------------------------------------------------------------------------------------------- */

static void drop_empty_policies(struct pe *pe)
{
    for (struct policy **at = &pe->policies; *at;) {
        struct policy *p = *at;
        if (p->candidates) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        free(p);
        pe->counts.policies--;
    }
}

/* Steers that no route asks for any more: looked for when routes or classes may have changed, by asking for all again. */
static void drop_unused_steers(struct pe *pe)
{
    for (struct steer *s = pe->steers; s; s = s->next)
        s->seen = false;
    for (struct vrf *v = pe->vrfs; v; v = v->next)
        vpn_ask_paths(pe, v);
    for (struct steer **at = &pe->steers; *at;)
        if ((*at)->seen)
            at = &(*at)->next;
        else
            end_steer(pe, at);
}

/* A class whose slice shall be another one: made anew (a person has changed the configuration). */
static void reshape(struct pe *pe, struct steer *s)
{
    const struct pe_class *now = &s->vrf->config.class_[s->class_];
    if (same_class(&s->how, now))
        return;
    give_up_move(pe, s);
    if (s->sliced)
        slice_close(pe, s, s->way);
    s->sliced = false;
    s->how = *now;
    slice_open(pe, s);
}

static void work(struct pe *pe)
{
    drop_unused_steers(pe);
    for (struct policy *p = pe->policies; p; p = p->next)
        choose(pe, p);
    for (struct steer *s = pe->steers; s; s = s->next) {
        reshape(pe, s);
        aim(pe, s);
    }
    drop_empty_policies(pe);
}

/* A path whose lane is refused, or cut, and stays so: its candidate is not taken for a while, for longer each time. */
static void fail_candidate(struct pe *pe, struct steer *s)
{
    struct policy *p = policy_of(pe, s->color, &s->endpoint);
    const struct way *w = s->next_way ? s->next_way : s->way;
    s->broken_ns = 0;
    if (!p || !p->chosen || !w || w->path.id != s->broken_path || wanted_way(pe, s) != w)
        return;
    struct candidate *c = p->chosen;
    c->failed_until_ns = pe->now + (FAILED_NS << (c->fails < 5 ? c->fails : 5));
    c->fails++;
    s->dead = w == s->way;
    pe->policies_dirty = true;
    pe_log(pe, true, "a path of colour %u (distinguisher %u) takes no lane: another candidate is tried", p->color,
        c->distinguisher);
}

static int64_t look_at_lanes(struct pe *pe)
{
    int64_t next = INT64_MAX;
    for (struct steer *s = pe->steers; s; s = s->next) {
        int64_t due = s->broken_ns + BROKEN_NS;
        if (s->broken_ns && pe->now >= due)
            fail_candidate(pe, s);
        else if (s->broken_ns && due < next)
            next = due;
    }
    for (struct policy *p = pe->policies; p; p = p->next)
        for (struct candidate *c = p->candidates; c; c = c->next) {
            if (c->failed_until_ns && pe->now >= c->failed_until_ns) {
                c->failed_until_ns = 0;
                pe->policies_dirty = true;
            } else if (c->failed_until_ns && c->failed_until_ns < next) {
                next = c->failed_until_ns;
            }
        }
    return next;
}

static int64_t look_at_time(struct pe *pe)
{
    int64_t next = look_at_lanes(pe);
    for (struct steer *s = pe->steers; s; s = s->next) {
        if (!s->next_way)
            continue;
        if (pe->now >= s->until_ns) {
            struct way *to = s->next_way;
            pe_log(pe, true, "a lane of VRF %u did not move to its new path in time: it is opened anew there",
                s->vrf->config.id);
            hold(to);
            give_up_move(pe, s);
            switch_over(pe, s, to, false);
            let_go(pe, to);
        } else if (s->until_ns < next) {
            next = s->until_ns;
        }
    }
    for (struct way **at = &pe->ways; *at;) {
        struct way *w = *at;
        int64_t end = w->unused_ns + WAY_STAYS_NS;
        if (!w->users && pe->now >= end) {
            pe->above.path_del(pe->above.user, w->path.id);
            *at = w->next;
            free(w);
            continue;
        }
        next = !w->users && end < next ? end : next;
        at = &w->next;
    }
    return next;
}

static void count(struct pe *pe)
{
    pe->counts.policies_used = pe->counts.steered = 0;
    for (const struct policy *p = pe->policies; p; p = p->next)
        pe->counts.policies_used += p->chosen != NULL;
    for (const struct steer *s = pe->steers; s; s = s->next)
        pe->counts.steered += s->way != NULL;
}

int64_t policy_poll(struct pe *pe)
{
    for (int rounds = 0; pe->policies_dirty && rounds < 4; rounds++) {
        pe->policies_dirty = false;
        work(pe);
    }
    int64_t next = look_at_time(pe);
    count(pe);
    return pe->policies_dirty ? pe->now : next;
}

void pe_slice_moved(
    struct pe *pe, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid, uint32_t path, int64_t now)
{
    pe->now = now;
    for (struct steer *s = pe->steers; s; s = s->next)
        if (tenant_of(s) == tenant && s->class_ == class_ && ip6_equal(&s->service_sid, service_sid) && s->next_way &&
            s->next_way->path.id == path)
            switch_over(pe, s, s->next_way, true);
}

void pe_slice_state(struct pe *pe, uint32_t tenant, enum lane_class class_, const struct ip6 *service_sid,
    uint32_t path, bool open, int64_t now)
{
    pe->now = now;
    for (struct steer *s = pe->steers; s; s = s->next) {
        bool here = (s->way && s->way->path.id == path) || (s->next_way && s->next_way->path.id == path);
        if (!here || tenant_of(s) != tenant || s->class_ != class_ || !ip6_equal(&s->service_sid, service_sid))
            continue;
        if (open && s->broken_path == path) {
            s->broken_ns = 0;
        } else if (!open && (!s->broken_ns || s->broken_path != path)) {
            s->broken_ns = now;
            s->broken_path = path;
        }
    }
}

void policy_vrf_gone(struct pe *pe, struct vrf *v)
{
    for (struct steer **at = &pe->steers; *at;)
        if ((*at)->vrf == v)
            end_steer(pe, at);
        else
            at = &(*at)->next;
}

void policy_done(struct pe *pe)
{
    while (pe->steers) {
        struct steer *s = pe->steers;
        pe->steers = s->next;
        free(s);
    }
    while (pe->policies) {
        struct policy *p = pe->policies;
        while (p->candidates)
            drop_candidate(p, p->candidates->distinguisher);
        pe->policies = p->next;
        free(p);
    }
    while (pe->ways) {
        struct way *w = pe->ways;
        pe->ways = w->next;
        free(w);
    }
}

/* --- what a person sees ---------------------------------------------------------------------------------------------------------------------------- */

static uint32_t path_of(const struct pe *pe, const struct policy *p, unsigned *ret_steered)
{
    uint32_t id = 0;
    *ret_steered = 0;
    for (const struct steer *s = pe->steers; s; s = s->next)
        if (s->color == p->color && ip6_equal(&s->endpoint, &p->endpoint) && s->way) {
            id = s->way->path.id;
            ++*ret_steered;
        }
    return id;
}

unsigned pe_policies_view(struct pe *pe, uint32_t *cursor, struct pe_policy_view *ret, unsigned most)
{
    unsigned n = 0;
    uint32_t at = 0;
    for (const struct policy *p = pe->policies; p; p = p->next)
        for (const struct candidate *c = p->candidates; c && n < most; c = c->next) {
            struct forward_path path;
            if (at++ < *cursor)
                continue;
            struct pe_policy_view *v = &ret[n++];
            *v = (struct pe_policy_view){.color = p->color,
                .endpoint = p->endpoint,
                .distinguisher = c->distinguisher,
                .preference = c->path.preference,
                .n_segments = c->path.n_lists ? c->path.lists[0].n_segments : 0,
                .has_bsid = c->path.has_bsid,
                .bsid = c->path.bsid,
                .valid = resolve(pe, c, &path),
                .chosen = c == p->chosen,
                .failed = c->failed_until_ns != 0};
            memcpy(v->name, c->path.name, sizeof v->name);
            if (v->chosen)
                v->path = path_of(pe, p, &v->steered);
        }
    *cursor += n;
    return n;
}
