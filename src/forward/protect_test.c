/* 1+1 slices over real routers in memory: two disjoint paths from PE 0 to PE 3, over P 1 (fast) and P 2 (slow).
 *
 *            P 1
 *   host A — PE 0      PE 3 — host B
 *            P 2
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "forward/testing_vpn.h"
#include "forward/view.h"
#include "lane/view.h"
#include "wire/sequence.h"

#include <errno.h>
#include <stdlib.h>

enum { AF41 = 34, ROUTERS = 4, TENANT = 100, VRF = 10, FAST = 1, SLOW = 2 };

struct net {
    struct testing_vpn v; /* for hosts and addresses */
    struct ip6 service;
    unsigned sent;
    unsigned seen;
    uint16_t last; /* number of the last packet that host B got */
    uint8_t ecn;   /* of what host A sends */
};

struct shape {
    uint64_t bps[2];   /* of P 1's and P 2's link to PE 3; 0: no limit */
    uint64_t sink_bps; /* of host B's port */
    int64_t delay_ns[2];
    uint32_t window_least;
    bool unprotected, encrypted;
    struct queue_limits limits;
    uint32_t lag_cells;
    uint64_t guarantee_bps, port_bps;
};

static void must(int rc, const struct error *err)
{
    if (rc)
        fail_msg("%s", err->text);
}

static void core_port(struct net *n, unsigned router, uint16_t port, uint64_t rate)
{
    struct port_config p = {.kind = PORT_CORE, .mtu = 1900, .pool_cells = 8192, .rate_bps = rate};
    testing_net_port(n->v.net, router, port, &p);
}

static void add_sid(struct forward *f, struct ip6 sid, uint8_t len, enum sid_behaviour b, uint16_t port, uint32_t vrf)
{
    struct error err = {0};
    must(forward_sid_set(f, &(struct forward_sid){{IP_V6, len, sid}, b, 0, port, vrf}, &err), &err);
}

static void add_pe(struct net *n, unsigned router, uint64_t host_bps)
{
    struct forward *f = testing_net_forward(n->v.net, router);
    struct error err = {0};
    struct port_config hosts = {
        .kind = PORT_ACCESS, .mtu = 1500, .pfc_priorities = router == 0 ? 1 << 3 : 0, .rate_bps = host_bps};
    testing_net_port(n->v.net, router, VPN_HOSTS, &hosts);
    must(forward_vrf_add(f, VRF, TENANT, &err), &err);
    must(forward_vrf_add(f, 2 * VRF, 2 * TENANT, &err), &err); /* testing_vpn's other tenant, who has keys too */
    struct forward_access a = {.port = VPN_HOSTS,
        .vrf = VRF,
        .tenant = TENANT,
        .gateway = {{IP_V4, 24, {{10, 0, router ? 1 : 0, 1}}}},
        .priority_of_class = {0, 5, 3, 1}};
    must(forward_access_set(f, &a, testing_net_now(n->v.net), &err), &err);
    add_sid(f, testing_vpn_service(&n->v, router, VRF), 64,
        n->v.config.encrypted ? SID_END_ESP_DT46_NEXT_CSID : SID_END_DT46_NEXT_CSID, 0, VRF);
}

static struct forward *ingress(struct net *n)
{
    return testing_net_forward(n->v.net, 0);
}

static struct forward_slice slice_of(const struct net *n, const struct shape *s)
{
    return (struct forward_slice){.tenant = TENANT,
        .path = FAST,
        .class_ = LANE_PARAMETER,
        .service_sid = n->service,
        .rate_bps = 1000000000,
        .guarantee_bps = s->guarantee_bps,
        .window_least = s->window_least ? s->window_least : 64,
        .limits = s->limits,
        .protect = s->unprotected ? 0 : SLOW,
        .lag_cells = s->lag_cells};
}

