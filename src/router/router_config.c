#include "router/router_config.h"

#include "base/clock.h"
#include "os/file.h"
#include "pe/pe.h"
#include "router/device_fibre.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names -------------------------------------------------------------------------------------------------- */

static int port_named(const struct router_config *c, const char *name, uint32_t *ret, struct error *err)
{
    for (unsigned i = 0; i < c->n_ports; i++)
        if (!strcmp(c->ports[i].name, name)) {
            *ret = i;
            return 0;
        }
    return error_set(err, EINVAL, "there is no port \"%s\"", name);
}

/* "" is the underlay. */
static int vrf_named(const struct router_config *c, const char *name, uint32_t *ret, struct error *err)
{
    *ret = 0;
    for (unsigned i = 0; name[0] && i < c->n_vrfs; i++)
        if (!strcmp(c->vrfs[i].name, name))
            *ret = c->vrfs[i].id;
    return name[0] && !*ret ? error_set(err, EINVAL, "there is no VRF \"%s\"", name) : 0;
}

static bool path_known(const struct router_config *c, uint32_t id)
{
    for (unsigned i = 0; i < c->n_paths; i++)
        if (c->paths[i].id == id)
            return true;
    return id == 0;
}

static bool is_set(const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        if (b[i])
            return true;
    return false;
}

/* --- ports -------------------------------------------------------------------------------------------------- */

static int check_device(const struct config_port *p, struct error *err)
{
    if (p->has_memif + p->has_tap + p->has_pci != 1)
        return error_set(err, EINVAL, "exactly one of memif, tap and pci says what it is");
    if (p->has_memif && !p->memif.server[0] == !p->memif.client[0])
        return error_set(err, EINVAL, "memif: exactly one of server and client names the socket");
    if (p->has_memif && (p->memif.ring & (p->memif.ring - 1)))
        return error_set(err, EINVAL, "memif.ring: %u is no power of two", p->memif.ring);
    if (p->has_pci && p->pci.descriptors > UINT16_MAX)
        return error_set(err, EINVAL, "pci.descriptors: at most 65535");
    return 0;
}

static int check_limits(const struct config_limits *l, const char *what, struct error *err)
{
    if (l->pfc_xoff_cells && l->pfc_xon_cells >= l->pfc_xoff_cells)
        return error_set(err, EINVAL, "%s: pfc_xon must be below pfc_xoff", what);
    if (l->drop_cells && (l->pfc_xoff_cells > l->drop_cells || l->ecn_cells > l->drop_cells))
        return error_set(err, EINVAL, "%s: ecn and pfc_xoff must not be above drop", what);
    return 0;
}

static int check_kind(const struct config_port *p, struct error *err)
{
    bool core = p->kind == PORT_CORE;
    if (!core && (p->peer || is_set(p->foreign, 6)))
        return error_set(err, EINVAL, "peer and foreign are for core ports");
    if (p->peer && is_set(p->foreign, 6))
        return error_set(err, EINVAL, "either peer (one of ours) or foreign (none of ours)");
    if (core && p->n_pfc)
        return error_set(err, EINVAL, "pfc is spoken to hosts, at access ports");
    if (core && p->mtu && p->mtu < 1280)
        return error_set(err, EINVAL, "mtu: IPv6 links carry at least 1280 bytes");
    return 0;
}

/* Twice what the link holds in a round trip and a slow poll, a packet a cell at worst. */
static uint32_t pool_cells(const struct config_port *p)
{
    uint64_t rate = p->rate_bps ? p->rate_bps : p->fibre.rate_bps ? p->fibre.rate_bps : 1000000000u;
    double rtt = p->rtt_ns ? (double)p->rtt_ns * 1e-9 : p->fibre.km * 1e-5;
    double cells = 2 * (double)rate * (rtt + 0.005) / 8 / PACKET_CELL;
    return cells < 4096 ? 4096 : cells > 262144 ? 262144 : (uint32_t)cells;
}

