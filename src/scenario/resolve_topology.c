/* Sites, routers, links, hosts and VPNs of a scenario. */
#include "scenario/resolve.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_LEAST  1u
#define NODE_MOST   0xdfffu /* above: local SIDs (plan.h) */
#define US_PER_KM   5       /* light in fibre: 200,000 km/s */
#define MTU_LEAST   1280u
#define MTU_MOST    9600u
#define CORE_MTU    9216u
#define HOST_MTU    1500u
#define ACCESS_RATE 100000000000u

/* Room for n entries, never NULL for 0. */
static int room(void **list, size_t n, size_t size, struct error *err)
{
    *list = calloc(n + 1, size);
    return *list ? 0 : error_set(err, ENOMEM, "no memory");
}

static int unique(const struct place *p, const char *name, uint32_t found)
{
    return found == p->i ? 0 : place_bad(p, "name", name, "is taken");
}

static int sites(struct scenario *s, struct file_scenario *f, struct error *err)
{
    int rc = room((void **)&s->sites, f->n_sites, sizeof(*s->sites), err);
    for (uint32_t i = 0; i < f->n_sites && !rc; i++) {
        const struct file_site *in = &f->sites[i];
        struct place p = {"sites", i, in->name, err};
        rc = check_name(&p, in->name);
        s->sites[i] = (struct scenario_site){in->name, in->city ? in->city : "", in->kind ? in->kind : ""};
        s->n_sites++;
    }
    return rc;
}

static int site_of(const struct place *p, const struct scenario *s, const char *text, uint32_t *ret)
{
    *ret = SCENARIO_NONE;
    for (uint32_t i = 0; text && i < s->n_sites; i++)
        if (strcmp(s->sites[i].name, text) == 0)
            *ret = i;
    return text && *ret == SCENARIO_NONE ? place_bad(p, "site", text, "names no site of this scenario") : 0;
}

static int router(struct scenario *s, const struct file_router *in, uint32_t i, struct error *err)
{
    static const char *const roles[] = {"cpe", "pe", "p", "reflector", NULL};
    struct scenario_router *r = &s->routers[i];
    struct place p = {"routers", i, in->name, err};
    uint32_t role = SCENARIO_P;
    int rc = check_name(&p, in->name);
    r->name = in->name;
    s->n_routers++;
    rc = rc ? rc : unique(&p, in->name, scenario_router_find(s, in->name));
    rc = rc ? rc : get_u32(&p, "id", in->id, NODE_LEAST, NODE_MOST, &r->id);
    rc = rc ? rc : get_choice(&p, "role", in->role, roles, &role);
    rc = rc ? rc : site_of(&p, s, in->site, &r->site);
    rc = rc ? rc : get_bytes(&p, "pool", in->pool, &r->pool);
    rc = rc ? rc : get_bytes(&p, "tenant_pool", in->tenant_pool, &r->tenant_pool);
    rc = rc ? rc : get_time(&p, "poll", in->poll, &r->poll_ns);
    rc = rc ? rc : get_u64(&p, "pps", in->pps, &r->pps);
    rc = rc ? rc : get_u32(&p, "routes", in->routes, 0, 100000, &r->routes);
    r->role = (enum scenario_role)role;
    return rc;
}

static uint32_t router_by_id(const struct scenario *s, uint32_t id)
{
    for (uint32_t i = 0; i < s->n_routers; i++)
        if (s->routers[i].id == id)
            return i;
    return SCENARIO_NONE;
}

static int routers(struct scenario *s, struct file_scenario *f, struct error *err)
{
    int rc = room((void **)&s->routers, f->n_routers, sizeof(*s->routers), err);
    for (uint32_t i = 0; i < f->n_routers && !rc; i++)
        rc = router(s, &f->routers[i], i, err);
    uint32_t next = NODE_LEAST;
    for (uint32_t i = 0; i < s->n_routers && !rc; i++) {
        struct place p = {"routers", i, s->routers[i].name, err};
        if (s->routers[i].id && router_by_id(s, s->routers[i].id) != i)
            rc = place_bad(&p, "id", f->routers[i].id, "is taken");
        while (!s->routers[i].id && router_by_id(s, next) != SCENARIO_NONE)
            next++;
        if (!s->routers[i].id && next > NODE_MOST)
            rc = place_bad(&p, "name", s->routers[i].name, "is one router too many");
        else if (!s->routers[i].id)
            s->routers[i].id = next;
    }
    return rc;
}

