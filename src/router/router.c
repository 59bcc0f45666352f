#include "router/router_inner.h"

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "http/http.h"
#include "router/apply.h"
#include "router/ctl.h"
#include "router/device_ethdev.h"
#include "router/device_tap.h"
#include "router/eal.h"
#include "router/exporter.h"
#include "router/identity.h"
#include "router/metrics.h"
#include "router/rights.h"
#include "router/router_bgp.h"
#include "router/router_customers.h"
#include "router/router_keys.h"
#include "wire/icmp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* --- what the core asks of us (on the worker) ---------------------------------------------------------------- */

static struct rte_mbuf *core_alloc(void *user)
{
    return pool_alloc(&((struct router *)user)->pool);
}

static void core_free(void *user, struct rte_mbuf *m)
{
    pool_free(m);
}

static void core_punt(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    struct router *r = user;
    struct router_echoes *e = &r->echoes;
    if (probe_take(&r->probes, vrf, m, clock_now_ns())) {
        pool_free(m);
    } else if (vrf == 0 && r->punt.fd >= 0) {
        punt_write(&r->punt, m);
    } else if (customers_punt(r, vrf, m)) {
        return;
    } else if (e->n < ROUTER_ECHOES && icmp_echo_reply(packet_at(m, 0), m->data_len)) {
        e->waiting[e->n].m = m;
        e->waiting[e->n++].vrf = vrf;
    } else {
        e->dropped++;
        pool_free(m);
    }
}

static void answer_echoes(void *user, int64_t now)
{
    struct router *r = user;
    struct router_echoes *e = &r->echoes;
    for (unsigned i = 0; i < e->n; i++)
        forward_inject(r->forward, e->waiting[i].vrf, e->waiting[i].m, now);
    e->answered += e->n;
    e->n = 0;
}

static uint64_t core_random(void *user)
{
    uint64_t v;
    while (getrandom(&v, sizeof(v), 0) != sizeof(v))
        ;
    return v;
}

static void core_heard(void *user, const struct ip6 *peer, uint32_t spi)
{
    router_keys_heard(((struct router *)user)->keys, peer, spi);
}

static bool read_punt(void *user, int64_t now)
{
    struct router *r = user;
    bool more = r->punt.fd >= 0 && punt_read(&r->punt, now);
    return customers_read(r, now) || more;
}

/* --- start --------------------------------------------------------------------------------------------------- */

static int start_memory(struct router *r, struct error *err)
{
    const char *pci[LANE_PORTS_MOST];
    char lcores[32];
    struct eal_config e = {.name = r->config.name, .huge = (enum eal_huge)r->config.memory.huge, .pci = pci};
    uint32_t room = router_config_frame(&r->config) + 128; /* an ESP trailer fits behind */
    e.memory_mib = (uint32_t)(pool_bytes(r->config.memory.packets, room) >> 20) + 64;
    for (unsigned i = 0; i < r->config.n_ports; i++)
        if (r->config.ports[i].has_pci && !strchr(r->config.ports[i].pci.address, ','))
            pci[e.n_pci++] = r->config.ports[i].pci.address;
    if (r->config.worker.core >= 0) {
        snprintf(lcores, sizeof(lcores), "0@%d", r->config.worker.core);
        e.lcores = lcores;
    }
    int rc = eal_start(&e, &r->huge, err);
    return rc ? rc : pool_init(&r->pool, r->config.memory.packets, room, err);
}

static int start_core(struct router *r, struct error *err)
{
    struct forward_config f;
    struct forward_ops ops = {.user = r,
        .alloc = core_alloc,
        .free = core_free,
        .punt = core_punt,
        .lane_event = router_event,
        .random = core_random,
        .sa_heard = core_heard};
    apply_core_config(&r->config, r->seed, r->wall_minus_now, &f);
    int rc = forward_create(&r->forward, &f, &ops, err);
    explicit_bzero(&f, sizeof(f));
    for (unsigned i = 0; !rc && i < r->config.n_ports; i++) {
        struct port_config p;
        apply_port_config(&r->config, i, r->ports[i].mac, &p);
        if ((rc = forward_port_add(r->forward, (uint16_t)i, &p, err)) != 0)
            error_prefix(err, rc, "port %s", r->config.ports[i].name);
    }
    return rc ? rc : apply_tables(r->forward, NULL, &r->config, clock_now_ns(), err);
}

