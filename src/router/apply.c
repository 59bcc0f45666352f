/* Tables are lists of entries with a key each. To go from one configuration to another: entries that are gone or have
 * changed their place are taken out from the last list to the first (slices hang on paths, routes on VRFs), then what is new
 * or different is set from the first list to the last. If one is refused, the same way back is gone. */
#include "router/apply.h"

#include "forward/classes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- the core ------------------------------------------------------------------------------------------------ */

void apply_core_config(
    const struct router_config *c, const uint8_t seed[32], int64_t wall_minus_now, struct forward_config *ret)
{
    *ret = (struct forward_config){
        .lanes = {.router_id = c->id,
            .trusted = c->trusted,
            .n_trusted = c->n_trusted,
            .lanes_most = c->lanes.most,
            .mode = (enum lane_mode)c->mode,
            .hello_ns = c->lanes.hello_ns,
            .silence_ns = c->lanes.silence_ns,
            .watchdog_ns = c->lanes.watchdog_ns,
            .move_ns = c->lanes.move_ns,
            .control_loss = c->lanes.control_loss,
            .history_packets = c->lanes.history},
        .loopback = c->loopback,
        .locator_block_bits = (uint8_t)c->block_bits,
        .option_nr = (uint8_t)c->options.nr,
        .option_lane = (uint8_t)c->options.lane,
        .option_sequence = (uint8_t)c->options.sequence,
        .streams = {.most = c->streams.most,
            .window = c->streams.window,
            .cells_most = c->streams.cells,
            .wait_ns = c->streams.wait_ns},
        .marking = {.period_ns = c->marking.period_ns, .wall_ns = wall_minus_now, .flows = c->marking.flows},
        .elephants = {.threshold_bps = c->elephants.threshold_bps,
            .clear_bps = c->elephants.clear_bps,
            .window_ns = c->elephants.window_ns,
            .flows = c->elephants.flows,
            .buckets = c->elephants.buckets},
        .routes_most = c->tables.routes,
        .neighbours_most = c->tables.neighbours,
        .vrfs_most = c->tables.vrfs,
    };
    memcpy(ret->lanes.identity, seed, 32);
    for (unsigned i = 0; i < c->n_ports; i++)
        ret->lanes.expected_peer[i] = c->ports[i].peer;
}

static struct queue_limits limits_of(const struct config_limits *l)
{
    return (struct queue_limits){
        .ecn_cells = l->ecn_cells,
        .pfc_xoff_cells = l->pfc_xoff_cells,
        .pfc_xon_cells = l->pfc_xon_cells,
        .drop_cells = l->drop_cells,
    };
}

void apply_mac(const struct router_config *c, unsigned port, uint8_t ret[6])
{
    const uint8_t mac[6] = {0x02, 0x4d, (uint8_t)(c->id >> 8), (uint8_t)c->id, (uint8_t)port, 0};
    memcpy(ret, mac, 6);
}

void apply_port_config(const struct router_config *c, unsigned port, const uint8_t mac[6], struct port_config *ret)
{
    const struct config_port *p = &c->ports[port];
    *ret = (struct port_config){
        .kind = (enum port_kind)p->kind,
        .rate_bps = p->rate_bps,
        .mtu = p->mtu,
        .pool_cells = p->pool_cells,
        .tenant_cells = p->tenant_cells,
        .link_window = p->link_window,
        .rtt_ns = p->rtt_ns,
        .lossy = limits_of(&p->lossy),
        .one_queue = p->one_queue,
    };
    memcpy(ret->mac, mac, 6);
    memcpy(ret->peer_mac, p->foreign, 6);
    for (unsigned i = 0; i < p->n_pfc; i++)
        ret->pfc_priorities |= (uint8_t)(1u << p->pfc[i]);
}

/* --- entries ------------------------------------------------------------------------------------------------- */

static int set_vrf(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    int rc = forward_vrf_add(f, c->vrfs[i].id, c->vrfs[i].tenant, err);
    return rc && rc != -EEXIST ? rc : forward_vrf_encrypt(f, c->vrfs[i].id, c->vrfs[i].encrypt, err);
}

static void del_vrf(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    forward_vrf_del(f, c->vrfs[i].id);
}

