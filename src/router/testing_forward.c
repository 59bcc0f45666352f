#include "router/testing_forward.h"

#include "lane/packet.h"

void forward_receive(struct forward *f, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    unsigned to = port ^ 1u;
    f->port[port].in += n;
    for (unsigned i = 0; i < n; i++) {
        packet_meta(pkts[i])->next = NULL;
        if (f->port[to].head)
            packet_meta(f->port[to].tail)->next = pkts[i];
        else
            f->port[to].head = pkts[i];
        f->port[to].tail = pkts[i];
        f->port[to].n++;
    }
}

uint64_t forward_ready_ports(const struct forward *f)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 4; i++)
        bits |= (uint64_t)(f->port[i].n > 0) << i;
    return bits;
}

unsigned forward_transmit(struct forward *f, uint16_t port, struct rte_mbuf **ret, unsigned most, int64_t now)
{
    unsigned n = 0;
    for (; n < most && f->port[port].head; n++) {
        ret[n] = f->port[port].head;
        f->port[port].head = packet_meta(ret[n])->next;
        f->port[port].n--;
    }
    f->port[port].out += n;
    return n;
}

void forward_sent(struct forward *f, uint16_t port, struct rte_mbuf *const *pkts, unsigned n, int64_t now)
{
    f->port[port].sent += n;
    for (unsigned i = 0; i < n; i++)
        f->free(pkts[i]);
}

int64_t forward_port_next(const struct forward *f, uint16_t port, int64_t now)
{
    return f->port[port].n ? now : INT64_MAX;
}

void forward_awake(struct forward *f, int64_t now)
{
    (void)f;
    (void)now;
}

int64_t forward_poll(struct forward *f, int64_t now)
{
    f->polls++;
    return now + f->poll_every_ns;
}

void forward_link_down(struct forward *f, uint16_t port, int64_t now)
{
    f->link_downs++;
}

struct loss_log *forward_loss(struct forward *f)
{
    return &f->loss;
}
