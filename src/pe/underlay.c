/* The underlay: over each link a BGP session with the neighbour, who he is told by his HELLO, where his BGP is follows from his
 * id (pe_link_address). Loopbacks and locators learned there become routes over a link. Several links to one neighbour carry
 * one session, over the first of them that is up. What the configuration says stands above what BGP says. */
#include "pe/inner.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>

#define HOLD_S        9 /* the link's own silence is noticed far earlier */
#define RETRY_NS      (NS_PER_S / 4)
#define PREFIXES_MOST 8192u

struct ip6 pe_link_address(uint32_t router)
{
    struct ip6 a = {{0xfe, 0x80, [8] = 0x4d, [9] = 0x65}};
    bytes_put_be32(a.b + 12, router);
    return a;
}

bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->family == b->family && a->len == b->len && ip6_equal(&a->a, &b->a);
}

static struct neighbour *neighbour_of(const struct pe *pe, uint64_t router)
{
    struct neighbour *n = pe->neighbours;
    while (n && n->router != router)
        n = n->next;
    return n;
}

static struct neighbour *neighbour_of_peer(const struct pe *pe, uint16_t peer)
{
    struct neighbour *n = pe->neighbours;
    while (n && n->peer != peer)
        n = n->next;
    return n;
}

/* --- the way to an address ---------------------------------------------------------------------------------------------------- */

static bool static_up(const struct pe *pe, const struct pe_static *s)
{
    return s->foreign || (s->port < LANE_PORTS_MOST && (pe->ports_up >> s->port & 1));
}

int underlay_port(const struct pe *pe, const struct ip6 *a, uint32_t *ret_metric)
{
    int port = -1, longest = -1;
    for (unsigned i = 0; i < pe->config.n_statics; i++) {
        const struct pe_static *s = &pe->config.statics[i];
        if (s->prefix.family == IP_V6 && s->prefix.len > longest && static_up(pe, s) &&
            ip_match(&s->prefix.a, a, s->prefix.len)) {
            longest = s->prefix.len;
            port = s->port;
            *ret_metric = 1;
        }
    }
    for (const struct learned *l = pe->learned; l; l = l->next)
        if (l->set && l->prefix.len > longest && ip_match(&l->prefix.a, a, l->prefix.len)) {
            longest = l->prefix.len;
            port = l->port;
            *ret_metric = l->metric;
        }
    return port;
}

/* --- learned routes -------------------------------------------------------------------------------------------------------------- */

static bool is_static(const struct pe *pe, const struct ip_prefix *p)
{
    for (unsigned i = 0; i < pe->config.n_statics; i++)
        if (prefix_equal(&pe->config.statics[i].prefix, p))
            return true;
    return false;
}

/* Nobody tells us the way to ourselves, nor to what is only on a link. */
static bool acceptable(const struct pe *pe, const struct ip_prefix *p)
{
    const struct ip_prefix *own = &pe->config.locator;
    if (p->family != IP_V6 || (p->len && (p->a.b[0] == 0xff || (p->a.b[0] == 0xfe && (p->a.b[1] & 0xc0) == 0x80))))
        return false;
    if (p->len >= own->len && ip_match(&p->a, &own->a, own->len))
        return false;
    return p->len < 128 || !ip6_equal(&p->a, &pe->config.loopback);
}

static void set(struct pe *pe, struct learned *l)
{
    const struct neighbour *n = neighbour_of(pe, l->router);
    bool may = n && n->ports && !is_static(pe, &l->prefix);
    uint16_t port = may ? (uint16_t)__builtin_ctzll(n->ports) : 0;
    if (may && (!l->set || l->port != port)) {
        l->port = port;
        pe->above.route_set(
            pe->above.user, 0, &l->prefix, &(struct forward_route){.kind = ROUTE_ADJACENT, .port = port});
    } else if (!may && l->set && !is_static(pe, &l->prefix)) {
        pe->above.route_del(pe->above.user, 0, &l->prefix);
    }
    l->set = may;
    nexthop_changed(pe);
}

