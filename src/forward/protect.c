#include "forward/protect.h"
#include "base/clock.h"
#include "forward/encap.h"
#include "forward/leave.h"
#include "forward/path.h"
#include "forward/report.h"
#include "forward/view.h"
#include "wire/sequence.h"

#include <errno.h>
#include <stdlib.h>

#define LAG_CELLS  1024u
#define RELIEVE_NS (20 * NS_PER_US)

/* --- may it ------------------------------------------------------------------------------------------------ */

static bool same_service(const struct forward_slice *a, const struct forward_slice *b)
{
    return a->tenant == b->tenant && a->class_ == b->class_ && ip6_equal(&a->service_sid, &b->service_sid);
}

/* One stream for each service: its end tells streams apart by tenant, class and service SID. */
static int check_others(const struct forward *f, const struct forward_slice *s, struct error *err)
{
    for (const struct slice *o = f->slices; o; o = o->next) {
        const struct forward_slice *c = &o->config;
        if (!same_service(c, s) || c->path == s->path)
            continue;
        if (c->protect && s->protect)
            return error_set(err, EEXIST,
                "tenant %u has a protected slice of this class to the service already, on path %u", s->tenant, c->path);
        if (c->protect == s->path || s->protect == c->path)
            return error_set(err, EEXIST, "tenant %u has a slice of this class to the service on path %u already",
                s->tenant, c->protect == s->path ? s->path : c->path);
    }
    return 0;
}

/* A SID of another router that the underlay has a way to names that router; adjacencies in their short form do not. */
static bool names_router(const struct forward *f, const struct ip6 *sid)
{
    uint32_t index = poptrie_find6(&f->vrfs[0]->v6, sid->b);
    return index != HOP_NONE && f->hops.hops[index].kind == ROUTE_ADJACENT;
}

static int check_disjoint(
    const struct forward *f, const struct forward_path *a, const struct forward_path *b, struct error *err)
{
    if (a->out_port == b->out_port)
        return error_set(err, EINVAL,
            "paths %u and %u both begin at port %u: a protected slice takes two that share nothing", a->id, b->id,
            a->out_port);
    for (unsigned i = 0; i < a->n_risks; i++)
        for (unsigned k = 0; k < b->n_risks; k++)
            if (a->risks[i] == b->risks[k])
                return error_set(err, EINVAL,
                    "paths %u and %u share the risk %u: a protected slice takes two that share nothing", a->id, b->id,
                    a->risks[i]);
    for (unsigned i = 0; i < a->n_sids; i++)
        for (unsigned k = 0; k < b->n_sids; k++)
            if (ip6_equal(&a->sids[i], &b->sids[k]) && names_router(f, &a->sids[i]))
                return error_set(err, EINVAL,
                    "paths %u and %u share a router (SID %u of the one, %u of the other): a protected slice takes two "
                    "that "
                    "share nothing",
                    a->id, b->id, i + 1, k + 1);
    return 0;
}

int protect_check(const struct forward *f, const struct forward_slice *s, struct error *err)
{
    int rc = check_others(f, s, err);
    if (rc || !s->protect)
        return rc;
    const struct path *a = path_find(f, s->path), *b = path_find(f, s->protect);
    if (!b)
        return error_set(err, ENOENT, "there is no path %u to protect with", s->protect);
    if (b->config.no_lanes)
        return error_set(err, EINVAL, "path %u runs through routers without lanes", s->protect);
    if (a == b)
        return error_set(err, EINVAL, "path %u cannot protect itself", s->path);
    const struct path *both[2] = {a, b};
    for (unsigned i = 0; i < 2; i++)
        if (encap_size(f, &both[i]->config, &s->service_sid) + SEQUENCE_SIZE > ENCAP_MOST)
            return error_set(err, E2BIG, "path %u needs more than the %u bytes of outer headers that fit",
                both[i]->config.id, ENCAP_MOST);
    return check_disjoint(f, &a->config, &b->config, err);
}

/* --- life -------------------------------------------------------------------------------------------------- */

