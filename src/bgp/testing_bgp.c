#include "bgp/testing_bgp.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <string.h>

struct bgp_peer_config testing_bgp_peer(enum bgp_peer_kind kind, uint8_t last, const uint32_t *families, unsigned n)
{
    struct bgp_peer_config c = {.kind = kind,
        .address = {.family = IP_V6, .a = {{0xfd, [15] = last}}},
        .next_hop = {{0xfe, 0x80, [15] = last}},
        .session = {
            .local_as = 65000, .peer_as = 65000, .hold_time_s = 9, .restart_time_s = 60, .n_families = (uint8_t)n}};
    memcpy(c.session.families, families, n * sizeof *families);
    return c;
}

void testing_bgp_connect(struct testing_bgp *t, struct testing_bgp_wire *w)
{
    w->cut = false;
    bgp_speaker_poll(w->a, t->now);
    bgp_peer_transport_up(w->a, w->peer_of_a, BGP_CONNECTED, t->now);
    bgp_peer_transport_up(w->b, w->peer_of_b, BGP_ACCEPTED, t->now);
}

struct testing_bgp_wire *testing_bgp_join(struct testing_bgp *t, struct bgp_speaker *a,
    const struct bgp_peer_config *as_a, struct bgp_speaker *b, const struct bgp_peer_config *as_b)
{
    struct testing_bgp_wire *w = &t->wire[t->n_wires];
    struct error err;
    *w = (struct testing_bgp_wire){.a = a, .b = b};
    if (t->n_wires == TESTING_BGP_WIRES || bgp_peer_add(a, as_a, t->now, &w->peer_of_a, &err) ||
        bgp_peer_add(b, as_b, t->now, &w->peer_of_b, &err))
        return NULL;
    t->n_wires++;
    testing_bgp_connect(t, w);
    return w;
}

void testing_bgp_cut(struct testing_bgp *t, struct testing_bgp_wire *w)
{
    w->cut = true;
    bgp_peer_transport_failed(w->a, w->peer_of_a, BGP_CONNECTED, t->now);
    bgp_peer_transport_failed(w->b, w->peer_of_b, BGP_ACCEPTED, t->now);
}

static bool carry(struct testing_bgp *t, struct bgp_speaker *from, uint16_t from_peer, enum bgp_side from_side,
    struct bgp_speaker *to, uint16_t to_peer, enum bgp_side to_side)
{
    struct buf *out = bgp_peer_out(from, from_peer, from_side, t->now);
    size_t n = t->piece && out->len > t->piece ? t->piece : out->len;
    if (n == 0)
        return false;
    bgp_peer_bytes(to, to_peer, to_side, out->data, n, t->now);
    bgp_peer_written(from, from_peer, from_side, n, t->now);
    return true;
}

void testing_bgp_settle(struct testing_bgp *t)
{
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < t->n_wires; i++) {
            struct testing_bgp_wire *w = &t->wire[i];
            if (w->cut)
                continue;
            any |= carry(t, w->a, w->peer_of_a, BGP_CONNECTED, w->b, w->peer_of_b, BGP_ACCEPTED);
            any |= carry(t, w->b, w->peer_of_b, BGP_ACCEPTED, w->a, w->peer_of_a, BGP_CONNECTED);
        }
    }
}

void testing_bgp_advance(struct testing_bgp *t, int64_t ns)
{
    for (int64_t end = t->now + ns; t->now < end;) {
        t->now = end - t->now > NS_PER_S ? t->now + NS_PER_S : end;
        for (int i = 0; i < t->n_wires; i++) {
            bgp_speaker_poll(t->wire[i].a, t->now);
            bgp_speaker_poll(t->wire[i].b, t->now);
        }
        testing_bgp_settle(t);
    }
}

/* --- a peer made of bytes ------------------------------------------------------------------------------------------------- */

struct bgp_open testing_bgp_open(uint8_t last, const uint32_t *families, unsigned n)
{
    struct bgp_open o = {.as = 65000,
        .hold_time_s = 9,
        .identifier = {10, 0, 0, last},
        .n_families = (uint8_t)n,
        .refresh = true,
        .enhanced_refresh = true,
        .as4 = true,
        .graceful = true,
        .graceful_notification = true,
        .restart_time_s = 60,
        .n_graceful = (uint8_t)n};
    for (unsigned i = 0; i < n; i++) {
        o.families[i] = families[i];
        o.graceful_families[i] = (struct bgp_graceful){.family = families[i], .forwarding = true};
    }
    return o;
}

