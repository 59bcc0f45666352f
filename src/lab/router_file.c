#include "lab/router_file.h"

#include "wire/ip_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CELL         2048u /* bytes (lane/packet.h) */
#define NS_PER_KM    5000.0
#define MAC_FORMAT   "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_BYTES(m) (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]

struct writer {
    const struct lab_router_file *f;
    const struct plan_router *r;
    const char *name;
    struct buf *to;
    int rc;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *fmt, ...)
{
    char line[1024];
    va_list list;
    va_start(list, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, list);
    va_end(list);
    if (!w->rc)
        w->rc = buf_append(w->to, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static uint64_t cells(uint64_t bytes)
{
    return (bytes + CELL - 1) / CELL;
}

static const char *text6(char to[IP_TEXT_SIZE], const struct ip6 *a)
{
    return ip6_print(to, a);
}

static const char *machine_at(const struct plan *p, uint32_t router, uint32_t port)
{
    for (uint32_t h = 0; h < p->scenario->n_hosts; h++)
        if (p->hosts[h].router == router && p->hosts[h].port == port && p->scenario->hosts[h].machine)
            return p->scenario->hosts[h].machine;
    return NULL;
}

/* Cables of a machine are counted in the order of its hosts. */
void lab_port_device(char ret[16], const struct plan *p, uint32_t router, uint32_t port)
{
    const char *machine = machine_at(p, router, port);
    unsigned before = 0;
    for (uint32_t h = 0; h < p->scenario->n_hosts && machine; h++) {
        const struct plan_host *x = &p->hosts[h];
        const char *of = p->scenario->hosts[h].machine;
        if (!of || strcmp(of, machine) != 0)
            continue;
        if (x->router == router && x->port == port)
            break;
        bool seen = false; /* another host with the same cable */
        for (uint32_t k = 0; k < h; k++)
            seen |= p->hosts[k].router == x->router && p->hosts[k].port == x->port;
        before += !seen;
    }
    snprintf(ret, 16, "eth%u", before);
}

void lab_port_name(char ret[72], const struct plan *p, uint32_t router, uint32_t port)
{
    const struct plan_port *at = &p->routers[router].ports[port];
    const struct scenario *s = p->scenario;
    const char *machine = at->access ? machine_at(p, router, port) : NULL;
    if (machine)
        snprintf(ret, 72, "%.60s", machine);
    else if (at->access)
        snprintf(ret, 72, "%.30s-%.30s", s->routers[router].name, at->name);
    else
        snprintf(ret, 72, "%.60s", s->links[at->link].name);
}

/* Port names of a configuration have at most 31 bytes: ports are called by their number there. */
static void port_key(char ret[16], const struct writer *w, uint32_t port)
{
    snprintf(ret, 16, "%s%u", w->r->ports[port].access ? "access" : "core", port);
}

/* --- the parts --- */

static void router(struct writer *w)
{
    const struct lab_router_file *f = w->f;
    const struct scenario *s = f->plan->scenario;
    char a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    put(w, "# Made from scenario %s.\n", s->name);
    put(w, "name: %.31s\nid: %u\nloopback: \"%s\"\nlocator: \"%s\"\nblock_bits: %u\n", w->name, w->r->id,
        text6(a, &w->r->loopback), ip_prefix_print(b, &w->r->locator), PLAN_BLOCK_BITS);
    put(w, "identity: %s/%s.key\ncontrol: %s/%s.ctl\nmode: %s\n", f->folder, w->name, f->folder, w->name,
        scenario_mode_name(s->mode));
    if (f->keys) {
        put(w, "trusted:\n");
        for (uint32_t i = 0; i < s->n_routers; i++)
            put(w, "  - \"%s\"\n", f->keys[i]);
    }
    put(w, "memory:\n  huge: \"no\"\n");
    put(w, "punt:\n  device: mer0\n  routes: [\"fd00:6d65::/32\", \"fcbb:bb00::/32\"]\n");
    put(w, "lanes:\n  hello: %lld ns\n  silence: %lld ns\n", (long long)f->plan->hello_ns,
        (long long)f->plan->silence_ns);
    if (s->watchdog_ns)
        put(w, "  watchdog: %lld ns\n", (long long)s->watchdog_ns);
    if (s->control_loss > 0)
        put(w, "  control_loss: %.9g\n", s->control_loss);
}

static void core_port(struct writer *w, uint32_t number)
{
    const struct scenario *s = w->f->plan->scenario;
    const struct plan_port *p = &w->r->ports[number];
    const struct scenario_link *l = &s->links[p->link];
    char key[16];
    port_key(key, w, number);
    put(w, "  - name: %s # %s\n    kind: core\n", key, l->name);
    put(w, "    memif:\n      %s: %s/link-%u.sock\n", p->side ? "client" : "server", w->f->folder, p->link);
    put(w, "    fibre:\n      rate: %llu bit/s\n      km: %.9g\n      seed: %u\n", (unsigned long long)p->rate_bps,
        (double)p->delay_ns / NS_PER_KM, 2 * p->link + p->side + 1);
    if (l->quality.loss > 0)
        put(w, "      loss: %.9g\n", l->quality.loss);
    if (l->quality.bit_errors > 0)
        put(w, "      bit_error: %.9g\n", l->quality.bit_errors);
    if (l->quality.jitter_ns)
        put(w, "      jitter: %lld ns\n", (long long)l->quality.jitter_ns);
    put(w, "    mtu: %u\n    mac: \"" MAC_FORMAT "\"\n    peer: %u\n", p->mtu, MAC_BYTES(p->mac),
        s->routers[p->peer].id);
    put(w, "    pool_cells: %llu\n", (unsigned long long)cells(p->pool));
    if (p->tenant_pool)
        put(w, "    tenant_cells: %llu\n", (unsigned long long)cells(p->tenant_pool));
}

static void access_port(struct writer *w, uint32_t number)
{
    const struct plan_port *p = &w->r->ports[number];
    char key[16], name[72], device[16];
    uint32_t at = (uint32_t)(w->r - w->f->plan->routers);
    port_key(key, w, number);
    lab_port_name(name, w->f->plan, at, number);
    lab_port_device(device, w->f->plan, at, number);
    put(w, "  - name: %s # %s\n    kind: access\n", key, p->name);
    put(w, "    tap:\n      device: %s\n      namespace: %s-%s\n      keep: yes\n", device, w->f->run, name);
    put(w, "    rate: %llu bit/s\n    mtu: %u\n    mac: \"" MAC_FORMAT "\"\n", (unsigned long long)p->rate_bps, p->mtu,
        MAC_BYTES(p->mac));
    if (!p->pfc_priorities)
        return;
    put(w, "    pfc: [");
    for (unsigned i = 0, n = 0; i < 8; i++)
        if (p->pfc_priorities >> i & 1)
            put(w, "%s%u", n++ ? ", " : "", i);
    put(w, "]\n");
}

static void ports(struct writer *w)
{
    put(w, "\nports:\n");
    for (uint32_t i = 0; i < w->r->n_ports; i++)
        if (w->r->ports[i].access)
            access_port(w, i);
        else
            core_port(w, i);
}

/* Its keys come by BGP, and it opens ESP at a service of its own making. */
static bool sealed(const struct scenario *s, uint32_t vpn)
{
    return s->control_bgp && s->vpns[vpn].encrypted;
}

/* Of this VPN nothing at all about other routers is written down: routes and services, too, come by BGP. One with lanes has
 * the paths that they take, and so its routes, from the plan. */
static bool by_bgp(const struct scenario *s, uint32_t vpn)
{
    return sealed(s, vpn) && s->vpns[vpn].best_effort;
}

static uint32_t vpn_at(const struct scenario *s, uint32_t vrf)
{
    uint32_t i = 0;
    while (i + 1 < s->n_vpns && s->vpns[i].vrf != vrf)
        i++;
    return i;
}

bool lab_router_is_member(const struct plan *p, uint32_t router)
{
    for (uint32_t i = 0; i < p->routers[router].n_vpns; i++)
        if (sealed(p->scenario, p->routers[router].vpns[i]))
            return true;
    return false;
}

static void bgp(struct writer *w)
{
    const struct scenario *s = w->f->plan->scenario;
    uint32_t at = (uint32_t)(w->r - w->f->plan->routers), reflector = scenario_reflector(s);
    char a[IP_TEXT_SIZE];
    if (!s->control_bgp)
        return;
    put(w, "\nbgp:\n  as: 65000\n");
    if (w->r->n_vpns)
        put(w, "  peers:\n    - address: %s\n", text6(a, &w->f->plan->routers[reflector].loopback));
    if (lab_router_is_member(w->f->plan, at))
        put(w, "xsec:\n  kit: %s/%s.kit\n  state: %s/%s.xsec\n", w->f->folder, w->name, w->f->folder, w->name);
}

static void vrfs(struct writer *w)
{
    if (w->r->n_vpns)
        put(w, "\nvrfs:\n");
    for (uint32_t i = 0; i < w->r->n_vpns; i++) {
        const struct scenario_vpn *v = &w->f->plan->scenario->vpns[w->r->vpns[i]];
        put(w, "  - {name: %.31s, id: %u, tenant: %u%s}\n", v->name, v->vrf, v->tenant_id,
            sealed(w->f->plan->scenario, w->r->vpns[i]) ? ", encrypt: yes" : "");
    }
}

static void access_places(struct writer *w)
{
    char key[16], a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    if (w->r->n_access)
        put(w, "\naccess:\n");
    for (uint32_t i = 0; i < w->r->n_access; i++) {
        const struct plan_access *x = &w->r->access[i];
        const struct scenario_vpn *v = &w->f->plan->scenario->vpns[x->vpn];
        port_key(key, w, x->port);
        put(w, "  - port: %s\n    vlan: %u\n    vrf: %.31s\n    gateways: [", key, x->vlan, v->name);
        if (x->gateway4.family)
            put(w, "%s%s", ip_prefix_print(a, &x->gateway4), x->gateway6.family ? ", " : "");
        if (x->gateway6.family)
            put(w, "\"%s\"", ip_prefix_print(b, &x->gateway6));
        put(w, "]\n    classes:\n");
        for (unsigned d = 0; d < 64; d++)
            if (x->class_of_dscp[d] != SCENARIO_CONTROL)
                put(w, "      - {dscp: %u, class: %s}\n", d, scenario_class_name(x->class_of_dscp[d]));
        put(w, "    priorities: {inference: %u, parameter: %u, bulk: %u}\n", v->slice[SCENARIO_INFERENCE].priority,
            v->slice[SCENARIO_PARAMETER].priority, v->slice[SCENARIO_BULK].priority);
    }
}

static const char *vpn_of_vrf(const struct writer *w, uint32_t vrf)
{
    const struct scenario *s = w->f->plan->scenario;
    for (uint32_t i = 0; i < s->n_vpns; i++)
        if (s->vpns[i].vrf == vrf)
            return s->vpns[i].name;
    return "";
}

/* Of the router at the end of this route's path. */
static const struct ip6 *loopback_of(const struct plan *p, const struct plan_route *x)
{
    uint32_t vpn = vpn_at(p->scenario, x->vrf), i = 0;
    for (; i + 1 < p->scenario->n_routers; i++) {
        struct ip6 sid = plan_service_sid(p, i, vpn);
        if (!memcmp(&sid, &x->service_sid, sizeof(sid)))
            break;
    }
    return &p->routers[i].loopback;
}

static void routes(struct writer *w)
{
    char key[16], a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    const struct scenario *s = w->f->plan->scenario;
    bool any = false;
    for (uint32_t i = 0; i < w->r->n_routes; i++) {
        const struct plan_route *x = &w->r->routes[i];
        if (s->control_bgp && (x->kind != PLAN_ROUTE_REMOTE || by_bgp(s, vpn_at(s, x->vrf))))
            continue;
        put(w, any ? "" : "\nroutes:\n");
        any = true;
        ip_prefix_print(a, &x->prefix);
        if (x->kind == PLAN_ROUTE_LOCAL) {
            put(w, "  - {prefix: \"%s\", local: yes}\n", a);
            continue;
        }
        if (x->kind == PLAN_ROUTE_ADJACENT) {
            port_key(key, w, x->port);
            put(w, "  - {prefix: \"%s\", port: %s}\n", a, key);
            continue;
        }
        const uint32_t *path = x->path_of_class;
        put(w, "  - {vrf: %.31s, prefix: \"%s\", sid: \"%s\", path: %u, ", vpn_of_vrf(w, x->vrf), a,
            text6(b, &x->service_sid), path[SCENARIO_BULK]);
        put(w, "paths: {inference: %u, parameter: %u, bulk: %u}", path[SCENARIO_INFERENCE], path[SCENARIO_PARAMETER],
            path[SCENARIO_BULK]);
        if (x->encrypted)
            put(w, ", encrypted: yes, peer: \"%s\"", text6(a, loopback_of(w->f->plan, x)));
        put(w, "}\n");
    }
}

static void sids(struct writer *w)
{
    char key[16], a[IP_TEXT_SIZE];
    put(w, "\nsids:\n");
    for (uint32_t i = 0; i < w->r->n_sids; i++) {
        const struct plan_sid *x = &w->r->sids[i];
        if (x->kind == PLAN_SID_SERVICE && sealed(w->f->plan->scenario, vpn_at(w->f->plan->scenario, x->vrf)))
            continue; /* it makes its own, which opens ESP */
        put(w, "  - {sid: \"%s\", ", ip_prefix_print(a, &x->sid));
        if (x->kind == PLAN_SID_NODE) {
            put(w, "behaviour: uN}\n");
        } else if (x->kind == PLAN_SID_ADJACENCY) {
            port_key(key, w, x->port);
            put(w, "behaviour: uA, port: %s}\n", key);
        } else {
            put(w, "behaviour: uDT46, vrf: %.31s}\n", vpn_of_vrf(w, x->vrf));
        }
    }
}

static void paths(struct writer *w)
{
    char key[16], a[IP_TEXT_SIZE];
    if (w->r->n_paths)
        put(w, "\npaths:\n");
    for (uint32_t i = 0; i < w->r->n_paths; i++) {
        const struct plan_path *x = &w->r->paths[i];
        port_key(key, w, x->out_port);
        put(w, "  - {id: %u, port: %s, mtu: %u, sids: [", x->id, key, x->mtu);
        for (uint32_t k = 0; k < x->n_sids; k++)
            put(w, "%s\"%s\"", k ? ", " : "", text6(a, &x->sids[k]));
        put(w, "], risks: [");
        for (uint32_t k = 0; k < x->n_risks; k++)
            put(w, "%s%u", k ? ", " : "", x->risks[k]);
        put(w, "]}\n");
    }
}

/* The ingress buffer: marks first, pauses at four times that, polices behind. */
static void limits(struct writer *w, const struct plan_slice *x)
{
    put(w, "    limits: {ecn: %llu, pfc_xoff: %llu, pfc_xon: %llu, drop: %llu}\n", (unsigned long long)cells(x->ecn_at),
        (unsigned long long)cells(x->xoff_at), (unsigned long long)cells(x->xon_at ? x->xon_at : x->xoff_at / 2),
        (unsigned long long)cells(x->drop_at));
}

/* Windows are cells, as the ingress buffer's limits are. Standby lanes are opened by a fault; other modes have none. */
static void slices(struct writer *w)
{
    char a[IP_TEXT_SIZE];
    bool any = false;
    for (uint32_t i = 0; i < w->r->n_slices && w->f->plan->scenario->mode == SCENARIO_LANES; i++) {
        const struct plan_slice *x = &w->r->slices[i];
        if (x->standby || by_bgp(w->f->plan->scenario, x->vpn))
            continue;
        put(w, "%s  - tenant: %u\n    path: %u\n    class: %s\n    sid: \"%s\"\n", any ? "" : "\nslices:\n",
            w->f->plan->scenario->vpns[x->vpn].tenant_id, x->path, scenario_class_name(x->class_),
            text6(a, &x->service_sid));
        any = true;
        if (x->protect)
            put(w, "    protect: %u\n", x->protect);
        if (x->guarantee_bps)
            put(w, "    guarantee: %llu bit/s\n", (unsigned long long)x->guarantee_bps);
        if (x->cap_bps)
            put(w, "    cap: %llu bit/s\n", (unsigned long long)x->cap_bps);
        if (x->rate_bps)
            put(w, "    rate: %llu bit/s\n", (unsigned long long)x->rate_bps);
        put(w, "    window: %llu\n", (unsigned long long)cells(x->window_least));
        limits(w, x);
    }
}

int lab_router_file(struct buf *to, const struct lab_router_file *f, uint32_t at)
{
    struct writer w = {.f = f, .r = &f->plan->routers[at], .name = f->plan->scenario->routers[at].name, .to = to};
    router(&w);
    bgp(&w);
    ports(&w);
    vrfs(&w);
    access_places(&w);
    routes(&w);
    sids(&w);
    paths(&w);
    slices(&w);
    return w.rc;
}
