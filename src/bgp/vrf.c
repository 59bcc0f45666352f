/* Tables of VRFs: what they are made of, and how routes pass between them and the VPN. */
#include "bgp/vrf.h"

#include "base/bytes.h"
#include "bgp/inner.h"

#include <errno.h>
#include <stdlib.h>

static const uint32_t own_families[2] = {BGP_IPV4_UNICAST, BGP_IPV6_UNICAST};
static const uint32_t vpn_families[BGP_VRF_VPNS] = {BGP_EVPN, BGP_VPNV4, BGP_VPNV6};

#define EXPORTED 1u /* id of our RT-5 that says what a customer said; routes of bgp_originate have 0 */

/* --- tables ------------------------------------------------------------------------------------------------------------ */

static uint32_t metric(void *user, const uint8_t *next_hop, uint8_t len)
{
    const struct bgp_vrf *v = user;
    return bgp_next_hop_metric(v->speaker, next_hop, len);
}

static void peer_order(void *user, uint16_t source, uint8_t ret_identifier[4], struct ip_addr *ret_address)
{
    const struct bgp_vrf *v = user;
    const struct bgp_peer *p = source < BGP_PEERS_MOST ? v->speaker->peers[source] : NULL;
    if (!p)
        return;
    memcpy(ret_identifier, p->identifier, 4);
    *ret_address = p->config.address;
}

static bool of_customer(const struct bgp_path *p)
{
    return p && p->source != BGP_SELF && p->source < BGP_PEERS_MOST;
}

/* Packets for the customer go to its router: over the session's address where that is of the route's family. */
static struct ip_addr gateway_of(const struct bgp_vrf *v, const struct bgp_path *path, uint8_t family)
{
    const struct ip_addr *peer = &v->speaker->peers[path->source]->config.address;
    struct ip_addr hop = {.family = path->attributes->next_hop_len == 4 ? IP_V4 : IP_V6};
    if (peer->family == family)
        return *peer;
    memcpy(hop.a.b, path->attributes->next_hop, hop.family == IP_V4 ? 4 : 16);
    return hop;
}

static void on_best(void *user, uint32_t family, const struct bgp_route *route, const struct bgp_path *before)
{
    struct bgp_vrf *v = user;
    const struct bgp_sink *sink = &v->speaker->sink;
    const struct bgp_path *path = of_customer(route->best) ? route->best : of_customer(before) ? before : NULL;
    struct bgp_customer_route r;
    bool withdrawn = path != route->best;
    if (!path || !sink->customer_route || bgp_prefix_decode(&r.prefix, family, path->raw, path->raw_len))
        return;
    r.peer = path->source;
    r.gateway = withdrawn ? (struct ip_addr){0} : gateway_of(v, path, r.prefix.family);
    sink->customer_route(sink->user, v->number, &r, withdrawn);
}

struct bgp_vrf *bgp_vrf_find(const struct bgp_speaker *s, uint32_t number)
{
    struct bgp_vrf *v = s->vrfs;
    while (v && v->number != number)
        v = v->next;
    return v;
}

uint32_t bgp_vrf_at(const struct bgp_speaker *s, unsigned i)
{
    const struct bgp_vrf *v = s->vrfs;
    while (v && i--)
        v = v->next;
    return v ? v->number : 0;
}

struct bgp_rib *bgp_vrf_rib(const struct bgp_speaker *s, uint32_t number, uint32_t family)
{
    const struct bgp_vrf *v = bgp_vrf_find(s, number);
    return !v ? NULL : family == BGP_IPV4_UNICAST ? v->rib[0] : family == BGP_IPV6_UNICAST ? v->rib[1] : NULL;
}

void bgp_vrf_free(struct bgp_vrf *v)
{
    if (!v)
        return;
    bgp_rib_free(v->rib[0]);
    bgp_rib_free(v->rib[1]);
    free(v->attributes);
    free(v);
}

static struct bgp_vrf *new_vrf(struct bgp_speaker *s, uint32_t number)
{
    struct bgp_vrf *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    *v = (struct bgp_vrf){.speaker = s, .number = number};
    struct bgp_rib_above above = {
        .user = v, .metric = metric, .outside_is_near = true, .peer_order = peer_order, .best = on_best};
    for (int i = 0; i < 2; i++)
        if (bgp_rib_create(&v->rib[i], own_families[i], s->attributes, &above)) {
            bgp_vrf_free(v);
            return NULL;
        }
    v->next = s->vrfs;
    s->vrfs = v;
    return v;
}

static void unexport(struct bgp_vrf *v);