static void add_route(struct net *n)
{
    struct error err = {0};
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = n->service,
        .path_of_class = {FAST, FAST, FAST, FAST},
        .encrypted = n->v.config.encrypted,
        .peer = testing_vpn_loopback(3)};
    struct ip_prefix to = {IP_V4, 24, {{10, 0, 1, 0}}};
    must(forward_route_set(ingress(n), VRF, &to, &r, &err), &err);
}

static void add_paths(struct net *n)
{
    struct error err = {0};
    struct ip6 on = testing_vpn_adjacency(&n->v, 0, 1); /* the short form is the same at both P routers */
    for (uint32_t id = FAST; id <= SLOW; id++) {
        struct forward_path p = {.id = id, .sids = {on}, .n_sids = 1, .out_port = (uint16_t)(id - 1)};
        p.risks[p.n_risks++] = 1000 + id;
        must(forward_path_set(ingress(n), &p, &err), &err);
    }
}

static void net_init(struct net *n, const struct shape *s, uint64_t seed)
{
    *n = (struct net){.v = {.net = testing_net_create(seed),
                          .config = {.routers = ROUTERS, .lanes = true, .encrypted = s->encrypted},
                          .last = 3}};
    n->service = testing_vpn_service(&n->v, 3, VRF);
    testing_net_mbufs(n->v.net, 16384, 2048);
    for (unsigned k = 0; k < ROUTERS; k++) {
        struct forward_config c = {.loopback = testing_vpn_loopback(k),
            .locator_block_bits = 32,
            .lanes = {.lanes_most = 32, .history_packets = 1024}};
        testing_net_router(n->v.net, &c);
        for (uint16_t port = 0; port < 2; port++)
            core_port(n, k, port, port == 1 && (k == 1 || k == 2) ? s->bps[k - 1] : k == 0 ? s->port_bps : 0);
    }
    int64_t a = s->delay_ns[0] ? s->delay_ns[0] : 250 * NS_PER_US,
            b = s->delay_ns[1] ? s->delay_ns[1] : 750 * NS_PER_US;
    testing_net_cable(n->v.net, 0, 0, 1, 0, a);
    testing_net_cable(n->v.net, 1, 1, 3, 0, a);
    testing_net_cable(n->v.net, 0, 1, 2, 0, b);
    testing_net_cable(n->v.net, 2, 1, 3, 1, b);
    for (unsigned k = 1; k <= 2; k++)
        add_sid(testing_net_forward(n->v.net, k), testing_vpn_adjacency(&n->v, k, 1), 48, SID_END_X_NEXT_CSID, 1, 0);
    add_pe(n, 0, 10000000); /* a pause is long at this rate: it need not be repeated */
    add_pe(n, 3, s->sink_bps);
    add_paths(n);
    struct error err = {0};
    struct forward_slice slice = slice_of(n, s);
    must(forward_slice_set(ingress(n), &slice, testing_net_now(n->v.net), &err), &err);
    add_route(n);
    if (s->encrypted)
        testing_vpn_keys(&n->v, 0, VPN_KEYS_OPEN | VPN_KEYS_SEAL);
}

static void check_routers(struct net *n)
{
    struct error err = {0};
    for (unsigned i = 0; i < ROUTERS; i++)
        if (lane_check(forward_lanes(testing_net_forward(n->v.net, i)), &err) ||
            lane_check_packets(forward_lanes(testing_net_forward(n->v.net, i)), &err))
            fail_msg("router %u: %s", i, err.text);
}

/* What host B has got since the last look: numbers that only go up. */
static void look(struct net *n)
{
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_seen(n->v.net, 3, VPN_HOSTS, i)); i++) {
        if (bytes_get_be16(f->bytes + ETHER_TYPE) != ETHER_IP4 || f->bytes[ETHER_SIZE + IP4_PROTO] != IP_PROTO_UDP)
            continue;
        uint16_t number = bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE);
        if (n->seen && number <= n->last)
            fail_msg("packet %u came behind packet %u", number, n->last);
        n->last = number;
        n->seen++;
    }
    testing_net_clear(n->v.net);
}

