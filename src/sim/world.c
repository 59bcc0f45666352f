/* A run's world from its plan: routers, the wires between them, cables and hosts; and where packets get lost. */
#include "base/bytes.h"
#include "crypto/curve25519.h"
#include "sim/sim_inner.h"
#include "wire/hbh.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- losses ---------------------------------------------------------------------------------------------------------------- */

void sim_fold(struct sim *s, enum sim_trace what, uint64_t a, uint64_t b, int64_t now)
{
    s->hash = rng_mix(s->hash ^ rng_mix(a ^ (uint64_t)what << 60) ^ rng_mix(b + 0x9e3779b97f4a7c15u)) + (uint64_t)now;
}

/* Cells of a lane's packet, 0 for others: as lanes count them. */
static uint32_t lane_cells(const struct rte_mbuf *m)
{
    const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);
    if (m->data_len < ETHER_SIZE + IP6_SIZE + 8 || bytes_get_be16(f + ETHER_TYPE) != ETHER_IP6 ||
        f[ETHER_SIZE + IP6_NEXT] != IP_PROTO_HOPOPT)
        return 0;
    const uint8_t *p = f + ETHER_SIZE + IP6_SIZE;
    unsigned size = 8 * (p[1] + 1u);
    for (unsigned i = 2; i + 2 <= size; i += p[i] == 0 ? 1 : 2u + p[i + 1])
        if (p[i] == HBH_LANE_DEFAULT)
            return packet_cells(m->pkt_len);
    return 0;
}

static void on_wire_loss(void *user, struct wire *w, struct rte_mbuf *m, enum wire_loss why, int64_t now)
{
    struct sim *s = user;
    slab_judge(m, false);
    struct slab_note n = slab_note(m);
    if (w->index < 2 * s->plan->scenario->n_links && why != WIRE_CUT)
        s->lane_cells[w->index] += lane_cells(m);
    s->lost_cut += why == WIRE_CUT;
    s->lost_control += why == WIRE_CONTROL_LOST;
    if (n.flow == SLAB_NO_FLOW)
        return;
    s->lost_wire += !(n.kind & NOTE_COPY);
    hosts_lost(&s->hosts, &n, 0);
    s->at_wire = true;
    sim_fold(s, TRACE_WIRE, (uint64_t)n.flow << 32 | w->index, n.number, now);
    if (s->options.trace)
        fprintf(s->options.trace, "%" PRId64 " link-lost wire %u flow %u number %" PRIu64 "\n", now, w->index, n.flow,
            n.number);
}

void sim_lost_at_dead(struct sim *s, struct node *n, struct rte_mbuf *m, int64_t now)
{
    n->sim->inside = n;
    slab_free(&s->slab, m);
    n->sim->inside = NULL;
}

/* A packet of a stream is freed: delivered or lost by a wire (counted there), or a router's doing. */
static void on_free(void *user, struct rte_mbuf *m)
{
    struct sim *s = user;
    if (!s->at_wire && s->inside)
        slab_judge(m, false);
    struct slab_note n = slab_note(m);
    bool copy = n.kind & NOTE_COPY;
    s->host_packets += !copy;
    if (s->at_wire) {
        s->at_wire = false;
        return;
    }
    if (!s->inside)
        return;
    s->inside->lost += !copy;
    s->inside->lost_copies += copy;
    s->inside->copies_killed += copy && !s->inside->f;
    s->inside->lost_dead += !copy && !s->inside->f;
    hosts_lost(&s->hosts, &n, 1);
    sim_fold(s, TRACE_ROUTER, (uint64_t)n.flow << 32 | s->inside->index, n.number, s->events.now_ns);
    if (s->options.trace)
        fprintf(s->options.trace, "%" PRId64 " router-lost %s flow %u number %" PRIu64 "\n", s->events.now_ns,
            s->plan->scenario->routers[s->inside->index].name, n.flow, n.number);
}

static void on_delivery(void *user, const struct slab_note *n, int64_t now)
{
    sim_fold(user, TRACE_DELIVERED, n->flow, n->number, now);
}

