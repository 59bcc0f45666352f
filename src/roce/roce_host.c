/* The host around its queue pairs: how it begins and ends, and what it counted. */
#include "roce/roce_host.h"

#include "base/clock.h"
#include "base/rng.h"
#include "roce/qp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define RESPONDERS   1024
#define LINE_BPS     100000000000ull
#define CNP_INTERVAL (50 * NS_PER_US)
#define CNP_DSCP     48

/* --- life --- */

static int check(const struct roce_host_config *c, struct error *err)
{
    bool families = c->address.family == IP_V4 || c->address.family == IP_V6;
    if (!families || (c->also.family && c->also.family + c->address.family != IP_V4 + IP_V6))
        return error_set(err, EINVAL, "a host has an IPv4 address, an IPv6 address or one of each");
    if (!(c->lose >= 0 && c->lose <= 1))
        return error_set(err, EINVAL, "the share of packets to lose is between 0 and 1");
    if (c->responders_most > 1u << 20 || c->cnp_dscp > 63)
        return error_set(err, EINVAL, "at most 1048576 responders, DSCP at most 63");
    for (int i = 0; c->priority_of_dscp && i < 64; i++)
        if (c->priority_of_dscp[i] > 7)
            return error_set(err, EINVAL, "DSCP %d has priority %u: there are 0 to 7", i, c->priority_of_dscp[i]);
    return 0;
}

static void fill_in(struct roce_host *h)
{
    struct roce_host_config *c = &h->config;
    for (uint8_t i = 0; i < 64; i++)
        h->priority_of_dscp[i] = c->priority_of_dscp ? c->priority_of_dscp[i] : i / 8;
    c->priority_of_dscp = h->priority_of_dscp;
    c->responders_most = c->responders_most ? c->responders_most : RESPONDERS;
    c->line_bps = c->line_bps ? c->line_bps : LINE_BPS;
    c->cnp_interval_ns = c->cnp_interval_ns > 0 ? c->cnp_interval_ns : CNP_INTERVAL;
    c->cnp_dscp = c->cnp_dscp ? c->cnp_dscp : CNP_DSCP;
    h->first_qp = 256 + rng_below(c->seed, 0, (1u << 24) - 256 - ROCE_FLOWS_MOST);
    h->cnps.tail = &h->cnps.head;
    for (int i = 0; i < 8; i++) {
        h->answers[i].tail = &h->answers[i].head;
        h->ready[i].tail = &h->ready[i].head;
    }
}

int roce_host_create(struct roce_host **ret, const struct roce_host_config *config, struct error *err)
{
    int rc = check(config, err);
    if (rc)
        return rc;
    struct roce_host *h = calloc(1, sizeof(*h));
    if (!h)
        return error_set(err, ENOMEM, "out of memory");
    h->config = *config;
    fill_in(h);
    uint32_t buckets = 16;
    while (buckets < h->config.responders_most)
        buckets *= 2;
    h->bucket_mask = buckets - 1;
    h->buckets = calloc(buckets, sizeof(*h->buckets));
    h->responders = calloc(h->config.responders_most, sizeof(*h->responders));
    if (!h->buckets || !h->responders)
        return roce_host_free(h), error_set(err, ENOMEM, "out of memory");
    *ret = h;
    return 0;
}

void roce_host_free(struct roce_host *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < h->n_requesters; i++)
        roce_requester_free(h->requesters[i]);
    free(h->requesters);
    free(h->heap);
    free(h->responders);
    free(h->buckets);
    free(h);
}

static int make_room(struct roce_host *h)
{
    if (h->n_requesters < h->room)
        return 0;
    uint32_t room = h->room ? 2 * h->room : 16;
    struct roce_requester **r = realloc(h->requesters, room * sizeof(struct roce_requester *));
    if (!r)
        return -ENOMEM;
    h->requesters = r;
    r = realloc(h->heap, room * sizeof(struct roce_requester *));
    if (!r)
        return -ENOMEM;
    h->heap = r;
    h->room = room;
    return 0;
}

int roce_host_connect(struct roce_host *h, const struct roce_flow *f, uint32_t *ret_flow, struct error *err)
{
    bool first = f->peer.family == h->config.address.family;
    if (!f->peer.family || (!first && f->peer.family != h->config.also.family))
        return error_set(err, EINVAL, "the host has no address of its peer's family");
    if (h->n_requesters == ROCE_FLOWS_MOST)
        return error_set(err, EINVAL, "a host has at most %u flows", ROCE_FLOWS_MOST);
    if (make_room(h))
        return error_set(err, ENOMEM, "out of memory");
    struct roce_requester *r;
    int rc = roce_requester_create(&r, f, h, err);
    if (rc)
        return rc;
    r->index = h->n_requesters;
    r->qp = h->first_qp + r->index;
    r->from = first ? h->config.address : h->config.also;
    r->priority = h->priority_of_dscp[r->flow.dscp];
    h->requesters[h->n_requesters++] = r;
    roce_timers_set(h, r, f->start_ns);
    *ret_flow = r->index;
    return 0;
}

/* --- what a person wants to know --- */

bool roce_host_finished(const struct roce_host *h)
{
    for (uint32_t i = 0; i < h->n_requesters; i++)
        if (!roce_requester_finished(h->requesters[i]))
            return false;
    return true;
}

void roce_host_stop(struct roce_host *h, uint32_t flow)
{
    assert(flow < h->n_requesters);
    struct roce_requester *r = h->requesters[flow];
    uint64_t begun = (r->high + r->per_message - 1) / r->per_message * r->per_message;
    if (begun < r->end)
        r->end = begun;
}

uint64_t roce_host_delivered(const struct roce_host *h)
{
    return h->stats.rx_payload;
}

uint32_t roce_host_flows(const struct roce_host *h)
{
    return h->n_requesters;
}

void roce_host_flow_stats(const struct roce_host *h, uint32_t flow, struct roce_stats *ret)
{
    assert(flow < h->n_requesters);
    *ret = h->requesters[flow]->stats;
    ret->acked_payload = roce_requester_acked(h->requesters[flow]);
}

uint64_t roce_host_flow_rate_bps(const struct roce_host *h, uint32_t flow)
{
    assert(flow < h->n_requesters);
    return roce_rate_now(&h->requesters[flow]->rate);
}

void roce_host_stats(const struct roce_host *h, int64_t now, struct roce_stats *ret)
{
    *ret = h->stats;
    ret->paused_ns = h->paused_ns + roce_host_stopped_ns(h, now);
    for (uint32_t i = 0; i < h->n_requesters; i++) {
        struct roce_stats s;
        roce_host_flow_stats(h, i, &s);
        ret->tx_packets += s.tx_packets;
        ret->tx_bytes += s.tx_bytes;
        ret->retransmitted_packets += s.retransmitted_packets;
        ret->acked_payload += s.acked_payload;
        ret->messages += s.messages;
        if (s.tx_first_ns && (!ret->tx_first_ns || s.tx_first_ns < ret->tx_first_ns))
            ret->tx_first_ns = s.tx_first_ns;
        if (s.tx_last_ns > ret->tx_last_ns)
            ret->tx_last_ns = s.tx_last_ns;
        ret->naks_received += s.naks_received;
        ret->timeouts += s.timeouts;
        ret->broken += s.broken;
        ret->cnps_received += s.cnps_received;
    }
}

uint64_t roce_host_received(const struct roce_host *h)
{
    return h->stats.rx_payload;
}

const struct quantile *roce_host_latency(const struct roce_host *h)
{
    return &h->latency;
}
