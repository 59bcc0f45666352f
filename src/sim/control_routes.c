/* Which routes there are, who should have which, and since when everybody has. */
#include "base/bytes.h"
#include "sim/control_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct ip6 control_loopback(uint32_t pe)
{
    struct ip6 a = {{0xfd}};
    bytes_put_be32(a.b + 12, pe + 1);
    return a;
}

/* --- which there are --------------------------------------------------------------------------------------------------- */

static uint32_t hosts_of(const struct scenario *s, uint32_t router, uint32_t vpn)
{
    uint32_t n = 0;
    for (uint32_t h = 0; h < s->n_hosts; h++)
        n += s->hosts[h].vpn == vpn && (router == SCENARIO_NONE || s->hosts[h].router == router);
    return n;
}

static uint32_t routes_of(const struct scenario *s, uint32_t router, uint32_t vpn)
{
    uint32_t hosts = hosts_of(s, router, vpn), more = s->routers[router].routes;
    bool member = hosts || (more && !hosts_of(s, SCENARIO_NONE, vpn));
    return member ? hosts + more : 0;
}

int control_routes_init(struct control *c)
{
    const struct scenario *s = c->scenario;
    c->routes = calloc((size_t)c->n_pes * s->n_vpns + 1, sizeof(*c->routes));
    if (!c->routes)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_pes; i++)
        for (uint32_t v = 0; v < s->n_vpns; v++) {
            struct control_routes *r = &c->routes[i * s->n_vpns + v];
            *r = (struct control_routes){c->n_routes, routes_of(s, c->nodes[i].router, v)};
            c->n_routes += r->n;
        }
    size_t all = (size_t)c->n_pes * c->n_routes + 1;
    c->owner = calloc(c->n_routes + 1, sizeof(*c->owner));
    c->vpn_of = calloc(c->n_routes + 1, sizeof(*c->vpn_of));
    c->holds = calloc(all, 1);
    c->expects = calloc(all, 1);
    c->wrong = calloc(c->n_pes + 1, sizeof(*c->wrong));
    c->was_wrong = calloc(c->n_pes + 1, sizeof(*c->was_wrong));
    c->right_at = calloc(c->n_pes + 1, sizeof(*c->right_at));
    if (!c->owner || !c->vpn_of || !c->holds || !c->expects || !c->wrong || !c->was_wrong || !c->right_at)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->n_pes; i++)
        for (uint32_t v = 0; v < s->n_vpns; v++)
            for (uint32_t k = 0; k < c->routes[i * s->n_vpns + v].n; k++) {
                c->owner[c->routes[i * s->n_vpns + v].first + k] = i;
                c->vpn_of[c->routes[i * s->n_vpns + v].first + k] = v;
            }
    return 0;
}

void control_routes_done(struct control *c)
{
    free(c->routes);
    free(c->owner);
    free(c->vpn_of);
    free(c->holds);
    free(c->expects);
    free(c->wrong);
    free(c->was_wrong);
    free(c->right_at);
    free(c->windows);
}

/* --- as BGP says them -------------------------------------------------------------------------------------------------- */

static void target_of(uint8_t to[8], uint32_t vpn)
{
    memcpy(to, (uint8_t[]){0, 2, CONTROL_AS >> 8, CONTROL_AS & 255}, 4);
    bytes_put_be32(to + 4, vpn + 1);
}

static int announce_vpn(struct control_node *n, uint32_t vpn, const struct control_routes *r, int64_t now)
{
    uint8_t attributes[128], sid[64], target[8], raw[64];
    struct bgp_srv6_service service = {
        .sid = {{0xfc, 0xbb, 0xbb, 0}}, .behaviour = 64, .block_bits = 32, .node_bits = 16, .function_bits = 16};
    struct error err;
    target_of(target, vpn);
    bytes_put_be16(service.sid.b + 4, (uint16_t)(n->index + 1));
    bytes_put_be16(service.sid.b + 6, (uint16_t)(0x1000 + vpn));
    int at = bgp_attribute_put(attributes, 0, sizeof(attributes), 0xc0, BGP_EXTENDED_COMMUNITIES, target, 8);
    at = bgp_attribute_put(
        attributes, (size_t)at, sizeof(attributes), 0xc0, BGP_PREFIX_SID, sid, bgp_srv6_service_encode(&service, sid));
    int rc = bgp_import(n->speaker, CONTROL_AS, target, now, &err);
    for (uint32_t k = 0; k < r->n && !rc; k++) {
        struct bgp_rt5 rt5 = {.rd = {0, 1}, .prefix = {.family = IP_V4, .len = 32}, .label = 0x30};
        bytes_put_be32(rt5.rd + 2, n->index + 1);
        bytes_put_be16(rt5.rd + 6, (uint16_t)vpn);
        bytes_put_be32(rt5.prefix.a.b, 10u << 24 | (r->first + k));
        rc = bgp_originate(n->speaker, BGP_EVPN, raw, bgp_rt5_encode(&rt5, raw), attributes, (size_t)at, now, &err);
    }
    return rc;
}

