/* The general parser and the encoder of hop-by-hop options. */
#include "wire/hbh.h"

#define TYPE_ACTION 6 /* RFC 8200 section 4.2: the two high bits say what to do with an unknown option */

enum { MARK_SIZE = 4, NR_SIZE = 8 };

static enum hbh_verdict unknown_option(uint8_t type)
{
    static const enum hbh_verdict of_action[4] = {HBH_OK, HBH_DISCARD, HBH_PROBLEM, HBH_PROBLEM_UNICAST};
    return of_action[type >> TYPE_ACTION];
}

/* One of our options whose data starts at `at`: noted once, with exactly this length. */
static bool once(struct hbh *h, enum hbh_has which, uint16_t *ret_at, size_t at)
{
    if (h->has & which)
        return false;
    h->has |= (uint8_t)which;
    *ret_at = (uint16_t)at;
    return true;
}

static enum hbh_verdict one_option(
    struct hbh *h, uint8_t type, const uint8_t *data, size_t at, uint8_t len, const struct hbh_types *types)
{
    if (type == HBH_PADN)
        return HBH_OK;
    if (type == HBH_ALTMARK) {
        if (len != MARK_SIZE || !once(h, HBH_HAS_MARK, &h->mark_at, at))
            return HBH_MALFORMED;
        hbh_mark_get(h, data);
        return HBH_OK;
    }
    if (type == types->lane) {
        if (len != HBH_LANE_SIZE || !once(h, HBH_HAS_LANE, &h->lane_at, at))
            return HBH_MALFORMED;
        hbh_lane_get(h, data);
        return HBH_OK;
    }
    /* The identifier's length and meaning depend on the context type; other ones than 0 are unknown to us. */
    if (type == types->nr && len == NR_SIZE && data[1] == 0) {
        if (!once(h, HBH_HAS_NR, &h->nr_at, at))
            return HBH_MALFORMED;
        h->nr_flags = data[0];
        h->slice = bytes_get_be32(data + 4);
        return HBH_OK;
    }
    return unknown_option(type);
}

enum hbh_verdict hbh_parse(
    struct hbh *ret, uint32_t *ret_at, const uint8_t *p, size_t len, const struct hbh_types *types)
{
    struct hbh h = {0};
    size_t at = 2;
    *ret_at = 0;
    if (len < 8 || len < 8 + 8 * (size_t)p[1])
        return HBH_MALFORMED;
    h.next = p[0];
    h.size = (uint16_t)(8 + 8 * p[1]);
    for (unsigned n = 0; at < h.size; n++) {
        *ret_at = (uint32_t)at;
        if (n == HBH_OPTIONS_MOST)
            return HBH_MALFORMED;
        if (p[at] == HBH_PAD1) {
            at++;
            continue;
        }
        if (at + 2 > h.size || at + 2 + p[at + 1] > h.size)
            return HBH_MALFORMED;
        enum hbh_verdict v = one_option(&h, p[at], p + at + 2, at + 2, p[at + 1], types);
        if (v != HBH_OK)
            return v;
        at += 2 + (size_t)p[at + 1];
    }
    *ret = h;
    return HBH_OK;
}

size_t hbh_size(unsigned has)
{
    size_t end = has & HBH_HAS_MARK ? 8 : 0;
    end += has & HBH_HAS_NR ? 12 : 0;
    end += has & HBH_HAS_LANE ? 12 : 0;
    return (end + 7) & ~(size_t)7; /* each option with the 2 bytes before it: the header's own, or padding */
}

/* PadN over [from, until), which holds no or at least two bytes. */
static void pad(uint8_t *to, size_t from, size_t until)
{
    if (from == until)
        return;
    memset(to + from, 0, until - from);
    to[from] = HBH_PADN;
    to[from + 1] = (uint8_t)(until - from - 2);
}

/* Type and length at the next offset 4n+2; returns where the data starts. All before it is padded. */
static size_t option_start(uint8_t *to, size_t end, uint8_t type, uint8_t len)
{
    size_t at = end == 2 ? 2 : end + 2;
    pad(to, end, at);
    to[at] = type;
    to[at + 1] = len;
    return at + 2;
}

size_t hbh_encode(uint8_t *to, const struct hbh *h, const struct hbh_types *types)
{
    size_t size = hbh_size(h->has), end = 2, at;
    if (size == 0)
        return 0;
    to[0] = h->next;
    to[1] = (uint8_t)(size / 8 - 1);
    if (h->has & HBH_HAS_MARK) {
        at = option_start(to, end, HBH_ALTMARK, MARK_SIZE);
        bytes_put_be32(to + at,
            h->flow_mon_id << 12 | (uint32_t)(h->mark & HBH_MARK_L) << 11 | (uint32_t)(h->mark & HBH_MARK_D) << 9);
        end = at + MARK_SIZE;
    }
    if (h->has & HBH_HAS_NR) {
        at = option_start(to, end, types->nr, NR_SIZE);
        bytes_put_be32(to + at, (uint32_t)h->nr_flags << 24);
        bytes_put_be32(to + at + 4, h->slice);
        end = at + NR_SIZE;
    }
    if (h->has & HBH_HAS_LANE) {
        at = option_start(to, end, types->lane, HBH_LANE_SIZE);
        hbh_lane_put(to + at, h->lane_index, h->lane_epoch, h->lane_cell);
        end = at + HBH_LANE_SIZE;
    }
    pad(to, end, size);
    return size;
}
