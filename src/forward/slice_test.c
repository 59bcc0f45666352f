/* Slices: hosts' packets in lanes over real routers, the lane's own check at every hop, tenants apart (X3), and moves. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "forward/testing_vpn.h"

#include <errno.h>
#include <stdlib.h>

enum { AF41 = 34 };

static const struct testing_udp udp = {IP_V4, AF41, 0, 64, 0, 1000, 2000, 100};

static const struct testing_frame *hosts_frame(const struct testing_vpn *v, unsigned router, unsigned i)
{
    return testing_net_seen(v->net, router, VPN_HOSTS, i);
}

static void check_routers(struct testing_net *net, unsigned n)
{
    struct error err = {0};
    for (unsigned i = 0; i < n; i++)
        if (lane_check(forward_lanes(testing_net_forward(net, i)), &err) ||
            lane_check_packets(forward_lanes(testing_net_forward(net, i)), &err))
            fail_msg("router %u: %s", i, err.text);
}

static uint64_t lost(struct testing_net *net, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        for (unsigned r = 0; r < LOSS_REASONS; r++)
            sum += forward_loss(testing_net_forward(net, i))->packets[r];
    return sum;
}

/* Until both directions' lanes of both tenants are open. */
static void open_lanes(struct testing_vpn *v)
{
    for (unsigned i = 0; i < 100 && (testing_net_events(v->net, 0, LANE_EVENT_OPEN) < 2 ||
                                        testing_net_events(v->net, v->last, LANE_EVENT_OPEN) < 2);
        i++)
        testing_net_run(v->net, 10 * NS_PER_MS);
    assert_int_equal(testing_net_events(v->net, 0, LANE_EVENT_OPEN), 2);
    assert_int_equal(testing_net_events(v->net, v->last, LANE_EVENT_OPEN), 2);
    testing_vpn_meet(v);
}

/* How many frames on cables carry a lane option: hop-by-hop options of full size. */
static unsigned in_lanes(const struct testing_net *net)
{
    unsigned n = 0;
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_any(net, i)); i++)
        if (f->len > 90 && bytes_get_be16(f->bytes + ETHER_TYPE) == ETHER_IP6 &&
            f->bytes[ETHER_SIZE + IP6_NEXT] == IP_PROTO_HOPOPT && f->bytes[ETHER_SIZE + IP6_SIZE + 1] == 3)
            n++;
    return n;
}

