#include "bgp/best.h"

#include "base/bytes.h"

#include <string.h>

static uint32_t metric_of(const struct bgp_path *p, const struct bgp_rib_above *a)
{
    if (p->source == BGP_SELF || !a->metric || (a->outside_is_near && !p->ibgp))
        return 0;
    return a->metric(a->user, p->attributes->next_hop, p->attributes->next_hop_len);
}

/* Steps before MED: long-lived stale last (RFC 9494 4.3), ours first, LOCAL_PREF, AS_PATH length, ORIGIN. < 0: x is better. */
static int compare_head(const struct bgp_path *x, const struct bgp_path *y)
{
    bool x_old = x->long_lived_stale || x->attributes->llgr_stale,
         y_old = y->long_lived_stale || y->attributes->llgr_stale;
    if (x_old != y_old)
        return x_old ? 1 : -1;
    if ((x->source == BGP_SELF) != (y->source == BGP_SELF))
        return x->source == BGP_SELF ? -1 : 1;
    if (x->attributes->local_pref != y->attributes->local_pref)
        return x->attributes->local_pref > y->attributes->local_pref ? -1 : 1;
    if (x->attributes->path_length != y->attributes->path_length)
        return x->attributes->path_length < y->attributes->path_length ? -1 : 1;
    return (int)x->attributes->origin - (int)y->attributes->origin;
}

static void identify(
    const struct bgp_path *p, const struct bgp_rib_above *a, uint8_t identifier[4], struct ip_addr *address)
{
    memset(identifier, 0, 4);
    memset(address, 0, sizeof *address);
    if (p->source != BGP_SELF && a->peer_order)
        a->peer_order(a->user, p->source, identifier, address);
    if (bytes_get_be32(p->attributes->originator))
        memcpy(identifier, p->attributes->originator, 4); /* RFC 4456 9 */
}

/* Steps after MED: external first, metric, identifier, cluster list length, address. */
static int compare_tail(const struct bgp_path *x, const struct bgp_path *y, const struct bgp_rib_above *a)
{
    uint8_t x_id[4], y_id[4];
    struct ip_addr x_address, y_address;
    if (x->ibgp != y->ibgp)
        return x->ibgp ? 1 : -1;
    uint32_t xm = metric_of(x, a), ym = metric_of(y, a);
    if (xm != ym)
        return xm < ym ? -1 : 1;
    identify(x, a, x_id, &x_address);
    identify(y, a, y_id, &y_address);
    int c = memcmp(x_id, y_id, 4);
    if (c == 0)
        c = (int)x->attributes->cluster_length - (int)y->attributes->cluster_length;
    if (c == 0)
        c = memcmp(&x_address, &y_address, sizeof x_address);
    if (c == 0)
        c = (int)x->source - (int)y->source;
    return c ? c : x->id < y->id ? -1 : x->id > y->id;
}

/* Step c: MED counts only between paths from the same neighbouring AS; so a path is out when any equal one of its AS has a
 * lower one, whether or not that one wins in the end. */
static bool beaten_by_med(const struct bgp_path *p, const struct bgp_path *all, const struct bgp_rib_above *a)
{
    for (const struct bgp_path *q = all; q; q = q->next)
        if (q != p && metric_of(q, a) != UINT32_MAX && compare_head(p, q) == 0 &&
            q->attributes->neighbour_as == p->attributes->neighbour_as && q->attributes->med < p->attributes->med)
            return true;
    return false;
}

struct bgp_path *bgp_best(struct bgp_path *paths, const struct bgp_rib_above *a)
{
    struct bgp_path *best = NULL;
    for (struct bgp_path *p = paths; p; p = p->next) {
        if (metric_of(p, a) == UINT32_MAX)
            continue;
        int head = best ? compare_head(p, best) : -1;
        if (head > 0 || (paths->next && beaten_by_med(p, paths, a)))
            continue;
        if (head < 0 || compare_tail(p, best, a) < 0)
            best = p;
    }
    return best;
}