void testing_bgp_say(
    struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, enum bgp_type type, const void *body, size_t len)
{
    uint8_t m[BGP_EXTENDED_MOST];
    if (len > sizeof m - BGP_HEADER)
        return;
    bgp_header_encode(m, (uint32_t)(BGP_HEADER + len), type);
    if (len)
        memcpy(m + BGP_HEADER, body, len);
    bgp_peer_bytes(s, peer, BGP_ACCEPTED, m, BGP_HEADER + len, t->now);
}

void testing_bgp_raw_again(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, const struct bgp_open *open)
{
    uint8_t m[512];
    int n = bgp_open_encode(open, m, sizeof m);
    bgp_peer_transport_up(s, peer, BGP_ACCEPTED, t->now);
    if (n > 0)
        bgp_peer_bytes(s, peer, BGP_ACCEPTED, m, (size_t)n, t->now);
    testing_bgp_say(t, s, peer, BGP_KEEPALIVE, NULL, 0);
}

uint16_t testing_bgp_raw(
    struct testing_bgp *t, struct bgp_speaker *s, const struct bgp_peer_config *as, const struct bgp_open *open)
{
    struct error err;
    uint16_t peer;
    if (bgp_peer_add(s, as, t->now, &peer, &err))
        return 0;
    testing_bgp_raw_again(t, s, peer, open);
    return bgp_peer_session(s, peer, BGP_ACCEPTED)->state == BGP_ESTABLISHED ? peer : 0;
}

void testing_bgp_announce(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, uint32_t family,
    const uint8_t *nlri, size_t nlri_len, const uint8_t *attributes, size_t len, uint8_t last)
{
    uint8_t body[BGP_EXTENDED_MOST], reach[BGP_EXTENDED_MOST];
    size_t hop = family == BGP_VPNV4 || family == BGP_VPNV6 ? 24 : 16, n = 5 + hop + nlri_len;
    if (n > sizeof reach || len > sizeof body - 8 - n)
        return;
    memset(reach, 0, 5 + hop);
    bytes_put_be16(reach, (uint16_t)(family >> 16));
    reach[2] = (uint8_t)family;
    reach[3] = (uint8_t)hop;
    reach[4 + hop - 16] = 0xfd;
    reach[4 + hop - 1] = last;
    memcpy(reach + 5 + hop, nlri, nlri_len);
    int at = bgp_attribute_put(body, 4, sizeof body, 0x80, BGP_MP_REACH, reach, n);
    memset(body, 0, 4);
    if (len)
        memcpy(body + at, attributes, len);
    bytes_put_be16(body + 2, (uint16_t)((size_t)at - 4 + len));
    testing_bgp_say(t, s, peer, BGP_UPDATE, body, (size_t)at + len);
}

void testing_bgp_unreach(
    struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer, uint32_t family, const uint8_t *nlri, size_t nlri_len)
{
    uint8_t body[BGP_MESSAGE_MOST] = {0}, unreach[BGP_MESSAGE_MOST];
    if (nlri_len > sizeof unreach - 100)
        return;
    bytes_put_be16(unreach, (uint16_t)(family >> 16));
    unreach[2] = (uint8_t)family;
    if (nlri_len)
        memcpy(unreach + 3, nlri, nlri_len);
    int at = bgp_attribute_put(body, 4, sizeof body, 0x80, BGP_MP_UNREACH, unreach, 3 + nlri_len);
    bytes_put_be16(body + 2, (uint16_t)(at - 4));
    testing_bgp_say(t, s, peer, BGP_UPDATE, body, (size_t)at);
}

void testing_bgp_hear(struct testing_bgp *t, struct bgp_speaker *s, uint16_t peer,
    void (*message)(void *user, uint8_t type, const uint8_t *body, size_t len), void *user)
{
    struct buf *out;
    while ((out = bgp_peer_out(s, peer, BGP_ACCEPTED, t->now))->len) {
        size_t at = 0;
        while (at < out->len) {
            struct bgp_notification error;
            uint8_t type;
            uint32_t n;
            if (bgp_header_decode(out->data + at, out->len - at, BGP_EXTENDED_MOST, &type, &n, &error))
                return;
            if (message)
                message(user, type, out->data + at + BGP_HEADER, n - BGP_HEADER);
            at += n;
        }
        bgp_peer_written(s, peer, BGP_ACCEPTED, at, t->now);
    }
}
