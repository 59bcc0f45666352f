/* PE–CE: customers' routers made of bytes at two PEs that tell each other RT-5. What a customer hears, what reaches the layer
 * that forwards, what must never pass between customer and provider. */
#include "bgp/vrf.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "bgp/testing_bgp.h"

#include <errno.h>
#include <string.h>

enum { RED = 7, BLUE = 8, PREFIXES = 16 };

static const uint32_t core_families[] = {BGP_EVPN}, ce_families[] = {BGP_IPV4_UNICAST, BGP_IPV6_UNICAST};
static const uint8_t red_target[8] = {0, 2, 0xfd, 0xe8, 0, 0, 0, RED},
                     blue_target[8] = {0, 2, 0xfd, 0xe8, 0, 0, 0, BLUE};
static const uint8_t site_a[8] = {0, 3, 0xfd, 0xe8, 0, 0, 0, 0xa};

/* What a customer holds. */
struct heard {
    struct ip_prefix prefix;
    uint32_t path[8];
    uint8_t n_path, types[16], n_types, next_hop[16], next_hop_len;
};

struct ce {
    struct pe *pe;
    uint16_t peer;
    struct bgp_update_context where;
    struct heard held[PREFIXES];
    int n_held, notifications;
};

/* What the PE's forwarding layer was told of customers. */
struct told {
    uint32_t vrf;
    struct bgp_customer_route route;
};

struct pe {
    struct testing_bgp *t;
    struct bgp_speaker *s;
    struct told told[PREFIXES];
    int n_told, vpn_routes;
    uint8_t last;
};

struct rig {
    struct testing_bgp t;
    struct pe pe[2];
};

/* --- the layer that forwards --------------------------------------------------------------------------------------------- */

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->family == b->family && a->len == b->len && memcmp(a->a.b, b->a.b, a->family == IP_V4 ? 4 : 16) == 0;
}

static void on_customer(void *user, uint32_t vrf, const struct bgp_customer_route *r, bool withdrawn)
{
    struct pe *pe = user;
    int i = 0;
    while (i < pe->n_told && !(pe->told[i].vrf == vrf && same_prefix(&pe->told[i].route.prefix, &r->prefix)))
        i++;
    if (withdrawn) {
        assert_true(i < pe->n_told);
        pe->told[i] = pe->told[--pe->n_told];
        return;
    }
    assert_true(i < PREFIXES);
    pe->told[i] = (struct told){vrf, *r};
    pe->n_told += i == pe->n_told;
}

/* The underlay knows the PEs' loopbacks, and no customer's address. */
static uint32_t on_metric(void *user, const struct ip6 *next_hop)
{
    (void)user;
    return next_hop->b[0] == 0xfd && next_hop->b[15] <= 2 ? 10 : UINT32_MAX;
}

static void on_vpn(void *user, const struct bgp_vpn_route *r, bool withdrawn)
{
    (void)r;
    ((struct pe *)user)->vpn_routes += withdrawn ? -1 : 1;
}

/* --- PEs ------------------------------------------------------------------------------------------------------------------- */

static void set_vrf(struct pe *pe, uint32_t number, const uint8_t target[8])
{
    uint8_t attributes[64], value[64];
    struct bgp_srv6_service sid = {.sid = {{0xfc, 0xbb, [5] = pe->last, [7] = (uint8_t)number}}, .behaviour = 64};
    struct bgp_vrf_config c = {.vrf = number, .rd = {0, 1, 10, 0, 0, pe->last, 0, (uint8_t)number}, .n_imports = 1};
    struct error err;
    memcpy(c.imports[0], target, 8);
    int at = bgp_attribute_put(attributes, 0, sizeof attributes, 0xc0, BGP_EXTENDED_COMMUNITIES, target, 8);
    at = bgp_attribute_put(
        attributes, (size_t)at, sizeof attributes, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&sid, value));
    c.attributes = attributes;
    c.len = (size_t)at;
    assert_int_equal(bgp_vrf_set(pe->s, &c, pe->t->now, &err), 0);
}

