/* The devices of ports: opened once, at the start, with the rights that this takes. */
#include "router/router_inner.h"

#include "base/log.h"
#include "router/apply.h"
#include "router/device_ethdev.h"
#include "router/device_fibre.h"
#include "router/device_memif.h"
#include "router/device_tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memif: connections come and go on the control thread, rings are used on the worker ----------------------- */

struct rings_call {
    struct router_port *port;
    const struct memif_rings *rings;
};

static void attach(void *user, int64_t now)
{
    struct rings_call *c = user;
    device_memif_attach(c->port->inner, c->rings);
    loop_watch(c->port->router->loop, c->port->index);
}

static void detach(void *user, int64_t now)
{
    struct router_port *p = user;
    loop_unwatch(p->router->loop, p->index);
    device_memif_detach(p->inner);
}

static void memif_connected(void *user, struct memif_rings *rings)
{
    struct router_port *p = user;
    log_info("port %s: memif connected", p->router->config.ports[p->index].name);
    loop_call(p->router->loop, attach, &(struct rings_call){p, rings});
}

static void memif_disconnected(void *user, const char *why)
{
    struct router_port *p = user;
    log_warn("port %s: memif disconnected: %s", p->router->config.ports[p->index].name, why);
    loop_call(p->router->loop, detach, p);
}

static int open_memif(struct router_port *p, const struct config_port *c, struct error *err)
{
    struct router *r = p->router;
    bool server = c->memif.server[0];
    struct memif_config m = {.server = server,
        .id = c->memif.id,
        .buffer = (c->mtu + ETHER_SIZE + VLAN_SIZE + 63) / 64 * 64,
        .owner = r->uid};
    if (m.buffer < 2048)
        m.buffer = 2048;
    while (1u << m.log2 < c->memif.ring)
        m.log2++;
    memcpy(m.path, server ? c->memif.server : c->memif.client, sizeof(m.path));
    memcpy(m.secret, c->memif.secret, sizeof(m.secret));
    snprintf(m.name, sizeof(m.name), "%s", r->config.name);
    int rc = device_memif_create(&p->inner, c->name, &r->pool, err);
    if (rc)
        return rc;
    return memif_open(&p->memif, &r->reactor, &m, &(struct memif_hooks){p, memif_connected, memif_disconnected}, err);
}

/* --- the others ---------------------------------------------------------------------------------------------- */

static int open_inner(struct router_port *p, const struct config_port *c, struct error *err)
{
    struct router *r = p->router;
    if (c->has_memif)
        return open_memif(p, c, err);
    if (c->has_tap)
        return device_tap_open(&p->inner, c->name, &r->pool,
            &(struct netns_tun){.namespace_ = c->tap.namespace_,
                .device = c->tap.device,
                .tap = true,
                .keep = c->tap.keep,
                .mtu = c->mtu,
                .queue = c->tap.queue},
            err);
    struct ethdev_config e = {.device = c->pci.address, .mtu = c->mtu, .descriptors = (uint16_t)c->pci.descriptors};
    memcpy(e.mac, c->mac, 6);
    return device_ethdev_open(&p->inner, c->name, &r->pool, &e, p->mac, err);
}

static int open_port(struct router *r, unsigned i, struct error *err)
{
    const struct config_port *c = &r->config.ports[i];
    struct router_port *p = &r->ports[i];
    *p = (struct router_port){.router = r, .index = (uint16_t)i};
    if (memcmp(c->mac, "\0\0\0\0\0\0", 6))
        memcpy(p->mac, c->mac, 6);
    else
        apply_mac(&r->config, i, p->mac);
    int rc = open_inner(p, c, err);
    if (rc)
        return rc;
    p->device = p->inner;
    if (!c->has_fibre)
        return 0;
    p->fibre = (struct fibre_config){.rate_bps = c->fibre.rate_bps,
        .km = c->fibre.km,
        .loss = c->fibre.loss,
        .bit_error = c->fibre.bit_error,
        .jitter_ns = c->fibre.jitter_ns,
        .seed = c->fibre.seed,
        .frames_most = c->fibre.frames};
    return device_fibre_create(&p->device, p->inner, &p->fibre, err);
}

int router_ports_open(struct router *r, struct error *err)
{
    for (unsigned i = 0; i < r->config.n_ports; i++) {
        int rc = open_port(r, i, err);
        if (rc)
            return error_prefix(err, rc, "port %s", r->config.ports[i].name);
    }
    return 0;
}

void router_ports_close(struct router *r)
{
    for (unsigned i = 0; i < LANE_PORTS_MOST; i++) {
        struct router_port *p = &r->ports[i];
        memif_close(p->memif);
        if (p->device)
            p->device->ops->close(p->device);
        else if (p->inner)
            p->inner->ops->close(p->inner);
        capture_free(p->capture);
        *p = (struct router_port){0};
    }
}

static void is_broken(void *user, int64_t now)
{
    struct rings_call *c = user;
    if (device_memif_broken(c->port->inner))
        c->rings = NULL;
}

void router_ports_look(struct router *r)
{
    for (unsigned i = 0; i < r->config.n_ports; i++) {
        struct rings_call c = {&r->ports[i], (const struct memif_rings *)&c};
        if (!r->ports[i].memif)
            continue;
        loop_call(r->loop, is_broken, &c);
        if (!c.rings)
            memif_reset(r->ports[i].memif, "what the neighbour wrote into the ring made no sense");
    }
}
