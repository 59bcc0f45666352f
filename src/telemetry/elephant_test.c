/* Elephants against an exact count of every flow: who is reported, when, and that nothing pushes them out. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "telemetry/elephant.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define THRESHOLD 100000000u
#define WINDOW    (20 * NS_PER_MS)
#define DELAY     (100 * NS_PER_MS)

/* A flow of some name (below 2^32), which its key tells again. */
static struct flow_key key_of(uint64_t name)
{
    struct flow_key k = {.family = name & 1 ? IP_V6 : IP_V4, .proto = IP_PROTO_TCP, .vrf = 7};
    uint64_t a = rng_mix(name);
    memcpy(k.src.b, &a, k.family == IP_V6 ? 8 : 4);
    bytes_put_u32(k.dst.b, (uint32_t)name);
    k.src_port = (uint16_t)(a >> 40);
    k.dst_port = (uint16_t)(a >> 24);
    return k;
}

static uint32_t name_of(const struct flow_key *k)
{
    return bytes_get_u32(k->dst.b);
}

static void count(struct elephant_table *t, uint64_t name, uint32_t bytes, int64_t now)
{
    struct flow_key k = key_of(name);
    elephant_count(t, &k, flow_hash(&k), 3, 2, bytes, now);
}

static struct elephant_table *table_at(uint64_t threshold_bps, uint32_t flows)
{
    struct elephant_table *t = NULL;
    struct elephant_config c = {.threshold_bps = threshold_bps, .window_ns = WINDOW, .flows = flows};
    assert_int_equal(elephant_create(&t, &c), 0);
    return t;
}

static struct elephant_table *table_of(uint32_t flows)
{
    return table_at(THRESHOLD, flows);
}

/* --- Zipf traffic: flows of a rank come and go, another one takes its place ---------------------------------------- */

enum { RANKS = 3000, LIVES = 8, PACKETS = 1000000 };

struct truth {
    int64_t crossed_ns; /* exact window first at the threshold; 0: never */
    int64_t clearly_ns; /* … and first a tenth above it */
    int64_t told_ns;    /* 0: never */
    unsigned news, gones;
    uint32_t first, last; /* packets, linked by next */
    uint64_t window;
};

struct zipf {
    uint64_t seed, threshold_bps;
    double sum[RANKS]; /* of the ranks' shares */
    struct truth flow[RANKS * LIVES];
    int64_t at[PACKETS];
    uint32_t bytes[PACKETS], next[PACKETS];
    uint64_t hash; /* of all reports */
};

