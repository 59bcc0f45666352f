/* The requesters of a host by the time at which they want to be looked at: a binary heap in an array that is as large as
 * there are requesters, each of which knows its place. */
#include "roce/qp.h"

static void place(struct roce_host *h, struct roce_requester *r, uint32_t at)
{
    h->heap[at] = r;
    r->heap_at = at + 1;
}

static void up(struct roce_host *h, struct roce_requester *r, uint32_t at)
{
    for (; at && h->heap[(at - 1) / 2]->wake_ns > r->wake_ns; at = (at - 1) / 2)
        place(h, h->heap[(at - 1) / 2], at);
    place(h, r, at);
}

static void down(struct roce_host *h, struct roce_requester *r, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= h->heap_n)
            break;
        if (child + 1 < h->heap_n && h->heap[child + 1]->wake_ns < h->heap[child]->wake_ns)
            child++;
        if (h->heap[child]->wake_ns >= r->wake_ns)
            break;
        place(h, h->heap[child], at);
        at = child;
    }
    place(h, r, at);
}

static void take_out(struct roce_host *h, struct roce_requester *r)
{
    uint32_t at = r->heap_at - 1;
    struct roce_requester *last = h->heap[--h->heap_n];
    r->heap_at = 0;
    if (last == r)
        return;
    if (at && h->heap[(at - 1) / 2]->wake_ns > last->wake_ns)
        up(h, last, at);
    else
        down(h, last, at);
}

int64_t roce_timers_next(const struct roce_host *h)
{
    return h->heap_n ? h->heap[0]->wake_ns : ROCE_NEVER;
}

void roce_timers_set(struct roce_host *h, struct roce_requester *r, int64_t wake_ns)
{
    if (r->heap_at)
        take_out(h, r);
    r->wake_ns = wake_ns;
    if (wake_ns != ROCE_NEVER)
        up(h, r, h->heap_n++);
}
