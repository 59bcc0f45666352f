/* HeavyKeeper over windows, then exact counting of the few that it lets through (elephant.h).
 *
 * The algorithm, for a packet of flow f with b bytes:
 *   1. f is tracked: add b to its current slot and to its window's sum. Done, but for a look at the thresholds.
 *   2. Else in each row of the sketch: an empty bucket, or one from an earlier window, becomes f's with b; f's own grows by
 *      b; another flow's shrinks by b with probability 1.08^-(its count / 512), and becomes f's when nothing is left of it.
 *      Big counts practically never shrink, small ones quickly: mice wear each other out.
 *   3. f's bytes in this window are the larger of its buckets (never too many, but for equal fingerprints). A sixteenth
 *      of the threshold: f is tracked, and these bytes count as having come at the window's beginning, its earliest moment.
 *   4. No place in the table: look at the next few entries round the table and push out one that carries less. */
#include "telemetry/elephant.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

enum { ROWS = 2, SLOTS = 64, LOOKS = 4, DECAYS = 256, DECAY_SHIFT = 9 };
#define NONE UINT32_MAX

struct bucket {
    uint32_t print, bytes, epoch;
};

struct tracked {
    uint64_t flow;
    uint64_t slot;    /* the newest one in `sums` */
    uint64_t window;  /* bytes of all slots */
    uint32_t leaving; /* of the slot that was before them */
    uint64_t bytes, packets;
    int64_t above_ns; /* last time that it was not below the hysteresis */
    uint32_t next;    /* in its chain, or in the free list */
    uint8_t state;    /* enum state */
    uint8_t class_;
    uint32_t tenant;
    uint32_t sums[SLOTS];      /* bytes by slot number % SLOTS */
    int64_t since_ns, said_ns; /* said: the last report */
    uint64_t said_bytes, said_packets;
    uint64_t crossed_rate_bps;
    struct flow_key key;
};

enum state { FREE, WATCHED, CROSSED /* NEW is due */, REPORTED };

struct elephant_table {
    int64_t slot_ns, slot_end_ns;
    uint64_t slot;      /* of now: now / slot_ns */
    uint32_t epoch;     /* slot / SLOTS, never 0 */
    uint32_t mask;      /* of sketch columns */
    uint32_t head_mask; /* of chains */
    uint32_t flows, free, hand, cursor;
    uint32_t crossed;                                   /* entries of which NEW is due */
    uint64_t threshold_bytes, clear_bytes, admit_bytes; /* in a window */
    int64_t window_ns, next_ns;
    struct elephant_stats stats;
    struct bucket *sketch;
    uint32_t *head;
    struct tracked *entry;
    struct elephant_report *gone; /* of elephants that were pushed out: a ring of `flows` */
    uint32_t gone_first, gone_n;
    uint32_t decay[DECAYS]; /* probability by count / 512 B, of 2^32 */
};

static uint64_t bytes_in(uint64_t bps, int64_t ns)
{
    return (uint64_t)((unsigned __int128)bps * (uint64_t)ns / (8 * NS_PER_S));
}

static uint64_t rate_of(uint64_t bytes, int64_t ns)
{
    return ns > 0 ? (uint64_t)((unsigned __int128)bytes * 8 * NS_PER_S / (uint64_t)ns) : 0;
}

static int allocate(struct elephant_table *t, uint32_t buckets)
{
    uint32_t heads = 4;
    while (heads < t->flows * 4)
        heads *= 2;
    t->mask = buckets - 1;
    t->head_mask = heads - 1;
    t->sketch = calloc((size_t)buckets * ROWS, sizeof *t->sketch);
    t->head = malloc(heads * sizeof *t->head);
    t->entry = calloc(t->flows, sizeof *t->entry);
    t->gone = calloc(t->flows, sizeof *t->gone);
    if (!t->sketch || !t->head || !t->entry || !t->gone)
        return -ENOMEM;
    memset(t->head, 0xff, heads * sizeof *t->head);
    for (uint32_t i = 0; i < t->flows; i++)
        t->entry[i].next = i + 1 < t->flows ? i + 1 : NONE;
    return 0;
}

