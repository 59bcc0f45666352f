/* What a plan becomes where real processes run it. A program sleeps and is woken late, for a time beside which a fibre's round
 * trip is short. Windows that were sized for the fibre alone would make lanes slow, so each lane asks for what its rate needs
 * over both; hellos are slower, for the same reason; and a host may be left aside by its kernel for a while before it obeys a
 * pause, so there is room for what comes in that time before it is policed. */
#include "scenario/plan.h"

#define CELL        2048u /* bytes (lane/packet.h) */
#define OVERHEAD    400u  /* outer headers, at most */
#define MTU_LEAST   1280u
#define GAP_S       20e-3
#define PACKET_MEAN 512u /* bytes; each takes a cell */
#define ECN_LEAST   (256u << 10)
#define ECN_S       50e-6
#define REACTION_S  50e-3
#define HELLO_NS    20000000
#define SILENCE_NS  200000000

static uint64_t whole_cells(uint64_t bytes)
{
    return (bytes + CELL - 1) / CELL * CELL;
}

/* Bytes that core links must carry for these hosts: the largest host's MTU and what encapsulation adds, but not more than
 * the scenario says of any link. */
static uint32_t core_mtu(const struct scenario *s)
{
    uint32_t mtu = MTU_LEAST;
    for (uint32_t i = 0; i < s->n_hosts; i++)
        mtu = s->hosts[i].mtu + OVERHEAD > mtu ? s->hosts[i].mtu + OVERHEAD : mtu;
    for (uint32_t i = 0; i < s->n_links; i++)
        mtu = s->links[i].mtu < mtu ? s->links[i].mtu : mtu;
    return mtu;
}

/* Least window of a lane on each link of its path. */
static uint64_t window_of(const struct plan *p, const struct plan_path *path, const struct plan_slice *x)
{
    int64_t delay_ns = 0;
    for (uint32_t i = 0; i < path->n_links; i++) {
        const struct scenario_link *l = &p->scenario->links[path->links[i]];
        delay_ns = l->delay_ns > delay_ns ? l->delay_ns : delay_ns;
    }
    uint64_t rate = x->rate_bps < path->rate_bps ? x->rate_bps : path->rate_bps;
    uint64_t wanted = (uint64_t)((double)rate / 8 * (GAP_S + 2e-9 * (double)delay_ns) / PACKET_MEAN) + 8;
    return wanted * CELL > x->window_least ? wanted * CELL : whole_cells(x->window_least);
}

static struct plan_port *port_of(struct plan *p, uint32_t router, uint32_t link)
{
    struct plan_router *r = &p->routers[router];
    for (uint32_t i = 0; i < r->n_ports; i++)
        if (!r->ports[i].access && r->ports[i].link == link)
            return &r->ports[i];
    return NULL;
}

/* Every port at which this lane arrives promises so much more. */
static void promise(struct plan *p, uint32_t router, const struct plan_path *path, uint64_t window)
{
    uint32_t at = router;
    for (uint32_t l = 0; l < path->n_links; l++) {
        const struct scenario_link *x = &p->scenario->links[path->links[l]];
        at = x->router[x->router[0] == at ? 1 : 0];
        struct plan_port *port = port_of(p, at, path->links[l]);
        if (port)
            port->pool += window;
    }
}

static void limits(struct plan_slice *x)
{
    uint64_t ecn = (uint64_t)((double)x->rate_bps / 8 * ECN_S);
    if (!x->ecn_at)
        x->ecn_at = ecn > ECN_LEAST ? ecn : ECN_LEAST;
    if (!x->xoff_at)
        x->xoff_at = 4 * x->ecn_at;
    if (!x->drop_at)
        x->drop_at = x->xoff_at + (uint64_t)((double)x->rate_bps / 8 * REACTION_S) + 12 * x->ecn_at;
}

void plan_for_lab(struct plan *p)
{
    uint32_t mtu = core_mtu(p->scenario);
    p->for_lab = true;
    p->hello_ns = p->hello_ns ? p->hello_ns : HELLO_NS;
    p->silence_ns = p->silence_ns ? p->silence_ns : SILENCE_NS;
    for (uint32_t i = 0; i < p->scenario->n_routers; i++) {
        struct plan_router *r = &p->routers[i];
        for (uint32_t k = 0; k < r->n_ports; k++)
            if (!r->ports[k].access) {
                r->ports[k].mtu = mtu;
                r->ports[k].pool = whole_cells(r->ports[k].pool);
            }
        for (uint32_t k = 0; k < r->n_paths; k++)
            r->paths[k].mtu = r->paths[k].mtu < mtu ? r->paths[k].mtu : mtu;
    }
    for (uint32_t i = 0; i < p->scenario->n_routers; i++)
        for (uint32_t k = 0; k < p->routers[i].n_slices; k++) {
            struct plan_slice *x = &p->routers[i].slices[k];
            const struct plan_path *path = &p->routers[i].paths[x->path - 1];
            const struct plan_path *second = x->protect ? &p->routers[i].paths[x->protect - 1] : path;
            uint64_t first = window_of(p, path, x), other = window_of(p, second, x);
            limits(x);
            x->window_least = first > other ? first : other;
            promise(p, i, path, x->window_least);
            if (x->protect)
                promise(p, i, second, x->window_least);
        }
}
