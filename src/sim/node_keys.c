/* Keys of encrypted VPNs: what xSEC would have made out of beacons (src/xsec) is there from the start, one generation for each life of a
 * router, as long as it lives. A router that starts again gets new ones, as a real one does, since its numbers start again
 * too; those of its life before stay with the others. Nothing is encrypted here (forward_ops.virtual_payload), so the key
 * itself is zero. */
#include "sim/sim_inner.h"

#define GENERATIONS 4096u

static bool has_vpn(const struct plan_router *r, uint32_t vpn)
{
    for (uint32_t i = 0; i < r->n_vpns; i++)
        if (r->vpns[i] == vpn)
            return true;
    return false;
}

/* What `from`, in its n-th life, sends to `to` in a VPN: the end of it that `at` has. */
static int install(const struct node *at, const struct node *from, const struct node *to, uint32_t life, uint32_t vpn,
    struct error *err)
{
    const struct plan *p = at->sim->plan;
    int rc = 0;
    for (unsigned c = 0; c < LANE_CLASSES && !rc; c++) {
        struct esp_sa_config sa = {.spi = ((vpn + 1) * GENERATIONS + life % GENERATIONS) * LANE_CLASSES + c,
            .peer = p->routers[(at == from ? to : from) - at->sim->nodes].loopback, /* one may not have started */
            .vrf = p->scenario->vpns[vpn].vrf,
            .lane = (uint16_t)c,
            .sending = at == from};
        rc = forward_sa_install(at->f, &sa, err);
    }
    return rc;
}

static int with_peer(struct node *n, struct node *peer, uint32_t vpn, struct error *err)
{
    int rc = install(n, n, peer, n->lives, vpn, err);
    if (rc || !peer->f)
        return rc; /* it will do the rest when it starts */
    rc = install(n, peer, n, peer->lives - 1, vpn, err);
    return rc ? rc : install(peer, n, peer, n->lives, vpn, err);
}

int node_keys(struct node *n, struct error *err)
{
    const struct plan *p = n->sim->plan;
    const struct plan_router *r = &p->routers[n->index];
    int rc = 0;
    for (uint32_t i = 0; i < r->n_vpns && !rc; i++) {
        const struct scenario_vpn *v = &p->scenario->vpns[r->vpns[i]];
        if (!v->encrypted)
            continue;
        rc = forward_vrf_encrypt(n->f, v->vrf, true, err);
        for (uint32_t k = 0; k < p->scenario->n_routers && !rc; k++)
            if (k != n->index && has_vpn(&p->routers[k], r->vpns[i]))
                rc = with_peer(n, &n->sim->nodes[k], r->vpns[i], err);
    }
    return rc;
}
