/* src/lane/credit.h under CBMC, bit by bit (docs/lanes-proof.md). Run by tests/proof/credit, which also breaks the header
 * in several ways and wants each of them refuted.
 *
 * induction(): the theorem for every history, however long. Any state that satisfies the invariant, and any one step: of
 *     the sender, of the receiver, or the arrival of any frame of which is true what is true of every frame ever sent. The
 *     invariant holds again, and what is known of frames stays true. No loops, so no bound.
 * histories(): the same functions from the beginning on, through every history of STEPS steps, with frames that are kept
 *     for ever and arrive in any order, twice, or never. No invariant is assumed, so it shows that the one above excuses
 *     nothing. */
#include "lane/credit.h"

#include <assert.h>

#define assume __CPROVER_assume
#define lemma(x)                                                                                                       \
    do {                                                                                                               \
        assert(x);                                                                                                     \
        assume(x);                                                                                                     \
    } while (0) /* proved, and then known to what follows */
#ifndef COUNTERS_MOST
#define COUNTERS_MOST (1ull << 62)
#endif
#ifndef WINDOW_MOST
#define WINDOW_MOST CREDIT_WINDOW_MOST
#endif
#define PACKET_MOST 16u         /* cells of a packet: 32 KiB */
#define OLD_MOST    0x80000000u /* cells that were sent after a packet when it arrives; releases after a frame */