/* What is under way over a long fibre is unclassified too: a window of the ring alone would throttle it. */
static uint32_t ring_and_fibre(const struct config_port *p)
{
    uint32_t ring = p->has_memif ? p->memif.ring : 1024;
    double rtt = p->rtt_ns ? (double)p->rtt_ns * 1e-9 : p->fibre.km * 1e-5;
    double cells = 4 * (double)(p->rate_bps ? p->rate_bps : p->fibre.rate_bps) * rtt / 8 / PACKET_CELL;
    return ring + (cells > 262144 ? 262144 : (uint32_t)cells);
}

static int check_port(struct router_config *c, unsigned i, struct error *err)
{
    struct config_port *p = &c->ports[i];
    uint32_t other;
    int rc = check_device(p, err);
    if (!rc)
        rc = check_kind(p, err);
    if (!rc)
        rc = check_limits(&p->lossy, "lossy", err);
    if (!rc && port_named(c, p->name, &other, NULL) == 0 && other != i)
        rc = error_set(err, EINVAL, "the name \"%s\" is there twice", p->name);
    for (unsigned j = 0; !rc && j < i; j++) {
        const struct config_port *q = &c->ports[j];
        if (p->has_memif && q->has_memif && p->memif.server[0] && !strcmp(p->memif.server, q->memif.server))
            rc = error_set(err, EINVAL, "memif: \"%s\" is the socket of another port already", p->memif.server);
        if (p->has_tap && q->has_tap && !strcmp(p->tap.device, q->tap.device) &&
            !strcmp(p->tap.namespace_, q->tap.namespace_))
            rc = error_set(err, EINVAL, "tap: \"%s\" is the device of another port already", p->tap.device);
    }
    if (rc)
        return rc;
    if (!p->mtu)
        p->mtu = p->kind == PORT_CORE ? 1900 : 1500;
    if (!p->rate_bps)
        p->rate_bps = p->has_fibre ? p->fibre.rate_bps : 0;
    if (p->kind == PORT_CORE && !p->pool_cells)
        p->pool_cells = pool_cells(p);
    if (p->kind == PORT_CORE && !p->link_window)
        p->link_window = ring_and_fibre(p);
    return 0;
}

/* --- tables ------------------------------------------------------------------------------------------------- */

static int check_vrf(const struct router_config *c, unsigned i, struct error *err)
{
    for (unsigned j = 0; j < i; j++)
        if (c->vrfs[j].id == c->vrfs[i].id || !strcmp(c->vrfs[j].name, c->vrfs[i].name))
            return error_set(
                err, EINVAL, "the name \"%s\" or the id %u is there twice", c->vrfs[i].name, c->vrfs[i].id);
    return 0;
}

static int check_access(struct router_config *c, unsigned i, struct error *err)
{
    struct config_access *a = &c->access[i];
    int rc = port_named(c, a->port_name, &a->port, err);
    if (!rc)
        rc = vrf_named(c, a->vrf_name, &a->vrf, err);
    if (!rc && c->ports[a->port].kind != PORT_ACCESS)
        rc = error_set(err, EINVAL, "\"%s\" is a core port", a->port_name);
    for (unsigned j = 0; !rc && j < i; j++)
        if (c->access[j].port == a->port && c->access[j].vlan == a->vlan)
            rc = error_set(err, EINVAL, "port \"%s\" has VLAN %u already", a->port_name, a->vlan);
    for (unsigned j = 0; !a->tenant && j < c->n_vrfs; j++)
        if (c->vrfs[j].id == a->vrf)
            a->tenant = c->vrfs[j].tenant;
    return rc;
}

static int route_kind(struct config_route *r, struct error *err)
{
    bool gateway = r->gateway.family, sid = is_set(&r->sid, sizeof(r->sid)), port = r->port_name[0];
    if (gateway + sid + (port && !gateway) + r->local + r->blackhole != 1)
        return error_set(err, EINVAL,
            "exactly one of: gateway with port, sid (with path or paths), port alone (a core link), local, blackhole");
    if (gateway && !port)
        return error_set(err, EINVAL, "gateway: by which port?");
    if (!sid && (r->path || is_set(&r->paths, sizeof(r->paths)) || r->encrypted))
        return error_set(err, EINVAL, "path, paths and encrypted go with sid");
    r->kind = gateway        ? ROUTE_GATEWAY
              : sid          ? ROUTE_REMOTE
              : r->local     ? ROUTE_LOCAL
              : r->blackhole ? ROUTE_BLACKHOLE
                             : ROUTE_ADJACENT;
    return 0;
}

