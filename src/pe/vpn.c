/* VPN routes become routes of VRFs. BGP tells the best path of every route (family, RD, prefix); each VRF that imports one of its
 * targets gets it as a candidate for the prefix, and the best candidate stands in the core:
 *
 *   RFC 4271 9.1.2.2 between RDs: not long-lived stale, LOCAL_PREF, AS_PATH, ORIGIN, MED, distance of the PE; then EVPN before
 *   VPNv4 and VPNv6 (the same PE may say both), and addresses, so that every router with the same view chooses the same.
 *
 * Routes whose PE is out of reach are no candidates: BGP holds them back (nexthop.c). */
#include "pe/inner.h"

#include "wire/ip_text.h"

#include <stdlib.h>

#define TARGETS_MOST 64u /* of one route that are looked at */

/* --- tables --------------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_vpn(const struct pe *pe, uint32_t family, const uint8_t rd[8], const struct ip_prefix *p)
{
    uint8_t key[32] = {p->family, p->len, (uint8_t)(family >> 16), (uint8_t)family};
    memcpy(key + 4, rd, 8);
    memcpy(key + 12, p->a.b, 16);
    return siphash(&pe->config.seed, key, sizeof key);
}

static uint64_t hash_dest(const struct pe *pe, const struct ip_prefix *p)
{
    static const uint8_t no_rd[8];
    return hash_vpn(pe, 0, no_rd, p);
}

static struct vpn **vpn_place(const struct pe *pe, uint32_t family, const uint8_t rd[8], const struct ip_prefix *p)
{
    struct vpn **at = &pe->bucket[hash_vpn(pe, family, rd, p) & (pe->n_buckets - 1)];
    while (*at && ((*at)->family != family || memcmp((*at)->rd, rd, 8) != 0 || !prefix_equal(&(*at)->prefix, p)))
        at = &(*at)->chain;
    return at;
}

struct vpn *vpn_find(const struct pe *pe, uint32_t family, const uint8_t rd[8], const struct ip_prefix *p)
{
    return pe->n_buckets ? *vpn_place(pe, family, rd, p) : NULL;
}

static void grow_vpns(struct pe *pe)
{
    size_t n = pe->n_buckets ? pe->n_buckets * 4 : 256;
    struct vpn **bucket = calloc(n, sizeof(struct vpn *));
    if (!bucket)
        return; /* chains get longer; the first time vpn_route notices */
    for (size_t i = 0; i < pe->n_buckets; i++)
        for (struct vpn *r = pe->bucket[i], *next; r; r = next) {
            uint64_t at = hash_vpn(pe, r->family, r->rd, &r->prefix) & (n - 1);
            next = r->chain;
            r->chain = bucket[at];
            bucket[at] = r;
        }
    free(pe->bucket);
    pe->bucket = bucket;
    pe->n_buckets = n;
}

static void grow_dests(const struct pe *pe, struct vrf *v)
{
    size_t n = v->n_buckets ? v->n_buckets * 4 : 64;
    struct dest **bucket = calloc(n, sizeof(struct dest *));
    if (!bucket)
        return;
    for (size_t i = 0; i < v->n_buckets; i++)
        for (struct dest *d = v->bucket[i], *next; d; d = next) {
            uint64_t at = hash_dest(pe, &d->prefix) & (n - 1);
            next = d->chain;
            d->chain = bucket[at];
            bucket[at] = d;
        }
    free(v->bucket);
    v->bucket = bucket;
    v->n_buckets = n;
}

static bool is_own(const struct vrf *v, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < v->config.n_own; i++)
        if (prefix_equal(&v->config.own[i].prefix, p))
            return true;
    return false;
}

static struct dest *obtain(const struct pe *pe, struct vrf *v, const struct ip_prefix *p)
{
    if (v->n_dests >= v->n_buckets)
        grow_dests(pe, v);
    if (!v->n_buckets)
        return NULL;
    struct dest **at = &v->bucket[hash_dest(pe, p) & (v->n_buckets - 1)];
    while (*at && !prefix_equal(&(*at)->prefix, p))
        at = &(*at)->chain;
    if (*at || (*at = calloc(1, sizeof **at)) == NULL)
        return *at;
    **at = (struct dest){.vrf = v, .prefix = *p, .own = is_own(v, p)};
    v->n_dests++;
    return *at;
}

