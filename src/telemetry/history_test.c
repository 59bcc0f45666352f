/* The history of a port against a plain list that forgets nothing: every lookup finds what the list holds and the ring
 * still can, in order, for many lanes of unlike rates, over wraps of the cell number and over restarts of a lane. */
#include "base/rng.h"
#include "base/test.h"
#include "telemetry/history.h"

#include <errno.h>
#include <stdlib.h>

enum { RING = 4096, LANES = 40, PUSHES = 60000 };

struct plain {
    uint16_t lane;
    uint32_t cell, cells, life;
    uint64_t flow;
};

struct rig {
    struct history *h;
    struct plain all[PUSHES];
    unsigned n;
    uint32_t next[LANES], life[LANES];
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    assert_int_equal(history_create(&g->h, RING, LANES), 0);
    for (unsigned i = 0; i < LANES; i++)
        g->next[i] = 0u - 700 * i; /* some wrap soon */
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    history_free(g->h);
    free(g);
    return 0;
}

static void push(struct rig *g, uint16_t lane)
{
    struct plain *p = &g->all[g->n];
    *p = (struct plain){lane, g->next[lane], 1 + rng_below(5, g->n, 5), g->life[lane], rng_u64(6, g->n)};
    history_push(g->h, lane, p->cell, p->cells, p->flow, p->cells * 2048 - 7, 1000 + g->n);
    g->next[lane] += p->cells;
    g->n++;
}

/* The range [first, first + cells) of the lane's present life, from the list: indices, oldest first. */
static unsigned plainly(const struct rig *g, uint16_t lane, uint32_t first, uint32_t cells, unsigned *ret)
{
    unsigned n = 0;
    for (unsigned i = g->n > RING ? g->n - RING : 0; i < g->n; i++) {
        const struct plain *p = &g->all[i];
        if (p->lane == lane && p->life == g->life[lane] && (int32_t)(p->cell + p->cells - first) > 0 &&
            (int32_t)(p->cell - (first + cells)) < 0)
            ret[n++] = i;
    }
    return n;
}

static void compare(const struct rig *g, uint16_t lane, uint32_t first, uint32_t cells)
{
    static unsigned want[RING];
    static struct history_packet got[RING];
    unsigned n = plainly(g, lane, first, cells, want);
    assert_int_equal(history_find(g->h, lane, first, cells, got, RING), n);
    for (unsigned i = 0; i < n; i++) {
        const struct plain *p = &g->all[want[i]];
        assert_int_equal(got[i].cell, p->cell);
        assert_int_equal(got[i].cells, p->cells);
        assert_int_equal(got[i].bytes, p->cells * 2048 - 7);
        assert_int_equal(got[i].flow, p->flow);
        assert_int_equal(got[i].at_ns, 1000 + want[i]);
    }
}

static void finds_every_gap(void **state)
{
    struct rig *g = *state;
    while (g->n < PUSHES) {
        /* Lane 0 has half of the traffic; the last lanes send once in a long while. */
        uint32_t draw = rng_below(1, g->n, 4096);
        push(g, draw < 2048 ? 0 : draw < 4090 ? 1 + draw % (LANES - 4) : LANES - 1 - draw % 3);
        if (g->n % 97)
            continue;
        for (unsigned i = 0; i < 4; i++) {
            uint16_t lane = (uint16_t)rng_below(2, g->n * 4 + i, LANES);
            uint32_t ago = rng_below(3, g->n * 4 + i, lane ? 300 : 9000);
            compare(g, lane, g->next[lane] - ago, 1 + rng_below(4, g->n * 4 + i, 60));
        }
    }
}

static void restarted_lane_finds_only_its_present_life(void **state)
{
    struct rig *g = *state;
    for (unsigned i = 0; i < 3000; i++)
        push(g, i % 3);
    g->next[1] = 0; /* its index was given anew */
    g->life[1]++;
    push(g, 1);
    for (unsigned i = 0; i < 1500; i++) {
        push(g, i % 3);
        compare(g, 1, 0, 4 * (i + 1));
        compare(g, 1, g->next[1] / 2, 20);
        compare(g, 1, 0u - 50, 100);
        compare(g, 2, g->next[2] - 5000, 20);
    }
}

static void asks_again_for_the_older_ones(void **state)
{
    struct rig *g = *state;
    struct history_packet p[8], all[100];
    for (unsigned i = 0; i < 400; i++)
        push(g, i % 4);
    uint32_t first = g->all[4 * 20 + 2].cell, end = g->all[4 * 90 + 2].cell; /* 70 packets of lane 2 */
    assert_int_equal(history_find(g->h, 2, first, end - first, all, 100), 70);
    unsigned n, seen = 0;
    while ((n = history_find(g->h, 2, first, end - first, p, 8)) > 0) {
        seen += n;
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(p[i].cell, all[70 - seen + i].cell);
        end = p[0].cell;
    }
    assert_int_equal(seen, 70);
}

static void refuses_what_it_cannot_hold(void **state)
{
    struct rig *g = *state;
    struct history *h = NULL;
    struct history_packet p[4];
    assert_int_equal(history_create(&h, 0, 1), -EINVAL);
    assert_int_equal(history_create(&h, 1, 0), -EINVAL);
    assert_int_equal(history_create(&h, 1, 65537), -EINVAL);
    assert_null(h);
    history_push(g->h, LANES, 0, 1, 1, 1, 1); /* the peer gave an index that we do not keep */
    assert_int_equal(history_find(g->h, LANES, 0, 1, p, 4), 0);
    assert_int_equal(history_find(g->h, 3, 0, 1, p, 4), 0);
    push(g, 3);
    assert_int_equal(history_find(g->h, 3, g->all[0].cell, 1, p, 0), 0);
    assert_int_equal(history_find(g->h, 3, g->all[0].cell, 0, p, 4), 0);
    assert_int_equal(history_find(g->h, 3, g->all[0].cell, 1, p, 4), 1);
    history_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_every_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(restarted_lane_finds_only_its_present_life, setup, teardown),
        cmocka_unit_test_setup_teardown(asks_again_for_the_older_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_it_cannot_hold, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
