/* UPDATEs into RIBs: loops are noticed, route by route is announced or withdrawn, limits are kept. */
#include "base/bytes.h"
#include "bgp/inner.h"

#include <string.h>

/* --- loops ------------------------------------------------------------------------------------------------------------- */

static bool path_contains(const struct bgp_update *u, uint32_t as, bool as4)
{
    const struct bgp_attribute *a = bgp_attribute_find(u, BGP_AS_PATH);
    unsigned width = as4 ? 4 : 2;
    for (unsigned at = 0; a && at < a->len; at += 2 + a->value[at + 1] * width)
        for (unsigned i = 0; i < a->value[at + 1]; i++) {
            const uint8_t *p = a->value + at + 2 + i * width;
            if ((as4 ? bytes_get_be32(p) : bytes_get_be16(p)) == as)
                return true;
        }
    return false;
}

static const uint8_t *cluster_of(const struct bgp_speaker *s)
{
    return bytes_get_be32(s->config.cluster) ? s->config.cluster : s->config.identifier;
}

/* RFC 4456 8: what we sent out ourselves, or reflected before, comes back. */
static bool came_back(const struct bgp_speaker *s, const struct bgp_update *u)
{
    const struct bgp_attribute *a = bgp_attribute_find(u, BGP_ORIGINATOR_ID);
    if (a && memcmp(a->value, s->config.identifier, 4) == 0)
        return true;
    a = bgp_attribute_find(u, BGP_CLUSTER_LIST);
    for (unsigned at = 0; s->config.role == BGP_REFLECTOR && a && at < a->len; at += 4)
        if (memcmp(a->value + at, cluster_of(s), 4) == 0)
            return true;
    return false;
}

static bool looped(const struct bgp_peer *p, const struct bgp_update *u, bool as4)
{
    return bgp_peer_external(p) ? path_contains(u, p->config.session.local_as, as4) : came_back(p->speaker, u);
}

/* --- routes ------------------------------------------------------------------------------------------------------------ */

static void withdraw_all(struct bgp_peer *p, uint32_t family, const uint8_t *bytes, size_t len)
{
    int i = bgp_rib_index(family);
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    while (i >= 0 && (rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) != 0)
        if (rc == 1)
            bgp_rib_withdraw(p->speaker->rib[i], n.key, n.key_len, p->number);
}

/* False: over the limit, or no memory. */
static bool announce_all(struct bgp_peer *p, uint32_t family, const uint8_t *bytes, size_t len,
    struct bgp_attributes *a, int64_t now, uint8_t *ret_cease)
{
    int i = bgp_rib_index(family);
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    while (i >= 0 && (rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) != 0) {
        if (rc != 1)
            continue;
        bgp_attributes_hold(a);
        if (bgp_rib_announce(p->speaker->rib[i], &n, p->number, !bgp_peer_external(p), a, now)) {
            *ret_cease = BGP_CEASE_RESOURCES;
            return false;
        }
        uint32_t most = p->config.prefixes_most;
        if (most && bgp_rib_from(p->speaker->rib[i], p->number) > most) {
            *ret_cease = BGP_CEASE_PREFIXES;
            return false;
        }
    }
    return true;
}

static bool take_routes(
    struct bgp_peer *p, const struct bgp_update *u, bool mp, bool as4, int64_t now, uint8_t *ret_cease)
{
    uint32_t family = mp ? u->reach_family : BGP_IPV4_UNICAST;
    const uint8_t *bytes = mp ? u->reach : u->announced;
    size_t len = mp ? u->reach_len : u->announced_len;
    struct bgp_attributes *a;
    if (len == 0 || !bgp_session_family(&p->side[p->up], family))
        return true;
    if (u->action == BGP_TREAT_AS_WITHDRAW || looped(p, u, as4)) {
        withdraw_all(p, family, bytes, len);
        return true;
    }
    if (bgp_attributes_of_update(p->speaker->attributes, u, mp, as4, &a)) {
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
    if (u->announced_len || u->withdrawn_len || u->reach_family || u->n_attributes || u->unreach_len)
        return false;
    *ret_family = u->unreach_family ? u->unreach_family : BGP_IPV4_UNICAST;
    return true;
}

bool bgp_input_update(struct bgp_peer *p, const struct bgp_update *u, bool as4, int64_t now, uint8_t *ret_cease)
{
    uint32_t family;
    if (is_end_of_rib(u, &family)) {
        bgp_restart_end_of_rib(p, family);
        return true;
    }
    withdraw_all(p, BGP_IPV4_UNICAST, u->withdrawn, u->withdrawn_len);
    if (u->unreach_family && bgp_session_family(&p->side[p->up], u->unreach_family))
        withdraw_all(p, u->unreach_family, u->unreach, u->unreach_len);
    return take_routes(p, u, false, as4, now, ret_cease) && take_routes(p, u, true, as4, now, ret_cease);
}
