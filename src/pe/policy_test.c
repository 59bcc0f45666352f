/* SR Policies in memory: candidates, make before break, ways that go, classes that change. Edge 1 is steered towards edge 2, a
 * third router lies between them on another way; a controller tells the policies through the reflector. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "pe/inner.h"
#include "pe/testing_pe.h"

#include <stdlib.h>

#define EDGES 3

struct net {
    struct testing_bgp bgp;
    struct bgp_speaker *reflector, *controller;
    struct testing_pe edge[EDGES], *all[EDGES];
};

static void settle(struct net *n)
{
    testing_pe_settle(&n->bgp, n->all, EDGES);
}

/* Routers' adjacency SIDs: port `port` of router `id`. */
static struct ip6 cross(uint32_t id, uint16_t port)
{
    struct ip6 a = {{0xfc, 0xbb, 0xbb, 0, 0, (uint8_t)id, 0xe0, (uint8_t)port}};
    return a;
}

static const struct pe_static crosses[] = {{.prefix = {IP_V6, 64, {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xe0, 0}}}, .port = 0},
    {.prefix = {IP_V6, 64, {{0xfc, 0xbb, 0xbb, 0, 0, 1, 0xe0, 1}}}, .port = 1}};

static struct net *start(uint32_t color)
{
    static const uint32_t families[] = {BGP_SR_POLICY_V6};
    struct net *n = calloc(1, sizeof *n);
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    struct bgp_peer_config up = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 1),
                           down = testing_bgp_peer(BGP_PEER_CLIENT, 8, families, 1);
    n->bgp.now = NS_PER_S;
    assert_int_equal(bgp_speaker_create(&n->reflector, &c, NULL, NULL), 0);
    c = (struct bgp_speaker_config){.role = BGP_PE, .identifier = {10, 0, 0, 8}, .next_hop = {{0xfd, [15] = 8}}};
    assert_int_equal(bgp_speaker_create(&n->controller, &c, NULL, NULL), 0);
    assert_non_null(testing_bgp_join(&n->bgp, n->controller, &up, n->reflector, &down));
    for (unsigned i = 0; i < EDGES; i++) {
        testing_pe_init(&n->edge[i], &n->bgp, i + 1);
        n->all[i] = &n->edge[i];
    }
    struct pe_vrf *v = testing_pe_vrf(&n->edge[0], 100, 1, 1);
    v->class_[LANE_PARAMETER] = (struct pe_class){.color = color, .guarantee_bps = 1000};
    n->edge[0].config.crosses = crosses;
    n->edge[0].config.n_crosses = 2;
    testing_pe_vrf(&n->edge[1], 100, 1, 2);
    for (unsigned i = 0; i < EDGES; i++) {
        testing_pe_start(&n->edge[i]);
        testing_pe_client(&n->edge[i], n->reflector, 9);
    }
    testing_pe_link(&n->edge[0], 0, &n->edge[1], 0);
    testing_pe_link(&n->edge[0], 1, &n->edge[2], 0);
    testing_pe_link(&n->edge[2], 1, &n->edge[1], 1);
    settle(n);
    testing_bgp_advance(&n->bgp, 70 * NS_PER_S);
    settle(n);
    assert_non_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    return n;
}

static void end(struct net *n)
{
    for (unsigned i = 0; i < EDGES; i++)
        testing_pe_done(&n->edge[i]);
    bgp_speaker_free(n->reflector);
    bgp_speaker_free(n->controller);
    free(n);
}

static struct bgp_sr_policy key_of(uint32_t distinguisher, uint32_t color)
{
    struct bgp_sr_policy key = {.distinguisher = distinguisher,
        .color = color,
        .endpoint = {.family = IP_V6, .a = {{0xfd, 0, 0x6d, 0x65, [15] = 2}}}};
    return key;
}

static void tell_path(struct net *n, uint32_t distinguisher, uint32_t color, const struct bgp_sr_policy_path *p)
{
    struct bgp_sr_policy key = key_of(distinguisher, color);
    uint8_t raw[64], value[1024], a[1100];
    int len = bgp_sr_policy_path_encode(p, value, sizeof value);
    assert_true(len > 0);
    int put = bgp_attribute_put(a, 0, sizeof a, 0xc0, BGP_TUNNEL_ENCAPSULATION, value, (size_t)len);
    assert_int_equal(bgp_originate(n->controller, BGP_SR_POLICY_V6, raw, bgp_sr_policy_encode(&key, raw), a,
                         (size_t)put, n->bgp.now, NULL),
        0);
    settle(n);
}

