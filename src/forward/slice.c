/* A move (router.md, Lanes, 8): forward_slice_move asks the lane layer for a lane on the new path, and nothing changes until
 * every router there has accepted. At LANE_EVENT_MOVED the end-marker has been queued on the old path: from that very moment
 * on packets get the new path's headers. If the old path's end does not come the lane layer goes back by a third lane, and
 * LANE_EVENT_MOVE_REVERTED is the same step in the other direction. LANE_EVENT_MOVE_DONE ends it. */
#include "forward/slice.h"
#include "forward/encap.h"
#include "forward/hop.h"
#include "forward/leave.h"
#include "forward/path.h"
#include "forward/protect.h"

#include <errno.h>
#include <stdlib.h>

static struct slice **place(
    const struct forward *f, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *service_sid)
{
    struct slice **at = (struct slice **)&f->slices;
    while (*at && ((*at)->config.tenant != tenant || (*at)->config.path != path || (*at)->config.class_ != c ||
                      !ip6_equal(&(*at)->config.service_sid, service_sid)))
        at = &(*at)->next;
    return at;
}

void slice_free_all(struct forward *f)
{
    for (struct slice *s = f->slices, *next; s; s = next) {
        next = s->next;
        protect_free(f, s->protect, INT64_MAX);
        encap_put(f, s->encap);
        encap_put(f, s->next_encap);
        free(s);
    }
    f->slices = NULL;
}

static struct lane_spec spec_of(const struct forward_slice *s, const struct forward_path *p)
{
    struct lane_spec spec = {
        .tenant = s->tenant,
        .class_ = s->class_,
        .n_sids = p->n_sids + 1,
        .out_port = p->out_port,
        .guarantee_bps = s->guarantee_bps,
        .cap_bps = s->cap_bps,
        .rate_bps = s->rate_bps,
        .window_least = s->window_least,
        .limits = s->limits,
    };
    memcpy(spec.sids, p->sids, p->n_sids * sizeof *spec.sids);
    spec.sids[p->n_sids] = s->service_sid;
    return spec;
}

/* --- set, delete ------------------------------------------------------------------------------------------ */

static int check(const struct forward *f, const struct forward_slice *s, const struct path **ret, struct error *err)
{
    if ((unsigned)s->class_ >= LANE_CLASSES || s->class_ == LANE_CONTROL)
        return error_set(err, EINVAL, "tenants have slices of the classes inference, parameter and bulk");
    *ret = path_find(f, s->path);
    if (!*ret)
        return error_set(err, ENOENT, "there is no path %u", s->path);
    if ((*ret)->config.no_lanes)
        return error_set(err, EINVAL, "path %u runs through routers without lanes", s->path);
    return protect_check(f, s, err);
}

/* The second lane of a slice that wants one, beside what it has now. */
static int second_lane(struct forward *f, const struct slice *s, struct protect **ret, int64_t now, struct error *err)
{
    *ret = NULL;
    if (!s->config.protect || f->config.lanes.mode != LANE_MODE_LANES)
        return 0;
    struct lane_spec spec = spec_of(&s->config, &path_find(f, s->config.protect)->config);
    return protect_make(f, ret, &s->config, &spec, s->protect, now, err);
}

/* Takes the place of the second lane that it had. */
static void protect_set(struct forward *f, struct slice *s, struct protect *t, int64_t now)
{
    f->protects += (t != NULL) - (uint32_t)(s->protect != NULL);
    protect_free(f, s->protect, now);
    s->protect = t;
    if (t)
        protect_attach(f, t, s->encap, s->lane);
}

static int reopen(struct forward *f, struct slice *s, const struct path *p, int64_t now, struct error *err)
{
    struct lane_spec spec = spec_of(&s->config, &p->config);
    struct lane_tx *lane;
    if (f->config.lanes.mode != LANE_MODE_LANES)
        return 0; /* comparison runs: what a slice asks for does not exist there */
    int rc = lane_open(f->lanes, &spec, now, &lane, err);
    if (rc)
        return rc;
    if (s->lane)
        lane_close(f->lanes, s->lane, true, now);
    s->lane = lane;
    encap_lane_set(f, s->encap, lane);
    return 0;
}

static int replace(struct forward *f, struct slice *s, const struct forward_slice *config, const struct path *p,
    int64_t now, struct error *err)
{
    struct forward_slice before = s->config;
    struct protect *t;
    if (s->next_lane)
        return error_set(err, EBUSY, "the slice is being moved: wait until that has ended");
    s->config = *config;
    int rc = second_lane(f, s, &t, now, err);
    if (!rc && (rc = reopen(f, s, p, now, err)))
        protect_free(f, t, now);
    if (rc)
        s->config = before;
    else
        protect_set(f, s, t, now);
    return rc;
}