struct vrf *vrf_of(const struct pe *pe, uint32_t id)
{
    struct vrf *v = pe->vrfs;
    while (v && v->config.id != id)
        v = v->next;
    return v;
}

/* --- the best candidate -------------------------------------------------------------------------------------------------------------- */

bool vpn_takes_esp(const struct vpn *r)
{
    return r->service.behaviour == SID_END_ESP_DT46 || r->service.behaviour == SID_END_ESP_DT46_NEXT_CSID;
}

/* RFC 8986 4: End.DT4 takes IPv4, End.DT6 IPv6, End.DT46 both. 0xffff: the PE does not say (RFC 9252 9). */
bool vpn_takes(const struct vpn *r)
{
    switch (r->service.behaviour) {
    case SID_END_ESP_DT46:
    case SID_END_ESP_DT46_NEXT_CSID:
    case SID_END_DT46:
    case SID_END_DT46_NEXT_CSID:
    case 0xffff:
        return true;
    case SID_END_DT4:
    case SID_END_DT4_NEXT_CSID:
        return r->prefix.family == IP_V4;
    case SID_END_DT6:
    case SID_END_DT6_NEXT_CSID:
        return r->prefix.family == IP_V6;
    default:
        return false;
    }
}

/* Encrypted VPNs lead to services that open ESP, others to those that do not (X2: never in clear by accident). */
static bool usable(const struct pe *pe, const struct vrf *v, const struct vpn *r)
{
    return r->has_service && !r->is_beacon && vpn_takes(r) && vpn_takes_esp(r) == v->config.encrypted &&
           !ip6_equal(&r->next_hop, &pe->config.loopback);
}

