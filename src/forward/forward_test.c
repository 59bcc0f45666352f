/* Whole VPNs in memory: what a host sends arrives at the other one as it was but for two hops, whatever the path is made of. */
#include "base/clock.h"
#include "base/test.h"
#include "forward/testing_vpn.h"
#include "wire/checksum.h"

#include <stdlib.h>

static const struct testing_udp udp4 = {IP_V4, 0, 0, 64, 0, 1000, 2000, 100};
static const struct testing_udp udp6 = {IP_V6, 0, 0, 64, 0, 1000, 2000, 100};

static const struct testing_frame *hosts_frame(const struct testing_vpn *v, unsigned router, unsigned i)
{
    return testing_net_seen(v->net, router, VPN_HOSTS, i);
}

/* What was sent by the host beside `from` is what the other one gets, two hops less. */
static void assert_arrived(const struct testing_vpn *v, unsigned from, const struct testing_udp *u, unsigned i)
{
    uint8_t want[TESTING_NET_ROOM];
    struct testing_udp less = *u;
    less.hops = (uint8_t)(u->hops - 2);
    unsigned to = from ? 0 : v->last;
    uint32_t len = testing_vpn_udp(v, want, from, &less);
    testing_vpn_host_mac(want + ETHER_DST, to, u->vlan);
    testing_vpn_mac(want + ETHER_SRC, to, VPN_HOSTS);
    if (u->vlan)
        want[ETHER_SIZE] &= 0x1f; /* the priority is the egress' own */
    const struct testing_frame *f = hosts_frame(v, to, i);
    assert_non_null(f);
    assert_int_equal(f->len, len);
    assert_memory_equal(f->bytes, want, len);
}

static void round_trip(const struct testing_vpn_config *c)
{
    struct testing_vpn v;
    testing_vpn_init(&v, c, 1);
    testing_vpn_meet(&v);
    const struct testing_udp *both[2] = {&udp4, &udp6};
    for (unsigned i = 0; i < 2; i++) {
        testing_vpn_send(&v, 0, both[i]);
        testing_vpn_send(&v, v.last, both[i]);
        testing_net_run(v.net, 10000000);
        assert_arrived(&v, 0, both[i], 0);
        assert_arrived(&v, v.last, both[i], 0);
        testing_net_clear(v.net);
    }
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void a_vpn_of_two(void **state)
{
    round_trip(&(struct testing_vpn_config){.routers = 2, .delay_ns = 1000});
}

static void one_container(void **state)
{
    round_trip(&(struct testing_vpn_config){.routers = 5, .delay_ns = 1000});
}

static void containers_and_srh(void **state)
{
    round_trip(&(struct testing_vpn_config){.routers = 12, .delay_ns = 1000});
}

static void full_sids_and_srh(void **state)
{
    round_trip(&(struct testing_vpn_config){.routers = 8, .full_sids = true, .delay_ns = 1000});
}

static void srh_off_at_the_penultimate(void **state)
{
    round_trip(&(struct testing_vpn_config){.routers = 8, .full_sids = true, .flavours = SID_PSP, .delay_ns = 1000});
}

/* --- tenants (X3) ------------------------------------------------------------------------------------------------ */

static void equal_addresses_of_two_tenants_stay_apart(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 4, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    struct testing_udp one = udp4, two = udp4;
    two.vlan = 20;
    two.payload = 77;
    testing_vpn_send(&v, 0, &one);
    testing_vpn_send(&v, 0, &two);
    testing_net_run(v.net, 10000000);
    assert_arrived(&v, 0, &one, 0);
    assert_arrived(&v, 0, &two, 1);
    assert_null(hosts_frame(&v, v.last, 2));
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void what_came_out_of_a_tunnel_goes_into_none(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3}, 1);
    testing_vpn_meet(&v);
    struct forward *last = testing_net_forward(v.net, v.last);
    struct forward_route back = {
        .kind = ROUTE_REMOTE, .service_sid = testing_vpn_service(&v, 0, 10), .path_of_class = {2, 2, 2, 2}};
    struct ip_prefix host = {IP_V4, 32, {{10, 0, 1, 2}}};
    assert_int_equal(forward_route_set(last, 10, &host, &back, &err), 0); /* the PEs disagree: a loop */
    testing_vpn_send(&v, 0, &udp4);
    testing_net_run(v.net, 10000000);
    assert_null(hosts_frame(&v, v.last, 0));
    assert_int_equal(forward_loss(last)->packets[LOSS_NO_ROUTE], 1);
    assert_int_equal(testing_vpn_done(&v), 0);
}

