/* VRFs: a table of routes per family each, whose values are hops. VRF 0 is the underlay; local SIDs live in its table too,
 * because to a packet they are just its longest match (RFC 8986 section 3: "matches a FIB entry locally instantiated"). */
#ifndef MERIDIAN_FORWARD_VRF_H
#define MERIDIAN_FORWARD_VRF_H

#include "forward/forward_inner.h"

struct vrf *vrf_find(const struct forward *, uint32_t id); /* NULL: there is none */
void vrf_free_all(struct forward *);

/* Puts a route to a hop like this one. -EEXIST: a local SID stands there and this is none, or the other way round. */
int vrf_put(struct forward *, struct vrf *, const struct ip_prefix *, const struct hop *like, struct error *);
/* -ENOENT, also when `sid` says that the other kind is meant. */
int vrf_remove(struct forward *, struct vrf *, const struct ip_prefix *, bool sid);
/* The hop at exactly this prefix, or NULL. */
const struct hop *vrf_exact(const struct forward *, const struct vrf *, const struct ip_prefix *);

static inline struct poptrie *vrf_table(const struct vrf *v, uint8_t family)
{
    return (struct poptrie *)(family == IP_V4 ? &v->v4 : &v->v6);
}

/* The hop for an address of the underlay; NULL: none. */
static inline const struct hop *underlay_find(struct forward *f, struct prefix_key da)
{
    uint64_t mixed = (da.hi ^ da.lo * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    struct da_entry *e = &f->da_cache[mixed >> 54];
    if (forward_unlikely(e->hi != da.hi || e->lo != da.lo || e->version != f->underlay_version)) {
        e->hop = poptrie_walk(&f->vrfs[0]->v6, da.hi, da.lo);
        e->hi = da.hi;
        e->lo = da.lo;
        e->version = f->underlay_version;
    }
    return e->hop == HOP_NONE ? NULL : &f->hops.hops[e->hop];
}
_Static_assert(DA_CACHE_SIZE == 1u << 10, "ten bits of the mix");

#endif
