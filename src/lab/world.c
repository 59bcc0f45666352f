#include "lab/world.h"

#include "base/clock.h"
#include "lab/command.h"
#include "lab/router_file.h"
#include "os/file.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_WITHIN (30 * NS_PER_S)
#define REACH_WITHIN 30 /* seconds */
#define REACH_MOST   64 /* pairs of hosts that are tried */
#define STOP_GRACE   (5 * NS_PER_S)
/* Several routers share few cores here and are left aside for 10 ms now and then: links must not flap for that. */

__attribute__((format(printf, 2, 3))) static void say(const struct lab_world_options *o, const char *fmt, ...)
{
    char line[200];
    va_list list;
    if (!o->say)
        return;
    va_start(list, fmt);
    vsnprintf(line, sizeof(line), fmt, list);
    va_end(list);
    o->say(o->user, line);
}

/* --- routers --- */

/* Makes each router's key, of which the others learn the public half. */
static int make_keys(struct lab_world *w, struct error *err)
{
    const struct scenario *s = w->plan->scenario;
    int rc = 0;
    for (uint32_t i = 0; i < s->n_routers && !rc; i++) {
        char name[128], path[LAB_PATH_SIZE];
        struct buf out = {0};
        snprintf(name, sizeof(name), "%.100s.key", s->routers[i].name);
        lab_journal_path(w->journal, path, name);
        const char *argv[] = {w->program, "router", "key", path, NULL};
        rc = lab_command(argv, NULL, &out, err);
        if (!rc)
            snprintf(w->routers[i].key, sizeof(w->routers[i].key), "%.64s", buf_str(&out));
        buf_done(&out);
    }
    return rc;
}

int lab_world_write_router(struct lab_world *w, uint32_t router, struct error *err)
{
    const struct scenario *s = w->plan->scenario;
    const char **keys = calloc(s->n_routers + 1, sizeof(*keys));
    struct buf b = {0};
    char name[128], path[LAB_PATH_SIZE];
    for (uint32_t i = 0; keys && i < s->n_routers; i++)
        keys[i] = w->routers[i].key;
    const struct lab_router_file f = {
        .plan = w->plan, .folder = lab_journal_folder(w->journal), .run = lab_journal_run(w->journal), .keys = keys};
    snprintf(name, sizeof(name), "%.100s.yaml", s->routers[router].name);
    lab_journal_path(w->journal, path, name);
    int rc = !keys || lab_router_file(&b, &f, router) ? error_set(err, ENOMEM, "out of memory") : 0;
    rc = rc ? rc : file_write(path, b.data, b.len, 0644, err);
    buf_done(&b);
    free(keys);
    return rc;
}

/* The operator's CA, and the one command that makes a router a member of encrypted VPNs. */
static int enrol_members(struct lab_world *w, struct error *err)
{
    char ca[LAB_PATH_SIZE], path[LAB_PATH_SIZE], name[128];
    bool any = false;
    int rc = 0;
    lab_journal_path(w->journal, ca, "ca");
    for (uint32_t i = 0; i < w->plan->scenario->n_routers && !rc; i++) {
        if (!lab_router_is_member(w->plan, i))
            continue;
        const char *init[] = {w->program, "xsec", "ca", "init", ca, NULL};
        rc = any ? 0 : lab_command(init, NULL, NULL, err);
        any = true;
        snprintf(name, sizeof(name), "%.100s.yaml", w->plan->scenario->routers[i].name);
        lab_journal_path(w->journal, path, name);
        const char *enrol[] = {w->program, "xsec", "enrol", path, "--ca", ca, NULL};
        rc = rc ? rc : lab_command(enrol, NULL, NULL, err);
    }
    return rc;
}

