/* A move (router.md, Lanes, 8) in four steps: forward_slice_move asks the lane layer for a lane on the new path; at
 * LANE_EVENT_MOVED the end-marker has been queued on the old one and the slice's packets get the new path's headers; at
 * LANE_EVENT_MOVE_DONE the routes name the new path and the old lane is gone; at LANE_EVENT_MOVE_REVERTED, instead,
 * everything is as before but for the lane_tx. */
#include "forward/slice.h"
#include "forward/encap.h"
#include "forward/hop.h"
#include "forward/leave.h"
#include "forward/path.h"

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
        encap_put(f, s->encap);
        encap_put(f, s->to_encap);
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
    return 0;
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

int forward_slice_set(struct forward *f, const struct forward_slice *config, int64_t now, struct error *err)
{
    const struct path *p;
    f->now = now;
    int rc = check(f, config, &p, err);
    if (rc)
        return rc;
    struct slice **at = place(f, config->tenant, config->path, config->class_, &config->service_sid), *s = *at;
    if (s && s->to_lane)
        return error_set(err, EBUSY, "the slice is being moved: wait until that has ended");
    struct encap_key key = {config->tenant, config->path, config->service_sid, (uint8_t)config->class_};
    struct forward_slice before = {0};
    if (s) {
        before = s->config;
        s->config = *config;
        if ((rc = reopen(f, s, p, now, err)))
            s->config = before;
        return rc;
    }
    s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ENOMEM, "no memory for a slice");
    s->config = *config;
    rc = encap_get(f, &key, &s->encap, err);
    if (rc)
        goto free_slice;
    rc = reopen(f, s, p, now, err);
    if (rc)
        goto put_encap;
    *at = s; /* the end of the list */
    return 0;
put_encap:
    encap_put(f, s->encap);
free_slice:
    free(s);
    return rc;
}

int forward_slice_del(
    struct forward *f, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *service_sid, int64_t now)
{
    struct slice **at = place(f, tenant, path, c, service_sid), *s = *at;
    f->now = now;
    if (!s)
        return -ENOENT;
    if (s->to_lane)
        return -EBUSY;
    if (s->lane) {
        encap_lane_set(f, s->encap, NULL);
        lane_close(f->lanes, s->lane, true, now);
    }
    encap_put(f, s->encap);
    *at = s->next;
    free(s);
    return 0;
}

/* --- moving ------------------------------------------------------------------------------------------------- */

int forward_slice_move(struct forward *f, uint32_t tenant, enum lane_class c, const struct ip6 *service_sid,
    uint32_t from_path, uint32_t to_path, int64_t now, struct error *err)
{
    f->now = now;
    struct slice *s = *place(f, tenant, from_path, c, service_sid);
    if (!s || !s->lane)
        return error_set(err, ENOENT, "tenant %u has no such lane on path %u", tenant, from_path);
    if (s->to_lane)
        return error_set(err, EBUSY, "the slice is being moved already");
    if (*place(f, tenant, to_path, c, service_sid))
        return error_set(err, EEXIST, "tenant %u has such a slice on path %u already", tenant, to_path);
    struct forward_slice to = s->config;
    const struct path *p;
    to.path = to_path;
    int rc = check(f, &to, &p, err);
    if (rc)
        return rc;
    struct encap_key key = {tenant, to_path, *service_sid, (uint8_t)c};
    rc = encap_get(f, &key, &s->to_encap, err);
    if (rc)
        return rc;
    struct lane_spec spec = spec_of(&to, &p->config);
    rc = lane_move(f->lanes, s->lane, &spec, now, &s->to_lane, err);
    if (rc) {
        encap_put(f, s->to_encap);
        s->to_encap = NULL;
        return rc;
    }
    encap_lane_set(f, s->to_encap, s->to_lane);
    return 0;
}

/* Routes of the slice name another path: the hops that they share change in place. */
static void redirect(struct forward *f, const struct slice *s, struct encap *from, struct encap *to)
{
    unsigned c = s->config.class_;
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

static void moved(struct forward *f, struct slice *s)
{
    s->switched = true;
    redirect(f, s, s->encap, s->to_encap);
}

static void move_done(struct forward *f, struct slice *s)
{
    encap_lane_set(f, s->encap, NULL); /* whoever else names that path goes by the lossy queue again */
    encap_put(f, s->encap);
    s->encap = s->to_encap;
    s->lane = s->to_lane;
    s->config.path = s->encap->path;
    s->to_encap = NULL;
    s->to_lane = NULL;
    s->switched = false;
}

static void move_reverted(struct forward *f, struct slice *s)
{
    if (s->switched)
        redirect(f, s, s->to_encap, s->encap);
    s->lane = lane_ingress(s->lane);
    encap_lane_set(f, s->encap, s->lane);
    encap_lane_set(f, s->to_encap, NULL);
    encap_put(f, s->to_encap);
    s->to_encap = NULL;
    s->to_lane = NULL;
    s->switched = false;
}

void slice_event(struct forward *f, const struct lane_event *e)
{
    for (struct slice *s = f->slices; s; s = s->next) {
        if (!s->to_lane)
            continue;
        if (e->kind == LANE_EVENT_MOVED && e->lane == s->lane->id)
            moved(f, s);
        else if (e->kind == LANE_EVENT_MOVE_DONE && e->lane == s->lane->id)
            move_done(f, s);
        else if (e->kind == LANE_EVENT_MOVE_REVERTED && e->lane == s->to_lane->id)
            move_reverted(f, s);
        else
            continue;
        return;
    }
}

/* --- the end-marker ------------------------------------------------------------------------------------------- */

struct rte_mbuf *slice_marker(struct forward *f, struct lane_tx *t)
{
    const struct encap *e = NULL;
    for (const struct slice *s = f->slices; s && !e; s = s->next) {
        if (s->lane == t || (s->lane && !s->to_lane && lane_ingress(s->lane) == t))
            e = s->encap;
        else if (s->to_lane == t)
            e = s->to_encap;
    }
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