static void build(struct rig *r)
{
    struct error err;
    memset(r, 0, sizeof *r);
    r->t.now = 1000 * NS_PER_S;
    for (uint8_t i = 0; i < 2; i++) {
        struct pe *pe = &r->pe[i];
        struct bgp_speaker_config c = {
            .role = BGP_PE, .identifier = {10, 0, 0, i + 1}, .next_hop = {{0xfd, [15] = i + 1}}};
        struct bgp_sink sink = {.user = pe, .customer_route = on_customer, .vpn_route = on_vpn, .metric = on_metric};
        pe->t = &r->t;
        pe->last = i + 1;
        assert_int_equal(bgp_speaker_create(&pe->s, &c, &sink, &err), 0);
        set_vrf(pe, RED, red_target);
        set_vrf(pe, BLUE, blue_target);
    }
    struct bgp_peer_config to_2 = testing_bgp_peer(BGP_PEER_INTERNAL, 2, core_families, 1);
    struct bgp_peer_config to_1 = testing_bgp_peer(BGP_PEER_INTERNAL, 1, core_families, 1);
    assert_non_null(testing_bgp_join(&r->t, r->pe[0].s, &to_2, r->pe[1].s, &to_1));
    testing_bgp_settle(&r->t);
}

static void done(struct rig *r)
{
    bgp_speaker_free(r->pe[0].s);
    bgp_speaker_free(r->pe[1].s);
}

/* --- customers --------------------------------------------------------------------------------------------------------------- */

static struct bgp_peer_config customer(uint32_t vrf, uint32_t as, uint8_t last)
{
    struct bgp_peer_config c = testing_bgp_peer(BGP_PEER_CUSTOMER, last, ce_families, 2);
    c.address = (struct ip_addr){.family = IP_V4, .a = {{192, 168, 0, last}}};
    c.session.peer_as = as;
    c.customer = (struct bgp_customer_config){.vrf = vrf, .next_hop4 = {192, 168, 0, 1}};
    c.next_hop = (struct ip6){{0xfd, 0, 0, 1, [15] = 1}};
    return c;
}

static void attach(struct pe *pe, struct ce *ce, const struct bgp_peer_config *c)
{
    struct bgp_open open = testing_bgp_open(c->address.a.b[3], ce_families, 2);
    open.as = c->session.peer_as;
    *ce = (struct ce){.pe = pe};
    ce->where = (struct bgp_update_context){.as4 = true, .peer_as = 65000, .families = ce_families, .n_families = 2};
    ce->peer = testing_bgp_raw(pe->t, pe->s, c, &open);
    assert_true(ce->peer > 0);
}

static void attach_plain(struct pe *pe, struct ce *ce, uint32_t vrf, uint32_t as, uint8_t last)
{
    struct bgp_peer_config c = customer(vrf, as, last);
    attach(pe, ce, &c);
}

static struct ip_prefix v4(uint8_t a, uint8_t b, uint8_t len)
{
    return (struct ip_prefix){.family = IP_V4, .len = len, .a = {{a, b}}};
}

/* The message's own fields, as routers without MP_REACH for IPv4 say it; `more` are attributes behind the usual ones. */
static void ce_says(
    struct ce *ce, const struct ip_prefix *p, const uint32_t *path, uint8_t n, const uint8_t *more, size_t len)
{
    uint8_t body[512] = {0}, value[64] = {2, n};
    for (int i = 0; i < n; i++)
        bytes_put_be32(value + 2 + 4 * i, path[i]);
    int at = bgp_attribute_put(body, 4, sizeof body, 0x40, BGP_ORIGIN, "\0", 1);
    at = bgp_attribute_put(body, (size_t)at, sizeof body, 0x40, BGP_AS_PATH, value, 2 + 4u * n);
    at = bgp_attribute_put(body, (size_t)at, sizeof body, 0x40, BGP_NEXT_HOP, "\xc0\xa8\0\x63", 4);
    if (len)
        memcpy(body + at, more, len);
    bytes_put_be16(body + 2, (uint16_t)((size_t)at - 4 + len));
    unsigned raw = bgp_prefix_encode(p, value);
    memcpy(body + (size_t)at + len, value, raw);
    testing_bgp_say(ce->pe->t, ce->pe->s, ce->peer, BGP_UPDATE, body, (size_t)at + len + raw);
}