static int sign(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* < 0: a is better. */
static int compare(struct pe *pe, const struct vpn *a, const struct vpn *b)
{
    int c = sign(a->stale, b->stale);
    c = c ? c : sign(b->local_pref, a->local_pref);
    c = c ? c : sign(a->path_length, b->path_length);
    c = c ? c : sign(a->origin, b->origin);
    c = c ? c : sign(a->med, b->med);
    c = c ? c : sign(nexthop_metric(pe, &a->next_hop), nexthop_metric(pe, &b->next_hop));
    c = c ? c : sign(a->family != BGP_EVPN, b->family != BGP_EVPN);
    c = c ? c : memcmp(a->next_hop.b, b->next_hop.b, 16);
    c = c ? c : memcmp(a->rd, b->rd, 8);
    return c ? c : sign(a->family, b->family);
}

static struct forward_route leads(struct pe *pe, struct vrf *v, const struct vpn *r)
{
    struct forward_route f = {.kind = ROUTE_REMOTE, .service_sid = r->service.sid, .encrypted = v->config.encrypted};
    if (v->config.encrypted)
        f.peer = r->next_hop;
    f.path_of_class[LANE_INFERENCE] = policy_path(pe, v, LANE_INFERENCE, r);
    f.path_of_class[LANE_PARAMETER] = policy_path(pe, v, LANE_PARAMETER, r);
    f.path_of_class[LANE_BULK] = policy_path(pe, v, LANE_BULK, r);
    f.path_of_class[LANE_CONTROL] = f.path_of_class[LANE_BULK];
    return f;
}

static bool same_route(const struct forward_route *a, const struct forward_route *b)
{
    return a->kind == b->kind && a->port == b->port && a->vlan == b->vlan && ip_addr_equal(&a->gateway, &b->gateway) &&
           ip6_equal(&a->service_sid, &b->service_sid) && a->encrypted == b->encrypted &&
           ip6_equal(&a->peer, &b->peer) && memcmp(a->path_of_class, b->path_of_class, sizeof a->path_of_class) == 0;
}

/* Paths that nobody asks for any more are looked for in pe_poll. */
static void routes_changed(struct pe *pe)
{
    pe->counts.route_changes++;
    pe->policies_dirty |= pe->steers != NULL;
}

static void untell(struct pe *pe, struct dest *d)
{
    if (d->told && !d->own) {
        pe->above.route_del(pe->above.user, d->vrf->config.id, &d->prefix);
        routes_changed(pe);
    }
    pe->counts.vrf_routes -= d->told;
    d->told = d->refused = false;
}

static void tell(struct pe *pe, struct dest *d)
{
    if (d->own || (!d->customer && !d->chosen)) {
        untell(pe, d);
        return;
    }
    struct forward_route f = d->customer ? d->to_customer : leads(pe, d->vrf, d->chosen->route);
    if (d->told && !d->refused && same_route(&f, &d->now_set))
        return;
    pe->counts.vrf_routes += !d->told;
    routes_changed(pe);
    d->told = true;
    d->refused = false;
    d->now_set = f;
    pe->above.route_set(pe->above.user, d->vrf->config.id, &d->prefix, &f);
}

static void choose(struct pe *pe, struct dest *d)
{
    d->chosen = NULL;
    for (struct import *i = d->imports; i; i = i->of_dest)
        if (usable(pe, d->vrf, i->route) && (!d->chosen || compare(pe, i->route, d->chosen->route) < 0))
            d->chosen = i;
    tell(pe, d);
}

/* --- import ---------------------------------------------------------------------------------------------------------------------------- */

static const uint8_t *wanted(const struct vrf *v, const struct vpn *r)
{
    for (unsigned i = 0; i < r->n_targets; i++)
        for (unsigned k = 0; k < v->config.n_import; k++)
            if (memcmp(r->targets[i], v->config.import[k], 8) == 0)
                return r->targets[i];
    return NULL;
}

static void tell_beacon(struct pe *pe, const struct import *i, bool withdrawn)
{
    const struct vpn *r = i->route;
    const uint8_t *target = wanted(i->vrf, r);
    struct pe_beacon b = {.vrf = i->vrf->config.id,
        .target = target ? target : i->vrf->config.import[0],
        .next_hop = r->next_hop,
        .service_sid = r->service.sid,
        .bytes = withdrawn ? NULL : r->beacon,
        .len = withdrawn ? 0 : r->beacon_len};
    memcpy(b.rd, r->rd, 8);
    if (pe->above.beacon && i->vrf->config.encrypted)
        pe->above.beacon(pe->above.user, &b, withdrawn);
}

static void drop_dest(struct pe *pe, struct dest *d)
{
    struct vrf *v = d->vrf;
    struct dest **at = &v->bucket[hash_dest(pe, &d->prefix) & (v->n_buckets - 1)];
    while (*at != d)
        at = &(*at)->chain;
    *at = d->chain;
    v->n_dests--;
    untell(pe, d);
    free(d);
}

static void import_end(struct pe *pe, struct import **of_route)
{
    struct import *i = *of_route;
    struct dest *d = i->dest;
    *of_route = i->of_route;
    if (!d) {
        tell_beacon(pe, i, true);
        free(i);
        return;
    }
    struct import **at = &d->imports;
    while (*at != i)
        at = &(*at)->of_dest;
    *at = i->of_dest;
    bool was = d->chosen == i;
    free(i);
    if (!d->imports && !d->customer)
        drop_dest(pe, d);
    else if (was)
        choose(pe, d);
}

void vpn_customer(struct pe *pe, struct vrf *v, const struct ip_prefix *p, const struct forward_route *r)
{
    struct dest *d = obtain(pe, v, p);
    if (!d) {
        pe_log(pe, true, "not enough memory for a customer's route");
        return;
    }
    d->customer = r != NULL;
    if (r)
        d->to_customer = *r;
    if (!d->customer && !d->imports)
        drop_dest(pe, d);
    else
        tell(pe, d);
}

/* The VRF goes, and its customers have: what is left of theirs. */
static void drop_customers(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < v->n_buckets; i++)
        for (struct dest *d = v->bucket[i], *next; d; d = next) {
            next = d->chain;
            d->customer = false;
            if (!d->imports)
                drop_dest(pe, d);
        }
}

static void import(struct pe *pe, struct vrf *v, struct vpn *r)
{
    struct import *i = calloc(1, sizeof *i);
    struct dest *d = i && !r->is_beacon ? obtain(pe, v, &r->prefix) : NULL;
    if (!i || (!d && !r->is_beacon)) {
        free(i);
        pe_log(pe, true, "not enough memory for a route of a VRF");
        return;
    }
    *i = (struct import){.of_route = r->imports, .of_dest = d ? d->imports : NULL, .route = r, .dest = d, .vrf = v};
    r->imports = i;
    if (d) {
        d->imports = i;
        choose(pe, d);
    } else {
        tell_beacon(pe, i, false);
    }
}