/* --- congestion marks ---------------------------------------------------------------------------------------------- */

struct mark {
    unsigned ecn;
};

/* Somebody on the way has set the outer ECN field. */
static int64_t mark_outer(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    const struct mark *m = user;
    if (router == 0 && bytes_get_be16(bytes + ETHER_TYPE) == ETHER_IP6)
        bytes[ETHER_SIZE + 1] = (uint8_t)((bytes[ETHER_SIZE + 1] & ~0x30) | m->ecn << 4);
    return 0;
}

static void marks_come_out_as_rfc_6040_says(void **state)
{
    enum { NOT, ECT1, ECT0, CE, DROP };
    static const uint8_t want[4][4] = {
        {NOT, NOT, NOT, DROP}, {ECT1, ECT1, ECT1, CE}, {ECT0, ECT1, ECT0, CE}, {CE, CE, CE, CE}};
    for (unsigned inner = 0; inner < 4; inner++)
        for (unsigned outer = 0; outer < 4; outer++)
            for (unsigned family = IP_V4; family <= IP_V6; family += 2) {
                struct testing_vpn v;
                struct mark m = {outer};
                struct testing_udp u = family == IP_V4 ? udp4 : udp6;
                testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 2}, 1);
                testing_vpn_meet(&v);
                testing_net_hook(v.net, mark_outer, &m);
                u.ecn = (uint8_t)inner;
                u.dscp = 10;
                testing_vpn_send(&v, 0, &u);
                testing_net_run(v.net, 1000000);
                u.ecn = want[inner][outer];
                if (u.ecn == DROP)
                    assert_null(hosts_frame(&v, v.last, 0));
                else
                    assert_arrived(&v, 0, &u, 0);
                assert_int_equal(testing_vpn_done(&v), 0);
            }
}

/* --- errors that come back ------------------------------------------------------------------------------------------- */

/* The first frame that the left host gets is an ICMP error of this type and code from `from`. */
static void assert_told(struct testing_vpn *v, uint8_t family, uint8_t type, uint8_t code, const uint8_t *from)
{
    const struct testing_frame *f = hosts_frame(v, 0, 0);
    uint32_t ip = ETHER_SIZE, size = family == IP_V4 ? IP4_SIZE : IP6_SIZE;
    assert_non_null(f);
    assert_int_equal(f->bytes[ip] >> 4, family);
    assert_memory_equal(
        f->bytes + ip + (family == IP_V4 ? (uint32_t)IP4_SRC : (uint32_t)IP6_SRC), from, family == IP_V4 ? 4 : 16);
    assert_int_equal(f->bytes[ip + size], type);
    assert_int_equal(f->bytes[ip + size + 1], code);
    if (family == IP_V4) {
        assert_int_equal(checksum_ip4(f->bytes + ip, IP4_SIZE), 0);
        assert_int_equal(checksum_ip4(f->bytes + ip + IP4_SIZE, f->len - ip - IP4_SIZE), 0);
    } else {
        assert_int_equal(checksum_ip6(f->bytes + ip + IP6_SRC, f->bytes + ip + IP6_DST, IP_PROTO_ICMP6,
                             f->bytes + ip + IP6_SIZE, f->len - ip - IP6_SIZE),
            0);
    }
}

static const uint8_t right4[4] = {10, 0, 1, 1}, right6[16] = {0xfd, 0, 0, 0xb, [15] = 1};