void sim_lane_event(struct sim *s, struct node *n, const struct lane_event *e)
{
    static const char *const names[] = {"link-up", "link-down", "miscabled", "open", "refused", "down", "watchdog",
        "recovered", "moved", "move-done", "move-reverted", "leaving", "version"};
    unsigned k = (unsigned)e->kind;
    if (s->options.trace)
        fprintf(s->options.trace, "%" PRId64 " lane-%s router %s lane %" PRIx64 " port %u detail %u peer %" PRIu64 "\n",
            e->at_ns, k < sizeof(names) / sizeof(names[0]) ? names[k] : "event",
            s->plan->scenario->routers[n->index].name, e->lane, e->port, e->detail, e->peer);
}

/* --- making ------------------------------------------------------------------------------------------------------------------ */

int sim_public_key(const uint8_t seed[32], uint8_t ret[32], struct error *err)
{
    struct ed25519 *k;
    if (ed25519_create(&k, seed))
        return error_set(err, ENOMEM, "no memory for a key");
    memcpy(ret, ed25519_public(k), 32);
    ed25519_free(k);
    return 0;
}

static void watch(struct sim *s, struct wire *w, uint32_t index)
{
    w->on_loss = on_wire_loss;
    w->user = s;
    w->index = index;
}

static int link_wire(struct sim *s, uint32_t link, uint32_t side)
{
    const struct scenario_link *l = &s->plan->scenario->links[link];
    struct wire *w = &s->wires[2 * link + side];
    struct node *from = &s->nodes[l->router[side]], *to = &s->nodes[l->router[!side]];
    uint16_t out = 0, in = 0;
    for (uint32_t i = 0; i < s->plan->routers[l->router[side]].n_ports; i++) {
        const struct plan_port *p = &s->plan->routers[l->router[side]].ports[i];
        if (!p->access && p->link == link) {
            out = (uint16_t)i;
            in = (uint16_t)p->peer_port;
        }
    }
    struct wire_ends ends = {.from = from,
        .pull = node_pull,
        .sent = node_sent,
        .from_port = out,
        .to = to,
        .to_port = in,
        .arrive = node_arrive};
    from->out[out] = w;
    int rc = wire_init(
        w, &s->events, &s->slab, &ends, l->rate_bps, l->delay_ns, rng_mix(s->seed ^ 0x77697265) + 2 * link + side);
    wire_set_quality(w, &l->quality);
    watch(s, w, 2 * link + side);
    return rc;
}

static int cable_wire(struct sim *s, uint32_t i, struct error *err)
{
    struct cable *c = &s->hosts.cables[i];
    struct node *n = &s->nodes[c->router];
    const struct plan_port *p = &s->plan->routers[c->router].ports[c->port];
    struct wire_ends ends = {.from = n,
        .pull = node_pull,
        .sent = node_sent,
        .from_port = (uint16_t)c->port,
        .to = c,
        .arrive = cable_arrive};
    int rc = hosts_cable(&s->hosts, c, n, node_arrive, err);
    if (rc)
        return rc;
    uint32_t index = 2 * s->plan->scenario->n_links + 2 * i;
    watch(s, &c->up, index);
    c->down = n->out[c->port] = &s->downs[i];
    rc = wire_init(c->down, &s->events, &s->slab, &ends, p->rate_bps, p->delay_ns, s->seed ^ index);
    watch(s, c->down, index + 1);
    return rc ? error_set(err, -rc, "no memory") : 0;
}

int sim_build(struct sim *s, struct error *err)
{
    const struct scenario *sc = s->plan->scenario;
    s->nodes = calloc(sc->n_routers + 1, sizeof(*s->nodes));
    s->wires = calloc(2 * sc->n_links + 1, sizeof(*s->wires));
    s->lane_cells = calloc(2 * sc->n_links + 1, sizeof(*s->lane_cells));
    s->downs = calloc(s->hosts.n_cables + 1, sizeof(*s->downs));
    if (!s->nodes || !s->wires || !s->lane_cells || !s->downs)
        return error_set(err, ENOMEM, "no memory");
    int rc = sim_trusted_keys(s, err);
    for (uint32_t l = 0; l < 2 * sc->n_links && !rc; l++)
        if (link_wire(s, l / 2, l % 2))
            rc = error_set(err, ENOMEM, "no memory");
    for (uint32_t i = 0; i < s->hosts.n_cables && !rc; i++)
        rc = cable_wire(s, i, err);
    for (uint32_t i = 0; i < sc->n_routers && !rc; i++)
        rc = node_start(&s->nodes[i], s, i, err);
    s->slab.on_free = on_free;
    s->slab.user = s;
    s->hosts.on_delivery = on_delivery;
    s->hosts.user = s;
    return rc;
}
