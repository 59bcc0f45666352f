/* What telemetry costs a packet, in nanoseconds: counting for elephants, marking, remembering what was sent, adding a
 * latency; and what a record costs to export.
 *
 *   bench_telemetry [PACKETS]     prints a line a case; each is the best of five runs of PACKETS (default four million),
 *                                 in processor time */
#include "base/clock.h"
#include "telemetry/elephant.h"
#include "telemetry/export.h"
#include "telemetry/history.h"
#include "telemetry/marking.h"
#include "telemetry/quantile.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 5, KEYS = 1 << 16, GAP_NS = 100 /* between packets: 10 Mpps */, HISTORY = 1 << 18 };

static struct flow_key key[KEYS];
static uint64_t name[KEYS];
static uint64_t packets = 4000000;
static volatile uint64_t sink;

/* Time that this thread had a processor: others on the machine do not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* A case: `n` flows, lanes or whatever it counts; returns nanoseconds for all packets. */
typedef int64_t run_fn(unsigned n);

static unsigned pick(uint64_t i, unsigned n)
{
    return (unsigned)((i * 0x9e3779b97f4a7c15u >> 40) % n);
}

static int64_t run_elephant(unsigned n)
{
    struct elephant_table *t;
    struct elephant_report r[64];
    if (elephant_create(&t, &(struct elephant_config){0}))
        exit(1);
    int64_t now = 0, begin = cpu_ns();
    for (uint64_t i = 0; i < packets; i++, now += GAP_NS) {
        unsigned f = pick(i, n);
        elephant_count(t, &key[f], name[f], 1, 1, 1400, now);
        if (elephant_next(t) <= now)
            sink += elephant_poll(t, now, r, 64);
    }
    int64_t took = cpu_ns() - begin;
    elephant_free(t);
    return took;
}

static int64_t run_marking(unsigned n, bool ingress)
{
    struct marking_table *t;
    struct marking_record r[64];
    if (marking_create(&t, &(struct marking_config){.period_ns = 10 * NS_PER_MS}))
        exit(1);
    int64_t now = 0, begin = cpu_ns();
    for (uint64_t i = 0; i < packets; i++, now += GAP_NS) {
        if (ingress)
            sink += marking_mark(t, pick(i, n), 1, 1400, now);
        else
            marking_count(t, pick(i, n), now / (10 * NS_PER_MS) & 1, 1, 1, 1400, now);
        if (marking_next(t) <= now)
            sink += marking_poll(t, now, r, 64);
    }
    int64_t took = cpu_ns() - begin;
    marking_free(t);
    return took;
}

static int64_t run_mark(unsigned n)
{
    return run_marking(n, true);
}

static int64_t run_count(unsigned n)
{
    return run_marking(n, false);
}

static int64_t run_history(unsigned n, bool find)
{
    static uint32_t next[4096];
    struct history *h;
    struct history_packet p[4];
    if (history_create(&h, HISTORY, n))
        exit(1);
    int64_t begin = cpu_ns();
    for (uint64_t i = 0; i < packets; i++) {
        unsigned lane = pick(i, n);
        history_push(h, (uint16_t)lane, next[lane]++, 1, i, 1500, (int64_t)i);
    }
    if (find) {
        begin = cpu_ns();
        for (uint64_t i = 0; i < packets; i++) {
            unsigned lane = pick(i, n);
            sink += history_find(h, (uint16_t)lane, next[lane] - 1 - rng_below(1, i, HISTORY / n / 2), 1, p, 4);
        }
    }
    int64_t took = cpu_ns() - begin;
    history_free(h);
    return took;
}

static int64_t run_push(unsigned n)
{
    return run_history(n, false);
}

static int64_t run_find(unsigned n)
{
    uint64_t all = packets;
    packets = all < 400000 ? all : 400000; /* it is asked for gaps only */
    int64_t took = run_history(n, true) * (int64_t)all / (int64_t)packets;
    packets = all;
    return took;
}

static int64_t run_quantile(unsigned n)
{
    static struct quantile q;
    quantile_reset(&q);
    int64_t begin = cpu_ns();
    for (uint64_t i = 0; i < packets; i++)
        quantile_add(&q, (int64_t)pick(i, n));
    sink += q.count;
    return cpu_ns() - begin;
}

static int64_t run_export(unsigned n)
{
    struct export *x;
    struct buf out = {0};
    struct elephant_report r = {.key = key[0], .delta_bytes = n};
    if (export_create(&x, &(struct export_config){0}))
        exit(1);
    int64_t begin = cpu_ns();
    for (uint64_t i = 0; i < packets; i++) {
        export_flow(x, &r, 0, &out);
        out.len = 0;
    }
    int64_t took = cpu_ns() - begin;
    export_free(x);
    buf_done(&out);
    return took;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        run_fn *run;
        unsigned n;
    } cases[] = {
        {"elephant_count, 8 flows", run_elephant, 8},
        {"elephant_count, 1000 flows, all elephants", run_elephant, 1000},
        {"elephant_count, 65536 mice", run_elephant, KEYS},
        {"marking_mark, 1 flow", run_mark, 1},
        {"marking_mark, 4096 flows", run_mark, 4096},
        {"marking_count, 4096 flows", run_count, 4096},
        {"history_push, 1 lane", run_push, 1},
        {"history_push, 1024 lanes", run_push, 1024},
        {"history_find, 1 lane", run_find, 1},
        {"history_find, 1024 lanes", run_find, 1024},
        {"quantile_add", run_quantile, 1000000},
        {"export_flow", run_export, 1},
    };
    if (argc > 1 && (packets = strtoull(argv[1], NULL, 10)) == 0)
        return 2;
    for (unsigned i = 0; i < KEYS; i++) {
        key[i] = (struct flow_key){.family = IP_V4, .proto = IP_PROTO_TCP, .dst_port = 443};
        memcpy(key[i].src.b, &i, 4);
        name[i] = flow_hash(&key[i]);
    }
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t best = INT64_MAX;
        for (unsigned k = 0; k < RUNS; k++) {
            int64_t took = cases[i].run(cases[i].n);
            best = took < best ? took : best;
        }
        printf("%-45s %7.1f ns\n", cases[i].name, (double)best / (double)packets);
    }
    return 0;
}