/* A host behind the whole VPN sends with 2 hops: the second PE has none left and says so, through the VPN. */
static void the_far_end_says_when_hops_are_over(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 4, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    struct testing_udp u = udp4;
    u.hops = 2;
    testing_vpn_send(&v, 0, &u);
    testing_net_run(v.net, 10000000);
    assert_told(&v, IP_V4, 11, 0, right4);
    testing_net_clear(v.net);
    u = udp6;
    u.hops = 2;
    testing_vpn_send(&v, 0, &u);
    testing_net_run(v.net, 10000000);
    assert_told(&v, IP_V6, 3, 0, right6);
    assert_int_equal(forward_loss(testing_net_forward(v.net, v.last))->packets[LOSS_HOP_LIMIT], 2);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void the_far_end_says_when_it_does_not_fit(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .host_mtu = 2000}, 1);
    struct forward *last = testing_net_forward(v.net, v.last);
    struct port_config narrow = {.kind = PORT_ACCESS, .mtu = 1400};
    testing_net_port(v.net, v.last, 5, &narrow);
    struct forward_access a = {.port = 5, .vrf = 10, .gateway = {{IP_V4, 24, {{10, 0, 7, 1}}}}};
    assert_int_equal(forward_access_set(last, &a, testing_net_now(v.net), &err), 0);
    struct ip_prefix to = {IP_V4, 32, {{10, 0, 1, 2}}};
    struct forward_route gateway = {.kind = ROUTE_GATEWAY, .port = 5, .gateway = {IP_V4, {{10, 0, 7, 9}}}};
    assert_int_equal(forward_route_set(last, 10, &to, &gateway, &err), 0);
    testing_vpn_meet(&v);
    struct testing_udp u = udp4;
    u.payload = 1400 - 28 + 1;
    testing_vpn_send(&v, 0, &u);
    testing_net_run(v.net, 1000000);
    assert_told(&v, IP_V4, 3, 4, right4);
    assert_int_equal(bytes_get_be16(hosts_frame(&v, 0, 0)->bytes + ETHER_SIZE + IP4_SIZE + 6), 1400);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void a_customers_router_is_asked_for_once_and_used(void **state)
{
    struct testing_vpn v;
    struct error err = {0};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 2}, 1);
    struct forward *last = testing_net_forward(v.net, v.last);
    struct ip_prefix to = {IP_V4, 16, {{172, 16}}};
    struct forward_route gateway = {.kind = ROUTE_GATEWAY, .port = VPN_HOSTS, .gateway = {IP_V4, {{10, 0, 1, 2}}}};
    struct forward_route remote = {.kind = ROUTE_REMOTE,
        .service_sid = testing_vpn_service(&v, v.last, 10),
        .path_of_class = {1, 1, 1, 1},
        .encrypted = v.config.encrypted,
        .peer = testing_vpn_loopback(v.last)};
    assert_int_equal(forward_route_set(last, 10, &to, &gateway, &err), 0);
    assert_int_equal(forward_route_set(testing_net_forward(v.net, 0), 10, &to, &remote, &err), 0);
    testing_vpn_meet(&v);
    uint8_t frame[256], mac[6];
    uint32_t len = testing_vpn_udp(&v, frame, 0, &udp4);
    memcpy(frame + ETHER_SIZE + IP4_DST, (uint8_t[]){172, 16, 3, 4}, 4);
    memset(frame + ETHER_SIZE + IP4_SUM, 0, 2);
    bytes_put_be16(frame + ETHER_SIZE + IP4_SUM, checksum_ip4(frame + ETHER_SIZE, IP4_SIZE));
    testing_net_send(v.net, 0, VPN_HOSTS, frame, len);
    testing_net_run(v.net, 1000000);
    const struct testing_frame *f = hosts_frame(&v, v.last, 0);
    assert_non_null(f);
    testing_vpn_host_mac(mac, v.last, 0);
    assert_memory_equal(f->bytes, mac, 6);
    assert_int_equal(f->len, len);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void a_host_that_does_not_answer(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3}, 1);
    testing_vpn_meet(&v);
    testing_net_run(v.net, 700 * NS_PER_S); /* long enough for the right host to be forgotten */
    uint8_t frame[256];
    uint32_t len = testing_vpn_udp(&v, frame, 0, &udp6);
    frame[ETHER_SIZE + IP6_DST + 15] = 9;
    testing_net_clear(v.net);
    testing_vpn_meet(&v);
    testing_net_send(v.net, 0, VPN_HOSTS, frame, len);
    testing_net_run(v.net, 4 * NS_PER_S);
    assert_told(&v, IP_V6, 1, 3, right6);
    assert_int_equal(forward_loss(testing_net_forward(v.net, v.last))->packets[LOSS_NO_NEIGHBOUR], 1);
    assert_int_equal(testing_vpn_done(&v), 0);
}

/* --- for us and from us ------------------------------------------------------------------------------------------------ */

