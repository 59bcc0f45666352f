/* Which routes a peer is told, and when.
 *
 * A peer stands at a version of each RIB. Routes behind it are told in order; neighbouring ones with the same attributes share
 * an UPDATE, neighbouring withdrawn ones too. Each route remembers which peers hold what was told of it, so that a peer whose
 * wishes change (its route targets) is walked through the RIB again and hears only of the difference. */
#include "bgp/inner.h"

/* --- may this peer know this path? ------------------------------------------------------------------------------------- */

static bool client(const struct bgp_speaker *s, uint16_t source)
{
    return s->peers[source] && s->peers[source]->config.kind == BGP_PEER_CLIENT;
}

/* RFC 9494 4.3: routes that are long gone only to those who know what that means. */
static bool long_lived(const struct bgp_peer *p, uint32_t family)
{
    const struct bgp_open *o = &p->side[p->up].peer;
    for (int i = 0; i < o->n_graceful; i++)
        if (o->graceful_families[i].family == family)
            return o->graceful_families[i].long_lived > 0;
    return false;
}

/* RFC 8950 4: an IPv6 next hop of an IPv4 route only to who said that it takes it. */
static bool takes_next_hop(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    const struct bgp_open *o = &p->side[p->up].peer;
    if ((family != BGP_VPNV4 && family != BGP_IPV4_UNICAST) || p->config.six_hops_assumed ||
        !bgp_encode_six_hop(p, family, path))
        return true;
    for (int i = 0; i < o->n_six_hops; i++)
        if (o->six_hops[i] == family)
            return true;
    return false;
}

/* What would be told, and is kept back for a reason that a person should know. */
static bool kept_back(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path, enum bgp_refusal *ret)
{
    if (!takes_next_hop(p, family, path))
        *ret = BGP_UNTOLD_SIX_HOP;
    else if (p->config.kind == BGP_PEER_CUSTOMER && bgp_customer_of_its_site(p, path->attributes))
        *ret = BGP_UNTOLD_SITE;
    else
        return false;
    return true;
}

static bool is_for(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    const struct bgp_speaker *s = p->speaker;
    if (!path || path->source == p->number || path->attributes->no_advertise)
        return false;
    if ((path->long_lived_stale || path->attributes->llgr_stale) && !long_lived(p, family))
        return false;
    if (p->config.kind == BGP_PEER_LINK)
        return family == BGP_IPV6_UNICAST && !path->attributes->no_export;
    if (p->config.kind == BGP_PEER_CUSTOMER)
        return !path->attributes->no_export;
    if (bgp_family_has_targets(family) && !bgp_targets_wanted(p, path->attributes))
        return false;
    if (path->source == BGP_SELF)
        return true;
    if (family == BGP_RTC)
        return false; /* wishes end here: a reflector wants everything of everybody (targets.c) */
    if (!path->ibgp)
        return family != BGP_IPV6_UNICAST; /* the underlay is told over links only */
    if (s->config.role != BGP_REFLECTOR)
        return false;
    return p->config.kind == BGP_PEER_CLIENT || client(s, path->source);
}

static bool may_know(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    enum bgp_refusal why;
    return is_for(p, family, path) && !kept_back(p, family, path, &why);
}

/* It holds this already as it is. */
static bool holds(const struct bgp_peer *p, const struct bgp_peer_family *f, const struct bgp_route *route)
{
    return route->version <= f->sure && bgp_rib_told(route, p->number);
}

/* --- telling -------------------------------------------------------------------------------------------------------------------- */

/* One message that begins with `route`, which this peer holds; f->told becomes the version of the last route it says. */
static void tell_unreach(struct bgp_peer *p, int index, const struct bgp_route *route, struct bgp_message *m)
{
    struct bgp_rib *rib = p->rib[index];
    struct bgp_peer_family *f = &p->family[index];
    uint32_t family = bgp_rib_families[index];
    bgp_encode_unreach(m, p, family);
    do {
        if (!bgp_encode_withdrawn(m, family, route))
            break;
        bgp_rib_set_told(rib, route, p->number, false);
        f->told = route->version;
        route = bgp_rib_next(rib, f->told);
    } while (route && bgp_rib_told(route, p->number) && !may_know(p, family, route->best));
    bgp_encode_unreach_end(m);
}

static void tell_reach(struct bgp_peer *p, int index, const struct bgp_route *route, struct bgp_message *m)
{
    struct bgp_rib *rib = p->rib[index];
    struct bgp_peer_family *f = &p->family[index];
    uint32_t family = bgp_rib_families[index];
    const struct bgp_path *first = route->best;
    if (!bgp_encode_reach(m, p, family, first)) {
        /* Too long for this peer: it must not go on with what it heard before (RFC 8654 5). */
        p->side[p->up].counters.routes_too_long++;
        bgp_refused(p, BGP_UNTOLD_TOO_LONG, family, first->raw, first->raw_len);
        m->len = 0;
        if (bgp_rib_told(route, p->number))
            tell_unreach(p, index, route, m);
        else
            f->told = route->version;
        return;
    }
    do {
        if (!bgp_encode_route(m, route->best))
            break;
        bgp_rib_set_told(rib, route, p->number, true);
        f->told = route->version;
        route = bgp_rib_next(rib, f->told);
    } while (route && !holds(p, f, route) && may_know(p, family, route->best) &&
             route->best->attributes == first->attributes && route->best->source == first->source &&
             route->best->long_lived_stale == first->long_lived_stale);
    bgp_encode_reach_end(m, p, first);
}