static void arrives_in_order(const struct testing_vpn_config *c)
{
    struct testing_vpn v;
    testing_vpn_init(&v, c, 1);
    open_lanes(&v);
    unsigned from[2] = {0, v.last};
    for (unsigned i = 0; i < 200; i++) {
        struct testing_udp u = udp;
        u.family = i % 2 ? IP_V4 : IP_V6;
        u.vlan = i % 3 ? 0 : 20;
        u.src_port = (uint16_t)i;
        testing_vpn_send(&v, from[i / 100], &u);
        testing_net_run(v.net, 1000);
        check_routers(v.net, c->routers);
    }
    testing_net_run(v.net, 20 * NS_PER_MS);
    check_routers(v.net, c->routers);
    for (unsigned i = 0; i < 200; i++) {
        const struct testing_frame *f = hosts_frame(&v, i < 100 ? v.last : 0, i % 100);
        assert_non_null(f);
        uint32_t udp_at = (i % 3 ? 14u : 18u) + (i % 2 ? (uint32_t)IP4_SIZE : (uint32_t)IP6_SIZE);
        assert_int_equal(bytes_get_be16(f->bytes + udp_at), i);
    }
    assert_int_equal(in_lanes(v.net), 200 * (c->routers - 1)); /* on every link of the way */
    assert_int_equal(lost(v.net, c->routers), 0);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void lanes_over_one_container(void **state)
{
    arrives_in_order(&(struct testing_vpn_config){.routers = 4, .lanes = true, .delay_ns = 1000});
}

static void lanes_over_containers_and_srh(void **state)
{
    arrives_in_order(&(struct testing_vpn_config){.routers = 10, .lanes = true, .delay_ns = 1000});
}

static void lanes_over_full_sids_with_psp(void **state)
{
    arrives_in_order(&(struct testing_vpn_config){
        .routers = 8, .lanes = true, .full_sids = true, .flavours = SID_PSP, .delay_ns = 1000});
}

static void lanes_between_two_routers(void **state)
{
    arrives_in_order(&(struct testing_vpn_config){.routers = 2, .lanes = true, .delay_ns = 1000});
}

static void other_code_points(void **state)
{
    arrives_in_order(&(struct testing_vpn_config){
        .routers = 3, .lanes = true, .delay_ns = 1000, .option_nr = 0x5e, .option_lane = 0x7e});
}

static void what_has_no_lane_goes_beside(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .lanes = true, .delay_ns = 1000}, 1);
    open_lanes(&v);
    struct testing_udp u = udp;
    u.dscp = 0; /* bulk: only the class parameter has lanes here */
    testing_vpn_send(&v, 0, &u);
    testing_net_run(v.net, NS_PER_MS);
    assert_non_null(hosts_frame(&v, v.last, 0));
    assert_int_equal(in_lanes(v.net), 0);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void packets_wait_for_their_lane(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .lanes = true, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    testing_vpn_send(&v, 0, &udp); /* before HELLO has gone round */
    testing_net_run(v.net, NS_PER_S);
    assert_non_null(hosts_frame(&v, v.last, 0));
    assert_int_equal(in_lanes(v.net), 2);
    assert_int_equal(lost(v.net, 3), 0);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void a_slow_host_loses_nothing(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 4, .lanes = true, .delay_ns = 10000}, 1);
    open_lanes(&v);
    struct forward *last = testing_net_forward(v.net, v.last);
    struct port_config slow = {.kind = PORT_ACCESS, .mtu = 1500, .rate_bps = 10000000};
    testing_net_port(v.net, v.last, 5, &slow);
    struct forward_access a = {.port = 5, .vrf = 10, .gateway = {{IP_V4, 24, {{10, 0, 7, 1}}}}};
    assert_int_equal(forward_access_set(last, &a, testing_net_now(v.net), &err), 0);
    struct forward_route to_slow = {.kind = ROUTE_GATEWAY, .port = 5, .gateway = {IP_V4, {{10, 0, 7, 2}}}};
    struct ip_prefix host = {IP_V4, 32, {{10, 0, 1, 2}}};
    assert_int_equal(forward_route_set(last, 10, &host, &to_slow, &err), 0);
    uint8_t arp[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 1, 0, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 1, 0, 0,
        0, 7, 10, 0, 7, 2, [38] = 10, 0, 7, 1};
    testing_net_send(v.net, v.last, 5, arp, sizeof arp);
    testing_net_run(v.net, NS_PER_MS);
    testing_net_clear(v.net);

    for (unsigned i = 0; i < 2000; i++) { /* all at once: more than any window on the way */
        struct testing_udp u = udp;
        u.src_port = (uint16_t)i;
        testing_vpn_send(&v, 0, &u);
        testing_net_run(v.net, 1000);
    }
    check_routers(v.net, 4);
    testing_net_run(v.net, NS_PER_S);
    check_routers(v.net, 4);
    for (unsigned i = 0; i < 2000; i++) {
        const struct testing_frame *f = testing_net_seen(v.net, v.last, 5, i);
        assert_non_null(f);
        assert_int_equal(bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE), i);
    }
    assert_int_equal(lost(v.net, 4), 0);
    assert_int_equal(testing_vpn_done(&v), 0);
}

/* --- forged on the wire ---------------------------------------------------------------------------------------------- */

struct forger {
    unsigned router; /* whose sent packets are changed */
    struct ip6 from, to;
};

static int64_t forge(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    const struct forger *f = user;
    if (router == f->router && len > 90 && bytes_get_be16(bytes + ETHER_TYPE) == ETHER_IP6 &&
        memcmp(bytes + ETHER_SIZE + IP6_DST, f->from.b, 16) == 0)
        memcpy(bytes + ETHER_SIZE + IP6_DST, f->to.b, 16);
    return 0;
}

/* A lane's packet whose destination is exchanged before router `at` is dropped there and nowhere else. */
static void forged(struct ip6 from, struct ip6 to, unsigned at)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .lanes = true, .delay_ns = 1000}, 1);
    open_lanes(&v);
    struct forger f = {at - 1, from, to};
    testing_net_hook(v.net, forge, &f);
    testing_vpn_send(&v, 0, &udp);
    testing_net_run(v.net, 10 * NS_PER_MS);
    assert_null(hosts_frame(&v, v.last, 0));
    assert_int_equal(forward_loss(testing_net_forward(v.net, at))->packets[LOSS_WRONG_PATH], 1);
    assert_int_equal(lost(v.net, 3), 1);
    check_routers(v.net, 3);
    testing_net_hook(v.net, NULL, NULL);
    testing_vpn_send(&v, 0, &udp); /* the lane goes on, with all its cells */
    testing_net_run(v.net, 10 * NS_PER_MS);
    assert_non_null(hosts_frame(&v, v.last, 0));
    assert_int_equal(testing_vpn_done(&v), 0);
}