static int set_access(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    const struct config_access *a = &c->access[i];
    struct forward_access to = {.port = (uint16_t)a->port,
        .vlan = (uint16_t)a->vlan,
        .vrf = a->vrf,
        .tenant = a->tenant,
        .police_bps = a->police_bps,
        .advertise = a->advertise,
        .host_mtu = a->host_mtu,
        .neighbours = a->neighbours};
    for (unsigned k = 0; k < a->n_gateways && k < 4; k++)
        to.gateway[k] = a->gateways[k];
    to.priority_of_class[LANE_INFERENCE] = (uint8_t)a->priorities.inference;
    to.priority_of_class[LANE_PARAMETER] = (uint8_t)a->priorities.parameter;
    to.priority_of_class[LANE_BULK] = (uint8_t)a->priorities.bulk;
    /* All zero is the usual map; ours is that one with the named DSCPs changed. */
    const uint8_t usual[64] = {0};
    int rc = a->n_classes ? classes_plan(to.class_of_dscp, usual, err) : 0;
    for (unsigned k = 0; k < a->n_classes; k++)
        to.class_of_dscp[a->classes[k].dscp] = (uint8_t)a->classes[k].class_;
    return rc ? rc : forward_access_set(f, &to, now, err);
}

static void del_access(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    forward_access_del(f, (uint16_t)c->access[i].port, (uint16_t)c->access[i].vlan, now);
}

static int set_path(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    const struct config_path *p = &c->paths[i];
    struct forward_path to = {.id = p->id,
        .n_sids = p->n_sids,
        .out_port = (uint16_t)p->port,
        .mtu = p->mtu,
        .no_lanes = !p->lanes,
        .full_sids = p->full_sids};
    memcpy(to.sids, p->sids, p->n_sids * sizeof(*p->sids));
    for (unsigned k = 0; k < p->n_risks && k < FORWARD_RISKS_MOST; k++)
        to.risks[to.n_risks++] = p->risks[k];
    return forward_path_set(f, &to, err);
}

static void del_path(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    forward_path_del(f, c->paths[i].id);
}

static int set_sid(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    const struct config_sid *s = &c->sids[i];
    struct forward_sid to = {
        .sid = s->sid, .behaviour = (enum sid_behaviour)s->behaviour, .port = (uint16_t)s->port, .vrf = s->vrf};
    if (s->vrf && router_config_encrypted(c, s->vrf)) /* ESP, then DT46 */
        to.behaviour = s->behaviour == SID_END_DT46 ? SID_END_ESP_DT46 : SID_END_ESP_DT46_NEXT_CSID;
    for (unsigned k = 0; k < s->n_flavours; k++)
        to.flavours |= (uint8_t)(1u << s->flavours[k]);
    return forward_sid_set(f, &to, err);
}

static void del_sid(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    forward_sid_del(f, &c->sids[i].sid);
}

static int set_slice(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    const struct config_slice *s = &c->slices[i];
    return forward_slice_set(f,
        &(struct forward_slice){.tenant = s->tenant,
            .path = s->path,
            .class_ = (enum lane_class)s->class_,
            .service_sid = s->sid,
            .guarantee_bps = s->guarantee_bps,
            .cap_bps = s->cap_bps,
            .rate_bps = s->rate_bps,
            .window_least = s->window_least,
            .backup = s->backup,
            .limits = limits_of(&s->limits),
            .protect = s->protect,
            .lag_cells = s->lag_cells},
        now, err);
}

static void del_slice(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    const struct config_slice *s = &c->slices[i];
    forward_slice_del(f, s->tenant, s->path, (enum lane_class)s->class_, &s->sid, now);
}

static int set_route(struct forward *f, const struct router_config *c, unsigned i, int64_t now, struct error *err)
{
    const struct config_route *r = &c->routes[i];
    struct forward_route to = {.kind = (enum route_kind)r->kind,
        .port = (uint16_t)r->port,
        .vlan = (uint16_t)r->vlan,
        .gateway = r->gateway,
        .service_sid = r->sid,
        .encrypted = r->encrypted,
        .peer = r->peer};
    to.path_of_class[LANE_CONTROL] = r->paths.bulk;
    to.path_of_class[LANE_INFERENCE] = r->paths.inference;
    to.path_of_class[LANE_PARAMETER] = r->paths.parameter;
    to.path_of_class[LANE_BULK] = r->paths.bulk;
    return forward_route_set(f, r->vrf, &r->prefix, &to, err);
}

static void del_route(struct forward *f, const struct router_config *c, unsigned i, int64_t now)
{
    forward_route_del(f, c->routes[i].vrf, &c->routes[i].prefix);
}

