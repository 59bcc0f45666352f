#include "wire/lane_frame.h"

#include "base/bytes.h"

#include <errno.h>

/* A cursor over bytes whose length was checked before. */
static uint64_t take64(const uint8_t **p)
{
    uint64_t v = bytes_get_be64(*p);
    *p += 8;
    return v;
}

static uint32_t take32(const uint8_t **p)
{
    uint32_t v = bytes_get_be32(*p);
    *p += 4;
    return v;
}

static uint16_t take16(const uint8_t **p)
{
    uint16_t v = bytes_get_be16(*p);
    *p += 2;
    return v;
}

static void take(void *to, const uint8_t **p, size_t n)
{
    memcpy(to, *p, n);
    *p += n;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    bytes_put_be64(p, v);
    return p + 8;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    bytes_put_be32(p, v);
    return p + 4;
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
    bytes_put_be16(p, v);
    return p + 2;
}

static uint8_t *put(uint8_t *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

int lane_header_decode(struct lane_header *ret, const uint8_t *bytes, uint32_t len)
{
    if (len < LANE_FRAME_HEADER || bytes_get_be16(bytes) != LANE_FRAME_MAGIC || bytes[2] != LANE_FRAME_VERSION ||
        bytes_get_be16(bytes + 4))
        return -EPROTO;
    struct lane_header h = {
        .type = bytes[3],
        .length = bytes_get_be16(bytes + 6),
        .epoch = bytes_get_be64(bytes + 8),
        .seq = bytes_get_be64(bytes + 16),
    };
    uint32_t seal = h.type == LANE_HELLO ? 0 : LANE_FRAME_SEAL;
    if (!h.type || h.type >= LANE_TYPE_END || !h.epoch || LANE_FRAME_HEADER + h.length + seal > len ||
        LANE_FRAME_HEADER + h.length + seal > LANE_FRAME_MOST)
        return -EPROTO;
    *ret = h;
    return 0;
}

int lane_hello_version(const uint8_t *bytes, uint32_t len)
{
    return len >= LANE_FRAME_HEADER && bytes_get_be16(bytes) == LANE_FRAME_MAGIC && bytes[3] == LANE_HELLO ? bytes[2]
                                                                                                           : -EPROTO;
}

void lane_header_encode(uint8_t to[LANE_FRAME_HEADER], const struct lane_header *h)
{
    to = put16(to, LANE_FRAME_MAGIC);
    *to++ = LANE_FRAME_VERSION;
    *to++ = h->type;
    to = put16(to, 0);
    to = put16(to, h->length);
    to = put64(to, h->epoch);
    put64(to, h->seq);
}

int lane_hello_decode(struct lane_hello *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_HELLO_SIZE)
        return -EPROTO;
    struct lane_hello h;
    h.router = take64(&p);
    h.boot = take64(&p);
    h.echo = take64(&p);
    h.port = take16(&p);
    take(h.mac, &p, 6);
    h.cell = take32(&p);
    h.mtu = take32(&p);
    h.window = take32(&p);
    take(h.identity, &p, 32);
    take(h.key, &p, 32);
    h.sent_ns = (int64_t)take64(&p);
    h.echo_ns = (int64_t)take64(&p);
    take(h.signature, &p, 64);
    if (!h.router)
        return -EPROTO;
    *ret = h;
    return 0;
}

void lane_hello_encode(uint8_t *p, const struct lane_hello *h)
{
    p = put64(p, h->router);
    p = put64(p, h->boot);
    p = put64(p, h->echo);
    p = put16(p, h->port);
    p = put(p, h->mac, 6);
    p = put32(p, h->cell);
    p = put32(p, h->mtu);
    p = put32(p, h->window);
    p = put(p, h->identity, 32);
    p = put(p, h->key, 32);
    p = put64(p, (uint64_t)h->sent_ns);
    p = put64(p, (uint64_t)h->echo_ns);
    put(p, h->signature, 64);
}

int lane_open_decode(struct lane_open_frame *ret, const uint8_t *p, uint32_t len)
{
    if (len < LANE_OPEN_SIZE)
        return -EPROTO;
    struct lane_open_frame o = {0};
    o.id = take64(&p);
    o.move_of = take64(&p);
    o.guarantee_bps = take64(&p);
    o.cap_bps = take64(&p);
    o.rate_bps = take64(&p);
    o.tenant = take32(&p);
    o.window_least = take32(&p);
    o.ref = take16(&p);
    o.class_ = *p++;
    uint8_t flags = *p++;
    o.at = *p++;
    o.n_sids = *p++;
    uint16_t zero = take16(&p);
    if (!o.id || o.id == o.move_of || zero || flags || !o.n_sids || o.n_sids > LANE_FRAME_SIDS || o.at >= o.n_sids ||
        len != LANE_OPEN_SIZE + 16u * o.n_sids)
        return -EPROTO;
    take(o.sids, &p, 16u * o.n_sids);
    *ret = o;
    return 0;
}