/* In the namespace of the router of that role, at its loopback: every loopback of this network is a client. */
static int start_reflector(struct lab_world *w, struct error *err)
{
    uint32_t at = scenario_reflector(w->plan->scenario);
    char loopback[IP_TEXT_SIZE], socket[LAB_PATH_SIZE], clients[IP_TEXT_SIZE + 8];
    if (!w->plan->scenario->control_bgp)
        return 0;
    struct ip6 net = w->plan->routers[at].loopback;
    ip6_print(loopback, &net);
    memset(net.b + 4, 0, 12);
    ip6_print(clients, &net);
    snprintf(clients + strlen(clients), 8, "/32");
    lab_journal_path(w->journal, socket, "reflector.sock");
    const char *argv[] = {w->program, "bgp", "reflect", "--as", "65000", "--id", "10.0.0.99", "--listen", loopback,
        "--control", socket, clients, NULL};
    return lab_process_start(&w->reflector, w->journal, w->routers[at].ns.name, "reflector", argv, err);
}

static int all_keys_and_files(struct lab_world *w, struct error *err)
{
    int rc = make_keys(w, err);
    for (uint32_t i = 0; i < w->plan->scenario->n_routers && !rc; i++)
        rc = lab_world_write_router(w, i, err);
    return rc ? rc : enrol_members(w, err);
}

int lab_world_start_router(struct lab_world *w, uint32_t router, struct error *err)
{
    struct lab_router *r = &w->routers[router];
    const char *name = w->plan->scenario->routers[router].name;
    char as[128], file[128], path[LAB_PATH_SIZE];
    snprintf(file, sizeof(file), "%.100s.yaml", name);
    lab_journal_path(w->journal, path, file);
    snprintf(as, sizeof(as), "router-%.100s", name);
    r->killed = false;
    const char *argv[] = {w->program, "router", path, NULL};
    return lab_process_start(&r->process, w->journal, r->ns.name, as, argv, err);
}

static int start_routers(struct lab_world *w, struct error *err)
{
    uint32_t n = w->plan->scenario->n_routers;
    int64_t until = clock_now_ns() + START_WITHIN;
    int rc = 0;
    for (uint32_t i = 0; i < n && !rc; i++)
        rc = lab_world_start_router(w, i, err);
    for (uint32_t i = 0; i < n && !rc; i++)
        rc = lab_process_ready(&w->routers[i].process, "running as router", until, w->interrupted, err);
    return rc;
}

int lab_world_check(struct lab_world *w, struct error *err)
{
    for (uint32_t i = 0; i < w->plan->scenario->n_routers; i++) {
        struct lab_router *r = &w->routers[i];
        if (lab_process_check(&r->process) || r->killed)
            continue;
        char what[600];
        lab_process_describe(&r->process, what, sizeof(what));
        return error_set(err, ECHILD, "router %s %s", w->plan->scenario->routers[i].name, what);
    }
    return 0;
}

/* --- namespaces --- */

/* Is there a namespace of this name already? */
static bool of_machine(const struct lab_world *w, const char *name, struct lab_ns *ret)
{
    char full[sizeof(ret->name)];
    snprintf(full, sizeof(full), "%s-%.64s", lab_journal_run(w->journal), name);
    for (uint32_t i = 0; i + 1 < w->n_places; i++)
        if (!strcmp(w->places[i].ns.name, full)) {
            *ret = w->places[i].ns;
            return true;
        }
    return false;
}

static int make_namespaces(struct lab_world *w, struct error *err)
{
    const struct plan *p = w->plan;
    int rc = 0;
    for (uint32_t i = 0; i < p->scenario->n_routers && !rc; i++) {
        struct lab_router *r = &w->routers[i];
        char name[128];
        rc = lab_ns_create(&r->ns, w->journal, p->scenario->routers[i].name, err);
        snprintf(name, sizeof(name), "%.100s.ctl", p->scenario->routers[i].name);
        lab_journal_path(w->journal, r->socket, name);
        for (uint32_t k = 0; k < p->routers[i].n_ports && !rc; k++) {
            if (!p->routers[i].ports[k].access)
                continue;
            struct lab_place *place = &w->places[w->n_places++];
            char port[72];
            *place = (struct lab_place){.router = i, .port = k};
            lab_port_name(port, p, i, k);
            lab_port_device(place->device, p, i, k);
            if (of_machine(w, port, &place->ns))
                continue;
            rc = lab_ns_create(&place->ns, w->journal, port, err);
            /* before its device appears: addresses are good at once */
            rc = rc ? rc : lab_ns_sysctl(&place->ns, "net/ipv6/conf/default/accept_dad", "0", err);
        }
    }
    for (uint32_t h = 0; h < p->scenario->n_hosts; h++)
        for (uint32_t k = 0; k < w->n_places; k++)
            if (w->places[k].router == p->hosts[h].router && w->places[k].port == p->hosts[h].port)
                w->place_of_host[h] = k;
    return rc;
}