#define QUALITY(in, q)                                                                                                 \
    rc = rc ? rc : get_share(&p, "loss", (in)->loss, &(q)->loss);                                                      \
    rc = rc ? rc : get_share(&p, "bit_errors", (in)->bit_errors, &(q)->bit_errors);                                    \
    rc = rc ? rc : get_share(&p, "duplicate", (in)->duplicate, &(q)->duplicate);                                       \
    rc = rc ? rc : get_share(&p, "reorder", (in)->reorder, &(q)->reorder);                                             \
    rc = rc ? rc : get_share(&p, "control_loss", (in)->control_loss, &(q)->control_loss);                              \
    rc = rc ? rc : get_share(&p, "control_duplicate", (in)->control_duplicate, &(q)->control_duplicate);               \
    rc = rc ? rc : get_share(&p, "control_reorder", (in)->control_reorder, &(q)->control_reorder);                     \
    rc = rc ? rc : get_time(&p, "jitter", (in)->jitter, &(q)->jitter_ns)

/* "a-b", and "a-b.2" for the second cable between them. It joins the file's strings: freed with them. */
static int link_name(struct scenario *s, struct file_link *in, struct error *err)
{
    char name[160];
    if (in->name || !in->a || !in->b)
        return 0;
    snprintf(name, sizeof(name), "%.60s-%.60s", in->a, in->b);
    size_t n = strlen(name);
    for (unsigned k = 2; scenario_link_find(s, name) != SCENARIO_NONE; k++)
        snprintf(name + n, sizeof(name) - n, ".%u", k);
    in->name = strdup(name);
    return in->name ? 0 : error_set(err, ENOMEM, "no memory");
}

static int distance(const struct place *p, const char *length, const char *delay, double *ret_km, int64_t *ret_ns)
{
    int rc = get_km(p, "length", length, ret_km);
    *ret_ns = (int64_t)(*ret_km * US_PER_KM * 1000);
    if (!rc && length && delay)
        return place_bad(p, "delay", delay, "and a length are given; one of them is enough");
    rc = rc ? rc : get_time(p, "delay", delay, ret_ns);
    if (delay)
        *ret_km = (double)*ret_ns / (US_PER_KM * 1000);
    return rc;
}

static int one_link(struct scenario *s, struct file_link *in, uint32_t i, struct error *err)
{
    struct scenario_link *l = &s->links[i];
    int rc = link_name(s, in, err);
    struct place p = {"links", i, in->name, err};
    l->mtu = CORE_MTU;
    rc = rc ? rc : !in->a ? place_missing(&p, "a") : !in->b ? place_missing(&p, "b") : 0;
    rc = rc ? rc : get_name(&p, "a", in->a, s, scenario_router_find, "router", &l->router[0]);
    rc = rc ? rc : get_name(&p, "b", in->b, s, scenario_router_find, "router", &l->router[1]);
    if (!rc && l->router[0] == l->router[1])
        rc = place_bad(&p, "b", in->b, "is the same router as a");
    l->name = in->name;
    s->n_links++;
    rc = rc ? rc : unique(&p, l->name, scenario_link_find(s, l->name));
    rc = rc ? rc : get_rate(&p, "rate", in->rate, &l->rate_bps);
    rc = rc ? rc : distance(&p, in->length, in->delay, &l->km, &l->delay_ns);
    rc = rc ? rc : get_u32(&p, "mtu", in->mtu, MTU_LEAST, MTU_MOST, &l->mtu);
    QUALITY(in, &l->quality);
    l->group = in->group;
    if (!rc && in->rate && !l->rate_bps)
        return place_bad(&p, "rate", in->rate, "carries nothing");
    return rc ? rc : in->rate ? 0 : place_missing(&p, "rate");
}

int resolve_quality(const struct place *at, const struct file_fault *in, struct scenario_quality *q)
{
    struct place p = *at;
    int rc = 0;
    QUALITY(in, q);
    return rc;
}

/* An address that leaves room for a gateway beside it. */
static bool is_address(const char *text, struct ip_prefix *ret)
{
    return ip_gateway_parse(ret, text, NULL) == 0 && ret->len + 2 <= ip_bits(ret->family);
}