static void ce_withdraws(struct ce *ce, const struct ip_prefix *p)
{
    uint8_t body[64] = {0}, raw[64];
    unsigned n = bgp_prefix_encode(p, raw);
    bytes_put_be16(body, (uint16_t)n);
    memcpy(body + 2, raw, n);
    testing_bgp_say(ce->pe->t, ce->pe->s, ce->peer, BGP_UPDATE, body, 4 + n);
}

static struct heard *find(struct ce *ce, const struct ip_prefix *p)
{
    for (int i = 0; i < ce->n_held; i++)
        if (same_prefix(&ce->held[i].prefix, p))
            return &ce->held[i];
    return NULL;
}

static void take(
    struct ce *ce, const struct bgp_update *u, uint32_t family, const uint8_t *bytes, size_t len, bool reach)
{
    struct bgp_nlri n;
    struct ip_prefix p;
    for (size_t at = 0; bgp_nlri_next(family, false, bytes, len, &at, &n) == 1;) {
        assert_int_equal(bgp_prefix_decode(&p, family, n.raw, n.raw_len), 0);
        struct heard *h = find(ce, &p);
        if (!reach) {
            assert_non_null(h); /* what was never told is not taken back */
            *h = ce->held[--ce->n_held];
            continue;
        }
        if (!h)
            h = &ce->held[ce->n_held++];
        *h = (struct heard){.prefix = p, .n_types = u->n_attributes, .next_hop_len = u->next_hop_len};
        if (u->reach_family)
            memcpy(h->next_hop, u->next_hop, u->next_hop_len);
        for (int i = 0; i < u->n_attributes; i++) {
            const struct bgp_attribute *a = &u->attributes[i];
            h->types[i] = a->type;
            if (a->type == BGP_NEXT_HOP)
                memcpy(h->next_hop, a->value, h->next_hop_len = 4);
            for (unsigned k = 0; a->type == BGP_AS_PATH && a->len && k < a->value[1]; k++)
                h->path[h->n_path++] = bytes_get_be32(a->value + 2 + 4 * k);
        }
    }
}

static void on_message(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    struct ce *ce = user;
    struct bgp_notification error;
    struct bgp_update u;
    ce->notifications += type == BGP_NOTIFICATION;
    if (type != BGP_UPDATE)
        return;
    assert_int_equal(bgp_update_decode(&u, body, len, &ce->where, &error), BGP_ACCEPT);
    assert_int_equal(u.faults, 0);
    take(ce, &u, BGP_IPV4_UNICAST, u.withdrawn, u.withdrawn_len, false);
    take(ce, &u, u.unreach_family, u.unreach, u.unreach_len, false);
    take(ce, &u, BGP_IPV4_UNICAST, u.announced, u.announced_len, true);
    take(ce, &u, u.reach_family, u.reach, u.reach_len, true);
}

static void settle(struct rig *r, struct ce *ces, int n)
{
    for (int turn = 0; turn < 3; turn++) {
        testing_bgp_settle(&r->t);
        for (int i = 0; i < n; i++)
            testing_bgp_hear(&r->t, ces[i].pe->s, ces[i].peer, on_message, &ces[i]);
        bgp_speaker_poll(r->pe[0].s, r->t.now);
        bgp_speaker_poll(r->pe[1].s, r->t.now);
    }
}

static const struct bgp_path *rt5(const struct pe *pe, uint8_t rd_pe, uint8_t vrf, struct ip_prefix p)
{
    struct bgp_rt5 r = {.rd = {0, 1, 10, 0, 0, rd_pe, 0, vrf}, .prefix = p};
    struct bgp_nlri n;
    uint8_t raw[64];
    size_t at = 0;
    assert_int_equal(bgp_nlri_next(BGP_EVPN, false, raw, bgp_rt5_encode(&r, raw), &at, &n), 1);
    const struct bgp_route *e = bgp_rib_find(bgp_speaker_rib(pe->s, BGP_EVPN), n.key, n.key_len);
    return e ? e->best : NULL;
}

