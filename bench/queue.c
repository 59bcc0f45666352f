/* What a packet costs in a port: enqueue, dequeue and give back, in nanoseconds, by kind and number of queues.
 *
 *   bench_queue [PACKETS]     prints a line a case; each is the best of five runs of PACKETS (default two million) */
#include "base/clock.h"
#include "base/rng.h"
#include "lane/testing_port.h"

#include <stdio.h>

enum { BATCH = 32, LANES = 1000, MBUFS = 8192, RUNS = 5 };

enum what { LOSSY, LANE, GUARANTEED, CAPPED };

struct bench {
    const char *name;
    enum what what;
    unsigned queues;
    unsigned standing; /* packets that wait all the time */
};

static struct lane_tx lanes[LANES];

static struct queue *queue_number(struct testing_port *t, const struct bench *b, uint64_t i)
{
    if (b->what == LOSSY)
        return &t->port[0].lossy[LANE_BULK];
    return &lanes[rng_below(1, i, b->queues)].queue;
}

static void put(
    struct testing_port *t, const struct bench *b, struct rte_mbuf **m, unsigned n, uint64_t *i, int64_t now)
{
    for (unsigned k = 0; k < n; k++)
        port_enqueue(&t->port[0], queue_number(t, b, (*i)++), m[k], now);
}

static void lanes_init(struct testing_port *t, const struct bench *b, uint64_t rate_bps)
{
    for (unsigned i = 0; i < LANES; i++) {
        testing_lane_init(t, &lanes[i], &t->port[0], LANE_BULK, UINT32_MAX);
        if (b->what == GUARANTEED)
            queue_set_rates(&lanes[i].queue, rate_bps * 9 / 10 / b->queues, 0, 0);
        if (b->what == CAPPED)
            queue_set_rates(&lanes[i].queue, 0, rate_bps * 2 / b->queues, 0);
    }
}

/* Packets circle: what left is enqueued again. Time passes as the wire has it. Returns nanoseconds a packet. */
static double run_once(const struct bench *b, uint64_t packets)
{
    const struct port_config c = {.mtu = 1500, .rate_bps = 100000000000};
    struct testing_port *t = testing_port_create(MBUFS, 256, 1, &c, LANE_MODE_LANES);
    struct port *p = &t->port[0];
    struct rte_mbuf *m[BATCH];
    uint64_t i = 0, done = 0;
    int64_t now = 0;
    t->slab->poison = false;
    p->lossy[LANE_BULK].limits.drop_cells = 0;
    lanes_init(t, b, c.rate_bps);
    for (unsigned k = 0; k < b->standing; k++) {
        m[0] = testing_packet(t, 200, 0);
        put(t, b, m, 1, &i, now);
    }
    int64_t begin = clock_now_ns();
    while (done < packets) {
        unsigned n = port_dequeue(p, m, BATCH, now);
        put(t, b, m, n, &i, now);
        done += n;
        now = port_next(p, now) + 500;
    }
    double ns = (double)(clock_now_ns() - begin) / (double)done;
    for (unsigned k = 0; k < LANES && b->what != LOSSY; k++)
        queue_flush(&lanes[k].queue, LOSS_CUT, now);
    if (testing_port_free(t) != 0)
        abort();
    return ns;
}

int main(int argc, char **argv)
{
    uint64_t packets = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    static const struct bench cases[] = {
        {"one lossy queue, 64 waiting", LOSSY, 1, 64},
        {"one lossy queue, 8000 waiting", LOSSY, 1, 8000},
        {"1 lane, 64 waiting", LANE, 1, 64},
        {"100 lanes, 1000 waiting", LANE, 100, 1000},
        {"1000 lanes, 8000 waiting", LANE, 1000, 8000},
        {"100 guaranteed lanes, 1000 waiting", GUARANTEED, 100, 1000},
        {"1000 guaranteed lanes, 8000 waiting", GUARANTEED, 1000, 8000},
        {"1000 capped lanes, 8000 waiting", CAPPED, 1000, 8000},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        double best = 1e9;
        for (int r = 0; r < RUNS; r++) {
            double ns = run_once(&cases[i], packets);
            if (ns < best)
                best = ns;
        }
        printf("%-40s %6.1f ns a packet\n", cases[i].name, best);
    }
    return 0;
}
