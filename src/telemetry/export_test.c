/* What the exporter says, read back by our own strict reader; and that docs/telemetry.md (the first argument) says the same
 * of elements and records as the code, and of events as lane/lane.h (the second one). `export_test --print` writes the
 * tables for it. */
#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"
#include "telemetry/export.h"
#include "telemetry/ipfix_elements.h"
#include "wire/ipfix.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEN  32473u
#define WALL (1700000000ll * NS_PER_S)

struct got {
    uint16_t id;
    uint64_t value[IPFIX_ELEMENTS]; /* by enum ipfix_element; of addresses the first 8 bytes */
    uint8_t has[IPFIX_ELEMENTS];
    char text[64];
    uint8_t src[16], dst[16];
};

struct sink {
    struct got got[1200];
    unsigned n, described;
    unsigned messages, longest;
};

static int element_of(const struct ipfix_field *f)
{
    for (int i = 0; i < IPFIX_ELEMENTS; i++)
        if (ipfix_element_info[i].id == f->id && (ipfix_element_info[i].ours ? PEN : 0) == f->enterprise)
            return i;
    return -1;
}

static void take(
    void *user, const struct ipfix_header *h, const struct ipfix_known *of, const struct ipfix_value *v, unsigned n)
{
    struct sink *s = user;
    assert_true(s->n < sizeof s->got / sizeof s->got[0]);
    struct got *g = &s->got[s->n++];
    *g = (struct got){.id = of->id};
    for (unsigned i = 0; i < n; i++) {
        int e = element_of(v[i].field);
        assert_true(e >= 0);
        assert_int_equal(v[i].field->len, ipfix_element_len(e));
        g->has[e] = 1;
        g->value[e] = ipfix_uint(&v[i]);
        if (ipfix_element_info[e].type == IPFIX_NANOSECONDS)
            g->value[e] = (uint64_t)ipfix_unix_ns(&v[i]);
        if (ipfix_element_info[e].type == IPFIX_STRING)
            memcpy(g->text, v[i].bytes, v[i].len);
        if (e == IPFIX_E_SOURCE_IPV4_ADDRESS || e == IPFIX_E_SOURCE_IPV6_ADDRESS)
            memcpy(g->src, v[i].bytes, v[i].len);
        if (e == IPFIX_E_DESTINATION_IPV4_ADDRESS || e == IPFIX_E_DESTINATION_IPV6_ADDRESS)
            memcpy(g->dst, v[i].bytes, v[i].len);
    }
}

/* All messages in `out`; those of a session follow each other without a gap. */
static void read_all(struct ipfix_session *s, struct buf *out, struct sink *sink)
{
    while (out->len) {
        int len = ipfix_message_length(out->data, out->len);
        assert_in_range(len, IPFIX_HEADER + 1, out->len);
        assert_int_equal(ipfix_read(s, out->data, (size_t)len, take, sink), 0);
        sink->messages++;
        sink->longest = (unsigned)len > sink->longest ? (unsigned)len : sink->longest;
        buf_consume(out, (size_t)len);
    }
    assert_int_equal(s->missing, 0);
    assert_int_equal(s->unknown, 0);
}

