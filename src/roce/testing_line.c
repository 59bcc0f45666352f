#include "roce/testing_line.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

static struct ip_addr address(uint8_t family, uint8_t number)
{
    struct ip_addr a = {family, {{10, 0, 0, number}}};
    if (family == IP_V6)
        a.a = (struct ip6){{0xfd, [15] = number}};
    return a;
}

void line_default(struct roce_host_config config[2], uint8_t family)
{
    config[0] = (struct roce_host_config){.address = address(family, 1), .seed = 1, .line_bps = 10000000000};
    config[1] = (struct roce_host_config){.address = address(family, 2), .seed = 2, .line_bps = 10000000000};
}

struct roce_flow line_flow(uint8_t family)
{
    return (struct roce_flow){
        .peer = address(family, 2), .messages = 10, .message_bytes = 65536, .mtu = 1024, .dscp = 26};
}

struct line *line_create(struct roce_host_config config[2])
{
    struct line *l = calloc(1, sizeof(*l));
    *l = (struct line){.rate_bps = 10000000000, .delay_ns = 10 * NS_PER_US};
    for (int i = 0; i < 2; i++) {
        l->to[i].ring = malloc(LINE_ROOM * sizeof(struct line_packet));
        assert_int_equal(roce_host_create(&l->host[i], &config[i], NULL), 0);
    }
    return l;
}

void line_free(struct line *l)
{
    for (int i = 0; i < 2; i++) {
        free(l->to[i].ring);
        roce_host_free(l->host[i]);
    }
    free(l);
}

static void deliver_later(struct line_direction *d, const struct line_packet *p)
{
    assert_true(d->n < LINE_ROOM);
    d->ring[(d->head + d->n++) % LINE_ROOM] = *p;
}

static void mark(struct line_packet *p)
{
    if (p->bytes[0] >> 4 == 6) {
        p->bytes[1] |= 0x30;
        return;
    }
    struct roce_packet q;
    assert_int_equal(roce_decode(&q, p->bytes, p->have, p->len), 0);
    q.ecn = ROCE_CE;
    roce_put(p->bytes, &q); /* with the header checksum */
}

static void put_on_line(struct line *l, int from, struct line_packet *p)
{
    struct line_direction *d = &l->to[!from];
    struct roce_packet q;
    assert_int_equal(roce_decode(&q, p->bytes, p->have, p->len), 0);
    enum line_fate fate = l->fate ? l->fate(l->user, from, &q, l->now) : LINE_PASS;
    if (fate == LINE_MARK)
        mark(p);
    if (fate == LINE_SWAP) {
        d->held = *p;
        d->hold = true;
    } else if (fate != LINE_LOSE) {
        deliver_later(d, p);
        if (d->hold) {
            d->held.at_ns = p->at_ns;
            deliver_later(d, &d->held);
            d->hold = false;
        }
    }
}

static bool send_one(struct line *l, int from)
{
    static struct line_packet p;
    struct roce_out out;
    if (l->to[!from].free_ns > l->now || !roce_host_pull(l->host[from], l->now, p.bytes, &out))
        return false;
    p.len = out.len;
    p.have = l->whole ? out.len : out.headers;
    if (l->whole) {
        memset(p.bytes + out.headers, 0x5a, out.len - out.headers);
        roce_icrc_put(p.bytes, out.len);
    }
    l->packets[from]++;
    for (uint32_t i = 0; i < out.headers; i++)
        l->hash = rng_mix(l->hash ^ p.bytes[i]) + (uint64_t)l->now;
    l->to[!from].free_ns = l->now + (int64_t)(out.len * 8ull * (uint64_t)NS_PER_S / l->rate_bps);
    p.at_ns = l->to[!from].free_ns + l->delay_ns;
    put_on_line(l, from, &p);
    return true;
}

static bool receive_one(struct line *l, int at)
{
    struct line_direction *d = &l->to[at];
    if (!d->n || d->ring[d->head].at_ns > l->now)
        return false;
    const struct line_packet *p = &d->ring[d->head];
    uint8_t *exact = malloc(p->have); /* so that a sanitizer sees a byte too far */
    memcpy(exact, p->bytes, p->have);
    assert_true(roce_host_receive(l->host[at], exact, p->have, p->len, l->now));
    free(exact);
    d->head = (d->head + 1) % LINE_ROOM;
    d->n--;
    return true;
}

/* The next time after now at which a host wants to send or a packet arrives. */
static int64_t next_time(const struct line *l)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        const struct line_direction *in = &l->to[i], *out = &l->to[!i];
        int64_t sends = roce_host_next(l->host[i], l->now);
        if (sends != INT64_MAX && sends < out->free_ns)
            sends = out->free_ns;
        if (sends > l->now && sends < next) /* not later than now: it had nothing after all */
            next = sends;
        if (in->n && in->ring[in->head].at_ns < next)
            next = in->ring[in->head].at_ns;
    }
    return next;
}

void line_run(struct line *l, int64_t until)
{
    for (;;) {
        bool more = true;
        while (more) {
            more = false;
            for (int i = 0; i < 2; i++)
                more |= receive_one(l, i) || send_one(l, i);
        }
        int64_t next = next_time(l);
        if (next == INT64_MAX || next > until)
            break;
        l->now = next;
    }
    if (until != INT64_MAX && until > l->now)
        l->now = until;
}

struct line *line_of(uint8_t family)
{
    struct roce_host_config config[2];
    line_default(config, family);
    return line_create(config);
}

struct roce_stats line_stats(struct line *l, int host)
{
    struct roce_stats s;
    roce_host_stats(l->host[host], l->now, &s);
    return s;
}

void line_connect(struct line *l, const struct roce_flow *f)
{
    uint32_t flow;
    struct error err = {""};
    if (roce_host_connect(l->host[0], f, &flow, &err))
        fail_msg("%s", err.text);
}

void line_assert_complete(struct line *l, const struct roce_flow *f)
{
    struct roce_stats tx = line_stats(l, 0), rx = line_stats(l, 1);
    assert_true(roce_host_finished(l->host[0]));
    assert_int_equal(tx.messages, f->messages);
    assert_int_equal(rx.rx_messages, f->messages);
    assert_int_equal(tx.acked_payload, f->messages * f->message_bytes);
    assert_int_equal(rx.rx_payload, f->messages * f->message_bytes);
    assert_int_equal(tx.broken, 0);
    assert_int_equal(rx.malformed + rx.corrupted + rx.unexpected + tx.malformed + tx.corrupted + tx.unexpected, 0);
    assert_int_equal(roce_host_latency(l->host[0])->count, f->messages);
}
