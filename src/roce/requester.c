/* The requester of a reliable connection (InfiniBand Architecture vol. 1, 9.7.5 and 9.7.7): writes messages, go-back-N. */
#include "roce/qp.h"

#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>

#define TIMEOUT_NS (4096ll << 14) /* Local ACK Timeout 14, as adapters' drivers set it */
#define RETRIES    7
#define DEPTH      16
#define ACK_EVERY  16
#define WINDOW_TOP (1u << 23) /* half of the PSNs: what is old and what is new stay apart */

uint32_t roce_first_psn(uint32_t qp)
{
    return (uint32_t)rng_mix(qp + 0x726f6365u) & ROCE_PSN_MASK;
}

static int check(const struct roce_flow *f, struct error *err)
{
    if (!f->message_bytes || f->message_bytes > 1u << 30)
        return error_set(err, EINVAL, "a message of %u bytes: 1 to 1073741824 are possible", f->message_bytes);
    if (f->mtu < 256 || f->mtu > ROCE_PAYLOAD_MAX || f->mtu & (f->mtu - 1))
        return error_set(err, EINVAL, "a path MTU of %u: InfiniBand has 256, 512, 1024, 2048 and 4096", f->mtu);
    if (f->window >= WINDOW_TOP)
        return error_set(err, EINVAL, "a window of %u packets: fewer than %u are possible", f->window, WINDOW_TOP);
    if (f->depth > 1u << 20 || f->dscp > 63)
        return error_set(err, EINVAL, "depth is at most 1048576, DSCP at most 63");
    return 0;
}

/* What was not said. */
static void fill_in(struct roce_flow *f)
{
    f->depth = f->depth ? f->depth : DEPTH;
    f->hops = f->hops ? f->hops : 64;
    f->retries = f->retries ? f->retries : RETRIES;
    f->timeout_ns = f->timeout_ns > 0 ? f->timeout_ns : TIMEOUT_NS;
    f->ack_every = f->ack_every ? f->ack_every : ACK_EVERY;
    f->window = f->window ? f->window : WINDOW_TOP - 1;
}

int roce_requester_create(
    struct roce_requester **ret, const struct roce_flow *flow, const struct roce_host *h, struct error *err)
{
    int rc = check(flow, err);
    if (rc)
        return rc;
    struct roce_requester *r = calloc(1, sizeof(*r));
    if (!r)
        return error_set(err, ENOMEM, "out of memory");
    r->flow = *flow;
    fill_in(&r->flow);
    r->posted = malloc(r->flow.depth * sizeof(*r->posted));
    if (!r->posted)
        return roce_requester_free(r), error_set(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < r->flow.depth; i++)
        r->posted[i] = flow->start_ns;
    r->per_message = (flow->message_bytes + flow->mtu - 1) / flow->mtu;
    r->last_bytes = flow->message_bytes - (r->per_message - 1) * flow->mtu;
    r->end = UINT64_MAX;
    if (flow->messages && flow->messages < UINT64_MAX / r->per_message)
        r->end = flow->messages * r->per_message;
    r->timeout_ns = r->wake_ns = ROCE_NEVER;
    roce_rate_init(&r->rate, flow->rate_bps, h->config.line_bps, flow->burst_ns, flow->start_ns);
    *ret = r;
    return 0;
}

void roce_requester_free(struct roce_requester *r)
{
    if (!r)
        return;
    free(r->posted);
    free(r);
}

bool roce_requester_finished(const struct roce_requester *r)
{
    return r->broken || r->una >= r->end;
}

uint64_t roce_requester_acked(const struct roce_requester *r)
{
    return r->una / r->per_message * r->flow.message_bytes + r->una % r->per_message * r->flow.mtu;
}

/* --- sending --- */

/* The first packet that may not be sent for want of acknowledgements. */
static uint64_t window_end(const struct roce_requester *r)
{
    uint64_t by_depth = (r->una / r->per_message + r->flow.depth) * r->per_message;
    uint64_t by_window = r->una + r->flow.window;
    uint64_t end = by_depth < by_window ? by_depth : by_window;
    return end < r->end ? end : r->end;
}

int64_t roce_requester_due(const struct roce_requester *r, int64_t now)
{
    if (r->broken || r->next >= window_end(r))
        return ROCE_NEVER;
    int64_t due = roce_rate_now(&r->rate) || r->next == 0 ? r->rate.due_ns : now;
    if (r->flow.interval_ns > 0 && r->next % r->per_message == 0) {
        int64_t posted = r->flow.start_ns + (int64_t)(r->next / r->per_message) * r->flow.interval_ns;
        due = posted > due ? posted : due;
    }
    return due;
}

static uint8_t opcode_of(uint32_t at, uint32_t of)
{
    if (of == 1)
        return ROCE_WRITE_ONLY;
    return at == 0 ? ROCE_WRITE_FIRST : at == of - 1 ? ROCE_WRITE_LAST : ROCE_WRITE_MIDDLE;
}