static struct ip6 container(uint16_t a, uint16_t b, uint16_t c)
{
    struct ip6 ip = {{0xfc, 0xbb, 0xbb, 0}};
    bytes_put_be16(ip.b + 4, a);
    bytes_put_be16(ip.b + 6, b);
    bytes_put_be16(ip.b + 8, c);
    return ip;
}

/* The C-SID of a PE's service for tenant 1 or 2. */
static uint16_t service(unsigned tenant)
{
    return (uint16_t)((testing_vpn_all_encrypted ? 0xd100 : 0xd000) + tenant);
}

static void the_service_of_another_tenant(void **state)
{
    forged(container(3, service(1), 0), container(3, service(2), 0), 2);
}

static void a_service_before_the_end(void **state)
{
    forged(container(0xe001, 3, service(1)), testing_vpn_loopback(1), 1); /* punting is leaving the lane, too */
}

static void another_way_than_the_lanes(void **state)
{
    forged(container(0xe001, 3, service(1)), container(0xe000, 3, service(1)), 1);
    forged(container(3, service(1), 0), container(2, 3, service(1)), 2);
}

/* --- moving ------------------------------------------------------------------------------------------------------------ */

/* PE 0 - P 1 - PE 3 and PE 0 - P 2 - PE 3: ports of PE 0: 0 to P 1, 1 to P 2; hosts at 2. The same at PE 3. */
struct diamond {
    struct testing_net *net;
    struct ip6 service;
};

static bool encrypted; /* of the diamonds that are made, too */

static void diamond_keys(struct diamond *d)
{
    const struct testing_vpn v = {.net = d->net, .last = 3};
    for (uint16_t lane = 0; lane < LANE_CLASSES; lane++) {
        struct esp_sa_config there = testing_vpn_sa(&v, 0, 10, lane, 0, true), here = there;
        here.peer = testing_vpn_loopback(0);
        here.sending = false;
        assert_int_equal(forward_sa_install(testing_net_forward(d->net, 0), &there, NULL), 0);
        assert_int_equal(forward_sa_install(testing_net_forward(d->net, 3), &here, NULL), 0);
    }
}

static void core_port(struct testing_net *n, unsigned router, uint16_t port)
{
    testing_net_port(n, router, port, &(struct port_config){.mtu = 1500, .pool_cells = 1024});
}

static void diamond_sid(
    struct forward *f, struct ip6 sid, uint8_t len, enum sid_behaviour b, uint16_t port, uint32_t vrf)
{
    struct error err = {0};
    struct forward_sid s = {.sid = {IP_V6, len, sid}, .behaviour = b, .port = port, .vrf = vrf};
    assert_int_equal(forward_sid_set(f, &s, &err), 0);
}

static void diamond_pe(struct diamond *d, unsigned router, uint8_t side)
{
    struct error err = {0};
    struct forward *f = testing_net_forward(d->net, router);
    testing_net_port(d->net, router, 2,
        &(struct port_config){.kind = PORT_ACCESS, .mtu = 1500, .rate_bps = 10000000000, .pfc_priorities = 0xff});
    assert_int_equal(forward_vrf_add(f, 10, 100, &err), 0);
    struct forward_access a = {.port = 2, .vrf = 10, .gateway = {{IP_V4, 24, {{10, 0, side, 1}}}}};
    assert_int_equal(forward_access_set(f, &a, testing_net_now(d->net), &err), 0);
}