static struct import **import_in(struct vpn *r, const struct vrf *v)
{
    struct import **at = &r->imports;
    while (*at && (*at)->vrf != v)
        at = &(*at)->of_route;
    return at;
}

/* As v's targets say now. `changed`: the route itself says something else than before. */
static void look(struct pe *pe, struct vrf *v, struct vpn *r, bool changed)
{
    bool want = wanted(v, r) != NULL;
    struct import **at = import_in(r, v);
    if (!*at && want)
        import(pe, v, r);
    else if (*at && !want)
        import_end(pe, at);
    else if (*at && changed && (*at)->dest)
        choose(pe, (*at)->dest);
    else if (*at && changed)
        tell_beacon(pe, *at, false);
}

/* --- what BGP says ---------------------------------------------------------------------------------------------------------------------- */

static void empty(struct pe *pe, struct vpn *r)
{
    while (r->imports)
        import_end(pe, &r->imports);
    free(r->targets);
    free(r->beacon);
    r->targets = NULL;
    r->beacon = NULL;
}

static void remove_route(struct pe *pe, struct vpn **at)
{
    struct vpn *r = *at;
    empty(pe, r);
    *at = r->chain;
    free(r);
    pe->n_vpns--;
}

static bool read_targets(struct vpn *r, const struct bgp_vpn_route *from)
{
    uint8_t found[TARGETS_MOST][8];
    size_t at = 0;
    unsigned n = 0;
    while (from->communities && n < TARGETS_MOST &&
           bgp_route_target_next(from->communities, from->communities_len, &at, found[n]) == 0)
        n++;
    uint8_t(*targets)[8] = n ? malloc(n * 8) : NULL;
    if (n && !targets)
        return false;
    if (n)
        memcpy(targets, found, n * 8);
    free(r->targets);
    r->targets = targets;
    r->n_targets = n;
    return true;
}

/* A beacon is no longer than BGP lets it be: decoding has checked. */
static bool read_beacon(struct vpn *r, const struct bgp_vpn_route *from)
{
    uint8_t *copy = from->beacon_len ? malloc(from->beacon_len) : NULL;
    if (from->beacon_len && !copy)
        return false;
    if (copy)
        memcpy(copy, from->beacon, from->beacon_len);
    free(r->beacon);
    r->beacon = copy;
    r->beacon_len = from->beacon_len;
    return true;
}

static void read_next_hop(struct vpn *r, const struct bgp_vpn_route *from)
{
    unsigned at = from->next_hop_len == 24 || from->next_hop_len == 48 ? 8 : 0;
    memset(&r->next_hop, 0, sizeof r->next_hop);
    if (from->next_hop_len >= at + 16)
        memcpy(r->next_hop.b, from->next_hop + at, 16);
}

static void fill(struct pe *pe, struct vpn *r, const struct bgp_vpn_route *from)
{
    read_next_hop(r, from);
    r->said_service = from->has_service;
    r->said = from->service;
    r->color = from->color;
    r->local_pref = from->local_pref;
    r->med = from->med;
    r->path_length = from->path_length;
    r->origin = from->origin;
    r->stale = from->stale;
    r->since_ns = pe->now;
}

/* Where its packets go. A beacon's route is judged by what it says itself. */
static void settle_service(struct pe *pe, struct vpn *r)
{
    r->has_service = r->said_service;
    r->service = r->said;
    for (struct vrf *v = r->is_beacon ? NULL : pe->vrfs; v; v = v->next) {
        const struct ip6 *sid = signed_service(v, &r->next_hop);
        if (!sid || !wanted(v, r))
            continue;
        r->has_service = true;
        r->service = (struct bgp_srv6_service){.sid = *sid, .behaviour = SID_END_ESP_DT46_NEXT_CSID};
        return;
    }
}

