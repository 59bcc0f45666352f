/* One UPDATE. Attributes go out byte for byte; a reflector adds ORIGINATOR_ID and its cluster (RFC 4456 8), towards another AS
 * the path gets our number and internal attributes stay behind, a speaker of two-octet numbers gets AS4_PATH (RFC 6793). */
#include "base/bytes.h"
#include "bgp/as4.h"
#include "bgp/inner.h"

#define SPARE                                                                                                          \
    100u /* bytes left free below the limit where routes are packed, for attributes that others add on the way */

static bool put_bytes(struct bgp_message *m, const void *bytes, size_t len)
{
    if (m->most - m->len < len)
        return false;
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
    return true;
}

static bool put_attribute(struct bgp_message *m, uint8_t flags, uint8_t type, const void *value, size_t len)
{
    int n = bgp_attribute_put(m->bytes, m->len, m->most, flags, type, value, len);
    if (n > 0)
        m->len = (size_t)n;
    return n > 0;
}

static void begin(struct bgp_message *m, size_t most)
{
    m->most = most;
    m->plain = false;
    m->len = BGP_HEADER + 4; /* no withdrawn routes in the message's own field; lengths come at the end */
    memset(m->bytes + BGP_HEADER, 0, 4);
}

static void finish(struct bgp_message *m)
{
    bgp_header_encode(m->bytes, (uint32_t)m->len, BGP_UPDATE);
    bytes_put_be16(m->bytes + BGP_HEADER + 2, (uint16_t)(m->len - BGP_HEADER - 4));
}

/* MP_REACH or MP_UNREACH comes first, always of extended length: routes are appended to it, then it is closed. */
#define ROUTES_AT (BGP_HEADER + 4u)

static void open_routes(struct bgp_message *m, uint32_t family, const uint8_t *next_hop, unsigned next_hop_len)
{
    uint8_t head[64] = {0x90, next_hop ? BGP_MP_REACH : BGP_MP_UNREACH};
    size_t n = 7;
    bytes_put_be16(head + 4, (uint16_t)(family >> 16));
    head[6] = (uint8_t)family;
    if (next_hop) {
        head[7] = (uint8_t)next_hop_len;
        memcpy(head + 8, next_hop, next_hop_len);
        n = 8 + next_hop_len + 1; /* the reserved octet */
    }
    put_bytes(m, head, n);
}

static void close_routes(struct bgp_message *m)
{
    bytes_put_be16(m->bytes + ROUTES_AT + 2, (uint16_t)(m->len - ROUTES_AT - 4));
}

/* --- attributes ------------------------------------------------------------------------------------------------------------ */

static bool narrow(const struct bgp_peer *p)
{
    return !p->side[p->up].as4;
}

/* RFC 6793 4.2.2: AS_TRANS for what does not fit, and the truth in AS4_PATH. */
static bool put_path(struct bgp_message *m, const struct bgp_peer *p, const uint8_t *path, size_t len)
{
    uint8_t other[BGP_AS4_PATH_MOST];
    bool lossy;
    if (!narrow(p))
        return put_attribute(m, 0x40, BGP_AS_PATH, path, len);
    if (len > sizeof other)
        return false;
    if (!put_attribute(m, 0x40, BGP_AS_PATH, other, bgp_as4_narrow(other, path, len, &lossy)))
        return false;
    return !lossy || put_attribute(m, 0xc0, BGP_AS4_PATH, other, bgp_as4_path(other, path, len));
}

/* RFC 4271 5.1.2: our number in front. */
static bool put_external_path(struct bgp_message *m, const struct bgp_peer *p, const uint8_t *path, size_t len)
{
    uint8_t value[1024];
    uint8_t there = 0; /* numbers of a sequence that ours can join */
    size_t n = 0;
    if (len + 6 > sizeof value)
        return false;
    if (len >= 2 && path[0] == 2 && path[1] < 255) {
        there = path[1];
        n = 2;
    }
    value[0] = 2;
    value[1] = (uint8_t)(there + 1);
    bytes_put_be32(value + 2, p->config.session.local_as);
    memcpy(value + 6, path + n, len - n);
    bgp_customer_override(p, value, 6 + len - n);
    return put_path(m, p, value, 6 + len - n);
}

static bool put_aggregator(struct bgp_message *m, const struct bgp_attribute *a)
{
    uint8_t old[6];
    uint32_t as = bytes_get_be32(a->value);
    bytes_put_be16(old, (uint16_t)(as > 0xffff ? BGP_AS_TRANS : as));
    memcpy(old + 2, a->value + 4, 4);
    return put_attribute(m, a->flags, BGP_AGGREGATOR, old, 6) &&
           (as <= 0xffff || put_attribute(m, 0xc0, BGP_AS4_AGGREGATOR, a->value, 8));
}

