#include "telemetry/history.h"

#include <errno.h>
#include <stdlib.h>

int history_create(struct history **ret, uint32_t packets, uint32_t lanes)
{
    if (!packets || packets > 1u << 26 || !lanes || lanes > 65536)
        return -EINVAL;
    struct history *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    uint32_t size = 1;
    while (size < packets)
        size *= 2;
    h->mask = size - 1;
    h->lanes = lanes;
    h->ring = calloc(size, sizeof *h->ring);
    h->lane = calloc(lanes, sizeof *h->lane);
    if (!h->ring || !h->lane) {
        history_free(h);
        return -ENOMEM;
    }
    *ret = h;
    return 0;
}

void history_free(struct history *h)
{
    if (!h)
        return;
    free(h->lane);
    free(h->ring);
    free(h);
}

static const struct history_packet *packet_of(const struct history *h, uint64_t position)
{
    return &h->ring[position & h->mask];
}

/* The entry `ago` before `position`, if there was one and the ring still holds it. */
static int earlier(const struct history *h, uint64_t position, uint32_t ago, uint64_t *ret)
{
    if (!ago || ago > position || h->pushed - (position - ago) > (uint64_t)h->mask + 1)
        return 0;
    *ret = position - ago;
    return 1;
}

static void reverse(struct history_packet *p, unsigned n)
{
    for (unsigned i = 0; i < n / 2; i++) {
        struct history_packet t = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = t;
    }
}

unsigned history_find(
    const struct history *h, uint16_t lane, uint32_t cell, uint32_t cells, struct history_packet *ret, unsigned most)
{
    if (lane >= h->lanes || !h->lane[lane].last)
        return 0;
    uint64_t at = h->lane[lane].last - 1, to;
    if (h->pushed - at > (uint64_t)h->mask + 1)
        return 0;
    unsigned n = 0;
    for (;;) {
        const struct history_packet *p = packet_of(h, at);
        if ((int32_t)(p->cell + p->cells - cell) <= 0)
            break; /* before the range */
        if (earlier(h, at, p->skip, &to) && (int32_t)(packet_of(h, to)->cell - (cell + cells)) >= 0) {
            at = to; /* the milestone is still behind the range: so is all between */
            continue;
        }
        if ((int32_t)(p->cell - (cell + cells)) < 0) {
            if (n == most)
                break;
            ret[n++] = *p;
        }
        if (!earlier(h, at, p->back, &to))
            break;
        at = to;
    }
    reverse(ret, n);
    return n;
}