int bgp_vrf_set(struct bgp_speaker *s, const struct bgp_vrf_config *c, int64_t now, struct error *err)
{
    struct bgp_attributes *sound;
    if (c->vrf == 0 || c->n_imports > BGP_VRF_TARGETS_MOST || c->len > BGP_MESSAGE_MOST / 2)
        return error_set(err, EINVAL, "a VRF has a number above 0, at most %u route targets and %u bytes of attributes",
            BGP_VRF_TARGETS_MOST, BGP_MESSAGE_MOST / 2);
    if (bgp_attributes_of_bytes(s->attributes, c->attributes, c->len, s->config.next_hop.b, 16, &sound))
        return error_set(err, EINVAL, "what VRF %u exports has a malformed attribute", c->vrf);
    bgp_attributes_drop(s->attributes, sound);
    uint8_t *copy = malloc(c->len + 1);
    struct bgp_vrf *v = bgp_vrf_find(s, c->vrf);
    if (!copy || (!v && !(v = new_vrf(s, c->vrf)))) {
        free(copy);
        return error_set(err, ENOMEM, "not enough memory for VRF %u", c->vrf);
    }
    if (memcmp(v->rd, c->rd, 8) != 0 || c->len == 0)
        unexport(v); /* they stand in the VPN under the RD that was */
    if (c->len)
        memcpy(copy, c->attributes, c->len);
    free(v->attributes);
    v->attributes = copy;
    v->len = c->len;
    memcpy(v->rd, c->rd, 8);
    memcpy(v->imports, c->imports, sizeof v->imports);
    v->n_imports = c->n_imports;
    memset(v->exported, 0, sizeof v->exported);
    memset(v->imported, 0, sizeof v->imported);
    bgp_vrf_pass(s, now);
    return 0;
}

int bgp_vrf_remove(struct bgp_speaker *s, uint32_t number, int64_t now)
{
    struct bgp_vrf **at = &s->vrfs, *v;
    (void)now;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    if ((v = *at) == NULL)
        return -ENOENT;
    for (unsigned i = 1; i < BGP_PEERS_MOST; i++)
        if (s->peers[i] && s->peers[i]->config.kind == BGP_PEER_CUSTOMER && s->peers[i]->config.customer.vrf == number)
            return -EBUSY;
    unexport(v);
    *at = v->next;
    bgp_vrf_free(v);
    return 0;
}

/* --- routes that start here -------------------------------------------------------------------------------------------- */

static int own_nlri(const struct ip_prefix *p, uint8_t raw[64], struct bgp_nlri *ret)
{
    size_t at = 0;
    uint32_t family = p->family == IP_V4 ? BGP_IPV4_UNICAST : BGP_IPV6_UNICAST;
    return bgp_nlri_next(family, false, raw, bgp_prefix_encode(p, raw), &at, ret) == 1 ? 0 : -EINVAL;
}

int bgp_vrf_announce(struct bgp_speaker *s, uint32_t vrf, const struct ip_prefix *p, int64_t now, struct error *err)
{
    static const uint8_t head[] = {0x40, BGP_ORIGIN, 1, 0, 0x40, BGP_AS_PATH, 0};
    struct bgp_vrf *v = bgp_vrf_find(s, vrf);
    struct bgp_attributes *a;
    struct bgp_nlri n;
    uint8_t raw[64];
    if (!v || own_nlri(p, raw, &n))
        return error_set(err, EINVAL, "there is no VRF %u, or this is no prefix", vrf);
    int rc = bgp_attributes_of_bytes(s->attributes, head, sizeof head, s->config.next_hop.b, 16, &a);
    if (rc == 0)
        rc = bgp_rib_announce(v->rib[p->family != IP_V4], &n, BGP_SELF, false, a, now);
    return rc ? error_set(err, -rc, "not enough memory for a route") : 0;
}

int bgp_vrf_withdraw(struct bgp_speaker *s, uint32_t vrf, const struct ip_prefix *p, int64_t now)
{
    struct bgp_vrf *v = bgp_vrf_find(s, vrf);
    struct bgp_nlri n;
    uint8_t raw[64];
    (void)now;
    if (!v || own_nlri(p, raw, &n))
        return -EINVAL;
    return bgp_rib_withdraw(v->rib[p->family != IP_V4], n.key, n.key_len, BGP_SELF, 0) ? 0 : -ENOENT;
}

/* --- out into the VPN -------------------------------------------------------------------------------------------------- */

static bool put(uint8_t *to, size_t *at, size_t cap, const void *bytes, size_t len)
{
    if (cap - *at < len)
        return false;
    memcpy(to + *at, bytes, len);
    *at += len;
    return true;
}