static void tell(struct net *n, uint32_t distinguisher, uint32_t color, uint32_t preference, struct ip6 first)
{
    struct bgp_sr_policy_path p = {.preference = preference, .priority = 128, .n_lists = 1};
    p.lists[0].weight = 1;
    p.lists[0].segments[0] = first;
    p.lists[0].segments[1] = cross(3, 1);
    p.lists[0].n_segments = 2;
    tell_path(n, distinguisher, color, &p);
}

static void take_back(struct net *n, uint32_t distinguisher, uint32_t color)
{
    struct bgp_sr_policy key = key_of(distinguisher, color);
    uint8_t raw[64];
    assert_int_equal(
        bgp_withdraw(n->controller, BGP_SR_POLICY_V6, raw, bgp_sr_policy_encode(&key, raw), n->bgp.now), 0);
    settle(n);
}

static uint32_t path_now(struct net *n, enum lane_class c)
{
    const struct forward_route *r = testing_pe_route(&n->edge[0], 100, "10.2.0.0/16");
    assert_non_null(r);
    return r->path_of_class[c];
}

static const struct forward_path *path(struct net *n, uint32_t id)
{
    for (unsigned i = 0; i < n->edge[0].n_paths; i++)
        if (n->edge[0].paths[i].id == id)
            return &n->edge[0].paths[i];
    return NULL;
}

/* What the core does once every router of the new path has accepted. */
static void slice_moves(struct net *n)
{
    struct testing_slice *s = &n->edge[0].slices[0];
    assert_int_equal(n->edge[0].n_slices, 1);
    assert_int_not_equal(s->moving_to, 0);
    s->slice.path = s->moving_to;
    s->moving_to = 0;
    pe_slice_moved(n->edge[0].pe, 100, LANE_PARAMETER, &s->slice.service_sid, s->slice.path, n->bgp.now);
}

static void later(struct net *n, int64_t ns)
{
    n->bgp.now += ns;
    settle(n);
}

/* --- the cases ---------------------------------------------------------------------------------------------------------------------- */

static void a_class_takes_its_color(void **state)
{
    struct net *n = start(20);
    tell(n, 1, 21, 100, cross(1, 1)); /* another colour */
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    tell(n, 1, 20, 100, cross(1, 1));
    uint32_t id = path_now(n, LANE_PARAMETER);
    assert_true(id >= PE_PATHS_FROM);
    assert_int_equal(path_now(n, LANE_INFERENCE), 0);
    assert_int_equal(path_now(n, LANE_BULK), 0);
    const struct forward_path *p = path(n, id);
    assert_int_equal(p->out_port, 1); /* our own adjacency is where it leaves, not a segment */
    assert_int_equal(p->n_sids, 1);
    assert_memory_equal(p->sids[0].b, cross(3, 1).b, 16);
    assert_false(p->full_sids);
    assert_int_equal(n->edge[0].n_slices, 1);
    assert_int_equal(n->edge[0].slices[0].slice.path, id);
    assert_int_equal(n->edge[0].slices[0].slice.guarantee_bps, 1000);
    assert_int_equal(pe_counts(n->edge[0].pe).steered, 1);
    take_back(n, 1, 20);
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    assert_int_equal(n->edge[0].n_slices, 0);
    later(n, 4 * NS_PER_S);
    assert_int_equal(n->edge[0].n_paths, 0);
    end(n);
}

static void better_candidates_take_over(void **state)
{
    struct net *n = start(20);
    tell(n, 1, 20, 100, cross(1, 1));
    uint32_t first = path_now(n, LANE_PARAMETER);
    tell(n, 2, 20, 50, cross(1, 0)); /* worse: nothing happens */
    assert_int_equal(path_now(n, LANE_PARAMETER), first);
    assert_int_equal(n->edge[0].slices[0].moving_to, 0);
    tell(n, 3, 20, 200, cross(1, 0)); /* better: the new path is there before the old one is left */
    assert_int_equal(path_now(n, LANE_PARAMETER), first);
    uint32_t second = n->edge[0].slices[0].moving_to;
    assert_non_null(path(n, second));
    assert_non_null(path(n, first));
    slice_moves(n);
    settle(n);
    assert_int_equal(path_now(n, LANE_PARAMETER), second);
    later(n, 4 * NS_PER_S);
    assert_null(path(n, first));
    take_back(n, 3, 20); /* back to the next best, distinguisher 1 */
    slice_moves(n);
    settle(n);
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 1);
    take_back(n, 1, 20); /* then to number 2 */
    slice_moves(n);
    settle(n);
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 0);
    take_back(n, 2, 20); /* then unsteered */
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    assert_int_equal(n->edge[0].n_slices, 0);
    end(n);
}

