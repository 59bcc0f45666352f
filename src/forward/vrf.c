#include "forward/vrf.h"
#include "forward/encap.h"
#include "forward/hop.h"
#include "wire/ip_text.h"

#include <errno.h>
#include <stdlib.h>

/* --- the list of VRFs ------------------------------------------------------------------------------------ */

/* Where it is or would be. */
static uint32_t place(const struct forward *f, uint32_t id)
{
    uint32_t low = 0, high = f->n_vrfs;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (f->vrfs[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct vrf *vrf_find(const struct forward *f, uint32_t id)
{
    uint32_t at = place(f, id);
    return at < f->n_vrfs && f->vrfs[at]->id == id ? f->vrfs[at] : NULL;
}

int forward_vrf_add(struct forward *f, uint32_t id, uint32_t tenant, struct error *err)
{
    uint32_t at = place(f, id);
    if (at < f->n_vrfs && f->vrfs[at]->id == id)
        return error_set(err, EEXIST, "VRF %u is there already", id);
    if (f->n_vrfs == f->config.vrfs_most)
        return error_set(err, ENOSPC, "no more than %u VRFs fit", f->config.vrfs_most);
    struct vrf *v = calloc(1, sizeof *v);
    if (!v)
        return error_set(err, ENOMEM, "no memory for VRF %u", id);
    v->id = id;
    v->tenant = tenant;
    poptrie_init(&v->v4, IP_V4, f->config.routes_most);
    poptrie_init(&v->v6, IP_V6, f->config.routes_most);
    memmove(f->vrfs + at + 1, f->vrfs + at, (f->n_vrfs++ - at) * sizeof *f->vrfs);
    f->vrfs[at] = v;
    return 0;
}

int forward_vrf_encrypt(struct forward *f, uint32_t id, bool only_encrypted, struct error *err)
{
    struct vrf *v = vrf_find(f, id);
    if (id == 0)
        return error_set(err, EINVAL, "the underlay is no VPN: it cannot be encrypted");
    if (!v)
        return error_set(err, ENOENT, "there is no VRF %u", id);
    v->only_encrypted = only_encrypted;
    return 0;
}

static void hop_release(struct forward *f, uint32_t index)
{
    struct hop was;
    if (!hop_put(&f->hops, index, &was))
        return;
    for (unsigned c = 0; c < LANE_CLASSES; c++)
        encap_put(f, was.encap[c]);
    if (was.vrf)
        was.vrf->users--;
}

static int release_visit(void *user, const struct ip_prefix *p, uint32_t value)
{
    struct forward *f = user;
    f->routes--;
    hop_release(f, value);
    return 0;
}

static void vrf_free(struct forward *f, struct vrf *v)
{
    poptrie_each(&v->v4, release_visit, f);
    poptrie_each(&v->v6, release_visit, f);
    poptrie_done(&v->v4);
    poptrie_done(&v->v6);
    free(v);
}

int forward_vrf_del(struct forward *f, uint32_t id)
{
    uint32_t at = place(f, id);
    if (at == f->n_vrfs || f->vrfs[at]->id != id)
        return -ENOENT;
    struct vrf *v = f->vrfs[at];
    if (id == 0 || v->users)
        return -EBUSY;
    memmove(f->vrfs + at, f->vrfs + at + 1, (--f->n_vrfs - at) * sizeof *f->vrfs);
    vrf_free(f, v);
    return 0;
}

void vrf_free_all(struct forward *f)
{
    for (uint32_t i = 0; i < f->n_vrfs; i++)
        vrf_free(f, f->vrfs[i]); /* the underlay first: its SIDs name others */
    free(f->vrfs);
    f->vrfs = NULL;
    f->n_vrfs = 0;
}

/* --- routes ---------------------------------------------------------------------------------------------------- */

const struct hop *vrf_exact(const struct forward *f, const struct vrf *v, const struct ip_prefix *p)
{
    if (p->family != IP_V4 && p->family != IP_V6)
        return NULL;
    uint32_t index = poptrie_get(vrf_table(v, p->family), p);
    return index == HOP_NONE ? NULL : &f->hops.hops[index];
}

/* What packets need of a new hop. */
static int fill(struct forward *f, uint32_t index, struct error *err)
{
    struct hop *h = &f->hops.hops[index];
    if (h->vrf)
        h->vrf->users++;
    for (unsigned c = 0; h->kind == ROUTE_REMOTE && c < LANE_CLASSES; c++) {
        struct encap_key key = {h->tenant, h->path_of_class[c], h->service_sid, (uint8_t)c};
        int rc = encap_get(f, &key, &h->encap[c], err);
        if (rc)
            return rc;
    }
    return 0;
}

static const char *table_fault(int rc)
{
    switch (rc) {
    case -EINVAL:
        return "it is no prefix";
    case -ENOSPC:
        return "the table is full";
    default:
        return "no memory";
    }
}

int vrf_put(struct forward *f, struct vrf *v, const struct ip_prefix *p, const struct hop *like, struct error *err)
{
    char text[IP_TEXT_SIZE];
    const struct hop *there = vrf_exact(f, v, p);
    if (there && (there->kind == HOP_SID) != (like->kind == HOP_SID))
        return error_set(err, EEXIST, "%s is a %s already", ip_prefix_print(text, p),
            there->kind == HOP_SID ? "local SID" : "route");
    if (p->family != IP_V4 && p->family != IP_V6)
        return error_set(err, EINVAL, "a route is of family 4 or 6");
    if (!there && f->routes == f->config.routes_most)
        return error_set(
            err, ENOSPC, "%s: no more than %u routes fit", ip_prefix_print(text, p), f->config.routes_most);
    uint32_t index, old = HOP_NONE;
    bool new;
    if (hop_get(&f->hops, like, &index, &new))
        return error_set(err, ENOMEM, "no memory for the route of %s", ip_prefix_print(text, p));
    int rc = new ? fill(f, index, err) : 0;
    if (!rc && (rc = poptrie_set(vrf_table(v, p->family), p, index, &old)))
        error_set(err, -rc, "%s cannot be put into VRF %u: %s", ip_prefix_print(text, p), v->id, table_fault(rc));
    if (rc) {
        hop_release(f, index);
        return rc;
    }
    if (old == HOP_NONE)
        f->routes++;
    else
        hop_release(f, old);
    if (v->id == 0)
        f->underlay_version++;
    return 0;
}

int vrf_remove(struct forward *f, struct vrf *v, const struct ip_prefix *p, bool sid)
{
    const struct hop *there = vrf_exact(f, v, p);
    uint32_t old;
    if (!there || (there->kind == HOP_SID) != sid)
        return -ENOENT;
    int rc = poptrie_del(vrf_table(v, p->family), p, &old);
    if (rc)
        return rc;
    f->routes--;
    hop_release(f, old);
    if (v->id == 0)
        f->underlay_version++;
    return 0;
}

static bool has_access(const struct forward *f, uint16_t port, uint16_t vlan, uint32_t vrf)
{
    if (port >= LANE_PORTS_MOST || vlan >= VLANS || !f->ports[port].access_of)
        return false;
    uint16_t at = f->ports[port].access_of[vlan];
    return at && f->access[at - 1].config.vrf == vrf;
}

static bool is_core(const struct forward *f, uint16_t port)
{
    return port < LANE_PORTS_MOST && f->ports[port].port && f->ports[port].port->config.kind == PORT_CORE;
}

/* The route says something possible; 0 or a sentence. */
static int check(const struct forward *f, const struct vrf *v, const struct ip_prefix *p, const struct forward_route *r,
    struct error *err)
{
    bool underlay = v->id == 0;
    switch (r->kind) {
    case ROUTE_ATTACHED:
    case ROUTE_GATEWAY:
        if (underlay || !has_access(f, r->port, r->vlan, v->id))
            return error_set(err, EINVAL, "VRF %u has no hosts at port %u VLAN %u", v->id, r->port, r->vlan);
        if (r->kind == ROUTE_GATEWAY && r->gateway.family != p->family)
            return error_set(err, EINVAL, "the gateway is of another family than the route");
        return 0;
    case ROUTE_REMOTE:
        return underlay ? error_set(err, EINVAL, "the underlay has no remote services") : 0;
    case ROUTE_ADJACENT:
        if (!underlay || p->family != IP_V6)
            return error_set(err, EINVAL, "only IPv6 routes of the underlay lead over a core link");
        return is_core(f, r->port) ? 0 : error_set(err, EINVAL, "port %u is no core port", r->port);
    case ROUTE_LOCAL:
    case ROUTE_BLACKHOLE:
        return 0;
    }
    return error_set(err, EINVAL, "there is no route of kind %d", (int)r->kind);
}

/* Only what the kind has, so that equal routes are equal hops. */
static struct hop hop_of(const struct vrf *v, const struct forward_route *r)
{
    struct hop h = {.kind = (uint8_t)r->kind};
    if (r->kind != ROUTE_REMOTE && r->kind != ROUTE_BLACKHOLE)
        h.port = r->port;
    if (r->kind == ROUTE_ATTACHED || r->kind == ROUTE_GATEWAY || r->kind == ROUTE_LOCAL)
        h.vlan = r->vlan;
    if (r->kind == ROUTE_GATEWAY)
        h.gateway = r->gateway;
    if (r->kind == ROUTE_REMOTE) {
        h.tenant = v->tenant;
        h.service_sid = r->service_sid;
        h.encrypted = r->encrypted;
        if (r->encrypted) {
            h.peer = r->peer;
            h.sa_vrf = v->id;
        }
        memcpy(h.path_of_class, r->path_of_class, sizeof h.path_of_class);
    }
    return h;
}

int forward_route_set(
    struct forward *f, uint32_t vrf, const struct ip_prefix *p, const struct forward_route *r, struct error *err)
{
    struct vrf *v = vrf_find(f, vrf);
    if (!v)
        return error_set(err, ENOENT, "there is no VRF %u", vrf);
    int rc = check(f, v, p, r, err);
    if (rc)
        return rc;
    struct hop like = hop_of(v, r);
    return vrf_put(f, v, p, &like, err);
}

int forward_route_del(struct forward *f, uint32_t vrf, const struct ip_prefix *p)
{
    struct vrf *v = vrf_find(f, vrf);
    return v ? vrf_remove(f, v, p, false) : -ENOENT;
}

int forward_route_find(
    struct forward *f, uint32_t vrf, const struct ip_addr *a, struct forward_route *ret, struct ip_prefix *ret_prefix)
{
    struct vrf *v = vrf_find(f, vrf);
    if (!v || (a->family != IP_V4 && a->family != IP_V6))
        return -ENOENT;
    uint32_t index = poptrie_match(vrf_table(v, a->family), &a->a, ret_prefix);
    if (index == HOP_NONE)
        return -ENOENT;
    const struct hop *h = &f->hops.hops[index];
    *ret = (struct forward_route){
        .kind = h->kind == HOP_SID ? ROUTE_LOCAL : (enum route_kind)h->kind, /* a SID of ours is ours */
        .port = h->port,
        .vlan = h->vlan,
        .gateway = h->gateway,
        .service_sid = h->service_sid,
        .encrypted = h->encrypted,
        .peer = h->peer,
    };
    memcpy(ret->path_of_class, h->path_of_class, sizeof ret->path_of_class);
    return 0;
}