/* What the file says, and the ways to BGP's other ends. */
static unsigned punt_routes(const struct router *r, struct ip_prefix ret[129])
{
    unsigned n = r->config.punt.n_routes;
    for (unsigned i = 0; i < n; i++)
        ret[i] = r->config.punt.routes[i];
    for (unsigned i = 0; r->config.has_bgp && i < r->config.bgp.n_peers; i++)
        if (r->config.bgp.peers[i].address.family == IP_V6)
            ret[n++] = (struct ip_prefix){IP_V6, 128, r->config.bgp.peers[i].address.a};
    if (r->config.has_bgp && r->config.bgp.links)
        ret[n++] = (struct ip_prefix){IP_V6, 64, {{0xfe, 0x80}}};
    return n;
}

static int start_punt(struct router *r, struct error *err)
{
    const struct config_punt *c = &r->config.punt;
    struct ip_addr addresses[18] = {{.family = IP_V6, .a = r->config.loopback}};
    struct ip_prefix routes[129];
    unsigned n = 1 + c->n_addresses;
    if (!r->config.has_punt)
        return 0;
    memcpy(addresses + 1, c->addresses, c->n_addresses * sizeof(*addresses));
    if (r->config.has_bgp && r->config.bgp.links)
        addresses[n++] = (struct ip_addr){.family = IP_V6, .a = pe_link_address(r->config.id)};
    return punt_open(&r->punt,
        &(struct punt_config){.device = c->device,
            .mtu = c->mtu,
            .addresses = addresses,
            .n_addresses = n,
            .routes = routes,
            .n_routes = punt_routes(r, routes)},
        &r->pool, err);
}

static int start_loop(struct router *r, struct error *err)
{
    int rc = loop_create(&r->loop,
        &(struct loop_config){.forward = r->forward,
            .pool = &r->pool,
            .spin_ns = r->config.worker.spin_ns,
            .core = r->config.worker.core,
            .nice = r->config.worker.nice,
            .extra_fd = r->punt.fd,
            .extra = read_punt,
            .extra_user = r,
            .after = answer_echoes,
            .after_user = r},
        err);
    for (unsigned i = 0; !rc && i < r->config.n_ports; i++)
        loop_device_set(r->loop, (uint16_t)i, r->ports[i].device);
    for (unsigned i = 0; !rc && i < r->n_customers; i++)
        if ((rc = loop_watch_extra(r->loop, r->customers[i].punt.fd)) != 0)
            error_set(err, -rc, "%s: the worker cannot watch it: %s", r->customers[i].device, strerror(-rc));
    return rc;
}

static int start_identity(struct router *r, struct error *err)
{
    bool made;
    char hex[65];
    int rc = identity_load(r->config.identity, r->seed, &made, err);
    if (!rc)
        rc = identity_public(r->seed, r->public, err);
    if (rc)
        return rc;
    hex_put(hex, r->public, 32);
    log_info("%s the key %s", made ? "made" : "its key is", hex);
    return 0;
}

static void nothing(void *user, int64_t now) {}

static int start_parts(struct router *r, struct error *err)
{
    int rc = rights_user(r->config.user, &r->uid, &r->gid, err);
    if (!rc)
        rc = start_identity(r, err);
    if (!rc)
        rc = start_memory(r, err);
    if (!rc)
        rc = router_events_open(r, err);
    if (!rc)
        rc = router_ports_open(r, err);
    if (!rc)
        rc = start_core(r, err);
    if (!rc)
        rc = start_punt(r, err);
    r->punt.forward = r->probes.forward = r->forward;
    if (!rc)
        rc = customers_open(r, err);
    if (!rc)
        rc = start_loop(r, err);
    if (!rc && r->config.has_bgp)
        rc = router_bgp_open(&r->bgp, r, err);
    if (!rc && r->config.has_xsec)
        rc = router_keys_open(&r->keys, r, err);
    if (!rc && r->config.control[0])
        rc = ctl_open(&r->control, r, r->config.control, r->uid, err);
    if (!rc && r->config.n_metrics)
        rc = router_metrics_start(&r->metrics, r, err);
    if (!rc && r->config.ipfix.n_collectors)
        rc = exporter_open(&r->exporter, r, err);
    explicit_bzero(r->seed, sizeof(r->seed));
    if (!rc)
        rc = loop_start(r->loop, err);
    if (rc || r->options.keep_rights)
        return rc;
    /* The worker's first call comes after what DPDK does for a new thread, which looks into /sys. */
    loop_call(r->loop, nothing, NULL);
    return rights_drop(r->uid, r->gid, err);
}