static void send_some(struct net *n, unsigned count, int64_t apart)
{
    for (unsigned i = 0; i < count; i++) {
        struct testing_udp u = {IP_V4, AF41, n->ecn, 64, 0, (uint16_t)++n->sent, 2000, 100};
        testing_vpn_send(&n->v, 0, &u);
        testing_net_run(n->v.net, apart);
        if (i % 16 == 0) {
            check_routers(n);
            look(n);
        }
    }
    look(n);
}

static struct forward_protect_view protect_of(struct net *n)
{
    struct forward_protect_view p = {0};
    uint32_t at = 0;
    assert_int_equal(forward_protects_view(ingress(n), &at, &p, 1), 1);
    return p;
}

static struct forward_stream_view stream_of(struct net *n)
{
    struct forward_stream_view s = {0};
    uint32_t at = 0;
    assert_int_equal(forward_streams_view(testing_net_forward(n->v.net, 3), &at, &s, 1), 1);
    return s;
}

static void until_both(struct net *n, bool a, bool b)
{
    for (unsigned i = 0; i < 600; i++) {
        struct forward_protect_view p = protect_of(n);
        if (p.complete[0] == a && p.complete[1] == b)
            return;
        testing_net_run(n->v.net, NS_PER_MS);
    }
    fail_msg("the lanes are not as they should be");
}

static void start(struct net *n, const struct shape *s, uint64_t seed)
{
    net_init(n, s, seed);
    until_both(n, true, true);
    testing_vpn_meet(&n->v);
}

static void done(struct net *n)
{
    testing_net_run(n->v.net, 300 * NS_PER_MS);
    check_routers(n);
    look(n);
    assert_int_equal(testing_net_free(n->v.net), 0);
}

/* Packets of hosts that are lost for good; copies are not among them. */
static uint64_t dropped(struct net *n, enum loss_reason r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ROUTERS; i++)
        sum += forward_loss(testing_net_forward(n->v.net, i))->packets[r];
    return sum;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void every_packet_goes_both_ways_and_arrives_once(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){0}, 1);
    send_some(&n, 1000, 10 * NS_PER_US);
    testing_net_run(n.v.net, 50 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 1000);
    struct forward_protect_view p = protect_of(&n);
    struct forward_stream_view s = stream_of(&n);
    assert_true(p.packets == 1000 && p.copies == 1000 && !p.redundant && !p.alone);
    assert_true(s.delivered == 1000 && s.redundant == 1000 && !s.lost && !s.late && !s.held_packets && !s.refused);
    assert_true(s.ingress == 1 && s.tenant == TENANT && s.vrf == VRF && s.class_ == LANE_PARAMETER);
    assert_int_equal(dropped(&n, LOSS_REDUNDANT), 1000);
    for (unsigned r = 1; r < LOSS_REASONS; r++)
        if (r != LOSS_REDUNDANT)
            assert_int_equal(dropped(&n, r), 0);
    assert_in_range(
        s.lag_ns, 900 * NS_PER_US, 2500 * NS_PER_US); /* 1500 us against 500, and windows that begin small */
    done(&n);
}

static void the_number_stands_where_the_document_says(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){0}, 1);
    testing_vpn_send(&n.v, 0, &(struct testing_udp){IP_V4, AF41, 1, 64, 0, 1, 2000, 100});
    testing_net_run(n.v.net, 5 * NS_PER_MS);
    const struct testing_frame *f;
    unsigned found = 0;
    for (unsigned i = 0; (f = testing_net_any(n.v.net, i)); i++) {
        const uint8_t *ip = f->bytes + ETHER_SIZE;
        if (f->len < 200 || bytes_get_be16(f->bytes + ETHER_TYPE) != ETHER_IP6 || ip[IP6_NEXT] != IP_PROTO_HOPOPT)
            continue;
        struct sequence q;
        uint32_t at;
        assert_int_equal(ip[IP6_SIZE], IP_PROTO_DSTOPTS);
        assert_int_equal(sequence_parse(&q, &at, ip + IP6_SIZE + HBH_SIZE, SEQUENCE_SIZE, SEQUENCE_DEFAULT), HBH_OK);
        assert_true(q.has && q.number == 1 && q.epoch && q.next == IP_PROTO_IPIP);
        found++;
    }
    assert_int_equal(found, 4); /* two links each */
    done(&n);
}