static void a_gateway_is_reached_and_answers(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3}, 1);
    testing_vpn_meet(&v);
    uint8_t frame[256];
    uint32_t len = testing_vpn_udp(&v, frame, 0, &udp6);
    memcpy(frame + ETHER_SIZE + IP6_DST, right6, 16); /* the far gateway */
    testing_net_send(v.net, 0, VPN_HOSTS, frame, len);
    testing_net_run(v.net, 1000000);
    const struct testing_frame *p = testing_net_punted(v.net, v.last, 0);
    assert_non_null(p);
    assert_int_equal(p->vrf, 10);
    assert_int_equal(p->len, len - ETHER_SIZE);

    struct rte_mbuf *m = testing_mbuf_bytes(testing_net_slab(v.net, v.last), p->bytes, p->len);
    memcpy(packet_at(m, IP6_SRC), p->bytes + IP6_DST, 16);
    memcpy(packet_at(m, IP6_DST), p->bytes + IP6_SRC, 16);
    forward_inject(testing_net_forward(v.net, v.last), 10, m, testing_net_now(v.net));
    testing_net_run(v.net, 1000000);
    assert_non_null(hosts_frame(&v, 0, 0));
    assert_int_equal(hosts_frame(&v, 0, 0)->len, len);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void loopbacks_reach_each_other(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 5}, 1);
    struct ip6 from = testing_vpn_loopback(0), to = testing_vpn_loopback(4);
    uint8_t ip[IP6_SIZE + 8] = {0x60, 0, 0, 0, 0, 8, IP_PROTO_TCP, 64};
    memcpy(ip + IP6_SRC, from.b, 16);
    memcpy(ip + IP6_DST, to.b, 16);
    struct rte_mbuf *m = testing_mbuf_bytes(testing_net_slab(v.net, 0), ip, sizeof ip);
    forward_inject(testing_net_forward(v.net, 0), 0, m, testing_net_now(v.net));
    testing_net_run(v.net, 1000000);
    const struct testing_frame *p = testing_net_punted(v.net, 4, 0);
    assert_non_null(p);
    assert_int_equal(p->len, sizeof ip);
    assert_int_equal(p->bytes[IP6_HOPS], 61); /* three routers between */
    ip[IP6_HOPS] = 61;
    assert_memory_equal(p->bytes, ip, sizeof ip);
    assert_int_equal(testing_vpn_done(&v), 0);
}

/* --- what is counted ------------------------------------------------------------------------------------------------------ */

static uint64_t marked(struct testing_vpn *v, unsigned router, uint16_t role)
{
    struct marking_record r[64];
    struct marking_table *t = forward_marking(testing_net_forward(v->net, router));
    uint64_t packets = 0;
    unsigned n = marking_poll(t, testing_net_now(v->net), r, 64);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(r[i].role, role);
        packets += r[i].packets;
    }
    return packets;
}

static void every_hop_counts_the_same_packets(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 4, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    testing_vpn_send(&v, 0, &udp4);
    testing_net_run(v.net, 4 * NS_PER_S); /* a router says nothing of the period in which it started */
    for (uint16_t k = 0; k < 4; k++)
        marked(&v, k, k == 0 ? 0 : k == 3 ? 2 : 1);
    for (unsigned i = 0; i < 100; i++) {
        testing_vpn_send(&v, 0, i % 2 ? &udp4 : &udp6);
        testing_net_run(v.net, 40 * NS_PER_MS);
    }
    testing_net_run(v.net, 3 * NS_PER_S);
    assert_int_equal(marked(&v, 0, 0), 100);
    assert_int_equal(marked(&v, 1, 1), 100);
    assert_int_equal(marked(&v, 2, 1), 100);
    assert_int_equal(marked(&v, 3, 2), 100);
    assert_int_equal(testing_vpn_done(&v), 0);
}

static void big_flows_are_noticed_where_they_enter(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 2}, 1);
    testing_vpn_meet(&v);
    struct testing_udp u = udp6;
    u.payload = 8000;
    for (unsigned i = 0; i < 3000; i++) { /* 640 Mbit/s */
        testing_vpn_send(&v, 0, &u);
        testing_net_run(v.net, 100000);
        testing_net_clear(v.net);
    }
    struct elephant_report r;
    assert_int_equal(elephant_poll(forward_elephants(testing_net_forward(v.net, 0)), testing_net_now(v.net), &r, 1), 1);
    assert_int_equal(r.tenant, 100);
    assert_int_equal(r.key.src_port, 1000);
    assert_int_equal(r.key.vrf, 10);
    assert_int_equal(
        elephant_poll(forward_elephants(testing_net_forward(v.net, v.last)), testing_net_now(v.net), &r, 1), 0);
    assert_int_equal(testing_vpn_done(&v), 0);
}

/* --- packets in pieces ------------------------------------------------------------------------------------------------------ */

/* A frame whose headers are in one mbuf and whose payload, with padding behind it, is in others. */
static struct rte_mbuf *chain(
    struct testing_mbufs *slab, const uint8_t *frame, uint32_t len, uint32_t first, uint32_t pad)
{
    struct rte_mbuf *m = testing_mbuf_bytes(slab, frame, first);
    struct rte_mbuf *second = testing_mbuf_bytes(slab, frame + first, len - first);
    m->next = second;
    m->nb_segs = 2;
    m->pkt_len = len;
    if (pad) {
        second->next = testing_mbuf_sized(slab, pad);
        m->nb_segs = 3;
        m->pkt_len += pad;
    }
    return m;
}

