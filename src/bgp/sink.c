/* Best paths told to the layer that forwards: VPN routes whatever family carried them, underlay prefixes, SR Policies; and
 * the routes that start here. */
#include "base/bytes.h"
#include "bgp/inner.h"

#include <errno.h>
#include <string.h>

/* The colour of the colour extended community (RFC 9012 4.3): type 3, sub-type 0x0b, the highest of several. */
static uint32_t color_of(const uint8_t *communities, size_t len)
{
    uint32_t color = 0;
    for (size_t at = 0; at + 8 <= len; at += 8)
        if (communities[at] == 3 && communities[at + 1] == 0x0b && bytes_get_be32(communities + at + 4) > color)
            color = bytes_get_be32(communities + at + 4);
    return color;
}

static bool read_vpn(struct bgp_vpn_route *v, uint32_t family, const struct bgp_path *path, uint32_t *label)
{
    struct bgp_rt5 rt5;
    struct bgp_vpn vpn;
    v->family = family;
    if (family == BGP_EVPN && bgp_rt5_decode(&rt5, path->raw, path->raw_len) == 0) {
        memcpy(v->rd, rt5.rd, 8);
        v->prefix = rt5.prefix;
        *label = rt5.label;
        return true;
    }
    if (family == BGP_EVPN || bgp_vpn_decode(&vpn, family, path->raw, path->raw_len))
        return false;
    memcpy(v->rd, vpn.rd, 8);
    v->prefix = vpn.prefix;
    *label = vpn.label;
    return true;
}

static void tell_vpn(struct bgp_speaker *s, uint32_t family, const struct bgp_path *path, bool withdrawn)
{
    struct bgp_vpn_route v = {0};
    uint32_t label;
    uint16_t len;
    if (!s->sink.vpn_route || !read_vpn(&v, family, path, &label))
        return;
    if (!withdrawn) {
        const struct bgp_attributes *a = path->attributes;
        const uint8_t *sid = bgp_attributes_find(a, BGP_PREFIX_SID, &len);
        v.has_service = sid && bgp_srv6_service_decode(&v.service, sid, len, label) == 0;
        v.next_hop = a->next_hop;
        v.next_hop_len = a->next_hop_len;
        v.local_pref = a->local_pref;
        v.med = a->med;
        v.path_length = a->path_length;
        v.origin = a->origin;
        v.stale = path->long_lived_stale || a->llgr_stale;
        v.communities = bgp_attributes_find(a, BGP_EXTENDED_COMMUNITIES, &v.communities_len);
        v.color = v.communities ? color_of(v.communities, v.communities_len) : 0;
        v.beacon = bgp_attributes_find(a, BGP_XSEC_BEACON, &v.beacon_len);
    }
    s->sink.vpn_route(s->sink.user, &v, withdrawn);
}

static void tell_policy(struct bgp_speaker *s, uint32_t family, const struct bgp_path *path, bool withdrawn)
{
    struct bgp_sr_policy key;
    struct bgp_sr_policy_path p = {0};
    uint16_t len;
    if (!s->sink.policy || bgp_sr_policy_decode(&key, family, path->raw, path->raw_len))
        return;
    const uint8_t *tunnels = bgp_attributes_find(path->attributes, BGP_TUNNEL_ENCAPSULATION, &len);
    if (!withdrawn && (!tunnels || bgp_sr_policy_path_decode(&p, tunnels, len)))
        withdrawn = true; /* RFC 9830 4.2.1: a policy that cannot be followed is none */
    s->sink.policy(s->sink.user, &key, withdrawn ? NULL : &p, withdrawn);
}

static void tell_underlay(struct bgp_speaker *s, uint32_t family, const struct bgp_path *path, bool withdrawn)
{
    struct ip_prefix prefix;
    if (s->sink.underlay_route && bgp_prefix_decode(&prefix, family, path->raw, path->raw_len) == 0)
        s->sink.underlay_route(s->sink.user, path->source, &prefix, withdrawn);
}

void bgp_sink_best(void *speaker, uint32_t family, const struct bgp_route *route, const struct bgp_path *before)
{
    struct bgp_speaker *s = speaker;
    const struct bgp_path *path = route->best ? route->best : before;
    bool withdrawn = !route->best;
    /* A path of our own is known above; when it takes over, what was there from others is withdrawn. */
    if (path->source == BGP_SELF) {
        if (withdrawn || !before || before->source == BGP_SELF)
            return;
        path = before;
        withdrawn = true;
    }
    if (family == BGP_EVPN || family == BGP_VPNV4 || family == BGP_VPNV6)
        tell_vpn(s, family, path, withdrawn);
    else if (family == BGP_SR_POLICY_V4 || family == BGP_SR_POLICY_V6)
        tell_policy(s, family, path, withdrawn);
    else if (family == BGP_IPV6_UNICAST)
        tell_underlay(s, family, path, withdrawn);
}

/* --- routes that start here -------------------------------------------------------------------------------------------- */

static int own_nlri(uint32_t family, const uint8_t *raw, unsigned raw_len, struct bgp_nlri *ret)
{
    size_t at = 0;
    return bgp_nlri_next(family, false, raw, raw_len, &at, ret) == 1 && at == raw_len ? 0 : -EINVAL;
}

int bgp_originate(struct bgp_speaker *s, uint32_t family, const uint8_t *raw, unsigned raw_len,
    const uint8_t *attributes, size_t len, int64_t now, struct error *err)
{
    static const uint8_t head[] = {0x40, BGP_ORIGIN, 1, 0, 0x40, BGP_AS_PATH, 0, 0x40, BGP_LOCAL_PREF, 4, 0, 0, 0, 100};
    uint8_t bytes[BGP_MESSAGE_MOST];
    struct bgp_nlri n;
    struct bgp_attributes *a;
    int i = bgp_rib_index(family);
    if (i < 0 || own_nlri(family, raw, raw_len, &n))
        return error_set(err, EINVAL, "this is not one route of an address family that we speak");
    if (len > sizeof bytes - sizeof head)
        return error_set(err, EINVAL, "%zu bytes of attributes are too many for one route", len);
    memcpy(bytes, head, sizeof head);
    if (len)
        memcpy(bytes + sizeof head, attributes, len);
    int rc = bgp_attributes_of_bytes(s->attributes, bytes, sizeof head + len, s->config.next_hop.b, 16, &a);
    if (rc == 0)
        rc = bgp_rib_announce(s->rib[i], &n, BGP_SELF, false, a, now);
    if (rc)
        return error_set(
            err, -rc, rc == -EINVAL ? "an attribute of this route is malformed" : "not enough memory for a route");
    return 0;
}

int bgp_withdraw(struct bgp_speaker *s, uint32_t family, const uint8_t *raw, unsigned raw_len, int64_t now)
{
    (void)now;
    struct bgp_nlri n;
    int i = bgp_rib_index(family);
    if (i < 0 || own_nlri(family, raw, raw_len, &n))
        return -EINVAL;
    return bgp_rib_withdraw(s->rib[i], n.key, n.key_len, BGP_SELF, 0) ? 0 : -ENOENT;
}