static void diamond_init(struct diamond *d, int64_t delay1, int64_t delay2)
{
    struct error err = {0};
    d->net = testing_net_create(3);
    for (unsigned i = 0; i < 4; i++) {
        testing_net_router(
            d->net, &(struct forward_config){.loopback = testing_vpn_loopback(i), .locator_block_bits = 32});
        core_port(d->net, i, 0);
        core_port(d->net, i, 1);
    }
    for (unsigned p = 1; p <= 2; p++) {
        testing_net_cable(d->net, 0, (uint16_t)(p - 1), p, 0, p == 1 ? delay1 : delay2);
        testing_net_cable(d->net, p, 1, 3, (uint16_t)(p - 1), p == 1 ? delay1 : delay2);
        diamond_sid(testing_net_forward(d->net, p), container(0xe001, 0, 0), 48, SID_END_X_NEXT_CSID, 1, 0);
    }
    diamond_pe(d, 0, 0);
    diamond_pe(d, 3, 1);
    d->service = container(4, 0xd001, 0);
    diamond_sid(testing_net_forward(d->net, 3), d->service, 64,
        encrypted || testing_vpn_all_encrypted ? SID_END_ESP_DT46_NEXT_CSID : SID_END_DT46_NEXT_CSID, 0, 10);
    diamond_keys(d);
    struct forward *pe = testing_net_forward(d->net, 0);
    for (uint16_t p = 0; p < 2; p++) {
        struct forward_path path = {.id = p + 1u, .n_sids = 1, .sids = {container(0xe001, 0, 0)}, .out_port = p};
        assert_int_equal(forward_path_set(pe, &path, &err), 0);
    }
    struct forward_route r = {.kind = ROUTE_REMOTE,
        .service_sid = d->service,
        .path_of_class = {1, 1, 1, 1},
        .encrypted = encrypted || testing_vpn_all_encrypted,
        .peer = testing_vpn_loopback(3)};
    struct ip_prefix to = {IP_V4, 24, {{10, 0, 1, 0}}};
    assert_int_equal(forward_route_set(pe, 10, &to, &r, &err), 0);
    struct forward_slice s = {.tenant = 100,
        .path = 1,
        .class_ = LANE_PARAMETER,
        .service_sid = d->service,
        .rate_bps = 1000000000,
        .window_least = 8};
    assert_int_equal(forward_slice_set(pe, &s, testing_net_now(d->net), &err), 0);
    for (unsigned i = 0; i < 100 && !testing_net_events(d->net, 0, LANE_EVENT_OPEN); i++)
        testing_net_run(d->net, 10 * NS_PER_MS);
    uint8_t arp[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 1, 0, 3, 0, 0, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 1, 0, 3,
        0, 0, 10, 0, 1, 2, [38] = 10, 0, 1, 1};
    testing_net_send(d->net, 3, 2, arp, sizeof arp);
    testing_net_run(d->net, NS_PER_MS);
    testing_net_clear(d->net);
}

static int move(struct diamond *d, uint32_t from, uint32_t to)
{
    struct error err = {0};
    return forward_slice_move(
        testing_net_forward(d->net, 0), 100, LANE_PARAMETER, &d->service, from, to, testing_net_now(d->net), &err);
}

static void send_numbered(struct diamond *d, unsigned i)
{
    struct testing_vpn v = {.net = d->net, .last = 3};
    struct testing_udp u = udp;
    u.src_port = (uint16_t)i;
    testing_vpn_send(&v, 0, &u);
}

static uint32_t route_path(struct diamond *d)
{
    struct forward_route r;
    struct ip_prefix p;
    assert_int_equal(
        forward_route_find(testing_net_forward(d->net, 0), 10, &(struct ip_addr){IP_V4, {{10, 0, 1, 2}}}, &r, &p), 0);
    return r.path_of_class[LANE_PARAMETER];
}

/* Packet number `i` that the host at the right got; routers ask hosts for their addresses, too. */
static const struct testing_frame *got(const struct diamond *d, unsigned i)
{
    const struct testing_frame *f;
    for (unsigned k = 0; (f = testing_net_seen(d->net, 3, 2, k)); k++)
        if (bytes_get_be16(f->bytes + ETHER_TYPE) == ETHER_IP4 && i-- == 0)
            return f;
    return NULL;
}

static void all_arrived_in_order(struct diamond *d, unsigned sent)
{
    for (unsigned i = 0; i < sent; i++) {
        const struct testing_frame *f = got(d, i);
        assert_non_null(f);
        assert_int_equal(bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE), i);
    }
    assert_null(got(d, sent));
    assert_int_equal(lost(d->net, 4), 0);
}

static void send_some(struct diamond *d, unsigned *sent, unsigned n, int64_t gap)
{
    for (unsigned i = 0; i < n; i++) {
        send_numbered(d, (*sent)++);
        testing_net_run(d->net, gap);
        check_routers(d->net, 4);
    }
}

