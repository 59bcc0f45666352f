/* What a person sees: every path of every VPN route and why it is, or is not, used. */
#include "pe/inner.h"

static const uint32_t families[] = {BGP_EVPN, BGP_VPNV4, BGP_VPNV6};
#define FAMILIES (sizeof families / sizeof *families)

const char *pe_reason_text(enum pe_reason r)
{
    static const char *const text[PE_REASONS] = {[PE_USED] = "used",
        [PE_BEACON] = "a beacon, not for packets",
        [PE_NOT_BEST] = "another path of this route is better",
        [PE_BEATEN] = "another router's route is better",
        [PE_UNREACHABLE] = "no way to its next hop",
        [PE_NO_SERVICE] = "it names no SRv6 service",
        [PE_BEHAVIOUR] = "its service does not take this family",
        [PE_CLEAR] = "this VRF is encrypted and the service is not",
        [PE_SEALED] = "the service is encrypted and this VRF is not",
        [PE_NOT_IMPORTED] = "no VRF imports its targets",
        [PE_LOCAL] = "this VRF has the prefix itself",
        [PE_OURS] = "it starts here",
        [PE_REFUSED] = "the table is full"};
    return (unsigned)r < PE_REASONS ? text[r] : "?";
}

static void read_path(struct pe_route_view *v, uint32_t family, const struct bgp_path *p)
{
    struct bgp_rt5 r;
    struct bgp_vpn w;
    *v = (struct pe_route_view){.family = family, .since_ns = p->since_ns};
    if (family == BGP_EVPN && bgp_rt5_decode(&r, p->raw, p->raw_len) == 0) {
        memcpy(v->rd, r.rd, 8);
        v->prefix = r.prefix;
    } else if (family != BGP_EVPN && bgp_vpn_decode(&w, family, p->raw, p->raw_len) == 0) {
        memcpy(v->rd, w.rd, 8);
        v->prefix = w.prefix;
    }
    const struct bgp_attributes *a = p->attributes;
    unsigned at = a->next_hop_len == 24 || a->next_hop_len == 48 ? 8 : 0;
    if (a->next_hop_len >= at + 16)
        memcpy(v->next_hop.b, a->next_hop + at, 16);
}

static enum pe_reason reason_of(const struct pe *pe, const struct vpn *r, const struct import *i)
{
    if (ip6_equal(&r->next_hop, &pe->config.loopback))
        return PE_OURS;
    if (r->is_beacon)
        return PE_BEACON;
    if (!r->has_service)
        return PE_NO_SERVICE;
    if (!vpn_takes(r))
        return PE_BEHAVIOUR;
    if (!i || !i->dest)
        return PE_NOT_IMPORTED;
    if (vpn_takes_esp(r) != i->vrf->config.encrypted)
        return i->vrf->config.encrypted ? PE_CLEAR : PE_SEALED;
    if (i->dest->own)
        return PE_LOCAL;
    if (i->dest->chosen != i)
        return PE_BEATEN;
    return i->dest->refused ? PE_REFUSED : PE_USED;
}

static unsigned view_best(struct pe *pe, const struct pe_route_view *like, struct pe_route_view *ret, unsigned most)
{
    const struct vpn *r = vpn_find(pe, like->family, like->rd, &like->prefix);
    unsigned n = 0;
    if (!r || most == 0)
        return 0;
    const struct import *i = r->imports;
    do {
        struct pe_route_view *v = &ret[n++];
        *v = *like;
        v->has_service = r->has_service;
        v->service_sid = r->service.sid;
        v->color = r->color;
        v->vrf = i ? i->vrf->config.id : 0;
        v->reason = reason_of(pe, r, i);
        if (v->reason == PE_USED)
            memcpy(v->path_of_class, i->dest->now_set.path_of_class, sizeof v->path_of_class);
        i = i ? i->of_route : NULL;
    } while (i && n < most);
    return n;
}

static unsigned view_path(struct pe *pe, const struct bgp_route *route, const struct bgp_path *p, uint32_t family,
    struct pe_route_view *ret, unsigned most)
{
    struct pe_route_view v;
    read_path(&v, family, p);
    if (p == route->best && p->source != BGP_SELF)
        return view_best(pe, &v, ret, most);
    if (most == 0)
        return 0;
    v.reason = p->source == BGP_SELF                           ? PE_OURS
               : nexthop_metric(pe, &v.next_hop) == UINT32_MAX ? PE_UNREACHABLE
                                                               : PE_NOT_BEST;
    *ret = v;
    return 1;
}

unsigned pe_routes_view(struct pe *pe, struct pe_cursor *cursor, struct pe_route_view *ret, unsigned most)
{
    unsigned n = 0;
    for (; cursor->family < FAMILIES; cursor->family++, cursor->version = 0) {
        uint32_t family = families[cursor->family];
        const struct bgp_rib *rib = bgp_speaker_rib(pe->speaker, family);
        const struct bgp_route *r;
        while ((r = bgp_rib_next(rib, cursor->version)) != NULL) {
            if (n && n + 32 > most) /* a route is told whole, unless it is in more VRFs than that */
                return n;
            for (const struct bgp_path *p = r->paths; p; p = p->next)
                n += view_path(pe, r, p, family, ret + n, most - n);
            cursor->version = r->version;
        }
    }
    return n;
}

unsigned pe_underlay_view(struct pe *pe, uint32_t *cursor, struct pe_underlay_view *ret, unsigned most)
{
    unsigned n = 0;
    uint32_t at = 0;
    for (const struct learned *l = pe->learned; l && n < most; l = l->next)
        if (at++ >= *cursor)
            ret[n++] = (struct pe_underlay_view){l->prefix, l->router, l->port, l->metric, l->set};
    *cursor += n;
    return n;
}