/* --- lists --------------------------------------------------------------------------------------------------- */

static bool same_vrf(const void *x, const void *y)
{
    return ((const struct config_vrf *)x)->id == ((const struct config_vrf *)y)->id;
}

static bool same_access(const void *x, const void *y)
{
    const struct config_access *a = x, *b = y;
    return a->port == b->port && a->vlan == b->vlan;
}

static bool same_path(const void *x, const void *y)
{
    return ((const struct config_path *)x)->id == ((const struct config_path *)y)->id;
}

static bool same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->family == b->family && a->len == b->len && ip6_equal(&a->a, &b->a);
}

static bool same_sid(const void *x, const void *y)
{
    return same_prefix(&((const struct config_sid *)x)->sid, &((const struct config_sid *)y)->sid);
}

static bool same_slice(const void *x, const void *y)
{
    const struct config_slice *a = x, *b = y;
    return a->tenant == b->tenant && a->path == b->path && a->class_ == b->class_ && ip6_equal(&a->sid, &b->sid);
}

static bool same_route(const void *x, const void *y)
{
    const struct config_route *a = x, *b = y;
    return a->vrf == b->vrf && same_prefix(&a->prefix, &b->prefix);
}

static bool replaces_vrf(const void *a, const void *b)
{
    return true; /* its tenant cannot change (apply_may_change), its name is ours */
}

static bool replaces_access(const void *a, const void *b)
{
    return ((const struct config_access *)a)->vrf == ((const struct config_access *)b)->vrf;
}

static bool replaces_path(const void *a, const void *b)
{
    return true;
}

static bool replaces_slice(const void *a, const void *b)
{
    return true;
}

static bool replaces_sid(const void *a, const void *b)
{
    return false; /* it may name another VRF, and the old one is to be deleted */
}

static bool replaces_route(const void *a, const void *b)
{
    return false;
}

struct list {
    const char *name;
    size_t at, count, size;                     /* of the array's pointer, of its length, of an entry */
    bool (*same)(const void *a, const void *b); /* the key */
    /* Whether setting b takes the place of a; otherwise a is taken out before. */
    bool (*replaces)(const void *a, const void *b);
    int (*set)(struct forward *, const struct router_config *, unsigned i, int64_t now, struct error *);
    void (*del)(struct forward *, const struct router_config *, unsigned i, int64_t now);
};

