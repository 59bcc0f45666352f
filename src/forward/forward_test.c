/* Whole VPNs in memory: what a host sends arrives at the other one as it was but for two hops, whatever the path is made of. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vpn_of_two),
        cmocka_unit_test(one_container),
        cmocka_unit_test(containers_and_srh),
        cmocka_unit_test(full_sids_and_srh),
        cmocka_unit_test(srh_off_at_the_penultimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
