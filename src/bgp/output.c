/* RIBs into UPDATEs: what a peer may know of a route, and how it is said.
 *
 * A peer stands at a version of each RIB. Routes behind it are told in order; neighbouring ones with the same attributes share
 * an UPDATE, neighbouring withdrawn ones too. Attributes go out byte for byte; a reflector adds ORIGINATOR_ID and its cluster
 * (RFC 4456 8), towards another AS the path gets our number and internal attributes stay behind. */
#include "base/bytes.h"
#include "bgp/inner.h"

#include <string.h>

#define SPARE 100u /* bytes left free below the limit, for attributes that others add on the way */

static const uint8_t *cluster_of(const struct bgp_speaker *s)
{
    return bytes_get_be32(s->config.cluster) ? s->config.cluster : s->config.identifier;
}

/* --- may this peer know this path? ------------------------------------------------------------------------------------- */

static bool client(const struct bgp_speaker *s, uint16_t source)
{
    return s->peers[source] && s->peers[source]->config.kind == BGP_PEER_CLIENT;
}

static bool may_know(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    const struct bgp_speaker *s = p->speaker;
    if (!path || path->source == p->number || path->attributes->no_advertise)
        return false;
    if (p->config.kind == BGP_PEER_LINK)
        return family == BGP_IPV6_UNICAST && !path->attributes->no_export;
    if (path->source == BGP_SELF)
        return true;
    if (!path->ibgp)
        return family != BGP_IPV6_UNICAST; /* the underlay is told over links only */
    if (s->config.role != BGP_REFLECTOR)
        return false;
    return p->config.kind == BGP_PEER_CLIENT || client(s, path->source);
}

/* --- one UPDATE ---------------------------------------------------------------------------------------------------------- */

struct message {
    uint8_t bytes[BGP_EXTENDED_MOST];
    size_t len, most;
};

static bool put_bytes(struct message *m, const void *bytes, size_t len)
{
    if (m->most - m->len < len)
        return false;
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
    return true;
}

static bool put_attribute(struct message *m, uint8_t flags, uint8_t type, const void *value, size_t len)
{
    int n = bgp_attribute_put(m->bytes, m->len, m->most, flags, type, value, len);
    if (n > 0)
        m->len = (size_t)n;
    return n > 0;
}

static void begin(struct message *m, size_t most)
{
    m->most = most;
    m->len = BGP_HEADER + 4; /* no withdrawn routes in the message's own field; lengths come at the end */
    memset(m->bytes + BGP_HEADER, 0, 4);
}

static void finish(struct message *m)
{
    bgp_header_encode(m->bytes, (uint32_t)m->len, BGP_UPDATE);
    bytes_put_be16(m->bytes + BGP_HEADER + 2, (uint16_t)(m->len - BGP_HEADER - 4));
}

/* MP_REACH or MP_UNREACH with room for routes to be appended; closed by close_routes. Always the extended length. */
static size_t open_routes(struct message *m, uint32_t family, const uint8_t *next_hop, unsigned next_hop_len)
{
    uint8_t head[64] = {0x90, next_hop ? BGP_MP_REACH : BGP_MP_UNREACH};
    size_t at = m->len, n = 7;
    bytes_put_be16(head + 4, (uint16_t)(family >> 16));
    head[6] = (uint8_t)family;
    if (next_hop) {
        head[7] = (uint8_t)next_hop_len;
        memcpy(head + 8, next_hop, next_hop_len);
        n = 8 + next_hop_len + 1; /* the reserved octet */
    }
    put_bytes(m, head, n);
    return at;
}

static void close_routes(struct message *m, size_t at)
{
    bytes_put_be16(m->bytes + at + 2, (uint16_t)(m->len - at - 4));
}

/* --- attributes ------------------------------------------------------------------------------------------------------------ */