static void free_chain(void *slab, struct rte_mbuf *m)
{
    while (m) {
        struct rte_mbuf *next = m->next;
        m->next = NULL;
        m->nb_segs = 1;
        testing_mbuf_free(slab, m);
        m = next;
    }
}

static void drop_punted(void *user, uint32_t vrf, uint16_t port, struct rte_mbuf *m)
{
    free_chain(user, m);
}

static uint64_t seven(void *user)
{
    return 7;
}

static void chained_and_virtual_packets_pass(void **state)
{
    struct error err = {0};
    struct forward *f;
    struct testing_mbufs *slab = testing_mbufs_create(64, 2048);
    struct forward_ops ops = {slab, testing_mbuf_alloc, free_chain, drop_punted, NULL, seven};
    struct forward_config c = {.locator_block_bits = 32, .lanes = {.router_id = 1, .lanes_most = 4}};
    struct port_config core = {.mtu = 9500, .pool_cells = 64, .peer_mac = {2, 0, 0, 1}};
    struct forward_route out = {.kind = ROUTE_ADJACENT};
    assert_int_equal(forward_create(&f, &c, &ops, &err), 0);
    assert_int_equal(forward_port_add(f, 0, &core, &err), 0);
    struct ip_prefix any = {IP_V6, 16, {{0x20, 1}}};
    assert_int_equal(forward_route_set(f, 0, &any, &out, &err), 0);

    uint8_t frame[4096] = {0};
    bytes_put_be16(frame + ETHER_TYPE, ETHER_IP6);
    uint8_t *ip = frame + ETHER_SIZE;
    ip[0] = 0x60;
    bytes_put_be16(ip + IP6_LEN, 3000);
    ip[IP6_NEXT] = IP_PROTO_NONE;
    ip[IP6_HOPS] = 9;
    ip[IP6_SRC] = ip[IP6_DST] = 0x20;
    ip[IP6_SRC + 1] = ip[IP6_DST + 1] = 1;
    for (unsigned i = 0; i < 3; i++) {
        struct rte_mbuf *m, *sent[2];
        if (i < 2) {
            m = chain(slab, frame, ETHER_SIZE + IP6_SIZE + 3000, 1500, i * 40);
        } else {
            m = testing_mbuf_bytes(slab, frame, 200); /* the rest is not there, as in a simulation */
            m->pkt_len = ETHER_SIZE + IP6_SIZE + 3000 + 2;
        }
        forward_receive(f, 0, &m, 1, 1);
        assert_int_equal(forward_transmit(f, 0, sent, 2, 1), 1);
        assert_int_equal(sent[0]->pkt_len, ETHER_SIZE + IP6_SIZE + 3000);
        assert_int_equal(sent[0]->nb_segs, i < 2 ? 2 : 1);
        forward_sent(f, 0, sent, 1, 1);
        assert_int_equal(slab->used, 0);
    }
    struct rte_mbuf *m = chain(slab, frame, 3000, 30, 0); /* the header itself in two pieces: nobody sends that */
    forward_receive(f, 0, &m, 1, 1);
    assert_int_equal(forward_loss(f)->packets[LOSS_MALFORMED], 1);
    assert_int_equal(slab->used, 0);
    forward_free(f);
    testing_mbufs_free(slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vpn_of_two),
        cmocka_unit_test(one_container),
        cmocka_unit_test(containers_and_srh),
        cmocka_unit_test(full_sids_and_srh),
        cmocka_unit_test(srh_off_at_the_penultimate),
        cmocka_unit_test(equal_addresses_of_two_tenants_stay_apart),
        cmocka_unit_test(what_came_out_of_a_tunnel_goes_into_none),
        cmocka_unit_test(marks_come_out_as_rfc_6040_says),
        cmocka_unit_test(the_far_end_says_when_hops_are_over),
        cmocka_unit_test(the_far_end_says_when_it_does_not_fit),
        cmocka_unit_test(a_customers_router_is_asked_for_once_and_used),
        cmocka_unit_test(a_host_that_does_not_answer),
        cmocka_unit_test(a_gateway_is_reached_and_answers),
        cmocka_unit_test(loopbacks_reach_each_other),
        cmocka_unit_test(every_hop_counts_the_same_packets),
        cmocka_unit_test(big_flows_are_noticed_where_they_enter),
        cmocka_unit_test(chained_and_virtual_packets_pass),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    testing_vpn_all_encrypted = true;
    return failed + cmocka_run_group_tests_name("encrypted", tests, NULL, NULL);
}