/* Either path is cut, silently, and mended again: nothing is lost, nothing is reordered. */
static void a_cut(unsigned router, bool unprotected, unsigned *ret_lost)
{
    struct net n;
    start(&n, &(struct shape){.window_least = 512}, 2);
    if (unprotected) {
        struct error err = {0};
        struct forward_slice s = slice_of(&n, &(struct shape){.unprotected = true, .window_least = 512});
        must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
        testing_net_run(n.v.net, 50 * NS_PER_MS);
    }
    send_some(&n, 3000, 10 * NS_PER_US);
    testing_net_cut(n.v.net, router, 1, true);
    send_some(&n, 6000, 10 * NS_PER_US);
    testing_net_cut(n.v.net, router, 1, false);
    if (!unprotected)
        until_both(&n, true, true);
    send_some(&n, 6000, 10 * NS_PER_US);
    testing_net_run(n.v.net, 300 * NS_PER_MS);
    look(&n);
    *ret_lost = n.sent - n.seen;
    if (!unprotected) {
        struct forward_stream_view s = stream_of(&n);
        assert_true(s.lost == 0 && s.delivered == n.sent && s.held_packets == 0);
        assert_true(protect_of(&n).alone > 0);
        assert_true(dropped(&n, LOSS_CUT) + dropped(&n, LOSS_LINK_DOWN) > 0); /* copies */
    }
    done(&n);
}

static void a_cut_of_either_path_loses_nothing(void **state)
{
    (void)state;
    unsigned lost;
    a_cut(1, false, &lost);
    assert_int_equal(lost, 0);
    a_cut(2, false, &lost);
    assert_int_equal(lost, 0);
    a_cut(1, true, &lost);
    assert_true(lost > 0); /* the same with one lane */
}

/* ESP inside: one SA for both copies, each packet opened once and in order, so its window sees no replay. */
static void an_encrypted_vpn_is_protected_like_any_other(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){.window_least = 512, .encrypted = true}, 10);
    send_some(&n, 2000, 10 * NS_PER_US);
    testing_net_cut(n.v.net, 1, 1, true);
    send_some(&n, 4000, 10 * NS_PER_US);
    testing_net_cut(n.v.net, 1, 1, false);
    until_both(&n, true, true);
    send_some(&n, 2000, 10 * NS_PER_US);
    testing_net_run(n.v.net, 100 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 8000);
    assert_true(forward_counts(ingress(&n)).sealed == 8000);
    assert_true(forward_counts(testing_net_forward(n.v.net, 3)).opened == 8000);
    assert_true(!dropped(&n, LOSS_REPLAY) && !dropped(&n, LOSS_NO_KEY) && !dropped(&n, LOSS_NOT_AUTHENTIC));
    assert_true(stream_of(&n).lost == 0);
    done(&n);
}

static int64_t lose_some(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    const uint64_t *key = user;
    (void)port;
    bool data = len > 150 && bytes_get_be16(bytes + ETHER_TYPE) == ETHER_IP6;
    return data && router == 1 && rng_uniform(*key, (uint64_t)now) < 0.05 ? TESTING_LOSE : 0;
}

static void what_a_lossy_path_loses_the_other_brings(void **state)
{
    (void)state;
    struct net n;
    uint64_t key = 77;
    start(&n, &(struct shape){.window_least = 1024, .sink_bps = 120000000}, 3); /* what both bring waits in one queue */
    testing_net_hook(n.v.net, lose_some, &key);
    send_some(&n, 4000, 10 * NS_PER_US);
    testing_net_run(n.v.net, 200 * NS_PER_MS);
    look(&n);
    struct forward_stream_view s = stream_of(&n);
    assert_int_equal(n.seen, 4000);
    assert_true(s.lost == 0 && s.held_peak_cells > 10);
    assert_true(dropped(&n, LOSS_LINK) > 100); /* the fibre's loss is seen all the same */
    done(&n);
}