int forward_slice_set(struct forward *f, const struct forward_slice *config, int64_t now, struct error *err)
{
    const struct path *p;
    struct protect *t;
    f->now = now;
    int rc = check(f, config, &p, err);
    if (rc)
        return rc;
    struct slice **at = place(f, config->tenant, config->path, config->class_, &config->service_sid), *s = *at;
    struct encap_key key = {config->tenant, config->path, config->service_sid, (uint8_t)config->class_};
    if (s)
        return replace(f, s, config, p, now, err);
    s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ENOMEM, "no memory for a slice");
    s->config = *config;
    rc = encap_get(f, &key, &s->encap, err);
    if (rc)
        goto free_slice;
    rc = second_lane(f, s, &t, now, err);
    if (rc)
        goto put_encap;
    rc = reopen(f, s, p, now, err);
    if (rc)
        goto free_second;
    protect_set(f, s, t, now);
    *at = s; /* the end of the list */
    return 0;
free_second:
    protect_free(f, t, now);
put_encap:
    encap_put(f, s->encap);
free_slice:
    free(s);
    return rc;
}

/* A move that was only asked for is given up. */
static void move_cancel(struct forward *f, struct slice *s, int64_t now)
{
    if (!s->next_lane)
        return;
    encap_lane_set(f, s->next_encap, NULL);
    lane_close(f->lanes, s->next_lane, false, now);
    encap_put(f, s->next_encap);
    s->next_encap = NULL;
    s->next_lane = NULL;
}

int forward_slice_del(
    struct forward *f, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *service_sid, int64_t now)
{
    struct slice **at = place(f, tenant, path, c, service_sid), *s = *at;
    f->now = now;
    if (!s)
        return -ENOENT;
    move_cancel(f, s, now);
    protect_set(f, s, NULL, now);
    if (s->lane) {
        encap_lane_set(f, s->encap, NULL);
        lane_close(f->lanes, s->lane, true, now);
    }
    encap_put(f, s->encap);
    *at = s->next;
    free(s);
    return 0;
}

bool forward_slice_is(
    const struct forward *f, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *service_sid)
{
    return *place(f, tenant, path, c, service_sid) != NULL;
}

bool forward_slice_of_lane(const struct forward *f, uint64_t lane, struct forward_slice *ret)
{
    for (const struct slice *s = f->slices; s; s = s->next) {
        bool next = s->next_lane && s->next_lane->id == lane;
        if (!next && !(s->lane && s->lane->id == lane))
            continue;
        *ret = s->config;
        if (next)
            ret->path = s->next_encap->path;
        return true;
    }
    return false;
}

/* --- moving ------------------------------------------------------------------------------------------------- */

/* Routes of the slice get other headers: the hops that they share change in place. */
static void redirect(struct forward *f, unsigned c, struct encap *from, struct encap *to)
{
    for (uint32_t i = 0; i < f->hops.n; i++) {
        struct hop *h = &f->hops.hops[i];
        if (!h->users || h->kind != ROUTE_REMOTE || h->encap[c] != from)
            continue;
        hop_unhash(&f->hops, i);
        h->encap[c] = to;
        h->path_of_class[c] = to->path;
        hop_rehash(&f->hops, i);
        to->users++;
        encap_put(f, from); /* the slice is still a user of it */
    }
}

/* From now on packets go into `lane` with the headers of `to`, of which the slice becomes the user instead of its old one. */
static void take(struct forward *f, struct slice *s, struct encap *to, struct lane_tx *lane)
{
    redirect(f, s->config.class_, s->encap, to);
    encap_lane_set(f, to, lane);
    encap_lane_set(f, s->encap, NULL); /* whoever names the old path now goes by the lossy queue */
    encap_put(f, s->encap);
    s->encap = to;
    s->lane = lane;
    s->config.path = to->path;
}

static void moved(struct forward *f, struct slice *s)
{
    s->moved_early = false;
    s->old_path = s->encap->path;
    take(f, s, s->next_encap, s->next_lane);
    s->next_encap = NULL;
    s->next_lane = NULL;
}

static void move_reverted(struct forward *f, struct slice *s)
{
    struct encap_key key = {s->config.tenant, s->old_path, s->config.service_sid, (uint8_t)s->config.class_};
    struct encap *back;
    s->old_lane = s->lane->id;
    if (encap_get(
            f, &key, &back, NULL)) { /* the path was deleted meanwhile: what follows will be dropped, and counted */
        s->lane = lane_ingress(s->lane);
        encap_lane_set(f, s->encap, s->lane);
        return;
    }
    s->old_path = s->encap->path;
    take(f, s, back, lane_ingress(s->lane));
}

