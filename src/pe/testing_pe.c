#include "pe/testing_pe.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "pe/inner.h"
#include "wire/ip_text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const uint32_t cluster_families[] = {
    BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_RTC};

/* --- the core ---------------------------------------------------------------------------------------------------------------------- */

static struct testing_route *find_route(const struct testing_pe *t, uint32_t vrf, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < t->n_routes; i++)
        if (t->routes[i].vrf == vrf && prefix_equal(&t->routes[i].prefix, p))
            return &t->routes[i];
    return NULL;
}

static void route_set(void *user, uint32_t vrf, const struct ip_prefix *p, const struct forward_route *r)
{
    struct testing_pe *t = user;
    struct testing_route *at = find_route(t, vrf, p);
    t->changes++;
    if (!at && t->n_routes < TESTING_PE_ROUTES)
        at = &t->routes[t->n_routes++];
    assert(at);
    *at = (struct testing_route){vrf, *p, *r};
}

static void route_del(void *user, uint32_t vrf, const struct ip_prefix *p)
{
    struct testing_pe *t = user;
    struct testing_route *at = find_route(t, vrf, p);
    t->changes++;
    assert(at); /* what is deleted was there */
    *at = t->routes[--t->n_routes];
}

static void path_set(void *user, const struct forward_path *p)
{
    struct testing_pe *t = user;
    assert(t->n_paths < 32);
    t->paths[t->n_paths++] = *p;
}

static void path_del(void *user, uint32_t id)
{
    struct testing_pe *t = user;
    unsigned i = 0;
    while (i < t->n_paths && t->paths[i].id != id)
        i++;
    assert(i < t->n_paths);
    for (unsigned k = 0; k < t->n_slices; k++)
        assert(t->slices[k].slice.path != id && t->slices[k].moving_to != id);
    for (unsigned k = 0; k < t->n_routes; k++)
        for (unsigned c = 0; c < LANE_CLASSES; c++)
            assert(t->routes[k].route.path_of_class[c] != id);
    t->paths[i] = t->paths[--t->n_paths];
}

static struct testing_slice *find_slice(
    struct testing_pe *t, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *sid)
{
    for (unsigned i = 0; i < t->n_slices; i++) {
        const struct forward_slice *s = &t->slices[i].slice;
        if (s->tenant == tenant && s->path == path && s->class_ == c && ip6_equal(&s->service_sid, sid))
            return &t->slices[i];
    }
    return NULL;
}

static void slice_set(void *user, const struct forward_slice *s)
{
    struct testing_pe *t = user;
    assert(t->n_slices < 32 && !find_slice(t, s->tenant, s->path, s->class_, &s->service_sid));
    t->slices[t->n_slices++] = (struct testing_slice){.slice = *s};
}

static void slice_del(void *user, uint32_t tenant, uint32_t path, enum lane_class c, const struct ip6 *sid)
{
    struct testing_pe *t = user;
    struct testing_slice *s = find_slice(t, tenant, path, c, sid);
    assert(s);
    *s = t->slices[--t->n_slices];
}

static void slice_move(
    void *user, uint32_t tenant, enum lane_class c, const struct ip6 *sid, uint32_t from, uint32_t to)
{
    struct testing_pe *t = user;
    struct testing_slice *s = find_slice(t, tenant, from, c, sid);
    assert(s);
    s->moving_to = from == to ? 0 : to;
}

static void link_peer(void *user, uint16_t peer, bool gone)
{
    struct testing_pe *t = user;
    for (int i = 0; gone && i < t->net->n_wires; i++) {
        struct testing_bgp_wire *w = &t->net->wire[i];
        if ((w->a == pe_speaker(t->pe) && w->peer_of_a == peer) || (w->b == pe_speaker(t->pe) && w->peer_of_b == peer))
            w->cut = true;
    }
}

static void beacon(void *user, const struct pe_beacon *b, bool withdrawn)
{
    struct testing_pe *t = user;
    t->beacons += !withdrawn;
    t->beacons_gone += withdrawn;
    t->last_beacon = *b;
    if (b->len && b->len <= sizeof t->beacon)
        memcpy(t->beacon, b->bytes, b->len);
}

static void say(void *user, bool warning, const char *text)
{
    struct testing_pe *t = user;
    snprintf(t->said, sizeof t->said, "%s", text);
}

/* --- a router ----------------------------------------------------------------------------------------------------------------------- */

struct ip_prefix testing_prefix(const char *text)
{
    struct ip_prefix p;
    int rc = ip_prefix_parse(&p, text, NULL);
    assert(rc == 0);
    return p;
}

void testing_target(uint8_t ret[8], uint32_t number)
{
    ret[0] = 0;
    ret[1] = 2;
    bytes_put_be16(ret + 2, 65000);
    bytes_put_be32(ret + 4, number);
}

struct ip6 testing_service(uint32_t id, uint32_t vrf)
{
    struct ip6 a = {{0xfc, 0xbb, 0xbb, 0, 0, (uint8_t)id, 0xf0, (uint8_t)vrf}};
    return a;
}

void testing_pe_init(struct testing_pe *t, struct testing_bgp *net, uint32_t id)
{
    char locator[40];
    snprintf(locator, sizeof locator, "fcbb:bb00:%x::/48", id);
    *t = (struct testing_pe){.net = net,
        .routes = calloc(TESTING_PE_ROUTES, sizeof(struct testing_route)),
        .config = {.router = id,
            .identifier = {10, 0, 0, (uint8_t)id},
            .as = 65000,
            .loopback = {{0xfd, 0, 0x6d, 0x65, [15] = (uint8_t)id}},
            .locator = testing_prefix(locator),
            .block_bits = 32,
            .links = true}};
    t->config.vrfs = t->vrf;
}