static bool left_out(const struct bgp_peer *p, const struct bgp_path *path, uint8_t type)
{
    bool reflection = type == BGP_ORIGINATOR_ID || type == BGP_CLUSTER_LIST;
    if (p->config.kind == BGP_PEER_CUSTOMER && bgp_customer_untold(type))
        return true;
    if (bgp_peer_external(p))
        return reflection || type == BGP_LOCAL_PREF || type == BGP_MED;
    return reflection && path->ibgp; /* put anew */
}

#define LLGR_STALE "\xff\xff\x00\x06" /* RFC 9494 4.7 */

static bool needs_llgr_stale(const struct bgp_path *path)
{
    return path->long_lived_stale && !path->attributes->llgr_stale;
}

static bool put_llgr_stale(struct bgp_message *m, const struct bgp_attribute *communities)
{
    uint8_t value[BGP_MESSAGE_MOST];
    size_t len = communities ? communities->len : 0;
    if (len + 4 > sizeof value)
        return false;
    if (len)
        memcpy(value, communities->value, len);
    memcpy(value + len, LLGR_STALE, 4);
    return put_attribute(m, 0xc0, BGP_COMMUNITIES, value, len + 4);
}

static bool put_one(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_attribute *a)
{
    if (a->type == BGP_AS_PATH && bgp_peer_external(p))
        return put_external_path(m, p, a->value, a->len);
    if (a->type == BGP_AS_PATH && narrow(p))
        return put_path(m, p, a->value, a->len);
    if (a->type == BGP_AGGREGATOR && narrow(p))
        return put_aggregator(m, a);
    return put_bytes(m, a->raw, a->raw_len);
}

/* RFC 4456 8: who brought the route into the AS, and through which clusters it came; ours goes in front. */
static bool put_reflection(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    const struct bgp_speaker *s = p->speaker;
    uint8_t clusters[4 + 255 * 4];
    const uint8_t *originator = path->attributes->originator;
    uint16_t len = 0;
    if (path->source == BGP_SELF || !path->ibgp || bgp_peer_external(p))
        return true;
    if (!bytes_get_be32(originator))
        originator = s->peers[path->source]->identifier;
    const uint8_t *before = bgp_attributes_find(path->attributes, BGP_CLUSTER_LIST, &len);
    if (len > 254 * 4)
        return false;
    memcpy(clusters, bgp_cluster(s), 4);
    if (before)
        memcpy(clusters + 4, before, len);
    return put_attribute(m, 0x80, BGP_ORIGINATOR_ID, originator, 4) &&
           put_attribute(m, 0x80, BGP_CLUSTER_LIST, clusters, 4u + len);
}

static bool put_attributes(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    struct bgp_attribute a;
    uint16_t len;
    for (size_t at = 0; bgp_attributes_next(path->attributes, &at, &a);)
        if (a.type == BGP_COMMUNITIES && needs_llgr_stale(path) ? !put_llgr_stale(m, &a)
                                                                : !left_out(p, path, a.type) && !put_one(m, p, &a))
            return false;
    if (needs_llgr_stale(path) && !bgp_attributes_find(path->attributes, BGP_COMMUNITIES, &len) &&
        !put_llgr_stale(m, NULL))
        return false;
    if (!put_reflection(m, p, path))
        return false;
    if (!bgp_peer_external(p) && !bgp_attributes_find(path->attributes, BGP_LOCAL_PREF, &len))
        return put_attribute(m, 0x40, BGP_LOCAL_PREF, (uint8_t[]){0, 0, 0, 100}, 4);
    return true;
}

/* --- announcing ------------------------------------------------------------------------------------------------------------- */

static const uint8_t *next_hop_for(
    const struct bgp_peer *p, uint32_t family, const struct bgp_path *path, uint8_t *ret_len)
{
    static const uint8_t none[4] = {0};
    *ret_len = 16;
    if (family == BGP_IPV4_UNICAST && p->config.kind == BGP_PEER_CUSTOMER &&
        memcmp(p->config.customer.next_hop4, none, 4) != 0) {
        *ret_len = 4;
        return p->config.customer.next_hop4;
    }
    if (bgp_peer_external(p))
        return p->config.next_hop.b;
    if (path->source == BGP_SELF)
        return p->speaker->config.next_hop.b;
    *ret_len = path->attributes->next_hop_len;
    return path->attributes->next_hop;
}