int elephant_create(struct elephant_table **ret, const struct elephant_config *config)
{
    struct elephant_config c = *config;
    c.threshold_bps = c.threshold_bps ? c.threshold_bps : 100000000;
    c.clear_bps = c.clear_bps ? c.clear_bps : c.threshold_bps / 2;
    c.window_ns = c.window_ns ? c.window_ns : 20 * NS_PER_MS;
    c.flows = c.flows ? c.flows : 1024;
    c.buckets = c.buckets ? c.buckets : 4096;
    if (c.window_ns < NS_PER_MS || c.window_ns > 60 * NS_PER_MS || c.clear_bps > c.threshold_bps || c.flows > 1 << 20 ||
        c.buckets > 1 << 20 || (c.buckets & (c.buckets - 1)) || c.threshold_bps > 1000000000000)
        return -EINVAL;
    struct elephant_table *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->flows = c.flows;
    if (allocate(t, c.buckets)) {
        elephant_free(t);
        return -ENOMEM;
    }
    t->slot_ns = c.window_ns / SLOTS;
    t->window_ns = t->slot_ns * SLOTS;
    t->slot_end_ns = INT64_MIN;
    t->next_ns = INT64_MAX;
    t->threshold_bytes = bytes_in(c.threshold_bps, t->window_ns);
    t->clear_bytes = bytes_in(c.clear_bps, t->window_ns);
    t->admit_bytes = t->threshold_bytes / 16;
    t->decay[0] = UINT32_MAX;
    for (int i = 1; i < DECAYS; i++)
        t->decay[i] = (uint32_t)((uint64_t)t->decay[i - 1] * 100 / 108);
    *ret = t;
    return 0;
}

void elephant_free(struct elephant_table *t)
{
    if (!t)
        return;
    free(t->gone);
    free(t->entry);
    free(t->head);
    free(t->sketch);
    free(t);
}

static void clock_forward(struct elephant_table *t, int64_t now)
{
    t->slot = (uint64_t)(now / t->slot_ns);
    t->slot_end_ns = (int64_t)(t->slot + 1) * t->slot_ns;
    t->epoch = (uint32_t)(t->slot / SLOTS) + 1;
}

/* What has left the window since the entry was last looked at. */
static void slide(const struct elephant_table *t, struct tracked *e)
{
    if (t->slot - e->slot > SLOTS) {
        memset(e->sums, 0, sizeof e->sums);
        e->window = e->leaving = 0;
        e->slot = t->slot;
    }
    while (e->slot < t->slot) {
        uint32_t *sum = &e->sums[++e->slot % SLOTS];
        e->window -= *sum;
        e->leaving = *sum;
        *sum = 0;
    }
}

/* Whether the window that ends now holds `most` bytes. Of the slot that is leaving it, the part is counted that lies
 * within, as though its bytes had come evenly. */
static bool reaches(const struct elephant_table *t, const struct tracked *e, uint64_t most, int64_t now)
{
    return e->window >= most ||
           (most - e->window) * (uint64_t)t->slot_ns <= (uint64_t)e->leaving * (uint64_t)(t->slot_end_ns - now);
}

/* --- the table of exact counts ----------------------------------------------------------------------------- */

static bool same_key(const struct flow_key *a, const struct flow_key *b)
{
    return a->family == b->family && a->proto == b->proto && a->src_port == b->src_port && a->dst_port == b->dst_port &&
           a->vrf == b->vrf && ip6_equal(&a->src, &b->src) && ip6_equal(&a->dst, &b->dst);
}

static struct tracked *find(const struct elephant_table *t, const struct flow_key *key, uint64_t flow)
{
    for (uint32_t i = t->head[flow & t->head_mask]; i != NONE; i = t->entry[i].next)
        if (t->entry[i].flow == flow && same_key(&t->entry[i].key, key))
            return &t->entry[i];
    return NULL;
}