#define LIST(list_, one)                                                                                               \
    {#list_, offsetof(struct router_config, list_), offsetof(struct router_config, n_##list_),                         \
        sizeof(*((struct router_config *)0)->list_), same_##one, replaces_##one, set_##one, del_##one}

static const struct list lists[] = {LIST(vrfs, vrf), LIST(access, access), LIST(paths, path), LIST(sids, sid),
    LIST(slices, slice), LIST(routes, route)};
#define LISTS (sizeof(lists) / sizeof(*lists))

static const uint8_t *array(const struct router_config *c, const struct list *l, unsigned *ret_n)
{
    const uint8_t *p = NULL;
    *ret_n = 0;
    if (c) {
        memcpy(&p, (const uint8_t *)c + l->at, sizeof(p));
        memcpy(ret_n, (const uint8_t *)c + l->count, sizeof(*ret_n));
    }
    return p;
}

static const struct fields *fields_of(const struct list *l)
{
    for (const struct field *f = router_config_fields.field; f->kind != FIELD_END; f++)
        if (f->kind == FIELD_LIST && f->at == l->at)
            return f->sub;
    return NULL;
}

/* The printed forms tell whether two entries say the same: they hold all keys, and no pointers. */
static bool equal(const struct list *l, const void *a, const void *b)
{
    struct buf x = {0}, y = {0};
    const struct fields *f = fields_of(l);
    bool same = !fields_print(&x, f, a) && !fields_print(&y, f, b) && !strcmp(buf_str(&x), buf_str(&y));
    buf_done(&x);
    buf_done(&y);
    return same;
}

/* The entry of c with the key of `one`; n: none. */
static unsigned find(const struct router_config *c, const struct list *l, const void *one)
{
    unsigned n;
    const uint8_t *p = array(c, l, &n);
    for (unsigned i = 0; i < n; i++)
        if (l->same(p + i * l->size, one))
            return i;
    return n;
}

static bool unchanged(const struct router_config *in, const struct list *l, const void *one)
{
    unsigned n, i = find(in, l, one);
    const uint8_t *p = array(in, l, &n);
    return i < n && equal(l, p + i * l->size, one);
}

static void take_out(struct forward *f, const struct router_config *from, const struct router_config *to, int64_t now)
{
    for (unsigned k = LISTS; k-- > 0;) {
        unsigned n, m;
        const uint8_t *p = array(from, &lists[k], &n), *q = array(to, &lists[k], &m);
        for (unsigned i = n; i-- > 0;) {
            const uint8_t *one = p + i * lists[k].size;
            unsigned j = find(to, &lists[k], one);
            bool stays = j < m && (lists[k].replaces(one, q + j * lists[k].size) ||
                                      equal(&lists[k], one, q + j * lists[k].size));
            if (!stays)
                lists[k].del(f, from, i, now);
        }
    }
}

/* `err` NULL: goes on whatever is refused. */
static int put_in(
    struct forward *f, const struct router_config *from, const struct router_config *to, int64_t now, struct error *err)
{
    for (unsigned k = 0; k < LISTS; k++) {
        unsigned n;
        const uint8_t *p = array(to, &lists[k], &n);
        for (unsigned i = 0; i < n; i++) {
            if (unchanged(from, &lists[k], p + i * lists[k].size))
                continue;
            int rc = lists[k].set(f, to, i, now, err);
            if (rc && err)
                return error_prefix(err, rc, "%s[%u]", lists[k].name, i);
        }
    }
    return 0;
}

int apply_tables(
    struct forward *f, const struct router_config *from, const struct router_config *to, int64_t now, struct error *err)
{
    struct error ignored;
    take_out(f, from, to, now);
    int rc = put_in(f, from, to, now, err ? err : &ignored);
    if (rc && from) {
        take_out(f, to, from, now);
        put_in(f, to, from, now, NULL);
    }
    return rc;
}

/* --- what may change ----------------------------------------------------------------------------------------- */

static bool is_table(const struct field *d)
{
    for (unsigned k = 0; k < LISTS; k++)
        if (d->kind == FIELD_LIST && d->at == lists[k].at)
            return true;
    return false;
}

static int vrfs_may_change(const struct router_config *from, const struct router_config *to, struct error *err)
{
    for (unsigned i = 0; i < to->n_vrfs; i++)
        for (unsigned j = 0; j < from->n_vrfs; j++)
            if (to->vrfs[i].id == from->vrfs[j].id &&
                (to->vrfs[i].tenant != from->vrfs[j].tenant || to->vrfs[i].encrypt != from->vrfs[j].encrypt))
                return error_set(err, EPERM, "vrfs[%u].%s has changed; that takes a restart", i,
                    to->vrfs[i].tenant != from->vrfs[j].tenant ? "tenant" : "encrypt");
    return 0;
}

/* Its peers, and what is announced, may come and go. */
static int bgp_may_change(const struct router_config *from, const struct router_config *to, struct error *err)
{
    const struct config_bgp *a = &from->bgp, *b = &to->bgp;
    const char *what = from->has_bgp != to->has_bgp                                    ? "bgp"
                       : a->as != b->as                                                ? "bgp.as"
                       : memcmp(&a->identifier, &b->identifier, sizeof(a->identifier)) ? "bgp.identifier"
                       : a->links != b->links                                          ? "bgp.links"
                       : strcmp(a->control, b->control)                                ? "bgp.control"
                                                                                       : NULL;
    return what ? error_set(err, EPERM, "%s has changed; that takes a restart", what) : 0;
}

int apply_may_change(const struct router_config *from, const struct router_config *to, struct error *err)
{
    for (const struct field *d = router_config_fields.field; d->kind != FIELD_END; d++) {
        if (is_table(d) || !strcmp(d->key, "log") || !strcmp(d->key, "bgp"))
            continue;
        struct field one[] = {*d, {.kind = FIELD_END}};
        struct fields f = {one, sizeof(*from)};
        struct buf x = {0}, y = {0};
        bool same = !fields_print(&x, &f, from) && !fields_print(&y, &f, to) && !strcmp(buf_str(&x), buf_str(&y));
        buf_done(&x);
        buf_done(&y);
        if (!same)
            return error_set(err, EPERM, "%s has changed; that takes a restart", d->key);
    }
    int rc = bgp_may_change(from, to, err);
    return rc ? rc : vrfs_may_change(from, to, err);
}