uint32_t lane_open_encode(uint8_t *to, const struct lane_open_frame *o)
{
    uint8_t *p = to;
    p = put64(p, o->id);
    p = put64(p, o->move_of);
    p = put64(p, o->guarantee_bps);
    p = put64(p, o->cap_bps);
    p = put64(p, o->rate_bps);
    p = put32(p, o->tenant);
    p = put32(p, o->window_least);
    p = put16(p, o->ref);
    *p++ = o->class_;
    *p++ = 0; /* flags: none yet */
    *p++ = o->at;
    *p++ = o->n_sids;
    p = put16(p, 0);
    p = put(p, o->sids, 16u * o->n_sids);
    return (uint32_t)(p - to);
}

int lane_accept_decode(struct lane_accept *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_ACCEPT_SIZE)
        return -EPROTO;
    struct lane_accept a;
    a.id = take64(&p);
    a.ref = take16(&p);
    a.index = take16(&p);
    uint32_t flags = take32(&p);
    a.flags = (uint8_t)flags;
    a.generation = take32(&p);
    a.first = take64(&p);
    a.limit = take64(&p);
    if (!a.id || flags & ~(uint32_t)(LANE_ACCEPT_COMPLETE | LANE_ACCEPT_RELEASED) || a.limit < a.first)
        return -EPROTO;
    *ret = a;
    return 0;
}

void lane_accept_encode(uint8_t *p, const struct lane_accept *a)
{
    p = put64(p, a->id);
    p = put16(p, a->ref);
    p = put16(p, a->index);
    p = put32(p, a->flags);
    p = put32(p, a->generation);
    p = put64(p, a->first);
    put64(p, a->limit);
}

int lane_refuse_decode(struct lane_refuse *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_REFUSE_SIZE)
        return -EPROTO;
    struct lane_refuse r;
    r.id = take64(&p);
    r.where = take64(&p);
    r.ref = take16(&p);
    r.index = take16(&p);
    uint32_t reason = take32(&p);
    if (!r.id || !reason || reason >= LANE_REFUSAL_END)
        return -EPROTO;
    r.reason = (uint8_t)reason;
    *ret = r;
    return 0;
}

void lane_refuse_encode(uint8_t *p, const struct lane_refuse *r)
{
    p = put64(p, r->id);
    p = put64(p, r->where);
    p = put16(p, r->ref);
    p = put16(p, r->index);
    put32(p, r->reason);
}

int lane_close_decode(struct lane_close_frame *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_CLOSE_SIZE)
        return -EPROTO;
    struct lane_close_frame c;
    c.id = take64(&p);
    c.sent = take64(&p);
    c.ref = take16(&p);
    c.index = take16(&p);
    uint32_t flags = take32(&p);
    if (!c.id || flags & ~(uint32_t)LANE_CLOSE_DISCARD)
        return -EPROTO;
    c.flags = (uint8_t)flags;
    *ret = c;
    return 0;
}

void lane_close_encode(uint8_t *p, const struct lane_close_frame *c)
{
    p = put64(p, c->id);
    p = put64(p, c->sent);
    p = put16(p, c->ref);
    p = put16(p, c->index);
    put32(p, c->flags);
}

int lane_closed_decode(struct lane_closed *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_CLOSED_SIZE)
        return -EPROTO;
    struct lane_closed c;
    c.id = take64(&p);
    c.ref = take16(&p);
    c.index = take16(&p);
    uint32_t zero = take32(&p);
    c.losses = take64(&p);
    if (!c.id || zero)
        return -EPROTO;
    *ret = c;
    return 0;
}

void lane_closed_encode(uint8_t *p, const struct lane_closed *c)
{
    p = put64(p, c->id);
    p = put16(p, c->ref);
    p = put16(p, c->index);
    p = put32(p, 0);
    put64(p, c->losses);
}

int lane_reclaim_decode(struct lane_reclaim *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_RECLAIM_SIZE)
        return -EPROTO;
    ret->ref = take16(&p);
    ret->index = take16(&p);
    ret->generation = take32(&p);
    ret->keep = take32(&p);
    return 0;
}

void lane_reclaim_encode(uint8_t *p, const struct lane_reclaim *r)
{
    p = put16(p, r->ref);
    p = put16(p, r->index);
    p = put32(p, r->generation);
    put32(p, r->keep);
}

int lane_release_decode(struct lane_release *ret, const uint8_t *p, uint32_t len)
{
    if (len != LANE_RELEASE_SIZE)
        return -EPROTO;
    ret->ref = take16(&p);
    ret->index = take16(&p);
    ret->generation = take32(&p);
    ret->limit = take64(&p);
    return 0;
}

void lane_release_encode(uint8_t *p, const struct lane_release *r)
{
    p = put16(p, r->ref);
    p = put16(p, r->index);
    p = put32(p, r->generation);
    put64(p, r->limit);
}

static int list_length(uint32_t len, uint32_t head, uint32_t entry, unsigned *ret_n)
{
    if (len < head || (len - head) % entry)
        return -EPROTO;
    *ret_n = (len - head) / entry;
    return 0;
}

