/* RFC 7606 as a table: one row per attribute that we know. The checks look at form only; what a value means is for those
 * who use it. */
#include "base/bytes.h"
#include "wire/bgp_update.h"

#include <errno.h>
#include <string.h>

static bool check_origin(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)where;
    return len == 1 && v[0] <= 2;
}

/* Segments of {type, count, numbers}: no unknown type, no empty segment, nothing left over (RFC 7606 7.2). */
static bool check_segments(const uint8_t *v, uint16_t len, unsigned width)
{
    for (unsigned at = 0; at < len;) {
        if (len - at < 2 || v[at] < 1 || v[at] > 4 || v[at + 1] == 0 || len - at - 2 < v[at + 1] * width)
            return false;
        at += 2 + v[at + 1] * width;
    }
    return true;
}

/* RFC 4271 6.3: what a peer in another AS says begins with that AS (RFC 7606 7.2: else as any wrong path). A confederation's
 * segments stay inside it (RFC 5065 5). */
static bool begins_with_peer(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    uint32_t as = where->as4 || where->peer_as <= 0xffff ? where->peer_as : BGP_AS_TRANS;
    return len >= 4 && v[0] == 2 && (where->as4 ? bytes_get_be32(v + 2) : bytes_get_be16(v + 2)) == as;
}

static bool check_as_path(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    return check_segments(v, len, where->as4 ? 4 : 2) && (where->ibgp || begins_with_peer(v, len, where));
}

static bool check_as4_path(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)where;
    return len && check_segments(v, len, 4);
}

static bool check_four(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len == 4;
}

static bool check_empty(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len == 0;
}

static bool check_aggregator(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v;
    return len == (where->as4 ? 8 : 6);
}

static bool check_eight(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len == 8;
}

static bool check_fours(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len && len % 4 == 0;
}

static bool check_eights(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len && len % 8 == 0;
}

static bool check_twelves(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len && len % 12 == 0;
}

/* TLVs of {type 1, length 2}. An SRv6 L3 Service TLV among them must be sound as well (RFC 9252 7). */
static bool check_prefix_sid(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)where;
    for (unsigned at = 0; at < len;) {
        if (len - at < 3 || len - at - 3u < bytes_get_be16(v + at + 1))
            return false;
        at += 3u + bytes_get_be16(v + at + 1);
    }
    struct bgp_srv6_service s;
    return len && bgp_srv6_service_decode(&s, v, len, 0) != -EPROTO;
}

/* Tunnel TLVs of {type 2, length 2} (RFC 9012); what is inside one matters to those who use that tunnel type. */
static bool check_tunnels(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)where;
    for (unsigned at = 0; at < len;) {
        if (len - at < 4 || len - at - 4u < bytes_get_be16(v + at + 2))
            return false;
        at += 4u + bytes_get_be16(v + at + 2);
    }
    return len > 0;
}

/* What is in it is signed and read by xSEC; others only see that it is not longer than daemons carry safely. */
static bool check_beacon(const uint8_t *v, uint16_t len, const struct bgp_update_context *where)
{
    (void)v, (void)where;
    return len && len <= BGP_XSEC_BEACON_MOST;
}

#define WELL_KNOWN BGP_FLAG_TRANSITIVE
#define OPTIONAL   BGP_FLAG_OPTIONAL
#define OPT_TRANS  (BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE)