static int one_host(struct scenario *s, const struct file_host *in, uint32_t i, struct error *err)
{
    static const char *const kinds[] = {"linux", "roce", "tcp", NULL};
    struct scenario_host *h = &s->hosts[i];
    struct place p = {"hosts", i, in->name, err};
    uint32_t kind = SCENARIO_LINUX, vlan = 0;
    double km = 0;
    *h = (struct scenario_host){.name = in->name,
        .port = in->port,
        .machine = in->machine,
        .rate_bps = ACCESS_RATE,
        .mtu = HOST_MTU,
        .ecn = true,
        .pfc = true,
        .vpn = SCENARIO_NONE};
    int rc = check_name(&p, in->name);
    s->n_hosts++;
    rc = rc ? rc : unique(&p, in->name, scenario_host_find(s, in->name));
    rc = rc ? rc : in->router ? 0 : place_missing(&p, "router");
    rc = rc ? rc : in->vpn ? 0 : place_missing(&p, "vpn");
    rc = rc ? rc : get_choice(&p, "kind", in->kind, kinds, &kind);
    rc = rc ? rc : get_name(&p, "router", in->router, s, scenario_router_find, "router", &h->router);
    rc = rc ? rc : get_name(&p, "vpn", in->vpn, s, scenario_vpn_find, "VPN", &h->vpn);
    rc = rc ? rc : get_u32(&p, "vlan", in->vlan, 1, 4094, &vlan);
    rc = rc ? rc : get_rate(&p, "rate", in->rate, &h->rate_bps);
    rc = rc ? rc : distance(&p, in->length, in->delay, &km, &h->delay_ns);
    rc = rc ? rc : get_u32(&p, "mtu", in->mtu, MTU_LEAST, MTU_MOST, &h->mtu);
    rc = rc ? rc : get_truth(&p, "ecn", in->ecn, &h->ecn);
    rc = rc ? rc : get_truth(&p, "pfc", in->pfc, &h->pfc);
    if (!rc && in->address && !is_address(in->address, &h->subnet))
        rc = place_bad(&p, "address", in->address, "is no address with its subnet; write for example \"10.1.0.2/24\"");
    if (!rc && h->rate_bps == 0)
        rc = place_bad(&p, "rate", in->rate, "carries nothing");
    h->kind = (enum scenario_host_kind)kind;
    h->vlan = (uint16_t)vlan;
    return rc;
}

/* --- VPNs -------------------------------------------------------------------------------------------------- */

static int one_class(
    struct scenario_vpn *v, const struct file_class *in, const struct place *p, struct scenario_slice *defaults)
{
    enum scenario_class c = SCENARIO_CLASSES;
    uint32_t priority, dscp;
    int rc = in->class_ ? get_class(p, "class", in->class_, &c) : place_missing(p, "class");
    if (!rc && c == SCENARIO_CONTROL)
        rc = place_bad(p, "class", in->class_, "is the routers' own");
    if (rc)
        return rc;
    struct scenario_slice *x = &v->slice[c];
    *x = defaults[c];
    x->wanted = true;
    priority = x->priority;
    dscp = x->dscp;
    rc = get_rate(p, "guarantee", in->guarantee, &x->guarantee_bps);
    rc = rc ? rc : get_rate(p, "cap", in->cap, &x->cap_bps);
    rc = rc ? rc : get_rate(p, "rate", in->rate, &x->rate_bps);
    rc = rc ? rc : get_bytes(p, "window_least", in->window_least, &x->window_least);
    rc = rc ? rc : get_u32(p, "priority", in->priority, 0, 7, &priority);
    rc = rc ? rc : get_u32(p, "dscp", in->dscp, 0, 63, &dscp);
    rc = rc ? rc : get_bytes(p, "ecn_at", in->ecn_at, &x->ecn_at);
    rc = rc ? rc : get_bytes(p, "xoff_at", in->xoff_at, &x->xoff_at);
    rc = rc ? rc : get_bytes(p, "xon_at", in->xon_at, &x->xon_at);
    rc = rc ? rc : get_bytes(p, "drop_at", in->drop_at, &x->drop_at);
    x->priority = (uint8_t)priority;
    x->dscp = (uint8_t)dscp;
    return rc;
}

static int distinct_marks(const struct scenario_vpn *v, const struct place *p)
{
    char what[80];
    for (int a = 0; a < SCENARIO_CLASSES; a++)
        for (int b = a + 1; b < SCENARIO_CLASSES; b++)
            if (v->slice[a].dscp == v->slice[b].dscp) {
                snprintf(what, sizeof(what), "gives %s and %s the same dscp", scenario_class_name(a),
                    scenario_class_name(b));
                return place_bad(p, "name", v->name, what);
            }
    return 0;
}