int lane_credit_decode(struct lane_credit *ret, unsigned *ret_n, const uint8_t *p, uint32_t len)
{
    if (list_length(len, LANE_CREDIT_SIZE, LANE_CREDIT_ENTRY, ret_n) != 0)
        return -EPROTO;
    ret->losses = take64(&p);
    ret->window = take64(&p);
    ret->sent_ns = (int64_t)take64(&p);
    ret->echo_ns = (int64_t)take64(&p);
    return 0;
}

void lane_credit_encode(uint8_t *p, const struct lane_credit *c)
{
    p = put64(p, c->losses);
    p = put64(p, c->window);
    p = put64(p, (uint64_t)c->sent_ns);
    put64(p, (uint64_t)c->echo_ns);
}

void lane_credit_entry_get(struct lane_credit_entry *ret, const uint8_t *body, unsigned i)
{
    const uint8_t *p = body + LANE_CREDIT_SIZE + i * LANE_CREDIT_ENTRY;
    ret->ref = take16(&p);
    ret->index = take16(&p);
    ret->generation = take32(&p);
    ret->limit = take64(&p);
    ret->behind = take32(&p);
    ret->hold = take32(&p);
}

void lane_credit_entry_put(uint8_t *body, unsigned i, const struct lane_credit_entry *e)
{
    uint8_t *p = body + LANE_CREDIT_SIZE + i * LANE_CREDIT_ENTRY;
    p = put16(p, e->ref);
    p = put16(p, e->index);
    p = put32(p, e->generation);
    p = put64(p, e->limit);
    p = put32(p, e->behind);
    put32(p, e->hold);
}

int lane_sync_decode(uint64_t *ret_session, unsigned *ret_n, const uint8_t *p, uint32_t len)
{
    if (list_length(len, LANE_SYNC_SIZE, LANE_SYNC_ENTRY, ret_n) != 0)
        return -EPROTO;
    *ret_session = take64(&p);
    return 0;
}

void lane_sync_encode(uint8_t *to, uint64_t session)
{
    put64(to, session);
}

void lane_sync_entry_get(struct lane_sync_entry *ret, const uint8_t *body, unsigned i)
{
    const uint8_t *p = body + LANE_SYNC_SIZE + i * LANE_SYNC_ENTRY;
    ret->ref = take16(&p);
    ret->index = take16(&p);
    ret->sent = take64(&p);
}

void lane_sync_entry_put(uint8_t *body, unsigned i, const struct lane_sync_entry *e)
{
    uint8_t *p = body + LANE_SYNC_SIZE + i * LANE_SYNC_ENTRY;
    p = put16(p, e->ref);
    p = put16(p, e->index);
    put64(p, e->sent);
}

int lane_loss_decode(uint64_t *ret_first, unsigned *ret_n, const uint8_t *p, uint32_t len)
{
    unsigned n;
    if (list_length(len, LANE_LOSS_SIZE, LANE_LOSS_ENTRY, &n) != 0)
        return -EPROTO;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *kind = p + LANE_LOSS_SIZE + i * LANE_LOSS_ENTRY + 10;
        if (kind[0] >= LANE_GAP_KINDS || kind[1])
            return -EPROTO;
    }
    *ret_n = n;
    *ret_first = take64(&p);
    return 0;
}

void lane_loss_encode(uint8_t *to, uint64_t first)
{
    put64(to, first);
}

void lane_gap_get(struct lane_gap *ret, const uint8_t *body, unsigned i)
{
    const uint8_t *p = body + LANE_LOSS_SIZE + i * LANE_LOSS_ENTRY;
    ret->session = take64(&p);
    ret->ref = take16(&p);
    ret->kind = *p;
    p += 2;
    ret->cells = take32(&p);
    ret->first = take64(&p);
}

void lane_gap_put(uint8_t *body, unsigned i, const struct lane_gap *g)
{
    uint8_t *p = body + LANE_LOSS_SIZE + i * LANE_LOSS_ENTRY;
    p = put64(p, g->session);
    p = put16(p, g->ref);
    *p++ = g->kind;
    *p++ = 0;
    p = put32(p, g->cells);
    put64(p, g->first);
}

const char *lane_refusal_name(unsigned r)
{
    static const char *const name[LANE_REFUSAL_END] = {
        [LANE_REFUSED_NO_PATH] = "no path",
        [LANE_REFUSED_LINK_DOWN] = "link down",
        [LANE_REFUSED_RATE] = "guarantees exceed the link's rate",
        [LANE_REFUSED_POOL] = "least windows exceed the port's pool",
        [LANE_REFUSED_TENANT] = "least windows exceed the tenant's share of the pool",
        [LANE_REFUSED_BUSY] = "pool in use, soon free",
        [LANE_REFUSED_FULL] = "no free lane",
        [LANE_REFUSED_FORM] = "malformed",
        [LANE_REFUSED_EXPIRED] = "not refreshed",
        [LANE_REFUSED_CUT] = "link of the path is dead",
        [LANE_REFUSED_CLOSED] = "closed",
        [LANE_REFUSED_LEAVING] = "router is leaving",
    };
    return r < LANE_REFUSAL_END && name[r] ? name[r] : "unknown";
}