_Bool nondet_bool(void);
uint8_t nondet_u8(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

/* Frames, as they were when they were sent. */
enum kind { DATA, CREDIT, RELEASE, SYNC, KINDS };
struct frame {
    enum kind kind;
    uint32_t need, generation;
    uint64_t number; /* data: of its first cell. CREDIT, RELEASE: L. SYNC: S */
};

struct lane {
    struct credit_sender s;
    struct credit_receiver r;
    _Bool acked; /* a CREDIT of the sender's generation has come: only then does it release again */
};

/* --- steps ------------------------------------------------------------------------------------------------------ */

enum step { SEND, GIVE_BACK, REPEAT, QUIET, LEAVE, WINDOW, ADVERTISE, ARRIVE, STEPS_KINDS };

/* What somebody does by himself. True: *ret was sent. */
static _Bool act(struct lane *l, enum step what, struct frame *ret)
{
    struct credit_receiver before = l->r;
    uint32_t cells = nondet_u32();
    switch (what) {
    case SEND:
        assume(cells >= 1 && cells <= PACKET_MOST);
        if (!credit_may_send(&l->s, cells))
            return 0;
        *ret = (struct frame){DATA, .need = cells, .number = credit_send(&l->s, cells)};
        return 1;
    case GIVE_BACK:
        if (!l->acked)
            return 0;
        credit_release(&l->s, cells);
        l->acked = 0;
        *ret = (struct frame){RELEASE, .generation = l->s.generation, .number = l->s.limit};
        return 1;
    case REPEAT:
        if (l->acked)
            return 0;
        *ret = (struct frame){RELEASE, .generation = l->s.generation, .number = l->s.limit};
        return 1;
    case QUIET:
        *ret = (struct frame){SYNC, .number = l->s.sent};
        return 1;
    case LEAVE: /* packets that the receiver holds */
        assume(cells <= credit_occupied(&l->r));
        credit_free(&l->r, cells);
        assert(credit_occupied(&l->r) == before.arrived - before.freed - cells);
        return 0;
    case WINDOW:
        assume(cells <= WINDOW_MOST);
        l->r.window = cells;
        return 0;
    default:
        *ret = (struct frame){CREDIT, .generation = l->r.generation, .number = credit_advertise(&l->r)};
        return 1;
    }
}

static _Bool same(const struct credit_receiver *a, const struct credit_receiver *b)
{
    return a->arrived == b->arrived && a->freed == b->freed && a->limit == b->limit && a->lost == b->lost &&
           a->generation == b->generation;
}

static void data_arrives(struct lane *l, const struct frame *f)
{
    struct credit_receiver before = l->r;
    uint64_t gap = f->number - before.arrived, lost = 0;
    enum credit_arrival a = credit_arrive(&l->r, (uint32_t)f->number, f->need, &lost);
    assert(a != CREDIT_BEYOND); /* nobody is accused who kept to what he was told */
    if (f->number < before.arrived) {
        assert(a == CREDIT_BEHIND && same(&l->r, &before)); /* and nothing is counted twice */
        return;
    }
    assert(a == (gap == 0 ? CREDIT_IN_ORDER : CREDIT_GAP));
    assert(lost == gap && l->r.lost == before.lost + gap); /* exactly those in between */
    lemma(l->r.arrived == f->number + f->need);
    lemma(credit_occupied(&l->r) == before.arrived - before.freed + f->need); /* and only the packet is held */
    lemma(l->s.sent - l->r.arrived == l->s.sent - before.arrived - gap - f->need);
    lemma(credit_reserved(&l->r) == before.limit - before.freed - gap);
}

static void arrive(struct lane *l, const struct frame *f)
{
    struct credit_receiver before = l->r;
    switch (f->kind) {
    case DATA:
        data_arrives(l, f);
        break;
    case CREDIT:
        credit_update(&l->s, f->generation, f->number);
        if (f->generation == l->s.generation)
            l->acked = 1;
        break;
    case RELEASE:
        credit_reclaim(&l->r, f->generation, f->number);
        break;
    default:
        credit_sync(&l->r, f->number);
        assert(l->r.lost - before.lost == l->r.arrived - before.arrived);
        assert(l->r.arrived == (f->number > before.arrived ? f->number : before.arrived));
        assert(l->r.arrived - l->r.freed == before.arrived - before.freed); /* what is held stays held */
    }
}

/* --- the theorem for every history -------------------------------------------------------------------------------- */

/* F <= R <= S <= Lmax <= L <= F + W, in differences; generations. W: no window was ever larger. */
static _Bool invariant(const struct lane *l, uint32_t window)
{
    uint64_t freed = l->r.freed, most = window;
    return l->r.arrived - freed <= most && l->s.sent - l->r.arrived <= most && l->s.limit - l->s.sent <= most &&
           l->r.limit - l->s.limit <= most && l->r.limit - freed <= most && l->r.window <= window &&
           (l->s.generation == l->r.generation || (!l->acked && l->s.generation == l->r.generation + 1));
}

/* What is true of every frame ever sent, when it arrives. */
static _Bool known(const struct frame *f, const struct lane *l)
{
    switch (f->kind) {
    case DATA:
        return f->need >= 1 && f->need <= PACKET_MOST && f->number <= l->s.sent && l->s.sent - f->number >= f->need &&
               l->s.sent - f->number <= OLD_MOST;
    case CREDIT: { /* of a generation that the receiver once had, and of this one no more than it told last */
        uint32_t age = l->r.generation - f->generation;
        return age < OLD_MOST && (age > 0 || f->number <= l->r.limit);
    }
    case RELEASE: { /* of a generation that the sender once had; not reclaimed yet: its limit has not moved since */
        uint32_t age = l->s.generation - f->generation;
        return age < OLD_MOST && (age > 0 || l->s.generation == l->r.generation || f->number == l->s.limit);
    }
    default:
        return f->number <= l->s.sent;
    }
}

/* So that what is known of the frames under way stays true: numbers only grow, within a generation. */
static void stays_known(const struct lane *was, const struct lane *l)
{
    assert(l->s.sent - was->s.sent <= PACKET_MOST);
    assert(
        l->r.generation == was->r.generation ? l->r.limit >= was->r.limit : l->r.generation == was->r.generation + 1);
    assert(l->s.generation == was->s.generation || l->s.generation == was->s.generation + 1);
    if (l->s.generation == was->s.generation && l->s.generation != l->r.generation)
        assert(l->s.limit == was->s.limit);
}

static struct lane any_lane(uint32_t window)
{
    uint64_t freed = nondet_u64();
    uint32_t held = nondet_u32(), flying = nondet_u32(), unused = nondet_u32(), untold = nondet_u32();
    struct lane l = {.acked = nondet_bool()};
    assume(freed < COUNTERS_MOST && held <= window && flying <= window && unused <= window && untold <= window);
    assume(held + flying <= window && unused + untold <= window - held - flying);
    l.r.freed = freed;
    l.r.arrived = freed + held;
    l.s.sent = l.r.arrived + flying;
    l.s.limit = l.s.sent + unused;
    l.r.limit = l.s.limit + untold;
    l.r.lost = nondet_u64();
    assume(l.r.lost <= freed);
    l.r.window = nondet_u32();
    l.s.generation = nondet_u32();
    l.r.generation = nondet_u32();
    return l;
}

#ifndef STEP
#define STEP nondet_u8() % STEPS_KINDS
#endif
#ifndef KIND
#define KIND nondet_u8() % KINDS
#endif
#ifndef BEHIND
#define BEHIND nondet_bool()
#endif

/* A packet's number told by how far it is from the one expected, again for the solver. */
static struct frame any_frame(const struct lane *l)
{
    struct frame f = {KIND, nondet_u32(), nondet_u32(), nondet_u64()};
    if (f.kind == DATA) {
        uint32_t far = nondet_u32();
        f.number = BEHIND ? l->r.arrived - far : l->r.arrived + far;
    }
    return f;
}

void induction(void)
{
    uint32_t window = nondet_u32();
    assume(window <= WINDOW_MOST);
    struct lane begin = {.acked = 1, .r.window = window};
    assert(invariant(&begin, window));

    struct lane l = any_lane(window), was = l;
    struct frame comes = any_frame(&l), sent;
    enum step what = STEP;
    assume(invariant(&l, window) && known(&comes, &l));
    _Bool news = 0;
    if (what == ARRIVE)
        arrive(&l, &comes);
    else
        news = act(&l, what, &sent);
    if (l.r.window > window)
        window = l.r.window;
    assert(invariant(&l, window));
    stays_known(&was, &l);
    assert(!news || known(&sent, &l));
#ifdef REACH
    assert(0); /* wanted to fail: the assumptions allow something */
#endif
}

/* S - F <= W, and L - F pays for what is held, what flies and what may still be sent. */
void theorem(void)
{
    uint32_t window = nondet_u32();
    assume(window <= WINDOW_MOST);
    struct lane l = any_lane(window);
    assume(invariant(&l, window));
    assert(l.r.freed <= l.r.arrived && l.r.arrived <= l.s.sent && l.s.sent <= l.s.limit && l.s.limit <= l.r.limit);
    assert(l.s.sent - l.r.freed <= window);
    assert(credit_occupied(&l.r) + (l.s.limit - l.r.arrived) <= credit_reserved(&l.r));
}

/* --- histories from the beginning ----------------------------------------------------------------------------------- */

#ifndef STEPS
#define STEPS 6
#endif
#define SMALL 3u

void histories(void)
{
    /* numbers that are about to come around in 32 bits, or not */
    uint64_t begin = nondet_bool() ? 0 : 0xfffffffeu;
    struct lane l = {{begin, begin, 0}, {begin, begin, begin, 0, 0, nondet_u32()}, 1};
    struct frame kept[STEPS];
    unsigned n = 0;
    assume(l.r.window <= SMALL);
    for (unsigned i = 0; i < STEPS; i++) {
        struct frame f;
        enum step what = nondet_u8() % STEPS_KINDS;
        if (what == ARRIVE) {
            uint8_t which = nondet_u8();
            assume(which < n);
            arrive(&l, &kept[which]);
        } else if (act(&l, what, &f)) {
            assume(f.kind != DATA || f.need <= 2);
            kept[n++] = f;
        }
        assume(l.r.window <= SMALL);
        assert(l.s.sent - l.r.freed <= SMALL && credit_occupied(&l.r) <= SMALL);
        assert(l.s.sent <= l.s.limit && l.s.limit <= l.r.limit && l.r.arrived <= l.s.sent && l.r.freed <= l.r.arrived);
    }
}
