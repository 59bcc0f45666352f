/* Alternate marking over a chain of hops, each with its own table and clock, and what the join says of it: injected loss
 * and delay are found on exactly the link where they were injected, and nowhere else. */
#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "telemetry/marking.h"
#include "telemetry/marking_join.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { HOPS = 5, FLOWS = 3, PERIODS = 12, RATE = 600 /* packets of a flow in a period */ };
#define PERIOD (100 * NS_PER_MS)
#define WALL   (1700000000ll * NS_PER_S + 12345678)

struct packet {
    int64_t at; /* true time at the present hop */
    uint32_t id, bytes;
    unsigned bits;
    uint64_t period; /* by the ingress' clock */
};

struct line {
    uint64_t seed;
    int64_t skew[HOPS];       /* of each hop's wall clock */
    int64_t delay[HOPS];      /* to this hop */
    int64_t jitter[HOPS];     /* … at most, so that packets overtake each other */
    uint32_t loss_ppm[HOPS];  /* on the way to this hop */
    int64_t restart_at[HOPS]; /* the hop forgets everything; 0: never */
    int64_t cut_at[HOPS];     /* nothing passes to this hop any more; 0: never */
    int64_t poll_every;       /* 0: when due */
    uint32_t table_flows;
    struct packet packet[FLOWS * RATE * (PERIODS + 1)];
    unsigned n;
    uint64_t lost[HOPS][FLOWS][PERIODS + 2]; /* the truth: by link, flow and period */
    struct marking_record record[HOPS][FLOWS * (PERIODS + MARKING_IDLE + 4)];
    unsigned records[HOPS];
    struct marking_stats stats[HOPS];
};

static int64_t begin_of(uint64_t seed)
{
    return NS_PER_S + (int64_t)rng_below(seed, 77, (uint32_t)PERIOD);
}

static uint64_t first_period(const struct line *l)
{
    return (uint64_t)((begin_of(l->seed) + WALL + l->skew[0]) / PERIOD);
}

static struct line *line_new(uint64_t seed)
{
    struct line *l = calloc(1, sizeof *l);
    l->seed = seed;
    for (unsigned i = 1; i < HOPS; i++)
        l->delay[i] = (int64_t)(1 + i) * NS_PER_MS;
    int64_t at = begin_of(seed), step = PERIOD / RATE / FLOWS;
    while (l->n < FLOWS * RATE * (PERIODS + 1)) {
        uint32_t r = rng_below(seed, l->n + 1000, 1000000);
        l->packet[l->n] = (struct packet){.at = at, .id = 0xabc00 + l->n % FLOWS, .bytes = 64 + r % 1400};
        at += step / 2 + (int64_t)(r % (uint64_t)step);
        l->n++;
    }
    return l;
}

static int by_time(const void *a, const void *b)
{
    const struct packet *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->id > y->id) - (x->id < y->id);
}

/* The link to hop h: packets are lost, delayed, overtaken. */
static void link_pass(struct line *l, unsigned h)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < l->n; i++) {
        struct packet p = l->packet[i];
        if (rng_below(l->seed + 10 + h, i, 1000000) < l->loss_ppm[h] || (l->cut_at[h] && p.at >= l->cut_at[h])) {
            l->lost[h][p.id % 4][p.period - first_period(l)]++;
            continue;
        }
        p.at += l->delay[h] + (l->jitter[h] ? rng_below(l->seed + 20 + h, i, (uint32_t)l->jitter[h]) : 0);
        l->packet[kept++] = p;
    }
    l->n = kept;
    qsort(l->packet, l->n, sizeof l->packet[0], by_time);
}

static void read_records(struct line *l, unsigned h, struct marking_table *t, int64_t now)
{
    unsigned n;
    do {
        unsigned room = sizeof l->record[h] / sizeof l->record[h][0] - l->records[h];
        n = marking_poll(t, now, &l->record[h][l->records[h]], room < 2 ? room : 2);
        l->records[h] += n;
    } while (n);
}

static struct marking_table *table_new(const struct line *l, unsigned h)
{
    struct marking_table *t = NULL;
    struct marking_config c = {.period_ns = PERIOD, .wall_ns = WALL + l->skew[h], .flows = l->table_flows};
    assert_int_equal(marking_create(&t, &c), 0);
    return t;
}