/* A router of its path is going to end: to the backup, which is the way back from then on. */
static void leaving(struct forward *f, struct slice *s, int64_t now)
{
    const struct forward_slice *c = &s->config;
    uint32_t from = c->path;
    struct error err;
    if (c->backup && c->backup != from &&
        !forward_slice_move(f, c->tenant, c->class_, &c->service_sid, from, c->backup, now, &err))
        s->config.backup = from;
}

void slice_event(struct forward *f, const struct lane_event *e)
{
    for (struct slice *s = f->slices; s; s = s->next)
        if (s->protect)
            protect_event(s->protect, e);
        else if (e->kind == LANE_EVENT_MOVED && s->next_encap && e->lane == s->lane->id) {
            s->old_lane = e->lane;
            s->moved_early =
                !s->next_lane; /* from inside lane_move: the old lane was dead, and may be gone when it returns */
            if (s->next_lane)
                moved(f, s);
        } else if (e->kind == LANE_EVENT_MOVE_REVERTED && s->lane && e->lane == s->lane->id)
            move_reverted(f, s);
        else if (e->kind == LANE_EVENT_MOVE_DONE && e->lane == s->old_lane)
            s->old_lane = 0;
        else if (e->kind == LANE_EVENT_LEAVING && s->lane && e->lane == s->lane->id)
            leaving(f, s, e->at_ns);
}

static int move_check(const struct forward *f, const struct slice *s, const struct forward_slice *to,
    const struct path **ret_path, struct error *err)
{
    if (!s || !s->lane)
        return error_set(err, ENOENT, "tenant %u has no such lane", to->tenant);
    if (s->protect)
        return error_set(err, EINVAL, "a protected slice is not moved: set it anew with the paths that it should have");
    if (s->next_lane || s->old_lane)
        return error_set(err, EBUSY, "the slice is being moved already");
    if (*place(f, to->tenant, to->path, to->class_, &to->service_sid))
        return error_set(err, EEXIST, "tenant %u has such a slice on path %u already", to->tenant, to->path);
    return check(f, to, ret_path, err);
}

static int move_begin(
    struct forward *f, struct slice *s, const struct forward_slice *to, int64_t now, struct error *err)
{
    const struct path *p;
    int rc = move_check(f, s, to, &p, err);
    if (rc)
        return rc;
    struct encap_key key = {to->tenant, to->path, to->service_sid, (uint8_t)to->class_};
    struct lane_spec spec = spec_of(to, &p->config);
    rc = encap_get(f, &key, &s->next_encap, err);
    if (rc)
        return rc;
    rc = lane_move(f->lanes, s->lane, &spec, now, &s->next_lane, err);
    if (rc) {
        encap_put(f, s->next_encap);
        s->next_encap = NULL;
    } else if (s->moved_early) {
        moved(f, s);
    }
    return rc;
}

int forward_slice_move(struct forward *f, uint32_t tenant, enum lane_class c, const struct ip6 *service_sid,
    uint32_t from_path, uint32_t to_path, int64_t now, struct error *err)
{
    struct slice *s = *place(f, tenant, from_path, c, service_sid);
    struct forward_slice to = s ? s->config : (struct forward_slice){.tenant = tenant};
    f->now = now;
    if (s && from_path == to_path) {
        move_cancel(f, s, now);
        return 0;
    }
    to.path = to_path;
    return move_begin(f, s, &to, now, err);
}

/* --- the end-marker ------------------------------------------------------------------------------------------- */

struct rte_mbuf *slice_marker(struct forward *f, struct lane_tx *t)
{
    const struct encap *e = NULL;
    for (const struct slice *s = f->slices; s && !e; s = s->next)
        if (s->lane == t)
            e = s->encap;
    struct rte_mbuf *m = e ? f->ops.alloc(f->ops.user) : NULL;
    if (!m)
        return NULL;
    if (!encap_push(e, m, IP_PROTO_LANE_MARKER, 0, 0)) {
        f->ops.free(f->ops.user, m);
        return NULL;
    }
    struct packet_meta *meta = packet_meta(m);
    *meta = (struct packet_meta){
        .arrived_ns = f->now,
        .cells = packet_cells(m->pkt_len),
        .tenant = e->tenant,
        .lane_option = (uint16_t)(ETHER_SIZE + e->lane_at),
        .l3 = ETHER_SIZE,
        .class_ = e->class_,
    };
    const struct port *p = t->queue.port;
    ether_put(m, p);
    return m;
}
