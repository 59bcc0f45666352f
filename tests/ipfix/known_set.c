/* Writes what a router exports, as IPFIX messages one behind the other, to stdout: a known set of every kind of record
 * that tests/integration/ipfix_collectors.py sends to real collectors. Their wall clock starts at the first argument
 * (seconds since 1970); the second is the most bytes of a message; with a third one, "flows", there is nothing else in it.
 * The flows of the set go to stderr as JSON. */
#include "base/clock.h"
#include "base/rng.h"
#include "telemetry/export.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOWS = 40 };

static struct elephant_report flow_of(unsigned i)
{
    uint64_t r = rng_u64(1, i);
    struct elephant_report f = {
        .what = i % 3,
        .from_ns = i * NS_PER_MS,
        .at_ns = i * NS_PER_MS + 20 * NS_PER_MS,
        .flow = r,
        .rate_bps = 100000000 + r % 9900000000,
        .delta_bytes = r % 10000000000 + 1,
        .delta_packets = r % 7000000 + 1,
        .tenant = i % 5,
        .class_ = (uint8_t)(i % 4),
    };
    f.key = (struct flow_key){.family = i % 2 ? IP_V6 : IP_V4,
        .proto = i % 4 < 2 ? IP_PROTO_TCP : IP_PROTO_UDP,
        .src_port = (uint16_t)(1024 + i),
        .dst_port = 4791,
        .vrf = 100 + i % 7};
    for (unsigned k = 0; k < (i % 2 ? 16 : 4); k++) {
        f.key.src.b[k] = (uint8_t)(i % 2 && k == 0 ? 0xfd : 10 + k + i);
        f.key.dst.b[k] = (uint8_t)(i % 2 && k == 0 ? 0xfd : 20 + k + i);
    }
    f.bytes = f.delta_bytes * 2;
    f.packets = f.delta_packets * 2;
    return f;
}

static void put_json(FILE *f, const struct elephant_report *r, int64_t wall_ns)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    int family = r->key.family == IP_V4 ? AF_INET : AF_INET6;
    inet_ntop(family, r->key.src.b, src, sizeof src);
    inet_ntop(family, r->key.dst.b, dst, sizeof dst);
    fprintf(f, "{\"src\":\"%s\",\"dst\":\"%s\",\"src_port\":%u,\"dst_port\":%u,\"proto\":%u,", src, dst,
        r->key.src_port, r->key.dst_port, r->key.proto);
    fprintf(f, "\"bytes\":%" PRIu64 ",\"packets\":%" PRIu64 ",\"vrf\":%u,\"start_ms\":%lld,\"end_ms\":%lld,",
        r->delta_bytes, r->delta_packets, r->key.vrf, (r->from_ns + wall_ns) / NS_PER_MS,
        (r->at_ns + wall_ns) / NS_PER_MS);
    fprintf(f, "\"tenant\":%u,\"rate_bps\":%" PRIu64 "}\n", r->tenant, r->rate_bps);
}

static int others(struct export *x, int64_t wall_ns, struct buf *out)
{
    static struct loss_log log;
    int rc = 0;
    for (uint32_t i = 0; i < 4 && !rc; i++) {
        const struct port_sample p = {.at_ns = i,
            .port = i,
            .name = i ? "north" : "south",
            .up = i != 2,
            .rate_bps = 100000000000,
            .rx_packets = i + 1,
            .rx_bytes = 1000 * i,
            .tx_packets = 7,
            .tx_bytes = 8 * i,
            .dropped_packets = i,
            .queued_cells = i,
            .reserved_cells = 100 + i,
            .pool_cells = 1000};
        const struct lane_sample l = {.at_ns = i,
            .lane = 1ull << 32 | i,
            .tenant = i,
            .in_port = i,
            .out_port = i + 1,
            .class_ = (uint8_t)i,
            .state = LANE_SAMPLE_RUNNING,
            .sent_packets = 55,
            .sent_bytes = 66,
            .window_cells = 4096,
            .occupied_cells = i,
            .credit_cells = 12};
        const struct marking_record m = {.flow_mon_id = 0x12340 + i,
            .period = (uint64_t)(wall_ns / NS_PER_S),
            .packets = 1000 - i,
            .bytes = 1000000,
            .d_wall_ns = wall_ns + i,
            .port = 3,
            .role = (uint16_t)(i % 3)};
        const struct loss_record r = {.at_ns = i,
            .flow = 77 + i,
            .lane = 1ull << 32 | i,
            .tenant = i,
            .cells = i,
            .packets = 1,
            .port = 2,
            .reason = (uint8_t)(LOSS_LINK + i),
            .class_ = 2};
        const struct link_sample e = {.at_ns = i, .port = i, .event = (uint8_t)i, .peer = 9, .rtt_ns = 123456};
        loss_record(&log, &r);
        rc = export_port(x, &p, 0, out);
        rc = rc ? rc : export_lane(x, &l, 0, out);
        rc = rc ? rc : export_marking(x, &m, 0, out);
        rc = rc ? rc : export_loss(x, &r, 0, out);
        rc = rc ? rc : export_link(x, &e, 0, out);
    }
    return rc ? rc : export_loss_totals(x, &log, 0, out);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    bool all = argc == 3;
    struct export *x;
    struct buf out = {0};
    const struct export_config c = {
        .domain = 4242, .wall_ns = atoll(argv[1]) * NS_PER_S, .message_most = (uint32_t)atoi(argv[2]), .describe = all};
    if (export_create(&x, &c))
        return 1;
    int rc = 0;
    for (unsigned i = 0; i < FLOWS && !rc; i++) {
        struct elephant_report r = flow_of(i);
        put_json(stderr, &r, c.wall_ns);
        rc = export_flow(x, &r, 0, &out);
        if (!rc && all && i == FLOWS / 2)
            rc = others(x, c.wall_ns, &out);
    }
    rc = rc ? rc : export_flush(x, 0, &out);
    if (rc || fwrite(out.data, 1, out.len, stdout) != out.len)
        rc = 1;
    buf_done(&out);
    export_free(x);
    return rc;
}