static bool put_external_path(struct message *m, const struct bgp_peer *p, const uint8_t *path, size_t len)
{
    uint8_t value[1024];
    uint32_t as = p->config.session.local_as;
    bool joins = len >= 2 && path[0] == 2 && path[1] < 255;
    size_t n = joins ? 2 : 0;
    if (len + 6 > sizeof value)
        return false;
    value[0] = 2;
    value[1] = (uint8_t)(joins ? path[1] + 1 : 1);
    bytes_put_be32(value + 2, as);
    memcpy(value + 6, path + n, len - n);
    return put_attribute(m, 0x40, BGP_AS_PATH, value, 6 + len - n);
}

static bool put_raw(struct message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    const struct bgp_attributes *a = path->attributes;
    bool external = bgp_peer_external(p);
    for (size_t at = 0; at < a->len;) {
        const uint8_t *raw = a->bytes + at, *value;
        size_t head = raw[0] & BGP_FLAG_EXTENDED ? 4 : 3;
        size_t len = head == 4 ? bytes_get_be16(raw + 2) : raw[2];
        value = raw + head;
        at += head + len;
        uint8_t type = raw[1];
        bool internal_only =
            type == BGP_LOCAL_PREF || type == BGP_ORIGINATOR_ID || type == BGP_CLUSTER_LIST || type == BGP_MED;
        bool rewritten = type == BGP_ORIGINATOR_ID || type == BGP_CLUSTER_LIST;
        if ((external && internal_only) || (!external && path->ibgp && rewritten))
            continue;
        bool ok = external && type == BGP_AS_PATH ? put_external_path(m, p, value, len) : put_bytes(m, raw, head + len);
        if (!ok)
            return false;
    }
    return true;
}

/* RFC 4456 8: who brought the route into the AS, and through which clusters it came; ours goes in front. */
static bool put_reflection(struct message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    const struct bgp_speaker *s = p->speaker;
    uint8_t clusters[4 + 255 * 4], originator[4];
    uint16_t len = 0;
    if (path->source == BGP_SELF || !path->ibgp || bgp_peer_external(p))
        return true;
    memcpy(originator, path->attributes->originator, 4);
    if (!bytes_get_be32(originator)) {
        const struct bgp_session *from = bgp_peer_best_session(s, path->source);
        if (from)
            memcpy(originator, from->peer.identifier, 4);
    }
    const uint8_t *before = bgp_attributes_find(path->attributes, BGP_CLUSTER_LIST, &len);
    if (len > 254 * 4)
        return false;
    memcpy(clusters, cluster_of(s), 4);
    if (before)
        memcpy(clusters + 4, before, len);
    return put_attribute(m, 0x80, BGP_ORIGINATOR_ID, originator, 4) &&
           put_attribute(m, 0x80, BGP_CLUSTER_LIST, clusters, 4u + len);
}

static bool put_attributes(struct message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    uint16_t len;
    bool external = bgp_peer_external(p);
    if (!put_raw(m, p, path) || !put_reflection(m, p, path))
        return false;
    if (!external && !bgp_attributes_find(path->attributes, BGP_LOCAL_PREF, &len))
        return put_attribute(m, 0x40, BGP_LOCAL_PREF, (uint8_t[]){0, 0, 0, 100}, 4);
    return true;
}

static const uint8_t *next_hop_for(const struct bgp_peer *p, const struct bgp_path *path, uint8_t *ret_len)
{
    *ret_len = 16;
    if (p->config.kind == BGP_PEER_LINK)
        return p->config.next_hop.b;
    if (path->source == BGP_SELF)
        return p->speaker->config.next_hop.b;
    *ret_len = path->attributes->next_hop_len;
    return path->attributes->next_hop;
}