static void hop_pass(struct line *l, unsigned h)
{
    struct marking_table *t = table_new(l, h);
    int64_t polled = l->packet[0].at, restart = l->restart_at[h];
    for (unsigned i = 0; i < l->n; i++) {
        struct packet *p = &l->packet[i];
        if (restart && p->at >= restart) {
            marking_free(t);
            t = table_new(l, h);
            restart = 0;
        }
        if (l->poll_every ? p->at - polled >= l->poll_every : marking_next(t) <= p->at)
            read_records(l, h, t, polled = p->at);
        if (h == 0) {
            p->period = (uint64_t)((p->at + WALL + l->skew[0]) / PERIOD);
            p->bits = marking_mark(t, p->id, 9, p->bytes, p->at);
            assert_int_equal(p->bits & MARKING_L, p->period & 1);
        } else
            marking_count(t, p->id, p->bits, (uint16_t)h, h + 1 < HOPS ? 1 : 2, p->bytes, p->at);
    }
    int64_t end = l->n ? l->packet[l->n - 1].at : begin_of(l->seed);
    for (unsigned i = 0; i < PERIODS + MARKING_IDLE + 4; i++)
        read_records(l, h, t, end + i * PERIOD);
    marking_stats(t, &l->stats[h]);
    assert_int_equal(l->stats[h].flows, 0); /* silence is told for a while, then they are forgotten */
    assert_int_equal(marking_next(t), INT64_MAX);
    marking_free(t);
}

static void line_run(struct line *l)
{
    for (unsigned h = 0; h < HOPS; h++) {
        if (h)
            link_pass(l, h);
        hop_pass(l, h);
        assert_int_equal(l->stats[h].late, 0);
        assert_int_equal(l->stats[h].lost_records, 0);
    }
}

static struct marking_join *line_join(const struct line *l)
{
    static const uint64_t hops[HOPS] = {100, 101, 102, 103, 104};
    struct marking_join *j = NULL;
    assert_int_equal(marking_join_create(&j, 8), 0);
    for (unsigned f = 0; f < FLOWS; f++)
        assert_int_equal(marking_join_path(j, 0xabc00 + f, hops, HOPS, 0), 0);
    return j;
}

/* Feeds and reads period by period; calls `check` with every segment. Returns how many there were. */
static unsigned line_segments(struct line *l, void (*check)(const struct line *, const struct marking_segment *))
{
    struct marking_join *j = line_join(l);
    struct marking_segment s[40];
    unsigned n, all = 0;
    for (uint64_t period = first_period(l); period < first_period(l) + PERIODS + MARKING_IDLE + 4; period++) {
        for (unsigned h = HOPS; h-- > 0;)
            for (unsigned i = 0; i < l->records[h]; i++)
                if (l->record[h][i].period == period)
                    assert_int_equal(marking_join_add(j, 100 + h, &l->record[h][i]), 0);
        while ((n = marking_join_poll(j, period, s, 40)) > 0)
            for (unsigned i = 0; i < n; i++, all++)
                check(l, &s[i]);
    }
    marking_join_free(j);
    return all;
}

static uint64_t truly_lost(const struct line *l, const struct marking_segment *s)
{
    uint64_t lost = 0;
    for (uint64_t h = s->from - 100 + 1; h <= s->to - 100; h++)
        lost +=
            s->period - first_period(l) < PERIODS + 2 ? l->lost[h][s->flow_mon_id % 4][s->period - first_period(l)] : 0;
    return lost;
}

static void loss_is_exact(const struct line *l, const struct marking_segment *s)
{
    assert_int_equal(s->lost, truly_lost(l, s));
    assert_int_equal(s->silent, s->to - s->from - 1);
}

static void next_to_each_other(const struct line *l, const struct marking_segment *s)
{
    assert_int_equal(s->silent, 0);
    loss_is_exact(l, s);
}

static void loss_is_located_exactly(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct line *l = line_new(seed);
        l->loss_ppm[2] = 10000;
        l->loss_ppm[4] = 300;
        line_run(l);
        unsigned n = line_segments(l, next_to_each_other), lossy = 0;
        assert_true(n >= (HOPS - 1) * FLOWS * PERIODS);
        for (unsigned p = 0; p < PERIODS; p++)
            lossy += l->lost[2][0][p] > 0;
        assert_true(lossy > PERIODS / 2);
        free(l);
    }
}

/* A hop whose clock is ahead takes the first packets of all for those of its second period, which it did not see whole. */
static void next_to_each_other_after_the_start(const struct line *l, const struct marking_segment *s)
{
    if (s->period > first_period(l) + 1)
        assert_int_equal(s->silent, 0);
    loss_is_exact(l, s);
}

static void delay_is_as_injected(const struct line *l, const struct marking_segment *s)
{
    loss_is_exact(l, s);
    if (s->sent)
        assert_true(s->has_delay);
    if (s->has_delay)
        assert_int_equal(s->delay_ns, l->delay[s->to - 100] + l->skew[s->to - 100] - l->skew[s->from - 100]);
}