static bool has(const struct bgp_attributes *a, uint8_t type, const void *community)
{
    uint16_t len = 0;
    const uint8_t *v = bgp_attributes_find(a, type, &len);
    for (size_t at = 0; v && at + 8 <= len; at += 8)
        if (memcmp(v + at, community, 8) == 0)
            return true;
    return false;
}

/* --- tests ------------------------------------------------------------------------------------------------------------------- */

static void test_from_site_to_site(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    uint16_t len;
    struct ip_prefix p = v4(10, 1, 16);
    build(&r);
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach_plain(&r.pe[1], &ce[1], RED, 64513, 2);
    ce_says(&ce[0], &p, (uint32_t[]){64512, 64600}, 2, (const uint8_t *)"\x80\4\4\0\0\0\x63", 7);
    settle(&r, ce, 2);

    assert_int_equal(r.pe[0].n_told, 1); /* the customer's router is the gateway, whatever next hop it named */
    assert_int_equal(r.pe[0].told[0].vrf, RED);
    assert_int_equal(r.pe[0].told[0].route.peer, ce[0].peer);
    assert_memory_equal(r.pe[0].told[0].route.gateway.a.b, "\xc0\xa8\0\2", 4);
    assert_int_equal(r.pe[1].n_told, 0);
    assert_int_equal(r.pe[1].vpn_routes, 1);

    const struct bgp_path *path = rt5(&r.pe[1], 1, RED, p); /* as it went through the VPN */
    assert_non_null(path);
    assert_int_equal(path->attributes->path_length, 2);
    assert_int_equal(path->attributes->neighbour_as, 64512);
    assert_int_equal(path->attributes->med, 99);
    assert_true(has(path->attributes, BGP_EXTENDED_COMMUNITIES, red_target));
    assert_non_null(bgp_attributes_find(path->attributes, BGP_PREFIX_SID, &len));

    struct heard *h = find(&ce[1], &p); /* as the other site hears it */
    assert_non_null(h);
    assert_int_equal(h->n_path, 3);
    assert_int_equal(h->path[0], 65000);
    assert_int_equal(h->path[1], 64512);
    assert_int_equal(h->path[2], 64600);
    assert_int_equal(h->next_hop_len, 4);
    assert_memory_equal(h->next_hop, "\xc0\xa8\0\1", 4);
    for (int i = 0; i < h->n_types; i++)
        assert_true(h->types[i] == BGP_ORIGIN || h->types[i] == BGP_AS_PATH || h->types[i] == BGP_NEXT_HOP);
    assert_int_equal(ce[0].n_held, 0); /* and the first one not at all */

    ce_withdraws(&ce[0], &p);
    settle(&r, ce, 2);
    assert_int_equal(r.pe[0].n_told, 0);
    assert_int_equal(r.pe[1].vpn_routes, 0);
    assert_int_equal(ce[1].n_held, 0);
    assert_null(rt5(&r.pe[0], 1, RED, p));
    done(&r);
}

static void test_ipv6_and_what_starts_here(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    uint8_t raw[64];
    struct error err;
    struct ip_prefix six = {.family = IP_V6, .len = 48, .a = {{0x20, 1, 0xd, 0xb8, 0, 1}}}, subnet = v4(192, 168, 24);
    build(&r);
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach_plain(&r.pe[1], &ce[1], RED, 64513, 2);
    testing_bgp_announce(&r.t, r.pe[0].s, ce[0].peer, BGP_IPV6_UNICAST, raw, bgp_prefix_encode(&six, raw),
        (const uint8_t *)"\x40\1\1\0\x40\2\6\2\1\0\0\xfc\0", 13, 0x77);
    assert_int_equal(bgp_vrf_announce(r.pe[1].s, RED, &subnet, r.t.now, &err), 0);
    assert_int_equal(bgp_vrf_announce(r.pe[1].s, 99, &subnet, r.t.now, &err), -EINVAL);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 2);
    struct heard *h = find(&ce[1], &six);
    assert_non_null(h);
    assert_int_equal(h->next_hop_len, 16);
    assert_memory_equal(h->next_hop, "\xfd\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_int_equal(h->path[0], 65000);
    h = find(&ce[1], &subnet); /* ours: told here, not sent into the VPN */
    assert_non_null(h);
    assert_int_equal(h->n_path, 1);
    assert_int_equal(ce[0].n_held, 0);
    assert_int_equal(r.pe[0].told[0].route.gateway.family, IP_V6); /* no IPv6 address of the session: the route's */
    assert_int_equal(r.pe[0].told[0].route.gateway.a.b[15], 0x77);
    assert_int_equal(bgp_vrf_withdraw(r.pe[1].s, RED, &subnet, r.t.now), 0);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 1);
    done(&r);
}