static uint32_t rank_draw(const struct zipf *z, uint64_t i)
{
    double u = rng_uniform(z->seed, i) * z->sum[RANKS - 1];
    uint32_t low = 0, high = RANKS - 1;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (z->sum[mid] < u)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The exact sliding window (now - WINDOW, now] of one flow. */
static void truth_count(struct zipf *z, struct truth *f, uint32_t i)
{
    if (f->window)
        z->next[f->last] = i;
    else
        f->first = i;
    f->last = i;
    f->window += z->bytes[i];
    while (z->at[f->first] <= z->at[i] - WINDOW) {
        f->window -= z->bytes[f->first];
        f->first = z->next[f->first];
    }
    uint64_t rate_bps = f->window * 8 * (NS_PER_S / WINDOW);
    if (!f->crossed_ns && rate_bps >= z->threshold_bps)
        f->crossed_ns = z->at[i];
    if (!f->clearly_ns && rate_bps >= z->threshold_bps + z->threshold_bps / 10)
        f->clearly_ns = z->at[i];
}

static void reports_read(struct zipf *z, struct elephant_table *t, int64_t now)
{
    struct elephant_report r[7];
    unsigned n;
    do {
        n = elephant_poll(t, now, r, 7);
        for (unsigned i = 0; i < n; i++) {
            assert_in_range(name_of(&r[i].key), 0, RANKS * LIVES - 1);
            struct truth *f = &z->flow[name_of(&r[i].key)];
            z->hash = rng_mix(z->hash ^ r[i].flow ^ (uint64_t)r[i].what << 60 ^ r[i].rate_bps ^ (uint64_t)now);
            if (r[i].what == ELEPHANT_NEW && !f->news++)
                f->told_ns = now;
            if (r[i].what == ELEPHANT_GONE)
                f->gones++;
        }
    } while (n == 7);
}

static void zipf_run(struct zipf *z, uint64_t seed, uint64_t rate_bps, uint64_t threshold_bps)
{
    memset(z, 0, sizeof *z);
    z->seed = seed;
    z->threshold_bps = threshold_bps;
    for (unsigned i = 0; i < RANKS; i++)
        z->sum[i] = (i ? z->sum[i - 1] : 0) + 1 / (i + 1.0);
    struct elephant_table *t = table_at(threshold_bps, 0);
    int64_t now = NS_PER_S;
    for (uint32_t i = 0; i < PACKETS; i++) {
        z->bytes[i] = rng_below(seed + 1, i, 3) ? 1500 : 64 + rng_below(seed + 2, i, 1400);
        now += 1 + (int64_t)((double)z->bytes[i] * 8e9 / (double)rate_bps * 2 * rng_uniform(seed + 3, i));
        z->at[i] = now;
        uint32_t rank = rank_draw(z, i);
        int64_t life = (now + (int64_t)rng_below(seed + 4, rank, 500000000)) / (500 * NS_PER_MS);
        uint32_t name = rank * LIVES + (uint32_t)life % LIVES;
        for (int64_t due; (due = elephant_next(t)) <= now;)
            reports_read(z, t, due);
        count(t, name, z->bytes[i], now);
        truth_count(z, &z->flow[name], i);
    }
    while (elephant_next(t) != INT64_MAX)
        reports_read(z, t, elephant_next(t));
    elephant_free(t);
}

/* A flow a tenth above the threshold was told in time; what was told had crossed, and what crossed was told. */
static void judge(const struct zipf *z, unsigned *told, unsigned *crossed, unsigned *right)
{
    for (unsigned i = 0; i < RANKS * LIVES; i++) {
        const struct truth *f = &z->flow[i];
        *told += f->told_ns != 0;
        *crossed += f->crossed_ns != 0;
        *right += f->told_ns && f->crossed_ns;
        assert_int_equal(f->news, f->gones); /* all of them ended */
        if (f->clearly_ns) {
            assert_true(f->told_ns != 0);
            assert_true(f->told_ns <= f->clearly_ns + DELAY);
        }
    }
}

static void precise_complete_and_prompt(void **state)
{
    struct zipf *z = malloc(sizeof *z);
    static const uint64_t threshold[] = {100000000, 20000000}; /* 167 and 33 full packets in a window */
    for (unsigned k = 0; k < 2; k++) {
        unsigned told = 0, right = 0, crossed = 0;
        for (uint64_t seed = 100; seed < 105; seed++) {
            zipf_run(z, seed, 6000000000, threshold[k]);
            judge(z, &told, &crossed, &right);
        }
        print_message("threshold %u Mbit/s: %u flows crossed it, %u reported, %u of these rightly\n",
            (unsigned)(threshold[k] / 1000000), crossed, told, right);
        assert_true(crossed > 150);
        assert_true(right * 1000 >= told * 990);
        assert_true(right * 1000 >= crossed * 990);
    }
    free(z);
}

static void same_input_same_reports(void **state)
{
    struct zipf *z = malloc(sizeof *z);
    zipf_run(z, 5, 6000000000, THRESHOLD / 5);
    uint64_t first = z->hash;
    struct elephant_table *elsewhere = table_of(0); /* so that the next table lies at another address */
    zipf_run(z, 5, 6000000000, THRESHOLD / 5);
    assert_true(z->hash == first);
    zipf_run(z, 6, 6000000000, THRESHOLD / 5);
    assert_true(z->hash != first);
    elephant_free(elsewhere);
    free(z);
}

/* --- single flows ---------------------------------------------------------------------------------------------------- */

struct tally {
    unsigned news, stills, gones;
    int64_t new_ns, gone_ns, said_ns;
    uint64_t rate_bps, bytes, delta_bytes, delta_packets;
};

static void tally_poll(struct tally *y, struct elephant_table *t, uint64_t name, int64_t now)
{
    struct elephant_report r;
    struct flow_key k = key_of(name);
    while (elephant_poll(t, now, &r, 1)) {
        if (name_of(&r.key) != name)
            continue;
        assert_int_equal(r.flow, flow_hash(&k));
        assert_memory_equal(r.key.src.b, k.src.b, 16);
        assert_int_equal(r.tenant, 3);
        assert_int_equal(r.class_, 2);
        assert_int_equal(r.at_ns, now);
        y->delta_bytes += r.delta_bytes;
        y->delta_packets += r.delta_packets;
        assert_int_equal(y->delta_bytes, r.bytes);
        assert_int_equal(y->delta_packets, r.packets);
        y->rate_bps = r.rate_bps;
        y->bytes = r.bytes;
        if (r.what == ELEPHANT_NEW)
            y->news++, y->new_ns = now, y->said_ns = now;
        else if (r.what == ELEPHANT_GONE)
            y->gones++, y->gone_ns = now;
        else {
            assert_in_range(now - y->said_ns, NS_PER_S, NS_PER_S + WINDOW);
            y->stills++, y->said_ns = now;
        }
    }
}

/* One flow at a rate (permille of the threshold) for a while, polled when due. */
static void flow_at(
    struct tally *y, struct elephant_table *t, uint64_t name, unsigned permille, int64_t *now, int64_t duration)
{
    int64_t end = *now + duration;
    int64_t step = permille ? (int64_t)(1200 * 8 * 1000000ull / (THRESHOLD / 1000) / permille * 1000) : duration;
    while (*now < end) {
        *now += step;
        for (int64_t due; (due = elephant_next(t)) <= *now;)
            tally_poll(y, t, name, due);
        if (permille)
            count(t, name, 1200, *now);
        if (elephant_next(t) <= *now)
            tally_poll(y, t, name, *now);
    }
}

static void reported_at_once_and_every_second(void **state)
{
    struct elephant_table *t = table_of(0);
    struct tally y = {0};
    int64_t now = 12345678;
    flow_at(&y, t, 1, 950, &now, NS_PER_S);
    assert_int_equal(y.news, 0);
    int64_t begin = now;
    flow_at(&y, t, 1, 1500, &now, NS_PER_S / 2);
    assert_int_equal(y.news, 1);
    assert_true(y.new_ns - begin <= WINDOW);
    flow_at(&y, t, 1, 1500, &now, 4 * NS_PER_S);
    assert_int_equal(y.stills, 4);
    assert_in_range(y.rate_bps, THRESHOLD * 1.48, THRESHOLD * 1.52);
    int64_t end = now;
    flow_at(&y, t, 1, 0, &now, 3 * NS_PER_S);
    assert_int_equal(y.gones, 1);
    assert_in_range(y.gone_ns - end, NS_PER_S, NS_PER_S + 2 * WINDOW);
    assert_int_equal(elephant_next(t), INT64_MAX);
    elephant_free(t);
}

/* A threshold's worth in any slice of time, however it falls on the windows: at most 100 ms later. */
static void prompt_at_every_phase(void **state)
{
    for (unsigned phase = 0; phase < 200; phase++) {
        struct elephant_table *t = table_of(0);
        struct tally y = {0};
        int64_t now = NS_PER_S + phase * 123457, begin = now;
        unsigned permille = 1050 + phase * 20;
        flow_at(&y, t, phase, permille, &now, 2 * DELAY);
        assert_int_equal(y.news, 1);
        int64_t crossing = begin + WINDOW * 1000 / permille;
        assert_in_range(y.new_ns, crossing - NS_PER_MS, crossing + WINDOW);
        elephant_free(t);
    }
}

static void does_not_flap(void **state)
{
    struct elephant_table *t = table_of(0);
    struct tally y = {0};
    int64_t now = 1;
    for (unsigned i = 0; i < 60; i++) { /* above and between the two bounds, and dips that last no second */
        flow_at(&y, t, 1, i % 2 ? 1300 : 600, &now, (1 + rng_below(1, i, 200)) * NS_PER_MS);
        flow_at(&y, t, 1, i % 3 ? 700 : 0, &now, (1 + rng_below(2, i, 700)) * NS_PER_MS);
    }
    assert_int_equal(y.news, 1);
    assert_int_equal(y.gones, 0);
    flow_at(&y, t, 1, 450, &now, 2 * NS_PER_S);
    assert_int_equal(y.gones, 1);
    flow_at(&y, t, 1, 900, &now, 2 * NS_PER_S); /* below the threshold again: no elephant */
    assert_int_equal(y.news, 1);
    elephant_free(t);
}

/* --- adversaries -------------------------------------------------------------------------------------------------- */

static void many_mice_push_nobody_out(void **state)
{
    struct elephant_table *t = table_of(64);
    struct tally y = {0};
    int64_t now = NS_PER_S, crossing = 0, elephant_due = now + 50 * NS_PER_MS;
    uint64_t mouse = 1000, bytes = 0;
    while (now < 3 * NS_PER_S) { /* 2 million new flows a second; the elephant comes late */
        now += 500;
        mouse++;
        count(t, mouse, 64 + mouse % 1400, now);
        if (now >= elephant_due) {
            elephant_due += 80000; /* 1200 bytes: 120 Mbit/s */
            count(t, 1, 1200, now);
            bytes += 1200;
            if (!crossing && bytes * 8 * 50 >= THRESHOLD)
                crossing = now;
        }
        if (elephant_next(t) <= now)
            tally_poll(&y, t, 1, now);
    }
    assert_int_equal(y.news, 1);
    assert_int_equal(y.gones, 0);
    assert_int_equal(y.stills, 1);
    assert_in_range(y.new_ns, crossing, crossing + DELAY);
    struct elephant_stats s;
    elephant_stats(t, &s);
    assert_int_equal(s.reported, 1);
    elephant_free(t);
}

/* Many flows just big enough to be counted exactly, more than there is room for. */
static void middling_flows_push_no_elephant_out(void **state)
{
    struct elephant_table *t = table_of(16);
    struct tally y = {0};
    int64_t now = NS_PER_S;
    for (unsigned i = 0; now < 3 * NS_PER_S; i++) {
        now += 600; /* 200 flows of 96 Mbit/s: each just not an elephant */
        count(t, 500 + i % 200, 1440, now);
        if (i % 160 == 0)
            count(t, 1, 1440, now); /* 120 Mbit/s */
        if (elephant_next(t) <= now)
            tally_poll(&y, t, 1, now);
    }
    struct elephant_stats s;
    elephant_stats(t, &s);
    assert_int_equal(y.news, 1);
    assert_int_equal(y.gones, 0);
    assert_true(s.evicted > 0 && s.refused > 0);
    assert_true(s.tracked <= 16);
    elephant_free(t);
}

static void full_of_elephants_gives_way_to_a_bigger_one(void **state)
{
    struct elephant_table *t = table_of(8);
    struct tally y = {0};
    unsigned gones = 0;
    int64_t now = NS_PER_S;
    for (unsigned i = 0; now < 4 * NS_PER_S; i++) {
        now += 10000; /* 8 flows of 120 Mbit/s … */
        count(t, 10 + i % 8, 1200, now);
        if (now > 2 * NS_PER_S && i % 2) /* … and then one of 600 */
            count(t, 1, 1500, now);
        struct elephant_report r[20];
        for (unsigned k = 0, n = elephant_poll(t, now, r, 20); k < n; k++) {
            if (name_of(&r[k].key) == 1)
                y.news += r[k].what == ELEPHANT_NEW, y.gones += r[k].what == ELEPHANT_GONE;
            else
                gones += r[k].what == ELEPHANT_GONE;
        }
    }
    struct elephant_stats s;
    elephant_stats(t, &s);
    assert_int_equal(y.news, 1);
    assert_int_equal(y.gones, 0);
    assert_int_equal(gones, 1);
    assert_int_equal(s.reported, 8);
    elephant_free(t);
}

static void refuses_nonsense(void **state)
{
    struct elephant_table *t = NULL;
    const struct elephant_config wrong[] = {
        {.window_ns = 61 * NS_PER_MS},
        {.window_ns = 1000},
        {.threshold_bps = 1000, .clear_bps = 2000},
        {.buckets = 1000},
        {.flows = 1u << 21},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(elephant_create(&t, &wrong[i]), -EINVAL);
    assert_null(t);
    elephant_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precise_complete_and_prompt),
        cmocka_unit_test(same_input_same_reports),
        cmocka_unit_test(reported_at_once_and_every_second),
        cmocka_unit_test(prompt_at_every_phase),
        cmocka_unit_test(does_not_flap),
        cmocka_unit_test(many_mice_push_nobody_out),
        cmocka_unit_test(middling_flows_push_no_elephant_out),
        cmocka_unit_test(full_of_elephants_gives_way_to_a_bigger_one),
        cmocka_unit_test(refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