const char *lab_world_ns(const struct lab_world *w, uint32_t host)
{
    return w->places[w->place_of_host[host]].ns.name;
}

/* --- hosts --- */

static int append_address(
    struct buf *b, const struct ip_prefix *address, const struct ip_addr *gateway, const char *device, unsigned table)
{ /* table 0: the only cable; otherwise its way is for what comes from this address */
    char a[IP_TEXT_SIZE], g[IP_TEXT_SIZE];
    if (!address->family)
        return 0;
    bool v6 = address->family == IP_V6;
    const char *all = v6 ? "::/0" : "0.0.0.0/0";
    int rc = buf_printf(b, "address replace %s dev %s%s\n", ip_prefix_print(a, address), device, v6 ? " nodad" : "");
    rc = rc ? rc : buf_printf(b, "route replace %s via %s dev %s", all, ip_addr_print(g, gateway), device);
    rc = rc || !table ? rc : buf_printf(b, " table %u", table);
    return rc ? rc : buf_append(b, "\n", 1);
}

/* What a machine begins itself finds its cable by where it goes: the other subnets of the cable's VPN. */
static int append_routes(struct buf *b, const struct lab_world *w, uint32_t host, const char *device)
{
    const struct plan_host *h = &w->plan->hosts[host];
    const struct plan_router *r = &w->plan->routers[h->router];
    uint32_t vrf = w->plan->scenario->vpns[w->plan->scenario->hosts[host].vpn].vrf;
    int rc = 0;
    for (uint32_t i = 0; i < r->n_routes && !rc; i++) {
        const struct plan_route *x = &r->routes[i];
        const struct ip_addr *gateway = x->prefix.family == IP_V6 ? &h->gateway6 : &h->gateway4;
        char a[IP_TEXT_SIZE], g[IP_TEXT_SIZE];
        if (x->vrf == vrf && x->kind == PLAN_ROUTE_REMOTE && gateway->family)
            rc = buf_printf(b, "route replace %s via %s dev %s\n", ip_prefix_print(a, &x->prefix),
                ip_addr_print(g, gateway), device);
    }
    return rc;
}

/* A machine with cables into several VPNs, whose addresses may be the same there: what it sends leaves by the cable whose
 * address it comes from. */
static int rule(const struct lab_ns *ns, const struct ip_prefix *address, unsigned table, struct error *err)
{
    char a[IP_TEXT_SIZE], t[16];
    if (!table || !address->family)
        return 0;
    ip_addr_print(a, &(struct ip_addr){address->family, address->a});
    snprintf(t, sizeof(t), "%u", table);
    const char *family = address->family == IP_V6 ? "-6" : "-4";
    return lab_ip(err, "-n", ns->name, family, "rule", "add", "from", a, "lookup", t, NULL);
}