/* X3: route targets, SIDs, tunnels and beacons of a customer would reach into others' VPNs. */
static void test_a_customer_cannot_speak_for_the_provider(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    uint16_t len;
    uint8_t more[256], sid[64];
    struct ip_prefix p = v4(10, 1, 16);
    struct bgp_srv6_service service = {.sid = {{0xfc, 0xbb, 1}}, .behaviour = 64};
    build(&r);
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach_plain(&r.pe[1], &ce[1], BLUE, 64513, 2);
    int at = bgp_attribute_put(more, 0, sizeof more, 0xc0, BGP_EXTENDED_COMMUNITIES, blue_target, 8);
    at = bgp_attribute_put(
        more, (size_t)at, sizeof more, 0xc0, BGP_PREFIX_SID, sid, bgp_srv6_service_encode(&service, sid));
    at = bgp_attribute_put(more, (size_t)at, sizeof more, 0xc0, BGP_XSEC_BEACON, "beacon", 6);
    at = bgp_attribute_put(more, (size_t)at, sizeof more, 0xc0, BGP_COMMUNITIES, "\xfd\xe8\0\7", 4);
    ce_says(&ce[0], &p, (uint32_t[]){64512}, 1, more, (size_t)at);
    settle(&r, ce, 2);
    const struct bgp_path *path = rt5(&r.pe[1], 1, RED, p);
    assert_non_null(path);
    assert_false(has(path->attributes, BGP_EXTENDED_COMMUNITIES, blue_target));
    assert_true(has(path->attributes, BGP_EXTENDED_COMMUNITIES, red_target));
    assert_null(bgp_attributes_find(path->attributes, BGP_XSEC_BEACON, &len));
    assert_non_null(bgp_attributes_find(path->attributes, BGP_COMMUNITIES, &len));
    const uint8_t *v = bgp_attributes_find(path->attributes, BGP_PREFIX_SID, &len);
    assert_int_equal(bgp_srv6_service_decode(&service, v, len, 0), 0);
    assert_int_equal(service.sid.b[7], RED); /* ours, not the customer's */
    assert_int_equal(ce[1].n_held, 0);
    assert_int_equal(bgp_peer_refused(r.pe[0].s, ce[0].peer)->count[BGP_REFUSED_PROVIDERS], 1);
    done(&r);
}

static void test_loops(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    struct ip_prefix p = v4(10, 1, 16), q = v4(10, 2, 16);
    build(&r);
    struct bgp_peer_config lenient = customer(RED, 64512, 3);
    lenient.own_as_allowed = 1;
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach(&r.pe[0], &ce[1], &lenient);
    ce_says(&ce[0], &p, (uint32_t[]){64512, 65000}, 2, NULL, 0);
    ce_says(&ce[1], &q, (uint32_t[]){64512, 65000}, 2, NULL, 0);
    settle(&r, ce, 2);
    assert_int_equal(r.pe[0].n_told, 1);
    assert_true(same_prefix(&r.pe[0].told[0].route.prefix, &q));
    const struct bgp_refused *why = bgp_peer_refused(r.pe[0].s, ce[0].peer);
    assert_int_equal(why->count[BGP_REFUSED_AS_LOOP], 1);
    assert_int_equal(why->last, BGP_REFUSED_AS_LOOP);
    assert_string_equal(why->route, "10.1.0.0/16");
    ce_says(&ce[1], &q, (uint32_t[]){64512, 65000, 65000}, 3, NULL,
        0); /* once too often: what it said before is gone too */
    settle(&r, ce, 2);
    assert_int_equal(r.pe[0].n_told, 0);
    done(&r);
}