static void a_list_is_replaced(void **state)
{
    struct net *n = start(20);
    tell(n, 1, 20, 100, cross(1, 1));
    uint32_t first = path_now(n, LANE_PARAMETER);
    tell(n, 1, 20, 100, cross(1, 0));
    assert_int_not_equal(n->edge[0].slices[0].moving_to, 0);
    tell(n, 1, 20, 100, cross(1, 1)); /* and back before it has moved: nothing moves */
    assert_int_equal(n->edge[0].slices[0].moving_to, 0);
    assert_int_equal(path_now(n, LANE_PARAMETER), first);
    tell(n, 1, 20, 100, cross(1, 0));
    later(n, 6 * NS_PER_S); /* the core never says that it has moved */
    uint32_t now = path_now(n, LANE_PARAMETER);
    assert_int_not_equal(now, first);
    assert_int_equal(n->edge[0].n_slices, 1);
    assert_int_equal(n->edge[0].slices[0].slice.path, now);
    later(n, 4 * NS_PER_S);
    assert_int_equal(n->edge[0].n_paths, 1);
    end(n);
}

static void what_leads_nowhere_is_not_taken(void **state)
{
    struct net *n = start(20);
    struct bgp_sr_policy_path p = {.preference = 300, .priority = 128, .n_lists = 1};
    p.lists[0].weight = 1;
    p.lists[0].n_segments = 1;
    p.lists[0].segments[0] = (struct ip6){{0x20, 1, 0x0d, 0xb8}};
    tell_path(n, 9, 20, &p);
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    tell(n, 1, 20, 100, cross(1, 1));
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 1);
    tell(n, 2, 20, 50, cross(1, 0));
    testing_pe_cut(&n->edge[0], 1, &n->edge[2], 0); /* its first link is gone */
    settle(n);
    slice_moves(n);
    settle(n);
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 0);
    p.lists[0].segments[0] = (struct ip6){{0xfc, 0xbb, 0xbb, 0, 0, 2}}; /* a router's, not a link of ours */
    tell_path(n, 9, 20, &p);
    slice_moves(n);
    settle(n);
    const struct forward_path *now = path(n, path_now(n, LANE_PARAMETER));
    assert_int_equal(now->n_sids, 1);
    assert_int_equal(now->out_port, 0);
    p.n_lists = 2; /* the heavier list counts */
    p.lists[1].weight = 5;
    p.lists[1].n_segments = 1;
    p.lists[1].segments[0] = cross(1, 0);
    tell_path(n, 9, 20, &p);
    slice_moves(n);
    settle(n);
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->n_sids, 0);
    end(n);
}

static void classes_change(void **state)
{
    struct net *n = start(0); /* no colour of its own, none in the routes */
    tell(n, 1, 20, 100, cross(1, 1));
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    n->edge[0].vrf[0].class_[LANE_PARAMETER].color = 20;
    n->edge[0].vrf[0].class_[LANE_BULK] = (struct pe_class){.color = 20, .no_lane = true};
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    uint32_t id = path_now(n, LANE_PARAMETER);
    assert_int_not_equal(id, 0);
    assert_int_equal(path_now(n, LANE_BULK), id); /* one path for both, a slice for one */
    assert_int_equal(path_now(n, LANE_CONTROL), id);
    assert_int_equal(n->edge[0].n_slices, 1);
    n->edge[0].vrf[0].class_[LANE_PARAMETER].cap_bps = 5000;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_int_equal(n->edge[0].n_slices, 1);
    assert_int_equal(n->edge[0].slices[0].slice.cap_bps, 5000);
    n->edge[0].vrf[0].class_[LANE_PARAMETER].color = 0;
    n->edge[0].vrf[0].class_[LANE_BULK].color = 0;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    assert_int_equal(n->edge[0].n_slices, 0);
    end(n);
}

static void the_route_goes_and_its_slice_with_it(void **state)
{
    struct net *n = start(20);
    tell(n, 1, 20, 100, cross(1, 1));
    assert_int_equal(n->edge[0].n_slices, 1);
    n->edge[1].vrf[0].n_own = 0;
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    assert_null(testing_pe_route(&n->edge[0], 100, "10.2.0.0/16"));
    assert_int_equal(n->edge[0].n_slices, 0);
    n->edge[1].vrf[0].n_own = 1;
    assert_int_equal(testing_pe_apply(&n->edge[1]), 0);
    settle(n);
    assert_int_equal(n->edge[0].n_slices, 1);
    n->edge[0].config.n_vrfs = 0;
    assert_int_equal(testing_pe_apply(&n->edge[0]), 0);
    settle(n);
    assert_int_equal(n->edge[0].n_slices, 0);
    later(n, 4 * NS_PER_S);
    assert_int_equal(n->edge[0].n_paths, 0);
    end(n);
}