/* VPNv4 and VPNv6 next hops carry an RD of zero in front (RFC 4659 3.2.1); ours is stored without. */
static void open_reach(struct bgp_message *m, const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    uint8_t len, with_rd[24] = {0};
    const uint8_t *hop = next_hop_for(p, family, path, &len);
    if ((family == BGP_VPNV4 || family == BGP_VPNV6) && len == 16) {
        memcpy(with_rd + 8, hop, 16);
        hop = with_rd;
        len = 24;
    }
    open_routes(m, family, hop, len);
}

bool bgp_encode_six_hop(const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    uint8_t len;
    next_hop_for(p, family, path, &len);
    return len != 4 && len != 12;
}

/* Without MP_REACH: attributes first, NEXT_HOP among them, then routes to the end. */
static bool open_plain(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    uint8_t len;
    const uint8_t *hop = next_hop_for(p, BGP_IPV4_UNICAST, path, &len);
    if (!put_attributes(m, p, path) || !put_attribute(m, 0x40, BGP_NEXT_HOP, hop, len))
        return false;
    bytes_put_be16(m->bytes + BGP_HEADER + 2, (uint16_t)(m->len - BGP_HEADER - 4));
    m->plain = true;
    if (m->len + path->raw_len > m->most)
        return false;
    if (m->len + path->raw_len + SPARE <= m->most)
        m->most -= SPARE;
    else
        m->most = m->len + path->raw_len;
    return true;
}

static size_t longest(const struct bgp_peer *p)
{
    return p->side[p->up].extended ? BGP_EXTENDED_MOST : BGP_MESSAGE_MOST;
}

bool bgp_encode_reach(struct bgp_message *m, const struct bgp_peer *p, uint32_t family, const struct bgp_path *path)
{
    size_t limit = longest(p);
    /* What comes behind MP_REACH_NLRI is measured first, so that routes fill what it leaves. */
    begin(m, limit);
    if (family == BGP_IPV4_UNICAST && !bgp_encode_six_hop(p, family, path))
        return open_plain(m, p, path);
    if (!put_attributes(m, p, path))
        return false;
    size_t attributes = m->len - ROUTES_AT;
    begin(m, limit);
    open_reach(m, p, family, path);
    size_t least = m->len + path->raw_len + attributes;
    if (least > limit)
        return false;
    m->most = least + SPARE <= limit ? limit - attributes - SPARE : m->len + path->raw_len;
    return true;
}

bool bgp_encode_route(struct bgp_message *m, const struct bgp_path *path)
{
    return put_bytes(m, path->raw, path->raw_len);
}

void bgp_encode_reach_end(struct bgp_message *m, const struct bgp_peer *p, const struct bgp_path *path)
{
    if (m->plain) {
        bgp_header_encode(m->bytes, (uint32_t)m->len, BGP_UPDATE);
        return;
    }
    close_routes(m);
    m->most = longest(p);
    put_attributes(m, p, path);
    finish(m);
}

/* --- withdrawing ---------------------------------------------------------------------------------------------------------------- */

void bgp_encode_unreach(struct bgp_message *m, const struct bgp_peer *p, uint32_t family)
{
    begin(m, longest(p) - SPARE);
    m->plain = family == BGP_IPV4_UNICAST && p->config.kind == BGP_PEER_CUSTOMER;
    if (m->plain)
        m->len = BGP_HEADER + 2;
    else
        open_routes(m, family, NULL, 0);
}

/* As it withdraws the route: label and gateway do not matter there (RFC 9136 3.1, RFC 8277 2.4). */
unsigned bgp_key_nlri(uint32_t family, const struct bgp_route *route, uint8_t to[64])
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

bool bgp_encode_withdrawn(struct bgp_message *m, uint32_t family, const struct bgp_route *route)
{
    uint8_t nlri[64];
    return put_bytes(m, nlri, bgp_key_nlri(family, route, nlri));
}

void bgp_encode_unreach_end(struct bgp_message *m)
{
    if (m->plain) {
        bytes_put_be16(m->bytes + BGP_HEADER, (uint16_t)(m->len - BGP_HEADER - 2));
        memset(m->bytes + m->len, 0, 2);
        m->len += 2;
        bgp_header_encode(m->bytes, (uint32_t)m->len, BGP_UPDATE);
        return;
    }
    close_routes(m);
    finish(m);
}

void bgp_encode_end_of_rib(struct bgp_message *m, uint32_t family)
{
    begin(m, BGP_MESSAGE_MOST);
    if (family != BGP_IPV4_UNICAST) {
        open_routes(m, family, NULL, 0);
        close_routes(m);
    }
    finish(m);
}