static void forget(struct elephant_table *t, struct tracked *e)
{
    uint32_t i = (uint32_t)(e - t->entry), *at = &t->head[e->flow & t->head_mask];
    while (*at != i)
        at = &t->entry[*at].next;
    *at = e->next;
    e->state = FREE;
    e->next = t->free;
    t->free = i;
    t->stats.tracked--;
}

static void report(const struct tracked *e, enum elephant_what what, int64_t now, struct elephant_report *ret)
{
    uint64_t bytes = e->bytes - e->said_bytes;
    *ret = (struct elephant_report){
        .what = what,
        .at_ns = now,
        .since_ns = e->since_ns,
        .from_ns = e->said_ns,
        .key = e->key,
        .flow = e->flow,
        .rate_bps = what == ELEPHANT_NEW ? e->crossed_rate_bps : rate_of(bytes, now - e->said_ns),
        .bytes = e->bytes,
        .packets = e->packets,
        .delta_bytes = bytes,
        .delta_packets = e->packets - e->said_packets,
        .tenant = e->tenant,
        .class_ = e->class_,
    };
}

/* An elephant leaves for a bigger one; its GONE must be told. */
static bool push_out(struct elephant_table *t, struct tracked *e, int64_t now)
{
    if (e->state == REPORTED) {
        if (t->gone_n == t->flows)
            return false;
        report(e, ELEPHANT_GONE, now, &t->gone[(t->gone_first + t->gone_n++) % t->flows]);
        t->stats.reported--;
        t->next_ns = now;
    }
    t->stats.evicted++;
    forget(t, e);
    return true;
}

/* Makes room for a flow of `seen` bytes in this window: elephants give way only to one at least twice their size. */
static bool make_room(struct elephant_table *t, uint64_t seen, int64_t now)
{
    struct tracked *least = NULL;
    for (int i = 0; i < LOOKS; i++) {
        struct tracked *e = &t->entry[t->hand];
        t->hand = t->hand + 1 < t->flows ? t->hand + 1 : 0;
        slide(t, e);
        bool may = e->state == WATCHED ? seen > e->window
                                       : e->state == REPORTED && seen >= t->threshold_bytes && seen > e->window * 2;
        if (may && (!least || e->window < least->window))
            least = e;
    }
    return least && push_out(t, least, now);
}

static struct tracked *admit(
    struct elephant_table *t, const struct flow_key *key, uint64_t flow, uint32_t seen, int64_t now)
{
    if (t->free == NONE && !make_room(t, seen, now)) {
        t->stats.refused++;
        return NULL;
    }
    uint32_t i = t->free, *head = &t->head[flow & t->head_mask];
    struct tracked *e = &t->entry[i];
    t->free = e->next;
    *e = (struct tracked){.flow = flow, .slot = t->slot, .next = *head, .state = WATCHED, .key = *key};
    *head = i;
    e->since_ns = e->said_ns = now;
    e->sums[0] = seen; /* the slot with which this window of the sketch began */
    e->window = seen;
    t->stats.tracked++;
    t->stats.admitted++;
    if (t->next_ns == INT64_MAX)
        t->next_ns = now + t->window_ns;
    return e;
}

/* --- the sketch ---------------------------------------------------------------------------------------------- */

static uint32_t row_count(struct elephant_table *t, struct bucket *b, uint32_t print, uint32_t bytes, uint32_t draw)
{
    if (b->epoch != t->epoch || !b->bytes)
        *b = (struct bucket){print, bytes, t->epoch};
    else if (b->print == print)
        b->bytes = b->bytes + bytes < b->bytes ? UINT32_MAX : b->bytes + bytes;
    else if (b->bytes >> DECAY_SHIFT >= DECAYS || draw > t->decay[b->bytes >> DECAY_SHIFT])
        return 0;
    else if (b->bytes > bytes) {
        b->bytes -= bytes;
        return 0;
    } else
        *b = (struct bucket){print, bytes, t->epoch};
    return b->bytes;
}