static void tell(struct bgp_peer *p, int index, const struct bgp_route *route, struct bgp_message *m)
{
    struct bgp_peer_family *f = &p->family[index];
    uint32_t family = bgp_rib_families[index];
    enum bgp_refusal why;
    m->len = 0;
    if (!may_know(p, family, route->best)) {
        if (is_for(p, family, route->best) && kept_back(p, family, route->best, &why))
            bgp_refused(p, why, family, route->best->raw, route->best->raw_len);
        if (bgp_rib_told(route, p->number))
            tell_unreach(p, index, route, m);
        else
            f->told = route->version;
    } else if (holds(p, f, route)) {
        f->told = route->version;
    } else {
        tell_reach(p, index, route, m);
    }
}

/* --- marks between routes --------------------------------------------------------------------------------------------------- */

static bool send_end_of_rib(struct bgp_peer *p, uint32_t family, int64_t now)
{
    struct bgp_message m;
    bgp_encode_end_of_rib(&m, family);
    return bgp_session_send(&p->side[p->up], m.bytes, m.len, now) == 0;
}

static bool send_refresh(struct bgp_peer *p, uint32_t family, enum bgp_refresh_kind kind, int64_t now)
{
    uint8_t bytes[BGP_HEADER + 4];
    struct bgp_session *s = &p->side[p->up];
    return !s->enhanced_refresh || (bgp_refresh_encode(family, kind, bytes, sizeof bytes) > 0 &&
                                       bgp_session_send(s, bytes, sizeof bytes, now) == 0);
}

/* BoRR before the first route; not before End-of-RIB, RFC 7313 4.1. */
static void begin_refresh(struct bgp_peer *p, int index, int64_t now)
{
    struct bgp_peer_family *f = &p->family[index];
    if (!f->refresh || !f->end_sent || !send_refresh(p, bgp_rib_families[index], BGP_REFRESH_BEGIN, now))
        return;
    f->refresh = false;
    f->refreshing = true;
    f->told = f->sure = 0;
    f->end_after = bgp_rib_version(p->rib[index]);
}

/* End-of-RIB and EoRR behind the last. */
static void tell_marks(struct bgp_peer *p, int index, int64_t now)
{
    struct bgp_peer_family *f = &p->family[index];
    uint32_t family = bgp_rib_families[index];
    if (f->told < f->end_after && bgp_rib_next(p->rib[index], f->told))
        return;
    if (!f->end_sent && bgp_restart_may_end(p, index, now))
        f->end_sent = send_end_of_rib(p, family, now);
    if (f->refreshing && send_refresh(p, family, BGP_REFRESH_END, now))
        f->refreshing = false;
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------ */

static void fill_family(struct bgp_peer *p, int index, int64_t now)
{
    struct bgp_peer_family *f = &p->family[index];
    struct bgp_session *s = &p->side[p->up];
    const struct bgp_route *route;
    struct bgp_message m;
    if (bgp_family_has_targets(bgp_rib_families[index]) && !bgp_targets_ready(p, now))
        return;
    begin_refresh(p, index, now);
    while (s->out.len < BGP_OUT_MOST / 2 && (route = bgp_rib_next(p->rib[index], f->told)) != NULL) {
        tell(p, index, route, &m);
        /* There is room for it; only memory can lack, and then the peer must begin anew. */
        if (m.len && bgp_session_send(s, m.bytes, m.len, now)) {
            bgp_session_stop(s, BGP_CEASE_RESOURCES, NULL, now);
            return;
        }
    }
    tell_marks(p, index, now);
    begin_refresh(p, index, now);
}

void bgp_output_fill(struct bgp_peer *p, int64_t now)
{
    if (p->up >= 0 && p->targets_changed)
        bgp_targets_look(p);
    for (int i = 0; p->up >= 0 && i < BGP_RIBS; i++)
        if (bgp_session_family(&p->side[p->up], bgp_rib_families[i]))
            fill_family(p, i, now);
}

void bgp_output_begin(struct bgp_peer *p)
{
    for (int i = 0; i < BGP_RIBS; i++) {
        struct bgp_peer_family *f = &p->family[i];
        bgp_rib_untell(p->rib[i], p->number);
        f->told = f->sure = 0;
        f->end_sent = f->refresh = f->refreshing = false;
        f->end_after = bgp_rib_version(p->rib[i]);
    }
}

void bgp_output_refresh(struct bgp_peer *p, uint32_t family)
{
    int i = bgp_rib_index(family);
    if (i >= 0)
        p->family[i].refresh = true;
}

void bgp_output_again(struct bgp_peer *p, int rib)
{
    struct bgp_peer_family *f = &p->family[rib];
    if (f->told > f->sure)
        f->sure = f->told;
    f->told = 0;
}