static uint64_t marked(struct net *n)
{
    struct lane_view v[8];
    uint32_t at = 0;
    uint64_t sum = 0;
    unsigned got = lane_view(forward_lanes(ingress(n)), &at, v, 8);
    for (unsigned i = 0; i < got; i++)
        sum += v[i].marked_packets;
    return sum;
}

/* One of the paths can carry a tenth: it lags, its copies are let go, and neither the other one nor the host notices. */
static void left_behind(unsigned slow)
{
    struct net n;
    struct shape s = {.limits = {.ecn_cells = 100, .pfc_xoff_cells = 200, .pfc_xon_cells = 100, .drop_cells = 4000},
        .lag_cells = 300};
    s.bps[slow] = 10000000;
    start(&n, &s, 4);
    n.ecn = 1;
    send_some(&n, 10000, 20 * NS_PER_US);
    struct forward_protect_view p = protect_of(&n);
    assert_true(p.redundant > 5000);
    assert_true(p.cells[slow] <= 300 && p.cells[!slow] < 10);
    assert_int_equal(marked(&n), 0);
    testing_net_run(n.v.net, 500 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 10000);
    assert_true(stream_of(&n).lost == 0);
    assert_int_equal(lane_port(forward_lanes(ingress(&n)), VPN_HOSTS)->pfc.told, 0); /* the host never stopped */
    assert_int_equal(dropped(&n, LOSS_POLICED), 0);
    done(&n);
}

static void a_path_that_cannot_follow_is_left_behind(void **state)
{
    (void)state;
    left_behind(1);
    left_behind(0);
}

/* Neither can carry it alone for a while: both lag, they lead in turns, and of no packet both copies are let go. */
static void of_no_packet_both_copies_are_let_go(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){.bps = {40000000, 30000000}, .lag_cells = 40}, 11);
    for (unsigned burst = 0; burst < 10; burst++) {
        send_some(&n, 150, 10 * NS_PER_US);
        testing_net_run(n.v.net, 3 * NS_PER_MS);
    }
    testing_net_run(n.v.net, NS_PER_S);
    look(&n);
    assert_true(protect_of(&n).redundant > 200);
    assert_int_equal(n.seen, n.sent);
    done(&n);
}

static int64_t lose_fifty(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    (void)user, (void)port, (void)now;
    const uint8_t *ip = bytes + ETHER_SIZE;
    if (len < 150 || bytes_get_be16(bytes + ETHER_TYPE) != ETHER_IP6 || ip[IP6_SIZE] != IP_PROTO_DSTOPTS)
        return 0;
    uint64_t number = bytes_get_be64(ip + IP6_SIZE + HBH_SIZE + SEQUENCE_NUMBER_AT);
    return (router == 1 && number == 50) || (router == 2 && number >= 50) ? TESTING_LOSE : 0;
}

/* Both copies of one packet are lost, then the slow path is silent: what is behind goes on after the wait, by itself. */
static void what_is_held_goes_on_without_another_packet(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){.window_least = 512}, 12);
    testing_net_hook(n.v.net, lose_fifty, NULL);
    send_some(&n, 100, 10 * NS_PER_US);
    testing_net_run(n.v.net, 2 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 49);
    assert_int_equal(stream_of(&n).held_packets, 50);
    check_routers(&n);
    testing_net_run(n.v.net, 100 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 99);
    assert_true(stream_of(&n).lost == 1 && stream_of(&n).held_packets == 0);
    done(&n);
}

/* The fast path dies while the slow one is far behind with its queue at the limit: what only the fast one had is gone, and no
 * more; what both have never had is not let go. */