int protect_make(struct forward *f, struct protect **ret, const struct forward_slice *s, const struct lane_spec *spec,
    const struct protect *before, int64_t now, struct error *err)
{
    struct encap_key key = {s->tenant, s->protect, s->service_sid, (uint8_t)s->class_};
    struct protect *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ENOMEM, "no memory for a protected slice");
    t->epoch = before ? before->epoch : (uint32_t)f->ops.random(f->ops.user) | 1;
    t->lag_cells = s->lag_cells ? s->lag_cells : LAG_CELLS;
    t->number = t->missing[0] = t->missing[1] = before ? before->number : 0;
    if (before) {
        t->copies = before->copies;
        t->redundant = before->redundant;
        t->alone = before->alone;
    }
    int rc = encap_get(f, &key, &t->encap[1], err);
    if (!rc)
        rc = lane_open(f->lanes, spec, now, &t->lane[1], err);
    if (rc) {
        encap_put(f, t->encap[1]);
        free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void protect_attach(struct forward *f, struct protect *t, struct encap *first, struct lane_tx *lane)
{
    t->encap[0] = first;
    t->lane[0] = lane;
    for (unsigned i = 0; i < 2; i++) {
        t->encap[i]->protect = t;
        encap_lane_set(f, t->encap[i], t->lane[i]);
    }
}

void protect_free(struct forward *f, struct protect *t, int64_t now)
{
    if (!t)
        return;
    if (t->encap[0]) {
        t->encap[0]->protect = t->encap[1]->protect = NULL;
        encap_lane_set(f, t->encap[0], t->encap[0]->lane);
    }
    encap_lane_set(f, t->encap[1], NULL);
    encap_put(f, t->encap[1]);
    if (now != INT64_MAX)
        lane_close(f->lanes, t->lane[1], true, now);
    free(t);
}

/* Its queue was emptied: what is in it now began to come after this. */
void protect_event(struct protect *t, const struct lane_event *e)
{
    for (unsigned i = 0; i < 2 && e->kind == LANE_EVENT_DOWN; i++)
        if (t->lane[i]->id == e->lane)
            t->missing[i] = t->number;
}

/* --- packets ------------------------------------------------------------------------------------------------ */

static inline unsigned leader(const struct protect *t)
{
    const struct lane_tx *a = t->lane[0], *b = t->lane[1];
    if (a->complete != b->complete)
        return b->complete;
    return b->queue.cells < a->queue.cells;
}

static struct rte_mbuf *copy_whole(struct forward *f, struct rte_mbuf *m)
{
    struct rte_mbuf *c = f->ops.alloc(f->ops.user);
    if (!c)
        return NULL;
    uint32_t there = 0;
    for (const struct rte_mbuf *s = m; s; s = s->next)
        there += s->data_len;
    if (there > (uint32_t)c->buf_len - c->data_off) {
        f->ops.free(f->ops.user, c);
        return NULL;
    }
    uint8_t *to = packet_at(c, 0);
    for (struct rte_mbuf *s = m; s; s = s->next) {
        memcpy(to, packet_at(s, 0), s->data_len);
        to += s->data_len;
    }
    c->data_len = (uint16_t)there;
    c->pkt_len = m->pkt_len;
    return c;
}

/* With what we note beside it. NULL: no memory, or it does not fit. */
static struct rte_mbuf *copy_of(struct forward *f, struct rte_mbuf *m)
{
    struct rte_mbuf *c = f->ops.copy ? f->ops.copy(f->ops.user, m) : copy_whole(f, m);
    if (c)
        *packet_meta(c) = *packet_meta(m);
    return c;
}

/* What is to go out, by whichever path: an inner packet or ESP. */
struct load {
    uint8_t proto, ecn, marks;
    uint64_t number;
};

/* The outer headers of one path, with the number. False: no headroom. */
static bool wrap(const struct load *l, struct rte_mbuf *m, const struct encap *e)
{
    if (forward_unlikely(!encap_push(e, m, l->proto, l->ecn, l->marks)))
        return false;
    struct packet_meta *meta = packet_meta(m);
    bytes_put_be64(packet_at(m, ETHER_SIZE + e->number_at), l->number);
    meta->cells = packet_cells(m->pkt_len);
    meta->l3 = ETHER_SIZE;
    meta->lane_option = (uint16_t)(ETHER_SIZE + e->lane_at);
    return true;
}

static uint64_t number_of(struct rte_mbuf *m, const struct encap *e)
{
    return bytes_get_be64(packet_at(m, ETHER_SIZE + e->number_at));
}

/* The copy's lane is never the host's business: its queue has no limits, but lets go of what lags too far. False: the number does
 * not go down this lane. */
static bool send_copy(struct forward *f, struct protect *t, unsigned i, struct rte_mbuf *m, int64_t now)
{
    struct queue *q = &lane_ingress(t->lane[i])->queue;
    while (q->packets > 1 && q->cells + packet_meta(m)->cells > t->lag_cells) {
        uint64_t oldest = number_of(q->head, t->encap[i]);
        if (oldest <= t->missing[!i])
            break;
        t->missing[i] = oldest > t->missing[i] ? oldest : t->missing[i];
        queue_drop_head(q, LOSS_REDUNDANT, now);
        t->redundant++;
    }
    if (q->cells + packet_meta(m)->cells > t->lag_cells) {
        port_drop(q->port, m, LOSS_REDUNDANT, now);
        t->redundant++;
        return false;
    }
    struct queue_limits limits = q->limits;
    q->limits = (struct queue_limits){0};
    leave_core(q->port, q, m, now);
    q->limits = limits;
    return true;
}

uint32_t protect_most(const struct protect *t, bool sealed)
{
    uint32_t a = sealed ? t->encap[0]->sealed_most : t->encap[0]->inner_most;
    uint32_t b = sealed ? t->encap[1]->sealed_most : t->encap[1]->inner_most;
    return a < b ? a : b;
}

/* Its copy with the other path's headers; NULL: none is wanted, or there is no memory. */
static struct rte_mbuf *second(
    struct forward *f, const struct protect *t, unsigned i, const struct load *l, struct rte_mbuf *m)
{
    if (!t->lane[i]->complete && t->lane[!i]->complete)
        return NULL;
    struct rte_mbuf *copy = copy_of(f, m);
    if (copy && !wrap(l, copy, t->encap[i])) {
        leave_dropped(f, copy, t->encap[i]->out_port, LOSS_REDUNDANT, f->now);
        return NULL;
    }
    return copy;
}

void protect_leave(
    struct forward *f, struct protect *t, struct rte_mbuf *m, uint8_t proto, unsigned ecn, unsigned marks, int64_t now)
{
    unsigned first = leader(t), other = !first;
    struct queue *q = &lane_ingress(t->lane[first])->queue;
    struct load l = {proto, (uint8_t)ecn, (uint8_t)marks, t->number + 1};
    struct rte_mbuf *copy = second(f, t, other, &l, m);
    bool sent = false;
    if (forward_unlikely(!wrap(&l, m, t->encap[first]))) {
        leave_dropped(f, m, t->encap[first]->out_port, LOSS_NO_BUFFER, now);
    } else {
        ether_put(m, q->port);
        sent = port_enqueue(q->port, q, m, now) == 0; /* or policed */
    }
    if (!sent) { /* the number was not used */
        if (copy)
            leave_dropped(f, copy, t->encap[other]->out_port, LOSS_REDUNDANT, now);
        return;
    }
    t->number = l.number;
    if (copy && send_copy(f, t, other, copy, now)) {
        t->copies++;
        return;
    }
    t->missing[other] = l.number;
    t->alone += !copy;
}

/* --- time --------------------------------------------------------------------------------------------------- */

static int64_t relieve(struct protect *t, int64_t now)
{
    struct queue *q[2] = {&lane_ingress(t->lane[0])->queue, &lane_ingress(t->lane[1])->queue};
    if (!q[0]->feeders && !q[1]->feeders)
        return INT64_MAX;
    const struct queue *best = q[leader(t)];
    if (best->cells > best->limits.pfc_xon_cells)
        return now + RELIEVE_NS;
    queue_let_go(q[0], now);
    queue_let_go(q[1], now);
    return INT64_MAX;
}

int64_t protect_poll(struct forward *f, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct slice *s = f->slices; s && f->protects; s = s->next) {
        int64_t at = s->protect ? relieve(s->protect, now) : INT64_MAX;
        next = at < next ? at : next;
    }
    return next;
}

/* --- reports ------------------------------------------------------------------------------------------------ */

unsigned forward_protects_view(struct forward *f, uint32_t *cursor, struct forward_protect_view *ret, unsigned most)
{
    unsigned got = 0;
    uint32_t at = 0;
    for (const struct slice *s = f->slices; s && got < most; s = s->next) {
        const struct protect *t = s->protect;
        if (!t || at++ < *cursor)
            continue;
        struct forward_protect_view *v = &ret[got++];
        *v = (struct forward_protect_view){.tenant = s->config.tenant,
            .path = {s->config.path, s->config.protect},
            .class_ = (uint8_t)s->config.class_,
            .service_sid = s->config.service_sid,
            .packets = t->number,
            .copies = t->copies,
            .redundant = t->redundant,
            .alone = t->alone};
        for (unsigned i = 0; i < 2; i++) {
            v->lane[i] = t->lane[i]->id;
            v->complete[i] = t->lane[i]->complete;
            v->cells[i] = t->lane[i]->queue.cells;
        }
    }
    *cursor += got;
    return got;
}