/* The VRF's extended communities (its route targets) and the customer's (its site: customer.c left nothing else). */
static bool put_communities(
    uint8_t *to, size_t *at, size_t cap, const struct bgp_attribute *ours, const uint8_t *site, size_t n)
{
    uint8_t value[BGP_MESSAGE_MOST];
    size_t len = ours ? ours->len : 0;
    if (len + n > sizeof value)
        return false;
    if (len)
        memcpy(value, ours->value, len);
    if (n)
        memcpy(value + len, site, n);
    int end = len + n ? bgp_attribute_put(to, *at, cap, 0xc0, BGP_EXTENDED_COMMUNITIES, value, len + n) : (int)*at;
    *at = end > 0 ? (size_t)end : *at;
    return end > 0;
}

/* A customer's attributes as they go into the VPN: all of its own, the VRF's behind them. Bytes; 0: too long. */
static size_t exported_bytes(const struct bgp_vrf *v, const struct bgp_attributes *a, uint8_t *to, size_t cap)
{
    uint16_t n = 0;
    const uint8_t *site = bgp_attributes_find(a, BGP_EXTENDED_COMMUNITIES, &n);
    struct bgp_attribute one;
    size_t at = 0;
    bool fits = true, done = false, pref = false;
    for (size_t i = 0; fits && bgp_attributes_next(a, &i, &one);) {
        pref |= one.type == BGP_LOCAL_PREF;
        fits = one.type == BGP_EXTENDED_COMMUNITIES || put(to, &at, cap, one.raw, one.raw_len);
    }
    if (fits && !pref)
        fits = put(to, &at, cap, (uint8_t[]){0x40, BGP_LOCAL_PREF, 4, 0, 0, 0, 100}, 7);
    for (size_t i = 0; fits && bgp_raw_attribute_next(v->attributes, v->len, &i, &one);) {
        bool communities = one.type == BGP_EXTENDED_COMMUNITIES;
        fits = communities ? put_communities(to, &at, cap, &one, site, n) : put(to, &at, cap, one.raw, one.raw_len);
        done |= communities;
    }
    if (fits && !done)
        fits = put_communities(to, &at, cap, NULL, site, n);
    return fits ? at : 0;
}

static bool rt5_of(
    const struct bgp_vrf *v, uint32_t family, const struct bgp_route *route, uint8_t raw[64], struct bgp_nlri *ret)
{
    uint8_t prefix[64];
    struct bgp_rt5 r = {.label = 0x30};
    size_t at = 0;
    memcpy(r.rd, v->rd, 8);
    return bgp_prefix_decode(&r.prefix, family, prefix, bgp_key_nlri(family, route, prefix)) == 0 &&
           bgp_nlri_next(BGP_EVPN, false, raw, bgp_rt5_encode(&r, raw), &at, ret) == 1;
}

static void export_one(struct bgp_vrf *v, int i, const struct bgp_route *route, int64_t now)
{
    struct bgp_speaker *s = v->speaker;
    struct bgp_rib *evpn = s->rib[bgp_rib_index(BGP_EVPN)];
    struct bgp_attributes *a;
    struct bgp_nlri n;
    uint8_t raw[64], bytes[BGP_MESSAGE_MOST];
    if (!rt5_of(v, own_families[i], route, raw, &n))
        return;
    n.path_id = EXPORTED;
    size_t len = 0;
    if (of_customer(route->best) && v->len && !route->best->attributes->no_advertise)
        len = exported_bytes(v, route->best->attributes, bytes, sizeof bytes);
    if (len && bgp_attributes_of_bytes(s->attributes, bytes, len, s->config.next_hop.b, 16, &a) == 0)
        bgp_rib_announce(evpn, &n, BGP_SELF, false, a, now);
    else
        bgp_rib_withdraw(evpn, n.key, n.key_len, BGP_SELF, EXPORTED);
}

static void unexport(struct bgp_vrf *v)
{
    struct bgp_rib *evpn = v->speaker->rib[bgp_rib_index(BGP_EVPN)];
    uint8_t raw[64];
    struct bgp_nlri n;
    for (int i = 0; i < 2; i++)
        for (const struct bgp_route *r = bgp_rib_next(v->rib[i], 0); r; r = bgp_rib_next(v->rib[i], r->version))
            if (rt5_of(v, own_families[i], r, raw, &n))
                bgp_rib_withdraw(evpn, n.key, n.key_len, BGP_SELF, EXPORTED);
}

/* --- in from the VPN --------------------------------------------------------------------------------------------------- */

struct vpn_key {
    uint8_t rd[8];
    struct ip_prefix prefix;
};

