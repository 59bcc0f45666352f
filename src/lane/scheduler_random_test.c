/* Random traffic against a model that knows nothing of rings and deficits: queues of all classes with guarantees, caps, packet
 * sizes and arrivals drawn from a seed. After each packet, for every interval that ends there:
 *
 *   work        the port asks for the moment when the wire is free and some cap lets a packet pass, and sends then
 *   caps        never more than rate * time and the burst, and the packet that uses it up
 *   guarantees  a queue with packets is behind rate * time by no more than what others have saved up and one packet of each
 *               take to pass, and by two packets; where nobody can save, that is a round of full packets
 *   classes     what overtakes a higher class was guaranteed
 *   turns       equals differ by no more than what a turn each and the packets that overdraw it come to
 *
 * and each queue is a FIFO that loses nothing. SEED=n in the environment runs that one. */
#include "base/rng.h"
#include "base/test.h"
#include "lane/testing_port.h"

#include <math.h>
#include <stdlib.h>

enum {
    QUEUES = 12,
    SEEDS = 40,
    MTU = 1500,
    LEAST = TESTING_OPTION + 16,
    LARGEST = MTU + ETHER_SIZE,
    FULL = LARGEST + QUEUE_WIRE_EXTRA,
    BACKLOG = 200
};
#define RATE  10000000000ull
#define BYTES (RATE / 8e9) /* of wire in a nanosecond */
#define END   (20 * NS_PER_MS)
#define WARM  (10 * NS_PER_MS) /* where all guaranteed queues always send, what they had saved up is gone by then */

enum kind { ALWAYS, BURSTS, TRICKLE, KINDS };

struct model {
    struct lane_tx lane;
    enum kind kind;
    uint32_t least, most; /* sizes of frames */
    uint64_t put, got;    /* packets */
    int64_t next_at;
    int64_t gap;           /* most time between arrivals */
    double guarantee, cap; /* bytes in a nanosecond; 0: none */
    double saved_most;     /* what a guarantee that was not used keeps */
    double cap_most, cap_tokens;
    int64_t cap_at;
    double ahead; /* guaranteed: what may still overtake higher classes */
    int64_t ahead_at;
    double sent; /* bytes */
    bool backlogged;
    double behind_least; /* of guarantee * time - sent, in this time with packets */
};

struct random_net {
    uint64_t seed, drawn;
    struct testing_port *port;
    struct model q[QUEUES];
    unsigned n;
    bool steady; /* all guaranteed queues always send */
    int64_t now;
    double wire_free;
    double lead[QUEUES][QUEUES]
               [2]; /* least and most of sent[i] - sent[j] while both have had packets; NAN: just begun */
    uint64_t checked;
};

#define FAIL(r, i, format, ...)                                                                                        \
    fail_msg("seed %llu, at %lld ns, queue %u: " format, (unsigned long long)(r)->seed, (long long)(r)->now,           \
        (unsigned)(i), __VA_ARGS__)

static uint32_t draw(struct random_net *r, uint32_t below)
{
    return rng_below(r->seed, r->drawn++, below);
}

/* --- what there is ------------------------------------------------------------------------------------------------- */

static void queue_make(struct random_net *r, unsigned i, uint64_t *left)
{
    struct model *q = &r->q[i];
    *q = (struct model){.kind = (enum kind)draw(r, KINDS)};
    testing_lane_init(r->port, &q->lane, &r->port->port[0], (enum lane_class)draw(r, LANE_CLASSES), 1ull << 40);
    static const uint32_t sizes[][2] = {
        {LEAST, LEAST}, {LARGEST, LARGEST}, {LEAST, LARGEST}, {1000, LARGEST}, {LEAST, 200}};
    const uint32_t *size = sizes[draw(r, 5)];
    q->least = size[0], q->most = size[1];
    q->gap = 1000 + draw(r, q->kind == BURSTS ? 3000000 : 20000);
    uint64_t guarantee = 0, cap = 0;
    if (draw(r, 2)) {
        guarantee = RATE / 1000 * (1 + draw(r, 300));
        guarantee = guarantee > *left ? *left : guarantee;
        *left -= guarantee;
    } else if (draw(r, 3) == 0) {
        cap = RATE / 1000 * (1 + draw(r, 400));
    }
    if (guarantee && r->steady)
        q->kind = ALWAYS;
    queue_set_rates(&q->lane.queue, guarantee, cap, 0);
    double two = 2.0 * (MTU + ETHER_SIZE + VLAN_SIZE + QUEUE_WIRE_EXTRA);
    q->guarantee = (double)guarantee / 8e9;
    q->saved_most = fmax(q->guarantee * NS_PER_MS, two);
    q->cap = (double)cap / 8e9;
    q->cap_most = q->cap_tokens = fmax(q->cap * 100 * NS_PER_US, two);
}

