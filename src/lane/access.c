#include "lane/access.h"

#include "base/bytes.h"
#include "lane/port_inner.h"
#include "telemetry/loss.h"
#include "wire/ip.h"

#include <errno.h>

/* --- ECN --------------------------------------------------------------------------------------------------- */

static bool mark_v4(uint8_t *h)
{
    uint8_t tos = h[IP4_TOS];
    if (!(tos & 3))
        return false;
    if ((tos & 3) == 3)
        return true;
    /* ~(~HC + ~m + m'): the word of version, IHL and TOS grows by the difference (RFC 1624, equation 3). */
    uint32_t old = bytes_get_be16(h), new = old | 3;
    uint32_t sum = (uint16_t)~bytes_get_be16(h + IP4_SUM) + (uint16_t)~old + new;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    h[IP4_TOS] = (uint8_t)(tos | 3);
    bytes_put_be16(h + IP4_SUM, (uint16_t)~sum);
    return true;
}

/* The traffic class straddles the first two bytes; its ECN bits are bits 5 and 4 of the second. */
static bool mark_v6(uint8_t *h)
{
    if (!(h[1] & 0x30))
        return false;
    h[1] |= 0x30;
    return true;
}

bool access_mark_ce(struct rte_mbuf *m)
{
    unsigned l3 = packet_meta(m)->l3;
    if (!l3 || l3 + IP4_SIZE > m->data_len)
        return false;
    uint8_t *h = packet_at(m, l3);
    switch (h[0] >> 4) {
    case IP_V4:
        return mark_v4(h);
    case IP_V6:
        return mark_v6(h);
    default:
        return false;
    }
}

/* --- a queue's limits --------------------------------------------------------------------------------------- */

static bool feeder_known(const struct queue *q, const struct packet_meta *meta)
{
    for (unsigned i = 0; i < q->feeders; i++)
        if (q->feeder[i].port == meta->in_port && q->feeder[i].priority == meta->pfc_priority)
            return true;
    return false;
}

static void feeder_stop(struct queue *q, const struct packet_meta *meta, int64_t now)
{
    if (meta->in_port >= PORT_MOST || meta->pfc_priority > 7)
        return;
    struct port *host = q->port->set->ports[meta->in_port];
    if (!host || !port_pause_spoken(host, meta->pfc_priority) || q->feeders == QUEUE_FEEDERS || feeder_known(q, meta))
        return;
    q->feeder[q->feeders++] = (struct queue_feeder){(uint8_t)meta->in_port, meta->pfc_priority};
    port_pause_hold(host, meta->pfc_priority, now);
}

void queue_let_go(struct queue *q, int64_t now)
{
    while (q->feeders > 0) {
        struct queue_feeder *f = &q->feeder[--q->feeders];
        struct port *host = q->port->set->ports[f->port];
        if (host)
            port_pause_unhold(host, f->priority, now);
    }
}

void queue_relieve(struct queue *q, int64_t now)
{
    if (q->cells <= q->limits.pfc_xon_cells)
        queue_let_go(q, now);
}

int queue_admit(struct queue *q, struct rte_mbuf *m, int64_t now)
{
    const struct packet_meta *meta = packet_meta(m);
    const struct queue_limits *l = &q->limits;
    uint32_t cells = q->cells + meta->cells;
    if (l->drop_cells && cells > l->drop_cells && !meta->accounted)
        return q->ingress ? LOSS_POLICED : LOSS_TAIL;
    if (l->ecn_cells && cells > l->ecn_cells && access_mark_ce(m))
        q->marked_packets++;
    if (q->ingress && l->pfc_xoff_cells && cells > l->pfc_xoff_cells)
        feeder_stop(q, meta, now);
    return 0;
}

/* --- planning ------------------------------------------------------------------------------------------------ */

uint64_t access_headroom_bytes(uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu)
{
    uint64_t flying = (uint64_t)((unsigned __int128)rate_bps * (uint64_t)(rtt_ns > 0 ? rtt_ns : 0) / 8000000000u);
    return flying + 2 * (uint64_t)queue_wire_bytes(mtu + ETHER_SIZE);
}

uint32_t access_headroom_cells(uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu, uint32_t frame)
{
    uint32_t wire = queue_wire_bytes(frame);
    uint64_t packets = (access_headroom_bytes(rate_bps, rtt_ns, mtu) + wire - 1) / wire;
    uint64_t cells = packets * packet_cells(frame);
    return cells > UINT32_MAX ? UINT32_MAX : (uint32_t)cells;
}

int access_limits_check(
    const struct queue_limits *l, uint64_t rate_bps, int64_t rtt_ns, uint32_t mtu, struct error *err)
{
    uint32_t headroom = access_headroom_cells(rate_bps, rtt_ns, mtu, mtu + ETHER_SIZE);
    if (l->ecn_cells && l->pfc_xoff_cells && l->ecn_cells >= l->pfc_xoff_cells)
        return error_set(err, EINVAL, "ECN must mark (above %u cells) before PFC pauses (above %u): set ecn lower",
            l->ecn_cells, l->pfc_xoff_cells);
    if (l->pfc_xoff_cells && l->pfc_xon_cells >= l->pfc_xoff_cells)
        return error_set(err, EINVAL, "a paused priority must resume (at %u cells) below where it is paused (%u)",
            l->pfc_xon_cells, l->pfc_xoff_cells);
    if (l->pfc_xoff_cells && l->drop_cells && l->drop_cells < (uint64_t)l->pfc_xoff_cells + headroom)
        return error_set(err, EINVAL,
            "a paused host still sends up to %u cells (its rate times the round trip and two packets): "
            "drop must be at least %llu cells, not %u",
            headroom, (unsigned long long)l->pfc_xoff_cells + headroom, l->drop_cells);
    return 0;
}

static const char *class_name(uint8_t c)
{
    static const char *const name[LANE_CLASSES] = {"control", "inference", "parameter", "bulk"};
    return c < LANE_CLASSES ? name[c] : "unknown";
}

int access_priorities_check(
    const struct access_priority *map, unsigned n, const uint8_t spoken[PORT_MOST], struct error *err)
{
    const struct access_priority *owner[PORT_MOST][8] = {{NULL}};
    for (unsigned i = 0; i < n; i++) {
        const struct access_priority *a = &map[i];
        if (a->port >= PORT_MOST || a->priority > 7 || a->class_ >= LANE_CLASSES)
            return error_set(
                err, EINVAL, "line %u of the priority map: ports go to %d, priorities to 7", i + 1, PORT_MOST - 1);
        if (!(spoken[a->port] >> a->priority & 1))
            continue;
        const struct access_priority **first = &owner[a->port][a->priority];
        if (*first && (*first)->tenant != a->tenant)
            return error_set(err, EINVAL,
                "port %u, priority %u is shared by tenant %u (%s) and tenant %u (%s): pausing one would stop the "
                "other; "
                "give each tenant priorities of its own there, or leave priority %u out of the port's PFC priorities",
                a->port, a->priority, (*first)->tenant, class_name((*first)->class_), a->tenant, class_name(a->class_),
                a->priority);
        if (!*first)
            *first = a;
    }
    return 0;
}