static int check_route(struct router_config *c, unsigned i, struct error *err)
{
    struct config_route *r = &c->routes[i];
    uint32_t *of[] = {&r->paths.inference, &r->paths.parameter, &r->paths.bulk};
    int rc = vrf_named(c, r->vrf_name, &r->vrf, err);
    if (!rc)
        rc = route_kind(r, err);
    if (!rc && r->port_name[0])
        rc = port_named(c, r->port_name, &r->port, err);
    for (unsigned k = 0; !rc && k < 3; k++) {
        if (!*of[k])
            *of[k] = r->path;
        if (!path_known(c, *of[k]))
            rc = error_set(err, EINVAL, "there is no path %u", *of[k]);
    }
    if (!rc && r->kind == ROUTE_ADJACENT && (r->vrf || c->ports[r->port].kind != PORT_CORE))
        rc = error_set(err, EINVAL, "a port alone is for core ports and the underlay; hosts' routes name a gateway");
    return rc;
}

static int check_sid(struct router_config *c, unsigned i, struct error *err)
{
    struct config_sid *s = &c->sids[i];
    bool cross = s->behaviour == SID_END_X || s->behaviour == SID_END_X_NEXT_CSID;
    bool node = s->behaviour == SID_END || s->behaviour == SID_END_NEXT_CSID;
    if (s->sid.family != IP_V6)
        return error_set(err, EINVAL, "sid: SIDs are IPv6");
    if (s->n_flavours && !cross && !node)
        return error_set(err, EINVAL, "flavours are for End, End.X, uN and uA");
    if (cross != (s->port_name[0] != 0))
        return error_set(err, EINVAL, cross ? "port: the adjacency is missing" : "port is for End.X and uA");
    if ((!cross && !node) != (s->vrf_name[0] != 0))
        return error_set(err, EINVAL, s->vrf_name[0] ? "vrf is for behaviours that decapsulate" : "vrf is missing");
    int rc = cross ? port_named(c, s->port_name, &s->port, err) : 0;
    return rc ? rc : vrf_named(c, s->vrf_name, &s->vrf, err);
}

static int check_path(struct router_config *c, unsigned i, struct error *err)
{
    struct config_path *p = &c->paths[i];
    for (unsigned j = 0; j < i; j++)
        if (c->paths[j].id == p->id)
            return error_set(err, EINVAL, "the id %u is there twice", p->id);
    if (p->id >= PE_PATHS_FROM)
        return error_set(err, EINVAL, "ids from %u on are BGP's", PE_PATHS_FROM);
    int rc = port_named(c, p->port_name, &p->port, err);
    if (!rc && c->ports[p->port].kind != PORT_CORE)
        rc = error_set(err, EINVAL, "\"%s\" is an access port", p->port_name);
    return rc;
}

static int check_slice(const struct router_config *c, unsigned i, struct error *err)
{
    const struct config_slice *s = &c->slices[i];
    if (!path_known(c, s->path))
        return error_set(err, EINVAL, "there is no path %u", s->path);
    if (s->protect && !path_known(c, s->protect))
        return error_set(err, EINVAL, "protect: there is no path %u", s->protect);
    if (s->backup && (!path_known(c, s->backup) || s->backup == s->path))
        return error_set(err, EINVAL, "backup: another path than path %u that is listed, not %u", s->path, s->backup);
    if (s->cap_bps && s->cap_bps < s->guarantee_bps)
        return error_set(err, EINVAL, "cap is below guarantee");
    for (unsigned j = 0; j < i; j++)
        if (c->slices[j].tenant == s->tenant && c->slices[j].path == s->path && c->slices[j].class_ == s->class_ &&
            ip6_equal(&c->slices[j].sid, &s->sid))
            return error_set(err, EINVAL, "the same tenant, path, class and sid are there twice");
    return check_limits(&s->limits, "limits", err);
}

