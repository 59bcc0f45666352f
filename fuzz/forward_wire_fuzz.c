/* A VPN of three routers with open lanes whose cables change bytes. A script of
 *
 *   u8 n: host packets to send first (the low 3 bits; 0x08: right to left, 0x10: IPv6, 0x20: tagged)
 *   u8 which frame on a cable, counted from then on   u16 offset, big-endian   u8 value to exclusive-or there
 *
 * Whatever becomes of the packets, no mbuf is lost and every lane's counters agree with every queue (lane_check). */
#include "base/bytes.h"
#include "base/clock.h"
#include "forward/testing_vpn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct change {
    unsigned frame, at;
    uint8_t value;
};

static int64_t change(void *user, unsigned router, uint16_t port, uint8_t *bytes, uint32_t len, int64_t now)
{
    struct change *c = user;
    if (c->frame-- == 0)
        bytes[c->at % len] ^= c->value;
    return 0;
}

static void check(const struct testing_vpn *v)
{
    struct error err = {0};
    for (unsigned i = 0; i <= v->last; i++)
        if (lane_check(forward_lanes(testing_net_forward(v->net, i)), &err) ||
            lane_check_packets(forward_lanes(testing_net_forward(v->net, i)), &err)) {
            fprintf(stderr, "router %u: %s\n", i, err.text);
            abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct testing_vpn v;
    struct change c = {.frame = UINT32_MAX};
    testing_vpn_init(&v, &(struct testing_vpn_config){.routers = 3, .lanes = true, .delay_ns = 1000, .mbufs = 256}, 1);
    testing_net_run(v.net, 20 * NS_PER_MS);
    testing_vpn_meet(&v);
    testing_net_hook(v.net, change, &c);
    for (; size >= 5; data += 5, size -= 5) {
        struct testing_udp u = {data[0] & 0x10 ? IP_V6 : IP_V4, 34, 0, 64, data[0] & 0x20 ? 20 : 0, 1, 2, 64};
        for (unsigned i = 0; i < (data[0] & 7u); i++)
            testing_vpn_send(&v, data[0] & 8 ? v.last : 0, &u);
        c = (struct change){data[1], bytes_get_be16(data + 2), data[4]};
        testing_net_run(v.net, NS_PER_MS);
        check(&v);
    }
    testing_net_run(v.net, 100 * NS_PER_MS);
    check(&v);
    if (testing_vpn_done(&v))
        abort();
    return 0;
}
