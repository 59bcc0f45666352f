#include "telemetry/export.h"

#include "base/clock.h"
#include "telemetry/ipfix_elements.h"
#include "wire/ipfix.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the templates ----------------------------------------------------------------------------------------------- */

#define E(name) IPFIX_E_##name
/* No totals beside a flow's deltas: nfdump would take them for its bytes. */
#define FLOW_FIELDS(family)                                                                                            \
    E(FLOW_START_MILLISECONDS), E(FLOW_END_MILLISECONDS), E(SOURCE_##family##_ADDRESS),                                \
        E(DESTINATION_##family##_ADDRESS), E(SOURCE_TRANSPORT_PORT), E(DESTINATION_TRANSPORT_PORT),                    \
        E(PROTOCOL_IDENTIFIER), E(OCTET_DELTA_COUNT), E(PACKET_DELTA_COUNT), E(FLOW_END_REASON), E(INGRESS_VRF_ID),    \
        E(FLOW_ID), E(TENANT_ID), E(TRAFFIC_CLASS), E(BIT_RATE), E(ELEPHANT_STATE)

static const uint8_t flow4[] = {FLOW_FIELDS(IPV4)};
static const uint8_t flow6[] = {FLOW_FIELDS(IPV6)};
static const uint8_t port[] = {E(INGRESS_INTERFACE), E(OBSERVATION_TIME_MILLISECONDS), E(INTERFACE_NAME), E(LINK_STATE),
    E(BIT_RATE), E(PACKET_TOTAL_COUNT), E(OCTET_TOTAL_COUNT), E(SENT_PACKET_TOTAL_COUNT), E(SENT_OCTET_TOTAL_COUNT),
    E(DROPPED_PACKET_TOTAL_COUNT), E(QUEUED_CELLS), E(RESERVED_CELLS), E(POOL_CELLS)};
static const uint8_t lane[] = {E(INGRESS_INTERFACE), E(OBSERVATION_TIME_MILLISECONDS), E(LANE_ID), E(TENANT_ID),
    E(TRAFFIC_CLASS), E(LANE_STATE), E(EGRESS_INTERFACE), E(SENT_PACKET_TOTAL_COUNT), E(SENT_OCTET_TOTAL_COUNT),
    E(DROPPED_PACKET_TOTAL_COUNT), E(MARKED_PACKET_TOTAL_COUNT), E(LOST_CELL_TOTAL_COUNT), E(QUEUED_CELLS),
    E(PEAK_CELLS), E(WINDOW_CELLS), E(OCCUPIED_CELLS), E(CREDIT_CELLS)};
static const uint8_t marking[] = {E(FLOW_ID), E(MARKING_PERIOD), E(FLOW_START_MILLISECONDS), E(FLOW_END_MILLISECONDS),
    E(PACKET_DELTA_COUNT), E(OCTET_DELTA_COUNT), E(OBSERVATION_TIME_NANOSECONDS), E(INGRESS_INTERFACE),
    E(MARKING_ROLE)};
static const uint8_t loss[] = {E(FLOW_ID), E(LANE_ID), E(OBSERVATION_TIME_NANOSECONDS), E(LOSS_REASON), E(TENANT_ID),
    E(TRAFFIC_CLASS), E(INGRESS_INTERFACE), E(EGRESS_INTERFACE), E(DROPPED_PACKET_DELTA_COUNT),
    E(LOST_CELL_DELTA_COUNT)};
static const uint8_t totals[] = {E(OBSERVATION_DOMAIN_ID), E(OBSERVATION_TIME_MILLISECONDS), E(LOSS_REASON),
    E(DROPPED_PACKET_TOTAL_COUNT), E(LOST_CELL_TOTAL_COUNT)};
static const uint8_t event[] = {E(INGRESS_INTERFACE), E(LANE_ID), E(OBSERVATION_TIME_NANOSECONDS), E(LINK_EVENT),
    E(PEER_ROUTER_ID), E(EVENT_DETAIL), E(ROUND_TRIP_TIME)};
/* RFC 5610, 3.9. */
static const uint8_t element[] = {E(PRIVATE_ENTERPRISE_NUMBER), E(INFORMATION_ELEMENT_ID),
    E(INFORMATION_ELEMENT_DATA_TYPE), E(INFORMATION_ELEMENT_SEMANTICS), E(INFORMATION_ELEMENT_UNITS),
    E(INFORMATION_ELEMENT_NAME)};

enum { FLOW4, FLOW6, PORT, LANE, MARKING, LOSS, TOTALS, EVENT, ELEMENT, KINDS };

static const struct export_kind kinds[KINDS] = {
    [FLOW4] = {"flow, IPv4", 256, 0, sizeof flow4, flow4},
    [FLOW6] = {"flow, IPv6", 257, 0, sizeof flow6, flow6},
    [PORT] = {"port", 258, 1, sizeof port, port},
    [LANE] = {"lane", 259, 1, sizeof lane, lane},
    [MARKING] = {"marking period", 260, 1, sizeof marking, marking},
    [LOSS] = {"lost packets", 261, 1, sizeof loss, loss},
    [TOTALS] = {"totals of losses", 262, 1, sizeof totals, totals},
    [EVENT] = {"event of a link or lane", 263, 1, sizeof event, event},
    [ELEMENT] = {"type of an element", 264, 2, sizeof element, element},
};

enum { FIELDS_MOST = 20, STRING_MOST = 63, RECORD_MOST = 8 * FIELDS_MOST + 32 + STRING_MOST };

struct export
{
    struct export_config config;
    uint32_t sequence;
    int64_t templates_at; /* due from then on */
    struct ipfix_writer w;
    const struct export_kind *kind; /* of the record being put */
    unsigned at;                    /* its next field */
    uint8_t message[];
};

unsigned export_kinds(const struct export_kind **ret)
{
    *ret = kinds;
    return KINDS;
}

int export_create(struct export **ret, const struct export_config *config)
{
    struct export_config c = *config;
    c.enterprise = c.enterprise ? c.enterprise : IPFIX_ENTERPRISE_DOCUMENTATION;
    c.message_most = c.message_most ? c.message_most : 1400;
    c.marking_period_ns = c.marking_period_ns ? c.marking_period_ns : NS_PER_S;
    if (c.message_most < 512 || c.message_most > IPFIX_MESSAGE_MOST || c.template_every_ns < 0 ||
        c.marking_period_ns < NS_PER_MS)
        return -EINVAL;
    struct export *x = calloc(1, sizeof *x + c.message_most);
    if (!x)
        return -ENOMEM;
    x->config = c;
    export_restart(x);
    *ret = x;
    return 0;
}

void export_free(struct export *x)
{
    free(x);
}

void export_restart(struct export *x)
{
    x->sequence = 0;
    x->templates_at = INT64_MIN;
    ipfix_begin(&x->w, x->message, x->config.message_most);
}

/* --- messages ------------------------------------------------------------------------------------------------------ */

int export_flush(struct export *x, int64_t now, struct buf *out)
{
    uint32_t seconds = (uint32_t)((now + x->config.wall_ns) / NS_PER_S);
    size_t len = ipfix_end(&x->w, seconds, x->sequence, x->config.domain);
    x->sequence += x->w.records;
    ipfix_begin(&x->w, x->message, x->config.message_most);
    return buf_append(out, x->message, len);
}

/* Opens a record, in this message or the next one. */
static int record(struct export *x, unsigned kind, int64_t now, struct buf *out)
{
    int rc = 0;
    if (ipfix_record(&x->w, kinds[kind].template_id, RECORD_MOST)) {
        rc = export_flush(x, now, out);
        int again = ipfix_record(&x->w, kinds[kind].template_id, RECORD_MOST);
        assert(!again);
        (void)again;
    }
    x->kind = &kinds[kind];
    x->at = 0;
    return rc;
}

/* That fields are put in the template's order is ours to keep. */
static void next_is(struct export *x, enum ipfix_element e)
{
    assert(x->at < x->kind->n && x->kind->element[x->at] == e);
    x->at++;
}

static void put(struct export *x, enum ipfix_element e, uint64_t value)
{
    next_is(x, e);
    ipfix_put(&x->w, value, ipfix_element_len(e));
}

static void put_ms(struct export *x, enum ipfix_element e, int64_t at_ns)
{
    int64_t wall = at_ns + x->config.wall_ns;
    put(x, e, wall > 0 ? (uint64_t)(wall / NS_PER_MS) : 0);
}

static void put_wall_ns(struct export *x, enum ipfix_element e, int64_t wall_ns)
{
    next_is(x, e);
    ipfix_put_ntp(&x->w, wall_ns);
}

static void put_string(struct export *x, enum ipfix_element e, const char *s, size_t most)
{
    char text[STRING_MOST + 1];
    assert(most <= STRING_MOST);
    next_is(x, e);
    size_t len = strnlen(s, most);
    memcpy(text, s, len);
    text[len] = 0;
    ipfix_put_string(&x->w, text);
}

static int template_put(struct export *x, const struct export_kind *k, int64_t now, struct buf *out)
{
    struct ipfix_field field[FIELDS_MOST];
    assert(k->n <= FIELDS_MOST);
    for (unsigned i = 0; i < k->n; i++) {
        const struct ipfix_element_info *info = &ipfix_element_info[k->element[i]];
        field[i] =
            (struct ipfix_field){info->ours ? x->config.enterprise : 0, info->id, ipfix_element_len(k->element[i])};
    }
    const struct ipfix_template t = {k->template_id, k->n, k->scope, field};
    if (!ipfix_put_template(&x->w, &t))
        return 0;
    int rc = export_flush(x, now, out), again = ipfix_put_template(&x->w, &t);
    assert(!again);
    (void)again;
    return rc;
}

/* Names and types of our elements. */
static int describe(struct export *x, int64_t now, struct buf *out)
{
    int rc = 0;
    for (unsigned i = 0; i < IPFIX_ELEMENTS && !rc; i++) {
        const struct ipfix_element_info *info = &ipfix_element_info[i];
        if (!info->ours)
            continue;
        rc = record(x, ELEMENT, now, out);
        put(x, E(PRIVATE_ENTERPRISE_NUMBER), x->config.enterprise);
        put(x, E(INFORMATION_ELEMENT_ID), info->id);
        put(x, E(INFORMATION_ELEMENT_DATA_TYPE), info->type);
        put(x, E(INFORMATION_ELEMENT_SEMANTICS), info->semantics);
        put(x, E(INFORMATION_ELEMENT_UNITS), info->units);
        put_string(x, E(INFORMATION_ELEMENT_NAME), info->name, STRING_MOST);
    }
    return rc;
}

/* Templates when they are due, then a record. */
static int begin(struct export *x, unsigned kind, int64_t now, struct buf *out)
{
    int rc = 0;
    if (now >= x->templates_at) {
        x->templates_at = x->config.template_every_ns ? now + x->config.template_every_ns : INT64_MAX;
        for (unsigned i = 0; i < KINDS && !rc; i++)
            rc = template_put(x, &kinds[i], now, out);
        if (!rc && x->config.describe)
            rc = describe(x, now, out);
        if (rc)
            x->templates_at = now;
    }
    int second = record(x, kind, now, out);
    return rc ? rc : second;
}

/* --- the records ----------------------------------------------------------------------------------------------------- */

int export_flow(struct export *x, const struct elephant_report *r, int64_t now, struct buf *out)
{
    enum { ACTIVE_TIMEOUT = 2, IDLE_TIMEOUT = 1 }; /* flowEndReason */
    bool v4 = r->key.family == IP_V4;
    int rc = begin(x, v4 ? FLOW4 : FLOW6, now, out);
    put_ms(x, E(FLOW_START_MILLISECONDS), r->from_ns);
    put_ms(x, E(FLOW_END_MILLISECONDS), r->at_ns);
    next_is(x, v4 ? E(SOURCE_IPV4_ADDRESS) : E(SOURCE_IPV6_ADDRESS));
    ipfix_put_bytes(&x->w, r->key.src.b, v4 ? 4 : 16);
    next_is(x, v4 ? E(DESTINATION_IPV4_ADDRESS) : E(DESTINATION_IPV6_ADDRESS));
    ipfix_put_bytes(&x->w, r->key.dst.b, v4 ? 4 : 16);
    put(x, E(SOURCE_TRANSPORT_PORT), r->key.src_port);
    put(x, E(DESTINATION_TRANSPORT_PORT), r->key.dst_port);
    put(x, E(PROTOCOL_IDENTIFIER), r->key.proto);
    put(x, E(OCTET_DELTA_COUNT), r->delta_bytes);
    put(x, E(PACKET_DELTA_COUNT), r->delta_packets);
    put(x, E(FLOW_END_REASON), r->what == ELEPHANT_GONE ? IDLE_TIMEOUT : ACTIVE_TIMEOUT);
    put(x, E(INGRESS_VRF_ID), r->key.vrf);
    put(x, E(FLOW_ID), r->flow);
    put(x, E(TENANT_ID), r->tenant);
    put(x, E(TRAFFIC_CLASS), r->class_);
    put(x, E(BIT_RATE), r->rate_bps);
    put(x, E(ELEPHANT_STATE), r->what);
    return rc;
}

int export_port(struct export *x, const struct port_sample *s, int64_t now, struct buf *out)
{
    int rc = begin(x, PORT, now, out);
    put(x, E(INGRESS_INTERFACE), s->port);
    put_ms(x, E(OBSERVATION_TIME_MILLISECONDS), s->at_ns);
    put_string(x, E(INTERFACE_NAME), s->name, 15);
    put(x, E(LINK_STATE), s->up);
    put(x, E(BIT_RATE), s->rate_bps);
    put(x, E(PACKET_TOTAL_COUNT), s->rx_packets);
    put(x, E(OCTET_TOTAL_COUNT), s->rx_bytes);
    put(x, E(SENT_PACKET_TOTAL_COUNT), s->tx_packets);
    put(x, E(SENT_OCTET_TOTAL_COUNT), s->tx_bytes);
    put(x, E(DROPPED_PACKET_TOTAL_COUNT), s->dropped_packets);
    put(x, E(QUEUED_CELLS), s->queued_cells);
    put(x, E(RESERVED_CELLS), s->reserved_cells);
    put(x, E(POOL_CELLS), s->pool_cells);
    return rc;
}

int export_lane(struct export *x, const struct lane_sample *s, int64_t now, struct buf *out)
{
    int rc = begin(x, LANE, now, out);
    put(x, E(INGRESS_INTERFACE), s->in_port);
    put_ms(x, E(OBSERVATION_TIME_MILLISECONDS), s->at_ns);
    put(x, E(LANE_ID), s->lane);
    put(x, E(TENANT_ID), s->tenant);
    put(x, E(TRAFFIC_CLASS), s->class_);
    put(x, E(LANE_STATE), s->state);
    put(x, E(EGRESS_INTERFACE), s->out_port);
    put(x, E(SENT_PACKET_TOTAL_COUNT), s->sent_packets);
    put(x, E(SENT_OCTET_TOTAL_COUNT), s->sent_bytes);
    put(x, E(DROPPED_PACKET_TOTAL_COUNT), s->dropped_packets);
    put(x, E(MARKED_PACKET_TOTAL_COUNT), s->marked_packets);
    put(x, E(LOST_CELL_TOTAL_COUNT), s->lost_cells);
    put(x, E(QUEUED_CELLS), s->queued_cells);
    put(x, E(PEAK_CELLS), s->peak_cells);
    put(x, E(WINDOW_CELLS), s->window_cells);
    put(x, E(OCCUPIED_CELLS), s->occupied_cells);
    put(x, E(CREDIT_CELLS), s->credit_cells);
    return rc;
}

int export_marking(struct export *x, const struct marking_record *r, int64_t now, struct buf *out)
{
    uint64_t period_ns = (uint64_t)x->config.marking_period_ns;
    int rc = begin(x, MARKING, now, out);
    put(x, E(FLOW_ID), r->flow_mon_id);
    put(x, E(MARKING_PERIOD), r->period);
    put(x, E(FLOW_START_MILLISECONDS), r->period * period_ns / NS_PER_MS);
    put(x, E(FLOW_END_MILLISECONDS), (r->period + 1) * period_ns / NS_PER_MS);
    put(x, E(PACKET_DELTA_COUNT), r->packets);
    put(x, E(OCTET_DELTA_COUNT), r->bytes);
    put_wall_ns(x, E(OBSERVATION_TIME_NANOSECONDS), r->d_wall_ns);
    put(x, E(INGRESS_INTERFACE), r->port);
    put(x, E(MARKING_ROLE), r->role);
    return rc;
}

int export_loss(struct export *x, const struct loss_record *r, int64_t now, struct buf *out)
{
    bool received = r->reason == LOSS_LINK; /* then `port` is where it should have come in */
    int rc = begin(x, LOSS, now, out);
    put(x, E(FLOW_ID), r->flow);
    put(x, E(LANE_ID), r->lane);
    put_wall_ns(x, E(OBSERVATION_TIME_NANOSECONDS), r->at_ns + x->config.wall_ns);
    put(x, E(LOSS_REASON), r->reason);
    put(x, E(TENANT_ID), r->tenant);
    put(x, E(TRAFFIC_CLASS), r->class_);
    put(x, E(INGRESS_INTERFACE), received ? r->port : UINT32_MAX);
    put(x, E(EGRESS_INTERFACE), received ? UINT32_MAX : r->port);
    put(x, E(DROPPED_PACKET_DELTA_COUNT), r->packets);
    put(x, E(LOST_CELL_DELTA_COUNT), r->cells);
    return rc;
}

int export_loss_totals(struct export *x, const struct loss_log *log, int64_t now, struct buf *out)
{
    int rc = 0;
    for (unsigned reason = 0; reason < LOSS_REASONS; reason++) {
        if (!log->packets[reason] && !log->cells[reason])
            continue;
        int again = begin(x, TOTALS, now, out);
        rc = rc ? rc : again;
        put(x, E(OBSERVATION_DOMAIN_ID), x->config.domain);
        put_ms(x, E(OBSERVATION_TIME_MILLISECONDS), now);
        put(x, E(LOSS_REASON), reason);
        put(x, E(DROPPED_PACKET_TOTAL_COUNT), log->packets[reason]);
        put(x, E(LOST_CELL_TOTAL_COUNT), log->cells[reason]);
    }
    return rc;
}

int export_link(struct export *x, const struct link_sample *s, int64_t now, struct buf *out)
{
    int rc = begin(x, EVENT, now, out);
    put(x, E(INGRESS_INTERFACE), s->port);
    put(x, E(LANE_ID), s->lane);
    put_wall_ns(x, E(OBSERVATION_TIME_NANOSECONDS), s->at_ns + x->config.wall_ns);
    put(x, E(LINK_EVENT), s->event);
    put(x, E(PEER_ROUTER_ID), s->peer);
    put(x, E(EVENT_DETAIL), s->detail);
    put(x, E(ROUND_TRIP_TIME), s->rtt_ns);
    return rc;
}