/* One after another: hosts that share a port share its device, unless a VLAN keeps them apart. */
static int configure_host(struct lab_world *w, uint32_t host, struct error *err)
{
    const struct plan_host *h = &w->plan->hosts[host];
    const struct scenario_host *in = &w->plan->scenario->hosts[host];
    const struct lab_ns *ns = &w->places[w->place_of_host[host]].ns;
    struct buf b = {0};
    const char *cable = w->places[w->place_of_host[host]].device;
    unsigned table = in->machine ? host + 1 : 0;
    char device[16];
    const uint8_t *m = h->mac;
    snprintf(device, sizeof(device), "%s", cable);
    if (h->vlan) {
        char line[100];
        snprintf(device, sizeof(device), "vlan%u", h->vlan);
        snprintf(line, sizeof(line), "link set %s up\n", cable);
        int up = lab_ns_ip(ns, line, err);
        snprintf(line, sizeof(line), "link add link %s name %s type vlan id %u\n", cable, device, h->vlan);
        if (up || lab_ns_ip(ns, line, NULL)) {
            w->bare[host] = true;
            return 0;
        }
    }
    int rc = buf_printf(&b, "link set %s address %02x:%02x:%02x:%02x:%02x:%02x mtu %u up\n", device, m[0], m[1], m[2],
        m[3], m[4], m[5], in->mtu);
    rc = rc ? rc : append_address(&b, &h->address4, &h->gateway4, device, table);
    rc = rc ? rc : append_address(&b, &h->address6, &h->gateway6, device, table);
    rc = rc || !table ? rc : append_routes(&b, w, host, device);
    rc = rc ? error_set(err, ENOMEM, "out of memory") : lab_ns_ip(ns, buf_str(&b), err);
    buf_done(&b);
    rc = rc ? rc : rule(ns, &h->address4, table, err);
    rc = rc ? rc : rule(ns, &h->address6, table, err);
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_ecn", in->ecn ? "1" : "0", err);
    /* Windows for long links. */
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_rmem", "4096 262144 134217728", err);
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_wmem", "4096 262144 134217728", err);
    return rc ? error_prefix(err, rc, "host %s", in->name) : 0;
}

/* Pair i of hosts that will talk: of a flow, or of a program and the one that it needs. */
static bool pair_of(const struct lab_world *w, uint32_t i, uint32_t *ret_from, uint32_t *ret_to)
{
    const struct scenario *s = w->plan->scenario;
    if (i < w->plan->n_flows) {
        *ret_from = w->plan->flows[i].from;
        *ret_to = w->plan->flows[i].to;
        return true;
    }
    const struct scenario_program *p = &s->programs[i - w->plan->n_flows];
    uint32_t other = p->cloud != SCENARIO_NONE ? p->cloud : p->edge != SCENARIO_NONE ? p->edge : p->to;
    if (other == SCENARIO_NONE)
        return false;
    *ret_from = p->host;
    *ret_to = scenario_reached_at(s, s->programs[other].host, s->hosts[p->host].vpn);
    return lab_world_ns(w, *ret_from) != lab_world_ns(w, *ret_to);
}

/* A host reaches another as soon as one reply comes; pings of all pairs run beside each other. */
static int wait_until_reached(struct lab_world *w, struct error *err)
{
    struct lab_process pings[REACH_MOST];
    uint32_t n = 0, from[REACH_MOST], to[REACH_MOST];
    int rc = 0;
    for (uint32_t i = 0; i < w->plan->n_flows + w->plan->scenario->n_programs && n < REACH_MOST && !rc; i++) {
        uint32_t a_host = 0, b_host = 0;
        bool known = !pair_of(w, i, &a_host, &b_host) || w->bare[a_host] || w->bare[b_host];
        for (uint32_t k = 0; k < n; k++)
            known |= from[k] == a_host && to[k] == b_host;
        if (known)
            continue;
        const struct plan_host *h = &w->plan->hosts[b_host];
        const struct ip_prefix *p = h->address4.family ? &h->address4 : &h->address6;
        struct ip_addr a = {p->family, p->a};
        char text[IP_TEXT_SIZE], name[32], seconds[16];
        snprintf(name, sizeof(name), "reach-%u", n);
        snprintf(seconds, sizeof(seconds), "%d", REACH_WITHIN);
        from[n] = a_host, to[n] = b_host;
        const char *argv[] = {"timeout", seconds, "sh",
            "-c", /* one that is told "unreachable" tries again: BGP needs a while */
            "until ping -n -q -c 1 -W 1 $0 >/dev/null 2>&1; do sleep 0.1; done", ip_addr_print(text, &a), NULL};
        rc = lab_process_start(&pings[n], w->journal, lab_world_ns(w, a_host), name, argv, err);
        n += !rc;
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        lab_process_wait(&pings[i], clock_now_ns() + (REACH_WITHIN + 5) * NS_PER_S, w->interrupted);
        if (*w->interrupted)
            rc = error_set(err, EINTR, "interrupted");
        else if (pings[i].running || pings[i].status)
            rc = error_set(err, EHOSTUNREACH, "host %s does not reach %s within %d s",
                w->plan->scenario->hosts[from[i]].name, w->plan->scenario->hosts[to[i]].name, REACH_WITHIN);
    }
    return rc;
}