/* CS6, EF, AF31 (what RoCE NICs are usually told), best effort; priorities likewise. */
static struct scenario_slice defaults_of_class[SCENARIO_CLASSES] = {
    {.dscp = 48, .priority = 6}, {.dscp = 46, .priority = 5}, {.dscp = 26, .priority = 3}, {.dscp = 0, .priority = 0}};

static uint32_t tenant_of(const struct scenario *s, const struct scenario_vpn *v)
{
    uint32_t most = 0;
    for (const struct scenario_vpn *o = s->vpns; o < v; o++) {
        if (strcmp(o->tenant, v->tenant) == 0)
            return o->tenant_id;
        most = o->tenant_id > most ? o->tenant_id : most;
    }
    return most + 1;
}

static int one_vpn(struct scenario *s, const struct file_vpn *in, uint32_t i, struct error *err)
{
    struct scenario_vpn *v = &s->vpns[i];
    struct place p = {"vpns", i, in->name, err};
    int rc = check_name(&p, in->name);
    v->name = in->name;
    v->tenant = in->tenant ? in->tenant : in->name;
    s->n_vpns++;
    rc = rc ? rc : unique(&p, in->name, scenario_vpn_find(s, in->name));
    rc = rc ? rc : get_u32(&p, "vrf", in->vrf, 1, 4095, &v->vrf);
    rc = rc ? rc : get_truth(&p, "encrypted", in->encrypted, &v->encrypted);
    rc = rc ? rc : get_truth(&p, "best_effort", in->best_effort, &v->best_effort);
    if (!rc && v->best_effort && in->n_classes)
        rc = place_bad(&p, "best_effort", in->best_effort, "and classes are given; a VPN has either");
    if (rc)
        return rc;
    v->tenant_id = tenant_of(s, v);
    memcpy(v->slice, defaults_of_class, sizeof(v->slice));
    for (uint32_t c = 0; c < in->n_classes && !rc; c++)
        rc = one_class(v, &in->classes[c], &p, defaults_of_class);
    return rc ? rc : distinct_marks(v, &p);
}

static bool vrf_taken(const struct scenario *s, uint32_t vrf, uint32_t but)
{
    for (uint32_t i = 0; i < s->n_vpns; i++)
        if (i != but && s->vpns[i].vrf == vrf)
            return true;
    return false;
}

static int vpns(struct scenario *s, struct file_scenario *f, struct error *err)
{
    int rc = room((void **)&s->vpns, f->n_vpns, sizeof(*s->vpns), err);
    for (uint32_t i = 0; i < f->n_vpns && !rc; i++)
        rc = one_vpn(s, &f->vpns[i], i, err);
    uint32_t next = 1;
    for (uint32_t i = 0; i < s->n_vpns && !rc; i++) {
        struct place p = {"vpns", i, s->vpns[i].name, err};
        if (s->vpns[i].vrf && vrf_taken(s, s->vpns[i].vrf, i))
            rc = place_bad(&p, "vrf", f->vpns[i].vrf, "is taken");
        while (!s->vpns[i].vrf && vrf_taken(s, next, i))
            next++;
        if (!s->vpns[i].vrf)
            s->vpns[i].vrf = next;
        if (!rc && s->vpns[i].vrf > 4095)
            rc = place_bad(&p, "name", s->vpns[i].name, "is one VPN too many");
    }
    return rc;
}

int resolve_topology(struct scenario *s, struct file_scenario *f, struct error *err)
{
    int rc = sites(s, f, err);
    rc = rc ? rc : routers(s, f, err);
    rc = rc ? rc : room((void **)&s->links, f->n_links, sizeof(*s->links), err);
    for (uint32_t i = 0; i < f->n_links && !rc; i++)
        rc = one_link(s, &f->links[i], i, err);
    rc = rc ? rc : vpns(s, f, err);
    rc = rc ? rc : room((void **)&s->hosts, f->n_hosts, sizeof(*s->hosts), err);
    for (uint32_t i = 0; i < f->n_hosts && !rc; i++)
        rc = one_host(s, &f->hosts[i], i, err);
    return rc ? rc : resolve_paths(s, f, err);
}