/* Two sites with one AS number: with as-override they take each other's routes, and a site's own routes never come back. */
static void test_same_as_and_site_of_origin(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[3];
    struct ip_prefix p = v4(10, 1, 16);
    build(&r);
    struct bgp_peer_config a1 = customer(RED, 64512, 2), a2 = customer(RED, 64512, 2), b = customer(RED, 64512, 3);
    a1.customer.has_site = a2.customer.has_site = true;
    a2.customer.as_override = b.customer.as_override = true;
    memcpy(a1.customer.site, site_a, 8);
    memcpy(a2.customer.site, site_a, 8);
    attach(&r.pe[0], &ce[0], &a1); /* the site hangs on both PEs */
    attach(&r.pe[1], &ce[1], &a2);
    attach(&r.pe[1], &ce[2], &b);
    ce_says(&ce[0], &p, (uint32_t[]){64512}, 1, NULL, 0);
    settle(&r, ce, 3);
    assert_true(has(rt5(&r.pe[1], 1, RED, p)->attributes, BGP_EXTENDED_COMMUNITIES, site_a));
    assert_true(has(rt5(&r.pe[1], 1, RED, p)->attributes, BGP_EXTENDED_COMMUNITIES, red_target));
    assert_null(find(&ce[1], &p));
    assert_true(bgp_peer_refused(r.pe[1].s, ce[1].peer)->count[BGP_UNTOLD_SITE] > 0);
    struct heard *h = find(&ce[2], &p);
    assert_non_null(h);
    assert_int_equal(h->n_path, 2);
    assert_int_equal(h->path[0], 65000);
    assert_int_equal(h->path[1], 65000);
    done(&r);
}

/* A site on two PEs: each uses its own way; when that goes, the other's, and what was exported goes with it. */
static void test_two_ways_to_a_site(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    struct ip_prefix p = v4(10, 1, 16);
    build(&r);
    struct bgp_peer_config first = customer(RED, 64512, 2);
    first.session.restart_time_s = 0;
    attach(&r.pe[0], &ce[0], &first);
    attach_plain(&r.pe[1], &ce[1], RED, 64512, 2);
    for (int i = 0; i < 2; i++)
        ce_says(&ce[i], &p, (uint32_t[]){64512}, 1, NULL, 0);
    settle(&r, ce, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(r.pe[i].n_told, 1);
        assert_int_equal(r.pe[i].vpn_routes, 1);
    }
    bgp_peer_transport_failed(r.pe[0].s, ce[0].peer, BGP_ACCEPTED, r.t.now);
    settle(&r, ce + 1, 1);
    assert_int_equal(r.pe[0].n_told, 0);
    assert_int_equal(r.pe[0].vpn_routes, 1);
    assert_int_equal(r.pe[1].vpn_routes, 0);
    assert_null(rt5(&r.pe[1], 1, RED, p));
    uint32_t routes = 0;
    struct bgp_rib *rib = bgp_vrf_rib(r.pe[0].s, RED, BGP_IPV4_UNICAST);
    for (const struct bgp_route *e = bgp_rib_next(rib, 0); e; e = bgp_rib_next(rib, e->version))
        routes += e->best && e->best->source == BGP_IMPORTED_EVPN;
    assert_int_equal(routes, 1);
    done(&r);
}

static void test_local_preference_takes_the_other_way(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    struct ip_prefix p = v4(10, 1, 16);
    build(&r);
    struct bgp_peer_config first = customer(RED, 64512, 2);
    first.customer.local_pref = 200;
    attach(&r.pe[0], &ce[0], &first);
    attach_plain(&r.pe[1], &ce[1], RED, 64512, 2);
    for (int i = 1; i >= 0; i--)
        ce_says(&ce[i], &p, (uint32_t[]){64512}, 1, NULL, 0);
    settle(&r, ce, 2);
    assert_int_equal(rt5(&r.pe[1], 1, RED, p)->attributes->local_pref, 200);
    assert_int_equal(r.pe[0].n_told, 1);
    assert_int_equal(r.pe[1].n_told, 0); /* the other PE's is better: over the VPN, and nothing is exported from here */
    assert_null(rt5(&r.pe[0], 2, RED, p));
    assert_int_equal(ce[1].n_held, 1);
    ce_withdraws(&ce[0], &p);
    settle(&r, ce, 2);
    assert_int_equal(r.pe[1].n_told, 1);
    assert_non_null(rt5(&r.pe[0], 2, RED, p));
    done(&r);
}