/* The bytes of the flow in this window, this packet included, as far as the sketch knows. */
static uint32_t sketch_count(struct elephant_table *t, uint64_t flow, uint32_t bytes)
{
    uint64_t draw = rng_mix(t->stats.packets + 0x9e3779b97f4a7c15u);
    uint32_t print = (uint32_t)(flow * 0x9e3779b97f4a7c15u >> 32);
    struct bucket *first = &t->sketch[flow & t->mask], *second = &t->sketch[t->mask + 1 + (flow >> 32 & t->mask)];
    uint32_t a = row_count(t, first, print, bytes, (uint32_t)draw);
    uint32_t b = row_count(t, second, print, bytes, (uint32_t)(draw >> 32));
    return a > b ? a : b;
}

/* --- what is called from outside ------------------------------------------------------------------------------ */

static void look(struct elephant_table *t, struct tracked *e, int64_t now)
{
    if (e->window >= t->clear_bytes)
        e->above_ns = now;
    if (e->state == WATCHED && reaches(t, e, t->threshold_bytes, now)) {
        e->state = CROSSED;
        t->crossed++;
        e->crossed_rate_bps = rate_of(e->window > t->threshold_bytes ? e->window : t->threshold_bytes, t->window_ns);
        t->next_ns = now;
        t->stats.reported++;
    }
}

void elephant_count(struct elephant_table *t, const struct flow_key *key, uint64_t flow, uint32_t tenant,
    uint8_t class_, uint32_t bytes, int64_t now)
{
    if (now >= t->slot_end_ns)
        clock_forward(t, now);
    t->stats.packets++;
    struct tracked *e = find(t, key, flow);
    if (e) {
        slide(t, e);
        e->sums[e->slot % SLOTS] += bytes;
        e->window += bytes;
    } else {
        uint32_t seen = sketch_count(t, flow, bytes);
        if (seen < t->admit_bytes)
            return;
        e = admit(t, key, flow, seen, now);
        if (!e)
            return;
        e->tenant = tenant;
        e->class_ = class_;
    }
    e->bytes += bytes;
    e->packets++;
    look(t, e, now);
}

/* What is to be said of one entry now: true when *ret was written. */
static bool entry_poll(struct elephant_table *t, struct tracked *e, int64_t now, struct elephant_report *ret)
{
    slide(t, e);
    if (e->state == WATCHED) {
        if (e->window < t->admit_bytes / 2 && now - e->since_ns >= t->window_ns)
            forget(t, e);
        return false;
    }
    if (e->state == CROSSED) {
        report(e, ELEPHANT_NEW, now, ret);
        e->state = REPORTED;
        t->crossed--;
    } else if (now - e->above_ns >= NS_PER_S && e->window < t->clear_bytes) {
        report(e, ELEPHANT_GONE, now, ret);
        t->stats.reported--;
        forget(t, e);
        return true;
    } else if (now - e->said_ns >= NS_PER_S)
        report(e, ELEPHANT_STILL, now, ret);
    else
        return false;
    e->said_ns = now;
    e->said_bytes = e->bytes;
    e->said_packets = e->packets;
    return true;
}

unsigned elephant_poll(struct elephant_table *t, int64_t now, struct elephant_report *ret, unsigned most)
{
    if (now >= t->slot_end_ns)
        clock_forward(t, now);
    unsigned n = 0;
    for (; n < most && t->gone_n; t->gone_n--, t->gone_first = (t->gone_first + 1) % t->flows)
        ret[n++] = t->gone[t->gone_first];
    for (; n < most && t->cursor < t->flows; t->cursor++)
        if (t->entry[t->cursor].state != FREE && entry_poll(t, &t->entry[t->cursor], now, &ret[n]))
            n++;
    if (t->cursor < t->flows) {
        t->next_ns = now; /* the rest at the next call */
        return n;
    }
    t->cursor = 0;
    t->next_ns = t->gone_n || t->crossed ? now : t->stats.tracked ? now + t->window_ns : INT64_MAX;
    return n;
}

int64_t elephant_next(const struct elephant_table *t)
{
    return t->next_ns;
}

void elephant_stats(const struct elephant_table *t, struct elephant_stats *ret)
{
    *ret = t->stats;
}