int control_routes_announce(struct control_node *n, int64_t now)
{
    const struct control *c = n->above;
    int rc = 0;
    for (uint32_t v = 0; v < c->scenario->n_vpns && !rc; v++)
        if (c->routes[n->index * c->scenario->n_vpns + v].n)
            rc = announce_vpn(n, v, &c->routes[n->index * c->scenario->n_vpns + v], now);
    return rc;
}

/* --- who is right ---------------------------------------------------------------------------------------------------------- */

static void set_wrong(struct control *c, uint32_t pe, uint32_t wrong)
{
    if (wrong)
        c->was_wrong[pe] = true;
    else if (c->wrong[pe])
        c->right_at[pe] = c->events.now_ns;
    if (!wrong && c->wrong[pe] && c->options.trace)
        fprintf(c->options.trace, "%" PRId64 " right %s\n", c->events.now_ns,
            c->scenario->routers[c->nodes[pe].router].name);
    c->wrong[pe] = wrong;
}

void control_vpn_route(void *node, const struct bgp_vpn_route *r, bool withdrawn)
{
    struct control_node *n = node;
    struct control *c = n->above;
    uint32_t route = bytes_get_be32(r->prefix.a.b) & 0xffffff;
    if (n->reflector || route >= c->n_routes)
        return;
    size_t at = (size_t)n->index * c->n_routes + route;
    if (c->holds[at] == !withdrawn)
        return;
    c->holds[at] = !withdrawn;
    control_note(c, 7, (uint64_t)n->index << 32 | route, withdrawn);
    set_wrong(c, n->index, c->wrong[n->index] + (c->holds[at] != c->expects[at] ? 1 : UINT32_MAX));
}

void control_routes_lost(struct control_node *n)
{
    struct control *c = n->above;
    memset(c->holds + (size_t)n->index * c->n_routes, 0, c->n_routes);
}

static bool expected(const struct control *c, uint32_t pe, uint32_t route)
{
    uint32_t from = c->owner[route];
    const struct control_node *a = &c->nodes[pe], *b = &c->nodes[from];
    return from != pe && a->alive && b->alive && c->routes[pe * c->scenario->n_vpns + c->vpn_of[route]].n &&
           c->distances[(size_t)pe * c->scenario->n_routers + b->router].delay_ns >= 0;
}

void control_truth(struct control *c)
{
    for (uint32_t i = 0; i < c->n_pes; i++) {
        uint32_t wrong = 0;
        for (uint32_t k = 0; k < c->n_routes; k++) {
            size_t at = (size_t)i * c->n_routes + k;
            c->expects[at] = expected(c, i, k);
            wrong += c->expects[at] != c->holds[at];
        }
        set_wrong(c, i, wrong);
    }
}

/* --- since when ------------------------------------------------------------------------------------------------------------ */

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The truth is the one after what has happened; it has just been computed. */
int control_window_begin(struct control *c, const char *what)
{
    struct control_window *more = realloc(c->windows, (c->n_windows + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    c->windows = more;
    more[c->n_windows] = (struct control_window){.at_ns = c->events.now_ns, .p50_ns = -1, .p99_ns = -1, .last_ns = -1};
    snprintf(more[c->n_windows++].what, sizeof(more->what), "%s", what);
    for (uint32_t i = 0; i < c->n_pes; i++)
        c->was_wrong[i] = c->wrong[i] > 0;
    return 0;
}

void control_window_end(struct control *c)
{
    struct control_window *w = &c->windows[c->n_windows - 1];
    int64_t *took = calloc(c->n_pes + 1, sizeof(*took));
    uint32_t n = 0;
    w->affected = w->unfinished = 0;
    for (uint32_t i = 0; i < c->n_pes; i++) {
        w->affected += c->was_wrong[i];
        w->unfinished += c->wrong[i] > 0;
        if (took && c->was_wrong[i] && !c->wrong[i])
            took[n++] = c->right_at[i] - w->at_ns;
    }
    if (n)
        qsort(took, n, sizeof(*took), by_time);
    w->p50_ns = n ? took[(n - 1) / 2] : -1;
    w->p99_ns = n ? took[((uint64_t)n * 99 + 99) / 100 - 1] : -1;
    w->last_ns = n && !w->unfinished ? took[n - 1] : -1;
    free(took);
}