/* --- the model ------------------------------------------------------------------------------------------------------ */

/* Bytes that guarantee i may be behind. */
static double lateness(const struct random_net *r, unsigned i)
{
    double others = 0, first = 2 * FULL; /* the packet on the wire, and the packet that its own debt was for */
    bool steady = r->steady && r->now > WARM;
    for (unsigned j = 0; j < r->n; j++)
        if (j != i && r->q[j].guarantee > 0) {
            others += r->q[j].guarantee;
            first += (steady ? FULL : r->q[j].saved_most) + FULL;
        }
    return r->q[i].guarantee * first / (BYTES - others) + 2 * FULL;
}

static bool cap_lets(const struct model *q, double slack)
{
    return q->cap == 0 || q->cap_tokens >= slack;
}

static void time_passes(struct random_net *r, int64_t now)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct model *q = &r->q[i];
        q->cap_tokens = fmin(q->cap_tokens + q->cap * (double)(now - q->cap_at), q->cap_most);
        q->cap_at = now;
    }
    r->now = now;
}

/* The first moment when the wire is free and a packet may go; INFINITY: there is none. */
static double due(const struct random_net *r)
{
    double at = INFINITY;
    for (unsigned i = 0; i < r->n; i++) {
        const struct model *q = &r->q[i];
        if (q->put == q->got)
            continue;
        double when = (double)r->now + (cap_lets(q, 0) ? 0 : -q->cap_tokens / q->cap);
        at = fmin(at, fmax(when, r->wire_free));
    }
    return at;
}

static void pair_check(struct random_net *r, unsigned i, unsigned j)
{
    const struct model *a = &r->q[i], *b = &r->q[j];
    double *lead = r->lead[i][j], now = a->sent - b->sent;
    bool equals = a->lane.queue.class_ == b->lane.queue.class_ && a->guarantee + a->cap + b->guarantee + b->cap == 0;
    if (!equals || !a->backlogged || !b->backlogged) {
        lead[0] = lead[1] = NAN;
        return;
    }
    lead[0] = fmin(lead[0], now); /* of a number and NAN: the number */
    lead[1] = fmax(lead[1], now);
    double most = 2.0 * (a->lane.queue.quantum + FULL);
    if (lead[1] - lead[0] > most)
        FAIL(r, i, "is %.0f bytes from queue %u, %.0f may be", lead[1] - lead[0], j, most);
    r->checked++;
}

static void guarantee_check(struct random_net *r, unsigned i)
{
    struct model *q = &r->q[i];
    if (!q->guarantee || !q->backlogged)
        return;
    double behind = q->guarantee * (double)r->now - q->sent, most = lateness(r, i);
    q->behind_least = fmin(q->behind_least, behind);
    if (behind - q->behind_least > most)
        FAIL(r, i, "is %.0f bytes behind its guarantee, %.0f may be", behind - q->behind_least, most);
}

/* Whose packets are waiting has changed, or time has passed. */
static void state_check(struct random_net *r)
{
    bool warm = r->steady && r->now > WARM && r->now - WARM < 20 * NS_PER_US;
    for (unsigned i = 0; i < r->n; i++) {
        struct model *q = &r->q[i];
        bool has = q->put > q->got;
        if ((has && !q->backlogged) || warm)
            q->behind_least = INFINITY; /* intervals begin here */
        q->backlogged = has;
        guarantee_check(r, i);
    }
    for (unsigned i = 0; i < r->n; i++)
        for (unsigned j = 0; j < i; j++)
            pair_check(r, i, j);
}

static void order_check(struct random_net *r, unsigned i, double bytes)
{
    struct model *q = &r->q[i];
    bool overtakes = false;
    for (unsigned j = 0; j < r->n && !overtakes; j++)
        overtakes =
            r->q[j].lane.queue.class_ < q->lane.queue.class_ && r->q[j].put > r->q[j].got && cap_lets(&r->q[j], 4);
    double most = q->saved_most + lateness(r, i);
    q->ahead = fmin(q->ahead + q->guarantee * (double)(r->now - q->ahead_at), most);
    q->ahead_at = r->now;
    if (!overtakes)
        return;
    if (!q->guarantee)
        FAIL(r, i, "overtakes a higher class and nothing was guaranteed, %.0f bytes", bytes);
    q->ahead -= bytes;
    if (q->ahead < -FULL)
        FAIL(r, i, "overtakes higher classes with %.0f bytes more than it was guaranteed", -q->ahead);
}

