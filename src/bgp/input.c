/* UPDATEs into RIBs: loops are noticed, route by route is announced or withdrawn, limits are kept. */
#include "base/bytes.h"
#include "bgp/as4.h"
#include "bgp/inner.h"

/* --- loops ------------------------------------------------------------------------------------------------------------- */

static unsigned times_in_path(const struct bgp_update *u, uint32_t as)
{
    const struct bgp_attribute *a = bgp_attribute_find(u, BGP_AS_PATH);
    unsigned n = 0;
    for (unsigned at = 0; a && at < a->len; at += 2 + a->value[at + 1] * 4)
        for (unsigned i = 0; i < a->value[at + 1]; i++)
            n += bytes_get_be32(a->value + at + 2 + i * 4) == as;
    return n;
}

/* RFC 4456 8: what we sent out ourselves, or reflected before, comes back. */
static bool came_back(const struct bgp_speaker *s, const struct bgp_update *u)
{
    const struct bgp_attribute *a = bgp_attribute_find(u, BGP_ORIGINATOR_ID);
    if (a && memcmp(a->value, s->config.identifier, 4) == 0)
        return true;
    a = bgp_attribute_find(u, BGP_CLUSTER_LIST);
    for (unsigned at = 0; s->config.role == BGP_REFLECTOR && a && at < a->len; at += 4)
        if (memcmp(a->value + at, bgp_cluster(s), 4) == 0)
            return true;
    return false;
}

/* Why the routes of this message are not taken (RFC 4271 9.1.2: our AS on the way means a loop, whoever says it). False: they
 * are. */
static bool refused(const struct bgp_peer *p, const struct bgp_update *u, enum bgp_refusal *ret)
{
    if (u->action == BGP_TREAT_AS_WITHDRAW)
        *ret = BGP_REFUSED_FAULTY;
    else if (times_in_path(u, p->config.session.local_as) > p->config.own_as_allowed)
        *ret = BGP_REFUSED_AS_LOOP;
    else if (!bgp_peer_external(p) && came_back(p->speaker, u))
        *ret = BGP_REFUSED_REFLECTED;
    else
        return false;
    return true;
}

/* RFC 9136 3.2: a route with both an Ethernet segment and a gateway says two things at once. */
static bool usable(uint32_t family, const struct bgp_nlri *n)
{
    static const uint8_t none[16] = {0};
    struct bgp_rt5 r;
    return family != BGP_EVPN || bgp_rt5_decode(&r, n->raw, n->raw_len) || memcmp(r.esi, none, 10) == 0 ||
           memcmp(r.gateway.b, none, 16) == 0;
}

/* --- routes ------------------------------------------------------------------------------------------------------------ */

/* why: they were announced and are not taken; NULL: the peer takes them back. */
static void withdraw_all(
    struct bgp_peer *p, uint32_t family, const uint8_t *bytes, size_t len, const enum bgp_refusal *why)
{
    int i = bgp_rib_index(family);
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    while (i >= 0 && (rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) != 0) {
        if (rc != 1)
            continue;
        bgp_rib_withdraw(p->rib[i], n.key, n.key_len, p->number, n.path_id);
        if (why)
            bgp_refused(p, *why, family, n.raw, n.raw_len);
    }
    p->targets_changed |= family == BGP_RTC;
}

/* False: over the limit, or no memory. */
static bool announce_all(struct bgp_peer *p, uint32_t family, const uint8_t *bytes, size_t len,
    struct bgp_attributes *a, int64_t now, uint8_t *ret_cease)
{
    int i = bgp_rib_index(family);
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    p->targets_changed |= family == BGP_RTC;
    while (i >= 0 && (rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) != 0) {
        if (rc != 1)
            continue;
        if (!usable(family, &n)) {
            bgp_rib_withdraw(p->rib[i], n.key, n.key_len, p->number, n.path_id);
            bgp_refused(p, BGP_REFUSED_OVERLAY, family, n.raw, n.raw_len);
            continue;
        }
        bgp_attributes_hold(a);
        if (bgp_rib_announce(p->rib[i], &n, p->number, !bgp_peer_external(p), a, now)) {
            *ret_cease = BGP_CEASE_RESOURCES;
            return false;
        }
        uint32_t most = p->config.prefixes_most;
        if (most && bgp_rib_from(p->rib[i], p->number) > most) {
            *ret_cease = BGP_CEASE_PREFIXES;
            bgp_refused(p, BGP_REFUSED_LIMIT, family, n.raw, n.raw_len);
            return false;
        }
    }
    return true;
}

static bool take_routes(struct bgp_peer *p, const struct bgp_update *u, bool mp, int64_t now, uint8_t *ret_cease)
{
    uint32_t family = mp ? u->reach_family : BGP_IPV4_UNICAST;
    const uint8_t *bytes = mp ? u->reach : u->announced;
    size_t len = mp ? u->reach_len : u->announced_len;
    struct bgp_attributes *a;
    enum bgp_refusal why;
    if (len == 0 || !bgp_session_family(&p->side[p->up], family))
        return true;
    if (refused(p, u, &why)) {
        withdraw_all(p, family, bytes, len, &why);
        return true;
    }
    if (bgp_attributes_of_update(p->speaker->attributes, u, mp, &a)) {
        *ret_cease = BGP_CEASE_RESOURCES;
        return false;
    }
    bool sound = announce_all(p, family, bytes, len, a, now, ret_cease);
    bgp_attributes_drop(p->speaker->attributes, a);
    return sound;
}

/* RFC 4724 2: an UPDATE that says nothing, or an MP_UNREACH_NLRI of a family without routes. */
static bool is_end_of_rib(const struct bgp_update *u, uint32_t *ret_family)
{
    if (u->announced_len || u->withdrawn_len || u->reach_family || u->n_attributes || u->unreach_len || u->faults)
        return false;
    *ret_family = u->unreach_family ? u->unreach_family : BGP_IPV4_UNICAST;
    return true;
}

static bool take(struct bgp_peer *p, const struct bgp_update *u, int64_t now, uint8_t *ret_cease)
{
    struct bgp_customer_space space;
    struct bgp_update said;
    withdraw_all(p, BGP_IPV4_UNICAST, u->withdrawn, u->withdrawn_len, NULL);
    if (u->unreach_family && bgp_session_family(&p->side[p->up], u->unreach_family))
        withdraw_all(p, u->unreach_family, u->unreach, u->unreach_len, NULL);
    if (p->config.kind == BGP_PEER_CUSTOMER && u->action != BGP_TREAT_AS_WITHDRAW) {
        if (!bgp_customer_said(p, &said, u, &space))
            said.action = BGP_TREAT_AS_WITHDRAW;
        u = &said;
    }
    return take_routes(p, u, false, now, ret_cease) && take_routes(p, u, true, now, ret_cease);
}

bool bgp_input_update(struct bgp_peer *p, const struct bgp_update *u, bool as4, int64_t now, uint8_t *ret_cease)
{
    struct bgp_as4_space space;
    struct bgp_update wide;
    uint32_t family;
    if (is_end_of_rib(u, &family)) {
        bgp_restart_end_of_rib(p, family);
        return true;
    }
    if (as4 || u->action == BGP_TREAT_AS_WITHDRAW)
        return take(p, u, now, ret_cease);
    if (!bgp_as4_widen(&wide, u, &space)) {
        wide = *u;
        wide.action = BGP_TREAT_AS_WITHDRAW;
    }
    return take(p, &wide, now, ret_cease);
}
