#include "lane/duplicate.h"

#include <errno.h>
#include <string.h>

#define WAIT_SLACK_NS                                                                                                  \
    5000000 /* beyond four times the lag that was measured: queues on the slower path grow and shrink */
#define WAIT_TIMES 4

/* --- memory ------------------------------------------------------------------------------------------------ */

uint64_t duplicate_memory(uint32_t window)
{
    return (uint64_t)window * sizeof(struct duplicate_slot) + window / 8;
}

void duplicate_init(struct duplicate *d, const struct duplicate_limits *limits, void *memory)
{
    memset(d, 0, sizeof *d);
    d->limits = *limits;
    d->slots = memory;
    d->seen = (uint64_t *)(void *)(d->slots + limits->window);
    d->refused_ns = INT64_MAX;
    d->lag_ns = -1;
}

static struct duplicate_slot *slot_of(const struct duplicate *d, uint64_t number)
{
    return &d->slots[number & (d->limits.window - 1)];
}

static bool was_delivered(const struct duplicate *d, uint64_t number)
{
    uint64_t at = number & (d->limits.window - 1);
    return d->next - number > d->limits.window || (d->seen[at / 64] >> at % 64 & 1);
}

/* The number at `next` is done with. */
static void advance(struct duplicate *d, bool delivered)
{
    uint64_t at = d->next & (d->limits.window - 1), bit = 1ull << at % 64;
    d->seen[at / 64] = delivered ? d->seen[at / 64] | bit : d->seen[at / 64] & ~bit;
    d->delivered += delivered;
    d->lost += !delivered;
    d->next++;
    if (delivered)
        d->refused_ns = INT64_MAX;
}

/* --- what is held ------------------------------------------------------------------------------------------ */

static void put(struct duplicate *d, struct duplicate_slot *s, uint32_t cells, void *item, int64_t now)
{
    uint32_t at = (uint32_t)(s - d->slots);
    *s = (struct duplicate_slot){.item = item, .at_ns = now, .cells = cells, .older = at, .newer = at};
    if (d->held++) {
        s->older = d->newest;
        d->slots[d->newest].newer = at;
    } else {
        d->oldest = at;
    }
    d->newest = at;
    d->held_cells += cells;
    if (d->held_cells > d->held_peak)
        d->held_peak = d->held_cells;
}

static void *take(struct duplicate *d, struct duplicate_slot *s)
{
    uint32_t at = (uint32_t)(s - d->slots);
    void *item = s->item;
    bool first = d->oldest == at, last = d->newest == at;
    if (first)
        d->oldest = s->newer;
    else
        d->slots[s->older].newer = last ? s->older : s->newer;
    if (last)
        d->newest = s->older;
    else
        d->slots[s->newer].older = first ? s->newer : s->older;
    d->held--;
    d->held_cells -= s->cells;
    s->item = NULL;
    return item;
}

/* --- epochs ------------------------------------------------------------------------------------------------ */

bool duplicate_is_new(const struct duplicate *d, uint32_t epoch)
{
    return !d->top || (epoch != d->epoch && epoch != d->before);
}

void *duplicate_flush(struct duplicate *d)
{
    while (d->held) {
        struct duplicate_slot *s = slot_of(d, d->next);
        bool here = s->item;
        advance(d, here);
        if (here)
            return take(d, s);
    }
    return NULL;
}

/* Numbers begin at 1: what is before the first one that came may still come by the other path, if it is not too much. */
void duplicate_begin(struct duplicate *d, uint32_t epoch, uint64_t number)
{
    d->before = d->top ? d->epoch : epoch;
    d->epoch = epoch;
    d->next = number <= d->limits.window ? 1 : number;
    d->top = d->passed[0] = d->passed[1] = d->next;
    d->heard_ns[0] = d->heard_ns[1] = INT64_MIN / 2;
    d->refused_ns = INT64_MAX;
    d->sample = 0;
    memset(d->seen, 0xff, d->limits.window / 8); /* whoever began in the middle wants nothing older */
}

/* --- arrival ----------------------------------------------------------------------------------------------- */

/* How far the slower path is behind: the time between the two copies of one number, of one at a time. */
static void measure(struct duplicate *d, uint64_t number, unsigned path, int64_t now)
{
    if (d->sample == number && path != d->sample_path) {
        int64_t lag = now - d->sample_ns;
        d->lag_ns = lag >= d->lag_ns ? lag : d->lag_ns - (d->lag_ns - lag) / 8;
        d->sample = 0;
    }
    if (d->sample && now - d->sample_ns > d->limits.wait_most_ns)
        d->sample = 0; /* the other path is down */
    if (!d->sample && number >= d->next) {
        d->sample = number;
        d->sample_ns = now;
        d->sample_path = (uint8_t)path;
    }
}