static void moves(int64_t delay1, int64_t delay2)
{
    struct diamond d;
    diamond_init(&d, delay1, delay2);
    unsigned sent = 0;
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 300; i++) {
            if (i == 100)
                assert_int_equal(move(&d, round % 2 + 1, 2 - round % 2), 0);
            send_numbered(&d, sent++);
            testing_net_run(d.net, 20000);
            check_routers(d.net, 4);
        }
        testing_net_run(d.net, 100 * NS_PER_MS);
        assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVE_DONE), round + 1);
        assert_int_equal(route_path(&d), 2 - round % 2);
    }
    all_arrived_in_order(&d, sent);
    assert_int_equal(testing_net_free(d.net), 0);
}

static void a_move_loses_nothing_and_keeps_the_order(void **state)
{
    moves(10000, 10000);
    moves(1000000, 1000); /* what follows on the shorter path waits for what is still on the longer one */
}

/* The end-marker comes in clear behind what was sealed before it, and what is sealed after it waits. */
static void an_encrypted_lane_moves_as_well(void **state)
{
    encrypted = true;
    moves(10000, 10000);
    moves(1000000, 1000);
    encrypted = false;
}

static void a_move_onto_a_dead_path_waits(void **state)
{
    struct diamond d;
    unsigned sent = 0;
    diamond_init(&d, 10000, 10000);
    testing_net_cut(d.net, 2, 1, true);
    testing_net_run(d.net, 100 * NS_PER_MS);
    assert_int_equal(move(&d, 1, 2), 0);
    send_some(&d, &sent, 100, 10 * NS_PER_MS);
    assert_int_equal(route_path(&d), 1);
    assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVED), 0);
    testing_net_cut(d.net, 2, 1, false);
    send_some(&d, &sent, 500, 10 * NS_PER_MS);
    assert_int_equal(route_path(&d), 2);
    assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVE_DONE), 1);
    all_arrived_in_order(&d, sent);
    assert_int_equal(testing_net_free(d.net), 0);
}

static void a_move_that_waits_can_be_given_up(void **state)
{
    struct diamond d;
    unsigned sent = 0;
    diamond_init(&d, 10000, 10000);
    testing_net_cut(d.net, 2, 1, true);
    testing_net_run(d.net, 100 * NS_PER_MS);
    assert_int_equal(move(&d, 1, 2), 0);
    send_some(&d, &sent, 10, NS_PER_MS);
    assert_int_equal(move(&d, 1, 2), -EBUSY);
    assert_int_equal(move(&d, 1, 1), 0);
    testing_net_cut(d.net, 2, 1, false);
    send_some(&d, &sent, 500, 10 * NS_PER_MS);
    assert_int_equal(route_path(&d), 1);
    assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVED), 0);
    assert_int_equal(move(&d, 1, 2), 0); /* and asked for again */
    send_some(&d, &sent, 100, NS_PER_MS);
    assert_int_equal(route_path(&d), 2);
    all_arrived_in_order(&d, sent);
    assert_int_equal(testing_net_free(d.net), 0);
}

/* The host takes nothing for so long that the old path's end does not come: the lane goes back, and then all arrives. */
static void a_move_off_a_stalled_path_is_taken_back(void **state)
{
    static const uint8_t pause[60] = {1, 0x80, 0xc2, 0, 0, 1, 2, 1, 0, 3, 0, 0, 0x88, 8, 1, 1, 0, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t go_on[60] = {1, 0x80, 0xc2, 0, 0, 1, 2, 1, 0, 3, 0, 0, 0x88, 8, 1, 1, 0, 0xff};
    struct diamond d;
    unsigned sent = 0;
    diamond_init(&d, 10000, 10000);
    for (unsigned i = 0; i < 300; i++) { /* three seconds; a pause of these lasts 3.3 ms at 10 Gbit/s */
        if (i < 10)
            send_some(&d, &sent, 200, 0); /* more than all windows of the path hold */
        if (i == 10)
            assert_int_equal(move(&d, 1, 2), 0);
        for (unsigned k = 0; k < 5; k++) {
            testing_net_send(d.net, 3, 2, pause, sizeof pause);
            testing_net_run(d.net, 2 * NS_PER_MS);
        }
    }
    assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVED), 1);
    assert_int_equal(testing_net_events(d.net, 0, LANE_EVENT_MOVE_REVERTED), 1);
    assert_int_equal(route_path(&d), 1);
    assert_true(!got(&d, 20));
    testing_net_send(d.net, 3, 2, go_on, sizeof go_on);
    send_some(&d, &sent, 100, NS_PER_MS);
    testing_net_run(d.net, NS_PER_S);
    all_arrived_in_order(&d, sent);
    check_routers(d.net, 4);
    assert_int_equal(testing_net_free(d.net), 0);
}