const struct bgp_attribute_rule *bgp_attribute_rule(uint8_t type)
{
    static const struct bgp_attribute_rule rules[] = {
        {BGP_ORIGIN, WELL_KNOWN, BGP_TREAT_AS_WITHDRAW, false, check_origin, "ORIGIN", "RFC 7606 7.1"},
        {BGP_AS_PATH, WELL_KNOWN, BGP_TREAT_AS_WITHDRAW, false, check_as_path, "AS_PATH", "RFC 7606 7.2"},
        {BGP_NEXT_HOP, WELL_KNOWN, BGP_TREAT_AS_WITHDRAW, false, check_four, "NEXT_HOP", "RFC 7606 7.3"},
        {BGP_MED, OPTIONAL, BGP_TREAT_AS_WITHDRAW, false, check_four, "MULTI_EXIT_DISC", "RFC 7606 7.4"},
        {BGP_LOCAL_PREF, WELL_KNOWN, BGP_TREAT_AS_WITHDRAW, true, check_four, "LOCAL_PREF", "RFC 7606 7.5"},
        {BGP_ATOMIC_AGGREGATE, WELL_KNOWN, BGP_DISCARD_ATTRIBUTE, false, check_empty, "ATOMIC_AGGREGATE",
            "RFC 7606 7.6"},
        {BGP_AGGREGATOR, OPT_TRANS, BGP_DISCARD_ATTRIBUTE, false, check_aggregator, "AGGREGATOR", "RFC 7606 7.7"},
        {BGP_COMMUNITIES, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_fours, "COMMUNITIES", "RFC 7606 7.8"},
        {BGP_ORIGINATOR_ID, OPTIONAL, BGP_TREAT_AS_WITHDRAW, true, check_four, "ORIGINATOR_ID", "RFC 7606 7.9"},
        {BGP_CLUSTER_LIST, OPTIONAL, BGP_TREAT_AS_WITHDRAW, true, check_fours, "CLUSTER_LIST", "RFC 7606 7.10"},
        {BGP_EXTENDED_COMMUNITIES, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_eights, "EXTENDED_COMMUNITIES",
            "RFC 7606 7.14"},
        {BGP_AS4_PATH, OPT_TRANS, BGP_DISCARD_ATTRIBUTE, false, check_as4_path, "AS4_PATH", "RFC 6793 6"},
        {BGP_AS4_AGGREGATOR, OPT_TRANS, BGP_DISCARD_ATTRIBUTE, false, check_eight, "AS4_AGGREGATOR", "RFC 6793 6"},
        {BGP_TUNNEL_ENCAPSULATION, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_tunnels, "TUNNEL_ENCAPSULATION",
            "RFC 9012 13"},
        {BGP_LARGE_COMMUNITIES, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_twelves, "LARGE_COMMUNITY",
            "RFC 8092 5"},
        {BGP_XSEC_BEACON, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_beacon, "XSEC_BEACON", "docs/wire-bgp.md"},
        {BGP_PREFIX_SID, OPT_TRANS, BGP_TREAT_AS_WITHDRAW, false, check_prefix_sid, "PREFIX_SID", "RFC 9252 7"},
    };
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].type == type)
            return &rules[i];
    return NULL;
}

int bgp_attribute_put(uint8_t *to, size_t at, size_t cap, uint8_t flags, uint8_t type, const void *value, size_t len)
{
    size_t head = len > 255 ? 4 : 3;
    if (len > 0xffff || at > cap || cap - at < head + len)
        return -ENOBUFS;
    uint8_t *p = to + at;
    p[0] = (uint8_t)(head == 4 ? flags | BGP_FLAG_EXTENDED : flags & ~BGP_FLAG_EXTENDED);
    p[1] = type;
    if (head == 4)
        bytes_put_be16(p + 2, (uint16_t)len);
    else
        p[2] = (uint8_t)len;
    if (len)
        memcpy(p + head, value, len);
    return (int)(at + head + len);
}

int bgp_route_target_next(const uint8_t *value, size_t len, size_t *at, uint8_t ret[8])
{
    for (; *at + 8 <= len; *at += 8) {
        const uint8_t *c = value + *at;
        /* Transitive two-octet AS, IPv4 address and four-octet AS specific, sub-type 2 (RFC 4360 4, RFC 5668). */
        if (c[0] <= 2 && c[1] == 2) {
            memcpy(ret, c, 8);
            *at += 8;
            return 0;
        }
    }
    return -ENOENT;
}
