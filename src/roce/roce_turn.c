/* Whose turn it is: CNPs, then answers, then the flows that may send, priority by priority and flow by flow. */
#include "roce/qp.h"

#include <assert.h>

void roce_host_arrange(struct roce_host *h, struct roce_requester *r, int64_t now)
{
    int64_t due = roce_requester_due(r, now);
    if (due <= now && !r->ready) {
        r->ready = true;
        r->ring_next = NULL;
        *h->ready[r->priority].tail = r;
        h->ready[r->priority].tail = &r->ring_next;
    }
    int64_t wake = due > now && due < r->timeout_ns ? due : r->timeout_ns;
    if (!r->heap_at || wake < r->wake_ns || r->wake_ns <= now)
        roce_timers_set(h, r, wake);
}

static void run_timers(struct roce_host *h, int64_t now)
{
    while (roce_timers_next(h) <= now) {
        struct roce_requester *r = h->heap[0];
        roce_requester_timer(r, now);
        roce_host_arrange(h, r, now);
    }
}

static bool paused(const struct roce_host *h, unsigned priority, int64_t now)
{
    return h->paused_until[priority] > now;
}

static bool pull_cnp(struct roce_host *h, int64_t now, struct roce_packet *p)
{
    struct roce_responder *r = h->cnps.head;
    if (!r || paused(h, h->priority_of_dscp[h->config.cnp_dscp], now))
        return false;
    h->cnps.head = r->cnp_next;
    if (!h->cnps.head)
        h->cnps.tail = &h->cnps.head;
    r->cnp = false;
    h->stats.cnps_sent++;
    *p = (struct roce_packet){.src = r->to,
        .dst = r->peer,
        .dscp = h->config.cnp_dscp,
        .hops = 64,
        .src_port = r->port,
        .opcode = ROCE_CNP,
        .pkey = 0xffff,
        .becn = true,
        .qp = r->qp};
    return true;
}

static bool pull_answer(struct roce_host *h, int64_t now, struct roce_packet *p)
{
    for (unsigned i = 8; i-- > 0;) {
        struct roce_responder *r = h->answers[i].head;
        if (!r || paused(h, i, now))
            continue;
        roce_responder_emit(r, &h->stats, p);
        if (!r->answer) {
            h->answers[i].head = r->answer_next;
            if (!h->answers[i].head)
                h->answers[i].tail = &h->answers[i].head;
        }
        return true;
    }
    return false;
}

/* The next ready flow of the priorities in turn. */
static bool pull_write(struct roce_host *h, int64_t now, struct roce_packet *p)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned priority = (h->turn + i) % 8;
        struct roce_ring *ring = &h->ready[priority];
        while (ring->head && !paused(h, priority, now)) {
            struct roce_requester *r = ring->head;
            ring->head = r->ring_next;
            if (!ring->head)
                ring->tail = &ring->head;
            r->ready = false;
            bool may = roce_requester_due(r, now) <= now;
            if (may)
                roce_requester_emit(r, now, p);
            roce_host_arrange(h, r, now);
            if (may) {
                h->turn = priority + 1;
                return true;
            }
        }
    }
    return false;
}

bool roce_host_pull(struct roce_host *h, int64_t now, uint8_t *headers, struct roce_out *ret)
{
    struct roce_packet p;
    run_timers(h, now);
    bool control = pull_cnp(h, now, &p) || pull_answer(h, now, &p);
    if (!control && !pull_write(h, now, &p))
        return false;
    *ret = (struct roce_out){.headers = roce_put(headers, &p),
        .payload = p.payload,
        .len = roce_size(&p),
        .priority = h->priority_of_dscp[p.dscp],
        .control = control,
        .peer = p.dst,
        .qp = p.qp,
        .flow = control ? 0 : p.qp - h->first_qp};
    return true;
}

int64_t roce_host_next(const struct roce_host *h, int64_t now)
{
    int64_t next = roce_timers_next(h);
    for (unsigned i = 0; i < 8; i++) {
        bool cnp = h->cnps.head && i == h->priority_of_dscp[h->config.cnp_dscp];
        if ((h->answers[i].head || h->ready[i].head || cnp) && h->paused_until[i] < next)
            next = h->paused_until[i];
    }
    return next;
}

/* --- pauses --- */

/* Before any pause changes, the time since the last change with at least one priority stopped is added up. */
int64_t roce_host_stopped_ns(const struct roce_host *h, int64_t now)
{
    int64_t last = 0;
    for (int i = 0; i < 8; i++)
        last = h->paused_until[i] > last ? h->paused_until[i] : last;
    int64_t end = last < now ? last : now;
    return end > h->accounted_ns ? end - h->accounted_ns : 0;
}

void roce_host_pause(struct roce_host *h, uint8_t priority, int64_t until_ns, int64_t now)
{
    assert(priority < 8);
    h->paused_ns += roce_host_stopped_ns(h, now);
    h->accounted_ns = now;
    if (until_ns > now && !paused(h, priority, now))
        h->stats.pauses++;
    h->paused_until[priority] = until_ns > now ? until_ns : 0;
}
