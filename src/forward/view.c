#include "forward/view.h"

#include "forward/forward_inner.h"
#include "forward/neighbour_inner.h"

struct look {
    struct forward *f;
    struct vrf *vrf;
    struct forward_route_view *ret;
    unsigned got, most;
    uint32_t at, from; /* number of the next route; the first wanted */
};

static bool is_ready(const struct hop *h)
{
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        if (h->encap[c] && !h->encap[c]->ready)
            return false;
    return true;
}

static int visit(void *user, const struct ip_prefix *p, uint32_t value)
{
    struct look *k = user;
    const struct hop *h = &k->f->hops.hops[value];
    if (k->at++ < k->from)
        return 0;
    if (k->got == k->most) {
        k->at--;
        return 1;
    }
    struct forward_route_view *v = &k->ret[k->got++];
    *v = (struct forward_route_view){
        .vrf = k->vrf->id, .prefix = *p, .is_sid = h->kind == HOP_SID, .ready = is_ready(h)};
    if (v->is_sid) {
        v->sid = (struct forward_sid){.sid = *p,
            .behaviour = (enum sid_behaviour)h->behaviour,
            .flavours = h->flavours,
            .port = h->port,
            .vrf = h->vrf ? h->vrf->id : 0};
        return 0;
    }
    v->route = (struct forward_route){.kind = (enum route_kind)h->kind,
        .port = h->port,
        .vlan = h->vlan,
        .gateway = h->gateway,
        .service_sid = h->service_sid,
        .encrypted = h->encrypted,
        .peer = h->peer};
    memcpy(v->route.path_of_class, h->path_of_class, sizeof v->route.path_of_class);
    return 0;
}

unsigned forward_routes_view(struct forward *f, uint32_t *cursor, struct forward_route_view *ret, unsigned most)
{
    struct look k = {.f = f, .ret = ret, .most = most, .from = *cursor};
    for (uint32_t i = 0; i < f->n_vrfs && k.got < most; i++) {
        k.vrf = f->vrfs[i];
        const struct poptrie *tables[] = {&k.vrf->v4, &k.vrf->v6};
        for (unsigned t = 0; t < 2 && k.got < most; t++) {
            if (k.at + poptrie_count(tables[t]) <= k.from)
                k.at += poptrie_count(tables[t]);
            else
                poptrie_each(tables[t], visit, &k);
        }
    }
    *cursor = k.at;
    return k.got;
}

unsigned forward_neighbours_view(struct forward *f, uint32_t *cursor, struct forward_neighbour_view *ret, unsigned most)
{
    const struct neighbour_table *t = f->neighbours;
    unsigned got = 0;
    for (; got < most && *cursor < t->neighbours_most; ++*cursor) {
        const struct neighbour *n = &t->all[*cursor];
        uint16_t number = n->key.net < ACCESSES_MOST ? f->access_of_net[n->key.net] : 0;
        if (n->state == NEIGHBOUR_NONE || !number)
            continue;
        const struct access *a = &f->access[number - 1];
        struct forward_neighbour_view *v = &ret[got++];
        *v = (struct forward_neighbour_view){.port = a->config.port,
            .vlan = a->config.vlan,
            .vrf = a->config.vrf,
            .address = {.family = (uint8_t)n->key.family, .a = n->key.a},
            .state = n->state,
            .waiting = n->waiting};
        memcpy(v->mac, n->mac, 6);
    }
    return got;
}

const char *neighbour_state_name(unsigned state)
{
    static const char *const names[] = {[NEIGHBOUR_NONE] = "none",
        [NEIGHBOUR_INCOMPLETE] = "incomplete",
        [NEIGHBOUR_REACHABLE] = "reachable",
        [NEIGHBOUR_STALE] = "stale",
        [NEIGHBOUR_DELAY] = "delay",
        [NEIGHBOUR_PROBE] = "probe"};
    return state < sizeof(names) / sizeof(*names) && names[state] ? names[state] : "unknown";
}