void roce_requester_emit(struct roce_requester *r, int64_t now, struct roce_packet *ret)
{
    uint64_t n = r->next++;
    uint32_t at = (uint32_t)(n % r->per_message);
    bool last = at == r->per_message - 1;
    *ret = (struct roce_packet){.src = r->from,
        .dst = r->flow.peer,
        .dscp = r->flow.dscp,
        .ecn = r->flow.ecn ? ROCE_ECT0 : ROCE_NOT_ECT,
        .hops = r->flow.hops,
        .flow_label = (uint32_t)rng_mix(r->qp) & 0xfffff, /* one path for a queue pair, many for many */
        .src_port = (uint16_t)(0xc000 | (rng_mix(r->qp) >> 20 & 0x3fff)),
        .opcode = opcode_of(at, r->per_message),
        .ack_request = last || (n + 1) % r->flow.ack_every == 0 || r->next >= window_end(r),
        .pkey = 0xffff,
        .qp = r->qp,
        .psn = (roce_first_psn(r->qp) + (uint32_t)n) & ROCE_PSN_MASK,
        .payload = last ? r->last_bytes : r->flow.mtu};
    if (ret->opcode == ROCE_WRITE_FIRST || ret->opcode == ROCE_WRITE_ONLY) {
        ret->address = 0x100000000ull; /* the same buffer again and again */
        ret->key = r->qp;
        ret->size = r->flow.message_bytes;
    }
    uint32_t bytes = roce_size(ret);
    if (!r->stats.tx_packets++)
        r->stats.tx_first_ns = now;
    r->stats.tx_bytes += bytes;
    if (n < r->high)
        r->stats.retransmitted_packets++;
    else
        r->high = r->next;
    roce_rate_sent(&r->rate, bytes, now);
    if (ret->ack_request) { /* 9.7.6.1.3: what did not ask is not waited for */
        r->asked = r->next;
        if (r->timeout_ns == ROCE_NEVER)
            r->timeout_ns = now + r->flow.timeout_ns;
    }
}

/* --- acknowledgements --- */

/* Messages up to packet `una` are complete: their times, and in each one's place the next one that is posted now. */
static void complete(struct roce_requester *r, uint64_t una, struct quantile *latency, int64_t now)
{
    for (uint64_t k = r->una / r->per_message, end = una / r->per_message; k < end; k++) {
        int64_t posted = r->posted[k % r->flow.depth];
        if (r->flow.interval_ns > 0)
            posted = r->flow.start_ns + (int64_t)k * r->flow.interval_ns;
        quantile_add(latency, now - posted);
        r->posted[k % r->flow.depth] = now;
        r->stats.messages++;
    }
}

/* Everything below packet `una` has arrived. */
static void progress(struct roce_requester *r, uint64_t una, struct quantile *latency, int64_t now)
{
    if (una <= r->una)
        return;
    complete(r, una, latency, now);
    r->una = una;
    r->stats.tx_last_ns = now;
    if (r->next < una) /* it was about to be sent again */
        r->next = una;
    r->timeouts = 0;
    r->timeout_ns = una < r->asked ? now + r->flow.timeout_ns : ROCE_NEVER;
}

/* Sends everything outstanding again; answers are due when it asks again. */
static void go_back(struct roce_requester *r)
{
    r->next = r->asked = r->una;
    r->timeout_ns = ROCE_NEVER;
}

static void break_off(struct roce_requester *r)
{
    r->broken = true;
    r->stats.broken++;
    r->timeout_ns = ROCE_NEVER;
}

void roce_requester_acknowledged(struct roce_requester *r, const struct roce_packet *p, struct quantile *latency,
    struct roce_stats *host, int64_t now)
{
    /* Which packet this PSN is: the nearest to the oldest outstanding one. */
    uint32_t distance = (p->psn - roce_first_psn(r->qp) - (uint32_t)r->una) & ROCE_PSN_MASK;
    bool ack = (p->syndrome & 0xe0) == 0, old = distance >= WINDOW_TOP;
    uint64_t una = r->una + distance + (ack ? 1 : 0);
    if (r->broken || old)
        return; /* of an acknowledgement that overtook this one */
    if (una > r->high || (!ack && (una == r->high || (p->syndrome & 0xe0) != 0x60))) {
        host->unexpected++;
        return;
    }
    progress(r, una, latency, now);
    if (ack)
        return;
    r->stats.naks_received++;
    if (p->syndrome != ROCE_NAK_SEQUENCE)
        break_off(r);
    else
        go_back(r);
}

void roce_requester_timer(struct roce_requester *r, int64_t now)
{
    if (r->timeout_ns > now)
        return;
    r->stats.timeouts++;
    if (r->timeouts++ >= r->flow.retries && !r->flow.retry_forever) {
        break_off(r);
        return;
    }
    go_back(r);
}