/* --- the whole --- */

static int build(struct lab_world *w, const struct lab_world_options *o, struct error *err)
{
    const struct scenario *s = w->plan->scenario;
    int rc = make_namespaces(w, err);
    rc = rc ? rc : all_keys_and_files(w, err);
    if (rc)
        return rc;
    say(o, "run %s in %s: %u routers, %u access ports", lab_journal_run(w->journal), lab_journal_folder(w->journal),
        s->n_routers, w->n_places);
    rc = start_routers(w, err);
    rc = rc ? rc : start_reflector(w, err);
    for (uint32_t h = 0; h < s->n_hosts && !rc; h++)
        rc = configure_host(w, h, err);
    if (rc)
        return rc;
    say(o, "routers run, hosts have addresses; waiting until they reach each other");
    return wait_until_reached(w, err);
}

int lab_world_create(
    struct lab_world **ret, const struct plan *p, const struct lab_world_options *o, bool keep, struct error *err)
{
    const struct scenario *s = p->scenario;
    uint32_t ports = 0;
    for (uint32_t i = 0; i < s->n_routers; i++)
        ports += p->routers[i].n_ports;
    struct lab_world *w = calloc(1, sizeof(*w));
    if (!w)
        return error_set(err, ENOMEM, "out of memory");
    w->plan = p;
    w->program = o->program;
    w->interrupted = o->interrupted;
    char file[LAB_PATH_SIZE];
    snprintf(file, sizeof(file), "%s", o->scenario_file);
    if (!realpath(dirname(file), w->scenario_folder))
        w->scenario_folder[0] = 0;
    w->routers = calloc(s->n_routers + 1, sizeof(*w->routers));
    w->places = calloc(ports + 1, sizeof(*w->places));
    w->place_of_host = calloc(s->n_hosts + 1, sizeof(*w->place_of_host));
    w->bare = calloc(s->n_hosts + 1, sizeof(*w->bare));
    int rc = w->routers && w->places && w->place_of_host && w->bare ? 0 : error_set(err, ENOMEM, "out of memory");
    rc = rc ? rc : lab_journal_create(&w->journal, err);
    rc = rc ? rc : build(w, o, err);
    if (rc) {
        lab_world_free(w, keep);
        return rc;
    }
    *ret = w;
    return 0;
}

void lab_world_free(struct lab_world *w, bool keep)
{
    if (!w)
        return;
    uint32_t n = w->routers ? w->plan->scenario->n_routers : 0;
    struct lab_process **all = calloc(n + 1, sizeof(*all));
    for (uint32_t i = 0; i < n && all; i++)
        all[i] = &w->routers[i].process;
    struct lab_process *reflector = &w->reflector;
    if (w->reflector.pid)
        lab_process_stop(&reflector, 1, SIGTERM, STOP_GRACE);
    if (all)
        lab_process_stop(all, n, SIGTERM, STOP_GRACE);
    free(all);
    lab_journal_close(w->journal, keep);
    free(w->routers);
    free(w->places);
    free(w->place_of_host);
    free(w->bare);
    free(w);
}