static void delay_is_located(void **state)
{
    struct line *l = line_new(9);
    l->delay[3] = 17 * NS_PER_MS;
    line_run(l);
    assert_true(line_segments(l, delay_is_as_injected) > 0);
    free(l);
}

static void skewed_clocks_lose_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct line *l = line_new(seed);
        for (unsigned h = 0; h < HOPS; h++) {
            l->skew[h] = (rng_below(seed, h, 2) ? 1 : -1) * PERIOD / 10;
            l->delay[h] = NS_PER_MS;
            l->jitter[h] = 2 * NS_PER_MS; /* packets of two colours overtake each other */
        }
        line_run(l);
        assert_true(line_segments(l, next_to_each_other_after_the_start) >= (HOPS - 1) * FLOWS * (PERIODS - 1));
        free(l);
    }
}

static void a_restarted_hop_is_stepped_over(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct line *l = line_new(seed);
        l->loss_ppm[4] = 5000;
        l->restart_at[2] = begin_of(seed) + 4 * PERIOD + (int64_t)seed * PERIOD / 8;
        for (unsigned h = 0; h < HOPS; h++)
            l->skew[h] = (int64_t)((h + seed) % 3 - 1) * PERIOD / 10;
        line_run(l);
        /* One or two periods of the hop are missing for every flow, and nothing is said to be lost there. */
        assert_true(l->records[2] < l->records[1]);
        assert_true(l->records[2] + 2 * FLOWS >= l->records[1]);
        line_segments(l, loss_is_exact);
        free(l);
    }
}

static void a_cut_is_located(void **state)
{
    struct line *l = line_new(3);
    l->cut_at[3] = begin_of(3) + 5 * PERIOD;
    line_run(l);
    line_segments(l, next_to_each_other);
    assert_true(l->lost[3][1][8] == l->lost[3][1][9] || l->lost[3][1][8] > RATE / 2);
    assert_int_equal(l->lost[4][1][8], 0);
    free(l);
}

static bool same_record(const struct marking_record *a, const struct marking_record *b)
{
    return a->flow_mon_id == b->flow_mon_id && a->period == b->period && a->packets == b->packets &&
           a->bytes == b->bytes && a->d_wall_ns == b->d_wall_ns && a->port == b->port && a->role == b->role;
}

static void late_polls_lose_nothing(void **state)
{
    struct line *l = line_new(4), *prompt = line_new(4);
    l->loss_ppm[1] = prompt->loss_ppm[1] = 2000;
    l->poll_every = 5 * PERIOD / 2;
    l->table_flows = 64;
    line_run(l);
    line_run(prompt);
    line_segments(l, next_to_each_other);
    for (unsigned h = 0; h < HOPS; h++)
        for (unsigned i = 0; i < prompt->records[h]; i++) { /* the same records, in another order */
            unsigned same = 0;
            for (unsigned k = 0; k < l->records[h]; k++)
                same += same_record(&l->record[h][k], &prompt->record[h][i]);
            if (prompt->record[h][i].packets)
                assert_int_equal(same, 1);
        }
    free(l);
    free(prompt);
}

static void too_many_flows_are_counted_apart(void **state)
{
    struct marking_table *t = NULL;
    struct marking_config c = {.period_ns = PERIOD, .flows = 10};
    assert_int_equal(marking_create(&t, &c), 0);
    for (uint32_t id = 0; id < 15; id++)
        for (unsigned k = 0; k < 3; k++)
            assert_int_equal(marking_mark(t, id, 1, 100, 3 * PERIOD + k) & MARKING_L, MARKING_L);
    struct marking_stats s;
    marking_stats(t, &s);
    assert_int_equal(s.flows, 10);
    assert_int_equal(s.refused, 15);
    struct marking_record r[10];
    for (int64_t now = 3 * PERIOD; now < 20 * PERIOD; now += PERIOD / 2) /* forgotten again: there is room */
        while (marking_poll(t, now, r, 10))
            ;
    marking_mark(t, 14, 1, 100, 20 * PERIOD);
    marking_stats(t, &s);
    assert_int_equal(s.flows, 1);
    assert_int_equal(s.refused, 15);
    marking_free(t);
    marking_free(NULL);
    assert_int_equal(marking_create(&t, &(struct marking_config){.period_ns = 1000}), -EINVAL);
}

