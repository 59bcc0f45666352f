/* Encrypted VPNs over real forwarding cores (X2, X3): what goes in comes out, nothing shows on the way, and whatever is changed,
 * repeated, moved to another VPN or sent in clear is lost with its own reason. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/test.h"
#include "forward/mtu.h"
#include "forward/testing_vpn.h"

#include <errno.h>
#include <stdlib.h>

enum { AF41 = 34, EF = 46, BOTH = VPN_KEYS_OPEN | VPN_KEYS_SEAL };

static const struct testing_udp udp = {IP_V4, AF41, 0, 64, 0, 1000, 2000, 100};

static uint64_t lost(const struct testing_vpn *v, enum loss_reason r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= v->last; i++)
        sum += forward_loss(testing_net_forward(v->net, i))->packets[r];
    return sum;
}

static uint64_t lost_all(const struct testing_vpn *v)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < LOSS_REASONS; r++)
        sum += lost(v, (enum loss_reason)r);
    return sum;
}

/* A network with keys, its lanes open, its hosts known. */
static void begin(struct testing_vpn *v, struct testing_vpn_config c)
{
    c.encrypted = true;
    c.delay_ns = 1000;
    testing_vpn_init(v, &c, 1);
    testing_vpn_keys(v, 0, BOTH);
    for (unsigned i = 0; c.lanes && i < 100 && testing_net_events(v->net, 0, LANE_EVENT_OPEN) < 2; i++)
        testing_net_run(v->net, 10 * NS_PER_MS);
    for (unsigned i = 0; c.lanes && i < 100 && testing_net_events(v->net, v->last, LANE_EVENT_OPEN) < 2; i++)
        testing_net_run(v->net, 10 * NS_PER_MS);
    testing_vpn_meet(v);
}

static void end(struct testing_vpn *v)
{
    testing_net_hook(v->net, NULL, NULL);
    assert_int_equal(testing_vpn_done(v), 0);
}

static const struct testing_frame *arrived(const struct testing_vpn *v, unsigned router, unsigned i)
{
    return testing_net_seen(v->net, router, VPN_HOSTS, i);
}

/* The frame holds the same IP packet but for its hop limit, checksum and ECN. */
static void assert_same(const struct testing_vpn *v, const struct testing_frame *f, unsigned from, struct testing_udp u)
{
    uint8_t sent[TESTING_NET_ROOM];
    assert_non_null(f);
    uint32_t len = testing_vpn_udp(v, sent, from, &u), l3 = u.vlan ? 18 : 14, head = u.family == IP_V4 ? 20 : 40;
    assert_int_equal(f->len, len);
    assert_memory_equal(f->bytes + l3 + head, sent + l3 + head, len - l3 - head);
    assert_memory_equal(f->bytes + l3 + head - 8, sent + l3 + head - 8, 8); /* addresses' end */
    assert_int_equal(f->bytes[l3 + (u.family == IP_V4 ? IP4_TTL : IP6_HOPS)], u.hops - 2);
}

/* Where the ESP header is in a frame of a core link, or 0. */
static uint32_t esp_at(const struct testing_frame *f)
{
    if (f->len < ETHER_SIZE + IP6_SIZE || bytes_get_be16(f->bytes + ETHER_TYPE) != ETHER_IP6)
        return 0;
    uint32_t at = ETHER_SIZE + IP6_SIZE;
    uint8_t next = f->bytes[ETHER_SIZE + IP6_NEXT];
    while ((next == IP_PROTO_HOPOPT || next == IP_PROTO_ROUTING) && at + 8 <= f->len) {
        next = f->bytes[at];
        at += 8u + f->bytes[at + 1] * 8u;
    }
    return next == IP_PROTO_ESP && at < f->len ? at : 0;
}

static bool contains(const uint8_t *bytes, uint32_t len, const uint8_t *what, uint32_t n)
{
    for (uint32_t i = 0; i + n <= len; i++)
        if (memcmp(bytes + i, what, n) == 0)
            return true;
    return false;
}

/* Core frames that carry ESP; none of them, and no other one, shows the payload's pattern or a host's address. */
static unsigned sealed_frames(const struct testing_vpn *v)
{
    static const uint8_t pattern[] = {16, 17, 18, 19, 20, 21, 22, 23}, host[] = {10, 0, 0, 2, 10, 0, 1, 2};
    unsigned n = 0;
    const struct testing_frame *f;
    for (unsigned i = 0; (f = testing_net_any(v->net, i)); i++) {
        if (f->port == VPN_HOSTS)
            continue;
        n += esp_at(f) != 0;
        assert_false(contains(f->bytes, f->len, pattern, sizeof pattern));
        assert_false(contains(f->bytes, f->len, host, sizeof host));
    }
    return n;
}

