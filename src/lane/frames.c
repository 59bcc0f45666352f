/* Control frames out and in: header, sequence, seal; and where each kind goes. */
#include "lane/lane_inner.h"

#include <errno.h>

/* What a HELLO's signature covers: this, then the frame. The identity may sign other things elsewhere. */
static const char hello_domain[24] = "meridian lane hello v1";

/* Room that every kind of frame fits into but for its list. */
#define ROOM_LEAST (ETHER_SIZE + LANE_FRAME_HEADER + LANE_FRAME_SEAL + LANE_OPEN_SIZE + 16u * LANE_FRAME_SIDS)

bool frame_begin(struct frame *f, struct lane_link *l, enum lane_frame_type type)
{
    struct lane_node *n = l->node;
    if ((type != LANE_HELLO && !l->session.id) || l->port->control.packets >= LINK_CONTROL_MOST)
        return false;
    struct rte_mbuf *m = n->above.alloc(n->above.user);
    if (!m)
        return false;
    uint32_t room = (uint32_t)(m->buf_len - m->data_off);
    room = room < ETHER_SIZE + LANE_FRAME_MOST ? room : ETHER_SIZE + LANE_FRAME_MOST;
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    if (room < ROOM_LEAST) {
        n->above.free(n->above.user, m);
        return false;
    }
    *f = (struct frame){
        .link = l,
        .m = m,
        .bytes = frame + ETHER_SIZE,
        .body = frame + ETHER_SIZE + LANE_FRAME_HEADER,
        .room = room - ETHER_SIZE - LANE_FRAME_HEADER - LANE_FRAME_SEAL,
    };
    return true;
}

static void enqueue(struct frame *f, uint32_t len, int64_t now)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unknown[6] = {0};
    struct port *p = f->link->port;
    uint8_t *ether = f->bytes - ETHER_SIZE;
    memcpy(ether + ETHER_DST, memcmp(p->peer_mac, unknown, 6) ? p->peer_mac : broadcast, 6);
    memcpy(ether + ETHER_SRC, p->config.mac, 6);
    bytes_put_be16(ether + ETHER_TYPE, ETHER_LANE);
    f->m->data_len = (uint16_t)(ETHER_SIZE + len);
    f->m->pkt_len = ETHER_SIZE + len;
    struct packet_meta *meta = packet_meta(f->m);
    memset(meta, 0, sizeof *meta);
    meta->arrived_ns = now;
    meta->class_ = LANE_CONTROL;
    f->link->frames_sent++;
    port_enqueue(p, &p->control, f->m, now);
}

void frame_send(struct frame *f, enum lane_frame_type type, uint32_t body_len, int64_t now)
{
    struct lane_link *l = f->link;
    struct lane_header h = {
        .type = (uint8_t)type,
        .length = (uint16_t)body_len,
        .epoch = l->session.own_epoch,
        .seq = l->session.next_seq++,
    };
    lane_header_encode(f->bytes, &h);
    uint32_t sealed = LANE_FRAME_HEADER + body_len;
    if (seal_make(l->out, h.seq, f->bytes, sealed, f->bytes + sealed) != 0) {
        l->node->above.free(l->node->above.user, f->m);
        return;
    }
    enqueue(f, sealed + LANE_FRAME_SEAL, now);
}

static void hello_signed(uint8_t to[sizeof hello_domain + LANE_HELLO_SIGNED], const uint8_t *bytes)
{
    memcpy(to, hello_domain, sizeof hello_domain);
    memcpy(to + sizeof hello_domain, bytes, LANE_HELLO_SIGNED);
}

void frame_send_hello(struct frame *f, uint64_t epoch, uint32_t body_len, int64_t now)
{
    struct lane_header h = {.type = LANE_HELLO, .length = (uint16_t)body_len, .epoch = epoch};
    uint8_t text[sizeof hello_domain + LANE_HELLO_SIGNED];
    lane_header_encode(f->bytes, &h);
    hello_signed(text, f->bytes);
    if (ed25519_sign(f->link->node->identity, text, sizeof text, f->bytes + LANE_HELLO_SIGNED) != 0) {
        f->link->node->above.free(f->link->node->above.user, f->m);
        return;
    }
    enqueue(f, LANE_FRAME_HEADER + body_len, now);
}

int frame_hello_verify(const uint8_t *bytes, const struct lane_hello *h)
{
    uint8_t text[sizeof hello_domain + LANE_HELLO_SIGNED];
    hello_signed(text, bytes);
    return ed25519_verify(h->identity, text, sizeof text, h->signature);
}

static void dispatch(struct lane_link *l, const struct lane_header *h, const uint8_t *body, int64_t now)
{
    switch (h->type) {
    case LANE_CREDIT:
        credits_received(l, body, h->length, now);
        break;
    case LANE_SYNC:
        rx_synced(l, body, h->length, now);
        break;
    case LANE_LOSS:
        report_received(l, body, h->length, now);
        break;
    case LANE_RECLAIM:
        tx_reclaimed(l, body, h->length, now);
        break;
    case LANE_RELEASE:
        window_released(l, body, h->length, now);
        break;
    default:
        signal_received(l, h->type, body, h->length, now);
    }
}

void lane_frame(struct lane_node *n, uint16_t port, const uint8_t *bytes, uint32_t len, int64_t now)
{
    n->now = now;
    struct lane_link *l = port < PORT_MOST ? n->link[port] : NULL;
    struct lane_header h;
    if (!l)
        return;
    if (lane_header_decode(&h, bytes, len) != 0) {
        l->frames_bad++;
        link_foreign(l, lane_hello_version(bytes, len), now);
        return;
    }
    if (h.type == LANE_HELLO) {
        link_hello(l, &h, bytes, now);
        return;
    }
    uint32_t sealed = LANE_FRAME_HEADER + h.length;
    if (!l->session.id || h.epoch != l->session.peer_epoch ||
        seal_check(l->in, h.seq, bytes, sealed, bytes + sealed) != 0) {
        l->frames_bad++;
        return;
    }
    if (!seal_window_pass(&l->session.window, h.seq)) {
        l->frames_replayed++;
        return;
    }
    l->frames_good++;
    l->heard_ns = now;
    link_confirm(l, now);
    dispatch(l, &h, bytes + LANE_FRAME_HEADER, now);
}