static int check_whole(const struct router_config *c, struct error *err)
{
    if (c->locator.family != IP_V6 || c->locator.len <= c->block_bits)
        return error_set(err, EINVAL, "locator: an IPv6 prefix longer than block_bits (%u)", c->block_bits);
    if (c->lanes.silence_ns && c->lanes.silence_ns < 2 * c->lanes.hello_ns)
        return error_set(err, EINVAL, "lanes.silence: at least twice lanes.hello");
    if (c->has_xsec && (c->xsec.lifetime_ns < 10 * NS_PER_S || c->xsec.lifetime_ns > 30 * 86400 * NS_PER_S))
        return error_set(err, EINVAL, "xsec.lifetime: between 10 s and 720 h");
    if (c->has_xsec && !c->has_bgp)
        return error_set(err, EINVAL, "xsec: keys travel by BGP: the section bgp is missing");
    for (unsigned i = 0; i < c->n_trusted; i++)
        if (!is_set(c->trusted[i], 32))
            return error_set(err, EINVAL, "trusted[%u]: a key of zeros", i);
    return 0;
}

#define CHECK_ALL(list, check)                                                                                         \
    for (unsigned i = 0; !rc && i < c->n_##list; i++)                                                                  \
        if ((rc = check(c, i, err)) != 0)                                                                              \
    error_prefix(err, rc, #list "[%u]", i)

static int resolve(struct router_config *c, struct error *err)
{
    int rc = check_whole(c, err);
    CHECK_ALL(ports, check_port);
    CHECK_ALL(vrfs, check_vrf);
    CHECK_ALL(access, check_access);
    CHECK_ALL(paths, check_path);
    CHECK_ALL(routes, check_route);
    CHECK_ALL(sids, check_sid);
    CHECK_ALL(slices, check_slice);
    return rc ? rc : router_config_check_bgp(c, err);
}

int router_config_read(struct router_config *ret, const char *text, size_t len, struct error *err)
{
    int rc = fields_read(ret, &router_config_fields, text, len, err);
    if (rc)
        return rc;
    rc = resolve(ret, err);
    if (rc)
        router_config_free(ret);
    else if (!ret->memory.packets)
        ret->memory.packets = router_config_packets(ret);
    return rc;
}

int router_config_load(struct router_config *ret, const char *path, struct error *err)
{
    struct buf text = {0};
    int rc = file_read(&text, path, FIELDS_FILE_MOST, err);
    if (!rc) {
        rc = router_config_read(ret, (const char *)text.data, text.len, err);
        if (rc)
            error_prefix(err, rc, "%s", path);
    }
    buf_done(&text);
    return rc;
}

void router_config_free(struct router_config *c)
{
    fields_free(c, &router_config_fields);
}

uint32_t router_config_packets(const struct router_config *c)
{
    uint64_t n = 4096;
    for (unsigned i = 0; i < c->n_ports; i++) {
        const struct config_port *p = &c->ports[i];
        n += 1024 + p->pool_cells + p->link_window + LANE_CLASSES * (uint64_t)p->lossy.drop_cells;
        /* Lossy queues hold 10 ms unless they are told otherwise. */
        if (!p->lossy.drop_cells)
            n += LANE_CLASSES * (64 + p->rate_bps / 800 / PACKET_CELL);
        if (p->has_fibre)
            n += fibre_frames(&(struct fibre_config){.rate_bps = p->fibre.rate_bps,
                .km = p->fibre.km,
                .jitter_ns = p->fibre.jitter_ns,
                .frames_most = p->fibre.frames});
        if (p->has_pci)
            n += 2 * p->pci.descriptors;
    }
    for (unsigned i = 0; i < c->n_slices; i++)
        n += (c->slices[i].limits.drop_cells ? c->slices[i].limits.drop_cells : 1024) +
             (c->slices[i].protect ? c->slices[i].lag_cells : 0);
    return n > 1u << 22 ? 1u << 22 : (uint32_t)n;
}

uint32_t router_config_frame(const struct router_config *c)
{
    uint32_t most = 2048 - ETHER_SIZE - VLAN_SIZE;
    for (unsigned i = 0; i < c->n_ports; i++)
        if (c->ports[i].mtu > most)
            most = c->ports[i].mtu;
    return most + ETHER_SIZE + VLAN_SIZE;
}
