/* A peer's bytes into a live reflector, through the entry that the sockets use, beside another client whose session and routes
 * must survive whatever the first one says; and all that the reflector then tells the other client must be sound.
 *
 * The first byte chooses: raw bytes from the first one on, or an established session and messages whose headers are right (the
 * fuzzer says length, type and body); the peer's numbers of two or four octets; long messages; route target constraint. */
#include "base/clock.h"
#include "bgp/testing_bgp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t families[] = {
    BGP_EVPN, BGP_VPNV4, BGP_VPNV6, BGP_IPV6_UNICAST, BGP_SR_POLICY_V6, BGP_SR_POLICY_V4, BGP_IPV4_UNICAST, BGP_RTC};

enum { FAMILIES = 8, ROUTES = 4 };

static void must_at(bool holds, int line)
{
    if (holds)
        return;
    fprintf(stderr, "line %d does not hold\n", line);
    abort();
}

#define must(holds) must_at(holds, __LINE__)

/* What the other client hears must decode without a fault. */
static void hear(void *user, uint8_t type, const uint8_t *body, size_t len)
{
    static const struct bgp_update_context where = {
        .ibgp = true, .as4 = true, .peer_as = 65000, .families = families, .n_families = FAMILIES};
    struct bgp_update u;
    struct bgp_notification error;
    (void)user;
    must(len + BGP_HEADER <= BGP_MESSAGE_MOST);
    if (type == BGP_UPDATE)
        must(bgp_update_decode(&u, body, len, &where, &error) == BGP_ACCEPT && u.faults == 0);
}

static void innocent_routes(struct testing_bgp *t, struct bgp_speaker *rr, uint16_t peer)
{
    static const uint8_t attributes[] = {0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100};
    for (uint8_t i = 0; i < ROUTES; i++) {
        struct bgp_rt5 r = {
            .rd = {0, 0, 0xfd, 0xe8, 0, 0, 0, 99}, .prefix = {IP_V4, 32, {{10, 99, 0, i}}}, .label = 0x30};
        uint8_t raw[64];
        unsigned len = bgp_rt5_encode(&r, raw);
        testing_bgp_announce(t, rr, peer, BGP_EVPN, raw, len, attributes, sizeof attributes, 2);
    }
}

static void feed_messages(
    struct testing_bgp *t, struct bgp_speaker *rr, uint16_t peer, uint16_t other, const uint8_t *data, size_t size)
{
    while (size >= 3) {
        size_t len = (size_t)(data[0] << 8 | data[1]) % 4078, n = len < size - 3 ? len : size - 3;
        uint8_t type = (uint8_t)(data[2] % 8);
        if (type == 6) {                                /* time passes */
            testing_bgp_hear(t, rr, other, hear, NULL); /* it reads: RFC 9687 is about those who do not */
            t->now += (int64_t)(n % 400) * NS_PER_S;
            bgp_speaker_poll(rr, t->now);
            n = 0;
        } else {
            testing_bgp_say(t, rr, peer, type ? (enum bgp_type)type : BGP_UPDATE, data + 3, n);
        }
        data += 3 + n;
        size -= 3 + n;
    }
}

static void feed_raw(struct testing_bgp *t, struct bgp_speaker *rr, uint16_t peer, const uint8_t *data, size_t size)
{
    for (size_t piece = 1; size; piece = piece * 2 + 1) {
        size_t n = piece < size ? piece : size;
        bgp_peer_bytes(rr, peer, BGP_ACCEPTED, data, n, t->now);
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct testing_bgp t = {.now = 1000 * NS_PER_S};
    struct bgp_speaker_config c = {.role = BGP_REFLECTOR, .identifier = {10, 0, 0, 9}, .next_hop = {{0xfd, [15] = 9}}};
    struct bgp_speaker *rr;
    struct error err;
    uint16_t peer;
    if (size < 1 || bgp_speaker_create(&rr, &c, NULL, &err))
        return 0;
    struct bgp_peer_config as = testing_bgp_peer(BGP_PEER_CLIENT, 2, families, FAMILIES - 1);
    struct bgp_open open = testing_bgp_open(2, families, FAMILIES - 1);
    open.hold_time_s = 0;
    uint16_t other = testing_bgp_raw(&t, rr, &as, &open);
    must(other > 0);
    innocent_routes(&t, rr, other);
    as = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, data[0] & 8 ? FAMILIES : FAMILIES - 1);
    as.prefixes_most = 1000;
    open = testing_bgp_open(1, families, data[0] & 8 ? FAMILIES : FAMILIES - 1);
    open.as4 = !(data[0] & 2);
    open.extended_message = data[0] & 4;
    if (data[0] & 1) {
        must(bgp_peer_add(rr, &as, t.now, &peer, &err) == 0);
        bgp_peer_transport_up(rr, peer, BGP_ACCEPTED, t.now);
        feed_raw(&t, rr, peer, data + 1, size - 1);
    } else {
        must((peer = testing_bgp_raw(&t, rr, &as, &open)) > 0);
        feed_messages(&t, rr, peer, other, data + 1, size - 1);
    }
    testing_bgp_hear(&t, rr, peer, NULL, NULL);
    testing_bgp_hear(&t, rr, other, hear, NULL);
    must(bgp_peer_session(rr, other, BGP_ACCEPTED)->state == BGP_ESTABLISHED);
    must(bgp_rib_from(bgp_speaker_rib(rr, BGP_EVPN), other) == ROUTES);
    bgp_peer_remove(rr, peer, t.now);
    testing_bgp_hear(&t, rr, other, hear, NULL);
    must(bgp_rib_count(bgp_speaker_rib(rr, BGP_EVPN)) == ROUTES);
    bgp_speaker_free(rr);
    return 0;
}