static void sent(struct random_net *r, struct rte_mbuf *m)
{
    uint64_t number = testing_packet_number(m);
    unsigned i = (unsigned)(number >> 32);
    struct model *q = &r->q[i];
    double bytes = queue_wire_bytes(m->pkt_len);
    if ((uint32_t)number != (uint32_t)q->got)
        FAIL(r, i, "packet %u comes after %u", (uint32_t)number, (uint32_t)q->got);
    if (!cap_lets(q, -4))
        FAIL(r, i, "sends %.0f bytes after its cap was used up", -q->cap_tokens);
    order_check(r, i, bytes);
    q->got++;
    q->sent += bytes;
    q->cap_tokens -= q->cap > 0 ? bytes : 0;
    r->wire_free = fmax(r->wire_free, (double)r->now - 1) + bytes / BYTES;
}

/* --- time ------------------------------------------------------------------------------------------------------------ */

static void put(struct random_net *r, unsigned i)
{
    struct model *q = &r->q[i];
    uint32_t len = q->least + draw(r, q->most - q->least + 1);
    struct rte_mbuf *m = testing_packet(r->port, len, (uint64_t)i << 32 | (uint32_t)q->put++);
    assert_int_equal(port_enqueue(&r->port->port[0], &q->lane.queue, m, r->now), 0);
}

static void arrive(struct random_net *r, unsigned i)
{
    struct model *q = &r->q[i];
    if (q->kind == ALWAYS) {
        while (q->put - q->got < 3)
            put(r, i);
        return;
    }
    if (r->now < q->next_at)
        return;
    unsigned n = q->kind == BURSTS ? 1 + draw(r, BACKLOG) : 1;
    while (n-- && q->put - q->got < BACKLOG)
        put(r, i);
    q->next_at = r->now + 1 + draw(r, (uint32_t)q->gap);
}

static int64_t next_arrival(const struct random_net *r)
{
    int64_t at = END;
    for (unsigned i = 0; i < r->n; i++)
        if (r->q[i].kind != ALWAYS && r->q[i].next_at < at)
            at = r->q[i].next_at;
    return at;
}

static void one_step(struct random_net *r)
{
    struct port *p = &r->port->port[0];
    struct rte_mbuf *m;
    for (unsigned i = 0; i < r->n; i++)
        arrive(r, i);
    state_check(r);
    double want = due(r);
    int64_t asks = port_next(p, r->now), arrival = next_arrival(r);
    if (want < (double)END && (double)asks > want + 4)
        FAIL(r, 0, "the port asks for %lld and has work from %.0f on", (long long)asks, want);
    int64_t at = asks < arrival ? asks : arrival;
    time_passes(r, at > r->now ? at : r->now);
    unsigned n = port_dequeue(p, &m, 1, r->now);
    if (n) {
        if ((double)r->now < want - 4)
            FAIL(r, 0, "sends before %.0f", want);
        sent(r, m);
        port_sent(p, &m, 1, r->now);
    } else if ((double)r->now > want + 4) {
        FAIL(r, 0, "sends nothing and has had work since %.0f", want);
    }
}

static void one_seed(uint64_t seed)
{
    static struct random_net r;
    static const struct port_config c = {.mtu = MTU, .rate_bps = RATE};
    uint64_t left = RATE / 100 * 85, packets = 0;
    r = (struct random_net){
        .seed = seed, .port = testing_port_create(QUEUES * BACKLOG + 16, 128, 1, &c, LANE_MODE_LANES)};
    r.n = 2 + draw(&r, QUEUES - 1);
    r.steady = draw(&r, 2);
    for (unsigned i = 0; i < r.n; i++)
        queue_make(&r, i, &left);
    for (unsigned i = 0; i < r.n; i++)
        r.q[i].ahead = r.q[i].saved_most + lateness(&r, i);
    state_check(&r);
    while (r.now < END)
        one_step(&r);
    for (unsigned i = 0; i < r.n; i++) {
        packets += r.q[i].got;
        assert_int_equal(r.q[i].lane.queue.sent_packets, r.q[i].got);
        assert_int_equal(queue_flush(&r.q[i].lane.queue, LOSS_CUT, r.now), r.q[i].put - r.q[i].got);
    }
    assert_true(packets > 0);
    assert_int_equal(testing_port_free(r.port), 0);
}

static void random_traffic_gets_what_it_was_promised(void **state)
{
    (void)state;
    const char *only = getenv("SEED");
    if (only) {
        one_seed(strtoull(only, NULL, 10));
        return;
    }
    print_message("seeds 1 to %u\n", (unsigned)SEEDS);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        one_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_traffic_gets_what_it_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