static bool read_key(struct vpn_key *k, uint32_t family, const struct bgp_route *route)
{
    uint8_t raw[64];
    struct bgp_rt5 rt5;
    struct bgp_vpn vpn;
    unsigned len = bgp_key_nlri(family, route, raw);
    if (family != BGP_EVPN) {
        if (bgp_vpn_decode(&vpn, family, raw, len))
            return false;
        memcpy(k->rd, vpn.rd, 8);
        k->prefix = vpn.prefix;
        return true;
    }
    if (bgp_rt5_decode(&rt5, raw, len) || rt5.tag)
        return false; /* RFC 9136 4.4: an IP-VRF's routes have no tag */
    memcpy(k->rd, rt5.rd, 8);
    k->prefix = rt5.prefix;
    return true;
}

static bool wanted(const struct bgp_vrf *v, const struct bgp_path *best)
{
    uint8_t target[8];
    uint16_t len;
    size_t at = 0;
    if (!best || best->source == BGP_SELF)
        return false; /* routes of our own are no business of customers here: whoever started them announces them */
    const uint8_t *communities = bgp_attributes_find(best->attributes, BGP_EXTENDED_COMMUNITIES, &len);
    while (communities && bgp_route_target_next(communities, len, &at, target) == 0)
        for (unsigned i = 0; i < v->n_imports; i++)
            if (memcmp(v->imports[i], target, 8) == 0)
                return true;
    return false;
}

static void import_one(struct bgp_vrf *v, int k, const struct bgp_route *route, int64_t now)
{
    uint16_t source = (uint16_t)(BGP_IMPORTED_EVPN + (unsigned)k);
    struct vpn_key key;
    struct bgp_nlri n;
    uint8_t raw[64];
    if (!read_key(&key, vpn_families[k], route) || own_nlri(&key.prefix, raw, &n))
        return;
    struct bgp_rib *rib = v->rib[key.prefix.family != IP_V4];
    n.path_id = bytes_get_be64(key.rd);
    if (!wanted(v, route->best)) {
        bgp_rib_withdraw(rib, n.key, n.key_len, source, n.path_id);
        return;
    }
    bgp_attributes_hold(route->best->attributes);
    bgp_rib_announce(rib, &n, source, true, route->best->attributes, now);
}

/* --- what has changed -------------------------------------------------------------------------------------------------- */

static void pass_vrf(struct bgp_vrf *v, int64_t now)
{
    const struct bgp_route *route;
    for (int k = 0; k < BGP_VRF_VPNS; k++) {
        const struct bgp_rib *from = v->speaker->rib[bgp_rib_index(vpn_families[k])];
        while (v->imported[k] < bgp_rib_version(from) && (route = bgp_rib_next(from, v->imported[k])) != NULL) {
            v->imported[k] = route->version;
            import_one(v, k, route, now);
        }
        v->imported[k] = bgp_rib_version(from);
    }
    for (int i = 0; i < 2; i++) {
        while (
            v->exported[i] < bgp_rib_version(v->rib[i]) && (route = bgp_rib_next(v->rib[i], v->exported[i])) != NULL) {
            v->exported[i] = route->version;
            export_one(v, i, route, now);
        }
        v->exported[i] = bgp_rib_version(v->rib[i]);
    }
}

static bool behind(const struct bgp_vrf *v)
{
    for (int k = 0; k < BGP_VRF_VPNS; k++)
        if (v->imported[k] < bgp_rib_version(v->speaker->rib[bgp_rib_index(vpn_families[k])]))
            return true;
    return v->exported[0] < bgp_rib_version(v->rib[0]) || v->exported[1] < bgp_rib_version(v->rib[1]);
}

/* What one VRF exports may change what another may import: until nothing does. Our own routes are not imported, so that what
 * comes of the first turn changes nothing in the third. */
void bgp_vrf_pass(struct bgp_speaker *s, int64_t now)
{
    for (int turn = 0; turn < 3; turn++)
        for (struct bgp_vrf *v = s->vrfs; v; v = v->next)
            if (behind(v))
                pass_vrf(v, now);
}

/* Up to which version of this table everything has been passed on. */
uint64_t bgp_vrf_passed(const struct bgp_speaker *s, const struct bgp_rib *rib)
{
    uint64_t least = UINT64_MAX;
    for (const struct bgp_vrf *v = s->vrfs; v; v = v->next) {
        for (int k = 0; k < BGP_VRF_VPNS; k++)
            if (s->rib[bgp_rib_index(vpn_families[k])] == rib && v->imported[k] < least)
                least = v->imported[k];
        for (int i = 0; i < 2; i++)
            if (v->rib[i] == rib && v->exported[i] < least)
                least = v->exported[i];
    }
    return least;
}
