/* One thread, one loop: take what arrived, send what is due, sleep until something of both is. */
#include "roce/program.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "roce/program_inner.h"
#include "wire/ip_text.h"
#include "wire/pfc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROCE_SLOT_SIZE (ETHER_SIZE + VLAN_SIZE + ROCE_HEADERS_MAX + ROCE_PAYLOAD_MAX + 8)
#define ROCE_SLOTS     ROCE_PORT_BATCH
#define RETRY_AFTER    (50 * NS_PER_US)      /* when the interface took nothing */
#define DRAIN_FOR      (2 * NS_PER_S)        /* after the time is over, for what was begun */
#define STAMP          0x6d65726964696e61ull /* "meridina": a payload that begins with when it was sent */
#define STAMP_SIZE     16u

static int64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* --- frames out --- */

static uint32_t ethernet(
    const struct roce_program *p, uint8_t *frame, const uint8_t *to, uint8_t priority, uint16_t type)
{
    memcpy(frame + ETHER_DST, to, 6);
    memcpy(frame + ETHER_SRC, p->neighbours.mac, 6);
    if (!p->config->vlan) {
        bytes_put_be16(frame + ETHER_TYPE, type);
        return ETHER_SIZE;
    }
    bytes_put_be16(frame + ETHER_TYPE, ETHER_VLAN);
    bytes_put_be16(frame + ETHER_SIZE, (uint16_t)(priority << 13 | p->config->vlan));
    bytes_put_be16(frame + ETHER_SIZE + 2, type);
    return ETHER_SIZE + VLAN_SIZE;
}

/* The next packet of the host in this slot. Payload beyond the stamp is what the slot held before. */
static bool build(struct roce_program *p, unsigned slot, int64_t now)
{
    uint8_t headers[ROCE_HEADERS_MOST], *frame = p->slots + (size_t)slot * ROCE_SLOT_SIZE;
    struct roce_out out;
    if (!roce_host_pull(p->host, now, headers, &out))
        return false;
    const uint8_t *to = roce_neighbours_find(&p->neighbours, &out.peer);
    if (!to)
        to = roce_neighbours_find(&p->neighbours, &p->next_hop);
    if (!to) /* cannot be: senders start with it, and who is answered was heard */
        return false;
    uint32_t at = ethernet(p, frame, to, out.priority, out.peer.family == IP_V4 ? ETHER_IP4 : ETHER_IP6);
    memcpy(frame + at, headers, out.headers);
    if (out.payload >= STAMP_SIZE) {
        bytes_put_be64(frame + at + out.headers, STAMP);
        bytes_put_be64(frame + at + out.headers + 8, (uint64_t)wall_ns());
    }
    roce_icrc_put(frame + at, out.len);
    p->ready[slot] = (struct iovec){frame, at + out.len};
    return true;
}

/* A batch: what is built already, else what the host has. Packets once built are never given up. */
static int transmit(struct roce_program *p, int64_t now, struct error *err)
{
    if (now < p->retry_ns)
        return 0;
    if (p->first == p->n)
        for (p->first = p->n = 0; p->n < ROCE_SLOTS && build(p, p->n, now);)
            p->n++;
    if (p->first == p->n)
        return 0;
    int sent = roce_port_send(p->port, p->ready + p->first, p->n - p->first, err);
    if (sent < 0)
        return sent;
    p->first += (unsigned)sent;
    if (p->first < p->n) {
        p->result->stalls++;
        p->retry_ns = now + RETRY_AFTER;
    }
    return 0;
}

/* ARP and neighbour discovery, untagged in `frame`, with the tag where there is one. */
int roce_program_send_small(struct roce_program *p, const uint8_t *frame, uint32_t len, struct error *err)
{
    uint8_t tagged[ROCE_NEIGHBOUR_FRAME + VLAN_SIZE];
    uint32_t at = ethernet(p, tagged, frame + ETHER_DST, 0, bytes_get_be16(frame + ETHER_TYPE));
    memcpy(tagged + at, frame + ETHER_SIZE, len - ETHER_SIZE);
    struct iovec v = {tagged, at + len - ETHER_SIZE};
    int rc = roce_port_send(p->port, &v, 1, err);
    return rc < 0 ? rc : 0; /* not taken: asked again */
}

/* --- frames in --- */

static void pause_priorities(struct roce_program *p, const uint8_t *body, uint32_t len, int64_t now)
{
    struct pfc pfc;
    if (p->config->ignore_pfc || pfc_decode(&pfc, body, len))
        return;
    for (uint8_t i = 0; i < 8; i++)
        if (pfc.enabled >> i & 1)
            roce_host_pause(p->host, i, now + pfc_ns(pfc.quanta[i], p->line_bps), now);
}