static void what_was_let_go_is_all_that_a_cut_can_cost(void **state)
{
    (void)state;
    struct net n;
    start(&n, &(struct shape){.bps = {0, 10000000}, .lag_cells = 100}, 5);
    send_some(&n, 3000, 20 * NS_PER_US);
    testing_net_cut(n.v.net, 1, 1, true);
    send_some(&n, 1000, 200 * NS_PER_US); /* now it can follow */
    testing_net_run(n.v.net, 2 * NS_PER_S);
    look(&n);
    struct forward_stream_view s = stream_of(&n);
    struct forward_protect_view p = protect_of(&n);
    assert_true(n.sent - n.seen <= p.redundant);
    assert_true(s.delivered == n.seen && s.delivered + s.lost <= n.sent);
    assert_int_equal(n.last, 4000);
    done(&n);
}

/* Both are cut: hosts' packets wait in both queues for whichever comes back first. */
static void both_down_then_up(void **state)
{
    (void)state;
    struct net n;
    struct queue_limits limits = {.pfc_xoff_cells = 100, .pfc_xon_cells = 50};
    start(&n, &(struct shape){.window_least = 512, .lag_cells = 4000, .limits = limits}, 6);
    const struct port *host = lane_port(forward_lanes(ingress(&n)), VPN_HOSTS);
    send_some(&n, 500, 10 * NS_PER_US);
    testing_net_run(n.v.net, 10 * NS_PER_MS);
    testing_net_cut(n.v.net, 1, 1, true);
    testing_net_cut(n.v.net, 2, 1, true);
    until_both(&n, false, false);
    send_some(&n, 300, 100 * NS_PER_US);
    look(&n);
    assert_int_equal(n.seen, 500);
    assert_int_equal(host->pfc.stopped, 1 << 3);
    testing_net_cut(n.v.net, 2, 1, false); /* the slow one first */
    until_both(&n, false, true);
    testing_net_run(n.v.net, 20 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 800);
    assert_int_equal(host->pfc.stopped, 0); /* though the other path's queue is as full as it was */
    testing_net_cut(n.v.net, 1, 1, false);
    until_both(&n, true, true);
    send_some(&n, 500, 10 * NS_PER_US);
    testing_net_run(n.v.net, 100 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 1300);
    assert_true(stream_of(&n).lost == 0);
    done(&n);
}

static void the_slice_made_anew_begins_another_epoch(void **state)
{
    (void)state;
    struct net n;
    struct error err = {0};
    start(&n, &(struct shape){0}, 7);
    send_some(&n, 200, 10 * NS_PER_US);
    testing_net_run(n.v.net, 20 * NS_PER_MS);
    assert_int_equal(
        forward_slice_del(ingress(&n), TENANT, FAST, LANE_PARAMETER, &n.service, testing_net_now(n.v.net)), 0);
    testing_net_run(n.v.net, 50 * NS_PER_MS);
    struct forward_slice s = slice_of(&n, &(struct shape){0});
    must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
    until_both(&n, true, true);
    send_some(&n, 200, 10 * NS_PER_US);
    testing_net_run(n.v.net, 20 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 400);
    assert_true(stream_of(&n).delivered == 400 && stream_of(&n).lost == 0); /* one stream, two epochs */
    /* Replaced in place, the numbers go on. */
    s.guarantee_bps = 1000000;
    must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
    until_both(&n, true, true);
    send_some(&n, 200, 10 * NS_PER_US);
    testing_net_run(n.v.net, 20 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 600);
    assert_int_equal(protect_of(&n).packets, 400);
    done(&n);
}

static void refused(struct net *n, const struct forward_slice *s, int rc, const char *part)
{
    struct error err = {0};
    assert_int_equal(forward_slice_set(ingress(n), s, testing_net_now(n->v.net), &err), rc);
    if (!strstr(err.text, part))
        fail_msg("%s", err.text);
}

