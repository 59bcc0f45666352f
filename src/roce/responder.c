/* The responder of a reliable connection (InfiniBand Architecture vol. 1, 9.7.4 and 9.7.5.1): takes packets in order only,
 * tells a gap once, acknowledges when asked (one answer for all that was asked before it could be sent), and tells the
 * requester of congestion marks. */
#include "roce/qp.h"

/* Does this packet continue what came before it? Notes what may come next. */
static bool fits(struct roce_responder *r, const struct roce_packet *p)
{
    bool begins = p->opcode == ROCE_WRITE_FIRST || p->opcode == ROCE_WRITE_ONLY;
    if (begins != (r->mtu == 0))
        return false;
    switch (p->opcode) {
    case ROCE_WRITE_ONLY:
        return true;
    case ROCE_WRITE_FIRST:
        if (p->payload < 256 || p->payload & (p->payload - 1))
            return false;
        r->mtu = p->payload;
        r->left = p->size - p->payload; /* > 0: the decoder saw to it */
        return true;
    case ROCE_WRITE_MIDDLE:
        if (p->payload != r->mtu || p->payload >= r->left)
            return false;
        r->left -= p->payload;
        return true;
    default:
        if (p->payload > r->mtu || p->payload != r->left)
            return false;
        r->mtu = r->left = 0;
        return true;
    }
}

static void take(struct roce_responder *r, const struct roce_packet *p, struct roce_host *h, int64_t now)
{
    if (!fits(r, p)) {
        r->broken = true;
        r->nak_psn = p->psn;
        r->answer = ROCE_ANSWER_INVALID;
        return;
    }
    r->expected = (r->expected + 1) & ROCE_PSN_MASK;
    r->told = false;
    h->stats.rx_payload += p->payload;
    if (p->opcode == ROCE_WRITE_LAST || p->opcode == ROCE_WRITE_ONLY) {
        r->msn = (r->msn + 1) & 0xffffff;
        h->stats.rx_messages++;
    }
    if (!h->stats.rx_first_ns)
        h->stats.rx_first_ns = h->stats.rx_last_ns = now;
    if (now - h->stats.rx_last_ns > h->stats.rx_silence_ns)
        h->stats.rx_silence_ns = now - h->stats.rx_last_ns;
    h->stats.rx_last_ns = now;
    if (p->ack_request)
        r->answer |= ROCE_ANSWER_ACK;
}

/* A gap: the packet is dropped as adapters do, and the first one to show the gap is answered. */
static void ahead(struct roce_responder *r, struct roce_host *h)
{
    h->stats.out_of_order++;
    if (r->told)
        return;
    r->told = true;
    r->nak_psn = r->expected;
    r->answer |= ROCE_ANSWER_NAK;
}

void roce_responder_write(struct roce_responder *r, const struct roce_packet *p, struct roce_host *h, int64_t now)
{
    r->heard_ns = now;
    if (p->ecn == ROCE_CE) {
        h->stats.ce_marked++;
        if (now - r->cnp_ns >= h->config.cnp_interval_ns) {
            r->cnp_ns = now;
            r->cnp = true;
        }
    }
    uint32_t distance = (p->psn - r->expected) & ROCE_PSN_MASK;
    if (r->broken) {
        h->stats.unexpected++;
    } else if (distance == 0) {
        take(r, p, h, now);
    } else if (distance < 1u << 23) {
        ahead(r, h);
    } else {
        h->stats.duplicates++;
        if (p->ack_request) /* the acknowledgement was lost: say again how far we are */
            r->answer |= ROCE_ANSWER_ACK;
    }
}

void roce_responder_emit(struct roce_responder *r, struct roce_stats *stats, struct roce_packet *ret)
{
    *ret = (struct roce_packet){.src = r->to,
        .dst = r->peer,
        .dscp = r->dscp,
        .hops = 64,
        .src_port = r->port,
        .opcode = ROCE_ACKNOWLEDGE,
        .pkey = 0xffff,
        .qp = r->qp,
        .psn = r->nak_psn,
        .msn = r->msn};
    if (r->answer & ROCE_ANSWER_INVALID) {
        ret->syndrome = ROCE_NAK_INVALID;
        r->answer = 0;
    } else if (r->answer & ROCE_ANSWER_NAK) { /* acknowledges what is before it as well */
        ret->syndrome = ROCE_NAK_SEQUENCE;
        r->answer &= (uint8_t)~ROCE_ANSWER_NAK;
    } else {
        ret->syndrome = ROCE_ACK;
        ret->psn = (r->expected - 1) & ROCE_PSN_MASK;
        r->answer = 0;
    }
    if (ret->syndrome == ROCE_ACK)
        stats->acks_sent++;
    else
        stats->naks_sent++;
}