void vpn_signed(struct pe *pe, struct vrf *v, const struct ip6 *peer)
{
    for (size_t i = 0; i < pe->n_buckets; i++)
        for (struct vpn *r = pe->bucket[i]; r; r = r->chain) {
            struct import **at = r->is_beacon || !ip6_equal(&r->next_hop, peer) ? NULL : import_in(r, v);
            if (!at || !*at)
                continue;
            settle_service(pe, r);
            choose(pe, (*at)->dest);
        }
}

void vpn_route(void *user, const struct bgp_vpn_route *from, bool withdrawn)
{
    struct pe *pe = user;
    if (pe->n_vpns >= pe->n_buckets)
        grow_vpns(pe);
    if (!pe->n_buckets)
        return;
    struct vpn **at = vpn_place(pe, from->family, from->rd, &from->prefix), *r = *at;
    if (withdrawn) {
        if (r)
            remove_route(pe, at);
        return;
    }
    bool is_beacon = from->beacon != NULL;
    if (!r) {
        r = calloc(1, sizeof *r);
        if (!r)
            return;
        r->family = from->family;
        memcpy(r->rd, from->rd, 8);
        r->prefix = from->prefix;
        *at = r;
        pe->n_vpns++;
    } else if (r->is_beacon != is_beacon) {
        while (r->imports)
            import_end(pe, &r->imports);
    }
    r->is_beacon = is_beacon;
    if (!read_targets(r, from) || !read_beacon(r, from)) {
        remove_route(pe, at); /* what it said before holds no longer */
        pe_log(pe, true, "not enough memory for a VPN route");
        return;
    }
    fill(pe, r, from);
    settle_service(pe, r);
    for (struct vrf *v = pe->vrfs; v; v = v->next)
        look(pe, v, r, true);
}

/* --- what the configuration, the underlay and policies change --------------------------------------------------------------------------- */

void vpn_vrf_targets(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < pe->n_buckets; i++)
        for (struct vpn *r = pe->bucket[i]; r; r = r->chain)
            look(pe, v, r, false);
}

void vpn_vrf_choose_all(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < v->n_buckets; i++)
        for (struct dest *d = v->bucket[i]; d; d = d->chain) {
            bool own = is_own(v, &d->prefix);
            if (own != d->own) { /* the shell has put the configuration's in the place of ours, or taken it away */
                pe->counts.vrf_routes -= d->told;
                d->told = d->refused = false;
                d->own = own;
            }
            choose(pe, d);
        }
}

void vpn_choose_all(struct pe *pe)
{
    for (struct vrf *v = pe->vrfs; v; v = v->next)
        vpn_vrf_choose_all(pe, v);
}

void vpn_ask_paths(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < v->n_buckets; i++)
        for (struct dest *d = v->bucket[i]; d; d = d->chain)
            if (d->chosen && !d->own)
                leads(pe, v, d->chosen->route);
}

void vpn_steered(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < v->n_buckets; i++)
        for (struct dest *d = v->bucket[i]; d; d = d->chain)
            tell(pe, d);
}

void pe_route_refused(struct pe *pe, uint32_t vrf, const struct ip_prefix *p)
{
    struct vrf *v = vrf_of(pe, vrf);
    pe->counts.refused++;
    for (struct dest *d = v && v->n_buckets ? v->bucket[hash_dest(pe, p) & (v->n_buckets - 1)] : NULL; d; d = d->chain)
        if (prefix_equal(&d->prefix, p))
            d->refused = d->told;
}

/* --- ends ----------------------------------------------------------------------------------------------------------------------------------- */

void vpn_vrf_done(struct pe *pe, struct vrf *v)
{
    for (size_t i = 0; i < pe->n_buckets; i++)
        for (struct vpn *r = pe->bucket[i]; r; r = r->chain) {
            struct import **at = import_in(r, v);
            if (*at)
                import_end(pe, at);
        }
    drop_customers(pe, v);
    free(v->bucket);
    v->bucket = NULL;
    v->n_buckets = 0;
}

void vpn_done(struct pe *pe)
{
    for (size_t i = 0; i < pe->n_buckets; i++)
        while (pe->bucket[i])
            remove_route(pe, &pe->bucket[i]);
    for (struct vrf *v = pe->vrfs; v; v = v->next)
        drop_customers(pe, v);
    free(pe->bucket);
}