static void paths_that_share_anything_are_refused(void **state)
{
    (void)state;
    struct net n;
    struct error err = {0};
    net_init(&n, &(struct shape){.unprotected = true}, 8);
    struct forward_slice s = slice_of(&n, &(struct shape){0});
    struct forward_path p = {.id = 3, .sids = {testing_vpn_adjacency(&n.v, 2, 1)}, .n_sids = 1, .out_port = 0};
    must(forward_path_set(ingress(&n), &p, &err), &err);
    s.protect = 3;
    refused(&n, &s, -EINVAL, "both begin at port 0");
    p.id = 4;
    p.out_port = 1;
    p.risks[0] = 7, p.risks[1] = 1000 + FAST, p.n_risks = 2;
    must(forward_path_set(ingress(&n), &p, &err), &err);
    s.protect = 4;
    refused(&n, &s, -EINVAL, "share the risk 1001");
    s.protect = 9;
    refused(&n, &s, -ENOENT, "no path 9");
    s.protect = FAST;
    refused(&n, &s, -EINVAL, "cannot protect itself");
    p = (struct forward_path){.id = 5, .n_sids = 1, .out_port = 1, .no_lanes = true};
    must(forward_path_set(ingress(&n), &p, &err), &err);
    s.protect = 5;
    refused(&n, &s, -EINVAL, "without lanes");

    s.protect = SLOW;
    must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
    struct forward_slice second = s;
    second.path = SLOW, second.protect = 0;
    refused(&n, &second, -EEXIST, "on path 2 already");
    second.path = 4, second.protect = FAST;
    refused(&n, &second, -EEXIST, "already");
    assert_int_equal(
        forward_slice_move(ingress(&n), TENANT, LANE_PARAMETER, &n.service, FAST, 4, testing_net_now(n.v.net), &err),
        -EINVAL);
    assert_non_null(strstr(err.text, "protected"));
    p = (struct forward_path){.id = SLOW, .out_port = 1};
    assert_int_equal(forward_path_set(ingress(&n), &p, &err), -EBUSY); /* it carries the second lane */
    assert_int_equal(forward_path_del(ingress(&n), SLOW), -EBUSY);
    /* And back: only one lane. */
    s.protect = 0;
    must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
    uint32_t at = 0;
    struct forward_protect_view v;
    assert_int_equal(forward_protects_view(ingress(&n), &at, &v, 1), 0);
    testing_net_run(n.v.net, 100 * NS_PER_MS);
    testing_vpn_meet(&n.v);
    send_some(&n, 10, 10 * NS_PER_US);
    testing_net_run(n.v.net, 10 * NS_PER_MS);
    look(&n);
    assert_int_equal(n.seen, 10);
    done(&n);
}

static void a_router_that_both_paths_name_is_refused(void **state)
{
    (void)state;
    struct net n;
    struct error err = {0};
    net_init(&n, &(struct shape){.unprotected = true}, 8);
    struct forward_route over = {.kind = ROUTE_ADJACENT, .port = 0};
    struct ip_prefix locator = {IP_V6, 48, testing_vpn_end(&n.v, 8)};
    must(forward_route_set(ingress(&n), 0, &locator, &over, &err), &err);
    for (uint32_t id = 3; id <= 4; id++) {
        struct forward_path p = {
            .id = id, .sids = {testing_vpn_end(&n.v, 8)}, .n_sids = 1, .out_port = (uint16_t)(id - 3)};
        must(forward_path_set(ingress(&n), &p, &err), &err);
    }
    struct forward_slice s = slice_of(&n, &(struct shape){0});
    s.path = 3, s.protect = 4;
    refused(&n, &s, -EINVAL, "share a router");
    done(&n);
}

static void the_guarantee_is_asked_for_on_both(void **state)
{
    (void)state;
    struct net n;
    struct error err = {0};
    net_init(&n, &(struct shape){.unprotected = true, .port_bps = 1000000000}, 9);
    struct forward_slice other = slice_of(&n, &(struct shape){0});
    other.path = SLOW, other.protect = 0, other.class_ = LANE_BULK, other.guarantee_bps = 600000000;
    must(forward_slice_set(ingress(&n), &other, testing_net_now(n.v.net), &err), &err);
    struct forward_slice s = slice_of(&n, &(struct shape){.guarantee_bps = 500000000});
    refused(&n, &s, -ENOSPC, "left to guarantee"); /* the first path would have room */
    s.guarantee_bps = 300000000;
    must(forward_slice_set(ingress(&n), &s, testing_net_now(n.v.net), &err), &err);
    until_both(&n, true, true);
    assert_true(lane_port(forward_lanes(ingress(&n)), 0)->guaranteed_bps >= 300000000);
    assert_true(lane_port(forward_lanes(ingress(&n)), 1)->guaranteed_bps >= 900000000);
    done(&n);
}