#define IS(g, e, v)                                                                                                    \
    do {                                                                                                               \
        assert_true((g)->has[IPFIX_E_##e]);                                                                            \
        assert_true((g)->value[IPFIX_E_##e] == (uint64_t)(v));                                                         \
    } while (0)

static struct export *exporter(uint32_t most, bool describe, int64_t every)
{
    struct export *x = NULL;
    const struct export_config c = {
        .domain = 77, .message_most = most, .wall_ns = WALL, .describe = describe, .template_every_ns = every};
    assert_int_equal(export_create(&x, &c), 0);
    return x;
}

static struct elephant_report report_of(uint8_t family)
{
    struct elephant_report r = {
        .what = ELEPHANT_STILL,
        .at_ns = 5 * NS_PER_S,
        .from_ns = 4 * NS_PER_S - NS_PER_MS,
        .key = {.family = family, .proto = 6, .src_port = 40000, .dst_port = 443, .vrf = 12},
        .flow = 0xfeedfacecafebeef,
        .rate_bps = 9876543210,
        .bytes = 1ull << 40,
        .packets = 1ull << 30,
        .delta_bytes = 1234567890,
        .delta_packets = 999999,
        .tenant = 3,
        .class_ = 2,
    };
    for (unsigned i = 0; i < (family == IP_V4 ? 4 : 16); i++)
        r.key.src.b[i] = (uint8_t)(10 + i), r.key.dst.b[i] = (uint8_t)(100 + i);
    return r;
}

static void check_flow(const struct got *g, uint8_t family)
{
    struct elephant_report r = report_of(family);
    IS(g, FLOW_START_MILLISECONDS, 1700000003999);
    IS(g, FLOW_END_MILLISECONDS, 1700000005000);
    IS(g, SOURCE_TRANSPORT_PORT, 40000);
    IS(g, DESTINATION_TRANSPORT_PORT, 443);
    IS(g, PROTOCOL_IDENTIFIER, 6);
    IS(g, OCTET_DELTA_COUNT, 1234567890);
    IS(g, PACKET_DELTA_COUNT, 999999);
    IS(g, FLOW_END_REASON, 2);
    IS(g, INGRESS_VRF_ID, 12);
    IS(g, FLOW_ID, r.flow);
    IS(g, TENANT_ID, 3);
    IS(g, TRAFFIC_CLASS, 2);
    IS(g, BIT_RATE, 9876543210);
    IS(g, ELEPHANT_STATE, ELEPHANT_STILL);
    assert_memory_equal(g->src, r.key.src.b, 16);
    assert_memory_equal(g->dst, r.key.dst.b, 16);
    assert_int_equal(g->has[family == IP_V4 ? IPFIX_E_SOURCE_IPV4_ADDRESS : IPFIX_E_SOURCE_IPV6_ADDRESS], 1);
}

static void check_port_and_lane(const struct got *p, const struct got *l)
{
    IS(p, INGRESS_INTERFACE, 4);
    IS(p, OBSERVATION_TIME_MILLISECONDS, 1700000001000);
    assert_string_equal(p->text, "north-north-nor");
    IS(p, LINK_STATE, 1);
    IS(p, BIT_RATE, 100000000000);
    IS(p, PACKET_TOTAL_COUNT, 1);
    IS(p, OCTET_TOTAL_COUNT, 2);
    IS(p, SENT_PACKET_TOTAL_COUNT, 3);
    IS(p, SENT_OCTET_TOTAL_COUNT, UINT64_MAX);
    IS(p, DROPPED_PACKET_TOTAL_COUNT, 5);
    IS(p, QUEUED_CELLS, 6);
    IS(p, RESERVED_CELLS, 7);
    IS(p, POOL_CELLS, 8);
    IS(l, LANE_ID, 0x100000002);
    IS(l, TENANT_ID, 9);
    IS(l, TRAFFIC_CLASS, 1);
    IS(l, LANE_STATE, LANE_SAMPLE_BLOCKED);
    IS(l, INGRESS_INTERFACE, 1);
    IS(l, EGRESS_INTERFACE, 2);
    IS(l, SENT_PACKET_TOTAL_COUNT, 10);
    IS(l, SENT_OCTET_TOTAL_COUNT, 11);
    IS(l, DROPPED_PACKET_TOTAL_COUNT, 12);
    IS(l, MARKED_PACKET_TOTAL_COUNT, 13);
    IS(l, LOST_CELL_TOTAL_COUNT, 14);
    IS(l, QUEUED_CELLS, 15);
    IS(l, PEAK_CELLS, 16);
    IS(l, WINDOW_CELLS, 17);
    IS(l, OCCUPIED_CELLS, 18);
    IS(l, CREDIT_CELLS, 19);
}

static void check_rest(const struct got *g)
{
    IS(&g[0], FLOW_ID, 0xabcde);
    IS(&g[0], MARKING_PERIOD, 1700000007);
    IS(&g[0], FLOW_START_MILLISECONDS, 1700000007000);
    IS(&g[0], FLOW_END_MILLISECONDS, 1700000008000);
    IS(&g[0], PACKET_DELTA_COUNT, 20);
    IS(&g[0], OCTET_DELTA_COUNT, 21);
    IS(&g[0], OBSERVATION_TIME_NANOSECONDS, WALL + 7123456789);
    IS(&g[0], INGRESS_INTERFACE, 22);
    IS(&g[0], MARKING_ROLE, 2);
    IS(&g[1], FLOW_ID, 30);
    IS(&g[1], LANE_ID, 31);
    IS(&g[1], OBSERVATION_TIME_NANOSECONDS, WALL + 123456789);
    IS(&g[1], LOSS_REASON, LOSS_LINK);
    IS(&g[1], INGRESS_INTERFACE, 34);
    IS(&g[1], EGRESS_INTERFACE, UINT32_MAX);
    IS(&g[1], DROPPED_PACKET_DELTA_COUNT, 35);
    IS(&g[1], LOST_CELL_DELTA_COUNT, 36);
    IS(&g[1], TENANT_ID, 32);
    IS(&g[1], TRAFFIC_CLASS, 3);
    IS(&g[2], LOSS_REASON, LOSS_LINK);
    IS(&g[2], DROPPED_PACKET_TOTAL_COUNT, 35);
    IS(&g[2], LOST_CELL_TOTAL_COUNT, 36);
    IS(&g[3], INGRESS_INTERFACE, 40);
    IS(&g[3], LINK_EVENT, 6);
    IS(&g[3], LANE_ID, 41);
    IS(&g[3], PEER_ROUTER_ID, 42);
    IS(&g[3], EVENT_DETAIL, 43);
    IS(&g[3], ROUND_TRIP_TIME, 44);
    IS(&g[3], OBSERVATION_TIME_NANOSECONDS, WALL + 45);
}

static void export_all(struct export *x, struct buf *out)
{
    static struct loss_log log;
    struct elephant_report f4 = report_of(IP_V4), f6 = report_of(IP_V6);
    struct port_sample p = {.at_ns = NS_PER_S,
        .port = 4,
        .name = "north-north-north-north",
        .up = true,
        .rate_bps = 100000000000,
        .rx_packets = 1,
        .rx_bytes = 2,
        .tx_packets = 3,
        .tx_bytes = UINT64_MAX,
        .dropped_packets = 5,
        .queued_cells = 6,
        .reserved_cells = 7,
        .pool_cells = 8};
    struct lane_sample l = {.at_ns = NS_PER_S,
        .lane = 0x100000002,
        .tenant = 9,
        .in_port = 1,
        .out_port = 2,
        .class_ = 1,
        .state = LANE_SAMPLE_BLOCKED,
        .sent_packets = 10,
        .sent_bytes = 11,
        .dropped_packets = 12,
        .marked_packets = 13,
        .lost_cells = 14,
        .queued_cells = 15,
        .peak_cells = 16,
        .window_cells = 17,
        .occupied_cells = 18,
        .credit_cells = 19};
    struct marking_record m = {.flow_mon_id = 0xabcde,
        .period = 1700000007,
        .packets = 20,
        .bytes = 21,
        .d_wall_ns = WALL + 7123456789,
        .port = 22,
        .role = 2};
    struct loss_record r = {.at_ns = 123456789,
        .flow = 30,
        .lane = 31,
        .tenant = 32,
        .cells = 36,
        .packets = 35,
        .port = 34,
        .reason = LOSS_LINK,
        .class_ = 3};
    struct link_sample e = {.at_ns = 45, .port = 40, .event = 6, .lane = 41, .peer = 42, .detail = 43, .rtt_ns = 44};
    memset(&log, 0, sizeof log);
    loss_record(&log, &r);
    assert_int_equal(export_flow(x, &f4, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_flow(x, &f6, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_port(x, &p, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_lane(x, &l, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_marking(x, &m, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_loss(x, &r, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_loss_totals(x, &log, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_link(x, &e, 6 * NS_PER_S, out), 0);
    assert_int_equal(export_flush(x, 6 * NS_PER_S, out), 0);
}

static void every_value_comes_back(void **state)
{
    static struct sink sink;
    struct export *x = exporter(0, false, 0);
    struct ipfix_session *s = NULL;
    struct buf out = {0};
    sink.n = 0;
    assert_int_equal(ipfix_session_create(&s, true, 32), 0);
    export_all(x, &out);
    read_all(s, &out, &sink);
    assert_int_equal(sink.n, 8);
    check_flow(&sink.got[0], IP_V4);
    check_flow(&sink.got[1], IP_V6);
    check_port_and_lane(&sink.got[2], &sink.got[3]);
    check_rest(&sink.got[4]);
    ipfix_session_free(s);
    export_free(x);
    buf_done(&out);
}

static void our_elements_are_described(void **state)
{
    static struct sink sink;
    struct export *x = exporter(0, true, 0);
    struct ipfix_session *s = NULL;
    struct buf out = {0};
    sink.n = 0;
    assert_int_equal(ipfix_session_create(&s, true, 32), 0);
    export_all(x, &out);
    read_all(s, &out, &sink);
    unsigned n = 0;
    for (unsigned i = 0; i < IPFIX_ELEMENTS; i++) {
        const struct ipfix_element_info *info = &ipfix_element_info[i];
        if (!info->ours)
            continue;
        const struct got *g = &sink.got[n++];
        IS(g, PRIVATE_ENTERPRISE_NUMBER, PEN);
        IS(g, INFORMATION_ELEMENT_ID, info->id);
        IS(g, INFORMATION_ELEMENT_DATA_TYPE, info->type);
        IS(g, INFORMATION_ELEMENT_SEMANTICS, info->semantics);
        IS(g, INFORMATION_ELEMENT_UNITS, info->units);
        assert_string_equal(g->text, info->name);
    }
    assert_int_equal(sink.n, n + 8);
    ipfix_session_free(s);
    export_free(x);
    buf_done(&out);
}

static void messages_stay_small_and_in_sequence(void **state)
{
    static const uint32_t most[] = {512, 1400, 65535};
    static struct sink sink;
    for (unsigned k = 0; k < 3; k++) {
        struct export *x = exporter(most[k], true, 0);
        struct ipfix_session *s = NULL;
        struct buf out = {0};
        memset(&sink, 0, sizeof sink);
        assert_int_equal(ipfix_session_create(&s, true, 32), 0);
        for (unsigned i = 0; i < 1000; i++) {
            struct elephant_report r = report_of(rng_below(k, i, 2) ? IP_V4 : IP_V6);
            r.delta_bytes = i;
            assert_int_equal(export_flow(x, &r, NS_PER_S, &out), 0);
        }
        export_flush(x, NS_PER_S, &out);
        read_all(s, &out, &sink);
        assert_int_equal(sink.n, 1000 + 26);
        for (unsigned i = 0; i < 1000; i++)
            assert_int_equal(sink.got[26 + i].value[IPFIX_E_OCTET_DELTA_COUNT], i);
        assert_true(sink.longest <= most[k]);
        assert_true(sink.longest > most[k] / 2);
        ipfix_session_free(s);
        export_free(x);
        buf_done(&out);
    }
}

/* UDP: a collector that comes late understands everything after the next templates. */
static void templates_are_repeated(void **state)
{
    static struct sink sink;
    struct export *x = exporter(0, false, 10 * NS_PER_S);
    struct ipfix_session *s = NULL;
    struct buf out = {0};
    struct elephant_report r = report_of(IP_V4);
    sink.n = 0;
    assert_int_equal(ipfix_session_create(&s, false, 32), 0);
    for (unsigned second = 0; second < 30; second++) {
        export_flow(x, &r, second * NS_PER_S, &out);
        export_flush(x, second * NS_PER_S, &out);
        if (second < 5)
            out.len = 0; /* lost */
        int len;
        for (; (len = ipfix_message_length(out.data, out.len)) > 0; buf_consume(&out, (size_t)len))
            assert_int_equal(ipfix_read(s, out.data, (size_t)len, take, &sink), 0);
    }
    assert_int_equal(s->unknown, 5);
    assert_int_equal(sink.n, 20);
    ipfix_session_free(s);
    export_free(x);
    buf_done(&out);
}

static void a_new_connection_begins_anew(void **state)
{
    static struct sink sink;
    struct export *x = exporter(0, false, 0);
    struct buf out = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct ipfix_session *s = NULL;
        sink.n = 0;
        assert_int_equal(ipfix_session_create(&s, true, 32), 0);
        export_all(x, &out);
        assert_int_equal(out.data[8] | out.data[9] | out.data[10] | out.data[11], 0);
        read_all(s, &out, &sink);
        assert_int_equal(sink.n, 8);
        ipfix_session_free(s);
        struct elephant_report r = report_of(IP_V4);
        export_flow(x, &r, 0, &out); /* cut while it was being written */
        export_restart(x);
    }
    export_free(x);
    export_free(NULL);
    buf_done(&out);
    struct export_config wrong = {.message_most = 100};
    assert_int_equal(export_create(&x, &wrong), -EINVAL);
}

/* --- the tables of the document ------------------------------------------------------------------------------------ */

static const char *document, *lane_header;

static int file_read(const char *path, struct buf *b)
{
    FILE *f = path ? fopen(path, "r") : NULL;
    char part[4096];
    if (!f)
        return -ENOENT;
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_append(b, part, n);
    fclose(f);
    return 0;
}

/* The numbers of events are the lane layer's, which this module may not include. */
static void write_events(struct buf *b)
{
    struct buf text = {0};
    if (file_read(lane_header, &text))
        return;
    const char *at = strstr(buf_str(&text), "enum lane_event_kind {"), *end = at ? strchr(at, '}') : NULL;
    assert_non_null(end);
    buf_append_str(b, "`linkEvent`:");
    for (unsigned n = 0; (at = strstr(at, "\n    LANE_EVENT_")) && at < end; n++) {
        buf_printf(b, "%s %u ", n ? "," : "", n);
        for (at += 16; *at != ',' && *at != '\n'; at++)
            buf_printf(b, "%c", *at == '_' ? ' ' : tolower(*at));
    }
    buf_append_str(b, ".\n");
    buf_done(&text);
}

static void write_elements(struct buf *b)
{
    static const char *const semantics[] = {"", "quantity", "total", "delta", "identifier"};
    buf_append_str(b, "| number | element | type | semantics | meaning |\n|---|---|---|---|---|\n");
    for (unsigned i = 0; i < IPFIX_ELEMENTS; i++) {
        const struct ipfix_element_info *e = &ipfix_element_info[i];
        if (e->ours)
            buf_printf(b, "| %u | `%s` | %s | %s | %s |\n", e->id, e->name, ipfix_type_name(e->type),
                semantics[e->semantics], e->meaning);
    }
}

static void write_kinds(struct buf *b)
{
    const struct export_kind *k;
    unsigned n = export_kinds(&k);
    buf_append_str(b, "| template | record | scope | fields |\n|---|---|---|---|\n");
    for (unsigned i = 0; i < n; i++) {
        buf_printf(b, "| %u | %s |", k[i].template_id, k[i].name);
        for (unsigned f = 0; f < k[i].n; f++) {
            const struct ipfix_element_info *e = &ipfix_element_info[k[i].element[f]];
            buf_printf(b, "%s %s%s", f == k[i].scope ? " |" : f ? "," : "", e->name, e->ours ? "*" : "");
        }
        buf_append_str(b, " |\n");
    }
}

static void write_reasons(struct buf *b)
{
    buf_append_str(b, "| lossReason | name |\n|---|---|\n");
    for (unsigned i = 1; i < LOSS_REASONS; i++)
        buf_printf(b, "| %u | %s |\n", i, loss_reason_name(i));
}

static void the_document_is_right(void **state)
{
    void (*const write[])(struct buf *) = {write_elements, write_kinds, write_reasons, write_events};
    struct buf text = {0}, table = {0};
    if (file_read(document, &text))
        skip();
    for (unsigned i = 0; i < sizeof write / sizeof write[0]; i++, table.len = 0) {
        write[i](&table);
        if (!strstr(buf_str(&text), buf_str(&table)))
            fail_msg("%s does not have this (export_test --print writes it):\n%s", document, buf_str(&table));
    }
    buf_done(&text);
    buf_done(&table);
}

static int print(void)
{
    struct buf b = {0};
    write_elements(&b);
    buf_append_str(&b, "\n");
    write_kinds(&b);
    buf_append_str(&b, "\n");
    write_reasons(&b);
    buf_append_str(&b, "\n");
    write_events(&b);
    fputs(buf_str(&b), stdout);
    buf_done(&b);
    return 0;
}

int main(int argc, char **argv)
{
    document = argc > 1 ? argv[1] : NULL;
    lane_header = argc > 2 ? argv[2] : NULL;
    if (document && !strcmp(document, "--print"))
        return print();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back),
        cmocka_unit_test(our_elements_are_described),
        cmocka_unit_test(messages_stay_small_and_in_sequence),
        cmocka_unit_test(templates_are_repeated),
        cmocka_unit_test(a_new_connection_begins_anew),
        cmocka_unit_test(the_document_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