static void too_late_is_too_late(void **state)
{
    struct marking_table *t = NULL;
    struct marking_config c = {.period_ns = PERIOD};
    struct marking_record r[4];
    assert_int_equal(marking_create(&t, &c), 0);
    marking_count(t, 1, 0, 1, 1, 100, 2 * PERIOD); /* where it starts; not told */
    marking_count(t, 1, MARKING_L, 1, 1, 100, 3 * PERIOD + 5);
    marking_count(t, 1, MARKING_L, 1, 1, 100, 4 * PERIOD + PERIOD / 3 - 1); /* late, in time */
    assert_int_equal(marking_poll(t, 4 * PERIOD + PERIOD / 3 - 1, r, 4), 0);
    assert_int_equal(marking_next(t), 4 * PERIOD + PERIOD / 3);
    assert_int_equal(marking_poll(t, marking_next(t), r, 4), 1);
    assert_int_equal(r[0].period, 3);
    assert_int_equal(r[0].packets, 2);
    assert_int_equal(r[0].bytes, 200);
    marking_count(t, 1, MARKING_L, 1, 1, 100, 4 * PERIOD + PERIOD / 3 + 2);
    struct marking_stats s;
    marking_stats(t, &s);
    assert_int_equal(s.late, 1);
    marking_count(t, 1, MARKING_L, 1, 1, 100, 4 * PERIOD + PERIOD / 2 + 1); /* early of period 5 */
    marking_stats(t, &s);
    assert_int_equal(s.late, 1);
    assert_int_equal(marking_poll(t, 6 * PERIOD + PERIOD / 3, r, 4), 2);
    assert_int_equal(r[0].period * 10 + r[0].packets, 40); /* nothing came in period 4 */
    assert_int_equal(r[1].period * 10 + r[1].packets, 51);
    marking_free(t);
}

static void join_of_moves_and_nonsense(void **state)
{
    struct marking_join *j = NULL;
    const uint64_t a[] = {1, 2, 5}, b[] = {1, 3, 4, 5}, twice[] = {1, 2, 1};
    assert_int_equal(marking_join_create(&j, 1), 0);
    assert_int_equal(marking_join_path(j, 7, twice, 3, 0), -EINVAL);
    assert_int_equal(marking_join_path(j, 7, a, 1, 0), -EINVAL);
    assert_int_equal(marking_join_path(j, 7, a, 3, 0), 0);
    assert_int_equal(marking_join_path(j, 8, a, 3, 0), -ENOSPC);
    assert_int_equal(marking_join_path(j, 7, b, 4, 12), 0); /* moved in period 11 */
    struct marking_segment s[MARKING_JOIN_HOPS];
    for (uint64_t hop = 1; hop <= 5; hop++)
        for (uint64_t period = 10; period <= 12; period++) {
            struct marking_record r = {.flow_mon_id = 7, .period = period, .packets = 1000 - hop - period};
            bool known = period == 10 ? hop <= 2 || hop == 5 : period == 11 ? hop == 1 || hop == 5 : hop != 2;
            assert_int_equal(marking_join_add(j, hop, &r), known ? 0 : -ENOENT);
        }
    assert_int_equal(marking_join_poll(j, 10, s, MARKING_JOIN_HOPS), 2);
    assert_int_equal(s[0].to * 10 + (uint64_t)s[0].lost, 21);
    assert_int_equal(s[1].to * 10 + (uint64_t)s[1].lost, 53);
    assert_int_equal(marking_join_poll(j, 11, s, MARKING_JOIN_HOPS), 1);
    assert_int_equal(s[0].from * 100 + s[0].to * 10 + (uint64_t)s[0].lost, 154);
    assert_int_equal(marking_join_poll(j, 12, s, MARKING_JOIN_HOPS), 3);
    assert_int_equal(s[2].from * 100 + s[2].to * 10 + (uint64_t)s[2].lost, 451);
    assert_int_equal(marking_join_poll(j, 12, s, MARKING_JOIN_HOPS), 0);
    struct marking_record r = {.flow_mon_id = 7, .period = 12};
    assert_int_equal(marking_join_add(j, 1, &r), -ESTALE);
    r.period = UINT64_MAX;
    assert_int_equal(marking_join_add(j, 1, &r), -ERANGE);
    r.flow_mon_id = 9;
    assert_int_equal(marking_join_add(j, 1, &r), -ENOENT);
    marking_join_forget(j, 9);
    marking_join_forget(j, 7);
    assert_int_equal(marking_join_path(j, 8, a, 3, 0), 0);
    marking_join_free(j);
    marking_join_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_located_exactly),
        cmocka_unit_test(delay_is_located),
        cmocka_unit_test(skewed_clocks_lose_nothing),
        cmocka_unit_test(a_restarted_hop_is_stepped_over),
        cmocka_unit_test(a_cut_is_located),
        cmocka_unit_test(late_polls_lose_nothing),
        cmocka_unit_test(too_many_flows_are_counted_apart),
        cmocka_unit_test(too_late_is_too_late),
        cmocka_unit_test(join_of_moves_and_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