/* --- random faults: one path at a time is cut, the fibres jitter, control frames get lost -------------------------- */

struct faults {
    uint64_t key, draws;
};

static int64_t control_lost(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    struct faults *f = user;
    (void)router, (void)port, (void)len, (void)now;
    bool control = bytes_get_be16(bytes + ETHER_TYPE) == ETHER_LANE;
    return control && rng_uniform(f->key, f->draws++) < 0.02 ? TESTING_LOSE : 0;
}

/* Both paths have carried everything for longer than the slower one takes: a short cut may be noticed after it is over. */
static void healed(struct net *n)
{
    uint64_t alone;
    for (unsigned i = 0; i < 100; i++) {
        until_both(n, true, true);
        alone = protect_of(n).alone;
        send_some(n, 1500, 10 * NS_PER_US);
        if (protect_of(n).alone == alone)
            return;
    }
    fail_msg("the paths never come to rest");
}

static void random_cuts_of_one_path_at_a_time_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct faults f = {.key = seed};
        struct net n;
        struct shape s = {.window_least = 1024,
            .delay_ns = {(int64_t)rng_below(seed, 1, 1000000) + 1000, (int64_t)rng_below(seed, 2, 1000000) + 1000}};
        start(&n, &s, seed);
        testing_net_hook(n.v.net, control_lost, &f);
        for (unsigned round = 0; round < 8; round++) {
            unsigned router = 1 + rng_below(seed, 10 + round, 2);
            uint16_t port = (uint16_t)rng_below(seed, 30 + round, 2);
            send_some(&n, 200 + rng_below(seed, 50 + round, 600), 10 * NS_PER_US);
            testing_net_cut(n.v.net, router, port, true);
            send_some(&n, 200 + rng_below(seed, 70 + round, 3000), 10 * NS_PER_US);
            testing_net_cut(n.v.net, router, port, false);
            healed(&n);
        }
        testing_net_run(n.v.net, 300 * NS_PER_MS);
        look(&n);
        struct forward_stream_view v = stream_of(&n);
        if (n.seen != n.sent || v.lost)
            fail_msg("seed %llu: %u of %u packets arrived, %llu lost, %llu late", (unsigned long long)seed, n.seen,
                n.sent, (unsigned long long)v.lost, (unsigned long long)v.late);
        done(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_packet_goes_both_ways_and_arrives_once),
        cmocka_unit_test(the_number_stands_where_the_document_says),
        cmocka_unit_test(a_cut_of_either_path_loses_nothing),
        cmocka_unit_test(an_encrypted_vpn_is_protected_like_any_other),
        cmocka_unit_test(what_a_lossy_path_loses_the_other_brings),
        cmocka_unit_test(a_path_that_cannot_follow_is_left_behind),
        cmocka_unit_test(of_no_packet_both_copies_are_let_go),
        cmocka_unit_test(what_is_held_goes_on_without_another_packet),
        cmocka_unit_test(what_was_let_go_is_all_that_a_cut_can_cost),
        cmocka_unit_test(both_down_then_up),
        cmocka_unit_test(the_slice_made_anew_begins_another_epoch),
        cmocka_unit_test(paths_that_share_anything_are_refused),
        cmocka_unit_test(a_router_that_both_paths_name_is_refused),
        cmocka_unit_test(the_guarantee_is_asked_for_on_both),
        cmocka_unit_test(random_cuts_of_one_path_at_a_time_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