static enum duplicate_verdict behind(struct duplicate *d, uint64_t number)
{
    if (was_delivered(d, number)) {
        d->redundant++;
        return DUPLICATE_REDUNDANT;
    }
    uint64_t at = number & (d->limits.window - 1);
    d->seen[at / 64] |= 1ull << at % 64; /* once */
    d->late++;
    return DUPLICATE_LATE;
}

static enum duplicate_verdict ahead(struct duplicate *d, uint64_t number, uint32_t cells, void *item, int64_t now)
{
    bool beyond = number - d->next >= d->limits.window;
    struct duplicate_slot *s = slot_of(d, number);
    if (!beyond && s->item) {
        d->redundant++;
        return DUPLICATE_REDUNDANT;
    }
    if (beyond || d->held_cells + (uint64_t)cells > d->limits.cells_most) {
        d->refused++;
        if (!d->held && d->refused_ns == INT64_MAX)
            d->refused_ns = now;
        return DUPLICATE_NO_ROOM;
    }
    put(d, s, cells, item, now);
    return DUPLICATE_HOLD;
}

enum duplicate_verdict duplicate_arrive(
    struct duplicate *d, uint32_t epoch, uint64_t number, unsigned path, uint32_t cells, void *item, int64_t now)
{
    if (epoch != d->epoch) {
        d->stale++;
        return DUPLICATE_STALE;
    }
    if (number == UINT64_MAX) { /* nobody counts so far; `top` is behind it */
        d->refused++;
        return DUPLICATE_NO_ROOM;
    }
    measure(d, number, path, now);
    d->passed[path] = number + 1;
    d->heard_ns[path] = now;
    d->top = number + 1 > d->top ? number + 1 : d->top;
    if (number < d->next)
        return behind(d, number);
    if (number > d->next)
        return ahead(d, number, cells, item, now);
    struct duplicate_slot *s = slot_of(d, number);
    if (s->item) { /* given back by a duplicate_next that was not called to its end */
        d->redundant++;
        return DUPLICATE_REDUNDANT;
    }
    advance(d, true);
    return DUPLICATE_DELIVER;
}

/* --- what follows ------------------------------------------------------------------------------------------ */

int64_t duplicate_wait_ns(const struct duplicate *d)
{
    if (d->lag_ns < 0 || d->lag_ns > d->limits.wait_most_ns / WAIT_TIMES)
        return d->limits.wait_most_ns;
    int64_t wait = WAIT_TIMES * d->lag_ns + WAIT_SLACK_NS;
    return wait < d->limits.wait_most_ns ? wait : d->limits.wait_most_ns;
}

/* A path that has passed the missing number will not bring it. One that has not is waited for as long as something comes by it,
 * or until it has been silent for longer than it lags. */
int64_t duplicate_deadline(const struct duplicate *d)
{
    int64_t since = d->held ? d->slots[d->oldest].at_ns : d->refused_ns, until = since;
    if (since == INT64_MAX)
        return INT64_MAX;
    for (unsigned p = 0; p < DUPLICATE_PATHS; p++) {
        int64_t silent = d->heard_ns[p] > since ? d->heard_ns[p] : since;
        if (d->passed[p] <= d->next && silent + duplicate_wait_ns(d) > until)
            until = silent + duplicate_wait_ns(d);
    }
    return until < since + d->limits.wait_most_ns ? until : since + d->limits.wait_most_ns;
}

void *duplicate_next(struct duplicate *d, int64_t now)
{
    while (d->held) {
        struct duplicate_slot *s = slot_of(d, d->next);
        if (s->item) {
            advance(d, true);
            return take(d, s);
        }
        if (now < duplicate_deadline(d))
            return NULL;
        advance(d, false);
    }
    if (d->refused_ns != INT64_MAX && now >= duplicate_deadline(d)) {
        /* The one path was far ahead, the other brings nothing: everything between is gone. */
        d->lost += d->top - d->next;
        memset(d->seen, 0, d->limits.window / 8);
        d->next = d->top;
        d->refused_ns = INT64_MAX;
    }
    return NULL;
}

/* --- what must hold ---------------------------------------------------------------------------------------- */

int duplicate_check(const struct duplicate *d)
{
    uint32_t held = 0, listed = 0, last = d->oldest;
    uint64_t cells = 0;
    for (uint32_t i = 0; i < d->limits.window; i++) {
        held += d->slots[i].item != NULL;
        cells += d->slots[i].item ? d->slots[i].cells : 0;
    }
    for (uint32_t i = d->oldest; listed < d->held; i = d->slots[i].newer, listed++) {
        if (!d->slots[i].item || (listed && d->slots[i].older != last) || d->slots[i].at_ns < d->slots[last].at_ns)
            return -EPROTO;
        last = i;
    }
    if (d->held && last != d->newest)
        return -EPROTO;
    bool fits = held == d->held && cells == d->held_cells && cells <= d->limits.cells_most && d->next <= d->top;
    return fits && (!d->top || d->next) ? 0 : -EPROTO;
}