static void a_move_after_a_cut_loses_only_what_was_on_the_way(void **state)
{
    struct diamond d;
    unsigned sent = 0;
    diamond_init(&d, 10000, 10000);
    send_some(&d, &sent, 50, NS_PER_MS);
    testing_net_cut(d.net, 1, 1, true);
    send_some(&d, &sent, 20, NS_PER_MS); /* by then the ingress knows: 10 ms of silence */
    unsigned cut = sent;
    assert_int_equal(move(&d, 1, 2), 0);
    send_some(&d, &sent, 100, NS_PER_MS);
    testing_net_run(d.net, NS_PER_S);
    assert_int_equal(route_path(&d), 2);
    unsigned n = 0;
    const struct testing_frame *f;
    uint16_t before = 0;
    for (; (f = got(&d, n)); n++) {
        uint16_t number = bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE);
        assert_true(n == 0 || number > before); /* in order, each once */
        assert_true(number < cut || number == before + 1 || before < cut);
        before = number;
    }
    assert_int_equal(before, sent - 1);
    assert_true(n >= sent - 20);
    testing_net_run(d.net, 70 * NS_PER_S);
    assert_int_equal(lost(d.net, 4), sent - n); /* each one that is missing has its record */
    check_routers(d.net, 4);
    assert_int_equal(testing_net_free(d.net), 0);
}

static void slices_say_no_and_why(void **state)
{
    struct diamond d;
    struct error err = {0};
    diamond_init(&d, 1000, 1000);
    struct forward *pe = testing_net_forward(d.net, 0);
    int64_t now = testing_net_now(d.net);
    struct forward_slice s = {.tenant = 100, .path = 9, .class_ = LANE_PARAMETER, .service_sid = d.service};
    assert_int_equal(forward_slice_set(pe, &s, now, &err), -ENOENT);
    s.path = 1;
    s.class_ = LANE_CONTROL;
    assert_int_equal(forward_slice_set(pe, &s, now, &err), -EINVAL);
    assert_int_equal(move(&d, 2, 1), -ENOENT);
    assert_int_equal(move(&d, 1, 9), -ENOENT);
    struct forward_path path = {.id = 1, .n_sids = 1, .sids = {container(0xe001, 0, 0)}, .out_port = 1};
    assert_int_equal(forward_path_set(pe, &path, &err), -EBUSY);
    assert_int_equal(forward_slice_del(pe, 100, 2, LANE_PARAMETER, &d.service, now), -ENOENT);
    assert_int_equal(forward_slice_del(pe, 100, 1, LANE_PARAMETER, &d.service, now), 0);
    send_numbered(&d, 0); /* by the lossy queue */
    testing_net_run(d.net, NS_PER_S);
    assert_non_null(testing_net_seen(d.net, 3, 2, 0));
    assert_int_equal(in_lanes(d.net), 0);
    assert_int_equal(testing_net_free(d.net), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_over_one_container),
        cmocka_unit_test(lanes_over_containers_and_srh),
        cmocka_unit_test(lanes_over_full_sids_with_psp),
        cmocka_unit_test(lanes_between_two_routers),
        cmocka_unit_test(other_code_points),
        cmocka_unit_test(what_has_no_lane_goes_beside),
        cmocka_unit_test(packets_wait_for_their_lane),
        cmocka_unit_test(a_slow_host_loses_nothing),
        cmocka_unit_test(the_service_of_another_tenant),
        cmocka_unit_test(a_service_before_the_end),
        cmocka_unit_test(another_way_than_the_lanes),
        cmocka_unit_test(a_move_loses_nothing_and_keeps_the_order),
        cmocka_unit_test(an_encrypted_lane_moves_as_well),
        cmocka_unit_test(a_move_onto_a_dead_path_waits),
        cmocka_unit_test(a_move_that_waits_can_be_given_up),
        cmocka_unit_test(a_move_off_a_stalled_path_is_taken_back),
        cmocka_unit_test(a_move_after_a_cut_loses_only_what_was_on_the_way),
        cmocka_unit_test(slices_say_no_and_why),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_vpn_all_encrypted = true;
    return failed + cmocka_run_group_tests_name("encrypted", tests, NULL, NULL);
}
