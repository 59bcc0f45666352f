/* How fast the reflector is, without sockets: one client feeds RT-5 routes as bytes, ten others are told. Prints JSON for
 * bench/bgp: routes a second in (parsed, stored, best path chosen) and out (told to all ten), and bytes of memory a route. */
#include "base/bytes.h"
#include "base/clock.h"
#include "bgp/testing_bgp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t families[] = {BGP_EVPN};

static struct bgp_speaker *speaker(enum bgp_role role, uint8_t last)
{
    struct bgp_speaker_config c = {.role = role, .identifier = {10, 0, 0, last}, .next_hop = {{0xfd, [15] = last}}};
    struct bgp_speaker *s;
    struct error err;
    if (bgp_speaker_create(&s, &c, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return s;
}

static void originate(struct bgp_speaker *s, uint32_t i, uint32_t sets)
{
    struct bgp_rt5 r = {.rd = {0, 0, 0xfd, 0xe8}, .prefix = {IP_V4, 32, {{10}}}, .label = 0x30};
    struct bgp_srv6_service sid = {
        .sid = {{0xfc, 0xbb, 0xbb, 0, 0, 1}}, .behaviour = 64, .block_bits = 32, .node_bits = 16, .function_bits = 16};
    uint8_t raw[64], value[64], community[8] = {0, 2, 0xfd, 0xe8}, attributes[128];
    struct error err;
    bytes_put_be32(r.rd + 4, i / 10000);
    bytes_put_be32(r.prefix.a.b, 10u << 24 | i);
    bytes_put_be16(sid.sid.b + 6, (uint16_t)(i % sets));
    bytes_put_be32(community + 4, i % sets);
    int at = bgp_attribute_put(attributes, 0, sizeof attributes, 0xc0, BGP_EXTENDED_COMMUNITIES, community, 8);
    at = bgp_attribute_put(
        attributes, (size_t)at, sizeof attributes, 0xc0, BGP_PREFIX_SID, value, bgp_srv6_service_encode(&sid, value));
    if (bgp_originate(s, BGP_EVPN, raw, bgp_rt5_encode(&r, raw), attributes, (size_t)at, 0, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

/* The feed of a client as bytes, read off its session with a reflector that has no other client. */
static struct buf feed_of(uint32_t routes, uint32_t sets)
{
    struct testing_bgp t = {0};
    struct buf feed = {0};
    struct bgp_speaker *pe = speaker(BGP_PE, 1), *rr = speaker(BGP_REFLECTOR, 9);
    struct bgp_peer_config to_rr = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 1);
    struct bgp_peer_config to_pe = testing_bgp_peer(BGP_PEER_CLIENT, 1, families, 1);
    struct testing_bgp_wire *w = testing_bgp_join(&t, pe, &to_rr, rr, &to_pe);
    testing_bgp_settle(&t);
    for (uint32_t i = 0; i < routes; i++)
        originate(pe, i, sets);
    struct buf *out;
    while ((out = bgp_peer_out(pe, w->peer_of_a, BGP_CONNECTED, t.now))->len) {
        size_t n = out->len;
        buf_append(&feed, out->data, n);
        bgp_peer_written(pe, w->peer_of_a, BGP_CONNECTED, n, t.now);
    }
    bgp_speaker_free(pe);
    bgp_speaker_free(rr);
    return feed;
}

int main(int argc, char **argv)
{
    uint32_t routes = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    uint32_t sets = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000, peers = 10;
    struct buf feed = feed_of(routes, sets);
    struct testing_bgp t = {0};
    struct bgp_speaker *rr = speaker(BGP_REFLECTOR, 9), *client[16];
    for (uint32_t i = 0; i <= peers; i++) {
        client[i] = speaker(BGP_PE, (uint8_t)(i + 1));
        struct bgp_peer_config to_rr = testing_bgp_peer(BGP_PEER_INTERNAL, 9, families, 1);
        struct bgp_peer_config to_pe = testing_bgp_peer(BGP_PEER_CLIENT, (uint8_t)(i + 1), families, 1);
        testing_bgp_join(&t, client[i], &to_rr, rr, &to_pe);
    }
    testing_bgp_settle(&t);
    int64_t begin = clock_now_ns();
    for (size_t at = 0; at < feed.len; at += 65536)
        bgp_peer_bytes(rr, t.wire[0].peer_of_b, BGP_ACCEPTED, feed.data + at,
            feed.len - at < 65536 ? feed.len - at : 65536, t.now);
    int64_t in = clock_now_ns();
    uint64_t bytes = 0;
    for (uint32_t i = 1; i <= peers; i++) {
        struct buf *out;
        while ((out = bgp_peer_out(rr, t.wire[i].peer_of_b, BGP_ACCEPTED, t.now))->len) {
            bytes += out->len;
            bgp_peer_written(rr, t.wire[i].peer_of_b, BGP_ACCEPTED, out->len, t.now);
        }
    }
    int64_t out = clock_now_ns();
    size_t held = bgp_rib_count(bgp_speaker_rib(rr, BGP_EVPN));
    printf("{\"routes\":%zu,\"peers\":%u,\"in_routes_per_s\":%.0f,\"reflected_routes_per_s\":%.0f,\"bytes_per_route\":%"
           ".0f,"
           "\"out_bytes\":%llu}\n",
        held, peers, held / ((double)(in - begin) / 1e9), (double)held * peers / ((double)(out - begin) / 1e9),
        (double)bgp_speaker_bytes(rr) / (double)held, (unsigned long long)bytes);
    for (uint32_t i = 0; i <= peers; i++)
        bgp_speaker_free(client[i]);
    bgp_speaker_free(rr);
    buf_done(&feed);
    return held == routes ? 0 : 1;
}