static void a_path_without_a_lane_is_left(void **state)
{
    struct net *n = start(20);
    tell(n, 1, 20, 100, cross(1, 1));
    tell(n, 2, 20, 50, cross(1, 0));
    struct pe *pe = n->edge[0].pe;
    struct forward_slice s = n->edge[0].slices[0].slice;
    pe_slice_state(pe, 100, LANE_PARAMETER, &s.service_sid, s.path, false, n->bgp.now);
    later(n, NS_PER_S / 2);
    pe_slice_state(pe, 100, LANE_PARAMETER, &s.service_sid, s.path, true, n->bgp.now); /* only a moment */
    later(n, 2 * NS_PER_S);
    assert_int_equal(path_now(n, LANE_PARAMETER), s.path);
    pe_slice_state(pe, 100, LANE_PARAMETER, &s.service_sid, s.path, false, n->bgp.now);
    pe_slice_state(pe, 100, LANE_PARAMETER, &s.service_sid, s.path, false, n->bgp.now + 1); /* told again: the same */
    later(n, NS_PER_S);
    assert_int_equal(
        path(n, path_now(n, LANE_PARAMETER))->out_port, 0); /* the next candidate, without waiting for a move */
    assert_int_equal(n->edge[0].n_slices, 1);
    assert_int_equal(n->edge[0].slices[0].moving_to, 0);
    struct forward_slice t = n->edge[0].slices[0].slice;
    pe_slice_state(pe, 100, LANE_PARAMETER, &t.service_sid, t.path, false, n->bgp.now);
    later(n, 2 * NS_PER_S);
    assert_int_equal(path_now(n, LANE_PARAMETER), 0); /* none is left: the underlay */
    assert_int_equal(n->edge[0].n_slices, 0);
    later(n, 29 * NS_PER_S); /* the first is tried again */
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 1);
    assert_int_equal(n->edge[0].n_slices, 1);
    tell(n, 3, 20, 200, cross(1, 0)); /* a better one whose lane is refused while the slice is on its way there */
    uint32_t to = n->edge[0].slices[0].moving_to;
    assert_int_not_equal(to, 0);
    pe_slice_state(pe, 100, LANE_PARAMETER, &t.service_sid, to, false, n->bgp.now);
    later(n, NS_PER_S);
    assert_int_equal(n->edge[0].slices[0].moving_to, 0); /* it stays where it is, nothing was lost */
    assert_int_equal(path(n, path_now(n, LANE_PARAMETER))->out_port, 1);
    end(n);
}

static void strange_policies(void **state)
{
    struct net *n = start(20);
    struct bgp_sr_policy_path p = {.preference = 300, .priority = 128};
    tell_path(n, 1, 20, &p); /* no list at all */
    p.n_lists = 1;
    p.lists[0].n_segments = BGP_SEGMENTS_MOST;
    for (unsigned i = 0; i < BGP_SEGMENTS_MOST; i++)
        p.lists[0].segments[i] = cross(1, 1);
    tell_path(n, 2, 20, &p); /* as long as one can be told */
    assert_int_equal(path_now(n, LANE_PARAMETER) != 0, BGP_SEGMENTS_MOST - 1 <= LANE_SIDS_MOST - 1);
    for (uint32_t i = 10; i < 60; i++) /* more candidates than one policy may have */
        tell(n, i, 20, i, cross(1, 1));
    struct pe_policy_view v[64];
    uint32_t cursor = 0;
    unsigned many = pe_policies_view(n->edge[0].pe, &cursor, v, 64);
    assert_in_range(many, 1, 16);
    for (uint32_t i = 10; i < 60; i++)
        take_back(n, i, 20);
    take_back(n, 1, 20);
    take_back(n, 2, 20);
    assert_int_equal(pe_counts(n->edge[0].pe).policies, 0);
    assert_int_equal(path_now(n, LANE_PARAMETER), 0);
    end(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_takes_its_color),
        cmocka_unit_test(better_candidates_take_over),
        cmocka_unit_test(a_list_is_replaced),
        cmocka_unit_test(what_leads_nowhere_is_not_taken),
        cmocka_unit_test(classes_change),
        cmocka_unit_test(the_route_goes_and_its_slice_with_it),
        cmocka_unit_test(a_path_without_a_lane_is_left),
        cmocka_unit_test(strange_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