/* Customers may use the same addresses, for their routers too. */
static void test_vrfs_are_apart(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[4];
    struct ip_prefix p = v4(10, 1, 16);
    struct error err;
    uint16_t again;
    build(&r);
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach_plain(&r.pe[0], &ce[1], BLUE, 64513, 2);
    attach_plain(&r.pe[1], &ce[2], RED, 64514, 2);
    attach_plain(&r.pe[1], &ce[3], BLUE, 64515, 2);
    ce_says(&ce[0], &p, (uint32_t[]){64512}, 1, NULL, 0);
    ce_says(&ce[1], &p, (uint32_t[]){64513, 7}, 2, NULL, 0);
    settle(&r, ce, 4);
    assert_int_equal(find(&ce[2], &p)->path[1], 64512);
    assert_int_equal(find(&ce[3], &p)->path[1], 64513);
    assert_int_equal(r.pe[0].n_told, 2);
    struct ip_addr at = {.family = IP_V4, .a = {{192, 168, 0, 2}}};
    assert_int_equal(bgp_peer_of_customer(r.pe[0].s, RED, &at), ce[0].peer);
    assert_int_equal(bgp_peer_of_customer(r.pe[0].s, BLUE, &at), ce[1].peer);
    assert_int_equal(bgp_peer_of_customer(r.pe[0].s, 0, &at), 0);
    assert_int_equal(bgp_peer_of_address(r.pe[0].s, &at), 0);
    struct bgp_peer_config c = customer(RED, 64512, 2);
    assert_int_equal(bgp_peer_add(r.pe[0].s, &c, r.t.now, &again, &err), -EEXIST);
    c = customer(99, 64512, 2);
    assert_int_equal(bgp_peer_add(r.pe[0].s, &c, r.t.now, &again, &err), -EINVAL);
    assert_string_equal(err.text, "a customer's peer needs a VRF: there is no VRF 99");
    c = customer(RED, 65000, 4);
    assert_int_equal(bgp_peer_add(r.pe[0].s, &c, r.t.now, &again, &err), -EINVAL);
    c = customer(RED, 64512, 4);
    c.session.families[0] = BGP_EVPN;
    assert_int_equal(bgp_peer_add(r.pe[0].s, &c, r.t.now, &again, &err), -EINVAL);
    assert_int_equal(bgp_vrf_remove(r.pe[0].s, RED, r.t.now), -EBUSY);
    assert_int_equal(bgp_peer_remove(r.pe[0].s, ce[0].peer, r.t.now), 0);
    settle(&r, ce + 1, 3);
    assert_int_equal(ce[2].n_held, 0);
    assert_int_equal(ce[3].n_held, 1);
    assert_int_equal(bgp_vrf_remove(r.pe[0].s, RED, r.t.now), 0);
    assert_int_equal(bgp_vrf_remove(r.pe[0].s, RED, r.t.now), -ENOENT);
    assert_null(bgp_vrf_rib(r.pe[0].s, RED, BGP_IPV4_UNICAST));
    settle(&r, ce + 1, 3);
    done(&r);
}

/* What a VRF imports and exports may change while customers are there. */
static void test_a_vrf_changes(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[2];
    struct ip_prefix p = v4(10, 1, 16);
    struct error err;
    build(&r);
    attach_plain(&r.pe[0], &ce[0], RED, 64512, 2);
    attach_plain(&r.pe[1], &ce[1], RED, 64513, 2);
    ce_says(&ce[0], &p, (uint32_t[]){64512}, 1, NULL, 0);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 1);
    set_vrf(&r.pe[1], RED, blue_target);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 0);
    set_vrf(&r.pe[0], RED, blue_target);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 1);
    struct bgp_vrf_config none = {.vrf = RED, .rd = {0, 1, 10, 0, 0, 1, 0, RED}}; /* exports nothing */
    assert_int_equal(bgp_vrf_set(r.pe[0].s, &none, r.t.now, &err), 0);
    settle(&r, ce, 2);
    assert_int_equal(ce[1].n_held, 0);
    assert_int_equal(r.pe[0].n_told, 1); /* the customer itself is still there */
    none.attributes = (const uint8_t *)"\xc0\x10\7";
    none.len = 3;
    assert_int_equal(bgp_vrf_set(r.pe[0].s, &none, r.t.now, &err), -EINVAL);
    none.vrf = 0;
    assert_int_equal(bgp_vrf_set(r.pe[0].s, &none, r.t.now, &err), -EINVAL);
    done(&r);
}