static uint32_t path_length(const struct pe *pe, const struct ip_prefix *p)
{
    uint8_t raw[64];
    struct bgp_nlri n;
    size_t at = 0;
    unsigned len = bgp_prefix_encode(p, raw);
    if (bgp_nlri_next(BGP_IPV6_UNICAST, false, raw, len, &at, &n) != 1)
        return 1;
    const struct bgp_route *r = bgp_rib_find(bgp_speaker_rib(pe->speaker, BGP_IPV6_UNICAST), n.key, n.key_len);
    return r && r->best ? r->best->attributes->path_length : 1;
}

static void forget(struct pe *pe, struct learned **at)
{
    struct learned *l = *at;
    if (l->set && !is_static(pe, &l->prefix))
        pe->above.route_del(pe->above.user, 0, &l->prefix);
    *at = l->next;
    free(l);
    pe->counts.underlay_routes--;
    nexthop_changed(pe);
}

void underlay_route(void *user, uint16_t peer, const struct ip_prefix *p, bool withdrawn)
{
    struct pe *pe = user;
    const struct neighbour *n = neighbour_of_peer(pe, peer);
    struct learned **at = &pe->learned;
    while (*at && !prefix_equal(&(*at)->prefix, p))
        at = &(*at)->next;
    if (withdrawn || !n || !acceptable(pe, p)) {
        if (*at)
            forget(pe, at);
        return;
    }
    if (!*at && (*at = calloc(1, sizeof **at)) != NULL) {
        (*at)->prefix = *p;
        pe->counts.underlay_routes++;
    }
    if (!*at)
        return;
    (*at)->router = n->router;
    (*at)->metric = path_length(pe, p);
    set(pe, *at);
}

/* --- neighbours ------------------------------------------------------------------------------------------------------------------- */

static struct ip_prefix link_prefix(uint64_t router)
{
    return (struct ip_prefix){.family = IP_V6, .len = 128, .a = pe_link_address((uint32_t)router)};
}

static void aim(struct pe *pe, const struct neighbour *n)
{
    struct ip_prefix at = link_prefix(n->router);
    if (n->ports)
        pe->above.route_set(pe->above.user, 0, &at,
            &(struct forward_route){.kind = ROUTE_ADJACENT, .port = (uint16_t)__builtin_ctzll(n->ports)});
    else
        pe->above.route_del(pe->above.user, 0, &at);
    for (struct learned *l = pe->learned; l; l = l->next)
        if (l->router == n->router)
            set(pe, l);
}

static int add_peer(struct pe *pe, struct neighbour *n, struct error *err)
{
    struct bgp_peer_config c = {.kind = BGP_PEER_LINK,
        .address = {.family = IP_V6, .a = pe_link_address((uint32_t)n->router)},
        .next_hop = pe_link_address(pe->config.router),
        .session = {.local_as = PE_LINK_AS + pe->config.router,
            .peer_as = PE_LINK_AS + (uint32_t)n->router,
            .hold_time_s = HOLD_S,
            .connect_retry_ns = RETRY_NS,
            .passive = n->router < pe->config.router, /* one of the two connects: nothing collides */
            .families = {BGP_IPV6_UNICAST},
            .n_families = 1},
        .prefixes_most = PREFIXES_MOST};
    int rc = bgp_peer_add(pe->speaker, &c, pe->now, &n->peer, err);
    if (rc == 0 && pe->above.link_peer)
        pe->above.link_peer(pe->above.user, n->peer, false);
    return rc;
}

static struct neighbour *greet(struct pe *pe, uint64_t router)
{
    struct neighbour *n = calloc(1, sizeof *n);
    struct error err = {0};
    if (!n)
        return NULL;
    n->router = router;
    int rc =
        router == 0 || router == pe->config.router || router >= UINT32_MAX - PE_LINK_AS
            ? error_set(&err, EINVAL, "its id must be another than ours, from 1 to %u", UINT32_MAX - PE_LINK_AS - 1)
            : add_peer(pe, n, &err);
    if (rc) {
        pe_log(pe, true, "no BGP with router %llu over the link: %s", (unsigned long long)router, err.text);
        free(n);
        return NULL;
    }
    n->next = pe->neighbours;
    pe->neighbours = n;
    pe->counts.neighbours++;
    return n;
}

