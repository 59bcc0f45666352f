/* What starts here: RT-5 routes of VRFs (RFC 9136, with an SRv6 L3 service, RFC 9252), beacons, and our loopback and locator in
 * the underlay. Each set is made anew and compared with what BGP has been told: announcing the same twice says nothing. */
#include "pe/inner.h"

#include <errno.h>
#include <stdlib.h>

#define ATTRIBUTES_MOST (BGP_XSEC_BEACON_MOST + 1024)
#define LABEL_NULL      0x30u /* implicit null in the upper 20 bits: nothing of the SID is in it */

struct attributes {
    uint8_t bytes[ATTRIBUTES_MOST];
    size_t len;
};

static int by_bytes(const void *a, const void *b)
{
    const struct originated *x = a, *y = b;
    return x->len != y->len ? (int)x->len - (int)y->len : memcmp(x->raw, y->raw, x->len);
}

/* Says all of `now`, in order, and takes back what is in `before` only. */
static int replace(struct pe *pe, uint32_t family, struct originations *before, struct originations *now,
    const struct attributes *a, struct error *err)
{
    int rc = 0;
    if (now->n)
        qsort(now->at, now->n, sizeof *now->at, by_bytes);
    for (size_t i = 0, k = 0; i < before->n; i++) {
        while (k < now->n && by_bytes(&now->at[k], &before->at[i]) < 0)
            k++;
        if (k == now->n || by_bytes(&now->at[k], &before->at[i]) != 0)
            bgp_withdraw(pe->speaker, family, before->at[i].raw, before->at[i].len, pe->now);
    }
    for (size_t k = 0; rc == 0 && k < now->n; k++)
        rc = bgp_originate(pe->speaker, family, now->at[k].raw, now->at[k].len, a->bytes, a->len, pe->now, err);
    free(before->at);
    *before = *now;
    return rc;
}

static int reserve(struct originations *o, size_t n, struct error *err)
{
    *o = (struct originations){.at = malloc((n + 1) * sizeof *o->at)};
    return o->at ? 0 : error_set(err, ENOMEM, "not enough memory for the routes that start here");
}

/* --- the underlay -------------------------------------------------------------------------------------------------------------------- */

static void put_prefix(struct originations *to, const struct ip_prefix *p)
{
    struct originated *o = &to->at[to->n++];
    memset(o, 0, sizeof *o);
    o->len = (uint8_t)bgp_prefix_encode(p, o->raw);
}

int export_underlay(struct pe *pe, struct error *err)
{
    static const struct attributes none;
    struct originations now;
    if (!pe->config.links)
        return 0;
    int rc = reserve(&now, pe->config.n_announce + 2, err);
    if (rc)
        return rc;
    put_prefix(&now, &(struct ip_prefix){.family = IP_V6, .len = 128, .a = pe->config.loopback});
    put_prefix(&now, &pe->config.locator);
    for (unsigned i = 0; i < pe->config.n_announce; i++)
        if (pe->config.announce[i].family == IP_V6)
            put_prefix(&now, &pe->config.announce[i]);
    return replace(pe, BGP_IPV6_UNICAST, &pe->underlay, &now, &none, err);
}

/* --- VRFs ------------------------------------------------------------------------------------------------------------------------------ */

static void put_rt5(struct originations *to, const struct vrf *v, const struct ip_prefix *p)
{
    struct originated *o = &to->at[to->n++];
    struct bgp_rt5 r = {.prefix = *p, .label = LABEL_NULL};
    memcpy(r.rd, v->config.rd, 8);
    memset(o, 0, sizeof *o);
    o->len = (uint8_t)bgp_rt5_encode(&r, o->raw);
}

static void put(struct attributes *a, uint8_t type, const void *value, size_t len)
{
    int n =
        bgp_attribute_put(a->bytes, a->len, sizeof a->bytes, BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE, type, value, len);
    if (n > 0)
        a->len = (size_t)n;
}

static void attributes_of(struct attributes *a, const struct vrf *v)
{
    uint8_t sid[64];
    a->len = 0;
    put(a, BGP_EXTENDED_COMMUNITIES, v->config.export, v->config.n_export * 8);
    put(a, BGP_PREFIX_SID, sid, bgp_srv6_service_encode(&v->config.service, sid));
}

static bool exports(const struct vrf *v)
{
    static const struct ip6 none;
    return v->config.n_export > 0 && !ip6_equal(&v->config.service.sid, &none);
}

size_t export_attributes(const struct vrf *v, uint8_t *to, size_t cap)
{
    struct attributes a;
    attributes_of(&a, v);
    if (!exports(v) || a.len > cap)
        return 0;
    memcpy(to, a.bytes, a.len);
    return a.len;
}

static struct ip_prefix own_loopback(const struct pe *pe)
{
    return (struct ip_prefix){.family = IP_V6, .len = 128, .a = pe->config.loopback};
}

static int export_prefixes(struct pe *pe, struct vrf *v, struct error *err)
{
    struct originations now;
    struct attributes a;
    int rc = reserve(&now, v->config.n_own, err);
    if (rc)
        return rc;
    for (unsigned i = 0; exports(v) && i < v->config.n_own; i++)
        if (v->config.own[i].announce)
            put_rt5(&now, v, &v->config.own[i].prefix);
    attributes_of(&a, v);
    return replace(pe, BGP_EVPN, &v->originated, &now, &a, err);
}

static int export_beacon(struct pe *pe, struct vrf *v, struct error *err)
{
    struct originations now;
    struct attributes a;
    struct ip_prefix loopback = own_loopback(pe);
    int rc = reserve(&now, 1, err);
    if (rc)
        return rc;
    attributes_of(&a, v);
    if (exports(v) && v->beacon_len) {
        put(&a, BGP_XSEC_BEACON, v->beacon, v->beacon_len);
        put_rt5(&now, v, &loopback);
    }
    return replace(pe, BGP_EVPN, &v->announced_beacon, &now, &a, err);
}

int export_vrf(struct pe *pe, struct vrf *v, struct error *err)
{
    int rc = export_prefixes(pe, v, err);
    int also = export_beacon(pe, v, err);
    return rc ? rc : also;
}

static void take_back(struct pe *pe, struct originations *o)
{
    for (size_t i = 0; i < o->n; i++)
        bgp_withdraw(pe->speaker, BGP_EVPN, o->at[i].raw, o->at[i].len, pe->now);
    free(o->at);
    *o = (struct originations){0};
}

void export_vrf_end(struct pe *pe, struct vrf *v)
{
    take_back(pe, &v->originated);
    take_back(pe, &v->announced_beacon);
}

int pe_beacon_set(struct pe *pe, uint32_t vrf, const uint8_t *bytes, size_t len, int64_t now, struct error *err)
{
    struct vrf *v = vrf_of(pe, vrf);
    uint8_t *copy = NULL;
    pe->now = now;
    if (!v)
        return error_set(err, ENOENT, "BGP knows no VRF %u", vrf);
    if (len > BGP_XSEC_BEACON_MOST)
        return error_set(err, EINVAL, "a beacon has at most %u octets", BGP_XSEC_BEACON_MOST);
    if (len && (copy = malloc(len)) == NULL)
        return error_set(err, ENOMEM, "not enough memory for a beacon");
    if (len)
        memcpy(copy, bytes, len);
    free(v->beacon);
    v->beacon = copy;
    v->beacon_len = len;
    return export_beacon(pe, v, err);
}