static void test_a_limit(void **state)
{
    (void)state;
    struct rig r;
    struct ce ce[1];
    build(&r);
    struct bgp_peer_config c = customer(RED, 64512, 2);
    c.prefixes_most = 3;
    c.session.restart_time_s = 0;
    attach(&r.pe[0], &ce[0], &c);
    for (uint8_t i = 0; i < 4; i++) {
        struct ip_prefix p = v4(10, i, 16);
        assert_int_equal(r.pe[0].n_told, i);
        ce_says(&ce[0], &p, (uint32_t[]){64512}, 1, NULL, 0);
    }
    settle(&r, ce, 1);
    assert_int_equal(r.pe[0].n_told, 0);
    assert_int_equal(ce[0].notifications, 1);
    assert_int_equal(bgp_peer_refused(r.pe[0].s, ce[0].peer)->count[BGP_REFUSED_LIMIT], 1);
    assert_false(bgp_peer_accepts(r.pe[0].s, ce[0].peer));
    done(&r);
}

/* RFC 8950: VPNv4 with our IPv6 next hops only to those that take them; the others are not told, and it is counted. */
static void test_ipv6_next_hops_need_an_offer(void **state)
{
    (void)state;
    static const uint32_t vpnv4[] = {BGP_VPNV4};
    struct bgp_speaker_config c = {.role = BGP_PE, .identifier = {10, 0, 0, 1}, .next_hop = {{0xfd, [15] = 1}}};
    for (int offered = 0; offered < 3; offered++) { /* no; yes; assumed */
        struct testing_bgp t = {.now = 1000 * NS_PER_S};
        struct bgp_vpn route = {.rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 7}, .prefix = v4(10, 1, 16), .label = 0x30};
        struct bgp_peer_config as = testing_bgp_peer(BGP_PEER_INTERNAL, 2, vpnv4, 1);
        struct bgp_open open = testing_bgp_open(2, vpnv4, 1);
        struct bgp_speaker *s;
        struct error err;
        uint8_t raw[64];
        as.six_hops_assumed = offered == 2;
        open.n_six_hops = offered == 1;
        open.six_hops[0] = BGP_VPNV4;
        assert_int_equal(bgp_speaker_create(&s, &c, NULL, &err), 0);
        assert_int_equal(
            bgp_originate(s, BGP_VPNV4, raw, bgp_vpn_encode(&route, BGP_VPNV4, raw), NULL, 0, t.now, &err), 0);
        uint16_t peer = testing_bgp_raw(&t, s, &as, &open);
        testing_bgp_hear(&t, s, peer, NULL, NULL);
        const struct bgp_route *e = bgp_rib_next(bgp_speaker_rib(s, BGP_VPNV4), 0);
        assert_int_equal(bgp_rib_told(e, peer), offered > 0);
        assert_int_equal(bgp_peer_refused(s, peer)->count[BGP_UNTOLD_SIX_HOP], offered == 0);
        bgp_speaker_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_site_to_site),
        cmocka_unit_test(test_ipv6_and_what_starts_here),
        cmocka_unit_test(test_a_customer_cannot_speak_for_the_provider),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_same_as_and_site_of_origin),
        cmocka_unit_test(test_two_ways_to_a_site),
        cmocka_unit_test(test_local_preference_takes_the_other_way),
        cmocka_unit_test(test_vrfs_are_apart),
        cmocka_unit_test(test_a_vrf_changes),
        cmocka_unit_test(test_a_limit),
        cmocka_unit_test(test_ipv6_next_hops_need_an_offer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