/* Our own PFC: all priorities that peers use stop while we read nothing, as a full adapter would have it. */
static int keep_paused(struct roce_program *p, int64_t now, uint16_t quanta, struct error *err)
{
    struct pfc pfc = {.enabled = p->priorities};
    uint8_t frame[PFC_SIZE];
    if (p->config->ignore_pfc || now < p->pause_ns)
        return 0;
    for (int i = 0; i < 8; i++)
        pfc.quanta[i] = quanta;
    pfc_put(frame, p->neighbours.mac, &pfc);
    struct iovec v = {frame, sizeof(frame)};
    p->pause_ns = now + pfc_ns(0xffff, p->line_bps) / 2;
    int rc = roce_port_send(p->port, &v, 1, err);
    return rc < 0 ? rc : 0;
}

/* True while a person or the lab wants this host to take nothing. */
static bool stalled(struct roce_program *p, int64_t now, int *rc, struct error *err)
{
    bool wanted = p->config->stalled && *p->config->stalled;
    if (wanted != p->stalled)
        p->pause_ns = 0;
    if (wanted || p->stalled)
        *rc = keep_paused(p, now, wanted ? 0xffff : 0, err);
    p->stalled = wanted;
    return wanted;
}

static struct roce_source *source_of(struct roce_program_result *r, const struct roce_packet *p)
{
    for (uint32_t i = 0; i < r->n_sources; i++)
        if (r->sources[i].dscp == p->dscp && ip_addr_equal(&r->sources[i].peer, &p->src))
            return &r->sources[i];
    if (r->n_sources == ROCE_SOURCES)
        return NULL;
    struct roce_source *s = &r->sources[r->n_sources++];
    s->peer = p->src;
    s->dscp = p->dscp;
    return s;
}

/* A write packet that the host has looked at, of which it took `delivered` bytes. */
static void note_packet(struct roce_program *p, const uint8_t *ip, uint32_t len, uint64_t delivered, int64_t now)
{
    struct roce_packet packet;
    if (roce_decode(&packet, ip, len, len) || packet.opcode == ROCE_ACKNOWLEDGE || packet.opcode == ROCE_CNP)
        return;
    p->priorities |= (uint8_t)(1u << p->config->host.priority_of_dscp[packet.dscp]);
    struct roce_source *s = source_of(p->result, &packet);
    if (!s)
        return;
    s->packets++;
    s->payload += delivered;
    if (delivered) {
        if (!s->first_ns)
            s->first_ns = s->last_ns = now;
        s->silence_ns = now - s->last_ns > s->silence_ns ? now - s->last_ns : s->silence_ns;
        s->last_ns = now;
    }
    const uint8_t *payload = ip + roce_headers_size(&packet);
    if (packet.payload >= STAMP_SIZE && bytes_get_be64(payload) == STAMP)
        quantile_add(&s->one_way, wall_ns() - (int64_t)bytes_get_be64(payload + 8));
}

static void take_ip(struct roce_program *p, const struct roce_frame *f, int64_t now)
{
    const uint8_t *ip = f->bytes + ETHER_SIZE;
    uint32_t len = f->len - ETHER_SIZE;
    uint64_t before = roce_host_delivered(p->host);
    if (!roce_host_receive(p->host, ip, len, len, now))
        return;
    uint64_t delivered = roce_host_delivered(p->host) - before;
    struct ip_addr from = {.family = ip[0] >> 4};
    if (from.family == IP_V4)
        memcpy(from.a.b, ip + IP4_SRC, 4);
    else
        memcpy(from.a.b, ip + IP6_SRC, 16);
    roce_neighbours_learn(&p->neighbours, &from, f->bytes + ETHER_SRC);
    note_packet(p, ip, len, delivered, now);
}

static int take(struct roce_program *p, const struct roce_frame *f, int64_t now, struct error *err)
{
    if (f->len < ETHER_SIZE)
        return 0;
    uint16_t type = bytes_get_be16(f->bytes + ETHER_TYPE);
    if (type == ETHER_MAC_CONTROL) {
        pause_priorities(p, f->bytes + ETHER_SIZE, f->len - ETHER_SIZE, now);
        return 0;
    }
    if (f->vlan != p->config->vlan)
        return 0;
    uint8_t answer[ROCE_NEIGHBOUR_FRAME];
    uint32_t n = roce_neighbours_hear(&p->neighbours, f->bytes, f->len, answer);
    if (n)
        return roce_program_send_small(p, answer, n, err);
    if (type == ETHER_IP4 || type == ETHER_IP6)
        take_ip(p, f, now);
    return 0;
}