void pe_link_up(struct pe *pe, uint16_t port, uint64_t router, int64_t now)
{
    pe->now = now;
    if (port >= LANE_PORTS_MOST)
        return;
    for (struct neighbour *n = pe->neighbours; n; n = n->next)
        if ((n->ports >> port & 1) && n->router != router) {
            pe_link_down(pe, port, now); /* another router is there now */
            break;
        }
    pe->ports_up |= 1ull << port;
    nexthop_changed(pe);
    if (!pe->config.links)
        return;
    struct neighbour *n = neighbour_of(pe, router);
    if (!n)
        n = greet(pe, router);
    if (!n)
        return;
    n->ports |= 1ull << port;
    aim(pe, n);
}

static void part(struct pe *pe, struct neighbour **at)
{
    struct neighbour *n = *at;
    if (pe->above.link_peer)
        pe->above.link_peer(pe->above.user, n->peer, true);
    bgp_peer_remove(pe->speaker, n->peer, pe->now); /* its routes are withdrawn from within */
    for (struct learned **l = &pe->learned; *l;)
        if ((*l)->router == n->router)
            forget(pe, l);
        else
            l = &(*l)->next;
    *at = n->next;
    free(n);
    pe->counts.neighbours--;
}

void pe_link_down(struct pe *pe, uint16_t port, int64_t now)
{
    pe->now = now;
    if (port >= LANE_PORTS_MOST || !(pe->ports_up >> port & 1))
        return;
    pe->ports_up &= ~(1ull << port);
    nexthop_changed(pe);
    for (struct neighbour **at = &pe->neighbours; *at; at = &(*at)->next) {
        struct neighbour *n = *at;
        if (!(n->ports >> port & 1))
            continue;
        n->ports &= ~(1ull << port);
        aim(pe, n);
        if (!n->ports)
            part(pe, at);
        return;
    }
}

/* --- configuration -------------------------------------------------------------------------------------------------------------------- */

static int copy(const void *from, unsigned n, size_t size, const void *ret, unsigned *ret_n)
{
    void *to = n ? malloc(n * size) : NULL;
    if (n && !to)
        return -ENOMEM;
    if (n)
        memcpy(to, from, n * size);
    void **place = (void **)(uintptr_t)ret;
    free(*place);
    *place = to;
    *ret_n = n;
    return 0;
}

int underlay_configure(struct pe *pe, const struct pe_config *c, struct error *err)
{
    int rc = copy(c->statics, c->n_statics, sizeof *c->statics, &pe->config.statics, &pe->config.n_statics);
    rc = rc ? rc : copy(c->crosses, c->n_crosses, sizeof *c->crosses, &pe->config.crosses, &pe->config.n_crosses);
    rc = rc ? rc : copy(c->announce, c->n_announce, sizeof *c->announce, &pe->config.announce, &pe->config.n_announce);
    if (rc)
        return error_set(err, ENOMEM, "no memory for the underlay's routes");
    for (struct learned *l = pe->learned; l; l = l->next) {
        if (is_static(pe, &l->prefix))
            l->set = false; /* the configuration's stands in its place, or will when its link is up */
        set(pe, l);
    }
    return export_underlay(pe, err);
}

void underlay_done(struct pe *pe)
{
    for (struct learned *l = pe->learned, *next; l; l = next) {
        next = l->next;
        free(l);
    }
    for (struct neighbour *n = pe->neighbours, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    free((void *)(uintptr_t)pe->config.statics);
    free((void *)(uintptr_t)pe->config.crosses);
    free((void *)(uintptr_t)pe->config.announce);
}
