/* PFC (IEEE 802.1Qbb) at a port, both ways: which priorities the other side has stopped here, and which ones we have it
 * stop. Between hosts and access ports always; between routers only in the comparison mode, where arriving packets are
 * accounted to the port that they came in by and a full share pauses the upstream router's whole priority, with all that
 * follows: head-of-line blocking, and deadlock in a ring (router.md; clause L1 wants neither). */
#include "lane/lane.h"
#include "lane/port_inner.h"
#include "telemetry/loss.h"
#include "wire/pfc.h"

#include <errno.h>

enum { QUANTA_MOST = 0xffff };
#define RATE_UNKNOWN_BPS 10000000000u /* of a port without a rate: what quanta are taken for */

static int64_t quanta_ns(const struct port *p, uint16_t quanta)
{
    return pfc_ns(quanta, p->config.rate_bps ? p->config.rate_bps : RATE_UNKNOWN_BPS);
}

/* With a host on the configured priorities; with a router in the comparison mode only. */
bool port_pause_spoken(const struct port *p, uint8_t priority)
{
    if (p->config.kind == PORT_CORE)
        return p->set->mode == LANE_MODE_PFC;
    return p->config.pfc_priorities >> priority & 1;
}

/* --- what we tell -------------------------------------------------------------------------------------------- */

void port_pause_hold(struct port *p, uint8_t priority, int64_t now)
{
    if (p->pfc.holders[priority]++ > 0)
        return;
    port_begin(p, now);
    p->pfc.tell |= (uint8_t)(1u << priority);
}

void port_pause_unhold(struct port *p, uint8_t priority, int64_t now)
{
    if (--p->pfc.holders[priority] > 0)
        return;
    port_begin(p, now);
    p->pfc.tell |= (uint8_t)(1u << priority);
}

static uint8_t wanted(const struct port_pfc *f)
{
    uint8_t bits = 0;
    for (unsigned i = 0; i < 8; i++)
        bits |= (uint8_t)((f->holders[i] > 0) << i);
    return bits;
}

struct rte_mbuf *port_pause_frame(struct port *p, int64_t now)
{
    const struct lane_above *above = p->set->above;
    uint8_t want = wanted(&p->pfc);
    struct pfc frame = {.enabled = p->pfc.tell & (want | p->pfc.stopped)}; /* others came and went untold */
    if (!frame.enabled) {
        p->pfc.tell = 0;
        return NULL;
    }
    struct rte_mbuf *m = above->alloc(above->user);
    if (!m)
        return NULL;
    for (unsigned i = 0; i < 8; i++)
        frame.quanta[i] = frame.enabled & want & 1u << i ? QUANTA_MOST : 0;
    *packet_meta(m) = (struct packet_meta){0};
    pfc_put(packet_at(m, 0), p->config.mac, &frame);
    m->data_len = PFC_SIZE;
    m->pkt_len = PFC_SIZE;
    p->pfc.stopped = (uint8_t)((p->pfc.stopped & ~frame.enabled) | (frame.enabled & want));
    p->pfc.tell = 0;
    p->pfc.told++;
    p->pfc.refresh_ns = p->pfc.stopped ? now + quanta_ns(p, QUANTA_MOST) / 2 : INT64_MAX;
    return m;
}

/* --- what we hear --------------------------------------------------------------------------------------------- */

static void resume(struct port *p, unsigned priority, int64_t now)
{
    p->paused &= (uint8_t)~(1u << priority);
    struct queue *q;
    while ((q = p->parked[priority].head))
        queue_wake(q, now);
}

int port_pfc_received(struct port *p, const uint8_t *body, size_t len, int64_t now)
{
    struct pfc frame;
    if (pfc_decode(&frame, body, len) != 0)
        return -EPROTO;
    p->pfc.heard++;
    bool spoken = false;
    for (uint8_t i = 0; i < 8; i++) {
        if (!(frame.enabled >> i & 1) || !port_pause_spoken(p, i))
            continue;
        spoken = true;
        if (frame.quanta[i]) {
            p->paused |= (uint8_t)(1u << i);
            p->paused_until[i] = now + quanta_ns(p, frame.quanta[i]);
        } else {
            resume(p, i, now);
        }
    }
    return spoken ? 0 : -ENOTSUP;
}

void port_pause_expire(struct port *p, int64_t now)
{
    for (unsigned i = 0; i < 8; i++)
        if (p->paused >> i & 1 && p->paused_until[i] <= now)
            resume(p, i, p->paused_until[i]);
    if (p->pfc.refresh_ns <= now)
        p->pfc.tell |= p->pfc.stopped;
}

int64_t port_pause_next(const struct port *p)
{
    int64_t next = p->pfc.refresh_ns;
    for (unsigned i = 0; i < 8; i++)
        if (p->paused >> i & 1 && p->parked[i].head && p->paused_until[i] < next)
            next = p->paused_until[i];
    return next;
}

/* --- the comparison mode: shares of a router's buffer, per port of arrival and priority -------------------------- */

int port_account_arrival(struct port *p, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    if (p->set->mode != LANE_MODE_PFC)
        return 0;
    if (p->config.kind == PORT_CORE)
        meta->pfc_priority = port_priority_of_class[p->config.one_queue ? LANE_BULK : meta->class_];
    if (!port_pause_spoken(p, meta->pfc_priority))
        return 0;
    const struct queue_limits *l = &p->config.lossy;
    uint32_t *cells = &p->pfc.ingress_cells[meta->pfc_priority];
    meta->cells = packet_cells(m->pkt_len);
    meta->in_port = p->index;
    if (*cells + meta->cells > l->drop_cells) {
        port_drop(p, m, LOSS_TAIL, now);
        return -ENOBUFS;
    }
    *cells += meta->cells;
    meta->accounted = 1;
    if (*cells > p->pfc.ingress_peak_cells)
        p->pfc.ingress_peak_cells = *cells;
    if (*cells > l->pfc_xoff_cells && !(p->pfc.full >> meta->pfc_priority & 1)) {
        p->pfc.full |= (uint8_t)(1u << meta->pfc_priority);
        port_pause_hold(p, meta->pfc_priority, now);
    }
    return 0;
}

void port_unaccount(struct port_set *set, struct rte_mbuf *m, int64_t now)
{
    struct packet_meta *meta = packet_meta(m);
    struct port *p = set->ports[meta->in_port];
    meta->accounted = 0;
    if (!p)
        return;
    uint32_t *cells = &p->pfc.ingress_cells[meta->pfc_priority];
    *cells -= meta->cells;
    if (*cells > p->config.lossy.pfc_xon_cells || !(p->pfc.full >> meta->pfc_priority & 1))
        return;
    p->pfc.full &= (uint8_t)~(1u << meta->pfc_priority);
    port_pause_unhold(p, meta->pfc_priority, now);
}