/* A batch at most, so that what is due leaves in time. */
int roce_program_receive(struct roce_program *p, int64_t now, struct error *err)
{
    struct roce_frame f;
    int rc = 0;
    for (unsigned i = 0; i < ROCE_SLOTS && !rc && roce_port_receive(p->port, &f); i++)
        rc = take(p, &f, now, err);
    return rc;
}

/* --- the loop --- */

double roce_program_goodput(const struct roce_stats *s, bool sender)
{
    int64_t ns = sender ? s->tx_last_ns - s->tx_first_ns : s->rx_last_ns - s->rx_first_ns;
    uint64_t payload = sender ? s->acked_payload : s->rx_payload;
    return ns > 0 ? (double)payload * 8 * (double)NS_PER_S / (double)ns : 0;
}

static void show(struct roce_program *p, int64_t now, bool last)
{
    struct roce_stats s;
    char text[160], json[200];
    roce_host_stats(p->host, now, &s);
    uint64_t payload = p->config->send ? s.acked_payload : s.rx_payload;
    double gbps = roce_program_goodput(&s, p->config->send) * 1e-9;
    unsigned long long again = p->config->send ? s.retransmitted_packets : s.out_of_order;
    snprintf(text, sizeof(text), "%.3f Gbit/s, %llu %s, %llu NAKs, %llu pauses", gbps, again,
        p->config->send ? "sent again" : "out of order", (unsigned long long)(s.naks_received + s.naks_sent),
        (unsigned long long)s.pauses);
    snprintf(json, sizeof(json), "\"goodput_bps\":%.0f,\"%s\":%llu,\"naks\":%llu,\"pauses\":%llu", gbps * 1e9,
        p->config->send ? "retransmitted_packets" : "out_of_order", again,
        (unsigned long long)(s.naks_received + s.naks_sent), (unsigned long long)s.pauses);
    if (last)
        progress_end(&p->progress, payload, text, json);
    else
        progress_at(&p->progress, payload, text, json);
}

/* Asked to end: senders finish what they began, for a while. */
static bool over(struct roce_program *p, int64_t now, int64_t *stopped_ns)
{
    const struct roce_program_config *c = p->config;
    bool asked = *c->interrupted || (c->duration_ns && now - p->began_ns >= c->duration_ns);
    if (!c->send)
        return asked;
    if (asked && !*stopped_ns) {
        *stopped_ns = now;
        for (uint32_t i = 0; i < roce_host_flows(p->host); i++)
            roce_host_stop(p->host, i);
    }
    return roce_host_finished(p->host) || (*stopped_ns && now - *stopped_ns > DRAIN_FOR);
}

static int loop(struct roce_program *p, struct error *err)
{
    int64_t stopped_ns = 0, show_ns = 0, now;
    int rc = 0;
    while (!rc && !over(p, now = clock_now_ns(), &stopped_ns)) {
        bool still = stalled(p, now, &rc, err);
        if (!rc && !still)
            rc = roce_program_receive(p, now, err);
        if (!rc && !still)
            rc = transmit(p, now, err);
        if (now >= show_ns) {
            show(p, now, false);
            show_ns = now + 10 * NS_PER_MS;
        }
        int64_t next = roce_host_next(p->host, now);
        if (p->first < p->n || next < p->retry_ns)
            next = p->retry_ns;
        if (still)
            next = p->pause_ns > now ? p->pause_ns : show_ns;
        if (next > show_ns)
            next = show_ns;
        if (next > now)
            roce_port_wait(p->port, next, !still);
    }
    show(p, clock_now_ns(), true);
    return rc;
}

static int run(struct roce_program *p, struct error *err)
{
    p->slots = calloc(ROCE_SLOTS, ROCE_SLOT_SIZE);
    if (!p->slots)
        return error_set(err, ENOMEM, "out of memory");
    int rc = roce_program_begin(p, err);
    if (rc)
        return rc;
    p->began_ns = clock_now_ns();
    const struct roce_flow *f = &p->config->flow;
    progress_start(&p->progress, p->config->progress, p->config->send ? "sending" : "receiving", "bytes",
        p->config->send ? f->messages * f->message_bytes * p->config->flows : 0);
    rc = loop(p, err);
    roce_host_stats(p->host, clock_now_ns(), &p->result->stats);
    p->result->latency = *roce_host_latency(p->host);
    p->result->missed = roce_port_missed(p->port);
    return rc;
}

int roce_program_run(const struct roce_program_config *config, struct roce_program_result *ret, struct error *err)
{
    memset(ret, 0, sizeof(*ret));
    struct roce_program *p = calloc(1, sizeof(*p));
    if (!p)
        return error_set(err, ENOMEM, "out of memory");
    p->config = config;
    p->result = ret;
    int rc = run(p, err);
    roce_host_free(p->host);
    roce_port_close(p->port);
    free(p->slots);
    free(p);
    return rc;
}