/* VPNv4 and VPNv6 next hops carry an RD of zero in front (RFC 4659 3.2.1); ours is stored without. */
static size_t open_reach(struct message *m, const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    uint8_t len, with_rd[24] = {0};
    const uint8_t *hop = next_hop_for(p, path, &len);
    if ((family == BGP_VPNV4 || family == BGP_VPNV6) && len == 16) {
        memcpy(with_rd + 8, hop, 16);
        hop = with_rd;
        len = 24;
    }
    return open_routes(m, family, hop, len);
}

/* --- telling -------------------------------------------------------------------------------------------------------------------- */

/* One message that begins with `route`; *told becomes the version of the last route it says. */
static void tell_reach(struct bgp_peer *p, int index, const struct bgp_route *route, uint64_t *told, struct message *m)
{
    struct bgp_rib *rib = p->speaker->rib[index];
    uint32_t family = bgp_rib_families[index];
    const struct bgp_path *first = route->best;
    size_t limit = (p->side[p->up].extended ? BGP_EXTENDED_MOST : BGP_MESSAGE_MOST) - SPARE;
    /* The attributes are measured first, behind the place of MP_REACH, so that routes fill what they leave. */
    begin(m, limit);
    size_t start = m->len;
    if (!put_attributes(m, p, first)) {
        *told = route->version; /* too long to be said at all: nobody downstream could either */
        m->len = 0;
        return;
    }
    size_t attributes = m->len - start;
    begin(m, limit - attributes);
    size_t at = open_reach(m, p, family, first);
    while (route && may_know(p, family, route->best) && route->best->attributes == first->attributes &&
           route->best->source == first->source && put_bytes(m, route->best->raw, route->best->raw_len)) {
        bgp_rib_set_told(rib, route, p->number, true);
        *told = route->version;
        route = bgp_rib_next(rib, *told);
    }
    close_routes(m, at);
    m->most = limit + SPARE;
    put_attributes(m, p, first);
    finish(m);
}

/* The key of a route as an NLRI that withdraws it: label and gateway do not matter there (RFC 9136 3.1, RFC 8277 2.4). */
static unsigned withdrawn_nlri(uint32_t family, const struct bgp_route *route, uint8_t to[64])
{
    const uint8_t *key = route->key;
    if (family == BGP_EVPN && key[0] == BGP_EVPN_PREFIX) {
        struct bgp_rt5 r = {
            .tag = bytes_get_be32(key + 10), .prefix = {.family = key[1] == 4 ? IP_V4 : IP_V6, .len = key[14]}};
        memcpy(r.rd, key + 2, 8);
        memcpy(r.prefix.a.b, key + 15, key[1]);
        return bgp_rt5_encode(&r, to);
    }
    if (family == BGP_VPNV4 || family == BGP_VPNV6) {
        to[0] = (uint8_t)(key[0] + 24);
        memcpy(to + 1, (uint8_t[]){0x80, 0, 0}, 3); /* RFC 8277 2.4 */
        memcpy(to + 4, key + 1, route->key_len - 1u);
        return route->key_len + 3u;
    }
    memcpy(to, key, route->key_len);
    return route->key_len;
}

static void tell_unreach(
    struct bgp_peer *p, int index, const struct bgp_route *route, uint64_t *told, struct message *m)
{
    struct bgp_rib *rib = p->speaker->rib[index];
    uint32_t family = bgp_rib_families[index];
    uint8_t nlri[64];
    begin(m, (p->side[p->up].extended ? BGP_EXTENDED_MOST : BGP_MESSAGE_MOST) - SPARE);
    size_t at = open_routes(m, family, NULL, 0);
    while (route && !may_know(p, family, route->best) && bgp_rib_told(route, p->number) &&
           put_bytes(m, nlri, withdrawn_nlri(family, route, nlri))) {
        bgp_rib_set_told(rib, route, p->number, false);
        *told = route->version;
        route = bgp_rib_next(rib, *told);
    }
    close_routes(m, at);
    finish(m);
}

