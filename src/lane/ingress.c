/* Lanes that begin here: what the layer above asks for. */
#include "lane/lane_inner.h"

#include <errno.h>

static int spec_check(struct lane_node *n, const struct lane_spec *s, struct error *err)
{
    struct lane_link *l = s->out_port < PORT_MOST ? n->link[s->out_port] : NULL;
    if (!l)
        return error_set(err, ENOENT, "port %u is no core port", s->out_port);
    if (!s->n_sids || s->n_sids > LANE_SIDS_MOST)
        return error_set(err, EINVAL, "a lane's path has 1 to %u SIDs, not %u", LANE_SIDS_MOST, s->n_sids);
    if ((unsigned)s->class_ >= LANE_CLASSES)
        return error_set(err, EINVAL, "there is no class %u", (unsigned)s->class_);
    if (s->cap_bps && s->cap_bps < s->guarantee_bps)
        return error_set(err, EINVAL, "a lane's cap is not below what it is guaranteed");
    return 0;
}

static int rate_check(const struct port *p, uint64_t guarantee, const struct lane_tx *moved, struct error *err)
{
    uint64_t had = moved && moved->queue.port == p ? moved->queue.guarantee.rate_bps : 0;
    if (!p->config.rate_bps || guarantee <= had || p->guaranteed_bps + guarantee - had <= p->config.rate_bps)
        return 0;
    return error_set(err, ENOSPC, "port %u has %llu bit/s left to guarantee, not %llu", p->index,
        (unsigned long long)(p->config.rate_bps > p->guaranteed_bps ? p->config.rate_bps - p->guaranteed_bps : 0),
        (unsigned long long)guarantee);
}

int tx_begin(struct lane_node *n, const struct lane_spec *s, struct lane_tx *successor_of, int64_t now,
    struct lane_tx **ret, struct error *err)
{
    int rc = spec_check(n, s, err);
    if (!rc)
        rc = rate_check(n->link[s->out_port]->port, s->guarantee_bps, successor_of, err);
    if (rc)
        return rc;
    struct lane_open_frame want = {
        .id = n->config.router_id << 32 | ++n->next_id,
        .move_of = successor_of ? successor_of->id : 0,
        .guarantee_bps = s->guarantee_bps,
        .cap_bps = s->cap_bps,
        .rate_bps = s->rate_bps,
        .tenant = s->tenant,
        .window_least = s->window_least,
        .class_ = (uint8_t)s->class_,
        .n_sids = (uint8_t)s->n_sids,
    };
    memcpy(want.sids, s->sids, s->n_sids * sizeof *s->sids);
    struct lane_tx *t = tx_create(n, &want, s->out_port, NULL, now);
    if (!t)
        return error_set(err, ENOSPC, "this router has %u lanes already", n->lanes);
    t->queue.limits = s->limits;
    *ret = t;
    return 0;
}

int lane_open(struct lane_node *n, const struct lane_spec *s, int64_t now, struct lane_tx **ret, struct error *err)
{
    n->now = now;
    return tx_begin(n, s, NULL, now, ret, err);
}

void lane_close(struct lane_node *n, struct lane_tx *t, bool drain, int64_t now)
{
    n->now = now;
    tx_close(t, drain, now);
}