struct pe_vrf *testing_pe_vrf(struct testing_pe *t, uint32_t id, uint32_t target, uint8_t subnet)
{
    unsigned i = t->config.n_vrfs++;
    struct pe_vrf *v = &t->vrf[i];
    *v = (struct pe_vrf){.id = id,
        .tenant = id,
        .rd = {0, 1, 10, 0, 0, (uint8_t)t->config.router, 0, (uint8_t)id},
        .import = t->targets[i],
        .export = t->targets[i],
        .n_import = 1,
        .n_export = 1,
        .own = t->own[i],
        .service = {.sid = testing_service(t->config.router, id),
            .behaviour = SID_END_DT46_NEXT_CSID,
            .block_bits = 32,
            .node_bits = 16,
            .function_bits = 16}};
    testing_target(t->targets[i][0], target);
    if (subnet)
        t->own[i][v->n_own++] =
            (struct pe_own){.prefix = {.family = IP_V4, .len = 16, .a = {{10, subnet}}}, .announce = true};
    return v;
}

void testing_pe_start(struct testing_pe *t)
{
    struct pe_above a = {.user = t,
        .route_set = route_set,
        .route_del = route_del,
        .path_set = path_set,
        .path_del = path_del,
        .slice_set = slice_set,
        .slice_del = slice_del,
        .slice_move = slice_move,
        .link_peer = link_peer,
        .beacon = beacon,
        .log = say};
    struct error err;
    int rc = pe_create(&t->pe, &t->config, &a, t->net->now, &err);
    assert(rc == 0);
}

int testing_pe_apply(struct testing_pe *t)
{
    struct error err;
    return pe_configure(t->pe, &t->config, t->net->now, &err);
}

void testing_pe_done(struct testing_pe *t)
{
    pe_free(t->pe);
    free(t->routes);
}

/* --- wires ---------------------------------------------------------------------------------------------------------------------------- */

static uint16_t link_peer_of(struct testing_pe *t, uint32_t router)
{
    struct ip_addr a = {.family = IP_V6, .a = pe_link_address(router)};
    return bgp_peer_of_address(pe_speaker(t->pe), &a);
}

void testing_pe_link(struct testing_pe *a, uint16_t port_a, struct testing_pe *b, uint16_t port_b)
{
    bool new = !link_peer_of(a, b->config.router);
    pe_link_up(a->pe, port_a, b->config.router, a->net->now);
    pe_link_up(b->pe, port_b, a->config.router, a->net->now);
    if (!new)
        return;
    struct testing_bgp_wire *w = &a->net->wire[a->net->n_wires++];
    assert(a->net->n_wires <= TESTING_BGP_WIRES);
    *w = (struct testing_bgp_wire){.a = pe_speaker(a->pe),
        .b = pe_speaker(b->pe),
        .peer_of_a = link_peer_of(a, b->config.router),
        .peer_of_b = link_peer_of(b, a->config.router)};
    assert(w->peer_of_a && w->peer_of_b);
    testing_bgp_connect(a->net, w);
}

void testing_pe_cut(struct testing_pe *a, uint16_t port_a, struct testing_pe *b, uint16_t port_b)
{
    pe_link_down(a->pe, port_a, a->net->now);
    pe_link_down(b->pe, port_b, a->net->now);
}

struct testing_bgp_wire *testing_pe_client(struct testing_pe *t, struct bgp_speaker *reflector, uint8_t last)
{
    struct bgp_peer_config to = testing_bgp_peer(BGP_PEER_INTERNAL, last, cluster_families, 6),
                           from = testing_bgp_peer(BGP_PEER_CLIENT, (uint8_t)t->config.router, cluster_families, 6);
    return testing_bgp_join(t->net, pe_speaker(t->pe), &to, reflector, &from);
}

void testing_pe_settle(struct testing_bgp *net, struct testing_pe *const *all, unsigned n)
{
    for (int round = 0; round < 8; round++) {
        testing_bgp_settle(net);
        for (unsigned i = 0; i < n; i++)
            pe_poll(all[i]->pe, net->now);
    }
}

/* --- looking -------------------------------------------------------------------------------------------------------------------------- */

const struct forward_route *testing_pe_route(const struct testing_pe *t, uint32_t vrf, const char *prefix)
{
    struct ip_prefix p = testing_prefix(prefix);
    const struct testing_route *r = find_route(t, vrf, &p);
    return r ? &r->route : NULL;
}

enum pe_reason testing_pe_reason(struct testing_pe *t, uint32_t vrf, const char *prefix, uint32_t from)
{
    struct ip_prefix p = testing_prefix(prefix);
    struct ip6 loopback = {{0xfd, 0, 0x6d, 0x65, [15] = (uint8_t)from}};
    static struct pe_route_view v[64];
    struct pe_cursor cursor = {0};
    unsigned n;
    while ((n = pe_routes_view(t->pe, &cursor, v, 64)) > 0)
        for (unsigned i = 0; i < n; i++)
            if (v[i].vrf == vrf && prefix_equal(&v[i].prefix, &p) && ip6_equal(&v[i].next_hop, &loopback))
                return v[i].reason;
    return PE_REASONS;
}