static bool send_marker(struct bgp_peer *p, uint32_t family, int64_t now)
{
    struct message m;
    begin(&m, BGP_MESSAGE_MOST);
    if (family != BGP_IPV4_UNICAST)
        close_routes(&m, open_routes(&m, family, NULL, 0));
    finish(&m);
    return bgp_session_send(&p->side[p->up], m.bytes, m.len, now) == 0;
}

static bool send_refresh(struct bgp_peer *p, uint32_t family, enum bgp_refresh_kind kind, int64_t now)
{
    uint8_t bytes[BGP_HEADER + 4];
    struct bgp_session *s = &p->side[p->up];
    return !s->enhanced_refresh || (bgp_refresh_encode(family, kind, bytes, sizeof bytes) > 0 &&
                                       bgp_session_send(s, bytes, sizeof bytes, now) == 0);
}

/* What must stand between routes: BoRR before the first, End-of-RIB and EoRR behind the last. */
static void tell_marks(struct bgp_peer *p, int index, int64_t now)
{
    struct bgp_peer_family *f = &p->family[index];
    uint32_t family = bgp_rib_families[index];
    if (f->told < f->end_after && bgp_rib_next(p->speaker->rib[index], f->told))
        return;
    if (!f->end_sent)
        f->end_sent = send_marker(p, family, now);
    if (f->refreshing && send_refresh(p, family, BGP_REFRESH_END, now))
        f->refreshing = false;
}

static void fill_family(struct bgp_peer *p, int index, int64_t now)
{
    struct bgp_peer_family *f = &p->family[index];
    const struct bgp_rib *rib = p->speaker->rib[index];
    uint32_t family = bgp_rib_families[index];
    struct bgp_session *s = &p->side[p->up];
    struct message m;
    if (f->refresh && send_refresh(p, family, BGP_REFRESH_BEGIN, now)) {
        f->refresh = false;
        f->refreshing = true;
        f->told = 0;
        f->end_after = bgp_rib_version(rib);
    }
    const struct bgp_route *route;
    while (s->out.len < BGP_OUT_MOST / 2 && (route = bgp_rib_next(rib, f->told)) != NULL) {
        m.len = 0;
        if (may_know(p, family, route->best))
            tell_reach(p, index, route, &f->told, &m);
        else if (bgp_rib_told(route, p->number))
            tell_unreach(p, index, route, &f->told, &m);
        else
            f->told = route->version;
        /* There is room for it; only memory can lack, and then the peer must begin anew. */
        if (m.len && bgp_session_send(s, m.bytes, m.len, now)) {
            bgp_session_stop(s, BGP_CEASE_RESOURCES, NULL, now);
            return;
        }
    }
    tell_marks(p, index, now);
}

void bgp_output_fill(struct bgp_peer *p, int64_t now)
{
    for (int i = 0; p->up >= 0 && i < BGP_RIBS; i++)
        if (bgp_session_family(&p->side[p->up], bgp_rib_families[i]))
            fill_family(p, i, now);
}

bool bgp_output_pending(const struct bgp_peer *p)
{
    for (int i = 0; p->up >= 0 && i < BGP_RIBS; i++)
        if (bgp_session_family(&p->side[p->up], bgp_rib_families[i]) &&
            (!p->family[i].end_sent || p->family[i].refresh || p->family[i].refreshing ||
                bgp_rib_next(p->speaker->rib[i], p->family[i].told)))
            return true;
    return false;
}

void bgp_output_begin(struct bgp_peer *p)
{
    for (int i = 0; i < BGP_RIBS; i++) {
        bgp_rib_untell(p->speaker->rib[i], p->number);
        p->family[i].told = 0;
        p->family[i].end_sent = p->family[i].refresh = p->family[i].refreshing = false;
        p->family[i].end_after = bgp_rib_version(p->speaker->rib[i]);
    }
}

void bgp_output_refresh(struct bgp_peer *p, uint32_t family)
{
    int i = bgp_rib_index(family);
    if (i >= 0)
        p->family[i].refresh = true;
}
