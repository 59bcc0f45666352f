#include "lab/world.h"

#include "base/clock.h"
#include "lab/command.h"
#include "lab/router_file.h"
#include "os/file.h"
#include "wire/ip_text.h"

#include <errno.h>
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
static int make_keys(struct lab_world *w, char (*keys)[72], struct error *err)
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
            snprintf(keys[i], sizeof(keys[i]), "%.64s", buf_str(&out));
        buf_done(&out);
    }
    return rc;
}

static int write_files(struct lab_world *w, const char *const *keys, struct error *err)
{
    const struct scenario *s = w->plan->scenario;
    const struct lab_router_file f = {
        .plan = w->plan, .folder = lab_journal_folder(w->journal), .run = lab_journal_run(w->journal), .keys = keys};
    int rc = 0;
    for (uint32_t i = 0; i < s->n_routers && !rc; i++) {
        struct buf b = {0};
        char name[128], path[LAB_PATH_SIZE];
        snprintf(name, sizeof(name), "%.100s.yaml", s->routers[i].name);
        lab_journal_path(w->journal, path, name);
        rc = lab_router_file(&b, &f, i) ? error_set(err, ENOMEM, "out of memory") : 0;
        rc = rc ? rc : file_write(path, b.data, b.len, 0644, err);
        buf_done(&b);
    }
    return rc;
}

static int all_keys_and_files(struct lab_world *w, struct error *err)
{
    uint32_t n = w->plan->scenario->n_routers;
    char(*keys)[72] = calloc(n + 1, sizeof(*keys));
    const char **list = calloc(n + 1, sizeof(*list));
    int rc = keys && list ? make_keys(w, keys, err) : error_set(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < n && !rc; i++)
        list[i] = keys[i];
    rc = rc ? rc : write_files(w, list, err);
    free(list);
    free(keys);
    return rc;
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
    struct buf *b, const struct ip_prefix *address, const struct ip_addr *gateway, const char *device)
{
    char a[IP_TEXT_SIZE], g[IP_TEXT_SIZE];
    if (!address->family)
        return 0;
    bool v6 = address->family == IP_V6;
    return buf_printf(b, "address replace %s dev %s%s\nroute replace %s via %s dev %s\n", ip_prefix_print(a, address),
        device, v6 ? " nodad" : "", v6 ? "::/0" : "0.0.0.0/0", ip_addr_print(g, gateway), device);
}

/* One after another: hosts that share a port share its device, unless a VLAN keeps them apart. */
static int configure_host(struct lab_world *w, uint32_t host, struct error *err)
{
    const struct plan_host *h = &w->plan->hosts[host];
    const struct scenario_host *in = &w->plan->scenario->hosts[host];
    const struct lab_ns *ns = &w->places[w->place_of_host[host]].ns;
    struct buf b = {0};
    char device[16] = LAB_DEVICE;
    const uint8_t *m = h->mac;
    if (h->vlan) {
        char line[100];
        snprintf(device, sizeof(device), "vlan%u", h->vlan);
        snprintf(line, sizeof(line), "link add link " LAB_DEVICE " name %s type vlan id %u\n", device, h->vlan);
        if (lab_ns_ip(ns, "link set " LAB_DEVICE " up\n", err) || lab_ns_ip(ns, line, NULL)) {
            w->bare[host] = true;
            return 0;
        }
    }
    int rc = buf_printf(&b, "link set %s address %02x:%02x:%02x:%02x:%02x:%02x mtu %u up\n", device, m[0], m[1], m[2],
        m[3], m[4], m[5], in->mtu);
    rc = rc ? rc : append_address(&b, &h->address4, &h->gateway4, device);
    rc = rc ? rc : append_address(&b, &h->address6, &h->gateway6, device);
    rc = rc ? error_set(err, ENOMEM, "out of memory") : lab_ns_ip(ns, buf_str(&b), err);
    buf_done(&b);
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_ecn", in->ecn ? "1" : "0", err);
    /* Windows for long links. */
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_rmem", "4096 262144 134217728", err);
    rc = rc ? rc : lab_ns_sysctl(ns, "net/ipv4/tcp_wmem", "4096 262144 134217728", err);
    return rc ? error_prefix(err, rc, "host %s", in->name) : 0;
}

/* A host reaches another as soon as one reply comes; pings of all pairs run beside each other. */
static int wait_until_reached(struct lab_world *w, struct error *err)
{
    struct lab_process pings[REACH_MOST];
    uint32_t n = 0, from[REACH_MOST], to[REACH_MOST];
    int rc = 0;
    for (uint32_t i = 0; i < w->plan->n_flows && n < REACH_MOST && !rc; i++) {
        const struct plan_flow *f = &w->plan->flows[i];
        bool known = w->bare[f->from] || w->bare[f->to];
        for (uint32_t k = 0; k < n; k++)
            known |= from[k] == f->from && to[k] == f->to;
        if (known)
            continue;
        const struct plan_host *h = &w->plan->hosts[f->to];
        const struct ip_prefix *p = h->address4.family ? &h->address4 : &h->address6;
        struct ip_addr a = {p->family, p->a};
        char text[IP_TEXT_SIZE], name[32], seconds[16];
        snprintf(name, sizeof(name), "reach-%u", n);
        snprintf(seconds, sizeof(seconds), "%d", REACH_WITHIN);
        from[n] = f->from, to[n] = f->to;
        const char *argv[] = {"ping", "-n", "-i", "0.1", "-c", "1", "-w", seconds, ip_addr_print(text, &a), NULL};
        rc = lab_process_start(&pings[n], w->journal, lab_world_ns(w, f->from), name, argv, err);
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
