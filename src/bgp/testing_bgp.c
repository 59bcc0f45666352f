#include "bgp/testing_bgp.h"

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
