/* Whose packet this is: a responder's, found by peer and queue pair or made for it, or one of our requesters'. */
#include "base/clock.h"
#include "base/rng.h"
#include "roce/qp.h"
#include "wire/ip_text.h"

#include <errno.h>

#define REPLACE_AFTER NS_PER_S /* a queue pair silent for so long gives way to a new one */
#define SEARCH_EVERY  (100 * NS_PER_MS)

static struct roce_responder **bucket_of(struct roce_host *h, const struct ip_addr *peer, uint32_t qp)
{
    uint64_t half[2];
    memcpy(half, peer->a.b, 16);
    return &h->buckets[rng_mix(rng_mix(half[0] ^ h->config.seed) ^ half[1] ^ (uint64_t)qp << 8) & h->bucket_mask];
}

/* One that is free, or the one that has been silent longest if that is long enough. */
static struct roce_responder *find_place(struct roce_host *h, int64_t now)
{
    if (h->n_responders < h->config.responders_most)
        return &h->responders[h->n_responders++];
    if (now < h->full_until_ns)
        return NULL;
    struct roce_responder *oldest = NULL;
    for (uint32_t i = 0; i < h->n_responders; i++) {
        struct roce_responder *r = &h->responders[i];
        if (!r->answer && !r->cnp && (!oldest || r->heard_ns < oldest->heard_ns))
            oldest = r;
    }
    if (!oldest || now - oldest->heard_ns < REPLACE_AFTER) {
        h->full_until_ns = now + SEARCH_EVERY;
        return NULL;
    }
    struct roce_responder **at = bucket_of(h, &oldest->peer, oldest->qp);
    while (*at != oldest)
        at = &(*at)->hash_next;
    *at = oldest->hash_next;
    return oldest;
}

static struct roce_responder *responder_of(struct roce_host *h, const struct roce_packet *p, int64_t now)
{
    struct roce_responder **bucket = bucket_of(h, &p->src, p->qp), *r = *bucket;
    while (r && !(r->qp == p->qp && ip_addr_equal(&r->peer, &p->src)))
        r = r->hash_next;
    if (r)
        return r;
    r = find_place(h, now);
    if (!r)
        return NULL;
    *r = (struct roce_responder){.peer = p->src,
        .to = p->dst,
        .qp = p->qp,
        .expected = roce_first_psn(p->qp),
        .port = p->src_port,
        .dscp = p->dscp,
        .cnp_ns = now - h->config.cnp_interval_ns};
    bucket = bucket_of(h, &p->src, p->qp);
    r->hash_next = *bucket;
    *bucket = r;
    return r;
}

static void receive_write(struct roce_host *h, const struct roce_packet *p, int64_t now)
{
    h->stats.rx_packets++;
    h->stats.rx_bytes += roce_size(p);
    if (h->config.lose > 0 && rng_uniform(h->config.seed ^ 0x6c6f7365, h->arrivals++) < h->config.lose) {
        h->stats.lost_on_purpose++;
        return;
    }
    struct roce_responder *r = responder_of(h, p, now);
    if (!r) {
        h->stats.refused++;
        return;
    }
    bool answered = r->answer, noticed = r->cnp;
    roce_responder_write(r, p, h, now);
    if (r->answer && !answered) {
        struct roce_answers *list = &h->answers[h->priority_of_dscp[r->dscp]];
        r->answer_next = NULL;
        *list->tail = r;
        list->tail = &r->answer_next;
    }
    if (r->cnp && !noticed) {
        r->cnp_next = NULL;
        *h->cnps.tail = r;
        h->cnps.tail = &r->cnp_next;
    }
}

/* ACK, NAK or CNP. */
static void receive_answer(struct roce_host *h, const struct roce_packet *p, int64_t now)
{
    uint32_t index = p->qp - h->first_qp;
    struct roce_requester *r = index < h->n_requesters ? h->requesters[index] : NULL;
    if (!r || !ip_addr_equal(&p->src, &r->flow.peer)) {
        h->stats.unexpected++;
        return;
    }
    if (p->opcode == ROCE_CNP) {
        r->stats.cnps_received++;
        if (r->flow.ecn)
            roce_rate_cnp(&r->rate, now);
    } else {
        roce_requester_acknowledged(r, p, &h->latency, &h->stats, now);
    }
    roce_host_arrange(h, r, now);
}

bool roce_host_receive(struct roce_host *h, const uint8_t *ip, uint32_t have, uint32_t len, int64_t now)
{
    struct roce_packet p;
    int rc = roce_decode(&p, ip, have, len);
    if (rc == -ENOENT)
        return false;
    if (rc) {
        h->stats.malformed++;
        return true;
    }
    if (!ip_addr_equal(&p.dst, &h->config.address) && !ip_addr_equal(&p.dst, &h->config.also))
        return false;
    if (have >= roce_size(&p) && !roce_icrc_valid(ip, roce_size(&p)))
        h->stats.corrupted++;
    else if (p.opcode == ROCE_ACKNOWLEDGE || p.opcode == ROCE_CNP)
        receive_answer(h, &p, now);
    else
        receive_write(h, &p, now);
    return true;
}