/* --- through ---------------------------------------------------------------------------------------------------- */

static void goes_through(struct testing_vpn_config c)
{
    static const uint8_t dscp[] = {0, AF41, EF};
    struct testing_vpn v;
    unsigned sent = 0;
    begin(&v, c);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < 48; i++) {
            struct testing_udp u = udp;
            unsigned from = side ? v.last : 0, to = side ? 0 : v.last;
            u.family = i % 2 ? IP_V4 : IP_V6;
            u.vlan = i % 4 < 2 ? 0 : 20;
            u.dscp = dscp[i % 3];
            u.payload = 24 + i;
            testing_vpn_send(&v, from, &u);
            testing_net_run(v.net, NS_PER_MS);
            assert_same(&v, arrived(&v, to, 0), from, u);
            assert_null(arrived(&v, to, 1));
            assert_int_equal(sealed_frames(&v), c.routers - 1);
            testing_net_clear(v.net);
            sent++;
        }
    assert_int_equal(lost_all(&v), 0);
    struct forward_counts left = forward_counts(testing_net_forward(v.net, 0)),
                          right = forward_counts(testing_net_forward(v.net, v.last));
    assert_int_equal(left.sealed + right.sealed, sent);
    assert_int_equal(left.opened + right.opened, sent);
    end(&v);
}

static void both_families_over_a_container(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 4});
}

static void between_two_routers(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 2});
}

static void in_lanes(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 3, .lanes = true});
}

static void over_containers_with_an_srh(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 10, .lanes = true});
}

static void over_full_sids_with_an_srh(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 5, .full_sids = true});
}

static void psp_takes_the_srh_off_around_esp(void **state)
{
    goes_through((struct testing_vpn_config){.routers = 5, .full_sids = true, .flavours = SID_PSP, .lanes = true});
}

static void batches_keep_the_order(void **state)
{
    struct testing_vpn v;
    begin(&v, (struct testing_vpn_config){.routers = 3, .lanes = true});
    for (unsigned i = 0; i < 500; i++) {
        struct testing_udp u = udp;
        u.src_port = (uint16_t)i;
        u.payload = 30 + i % 7 * 200;
        testing_vpn_send(&v, 0, &u);
    }
    testing_net_run(v.net, 20 * NS_PER_MS);
    for (unsigned i = 0; i < 500; i++) {
        const struct testing_frame *f = arrived(&v, v.last, i);
        assert_non_null(f);
        assert_int_equal(bytes_get_be16(f->bytes + ETHER_SIZE + IP4_SIZE), i);
    }
    assert_int_equal(lost_all(&v), 0);
    end(&v);
}

static void no_key_means_no_packet(void **state)
{
    struct testing_vpn v;
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .encrypted = true, .delay_ns = 1000}, 1);
    testing_vpn_meet(&v);
    testing_vpn_send(&v, 0, &udp);
    testing_net_run(v.net, NS_PER_MS);
    assert_null(testing_net_any(v.net, 0));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 1);
    testing_vpn_keys(&v, 0, VPN_KEYS_SEAL);
    testing_vpn_send(&v, 0, &udp); /* leaves, and nobody can open it */
    testing_net_run(v.net, NS_PER_MS);
    assert_null(arrived(&v, v.last, 0));
    assert_int_equal(lost(&v, LOSS_NO_KEY), 2);
    testing_vpn_keys(&v, 0, VPN_KEYS_OPEN);
    testing_vpn_send(&v, 0, &udp);
    testing_net_run(v.net, NS_PER_MS);
    assert_same(&v, arrived(&v, v.last, 0), 0, udp);
    end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_over_a_container),
        cmocka_unit_test(between_two_routers),
        cmocka_unit_test(in_lanes),
        cmocka_unit_test(over_containers_with_an_srh),
        cmocka_unit_test(over_full_sids_with_an_srh),
        cmocka_unit_test(psp_takes_the_srh_off_around_esp),
        cmocka_unit_test(batches_keep_the_order),
        cmocka_unit_test(no_key_means_no_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