int router_start(
    struct router **ret, struct router_config *cfg, const struct router_options *options, struct error *err)
{
    struct router *r = calloc(1, sizeof(*r));
    struct timespec wall;
    if (!r) {
        router_config_free(cfg);
        return error_set(err, ENOMEM, "no memory");
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    r->config = *cfg;
    memset(cfg, 0, sizeof(*cfg));
    r->options = *options;
    pthread_mutex_init(&r->config_lock, NULL);
    r->started_ns = clock_now_ns();
    r->wall_minus_now = (int64_t)wall.tv_sec * NS_PER_S + wall.tv_nsec - r->started_ns;
    r->punt.fd = r->events.wake = -1;
    r->probes = (struct probe_set){.pool = &r->pool, .identifier = (uint16_t)core_random(NULL)};
    log_setup((enum log_level)r->config.log.level, r->config.log.json, r->config.name);
    int rc = reactor_init(&r->reactor);
    rc = rc ? error_set(err, -rc, "no epoll: %s", strerror(-rc)) : start_parts(r, err);
    if (rc) {
        router_free(r);
        return rc;
    }
    log_info("running as router %u with %u ports, %u packets%s", r->config.id, r->config.n_ports,
        r->config.memory.packets, r->huge ? " on hugepages" : "");
    for (unsigned i = 0; !r->config.has_xsec && i < r->config.n_vrfs; i++)
        if (r->config.vrfs[i].encrypt)
            log_warn("VRF %s is encrypted and there is no xsec: nothing leaves it", r->config.vrfs[i].name);
    if (!r->config.n_trusted)
        log_warn("trusted is empty: any router may be a neighbour");
    *ret = r;
    return 0;
}

/* --- reload -------------------------------------------------------------------------------------------------- */

struct reload {
    struct router *router;
    struct router_config *to;
    struct error *err;
    int rc;
};

static void apply_reload(void *user, int64_t now)
{
    struct reload *l = user;
    l->rc = apply_tables(l->router->forward, &l->router->config, l->to, now, l->err);
}

int router_reload(struct router *r, struct error *err)
{
    struct router_config to;
    int rc = router_config_load(&to, r->options.path, err);
    if (rc)
        return rc;
    rc = apply_may_change(&r->config, &to, err);
    rc = rc ? rc : customers_may_change(r, &to, err);
    struct reload l = {r, &to, err, 0};
    if (!rc) {
        loop_call(r->loop, apply_reload, &l);
        rc = l.rc;
    }
    if (rc) {
        router_config_free(&to);
        return error_prefix(err, rc, "%s", r->options.path);
    }
    struct router_config was = r->config;
    pthread_mutex_lock(&r->config_lock);
    r->config = to;
    pthread_mutex_unlock(&r->config_lock);
    router_bgp_reload(r->bgp, &r->config);
    router_keys_reload(r->keys, &r->config);
    router_config_free(&was);
    log_setup((enum log_level)r->config.log.level, r->config.log.json, r->config.name);
    log_info("the changed configuration is in effect");
    return 0;
}

/* --- run ----------------------------------------------------------------------------------------------------- */

int router_run(struct router *r, const volatile int *stop, volatile int *reload, struct error *err)
{
    struct error e;
    collect_start(&r->collect, r);
    while (!r->draining || !router_drained(r, clock_now_ns())) {
        reactor_run(&r->reactor, clock_now_ns() + (r->draining ? 5 : 100) * NS_PER_MS);
        if (*reload) {
            *reload = 0;
            if (router_reload(r, &e))
                log_error("nothing has changed: %s", e.text);
        }
        if (*stop)
            router_drain(r);
        router_ports_look(r);
    }
    return 0;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    http_server_stop(r->metrics, NS_PER_S);
    exporter_close(r->exporter);
    collect_stop(&r->collect);
    ctl_close(r->control);
    router_keys_close(r->keys);
    router_bgp_close(r->bgp);
    if (r->loop)
        loop_stop(r->loop);
    router_ports_close(r);
    router_events_close(r);
    loop_free(r->loop);
    forward_free(r->forward);
    punt_close(&r->punt);
    customers_close(r);
    if (r->pool.mempool)
        pool_done(&r->pool);
    reactor_done(&r->reactor);
    router_config_free(&r->config);
    free(r);
}
